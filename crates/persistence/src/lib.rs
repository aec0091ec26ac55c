//! The broker's state on disk: what shards want kept goes to the log, and comes back at the next start.
//!
//! No sockets and no threads are here: the server and the simulator run the same code.
//!
//! - [`recover`] reads the log into an image, from which sessions are restored.
//! - [`batch_of`] makes a batch for the log of a shard's records, and the [`Ledger`] knows which
//!   messages are live and where they are.
//! - [`snapshot`] makes a checkpoint from the log itself: no shard has to stop for it.
//! - [`mosquitto_db`] reads what Mosquitto left, and [`import`] takes it over.
//! - [`dump`] prints a store.

#![forbid(unsafe_code)]

mod batch;
mod checkpoint;
pub mod dump;
pub mod import;
mod ledger;
pub mod mosquitto_db;
mod recover;

pub use batch::batch_of;
pub use checkpoint::{Snapshot, relocate, snapshot};
pub use ledger::{Ledger, Whereabouts};
pub use recover::{Recovered, Replay, recover};
