//! Starting the broker, and the handle to it.

use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::bounded;
use midge_broker::{Shard, Time};
use midge_reactor::{
    BindAddress, Bounds, Clock, DescriptorReserve, ListenError, Mailbox, Poller, Sender, Signals,
    cores, spawn,
};

use crate::access::files::ReadAhead;
use crate::access::{Guard, broker_facts, kept_secret};
use crate::config::{self, Config};
use crate::control::{
    Accepting, Command, ConfigSource, Control, Ending, MemoryWatch, OpenListener, Opening, PROGRAM,
    TlsWatch, ToWorker, limit, load_all, open,
};
use crate::crew::{Crew, join, publish_log, random, secret};
use crate::log::{Kind, LogError, Logger};
use crate::persistence::{Checkpoints, Loads, Persistence, restore};
use crate::seats::Seats;
use crate::settings::broker_settings;
use crate::worker::{EVENTS_MAX, Shared};
use crate::wrapping::{Tickets, TlsShared};

/// Commands that may wait for the control thread; the bound is never met, since callers wait.
const COMMANDS: Bounds = Bounds {
    messages: 64,
    bytes: 1 << 20,
};

/// A broker whose listening sockets are open, and that serves nobody yet.
///
/// No thread has been started: a daemon can still detach from its terminal.
pub struct Bound {
    config: Config,
    clock: Clock,
    seats: Arc<Seats>,
    listeners: Vec<OpenListener>,
    tls: TlsShared,
    /// Files that only root may be able to read.
    ahead: ReadAhead,
}

/// What a program that embeds the broker may leave out.
#[derive(Default)]
pub struct Extras {
    /// Where lines are logged.
    pub log: Log,
    /// The signals of this process, to end and to reload by.
    pub signals: Option<Signals>,
    /// How SIGHUP reads the configuration again; without it, it opens the log anew only.
    pub source: Option<ConfigSource>,
}

/// Where a broker logs.
#[derive(Default)]
pub enum Log {
    /// As the configuration says.
    #[default]
    Configured,
    /// To a log that was started as the configuration says, and follows it when that changes.
    Started(Logger),
    /// To a log of the program's own, which the configuration does not concern.
    Own(Logger),
}

/// A broker in this process.
///
/// ```no_run
/// use midge_server::{Server, config::Config};
///
/// let config = Config::parse("listener 1883 127.0.0.1\nallow_anonymous true\n", "embedded")?;
/// let broker = Server::start(config)?;
/// // ... until it is no longer needed:
/// broker.shut_down();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server;

/// The handle to a running broker. Dropping it ends the broker.
pub struct ServerHandle {
    commands: Sender<Command>,
    control: Option<JoinHandle<Ending>>,
    addresses: Addresses,
    logger: Logger,
}

/// Where the broker listens now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<Vec<BindAddress>>>);

/// Why the broker could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot be opened.
    Listen(ListenError),
    /// The log cannot be opened.
    Log(LogError),
    /// The state cannot be kept, for this reason.
    Persistence(String),
    /// A file that decides who may come in cannot be used, for this reason.
    Access(String),
    /// A certificate, key or list, or the file for secrets, cannot be used, for this reason.
    Tls(String),
    /// The system refuses threads, descriptors or the like.
    System(io::Error),
}

/// Why a new configuration was not taken: what was said about the listener that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadError(pub(crate) String);

impl Server {
    /// Starts a broker with its own log.
    ///
    /// # Errors
    /// A [`StartError`], after which nothing is left running.
    pub fn start(config: Config) -> Result<ServerHandle, StartError> {
        let logger = Logger::start(&config.general.log, PROGRAM).map_err(StartError::Log)?;
        let log = logger.clone();
        let bound = Self::bind(config, &mut |kind, text| log.log(kind, text))?;
        let extras = Extras {
            log: Log::Started(logger),
            ..Extras::default()
        };
        bound.start(extras)
    }

