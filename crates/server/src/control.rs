//! The control thread: it accepts connections and hands them to workers, and carries out what the
//! operator wants while the broker runs.

mod limits;
mod listeners;
mod reload;
mod shortage;
mod transport;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::{io, mem};

use crossbeam_channel::Sender as Reply;
use midge_reactor::{Clock, Key, Mailbox, Poller, Ready, Sender, Signal, Signals};

use crate::config::{Config, ConfigErrors};
use crate::log::{Kind, Logger};
use crate::mail::{Arrival, WorkerMail};
use crate::seats::Seats;
use crate::server::{Addresses, ReloadError};
use crate::worker::Shared;

pub(crate) use limits::MemoryWatch;
pub(crate) use listeners::{Accepting, OpenListener, Opening, limit, open};
pub(crate) use reload::{PROGRAM, note_kind};
pub(crate) use transport::{TlsWatch, load_all};

/// How the running broker reads its configuration again.
pub type ConfigSource = Box<dyn FnMut() -> Result<Config, ConfigErrors> + Send>;

/// What others ask of the control thread.
pub(crate) enum Command {
    /// Take this configuration.
    Reload(Box<Config>, Reply<Result<(), ReloadError>>),
    /// End.
    ShutDown,
    /// A worker has ended, of itself or by a panic.
    WorkerEnded { worker: u16, reason: Option<String> },
}

/// Why the broker has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody asked for it.
    Asked,
    /// It could not go on, for this reason.
    Failed(String),
}

/// The control thread's state.
pub(crate) struct Control {
    pub(crate) poller: Poller,
    pub(crate) mailbox: Mailbox<Command>,
    pub(crate) signals: Option<Signals>,
    pub(crate) source: Option<ConfigSource>,
    pub(crate) clock: Clock,
    pub(crate) logger: Logger,
    /// The log does not follow the configuration.
    pub(crate) log_is_own: bool,
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) workers: Vec<ToWorker>,
    pub(crate) listeners: Vec<OpenListener>,
    /// The next listener's name.
    pub(crate) next_listener: u64,
    pub(crate) accepting: Accepting,
    pub(crate) addresses: Addresses,
    pub(crate) tls: TlsWatch,
    pub(crate) memory: MemoryWatch,
    pub(crate) ending: Option<Ending>,
}

/// The way to one worker.
pub(crate) struct ToWorker {
    sender: Sender<WorkerMail>,
    /// Connections accepted for it in this turn.
    batch: Vec<WorkerMail>,
}

/// The key of the signals; those of listening sockets follow.
const SIGNALS: usize = 0;
const FIRST_LISTENER: usize = 1;

impl ToWorker {
    pub(crate) fn new(sender: Sender<WorkerMail>) -> Self {
        Self {
            sender,
            batch: Vec::new(),
        }
    }

    fn send(&mut self, mail: WorkerMail) {
        self.batch.push(mail);
        self.flush();
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            // Connections are not held back by a full mailbox: their number is bounded by that of
            // descriptors. A wake-up that fails has nevertheless delivered.
            let _ = self.sender.push_batch(&mut self.batch, 0);
        }
    }
}

impl Control {
    /// Registers what is open; before the thread starts, so that a failure is the start's.
    ///
    /// # Errors
    /// Those of the system for registering.
    pub(crate) fn register(&mut self) -> io::Result<()> {
        if let (Some(signals), Some(key)) = (&mut self.signals, Key::reserved(SIGNALS)) {
            self.poller.register_readable(signals, key)?;
        }
        for listener in mem::take(&mut self.listeners) {
            self.add_listener(listener)?;
        }
        self.tell_addresses();
        Ok(())
    }

    /// Runs until the broker is to end; tells why.
    pub(crate) fn run(&mut self) -> Ending {
        let mut ready = Vec::new();
        let mut commands = Vec::new();
        loop {
            let timeout = self.timeout();
            let mailbox = &self.mailbox;
            let waited = self
                .poller
                .wait(timeout, &mut ready, || !mailbox.is_empty());
            if let Err(error) = waited {
                return Ending::Failed(format!("waiting for connections failed: {error}"));
            }
            self.note_ready(&ready);
            // Nobody waits for room in this mailbox.
            let _ = self.mailbox.take(&mut commands);
            for command in commands.drain(..) {
                self.carry_out(command);
            }
            self.tend_transports();
            self.watch_memory();
            self.accept_all();
            if let Some(ending) = self.ending.take() {
                return ending;
            }
            if let Some(pause) = self.accepting.pause() {
                std::thread::sleep(pause);
            }
        }
    }

