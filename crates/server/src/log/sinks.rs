//! The places that lines are written to.

use std::error::Error;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::escape::escape;
use super::kind::Kind;
use super::logger::TopicSink;
use super::settings::{LogSettings, Timestamp};
use super::syslog::Syslog;

/// One line on its way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) time: SystemTime,
    pub(super) line: String,
}

/// Open destinations.
pub(super) struct Sinks {
    timestamp: Timestamp,
    streams: Vec<Box<dyn Write + Send>>,
    syslog: Option<Syslog>,
    topic: bool,
    /// Lines for the streams, not yet written.
    waiting: String,
    /// How many lines wait.
    waiting_lines: u64,
}

/// Why there is no log, or none as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The log file cannot be opened.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The writer's thread cannot be started, for this reason.
    Thread(String),
    /// The writer is held up by one of its destinations.
    Stuck,
}

impl Sinks {
    /// Opens what `settings` name.
    pub(super) fn open(settings: &LogSettings, program: &str) -> Result<Self, LogError> {
        let destinations = &settings.destinations;
        let mut streams: Vec<Box<dyn Write + Send>> = Vec::new();
        if let Some(path) = &destinations.file {
            streams.push(Box::new(open_file(path)?));
        }
        if destinations.stdout {
            streams.push(Box::new(io::stdout()));
        }
        if destinations.stderr {
            streams.push(Box::new(io::stderr()));
        }
        Ok(Self {
            timestamp: settings.timestamp.clone(),
            streams,
            syslog: destinations
                .syslog
                .then(|| Syslog::new(program, settings.facility)),
            topic: destinations.topic,
            waiting: String::new(),
            waiting_lines: 0,
        })
    }

    /// Writes to `stream` alone.
    pub(super) fn stream(stream: Box<dyn Write + Send>, timestamp: Timestamp) -> Self {
        Self {
            timestamp,
            streams: vec![stream],
            syslog: None,
            topic: false,
            waiting: String::new(),
            waiting_lines: 0,
        }
    }

    /// Takes a line; returns how many destinations could not.
    pub(super) fn add(&mut self, entry: &Entry, topic: Option<&mut TopicSink>) -> u64 {
        let start = self.waiting.len();
        self.timestamp.write(entry.time, &mut self.waiting);
        self.waiting.push_str(&escape(&entry.line));
        let line = self.waiting.get(start..).unwrap_or_default();

        let mut lost = 0;
        if let Some(syslog) = &mut self.syslog
            && syslog.send(entry.kind, entry.time, line).is_err()
        {
            lost += 1;
        }
        if self.topic
            && let Some(sink) = topic
            && let Some(topic) = entry.kind.topic()
        {
            sink(topic, line);
        }
        if self.streams.is_empty() {
            self.waiting.truncate(start);
        } else {
            self.waiting.push('\n');
            self.waiting_lines += 1;
        }
        lost
    }

    /// Counts the bytes that wait for [`Sinks::write`].
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.len()
    }

    /// Writes what waits; returns how many lines were lost.
    pub(super) fn write(&mut self) -> u64 {
        if self.waiting_lines == 0 {
            return 0;
        }
        let mut lost = 0;
        for stream in &mut self.streams {
            let written = stream
                .write_all(self.waiting.as_bytes())
                .and_then(|()| stream.flush());
            if written.is_err() {
                lost += self.waiting_lines;
            }
        }
        self.waiting.clear();
        self.waiting_lines = 0;
        lost
    }
}

/// Opens a log file to append to; nobody else may read one that is created by it, since client
/// identifiers and addresses stand in it.
fn open_file(path: &Path) -> Result<std::fs::File, LogError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| LogError::File {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

impl fmt::Display for LogError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, reason } => write!(
                out,
                "Error: Unable to open log file {} for writing. {reason}",
                path.display()
            ),
            Self::Thread(reason) => write!(out, "Error: Unable to start the log. {reason}"),
            Self::Stuck => out.write_str(
                "Error: Unable to change the log, since one of its destinations takes nothing.",
            ),
        }
    }
}

impl Error for LogError {}
