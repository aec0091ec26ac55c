//! The client as a pure state machine: bytes, calls and the time come in; bytes, outcomes, messages
//! and deadlines go out.
//!
//! Whoever drives it asks [`Core::duty`] what to do: wait, open a connection, or carry bytes between
//! the connection and the core. Calls of the application change the core directly, under the lock of
//! the front that holds it. Nothing here reads a clock, opens a socket or waits.

mod accepting;
mod ending;
mod handing;
mod handshake;
mod held;
mod journal;
mod listeners;
mod payloads;
mod random;
mod receipts;
mod receiving;
mod requests;
mod routing;
mod sending;
mod subscribing;
mod tickets;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::num::NonZeroU16;
use std::task::Waker;

use midge_codec::{Packet, ReasonCode, Version};
use midge_proto::{
    Connection, InboundAliases, Incoming, KeepAlive, OutboundAliases, Outgoing, Phase, Time,
};
use slab::Slab;

use crate::error::{ConnectionError, PublishError, Refusal};
use crate::event::{Connected, Event};
use crate::options::Options;

pub(crate) use accepting::{Accepted, Rejected, Written};
pub(crate) use ending::Farewell;
pub(crate) use handing::{Item, Taken};
pub(crate) use handshake::Challenge;
pub(crate) use held::Draft;
pub(crate) use journal::{Kept, Record, Restored, Step};
pub use routing::Overflow;
pub(crate) use routing::{StreamKey, StreamTerms};
pub(crate) use subscribing::Wanted;
pub(crate) use tickets::{Outcome, Ticket};

use ending::Shutdown;
use handing::Streams;
use held::{Held, Releasing};
use journal::Journal;
use listeners::Listener;
use payloads::Payloads;
use random::Random;
use receipts::Receipts;
use receiving::Received;
use requests::Requests;
use routing::Routes;
use subscribing::Operation;
use tickets::Tickets;

/// What the driver has to do next.
#[derive(Clone, Debug)]
pub(crate) enum Duty {
    /// Nothing until then, unless a call changes that.
    Wait(Time),
    /// Open a connection for this attempt, counted from 1, and report how that went.
    Dial(u32),
    /// Carry bytes.
    Talk,
    /// Nothing any more.
    End,
}

#[derive(Clone, Debug)]
enum State {
    Waiting { until: Time },
    Dialing,
    Linked,
    Closed(ConnectionError),
}

/// One client.
pub(crate) struct Core {
    options: Options,
    random: Random,
    state: State,
    /// Attempts since the last connection.
    attempts: u32,
    /// The first connection has to succeed, or the client ends.
    fail_fast: bool,
    /// Whether a connection was ever accepted.
    was_connected: bool,
    /// A CONNECT went out whose answer did not come: if the broker began a new session then, it will take that
    /// for ours.
    doubts_session: bool,
    /// The client id in use; the broker's, once it has chosen.
    client_id: String,
    /// The refusal that the last attempt met, while it may be the credentials' fault.
    refused: Option<Refusal>,
    link: Option<Link>,
    /// What the broker said at the last connection.
    terms: Connected,
    outbound: Outbound,
    challenge: Option<Challenge>,
    reauthentication: Option<Ticket>,

    queue: VecDeque<Held>,
    outgoing: Outgoing<Held>,
    /// Deliveries of QoS 2 that the broker has taken, until PUBCOMP.
    releasing: HashMap<NonZeroU16, Releasing>,
    /// Bytes of messages in `queue` and `outgoing`.
    held_bytes: usize,
    /// Set for a durable queue.
    journal: Option<Journal>,
    room_waiters: VecDeque<(u64, Waker)>,
    last_waiter: u64,

    incoming: Incoming<Received>,
    receipts: Receipts,
    payloads: Payloads,
    routes: Routes,
    streams: Streams,
    requests: Requests,
    /// SUBSCRIBE and UNSUBSCRIBE that wait for their answer, by packet identifier, each with its place
    /// in the order of sending.
    operations: HashMap<NonZeroU16, (u64, Operation)>,
    last_operation: u64,
    /// Those that wait for a connection.
    waiting_operations: VecDeque<Operation>,
    resubscribing: Resubscribing,

