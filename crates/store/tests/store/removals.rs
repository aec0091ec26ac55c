//! What frees more than it takes goes on when the disk is full, and the log hears when it is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use midge_store::sim::{Faults, Random, SimDisk};
use midge_store::{
    Batch, CheckpointId, Committed, Event, Log, Options, Position, Purpose, Recovery, Replayed,
    Settled, Submission, Tag, Work,
};

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const SNAPSHOT: u8 = 3;
const SEGMENT: u64 = 64 * 1024;

fn options() -> Options {
    let mut options = Options::new(9);
    options.segment_bytes = SEGMENT as u32;
    options
}

/// What the bytes of an item are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// The owner has them in memory and in each snapshot.
    InMemory,
    /// They are on the disk alone.
    Pinned,
}

struct Owner {
    disk: SimDisk,
    log: Log<SimDisk>,
    now: Duration,
    kept: Kept,
    bytes: usize,
    items: BTreeMap<u64, Position>,
    random: Random,
    checkpoints: u64,
}

impl Owner {
    fn new(capacity: u64, kept: Kept, bytes: usize) -> Self {
        let disk = SimDisk::new(5);
        disk.set_faults(Faults {
            capacity: Some(capacity),
            ..Faults::default()
        });
        let log = Log::start(Recovery::open(disk.clone(), options()).unwrap());
        Self {
            disk,
            log,
            now: Duration::ZERO,
            kept,
            bytes,
            items: BTreeMap::new(),
            random: Random::new(3),
            checkpoints: 0,
        }
    }

    fn commit(&mut self, work: impl IntoIterator<Item = Work>) -> Vec<Settled> {
        let mut queue: VecDeque<_> = work
            .into_iter()
            .zip(0..)
            .map(|(work, ticket)| Submission {
                tag: Tag { writer: 1, ticket },
                work,
            })
            .collect();
        let mut settled = Vec::new();
        self.log.commit(self.now, &mut queue, &mut settled);
        self.now += Duration::from_millis(1);
        for _ in 0..3 {
            self.log.maintain(self.now);
        }
        settled
    }

    /// Adds items until there is no room; makes checkpoints when they are due.
    fn fill(&mut self) {
        for id in 0.. {
            let mut batch = Batch::new(Purpose::Ordinary);
            let mut payload = u64::to_le_bytes(id).to_vec();
            payload.resize(self.bytes, 1);
            batch.push(ADD, &payload).unwrap();
            if self.kept == Kept::Pinned {
                batch.pin_last();
            }
            let settled = self.commit([Work::Append(batch)]).remove(0);
            if settled.outcome.is_err() {
                break;
            }
            let position = settled.batch.unwrap().positions().next().unwrap();
            self.items.insert(id, position);
            if self.log.checkpoint_due() {
                self.checkpoint();
            }
        }
        let full = |event: &Event| matches!(event, Event::DiskFull { .. });
        assert!(self.log.take_events().iter().any(full));
    }

    /// Hands in small removals, of which each second one ends an item.
    fn remove(&mut self, batches: usize) {
        for round in 0..batches / 20 {
            let mut ended = Vec::new();
            let mut work = Vec::new();
            for number in 0..20 {
                let mut batch = Batch::new(Purpose::Removal);
                let id = match number % 2 {
                    0 => self.items.pop_first(),
                    _ => self.items.pop_last(),
                };
                let id = match id {
                    Some((id, position)) if number < 10 => {
                        ended.push(position);
                        id
                    }
                    Some((id, position)) => {
                        self.items.insert(id, position);
                        u64::MAX
                    }
                    None => u64::MAX,
                };
                batch.push(REMOVE, &id.to_le_bytes()).unwrap();
                work.push(Work::Append(batch));
            }
            for settled in self.commit(work) {
                let usage = self.log.reader().usage();
                assert_eq!(
                    settled.outcome,
                    Ok(Committed::Records),
                    "round {round}, {} items, {} checkpoints, {usage:?}, {:?}",
                    self.items.len(),
                    self.checkpoints,
                    self.log.figures()
                );
            }
            if self.kept == Kept::Pinned {
                let reader = self.log.reader();
                ended
                    .into_iter()
                    .for_each(|position| reader.unpin(position));
            }
            if self.log.checkpoint_due() {
                self.checkpoint();
            }
        }
    }

    fn checkpoint(&mut self) {
        let Ok(Committed::Begun(id)) = self.commit([Work::BeginCheckpoint]).remove(0).outcome
        else {
            panic!("not begun");
        };
        let ids: Vec<_> = self.items.iter().map(|(id, at)| (*id, *at)).collect();
        for part in ids.chunks(100) {
            let mut batch = Batch::new(Purpose::Checkpoint);
            for (item, position) in part {
                batch
                    .push(SNAPSHOT, &self.snapshot(id, *item, *position))
                    .unwrap();
            }
            let settled = self.commit([Work::Append(batch)]).remove(0);
            assert_eq!(
                settled.outcome,
                Ok(Committed::Records),
                "{} items, {:?}, {:?}, spare {}",
                ids.len(),
                self.log.figures(),
                self.log.reader().usage(),
                self.log.spare_bytes()
            );
        }
        let finished = self.commit([Work::FinishCheckpoint(id)]).remove(0);
        assert_eq!(finished.outcome, Ok(Committed::Finished));
        self.checkpoints += 1;
    }

