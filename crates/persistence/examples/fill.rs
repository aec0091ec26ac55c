//! Fills a store with sessions and queued messages, to measure how a broker comes back:
//!
//! ```text
//! cargo run --release -p midge-persistence --example fill -- DIRECTORY SESSIONS MESSAGES [PAYLOAD_BYTES]
//! ```
//!
//! `DIRECTORY` is the store's own (`<persistence_location>/midge`). Each session is a client of MQTT 5.0
//! with an id of 16 bytes, one subscription of its own and no expiry; the messages of QoS 1 go to them in
//! turn.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example that says what it did, and ends at the first fault"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_broker::persist::Records;
use midge_broker::{
    ClaimAnswer, DirectoryRequest, Effects, Ended, LocalTables, Origin, Settings, Shard,
    SharedTables, Step, Time,
};
use midge_persistence::batch_of;
use midge_store::{FileDisk, Options, Recovery, Store, Work, Writer};

/// Packets between two commits.
const BATCH: usize = 1_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap();
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().unwrap());
    let (sessions, messages, payload): (usize, usize, usize) = (number(0), number(0), number(300));

    let began = Instant::now();
    let options = Options::new(began.elapsed().as_nanos() as u64 ^ u64::from(std::process::id()));
    let disk = FileDisk::open(directory).unwrap();
    let mut recovery = Recovery::open(disk, options).unwrap();
    recovery.replay(|_| {}).unwrap();
    let store = Store::start(recovery, 1 << 26, |event| println!("{event}")).unwrap();
    let main = std::thread::current();
    let writer = store.writer(move || main.unpark());
    let mut filler = Filler::new(writer);

    for session in 0..sessions {
        filler.visit(&[
            connect(&client_id(session), true),
            subscribe(&topic(session)),
        ]);
        if session % BATCH == BATCH - 1 {
            filler.commit();
        }
    }
    filler.commit();
    println!(
        "{sessions} sessions in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let payload = vec![b'x'; payload];
    for first in (0..messages).step_by(BATCH) {
        let mut packets = vec![connect("filler", false)];
        for message in first..messages.min(first + BATCH) {
            packets.push(publish(&topic(message % sessions.max(1)), &payload));
        }
        filler.visit(&packets);
        filler.commit();
    }
    store.close();
    println!(
        "and {messages} messages in {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// A shard without sockets, and the way of its records to the store.
struct Filler {
    shard: Shard,
    tables: SharedTables,
    effects: Effects,
    origin: Origin,
    writer: Writer,
}

impl Filler {
    fn new(writer: Writer) -> Self {
        let settings = Arc::new(Settings {
            max_queued_messages: 0,
            sys_interval: 0,
            connection_messages: false,
            ..Settings::default()
        });
        let origin = Origin {
            listener: Arc::clone(&settings.listeners[0]),
            address: None,
        };
        let mut shard = Shard::new(0, 1, settings, 1, Time(0));
        let now = std::time::SystemTime::now();
        let unix = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        shard.persist(1, unix.as_millis() as u64);
        Self {
            shard,
            tables: SharedTables::new(1),
            effects: Effects::default(),
            origin,
            writer,
        }
    }

    /// A client connects, sends `packets`, of which the first is CONNECT, and goes away.
    fn visit(&mut self, packets: &[Vec<u8>]) {
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: Time(0),
            tables: &mut tables,
            effects: &mut self.effects,
        };
        let bytes = packets.concat();
        let conn = self.shard.open(&mut step, 0, self.origin.clone());
        let mut received = self.shard.receive(&mut step, conn, &bytes);
        if let Some(DirectoryRequest::Claim(claim)) = step.effects.directory.pop() {
            let here = ClaimAnswer::Here;
            self.shard.claimed(&mut step, conn, &claim.client_id, here);
            received = self.shard.receive(&mut step, conn, &bytes);
        }
        assert_eq!(received.consumed, bytes.len(), "{received:?}");
        self.shard.closed(&mut step, conn, &Ended::ByPeer);
        self.shard.end_turn(&mut step);
        self.effects = Effects::default();
    }

    fn commit(&mut self) {
        let Some(records) = self.shard.take_records(Records::default()) else {
            return;
        };
        let batch = batch_of(&records).unwrap();
        let _ = self.writer.submit(Work::Append(batch)).unwrap();
        let mut settled = Vec::new();
        while settled.is_empty() {
            std::thread::park_timeout(Duration::from_millis(100));
            self.writer.take_settled(&mut settled);
        }
        assert!(settled.iter().all(|answer| answer.outcome.is_ok()));
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: Time(0),
            tables: &mut tables,
            effects: &mut self.effects,
        };
        self.shard.records_committed(&mut step, records.number());
        self.effects = Effects::default();
    }
}

fn client_id(number: usize) -> String {
    format!("client{number:010}")
}

fn topic(number: usize) -> String {
    format!("fleet/{number:010}/inbox")
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length >= 0x80 {
        packet.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = (value.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

fn connect(client_id: &str, lasts: bool) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend_from_slice(&[5, u8::from(!lasts) << 1, 0, 0]);
    if lasts {
        // Session Expiry Interval: never.
        body.extend_from_slice(&[5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF]);
    } else {
        body.push(0);
    }
    body.extend_from_slice(&text(client_id));
    packet(0x10, &body)
}

fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    body.extend_from_slice(&text(filter));
    body.push(1);
    packet(0x82, &body)
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend_from_slice(&[0, 1, 0]);
    body.extend_from_slice(payload);
    packet(0x32, &body)
}
