//! Reading records back, and saying which must stay.

use std::ops::ControlFlow;
use std::sync::Arc;

use crc32c::crc32c;

use crate::batch::Batch;
use crate::disk::{Disk, FileDisk, read_full};
use crate::event::{Event, OpenError, ReadError};
use crate::format::{Class, Position, RECORD_HEADER, RECORD_MAX, RecordHeader};
use crate::log::CheckpointId;
use crate::replay::{Replayed, Stretch};
use crate::table::{Segment, Sparse, Table, Usage};

/// One read covers neighbouring records up to this many bytes.
const RUN_BYTES: u64 = 1024 * 1024;
/// Bytes between two records that are cheaper to read than to skip.
const GAP_BYTES: u64 = 32 * 1024;
/// What an operator is told of one replay's damage.
const EVENTS_MAX: usize = 64;

/// Reads records by their position and keeps the ones that are needed.
///
/// Clones are cheap; every thread may have one.
#[derive(Debug)]
pub struct Reader<D: Disk = FileDisk> {
    pub(crate) table: Arc<Table<D>>,
}

impl<D: Disk> Clone for Reader<D> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
        }
    }
}

/// A record that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the owner called it.
    pub kind: u8,
    /// What the owner put in.
    pub payload: &'a [u8],
}

impl<D: Disk> Reader<D> {
    /// Keeps a record on the disk until it is unpinned as often as it was pinned. False when its
    /// segment is gone already.
    pub fn pin(&self, position: Position) -> bool {
        self.table.pin(position)
    }

    /// Takes back a pin.
    pub fn unpin(&self, position: Position) {
        self.table.unpin(position);
    }

