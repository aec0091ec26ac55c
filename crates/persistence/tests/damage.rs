//! A small store of a broker, cut and changed at every position: whatever is left is true.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so"
)]

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use midge_broker::persist::{Image, Records, read_message};
use midge_broker::{
    ClaimAnswer, DirectoryRequest, Effects, LocalTables, Origin, Settings, Shard, SharedTables,
    Step, Time,
};
use midge_persistence::{batch_of, recover};
use midge_store::sim::SimDisk;
use midge_store::{Disk, Log, Options, Position, Recovery, Submission, Tag, Work};

/// One segment takes it all.
fn options() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        ..Options::new(11)
    }
}

/// A broker with a simulated disk.
struct Broker {
    shard: Shard,
    tables: SharedTables,
    origin: Origin,
    log: Log<SimDisk>,
}

impl Broker {
    fn new(disk: &SimDisk) -> Self {
        let settings = Arc::new(Settings {
            sys_interval: 0,
            ..Settings::default()
        });
        let origin = Origin {
            listener: Arc::clone(&settings.listeners[0]),
            address: None,
        };
        let mut shard = Shard::new(0, 1, settings, 1, Time(0));
        shard.persist(1, 1_700_000_000_000);
        let mut recovery = Recovery::open(disk.clone(), options()).unwrap();
        recovery.replay(|_| {}).unwrap();
        Self {
            shard,
            tables: SharedTables::new(1),
            origin,
            log: Log::start(recovery),
        }
    }

    /// A client connects and sends bytes, which are answered by one commit.
    fn visit(&mut self, bytes: &[u8]) {
        let mut effects = Effects::default();
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: Time(0),
            tables: &mut tables,
            effects: &mut effects,
        };
        let conn = self.shard.open(&mut step, 0, self.origin.clone());
        self.shard.receive(&mut step, conn, bytes);
        while let Some(request) = step.effects.directory.pop() {
            if let DirectoryRequest::Claim(claim) = request {
                let here = ClaimAnswer::Here;
                self.shard.claimed(&mut step, conn, &claim.client_id, here);
                self.shard.receive(&mut step, conn, bytes);
            }
        }
        self.shard.end_turn(&mut step);
        let records = self.shard.take_records(Records::default());
        let records = records.expect("every visit changes something");
        let tag = Tag {
            writer: 1,
            ticket: records.number(),
        };
        let work = Work::Append(batch_of(&records).unwrap());
        let mut work = VecDeque::from([Submission { tag, work }]);
        let mut settled = Vec::new();
        self.log.commit(Duration::ZERO, &mut work, &mut settled);
        assert!(settled.iter().all(|answer| answer.outcome.is_ok()));
        self.shard.records_committed(&mut step, records.number());
    }
}

fn connect(client_id: &str) -> Vec<u8> {
    let id = client_id.as_bytes();
    let mut packet = vec![0x10, 18 + id.len() as u8, 0, 4];
    packet.extend_from_slice(b"MQTT\x05\x00\x00\x00\x05\x11\xFF\xFF\xFF\xFF\x00");
    packet.push(id.len() as u8);
    packet.extend_from_slice(id);
    packet
}

fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut packet = vec![0x82, 6 + filter.len() as u8, 0, 9, 0, 0, filter.len() as u8];
    packet.extend_from_slice(filter.as_bytes());
    packet.push(qos);
    packet
}

fn publish(first: u8, topic: &str, payload: &str) -> Vec<u8> {
    let length = 5 + topic.len() + payload.len();
    let mut packet = vec![first, length as u8, 0, topic.len() as u8];
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(&[0, 7, 0]);
    packet.extend_from_slice(payload.as_bytes());
    packet
}

/// What is in a store, and the contents of its messages.
fn describe<D: Disk>(recovery: &Recovery<D>, image: &Image) -> (String, HashMap<u64, Vec<u8>>) {
    let mut lines = BTreeSet::new();
    for session in image.show_sessions() {
        lines.insert(format!("{session:?}"));
    }
    let mut scratch = Vec::new();
    let mut contents = HashMap::new();
    for (id, place, _) in image.places() {
        let position = Position::from_bytes(place);
        if let Ok(record) = recovery.reader().read(position, &mut scratch) {
            let message = read_message(record.payload, 0).expect("a record that verifies reads");
            contents.insert(id, message.view().payload.to_vec());
        }
    }
    let counts = image.counts();
    (format!("{counts:?} {lines:?}"), contents)
}

