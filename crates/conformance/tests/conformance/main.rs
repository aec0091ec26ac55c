//! The statements of MQTT 5.0 and 3.1.1, and the answers that are Mosquitto's where the standards
//! leave a choice, over TCP against the broker that [`midge_conformance::target`] finds.
//!
//! A test names the statements it would fail without: `MQTT5-` or `MQTT311-` and the number.
//! Requirements without a number are named by their section.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic like the tests themselves"
)]

mod support;

mod alias;
mod auth;
mod connack;
mod connect;
mod expiry;
mod flow_control;
mod malformed;
mod mosquitto_answers;
mod ping_disconnect;
mod publish;
mod publish_qos;
mod retain;
mod session;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod will;
