//! One core's share of the broker: its sessions and connections.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{AckKind, Auth, Header, Packet, PacketType, QoS, ReasonCode, Version};
use midge_proto::{Answer, Fault, Phase};
use smallvec::SmallVec;

use crate::Time;
use crate::access::Identity;
use crate::connection::{Conn, ConnId, Origin, Stage};
use crate::effects::{ClaimAnswer, DirectoryRequest, Effects, Mail};
use crate::events;
use crate::group::GroupQueue;
use crate::known_topics::KnownTopics;
use crate::limits::Limit;
use crate::message_pool::MessagePool;
use crate::outbox::BufferPool;
use crate::persist::journal::Journal;
use crate::queue::SpareQueues;
use crate::route::{GroupId, Matches, SessionRef, Target};
use crate::session::Session;
use crate::session_end::Cause;
use crate::settings::Settings;
use crate::slab::{Slab, SlabKey};
use crate::stats::Stats;
use crate::sys::SysTree;
use crate::tables::{Change, RetainedChanges, Tables};
use crate::timer::TimerWheel;

/// What a shard is given for one call: the time, the shared tables, and where to list what it wants.
pub struct Step<'a> {
    /// Now. Never earlier than in an earlier call.
    pub now: Time,
    /// The shared tables.
    pub tables: &'a mut dyn Tables,
    /// What is to happen outside.
    pub effects: &'a mut Effects,
}

/// How far [`Shard::receive`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that have been dealt with; the rest is to be given again.
    pub consumed: usize,
    /// What for.
    pub next: Next,
}

/// When the rest of the bytes is to be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When there are at least this many from the first that was not consumed.
    Bytes(usize),
    /// When the connection's login has been answered, with [`Shard::logged_in`].
    Login,
    /// When the connection's claim has been answered, with [`Shard::claimed`].
    Claim,
    /// Never: the connection is over.
    Closed,
}

/// What goes with a connection to another shard.
#[derive(Debug, Default)]
pub struct Moved {
    /// Bytes that were consumed and stand before those that were not.
    pub packet: Box<[u8]>,
    /// For [`Shard::vouch`].
    pub identity: Option<Box<Identity>>,
}

/// What the start of a connection's bytes was.
enum One {
    /// A packet of this length, dealt with.
    Packet(usize),
    /// Nothing yet.
    Wait(Next),
}

/// Why a socket came to its end outside of the protocol.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The peer closed it.
    ByPeer,
    /// The operating system reports this.
    Error(String),
}

/// One core's share of the broker.
///
/// Methods fall into four kinds. `open`, `receive`, `claimed`, `closed`, `mail` and `fire` say what has
/// happened; `output` and `wrote` move bytes out; `publish`, `reconfigure` and `shut_down` are commands;
/// the rest looks. After a batch of calls, [`Self::end_turn`] finishes what was gathered, and then the
/// [`Effects`] are carried out.
pub struct Shard {
    pub(crate) id: u16,
    pub(crate) settings: Arc<Settings>,
    pub(crate) sessions: Slab<Session>,
    pub(crate) conns: Slab<Conn>,
    pub(crate) by_client_id: hashbrown::HashMap<Arc<str>, SlabKey, foldhash::fast::FixedState>,
    /// How many connections have claimed a client id and made no session yet, and how many of its sessions
    /// have ended and the disk does not know. Meanwhile the id is not given back, or the directory would
    /// hand it to another shard.
    pub(crate) claims: hashbrown::HashMap<Arc<str>, u32, foldhash::fast::FixedState>,
    pub(crate) timers: TimerWheel<Timer>,
    pub(crate) stats: Stats,
    pub(crate) pool: BufferPool,
    pub(crate) spare_queues: SpareQueues,
    pub(crate) messages: MessagePool,
    pub(crate) topics: KnownTopics,
    /// Messages to come of the bytes in hand that the routing table was prepared for.
    pub(crate) looked_ahead: usize,
    pub(crate) scratch: Scratch,
    /// Changes of subscriptions that wait to be applied together.
    pub(crate) changes: Vec<Change>,
    /// Changes of retained messages that do.
    pub(crate) retains: RetainedChanges,
    /// Connections with subscriptions whose retained messages have not begun to be sent.
    pub(crate) walk_starts: Vec<SlabKey>,
    /// Connections with retained messages to send and room for them.
    pub(crate) walking: VecDeque<SlabKey>,
    /// Mail of this shard to itself, so that no step runs inside another.
    pub(crate) own_mail: VecDeque<Mail>,
    pub(crate) groups: HashMap<GroupId, GroupQueue>,
    pub(crate) random: Random,
    pub(crate) journal: Journal,
    pub(crate) sys: Option<Box<SysTree>>,
    pub(crate) started: Time,
    /// How many shards there are.
    pub(crate) shards: u16,
}

