//! The broker under test: real shards, driven as the server's workers drive them, with mail that takes
//! its time and sockets that take only a part.

mod checks;
mod effects;
mod keeping;
mod show;
mod sockets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use midge_broker::route::SessionRef;
use midge_broker::{
    Claim, ConnId, Effects, LocalTables, Mail, Message, Settings, Shard, SharedTables, Stats, Step,
    Time,
};
use midge_codec::Version;

use crate::check::Checked;
use crate::link::Link;
use crate::model::{Model, Stamp};
use crate::script::Keeping;
use crate::storage::Answered;
use crate::world::{Event, Millis, NEVER, TICK, World};
use keeping::Keeper;
use show::describe;

pub(crate) use keeping::Fall;
pub(crate) use show::show;

/// How slow the broker's inside is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Longest time that mail between shards takes, in milliseconds.
    pub(crate) mail_max: Millis,
    /// Longest time until a worker wakes.
    pub(crate) wake_max: Millis,
    /// The directory may take this long for its answers; 0 for at once.
    pub(crate) claim_max: Millis,
    /// Workers leave some of what is ready for their next turn.
    pub(crate) lazy: bool,
}

/// What a worker finds in its mailbox.
enum Post {
    Mail(Mail),
    /// A connection, new or from another worker, with what has been read from it.
    Connection(usize, Vec<u8>),
    /// The directory's answer to a claim.
    Answer(Claim, Home),
    /// The log's answer to a batch.
    Settled(Answered),
    /// The disk takes work again.
    Recovered,
    /// Messages of a session's queue, by the names that were asked for.
    Loaded(SessionRef, Vec<(u64, Option<Arc<Message>>)>),
}

#[derive(Clone, Copy, Debug)]
enum Home {
    Here,
    Elsewhere(usize),
}

/// A connection at its worker.
#[derive(Debug)]
struct Socket {
    conn: ConnId,
    /// Bytes that have been read and not been dealt with.
    pending: Vec<u8>,
    /// Fewer bytes than this say nothing new.
    needed: usize,
    /// It waits for the directory.
    claims: bool,
    version: Version,
    /// What was written of a packet that is not whole.
    spoken: Vec<u8>,
}

struct Worker {
    shard: Shard,
    effects: Effects,
    /// By sender; each sender's mail stays in order.
    inbox: Vec<VecDeque<(Millis, Post)>>,
    sockets: BTreeMap<usize, Socket>,
    /// Connections whose socket took only a part.
    blocked: BTreeSet<usize>,
    wakes_at: Millis,
    /// It has finished its turn and has not told anybody.
    dawdles: bool,
    /// Names the batch that its next records belong to.
    stamp: Stamp,
}

impl Worker {
    fn new(shard: Shard, senders: usize) -> Self {
        Self {
            shard,
            effects: Effects::default(),
            inbox: std::iter::repeat_with(VecDeque::new)
                .take(senders)
                .collect(),
            sockets: BTreeMap::new(),
            blocked: BTreeSet::new(),
            wakes_at: NEVER,
            dawdles: false,
            stamp: 0,
        }
    }
}

/// All workers and what they share.
pub(crate) struct BrokerSide {
    settings: Arc<Settings>,
    tables: SharedTables,
    workers: Vec<Worker>,
    directory: BTreeMap<Arc<str>, usize>,
    pace: Pace,
    /// The largest number of unsent bytes that a connection had.
    pub(crate) outbox_peak: usize,
    /// Links whose connection was given up in the last turn.
    pub(crate) parting: Vec<usize>,
    pub(crate) keeper: Option<Keeper>,
    /// Time zero of the broker's clock.
    base: Millis,
    /// The counters of earlier runs.
    past_stats: Stats,
}

impl BrokerSide {
    pub(crate) fn new(
        settings: Settings,
        shards: u16,
        pace: Pace,
        keeping: Option<Keeping>,
        world: &mut World,
        model: &mut Model,
    ) -> Checked<Self> {
        let settings = Arc::new(settings);
        let keeper = keeping.map(|keeping| Keeper::new(keeping, world.random.next()));
        let mut side = Self {
            tables: SharedTables::new(0),
            workers: Vec::new(),
            directory: BTreeMap::new(),
            pace,
            outbox_peak: 0,
            parting: Vec::new(),
            keeper,
            base: 0,
            past_stats: Stats::default(),
            settings,
        };
        if side.keeper.is_some() {
            side.start(world, model, shards, false)?;
        } else {
            side.employ(world, shards, 0);
        }
        Ok(side)
    }

    /// From now on the broker's inside is quick.
    pub(crate) fn hurry(&mut self) {
        self.pace.mail_max = self.pace.mail_max.min(5);
        self.pace.wake_max = self.pace.wake_max.min(2);
        if let Some(keeper) = &mut self.keeper {
            keeper.hurry();
        }
    }

    /// Takes a new connection, at any worker.
    pub(crate) fn accept(&mut self, world: &mut World, link: usize) {
        let worker = world.random.index(self.workers.len());
        let acceptor = self.workers.len();
        self.post(world, acceptor, worker, Post::Connection(link, Vec::new()));
    }

    /// The worker that holds a connection, if one does.
    pub(crate) fn wake_for(&mut self, world: &mut World, link: usize) {
        let holder = self
            .workers
            .iter()
            .position(|worker| worker.sockets.contains_key(&link));
        if let Some(worker) = holder {
            let delay = world.random.below(self.pace.wake_max + 1);
            self.wake(world, worker, world.now + delay);
        }
    }

