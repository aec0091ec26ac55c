//! A durable, segmented log of opaque records. It knows nothing of what the records mean.
//!
//! # What it promises
//!
//! - A [`Batch`] that is committed under [`SyncPolicy::Always`] is there after any crash, whole and
//!   in its place in the order of all batches. A batch that was not committed is there whole, or not
//!   at all, and only when everything before it is.
//! - Nothing that was never appended is ever replayed or read: records carry checksums that are
//!   salted with their segment's generation, a random number and their own offset.
//! - Damage costs the records that it hits. It is copied to a quarantine file, told as an [`Event`],
//!   and its place in the order is told as [`Replayed::Hole`]. What follows a hole is intact and in
//!   order; whether it still makes sense without what is missing, the owner has to judge. Damage in
//!   the very last commit before a crash looks like an unfinished commit and is treated as one.
//! - A failed sync is never trusted again: what waited for it is refused, the segment counts up to
//!   the last good sync, and a new one is begun. A batch that was refused for that reason may still
//!   turn up, if the process ends before another commit succeeds.
//! - On a full disk what needs new room is refused with figures, while removals and checkpoints may
//!   use a reserve and the room that ordinary work has to leave: as much as the next checkpoint may
//!   take, which is the last one and what was added since. So a checkpoint that is made when it is due
//!   can always be written, unless other programs take the room. When there is room again, the log
//!   goes on by itself and says so ([`Event::Recovered`]), within a second and without being handed
//!   anything. Reading always works.
//!
//! # How it is used
//!
//! [`Recovery::open`] finds what there is, [`Recovery::replay`] gives the last checkpoint and
//! everything after it, and [`Store::start`] (a thread of its own) or [`Log::start`] (no thread, for
//! a simulation) goes on from there.
//!
//! The owner's state is in memory; the log is how it comes back. To keep the log short, the owner
//! now and then ([`Status::checkpoint_due`]) hands in [`Work::BeginCheckpoint`], appends records that
//! describe its whole state, in as many steps as it likes and between other records, and hands in
//! [`Work::FinishCheckpoint`]. When that is committed, everything before the beginning is dropped,
//! except for segments with records that are pinned. There are two ways to make a snapshot:
//!
//! - *From the live state.* A snapshot record has to say what is true of everything that was handed in
//!   before it, committed yet or not. In a replay it comes after records that may already speak of the
//!   same thing: it replaces what they said, and what they say of things that the replay has not met
//!   yet has to be ignored.
//! - *From the log.* Once the beginning is committed, [`Reader::replay`] gives everything before it
//!   from the files, and the snapshot says how it was at the beginning, whatever has been committed
//!   since. Its records go in through [`Store::background_writer`]. Each has
//!   [`CheckpointId::sequence`] in it; a start looks for those of [`Recovery::checkpoint_begin`] in a
//!   first replay and applies all other records in a second one.
//!
//! A record whose bytes shall stay on the disk is pinned ([`Batch::pin_last`]) and read back by its
//! [`Position`] with a [`Reader`]. Where a segment is kept for a few pinned records only
//! ([`Reader::sparse_segments`]), the owner moves them forward ([`Reader::relocate`]); the copy is
//! replayed as [`Entry::moved`]. After a crash a snapshot may still speak of the old position, whose
//! segment may be gone: the copy follows later in the replay, so positions are judged at its end.
//!
//! # What is on the disk
//!
//! Segments of one size, `00000000.seg` and so on, written ahead with zeros and used again, so that a
//! commit changes no file's size and costs one flush; `quarantine-<segment>-<offset>.bin` and
//! `damaged-<name>` with what could not be read; `lock`. A segment is synced before the next one is
//! begun. A record that is longer than a segment gets one of its own.

mod batch;
mod disk;
mod event;
mod format;
mod log;
mod options;
mod pool;
mod quarantine;
mod reader;
mod recovery;
mod replay;
mod scan;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
mod table;

pub use batch::{Batch, Purpose, TooLong};
pub use disk::{Disk, DiskFile, FileDisk, LockError};
pub use event::{Event, OpenError, ReadError, Refused};
pub use format::{Position, RECORD_MAX};
pub use log::{CheckpointId, Committed, Figures, Log, Settled, Submission, Tag, Work};
pub use options::{Options, SyncPolicy};
pub use reader::{Reader, Record};
pub use recovery::Recovery;
pub use replay::{Entry, Replayed};
pub use store::{Busy, Status, Store, Submitted, Writer};
pub use table::{Sparse, Usage};
