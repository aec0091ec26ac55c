//! Giving the records of the log in order: to the owner at the start, and to whoever makes a
//! checkpoint from the log of a running store.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::event::OpenError;
use crate::format::{Checkpoint, Class, DATA_START, Position};
use crate::scan::{Found, Scanner};
use crate::table::{Segment, Table, file_name};

/// One step of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed<'a> {
    /// A record, intact.
    Entry(Entry<'a>),
    /// Records with these sequences had been durable and are lost. What follows is intact and in
    /// order, but may refer to what was lost.
    Hole(Range<u64>),
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it lies.
    pub position: Position,
    /// Its place in the order of all records; gaps are none of the owner's.
    pub sequence: u64,
    /// What the owner called it.
    pub kind: u8,
    /// What the owner put in.
    pub payload: &'a [u8],
    /// Whether it is a copy of an older record that was moved forward.
    pub moved: bool,
}

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) generation: u64,
    pub(crate) offset: u64,
    /// Of the first record.
    pub(crate) sequence: u64,
    /// Whether a complete checkpoint begins there.
    pub(crate) is_checkpoint: bool,
}

impl Start {
    /// The beginning of a complete checkpoint.
    pub(crate) fn at(checkpoint: &Checkpoint) -> Self {
        Self {
            generation: checkpoint.generation,
            offset: checkpoint.offset,
            sequence: checkpoint.begin,
            is_checkpoint: true,
        }
    }

    /// The sequence at which the checkpoint begins, where it is one.
    pub(crate) fn checkpoint(self) -> Option<u64> {
        self.is_checkpoint.then_some(self.sequence)
    }
}

impl Default for Start {
    fn default() -> Self {
        Self {
            generation: 0,
            offset: DATA_START,
            sequence: 1,
            is_checkpoint: false,
        }
    }
}

/// A part of the log that does not change any more.
#[derive(Debug)]
pub(crate) struct Stretch {
    start: Start,
    /// The first sequence that is not in it.
    end: u64,
    segments: Vec<Arc<Segment>>,
}

impl Stretch {
    /// Everything from where a replay begins at the moment up to the sequence `end`.
    pub(crate) fn up_to<D: Disk>(end: u64, table: &Table<D>) -> Self {
        let start = table.start();
        let mut segments = table.segments_from(start.generation);
        segments.retain(|segment| segment.first < end);
        Self {
            start,
            end,
            segments,
        }
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> Start {
        self.start
    }

    /// Gives every record that verifies to `sink` until that breaks off, and what does not to
    /// `damaged`. Memory is bounded by the longest record.
    pub(crate) fn walk<D: Disk>(
        &self,
        disk: &D,
        mut sink: impl FnMut(Replayed<'_>) -> ControlFlow<()>,
        mut damaged: impl FnMut(&D::File, &Segment, Range<u64>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let mut expected = self.start.sequence;
        for (index, segment) in self.segments.iter().enumerate() {
            // What a segment holds beyond the beginning of a later one was refused.
            let limit = self
                .segments
                .iter()
                .skip(index + 1)
                .map(|later| later.first)
                .fold(self.end, u64::min);
            let name = file_name(segment.slot);
            let file = disk
                .open(&name)
                .map_err(|error| OpenError::Io { name, error })?;
            let mut part = Part::new(segment, &file, self.start);
            while part.scanner.expected() < limit {
                match part.scanner.next() {
                    Found::Record { header, .. } if header.sequence >= limit => break,
                    Found::Record {
                        offset,
                        header,
                        payload,
                    } => {
                        let hole = expected..header.sequence;
                        expected = header.sequence + 1;
                        if !hole.is_empty() && sink(Replayed::Hole(hole)).is_break() {
                            return Ok(());
                        }
                        if header.class != Class::Owner {
                            continue;
                        }
                        let entry = Entry {
                            position: Position {
                                segment: segment.generation,
                                offset: u32::try_from(offset).unwrap_or(u32::MAX),
                                length: header.length,
                            },
                            sequence: header.sequence,
                            kind: header.kind,
                            payload,
                            moved: header.moved,
                        };
                        if sink(Replayed::Entry(entry)).is_break() {
                            return Ok(());
                        }
                    }
                    Found::Damage { offset, end } => damaged(&file, segment, offset..end)?,
                    Found::End { offset } => {
                        damaged(&file, segment, offset..part.length)?;
                        break;
                    }
                }
            }
        }
        if expected < self.end {
            // The last step: whether it breaks off makes no difference.
            let _ = sink(Replayed::Hole(expected..self.end));
        }
        Ok(())
    }
}

/// The part of one segment that is walked through.
struct Part<'f, F> {
    scanner: Scanner<'f, F>,
    length: u64,
}

impl<'f, F: DiskFile> Part<'f, F> {
    fn new(segment: &Segment, file: &'f F, start: Start) -> Self {
        let (offset, first) = if segment.generation == start.generation {
            (start.offset, start.sequence)
        } else {
            (DATA_START, segment.first)
        };
        // The segment that is written may grow; what is asked for is in it already.
        let length = segment.length.load(std::sync::atomic::Ordering::Relaxed);
        Self {
            scanner: Scanner::new(file, length, segment.seed, offset, first),
            length,
        }
    }
}
