//! The disk and the log under test: what workers hand in is committed when the run says so, and answers
//! come when they come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use midge_broker::Message;
use midge_broker::persist::{Kind, Records, read_message};
use midge_persistence::{Ledger, Whereabouts, batch_of, relocate, snapshot};
use midge_store::sim::SimDisk;
use midge_store::{
    Batch, CheckpointId, Committed, Event, Log, Options, Position, Reader, Recovery, Replayed,
    Settled, Submission, SyncPolicy, Tag, Work,
};

use crate::check::{Checked, broken};
use crate::model::Stamp;
use crate::world::{Millis, World};

/// The disk, the log on it, and what is on the way to it.
pub(crate) struct Storage {
    pub(crate) disk: SimDisk,
    log: Log<SimDisk>,
    reader: Reader<SimDisk>,
    pub(crate) ledger: Ledger<SimDisk>,
    /// What has been submitted and waits for its commit.
    queue: VecDeque<Submission>,
    /// Batches whose fate is not known.
    handed: BTreeMap<u64, Handed>,
    tickets: u64,
    /// Where the last record lies that is known to be safe.
    last: Option<Place>,
    checkpoint: Checkpoint,
    /// Checkpoints that came to their end.
    checkpoints: u64,
    /// When the ledger was last swept.
    swept: Millis,
}

/// A worker's batch.
struct Handed {
    stamp: Stamp,
    worker: usize,
    records: Records,
    content: Content,
    /// The log has said that it failed; it may be found there nevertheless.
    refused: bool,
}

type Content = Vec<(u8, Vec<u8>)>;

/// Segment and offset of a record.
type Place = (u64, u32);

/// What the log says to a batch.
pub(crate) struct Answered {
    pub(crate) worker: usize,
    pub(crate) stamp: Stamp,
    pub(crate) records: Records,
    /// Where they are, unless they were refused.
    pub(crate) positions: Option<Vec<Position>>,
}

/// How far a checkpoint is.
enum Checkpoint {
    Idle,
    Beginning,
    Begun(CheckpointId),
    Writing {
        id: CheckpointId,
        batches: VecDeque<Batch>,
        messages: Vec<(u64, Position)>,
    },
    Finishing(Vec<(u64, Position)>),
}

/// Segments under this share of live bytes are emptied.
const SPARSE_PERCENT: u64 = 50;

/// The settings of a run's log: small segments, so that there are many.
pub(crate) fn options(segment_bytes: u32, seed: u64) -> Options {
    Options {
        segment_bytes,
        sync: SyncPolicy::Always,
        checkpoint_bytes: u64::from(segment_bytes) * 3,
        ..Options::new(seed)
    }
}

impl Storage {
    pub(crate) fn new(
        disk: SimDisk,
        recovery: Recovery<SimDisk>,
        ledger: Ledger<SimDisk>,
        last: Option<Place>,
    ) -> Self {
        let log = Log::start(recovery);
        Self {
            disk,
            reader: log.reader(),
            log,
            ledger,
            queue: VecDeque::new(),
            handed: BTreeMap::new(),
            tickets: 0,
            last,
            checkpoint: Checkpoint::Idle,
            checkpoints: 0,
            swept: 0,
        }
    }

    fn submit(&mut self, work: Work) -> u64 {
        self.tickets += 1;
        let tag = Tag {
            writer: 1,
            ticket: self.tickets,
        };
        self.queue.push_back(Submission { tag, work });
        self.tickets
    }

    /// Takes a worker's records.
    pub(crate) fn hand_in(&mut self, worker: usize, stamp: Stamp, records: Records) -> Checked {
        self.ledger.handed_in(&records);
        let Ok(batch) = batch_of(&records) else {
            return broken(
                "records fit into the log",
                format!("{} bytes", records.size()),
            );
        };
        let content = records
            .iter()
            .map(|record| (record.kind as u8, record.payload.to_vec()))
            .collect();
        let ticket = self.submit(Work::Append(batch));
        let handed = Handed {
            stamp,
            worker,
            records,
            content,
            refused: false,
        };
        self.handed.insert(ticket, handed);
        Ok(())
    }

    /// Whether there is something to commit.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Commits the first `most` of what waits; tells what the log says to workers.
    pub(crate) fn commit(&mut self, now: Millis, most: usize) -> Vec<Answered> {
        let count = most.min(self.queue.len());
        let mut work: VecDeque<Submission> = self.queue.drain(..count).collect();
        let mut settled = Vec::new();
        self.log
            .commit(Duration::from_millis(now), &mut work, &mut settled);
        settled
            .into_iter()
            .filter_map(|settled| self.settle(settled))
            .collect()
    }

