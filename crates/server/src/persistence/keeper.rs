//! One worker's way to the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use midge_broker::persist::Records;
use midge_broker::{Load, Shard, Step, Time};
use midge_persistence::{Ledger, batch_of};
use midge_reactor::Waker;
use midge_store::{FileDisk, Settled, Work, Writer};

use super::Persistence;
use super::loads::Loader;

/// After how long a worker tries again what even a full disk should take, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Memory of records that is kept for the next turns.
const SPARES_MAX: usize = 8;

/// Hands a shard's records to the store, and tells the shard what became of them.
pub(crate) struct Keeper {
    loader: Option<Loader>,
    writer: Writer,
    ledger: Arc<Ledger<FileDisk>>,
    /// The store has something to tell.
    told: Arc<AtomicBool>,
    disk_works: Arc<AtomicBool>,
    /// What the store has and has not answered for, oldest first.
    handed_in: VecDeque<Records>,
    /// What the store's queue had no room for.
    waiting: VecDeque<(Work, Records)>,
    spares: Vec<Records>,
    settled: Vec<Settled>,
    /// The store asks to pause.
    is_full: bool,
    /// Nothing is handed in before this time: even what makes room was refused.
    retry_at: Option<Time>,
}

impl Keeper {
    pub(crate) fn new(persistence: &Persistence, loader: Option<Loader>, waker: Waker) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let wake = move || {
            tell.store(true, Ordering::Release);
            // A worker that cannot be woken looks when it next runs.
            let _ = waker.wake();
        };
        Self {
            loader,
            writer: persistence.store.writer(wake),
            ledger: Arc::clone(&persistence.ledger),
            told,
            disk_works: Arc::clone(&persistence.disk_works),
            handed_in: VecDeque::new(),
            waiting: VecDeque::new(),
            spares: Vec::new(),
            settled: Vec::new(),
            is_full: false,
            retry_at: None,
        }
    }

    /// Has messages read, which come by mail.
    pub(crate) fn load(&self, load: Load) {
        if let Some(loader) = &self.loader {
            loader.request(load);
        }
    }

    /// Whether the store has something to tell.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Whether nothing more should be read: the disk is behind.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// When to look again without being told.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.retry_at
    }

    /// Tells the shard what the store says.
    pub(crate) fn take_answers(&mut self, shard: &mut Shard, step: &mut Step<'_>) {
        if self.retry_at.is_some_and(|at| at <= step.now) {
            self.retry_at = None;
        }
        if self.told.swap(false, Ordering::AcqRel) {
            self.is_full = false;
            self.hand_in_waiting();
            let mut settled = std::mem::take(&mut self.settled);
            self.writer.take_settled(&mut settled);
            for answer in settled.drain(..) {
                self.take_answer(shard, step, answer);
            }
            self.settled = settled;
        }
        if shard.refuses_new_work() && self.disk_works.load(Ordering::Relaxed) {
            shard.set_refuses_new_work(false);
        }
    }

    fn take_answer(&mut self, shard: &mut Shard, step: &mut Step<'_>, answer: Settled) {
        // Answers come in the order of what was handed in.
        let Some(records) = self.handed_in.pop_front() else {
            return;
        };
        match (answer.outcome, answer.batch) {
            (Ok(_), Some(batch)) => {
                self.ledger.committed(&records, batch.positions());
                shard.records_committed(step, records.number());
            }
            (Ok(_), None) => shard.records_committed(step, records.number()),
            (Err(_), _) => {
                if !records.has_new_work() {
                    self.retry_at = Some(step.now.plus_millis(RETRY_MS));
                }
                self.ledger.refused(&records);
                shard.records_refused(step, &records);
            }
        }
        if self.spares.len() < SPARES_MAX {
            self.spares.push(records);
        }
    }

    /// Hands in what the shard has gathered. It has to happen before the shard's mail leaves: other
    /// shards' records may speak of it.
    pub(crate) fn hand_in(&mut self, shard: &mut Shard) {
        if self.retry_at.is_some() {
            return;
        }
        let Some(records) = shard.take_records(self.spares.pop().unwrap_or_default()) else {
            return;
        };
        // A record is never longer than a packet, and so never too long.
        let batch = batch_of(&records).unwrap_or_default();
        self.ledger.handed_in(&records);
        self.waiting.push_back((Work::Append(batch), records));
        self.hand_in_waiting();
    }

    fn hand_in_waiting(&mut self) {
        while let Some((work, records)) = self.waiting.pop_front() {
            match self.writer.submit(work) {
                Ok(submitted) => {
                    self.is_full |= submitted.full;
                    self.handed_in.push_back(records);
                }
                Err(busy) => {
                    self.is_full = true;
                    self.waiting.push_front((busy.0, records));
                    return;
                }
            }
        }
    }
}
