//! Finding out what a store holds.
//!
//! Recovery answers three questions, in this order:
//!
//! 1. **Where does the log end?** Only the newest segment can end in an unfinished commit. Each
//!    record says up to which sequence everything had been synced when it was written, so what is
//!    missing below the highest such mark was durable once and is damage, and what is missing above
//!    it is the torn end. The log ends before the first missing record above the mark, at the end
//!    of a batch.
//! 2. **Where does replay begin?** At the beginning of the last complete checkpoint, which the
//!    newest segment's header and the checkpoint's last record both tell. When both are gone, after
//!    the last segment that is missing: segments go away only when a checkpoint that begins after
//!    them is complete.
//! 3. **What is in between?** Every record that verifies, in order. What does not is copied to a
//!    quarantine file, and the sequences that are missing are told as a hole.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_full};
use crate::event::{Event, OpenError};
use crate::format::{
    Checkpoint, Class, DATA_START, HeaderCopy, SECOND_COPY, SEGMENT_HEADER, SegmentHeader,
    decode_begin, record_size,
};
use crate::options::Options;
use crate::pool::Spare;
use crate::quarantine::Quarantine;
use crate::reader::Reader;
use crate::replay::{Replayed, Start, Stretch};
use crate::scan::{Found, Scanner};
use crate::table::{Segment, Table, file_name, slot_of};

/// A store that has been found and waits to be replayed.
#[derive(Debug)]
pub struct Recovery<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) options: Options,
    pub(crate) table: Arc<Table<D>>,
    pub(crate) spares: Vec<Spare>,
    pub(crate) next_slot: u32,
    /// The highest generation that was ever used, as far as can be known.
    pub(crate) generation: u64,
    /// The last sequence that counts.
    pub(crate) end: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) events: Vec<Event>,
    /// Segment and bytes of what may be in the system's memory only.
    pub(crate) doubtful: (u64, Range<u64>),
    replayed: bool,
}

/// A segment with a readable header.
#[derive(Clone, Copy, Debug)]
struct Kept {
    header: SegmentHeader,
    slot: u32,
    length: u64,
}

impl<D: Disk> Recovery<D> {
    /// Looks at what is there; a directory without a store is an empty one.
    ///
    /// A disk that is only looked at ([`crate::FileDisk::read_only`]) is not changed by this, nor by
    /// [`Self::replay`].
    ///
    /// # Errors
    /// [`OpenError`]. Damage is no error: it is told by [`Self::replay`].
    pub fn open(disk: D, options: Options) -> Result<Self, OpenError> {
        let disk = Arc::new(disk);
        let (mut found, tail) = Findings::of(&*disk, options.segment_size())?;
        let generation = found.segments.last().map_or(0, |k| k.header.generation);
        found.events.extend(tail.torn.clone());
        let checkpoint = found
            .segments
            .iter()
            .filter_map(|kept| kept.header.checkpoint)
            .chain(tail.checkpoint)
            .max_by_key(|checkpoint| checkpoint.end);
        // What was begun and never came to hold a record goes, and is not used again: were its header
        // half overwritten, the next start would give its generation a second time, and a power cut
        // after that could bring it back as a twin.
        while let Some(empty) = found.segments.pop_if(|kept| kept.header.first > tail.end) {
            let _ = disk.remove(&file_name(empty.slot));
        }
        let start = found.start(checkpoint);
        let table = Arc::new(Table::new(Arc::clone(&disk)));
        for kept in &found.segments {
            table.insert(Arc::new(Segment::new(
                kept.header.generation,
                kept.slot,
                kept.header.seed(),
                kept.header.first,
                kept.length,
            )));
        }
        table.set_start(start);
        table.set_floor(start.generation);
        Ok(Self {
            disk,
            options,
            table,
            spares: found.spares,
            next_slot: found.next_slot,
            generation,
            end: tail.end,
            checkpoint,
            events: found.events,
            doubtful: (generation, tail.doubtful),
            replayed: false,
        })
    }

