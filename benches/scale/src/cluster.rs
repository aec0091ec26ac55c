//! Shards with all that stands around them in the server, but for sockets.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use midge_broker::{
    ClaimAnswer, ConnId, DirectoryRequest, Effects, ListenerSettings, Mail, Next, Origin, Settings,
    Shard, Step, Time,
};

use crate::directory::Directory;
use crate::keeper::Keeper;
use crate::tables::{LockCounts, SharedLocks, TurnTables};
use crate::{Error, packets};

/// What all cores share.
pub(crate) struct Shared {
    tables: SharedLocks,
    directory: Directory,
    boxes: Vec<MailBox>,
}

/// What waits for one core.
#[derive(Default)]
struct MailBox {
    mail: Mutex<Vec<Mail>>,
    /// How much, to be looked at without the lock.
    count: AtomicUsize,
}

/// One shard and its clients.
pub(crate) struct Core {
    id: u16,
    shared: Arc<Shared>,
    shard: Shard,
    effects: Effects,
    listener: Arc<ListenerSettings>,
    /// The time of the next turn.
    pub(crate) now: Time,
    /// By token.
    clients: Vec<Client>,
    /// Clients that have acknowledgements to send.
    owing: Vec<usize>,
    inbox: Vec<Mail>,
    outboxes: Vec<Vec<Mail>>,
    writing: Vec<usize>,
    /// Where its records go, if anything is kept.
    keeper: Option<Keeper>,
    pub(crate) counts: Counts,
}

#[derive(Default)]
struct Client {
    conn: Option<ConnId>,
    acks: Vec<u8>,
    /// It takes nothing that it is sent.
    is_stuck: bool,
}

/// What a core has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that its clients have received.
    pub(crate) delivered: u64,
    pub(crate) turns: u64,
    /// Connections that are over.
    pub(crate) closed: u64,
    pub(crate) tables: LockCounts,
    pub(crate) boxes: LockCounts,
    /// Items of mail sent.
    pub(crate) mail: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.turns += other.turns;
        self.closed += other.closed;
        self.tables += other.tables;
        self.boxes += other.boxes;
        self.mail += other.mail;
    }
}

/// All cores, to be turned one after the other by one thread, or by a thread each.
pub(crate) struct Cluster {
    pub(crate) cores: Vec<Core>,
}

impl Cluster {
    /// Empty shards; `clients` of each find their places made already, so that what this program needs for
    /// them is not taken for the broker's.
    pub(crate) fn new(shards: u16, clients: usize, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared {
            tables: SharedLocks::new(1),
            directory: Directory::new(),
            boxes: std::iter::repeat_with(MailBox::default)
                .take(usize::from(shards))
                .collect(),
        });
        let core = |id| Core {
            id,
            shared: Arc::clone(&shared),
            shard: Shard::new(id, shards, Arc::clone(&settings), 1, Time(0)),
            effects: Effects::default(),
            listener: Arc::new(ListenerSettings::default()),
            now: Time(0),
            clients: places(clients),
            owing: Vec::new(),
            inbox: Vec::new(),
            outboxes: std::iter::repeat_with(Vec::new)
                .take(usize::from(shards))
                .collect(),
            writing: Vec::new(),
            keeper: None,
            counts: Counts::default(),
        };
        Self {
            cores: (0..shards).map(core).collect(),
        }
    }

    /// The settings that everything here is measured with: nothing is dropped that a closed loop sends.
    pub(crate) fn settings() -> Settings {
        Settings {
            max_inflight_messages: 0,
            max_queued_messages: 0,
            connection_messages: false,
            ..Settings::default()
        }
    }

    /// Keeps from now on what a broker keeps. `keeper` makes a way to the log for each core;
    /// `unix_at_zero` is what the wall clock says at time zero, in milliseconds since 1970.
    pub(crate) fn keep(&mut self, unix_at_zero: u64, keeper: impl Fn() -> Keeper) {
        for core in &mut self.cores {
            core.shard.persist(1, unix_at_zero);
            core.keeper = Some(keeper());
        }
    }

    /// The core of this number.
    pub(crate) fn core(&mut self, number: usize) -> Result<&mut Core, Error> {
        let core = self.cores.get_mut(number);
        core.ok_or_else(|| "there is no such shard".into())
    }

    /// Sets the time of all cores.
    pub(crate) fn set_time(&mut self, now: Time) {
        for core in &mut self.cores {
            core.now = now;
        }
    }

    /// Turns every core without input, until none has anything left to do.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        while self.cores.iter().any(Core::has_work) {
            for core in &mut self.cores {
                core.turn([])?;
            }
        }
        Ok(())
    }

    /// What all cores have done.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for core in &self.cores {
            sum += core.counts;
        }
        sum
    }

    /// Lets the time pass to `end`, as far as deadlines ask for a turn; how many turns that were.
    pub(crate) fn pass_time(&mut self, end: Time) -> Result<u64, Error> {
        let before = self.counts().turns;
        loop {
            let next = self.cores.iter().filter_map(Core::next_deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.set_time(next);
            for core in &mut self.cores {
                if core.next_deadline().is_some_and(|due| due <= next) {
                    core.turn([])?;
                }
            }
            for core in &mut self.cores {
                while core.has_work() {
                    core.turn([])?;
                }
            }
        }
        self.set_time(end);
        Ok(self.counts().turns - before)
    }
}

