//! The door: which gate a login comes to, and the threads that check passwords.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use midge_access::Client;
use midge_access::dynsec::{
    BROKER_TOPIC, BanBook, BrokerFacts, CONTROL_TOPIC, Connections, Effects, Who as Account,
    broker_control,
};
use midge_access::lockout::{self, Subject};
use midge_access::tokens::HashKey;
use midge_broker::{ControlRequest, Limits, Login, LoginAnswer, Review, Reviewed};
use midge_codec::ReasonCode;
use midge_reactor::{Clock, Sender as ToMailbox, cores, spawn};

use super::attempt::Who;
use super::check::VerifiedLogins;
use super::dynsec::{Connection, Dynsec};
use super::failures::{Failures, Held};
use super::files::ReadAhead;
use super::gate::{Gate, Judged, Means, Open, Pending};
use super::rights::login_rules;
use super::scram::Dialogues;
use super::tokens::TokenLogin;
use crate::config::ListenerSettings;
use crate::crew::secret;
use crate::log::{Kind, Logger};
use crate::mail::{Reviewer, WorkerMail};

/// Logins and requests that may wait. Who comes when there are more is told to try again.
pub(super) const JOBS_MAX: usize = 4_096;

/// How long workers have to tell who is connected.
const ASK_TIME: Duration = Duration::from_secs(2);

/// How often the files are looked at for changes.
const LOOK: Duration = Duration::from_secs(2);

/// Judges all logins. Shared by the workers, the control thread and the threads that check passwords.
pub(crate) struct Guard(pub(super) Arc<Inner>);

pub(super) struct Inner {
    gates: RwLock<Gates>,
    pub(super) jobs: Sender<Job>,
    waiting: Receiver<Job>,
    /// Milliseconds that a login may wait: whoever it is for has gone then, and a queue of such logins must
    /// not keep out those who come.
    patience_ms: AtomicU64,
    /// The broker ends; nobody waits for an answer any more.
    ends: AtomicBool,
    workers: OnceLock<Vec<ToMailbox<WorkerMail>>>,
    /// Wakes the thread that keeps the times.
    pub(super) wake: Sender<Wake>,
    wakes: Receiver<Wake>,
    facts: RwLock<Option<BrokerFacts>>,
    verified: Arc<VerifiedLogins>,
    pub(super) failures: Failures,
    pub(super) held: Held,
    pub(super) dialogues: Dialogues,
    pub(super) clock: Clock,
    pub(super) logger: Logger,
    /// Secret, so that which names do not exist cannot be told by what their check costs.
    decoys: [u8; 32],
    /// Under which answers about tokens and passwords are kept.
    hash_key: HashKey,
}

#[derive(Default)]
struct Gates {
    by_listener: HashMap<u64, Arc<Gate>>,
    dynsec: Vec<Arc<Dynsec>>,
}

/// What is done on a thread of its own.
pub(super) enum Job {
    Check {
        who: Who,
        pending: Pending,
        /// When it began to wait.
        since: Duration,
    },
    /// Its keys have been fetched.
    Again(Box<TokenLogin>),
    Control {
        worker: u16,
        request: ControlRequest,
    },
    /// The broker ends.
    End,
}

/// What the thread that keeps the times is told.
pub(super) enum Wake {
    /// Something may be due sooner than it thinks.
    Look,
    /// The broker ends.
    End,
}

/// The threads that check passwords, and the one that keeps the times. Dropping them ends them.
pub(crate) struct Threads {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.inner.ends.store(true, Relaxed);
        for _ in &self.threads {
            let _ = self.inner.jobs.send(Job::End);
        }
        let _ = self.inner.wake.send(Wake::End);
        for thread in self.threads.drain(..) {
            // A panic has been reported.
            let _ = thread.join();
        }
    }
}