/// The store, what it held after each commit, and the messages' payloads.
fn small_store() -> (SimDisk, BTreeSet<String>, HashMap<u64, Vec<u8>>) {
    let disk = SimDisk::new(3);
    let mut states = BTreeSet::new();
    let mut contents = HashMap::new();
    let mut broker = Broker::new(&disk);
    let mut note = |disk: &SimDisk| {
        let found = recover(disk.kill(), options()).unwrap();
        let (state, payloads) = describe(&found.recovery, &found.image);
        states.insert(state);
        contents.extend(payloads);
    };
    note(&disk);
    let visits = [
        [connect("one"), subscribe("t/#", 2)].concat(),
        [connect("two"), subscribe("$share/g/t/#", 1)].concat(),
        [connect("three"), publish(0x32, "t/a", "first")].concat(),
        [connect("three"), publish(0x34, "t/b", "second")].concat(),
        [connect("three"), publish(0x33, "r", "retained")].concat(),
        [connect("one"), vec![0x40, 2, 0, 1]].concat(),
        [connect("three"), vec![0x62, 2, 0, 7]].concat(),
        [connect("three"), publish(0x33, "r", "")].concat(),
        [
            connect("four"),
            publish(0x32, "t/c", "third"),
            vec![0xE0, 0],
        ]
        .concat(),
    ];
    for visit in &visits {
        broker.visit(visit);
        note(&disk);
    }
    (disk.kill(), states, contents)
}

fn segment(disk: &SimDisk) -> (String, usize) {
    let names = disk.list().unwrap();
    let used = |name: &String| {
        disk.contents(name)
            .unwrap()
            .iter()
            .rposition(|byte| *byte != 0)
    };
    let with_data = names.into_iter().filter(|name| name.ends_with(".seg"));
    with_data
        .filter_map(|name| used(&name).map(|end| (name, end + 1)))
        .max_by_key(|(_, end)| *end)
        .unwrap()
}

/// What is left of damaged stores: no panic, no payload that nobody published, no client that nobody was.
fn check(disk: SimDisk, contents: &HashMap<u64, Vec<u8>>, what: &str) -> Option<String> {
    let found = recover(disk, options()).ok()?;
    let (state, payloads) = describe(&found.recovery, &found.image);
    for (id, payload) in payloads {
        assert_eq!(contents.get(&id), Some(&payload), "{what}");
    }
    for session in found.image.show_sessions() {
        let known = ["one", "two", "three", "four"];
        assert!(known.contains(&session.client_id()), "{what}: {session:?}");
    }
    Some(state)
}

#[test]
fn a_segment_that_is_cut_anywhere_gives_the_state_after_some_commit() {
    let (disk, states, contents) = small_store();
    assert!(states.len() > 8, "{states:?}");
    let (name, end) = segment(&disk);
    for length in 0..=end {
        let damaged = disk.kill();
        damaged.damage(&name, |bytes| bytes.truncate(length));
        let what = format!("cut after {length} bytes");
        let state = check(damaged, &contents, &what).expect("damage stops no start");
        assert!(states.contains(&state), "{what}: {state}");
    }
}

#[test]
fn a_bit_that_flips_anywhere_costs_what_it_hits_and_invents_nothing() {
    let (disk, states, contents) = small_store();
    let (name, end) = segment(&disk);
    let mut changed = 0;
    for position in 0..end {
        let damaged = disk.kill();
        damaged.damage(&name, |bytes| bytes[position] ^= 1 << (position % 8));
        let what = format!("bit {} of byte {position}", position % 8);
        // A version number that is not ours is the one thing that stops a start.
        let state = check(damaged, &contents, &what);
        changed += usize::from(state.is_none_or(|state| !states.contains(&state)));
    }
    assert!(changed > 100, "nothing was damaged: {changed}");
}
