//! Mosquitto's database file, `mosquitto.db`, format versions 2 to 6: reading and printing.
//!
//! The file is a header and a sequence of chunks: settings, stored messages, clients with their queues,
//! subscriptions, and which messages are retained. [`Database`] reads them one at a time from any
//! [`Read`](std::io::Read), so that a file of gigabytes takes the memory of its largest message; a
//! length in the file is never believed before its bytes have been read. [`Records`] adds the checks
//! between chunks that an import needs. [`dump`] prints a file as `mosquitto_db_dump` does.
//!
//! # Damage
//!
//! A chunk says its length first, and is read as that many bytes. So what is wrong inside a chunk costs
//! that chunk only: it comes as a [`Damage`] with its offset, and the next one is read. (Mosquitto gives
//! up at the first fault. Chunks of unknown kinds it passes over, as is done here.) Reading ends with a [`Stop`] where there is
//! nothing to go on with: a file that is not Mosquitto's, a version that is not known, record ids of
//! another size, an error of the disk, or the end of the file inside a chunk. What was read before a
//! `Stop` is good.
//!
//! The format has no checksum (its field is zero) and no end mark: a flipped bit in a payload, or a
//! file cut exactly between two chunks, cannot be noticed.
//!
//! # Numbers
//!
//! Mosquitto writes record ids and times in the byte order of its machine, everything else in network
//! order. So does this reader expect it: a file is read on the kind of machine that wrote it.

mod chunk;
pub mod dump;
mod fault;
mod links;
mod record;

pub use chunk::{Chunk, Database, VERSION_MAX, VERSION_MIN};
pub use fault::{Damage, Fault, Reason, Stop};
pub use links::{Counts, Records};
pub use record::{
    BaseMessage, Client, ClientMessage, Config, Direction, Kind, MessageState, Record, Retained,
    Subscription,
};

#[cfg(test)]
pub(crate) mod tests;
