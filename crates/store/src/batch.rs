//! Records on their way to the log.

use std::fmt;

use crc32c::crc32c;

use crate::format::{
    Class, Position, RECORD_HEADER, RECORD_MAX, RecordHeader, encode_begin, record_size,
};

/// What a batch is for, which decides what it may use when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Purpose {
    /// New state: refused when the disk is full.
    #[default]
    Ordinary,
    /// Frees more than it takes (acknowledgements, removals): may use the reserve.
    Removal,
    /// Part of a checkpoint: may use the reserve; when it is refused, the checkpoint is void.
    Checkpoint,
}

/// The payload is longer than [`RECORD_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its bytes.
    pub length: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a record of {} bytes is longer than {RECORD_MAX}",
            self.length
        )
    }
}

impl std::error::Error for TooLong {}

/// Records that become durable together: after a crash all of them are there or none.
///
/// A batch comes back when it is settled, with the positions of its records, and can be cleared and
/// filled again without new memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<Slot>,
    purpose: Purpose,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Where its header begins in the batch's bytes.
    start: usize,
    pub(crate) header: RecordHeader,
    pub(crate) pinned: bool,
    pub(crate) position: Position,
}

impl Batch {
    /// Makes an empty batch.
    #[must_use]
    pub fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            ..Self::default()
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`TooLong`]; the batch is then as before.
    pub fn push(&mut self, kind: u8, payload: &[u8]) -> Result<(), TooLong> {
        self.push_with(kind, |bytes| bytes.extend_from_slice(payload))
    }

    /// Adds a record whose payload `fill` appends to the bytes it is given.
    ///
    /// # Errors
    /// [`TooLong`]; the batch is then as before.
    pub fn push_with(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
        self.add(kind, Class::Owner, fill)
    }

    /// Pins the record that was added last: its segment is kept until [`crate::Reader::unpin`].
    ///
    /// The pin holds from the moment at which the record is durable, so that no checkpoint can free
    /// the segment before the owner hears of the commit. A refused batch pins nothing.
    pub fn pin_last(&mut self) {
        if let Some(slot) = self.records.last_mut() {
            slot.pinned = true;
        }
    }

    /// Marks the record that was added last as a copy of an older one, for the replay.
    pub fn mark_moved(&mut self) {
        if let Some(slot) = self.records.last_mut() {
            slot.header.moved = true;
        }
    }

    /// Empties the batch for another use and keeps its memory, up to 1 MiB.
    pub fn clear(&mut self, purpose: Purpose) {
        self.bytes.clear();
        self.bytes.shrink_to(1024 * 1024);
        self.records.clear();
        self.records.shrink_to(16 * 1024);
        self.purpose = purpose;
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that the batch takes in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Where its records lie, in the order in which they were added. Meaningful once the batch has
    /// been committed.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = Position> {
        self.records.iter().map(|slot| slot.position)
    }

    /// The batch that begins a checkpoint or closes the log.
    pub(crate) fn internal(class: Class) -> Self {
        let mut batch = Self::new(Purpose::Checkpoint);
        // An empty payload is never too long.
        let _ = batch.add(0, class, |_| {});
        batch
    }

    /// The batch that ends the checkpoint which began there.
    pub(crate) fn checkpoint_end(begin: Position, sequence: u64) -> Self {
        let mut batch = Self::new(Purpose::Checkpoint);
        let _ = batch.add(0, Class::CheckpointEnd, |bytes| {
            bytes.extend_from_slice(&encode_begin(begin, sequence));
        });
        batch
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.records
    }

    pub(crate) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.records.get_mut(index)
    }

    /// Appends the record with this header, and what pads it, to `buffer`.
    pub(crate) fn write_record(&self, slot: &Slot, header: &[u8], buffer: &mut Vec<u8>) {
        let size = record_size(slot.header.length as usize);
        let after = slot.start + RECORD_HEADER..slot.start + size;
        buffer.extend_from_slice(header);
        buffer.extend_from_slice(self.bytes.get(after).unwrap_or_default());
    }

    fn add(
        &mut self,
        kind: u8,
        class: Class,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TooLong> {
        let start = self.bytes.len();
        self.bytes.resize(start + RECORD_HEADER, 0);
        fill(&mut self.bytes);
        let payload = self.bytes.get(start + RECORD_HEADER..).unwrap_or_default();
        let length = match u32::try_from(payload.len()) {
            Ok(length) if payload.len() <= RECORD_MAX => length,
            _ => {
                let length = payload.len();
                self.bytes.truncate(start);
                return Err(TooLong { length });
            }
        };
        let payload_crc = crc32c(payload);
        self.bytes.resize(start + record_size(length as usize), 0);
        self.records.push(Slot {
            start,
            header: RecordHeader {
                payload_crc,
                sequence: 0,
                length,
                synced: 0,
                kind,
                class,
                last_of_batch: false,
                moved: false,
            },
            pinned: false,
            position: Position::default(),
        });
        Ok(())
    }
}
