//! What can be wrong with a database, in words for its operator.

use std::{fmt, io};

use midge_codec::DecodeError;

use super::{Kind, VERSION_MAX, VERSION_MIN};

/// A chunk that was left out, and why. Reading goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The byte of the file where the fault shows.
    pub offset: u64,
    /// The byte of the file where the chunk begins.
    pub chunk: u64,
    /// The number that says what the chunk is: a [`Kind`], unless the fault is that it is none.
    pub number: u32,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No version of the format has chunks of this kind. Mosquitto passes over them, too.
    UnknownKind {
        /// How many bytes it holds.
        length: u32,
    },
    /// A field reaches over the end of its chunk.
    TooLong {
        /// The field.
        field: &'static str,
        /// Its bytes.
        length: u32,
        /// The bytes that the chunk has left, or that MQTT allows.
        room: u32,
    },
    /// Bytes follow the last field.
    LeftOver {
        /// How many.
        length: u32,
    },
    /// A field that must not be empty.
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A text that is not UTF-8 as MQTT allows it.
    Text {
        /// The field.
        field: &'static str,
    },
    /// A number that means nothing.
    Value {
        /// The field.
        field: &'static str,
        /// The number.
        value: u32,
        /// What it could be.
        expected: &'static str,
    },
    /// A topic name with wildcards.
    Topic,
    /// No valid topic filter.
    Filter,
    /// The properties of a message.
    Properties(DecodeError),
    /// A message whose id another one had before.
    Repeated {
        /// The id.
        message_id: u64,
    },
    /// A reference to a message that is not in the file, or was left out of it itself.
    Unknown {
        /// The id.
        message_id: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            chunk,
            number,
            fault,
        } = self;
        match Kind::from_number(*number) {
            Some(kind) => write!(f, "{kind} at byte {chunk} left out: ")?,
            None => write!(f, "chunk at byte {chunk} left out: ")?,
        }
        match fault {
            Fault::UnknownKind { length } => {
                write!(
                    f,
                    "kind {number} with {length} bytes, expected a kind from 1 to 6"
                )?;
            }
            Fault::TooLong {
                field,
                length,
                room,
            } => {
                write!(f, "{field} of {length} bytes, expected at most {room}")?;
            }
            Fault::LeftOver { length } => {
                write!(f, "{length} bytes too many, expected the end of the chunk")?;
            }
            Fault::Empty { field } => write!(f, "{field} is empty")?,
            Fault::Text { field } => write!(f, "{field} is not UTF-8 as MQTT allows it")?,
            Fault::Value {
                field,
                value,
                expected,
            } => {
                write!(f, "{field} is {value}, expected {expected}")?;
            }
            Fault::Topic => f.write_str("topic with a wildcard, expected a topic name")?,
            Fault::Filter => f.write_str("expected a valid topic filter")?,
            Fault::Properties(error) => write!(f, "properties: {error}")?,
            Fault::Repeated { message_id } => {
                write!(f, "a message with id {message_id} was there before")?;
            }
            Fault::Unknown { message_id } => {
                write!(f, "the message with id {message_id} is not in the file")?;
            }
        }
        write!(f, " (byte {offset})")
    }
}

/// Why a file was not read, or not read on.
#[derive(Debug)]
pub struct Stop {
    /// The byte of the file where the fault shows.
    pub offset: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What keeps a file from being read on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The file has no bytes at all. Mosquitto starts with such a file as with none.
    Empty,
    /// Another kind of file.
    NotADatabase,
    /// A version that this reader does not know.
    Version(u32),
    /// Record ids that are not 8 bytes long.
    IdSize(u8),
    /// The file ends inside its header, or inside the chunk that begins at a byte of the file.
    Truncated {
        /// Where the header or chunk begins.
        start: u64,
        /// The chunk's kind, when that much is there.
        kind: Option<Kind>,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// Reading failed.
    Io(io::Error),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        match &self.reason {
            Reason::Empty => f.write_str("the file is empty"),
            Reason::NotADatabase => f.write_str(
                "byte 0: not a database of Mosquitto, which begins with 00 b5 00 and \"mosquitto db\"",
            ),
            Reason::Version(version) if *version > VERSION_MAX => write!(
                f,
                "byte {offset}: format version {version} is newer than version {VERSION_MAX}, the \
                 last that is known here"
            ),
            Reason::Version(version) => write!(
                f,
                "byte {offset}: format version {version}, expected {VERSION_MIN} to {VERSION_MAX}"
            ),
            Reason::IdSize(size) => {
                write!(f, "byte {offset}: record ids of {size} bytes, expected 8")
            }
            Reason::Truncated { start, kind, missing } => {
                write!(f, "byte {offset}: the file ends ")?;
                match kind {
                    Some(kind) => write!(f, "inside the {kind} that begins at byte {start}")?,
                    None if *start == 0 => f.write_str("inside its header")?,
                    None => write!(f, "inside the chunk that begins at byte {start}")?,
                }
                write!(f, ", expected {missing} bytes more")
            }
            Reason::Io(error) => write!(f, "byte {offset}: {error}"),
        }
    }
}

impl std::error::Error for Stop {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Io(error) => Some(error),
            _ => None,
        }
    }
}