    /// Gives the last complete checkpoint and everything after its beginning to `sink`, in order.
    ///
    /// Damage is set aside and becomes an [`Event`] and a [`Replayed::Hole`]. Memory is bounded by
    /// the longest record. A second call gives the same again, without the events.
    ///
    /// # Errors
    /// [`OpenError::Io`] when a file cannot be opened, [`OpenError::Changed`] when the disk is only
    /// looked at and somebody else has used a file again. What `sink` got is genuine and may lack
    /// records.
    pub fn replay(&mut self, mut sink: impl FnMut(Replayed<'_>)) -> Result<(), OpenError> {
        let mut quarantine = Quarantine::default();
        let (mut damage, mut holes) = (Vec::new(), Vec::new());
        let walked = Stretch::up_to(self.end + 1, &self.table).walk(
            &*self.disk,
            |step| {
                if let Replayed::Hole(sequences) = &step {
                    holes.push(Event::Hole {
                        sequences: sequences.clone(),
                    });
                }
                sink(step);
                ControlFlow::Continue(())
            },
            |file, segment, range| {
                if !self.disk.is_exclusive() && self.is_used_again(segment) {
                    return Err(OpenError::Changed);
                }
                damage.push(quarantine.keep(&*self.disk, file, segment.generation, range));
                Ok(())
            },
        );
        walked.map_err(|error| changed(&*self.disk, error))?;
        // An owner may need to go through the log twice.
        if !self.replayed {
            self.events.append(&mut damage);
            self.events.append(&mut holes);
        }
        self.replayed = true;
        Ok(())
    }

    /// The sequence at which the checkpoint begins that the replay starts from: the
    /// [`crate::CheckpointId::sequence`] that its maker was told. None without a complete checkpoint, also
    /// when the last one is damaged.
    #[must_use]
    pub fn checkpoint_begin(&self) -> Option<u64> {
        self.table.start().checkpoint()
    }

    /// Whether the file of a segment is another one's by now.
    fn is_used_again(&self, segment: &Segment) -> bool {
        match inspect(&*self.disk, &file_name(segment.slot)) {
            Ok((HeaderCopy::Valid(header), _)) => header.generation != segment.generation,
            // While it is overwritten, the header may be anything.
            Ok(_) | Err(_) => true,
        }
    }

    /// What an operator should know, since the last time this was asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Reads and pins records. Whatever the owner needs beyond the last checkpoint's beginning has
    /// to be pinned before the log is started: what is not pinned then may be freed at once.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        Reader {
            table: Arc::clone(&self.table),
        }
    }

    /// Whether there is nothing in the store, so that it may be new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }
}

/// How often a directory that somebody else changes is looked at.
const LOOKS_MAX: usize = 100;

/// What is in the directory.
#[derive(Debug, Default)]
struct Findings {
    segments: Vec<Kept>,
    spares: Vec<Spare>,
    next_slot: u32,
    events: Vec<Event>,
}

