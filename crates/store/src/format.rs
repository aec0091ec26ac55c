//! The bytes on the disk: segment headers, record headers, positions.
//!
//! A segment file begins with two copies of its header, one in each of its first two blocks of 4096
//! bytes; records follow from byte 8192, one after the other, each padded to a multiple of 4 bytes.
//! All numbers are little-endian.
//!
//! | segment header | bytes |
//! |---|---|
//! | `MIDGELOG` | 0..8 |
//! | format version | 8..12 |
//! | CRC-32C of bytes 0..12 | 12..16 |
//! | generation | 16..24 |
//! | salt | 24..32 |
//! | sequence of the first record | 32..40 |
//! | sequence of the first record of the batch that the segment was opened for | 40..48 |
//! | the last complete checkpoint: generation, offset and sequence of its beginning, sequence of its end; zeros for none | 48..80 |
//! | CRC-32C of bytes 0..80 | 80..84 |
//!
//! The first 16 bytes stay as they are in every version, so that an older program can tell a newer
//! format from damage.
//!
//! | record header | bytes |
//! |---|---|
//! | CRC-32C of salt, generation, own offset (4 bytes) and bytes 4..28 | 0..4 |
//! | CRC-32C of the payload | 4..8 |
//! | sequence | 8..16 |
//! | payload length | 16..20 |
//! | distance back to the last record that had been synced when this one was written | 20..24 |
//! | kind | 24 |
//! | flags: 1 last of its batch, 2 moved; 0x10 checkpoint begins, 0x20 checkpoint ends, 0x30 clean close | 25 |
//! | zero | 26..28 |

use crc32c::{crc32c, crc32c_append};

/// Where the second copy of the header stands.
pub(crate) const SECOND_COPY: u64 = 4096;
/// Where records begin.
pub(crate) const DATA_START: u64 = 8192;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER: usize = 28;
/// Bytes of a segment header.
pub(crate) const SEGMENT_HEADER: usize = 84;
/// Records begin at multiples of this.
pub(crate) const ALIGN: usize = 4;
/// The format that this program writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;
/// The longest payload of a record, in bytes: twice what MQTT can ask for.
pub const RECORD_MAX: usize = 512 * 1024 * 1024;

const MAGIC: [u8; 8] = *b"MIDGELOG";

/// Where a record lies, as long as its segment is kept.
///
/// Segments are numbered by generation, which is never used twice, so a position of a segment that is
/// gone does not read somebody else's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The generation of the segment.
    pub segment: u64,
    /// Byte of the segment's file at which the record's header stands.
    pub offset: u32,
    /// Bytes of the payload.
    pub length: u32,
}

impl Position {
    /// Bytes of the encoded form.
    pub const ENCODED: usize = 16;

    /// The bytes that [`Self::from_bytes`] reads, for records that refer to others.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::ENCODED] {
        let mut bytes = [0; Self::ENCODED];
        put(&mut bytes, 0, &self.segment.to_le_bytes());
        put(&mut bytes, 8, &self.offset.to_le_bytes());
        put(&mut bytes, 12, &self.length.to_le_bytes());
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote. Any bytes give a position; whether there is a record
    /// shows when it is pinned or read.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::ENCODED]) -> Self {
        Self {
            segment: u64_at(&bytes, 0),
            offset: u32_at(&bytes, 8),
            length: u32_at(&bytes, 12),
        }
    }

    /// Bytes that the record takes in its segment.
    pub(crate) fn size(self) -> u64 {
        record_size(self.length as usize) as u64
    }
}

/// A checkpoint that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Segment in which it begins.
    pub(crate) generation: u64,
    /// Where in the segment.
    pub(crate) offset: u64,
    /// Sequence of its first record.
    pub(crate) begin: u64,
    /// Sequence of its last record.
    pub(crate) end: u64,
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) generation: u64,
    pub(crate) salt: u64,
    /// Sequence of the first record. Records of older segments from here on do not count.
    pub(crate) first: u64,
    /// First sequence of the batch for which the segment was opened: lower than `first` when the
    /// batch begins in the segment before.
    pub(crate) batch_start: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// What a copy of a segment header turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderCopy {
    Valid(SegmentHeader),
    /// Nothing but zeros.
    Blank,
    /// Intact, of a format that this program does not know.
    Foreign(u32),
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        let prefix = crc32c(bytes.get(..12).unwrap_or_default());
        put(&mut bytes, 12, &prefix.to_le_bytes());
        put(&mut bytes, 16, &self.generation.to_le_bytes());
        put(&mut bytes, 24, &self.salt.to_le_bytes());
        put(&mut bytes, 32, &self.first.to_le_bytes());
        put(&mut bytes, 40, &self.batch_start.to_le_bytes());
        if let Some(checkpoint) = self.checkpoint {
            put(&mut bytes, 48, &checkpoint.generation.to_le_bytes());
            put(&mut bytes, 56, &checkpoint.offset.to_le_bytes());
            put(&mut bytes, 64, &checkpoint.begin.to_le_bytes());
            put(&mut bytes, 72, &checkpoint.end.to_le_bytes());
        }
        let all = crc32c(bytes.get(..80).unwrap_or_default());
        put(&mut bytes, 80, &all.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> HeaderCopy {
        if bytes.iter().all(|&byte| byte == 0) {
            return HeaderCopy::Blank;
        }
        let (Some(prefix), Some(all)) = (bytes.get(..12), bytes.get(..80)) else {
            return HeaderCopy::Damaged;
        };
        if !prefix.starts_with(&MAGIC) || crc32c(prefix) != u32_at(bytes, 12) {
            return HeaderCopy::Damaged;
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return HeaderCopy::Foreign(version);
        }
        if bytes.len() < SEGMENT_HEADER || crc32c(all) != u32_at(bytes, 80) {
            return HeaderCopy::Damaged;
        }
        let generation = u64_at(bytes, 48);
        HeaderCopy::Valid(Self {
            generation: u64_at(bytes, 16),
            salt: u64_at(bytes, 24),
            first: u64_at(bytes, 32),
            batch_start: u64_at(bytes, 40),
            checkpoint: (generation != 0).then(|| Checkpoint {
                generation,
                offset: u64_at(bytes, 56),
                begin: u64_at(bytes, 64),
                end: u64_at(bytes, 72),
            }),
        })
    }

    /// What every record's checksum in this segment begins with.
    pub(crate) fn seed(&self) -> u32 {
        crc32c_append(
            crc32c(&self.salt.to_le_bytes()),
            &self.generation.to_le_bytes(),
        )
    }

    /// The end of the checkpoint that the header tells of, for choosing between two copies.
    pub(crate) fn knows_until(&self) -> (u64, u64) {
        (
            self.generation,
            self.checkpoint.map_or(0, |known| known.end),
        )
    }
}

