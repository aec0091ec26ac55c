//! The handle that everything logs through, and the thread behind it.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::kind::{Kind, Kinds};
use super::settings::{LogSettings, Timestamp};
use super::sinks::{Entry, LogError, Sinks};

/// Lines that may wait for the writer; together they are at most 16 MiB.
pub const QUEUE_LINES: usize = 8_192;

/// The longest line in bytes; what goes beyond is cut off.
pub const LINE_BYTES_MAX: usize = 2_048;

/// How long a change of settings waits for room in the queue.
const CONTROL_WAIT: Duration = Duration::from_secs(1);

/// Bytes that are gathered before they are written even though more lines wait.
const BATCH_BYTES: usize = 64 << 10;

/// While lines keep coming they are gathered for so long: to wake the writer for each costs whoever logs
/// more than the line does.
const GATHER: Duration = Duration::from_millis(1);

/// What takes the lines of `log_dest topic`: the topic and the line. It runs on the writer's
/// thread and must not block for long.
pub type TopicSink = Box<dyn FnMut(&'static str, &str) + Send>;

/// A handle to the log.
///
/// The writer ends when the last handle is dropped and everything queued has been written.
#[derive(Clone)]
pub struct Logger {
    state: Arc<State>,
    queue: Sender<Job>,
}

/// What the handles and the writer share.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The bits of the [`Kinds`] that are wanted.
    ///
    /// Alone in what it says, so `Relaxed` will do: a line more or less while settings change
    /// harms nobody.
    wanted: AtomicU16,
    /// Lines lost since the last report.
    lost: AtomicU64,
    /// Lines lost since the start.
    lost_total: AtomicU64,
}

enum Job {
    Line(Entry),
    Sinks(Sinks),
    Topic(Option<TopicSink>),
    Flush(Sender<()>),
}

impl Logger {
    /// Opens what `settings` name and starts the writer. `program` is the name that the system log
    /// is told.
    ///
    /// # Errors
    /// [`LogError::File`] when the log file cannot be opened, [`LogError::Thread`] when no thread
    /// can be started.
    pub fn start(settings: &LogSettings, program: &str) -> Result<Self, LogError> {
        Self::spawn(Sinks::open(settings, program)?, wanted(settings))
    }

    /// Starts a writer for the lines of `kinds` to `stream` alone.
    ///
    /// # Errors
    /// [`LogError::Thread`] when no thread can be started.
    pub fn with_writer(
        kinds: Kinds,
        timestamp: Timestamp,
        stream: Box<dyn Write + Send>,
    ) -> Result<Self, LogError> {
        Self::spawn(Sinks::stream(stream, timestamp), kinds)
    }

    /// A log that nothing is written to.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            state: Arc::default(),
            queue: bounded(0).0,
        }
    }

    fn spawn(sinks: Sinks, kinds: Kinds) -> Result<Self, LogError> {
        let state = Arc::new(State::default());
        state.wanted.store(kinds.bits(), Ordering::Relaxed);
        let (queue, jobs) = bounded(QUEUE_LINES);
        let writer = Writer {
            state: Arc::clone(&state),
            jobs,
            sinks,
            topic: None,
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(|| writer.run())
            .map_err(|error| LogError::Thread(error.to_string()))?;
        Ok(Self { state, queue })
    }

    /// Whether lines of `kind` are wanted; ask before formatting one.
    #[must_use]
    pub fn enabled(&self, kind: Kind) -> bool {
        self.kinds().contains(kind)
    }

    /// Logs a line. Never waits; a line that finds the queue full is lost and counted.
    pub fn log(&self, kind: Kind, line: impl Into<String>) {
        if self.enabled(kind) {
            self.log_at(kind, SystemTime::now(), line);
        }
    }

    /// Logs the line that `line` makes, if `kind` is wanted.
    pub fn log_with(&self, kind: Kind, line: impl FnOnce() -> String) {
        if self.enabled(kind) {
            self.log_at(kind, SystemTime::now(), line());
        }
    }

    /// Logs a line as of `time`.
    pub fn log_at(&self, kind: Kind, time: SystemTime, line: impl Into<String>) {
        if !self.enabled(kind) {
            return;
        }
        let line = Job::Line(Entry {
            kind,
            time,
            line: cut(line.into()),
        });
        if self.queue.try_send(line).is_err() {
            self.state.lose(1);
        }
    }

    /// Changes what is logged and where, and opens the log file anew, as after its rotation.
    ///
    /// Lines that were logged before go to the old destinations.
    ///
    /// # Errors
    /// [`LogError::File`] when the log file cannot be opened, [`LogError::Stuck`] when the writer
    /// does not come to it within a second; then everything stays as it is.
    pub fn apply(&self, settings: &LogSettings, program: &str) -> Result<(), LogError> {
        let sinks = Sinks::open(settings, program)?;
        self.control(Job::Sinks(sinks))?;
        let kinds = wanted(settings).bits();
        self.state.wanted.store(kinds, Ordering::Relaxed);
        Ok(())
    }

    /// Sets or removes what takes the lines of `log_dest topic`.
    ///
    /// # Errors
    /// [`LogError::Stuck`] when the writer does not come to it within a second.
    pub fn set_topic_sink(&self, sink: Option<TopicSink>) -> Result<(), LogError> {
        self.control(Job::Topic(sink))
    }

    /// Waits until everything logged before is written, at most for `patience`; tells whether it
    /// was.
    pub fn flush(&self, patience: Duration) -> bool {
        let start = Instant::now();
        let (done, wait) = bounded(1);
        if self.queue.send_timeout(Job::Flush(done), patience).is_err() {
            return false;
        }
        let left = patience.saturating_sub(start.elapsed());
        wait.recv_timeout(left).is_ok()
    }

    /// Counts the lines that were lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state.lost_total.load(Ordering::Relaxed)
    }

    fn kinds(&self) -> Kinds {
        self.state.kinds()
    }

    fn control(&self, job: Job) -> Result<(), LogError> {
        self.queue
            .send_timeout(job, CONTROL_WAIT)
            .map_err(|_| LogError::Stuck)
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Logger")
            .field("state", &self.state)
            .field("waiting", &self.queue.len())
            .finish()
    }
}

