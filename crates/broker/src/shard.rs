//! One core's share of the broker: what it holds, and how its turns go.

mod connections;
mod deadlines;
mod receive;
mod send;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use midge_codec::{QoS, ReasonCode};
use smallvec::SmallVec;

use crate::Time;
use crate::connection::{Conn, ConnId};
use crate::effects::{Effects, Mail};
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

pub use connections::{Ended, Moved};
pub(crate) use deadlines::{SWEEP_SECS, Timer};
pub use receive::{Next, Received};

/// What a shard is given for one call: the time, the shared tables, and where to list what it wants.
pub struct Step<'a> {
    /// Now. Never earlier than in an earlier call.
    pub now: Time,
    /// The shared tables.
    pub tables: &'a mut dyn Tables,
    /// What is to happen outside.
    pub effects: &'a mut Effects,
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

    // What the other files of this crate use.

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
