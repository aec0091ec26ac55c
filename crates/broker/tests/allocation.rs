//! What a message costs the allocator, once everything has grown to its size.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroU16;
use std::sync::Arc;

use midge_broker::{
    ClaimAnswer, ConnId, DirectoryRequest, Effects, ListenerSettings, LocalTables, Next, Origin,
    Settings, Shard, SharedTables, Step, Time,
};
use midge_codec::{
    Connect, Header, PacketType, Properties, Publish, QoS, Subscribe, Subscription,
    SubscriptionOptions, Subscriptions, Version,
};

/// The system's allocator, which counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and nobody who reads it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A publisher and a subscriber of one shard.
struct Pair {
    version: Version,
    qos: QoS,
    shard: Shard,
    tables: SharedTables,
    effects: Effects,
    publisher: ConnId,
    subscriber: ConnId,
    /// Tokens of connections that have bytes, for one turn.
    dirty: Vec<usize>,
    /// The subscriber's acknowledgements for the next turn.
    acks: Vec<u8>,
    delivered: u64,
}

const TOPIC: &str = "building/3/room/17/temperature";
const PUBLISHER: usize = 0;

/// Messages in each turn.
const BATCH: u64 = 10;

impl Pair {
    fn new(version: Version, filter: &str, qos: QoS) -> Self {
        let settings = Settings {
            sys_interval: 0,
            ..Settings::default()
        };
        let mut shard = Shard::new(0, 1, Arc::new(settings), 1, Time(0));
        let mut tables = SharedTables::new(1);
        let mut effects = Effects::default();
        let [publisher, subscriber] = [PUBLISHER, 1]
            .map(|token| connect(&mut shard, &mut tables, &mut effects, token, version));
        let mut pair = Self {
            version,
            qos,
            shard,
            tables,
            effects,
            publisher,
            subscriber,
            dirty: Vec::new(),
            acks: Vec::new(),
            delivered: 0,
        };
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        let mut bytes = Vec::new();
        Subscribe {
            packet_id: NonZeroU16::MIN,
            properties: Properties::NONE,
            subscriptions: Subscriptions::from_list(&[Subscription { filter, options }]),
        }
        .encode(version, &mut bytes)
        .unwrap();
        pair.turn(subscriber, &bytes);
        pair
    }

    /// The bytes of a turn's messages.
    fn messages(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for id in 1..=BATCH {
            Publish {
                dup: false,
                qos: self.qos,
                retain: false,
                topic: TOPIC,
                packet_id: (self.qos != QoS::AtMostOnce)
                    .then(|| NonZeroU16::new(u16::try_from(id).unwrap()).unwrap()),
                properties: Properties::NONE,
                payload: &[b'.'; 128],
            }
            .encode(self.version, &mut bytes)
            .unwrap();
        }
        bytes
    }

    /// Bytes of a client go in, and everything that waits for a socket goes out.
    fn turn(&mut self, from: ConnId, bytes: &[u8]) {
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: Time(0),
            tables: &mut tables,
            effects: &mut self.effects,
        };
        let acks = std::mem::take(&mut self.acks);
        for (conn, bytes) in [(self.subscriber, acks.as_slice()), (from, bytes)] {
            let received = self.shard.receive(&mut step, conn, bytes);
            assert_eq!(received.consumed, bytes.len());
            assert_ne!(received.next, Next::Closed);
        }
        self.acks = acks;
        self.acks.clear();
        self.shard.end_turn(&mut step);
        std::mem::swap(&mut self.dirty, &mut step.effects.dirty);
        for token in self.dirty.drain(..) {
            let conn = if token == PUBLISHER {
                self.publisher
            } else {
                self.subscriber
            };
            let output = self.shard.output(conn);
            self.delivered += acknowledge(output, &mut self.acks);
            let count = output.len();
            self.shard.wrote(&mut step, conn, count);
        }
        assert!(step.effects.dirty.is_empty());
    }
}

