//! One thread of load: its connections, and the rounds in which it serves them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use midge_codec::{AckKind, Header, PacketType, QoS, ReasonCode};
use std::os::fd::AsRawFd as _;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::link::{Fill, Link, put_ack};
use super::plan::{Pace, Plan};
use super::tally::{Flow, Receipt, Seen, Tally};
use super::template::{Delivery, Stamp, Template, cycled, packet_id};
use crate::client::Parts;
use crate::failure::Failure;

/// What a publisher sent and what of it has arrived, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Progress {
    /// Raised before the messages are written, so that nothing arrives that was not sent.
    pub(crate) sent: AtomicU64,
    /// Deliveries that give the publisher leave to send on; a gap counts as delivered.
    pub(crate) credited: AtomicU64,
}

/// What all threads of a run know.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) start: Instant,
    /// When measuring begins and ends, in nanoseconds since `start`.
    pub(crate) measure_from: u64,
    pub(crate) measure_to: u64,
    pub(crate) progress: Vec<Progress>,
    /// The topics of the first publisher, then those of the next; each has as many.
    pub(crate) topics: Vec<Vec<u8>>,
    /// Deliveries so far, for showing progress.
    pub(crate) received: AtomicU64,
    /// How many threads publish no more.
    pub(crate) draining: AtomicU32,
    /// Another thread has failed.
    pub(crate) stop: AtomicBool,
}

impl Shared {
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The topics that a publisher takes in turn.
    fn topics_of(&self, publisher: u32) -> &[Vec<u8>] {
        let each = self.plan.topics_each() as usize;
        let first = publisher as usize * each;
        self.topics.get(first..first + each).unwrap_or_default()
    }

    /// Whether all that was published has arrived, and nobody publishes any more.
    fn all_arrived(&self) -> bool {
        let copies = self.plan.copies();
        self.draining.load(Ordering::Acquire) == self.plan.threads
            && self.progress.iter().all(|progress| {
                let sent = progress.sent.load(Ordering::Acquire);
                progress.credited.load(Ordering::Acquire) >= sent * copies
            })
    }
}

/// A publishing connection.
pub(crate) struct Publisher {
    pub(crate) index: u32,
    /// Its place among the publishers of its thread.
    place: u64,
    sent: u64,
    acked: u64,
    /// QoS 2: how many were answered by PUBREC.
    recorded: u64,
    /// How many may be unacknowledged.
    limit: u64,
    /// When it sent last.
    last_sent: u64,
}

/// A subscribing connection.
pub(crate) struct Subscriber {
    /// The first publisher that it hears.
    first: u32,
    hears: Hears,
}

enum Hears {
    /// Everything of its publishers.
    All(Vec<Flow>),
    /// A part that is nowhere foretold: one more than the highest sequence of each publisher.
    Part(Vec<u64>),
}

enum Role {
    Publisher(Publisher),
    Subscriber(Subscriber),
}

/// A connection and what it is for.
struct Member {
    link: Link,
    role: Role,
}

/// What a thread found out.
pub(crate) struct Findings {
    pub(crate) tally: Tally,
    /// Deliveries within the measured time.
    pub(crate) measured: u64,
    /// Nanoseconds, within the measured time.
    pub(crate) latency: Histogram<u64>,
    /// Shared subscriptions only: what of each publisher came to this thread.
    pub(crate) seen: Vec<Seen>,
    /// For the losses, which only the end can tell: first publisher and flows of each subscriber.
    pub(crate) flows: Vec<(u32, Vec<Flow>)>,
}

const READ_BUFFER: usize = 256 * 1024;
/// How long silence lasts until what is missing counts as lost.
const SILENCE: u64 = 3_000_000_000;
/// How long messages may trickle in after the measured time.
const DRAIN_MAX: u64 = 60_000_000_000;
/// How long a publisher waits for leave to send half its window before it sends less.
const CRUMBS_AFTER: u64 = 100_000_000;
const LATENCY_MAX: u64 = 100_000_000_000;

/// One thread's work.
pub(crate) struct Worker {
    poll: Poll,
    members: Vec<Member>,
    publishers: Vec<usize>,
    template: Template,
    /// Acknowledgements of one read, before they are written.
    acks: Vec<u8>,
    book: Book,
}