/// What a timer is for. It may have lost its meaning when it fires.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// A connection's CONNECT or keep alive.
    Conn(SlabKey),
    /// A session's end or will.
    Session(SlabKey),
    /// The next `$SYS`.
    Sys,
    /// Groups that have gone, retained messages that have expired.
    Sweep,
}

/// Memory that is used again from message to message.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) matches: Matches,
    /// A topic that had to be put together.
    pub(crate) topic: String,
    pub(crate) properties: Vec<u8>,
    /// Targets by shard, and which shards have any.
    pub(crate) remote: Vec<SmallVec<[Target; 2]>>,
    pub(crate) remote_shards: Vec<u16>,
    pub(crate) fired: Vec<Timer>,
}

/// Bytes of answers that a client may leave unread while it sends on. Whoever takes what it is sent stays
/// far below: an answer is shorter than what it answers.
const ANSWERS_UNSENT_MAX: usize = 1024 * 1024;

/// Timers without meaning that are not worth a sweep.
const SPARE_TIMERS: usize = 1024;

/// Seconds between two sweeps.
pub(crate) const SWEEP_SECS: u64 = 1;

impl Shard {
    /// An empty shard: number `id` of `shards`. Shard 0 publishes `$SYS`. The seed is to be random.
    #[must_use]
    pub fn new(id: u16, shards: u16, settings: Arc<Settings>, seed: u64, now: Time) -> Self {
        let mut random = Random(seed ^ u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let hasher = foldhash::fast::FixedState::with_seed(random.next());
        let mut shard = Self {
            id,
            sessions: Slab::default(),
            conns: Slab::default(),
            by_client_id: hashbrown::HashMap::with_hasher(hasher.clone()),
            claims: hashbrown::HashMap::with_hasher(hasher),
            timers: TimerWheel::new(now),
            stats: Stats::default(),
            pool: BufferPool::default(),
            spare_queues: SpareQueues::default(),
            messages: MessagePool::default(),
            topics: KnownTopics::default(),
            looked_ahead: 0,
            scratch: Scratch {
                remote: vec![SmallVec::new(); usize::from(shards)],
                ..Scratch::default()
            },
            changes: Vec::new(),
            retains: Vec::new(),
            walk_starts: Vec::new(),
            walking: VecDeque::new(),
            own_mail: VecDeque::new(),
            groups: HashMap::new(),
            random,
            journal: Journal::off(),
            sys: (id == 0).then(|| Box::new(SysTree::new(shards, now))),
            started: now,
            shards,
            settings,
        };
        shard.timers.set(now.plus_secs(SWEEP_SECS), Timer::Sweep);
        shard.start_sys(now);
        shard.note_limits();
        shard
    }

    /// Takes new settings. Connections keep those of their listener that were agreed with the client.
    pub fn reconfigure(&mut self, step: &mut Step<'_>, settings: Arc<Settings>) {
        self.settings = settings;
        self.start_sys(step.now);
        self.note_limits();
    }

    fn start_sys(&mut self, now: Time) {
        if let Some(sys) = &mut self.sys
            && !sys.timer_is_set
            && self.settings.sys_interval > 0
        {
            sys.timer_is_set = true;
            self.timers.set(now, Timer::Sys);
        }
    }

    /// Takes a connection that the worker calls `token`. It is to send CONNECT within the time that
    /// [`Settings::connect_timeout`] says.
    pub fn open(&mut self, step: &mut Step<'_>, token: usize, origin: Origin) -> ConnId {
        let mut conn = Conn::new(token, origin, step.now);
        conn.protocol
            .set_packet_size_max(self.settings.max_packet_size);
        let due = step.now.plus_secs(self.settings.connect_timeout);
        conn.timer = due;
        let key = self.conns.insert(conn);
        self.timers.set(due, Timer::Conn(key));
        self.stats.sockets += 1;
        ConnId(key)
    }

    /// Learns who is at the other end of a proxy; before the first byte is given.
    pub fn set_address(&mut self, conn: ConnId, address: SocketAddr) {
        if let Some(conn) = self.conns.get_mut(conn.0) {
            conn.origin.address = Some(address);
        }
    }

    /// Gives up a connection without a word to anyone: it moves to another shard, which is to be given
    /// what is returned, and all that has not been consumed.
    pub fn forget(&mut self, conn: ConnId) -> Moved {
        let mut moved = Moved::default();
        if let Some(conn) = self.conns.remove(conn.0) {
            if let Some(pending) = conn.pending {
                if matches!(pending.stage, Stage::Claim | Stage::Granted) {
                    self.unclaim(&pending.client_id);
                }
                moved.packet = pending.packet.unwrap_or_default();
            }
            moved.identity = conn.access.map(|access| Box::new(access.identity));
            conn.outbox.take(&mut self.pool);
            // The other shard counts it.
            self.stats.sockets = self.stats.sockets.saturating_sub(1);
        }
        moved
    }

    /// Takes bytes from a connection: those that an earlier call did not consume, and what came after.
    pub fn receive(&mut self, step: &mut Step<'_>, conn: ConnId, bytes: &[u8]) -> Received {
        let key = conn.0;
        let mut consumed = 0;
        let mut packets = 0;
        self.looked_ahead = 0;
        let next = loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            match self.receive_one(step, key, rest) {
                Ok(One::Packet(length)) => {
                    consumed += length;
                    packets += 1;
                }
                Ok(One::Wait(next)) => break next,
                Err(fault) => {
                    if fault.answer == Answer::Disconnect(ReasonCode::PACKET_TOO_LARGE) {
                        self.count_limit(step, Limit::PacketSize, key);
                    }
                    self.fail(step, key, &fault);
                    break Next::Closed;
                }
            }
        };
        if packets > 0 {
            self.stats.messages_received += packets;
            self.stats.bytes_received += consumed as u64;
            if let Some(conn) = self.conns.get_mut(key) {
                conn.keep_alive.active(step.now);
            }
        }
        Received { consumed, next }
    }

