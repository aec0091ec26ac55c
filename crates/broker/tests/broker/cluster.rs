//! A broker of several shards without sockets or threads: virtual time, a directory of client ids, and
//! mail between shards that can be held back.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use midge_broker::persist::{Records, Restoration};
use midge_broker::{
    ClaimAnswer, ConnId, ControlRequest, DirectoryRequest, Effects, Ended, ListenerSettings,
    LocalTables, LogLine, Login, LoginAnswer, Mail, Next, Origin, Review, Reviewed, Settings,
    Shard, SharedTables, Stats, Step, Time,
};

use crate::client::Builder;
use crate::disk::{Answers, Disk};

/// The broker under test. Cheap to clone: clients hold it too.
#[derive(Clone)]
pub(crate) struct Cluster(pub(crate) Rc<RefCell<World>>);

/// What a connection's socket is in these tests.
pub(crate) struct Socket {
    shard: u16,
    conn: Option<ConnId>,
    origin: Origin,
    /// Bytes from the client that the shard has not consumed.
    unread: Vec<u8>,
    /// Bytes from the broker that the client has not looked at.
    pub(crate) received: Vec<u8>,
    /// How many more bytes the socket takes from the broker.
    pub(crate) room: usize,
    /// The broker has closed it.
    pub(crate) closed: bool,
    claim_pending: bool,
    /// What has come along from another shard.
    moved: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    tables: SharedTables,
    shards: Vec<Shard>,
    effects: Vec<Effects>,
    directory: HashMap<Arc<str>, u16>,
    clients_max: usize,
    mail: BTreeMap<(u16, u16), VecDeque<Mail>>,
    mail_held: bool,
    claims_held: bool,
    claims: Vec<(u16, ConnId, Arc<str>)>,
    /// Answers logins; those that it does not answer wait.
    judge: Box<Judge>,
    logins: Vec<(u16, Login)>,
    /// What clients asked of the broker itself.
    pub(crate) controls: Vec<ControlRequest>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) log: Vec<LogLine>,
    disk: Disk,
    /// What the wall clock says at time zero.
    unix_at_zero: u64,
    settings: Arc<Settings>,
    listeners: Vec<Arc<ListenerSettings>>,
}

/// Answers a login, or leaves it waiting.
pub(crate) type Judge = dyn FnMut(&Login) -> Option<LoginAnswer>;

/// Where virtual time begins: not at zero, like a machine that has been up for a while.
const START: Time = Time(1_000_000);
/// What the wall clock says at time zero.
const UNIX: u64 = 1_700_000_000_000;
/// More turns than any test needs to come to rest.
const TURNS_MAX: usize = 100_000;

impl Cluster {
    /// A broker of `shards` shards with Mosquitto's defaults, and without `$SYS`.
    pub(crate) fn new(shards: u16) -> Self {
        Self::with(shards, |_| {})
    }

