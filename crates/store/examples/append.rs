//! Durable commits by many producers, against a bare loop that appends and syncs the same bytes.
//!
//! `cargo run --release -p midge-store --example append -- [producers] [messages] [bytes] [directory]`
//!
//! Every producer waits for its own commit before it hands in the next record. The bare loop writes
//! the same bytes to a file that grows, with one `fdatasync` for as many records as there are
//! producers: what a program gets that gathers perfectly and does nothing else.

#![expect(clippy::print_stdout, reason = "it reports to whoever runs it")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Instant;

use midge_store::{Batch, FileDisk, Options, Purpose, Recovery, Store, Work};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        arguments
            .next()
            .map_or(default, |text| text.parse().unwrap())
    };
    let (producers, messages, bytes) = (number(64), number(200_000), number(200));
    let directory = arguments.next().map_or_else(
        || tempfile::tempdir().unwrap().keep(),
        std::path::PathBuf::from,
    );
    std::fs::create_dir_all(&directory).unwrap();
    let each = messages / producers;
    println!("{producers} producers, {each} records of {bytes} bytes each");
    let mut ratios = Vec::new();
    for round in 0..5 {
        let bare = bare(&directory, producers, each, bytes);
        let (stored, syncs) = store(
            &directory.join(format!("store{round}")),
            producers,
            each,
            bytes,
        );
        println!(
            "bare {bare:9.0}/s   store {stored:9.0}/s in {syncs} syncs   {:.2}",
            stored / bare
        );
        ratios.push(stored / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ratios.len() / 2]);
    std::fs::remove_dir_all(directory).unwrap();
}

fn bare(directory: &Path, producers: usize, each: usize, bytes: usize) -> f64 {
    let mut file = File::create(directory.join("bare")).unwrap();
    let together = vec![7; (bytes + 28) * producers];
    let began = Instant::now();
    for _ in 0..each {
        file.write_all(&together).unwrap();
        file.sync_data().unwrap();
    }
    (each * producers) as f64 / began.elapsed().as_secs_f64()
}

fn store(directory: &Path, producers: usize, each: usize, bytes: usize) -> (f64, u64) {
    let disk = FileDisk::open(directory).unwrap();
    let mut recovery = Recovery::open(disk, Options::new(1)).unwrap();
    recovery.replay(|_| {}).unwrap();
    let store = Store::start(recovery, 1 << 26, |event| println!("{event}")).unwrap();
    // A few threads stand for the cores; each serves its share of the producers and is woken once
    // per commit, as a worker with an event loop is.
    let threads = 2.min(producers);
    let began = Instant::now();
    thread::scope(|scope| {
        for index in 0..threads {
            let share = producers / threads + usize::from(index < producers % threads);
            let store = &store;
            scope.spawn(move || produce(store, share, each, bytes));
        }
    });
    let rate = (each * producers) as f64 / began.elapsed().as_secs_f64();
    let syncs = store.status().figures.syncs;
    (rate, syncs)
}

fn produce(store: &Store, producers: usize, each: usize, bytes: usize) {
    let me = thread::current();
    let mut writer = store.writer(move || me.unpark());
    let payload = vec![7; bytes];
    let mut left = vec![each; producers];
    let mut ready: Vec<usize> = (0..producers).collect();
    let mut owners = std::collections::VecDeque::new();
    let mut settled = Vec::new();
    let mut batches = Vec::new();
    let mut open = producers;
    while open > 0 {
        // What is ready in one turn goes in as one batch, as a worker does it.
        let mut batch: Batch = batches.pop().unwrap_or_default();
        batch.clear(Purpose::Ordinary);
        let mut turn = Vec::new();
        for producer in ready.drain(..) {
            if left[producer] == 0 {
                open -= 1;
                continue;
            }
            left[producer] -= 1;
            batch.push(1, &payload).unwrap();
            turn.push(producer);
        }
        if !batch.is_empty() {
            owners.push_back(turn);
            let _receipt = writer.submit(Work::Append(batch)).unwrap();
        }
        while open > 0 && ready.is_empty() {
            writer.take_settled(&mut settled);
            for answer in settled.drain(..) {
                answer.outcome.unwrap();
                batches.extend(answer.batch);
                ready.extend(owners.pop_front().unwrap_or_default());
            }
            if ready.is_empty() {
                thread::park();
            }
        }
    }
}