    #[inline]
    fn receive_one(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        bytes: &[u8],
    ) -> Result<One, Fault> {
        let Some(mut conn) = self.conns.get(key) else {
            return Ok(One::Wait(Next::Closed));
        };
        if conn.pending.is_some() {
            if let Some(one) = self.go_on_connecting(step, key)? {
                return Ok(one);
            }
            let Some(same) = self.conns.get(key) else {
                return Ok(One::Wait(Next::Closed));
            };
            conn = same;
        }
        if conn.answers_unsent > ANSWERS_UNSENT_MAX {
            return Err(Fault::close("the client does not read its answers"));
        }
        // Where a packet ends is unknown if its length is malformed, so nothing more can be said.
        let header =
            Header::peek(bytes).map_err(|_| Fault::close("the remaining length is malformed"))?;
        let Some(header) = header else {
            return Ok(One::Wait(Next::Bytes(bytes.len() + 1)));
        };
        let kind = conn.protocol.admit(&header)?;
        let Some(body) = header.body(bytes) else {
            return Ok(One::Wait(Next::Bytes(header.packet_length())));
        };
        if conn.protocol.phase() == Phase::Connected {
            if kind == PacketType::Publish {
                // Nearly all packets are these; they spare themselves the detour.
                self.publish_packet(step, key, &header, bytes, body)?;
            } else if kind == PacketType::PubAck
                && header.first == PacketType::PubAck.first_byte()
                && let [high, low] = *body
                && let Some(id) = NonZeroU16::new(u16::from_be_bytes([high, low]))
                && self.delivered_at_least_once(step, key, id)
            {
                // The short form is a success in all versions.
            } else {
                let Some(conn) = self.conns.get(key) else {
                    return Ok(One::Wait(Next::Closed));
                };
                let packet = conn.protocol.decode(kind, &header, body)?;
                self.packet(step, key, packet)?;
            }
        } else if kind == PacketType::Connect {
            if conn
                .pending
                .as_ref()
                .is_some_and(|p| p.stage == Stage::Auth)
            {
                return Err(Fault::close("second CONNECT"));
            }
            self.connect(step, key, header.first, body)?;
            // AUTH may follow, so the packet cannot wait in front of it.
            if let Some(pending) = self.conns.get_mut(key).and_then(|c| c.pending.as_mut())
                && pending.method.is_some()
                && pending.stage == Stage::Login
            {
                let length = header.packet_length();
                pending.packet = bytes.get(..length).map(Into::into);
                return Ok(One::Packet(length));
            }
            if let Some(next) = self.waits_for(key) {
                return Ok(One::Wait(next));
            }
        } else if kind == PacketType::Auth && conn.pending.is_some() {
            let auth =
                Auth::decode(conn.version(), body).map_err(|error| Fault::decode(kind, error))?;
            self.auth_received(step, key, &auth)?;
        } else {
            return Err(Fault::close("the first packet is not CONNECT"));
        }
        Ok(One::Packet(header.packet_length()))
    }

