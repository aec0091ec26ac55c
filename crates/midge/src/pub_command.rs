//! `midge pub`: publishes one message, or each line of the standard input.

use std::ffi::OsString;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use midge_codec::{QoS, topic};

use crate::client::Client;
use crate::client::flows::Event;
use crate::connect_options::{ConnectOptions, qos};
use crate::failure::{Failure, plain, sentence};
use crate::options::{self, Id, UsageError, Value};
use crate::terminal;

/// Where the payload comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
    StdinWhole,
    StdinLines,
}

/// The command line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    connect: ConnectOptions,
    topic: String,
    source: Source,
    qos: QoS,
    retain: bool,
    repeat: u32,
    max_inflight: u16,
}

/// What `--help` and `--version` ask for, or a job.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    Run(Box<Job>),
}

/// How many lines of the standard input may wait for the broker.
const LINES_AHEAD: usize = 64;
/// How long the last packets may take to leave.
const LINGER: Duration = Duration::from_secs(5);

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let command = &options::PUB;
    match parse(args) {
        Ok(Request::Help) => terminal::print(&command.help()),
        Ok(Request::Version) => terminal::print(&terminal::version(command.name)),
        Ok(Request::Run(job)) => match publish(&job) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => terminal::conclude(command, job.connect.quiet, &failure),
        },
        Err(error) => terminal::conclude(command, false, &Failure::Usage(error)),
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let mut connect = ConnectOptions::default();
    let mut name = None;
    let mut source = None;
    let mut job_qos = QoS::AtMostOnce;
    let mut retain = false;
    let mut repeat = 1;
    let mut max_inflight = 20;
    for option in options::PUB.parse(args) {
        let (id, value) = option?;
        let Some(value) = connect.take(id, value)? else {
            continue;
        };
        match id {
            Id::Help => return Ok(Request::Help),
            Id::Version => return Ok(Request::Version),
            Id::Topic => name = Some(topic_name(value)?),
            Id::Message => choose(&mut source, Source::Bytes(value.into_bytes()))?,
            Id::File => choose(&mut source, Source::File(value.into_os_string().into()))?,
            Id::Lines => choose(&mut source, Source::StdinLines)?,
            Id::StdinFile => choose(&mut source, Source::StdinWhole)?,
            Id::NullMessage => choose(&mut source, Source::Bytes(Vec::new()))?,
            Id::QoS => job_qos = qos(&value)?,
            Id::Retain => retain = true,
            Id::Repeat => repeat = value.number(1, u32::MAX, "--repeat argument must be >0.")?,
            Id::MaxInflight => {
                let fault = "Maximum inflight messages must be greater than 0.";
                max_inflight = value.number(1, u16::MAX, fault)?;
            }
            _ => {}
        }
    }
    let (Some(topic), Some(source)) = (name, source) else {
        return Err("Both topic and message must be supplied.".into());
    };
    if source == Source::StdinLines && repeat > 1 {
        return Err("--repeat cannot be used with -l.".into());
    }
    Ok(Request::Run(Box::new(Job {
        connect: connect.finish()?,
        topic,
        source,
        qos: job_qos,
        retain,
        repeat,
        max_inflight,
    })))
}

fn topic_name(value: Value) -> Result<String, UsageError> {
    let name = value.into_text("topic")?;
    if topic::is_name(&name) {
        return Ok(name);
    }
    let text = format!("Invalid publish topic '{name}', does it contain '+' or '#'?");
    Err(UsageError(text))
}

fn choose(source: &mut Option<Source>, chosen: Source) -> Result<(), UsageError> {
    if source.replace(chosen).is_some() {
        return Err("Only one type of message can be sent at once.".into());
    }
    Ok(())
}

