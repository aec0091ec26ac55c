//! Reading the log of a store that runs: for checkpoints that are made from it, and from outside.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use midge_store::sim::SimDisk;
use midge_store::{
    Batch, CheckpointId, Committed, Disk, Event, FileDisk, Log, OpenError, Options, Purpose,
    ReadError, Reader, Recovery, Replayed, Settled, Store, Submission, Tag, Work, Writer,
};

const RECORD: u8 = 1;
const SNAPSHOT: u8 = 2;

fn options() -> Options {
    let mut options = Options::new(1);
    options.segment_bytes = 64 * 1024;
    options
}

fn start(disk: &SimDisk) -> Log<SimDisk> {
    let mut recovery = Recovery::open(disk.clone(), options()).unwrap();
    recovery.replay(|_| {}).unwrap();
    Log::start(recovery)
}

fn commit(log: &mut Log<SimDisk>, work: Work) -> Settled {
    let tag = Tag {
        writer: 1,
        ticket: 1,
    };
    let mut settled = Vec::new();
    let mut queue = VecDeque::from([Submission { tag, work }]);
    log.commit(Duration::ZERO, &mut queue, &mut settled);
    while log.maintain(Duration::ZERO) {}
    settled.remove(0)
}

fn append(log: &mut Log<SimDisk>, purpose: Purpose, payload: &[u8]) {
    commit(log, Work::Append(batch(purpose, RECORD, payload)))
        .outcome
        .unwrap();
}