fn connect(
    shard: &mut Shard,
    tables: &mut SharedTables,
    effects: &mut Effects,
    token: usize,
    version: Version,
) -> ConnId {
    let mut bytes = Vec::new();
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::NONE,
        client_id: &format!("client-{token}"),
        will: None,
        user_name: None,
        password: None,
    }
    .encode(&mut bytes)
    .unwrap();
    let mut tables = LocalTables::new(tables);
    let mut step = Step {
        now: Time(0),
        tables: &mut tables,
        effects,
    };
    let origin = Origin {
        listener: Arc::new(ListenerSettings::default()),
        address: None,
    };
    let conn = shard.open(&mut step, token, origin);
    let consumed = shard.receive(&mut step, conn, &bytes).consumed;
    for request in std::mem::take(&mut step.effects.directory) {
        if let DirectoryRequest::Claim(claim) = request {
            shard.claimed(&mut step, conn, &claim.client_id, ClaimAnswer::Here);
        }
    }
    shard.receive(&mut step, conn, &bytes[consumed..]);
    shard.end_turn(&mut step);
    step.effects.dirty.clear();
    let count = shard.output(conn).len();
    shard.wrote(&mut step, conn, count);
    assert!(shard.client_id(conn).is_some());
    conn
}

/// Counts the PUBLISH packets of `output`, and writes the PUBACKs that they ask for.
fn acknowledge(output: &[u8], acks: &mut Vec<u8>) -> u64 {
    let mut count = 0;
    let mut rest = output;
    while let Some(header) = Header::peek(rest).unwrap() {
        if header.packet_type() == Some(PacketType::Publish) {
            count += 1;
            let body = header.body(rest).unwrap();
            if header.first & 0x06 == 0x02 {
                let id = 2 + TOPIC.len();
                acks.extend_from_slice(&[PacketType::PubAck.first_byte(), 2]);
                acks.extend_from_slice(&body[id..id + 2]);
            }
        }
        rest = &rest[header.packet_length()..];
    }
    count
}

/// Allocations for each delivered message, once buffers and tables have grown.
fn per_message(version: Version, filter: &str, qos: QoS) -> f64 {
    const TURNS: u64 = 200;
    let mut pair = Pair::new(version, filter, qos);
    let messages = pair.messages();
    for _ in 0..TURNS {
        pair.turn(pair.publisher, &messages);
    }
    let (delivered, before) = (pair.delivered, ALLOCATIONS.get());
    for _ in 0..TURNS {
        pair.turn(pair.publisher, &messages);
    }
    let allocations = ALLOCATIONS.get() - before;
    let delivered = pair.delivered - delivered;
    assert_eq!(delivered, TURNS * BATCH);
    allocations as f64 / delivered as f64
}

const FILTERS: [&str; 3] = [TOPIC, "building/+/room/+/temperature", "building/#"];

#[test]
fn a_qos_0_message_to_a_subscriber_of_its_shard_allocates_nothing() {
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        for filter in FILTERS {
            let allocations = per_message(version, filter, QoS::AtMostOnce);
            assert_eq!(allocations, 0.0, "{version:?} {filter}");
        }
    }
}

/// A message of QoS 1 is kept until the subscriber has acknowledged it, in the blocks of one that was
/// acknowledged before. An empty window owns no memory, so the first messages of each turn make it grow:
/// three blocks for these ten.
#[test]
fn a_qos_1_message_to_a_subscriber_of_its_shard_allocates_little() {
    for version in [Version::V3_1_1, Version::V5] {
        for filter in FILTERS {
            let allocations = per_message(version, filter, QoS::AtLeastOnce);
            println!("{version:?} {filter}: {allocations} allocations for each message of QoS 1");
            assert!(
                allocations <= QOS_1_MAX,
                "{version:?} {filter}: {allocations}"
            );
        }
    }
}

const QOS_1_MAX: f64 = 0.3;

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    let boxed = std::hint::black_box(Box::new(1_u8));
    assert_eq!(ALLOCATIONS.get() - before, u64::from(*boxed));
}
