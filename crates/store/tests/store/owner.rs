//! An owner with a state that can be checked: items whose bytes live in the store alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use midge_store::sim::{Random, SimDisk};
use midge_store::{
    Batch, CheckpointId, Committed, Event, Log, Options, Position, Purpose, ReadError, Recovery,
    Refused, Replayed, Settled, Submission, Tag, Work,
};

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const SNAPSHOT: u8 = 3;
/// A batch that is about nothing; every batch has its number in its first record.
const NUMBER: u8 = 4;

/// What a batch does to the items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deed {
    added: Vec<u64>,
    removed: Vec<u64>,
}

/// What is known of all lives of one store.
#[derive(Debug, Default)]
pub(crate) struct History {
    deeds: BTreeMap<u64, Deed>,
    acknowledged: BTreeSet<u64>,
    /// Batches that were found at a start though nobody had been told; they count from then on.
    refused_full: BTreeSet<u64>,
    next_batch: u64,
    next_item: u64,
    pub(crate) checkpoints: u64,
    pub(crate) relocated: u64,
    pub(crate) acknowledged_total: u64,
}

impl History {
    /// The items that there are after these batches.
    fn items_after(&self, batches: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        let mut items = BTreeSet::new();
        for number in batches {
            let deed = &self.deeds[&number];
            items.extend(&deed.added);
            for id in &deed.removed {
                assert!(items.remove(id), "batch {number} removes item {id}");
            }
        }
        items
    }
}

/// The bytes of an item follow from its number.
pub(crate) fn item_bytes(id: u64) -> Vec<u8> {
    let mut random = Random::new(id);
    let length = match random.below(20) {
        0 => 0,
        1 => 30_000,
        2..6 => random.below(3000),
        _ => random.below(300),
    };
    let mut bytes = id.to_le_bytes().to_vec();
    for _ in 0..length / 8 {
        bytes.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    bytes.resize(8 + length as usize, 7);
    bytes
}

/// One life of the owner.
pub(crate) struct Owner<'h> {
    disk: SimDisk,
    options: Options,
    pub(crate) log: Log<SimDisk>,
    pub(crate) history: &'h mut History,
    pub(crate) items: BTreeMap<u64, Position>,
    random: Random,
    now: Duration,
    work: VecDeque<Submission>,
    /// Relocations that are on their way, by batch.
    moving: BTreeMap<u64, Vec<(u64, Position)>>,
    removing: BTreeSet<u64>,
    checkpoint: Option<Running>,
}

struct Running {
    id: Option<CheckpointId>,
    /// Items up to this one are in the snapshot.
    done: u64,
    all: bool,
    finishing: bool,
}

impl<'h> Owner<'h> {
    /// Recovers, and checks what came back against the history.
    pub(crate) fn start(
        disk: &SimDisk,
        options: Options,
        history: &'h mut History,
        seed: u64,
    ) -> (Self, Vec<Event>) {
        let mut recovery = Recovery::open(disk.clone(), options).unwrap();
        let mut found = Found::default();
        recovery.replay(|step| found.take(step)).unwrap();
        let events = recovery.take_events();
        let batches = found.check(history);
        let expected = history.items_after(batches.iter().copied());
        assert_eq!(
            found.items.keys().copied().collect::<BTreeSet<_>>(),
            expected,
            "items after the replay"
        );
        // What was found counts as acknowledged from now on, and what was not, never happened.
        history.acknowledged = batches;
        let reader = recovery.reader();
        let mut scratch = Vec::new();
        for (id, position) in &found.items {
            assert!(reader.pin(*position), "item {id} is gone");
            let record = reader.read(*position, &mut scratch).unwrap();
            assert_eq!(record.payload[8..], item_bytes(*id), "item {id}");
        }
        let owner = Self {
            disk: disk.clone(),
            options,
            log: Log::start(recovery),
            history,
            items: found.items,
            random: Random::new(seed),
            now: Duration::ZERO,
            work: VecDeque::new(),
            moving: BTreeMap::new(),
            removing: BTreeSet::new(),
            checkpoint: None,
        };
        (owner, events)
    }