impl Guard {
    /// A guard of no listener yet.
    pub(crate) fn new(logger: Logger, clock: Clock, decoys: [u8; 32]) -> Self {
        let (jobs, waiting) = bounded(JOBS_MAX);
        let (wake, wakes) = bounded(4);
        Self(Arc::new(Inner {
            gates: RwLock::default(),
            jobs,
            waiting,
            patience_ms: AtomicU64::new(u64::MAX),
            ends: AtomicBool::new(false),
            workers: OnceLock::new(),
            wake,
            wakes,
            facts: RwLock::default(),
            verified: Arc::new(VerifiedLogins::new()),
            failures: Failures::new(),
            held: Held::default(),
            dialogues: Dialogues::default(),
            clock,
            logger,
            decoys,
            hash_key: HashKey::new(&secret()),
        }))
    }

    /// Starts the threads; answers go to `workers`.
    ///
    /// # Errors
    /// Those of the system for starting threads.
    pub(crate) fn start(&self, workers: Vec<ToMailbox<WorkerMail>>) -> std::io::Result<Threads> {
        let inner = &self.0;
        // It is started once.
        let _ = inner.workers.set(workers);
        let mut started = Threads {
            inner: Arc::clone(inner),
            threads: Vec::new(),
        };
        for number in 0..(cores() / 2).max(1) {
            let inner = Arc::clone(inner);
            let body = move || inner.work();
            started
                .threads
                .push(spawn(&format!("login {number}"), body)?);
        }
        let keeper = Arc::clone(inner);
        let body = move || keeper.keep_times();
        started.threads.push(spawn("login times", body)?);
        Ok(started)
    }

    /// Takes the listeners of a configuration, by number. With a file that cannot be used nothing
    /// changes.
    ///
    /// # Errors
    /// What is to be told the operator.
    pub(crate) fn set_listeners(
        &self,
        listeners: &[(u64, ListenerSettings)],
    ) -> Result<(), String> {
        self.set_first_listeners(listeners, &ReadAhead::default())
    }

    /// The same at the start, when `ahead` was read with other rights.
    ///
    /// # Errors
    /// What is to be told the operator.
    pub(crate) fn set_first_listeners(
        &self,
        listeners: &[(u64, ListenerSettings)],
        ahead: &ReadAhead,
    ) -> Result<(), String> {
        let inner = &self.0;
        let mut open = inner.open();
        for dynsec in &open.dynsec {
            dynsec.reread(&inner.logger)?;
        }
        let mut gates = Gates::default();
        for (number, settings) in listeners {
            let gate = Gate::open(settings, &inner.means(ahead), &mut open)?;
            gates.by_listener.insert(*number, Arc::new(gate));
        }
        let in_use = |dynsec: &Arc<Dynsec>| {
            let mut gates = gates.by_listener.values();
            gates.any(|gate| {
                gate.dynsec
                    .as_ref()
                    .is_some_and(|used| Arc::ptr_eq(used, dynsec))
            })
        };
        let dynsec = open.dynsec.iter().filter(|known| in_use(known)).cloned();
        gates.dynsec = dynsec.collect();
        *self.0.gates.write().unwrap_or_else(PoisonError::into_inner) = gates;
        Ok(())
    }

    /// What requests about the broker are told; nothing if they are not answered.
    pub(crate) fn set_facts(&self, facts: Option<BrokerFacts>) {
        *self.0.facts.write().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// Where it is counted how often limits are reached.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.0.failures.limits)
    }

    /// Sets what is banned when.
    pub(crate) fn set_lockout(&self, settings: lockout::Settings) {
        self.0.failures.set(settings);
    }

    /// Sets how long a login may wait to be checked.
    pub(crate) fn set_patience(&self, patience: Duration) {
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.0.patience_ms.store(millis, Relaxed);
    }

    /// Sets how long a password that was right is not hashed again.
    pub(crate) fn set_cache(&self, lifetime: Duration) {
        self.0.verified.lock().set_lifetime(lifetime);
    }

    /// Tells the log who is banned.
    pub(crate) fn log_bans(&self) {
        self.0.failures.log_bans(self.0.now(), &self.0.logger);
    }

