//! The door: which gate a login comes to, and the threads that check passwords.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use midge_access::dynsec::{CONTROL_TOPIC, Effects, Who};
use midge_broker::{ConnId, ControlRequest, Login, LoginAnswer, Review, Reviewed};
use midge_codec::ReasonCode;
use midge_reactor::{Sender as ToMailbox, cores, spawn};

use super::dynsec::Dynsec;
use super::gate::{Check, Gate, Judged};
use crate::config::ListenerSettings;
use crate::log::{Kind, Logger};
use crate::mail::{Reviewer, WorkerMail};

/// Logins and requests that may wait. Who comes when there are more is told to try again.
const JOBS_MAX: usize = 4_096;

/// How often the files are looked at for changes.
const LOOK: Duration = Duration::from_secs(2);

/// Judges all logins. Shared by the workers, the control thread and the threads that check passwords.
pub(crate) struct Guard(Arc<Inner>);

struct Inner {
    gates: RwLock<Gates>,
    jobs: Sender<Job>,
    waiting: Receiver<Job>,
    workers: OnceLock<Vec<ToMailbox<WorkerMail>>>,
    logger: Logger,
    /// Secret, so that which names do not exist cannot be told by what their check costs.
    decoys: [u8; 32],
}

#[derive(Default)]
struct Gates {
    by_listener: HashMap<u64, Arc<Gate>>,
    dynsec: Vec<Arc<Dynsec>>,
}

/// What is done on a thread of its own.
enum Job {
    Check {
        worker: u16,
        conn: ConnId,
        check: Box<Check>,
    },
    Control {
        worker: u16,
        request: ControlRequest,
    },
    /// The broker ends.
    End,
}

/// The threads that check passwords. Dropping them ends them.
pub(crate) struct Threads {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        for _ in &self.threads {
            let _ = self.inner.jobs.send(Job::End);
        }
        for thread in self.threads.drain(..) {
            // A panic has been reported.
            let _ = thread.join();
        }
    }
}

impl Guard {
    /// A guard of no listener yet.
    pub(crate) fn new(logger: Logger, decoys: [u8; 32]) -> Self {
        let (jobs, waiting) = bounded(JOBS_MAX);
        Self(Arc::new(Inner {
            gates: RwLock::default(),
            jobs,
            waiting,
            workers: OnceLock::new(),
            logger,
            decoys,
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
            let body = move || inner.work(number == 0);
            started
                .threads
                .push(spawn(&format!("login {number}"), body)?);
        }
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
        let mut gates = Gates {
            dynsec: self.0.gates().dynsec.clone(),
            ..Gates::default()
        };
        for dynsec in &gates.dynsec {
            dynsec.reread(&self.0.logger)?;
        }
        for (number, settings) in listeners {
            let inner = &self.0;
            let gate = Gate::open(settings, inner.decoys, &mut gates.dynsec, &inner.logger)?;
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
        let dynsec = gates.dynsec.iter().filter(|known| in_use(known)).cloned();
        gates.dynsec = dynsec.collect();
        *self.0.gates.write().unwrap_or_else(PoisonError::into_inner) = gates;
        Ok(())
    }

    /// The topics below `$CONTROL/` that are answered.
    pub(crate) fn controls(&self) -> Vec<Box<str>> {
        let gates = self.0.gates();
        let mut topics = Vec::new();
        if !gates.dynsec.is_empty() {
            topics.push(CONTROL_TOPIC.into());
        }
        topics
    }

    /// Judges a login; nothing if the answer comes by mail.
    pub(crate) fn judge(&self, worker: u16, login: Login) -> Option<LoginAnswer> {
        let inner = &self.0;
        let conn = login.conn;
        let Some(gate) = inner.gate(login.listener.number) else {
            let why = "the listener has gone".to_owned();
            return Some(LoginAnswer::Refused(ReasonCode::NOT_AUTHORIZED, why));
        };
        let check = match gate.judge(login) {
            Judged::At(answer) => return Some(answer),
            Judged::Checks(check) => check,
        };
        let job = Job::Check {
            worker,
            conn,
            check,
        };
        match inner.jobs.try_send(job) {
            Ok(()) => None,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                let why = format!("{JOBS_MAX} logins wait for their passwords to be checked");
                Some(LoginAnswer::Refused(ReasonCode::SERVER_BUSY, why))
            }
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

    fn gate(&self, listener: u64) -> Option<Arc<Gate>> {
        self.gates().by_listener.get(&listener).cloned()
    }

    fn mail(&self, worker: u16, mail: WorkerMail) {
        let workers = self.workers.get();
        let sender = workers.and_then(|workers| workers.get(usize::from(worker)));
        if let Some(sender) = sender {
            // A wake-up that fails has nevertheless delivered.
            let _ = sender.push_batch(&mut vec![mail], 0);
        }
    }

    /// Does what waits. The first of the threads also looks at the files.
    fn work(&self, looks: bool) {
        loop {
            let job = if looks {
                match self.waiting.recv_timeout(LOOK) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        self.look_at_files();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match self.waiting.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                }
            };
            match job {
                Job::End => return,
                Job::Check {
                    worker,
                    conn,
                    check,
                } => {
                    let answer = check.run();
                    self.mail(worker, WorkerMail::LoggedIn { conn, answer });
                }
                Job::Control { worker, request } => self.control(worker, &request),
            }
        }
    }

    fn control(&self, worker: u16, request: &ControlRequest) {
        let gate = self.gate(request.listener.number);
        let dynsec = gate.and_then(|gate| gate.dynsec.clone());
        let answer = match dynsec {
            Some(dynsec) if *request.topic == *CONTROL_TOPIC => {
                let carried = dynsec.control(request, &self.logger);
                self.apply(&dynsec, carried.effects);
                carried.response
            }
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
                .map_or(Who::Anonymous, |name| Who::User(name.to_owned()));
            if effects.disconnect.contains(&who) {
                let why = "an administrator has changed the account".to_owned();
                return Review::Goes(ReasonCode::ADMINISTRATIVE_ACTION, why);
            }
            if effects.recompile_all || effects.recompile.contains(&who) {
                return Review::Has(gate.rights(client.client_id, client.user_name));
            }
            Review::Stays
        }));
    }

    fn review_all(&self) {
        let gates = self.gates().by_listener.clone();
        self.review(Arc::new(move |client: &Reviewed<'_>| {
            let Some(gate) = gates.get(&client.listener.number) else {
                return Review::Stays;
            };
            if client.user_name.is_none() && !gate.settings().allow_anonymous {
                let why = "clients without a user name are not let in any more".to_owned();
                return Review::Goes(ReasonCode::NOT_AUTHORIZED, why);
            }
            Review::Has(gate.rights(client.client_id, client.user_name))
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
            let mut open = dynsec.clone();
            let settings = old.settings().clone();
            let gate = match Gate::open(&settings, self.decoys, &mut open, &self.logger) {
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
