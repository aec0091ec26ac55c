//! Damage at every position of a small store.

use std::collections::VecDeque;
use std::time::Duration;

use midge_store::sim::{Faults, Random, SimDisk};
use midge_store::{
    Batch, Committed, Event, Log, OpenError, Options, Purpose, Recovery, Replayed, Submission, Tag,
    Work,
};

const SEGMENT: usize = 16 * 1024;
const DATA_START: usize = 8192;
const RECORD_HEADER: usize = 28;

fn options(seed: u64) -> Options {
    let mut options = Options::new(seed);
    options.segment_bytes = SEGMENT as u32;
    options.reserve_segments = 0;
    options.ahead_segments = 0;
    options
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + number as usize * 37 % 400, number as u8);
    payload
}

/// A record of the undamaged store.
#[derive(Clone, Debug)]
struct Known {
    number: u64,
    file: String,
    start: usize,
    end: usize,
}

fn run(log: &mut Log<SimDisk>, work: Work) -> (Option<Batch>, Committed) {
    let tag = Tag {
        writer: 0,
        ticket: 0,
    };
    let mut settled = Vec::new();
    let mut work = VecDeque::from([Submission { tag, work }]);
    log.commit(Duration::ZERO, &mut work, &mut settled);
    let answer = settled.remove(0);
    (answer.batch, answer.outcome.unwrap())
}

fn add(log: &mut Log<SimDisk>, numbers: std::ops::Range<u64>) -> Vec<Known> {
    numbers
        .map(|number| {
            let mut batch = Batch::new(Purpose::Ordinary);
            batch.push(1, &payload(number)).unwrap();
            let (batch, _) = run(log, Work::Append(batch));
            let position = batch.unwrap().positions().next().unwrap();
            Known {
                number,
                file: format!("{:08}.seg", position.segment - 1),
                start: position.offset as usize,
                end: position.offset as usize + RECORD_HEADER + position.length as usize,
            }
        })
        .collect()
}

/// Two segments and a bit, closed cleanly.
fn small_store() -> (SimDisk, Vec<Known>) {
    let disk = SimDisk::new(1);
    let mut log = Log::start(Recovery::open(disk.clone(), options(1)).unwrap());
    let known = add(&mut log, 0..60);
    assert_eq!(known.last().unwrap().file, "00000001.seg");
    log.close(Duration::ZERO);
    (disk.crash(), known)
}

struct Outcome {
    numbers: Vec<u64>,
    lost: u64,
    events: Vec<Event>,
    recovery: Recovery<SimDisk>,
}

/// Recovers and checks that what comes is genuine and in order.
fn recover(disk: &SimDisk) -> Outcome {
    let mut recovery = Recovery::open(disk.clone(), options(2)).unwrap();
    let mut numbers = Vec::new();
    let mut lost = 0;
    recovery
        .replay(|step| match step {
            Replayed::Entry(entry) => {
                let number = u64::from_le_bytes(entry.payload[..8].try_into().unwrap());
                assert_eq!(entry.payload, payload(number));
                numbers.push(number);
            }
            Replayed::Hole(sequences) => lost += sequences.end - sequences.start,
        })
        .unwrap();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    Outcome {
        numbers,
        lost,
        events: recovery.take_events(),
        recovery,
    }
}

/// A damaged store can be used, and shows the same at the next start.
fn goes_on(outcome: Outcome, disk: &SimDisk) {
    let mut log = Log::start(outcome.recovery);
    add(&mut log, 1000..1001);
    let again = recover(&disk.crash());
    let mut expected = outcome.numbers;
    expected.push(1000);
    assert_eq!(again.numbers, expected);
    assert_eq!(again.lost, outcome.lost);
}