    /// The topics below `$CONTROL/` that are answered.
    pub(crate) fn controls(&self) -> Vec<Box<str>> {
        let gates = self.0.gates();
        let mut topics = Vec::new();
        if !gates.dynsec.is_empty() {
            topics.push(CONTROL_TOPIC.into());
        }
        let facts = self.0.facts.read().unwrap_or_else(PoisonError::into_inner);
        if facts.is_some() {
            topics.push(BROKER_TOPIC.into());
        }
        topics
    }

    /// Judges a login; nothing if the answer comes by mail.
    pub(crate) fn judge(&self, worker: u16, login: Login) -> Option<LoginAnswer> {
        let inner = &self.0;
        let mut who = Who::of(worker, &login);
        match inner.begin(&mut who, login.says, &login.shown) {
            Judged::At(verdict) => inner.settle(&who, verdict),
            Judged::Checks(pending) => inner.queue(who, pending),
        }
    }

    /// Carries out a request to the broker itself; the answer comes by mail.
    pub(crate) fn control(&self, worker: u16, request: ControlRequest) {
        let conn = request.conn;
        let topic = request.topic.clone();
        if self
            .0
            .jobs
            .try_send(Job::Control { worker, request })
            .is_err()
        {
            let answer = br#"{"error":"the broker is busy, try again"}"#;
            self.0.mail(
                worker,
                WorkerMail::ControlAnswered {
                    conn,
                    topic,
                    answer: (*answer).into(),
                },
            );
        }
    }

    /// Has everybody's rights looked at again, after [`Self::set_listeners`].
    pub(crate) fn review_all(&self) {
        self.0.review_all();
    }
}

impl Inner {
    fn gates(&self) -> std::sync::RwLockReadGuard<'_, Gates> {
        self.gates.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the gates have in common.
    fn open(&self) -> Open {
        let gates = self.gates();
        let all = || gates.by_listener.values();
        Open {
            dynsec: gates.dynsec.clone(),
            tokens: all().filter_map(|gate| gate.tokens.clone()).collect(),
            backends: all().filter_map(|gate| gate.http.clone()).collect(),
        }
    }

    fn means<'a>(&'a self, ahead: &'a ReadAhead) -> Means<'a> {
        Means {
            ahead,
            decoys: self.decoys,
            hash_key: self.hash_key.clone(),
            verified: &self.verified,
            now: self.now(),
            logger: &self.logger,
        }
    }

    pub(super) fn gate(&self, listener: u64) -> Option<Arc<Gate>> {
        self.gates().by_listener.get(&listener).cloned()
    }

    pub(super) fn mail(&self, worker: u16, mail: WorkerMail) {
        let workers = self.workers.get();
        let sender = workers.and_then(|workers| workers.get(usize::from(worker)));
        if let Some(sender) = sender {
            // A wake-up that fails has nevertheless delivered.
            let _ = sender.push_batch(&mut vec![mail], 0);
        }
    }

    fn is_late(&self, since: Duration) -> bool {
        let patience = Duration::from_millis(self.patience_ms.load(Relaxed));
        self.now().saturating_sub(since) >= patience
    }

    /// Does what waits.
    fn work(self: &Arc<Self>) {
        for job in &self.waiting {
            if self.ends.load(Relaxed) {
                return;
            }
            match job {
                Job::End => return,
                Job::Check { who, since, .. } if self.is_late(since) => {
                    let why = "its login has waited for too long".to_owned();
                    let answer = LoginAnswer::Refused(ReasonCode::SERVER_BUSY, why);
                    let conn = who.conn;
                    self.mail(who.worker, WorkerMail::LoggedIn { conn, answer });
                }
                Job::Check { who, pending, .. } => self.check(who, pending),
                Job::Again(login) => self.judge_token(login),
                Job::Control { worker, request } => self.control(worker, &request),
            }
        }
    }