impl State {
    fn kinds(&self) -> Kinds {
        Kinds::from_bits(self.wanted.load(Ordering::Relaxed))
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.lost_total.fetch_add(lines, Ordering::Relaxed);
    }
}

/// Which kinds are wanted: none when there is no place for them.
fn wanted(settings: &LogSettings) -> Kinds {
    if settings.destinations.is_none() {
        Kinds::NONE
    } else {
        settings.kinds
    }
}

/// Cuts a line to [`LINE_BYTES_MAX`], and gives back what it does not need: the queue's memory is
/// bounded by it.
fn cut(mut line: String) -> String {
    if line.len() > LINE_BYTES_MAX {
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
    }
    if line.capacity() > LINE_BYTES_MAX {
        line.shrink_to_fit();
    }
    line
}

/// The thread that writes.
struct Writer {
    state: Arc<State>,
    jobs: Receiver<Job>,
    sinks: Sinks,
    topic: Option<TopicSink>,
}

impl Writer {
    /// Writes until the last handle is gone.
    fn run(mut self) {
        let mut written: Option<Instant> = None;
        while let Ok(job) = self.jobs.recv() {
            if written.is_some_and(|written| written.elapsed() < GATHER) {
                thread::sleep(GATHER);
            }
            self.perform(job);
            while let Ok(job) = self.jobs.try_recv() {
                self.perform(job);
                if self.sinks.waiting_bytes() >= BATCH_BYTES {
                    self.write();
                }
            }
            self.write();
            written = Some(Instant::now());
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Line(entry) => {
                let lost = self.sinks.add(&entry, self.topic.as_mut());
                self.count_lost(lost);
            }
            Job::Sinks(sinks) => {
                self.write();
                self.report_lost();
                self.sinks = sinks;
            }
            Job::Topic(sink) => self.topic = sink,
            Job::Flush(done) => {
                self.write();
                self.report_lost();
                // Whoever asked may have given up.
                let _ = done.try_send(());
            }
        }
    }

    fn write(&mut self) {
        let lost = self.sinks.write();
        self.count_lost(lost);
        // Lines in the queue are older than what was lost, and room is what the report needs.
        if self.jobs.len() < QUEUE_LINES / 2 {
            self.report_lost();
        }
    }

    fn count_lost(&self, lines: u64) {
        if lines > 0 {
            self.state.lose(lines);
        }
    }

    /// Says how many lines were lost, once for each time that some were.
    fn report_lost(&mut self) {
        let lost = self.state.lost.swap(0, Ordering::Relaxed);
        if lost == 0 || !self.state.kinds().contains(Kind::Warning) {
            return;
        }
        let entry = Entry {
            kind: Kind::Warning,
            time: SystemTime::now(),
            line: format!(
                "Warning: {lost} log lines were lost because the log could not keep up or could \
                 not be written."
            ),
        };
        let failed = self.sinks.add(&entry, self.topic.as_mut()) + self.sinks.write();
        // The report itself is lost: what it said must be said again, itself not counted.
        if failed > 0 {
            self.state.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }
}