/// What a record is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The owner's.
    Owner,
    CheckpointBegin,
    CheckpointEnd,
    Close,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) payload_crc: u32,
    pub(crate) sequence: u64,
    pub(crate) length: u32,
    /// Last sequence that had been synced when this record was written.
    pub(crate) synced: u64,
    pub(crate) kind: u8,
    pub(crate) class: Class,
    pub(crate) last_of_batch: bool,
    pub(crate) moved: bool,
}

const LAST_OF_BATCH: u8 = 1;
const MOVED: u8 = 2;

impl RecordHeader {
    /// Encodes for the segment whose [`SegmentHeader::seed`] is given.
    pub(crate) fn encode(&self, seed: u32, offset: u32) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        put(&mut bytes, 4, &self.payload_crc.to_le_bytes());
        put(&mut bytes, 8, &self.sequence.to_le_bytes());
        put(&mut bytes, 16, &self.length.to_le_bytes());
        let back = u32::try_from(self.sequence.saturating_sub(self.synced)).unwrap_or(u32::MAX);
        put(&mut bytes, 20, &back.to_le_bytes());
        let class = match self.class {
            Class::Owner => 0,
            Class::CheckpointBegin => 0x10,
            Class::CheckpointEnd => 0x20,
            Class::Close => 0x30,
        };
        let flags = class
            | if self.last_of_batch { LAST_OF_BATCH } else { 0 }
            | if self.moved { MOVED } else { 0 };
        put(&mut bytes, 24, &[self.kind, flags]);
        let crc = header_crc(seed, offset, &bytes);
        put(&mut bytes, 0, &crc.to_le_bytes());
        bytes
    }

    /// Decodes bytes that stand at `offset`; none unless they were written there.
    pub(crate) fn decode(bytes: &[u8], seed: u32, offset: u32) -> Option<Self> {
        let bytes = bytes.first_chunk::<RECORD_HEADER>()?;
        if header_crc(seed, offset, bytes) != u32_at(bytes, 0) {
            return None;
        }
        Self::fields(bytes)
    }

    /// Reads the sequence without verifying anything, for a cheap look before the checksum.
    pub(crate) fn claimed_sequence(bytes: &[u8]) -> u64 {
        u64_at(bytes, 8)
    }

    fn fields(bytes: &[u8; RECORD_HEADER]) -> Option<Self> {
        let [.., kind, flags, _, _] = *bytes;
        let sequence = u64_at(bytes, 8);
        Some(Self {
            payload_crc: u32_at(bytes, 4),
            sequence,
            length: u32_at(bytes, 16),
            synced: sequence.saturating_sub(u64::from(u32_at(bytes, 20))),
            kind,
            class: match flags & !(LAST_OF_BATCH | MOVED) {
                0 => Class::Owner,
                0x10 => Class::CheckpointBegin,
                0x20 => Class::CheckpointEnd,
                0x30 => Class::Close,
                _ => return None,
            },
            last_of_batch: flags & LAST_OF_BATCH != 0,
            moved: flags & MOVED != 0,
        })
    }
}

fn header_crc(seed: u32, offset: u32, header: &[u8; RECORD_HEADER]) -> u32 {
    // The offset takes the place of the checksum itself.
    let mut covered = *header;
    put(&mut covered, 0, &offset.to_le_bytes());
    crc32c_append(seed, &covered)
}

/// Bytes of a record with a payload of `length` bytes.
pub(crate) const fn record_size(length: usize) -> usize {
    (RECORD_HEADER + length).next_multiple_of(ALIGN)
}

/// The payload of the record that ends a checkpoint: where it began.
pub(crate) fn encode_begin(position: Position, sequence: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    put(&mut bytes, 0, &position.to_bytes());
    put(&mut bytes, 16, &sequence.to_le_bytes());
    bytes
}

/// Reads what [`encode_begin`] wrote, in a record with sequence `end`.
pub(crate) fn decode_begin(bytes: &[u8], end: u64) -> Option<Checkpoint> {
    let position = Position::from_bytes(*bytes.first_chunk()?);
    (bytes.len() == 24).then(|| Checkpoint {
        generation: position.segment,
        offset: u64::from(position.offset),
        begin: u64_at(bytes, 16),
        end,
    })
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// Reads 4 bytes; zero beyond the end.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |field| u32::from_le_bytes(*field))
}

/// Reads 8 bytes; zero beyond the end.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests;
