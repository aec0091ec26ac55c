//! MQTT client library: asynchronous and blocking, for MQTT 5.0, 3.1.1 and 3.1.
