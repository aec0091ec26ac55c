//! The durable queue on the disk: records of the core, in a log.

mod format;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use midge_store::{
    Batch, Committed, FileDisk, Log, Options, Purpose, Recovery, Refused, Replayed, Settled,
    Submission, Tag, Work,
};

use crate::core::{Record, Restored, Step};
use crate::net::Resolving;
use crate::shared::{OnDrop, Shared};
use format::Entry;

/// The files of one client's queue. One process at a time can have them.
pub(crate) struct Queue {
    log: Log<FileDisk>,
    start: Instant,
}

/// What became of records.
#[derive(Debug)]
enum Outcome {
    /// All are safe.
    Safe,
    /// All but messages are safe; those are not kept, for this reason.
    MessagesRefused(String),
    /// Nothing is safe, for this reason.
    Failing(String),
}

/// Bytes of a segment: a queue on a small device takes a few of them.
const SEGMENT_BYTES: u32 = 1024 * 1024;
const CHECKPOINT_BYTES: u64 = 8 * 1024 * 1024;

/// How long to wait before a disk that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Steps of maintenance after each commit.
const MAINTENANCE_MAX: usize = 4;

impl Queue {
    /// Opens the queue in `directory`, which is made if it is missing, and gives what is in it.
    pub(crate) fn open(directory: &Path, seed: u64) -> Result<(Self, Vec<Restored>), String> {
        let tell = |why: &dyn std::fmt::Display| format!("{}: {why}", directory.display());
        std::fs::create_dir_all(directory).map_err(|error| tell(&error))?;
        let disk = FileDisk::open(directory).map_err(|error| tell(&error))?;
        let options = Options {
            segment_bytes: SEGMENT_BYTES,
            checkpoint_bytes: CHECKPOINT_BYTES,
            ..Options::new(seed)
        };
        let mut recovery = Recovery::open(disk, options).map_err(|error| tell(&error))?;
        let mut found = Found::default();
        recovery
            .replay(|step| match step {
                Replayed::Entry(entry) => found.take(entry.kind, entry.payload),
                // What is lost is lost; the rest still has to be delivered.
                Replayed::Hole(_) => found.pass_hole(),
            })
            .map_err(|error| tell(&error))?;
        if let Some(why) = found.unreadable {
            return Err(tell(&why));
        }
        let queue = Self {
            log: Log::start(recovery),
            start: Instant::now(),
        };
        Ok((queue, found.finish()))
    }

    fn commit(&mut self, work: Work) -> Option<Settled> {
        let tag = Tag {
            writer: 0,
            ticket: 0,
        };
        let mut work = VecDeque::from([Submission { tag, work }]);
        let mut settled = Vec::new();
        self.log
            .commit(self.start.elapsed(), &mut work, &mut settled);
        settled.pop()
    }

    /// Appends records; whether they are safe.
    fn append(&mut self, records: &[Record], purpose: Purpose) -> Result<(), Refused> {
        if records.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(purpose);
        for record in records {
            // Its length is bounded far below by what a message may be.
            let _ = format::put(record, &mut batch, wall_clock());
        }
        match self.commit(Work::Append(batch)) {
            Some(settled) => settled.outcome.map(|_| ()),
            None => Err(Refused::Closed),
        }
    }

    fn run(&mut self, records: &[Record]) -> Outcome {
        let is_message = |record: &&Record| matches!(record, Record::Message(..));
        let has_message = records.iter().any(|record| is_message(&record));
        let purpose = if has_message {
            Purpose::Ordinary
        } else {
            Purpose::Removal
        };
        let refused = match self.append(records, purpose) {
            Ok(()) => return Outcome::Safe,
            Err(refused) => refused.to_string(),
        };
        if !has_message {
            return Outcome::Failing(refused);
        }
        let rest: Vec<Record> = records
            .iter()
            .filter(|record| !is_message(record))
            .cloned()
            .collect();
        match self.append(&rest, Purpose::Removal) {
            Ok(()) => Outcome::MessagesRefused(refused),
            Err(refused) => Outcome::Failing(refused.to_string()),
        }
    }

    /// Replaces the log by what is live. A failure leaves everything as it was.
    fn checkpoint(&mut self, live: &[Record]) {
        let begun = self.commit(Work::BeginCheckpoint);
        let Some(Ok(Committed::Begun(id))) = begun.map(|settled| settled.outcome) else {
            return;
        };
        for part in live.chunks(256) {
            if self.append(part, Purpose::Checkpoint).is_err() {
                return;
            }
        }
        self.commit(Work::FinishCheckpoint(id));
    }

    fn maintain(&mut self) {
        for _ in 0..MAINTENANCE_MAX {
            if !self.log.maintain(self.start.elapsed()) {
                break;
            }
        }
        self.log.take_events();
    }

    fn close(&mut self) {
        self.log.close(self.start.elapsed());
    }
}

