//! The state on disk: recovered at the start, kept while the broker runs, made shorter in the background.

mod checkpoints;
mod import;
mod keeper;
mod loads;
mod start;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use midge_persistence::Ledger;
use midge_store::{FileDisk, Store};

pub(crate) use checkpoints::Checkpoints;
pub(crate) use keeper::Keeper;
pub(crate) use loads::Loads;
pub(crate) use start::{restore, unix_at_zero};

/// Bytes that may wait for the disk until those who bring them are asked to pause.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// The open store and what all workers share of it.
pub(crate) struct Persistence {
    pub(crate) store: Arc<Store<FileDisk>>,
    pub(crate) ledger: Arc<Ledger<FileDisk>>,
    /// The disk takes new work, as far as is known.
    pub(crate) disk_works: Arc<AtomicBool>,
}
