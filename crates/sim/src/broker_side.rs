//! The broker under test: real shards, driven as the server's workers drive them, with mail that takes
//! its time and sockets that take only a part.

mod keeping;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use midge_broker::route::SessionRef;
use midge_broker::{
    Claim, ClaimAnswer, ConnId, DirectoryRequest, Effects, Ended, LocalTables, Mail, Message, Next,
    Origin, Settings, Shard, SharedTables, Stats, Step, Time,
};
use midge_codec::{Connect, Header, Packet, Version};

use crate::check::{Checked, broken};
use crate::link::{End, Link};
pub(crate) use keeping::Fall;
use keeping::Keeper;

use crate::model::{Cause, Model, Stamp, Terms};
use crate::script::Keeping;
use crate::storage::Answered;
use crate::world::{Event, Millis, NEVER, TICK, World};

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

    fn open(&mut self, model: &mut Model, at: usize, link: usize, bytes: Vec<u8>, now: Millis) {
        let origin = Origin {
            listener: Arc::clone(&self.settings.listeners[0]),
            address: None,
        };
        let conn = self.step(at, now, |shard, step| shard.open(step, link, origin));
        model.opened(link, at, now);
        let socket = Socket {
            conn,
            pending: bytes,
            needed: 0,
            claims: false,
            version: Version::V5,
            spoken: Vec::new(),
        };
        self.workers[at].sockets.insert(link, socket);
    }

    /// Reads from the sockets; whether there is more to read.
    fn take_bytes(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        now: Millis,
    ) -> Checked<bool> {
        let mut sockets: Vec<usize> = self.workers[at].sockets.keys().copied().collect();
        world.random.shuffle(&mut sockets);
        let mut left = false;
        for link in sockets {
            links[link].up.arrive(world.now);
            let readable = links[link].up.readable();
            let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
                continue;
            };
            if readable > 0 {
                let most = if self.pace.lazy && world.random.chance(20) {
                    world.random.size(1, readable)
                } else {
                    readable
                };
                left |= most < readable;
                links[link].up.read(most, &mut socket.pending);
                self.feed(world, links, model, at, link, now)?;
            }
            let Some(socket) = self.workers[at].sockets.get(&link) else {
                continue;
            };
            if let Some(end) = links[link].up.ended() {
                let conn = socket.conn;
                world.trace(|| format!("shard {at} learns that link {link} is {end:?}"));
                let ended = match end {
                    End::Closed => Ended::ByPeer,
                    End::Reset => Ended::Error("connection reset".to_owned()),
                };
                self.step(at, now, |shard, step| shard.closed(step, conn, &ended));
                model.ended(link, Cause::Lost, now);
                self.compare(world, links, model, at)?;
            }
        }
        Ok(left)
    }

    /// Gives a connection's bytes to the shard, and what it took of them to the model.
    fn feed(
        &mut self,
        world: &World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        link: usize,
        now: Millis,
    ) -> Checked {
        let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
            return Ok(());
        };
        if socket.claims || socket.pending.is_empty() || socket.pending.len() < socket.needed {
            return Ok(());
        }
        let (conn, bytes) = (socket.conn, std::mem::take(&mut socket.pending));
        let received = self.step(at, now, |shard, step| shard.receive(step, conn, &bytes));
        let taken = bytes.get(..received.consumed).unwrap_or_default();
        self.tell(world, model, at, link, taken, now)?;
        let rest = bytes.get(received.consumed..).unwrap_or_default();
        if received.next == Next::Closed && rest.first() == Some(&0) {
            // A client that breaks the protocol sends a packet of the reserved kind.
            model.ended(link, Cause::Fault, now);
        }
        if let Some(socket) = self.workers[at].sockets.get_mut(&link) {
            socket.pending = rest.to_vec();
            match received.next {
                Next::Bytes(count) => socket.needed = count,
                Next::Claim => socket.claims = true,
                // Nobody has to log in here.
                Next::Login | Next::Closed => {}
            }
        }
        self.compare(world, links, model, at)
    }

    /// Tells the model which packets the shard has taken.
    fn tell(
        &mut self,
        world: &World,
        model: &mut Model,
        at: usize,
        link: usize,
        mut bytes: &[u8],
        now: Millis,
    ) -> Checked {
        while let Ok(Some(header)) = Header::peek(bytes)
            && let Some(body) = header.body(bytes)
        {
            bytes = bytes.get(header.packet_length()..).unwrap_or_default();
            let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
                break;
            };
            if header.first >> 4 == 1 {
                let Ok(connect) = Connect::decode(header.first, body) else {
                    return broken("faulty packets are refused", format!("{body:?}"));
                };
                socket.version = connect.version;
                let conn = socket.conn;
                let shard = &self.workers[at].shard;
                // The broker gives an id to a client that brings none.
                let known = match connect.client_id {
                    "" => shard.client_id(conn).unwrap_or_default().to_owned(),
                    id => id.to_owned(),
                };
                world.trace(|| format!("shard {at} took from link {link} {connect:?}"));
                model.connected(link, &known, Terms::new(&connect)?, now);
            } else {
                let packet = Packet::decode(header.first, socket.version, body);
                let Ok(packet) = packet else {
                    return broken("faulty packets are refused", format!("{body:?}"));
                };
                world.trace(|| format!("shard {at} took from link {link} {}", show(&packet)));
                model.packet(link, &packet, now)?;
                model.active(link, now);
            }
        }
        Ok(())
    }

    /// Holds the connections that the shard has just given up, and the client ids that it gives back,
    /// against what the model expects; lets the connections go.
    fn compare(
        &mut self,
        world: &World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
    ) -> Checked {
        let closed = std::mem::take(&mut self.workers[at].effects.closed);
        let expected = std::mem::take(&mut model.closing);
        let seen: BTreeSet<usize> = closed.iter().map(|(link, _)| *link).collect();
        if let Some(link) = seen.difference(&expected).next() {
            let log = &self.workers[at].effects.log;
            let last = log.last().map_or("", |line| &line.text);
            return broken(
                "no needless end of a connection",
                format!("link {link}: {last}"),
            );
        }
        if let Some(link) = expected.difference(&seen).next() {
            return broken("connections end when they must", format!("link {link}"));
        }
        for (link, words) in closed {
            world.trace(|| format!("shard {at} gives link {link} up"));
            self.listen(model, at, link, &words)?;
            self.workers[at].sockets.remove(&link);
            self.workers[at].blocked.remove(&link);
            links[link].up.forget();
            if links[link].client_open {
                links[link].last_words = Some(words.into());
                self.parting.push(link);
            }
        }
        let sessions = self.workers[at].shard.stats().sessions;
        let expected = model.sessions_at(at);
        if sessions > expected {
            let what = format!("at shard {at}: {}", model.describe_sessions(at));
            return broken("sessions end when they must", what);
        }
        if sessions < expected {
            return broken(
                "sessions do not end before their time",
                format!("at shard {at}"),
            );
        }
        for request in &self.workers[at].effects.directory {
            if let DirectoryRequest::Release(client) = request
                && model.has_session_at(client, at)
            {
                return broken("the ids of sessions are kept", &**client);
            }
        }
        for line in self.workers[at].effects.log.drain(..) {
            world.trace(|| format!("shard {at} logs {}", line.text));
        }
        Ok(())
    }

    /// Does what the shard wants done, until it wants nothing more.
    fn carry_out(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        now: Millis,
    ) -> Checked {
        let mut retries = std::mem::take(&mut self.workers[at].blocked);
        loop {
            let requests = std::mem::take(&mut self.workers[at].effects.directory);
            let asked = !requests.is_empty();
            for request in requests {
                self.ask(world, links, model, at, request, now)?;
            }
            if asked {
                // What the claims let in has to be finished before it is told.
                self.step(at, now, Shard::end_turn);
                continue;
            }
            self.compare(world, links, model, at)?;
            self.hand_in(world, model, at)?;
            for (to, mail) in std::mem::take(&mut self.workers[at].effects.mail) {
                self.post(world, at, usize::from(to), Post::Mail(mail));
            }
            let mut dirty: BTreeSet<usize> = std::mem::take(&mut self.workers[at].effects.dirty)
                .into_iter()
                .collect();
            dirty.append(&mut retries);
            if dirty.is_empty() {
                break;
            }
            for link in dirty {
                self.write(world, links, model, at, link, now)?;
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        link: usize,
        now: Millis,
    ) -> Checked {
        let Some(conn) = self.workers[at]
            .sockets
            .get(&link)
            .map(|socket| socket.conn)
        else {
            return Ok(());
        };
        loop {
            let output = self.workers[at].shard.output(conn);
            self.outbox_peak = self.outbox_peak.max(output.len());
            if output.is_empty() {
                return Ok(());
            }
            let (count, arrivals) = links[link].down.write(world.now, &mut world.random, output);
            let said = match self.keeper {
                Some(_) => output.get(..count).unwrap_or_default().to_vec(),
                None => Vec::new(),
            };
            for time in arrivals {
                world.at(time, Event::Arrival(link));
            }
            if count == 0 {
                self.workers[at].blocked.insert(link);
                return Ok(());
            }
            self.listen(model, at, link, &said)?;
            self.step(at, now, |shard, step| shard.wrote(step, conn, count));
        }
    }

    fn ask(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        request: DirectoryRequest,
        now: Millis,
    ) -> Checked {
        match request {
            DirectoryRequest::Release(client) => {
                if self.directory.get(&client) == Some(&at) {
                    self.directory.remove(&client);
                }
                Ok(())
            }
            DirectoryRequest::Claim(claim) => {
                let home = *self
                    .directory
                    .entry(Arc::clone(&claim.client_id))
                    .or_insert(at);
                let home = if home == at {
                    Home::Here
                } else {
                    Home::Elsewhere(home)
                };
                if self.pace.claim_max == 0 {
                    return self.answered(world, links, model, at, &claim, home, now);
                }
                let delay = world.random.below(self.pace.claim_max + 1);
                let directory = self.workers.len();
                let inbox = &mut self.workers[at].inbox[directory];
                let after = inbox.back().map_or(0, |(time, _)| *time);
                let time = after.max(world.now + delay);
                inbox.push_back((time, Post::Answer(claim, home)));
                self.wake(world, at, time);
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the whole scene of one answer")]
    fn answered(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        claim: &Claim,
        home: Home,
        now: Millis,
    ) -> Checked {
        let sockets = &mut self.workers[at].sockets;
        let link = sockets
            .iter()
            .find(|(_, socket)| socket.conn == claim.conn)
            .map(|(link, _)| *link);
        match (home, link) {
            (Home::Here, _) => {
                self.step(at, now, |shard, step| {
                    shard.claimed(step, claim.conn, &claim.client_id, ClaimAnswer::Here);
                });
                if let Some(link) = link {
                    if let Some(socket) = self.workers[at].sockets.get_mut(&link) {
                        socket.claims = false;
                        socket.needed = 0;
                    }
                    self.feed(world, links, model, at, link, now)?;
                }
            }
            (Home::Elsewhere(_), None) => {}
            (Home::Elsewhere(other), Some(link)) => {
                world.trace(|| format!("link {link} moves from shard {at} to {other}"));
                self.workers[at].shard.forget(claim.conn);
                if let Some(socket) = self.workers[at].sockets.remove(&link) {
                    model.moved(link);
                    self.post(world, at, other, Post::Connection(link, socket.pending));
                }
            }
        }
        Ok(())
    }

    fn check_limits(&mut self, at: usize) -> Checked {
        // What a turn may add: answers, and one packet that was begun below the limit.
        let one_turn = 64 * 1024;
        let most = self.settings.outbox_bytes_max.max(OUTBOX_PAUSE) + one_turn;
        if self.outbox_peak > most {
            let what = format!("{} bytes, at most {most}", self.outbox_peak);
            return broken("outboxes are bounded", what);
        }
        let worker = &self.workers[at];
        let stats = worker.shard.stats();
        let limit = self.settings.max_queued_messages as u64;
        if limit > 0 && self.settings.max_inflight_messages > 0 {
            // What is in flight counts too, either way.
            let window = u64::from(self.settings.max_inflight_messages.max(100));
            let counts = self.tables.routing.counts();
            let groups = counts.shared_subscriptions as u64;
            // Shared messages that were under way when a member's queue filled may exceed it a little.
            let most = (stats.sessions + groups + 2) * (limit + 2 * window) + 512;
            if stats.queued_messages > most {
                let what = format!("{} messages, at most {most}", stats.queued_messages);
                return broken("queues are bounded", what);
            }
        }
        Ok(())
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

    /// Checks that nothing is left of anybody, once all have gone for good.
    pub(crate) fn check_empty(&mut self, world: &World, retained: usize) -> Checked {
        let stats = self.stats();
        let counts = self.tables.routing.counts();
        let left = [
            ("sessions", stats.sessions),
            ("connected clients", stats.connected),
            ("sockets", stats.sockets_open),
            ("queued messages", stats.queued_messages),
            ("queued bytes", stats.queued_bytes),
            ("subscriptions", counts.subscriptions as u64),
            ("shared subscriptions", counts.shared_subscriptions as u64),
            ("client ids in the directory", self.directory.len() as u64),
        ];
        for (what, count) in left {
            if count > 0 {
                return broken("nothing is left behind", format!("{count} {what}"));
            }
        }
        let stored = self.tables.retained.len();
        self.check_disk(world, retained)?;
        if self.settings.sys_interval == 0 && stored != retained {
            let what = format!("{stored} are stored, {retained} should be");
            return broken("retained messages are counted", what);
        }
        Ok(())
    }
}

/// Unsent bytes above which the broker lets messages wait in their queue, as its documentation says.
const OUTBOX_PAUSE: usize = 128 * 1024;

fn describe(mail: &Mail) -> String {
    let text = |message: &Message| {
        let payload = message.view().payload;
        String::from_utf8_lossy(payload.get(..payload.len().min(12)).unwrap_or_default())
            .into_owned()
    };
    match mail {
        Mail::Deliver { message, targets } => format!("Deliver {} {targets:?}", text(message)),
        Mail::DeliverShared {
            group,
            message,
            target,
            ..
        } => format!("DeliverShared {} {group:?} {target:?}", text(message)),
        Mail::GroupQueue { group, message } => format!("GroupQueue {} {group:?}", text(message)),
        Mail::GroupReturn { group, messages } => {
            let texts: Vec<_> = messages.iter().map(|message| text(message)).collect();
            format!("GroupReturn {texts:?} {group:?}")
        }
        Mail::GroupPull { group, target, .. } => format!("GroupPull {group:?} {target:?}"),
        Mail::GroupGrant {
            group,
            messages,
            target,
            ..
        } => {
            let texts: Vec<_> = messages.iter().map(|message| text(message)).collect();
            format!("GroupGrant {texts:?} {group:?} {target:?}")
        }
        Mail::StatsRequest { .. } | Mail::Stats { .. } => "counters".to_owned(),
    }
}

/// A packet in a few words.
pub(crate) fn show(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => {
            let payload = publish.payload;
            let start = payload.get(..payload.len().min(12)).unwrap_or_default();
            format!(
                "PUBLISH {} '{}' q{} id {:?}{}{} ({} bytes) {:?}",
                publish.topic,
                String::from_utf8_lossy(start),
                publish.qos.bits(),
                publish.packet_id,
                if publish.dup { " dup" } else { "" },
                if publish.retain { " retain" } else { "" },
                payload.len(),
                crate::wire::subscription_ids(&publish.properties),
            )
        }
        Packet::Ack(kind, ack) => format!("{kind:?} {} {}", ack.packet_id, ack.reason),
        Packet::Subscribe(subscribe) => {
            let list: Vec<_> = subscribe.subscriptions.iter().collect();
            format!("SUBSCRIBE {} {list:?}", subscribe.packet_id)
        }
        Packet::Unsubscribe(unsubscribe) => {
            let list: Vec<_> = unsubscribe.filters.iter().collect();
            format!("UNSUBSCRIBE {} {list:?}", unsubscribe.packet_id)
        }
        other => format!("{other:?}"),
    }
}