/// Does the job.
fn publish(job: &Job) -> Result<(), Failure> {
    let payload = match &job.source {
        Source::Bytes(bytes) => Some(bytes.clone()),
        Source::File(path) => Some(std::fs::read(path).map_err(|error| {
            let path = path.display();
            Failure::Other(format!(
                "Unable to open file \"{path}\": {}.",
                plain(&error)
            ))
        })?),
        Source::StdinWhole => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            Some(bytes)
        }
        Source::StdinLines => None,
    };
    let mut publisher = Publisher {
        client: Client::connect(&job.connect, None)?,
        job,
    };
    let result = publisher.run(payload.as_deref());
    // What was traced before a failure is the more welcome.
    publisher.print_trace()?;
    result
}

struct Publisher<'a> {
    client: Client,
    job: &'a Job,
}

impl Publisher<'_> {
    fn run(&mut self, payload: Option<&[u8]>) -> Result<(), Failure> {
        self.await_connack()?;
        match payload {
            Some(payload) => {
                for _ in 0..self.job.repeat {
                    self.publish(payload)?;
                }
            }
            None => self.publish_lines()?,
        }
        while self.client.flows.in_flight() > 0 {
            self.step()?;
        }
        self.client.disconnect(Instant::now() + LINGER)
    }

    fn await_connack(&mut self) -> Result<(), Failure> {
        loop {
            match self.client.next_event()? {
                Some(Event::Connected { reason }) if reason.is_failure() => {
                    return Err(Failure::Refused(self.job.connect.version, reason));
                }
                Some(Event::Connected { .. }) => return Ok(()),
                Some(_) => {}
                None => self.client.wait(None)?,
            }
        }
    }

    fn publish(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let limit = self
            .job
            .max_inflight
            .min(self.client.flows.receive_maximum());
        while self.client.flows.in_flight() >= usize::from(limit) {
            self.step()?;
        }
        let job = self.job;
        self.client
            .flows
            .publish(&job.topic, payload, job.qos, job.retain)?;
        // A long series does not pile up here.
        while self.client.flows.outbound().len() > OUTBOUND_MAX {
            self.step()?;
        }
        Ok(())
    }

    /// Takes lines as a reading thread finds them; the connection is looked after meanwhile.
    fn publish_lines(&mut self) -> Result<(), Failure> {
        let lines = self.read_lines()?;
        loop {
            match lines.try_recv() {
                Ok(line) => self.publish(&line?)?,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => self.step()?,
            }
        }
    }

    fn read_lines(&self) -> Result<Receiver<io::Result<Vec<u8>>>, Failure> {
        let (sender, receiver) = sync_channel(LINES_AHEAD);
        let waker = self.client.waker();
        let wake = move || {
            // A waker that fails has no poll left to wake.
            let _ = waker.wake();
        };
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                send_lines(sender, &wake);
                wake();
            })?;
        Ok(receiver)
    }

    /// Handles what has arrived; if that is nothing, waits.
    fn step(&mut self) -> Result<(), Failure> {
        let Some(event) = self.client.next_event()? else {
            self.print_trace()?;
            return self.client.wait(None);
        };
        if let Event::Published { packet_id, reason } = event
            && reason.is_failure()
            && !self.job.connect.quiet
        {
            let reason = sentence(reason.text());
            terminal::complain(&format!("Warning: Publish {packet_id} failed: {reason}."));
        }
        Ok(())
    }

    fn print_trace(&mut self) -> io::Result<()> {
        let trace = self.client.flows.take_trace();
        io::stdout().lock().write_all(trace.as_bytes())
    }
}

/// How many bytes may wait for the socket before a series of QoS 0 messages pauses.
const OUTBOUND_MAX: usize = 1024 * 1024;

/// Sends each line without its end, until the end of the input or of the receiver.
fn send_lines(sender: SyncSender<io::Result<Vec<u8>>>, wake: &impl Fn()) {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let item = match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                Ok(line)
            }
            Err(error) => Err(error),
        };
        let failed = item.is_err();
        if sender.send(item).is_err() || failed {
            return;
        }
        wake();
    }
}

#[cfg(test)]
mod tests;