impl Findings {
    /// Looks at the files and finds the log's end.
    fn of<D: Disk>(disk: &D, segment_size: u64) -> Result<(Self, Tail), OpenError> {
        if disk.is_exclusive() {
            return Self::look_once(disk, segment_size);
        }
        for _ in 0..LOOKS_MAX {
            let look = || Self::look_once(disk, segment_size).map_err(|e| changed(disk, e));
            match (look(), look()) {
                // Nothing was taken for newer records between the first file and the last.
                (Ok(one), Ok(other)) if one.0.is_same(&other.0) => return Ok(one),
                (Err(OpenError::Changed) | Ok(_), Err(OpenError::Changed) | Ok(_)) => {}
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
        }
        Err(OpenError::Changed)
    }

    fn look_once<D: Disk>(disk: &D, segment_size: u64) -> Result<(Self, Tail), OpenError> {
        let mut found = Self::default();
        found.look(disk, segment_size)?;
        found.segments.sort_by_key(|kept| kept.header.generation);
        found.set_twins_aside(disk);
        let tail = match found.segments.last() {
            Some(newest) => Tail::find(disk, newest).map_err(|error| OpenError::Io {
                name: file_name(newest.slot),
                error,
            })?,
            None => Tail::default(),
        };
        Ok((found, tail))
    }

    /// Whether the same files hold the same segments.
    fn is_same(&self, other: &Self) -> bool {
        let names = |found: &Self| -> Vec<_> {
            let segments = found.segments.iter();
            segments
                .map(|kept| (kept.header.generation, kept.slot))
                .collect()
        };
        names(self) == names(other)
    }

    fn look<D: Disk>(&mut self, disk: &D, segment_size: u64) -> Result<(), OpenError> {
        let mut names = disk.list().map_err(|error| OpenError::Io {
            name: String::new(),
            error,
        })?;
        names.sort();
        let mut blank = Vec::new();
        for name in names {
            let Some(slot) = slot_of(&name) else { continue };
            self.next_slot = self.next_slot.max(slot.saturating_add(1));
            let inspected = inspect(disk, &name).map_err(|error| OpenError::Io {
                name: name.clone(),
                error,
            })?;
            match inspected {
                (HeaderCopy::Valid(header), length) => self.segments.push(Kept {
                    header,
                    slot,
                    length,
                }),
                (HeaderCopy::Blank, length) => blank.push(Spare { slot, length }),
                (HeaderCopy::Foreign(version), _) => {
                    return Err(OpenError::NewerFormat { name, version });
                }
                (HeaderCopy::Damaged, _) => self.set_aside(disk, name),
            }
        }
        // Only now, when it is certain that no newer program has been here.
        for spare in blank {
            if spare.length == segment_size {
                self.spares.push(spare);
            } else {
                // Prepared only in part. That it stays when it cannot be removed does no harm.
                let _ = disk.remove(&file_name(spare.slot));
            }
        }
        Ok(())
    }

    /// Of two segments with one generation (a file copied by hand), the first counts.
    fn set_twins_aside<D: Disk>(&mut self, disk: &D) {
        let mut twins = Vec::new();
        self.segments.dedup_by(|later, earlier| {
            let twin = later.header.generation == earlier.header.generation;
            if twin {
                twins.push(file_name(later.slot));
            }
            twin
        });
        for name in twins {
            self.set_aside(disk, name);
        }
    }

    fn set_aside<D: Disk>(&mut self, disk: &D, name: String) {
        let aside = format!("damaged-{name}");
        // An earlier one of that name must not be lost.
        let taken = disk.list().is_ok_and(|names| names.contains(&aside));
        let kept_as = if !taken && disk.rename(&name, &aside).is_ok() {
            aside
        } else {
            name.clone()
        };
        self.events.push(Event::SegmentUnreadable { name, kept_as });
    }

    fn start(&mut self, checkpoint: Option<Checkpoint>) -> Start {
        let known = checkpoint.filter(|checkpoint| {
            self.segments
                .iter()
                .any(|kept| kept.header.generation == checkpoint.generation)
        });
        if let Some(checkpoint) = known {
            return Start::at(&checkpoint);
        }
        let oldest = self.segments.first().map_or(1, |kept| kept.header.first);
        let index = if checkpoint.is_none() && oldest <= 1 {
            0
        } else {
            self.events.push(Event::CheckpointLost);
            self.after_last_gap()
        };
        let Some(kept) = self.segments.get(index) else {
            return Start::default();
        };
        Start {
            generation: kept.header.generation,
            sequence: kept.header.first,
            ..Start::default()
        }
    }

    fn after_last_gap(&self) -> usize {
        self.segments
            .windows(2)
            .rposition(|pair| match pair {
                [one, next] => one.header.generation + 1 < next.header.generation,
                _ => false,
            })
            .map_or(0, |index| index + 1)
    }
}

/// What an error means: a file that is gone was taken by whoever else works there.
fn changed<D: Disk>(disk: &D, error: OpenError) -> OpenError {
    match error {
        OpenError::Io { error, name }
            if !name.is_empty()
                && !disk.is_exclusive()
                && error.kind() == io::ErrorKind::NotFound =>
        {
            OpenError::Changed
        }
        other => other,
    }
}

/// Reads both copies of a segment's header and says what the file is, and how long.
///
/// What cannot be read is an error unless the other copy is good: a segment must not be taken for an
/// empty file and be used again because a disk was not ready.
fn inspect<D: Disk>(disk: &D, name: &str) -> io::Result<(HeaderCopy, u64)> {
    let file = disk.open(name)?;
    let length = file.size()?;
    let copy_at = |offset| {
        let mut bytes = [0; SEGMENT_HEADER];
        let read = read_full(&file, offset, &mut bytes)?;
        Ok(SegmentHeader::decode(bytes.get(..read).unwrap_or_default()))
    };
    let copies = match (copy_at(0), copy_at(SECOND_COPY)) {
        (Ok(one), Ok(other)) => (one, other),
        (Ok(valid @ HeaderCopy::Valid(_)), Err(_)) | (Err(_), Ok(valid @ HeaderCopy::Valid(_))) => {
            (valid, valid)
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let copy = match copies {
        (foreign @ HeaderCopy::Foreign(_), _) | (_, foreign @ HeaderCopy::Foreign(_)) => foreign,
        (HeaderCopy::Valid(one), HeaderCopy::Valid(other)) => {
            if other.knows_until() > one.knows_until() {
                HeaderCopy::Valid(other)
            } else {
                HeaderCopy::Valid(one)
            }
        }
        (valid @ HeaderCopy::Valid(_), _) | (_, valid @ HeaderCopy::Valid(_)) => valid,
        (HeaderCopy::Blank, HeaderCopy::Blank) => HeaderCopy::Blank,
        (HeaderCopy::Damaged | HeaderCopy::Blank, HeaderCopy::Damaged | HeaderCopy::Blank) => {
            HeaderCopy::Damaged
        }
    };
    Ok((copy, length))
}

/// How the log ends.
#[derive(Debug, Default)]
struct Tail {
    /// The last sequence that counts.
    end: u64,
    /// Bytes of the newest segment with records of which none says that they were synced.
    doubtful: Range<u64>,
    /// The last checkpoint that is complete in the newest segment.
    checkpoint: Option<Checkpoint>,
    torn: Option<Event>,
}

/// The state of the walk that finds the tail.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// End of the last whole batch: its sequence and where it ends.
    batch_end: u64,
    end_offset: u64,
    /// Where the commit began that it belongs to.
    commit_offset: u64,
    checkpoint: Option<Checkpoint>,
}

impl Tail {
    fn find<D: Disk>(disk: &D, newest: &Kept) -> io::Result<Self> {
        let file = disk.open(&file_name(newest.slot))?;
        let header = newest.header;
        let mut scanner = Scanner::new(
            &file,
            newest.length,
            header.seed(),
            DATA_START,
            header.first,
        );
        let mut synced = header.batch_start.saturating_sub(1);
        let mut expected = header.first;
        let mut walk = Walk {
            batch_end: synced,
            end_offset: DATA_START,
            commit_offset: DATA_START,
            checkpoint: None,
        };
        // The first gap that no mark covers, with the walk as it was before. One is enough: a mark
        // covers everything before the commit that its record belongs to, or nothing.
        let mut gap: Option<(Range<u64>, Walk)> = None;
        let mut beyond = 0;
        loop {
            let (offset, record, payload) = match scanner.next() {
                Found::Record {
                    offset,
                    header,
                    payload,
                } => (offset, header, payload),
                Found::Damage { .. } => continue,
                Found::End { .. } => break,
            };
            synced = synced.max(record.synced);
            gap = gap.filter(|(missing, _)| missing.end > synced + 1);
            let missing = expected.max(synced + 1)..record.sequence;
            if gap.is_none() && !missing.is_empty() {
                gap = Some((missing, walk));
            }
            expected = record.sequence + 1;
            if record.synced + 1 == record.sequence {
                walk.commit_offset = offset;
            }
            if record.class == Class::CheckpointEnd {
                walk.checkpoint = decode_begin(payload, record.sequence).or(walk.checkpoint);
            }
            beyond += 1;
            if record.last_of_batch {
                walk.batch_end = record.sequence;
                walk.end_offset = offset + record_size(record.length as usize) as u64;
                if gap.is_none() {
                    beyond = 0;
                }
            }
        }
        let counted = gap.as_ref().map_or(walk, |(_, before)| *before);
        let end = counted.batch_end.max(synced);
        let torn = (beyond > 0).then_some(Event::TornTail {
            segment: header.generation,
            first: end + 1,
            records: beyond,
        });
        Ok(Self {
            end,
            doubtful: counted.commit_offset..counted.end_offset,
            checkpoint: counted.checkpoint,
            torn,
        })
    }
}
