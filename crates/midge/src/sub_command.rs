//! `midge sub`: subscribes and prints what arrives.

use std::ffi::OsString;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use midge_codec::{QoS, topic};

use crate::client::Client;
use crate::client::flows::Event;
use crate::connect_options::{ConnectOptions, qos};
use crate::failure::Failure;
use crate::options::{self, Id, UsageError, Value};
use crate::terminal;

/// The command line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    connect: ConnectOptions,
    filters: Vec<String>,
    filters_out: Vec<String>,
    qos: QoS,
    show_topic: bool,
    newline: bool,
    show_retained: bool,
    count: Option<u64>,
    timeout: Option<Duration>,
    exit_after_subscribe: bool,
}

/// What `--help` and `--version` ask for, or a job.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    Run(Box<Job>),
}

/// How long after a lost connection the next is tried.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// How long the last packets may take to leave.
const LINGER: Duration = Duration::from_secs(1);
const OUTPUT_BUFFER: usize = 64 * 1024;
/// A broker need not send more than this ahead of what `-C` asks for.
const RECEIVE_MAXIMUM: u16 = 20;

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let command = &options::SUB;
    match parse(args) {
        Ok(Request::Help) => terminal::print(&command.help()),
        Ok(Request::Version) => terminal::print(&terminal::version(command.name)),
        Ok(Request::Run(job)) => match Subscriber::new(&job).run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => terminal::conclude(command, job.connect.quiet, &failure),
        },
        Err(error) => terminal::conclude(command, false, &Failure::Usage(error)),
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let mut job = Job {
        connect: ConnectOptions::default(),
        filters: Vec::new(),
        filters_out: Vec::new(),
        qos: QoS::AtMostOnce,
        show_topic: false,
        newline: true,
        show_retained: true,
        count: None,
        timeout: None,
        exit_after_subscribe: false,
    };
    for option in options::SUB.parse(args) {
        let (id, value) = option?;
        let Some(value) = job.connect.take(id, value)? else {
            continue;
        };
        match id {
            Id::Help => return Ok(Request::Help),
            Id::Version => return Ok(Request::Version),
            Id::Topic => job.filters.push(filter(value, "subscription")?),
            Id::FilterOut => job.filters_out.push(filter(value, "filter")?),
            Id::QoS => job.qos = qos(&value)?,
            Id::Verbose => job.show_topic = true,
            Id::NoNewline => job.newline = false,
            Id::RetainedOff => job.show_retained = false,
            Id::Count => {
                let fault = "Invalid message count \"{}\".";
                job.count = Some(value.number(1, u64::MAX, fault)?);
            }
            Id::Timeout => {
                let seconds = value.number(1, u32::MAX, "Invalid timeout \"{}\".")?;
                job.timeout = Some(Duration::from_secs(u64::from(seconds)));
            }
            Id::ExitAfterSubscribe => job.exit_after_subscribe = true,
            _ => {}
        }
    }
    if job.filters.is_empty() {
        return Err("You must specify a topic to subscribe to.".into());
    }
    job.connect = job.connect.finish()?;
    job.connect.receive_maximum = job
        .count
        .and_then(|count| u16::try_from(count).ok())
        .filter(|count| *count < RECEIVE_MAXIMUM);
    Ok(Request::Run(Box::new(job)))
}

fn filter(value: Value, what: &str) -> Result<String, UsageError> {
    let text = value.into_text("topic")?;
    if topic::Filter::parse(&text).is_ok() {
        return Ok(text);
    }
    Err(UsageError(format!(
        "Invalid {what} topic '{text}', are all '+' and '#' wildcards correct?"
    )))
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

struct Subscriber<'a> {
    job: &'a Job,
    output: BufWriter<StdoutLock<'static>>,
    deadline: Option<Instant>,
    printed: u64,
}