    /// A broker with other settings.
    pub(crate) fn with(shards: u16, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            sys_interval: 0,
            ..Settings::default()
        };
        change(&mut settings);
        let listeners = settings.listeners.clone();
        let settings = Arc::new(settings);
        let shard = |id| {
            let mut shard = Shard::new(id, shards, Arc::clone(&settings), 42, START);
            shard.persist(1, UNIX);
            shard
        };
        Self(Rc::new(RefCell::new(World {
            now: START,
            tables: SharedTables::new(7),
            shards: (0..shards).map(shard).collect(),
            effects: (0..shards).map(|_| Effects::default()).collect(),
            directory: HashMap::new(),
            clients_max: usize::MAX,
            mail: BTreeMap::new(),
            mail_held: false,
            claims_held: false,
            claims: Vec::new(),
            judge: Box::new(|_| None),
            logins: Vec::new(),
            controls: Vec::new(),
            sockets: Vec::new(),
            log: Vec::new(),
            disk: Disk::default(),
            unix_at_zero: UNIX,
            settings,
            listeners,
        })))
    }

    /// Sets when shards hear of what they handed to the disk. Nothing is acknowledged before that.
    pub(crate) fn set_disk(&self, answers: Answers) {
        let mut world = self.0.borrow_mut();
        world.disk.answers = answers;
        if answers == Answers::AtOnce {
            for shard in &mut world.shards {
                shard.set_refuses_new_work(false);
            }
        }
        drop(world);
        self.settle();
    }

    /// Makes the oldest records that wait safe, and tells their shard. Whether there were any.
    pub(crate) fn commit(&self) -> bool {
        let committed = self.0.borrow_mut().commit();
        self.settle();
        committed
    }

    /// Changes the settings that the broker has when it starts the next time.
    pub(crate) fn reconfigure_at_start(&self, change: impl FnOnce(&mut Settings)) {
        let mut world = self.0.borrow_mut();
        let mut settings = Settings::clone(&world.settings);
        change(&mut settings);
        world.settings = Arc::new(settings);
    }

    /// The broker is killed, and comes back with so many shards after a while.
    pub(crate) fn crash(&self, shards: u16, seconds_away: u64) {
        let mut world = self.0.borrow_mut();
        world.crash(shards, seconds_away);
        drop(world);
        self.settle();
    }

    /// A broker whose one listener differs from the default.
    pub(crate) fn with_listener(shards: u16, change: impl FnOnce(&mut ListenerSettings)) -> Self {
        let mut listener = ListenerSettings::default();
        change(&mut listener);
        Self::with(shards, |settings| {
            settings.listeners = vec![Arc::new(listener)];
        })
    }

    /// Begins a client of version 5.0.
    pub(crate) fn client(&self, id: &str) -> Builder {
        Builder::new(self.clone(), id)
    }

    /// Opens a connection without a word.
    pub(crate) fn open(&self, shard: u16, listener: usize) -> usize {
        self.0.borrow_mut().open(shard, listener)
    }

    /// The client sends bytes, which the broker gets at once; its answers wait for the end of the turn.
    pub(crate) fn feed(&self, token: usize, bytes: &[u8]) {
        self.0.borrow_mut().feed(token, bytes);
    }

    /// Takes what the broker has sent.
    pub(crate) fn received(&self, token: usize) -> Vec<u8> {
        self.settle();
        std::mem::take(&mut self.0.borrow_mut().sockets[token].received)
    }

    /// Whether the broker has closed the connection.
    pub(crate) fn is_closed(&self, token: usize) -> bool {
        self.settle();
        self.0.borrow().sockets[token].closed
    }

    /// The connection's socket comes to its end.
    pub(crate) fn end(&self, token: usize, ended: &Ended) {
        let mut world = self.0.borrow_mut();
        let Some(conn) = world.sockets[token].conn.take() else {
            return;
        };
        let shard = world.sockets[token].shard;
        world.sockets[token].closed = true;
        world.call(shard, |shard, step| shard.closed(step, conn, ended));
        drop(world);
        self.settle();
    }

    /// Sets how many more bytes the socket takes; `usize::MAX` for a client that reads all.
    pub(crate) fn set_room(&self, token: usize, room: usize) {
        let mut world = self.0.borrow_mut();
        world.sockets[token].room = room;
        let shard = usize::from(world.sockets[token].shard);
        world.effects[shard].dirty.push(token);
        drop(world);
        self.settle();
    }

    /// Bytes that wait in the connection's outbox.
    pub(crate) fn outbox_len(&self, token: usize) -> usize {
        let world = self.0.borrow();
        let socket = &world.sockets[token];
        let shard = &world.shards[usize::from(socket.shard)];
        socket.conn.map_or(0, |conn| shard.output(conn).len())
    }

    /// The shard that a connection is at.
    pub(crate) fn shard_of(&self, token: usize) -> u16 {
        self.0.borrow().sockets[token].shard
    }

    /// Runs turns until nobody has anything left to do.
    pub(crate) fn settle(&self) {
        self.0.borrow_mut().settle();
    }

    /// One turn of one shard. Whether it asks for another.
    pub(crate) fn turn(&self, shard: u16) -> bool {
        let mut world = self.0.borrow_mut();
        world.turn(shard);
        world.shards[usize::from(shard)].has_work()
    }

    /// Lets time pass, in steps of a second at most unless it is long.
    pub(crate) fn advance(&self, seconds: u64) {
        let steps = seconds.clamp(1, 600);
        for step in 1..=steps {
            let part = seconds * 1000 * step / steps - seconds * 1000 * (step - 1) / steps;
            self.advance_millis(part);
        }
    }

    /// Lets time pass in one step.
    pub(crate) fn advance_millis(&self, millis: u64) {
        let mut world = self.0.borrow_mut();
        world.now = world.now.plus_millis(millis);
        for shard in 0..world.shard_count() {
            world.call(shard, |shard, step| shard.fire(step));
        }
        world.settle();
    }

    /// Keeps mail between shards back until [`Self::release_mail`].
    pub(crate) fn hold_mail(&self) {
        self.0.borrow_mut().mail_held = true;
    }

    /// Delivers all mail, and keeps none back from now on.
    pub(crate) fn release_mail(&self) {
        self.0.borrow_mut().mail_held = false;
        self.settle();
    }

    /// Delivers the mail that waits from one shard to another, and keeps back what that leads to.
    pub(crate) fn deliver_mail(&self, from: u16, to: u16) -> usize {
        let mut world = self.0.borrow_mut();
        let mail = world.mail.remove(&(from, to)).unwrap_or_default();
        let count = mail.len();
        for mail in mail {
            world.call(to, |shard, step| shard.mail(step, mail));
        }
        drop(world);
        self.settle();
        count
    }

    /// Leaves claims without an answer until [`Self::answer_claims`].
    pub(crate) fn hold_claims(&self) {
        self.0.borrow_mut().claims_held = true;
    }

    /// Answers all claims, and each at once from now on.
    pub(crate) fn answer_claims(&self) {
        let mut world = self.0.borrow_mut();
        world.claims_held = false;
        for (shard, conn, client_id) in std::mem::take(&mut world.claims) {
            world.answer_claim(shard, conn, &client_id);
            let waiting = world.token_of(shard, conn);
            if let Some(token) = waiting {
                world.feed(token, &[]);
            }
        }
        drop(world);
        self.settle();
    }

    /// Answers logins from now on, and those that wait.
    pub(crate) fn set_judge(&self, judge: impl FnMut(&Login) -> Option<LoginAnswer> + 'static) {
        let mut world = self.0.borrow_mut();
        world.judge = Box::new(judge);
        for shard in 0..world.shard_count() {
            world.answer_logins(shard);
        }
        for token in 0..world.sockets.len() {
            world.feed(token, &[]);
        }
        drop(world);
        self.settle();
    }

    /// Has `judge` look at every client.
    pub(crate) fn review(&self, mut judge: impl FnMut(&Reviewed<'_>) -> Review) {
        let mut world = self.0.borrow_mut();
        for shard in 0..world.shard_count() {
            world.call(shard, |shard, step| shard.review(step, &mut judge));
        }
        drop(world);
        self.settle();
    }

    /// Answers what a client asked of the broker itself.
    pub(crate) fn answer_control(&self, token: usize, topic: &str, answer: &[u8]) {
        let mut world = self.0.borrow_mut();
        let socket = &world.sockets[token];
        let (shard, conn) = (socket.shard, socket.conn.unwrap());
        world.call(shard, |shard, step| {
            shard.control_answered(step, conn, topic, answer);
        });
        drop(world);
        self.settle();
    }

    /// Limits how many client ids there may be.
    pub(crate) fn set_clients_max(&self, most: usize) {
        self.0.borrow_mut().clients_max = most;
    }

    /// How many client ids the directory knows.
    pub(crate) fn directory_len(&self) -> usize {
        self.0.borrow().directory.len()
    }

    /// New settings for all shards.
    pub(crate) fn reconfigure(&self, settings: Settings) {
        let mut world = self.0.borrow_mut();
        let settings = Arc::new(settings);
        for shard in 0..world.shard_count() {
            let settings = Arc::clone(&settings);
            world.call(shard, |shard, step| shard.reconfigure(step, settings));
        }
    }

    /// The broker stops.
    pub(crate) fn shut_down(&self) {
        let mut world = self.0.borrow_mut();
        for shard in 0..world.shard_count() {
            world.call(shard, |shard, step| shard.shut_down(step));
        }
        world.settle();
    }

    /// The counters of all shards together.
    pub(crate) fn stats(&self) -> Stats {
        let world = self.0.borrow();
        let mut total = Stats::default();
        for shard in &world.shards {
            total.add(&shard.stats());
        }
        total
    }

    /// Subscriptions and memberships of shared groups in the routing table.
    pub(crate) fn routing_counts(&self) -> (usize, usize) {
        let counts = self.0.borrow().tables.routing.counts();
        (counts.subscriptions, counts.shared_subscriptions)
    }

    /// How many retained messages there are.
    pub(crate) fn retained_len(&self) -> usize {
        self.0.borrow().tables.retained.len()
    }

    /// Takes the log's lines that contain `part`.
    pub(crate) fn log_lines(&self, part: &str) -> Vec<String> {
        let world = self.0.borrow();
        let lines = world.log.iter().map(|line| line.text.clone());
        lines.filter(|line| line.contains(part)).collect()
    }

    /// Asserts that nothing is left of clients that have gone: no session, no subscription, no queued
    /// message, no client id.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        self.settle();
        let stats = self.stats();
        assert_eq!(stats.sessions, 0, "sessions");
        assert_eq!(stats.connected, 0, "connected");
        assert_eq!(stats.sockets_open, 0, "sockets");
        assert_eq!(stats.queued_messages, 0, "queued messages");
        assert_eq!(stats.queued_bytes, 0, "queued bytes");
        assert_eq!(stats.outboxes, 0, "outboxes");
        assert_eq!(stats.outbox_bytes, 0, "outbox bytes");
        assert_eq!(self.routing_counts(), (0, 0), "routing entries");
        assert_eq!(self.directory_len(), 0, "client ids");
        let counts = self.0.borrow().disk.image().counts();
        assert_eq!(counts.sessions, 0, "sessions on the disk");
        assert_eq!(counts.messages, counts.retained, "messages on the disk");
        assert_eq!(counts.retained, self.retained_len(), "retained on the disk");
    }
}

