//! One core's thread: it reads and writes the sockets of its connections and turns its shard.
//!
//! A turn takes all that is ready (mail, sockets, deadlines), steps the shard, and then finishes:
//! mail to the other workers leaves first, then one write per connection that has output. System
//! calls and wake-ups are per turn and connection, never per message.

mod arrive;
mod core;
mod layered;
mod login;
mod read;
mod sockets;
mod throttle;
mod write;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midge_access::address_rates::AddressRates;
use midge_broker::{Ended, Limits, MessageView, Settings, Shard, Time};
use midge_codec::QoS;
use midge_reactor::{Clock, Mailbox, Poller, Ready};

use crate::access::Guard;
use crate::directory::Directory;
use crate::log::Logger;
use crate::mail::{Post, WorkerMail};
use crate::persistence::{Keeper, unix_at_zero};
use crate::tables::{SharedLocks, TurnTables};

use self::core::Core;
pub(crate) use layered::Layered;
use layered::Wrapper;
use read::Input;
use sockets::Sockets;
use throttle::Throttled;
use write::Closing;

/// Sockets that one wait reports.
pub(crate) const EVENTS_MAX: usize = 1024;

/// How long a worker that ends tries to send what waits for slow clients.
const STOP_PATIENCE_MS: u64 = 2_000;

/// How often the wall clock is looked at: it may be set.
const CLOCK_LOOK_MS: u64 = 1_000;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) tables: SharedLocks,
    pub(crate) directory: Directory,
    /// Judges logins and requests to `$CONTROL/…`.
    pub(crate) guard: Guard,
    /// Connections of each worker, those on their way to it included.
    pub(crate) loads: Vec<AtomicUsize>,
    /// Whether a listener has rates.
    pub(crate) has_rates: AtomicBool,
    /// How often limits were reached.
    pub(crate) limits: Arc<Limits>,
    /// How fast addresses may connect.
    pub(crate) address_rates: Mutex<AddressRates>,
}

impl Shared {
    /// What `workers` workers share, with room for so many clients.
    pub(crate) fn new(guard: Guard, workers: u16, seed: u64, clients_max: Option<usize>) -> Self {
        Self {
            tables: SharedLocks::new(seed),
            directory: Directory::new(clients_max),
            limits: guard.limits(),
            guard,
            loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            has_rates: AtomicBool::new(false),
            address_rates: Mutex::default(),
        }
    }
}

/// One core's sockets and shard.
pub(crate) struct Worker {
    id: u16,
    shared: Arc<Shared>,
    clock: Clock,
    logger: Logger,
    poller: Poller,
    mailbox: Mailbox<WorkerMail>,
    post: Post,
    core: Core,
    sockets: Sockets,
    input: Input,
    wrapper: Wrapper,
    closing: Closing,
    throttled: Throttled,
    /// What [`Self::finish`] writes next; kept for its memory.
    writing: Vec<usize>,
    /// The way to the store, if anything is kept.
    keeper: Option<Keeper>,
    /// When the wall clock was last looked at.
    clock_looked_at: Time,
    /// Another worker's mailbox is full, or the disk is behind: nothing more is read until it has room.
    paused: bool,
    /// When to end, sent or not.
    stops_at: Option<Time>,
}

/// What ends a worker's sleep beside its sockets.
struct Wakes<'a> {
    mailbox: &'a Mailbox<WorkerMail>,
    keeper: Option<&'a Keeper>,
    /// Set while the worker waits for room at others.
    post: Option<&'a Post>,
}

