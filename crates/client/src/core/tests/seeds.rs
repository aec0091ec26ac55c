//! Two clients and the real broker's shard, on links that chop, stall and break, with a writer that falls
//! now and then and has a durable queue, and restarts of the broker. All chance comes from the seed.

use super::shard::Broker;
use super::*;
use crate::queue::left_by;

/// A client and its end of the link.
struct Party {
    core: Core,
    /// Taken from the core and not sent.
    up: Vec<u8>,
    is_linked: bool,
}

impl Party {
    const fn new(core: Core) -> Self {
        Self {
            core,
            up: Vec::new(),
            is_linked: false,
        }
    }
}

struct Scene {
    broker: Broker,
    parties: [Party; 2],
    now: Time,
    random: Random,
    disk: Vec<Record>,
    pending: Vec<Record>,
    stream: StreamKey,
    last: Option<u64>,
    batch: VecDeque<Item>,
    /// Payload and ticket of what the writer has handed in.
    storing: Vec<(String, Ticket)>,
    accepted: Vec<String>,
    got: Vec<String>,
}

const WRITER: usize = 0;
const READER: usize = 1;

fn writer_options() -> Options {
    options()
        .client_id("writer")
        .clean_start(false)
        .inflight_max(5)
}

impl Scene {
    fn new(seed: u64) -> Self {
        let now = Time(1000);
        let mut writer = Core::new(writer_options(), seed);
        writer.restore(now, Vec::new());
        let receive_maximum = u16::try_from(seed % 7 + 1).unwrap();
        let reader = options()
            .client_id("reader")
            .clean_start(false)
            .session_expiry(Duration::MAX)
            .receive_maximum(receive_maximum);
        let mut world = World::new(reader);
        let (stream, _) = world.subscribe("seeds/#");
        let mut scene = Self {
            broker: Broker::new(now),
            parties: [Party::new(writer), Party::new(world.core)],
            now,
            random: Random(seed),
            disk: Vec::new(),
            pending: Vec::new(),
            stream,
            last: None,
            batch: VecDeque::new(),
            storing: Vec::new(),
            accepted: Vec::new(),
            got: Vec::new(),
        };
        // The reader is there from the beginning.
        for _ in 0..50 {
            scene.drive(READER, usize::MAX);
        }
        scene
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.random.next() % bound).unwrap()
    }

    /// Moves up to `most` bytes each way over the link of a client, or has it connect.
    fn drive(&mut self, at: usize, most: usize) {
        let Self {
            broker,
            parties,
            now,
            ..
        } = self;
        let party = &mut parties[at];
        match party.core.duty(*now) {
            Duty::Wait(until) => *now = until.min(now.plus_secs(1)),
            Duty::Dial(_) => {
                party.core.opened(*now, &Credentials::default(), None);
                party.up.clear();
                party.is_linked = true;
                broker.open(*now, at);
            }
            Duty::Talk => {
                if party.up.is_empty() {
                    party.core.take_outbound(&mut party.up);
                }
                let count = party.up.len().min(most);
                let sent: Vec<u8> = party.up.drain(..count).collect();
                party.core.written(*now, count);
                broker.receive(*now, at, &sent);
                let Some(end) = broker.links.get_mut(&at) else {
                    return;
                };
                if party.core.wants_bytes() {
                    let count = end.down.len().min(most);
                    let got: Vec<u8> = end.down.drain(..count).collect();
                    party.core.received(*now, &got);
                } else {
                    party.core.resume(*now);
                }
                let is_over = end.is_closed && end.down.is_empty() || party.core.is_to_close();
                if is_over || party.core.next_deadline() <= *now && !party.core.tick(*now) {
                    self.cut(at);
                }
            }
            Duty::End => panic!("client {at} gave up: {:?}", party.core.ending()),
        }
    }

    fn cut(&mut self, at: usize) {
        let party = &mut self.parties[at];
        if mem::take(&mut party.is_linked) {
            party.core.lost(self.now, ConnectionError::ClosedByBroker);
            party.up.clear();
            self.broker.lose(self.now, at);
        }
    }

    /// The writer falls and starts again.
    fn crash(&mut self) {
        self.note_accepted();
        if self.random.next().is_multiple_of(2) {
            self.disk.append(&mut self.pending);
        }
        self.pending.clear();
        self.storing.clear();
        self.broker.lose(self.now, WRITER);
        let seed = self.random.next();
        let mut core = Core::new(writer_options(), seed);
        core.restore(self.now, left_by(&self.disk));
        self.parties[WRITER] = Party::new(core);
    }

    fn publish(&mut self, number: usize) {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][self.below(2)];
        let payload = format!("{} {number}", qos.bits());
        let topic = format!("seeds/{}", self.below(3));
        let mut message = draft(&topic, &payload, qos);
        let core = &mut self.parties[WRITER].core;
        if let Ok(Accepted::Storing { stored, delivery }) = core.publish(self.now, &mut message) {
            core.tickets().abandon(delivery);
            self.storing.push((payload, stored));
        }
    }

    fn note_accepted(&mut self) {
        let core = &mut self.parties[WRITER].core;
        for (payload, ticket) in mem::take(&mut self.storing) {
            match core.tickets().poll(ticket, Waker::noop()) {
                Poll::Ready(Outcome::Published(Ok(_))) => self.accepted.push(payload),
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending => self.storing.push((payload, ticket)),
            }
        }
    }

    fn keep(&mut self) {
        let core = &mut self.parties[WRITER].core;
        if self.pending.is_empty() {
            if let Poll::Ready(Some(records)) = core.next_records(Waker::noop()) {
                self.pending = records;
            }
        } else {
            let count = self.pending.len();
            self.disk.append(&mut self.pending);
            core.committed(self.now, count, None);
        }
        self.note_accepted();
    }

    fn read(&mut self) {
        let core = &mut self.parties[READER].core;
        if let Some(sequence) = self.last.take() {
            core.acknowledge(sequence);
        }
        if self.batch.is_empty() {
            core.take(self.now, self.stream, None, &mut self.batch, None);
        }
        if let Some(item) = self.batch.pop_front() {
            self.last = item.sequence;
            self.got.push(item.message.text().unwrap().to_owned());
        }
    }

    /// The broker ends and starts with the state that it had acknowledged, which is all that it has said:
    /// what was on its way to and from anybody is gone.
    fn restart(&mut self) {
        self.cut(WRITER);
        self.cut(READER);
    }

    fn act(&mut self, number: usize) {
        let party = self.below(2);
        match self.below(100) {
            0..5 => self.cut(party),
            5 => self.crash(),
            6..15 => self.publish(number),
            15..35 => self.keep(),
            35..50 => self.read(),
            60 => self.restart(),
            50..60 => self.now = self.now.plus_millis(self.random.next() % 500),
            _ => {
                let most = [1, 7, 40, 4000][self.below(4)];
                self.drive(party, most);
            }
        }
    }
}