    /// What a connection does that is not let in yet: it waits, or its CONNECT, which AUTH has followed, is
    /// taken up again.
    #[cold]
    fn go_on_connecting(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
    ) -> Result<Option<One>, Fault> {
        if let Some(next) = self.waits_for(key) {
            return Ok(Some(One::Wait(next)));
        }
        let pending = self.conns.get(key).and_then(|conn| conn.pending.as_ref());
        let Some(packet) = pending.and_then(|pending| pending.packet.clone()) else {
            return Ok(None);
        };
        if pending.is_some_and(|pending| pending.stage == Stage::Auth) {
            return Ok(None);
        }
        // It has been read before.
        if let Ok(Some(header)) = Header::peek(&packet)
            && let Some(body) = header.body(&packet)
        {
            self.connect(step, key, header.first, body)?;
        }
        Ok(match self.waits_for(key) {
            Some(next) => Some(One::Wait(next)),
            None => Some(One::Packet(0)),
        })
    }

    fn packet(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        packet: Packet<'_>,
    ) -> Result<(), Fault> {
        match packet {
            Packet::Publish(publish) => self.publish_received(step, key, &publish, None, None),
            Packet::Ack(AckKind::PubRel, ack) => self.released(step, key, ack.packet_id),
            Packet::Ack(kind, ack) => self.acknowledged(step, key, kind, &ack),
            Packet::Subscribe(subscribe) => self.subscribe(step, key, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(step, key, &unsubscribe),
            Packet::PingReq => {
                self.send(step, key, &Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.disconnect_received(step, key, &disconnect),
            Packet::Auth(auth) => self.auth_received(step, key, &auth),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => Err(Fault::disconnect(
                ReasonCode::PROTOCOL_ERROR,
                "the packet is not allowed here",
            )),
        }
    }

    /// Takes the directory's answer to a claim. The connection's bytes are to be given again.
    pub fn claimed(
        &mut self,
        step: &mut Step<'_>,
        conn: ConnId,
        client_id: &Arc<str>,
        answer: ClaimAnswer,
    ) {
        let waits = self
            .conns
            .get_mut(conn.0)
            .and_then(|conn| conn.pending.as_mut());
        match (waits, answer) {
            (Some(pending), ClaimAnswer::Here) if pending.client_id == *client_id => {
                pending.stage = Stage::Granted;
            }
            (_, ClaimAnswer::Here) => {
                // The connection went while it waited; somebody must give the id back.
                self.release(step, Arc::clone(client_id));
            }
            (Some(_), ClaimAnswer::Full) => self.refuse_when_full(step, conn.0),
            (None, ClaimAnswer::Full) => {}
        }
    }

    /// Gives a client id back, unless a session or a connection here has a use for it.
    pub(crate) fn release(&mut self, step: &mut Step<'_>, client_id: Arc<str>) {
        if !self.by_client_id.contains_key(&client_id) && !self.claims.contains_key(&client_id) {
            step.effects
                .directory
                .push(DirectoryRequest::Release(client_id));
        }
    }

    /// Notes that a connection claims a client id.
    pub(crate) fn claim(&mut self, client_id: &Arc<str>) {
        *self.claims.entry(Arc::clone(client_id)).or_default() += 1;
    }

    /// Notes that a connection's claim has led to a session, or to nothing.
    pub(crate) fn unclaim(&mut self, client_id: &Arc<str>) {
        if let Some(count) = self.claims.get_mut(client_id) {
            *count -= 1;
            if *count == 0 {
                self.claims.remove(client_id);
            }
        }
    }

    /// Learns that a connection's socket has come to its end.
    pub fn closed(&mut self, step: &mut Step<'_>, conn: ConnId, ended: &Ended) {
        self.end(step, conn.0, &Cause::Lost(ended));
    }

    /// Learns that a part of a packet has come, which is not shown before it is whole: who uploads a large
    /// message over a slow link is not silent.
    pub fn heard(&mut self, now: Time, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(conn.0) {
            conn.keep_alive.active(now);
        }
    }

    /// The bytes that wait for a connection's socket.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> &[u8] {
        self.conns
            .get(conn.0)
            .filter(|conn| !conn.is_silent)
            .map_or(&[], |conn| conn.outbox.unsent())
    }

    /// Learns that the socket took the first `count` bytes of [`Self::output`]. What waited for room goes
    /// to the outbox, and the connection is listed anew in [`Effects::dirty`] then; with bytes left, the
    /// worker knows itself that there is more to write.
    pub fn wrote(&mut self, step: &mut Step<'_>, conn: ConnId, count: usize) {
        let Some(state) = self.conns.get_mut(conn.0) else {
            return;
        };
        self.stats.bytes_sent += count as u64;
        state.outbox.consume(count, &mut self.pool);
        state.answers_unsent = state.answers_unsent.saturating_sub(count);
        if state.outbox.is_empty() {
            state.dirty = false;
            state.dropping = false;
        }
        if state.outbox_has_room() {
            let session = state.session;
            if !state.walks.is_empty() {
                self.resume_walk(conn.0);
            }
            if let Some(session) = session {
                self.pump(step, session);
            }
        }
    }

    /// Finishes what this turn has gathered. The acknowledgements that wait in outboxes are true only
    /// after this.
    pub fn end_turn(&mut self, step: &mut Step<'_>) {
        self.settle(step);
        self.go_on_walking(step);
        while let Some(mail) = self.own_mail.pop_front() {
            self.take_mail(step, mail);
            self.settle(step);
        }
    }

    /// Whether another turn has work to do without anything new from outside.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.walking.is_empty() || !self.own_mail.is_empty()
    }

    /// When [`Self::fire`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Deals with the deadlines that have passed.
    pub fn fire(&mut self, step: &mut Step<'_>) {
        let mut fired = std::mem::take(&mut self.scratch.fired);
        self.timers.fire(step.now, &mut fired);
        for timer in fired.drain(..) {
            match timer {
                Timer::Conn(key) => self.connection_timer(step, key),
                Timer::Session(key) => self.session_timer(step, key),
                Timer::Sys => self.sys_timer(step),
                Timer::Sweep => self.sweep(step),
            }
        }
        self.scratch.fired = fired;
    }

    fn connection_timer(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.timer > step.now {
            // A later timer than the one that counts.
            return;
        }
        if conn.session.is_none() {
            self.count_limit(step, Limit::ConnectTimeout, key);
            self.end(step, key, &Cause::NoConnect);
            return;
        }
        let deadline = conn.keep_alive.server_deadline();
        let expires = conn.login_expires();
        if deadline <= step.now {
            self.end(step, key, &Cause::KeepAlive);
        } else if expires <= step.now {
            let why = "the login has expired and was not renewed";
            self.fail(
                step,
                key,
                &Fault::disconnect(ReasonCode::NOT_AUTHORIZED, why),
            );
        } else {
            let next = deadline.min(expires);
            conn.timer = next;
            self.timers.set(next, Timer::Conn(key));
        }
    }

    /// Frees timers whose connections and sessions have gone, when they are many: clients that come and go
    /// would else leave them behind for as long as their keep alive.
    pub(crate) fn sweep_timers(&mut self) {
        let meaningful = self.conns.len() + self.sessions.len();
        if self.timers.len() < 2 * meaningful + SPARE_TIMERS {
            return;
        }
        let (conns, sessions) = (&self.conns, &self.sessions);
        self.timers.retain(|due, timer| {
            let counts = match timer {
                Timer::Conn(key) => conns.get(*key).map(|conn| conn.timer),
                Timer::Session(key) => sessions.get(*key).map(|session| session.timer),
                Timer::Sys | Timer::Sweep => Some(Time::NEVER),
            };
            counts.is_some_and(|counts| due <= counts.plus_secs(1))
        });
    }

    /// Ends all connections because the broker stops: 5.0 clients are told, wills are published.
    pub fn shut_down(&mut self, step: &mut Step<'_>) {
        self.publish_all_wills(step);
        self.end_turn(step);
        let keys: Vec<_> = self.conns.keys().collect();
        for key in keys {
            self.send_disconnect(step, key, ReasonCode::SERVER_SHUTTING_DOWN);
            self.end(step, key, &Cause::ShuttingDown);
        }
        self.end_turn(step);
    }

    /// This shard's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.sessions = self.sessions.len() as u64;
        stats.sockets_open = self.conns.len() as u64;
        stats.outboxes = self.pool.outboxes as u64;
        stats.outbox_bytes = self.pool.unsent_bytes as u64;
        stats
    }