    /// Commits what waits, and nobody hears what came of it.
    pub(crate) fn commit_unheard(&mut self, now: Millis) {
        let mut work = std::mem::take(&mut self.queue);
        let now = Duration::from_millis(now);
        self.log.commit(now, &mut work, &mut Vec::new());
    }

    fn settle(&mut self, settled: Settled) -> Option<Answered> {
        let Settled {
            tag,
            outcome,
            batch,
        } = settled;
        match outcome {
            Ok(Committed::Begun(id)) => self.checkpoint = Checkpoint::Begun(id),
            Ok(Committed::Finished) => {
                self.checkpoints += 1;
                if let Checkpoint::Finishing(messages) =
                    std::mem::replace(&mut self.checkpoint, Checkpoint::Idle)
                {
                    self.checkpoint = Checkpoint::Idle;
                    self.relocate(messages);
                }
            }
            Err(_) if !self.handed.contains_key(&tag.ticket) => self.checkpoint = Checkpoint::Idle,
            Ok(Committed::Records) | Err(_) => {}
        }
        let positions: Option<Vec<Position>> = match (&outcome, batch) {
            (Ok(_), Some(batch)) => Some(batch.positions().collect()),
            _ => None,
        };
        if outcome.is_ok() {
            // What failed before is overwritten.
            self.handed.retain(|_, handed| !handed.refused);
        }
        let last = positions.iter().flatten().last();
        if let Some(last) = last {
            self.last = Some((last.segment, last.offset));
        }
        let answered = if positions.is_some() {
            let handed = self.handed.remove(&tag.ticket)?;
            Answered {
                worker: handed.worker,
                stamp: handed.stamp,
                records: handed.records,
                positions,
            }
        } else {
            let handed = self.handed.get_mut(&tag.ticket)?;
            handed.refused = true;
            Answered {
                worker: handed.worker,
                stamp: handed.stamp,
                records: std::mem::take(&mut handed.records),
                positions,
            }
        };
        Some(answered)
    }

    /// Reads messages by their names. Nothing while one of them is on its way to the disk.
    #[expect(clippy::type_complexity, reason = "what a shard takes")]
    pub(crate) fn load(
        &self,
        names: &[u64],
        unix_at_zero: Millis,
    ) -> Checked<Option<Vec<(u64, Option<Arc<Message>>)>>> {
        let mut messages = Vec::new();
        let mut scratch = Vec::new();
        for name in names {
            let position = match self.ledger.whereabouts(*name) {
                Whereabouts::OnItsWay => return Ok(None),
                Whereabouts::Unknown => {
                    messages.push((*name, None));
                    continue;
                }
                Whereabouts::At(position) => position,
            };
            let message = match self.reader.read(position, &mut scratch) {
                Ok(record) => read_message(record.payload, unix_at_zero),
                Err(error) => return broken("messages can be read back", error.to_string()),
            };
            messages.push((*name, message));
        }
        Ok(Some(messages))
    }

    /// Moves what lies alone to the end of the log.
    fn relocate(&mut self, messages: Vec<(u64, Position)>) {
        let Self {
            log,
            reader,
            ledger,
            last,
            ..
        } = self;
        let mut append = |batch: Batch| {
            let tag = Tag {
                writer: 2,
                ticket: 0,
            };
            let work = Work::Append(batch);
            let mut queue = VecDeque::from([Submission { tag, work }]);
            let mut settled = Vec::new();
            log.commit(Duration::ZERO, &mut queue, &mut settled);
            let settled = settled.pop()?;
            settled.outcome.ok()?;
            let batch = settled.batch?;
            if let Some(position) = batch.positions().last() {
                *last = Some((position.segment, position.offset));
            }
            Some(batch)
        };
        relocate(
            reader,
            ledger,
            messages.into_iter(),
            SPARSE_PERCENT,
            u64::MAX,
            &mut append,
        );
    }

    /// Does what keeps commits cheap; whether the disk takes work again.
    pub(crate) fn maintain(&mut self, now: Millis) -> bool {
        for _ in 0..MAINTAIN_MAX {
            if !self.log.maintain(Duration::from_millis(now)) {
                break;
            }
        }
        let events = self.log.take_events();
        events.contains(&Event::Recovered)
    }