    tickets: Tickets,
    shutdown: Option<Shutdown>,
    listeners: Slab<Listener>,
    /// To be woken when the lock is given up.
    wakers: Vec<Waker>,
    driver: Option<Waker>,
}

/// What ends with the connection.
struct Link {
    connection: Connection,
    /// CONNECT told the broker to forget the session.
    clean_start: bool,
    keep_alive: KeepAlive,
    last_sent: Time,
    last_heard: Time,
    opened: Time,
    /// When CONNACK has to be here.
    handshake_until: Time,
    inbound_aliases: InboundAliases,
    outbound_aliases: OutboundAliases,
    /// Bytes received and not dealt with.
    unread: Vec<u8>,
    /// What TLS agreed on.
    #[cfg(feature = "tls")]
    tls: Option<crate::TlsInfo>,
    /// CONNACK, while the authenticator looks at what it brought.
    judged: Option<Connected>,
    /// What is in `outbound` goes out, then the connection is closed, for this reason.
    closing: Option<ConnectionError>,
}

/// Bytes for the connection, and how many have gone.
#[derive(Default)]
struct Outbound {
    bytes: Vec<u8>,
    /// How many bytes of this connection the driver has taken.
    taken: u64,
    /// How many of them the system has taken.
    written: u64,
    /// Bytes of answers to the broker, less what was written since: no more than wait, and short of them by
    /// what lay before them.
    answers: u64,
    /// Counts connections.
    epoch: u32,
    /// Messages of QoS 0 that somebody wants to see off, by the position of their end.
    awaited: VecDeque<(u64, Ticket)>,
}

impl Outbound {
    /// The position behind the last byte.
    fn end(&self) -> u64 {
        self.taken + self.bytes.len() as u64
    }

    fn pending(&self) -> u64 {
        self.end() - self.written
    }

    /// A new connection, or the end of one.
    fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
        self.written = 0;
        self.answers = 0;
    }
}

#[derive(Default)]
struct Resubscribing {
    /// SUBSCRIBEs whose answer is missing.
    left: usize,
    granted: usize,
    refused: Vec<(String, Refusal)>,
}

/// A connection that lasts this long makes the next outage begin with short waits again.
const STABLE: u64 = 10_000;

impl Core {
    /// A client that connects at once. `seed` has to differ from client to client.
    pub(crate) fn new(options: Options, seed: u64) -> Self {
        let mut random = Random(seed);
        let client_id = match (&options.client_id, options.version) {
            (Some(id), _) => id.clone(),
            (None, Version::V5) => String::new(),
            // 3.1 allows 23 bytes.
            (None, Version::V3_1 | Version::V3_1_1) => format!("midge-{:016x}", random.next()),
        };
        Self {
            requests: Requests::new(random.next()),
            streams: Streams::new(options.inbound_bytes_max),
            options,
            random,
            state: State::Waiting { until: Time(0) },
            attempts: 0,
            fail_fast: false,
            was_connected: false,
            doubts_session: false,
            client_id,
            refused: None,
            link: None,
            terms: Connected::default(),
            outbound: Outbound::default(),
            challenge: None,
            reauthentication: None,
            queue: VecDeque::new(),
            outgoing: Outgoing::default(),
            releasing: HashMap::new(),
            held_bytes: 0,
            journal: None,
            room_waiters: VecDeque::new(),
            last_waiter: 0,
            incoming: Incoming::default(),
            receipts: Receipts::default(),
            payloads: Payloads::default(),
            routes: Routes::default(),
            operations: HashMap::new(),
            last_operation: 0,
            waiting_operations: VecDeque::new(),
            resubscribing: Resubscribing::default(),
            tickets: Tickets::default(),
            shutdown: None,
            listeners: Slab::new(),
            wakers: Vec::new(),
            driver: None,
        }
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Lets the first failure end the client.
    pub(crate) const fn fail_fast(&mut self) {
        self.fail_fast = true;
    }

    /// What the driver does now.
    pub(crate) fn duty(&mut self, now: Time) -> Duty {
        self.check_shutdown(now);
        match self.state {
            State::Waiting { until } if until <= now => {
                self.state = State::Dialing;
                self.attempts = self.attempts.saturating_add(1);
                Duty::Dial(self.attempts)
            }
            State::Waiting { until } => {
                let deadline = self.shutdown.as_ref().map(|shutdown| shutdown.deadline);
                Duty::Wait(until.min(deadline.unwrap_or(Time::NEVER)))
            }
            State::Dialing => Duty::Dial(self.attempts),
            State::Linked => Duty::Talk,
            State::Closed(_) => Duty::End,
        }
    }

    /// The refusal that the credentials met last time.
    pub(crate) const fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Whether CONNACK has accepted the present connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.link.as_ref().is_some_and(|link| {
            link.connection.phase() == Phase::Connected && link.closing.is_none()
        })
    }

