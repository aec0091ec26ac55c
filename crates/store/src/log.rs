//! The log itself: what to write, when to sync, what is committed. It has no thread and no clock.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Purpose};
use crate::disk::{Disk, DiskFile, rewrite, write_all};
use crate::event::{Event, Refused};
use crate::format::{Checkpoint, Class, DATA_START, Position, SECOND_COPY, record_size};
use crate::options::{Options, SyncPolicy};
use crate::pool::{Pool, Spare};
use crate::reader::Reader;
use crate::recovery::Recovery;
use crate::replay::Start;
use crate::table::Table;

use segments::Active;

mod segments;

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Who handed in a piece of work, as numbers of the caller's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The producer.
    pub writer: u32,
    /// Which of its pieces of work.
    pub ticket: u64,
}

/// A checkpoint that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointId(u64);

impl CheckpointId {
    /// The sequence at which it begins. An owner puts it into the records of the snapshot, so that a
    /// replay can tell them from those of a checkpoint that was never finished
    /// ([`Recovery::checkpoint_begin`]).
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0
    }
}

/// What can be asked of the log.
#[derive(Debug)]
pub enum Work {
    /// Append these records.
    Append(Batch),
    /// Begin a checkpoint: records from here on, with the snapshot that the owner appends, describe
    /// the whole state. A checkpoint that has begun and is not finished becomes void.
    BeginCheckpoint,
    /// The whole state has been appended since the checkpoint began.
    FinishCheckpoint(CheckpointId),
}

/// A piece of work and whose it is.
#[derive(Debug)]
pub struct Submission {
    /// Comes back with the answer.
    pub tag: Tag,
    /// What to do.
    pub work: Work,
}

/// The answer to a [`Submission`].
#[derive(Debug)]
pub struct Settled {
    /// Whose it is.
    pub tag: Tag,
    /// What came of it.
    pub outcome: Result<Committed, Refused>,
    /// The batch, with the positions of its records when they were committed.
    pub batch: Option<Batch>,
}

/// What was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The records of the batch.
    Records,
    /// The beginning of a checkpoint.
    Begun(CheckpointId),
    /// A whole checkpoint; what it replaces is freed.
    Finished,
}

/// The log of one store.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: Arc<D>,
    options: Options,
    table: Arc<Table<D>>,
    pool: Pool<D>,
    active: Option<Active<D::File>>,
    /// The newest segment's.
    generation: u64,
    /// Of the record that is placed next.
    next: u64,
    /// The last record whose owner has been told, or is about to be.
    settled: u64,
    /// The last record that was both settled and synced.
    synced: u64,
    checkpoint: Option<Checkpoint>,
    begun: Option<Begun>,
    /// Bytes of ordinary work since the beginning of the last complete checkpoint: by so much, the
    /// next one may be larger.
    grown: u64,
    /// On a full disk, bytes of log before which a checkpoint that was refused is not tried again.
    not_before: u64,
    /// Placed and not settled.
    pending: Vec<Pending>,
    buffer: Vec<u8>,
    sync_due: Option<Duration>,
    events: Vec<Event>,
    figures: Figures,
    closed: bool,
}

/// Counts since the log was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Figures {
    /// Records committed.
    pub records: u64,
    /// Bytes written, headers included, preparing not.
    pub bytes: u64,
    /// Syncs that commits caused.
    pub syncs: u64,
    /// Log bytes since the beginning of the last complete checkpoint.
    pub since_checkpoint: u64,
    /// Bytes of the last complete checkpoint's own records.
    pub checkpoint: u64,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    position: Position,
    sequence: u64,
    /// `Figures::since_checkpoint` at the beginning.
    log_bytes: u64,
    /// Bytes of the snapshot so far.
    own_bytes: u64,
    /// `Log::grown` at the beginning.
    grown: u64,
}

#[derive(Debug)]
struct Pending {
    tag: Tag,
    batch: Batch,
    class: Class,
    verdict: Result<(), Refused>,
    last: u64,
}