    /// Opens the listening sockets of `config`; `say` gets what is to be logged about it.
    ///
    /// # Errors
    /// [`StartError::Listen`], after which none is open.
    pub fn bind(config: Config, say: &mut dyn FnMut(Kind, String)) -> Result<Bound, StartError> {
        let clock = Clock::start();
        let max = config.general.global_max_connections.map(limit);
        let seats = Arc::new(Seats::new(max));
        let tls = TlsShared::new(&config).map_err(StartError::Tls)?;
        // Before anything is opened, and while files that only root can read can be.
        let loaded = load_all(&config, &tls).map_err(StartError::Tls)?;
        let mut opening = Opening {
            general: &config.general,
            seats: &seats,
            clock,
            say,
        };
        let mut listeners = Vec::new();
        let mut skipped = None;
        for ((number, listener), loaded) in (0..).zip(&config.listeners).zip(loaded) {
            for warning in &loaded.warnings {
                (opening.say)(Kind::Warning, warning.clone());
            }
            match open(listener, number, loaded, &mut opening) {
                Ok(listener) => listeners.push(listener),
                // Without a configuration, a machine without IPv6 (or IPv4) is served as it is.
                Err(error) if config.local_only && is_missing_address(&error) => {
                    let text = error.to_string();
                    let text = text.strip_prefix("Error: ").unwrap_or(&text);
                    (opening.say)(Kind::Warning, format!("Warning: {text}"));
                    skipped = Some(error);
                }
                Err(error) => return Err(StartError::Listen(error)),
            }
        }
        match skipped {
            Some(error) if listeners.is_empty() => Err(StartError::Listen(error)),
            _ => Ok(Bound {
                ahead: ReadAhead::of(config.listeners.iter().map(|listener| &listener.settings)),
                config,
                clock,
                seats,
                listeners,
                tls,
            }),
        }
    }
}

impl Bound {
    /// Starts the threads that serve.
    ///
    /// # Errors
    /// [`StartError::Log`] and [`StartError::System`], after which nothing is left running.
    pub fn start(self, extras: Extras) -> Result<ServerHandle, StartError> {
        let log_is_own = matches!(extras.log, Log::Own(_));
        let logger = match extras.log {
            Log::Started(logger) | Log::Own(logger) => logger,
            Log::Configured => {
                Logger::start(&self.config.general.log, PROGRAM).map_err(StartError::Log)?
            }
        };
        let count = worker_count(self.config.general.worker_threads);
        let general = &self.config.general;
        let location = general
            .persistence
            .as_ref()
            .map(|persistence| persistence.location.clone());
        let (decoys, fault) = kept_secret(location.as_deref(), secret());
        if let Some(text) = fault {
            logger.log(Kind::Warning, text);
        }
        let guard = Guard::new(logger.clone(), self.clock, decoys);
        let clients_max = general.global_max_clients.map(limit);
        let shared = Arc::new(Shared::new(guard, count, random(), clients_max));
        let settings = self
            .listeners
            .iter()
            .map(|listener| Arc::clone(&listener.settings))
            .collect();
        let by_number: Vec<_> = self
            .listeners
            .iter()
            .zip(&self.config.listeners)
            .map(|(open, config)| (open.seats.listener, config.settings.clone()))
            .collect();
        shared
            .guard
            .set_first_listeners(&by_number, &self.ahead)
            .map_err(StartError::Access)?;
        shared.guard.set_lockout(general.lockout());
        shared.guard.set_patience(general.connect_timeout());
        shared.guard.set_cache(general.auth_cache());
        shared.guard.set_facts(broker_facts(&self.config));
        let controls = shared.guard.controls();
        let limits = Arc::clone(&shared.limits);
        let settings = Arc::new(broker_settings(general, settings, controls, limits));

        let now = Time(self.clock.now_ms());
        let mut shards: Vec<Shard> = (0..count)
            .map(|id| Shard::new(id, count, Arc::clone(&settings), random(), now))
            .collect();
        let persistence = match &general.persistence {
            Some(persistence) => Some(
                Kept::open(
                    persistence,
                    settings.persistent_client_expiration,
                    &mut shards,
                    &shared,
                    self.clock,
                    &logger,
                )
                .map_err(StartError::Persistence)?,
            ),
            None => None,
        };
        let poller = Poller::new(EVENTS_MAX).map_err(StartError::System)?;
        let mailbox = Mailbox::new(COMMANDS, poller.waker());
        let commands = mailbox.sender(None);
        let crew = Crew::prepare(count).map_err(StartError::System)?;
        let senders = crew.senders();
        let logins = shared.guard.start(crew.senders());
        let logins = logins.map_err(StartError::System)?;
        let loads = match &persistence {
            Some(kept) => {
                let workers = crew.senders();
                let store = &kept.persistence;
                Some(Loads::start(store, workers, self.clock, logger.clone()))
                    .transpose()
                    .map_err(StartError::System)?
            }
            None => None,
        };
        if let Some(first) = senders.first() {
            publish_log(&logger, first.clone());
        }
        let mut control = Control {
            poller,
            mailbox,
            signals: extras.signals,
            source: extras.source,
            clock: self.clock,
            logger: logger.clone(),
            log_is_own,
            config: self.config,
            shared: Arc::clone(&shared),
            seats: self.seats,
            workers: senders.into_iter().map(ToWorker::new).collect(),
            next_listener: self.listeners.len() as u64,
            listeners: self.listeners,
            accepting: Accepting::new(DescriptorReserve::new().map_err(StartError::System)?),
            addresses: Addresses::default(),
            tls: TlsWatch::new(self.tls, Tickets::open(location.as_deref())),
            memory: MemoryWatch::default(),
            ending: None,
        };
        control.apply_limits();
        control.register().map_err(StartError::System)?;
        let addresses = control.addresses.clone();
        let (tell, started) = bounded(1);
        let to_control = commands.clone();
        let clock = self.clock;
        let log = logger.clone();
        let body = move || {
            let persistence = persistence;
            let kept = persistence
                .as_ref()
                .map(|kept| &kept.persistence)
                .zip(loads.as_ref());
            let started = crew.start(&shared, &settings, shards, kept, clock, &log, &to_control);
            let crew = match started {
                Ok(crew) => {
                    let _ = tell.send(Ok(()));
                    crew
                }
                Err((error, crew)) => {
                    control.stop();
                    join(crew);
                    let _ = tell.send(Err(error));
                    return Ending::Failed("not all workers could be started".to_owned());
                }
            };
            let ending = control.run();
            control.stop();
            join(crew);
            drop(logins);
            drop(loads);
            // Commits what waits, and closes the store.
            drop(persistence);
            // The log is not to hold the mailbox of a worker that has gone.
            let _ = log.set_topic_sink(None);
            ending
        };
        let control = spawn("control", body).map_err(StartError::System)?;
        let started = started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the control thread panicked")));
        started.map_err(StartError::System)?;
        Ok(ServerHandle {
            commands,
            control: Some(control),
            addresses,
            logger,
        })
    }
}

