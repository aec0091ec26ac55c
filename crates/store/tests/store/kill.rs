//! A process on a real disk that is killed at random moments.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use midge_store::sim::Random;
use midge_store::{
    Batch, Committed, FileDisk, Options, Purpose, Recovery, Replayed, Settled, Store, Work, Writer,
};

const PRODUCERS: usize = 4;
const RECORD: u8 = 1;
const SNAPSHOT: u8 = 2;
const DIRECTORY: &str = "MIDGE_STORE_KILL_TEST_DIRECTORY";
/// `MIDGE_STORE_KILLS` asks for more.
const KILLS: u64 = 40;

fn options(seed: u64) -> Options {
    let mut options = Options::new(seed);
    options.segment_bytes = 64 * 1024;
    options.checkpoint_bytes = 256 * 1024;
    options
}

/// The number of the newest record of each producer.
fn recover(directory: &str, seed: u64) -> (Recovery<FileDisk>, [u64; PRODUCERS]) {
    let disk = FileDisk::open(directory).unwrap();
    let mut recovery = Recovery::open(disk, options(seed)).unwrap();
    let mut newest = [0; PRODUCERS];
    let mut known = [false; PRODUCERS];
    recovery
        .replay(|step| {
            let Replayed::Entry(entry) = step else {
                panic!("{step:?}");
            };
            let mut numbers = entry
                .payload
                .chunks_exact(8)
                .map(|field| u64::from_le_bytes(field.try_into().unwrap()));
            if entry.kind == SNAPSHOT {
                for (index, number) in numbers.enumerate() {
                    assert!(number >= newest[index]);
                    newest[index] = number;
                    known[index] = true;
                }
                return;
            }
            let producer = numbers.next().unwrap() as usize;
            let number = numbers.next().unwrap();
            // Until the snapshot has been met, a replay begins in the middle.
            if known[producer] || newest[producer] > 0 {
                assert_eq!(number, newest[producer] + 1, "producer {producer}");
            }
            newest[producer] = number;
            assert!(entry.payload[16..].iter().all(|byte| *byte == number as u8));
        })
        .unwrap();
    let events = recovery.take_events();
    let harmless = |event: &_| matches!(event, midge_store::Event::TornTail { .. });
    assert!(events.iter().all(harmless), "{events:?}");
    (recovery, newest)
}

#[test]
fn a_killed_process_has_lost_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let kills = std::env::var("MIDGE_STORE_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(KILLS);
    let mut random = Random::new(1);
    let mut total = 0;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        // At any moment of the start, or after some acknowledgements.
        let mut said = Vec::new();
        if random.chance(2000) {
            std::thread::sleep(Duration::from_micros(random.below(40_000)));
        } else {
            read_acknowledgements(&mut output, &mut said, random.below(60));
        }
        child.kill().unwrap();
        output.read_to_end(&mut said).unwrap();
        child.wait().unwrap();

        let acknowledged = acknowledged(&said);
        let (recovery, newest) = recover(path, kill);
        for (producer, number) in acknowledged.iter().enumerate() {
            assert!(
                newest[producer] >= *number,
                "kill {kill}: producer {producer} was told of {number}, {newest:?} came back"
            );
        }
        total = total.max(newest.iter().sum());
        drop(recovery);
    }
    assert!(total > kills * 10, "{total} records is not much");
}

/// Reads until the child has told of so many commits, or has ended.
fn read_acknowledgements(output: &mut impl Read, said: &mut Vec<u8>, count: u64) {
    let mut piece = [0; 256];
    let mut seen = 0;
    while seen < count {
        let read = output.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "the child ended by itself: {}",
            String::from_utf8_lossy(said)
        );
        said.extend_from_slice(&piece[..read]);
        seen += piece[..read].iter().filter(|byte| **byte == b'A').count() as u64;
    }
}

/// The highest number that each producer has told of in whole lines.
fn acknowledged(said: &[u8]) -> [u64; PRODUCERS] {
    let text = String::from_utf8_lossy(said);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut newest = [0; PRODUCERS];
    for line in whole.lines() {
        let mut words = line.split(' ');
        if words.next() != Some("ACK") {
            continue;
        }
        let producer: usize = words.next().unwrap().parse().unwrap();
        newest[producer] = words.next().unwrap().parse().unwrap();
    }
    newest
}

/// Lets a producer wait for its commits.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

fn writer(store: &Store) -> (Writer, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    let rings = Arc::clone(&bell);
    let writer = store.writer(move || {
        *rings.rung.lock().unwrap() = true;
        rings.changed.notify_one();
    });
    (writer, bell)
}

fn settle(writer: &mut Writer, bell: &Bell, work: Work) -> Settled {
    let mut settled = Vec::new();
    let _receipt = writer.submit(work).unwrap();
    while settled.is_empty() {
        bell.wait();
        writer.take_settled(&mut settled);
    }
    settled.remove(0)
}

#[test]
#[ignore = "runs in a process of its own, until it is killed"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let (recovery, newest) = recover(&directory, u64::from(std::process::id()));
    let store = Store::start(recovery, 1 << 20, |_| {}).unwrap();
    let handed_in = Arc::new(Mutex::new(newest));
    for producer in 0..PRODUCERS {
        let (mut writer, bell) = writer(&store);
        let handed_in = Arc::clone(&handed_in);
        std::thread::spawn(move || {
            let mut settled = Vec::new();
            loop {
                let mut numbers = handed_in.lock().unwrap();
                numbers[producer] += 1;
                let number = numbers[producer];
                let mut payload = (producer as u64).to_le_bytes().to_vec();
                payload.extend(number.to_le_bytes());
                payload.resize(16 + number as usize * 31 % 700, number as u8);
                let mut batch = Batch::new(Purpose::Ordinary);
                batch.push(RECORD, &payload).unwrap();
                let _receipt = writer.submit(Work::Append(batch)).unwrap();
                drop(numbers);
                while settled.is_empty() {
                    bell.wait();
                    writer.take_settled(&mut settled);
                }
                for answer in settled.drain(..) {
                    answer.outcome.unwrap();
                }
                println!("ACK {producer} {number}");
            }
        });
    }
    let (mut writer, bell) = writer(&store);
    loop {
        let begun = settle(&mut writer, &bell, Work::BeginCheckpoint).outcome;
        let Ok(Committed::Begun(id)) = begun else {
            panic!("{begun:?}");
        };
        let numbers = handed_in.lock().unwrap();
        let mut batch = Batch::new(Purpose::Checkpoint);
        let payload: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        batch.push(SNAPSHOT, &payload).unwrap();
        let _receipt = writer.submit(Work::Append(batch)).unwrap();
        drop(numbers);
        bell.wait();
        writer.take_settled(&mut Vec::new());
        let finished = settle(&mut writer, &bell, Work::FinishCheckpoint(id));
        assert_eq!(finished.outcome, Ok(Committed::Finished));
        std::thread::sleep(Duration::from_millis(7));
    }
}