    /// A turn: some work, a commit, perhaps some upkeep.
    ///
    /// The snapshot goes first: it says what is true of all that was handed in before it, and the
    /// state here changes when work is settled.
    pub(crate) fn turn(&mut self, items_max: usize) -> Vec<Refused> {
        self.snapshot();
        for _ in 0..=self.random.below(3) {
            match self.random.below(10) {
                0..5 if self.items.len() < items_max => self.add(),
                0..8 => self.remove(),
                8 => self.relocate(),
                _ => self.number_only(),
            }
        }
        let refused = self.commit();
        self.now += Duration::from_millis(self.random.below(30));
        for _ in 0..self.random.below(4) {
            self.log.maintain(self.now);
        }
        refused
    }

    pub(crate) fn commit(&mut self) -> Vec<Refused> {
        let mut settled = Vec::new();
        self.log.commit(self.now, &mut self.work, &mut settled);
        settled
            .into_iter()
            .filter_map(|answer| self.hear(answer))
            .collect()
    }

    /// Maintains until there is nothing to do.
    pub(crate) fn rest(&mut self) {
        for _ in 0..1000 {
            self.now += Duration::from_millis(100);
            if !self.log.maintain(self.now) && self.log.next_due().is_none() {
                return;
            }
        }
    }

    /// Runs a whole checkpoint.
    pub(crate) fn checkpoint_now(&mut self) -> bool {
        let before = self.history.checkpoints;
        if self.checkpoint.is_none() {
            self.begin_checkpoint();
        }
        for _ in 0..1000 {
            self.commit();
            if self.checkpoint.is_none() {
                break;
            }
            self.snapshot();
        }
        self.history.checkpoints > before
    }

    pub(crate) fn add(&mut self) {
        let mut batch = self.batch(Purpose::Ordinary);
        let mut deed = Deed::default();
        for _ in 0..=self.random.below(3) {
            let id = self.history.next_item;
            self.history.next_item += 1;
            let mut payload = id.to_le_bytes().to_vec();
            payload.extend(item_bytes(id));
            batch.push(ADD, &payload).unwrap();
            batch.pin_last();
            deed.added.push(id);
        }
        self.submit(batch, deed);
    }

    pub(crate) fn remove(&mut self) {
        let mut deed = Deed::default();
        for _ in 0..=self.random.below(4) {
            if let Some(id) = self.some_item()
                && self.removing.insert(id)
            {
                deed.removed.push(id);
            }
        }
        let mut batch = self.batch(Purpose::Removal);
        for id in &deed.removed {
            batch.push(REMOVE, &id.to_le_bytes()).unwrap();
        }
        self.submit(batch, deed);
    }

    fn number_only(&mut self) {
        let batch = self.batch(Purpose::Ordinary);
        self.submit(batch, Deed::default());
    }

    pub(crate) fn relocate(&mut self) {
        let reader = self.log.reader();
        let Some(sparse) = reader.sparse_segments(60).first().copied() else {
            return;
        };
        let moving: Vec<_> = self
            .items
            .iter()
            .filter(|(_, position)| position.segment == sparse.segment)
            .map(|(id, position)| (*id, *position))
            .take(5)
            .collect();
        let mut batch = self.batch(Purpose::Ordinary);
        let mut scratch = Vec::new();
        for (_, position) in &moving {
            match reader.relocate(*position, &mut batch, &mut scratch) {
                Ok(()) => {}
                // The simulated machine may be off; nothing of this turn will be committed.
                Err(ReadError::Io(_)) => return,
                Err(error) => panic!("a pinned record cannot be moved: {error}"),
            }
        }
        self.moving.insert(self.history.next_batch - 1, moving);
        self.submit(batch, Deed::default());
    }