/// The accounts of one thread.
struct Book {
    shared: Arc<Shared>,
    tally: Tally,
    measured: u64,
    latency: Histogram<u64>,
    seen: Vec<Seen>,
    /// When anything arrived last.
    last_arrival: u64,
}

impl Worker {
    /// Makes a worker without connections.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1_000, LATENCY_MAX, 3)
            .map_err(|error| Failure::Other(error.to_string()))?;
        let seen = if shared.plan.is_shared() {
            vec![Seen::default(); shared.progress.len()]
        } else {
            Vec::new()
        };
        Ok(Self {
            poll: Poll::new()?,
            members: Vec::new(),
            publishers: Vec::new(),
            template: Template::new(&shared.plan)?,
            acks: Vec::new(),
            book: Book {
                shared,
                tally: Tally::default(),
                measured: 0,
                latency,
                seen,
                last_arrival: 0,
            },
        })
    }

    /// Takes over a connection that publishes as number `index`.
    pub(crate) fn add_publisher(&mut self, parts: Parts, index: u32) -> io::Result<()> {
        let window = match self.book.shared.plan.pace {
            Pace::Closed { window } => u64::from(window),
            Pace::Open { .. } => u64::from(u16::MAX),
        };
        let publisher = Publisher {
            index,
            place: self.publishers.len() as u64,
            sent: 0,
            acked: 0,
            recorded: 0,
            limit: window.min(u64::from(parts.receive_maximum)),
            last_sent: 0,
        };
        self.publishers.push(self.members.len());
        self.add(parts, Role::Publisher(publisher))
    }

    /// Takes over a connection that has subscribed as number `index`.
    pub(crate) fn add_subscriber(&mut self, parts: Parts, index: u32) -> io::Result<()> {
        let (first, count) = self.book.shared.plan.heard_by(index);
        let hears = if self.book.shared.plan.is_shared() {
            Hears::Part(vec![0; count as usize])
        } else {
            Hears::All(vec![Flow::default(); count as usize])
        };
        self.add(parts, Role::Subscriber(Subscriber { first, hears }))
    }

    fn add(&mut self, parts: Parts, role: Role) -> io::Result<()> {
        let link = Link::from_parts(parts);
        let token = Token(self.members.len());
        self.poll.registry().register(
            &mut SourceFd(&link.stream.as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        self.members.push(Member { link, role });
        Ok(())
    }

    /// Runs from warm-up to the last message.
    pub(crate) fn run(mut self) -> Result<Findings, Failure> {
        let shared = Arc::clone(&self.book.shared);
        let mut events = Events::with_capacity(1024);
        let size = READ_BUFFER.max(2 * self.template.packet_size());
        let mut buffer = vec![0; size];
        let mut draining = false;
        while !shared.stop.load(Ordering::Relaxed) {
            let now = shared.nanos();
            match self.poll.poll(&mut events, Some(Duration::ZERO)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            for event in &events {
                self.drain(event.token().0, &mut buffer)?;
            }
            if now < shared.measure_to {
                self.publish()?;
            } else {
                if !draining {
                    draining = true;
                    self.book.last_arrival = now;
                    shared.draining.fetch_add(1, Ordering::AcqRel);
                }
                self.flush()?;
                if self.is_done(now) {
                    break;
                }
            }
            let round = shared.plan.round;
            let used = Duration::from_nanos(shared.nanos().saturating_sub(now));
            if used < round {
                std::thread::sleep(round - used);
            }
        }
        Ok(self.finish())
    }

    fn is_done(&self, now: u64) -> bool {
        let shared = &self.book.shared;
        let acknowledged = || {
            self.members.iter().all(|member| match &member.role {
                Role::Publisher(publisher) => {
                    shared.plan.qos == QoS::AtMostOnce || publisher.acked >= publisher.sent
                }
                Role::Subscriber(_) => true,
            })
        };
        let silent = now.saturating_sub(self.book.last_arrival) > SILENCE;
        let late = now > shared.measure_to.saturating_add(DRAIN_MAX);
        silent || late || shared.all_arrived() && acknowledged()
    }

    /// Reads all that has arrived on a connection.
    fn drain(&mut self, index: usize, buffer: &mut [u8]) -> Result<(), Failure> {
        let Some(Member { link, role }) = self.members.get_mut(index) else {
            return Ok(());
        };
        loop {
            let (length, full) = match link.fill(buffer)? {
                Fill::Bytes { length, full } => (length, full),
                Fill::Empty => return Ok(()),
                Fill::Closed => return Err(Failure::Lost),
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            let used = self.book.read(role, bytes, &mut self.acks)?;
            link.keep(bytes.get(used..).unwrap_or_default());
            if !self.acks.is_empty() {
                link.send(&self.acks)?;
                self.acks.clear();
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Sends each publisher's share of this round.
    fn publish(&mut self) -> Result<(), Failure> {
        let shared = &self.book.shared;
        let now = shared.nanos();
        let schedule = Schedule::new(&shared.plan, self.publishers.len(), now);
        for index in &self.publishers {
            let Some(Member {
                link,
                role: Role::Publisher(publisher),
            }) = self.members.get_mut(*index)
            else {
                continue;
            };
            if !link.flush()? {
                continue;
            }
            let Some(progress) = shared.progress.get(publisher.index as usize) else {
                continue;
            };
            let topics = shared.topics_of(publisher.index);
            let mut left = publisher.allowance(&shared.plan, progress, &schedule);
            while left > 0 {
                let count = self.template.capacity().min(left as usize);
                let first = Stamp {
                    run: shared.plan.run,
                    publisher: publisher.index,
                    sequence: publisher.sent,
                    sent_nanos: now,
                };
                let place = publisher.place;
                let block = self.template.fill(topics, first, count, |sequence| {
                    schedule.time(sequence, place)
                });
                publisher.sent += count as u64;
                publisher.last_sent = now;
                left -= count as u64;
                progress.sent.store(publisher.sent, Ordering::Release);
                link.send(block)?;
                if !link.is_flushed() {
                    break;
                }
            }
        }
        self.flush_subscribers()
    }

    /// Subscribers have acknowledgements that may have to wait for the socket.
    fn flush_subscribers(&mut self) -> Result<(), Failure> {
        if self.book.shared.plan.qos > QoS::AtMostOnce {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        for member in &mut self.members {
            member.link.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Findings {
        let mut flows = Vec::new();
        for Member { link, role } in self.members {
            link.part();
            match role {
                Role::Publisher(publisher) => {
                    self.book.tally.sent += publisher.sent;
                    if self.book.shared.plan.qos > QoS::AtMostOnce {
                        self.book.tally.unacknowledged +=
                            publisher.sent.saturating_sub(publisher.acked);
                    }
                }
                Role::Subscriber(Subscriber {
                    first,
                    hears: Hears::All(heard),
                }) => flows.push((first, heard)),
                Role::Subscriber(_) => {}
            }
        }
        Findings {
            tally: self.book.tally,
            measured: self.book.measured,
            latency: self.book.latency,
            seen: self.book.seen,
            flows,
        }
    }
}

/// When the messages of an open loop are due; in a closed loop, now.
struct Schedule {
    now: u64,
    /// Nanoseconds from one message of this thread to the next.
    period: Option<f64>,
    publishers: u64,
}

impl Schedule {
    fn new(plan: &Plan, publishers: usize, now: u64) -> Self {
        let publishers = publishers as u64;
        let period = match plan.pace {
            Pace::Closed { .. } => None,
            Pace::Open { rate } => {
                let all = f64::from(plan.publishers());
                Some(1e9 * all / (rate as f64 * publishers.max(1) as f64))
            }
        };
        Self {
            now,
            period,
            publishers,
        }
    }

    /// When the message is due. The publishers of a thread take turns.
    fn time(&self, sequence: u64, place: u64) -> u64 {
        match self.period {
            None => self.now,
            Some(period) => ((sequence * self.publishers + place) as f64 * period) as u64,
        }
    }

    /// How many messages of the publisher in `place` are due by now.
    fn due(&self, place: u64) -> Option<u64> {
        let due = (self.now as f64 / self.period?) as u64;
        Some(due.saturating_sub(place).div_ceil(self.publishers.max(1)))
    }
}

impl Publisher {
    /// How many messages may be sent now.
    fn allowance(&self, plan: &Plan, progress: &Progress, schedule: &Schedule) -> u64 {
        let copies = plan.copies();
        let paced = match plan.pace {
            Pace::Closed { window } => {
                let credited = progress.credited.load(Ordering::Acquire);
                let away = (self.sent * copies).saturating_sub(credited);
                u64::from(window).saturating_sub(away.div_ceil(copies))
            }
            Pace::Open { .. } => schedule
                .due(self.place)
                .unwrap_or_default()
                .saturating_sub(self.sent),
        };
        let allowed = if plan.qos == QoS::AtMostOnce {
            paced
        } else {
            paced.min(self.limit.saturating_sub(self.sent - self.acked))
        };
        // Half a window at once keeps the broker busy and costs both sides less than crumbs would.
        // Losses may keep a publisher below that.
        let enough = match plan.pace {
            Pace::Closed { window } => self.limit.min(u64::from(window)) / 2,
            Pace::Open { .. } => 0,
        };
        let waited = schedule.now.saturating_sub(self.last_sent) > CRUMBS_AFTER;
        if allowed >= enough || waited {
            allowed
        } else {
            0
        }
    }

    /// Takes an acknowledgement. They come in the order of the messages
    /// (`[MQTT5-4.6.0-2]` to `[MQTT5-4.6.0-4]`).
    fn on_ack(&mut self, kind: AckKind, id: u16, failed: bool, acks: &mut Vec<u8>) -> bool {
        let awaited = match kind {
            AckKind::PubAck | AckKind::PubComp => &mut self.acked,
            AckKind::PubRec => &mut self.recorded,
            AckKind::PubRel => return false,
        };
        let fits = *awaited < self.sent && packet_id(*awaited) == id && !failed;
        *awaited += 1;
        if kind == AckKind::PubRec {
            put_ack(PacketType::PubRel, id, acks);
        }
        fits
    }
}

impl Book {
    /// Reads the whole packets of `bytes`; how many bytes they took.
    fn read(
        &mut self,
        role: &mut Role,
        bytes: &[u8],
        acks: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let shared = Arc::clone(&self.shared);
        let now = shared.nanos();
        self.last_arrival = now;
        let measuring = (shared.measure_from..shared.measure_to).contains(&now);
        let mut used = 0;
        let mut batch = Batch {
            sent_nanos: 0,
            same: 0,
            received: 0,
        };
        while let Some(header) = Header::peek(bytes.get(used..).unwrap_or_default())? {
            let Some(body) = header.body(bytes.get(used..).unwrap_or_default()) else {
                break;
            };
            used += header.packet_length();
            match (header.packet_type(), &mut *role) {
                (Some(PacketType::Publish), Role::Subscriber(subscriber)) => {
                    let Some(sent_nanos) =
                        self.on_publish(subscriber, header.first, body, acks, &shared)?
                    else {
                        continue;
                    };
                    batch.received += 1;
                    if sent_nanos != batch.sent_nanos {
                        if measuring {
                            batch.record(now, &mut self.latency);
                        }
                        batch.sent_nanos = sent_nanos;
                        batch.same = 0;
                    }
                    batch.same += 1;
                }
                (Some(kind), role) => self.on_other(role, kind, body, acks)?,
                (None, _) => return Err(Failure::Protocol("packet type 0".to_owned())),
            }
        }
        if measuring {
            batch.record(now, &mut self.latency);
            self.measured += batch.received;
        }
        self.tally.received += batch.received;
        shared.received.fetch_add(batch.received, Ordering::Relaxed);
        Ok(used)
    }

    /// Enters a message; when it was sent, unless it does not count.
    fn on_publish(
        &mut self,
        subscriber: &mut Subscriber,
        first: u8,
        body: &[u8],
        acks: &mut Vec<u8>,
        shared: &Shared,
    ) -> Result<Option<u64>, Failure> {
        let Some(delivery) = Delivery::read(first, shared.plan.connect.version, body) else {
            return Err(Failure::Protocol("PUBLISH is malformed".to_owned()));
        };
        match delivery.qos {
            0 => {}
            1 => put_ack(PacketType::PubAck, delivery.packet_id, acks),
            _ => put_ack(PacketType::PubRec, delivery.packet_id, acks),
        }
        let stamp = Stamp::read(delivery.payload).filter(|stamp| {
            let topic = cycled(shared.topics_of(stamp.publisher), stamp.sequence);
            let progress = shared.progress.get(stamp.publisher as usize);
            stamp.run == shared.plan.run
                && topic == Some(delivery.topic)
                && delivery.payload.len() == shared.plan.payload
                && progress
                    .is_some_and(|progress| stamp.sequence < progress.sent.load(Ordering::Acquire))
        });
        let Some(stamp) = stamp else {
            self.tally.misrouted += 1;
            return Ok(None);
        };
        let credit = match subscriber.enter(stamp) {
            Entry::NotHis => {
                self.tally.misrouted += 1;
                return Ok(None);
            }
            Entry::Flow(receipt, credit) => {
                match receipt {
                    Receipt::Forward => {}
                    Receipt::Late => self.tally.disordered += 1,
                    Receipt::Duplicate => self.tally.duplicates += 1,
                }
                credit
            }
            Entry::Part { in_order } => {
                let seen = self.seen.get_mut(stamp.publisher as usize);
                let new = seen.is_some_and(|seen| seen.insert(stamp.sequence));
                self.tally.disordered += u64::from(!in_order && new);
                self.tally.duplicates += u64::from(!new);
                u64::from(new)
            }
        };
        if credit > 0
            && let Some(progress) = shared.progress.get(stamp.publisher as usize)
        {
            progress.credited.fetch_add(credit, Ordering::AcqRel);
        }
        Ok(Some(stamp.sent_nanos))
    }

    fn on_other(
        &mut self,
        role: &mut Role,
        kind: PacketType,
        body: &[u8],
        acks: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let id = body.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        let failed = body.get(2).is_some_and(|reason| *reason >= 0x80);
        let ack = match kind {
            PacketType::PubAck => AckKind::PubAck,
            PacketType::PubRec => AckKind::PubRec,
            PacketType::PubComp => AckKind::PubComp,
            PacketType::PubRel => {
                put_ack(PacketType::PubComp, id, acks);
                return Ok(());
            }
            PacketType::Disconnect => {
                let reason = ReasonCode(body.first().copied().unwrap_or_default());
                return Err(Failure::Other(format!(
                    "The broker disconnected: {reason}."
                )));
            }
            other => {
                let name = other.name();
                return Err(Failure::Protocol(format!("unexpected {name}")));
            }
        };
        let fits = match role {
            Role::Publisher(publisher) => publisher.on_ack(ack, id, failed, acks),
            Role::Subscriber(_) => false,
        };
        self.tally.bad_acks += u64::from(!fits);
        Ok(())
    }
}

/// Deliveries of one read that were sent at one time, which have one latency.
struct Batch {
    sent_nanos: u64,
    same: u64,
    received: u64,
}

impl Batch {
    fn record(&self, now: u64, latency: &mut Histogram<u64>) {
        if self.same > 0 {
            latency.saturating_record_n(now.saturating_sub(self.sent_nanos), self.same);
        }
    }
}

/// Whose a message is.
enum Entry {
    /// Of a publisher that this subscriber does not hear.
    NotHis,
    /// Of one that it hears in full; with what it is worth to the publisher.
    Flow(Receipt, u64),
    /// Of one that it hears in part.
    Part { in_order: bool },
}

impl Subscriber {
    fn enter(&mut self, stamp: Stamp) -> Entry {
        let Some(place) = stamp.publisher.checked_sub(self.first) else {
            return Entry::NotHis;
        };
        match &mut self.hears {
            Hears::All(flows) => match flows.get_mut(place as usize) {
                Some(flow) => {
                    let before = flow.next();
                    let receipt = flow.receive(stamp.sequence);
                    Entry::Flow(receipt, flow.next() - before)
                }
                None => Entry::NotHis,
            },
            Hears::Part(nexts) => match nexts.get_mut(place as usize) {
                Some(next) => {
                    let in_order = stamp.sequence >= *next;
                    *next = (*next).max(stamp.sequence + 1);
                    Entry::Part { in_order }
                }
                None => Entry::NotHis,
            },
        }
    }
}

#[cfg(test)]
mod tests;
