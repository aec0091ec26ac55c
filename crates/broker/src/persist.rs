//! What a broker keeps across its own end: records of every change, and the state that they add up to.
//!
//! A shard gathers records in its journal while it works. Once per turn they are taken
//! ([`crate::Shard::take_records`]) and handed to a log, and what they promise to clients is held back
//! until the log says that they are safe ([`crate::Shard::records_committed`]). After a restart the
//! same records, in the order of the log, are given to an [`Image`], from which sessions are restored
//! ([`Restoration`]).
//!
//! A message is one record with all who have to get it inside, written by the shard that routed it. Its
//! holders are copies for persistent sessions, shared groups with a persistent member, the retained
//! store, and the session of a publisher that has not released it yet. It is live while it has holders.
//! Who has a copy removes it by a few bytes in the record that ends each turn (`records::Step`).
//!
//! Sessions are named by their [`crate::route::SessionRef`], which no two sessions of one run share; a restart names
//! them anew by one record. Times are milliseconds since 1970.

pub(crate) mod fields;
mod image;
mod import;
pub(crate) mod journal;
pub(crate) mod records;
mod restore;
mod show;
mod snapshot;

pub use image::{Image, ImageCounts, Place};
pub use import::{Import, ImportedCopy, ImportedMessage, ImportedSession, says_nothing};
pub use records::{Kind, Malformed, RecordRef, Records};
pub use restore::{KeptMessage, Part, ReadRecord, Restoration, read_message};
pub use show::{
    ContentsView, CopyView, GroupView, RetainedView, SentView, SessionView, StoredView,
    SubscriptionView, WillView,
};
pub use snapshot::SnapshotPart;

/// The name of a shared group in records: it depends on its share name and filter alone, so that it
/// means the same after a restart.
#[must_use]
pub fn group_name_hash(share_name: &str, filter: &str) -> u64 {
    // FNV-1a. Share names contain no slash, so the pair has one reading.
    let bytes = share_name.bytes().chain([b'/']).chain(filter.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