    fn snapshot(&mut self) {
        if self.checkpoint.is_none() {
            if self.log.checkpoint_due() || self.random.chance(200) {
                self.begin_checkpoint();
            }
            return;
        }
        let Some(running) = &mut self.checkpoint else {
            return;
        };
        let (Some(id), false) = (running.id, running.finishing) else {
            return;
        };
        if running.all {
            running.finishing = true;
            self.hand_in(u64::MAX, Work::FinishCheckpoint(id));
            return;
        }
        let mut batch = Batch::new(Purpose::Checkpoint);
        for (&id, position) in self.items.range(running.done..).take(4) {
            let mut payload = id.to_le_bytes().to_vec();
            payload.extend(position.to_bytes());
            batch.push(SNAPSHOT, &payload).unwrap();
            running.done = id + 1;
        }
        running.all = batch.len() < 4;
        self.hand_in(u64::MAX, Work::Append(batch));
    }

    fn begin_checkpoint(&mut self) {
        self.checkpoint = Some(Running {
            id: None,
            done: 0,
            all: false,
            finishing: false,
        });
        self.hand_in(u64::MAX, Work::BeginCheckpoint);
    }

    fn some_item(&mut self) -> Option<u64> {
        let nth = self.random.below(self.items.len() as u64);
        self.items.keys().nth(nth as usize).copied()
    }

    fn batch(&mut self, purpose: Purpose) -> Batch {
        let mut batch = Batch::new(purpose);
        let number = self.history.next_batch;
        self.history.next_batch += 1;
        batch.push(NUMBER, &number.to_le_bytes()).unwrap();
        batch
    }

    fn submit(&mut self, batch: Batch, deed: Deed) {
        let number = self.history.next_batch - 1;
        self.history.deeds.insert(number, deed);
        self.hand_in(number, Work::Append(batch));
    }

    fn hand_in(&mut self, ticket: u64, work: Work) {
        let tag = Tag { writer: 7, ticket };
        self.work.push_back(Submission { tag, work });
    }

    fn hear(&mut self, answer: Settled) -> Option<Refused> {
        let number = answer.tag.ticket;
        if number == u64::MAX {
            match answer.outcome {
                Ok(Committed::Begun(id)) => {
                    self.checkpoint.as_mut().unwrap().id = Some(id);
                    if self.history.checkpoints % 4 == 1 {
                        self.check_replay(id);
                    }
                }
                Ok(Committed::Finished) => {
                    self.history.checkpoints += 1;
                    self.checkpoint = None;
                }
                Ok(Committed::Records) => {}
                Err(refused) => {
                    self.checkpoint = None;
                    return Some(refused);
                }
            }
            return None;
        }
        let deed = self.history.deeds[&number].clone();
        let moving = self.moving.remove(&number).unwrap_or_default();
        for id in &deed.removed {
            self.removing.remove(id);
        }
        if let Err(refused) = answer.outcome {
            if matches!(refused, Refused::Full { .. }) {
                self.history.refused_full.insert(number);
            }
            return Some(refused);
        }
        self.history.acknowledged.insert(number);
        self.history.acknowledged_total += 1;
        let reader = self.log.reader();
        let batch = answer.batch.unwrap();
        let positions: Vec<_> = batch.positions().skip(1).collect();
        for (id, position) in deed.added.iter().zip(&positions) {
            self.items.insert(*id, *position);
        }
        for ((id, old), new) in moving.into_iter().zip(&positions) {
            match self.items.get_mut(&id) {
                // Moved twice or removed meanwhile: this copy is not needed.
                Some(position) if *position == old => {
                    *position = *new;
                    reader.unpin(old);
                    self.history.relocated += 1;
                }
                _ => reader.unpin(*new),
            }
        }
        for id in deed.removed {
            let position = self.items.remove(&id).unwrap();
            reader.unpin(position);
        }
        None
    }

    /// Reads everything back.
    pub(crate) fn check_items(&self) {
        let reader = self.log.reader();
        let ids: Vec<_> = self.items.keys().copied().collect();
        let positions: Vec<_> = self.items.values().copied().collect();
        let mut seen = 0;
        reader.read_many(&positions, &mut Vec::new(), |index, record| {
            assert_eq!(record.unwrap().payload[8..], item_bytes(ids[index]));
            seen += 1;
        });
        assert_eq!(seen, ids.len());
    }

