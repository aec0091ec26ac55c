//! Power cuts and kills at every step of random work.

use midge_store::sim::{Faults, Random, SimDisk};
use midge_store::{Options, SyncPolicy};

use crate::owner::{History, Owner};

fn options(seed: u64) -> Options {
    let mut options = Options::new(seed);
    options.segment_bytes = 32 * 1024;
    options.checkpoint_bytes = 200 * 1024;
    options
}

/// Lives of one store, each ended by a power cut after a number of disk operations.
fn live_and_die(seed: u64, lives: u64, faults: Faults) -> History {
    let mut random = Random::new(seed);
    let mut disk = SimDisk::new(seed);
    let mut history = History::default();
    for life in 0..lives {
        disk.set_faults(faults);
        // Also deaths during recovery and in the first commits.
        let operations = if random.chance(3000) {
            random.below(30)
        } else {
            random.below(1500)
        };
        let options = options(random.next_u64());
        let mut owner = Owner::start(&disk, options, &mut history, random.next_u64()).0;
        disk.die_after(operations);
        for turn in 0..400 {
            owner.turn(60);
            if disk.is_dead() {
                break;
            }
            if turn % 50 == 49 {
                owner.check_items();
            }
        }
        drop(owner);
        disk = if random.chance(2000) && life % 2 == 0 {
            disk.kill()
        } else {
            disk.crash()
        };
    }
    Owner::start(&disk, options(random.next_u64()), &mut history, 1);
    history
}

#[test]
fn acknowledged_batches_survive_power_cuts_in_order_and_once() {
    let (mut acknowledged, mut checkpoints, mut relocated) = (0, 0, 0);
    for seed in 25..25 + seeds(15) {
        let history = live_and_die(seed, 5, Faults::default());
        acknowledged += history.acknowledged_total;
        checkpoints += history.checkpoints;
        relocated += history.relocated;
    }
    // The work has to be work.
    assert!(acknowledged > 1000, "{acknowledged}");
    assert!(checkpoints > 20, "{checkpoints}");
    assert!(relocated > 20, "{relocated}");
}

#[test]
fn acknowledged_batches_survive_failing_writes_and_syncs() {
    let faults = Faults {
        write_error: 30,
        short_write: 300,
        sync_error: 100,
        ..Faults::default()
    };
    for seed in 1000..1000 + seeds(15) {
        live_and_die(seed, 5, faults);
    }
}

#[test]
fn acknowledged_batches_survive_a_disk_that_is_nearly_full() {
    // 2163: what a failed sync left in the system's memory only, and a kill and a power cut after it.
    for seed in (2000..2000 + seeds(12)).chain([2163]) {
        let faults = Faults {
            capacity: Some(150 * 1024 + seed % 10 * 32 * 1024),
            sync_error: if seed % 2 == 0 { 0 } else { 50 },
            ..Faults::default()
        };
        live_and_die(seed, 5, faults);
    }
}

#[test]
fn every_operation_of_a_short_life_may_be_the_last() {
    let life = |dies_after: u64| {
        let disk = SimDisk::new(dies_after);
        let mut history = History::default();
        let mut owner = Owner::start(&disk, options(5), &mut history, 77).0;
        disk.die_after(dies_after);
        for turn in 0..60 {
            owner.turn(20);
            if turn % 20 == 19 {
                owner.checkpoint_now();
            }
        }
        owner.log.close(std::time::Duration::from_secs(100));
        let died = disk.is_dead();
        drop(owner);
        Owner::start(&disk.crash(), options(6), &mut history, 1);
        died
    };
    let mut dies_after = 0;
    while life(dies_after) {
        dies_after += 1;
    }
    assert!(dies_after > 100, "{dies_after}");
}

#[test]
fn a_kill_loses_nothing_that_was_committed_under_any_policy() {
    let policies = [
        SyncPolicy::Always,
        SyncPolicy::Os,
        SyncPolicy::Interval(std::time::Duration::from_millis(50)),
    ];
    for seed in 0..seeds(12) {
        let mut disk = SimDisk::new(seed);
        let mut history = History::default();
        for life in 0..4 {
            let mut options = options(seed * 10 + life);
            options.sync = policies[(seed % 3) as usize];
            let mut owner = Owner::start(&disk, options, &mut history, seed + life).0;
            for _ in 0..100 {
                owner.turn(40);
            }
            drop(owner);
            disk = disk.kill();
        }
    }
}

#[test]
fn disk_use_stays_near_what_is_live() {
    for seed in 0..seeds(8) {
        let disk = SimDisk::new(seed);
        let mut history = History::default();
        let options = options(seed);
        let segment = u64::from(options.segment_bytes);
        let mut owner = Owner::start(&disk, options, &mut history, seed).0;
        for _ in 0..1500 {
            owner.turn(60);
            for _ in 0..3 {
                owner.relocate();
            }
            // The log since the checkpoint, the live bytes in half-full segments, the prepared ones
            // and the one that is written.
            let bound = 4 * owner.live_bytes() + 3 * options.checkpoint_bytes + 12 * segment;
            let bytes = disk.bytes();
            assert!(
                bytes <= bound,
                "{bytes} bytes on the disk for {} live ones, bound {bound}: {:?}, {:?}",
                owner.live_bytes(),
                owner.log.figures(),
                owner.log.reader().usage()
            );
        }
        owner.commit();
        owner.checkpoint_now();
        owner.rest();
        owner.check_items();
    }
}

/// How many seeds to try; `MIDGE_STORE_SEEDS` multiplies them for a long run.
fn seeds(count: u64) -> u64 {
    std::env::var("MIDGE_STORE_SEEDS")
        .ok()
        .and_then(|times| times.parse::<u64>().ok())
        .map_or(count, |times| count * times)
}