fn run(seed: u64) {
    let mut scene = Scene::new(seed);
    for number in 0..1500 {
        scene.act(number);
    }
    // Now everything works, until all is done.
    let mut quiet = 0;
    while quiet < 100 {
        let before = scene.got.len();
        scene.keep();
        scene.read();
        scene.drive(WRITER, usize::MAX);
        scene.drive(READER, usize::MAX);
        let is_done = scene.parties[WRITER].core.unfinished() == 0 && scene.got.len() == before;
        quiet = if is_done { quiet + 1 } else { 0 };
    }
    assert_eq!(scene.parties[WRITER].core.unfinished(), 0, "seed {seed}");
    assert!(left_by(&scene.disk).is_empty(), "seed {seed}");
    assert!(
        scene.accepted.len() > 10,
        "seed {seed}: {}",
        scene.accepted.len()
    );
    for payload in &scene.accepted {
        let count = scene.got.iter().filter(|got| *got == payload).count();
        let once = payload.starts_with('2');
        assert!(
            count == 1 || !once && count > 1,
            "seed {seed}: {payload:?} came {count} times"
        );
    }
    // What was not accepted before the writer fell may come, and with QoS 2 not twice.
    let mut once: Vec<_> = scene
        .got
        .iter()
        .filter(|got| got.starts_with('2'))
        .collect();
    let total = once.len();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), total, "seed {seed}");
}

#[test]
fn every_promise_holds_over_bad_links_restarts_of_the_broker_and_crashes_of_the_writer() {
    for seed in 0..60 {
        run(seed);
    }
}