impl<'a> Subscriber<'a> {
    fn new(job: &'a Job) -> Self {
        Self {
            job,
            output: BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock()),
            deadline: job.timeout.map(|timeout| Instant::now() + timeout),
            printed: 0,
        }
    }

    /// Connects, and connects again whenever an established connection is lost.
    fn run(&mut self) -> Result<(), Failure> {
        let mut established = false;
        loop {
            let result = self.connection(&mut established);
            self.output.flush()?;
            match result {
                Err(failure) if established && failure.is_lost_connection() => {
                    self.pause()?;
                }
                result => return result,
            }
        }
    }

    fn pause(&self) -> Result<(), Failure> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        std::thread::sleep(left.unwrap_or(RECONNECT_DELAY).min(RECONNECT_DELAY));
        if left.is_some_and(|left| left <= RECONNECT_DELAY) {
            return Err(Failure::TimedOut);
        }
        Ok(())
    }

    /// One connection from CONNECT to its end.
    fn connection(&mut self, established: &mut bool) -> Result<(), Failure> {
        let mut client = Client::connect(&self.job.connect, self.deadline)?;
        let result = self.serve(&mut client, established);
        if matches!(result, Ok(()) | Err(Failure::TimedOut)) {
            client.disconnect(Instant::now() + LINGER)?;
        }
        self.print_trace(&mut client)?;
        result
    }

    fn serve(&mut self, client: &mut Client, established: &mut bool) -> Result<(), Failure> {
        loop {
            let Some(event) = client.next_event()? else {
                self.print_trace(client)?;
                self.output.flush()?;
                client.wait(self.deadline)?;
                continue;
            };
            if matches!(event, Event::Connected { reason } if !reason.is_failure()) {
                *established = true;
            }
            self.print_trace(client)?;
            if self.on_event(client, event)? == Progress::Done {
                return Ok(());
            }
        }
    }

    fn on_event(&mut self, client: &mut Client, event: Event) -> Result<Progress, Failure> {
        match event {
            Event::Connected { reason } if reason.is_failure() => {
                Err(Failure::Refused(self.job.connect.version, reason))
            }
            Event::Connected { .. } => {
                client.flows.subscribe(&self.job.filters, self.job.qos)?;
                Ok(Progress::More)
            }
            Event::Subscribed { codes } => {
                let denied = codes.iter().all(|code| *code >= 0x80);
                if denied && !self.job.connect.quiet {
                    terminal::complain("All subscription requests were denied.");
                }
                Ok(if denied || self.job.exit_after_subscribe {
                    Progress::Done
                } else {
                    Progress::More
                })
            }
            Event::Message {
                topic,
                payload,
                retain,
            } => Ok(self.print(&topic, &payload, retain)?),
            Event::Published { .. } => Ok(Progress::More),
        }
    }

    fn print(&mut self, topic: &str, payload: &[u8], retain: bool) -> io::Result<Progress> {
        let out = &self.job.filters_out;
        if retain && !self.job.show_retained
            || out.iter().any(|filter| topic::matches(filter, topic))
        {
            return Ok(Progress::More);
        }
        // An empty message shows as `(null)` behind its topic and without topic not at all, as
        // scripts written for mosquitto_sub expect.
        let shown = match (payload.is_empty(), self.job.show_topic) {
            (true, true) => b"(null)",
            _ => payload,
        };
        if self.job.show_topic {
            self.output.write_all(topic.as_bytes())?;
            self.output.write_all(b" ")?;
        }
        self.output.write_all(shown)?;
        if self.job.newline && !shown.is_empty() {
            self.output.write_all(b"\n")?;
        }
        self.printed += 1;
        Ok(
            if self.job.count.is_some_and(|count| self.printed >= count) {
                Progress::Done
            } else {
                Progress::More
            },
        )
    }

    fn print_trace(&mut self, client: &mut Client) -> io::Result<()> {
        self.output.write_all(client.flows.take_trace().as_bytes())
    }
}

#[cfg(test)]
mod tests;