    /// When [`Self::maintain`] is due.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        let due = self.log.next_due()?;
        u64::try_from(due.as_millis()).ok().map(|millis| millis + 1)
    }

    /// The next step of a checkpoint.
    pub(crate) fn checkpoint_step(&mut self, world: &World) -> Checked {
        match std::mem::replace(&mut self.checkpoint, Checkpoint::Idle) {
            Checkpoint::Idle => {
                if self.swept + SWEEP <= world.now {
                    self.swept = world.now;
                    self.ledger.sweep();
                }
                self.submit(Work::BeginCheckpoint);
                self.checkpoint = Checkpoint::Beginning;
            }
            Checkpoint::Begun(id) => {
                let Ok(state) = snapshot(&self.reader, id, &|| false) else {
                    // Void, or the disk does not read.
                    return Ok(());
                };
                if let Some(event) = state.events.first() {
                    return broken("the log is whole", event.to_string());
                }
                world.trace(|| format!("snapshot of {:?}", state.counts()));
                let mut batches = VecDeque::new();
                state.write(&mut |batch| {
                    batches.push_back(batch);
                    true
                });
                self.checkpoint = Checkpoint::Writing {
                    id,
                    batches,
                    messages: state.messages().collect(),
                };
            }
            Checkpoint::Writing {
                id,
                mut batches,
                messages,
            } => {
                if let Some(batch) = batches.pop_front() {
                    self.submit(Work::Append(batch));
                    self.checkpoint = Checkpoint::Writing {
                        id,
                        batches,
                        messages,
                    };
                } else {
                    self.submit(Work::FinishCheckpoint(id));
                    self.checkpoint = Checkpoint::Finishing(messages);
                }
            }
            waiting @ (Checkpoint::Beginning | Checkpoint::Finishing(_)) => {
                self.checkpoint = waiting;
            }
        }
        Ok(())
    }

    /// Whether a checkpoint is under way.
    pub(crate) const fn is_checkpointing(&self) -> bool {
        !matches!(self.checkpoint, Checkpoint::Idle)
    }

    /// Syncs and marks the end.
    pub(crate) fn close(&mut self, now: Millis) {
        self.log.close(Duration::from_millis(now));
    }

    /// The batches of which a recovered log has more than is known to be safe.
    pub(crate) fn survivors(
        &self,
        recovery: &mut Recovery<SimDisk>,
    ) -> Checked<(BTreeSet<Stamp>, Option<Place>)> {
        let mut tail: VecDeque<(u8, Vec<u8>)> = VecDeque::new();
        let mut last = self.last;
        let replayed = recovery.replay(|replayed| {
            if let Replayed::Entry(entry) = replayed {
                let place = (entry.position.segment, entry.position.offset);
                if self.last.is_none_or(|last| place > last) {
                    last = last.max(Some(place));
                    if entry.kind != Kind::Snapshot as u8 && !entry.moved {
                        tail.push_back((entry.kind, entry.payload.to_vec()));
                    }
                }
            }
        });
        if let Err(error) = replayed {
            return broken("a store can be read after a crash", error.to_string());
        }
        let mut survivors = BTreeSet::new();
        for handed in self.handed.values() {
            let length = handed.content.len();
            if length <= tail.len() && handed.content.iter().eq(tail.iter().take(length)) {
                survivors.insert(handed.stamp);
                tail.drain(..length);
            }
        }
        if let Some((kind, payload)) = tail.front() {
            let what = format!("a record of kind {kind} with {} bytes", payload.len());
            return broken("nothing is in the log that was not handed in", what);
        }
        Ok((survivors, last))
    }

    /// The disk as it is after a crash now: of the process alone, or of the machine.
    pub(crate) fn after_crash(&self, power: bool) -> SimDisk {
        if power {
            self.disk.crash()
        } else {
            self.disk.kill()
        }
    }

    /// Makes whole checkpoints, one after the other, when nobody else has work; tells what the disk is
    /// left with, in bytes.
    pub(crate) fn tidy(&mut self, world: &World) -> Checked<u64> {
        let enough = self.checkpoints + 2;
        for _ in 0..TIDY_STEPS_MAX {
            if self.checkpoints >= enough {
                break;
            }
            self.checkpoint_step(world)?;
            self.commit(world.now, usize::MAX);
            self.maintain(world.now);
        }
        if self.checkpoints < enough {
            return broken("checkpoints come to their end", "they do not");
        }
        Ok(self.disk.bytes())
    }
}

/// Time between two sweeps of the ledger, far above what a worker dawdles.
const SWEEP: Millis = 1000;

/// Steps that two checkpoints take at most.
const TIDY_STEPS_MAX: usize = 200;

/// Pieces of maintenance that are done at once.
const MAINTAIN_MAX: usize = 64;