/// The open store and the thread that makes its checkpoints, which ends first.
struct Kept {
    _checkpoints: Checkpoints,
    persistence: Persistence,
}

impl Kept {
    /// Opens the store and gives what it holds to the shards.
    fn open(
        settings: &config::Persistence,
        session_secs_max: Option<u64>,
        shards: &mut [Shard],
        shared: &Shared,
        clock: Clock,
        logger: &Logger,
    ) -> Result<Self, String> {
        let restored = restore(settings, session_secs_max, shards, shared, clock, logger)?;
        for shard in shards {
            shard.persist(restored.next_message, restored.unix_at_zero);
        }
        let persistence = restored.persistence;
        let directory = settings.store_directory();
        let checkpoints =
            Checkpoints::start(&persistence, restored.starts, directory, logger.clone())
                .map_err(|error| format!("Error: Unable to start a thread: {error}."))?;
        Ok(Self {
            _checkpoints: checkpoints,
            persistence,
        })
    }
}

/// Whether this machine does not have the address at all.
const fn is_missing_address(error: &ListenError) -> bool {
    matches!(error, ListenError::NotAvailable(..))
}

fn worker_count(configured: Option<NonZeroU16>) -> u16 {
    configured.map_or_else(
        || u16::try_from(cores()).unwrap_or(u16::MAX),
        NonZeroU16::get,
    )
}

impl ServerHandle {
    /// Where the broker listens now, with the ports that the system chose where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<BindAddress> {
        self.addresses.lock().clone()
    }

    /// The broker's log.
    #[must_use]
    pub fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Takes another configuration. Nobody is disconnected who is still allowed.
    ///
    /// # Errors
    /// When a listener cannot be opened; nothing has changed then.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let gone = || ReloadError("The broker has ended.".to_owned());
        let (reply, result) = bounded(1);
        self.command(Command::Reload(Box::new(config), reply));
        result.recv().map_err(|_| gone())?
    }

    /// Ends the broker: clients are told, wills are published, what waits is sent for two seconds at
    /// most.
    pub fn shut_down(mut self) -> Ending {
        self.command(Command::ShutDown);
        self.join()
    }

    /// Waits until the broker ends by a signal or a failure.
    #[must_use]
    pub fn wait(mut self) -> Ending {
        self.join()
    }

    fn command(&self, command: Command) {
        // The control thread's wake-up fails only if it has gone.
        let _ = self.commands.push_batch(&mut vec![command], 0);
    }

    fn join(&mut self) -> Ending {
        match self.control.take().map(JoinHandle::join) {
            Some(Ok(ending)) => ending,
            Some(Err(_)) => Ending::Failed("the control thread panicked".to_owned()),
            None => Ending::Asked,
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if self.control.is_some() {
            self.command(Command::ShutDown);
            self.join();
        }
    }
}

impl Addresses {
    pub(crate) fn set(&self, addresses: Vec<BindAddress>) {
        *self.lock() = addresses;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<BindAddress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Persistence(text) | Self::Access(text) | Self::Tls(text) => f.write_str(text),
            Self::System(error) => write!(f, "Error: Unable to start: {error}."),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Log(error) => Some(error),
            Self::Persistence(_) | Self::Access(_) | Self::Tls(_) => None,
            Self::System(error) => Some(error),
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ReloadError {}