    /// What the worker calls a connection.
    #[must_use]
    pub fn token(&self, conn: ConnId) -> Option<usize> {
        self.conns.get(conn.0).map(|conn| conn.token)
    }

    /// Which client a connection belongs to, once it has one.
    #[must_use]
    pub fn client_id(&self, conn: ConnId) -> Option<&str> {
        let session = self.conns.get(conn.0)?.session?;
        self.sessions
            .get(session)
            .map(|session| &*session.client_id)
    }

    // What the other files of this crate use.

    /// Counts that a connection has reached a limit, and tells the log now and then.
    pub fn limit_reached(&mut self, step: &mut Step<'_>, limit: Limit, conn: ConnId) {
        self.count_limit(step, limit, conn.0);
    }

    #[cold]
    pub(crate) fn count_limit(&mut self, step: &mut Step<'_>, limit: Limit, key: SlabKey) {
        let Some(count) = self.settings.limits.reached(limit, step.now) else {
            return;
        };
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let who = match self.client_id(ConnId(key)) {
            Some(client_id) => format!("client {client_id} [{}]", conn.origin),
            None => format!("connection from {}", conn.origin),
        };
        events::limit_reached(step.effects, limit, &who, count);
    }

    fn note_limits(&self) {
        let settings = &self.settings;
        settings.limits.set_configured(settings.judges_messages());
    }