    /// Reads one record; `scratch` lends the memory.
    ///
    /// # Errors
    /// [`ReadError`]; never somebody else's bytes.
    pub fn read<'a>(
        &self,
        position: Position,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Record<'a>, ReadError> {
        let segment = self
            .table
            .segment(position.segment)
            .ok_or(ReadError::Gone)?;
        let start = u64::from(position.offset);
        self.fetch(&segment, start, start + position.size(), scratch)?;
        match verify(&segment, position, scratch) {
            // The segment may have been taken for other records while it was read.
            Err(ReadError::Damaged) if self.table.segment(position.segment).is_none() => {
                Err(ReadError::Gone)
            }
            result => result,
        }
    }

    /// Reads many records, neighbours with one system call; the order in which they were appended is
    /// the fastest. `sink` gets each with its index, in the order asked for.
    pub fn read_many(
        &self,
        positions: &[Position],
        scratch: &mut Vec<u8>,
        mut sink: impl FnMut(usize, Result<Record<'_>, ReadError>),
    ) {
        let mut index = 0;
        while let Some((&first, rest)) = positions.get(index..).and_then(<[_]>::split_first) {
            let Some(segment) = self.table.segment(first.segment) else {
                sink(index, Err(ReadError::Gone));
                index += 1;
                continue;
            };
            let start = u64::from(first.offset);
            let (count, end) = run(first, rest);
            if count > 1 && self.fetch(&segment, start, end, scratch).is_err() {
                // One of them may still be readable.
                for position in positions.iter().skip(index).take(count) {
                    sink(index, self.read(*position, scratch));
                    index += 1;
                }
                continue;
            }
            if count == 1 {
                sink(index, self.read(first, scratch));
                index += 1;
                continue;
            }
            for &position in positions.iter().skip(index).take(count) {
                let at = usize::try_from(u64::from(position.offset) - start).unwrap_or(usize::MAX);
                let bytes = scratch.get(at..).unwrap_or_default();
                sink(index, verify(&segment, position, bytes));
                index += 1;
            }
        }
    }

    /// Gives `sink` the last complete checkpoint and everything that was committed after its
    /// beginning and before the beginning of `until`, from the files of the running store: what
    /// [`crate::Recovery::replay`] would give if the log ended there. For making the checkpoint
    /// `until` from the log instead of from the live state.
    ///
    /// The commit thread may go on meanwhile, and nothing on the disk is changed by this. Memory is
    /// bounded by the longest record. Damage is told as [`Replayed::Hole`], and by the events that
    /// are given back for the operator, 64 of them at most; a recovery sets the bytes aside, this
    /// does not. Ends early when `sink` breaks off.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when `until`, or a checkpoint that began after it, is complete by now:
    /// what was given to `sink` may lack records then. [`ReadError::Io`] when a file cannot be
    /// opened.
    pub fn replay(
        &self,
        until: CheckpointId,
        sink: impl FnMut(Replayed<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Event>, ReadError> {
        let stretch = Stretch::up_to(until.sequence(), &self.table);
        let start = stretch.start();
        if start.sequence > until.sequence() || start.checkpoint() == Some(until.sequence()) {
            return Err(ReadError::Gone);
        }
        let mut events = Vec::new();
        let walked = stretch.walk(&*self.table.disk, sink, |_, segment, range| {
            if events.len() < EVENTS_MAX {
                events.push(Event::Quarantined {
                    segment: segment.generation,
                    offset: range.start,
                    bytes: range.end.saturating_sub(range.start),
                    kept_in: None,
                });
            }
            Ok(())
        });
        // Segments are used again once another checkpoint is complete.
        if self.table.start() != start {
            return Err(ReadError::Gone);
        }
        match walked {
            Ok(()) => Ok(events),
            Err(OpenError::Io { error, .. }) => Err(ReadError::Io(error)),
            Err(OpenError::NewerFormat { .. } | OpenError::Changed) => Err(ReadError::Gone),
        }
    }

    /// The sequence at which the last complete checkpoint begins, where [`Self::replay`] starts;
    /// none before the first one.
    #[must_use]
    pub fn checkpoint_begin(&self) -> Option<u64> {
        self.table.start().checkpoint()
    }

    /// Appends a pinned copy of a record to `batch`, marked as moved.
    ///
    /// Once the batch is committed, the owner keeps the new position and unpins the old one. A
    /// replay shows the copy as [`crate::Entry::moved`]: the same thing at another place.
    ///
    /// # Errors
    /// [`ReadError`]; the batch is then as before.
    pub fn relocate(
        &self,
        position: Position,
        batch: &mut Batch,
        scratch: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let record = self.read(position, scratch)?;
        // It was short enough when it was first written.
        batch
            .push(record.kind, record.payload)
            .map_err(|_| ReadError::Damaged)?;
        batch.pin_last();
        batch.mark_moved();
        Ok(())
    }

    /// Segments that are needed only for pinned records which take less than `share_percent` of
    /// them, the oldest first.
    #[must_use]
    pub fn sparse_segments(&self, share_percent: u64) -> Vec<Sparse> {
        self.table.sparse(share_percent)
    }

    /// What the store takes on the disk.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.table.usage()
    }

    fn fetch(
        &self,
        segment: &Segment,
        start: u64,
        end: u64,
        scratch: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let length = segment.length.load(std::sync::atomic::Ordering::Relaxed);
        let wanted = usize::try_from(end - start).unwrap_or(usize::MAX);
        // A position may come from damaged bytes: it must not make us take memory for nothing.
        if end > length || wanted > RECORD_MAX + RECORD_HEADER + 4 {
            return Err(ReadError::Damaged);
        }
        let file = self.table.file(segment).map_err(|error| {
            match error.kind() {
                // Freed since its table entry was looked up.
                std::io::ErrorKind::NotFound => ReadError::Gone,
                _ => ReadError::Io(error),
            }
        })?;
        scratch.resize(wanted, 0);
        let read = read_full(&*file, start, scratch).map_err(ReadError::Io)?;
        scratch.truncate(read);
        Ok(())
    }
}

/// How many positions from `first` on one read covers, and where it ends.
fn run(first: Position, rest: &[Position]) -> (usize, u64) {
    let start = u64::from(first.offset);
    let mut end = start + first.size();
    let mut count = 1;
    for next in rest {
        let offset = u64::from(next.offset);
        let joins = next.segment == first.segment
            && offset >= end
            && offset - end <= GAP_BYTES
            && offset + next.size() - start <= RUN_BYTES;
        if !joins {
            break;
        }
        end = offset + next.size();
        count += 1;
    }
    (count, end)
}

fn verify<'a>(
    segment: &Segment,
    position: Position,
    bytes: &'a [u8],
) -> Result<Record<'a>, ReadError> {
    let header = RecordHeader::decode(bytes, segment.seed, position.offset)
        .filter(|header| header.length == position.length && header.class == Class::Owner)
        .ok_or(ReadError::Damaged)?;
    let payload = bytes
        .get(RECORD_HEADER..RECORD_HEADER + header.length as usize)
        .filter(|payload| crc32c(payload) == header.payload_crc)
        .ok_or(ReadError::Damaged)?;
    Ok(Record {
        kind: header.kind,
        payload,
    })
}
