//! Seeded simulation of whole brokers and their clients against a reference model.
//!
//! A run drives real [`midge_broker::Shard`]s as the server's workers do, with mail between them that is
//! late, and clients of all versions on links that delay, chop, stall and break. Time is virtual and all
//! chance comes from the seed, so a run that breaks a rule does so again. In most runs the broker keeps
//! its state on a simulated disk, and falls in the middle of its work now and then. The reference model says what
//! is owed to whom, in the simplest terms; clients hold what they get against it.

#![forbid(unsafe_code)]

mod broker_side;
mod check;
mod client;
mod fall;
mod link;
mod model;
mod run;
mod script;
mod storage;
mod wire;
mod world;

pub use check::Violation;
pub use run::{Summary, run};
pub use script::{Disk, Length};
pub use world::TraceSink;
