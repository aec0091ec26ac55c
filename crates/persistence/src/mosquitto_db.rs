//! Mosquitto's database file, `mosquitto.db`.