    /// Answers a fault and ends the connection.
    pub(crate) fn fail(&mut self, step: &mut Step<'_>, key: SlabKey, fault: &Fault) {
        self.answer_fault(step, key, fault.answer);
        self.end(step, key, &Cause::Fault(fault));
    }

    /// Tells a peer why its connection ends.
    pub(crate) fn answer_fault(&mut self, step: &mut Step<'_>, key: SlabKey, answer: Answer) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let connected = conn.protocol.phase() == Phase::Connected;
        match answer {
            Answer::Disconnect(reason) if connected => self.send_disconnect(step, key, reason),
            Answer::ConnAck(version, reason) if !connected => {
                self.send_refusal(step, key, version, reason);
            }
            // [MQTT5-3.14.0-1]: no DISCONNECT before a successful CONNACK.
            Answer::Disconnect(_) | Answer::ConnAck(..) | Answer::Close => {}
        }
    }

    /// Sends DISCONNECT to a 5.0 client. Servers of 3.x have no such packet.
    pub(crate) fn send_disconnect(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        reason: ReasonCode,
    ) {
        let is_v5 = self
            .conns
            .get(key)
            .is_some_and(|conn| conn.session.is_some() && conn.version() == Version::V5);
        if !is_v5 {
            return;
        }
        // Mosquitto's form: the reason code and nothing behind it.
        self.send(
            step,
            key,
            &Packet::Disconnect(midge_codec::Disconnect::new(reason)),
        );
    }

