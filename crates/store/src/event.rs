//! What the owner's log should hear of, and why work is refused.

use std::fmt;
use std::io;
use std::ops::Range;

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes that do not verify were set aside.
    Quarantined {
        /// Generation of the segment.
        segment: u64,
        /// Where in the segment's file.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// The file that has them now; none when it could not be written.
        kept_in: Option<String>,
    },
    /// A file whose beginning is not readable as a segment was given another name.
    SegmentUnreadable {
        /// Its name before.
        name: String,
        /// Its name now; the same when it could not be renamed.
        kept_as: String,
    },
    /// Records that had been durable are gone.
    Hole {
        /// Their sequence numbers.
        sequences: Range<u64>,
    },
    /// The record that told where the last checkpoint begins is gone; everything that is left was
    /// replayed.
    CheckpointLost,
    /// A commit had not been finished when the process ended; nobody was told that it was.
    TornTail {
        /// Generation of the segment.
        segment: u64,
        /// The first sequence that was discarded.
        first: u64,
        /// How many whole records were discarded.
        records: u64,
    },
    /// There is no room for more; said once until there is room again.
    DiskFull {
        /// Bytes that were wanted.
        needed: u64,
        /// Bytes that the system says are free.
        free: Option<u64>,
    },
    /// A write or a sync failed; the segment is not used any further. Said once until the disk
    /// works again.
    DiskFailed {
        /// Generation of the segment; 0 for a file that was being prepared.
        segment: u64,
        /// What the system said.
        error: String,
    },
    /// What was wanted can be written again.
    Recovered,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quarantined {
                segment,
                offset,
                bytes,
                kept_in: Some(name),
            } => write!(
                f,
                "{bytes} damaged bytes at {offset} of segment {segment} were copied to {name}"
            ),
            Self::Quarantined {
                segment,
                offset,
                bytes,
                kept_in: None,
            } => write!(
                f,
                "{bytes} damaged bytes at {offset} of segment {segment} were skipped and could not be copied"
            ),
            Self::SegmentUnreadable { name, kept_as } => {
                write!(
                    f,
                    "{name} is not readable as a segment and is kept as {kept_as}"
                )
            }
            Self::Hole { sequences } => write!(
                f,
                "records {} to {} are lost",
                sequences.start,
                sequences.end.saturating_sub(1)
            ),
            Self::CheckpointLost => {
                write!(
                    f,
                    "the last checkpoint is damaged; all that is left was read"
                )
            }
            Self::TornTail {
                segment,
                first,
                records,
            } => write!(
                f,
                "an unfinished commit at record {first} of segment {segment} was discarded ({records} whole records)"
            ),
            Self::DiskFull {
                needed,
                free: Some(free),
            } => write!(f, "the disk is full: {needed} bytes wanted, {free} free"),
            Self::DiskFull { needed, free: None } => {
                write!(f, "the disk is full: {needed} bytes wanted")
            }
            Self::DiskFailed { segment: 0, error } => {
                write!(f, "preparing a segment failed: {error}")
            }
            Self::DiskFailed { segment, error } => {
                write!(f, "writing segment {segment} failed: {error}")
            }
            Self::Recovered => write!(f, "the disk takes writes again"),
        }
    }
}

/// Why a batch is not in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is no room.
    Full {
        /// Bytes that were wanted.
        needed: u64,
        /// Bytes that the system says are free.
        free: Option<u64>,
    },
    /// Writing or syncing failed. After a crash that comes before the next commit, the batch may
    /// nevertheless be found in the log: that is what a failed sync leaves open.
    Failing {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The checkpoint is not the one that is under way, or a part of it was refused.
    CheckpointVoid,
    /// The log has been closed.
    Closed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full {
                needed,
                free: Some(free),
            } => write!(f, "disk full: {needed} bytes wanted, {free} free"),
            Self::Full { needed, free: None } => write!(f, "disk full: {needed} bytes wanted"),
            Self::Failing { kind } => write!(f, "disk failing: {kind}"),
            Self::CheckpointVoid => write!(f, "the checkpoint is void"),
            Self::Closed => write!(f, "the store is closed"),
        }
    }
}

impl std::error::Error for Refused {}

/// Why a record cannot be read back.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// Its segment has been freed, or there never was such a record.
    Gone,
    /// The bytes there are not the record any more.
    Damaged,
    /// The system could not read.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "the record is gone"),
            Self::Damaged => write!(f, "the record is damaged"),
            Self::Io(error) => write!(f, "the record cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Gone | Self::Damaged => None,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A file was written by a newer program. Nothing has been changed.
    NewerFormat {
        /// The file.
        name: String,
        /// Its format.
        version: u32,
    },
    /// A running process took files for newer records while they were looked at without its lock.
    /// Beginning again helps.
    Changed,
    /// The directory or a file in it cannot be used.
    Io {
        /// The file; empty for the directory.
        name: String,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerFormat { name, version } => write!(
                f,
                "{name} has format {version}, this program knows formats up to {}",
                crate::format::VERSION
            ),
            Self::Changed => write!(f, "the store changed while it was read"),
            Self::Io { name, error } if name.is_empty() => {
                write!(f, "the store's directory: {error}")
            }
            Self::Io { name, error } => write!(f, "{name}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::NewerFormat { .. } | Self::Changed => None,
        }
    }
}