impl Core {
    /// Takes a new connection and its first bytes, of which CONNECT is one packet.
    pub(crate) fn open(&mut self, token: usize, bytes: &[u8]) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let mut tables = shared.tables.turn();
        let origin = Origin {
            listener: Arc::clone(&self.listener),
            address: Some(([127, 0, 0, 1], 40_000).into()),
        };
        let (shard, mut step) = self.step(&mut tables);
        let conn = shard.open(&mut step, token, origin);
        match self.clients.get_mut(token) {
            Some(client) => client.conn = Some(conn),
            None => self.clients.push(Client {
                conn: Some(conn),
                ..Client::default()
            }),
        }
        if !bytes.is_empty() {
            self.feed(token, bytes, &mut tables)?;
        }
        self.counts.tables += tables.counts();
        Ok(())
    }

    /// The token of the next client that finds no place made for it.
    pub(crate) fn next_token(&self) -> usize {
        self.clients.len()
    }

    /// Lets a client take nothing any more of what it is sent.
    pub(crate) fn let_stick(&mut self, token: usize) {
        if let Some(client) = self.clients.get_mut(token) {
            client.is_stuck = true;
        }
    }

    /// A turn: mail, acknowledgements, what clients send, deadlines; and then what all that asks for.
    pub(crate) fn turn<'a>(
        &mut self,
        input: impl IntoIterator<Item = (usize, &'a [u8])>,
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let mut tables = shared.tables.turn();
        self.take_mail(&mut tables);
        let mut owing = std::mem::take(&mut self.owing);
        for token in owing.drain(..) {
            let acks = self
                .clients
                .get_mut(token)
                .map(|client| std::mem::take(&mut client.acks));
            let mut acks = acks.unwrap_or_default();
            self.feed(token, &acks, &mut tables)?;
            acks.clear();
            if let Some(client) = self.clients.get_mut(token) {
                client.acks = acks;
            }
        }
        self.owing = owing;
        for (token, bytes) in input {
            self.feed(token, bytes, &mut tables)?;
        }
        if self.next_deadline().is_some_and(|due| due <= self.now) {
            let (shard, mut step) = self.step(&mut tables);
            shard.fire(&mut step);
        }
        self.finish(&mut tables)?;
        self.counts.turns += 1;
        self.counts.tables += tables.counts();
        Ok(())
    }

    /// Whether a turn has something to do without anything from outside.
    pub(crate) fn has_work(&self) -> bool {
        let effects = &self.effects;
        let mailbox = self.shared.boxes.get(usize::from(self.id));
        !self.owing.is_empty()
            || !effects.dirty.is_empty()
            || !effects.closed.is_empty()
            || self.shard.has_work()
            || mailbox.is_some_and(|mailbox| mailbox.count.load(Relaxed) > 0)
    }

    /// When the next timer fires.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.shard.next_deadline()
    }

    fn step<'a>(&'a mut self, tables: &'a mut TurnTables<'_>) -> (&'a mut Shard, Step<'a>) {
        let step = Step {
            now: self.now,
            tables,
            effects: &mut self.effects,
        };
        (&mut self.shard, step)
    }

    fn feed(
        &mut self,
        token: usize,
        bytes: &[u8],
        tables: &mut TurnTables<'_>,
    ) -> Result<(), Error> {
        let client = self.clients.get(token).and_then(|client| client.conn);
        let conn = client.ok_or("a client that is not there sends something")?;
        let mut rest = bytes;
        loop {
            let (shard, mut step) = self.step(tables);
            let received = shard.receive(&mut step, conn, rest);
            rest = rest.get(received.consumed..).unwrap_or_default();
            self.ask_directory(tables);
            match received.next {
                Next::Claim => {}
                Next::Login => return Err("nobody has to log in here".into()),
                Next::Bytes(_) if rest.is_empty() => return Ok(()),
                Next::Closed if rest.is_empty() => return Ok(()),
                Next::Bytes(_) | Next::Closed => {
                    return Err(format!("the broker left {} bytes", rest.len()).into());
                }
            }
        }
    }

    fn ask_directory(&mut self, tables: &mut TurnTables<'_>) {
        if self.effects.directory.is_empty() {
            return;
        }
        let mut requests = std::mem::take(&mut self.effects.directory);
        for request in requests.drain(..) {
            match request {
                DirectoryRequest::Release(id) => self.shared.directory.release(&id, self.id),
                DirectoryRequest::Claim(claim) => {
                    let answer = if self.shared.directory.claim(&claim.client_id, self.id) {
                        ClaimAnswer::Here
                    } else {
                        ClaimAnswer::Full
                    };
                    let (shard, mut step) = self.step(tables);
                    shard.claimed(&mut step, claim.conn, &claim.client_id, answer);
                }
            }
        }
        if self.effects.directory.is_empty() {
            self.effects.directory = requests;
        }
    }

    fn take_mail(&mut self, tables: &mut TurnTables<'_>) {
        let Some(mailbox) = self.shared.boxes.get(usize::from(self.id)) else {
            return;
        };
        if mailbox.count.load(Relaxed) == 0 {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut guard = lock(&mailbox.mail, &mut self.counts.boxes);
        std::mem::swap(&mut *guard, &mut inbox);
        mailbox.count.store(0, Relaxed);
        drop(guard);
        for mail in inbox.drain(..) {
            let (shard, mut step) = self.step(tables);
            shard.mail(&mut step, mail);
        }
        self.inbox = inbox;
    }

    /// Ends what this turn has gathered and carries out what it asks for, in the server's order.
    fn finish(&mut self, tables: &mut TurnTables<'_>) -> Result<(), Error> {
        let (shard, mut step) = self.step(tables);
        shard.end_turn(&mut step);
        self.ask_directory(tables);
        self.commit(tables)?;
        self.send_mail();
        for _ in 0..PASSES_MAX {
            if self.effects.dirty.is_empty() {
                break;
            }
            self.write(tables)?;
        }
        self.ask_directory(tables);
        self.commit(tables)?;
        self.send_mail();
        for (token, rest) in self.effects.closed.drain(..) {
            self.counts.closed += 1;
            if let Some(client) = self.clients.get_mut(token) {
                self.counts.delivered += packets::take(&rest, &mut client.acks)?;
                *client = Client::default();
            }
        }
        self.effects.log.clear();
        Ok(())
    }

    /// Commits what is to be kept, before the mail that others may answer with records of their own.
    fn commit(&mut self, tables: &mut TurnTables<'_>) -> Result<(), Error> {
        let Some(keeper) = &mut self.keeper else {
            return Ok(());
        };
        let Some(number) = keeper.commit(&mut self.shard)? else {
            return Ok(());
        };
        let (shard, mut step) = self.step(tables);
        shard.records_committed(&mut step, number);
        Ok(())
    }

    fn send_mail(&mut self) {
        if self.effects.mail.is_empty() {
            return;
        }
        self.counts.mail += self.effects.mail.len() as u64;
        for (shard, mail) in self.effects.mail.drain(..) {
            if let Some(outbox) = self.outboxes.get_mut(usize::from(shard)) {
                outbox.push(mail);
            }
        }
        for (outbox, mailbox) in self.outboxes.iter_mut().zip(&self.shared.boxes) {
            if outbox.is_empty() {
                continue;
            }
            let mut guard = lock(&mailbox.mail, &mut self.counts.boxes);
            guard.append(outbox);
            mailbox.count.store(guard.len(), Relaxed);
        }
    }

    /// Lets each client that has output take it.
    fn write(&mut self, tables: &mut TurnTables<'_>) -> Result<(), Error> {
        let mut writing = std::mem::take(&mut self.writing);
        std::mem::swap(&mut writing, &mut self.effects.dirty);
        for token in writing.drain(..) {
            let Some(client) = self.clients.get_mut(token) else {
                continue;
            };
            let Some(conn) = client.conn else { continue };
            if client.is_stuck {
                continue;
            }
            let output = self.shard.output(conn);
            let owed = client.acks.len();
            self.counts.delivered += packets::take(output, &mut client.acks)?;
            let count = output.len();
            if owed == 0 && !client.acks.is_empty() {
                self.owing.push(token);
            }
            let (shard, mut step) = self.step(tables);
            shard.wrote(&mut step, conn, count);
        }
        self.writing = writing;
        Ok(())
    }
}

/// Places for so many clients, and room for a few more.
fn places(clients: usize) -> Vec<Client> {
    let mut places = Vec::with_capacity(clients + 16);
    places.resize_with(clients, Client::default);
    places
}

fn lock<'a, T>(mutex: &'a Mutex<T>, counts: &mut LockCounts) -> std::sync::MutexGuard<'a, T> {
    let first = mutex.try_lock();
    counts.add(matches!(first, Err(TryLockError::WouldBlock)));
    match first {
        Ok(guard) => guard,
        Err(_) => mutex.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Writes per connection and turn, as in the server.
const PASSES_MAX: usize = 4;