    /// Closes the listeners and tells the workers that the broker ends.
    pub(crate) fn stop(&mut self) {
        self.listeners.clear();
        self.tell_addresses();
        for worker in &mut self.workers {
            worker.send(WorkerMail::ShutDown);
        }
    }

    fn note_ready(&mut self, ready: &[Ready]) {
        for event in ready {
            match event.key.reserved_index() {
                Some(SIGNALS) => self.take_signals(),
                Some(index) => self.listener_is_ready(index - FIRST_LISTENER),
                None => {}
            }
        }
    }

    fn take_signals(&mut self) {
        let pending: Vec<Signal> = match &mut self.signals {
            Some(signals) => signals.pending().collect(),
            None => Vec::new(),
        };
        for signal in pending {
            match signal {
                Signal::Interrupt | Signal::Terminate => self.end(Ending::Asked),
                Signal::Hangup => self.reload_from_source(),
                Signal::User1 => {
                    let text = match self.config.general.persistence {
                        None => "Persistence is off: there is nothing to save.",
                        Some(_) => "What changes is saved as it changes: there is nothing to do.",
                    };
                    self.logger.log(Kind::Information, text);
                }
                Signal::User2 => self.log_counts(),
                Signal::Rotate => self.reopen_log(),
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Reload(config, reply) => {
                let result = self.reload(*config);
                // Whoever asked may have stopped waiting.
                let _ = reply.try_send(result);
            }
            Command::ShutDown => self.end(Ending::Asked),
            Command::WorkerEnded { worker, reason } => {
                let reason = reason.unwrap_or_else(|| "it panicked".to_owned());
                self.end(Ending::Failed(format!(
                    "worker {worker} has ended: {reason}"
                )));
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    fn log_counts(&self) {
        let tables = self.shared.tables.counts();
        let text = format!(
            "{} connections, {} sessions, {} subscriptions, {} shared subscriptions, {} retained \
             messages.",
            self.seats.taken(),
            self.shared.directory.len(),
            tables.subscriptions,
            tables.shared_subscriptions,
            tables.retained,
        );
        self.logger.log(Kind::Information, text);
        self.shared.guard.log_bans();
    }

    fn timeout(&self) -> Option<Duration> {
        let dues = [
            self.next_accept_ms(),
            self.next_tend_ms(),
            self.memory.next_ms(),
        ];
        let due = dues.into_iter().flatten().min()?;
        Some(Duration::from_millis(
            due.saturating_sub(self.clock.now_ms()),
        ))
    }

    fn tell_workers(&mut self, mail: impl Fn() -> WorkerMail) {
        for worker in &mut self.workers {
            worker.send(mail());
        }
    }

    /// Adds a connection to the batch of the worker with the fewest.
    fn place(&mut self, arrival: Arrival) {
        let loads = &self.shared.loads;
        let worker = least_loaded(loads, self.accepting.turn);
        self.accepting.turn = worker + 1;
        if let (Some(load), Some(to)) = (loads.get(worker), self.workers.get_mut(worker)) {
            load.fetch_add(1, Relaxed);
            to.batch.push(WorkerMail::Arrival(Box::new(arrival)));
        }
    }
}

/// The worker with the fewest connections; of equals, the next from `first` on, so that they take
/// turns.
fn least_loaded(loads: &[AtomicUsize], first: usize) -> usize {
    let count = loads.len().max(1);
    (0..count)
        .map(|offset| (first + offset) % count)
        .min_by_key(|worker| {
            loads
                .get(*worker)
                .map_or(usize::MAX, |load| load.load(Relaxed))
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest_and_equals_take_turns() {
        let check = |loads: &[usize], first, worker| {
            let loads: Vec<_> = loads.iter().map(|load| AtomicUsize::new(*load)).collect();
            assert_eq!(least_loaded(&loads, first), worker);
        };
        check(&[5], 3, 0);
        check(&[5, 4, 6], 0, 1);
        check(&[5, 5, 5], 0, 0);
        check(&[5, 5, 5], 1, 1);
        check(&[5, 5, 5], 3, 0);
        check(&[5, 6, 5], 1, 2);
    }
}