impl<D: Disk> Log<D> {
    /// Goes on where the recovered log ends. Nothing is written before the first commit.
    ///
    /// What the owner needs of segments before the last checkpoint has to be pinned by now.
    #[must_use]
    pub fn start(recovery: Recovery<D>) -> Self {
        let doubtful = recovery.doubtful;
        let mut log = Self {
            pool: Pool::new(
                Arc::clone(&recovery.disk),
                &recovery.options,
                recovery.spares,
                recovery.next_slot,
            ),
            disk: recovery.disk,
            options: recovery.options,
            table: recovery.table,
            active: None,
            generation: recovery.generation,
            next: recovery.end + 1,
            settled: recovery.end,
            synced: recovery.end,
            checkpoint: recovery.checkpoint,
            begun: None,
            grown: 0,
            not_before: 0,
            pending: Vec::new(),
            buffer: Vec::new(),
            sync_due: None,
            events: recovery.events,
            figures: Figures::default(),
            closed: false,
        };
        log.sync_recovered(doubtful.0, doubtful.1);
        // Not exact, and enough to know that a checkpoint is due after many restarts.
        log.figures.since_checkpoint = log.table.bytes_since_start();
        log.grown = log.figures.since_checkpoint;
        log.expect();
        log
    }

    /// Makes durable what was found: after a kill it may be in the system's memory only, and from
    /// now on it counts as committed. It is written once more, because after a sync that failed the
    /// system may take for clean what never reached the disk.
    fn sync_recovered(&mut self, generation: u64, doubtful: Range<u64>) {
        let Some(newest) = self.table.newest() else {
            return;
        };
        let synced = self.table.file(&newest).and_then(|file| {
            if newest.generation == generation {
                // With nothing synced after it, the header is in doubt as well.
                let from = Some(doubtful.start).filter(|&start| start > DATA_START);
                rewrite(&*file, from.unwrap_or(0)..doubtful.end)?;
            }
            file.sync()?;
            self.disk.sync_directory()
        });
        if let Err(error) = synced {
            self.events.push(Event::DiskFailed {
                segment: newest.generation,
                error: error.to_string(),
            });
        }
    }

    /// Does all the work that waits, with one sync for it as the policy asks, and says what came of
    /// each piece in the order of submission.
    pub fn commit(
        &mut self,
        now: Duration,
        work: &mut VecDeque<Submission>,
        settled: &mut Vec<Settled>,
    ) {
        while let Some(submission) = work.pop_front() {
            self.place(now, submission, settled);
        }
        self.settle(now, settled);
    }

    /// Does a bounded piece of what keeps commits cheap: prepares files, frees segments, tries again
    /// after trouble. True when there is more to do at once.
    pub fn maintain(&mut self, now: Duration) -> bool {
        if self.closed {
            return false;
        }
        for segment in self.table.take_free() {
            self.pool.give_back(Spare {
                slot: segment.slot,
                length: segment.length.load(std::sync::atomic::Ordering::Relaxed),
            });
        }
        if self.sync_due.is_some_and(|due| due <= now) {
            self.sync_late(now);
        }
        self.expect();
        if self.active.is_none() {
            if self.pool.waits(now) || self.reopen(now).is_err() {
                return false;
            }
            return true;
        }
        self.look_ahead(now) || self.pool.prepare(now)
    }

    /// When [`Self::maintain`] should be called at the latest, if nothing else happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        [self.sync_due, self.pool.retry_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Syncs everything and marks the end, so that the next start finds no doubt. What is submitted
    /// later is refused.
    pub fn close(&mut self, now: Duration) {
        if self.closed {
            return;
        }
        let mut settled = Vec::new();
        self.settle(now, &mut settled);
        self.sync_late(now);
        // A log that says nothing new needs no mark.
        if self.figures.records > 0 {
            let tag = Tag {
                writer: 0,
                ticket: 0,
            };
            self.place_batch(
                now,
                tag,
                Batch::internal(Class::Close),
                Class::Close,
                &mut settled,
            );
            self.settle(now, &mut settled);
            self.sync_late(now);
        }
        self.closed = true;
    }