    fn snapshot(&self, begin: CheckpointId, id: u64, position: Position) -> Vec<u8> {
        let mut payload = id.to_le_bytes().to_vec();
        payload.extend(begin.sequence().to_le_bytes());
        payload.extend(position.to_bytes());
        if self.kept == Kept::InMemory {
            payload.resize(self.bytes.max(payload.len()), 1);
        }
        payload
    }

    /// What a start after a power cut finds.
    fn check(&self) {
        let mut recovery = Recovery::open(self.disk.crash(), options()).unwrap();
        let begin = recovery.checkpoint_begin().unwrap_or(0);
        let mut found = BTreeSet::new();
        let mut removed = BTreeSet::new();
        recovery
            .replay(|step| {
                let Replayed::Entry(entry) = step else {
                    panic!("{step:?}");
                };
                let number =
                    |at: usize| u64::from_le_bytes(entry.payload[at..at + 8].try_into().unwrap());
                match entry.kind {
                    ADD => assert!(found.insert(number(0))),
                    REMOVE => {
                        removed.insert(number(0));
                    }
                    SNAPSHOT if number(8) == begin => assert!(found.insert(number(0))),
                    _ => {}
                }
            })
            .unwrap();
        found.retain(|id| !removed.contains(id));
        assert!(found.iter().eq(self.items.keys()));
    }
}

#[test]
fn removals_go_on_while_a_state_in_memory_shrinks_on_a_full_disk() {
    let mut owner = Owner::new(60 * SEGMENT, Kept::InMemory, 40);
    owner.fill();
    assert!(owner.items.len() > 15_000, "{}", owner.items.len());
    owner.remove(100_000);
    assert!(owner.checkpoints > 3, "{}", owner.checkpoints);
    owner.check();
}

#[test]
fn removals_go_on_while_a_queue_on_the_disk_shrinks_on_a_full_disk() {
    let mut owner = Owner::new(100 * SEGMENT, Kept::Pinned, 200);
    owner.fill();
    assert!(owner.items.len() > 15_000, "{}", owner.items.len());
    owner.remove(100_000);
    assert!(owner.checkpoints > 3, "{}", owner.checkpoints);
    owner.check();
}

#[test]
fn removals_go_on_in_the_reserve_when_others_have_filled_the_disk() {
    let mut owner = Owner::new(u64::MAX, Kept::InMemory, 40);
    for id in 0..100 {
        let mut batch = Batch::new(Purpose::Ordinary);
        let mut payload = u64::to_le_bytes(id).to_vec();
        payload.resize(40, 1);
        batch.push(ADD, &payload).unwrap();
        owner
            .commit([Work::Append(batch)])
            .remove(0)
            .outcome
            .unwrap();
        owner.items.insert(id, Position::default());
    }
    while owner.log.maintain(owner.now) {}
    owner.disk.set_faults(Faults {
        capacity: Some(owner.disk.bytes()),
        ..Faults::default()
    });
    owner.remove(100_000);
    assert!(owner.checkpoints > 3, "{}", owner.checkpoints);
    owner.check();
}

#[test]
fn upkeep_alone_tells_that_the_disk_is_well_again() {
    let full = Faults {
        capacity: Some(0),
        ..Faults::default()
    };
    let failing = Faults {
        sync_error: 10_000,
        ..Faults::default()
    };
    for faults in [full, failing] {
        for removals in [false, true] {
            check_recovered(faults, removals);
        }
    }
}

/// From the moment at which the disk is well, it takes a second and a few turns.
fn check_recovered(faults: Faults, removals: bool) {
    let mut owner = Owner::new(u64::MAX, Kept::InMemory, 1000);
    let ordinary = |owner: &mut Owner| {
        let mut batch = Batch::new(Purpose::Ordinary);
        batch.push(ADD, &[0; 1000]).unwrap();
        owner.commit([Work::Append(batch)]).remove(0).outcome
    };
    ordinary(&mut owner).unwrap();
    owner.disk.set_faults(faults);
    while ordinary(&mut owner).is_ok() {}
    let told = owner.log.take_events();
    assert_eq!(told.len(), 1, "{told:?}");
    let turn = |owner: &mut Owner| {
        owner.now += Duration::from_millis(20 + owner.random.below(5));
        if removals {
            let mut batch = Batch::new(Purpose::Removal);
            batch.push(REMOVE, &[0; 8]).unwrap();
            // Taken or not; what counts is that it does not keep the log from looking.
            let _settled = owner.commit([Work::Append(batch)]);
        }
        while owner.log.maintain(owner.now) {}
    };
    for _ in 0..500 {
        turn(&mut owner);
    }
    assert_eq!(owner.log.take_events(), []);
    owner.disk.set_faults(Faults::default());
    let well = owner.now;
    let mut events = Vec::new();
    while events.is_empty() {
        turn(&mut owner);
        events = owner.log.take_events();
        let waited = owner.now - well;
        assert!(waited < Duration::from_millis(1200), "{waited:?}");
    }
    assert_eq!(events, [Event::Recovered]);
    ordinary(&mut owner).unwrap();
}