    /// Tells the answers that were held back, looks at the files, and forgets what is over.
    fn keep_times(self: &Arc<Self>) {
        let mut look_at = self.now();
        loop {
            let now = self.now();
            for held in self.held.due(now) {
                let (conn, answer) = (held.conn, held.answer);
                self.mail(held.worker, WorkerMail::LoggedIn { conn, answer });
            }
            if now >= look_at {
                self.look_at_files();
                self.dialogues.sweep(now);
                for tokens in self.open().tokens {
                    self.fetch_keys(&tokens);
                    self.judge_waiting(&tokens, false);
                }
                look_at = self.now().saturating_add(LOOK);
            }
            let next = self.held.next().map_or(look_at, |held| held.min(look_at));
            let wait = next.saturating_sub(self.now()) + Duration::from_millis(1);
            match self.wakes.recv_timeout(wait) {
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn control(&self, worker: u16, request: &ControlRequest) {
        let gate = self.gate(request.listener.number);
        let dynsec = gate.and_then(|gate| gate.dynsec.clone());
        let answer = match dynsec {
            Some(dynsec) if *request.topic == *CONTROL_TOPIC => {
                let connected = |whose| self.connections(whose, request.listener.number);
                let carried = dynsec.control(request, &self.logger, connected);
                self.apply(&dynsec, carried.effects);
                carried.response
            }
            _ if *request.topic == *BROKER_TOPIC => self.broker_control(request),
            _ => r#"{"error":"endpoint not available"}"#.to_owned(),
        };
        self.mail(
            worker,
            WorkerMail::ControlAnswered {
                conn: request.conn,
                topic: request.topic.clone(),
                answer: answer.into_bytes().into(),
            },
        );
    }

    fn broker_control(&self, request: &ControlRequest) -> String {
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(facts) = facts.clone() else {
            return r#"{"error":"endpoint not available"}"#.to_owned();
        };
        let admin = Client {
            id: &request.client_id,
            user_name: request.user_name.as_deref(),
        };
        let mut book = self.failures.book(self.now());
        // Where nobody has rules, nobody was asked whether the client may do that.
        let bans = request.has_rights.then_some(&mut book as &mut dyn BanBook);
        let outcome = broker_control(&request.payload, admin, &facts, bans);
        let banned = std::mem::take(&mut book.banned);
        drop(book);
        for line in outcome.log {
            self.logger.log(Kind::Notice, line);
        }
        if !banned.is_empty() {
            self.review(Arc::new(move |client: &Reviewed<'_>| {
                let address = client
                    .address
                    .map(|address| Subject::of_address(address.ip()));
                let is_banned = |subject: &Subject| match subject {
                    Subject::User(name) => client.user_name == Some(&**name),
                    Subject::Address(_) => address.as_ref() == Some(subject),
                };
                if banned.iter().any(is_banned) {
                    let why = "an administrator has banned the client".to_owned();
                    return Review::Goes(ReasonCode::BANNED, why);
                }
                Review::Stays
            }));
        }
        outcome.response
    }

    /// The connected clients of a listener's users. All workers are asked; one that does not answer soon
    /// is left out.
    fn connections(&self, whose: Connections, listener: u64) -> Vec<Connection> {
        if whose == Connections::None {
            return Vec::new();
        }
        let dynsec = self.gate(listener).and_then(|gate| gate.dynsec.clone());
        let gates = self.gates().by_listener.clone();
        let (tell, told) = unbounded();
        let reviewer = move |client: &Reviewed<'_>| {
            let is_asked_for = client.user_name.is_some_and(|name| match &whose {
                Connections::None => false,
                Connections::Of(names) => names.contains(name),
                Connections::All => true,
            });
            let gate = gates.get(&client.listener.number);
            let used = gate.and_then(|gate| gate.dynsec.as_ref());
            let is_here = used
                .zip(dynsec.as_ref())
                .is_some_and(|(a, b)| Arc::ptr_eq(a, b));
            if let (true, true, Some(user_name)) = (is_asked_for, is_here, client.user_name) {
                let address = client.address.map(|address| address.ip().to_canonical());
                // Who asked has stopped waiting.
                let _ = tell.send(Connection {
                    user_name: user_name.into(),
                    client_id: client.client_id.into(),
                    address: address.map_or_else(String::new, |address| address.to_string()),
                });
            }
            Review::Stays
        };
        self.review(Arc::new(reviewer));
        let deadline = std::time::Instant::now() + ASK_TIME;
        let mut connections = Vec::new();
        // It ends when all workers have let go of the question.
        while let Ok(connection) = told.recv_deadline(deadline) {
            connections.push(connection);
        }
        connections
    }

    /// Lets a change of dynamic security reach who is connected.
    fn apply(&self, changed: &Arc<Dynsec>, effects: Effects) {
        if effects.is_empty() {
            return;
        }
        let gates: HashMap<u64, Arc<Gate>> = self
            .gates()
            .by_listener
            .iter()
            .filter(|(_, gate)| {
                let used = gate.dynsec.as_ref();
                used.is_some_and(|used| Arc::ptr_eq(used, changed))
            })
            .map(|(number, gate)| (*number, Arc::clone(gate)))
            .collect();
        self.review(Arc::new(move |client: &Reviewed<'_>| {
            let Some(gate) = gates.get(&client.listener.number) else {
                return Review::Stays;
            };
            let who = client
                .user_name
                .map_or(Account::Anonymous, |name| Account::User(name.to_owned()));
            if effects.disconnect.contains(&who) {
                let why = "an administrator has changed the account".to_owned();
                return Review::Goes(ReasonCode::ADMINISTRATIVE_ACTION, why);
            }
            if effects.recompile_all || effects.recompile.contains(&who) {
                let rules = login_rules(client);
                return Review::Has(gate.rights(client.client_id, client.user_name, rules));
            }
            Review::Stays
        }));
    }