    /// Reads, pins and relocates records.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        Reader {
            table: Arc::clone(&self.table),
        }
    }

    /// What an operator should know, since the last time this was asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.append(&mut self.pool.take_events());
        std::mem::take(&mut self.events)
    }

    /// Counts since the start.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Bytes of prepared files that hold nothing yet.
    #[must_use]
    pub fn spare_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Whether the log has become long enough to be worth a checkpoint; on a disk that is full or
    /// nearly so, it is worth one earlier.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        let figures = self.figures;
        if self.begun.is_some() {
            return false;
        }
        let own = self.pool.file_bytes(figures.checkpoint);
        let beyond = figures.since_checkpoint.saturating_sub(
            // What a checkpoint took counts as log as well, with the beginnings of its segments.
            own.saturating_sub(2 * self.options.segment_size())
                .max(figures.checkpoint),
        );
        let worthwhile = own + self.options.segment_size() / 4;
        if self.pool.is_full() {
            // Removals may take half of the room that the next checkpoint leaves.
            let half = self.pool.room().saturating_sub(own) / 2;
            return figures.since_checkpoint >= self.not_before
                && beyond >= half.clamp(worthwhile - own, worthwhile);
        }
        if self.pool.is_short() && beyond >= worthwhile {
            return true;
        }
        figures.since_checkpoint > self.cycle_bytes()
    }

    /// Bytes of log from one checkpoint to the next.
    fn cycle_bytes(&self) -> u64 {
        let checkpoint = self.figures.checkpoint.saturating_mul(4);
        self.options.checkpoint_bytes.max(checkpoint)
    }

    fn expect(&mut self) {
        let snapshot = self.figures.checkpoint.saturating_add(self.grown);
        let log = self.cycle_bytes().saturating_add(self.figures.checkpoint);
        self.pool.expect(snapshot, log);
    }

    fn place(&mut self, now: Duration, submission: Submission, settled: &mut Vec<Settled>) {
        let tag = submission.tag;
        match submission.work {
            _ if self.closed => self.refuse(tag, submission.work, Refused::Closed),
            Work::Append(batch) => self.place_batch(now, tag, batch, Class::Owner, settled),
            Work::BeginCheckpoint => {
                let class = Class::CheckpointBegin;
                self.place_batch(now, tag, Batch::internal(class), class, settled);
            }
            Work::FinishCheckpoint(id) => {
                // What was handed in before may void it still.
                self.settle(now, settled);
                match self.begun.filter(|begun| begun.sequence == id.0) {
                    Some(begun) => {
                        let batch = Batch::checkpoint_end(begun.position, begun.sequence);
                        self.place_batch(now, tag, batch, Class::CheckpointEnd, settled);
                        self.settle(now, settled);
                    }
                    None => {
                        let work = Work::FinishCheckpoint(id);
                        self.refuse(tag, work, Refused::CheckpointVoid);
                    }
                }
            }
        }
    }

    fn refuse(&mut self, tag: Tag, work: Work, why: Refused) {
        let (batch, class) = match work {
            Work::Append(batch) => (batch, Class::Owner),
            Work::BeginCheckpoint => (Batch::default(), Class::CheckpointBegin),
            Work::FinishCheckpoint(_) => (Batch::default(), Class::CheckpointEnd),
        };
        self.pending.push(Pending {
            tag,
            batch,
            class,
            verdict: Err(why),
            last: self.settled,
        });
    }

    fn place_batch(
        &mut self,
        now: Duration,
        tag: Tag,
        mut batch: Batch,
        class: Class,
        settled: &mut Vec<Settled>,
    ) {
        let verdict = self.try_place(now, &mut batch, settled);
        self.pending.push(Pending {
            tag,
            batch,
            class,
            verdict,
            last: self.next - 1,
        });
    }

    /// Puts all records of a batch into the buffer, or leaves the log as if it had not come.
    fn try_place(
        &mut self,
        now: Duration,
        batch: &mut Batch,
        settled: &mut Vec<Settled>,
    ) -> Result<(), Refused> {
        let first = self.next;
        let generation = self.generation;
        let before = self.active.as_ref().map(|active| active.offset);
        let buffered = self.buffer.len();
        for index in 0..batch.len() {
            if let Err(refused) = self.place_record(now, batch, index, first, settled) {
                if self.generation != generation {
                    // A segment was opened for this batch and holds nothing else.
                    self.drop_active();
                } else if let (Some(active), Some(offset)) = (&mut self.active, before)
                    && self.next > first
                {
                    // Still in the buffer: records of one batch are not written before it is whole,
                    // unless they leave the segment.
                    active.offset = offset;
                    self.buffer.truncate(buffered);
                }
                self.next = self.settled.max(first.min(self.next) - 1) + 1;
                return Err(refused);
            }
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer(now, settled)?;
        }
        Ok(())
    }

    fn place_record(
        &mut self,
        now: Duration,
        batch: &mut Batch,
        index: usize,
        batch_start: u64,
        settled: &mut Vec<Settled>,
    ) -> Result<(), Refused> {
        let last = index + 1 == batch.len();
        let Some(size) = batch
            .slots()
            .get(index)
            .map(|slot| record_size(slot.header.length as usize) as u64)
        else {
            return Ok(());
        };
        if !self.has_room(now, size) {
            self.rotate(now, batch.purpose(), size, batch_start, settled)?;
        }
        let (synced, sequence) = (self.synced, self.next);
        let Some(active) = &mut self.active else {
            return Err(Refused::Closed);
        };
        let Ok(offset) = u32::try_from(active.offset) else {
            return Err(Refused::Closed);
        };
        let Some(slot) = batch.slot_mut(index) else {
            return Ok(());
        };
        slot.header.sequence = sequence;
        slot.header.synced = synced;
        slot.header.last_of_batch = last;
        slot.position = Position {
            segment: active.segment.generation,
            offset,
            length: slot.header.length,
        };
        let slot = *slot;
        let header = slot.header.encode(active.segment.seed, offset);
        batch.write_record(&slot, &header, &mut self.buffer);
        active.offset += size;
        self.next += 1;
        Ok(())
    }

    fn write_buffer(&mut self, now: Duration, settled: &mut Vec<Settled>) -> Result<(), Refused> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let at = active.offset - self.buffer.len() as u64;
        match write_all(&*active.file, at, &self.buffer) {
            Ok(()) => {
                active.unsynced = true;
                let written = self.buffer.len() as u64;
                self.figures.bytes += written;
                self.figures.since_checkpoint += written;
                self.buffer.clear();
                self.buffer.shrink_to(2 * BUFFER_BYTES);
                Ok(())
            }
            Err(error) => Err(self.abandon(now, &error, settled)),
        }
    }

    /// Makes durable what has been written. What is pending is not settled by this.
    fn sync(&mut self, now: Duration, settled: &mut Vec<Settled>) -> Result<(), Refused> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if !active.unsynced {
            return Ok(());
        }
        self.figures.syncs += 1;
        match active.file.sync() {
            Ok(()) => {
                active.unsynced = false;
                self.sync_due = None;
                if let Some(known) = active.header.checkpoint {
                    self.table.set_floor(known.generation);
                }
                Ok(())
            }
            Err(error) => Err(self.abandon(now, &error, settled)),
        }
    }

    /// Writes what is buffered, syncs as the policy asks, and settles.
    fn settle(&mut self, now: Duration, settled: &mut Vec<Settled>) {
        if self.pending.is_empty() {
            return;
        }
        if self.write_buffer(now, settled).is_err() {
            return;
        }
        let finishes = self
            .pending
            .iter()
            .any(|pending| pending.class == Class::CheckpointEnd && pending.verdict.is_ok());
        let at_once = match self.options.sync {
            SyncPolicy::Always => true,
            SyncPolicy::Interval(_) | SyncPolicy::Os => finishes,
        };
        if at_once {
            if self.sync(now, settled).is_err() {
                return;
            }
        } else if let SyncPolicy::Interval(interval) = self.options.sync
            && self.sync_due.is_none()
            && self.active.as_ref().is_some_and(|active| active.unsynced)
        {
            self.sync_due = Some(now + interval);
        }
        self.settle_pending(settled);
        if at_once {
            self.synced = self.settled;
        }
        if finishes {
            self.tell_checkpoint(now, settled);
        }
    }

    fn settle_pending(&mut self, settled: &mut Vec<Settled>) {
        for pending in std::mem::take(&mut self.pending) {
            let Pending {
                tag,
                batch,
                class,
                verdict,
                last,
            } = pending;
            let outcome = match verdict {
                Ok(()) => {
                    self.settled = last;
                    Ok(self.committed(&batch, class))
                }
                Err(refused) => {
                    self.void_checkpoint(&batch);
                    Err(refused)
                }
            };
            settled.push(Settled {
                tag,
                outcome,
                batch: (class == Class::Owner).then_some(batch),
            });
        }
    }

    fn committed(&mut self, batch: &Batch, class: Class) -> Committed {
        self.figures.records += batch.len() as u64;
        for slot in batch.slots().iter().filter(|slot| slot.pinned) {
            self.table.pin(slot.position);
        }
        match (batch.purpose(), &mut self.begun) {
            (Purpose::Ordinary, _) => self.grown += batch.bytes() as u64,
            (Purpose::Checkpoint, Some(begun)) => begun.own_bytes += batch.bytes() as u64,
            (Purpose::Checkpoint, None) | (Purpose::Removal, _) => {}
        }
        let only = batch.slots().first();
        match (class, only, self.begun) {
            (Class::CheckpointBegin, Some(slot), _) => {
                let sequence = slot.header.sequence;
                self.begun = Some(Begun {
                    position: slot.position,
                    sequence,
                    log_bytes: self.figures.since_checkpoint,
                    own_bytes: 0,
                    grown: self.grown,
                });
                Committed::Begun(CheckpointId(sequence))
            }
            (Class::CheckpointEnd, Some(slot), Some(begun)) => {
                let complete = Checkpoint {
                    generation: begun.position.segment,
                    offset: u64::from(begun.position.offset),
                    begin: begun.sequence,
                    end: slot.header.sequence,
                };
                self.checkpoint = Some(complete);
                self.table.set_start(Start::at(&complete));
                self.figures.checkpoint = begun.own_bytes;
                self.figures.since_checkpoint = self
                    .figures
                    .since_checkpoint
                    .saturating_sub(begun.log_bytes);
                self.grown = self.grown.saturating_sub(begun.grown);
                self.not_before = 0;
                self.begun = None;
                Committed::Finished
            }
            _ => Committed::Records,
        }
    }

    fn void_checkpoint(&mut self, refused: &Batch) {
        if refused.purpose() == Purpose::Checkpoint {
            self.begun = None;
            let pause = self.options.segment_size();
            self.not_before = self.figures.since_checkpoint.saturating_add(pause);
        }
    }

    /// Writes the checkpoint that is now the last one to a second place before anything that it
    /// replaces is freed: the one record that tells of it may go bad.
    fn tell_checkpoint(&mut self, now: Duration, settled: &mut Vec<Settled>) {
        let Some(active) = &mut self.active else {
            return;
        };
        active.header.checkpoint = self.checkpoint;
        active.unsynced = true;
        let told = write_all(&*active.file, SECOND_COPY, &active.header.encode());
        let result = match told {
            Ok(()) => self.sync(now, settled),
            Err(error) => Err(self.abandon(now, &error, settled)),
        };
        // Otherwise the next segment's header tells.
        let _ = result;
    }

    fn sync_late(&mut self, now: Duration) {
        let written = self.settled;
        self.sync_due = None;
        if self.sync(now, &mut Vec::new()).is_ok() {
            self.synced = written;
        }
    }

    /// Gives up the current segment after an error that leaves open what is on the disk: nothing
    /// that waited is committed, and the segment counts up to what was settled.
    fn abandon(&mut self, now: Duration, error: &io::Error, settled: &mut Vec<Settled>) -> Refused {
        let segment = self.active.as_ref().map_or(0, |a| a.segment.generation);
        let refused = self.pool.failed(now, segment, 0, error);
        for pending in &mut self.pending {
            if pending.verdict.is_ok() {
                pending.verdict = Err(refused.clone());
            }
        }
        self.settle_pending(settled);
        self.buffer.clear();
        self.next = self.settled + 1;
        self.sync_due = None;
        self.drop_active();
        refused
    }
}