    /// What the broker said when it accepted the last connection.
    pub(crate) const fn terms(&self) -> &Connected {
        &self.terms
    }

    /// Hands out what is to be sent; `buffer` is empty.
    pub(crate) fn take_outbound(&mut self, buffer: &mut Vec<u8>) {
        self.outbound.taken += self.outbound.bytes.len() as u64;
        mem::swap(&mut self.outbound.bytes, buffer);
    }

    /// The system has taken `count` bytes of what [`Self::take_outbound`] gave.
    pub(crate) fn written(&mut self, now: Time, count: usize) {
        self.outbound.written += count as u64;
        self.outbound.answers = self.outbound.answers.saturating_sub(count as u64);
        while let Some((position, ticket)) = self.outbound.awaited.front().copied() {
            if position > self.outbound.written {
                break;
            }
            self.outbound.awaited.pop_front();
            self.complete(ticket, Outcome::Published(Ok(Default::default())));
        }
        if let Some(link) = &mut self.link {
            link.last_sent = now;
            link.keep_alive.active(now.min(link.last_heard));
        }
        self.pump(now);
        self.check_shutdown(now);
    }

    /// Whether everything has been sent and the connection is to be closed.
    pub(crate) fn is_to_close(&self) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.closing.is_some() && self.outbound.pending() == 0)
    }

    /// The driver has closed the connection, or has lost it, for this reason unless the core knows a
    /// better one.
    pub(crate) fn lost(&mut self, now: Time, error: ConnectionError) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let was_connected = link.connection.phase() == Phase::Connected;
        let stable = now.since(link.opened).as_millis() >= u128::from(STABLE);
        let error = link.closing.take().unwrap_or(error);
        let is_answered = was_connected || matches!(error, ConnectionError::Refused(_));
        self.doubts_session |= !is_answered && !link.clean_start;
        self.challenge = None;
        self.outbound.clear();
        self.outbound.epoch = self.outbound.epoch.wrapping_add(1);
        for (_, ticket) in mem::take(&mut self.outbound.awaited) {
            self.complete(ticket, Outcome::Published(Err(PublishError::Lost)));
        }
        self.outgoing.disconnected();
        if let Some(journal) = &mut self.journal {
            journal.disconnected();
        }
        self.receipts.disconnected();
        self.operations_disconnected();
        if let Some(ticket) = self.reauthentication.take() {
            let why = Err(error.clone());
            self.complete(ticket, Outcome::Reauthenticated(why));
        }
        if was_connected {
            if stable {
                self.attempts = 0;
            }
            self.tell(Event::Disconnected(error.clone()));
        }
        self.failed(now, error, was_connected);
    }

    /// No connection could be opened.
    pub(crate) fn dial_failed(&mut self, now: Time, error: ConnectionError) {
        if matches!(self.state, State::Dialing) {
            self.failed(now, error, false);
        }
    }

    /// Waits for the next attempt, or gives up.
    fn failed(&mut self, now: Time, error: ConnectionError, was_connected: bool) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        let asked_for = self.shutdown.is_some() && matches!(error, ConnectionError::Closed);
        if !was_connected && !asked_for {
            self.tell(Event::ConnectFailed(error.clone()));
        }
        let hopeless = if self.may_be_credentials(&error) {
            // A token may just have expired: ask for a new one, once.
            self.refused.is_some()
        } else {
            error.is_permanent()
        };
        if let ConnectionError::Refused(refusal) | ConnectionError::Disconnected(refusal) = &error {
            self.refused = self.may_be_credentials(&error).then(|| refusal.clone());
        }
        if hopeless || asked_for || self.fail_fast || !self.options.reconnect {
            self.close(error);
            return;
        }
        // Two clients with one client id would take the session from each other for ever.
        let taken_over = matches!(&error, ConnectionError::Disconnected(refusal)
            if refusal.reason == ReasonCode::SESSION_TAKEN_OVER);
        let delay = if taken_over {
            self.random.part(self.options.back_off.1)
        } else {
            self.next_delay()
        };
        self.state = State::Waiting { until: now + delay };
        let attempt = self.attempts.saturating_add(1);
        self.tell(Event::Reconnecting { attempt, delay });
        self.check_shutdown(now);
    }

    /// Whether another set of credentials may help.
    fn may_be_credentials(&self, error: &ConnectionError) -> bool {
        let (ConnectionError::Refused(refusal) | ConnectionError::Disconnected(refusal)) = error
        else {
            return false;
        };
        let asks = self.options.credential_source.is_some() || self.options.authenticator.is_some();
        asks && matches!(
            refusal.reason,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED
        )
    }

    fn next_delay(&mut self) -> std::time::Duration {
        let (first, most) = self.options.back_off;
        let doublings = self.attempts.saturating_sub(1).min(20);
        let delay = first.saturating_mul(1 << doublings).min(most);
        self.random.part(delay)
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Time {
        let link = match &self.link {
            None => Time::NEVER,
            Some(link) => match link.connection.phase() {
                Phase::Connecting => link.handshake_until,
                Phase::Connected => link.keep_alive.client_deadline(),
            },
        };
        let shutdown = self.shutdown.as_ref();
        link.min(shutdown.map_or(Time::NEVER, |shutdown| shutdown.deadline))
    }

    /// Does what is due: pings, and giving up what takes too long. `false`: the connection is to be
    /// closed at once.
    pub(crate) fn tick(&mut self, now: Time) -> bool {
        self.check_shutdown(now);
        let paused = self.is_paused();
        let Some(link) = &mut self.link else {
            return false;
        };
        match link.connection.phase() {
            Phase::Connecting => link.handshake_until > now,
            Phase::Connected if link.keep_alive.client_deadline() > now => true,
            Phase::Connected if link.keep_alive.awaits_pong() && !paused => false,
            Phase::Connected => {
                // While reading is stopped no answer can be seen.
                link.last_heard = if paused { now } else { link.last_heard };
                link.keep_alive.pong_received();
                link.keep_alive.ping_sent(now);
                self.send(Packet::PingReq);
                true
            }
        }
    }

    /// Appends a packet that cannot be too large.
    fn send(&mut self, packet: Packet<'_>) {
        let version = self.options.version;
        // What does not fit its fields was refused when it was handed in.
        let _ = packet.encode(version, &mut self.outbound.bytes);
        self.rouse();
    }

    /// Appends an answer to a packet of the broker's, which it can ask for again and again.
    fn answer(&mut self, packet: Packet<'_>) {
        let before = self.outbound.end();
        self.send(packet);
        self.outbound.answers += self.outbound.end() - before;
    }

    fn complete(&mut self, ticket: Ticket, outcome: Outcome) {
        self.tickets.complete(ticket, outcome, &mut self.wakers);
    }

    pub(crate) const fn tickets(&mut self) -> &mut Tickets {
        &mut self.tickets
    }

    /// Has the driver look again.
    fn rouse(&mut self) {
        self.wakers.extend(self.driver.take());
    }

    /// Notes whom to wake when there is something for the driver.
    pub(crate) fn set_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }

    /// Whom to wake once the lock is given up.
    pub(crate) const fn wakers(&mut self) -> &mut Vec<Waker> {
        &mut self.wakers
    }
}

#[cfg(test)]
mod tests;
