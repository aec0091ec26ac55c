//! What a producer pays: time of a hand-in, and how long a commit takes with and without a
//! checkpoint that is written at the same time.
//!
//! `cargo run --release -p midge-store --example latency -- [commits] [record bytes] [part bytes] [directory]`
//!
//! One producer commits single records and waits for each. In the second half of each round another
//! one hands in parts of a checkpoint back to back, two of them outstanding.

#![expect(clippy::print_stdout, reason = "it reports to whoever runs it")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use midge_store::{Batch, Committed, FileDisk, Options, Purpose, Recovery, Settled, Store, Work};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        arguments
            .next()
            .map_or(default, |text| text.parse().unwrap())
    };
    let (commits, bytes, part) = (number(5000), number(300), number(256 * 1024));
    let directory = arguments
        .next()
        .map_or_else(|| tempfile::tempdir().unwrap().keep(), PathBuf::from);
    let disk = FileDisk::open(&directory).unwrap();
    let mut recovery = Recovery::open(disk, Options::new(1)).unwrap();
    recovery.replay(|_| {}).unwrap();
    let store = Store::start(recovery, 1 << 26, |event| println!("{event}")).unwrap();
    hand_in(&store, bytes);
    for _ in 0..5 {
        let quiet = Latencies::measure(&store, commits, bytes);
        let done = AtomicBool::new(false);
        let (busy, parts) = thread::scope(|scope| {
            let maker = scope.spawn(|| checkpoint(&store, part, &done));
            let busy = Latencies::measure(&store, commits, bytes);
            done.store(true, Relaxed);
            (busy, maker.join().unwrap())
        });
        println!("alone {quiet}   with {parts:.0} MB/s of checkpoint {busy}");
    }
    drop(store);
    std::fs::remove_dir_all(directory).unwrap();
}

/// The cost of handing in, when nobody waits for the answer at once.
fn hand_in(store: &Store, bytes: usize) {
    const TIMES: u64 = 200_000;
    let wakes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wakes);
    let me = thread::current();
    let mut writer = store.writer(move || {
        counted.fetch_add(1, Relaxed);
        me.unpark();
    });
    let syncs = store.status().figures.syncs;
    let payload = vec![7; bytes];
    let mut settled: Vec<Settled> = Vec::new();
    let mut batches: Vec<Batch> = Vec::new();
    let (mut taken, mut spent) = (0, 0);
    for round in 0..TIMES / 100 {
        for _ in 0..100 {
            let mut batch = batches.pop().unwrap_or_default();
            batch.clear(Purpose::Ordinary);
            batch.push(1, &payload).unwrap();
            let began = Instant::now();
            let _receipt = writer.submit(Work::Append(batch)).unwrap();
            spent += began.elapsed().as_nanos();
        }
        while taken < (round + 1) * 100 {
            writer.take_settled(&mut settled);
            taken += settled.len() as u64;
            batches.extend(settled.drain(..).filter_map(|answer| answer.batch));
            if taken < (round + 1) * 100 {
                thread::park();
            }
        }
    }
    let clock = {
        let began = Instant::now();
        for _ in 0..TIMES {
            std::hint::black_box(Instant::now().elapsed());
        }
        began.elapsed().as_nanos()
    };
    let syncs = store.status().figures.syncs - syncs;
    println!(
        "a hand-in takes {} ns ({} of them the clock's); {:.2} wake-ups and {:.2} syncs for 100 hand-ins in a row",
        spent / u128::from(TIMES),
        clock / u128::from(TIMES),
        wakes.load(Relaxed) as f64 / (TIMES / 100) as f64,
        syncs as f64 / (TIMES / 100) as f64,
    );
}

/// Writes checkpoints back to back; says how many million bytes a second.
fn checkpoint(store: &Store, part: usize, done: &AtomicBool) -> f64 {
    let (wake, woken) = mpsc::channel();
    let mut writer = store.background_writer(move || {
        let _ = wake.send(());
    });
    let payload = vec![7; 300];
    let mut settled = Vec::new();
    let mut batches: Vec<Batch> = Vec::new();
    let (mut written, mut id) = (0, None);
    let began = Instant::now();
    let _receipt = writer.submit(Work::BeginCheckpoint).unwrap();
    let mut outstanding = 1;
    let mut since_begin = 0;
    while outstanding > 0 {
        woken.recv().unwrap();
        writer.take_settled(&mut settled);
        for answer in settled.drain(..) {
            outstanding -= 1;
            match answer.outcome.unwrap() {
                Committed::Begun(begun) => {
                    id = Some(begun);
                    since_begin = 0;
                }
                Committed::Finished if !done.load(Relaxed) => {
                    let _receipt = writer.submit(Work::BeginCheckpoint).unwrap();
                    outstanding += 1;
                }
                _ => {}
            }
            batches.extend(answer.batch);
        }
        while outstanding < 2
            && let Some(begun) = id
        {
            outstanding += 1;
            // A checkpoint of 64 MB, so that segments are freed and used again.
            if since_begin > 64_000_000 || done.load(Relaxed) {
                id = None;
                let _receipt = writer.submit(Work::FinishCheckpoint(begun)).unwrap();
                break;
            }
            let mut batch = batches.pop().unwrap_or_default();
            batch.clear(Purpose::Checkpoint);
            while batch.bytes() < part {
                batch.push(2, &payload).unwrap();
            }
            written += batch.bytes();
            since_begin += batch.bytes();
            let _receipt = writer.submit(Work::Append(batch)).unwrap();
        }
    }
    written as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// Microseconds of single commits.
struct Latencies(Vec<u128>);

impl Latencies {
    fn measure(store: &Store, commits: usize, bytes: usize) -> Self {
        let me = thread::current();
        let mut writer = store.writer(move || me.unpark());
        let payload = vec![7; bytes];
        let mut settled = Vec::new();
        let mut batch = Batch::default();
        let mut times = Vec::with_capacity(commits);
        for _ in 0..commits {
            batch.clear(Purpose::Ordinary);
            batch.push(1, &payload).unwrap();
            let began = Instant::now();
            let _receipt = writer.submit(Work::Append(batch)).unwrap();
            loop {
                writer.take_settled(&mut settled);
                if let Some(answer) = settled.pop() {
                    answer.outcome.unwrap();
                    batch = answer.batch.unwrap();
                    break;
                }
                thread::park();
            }
            times.push(began.elapsed().as_micros());
        }
        times.sort_unstable();
        Self(times)
    }

    fn share(&self, per_thousand: usize) -> u128 {
        self.0[self.0.len() * per_thousand / 1000]
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {} µs, p99 {} µs, p99.9 {} µs",
            self.share(500),
            self.share(990),
            self.share(999)
        )
    }
}