/// Keeps what the core records, until the client has ended.
pub(crate) async fn keep(shared: Arc<Shared>, queue: Queue, resolving: Resolving) {
    // Whoever waits for the files is told, however this ends; dropped behind the files.
    let _closed = OnDrop(|| shared.enter(|core| core.queue_closed()));
    let mut worker = Worker {
        queue: Some(queue),
        resolving,
    };
    loop {
        let next = |context: &mut std::task::Context<'_>| {
            shared.enter(|core| core.next_records(context.waker()))
        };
        let Some(records) = poll_fn(next).await else {
            break;
        };
        let records = Arc::new(records);
        let count = records.len();
        let mut is_told = false;
        let refused = loop {
            let batch = Arc::clone(&records);
            let outcome = worker.run(move |queue| {
                let outcome = queue.run(&batch);
                queue.maintain();
                outcome
            });
            match outcome.await {
                Some(Outcome::Safe) => break None,
                Some(Outcome::MessagesRefused(why)) => break Some(why),
                Some(Outcome::Failing(why)) => {
                    if !std::mem::replace(&mut is_told, true) {
                        shared.enter(|core| core.queue_failing(why));
                    }
                    if shared.enter(|core| core.ending().is_some()) {
                        // The next run sends again what this one cannot note as sent.
                        break Some("the client has ended".to_owned());
                    }
                    tokio::time::sleep(RETRY).await;
                }
                None => return,
            }
        };
        shared.with(|core, now| core.committed(now, count, refused.as_deref()));
        let is_due = worker
            .queue
            .as_ref()
            .is_some_and(|queue| queue.log.checkpoint_due());
        if is_due && let Some(live) = shared.with(|core, now| core.snapshot(now)) {
            let made = worker.run(move |queue| queue.checkpoint(&live));
            if made.await.is_none() {
                return;
            }
        }
    }
    let _ = worker.run(Queue::close).await;
}

/// Where the disk's work is done: it blocks.
struct Worker {
    queue: Option<Queue>,
    resolving: Resolving,
}

impl Worker {
    /// `None`: the runtime ends.
    async fn run<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Queue) -> R + Send + 'static,
    ) -> Option<R> {
        let mut queue = self.queue.take()?;
        let (queue, result) = match self.resolving {
            Resolving::Here => {
                let result = work(&mut queue);
                (queue, result)
            }
            Resolving::Elsewhere => {
                let working = tokio::task::spawn_blocking(move || {
                    let result = work(&mut queue);
                    (queue, result)
                });
                working.await.ok()?
            }
        };
        self.queue = Some(queue);
        Some(result)
    }
}

/// What a replay adds up to.
#[derive(Default)]
struct Found {
    live: BTreeMap<u64, Restored>,
    /// The place in the order of sending.
    order: BTreeMap<u64, u64>,
    last_order: u64,
    received: BTreeSet<NonZeroU16>,
    unreadable: Option<String>,
}

impl Found {
    fn take(&mut self, kind: u8, payload: &[u8]) {
        match format::read(kind, payload, wall_clock()) {
            Ok(entry) => self.apply(entry),
            Err(why) => {
                self.unreadable.get_or_insert(why);
            }
        }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Message(key, message) => {
                self.live.insert(
                    key,
                    Restored {
                        key,
                        message: Some(message),
                        step: Step::Queued,
                    },
                );
            }
            Entry::Step(key, step) => {
                if step != Step::Queued {
                    self.last_order += 1;
                    self.order.entry(key).or_insert(self.last_order);
                } else {
                    self.order.remove(&key);
                }
                if let Step::Released(_) = step {
                    // A checkpoint keeps no message that the broker owns.
                    let released = self.live.entry(key).or_insert(Restored {
                        key,
                        message: None,
                        step,
                    });
                    released.message = None;
                }
                if let Some(restored) = self.live.get_mut(&key) {
                    restored.step = step;
                }
            }
            Entry::Done(key) => {
                self.live.remove(&key);
                self.order.remove(&key);
            }
            Entry::Received(id) => {
                self.received.insert(id);
            }
            Entry::Gone(id) => {
                self.received.remove(&id);
            }
            Entry::NoneReceived => self.received.clear(),
        }
    }

    /// Records are missing here. They may have said that the broker had released a received message: the next
    /// one with its identifier must not be taken for it. Better one twice than one never.
    fn pass_hole(&mut self) {
        self.received.clear();
    }

    /// Received messages, then deliveries under way in the order of sending, then the others in the order of publishing.
    fn finish(self) -> Vec<Restored> {
        let places = self.order;
        let order = |restored: &Restored| {
            let place = places.get(&restored.key).copied();
            (place.unwrap_or(u64::MAX), restored.key)
        };
        let mut all: Vec<Restored> = self.live.into_values().collect();
        all.sort_by_key(order);
        let received = self.received.into_iter().map(|id| Restored {
            key: 0,
            message: None,
            step: Step::Received(id),
        });
        received.chain(all).collect()
    }
}

/// What records add up to, without a disk.
#[cfg(test)]
pub(crate) fn left_by(records: &[Record]) -> Vec<Restored> {
    left_without(records, None)
}

/// The same where the disk has lost one of them.
#[cfg(test)]
fn left_without(records: &[Record], lost: Option<usize>) -> Vec<Restored> {
    let mut found = Found::default();
    for (at, record) in records.iter().cloned().enumerate() {
        if lost == Some(at) {
            found.pass_hole();
            continue;
        }
        found.apply(match record {
            Record::Message(key, kept) => Entry::Message(key, *kept),
            Record::Sent(key, id) => Entry::Step(key, Step::Sent(id)),
            Record::Released(key, id) => Entry::Step(key, Step::Released(id)),
            Record::Queued(key) => Entry::Step(key, Step::Queued),
            Record::Done(key) => Entry::Done(key),
            Record::Received(id) => Entry::Received(id),
            Record::Gone(id) => Entry::Gone(id),
            Record::NoneReceived => Entry::NoneReceived,
        });
    }
    found.finish()
}

/// Milliseconds since 1970; messages expire by it while no program runs.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