#[test]
fn a_flipped_bit_costs_the_record_that_it_hits_and_nothing_else() {
    let (pristine, known) = small_store();
    for name in ["00000000.seg", "00000001.seg"] {
        let used = known.iter().filter(|k| k.file == name).map(|k| k.end).max();
        let used = used.unwrap();
        for at in (0..used).filter(|&at| at < 84 || (4096..4180).contains(&at) || at >= DATA_START)
        {
            let disk = pristine.kill();
            disk.damage(name, |bytes| bytes[at] ^= 1 << (at % 8));
            let outcome = recover(&disk);
            let hit = known
                .iter()
                .find(|k| k.file == name && (k.start..k.end).contains(&at));
            let expected: Vec<_> = known
                .iter()
                .map(|k| k.number)
                .filter(|number| hit.is_none_or(|hit| hit.number != *number))
                .collect();
            assert_eq!(outcome.numbers, expected, "{name} {at}");
            assert_eq!(outcome.lost, u64::from(hit.is_some()), "{name} {at}");
            if let Some(hit) = hit {
                let Some(Event::Quarantined {
                    offset,
                    bytes,
                    kept_in: Some(kept),
                    ..
                }) = outcome.events.first()
                else {
                    panic!("{:?}", outcome.events);
                };
                assert_eq!(*offset, hit.start as u64);
                let copy = disk.contents(kept).unwrap();
                let length = hit.end - hit.start;
                assert_eq!(*bytes, copy.len() as u64);
                let all = disk.contents(name).unwrap();
                assert_eq!(copy[..length], all[hit.start..hit.end]);
            } else {
                assert_eq!(outcome.events, [], "{name} {at}");
            }
            if at % 97 == 0 {
                goes_on(outcome, &disk);
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_keeps_everything_before_the_cut_and_every_other_file() {
    let (pristine, known) = small_store();
    for (name, newest) in [("00000000.seg", false), ("00000001.seg", true)] {
        let used = known.iter().filter(|k| k.file == name).map(|k| k.end).max();
        for cut in (0..used.unwrap()).filter(|&at| !(90..DATA_START).contains(&at) || at % 64 == 0)
        {
            let disk = pristine.kill();
            disk.damage(name, |bytes| bytes.truncate(cut));
            let outcome = recover(&disk);
            let expected: Vec<_> = known
                .iter()
                .filter(|k| k.file != name || k.end.next_multiple_of(4) <= cut)
                .map(|k| k.number)
                .collect();
            assert_eq!(outcome.numbers, expected, "{name} {cut}");
            if !newest {
                let lost = known.len() - expected.len();
                // Without the first segment the log seems to begin later; that is told as well.
                let told =
                    outcome.lost == lost as u64 || outcome.events.contains(&Event::CheckpointLost);
                assert!(told, "{cut}: {} {:?}", outcome.lost, outcome.events);
            }
            if cut % 97 == 0 {
                goes_on(outcome, &disk);
            }
        }
    }
}

#[test]
fn nothing_but_genuine_records_comes_out_of_a_store_in_ruins() {
    let (pristine, known) = small_store();
    for seed in 0..2000 {
        let disk = pristine.kill();
        let mut random = Random::new(seed);
        for _ in 0..=random.below(6) {
            let name = ["00000000.seg", "00000001.seg"][random.below(2) as usize];
            disk.damage(name, |bytes| ruin(bytes, &mut random));
        }
        disk.set_faults(Faults {
            read_error: random.below(300) as u32,
            ..Faults::default()
        });
        // Whether it opens is the disk's affair; it must end, and tell no lies.
        if let Ok(mut recovery) = Recovery::open(disk, options(3)) {
            let mut count = 0;
            let _ = recovery.replay(|step| {
                if let Replayed::Entry(entry) = step {
                    let number = u64::from_le_bytes(entry.payload[..8].try_into().unwrap());
                    assert_eq!(entry.payload, payload(number));
                    count += 1;
                }
            });
            assert!(count <= known.len());
        }
    }
}

fn ruin(bytes: &mut Vec<u8>, random: &mut Random) {
    let length = bytes.len() as u64;
    let at = random.below(length) as usize;
    let end = bytes.len().min(at + random.below(2000) as usize);
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at..end].fill(0),
        2 => bytes[at..end].fill_with(|| random.next_u64() as u8),
        3 => {
            // A piece of the file at a place where it does not belong.
            let piece = bytes[at..end].to_vec();
            let into = (random.below(length) as usize).min(bytes.len() - piece.len());
            bytes[into..into + piece.len()].copy_from_slice(&piece);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

#[test]
fn one_bad_place_does_not_hide_the_last_checkpoint() {
    let disk = SimDisk::new(9);
    let mut log = Log::start(Recovery::open(disk.clone(), options(9)).unwrap());
    add(&mut log, 0..60);
    let Committed::Begun(id) = run(&mut log, Work::BeginCheckpoint).1 else {
        panic!("not begun");
    };
    let snapshot = add(&mut log, 100..103);
    run(&mut log, Work::FinishCheckpoint(id));
    while log.maintain(Duration::ZERO) {}
    let after = add(&mut log, 200..203);
    log.close(Duration::ZERO);
    let pristine = disk.crash();

    let all = [100, 101, 102, 200, 201, 202];
    assert_eq!(recover(&pristine.kill()).numbers, all);
    let name = &snapshot[0].file;
    assert_eq!(*name, after[2].file);
    for at in (0..84).chain(4096..4180).chain(DATA_START..after[2].end) {
        let disk = pristine.kill();
        disk.damage(name, |bytes| bytes[at] ^= 0x10);
        let numbers = recover(&disk).numbers;
        assert!(numbers.len() >= 5, "{at}: {numbers:?}");
        assert!(numbers.iter().all(|n| *n >= 100), "{at}: {numbers:?}");
    }
}

#[test]
fn a_newer_format_is_refused_by_name_and_left_alone() {
    let (disk, _) = small_store();
    let before = disk.contents("00000000.seg");
    disk.damage("00000001.seg", |bytes| {
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let error = Recovery::open(disk.clone(), options(1)).unwrap_err();
    let OpenError::NewerFormat { name, version: 2 } = &error else {
        panic!("{error}");
    };
    assert_eq!(name, "00000001.seg");
    assert_eq!(
        error.to_string(),
        "00000001.seg has format 2, this program knows formats up to 1"
    );
    assert_eq!(disk.contents("00000000.seg"), before);
}

#[test]
fn a_payload_that_looks_like_records_is_never_taken_for_one() {
    // All bytes of a segment become payloads of the same store, and then their record is damaged.
    let (disk, _) = small_store();
    let image = disk.contents("00000000.seg").unwrap();
    let mut log = Log::start(Recovery::open(disk.clone(), options(4)).unwrap());
    let mut batch = Batch::new(Purpose::Ordinary);
    batch.push(7, &image).unwrap();
    let position = run(&mut log, Work::Append(batch))
        .0
        .unwrap()
        .positions()
        .next()
        .unwrap();
    add(&mut log, 500..502);
    log.close(Duration::ZERO);
    disk.damage(&format!("{:08}.seg", position.segment - 1), |bytes| {
        bytes[position.offset as usize] ^= 1;
    });
    let outcome = recover(&disk);
    assert_eq!(outcome.lost, 1);
    let expected: Vec<_> = (0..60).chain(500..502).collect();
    assert_eq!(outcome.numbers, expected);
}