fn begin(log: &mut Log<SimDisk>) -> CheckpointId {
    match commit(log, Work::BeginCheckpoint).outcome {
        Ok(Committed::Begun(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn batch(purpose: Purpose, kind: u8, payload: &[u8]) -> Batch {
    let mut batch = Batch::new(purpose);
    batch.push(kind, payload).unwrap();
    batch
}

fn payloads<D: Disk>(reader: &Reader<D>, until: CheckpointId) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let events = reader.replay(until, |step| {
        match step {
            Replayed::Entry(entry) => found.push(entry.payload.to_vec()),
            Replayed::Hole(hole) => panic!("hole {hole:?}"),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(events.unwrap(), []);
    found
}

#[test]
fn a_replay_of_the_running_store_ends_where_the_checkpoint_begins() {
    let disk = SimDisk::new(1);
    let mut log = start(&disk);
    let reader = log.reader();
    assert_eq!(reader.checkpoint_begin(), None);
    let empty = begin(&mut log);
    assert_eq!(payloads(&reader, empty), Vec::<Vec<u8>>::new());
    // Several segments, and the first checkpoint stays unfinished.
    let records: Vec<_> = (0..100_u8).map(|number| vec![number; 3000]).collect();
    for record in &records {
        append(&mut log, Purpose::Ordinary, record);
    }
    let first = begin(&mut log);
    append(&mut log, Purpose::Ordinary, b"after the beginning");
    assert_eq!(payloads(&reader, first), records);
    append(&mut log, Purpose::Checkpoint, b"snapshot");
    assert_eq!(payloads(&reader, first), records);
    commit(&mut log, Work::FinishCheckpoint(first))
        .outcome
        .unwrap();
    assert_eq!(reader.checkpoint_begin(), Some(first.sequence()));

    let second = begin(&mut log);
    let kept = [b"after the beginning".to_vec(), b"snapshot".to_vec()];
    assert_eq!(payloads(&reader, second), kept);
    for gone in [empty, first] {
        let error = reader.replay(gone, |_| ControlFlow::Continue(()));
        assert!(matches!(error, Err(ReadError::Gone)), "{error:?}");
    }
    let recovery = Recovery::open(disk.crash(), options()).unwrap();
    assert_eq!(recovery.checkpoint_begin(), Some(first.sequence()));
}

#[test]
fn a_replay_that_another_checkpoint_overtakes_says_so() {
    let mut log = start(&SimDisk::new(2));
    append(&mut log, Purpose::Ordinary, b"one");
    let overtaken = begin(&mut log);
    append(&mut log, Purpose::Ordinary, b"two");
    let newer = begin(&mut log);
    let reader = log.reader();
    let result = reader.replay(overtaken, |_| {
        if reader.checkpoint_begin().is_none() {
            commit(&mut log, Work::FinishCheckpoint(newer))
                .outcome
                .unwrap();
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(ReadError::Gone)), "{result:?}");
}

#[test]
fn damage_in_the_running_store_is_told_and_left_where_it_is() {
    let disk = SimDisk::new(3);
    let mut log = start(&disk);
    for number in 0..10_u8 {
        append(&mut log, Purpose::Ordinary, &[number; 100]);
    }
    disk.damage("00000000.seg", |bytes| {
        let at = bytes.windows(4).position(|four| four == [4; 4]).unwrap();
        bytes[at + 50] ^= 1;
    });
    let until = begin(&mut log);
    let names = disk.list().unwrap();
    let (mut found, mut holes) = (Vec::new(), Vec::new());
    let events = log.reader().replay(until, |step| {
        match step {
            Replayed::Entry(entry) => found.push(entry.payload[0]),
            Replayed::Hole(hole) => holes.push(hole),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(found, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert!(
        matches!(holes[..], [Range { start: 5, end: 6 }]),
        "{holes:?}"
    );
    let offset = 8192 + 4 * 128;
    assert_eq!(
        events.unwrap(),
        [Event::Quarantined {
            segment: 1,
            offset,
            bytes: 128,
            kept_in: None
        }]
    );
    assert_eq!(disk.list().unwrap(), names);
}

#[test]
fn checkpoints_are_made_from_the_log_while_others_append() {
    let disk = SimDisk::new(4);
    checkpoints_while_others_append(|| disk.clone());
    let directory = tempfile::tempdir().unwrap();
    checkpoints_while_others_append(|| FileDisk::open(directory.path()).unwrap());
}

const PRODUCERS: u8 = 2;
const RECORDS: u32 = 1500;

fn checkpoints_while_others_append<D: Disk>(open: impl Fn() -> D) {
    let recovery = Recovery::open(open(), options()).unwrap();
    let store = Store::start(recovery, 1 << 20, |event| panic!("{event}")).unwrap();
    let done = AtomicBool::new(false);
    let checkpoints = std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut maker = Client::in_background(&store);
            let mut made = 0;
            while !done.load(Ordering::Relaxed) || made < 3 {
                maker.make_checkpoint(&store.reader());
                made += 1;
            }
            made
        });
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let store = &store;
                scope.spawn(move || {
                    let mut client = Client::new(store);
                    for number in 0..RECORDS {
                        let mut payload = vec![producer];
                        payload.extend(number.to_le_bytes());
                        payload.resize(300, 0);
                        let record = batch(Purpose::Ordinary, RECORD, &payload);
                        client.submit(Work::Append(record));
                    }
                })
            })
            .collect();
        for producer in producers {
            producer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        maker.join().unwrap()
    });
    assert!(checkpoints >= 3, "{checkpoints}");
    store.close();

    let mut recovery = Recovery::open(open(), options()).unwrap();
    let counts = Counts::of(&mut recovery).unwrap();
    assert_eq!(counts, Counts([RECORDS; PRODUCERS as usize]));
}

#[test]
fn looking_at_a_store_that_runs_shows_all_that_was_committed_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(directory.path()).unwrap();
    let store = Store::start(Recovery::open(disk, options()).unwrap(), 1 << 20, |event| {
        panic!("{event}")
    });
    let store = store.unwrap();
    let committed = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let (mut looks, mut again, mut segments) = (0, 0, BTreeSet::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::new(&store);
            for number in 0..50_000 {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let mut payload = vec![0];
                payload.extend(u32::to_le_bytes(number));
                payload.resize(3000, 0);
                client.submit(Work::Append(batch(Purpose::Ordinary, RECORD, &payload)));
                committed.store(number + 1, Ordering::SeqCst);
                // So often that segments are used again all the time.
                if number % 50 == 49 {
                    client.make_checkpoint(&store.reader());
                }
            }
        });
        while looks < 100 || segments.len() < 20 {
            let before = committed.load(Ordering::SeqCst);
            let looking = FileDisk::read_only(directory.path());
            let counts = Recovery::open(looking, options()).and_then(|mut recovery| {
                segments.extend(recovery.checkpoint_begin());
                Counts::of(&mut recovery)
            });
            match counts {
                Ok(counts) => {
                    let after = committed.load(Ordering::SeqCst) + 1;
                    assert!(
                        (before..=after).contains(&counts.0[0]),
                        "{before} {counts:?}"
                    );
                    looks += 1;
                }
                Err(OpenError::Changed) => again += 1,
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(again < 100 * looks, "{again} of {looks}");
    for name in FileDisk::read_only(directory.path()).list().unwrap() {
        assert!(name.ends_with(".seg") || name == "lock", "{name}");
    }
}

/// The state: how many records there were of each producer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts([u32; PRODUCERS as usize]);

impl Counts {
    fn of<D: Disk>(recovery: &mut Recovery<D>) -> Result<Self, OpenError> {
        let mut counts = Self::default();
        // The snapshot says how it was at the checkpoint's beginning, so it is read first.
        if let Some(begin) = recovery.checkpoint_begin() {
            recovery.replay(|step| counts.take_snapshot(&step, begin))?;
        }
        recovery.replay(|step| counts.take_record(&step))?;
        Ok(counts)
    }

    fn take_snapshot(&mut self, step: &Replayed<'_>, begin: u64) {
        let Replayed::Entry(entry) = step else {
            panic!("{step:?}");
        };
        if entry.kind == SNAPSHOT && entry.payload[..8] == begin.to_le_bytes() {
            let producer = usize::from(entry.payload[8]);
            self.0[producer] = u32::from_le_bytes(entry.payload[9..13].try_into().unwrap());
        }
    }

    fn take_record(&mut self, step: &Replayed<'_>) {
        let Replayed::Entry(entry) = step else {
            panic!("{step:?}");
        };
        if entry.kind == RECORD {
            let count = &mut self.0[usize::from(entry.payload[0])];
            let number = u32::from_le_bytes(entry.payload[1..5].try_into().unwrap());
            assert_eq!(number, *count, "each record once and in order");
            *count += 1;
        }
    }
}

/// A producer that waits for each of its commits.
struct Client {
    writer: Writer,
    woken: Receiver<()>,
}

impl Client {
    fn new<D: Disk>(store: &Store<D>) -> Self {
        let (wake, woken): (Sender<()>, _) = channel();
        let writer = store.writer(move || {
            let _ = wake.send(());
        });
        Self { writer, woken }
    }

    fn in_background<D: Disk>(store: &Store<D>) -> Self {
        let (wake, woken): (Sender<()>, _) = channel();
        let writer = store.background_writer(move || {
            let _ = wake.send(());
        });
        Self { writer, woken }
    }

    fn submit(&mut self, work: Work) -> Committed {
        let _receipt = self.writer.submit(work).unwrap();
        let mut settled = Vec::new();
        while settled.is_empty() {
            self.woken.recv_timeout(Duration::from_secs(30)).unwrap();
            self.writer.take_settled(&mut settled);
        }
        settled.remove(0).outcome.unwrap()
    }

    fn make_checkpoint<D: Disk>(&mut self, reader: &Reader<D>) {
        let Committed::Begun(id) = self.submit(Work::BeginCheckpoint) else {
            panic!("not begun");
        };
        let mut counts = Counts::default();
        if let Some(begin) = reader.checkpoint_begin() {
            let events = reader.replay(id, |step| {
                counts.take_snapshot(&step, begin);
                ControlFlow::Continue(())
            });
            assert_eq!(events.unwrap(), []);
        }
        let events = reader.replay(id, |step| {
            counts.take_record(&step);
            ControlFlow::Continue(())
        });
        assert_eq!(events.unwrap(), []);
        for producer in 0..PRODUCERS {
            let mut payload = id.sequence().to_le_bytes().to_vec();
            payload.push(producer);
            payload.extend(counts.0[usize::from(producer)].to_le_bytes());
            let part = batch(Purpose::Checkpoint, SNAPSHOT, &payload);
            self.submit(Work::Append(part));
        }
        self.submit(Work::FinishCheckpoint(id));
    }
}