    /// Writes a packet that is not PUBLISH to a connection's outbox, if the client takes packets of
    /// that size `[MQTT5-3.1.2-24]`.
    pub(crate) fn send(&mut self, step: &mut Step<'_>, key: SlabKey, packet: &Packet<'_>) -> bool {
        let Some(conn) = self.conns.get_mut(key) else {
            return false;
        };
        let version = conn.version();
        let limit = conn.packet_size_max as usize;
        let mut length = 0;
        let written = conn.write(&mut self.pool, &mut step.effects.dirty, |buffer| {
            let before = buffer.len();
            // The broker builds no packet with a field that is too long.
            let is_encoded = packet.encode(version, buffer).is_ok();
            length = buffer.len() - before;
            is_encoded && (limit == 0 || length <= limit)
        });
        if written {
            conn.answers_unsent += length;
            self.stats.messages_sent += 1;
        }
        written
    }

    /// The address of a session of this shard.
    #[inline]
    pub(crate) fn session_ref(&self, key: SlabKey) -> SessionRef {
        SessionRef {
            shard: self.id,
            generation: key.generation,
            slot: key.slot,
        }
    }

    /// The session at an address, if that is of this shard.
    #[inline]
    pub(crate) fn local(&self, session: SessionRef) -> Option<SlabKey> {
        let key = SlabKey {
            slot: session.slot,
            generation: session.generation,
        };
        (session.shard == self.id).then_some(key)
    }

    /// Sends mail; to this shard itself at the end of the turn.
    pub(crate) fn post(&mut self, step: &mut Step<'_>, shard: u16, mail: Mail) {
        if shard == self.id {
            self.own_mail.push_back(mail);
        } else {
            step.effects.mail.push((shard, mail));
        }
    }

    /// Applies the changes that were gathered, and then begins the walks that depend on them.
    ///
    /// Runs before a message is routed, so that who subscribes and publishes in one breath hears itself,
    /// and at the end of each turn, before SUBACKs leave. Retained messages go first: see [`Tables`].
    #[inline]
    pub(crate) fn settle(&mut self, step: &mut Step<'_>) {
        self.settle_tables(step);
        if !self.walk_starts.is_empty() {
            self.start_walks(step);
        }
    }

    /// Applies the changes and begins no walk.
    #[inline]
    pub(crate) fn settle_tables(&mut self, step: &mut Step<'_>) {
        if !self.retains.is_empty() {
            let journal = &mut self.journal;
            step.tables.retain(&mut self.retains, &mut |applied| {
                journal.note_retained(applied);
            });
        }
        if !self.changes.is_empty() {
            step.tables.change(&mut self.changes);
        }
    }

    /// The connection and session of a packet.
    pub(crate) fn session_key(&self, key: SlabKey) -> Option<SlabKey> {
        self.conns.get(key).and_then(|conn| conn.session)
    }

    pub(crate) fn log_fault(
        &mut self,
        step: &mut Step<'_>,
        origin: &Origin,
        client_id: Option<&str>,
        reason: Option<&dyn Display>,
    ) {
        if self.settings.connection_messages {
            events::disconnected(step.effects, origin, client_id, reason);
        }
    }

    /// Takes mail from another shard.
    pub fn mail(&mut self, step: &mut Step<'_>, mail: Mail) {
        self.settle(step);
        self.take_mail(step, mail);
    }

    /// The highest QoS of a subscription's messages.
    pub(crate) fn effective_qos(&self, published: QoS, granted: QoS) -> QoS {
        if self.settings.upgrade_outgoing_qos {
            granted
        } else {
            published.min(granted)
        }
    }
}

/// A small random generator (SplitMix64) for client ids and hash seeds; its seed comes from outside.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
