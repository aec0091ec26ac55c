//! The broker's state on disk: what shards want kept goes to the log, and comes back at the next start.
//!
//! No sockets and no threads are here: the server and the simulator run the same code.

#![forbid(unsafe_code)]

pub mod mosquitto_db;