impl World {
    fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap()
    }

    /// Calls a shard, then carries out what it asks of the directory, as a worker does.
    fn call<R>(&mut self, shard: u16, call: impl FnOnce(&mut Shard, &mut Step<'_>) -> R) -> R {
        let place = usize::from(shard);
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: self.now,
            tables: &mut tables,
            effects: &mut self.effects[place],
        };
        let result = call(&mut self.shards[place], &mut step);
        self.settle_directory(shard);
        result
    }

    fn settle_directory(&mut self, shard: u16) {
        let requests = std::mem::take(&mut self.effects[usize::from(shard)].directory);
        for request in requests {
            match request {
                DirectoryRequest::Release(client_id) => {
                    if self.directory.get(&client_id) == Some(&shard) {
                        self.directory.remove(&client_id);
                    }
                }
                DirectoryRequest::Claim(claim) if self.claims_held => {
                    self.claims.push((shard, claim.conn, claim.client_id));
                }
                DirectoryRequest::Claim(claim) => {
                    self.answer_claim(shard, claim.conn, &claim.client_id);
                }
            }
        }
    }

    fn answer_claim(&mut self, shard: u16, conn: ConnId, client_id: &Arc<str>) {
        let token = self.token_of(shard, conn);
        let home = self.directory.get(client_id).copied();
        let answer = match home {
            Some(home) if home != shard => {
                if let Some(token) = token {
                    self.move_to(home, token);
                }
                return;
            }
            Some(_) => ClaimAnswer::Here,
            None if self.directory.len() >= self.clients_max => ClaimAnswer::Full,
            None => {
                self.directory.insert(Arc::clone(client_id), shard);
                ClaimAnswer::Here
            }
        };
        if let Some(token) = token {
            self.sockets[token].claim_pending = false;
        }
        self.call(shard, |shard, step| {
            shard.claimed(step, conn, client_id, answer);
        });
    }

    fn move_to(&mut self, home: u16, token: usize) {
        let socket = &mut self.sockets[token];
        let from = usize::from(socket.shard);
        let conn = socket.conn.take().unwrap();
        socket.shard = home;
        socket.claim_pending = false;
        let origin = socket.origin.clone();
        let moved = self.shards[from].forget(conn);
        let conn = self.call(home, |shard, step| shard.open(step, token, origin));
        if let Some(identity) = moved.identity {
            self.shards[usize::from(home)].vouch(conn, *identity);
        }
        let socket = &mut self.sockets[token];
        socket.conn = Some(conn);
        socket.moved = moved.packet.into();
    }

    fn token_of(&self, shard: u16, conn: ConnId) -> Option<usize> {
        let is_it = |socket: &Socket| socket.shard == shard && socket.conn == Some(conn);
        self.sockets.iter().position(is_it)
    }

    fn open(&mut self, shard: u16, listener: usize) -> usize {
        let token = self.sockets.len();
        let origin = Origin {
            listener: Arc::clone(&self.listeners[listener]),
            address: Some(([127, 0, 0, 1], 40_000).into()),
        };
        let opened = origin.clone();
        let conn = self.call(shard, |shard, step| shard.open(step, token, opened));
        self.sockets.push(Socket {
            shard,
            conn: Some(conn),
            origin,
            unread: Vec::new(),
            received: Vec::new(),
            room: usize::MAX,
            closed: false,
            claim_pending: false,
            moved: Vec::new(),
        });
        token
    }

    fn feed(&mut self, token: usize, bytes: &[u8]) {
        self.sockets[token].unread.extend_from_slice(bytes);
        loop {
            let socket = &mut self.sockets[token];
            let Some(conn) = socket.conn else { return };
            if socket.claim_pending {
                return;
            }
            let unread = std::mem::take(&mut socket.unread);
            let shard = socket.shard;
            socket.claim_pending = true;
            let received = self.call(shard, |shard, step| shard.receive(step, conn, &unread));
            let socket = &mut self.sockets[token];
            assert!(received.consumed <= unread.len());
            let moved = std::mem::take(&mut socket.moved);
            socket.unread = [&*moved, &unread[received.consumed..]].concat();
            match received.next {
                Next::Claim => {}
                Next::Login => self.answer_logins(shard),
                Next::Closed => {
                    socket.unread.clear();
                    return;
                }
                _ => {
                    socket.claim_pending = false;
                    return;
                }
            }
        }
    }

    /// Lets the judge answer what waits for it.
    fn answer_logins(&mut self, shard: u16) {
        let new = std::mem::take(&mut self.effects[usize::from(shard)].logins);
        self.logins
            .extend(new.into_iter().map(|login| (shard, login)));
        let mut judge = std::mem::replace(&mut self.judge, Box::new(|_| None));
        for (shard, login) in std::mem::take(&mut self.logins) {
            let Some(answer) = judge(&login) else {
                self.logins.push((shard, login));
                continue;
            };
            let conn = login.conn;
            self.call(shard, |shard, step| shard.logged_in(step, conn, answer));
            if let Some(token) = self.token_of(shard, conn) {
                self.sockets[token].claim_pending = false;
            }
        }
        self.judge = judge;
    }

    fn commit(&mut self) -> bool {
        let Some((shard, records)) = self.disk.commit() else {
            return false;
        };
        let number = records.number();
        self.call(shard, |shard, step| shard.records_committed(step, number));
        true
    }

    /// Takes what a shard wants to be kept, before its mail leaves.
    fn hand_in(&mut self, shard: u16) {
        let place = usize::from(shard);
        if let Some(records) = self.shards[place].take_records(Records::default()) {
            self.disk.waiting.push_back((shard, records));
        }
        for load in std::mem::take(&mut self.effects[place].loads) {
            let messages = self.disk.load(&load.messages, self.unix_at_zero);
            let session = load.session;
            self.call(shard, |shard, step| shard.loaded(step, session, messages));
        }
        match self.disk.answers {
            Answers::AtOnce => while self.commit() {},
            Answers::Later => {}
            Answers::Full => {
                while let Some((shard, records)) = self.disk.waiting.pop_front() {
                    if records.has_new_work() {
                        self.call(shard, |shard, step| shard.records_refused(step, &records));
                    } else {
                        self.disk.waiting.push_front((shard, records));
                        self.commit();
                    }
                }
            }
        }
    }

    fn crash(&mut self, shards: u16, seconds_away: u64) {
        for socket in &mut self.sockets {
            socket.conn = None;
            socket.closed = true;
        }
        self.disk.waiting.clear();
        self.mail.clear();
        self.claims.clear();
        self.directory.clear();
        self.tables = SharedTables::new(8);
        // A new process counts from its own beginning.
        let unix = self.unix_at_zero + self.now.0 + seconds_away * 1000;
        self.now = START;
        self.unix_at_zero = unix - START.0;
        let settings = &self.settings;
        let shard = |id| Shard::new(id, shards, Arc::clone(settings), 43, START);
        self.shards = (0..shards).map(shard).collect();
        self.effects = (0..shards).map(|_| Effects::default()).collect();
        let mut restoration = Restoration::new(self.disk.image(), self.unix_at_zero);
        let disk = &self.disk;
        let read = &mut |place| disk.read(place);
        let keys: Vec<_> = restoration.sessions().map(|(key, _)| key).collect();
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: self.now,
            tables: &mut tables,
            effects: &mut self.effects[0],
        };
        for (key, home) in keys.into_iter().zip((0..shards).cycle()) {
            let shard = &mut self.shards[usize::from(home)];
            if let Some(client_id) = restoration.session(&mut step, shard, key, read) {
                self.directory.insert(client_id, home);
            }
        }
        for shard in &mut self.shards {
            restoration.groups(&mut step, shard, read);
            shard.persist(restoration.next_message(), self.unix_at_zero);
        }
        restoration.retained(&mut self.tables.retained, read);
        assert_eq!(restoration.lost(), 0);
        let renamed = restoration.renamed();
        self.disk.append(&renamed);
    }

    fn turn(&mut self, shard: u16) {
        self.call(shard, |shard, step| shard.end_turn(step));
        self.hand_in(shard);
        let place = usize::from(shard);
        loop {
            let dirty = std::mem::take(&mut self.effects[place].dirty);
            if dirty.is_empty() {
                break;
            }
            for token in dirty {
                self.flush(token);
            }
        }
        // A client that is in and sends AUTH does not wait.
        self.answer_logins(shard);
        let effects = &mut self.effects[place];
        self.log.append(&mut effects.log);
        self.controls.append(&mut effects.controls);
        for (to, mail) in effects.mail.drain(..) {
            assert_ne!(to, shard, "mail to oneself does not leave");
            self.mail.entry((shard, to)).or_default().push_back(mail);
        }
        for (token, rest) in effects.closed.drain(..) {
            let socket = &mut self.sockets[token];
            socket.conn = None;
            socket.closed = true;
            let count = rest.len().min(socket.room);
            socket.received.extend_from_slice(&rest[..count]);
        }
    }

    /// Writes to a socket as a worker does: an empty outbox is left alone.
    fn flush(&mut self, token: usize) {
        let socket = &mut self.sockets[token];
        let Some(conn) = socket.conn else { return };
        let shard = socket.shard;
        let output = self.shards[usize::from(shard)].output(conn);
        let count = output.len().min(socket.room);
        if count == 0 {
            return;
        }
        socket.received.extend_from_slice(&output[..count]);
        if socket.room != usize::MAX {
            socket.room -= count;
        }
        self.call(shard, |shard, step| shard.wrote(step, conn, count));
    }

    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut busy = false;
            for shard in 0..self.shard_count() {
                self.turn(shard);
                let place = usize::from(shard);
                busy |= self.shards[place].has_work() || !self.effects[place].dirty.is_empty();
            }
            if !self.mail_held {
                for ((_, to), mail) in std::mem::take(&mut self.mail) {
                    for mail in mail {
                        busy = true;
                        self.call(to, |shard, step| shard.mail(step, mail));
                    }
                }
            }
            if !busy {
                self.check_outboxes();
                return;
            }
        }
        panic!("the broker does not come to rest");
    }

    /// At rest, bytes wait only for sockets that take none.
    fn check_outboxes(&self) {
        for (token, socket) in self.sockets.iter().enumerate() {
            if let Some(conn) = socket.conn
                && socket.room > 0
            {
                let waiting = self.shards[usize::from(socket.shard)].output(conn).len();
                assert_eq!(waiting, 0, "nobody knows of connection {token}'s bytes");
            }
        }
    }
}