impl Wakes<'_> {
    fn is_there(&self) -> bool {
        !self.mailbox.is_empty()
            || self.keeper.is_some_and(Keeper::is_told)
            || self.post.is_some_and(Post::is_free)
    }
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) id: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) logger: Logger,
    pub(crate) poller: Poller,
    pub(crate) mailbox: Mailbox<WorkerMail>,
    pub(crate) post: Post,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shard: Shard,
    pub(crate) keeper: Option<Keeper>,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let now = Time(parts.clock.now_ms());
        Self {
            id: parts.id,
            shared: parts.shared,
            clock: parts.clock,
            logger: parts.logger,
            poller: parts.poller,
            mailbox: parts.mailbox,
            post: parts.post,
            core: Core::new(parts.shard, &parts.settings, now),
            sockets: Sockets::default(),
            input: Input::new(),
            wrapper: Wrapper::default(),
            closing: Closing::default(),
            throttled: Throttled::default(),
            writing: Vec::new(),
            keeper: parts.keeper,
            clock_looked_at: now,
            paused: false,
            stops_at: None,
        }
    }

    pub(crate) const fn id(&self) -> u16 {
        self.id
    }

    pub(crate) const fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Sleeps until this worker has something to do, or `pending` says that somebody else has.
    ///
    /// # Errors
    /// Those of the poller, after which the worker cannot go on.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
        pending: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let wakes = Wakes {
            mailbox: &self.mailbox,
            keeper: self.keeper.as_ref(),
            post: self.paused.then_some(&self.post),
        };
        self.poller
            .wait(timeout, ready, || wakes.is_there() || pending())
    }

    /// Whether there is something to do that a wake-up tells of.
    pub(crate) fn is_woken(&self) -> bool {
        let wakes = Wakes {
            mailbox: &self.mailbox,
            keeper: self.keeper.as_ref(),
            post: self.paused.then_some(&self.post),
        };
        wakes.is_there()
    }

    /// Does all that is ready.
    pub(crate) fn turn_at(&mut self, now: Time, ready: &[Ready], mail: &mut Vec<WorkerMail>) {
        self.core.now = now;
        let shared = Arc::clone(&self.shared);
        let mut tables = shared.tables.turn();
        self.turn(ready, mail, &mut tables);
    }

    fn turn(&mut self, ready: &[Ready], mail: &mut Vec<WorkerMail>, tables: &mut TurnTables<'_>) {
        // A producer that could not be woken looks again by itself when it next runs.
        let _ = self.mailbox.take(mail);
        self.take_answers(tables);
        self.settle_directory(tables);
        let mut output_bytes = 0;
        for mail in mail.drain(..) {
            output_bytes += mail.output_bytes();
            self.take_mail(mail, tables);
            if output_bytes >= self.core.new_output_bytes_max {
                self.finish(tables);
                output_bytes = 0;
            }
        }
        for event in ready {
            self.note_ready(event);
        }
        self.paused =
            !self.post.is_free() || self.keeper.as_ref().is_some_and(|keeper| keeper.is_full());
        self.read_throttled(tables);
        self.read_ready(tables);
        self.settle_logins(tables);
        self.core.fire(tables);
        self.settle_directory(tables);
        self.give_up_lingering();
        self.finish(tables);
    }

    /// Lets the shard know what the store says.
    fn take_answers(&mut self, tables: &mut TurnTables<'_>) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let (shard, mut step) = self.core.step(tables);
        if self.clock_looked_at.plus_millis(CLOCK_LOOK_MS) <= step.now {
            self.clock_looked_at = step.now;
            shard.set_wall_clock(unix_at_zero(self.clock));
        }
        keeper.take_answers(shard, &mut step);
    }

    fn take_mail(&mut self, mail: WorkerMail, tables: &mut TurnTables<'_>) {
        match mail {
            WorkerMail::Shard(mail) => {
                let (shard, mut step) = self.core.step(tables);
                shard.mail(&mut step, mail);
            }
            WorkerMail::Arrival(arrival) => self.arrive(*arrival, tables),
            WorkerMail::Loaded { session, messages } => {
                let (shard, mut step) = self.core.step(tables);
                shard.loaded(&mut step, session, messages);
            }
            WorkerMail::Settings(settings) => {
                self.core.reconfigure(settings, tables);
            }
            WorkerMail::LoggedIn { conn, answer } => self.logged_in(conn, answer, tables),
            WorkerMail::ControlAnswered {
                conn,
                topic,
                answer,
            } => {
                let (shard, mut step) = self.core.step(tables);
                shard.control_answered(&mut step, conn, &topic, &answer);
            }
            WorkerMail::Review(reviewer) => {
                let (shard, mut step) = self.core.step(tables);
                shard.review(&mut step, &mut |reviewed| reviewer(reviewed));
            }
            WorkerMail::Expel(listener) => self.expel(listener, tables),
            WorkerMail::LogLine { topic, line } => {
                self.publish_own(topic, &line, false, tables);
            }
            WorkerMail::SysValue { topic, value } => {
                self.publish_own(&topic, &value, true, tables);
            }
            WorkerMail::ShutDown => {
                let deadline = self.core.now.plus_millis(STOP_PATIENCE_MS);
                self.stops_at = Some(deadline);
                let (shard, mut step) = self.core.step(tables);
                shard.shut_down(&mut step);
            }
        }
        self.settle_directory(tables);
    }

    /// Ends the connections of a listener whose clients may not stay after a reload.
    fn expel(&mut self, listener: u64, tables: &mut TurnTables<'_>) {
        let ended = Ended::Error("no longer allowed after a reload".to_owned());
        for conn in self.sockets.of_listener(listener) {
            let (shard, mut step) = self.core.step(tables);
            shard.closed(&mut step, conn, &ended);
        }
    }

    /// Publishes something of the broker's own.
    fn publish_own(&mut self, topic: &str, text: &str, retain: bool, tables: &mut TurnTables<'_>) {
        let (shard, mut step) = self.core.step(tables);
        let message = MessageView {
            topic,
            payload: text.as_bytes(),
            properties: &[],
            qos: QoS::AtMostOnce,
            retain,
            expires: None,
            publisher: None,
            id: 0,
        };
        shard.publish(&mut step, &message);
    }

    /// Until when to sleep at most; the beginning of time when there is work already.
    pub(crate) fn sleeps_until(&self) -> Option<Time> {
        let readable = !self.paused && self.input.has_readable();
        if readable || self.core.has_work() {
            return Some(Time(0));
        }
        let deadlines = [
            self.core.shard.next_deadline(),
            self.closing.next_deadline(),
            self.throttled.next_deadline().filter(|_| !self.paused),
            self.stops_at,
            self.keeper.as_ref().and_then(Keeper::next_deadline),
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stops_at
            .is_some_and(|deadline| self.sockets.is_empty() || deadline <= self.core.now)
    }

    fn count_load(&self, worker: u16) {
        if let Some(load) = self.shared.loads.get(usize::from(worker)) {
            load.fetch_add(1, Relaxed);
        }
    }

    fn discount_load(&self) {
        if let Some(load) = self.shared.loads.get(usize::from(self.id)) {
            load.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