    fn wake(&mut self, world: &mut World, worker: usize, at: Millis) {
        if at < self.workers[worker].wakes_at {
            self.workers[worker].wakes_at = at;
            world.at(at, Event::Turn(worker));
        }
    }

    fn post(&mut self, world: &mut World, from: usize, to: usize, post: Post) {
        let delay = world.random.below(self.pace.mail_max + 1);
        let inbox = &mut self.workers[to].inbox[from];
        let at = inbox.back().map_or(0, |(at, _)| *at).max(world.now + delay);
        inbox.push_back((at, post));
        self.wake(world, to, at);
    }

    /// One call of a shard.
    fn step<R>(
        &mut self,
        worker: usize,
        now: Millis,
        call: impl FnOnce(&mut Shard, &mut Step<'_>) -> R,
    ) -> R {
        let time = Time(now - self.base);
        let worker = &mut self.workers[worker];
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: time,
            tables: &mut tables,
            effects: &mut worker.effects,
        };
        call(&mut worker.shard, &mut step)
    }

    /// One turn of a worker: everything that is ready, then the effects.
    pub(crate) fn turn(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
    ) -> Checked {
        if self.workers.get(at).is_none_or(|w| w.wakes_at > world.now) {
            // An earlier turn has done what this one was for.
            return Ok(());
        }
        self.workers[at].wakes_at = NEVER;
        let now = world.now / TICK * TICK;
        self.gather(model, at);
        let mut left = std::mem::take(&mut self.workers[at].dawdles);
        if !left {
            left |= self.take_mail(world, links, model, at, now)?;
            left |= self.take_bytes(world, links, model, at, now)?;
            self.step(at, now, Shard::fire);
            model.time_passed(at, now);
            self.compare(world, links, model, at)?;
            self.step(at, now, Shard::end_turn);
            if self.dawdle(world, at) {
                return Ok(());
            }
        }
        self.carry_out(world, links, model, at, now)?;
        self.check_limits(at)?;
        if left || self.workers[at].shard.has_work() {
            self.wake(world, at, world.now + 1);
        }
        if let Some(deadline) = self.workers[at].shard.next_deadline() {
            // A clock that is behind must not make the worker spin.
            let deadline = self.base.saturating_add(deadline.0);
            self.wake(world, at, deadline.max(now + TICK));
        }
        let inboxes = &self.workers[at].inbox;
        let mail = inboxes
            .iter()
            .filter_map(|inbox| inbox.front())
            .map(|(at, _)| *at);
        if let Some(next) = mail.min() {
            self.wake(world, at, next);
        }
        Ok(())
    }

    /// Whether the worker is slow to tell the others what it has done.
    fn dawdle(&mut self, world: &mut World, at: usize) -> bool {
        let Some(keeper) = &self.keeper else {
            return false;
        };
        let most = keeper.settings.dawdle_max;
        if most == 0 || !world.random.chance(20) {
            return false;
        }
        self.workers[at].dawdles = true;
        let until = world.now + world.random.between(1, most);
        self.wake(world, at, until);
        true
    }

    /// Takes what the mailbox holds; whether something is left that could be taken.
    fn take_mail(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        now: Millis,
    ) -> Checked<bool> {
        let mut senders: Vec<usize> = (0..self.workers[at].inbox.len()).collect();
        world.random.shuffle(&mut senders);
        let mut left = false;
        for from in senders {
            while let Some((due, _)) = self.workers[at].inbox[from].front()
                && *due <= world.now
            {
                if self.pace.lazy && world.random.chance(20) {
                    left = true;
                    break;
                }
                match self.workers[at].inbox[from].pop_front() {
                    Some((_, Post::Mail(mail))) => {
                        world.trace(|| format!("shard {at} gets {}", describe(&mail)));
                        self.step(at, now, |shard, step| shard.mail(step, mail));
                    }
                    Some((_, Post::Connection(link, bytes))) => {
                        self.open(model, at, link, bytes, now);
                        self.feed(world, links, model, at, link, now)?;
                    }
                    Some((_, Post::Answer(claim, home))) => {
                        self.answered(world, links, model, at, &claim, home, now)?;
                    }
                    Some((_, Post::Settled(answer))) => self.settled(at, now, &answer),
                    Some((_, Post::Recovered)) => {
                        self.workers[at].shard.set_refuses_new_work(false);
                    }
                    Some((_, Post::Loaded(session, messages))) => {
                        self.step(at, now, |shard, step| {
                            shard.loaded(step, session, messages);
                        });
                    }
                    None => {}
                }
                self.compare(world, links, model, at)?;
            }
        }
        Ok(left)
    }

    /// The counters of all shards together.
    pub(crate) fn stats(&self) -> Stats {
        let mut total = self.past_stats;
        for worker in &self.workers {
            total.add(&worker.shard.stats());
        }
        total
    }

    /// Whether nothing waits inside the broker: no mail, no unsent bytes, no work.
    pub(crate) fn is_idle(&self) -> bool {
        let storage = self.keeper.as_ref().map(|keeper| keeper.storage.as_ref());
        if storage.is_some_and(|storage| storage.is_none_or(|storage| storage.has_work())) {
            return false;
        }
        self.workers.iter().all(|worker| {
            !worker.dawdles
                && worker.inbox.iter().all(VecDeque::is_empty)
                && worker.blocked.is_empty()
                && !worker.shard.has_work()
                && worker
                    .sockets
                    .values()
                    .all(|socket| worker.shard.output(socket.conn).is_empty())
        })
    }
}