    fn review_all(&self) {
        self.verified.lock().clear();
        let gates = self.gates().by_listener.clone();
        self.review(Arc::new(move |client: &Reviewed<'_>| {
            let Some(gate) = gates.get(&client.listener.number) else {
                return Review::Stays;
            };
            let rules = login_rules(client);
            if let Some(why) = gate.objects(client, rules.is_some()) {
                return Review::Goes(ReasonCode::NOT_AUTHORIZED, why);
            }
            Review::Has(gate.rights(client.client_id, client.user_name, rules))
        }));
    }

    fn review(&self, reviewer: Arc<Reviewer>) {
        let workers = self.workers.get().map_or(0, Vec::len);
        for worker in 0..workers {
            let mail = WorkerMail::Review(Arc::clone(&reviewer));
            self.mail(u16::try_from(worker).unwrap_or(u16::MAX), mail);
        }
    }

    /// Reads files again that have changed. One that cannot be used changes nothing, and is told once.
    fn look_at_files(&self) {
        let (mut stale, dynsec) = {
            let gates = self.gates();
            (gates.by_listener.clone(), gates.dynsec.clone())
        };
        stale.retain(|_, gate| gate.is_stale());
        let mut has_changed = false;
        for dynsec in &dynsec {
            match dynsec.reread(&self.logger) {
                Ok(changed) => has_changed |= changed,
                Err(text) => self.tell_unchanged(&text),
            }
        }
        for (number, old) in stale {
            let settings = old.settings().clone();
            let ahead = ReadAhead::default();
            let gate = match Gate::open(&settings, &self.means(&ahead), &mut self.open()) {
                Ok(gate) => {
                    has_changed = true;
                    let text = "Access files have changed and were read again.";
                    self.logger.log(Kind::Notice, text);
                    gate
                }
                Err(text) => {
                    self.tell_unchanged(&text);
                    let mut same = Gate::clone(&old);
                    same.restamp();
                    same
                }
            };
            let mut gates = self.gates.write().unwrap_or_else(PoisonError::into_inner);
            // A reload may have come first.
            if let Some(known) = gates.by_listener.get_mut(&number)
                && Arc::ptr_eq(known, &old)
            {
                *known = Arc::new(gate);
            }
        }
        if has_changed {
            self.review_all();
        }
    }

    fn tell_unchanged(&self, text: &str) {
        self.logger.log(Kind::Error, text);
        let text = "Error: What it said before goes on to hold; correct the file.";
        self.logger.log(Kind::Error, text);
    }
}
