//! The statements of the MQTT standards as tests against any broker address.
//!
//! The tests (`tests/conformance/`) speak raw bytes over TCP. Nothing here uses the codec of the
//! broker, so that one misreading of the standard cannot hide on both sides.
//!
//! - [`wire`] builds packets by hand and can build every one of them wrongly.
//! - [`parse`] reads what a broker sends, and accepts nothing that the standard forbids a server.
//! - [`client`] is a blocking client that says in its panics what came and what was expected.
//! - [`target`] is the broker under test: one that runs already, or one started for the test.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `MIDGE_CONFORMANCE_ADDR` | `host:port` of a running broker for all tests that need no special configuration |
//! | `MIDGE_BIN` | program to start instead of the `midge` beside the test executable; it must understand `-c FILE` |

pub mod client;
pub mod parse;
pub mod target;
pub mod wire;

pub use client::RawClient;
pub use parse::Packet;
pub use target::{Broker, unique_id, unique_topic};
pub use wire::{Connect, Publish, Subscribe, Unsubscribe, Version};
