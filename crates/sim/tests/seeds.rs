//! Runs seeds: those that have found something, and the first few hundred.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use midge_sim::{Disk, Length, run};

/// Seeds that every test run goes through.
const SEEDS: u64 = 200;

/// Runs `seeds` on all cores and lists what fails.
fn failures(seeds: &[(u64, Length, Disk)]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((seed, length, disk)) = seeds.get(at) else {
                        break;
                    };
                    if let Err(violation) = run(*seed, *length, *disk, None) {
                        let line = format!("seed {seed} ({length:?}, {disk:?}): {violation}");
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(line);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn no_promise_is_broken_in_the_first_seeds() {
    let seeds: Vec<_> = (1..=SEEDS)
        .map(|seed| (seed, Length::Brief, Disk::BySeed))
        .collect();
    let failed = failures(&seeds);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The files in `seeds/` have a line for each: the number, `brief` for a short run, `kept`
/// for one with a disk, and what it found.
#[test]
fn seeds_that_once_found_something_find_nothing_now() {
    let mut seeds = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds");
    let files: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let (seed, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = rest.split_whitespace().peekable();
            let length = match words.next_if_eq(&"brief") {
                Some(_) => Length::Brief,
                None => Length::Full,
            };
            let disk = match words.next_if_eq(&"kept") {
                Some(_) => Disk::Kept,
                None => Disk::None,
            };
            seeds.push((seed.parse().unwrap(), length, disk));
        }
    }
    let failed = failures(&seeds);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in [3, 7, 11] {
        let first = run(seed, Length::Brief, Disk::BySeed, None);
        assert!(first.is_ok());
        assert_eq!(first, run(seed, Length::Brief, Disk::BySeed, None));
    }
}
