//! What each fuzz target checks, in functions that compile without a fuzzer.
//!
//! A test of the crate concerned includes the same file and replays the committed corpus, so a find
//! becomes a test by being added to `corpus/<target>`. With `cargo-fuzz` and a nightly compiler,
//! `cargo +nightly fuzz run <target>` looks for more; inputs that are worth keeping are few and small,
//! and the test says how many there may be.

pub mod acl;
pub mod connection;
pub mod decode_packet;
pub mod passwords;
pub mod scram;
pub mod dynsec;
pub mod embedded;
pub mod provider_answer;
pub mod psk;
pub mod token;
pub mod proxy;
pub mod websocket;
