//! How long a start takes: many records of a checkpoint, and the same from a running store.
//!
//! `cargo run --release -p midge-store --example recover -- [records] [bytes] [directory]`
//!
//! The store is written first, so what is read is in the system's memory: this is the program's own
//! time. Reading the same files bare, and with their checksums, stands beside it.

#![expect(clippy::print_stdout, reason = "it reports to whoever runs it")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Instant;

use midge_store::{
    Batch, CheckpointId, Committed, FileDisk, Options, Purpose, Recovery, Replayed, Settled, Store,
    Work,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        arguments
            .next()
            .map_or(default, |text| text.parse().unwrap())
    };
    let (records, bytes) = (number(1_000_000), number(300));
    let directory = arguments
        .next()
        .map_or_else(|| tempfile::tempdir().unwrap().keep(), PathBuf::from);
    let store_directory = directory.join("store");
    write(&store_directory, records, bytes);
    for _ in 0..5 {
        let (bare, summed) = read_bare(&store_directory);
        let began = Instant::now();
        let disk = FileDisk::open(&store_directory).unwrap();
        let mut recovery = Recovery::open(disk, Options::new(2)).unwrap();
        let opened = began.elapsed().as_secs_f64();
        let mut found = 0;
        recovery
            .replay(|step| match step {
                Replayed::Entry(entry) => found += usize::from(entry.payload.len() == bytes),
                Replayed::Hole(hole) => println!("hole {hole:?}"),
            })
            .unwrap();
        let recovered = began.elapsed().as_secs_f64();
        assert_eq!(found, records, "every record is back");
        println!(
            "read {bare:.3} s   read and checked in one go {summed:.3} s   opened {opened:.3} s   \
             recovered {recovered:.3} s   {:.2} million records/s",
            found as f64 / recovered / 1e6
        );
    }
    replay_running(&store_directory, records);
    std::fs::remove_dir_all(directory).unwrap();
}

/// A store with a checkpoint of so many records.
fn write(directory: &Path, records: usize, bytes: usize) {
    let mut client = Client::new(directory);
    let id = client.begin();
    let payload = vec![7; bytes];
    let mut left = records;
    while left > 0 {
        let mut batch = Batch::new(Purpose::Checkpoint);
        for _ in 0..left.min(800) {
            batch.push(1, &payload).unwrap();
        }
        left -= batch.len();
        client.submit(Work::Append(batch));
    }
    client.submit(Work::FinishCheckpoint(id));
}

fn replay_running(directory: &Path, records: usize) {
    let mut client = Client::new(directory);
    let id = client.begin();
    let began = Instant::now();
    let mut found = 0;
    let events = client.store.reader().replay(id, |step| {
        found += usize::from(matches!(step, Replayed::Entry(_)));
        ControlFlow::Continue(())
    });
    assert_eq!(events.unwrap(), []);
    assert_eq!(found, records, "every record is back");
    println!(
        "replayed from the running store {:.3} s",
        began.elapsed().as_secs_f64()
    );
}

fn read_bare(directory: &Path) -> (f64, f64) {
    let files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let mut sum = 0;
    let mut read = |check: bool| {
        let began = Instant::now();
        for file in &files {
            let bytes = std::fs::read(file).unwrap();
            if check {
                sum ^= crc32c::crc32c(&bytes);
            }
        }
        began.elapsed().as_secs_f64()
    };
    let times = (read(false), read(true));
    std::hint::black_box(sum);
    times
}

struct Client {
    store: Store,
    writer: midge_store::Writer,
    woken: std::sync::mpsc::Receiver<()>,
}

impl Client {
    fn new(directory: &Path) -> Self {
        let disk = FileDisk::open(directory).unwrap();
        let mut recovery = Recovery::open(disk, Options::new(1)).unwrap();
        recovery.replay(|_| {}).unwrap();
        let store = Store::start(recovery, 1 << 26, |event| println!("{event}")).unwrap();
        let (wake, woken) = channel();
        let writer = store.writer(move || {
            let _ = wake.send(());
        });
        Self {
            store,
            writer,
            woken,
        }
    }

    fn submit(&mut self, work: Work) -> Settled {
        let _receipt = self.writer.submit(work).unwrap();
        let mut settled = Vec::new();
        while settled.is_empty() {
            self.woken.recv().unwrap();
            self.writer.take_settled(&mut settled);
        }
        let answer = settled.remove(0);
        assert!(answer.outcome.is_ok(), "{answer:?}");
        answer
    }

    fn begin(&mut self) -> CheckpointId {
        match self.submit(Work::BeginCheckpoint).outcome {
            Ok(Committed::Begun(id)) => id,
            _ => unreachable!("a beginning is answered by one"),
        }
    }
}