    /// What the running store gives for a checkpoint is what a recovery at that point would give.
    fn check_replay(&self, until: CheckpointId) {
        if self.disk.is_dead() {
            return;
        }
        let reader = self.log.reader();
        let mut running = Vec::new();
        let events = reader
            .replay(until, |step| {
                running.push(step_summary(&step));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(events, []);
        let mut recovery = Recovery::open(self.disk.kill(), self.options).unwrap();
        assert_eq!(reader.checkpoint_begin(), recovery.checkpoint_begin());
        let mut found = Vec::new();
        recovery
            .replay(|step| found.push(step_summary(&step)))
            .unwrap();
        found.retain(|(sequence, _)| *sequence < until.sequence());
        assert_eq!(running, found, "before {until:?}");
        let early = running.len() / 2;
        let mut count = 0;
        let broken_off = reader.replay(until, |_| {
            count += 1;
            if count > early {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        broken_off.unwrap();
        assert_eq!(count, running.len().min(early + 1));
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        let payload: u64 = self.items.values().map(|p| u64::from(p.length) + 40).sum();
        payload
    }
}

fn step_summary(step: &Replayed<'_>) -> (u64, Vec<u8>) {
    match step {
        Replayed::Entry(entry) => (entry.sequence, entry.payload.to_vec()),
        Replayed::Hole(sequences) => panic!("a hole {sequences:?} without damage"),
    }
}

/// What a replay said.
#[derive(Default)]
struct Found {
    items: BTreeMap<u64, Position>,
    /// Copies of items that the replay has not met yet.
    copies: BTreeMap<u64, Position>,
    batches: Vec<u64>,
    sequence: u64,
    /// Records that the last batch still lacks are not known here; the items show them.
    entries: u64,
}

impl Found {
    fn take(&mut self, step: Replayed<'_>) {
        let entry = match step {
            Replayed::Entry(entry) => entry,
            Replayed::Hole(sequences) => panic!("a hole {sequences:?} without damage"),
        };
        assert!(entry.sequence > self.sequence, "order of the log");
        self.sequence = entry.sequence;
        self.entries += 1;
        let number = u64::from_le_bytes(entry.payload[..8].try_into().unwrap());
        match entry.kind {
            NUMBER => self.batches.push(number),
            ADD if entry.moved => {
                match self.items.get_mut(&number) {
                    Some(position) => *position = entry.position,
                    None => drop(self.copies.insert(number, entry.position)),
                }
                assert_eq!(entry.payload[8..], item_bytes(number));
            }
            ADD => {
                assert_eq!(entry.payload[8..], item_bytes(number));
                let twice = self.items.insert(number, entry.position);
                assert!(twice.is_none(), "item {number} twice");
            }
            REMOVE => {
                self.items.remove(&number);
                self.copies.remove(&number);
            }
            SNAPSHOT => {
                let position = Position::from_bytes(entry.payload[8..24].try_into().unwrap());
                let newest = self
                    .copies
                    .remove(&number)
                    .into_iter()
                    .chain(self.items.get(&number).copied())
                    .fold(position, Position::max);
                self.items.insert(number, newest);
            }
            kind => panic!("kind {kind} was never appended"),
        }
    }

    /// Checks the batches and gives all that count.
    fn check(&self, history: &History) -> BTreeSet<u64> {
        assert!(
            self.batches.is_sorted_by(|one, next| one < next),
            "each batch once, in order: {:?}",
            self.batches
        );
        let newest = history.acknowledged.last().copied();
        if let Some(first) = self.batches.first() {
            for acknowledged in history.acknowledged.range(first..) {
                assert!(
                    self.batches.contains(acknowledged),
                    "acknowledged batch {acknowledged} is lost; found {:?}",
                    self.batches
                );
            }
        }
        let mut count = history.acknowledged.clone();
        for batch in &self.batches {
            if !history.acknowledged.contains(batch) {
                assert!(
                    newest.is_none_or(|newest| newest < *batch),
                    "batch {batch} was refused and others after it were not"
                );
                assert!(
                    !history.refused_full.contains(batch),
                    "batch {batch} was refused for want of room"
                );
                count.insert(*batch);
            }
        }
        count
    }
}
