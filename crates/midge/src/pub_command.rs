//! `midge pub`: publishes one message, or each line of the standard input.

use std::ffi::OsString;
use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use midge_codec::{QoS, ReasonCode};

use crate::client::flows::{Event, Outgoing};
use crate::client::{Client, OUTBOUND_MAX};
use crate::command_line::{self, CommandLine};
use crate::connect_options::{ConnectOptions, needed, qos};
use crate::content::{Source, publish_topic};
use crate::failure::{Failure, sentence};
use crate::options::{self, Command, Id, UsageError, Value};
use crate::qos_report::QosReport;
use crate::terminal;

/// The command line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    connect: ConnectOptions,
    topic: String,
    source: Source,
    qos: QoS,
    retain: bool,
    repeat: u32,
    repeat_delay: Duration,
}

/// The command line, while it is read.
struct Line {
    connect: ConnectOptions,
    topic: Option<String>,
    source: Option<Source>,
    qos: QoS,
    retain: bool,
    repeat: u32,
    repeat_delay: Duration,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            topic: None,
            source: None,
            qos: QoS::AtMostOnce,
            retain: false,
            repeat: 1,
            repeat_delay: Duration::ZERO,
        }
    }
}

/// How many lines of the standard input may wait for the broker.
const LINES_AHEAD: usize = 64;
/// How long the last packets may take to leave.
const LINGER: Duration = Duration::from_secs(5);
/// How long after a lost connection the next is tried.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    command_line::run::<Line>(args, publish, |job| &job.connect)
}

impl CommandLine for Line {
    type Job = Job;

    const COMMAND: &'static Command = &options::PUB;
    const OPTIONS_FILE: &'static str = "mosquitto_pub";

    fn connect(&mut self) -> &mut ConnectOptions {
        &mut self.connect
    }

    fn take(&mut self, id: Id, value: Value) -> Result<(), UsageError> {
        let Some(value) = Source::take(&mut self.source, id, value)? else {
            return Ok(());
        };
        match id {
            Id::Topic => self.topic = Some(publish_topic(value.into_text("-t")?)?),
            Id::Url => {
                let name = needed(self.connect.take_url(value)?)?;
                self.topic = Some(publish_topic(name)?);
            }
            Id::QoS => self.qos = qos(&value)?,
            Id::Retain => self.retain = true,
            Id::Repeat => {
                self.repeat = value.number(1, u32::MAX, "--repeat argument must be >0.")?;
            }
            Id::RepeatDelay => {
                let fault = "--repeat-delay argument must be >=0.0.";
                let seconds: f64 = value.number(0.0, f64::from(u32::MAX), fault)?;
                self.repeat_delay = Duration::from_secs_f64(seconds);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Job, UsageError> {
        let (Some(topic), Some(source)) = (self.topic, self.source) else {
            return Err("Both topic and message must be supplied.".into());
        };
        Ok(Job {
            connect: self.connect.finish()?,
            topic,
            source,
            qos: self.qos,
            retain: self.retain,
            repeat: self.repeat,
            repeat_delay: self.repeat_delay,
        })
    }
}

/// Does the job.
fn publish(job: &Job) -> Result<(), Failure> {
    let payload = job.source.load()?;
    let mut publisher = Publisher {
        client: Client::connect(&job.connect, None)?,
        job,
        report: QosReport::new(job.connect.qos_report),
    };
    let result = publisher.run(payload.as_deref());
    // What was traced before a failure is the more welcome.
    publisher.print_trace()?;
    if let Some(report) = &publisher.report {
        report.print();
    }
    result
}

struct Publisher<'a> {
    client: Client,
    job: &'a Job,
    report: Option<Box<QosReport>>,
}

impl Publisher<'_> {
    fn run(&mut self, payload: Option<&[u8]>) -> Result<(), Failure> {
        let Some(payload) = payload else {
            self.publish_lines()?;
            return self.disconnect();
        };
        self.await_connack()?;
        for number in 0..self.job.repeat {
            if number > 0 && !self.job.repeat_delay.is_zero() {
                self.settle()?;
                self.pass_time(self.job.repeat_delay)?;
            }
            self.publish(payload)?;
        }
        self.settle()?;
        self.disconnect()
    }

    fn disconnect(&mut self) -> Result<(), Failure> {
        let properties = &self.job.connect.properties.disconnect;
        let deadline = Instant::now() + LINGER;
        self.client
            .disconnect_with(ReasonCode::SUCCESS, properties, deadline)
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

    /// Waits until everything is acknowledged.
    fn settle(&mut self) -> Result<(), Failure> {
        while self.client.flows.in_flight() > 0 {
            self.step(None)?;
        }
        Ok(())
    }

    /// Looks after the connection for some time.
    fn pass_time(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        loop {
            match self.step(Some(until)) {
                Err(Failure::TimedOut) => return Ok(()),
                step => step?,
            }
        }
    }

    fn publish(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let limit = self
            .job
            .connect
            .max_inflight
            .min(self.client.flows.receive_maximum());
        while self.client.flows.in_flight() >= usize::from(limit) {
            self.step(None)?;
        }
        let job = self.job;
        let number = self.client.flows.publish(&Outgoing {
            topic: &job.topic,
            payload,
            qos: job.qos,
            retain: job.retain,
            properties: job.connect.properties.publish.properties(),
        })?;
        if let Some(report) = &mut self.report {
            report.sent(job.qos, number);
        }
        // A long series does not pile up here.
        while self.client.flows.outbound().len() > OUTBOUND_MAX {
            self.step(None)?;
        }
        Ok(())
    }

    /// Publishes lines, over more than one connection if need be, and waits for what is in flight.
    fn publish_lines(&mut self) -> Result<(), Failure> {
        let mut lines = None;
        // A line that was taken and not given to a connection.
        let mut taken = None;
        let mut was_connected = false;
        loop {
            let result = self.lines_of_a_connection(&mut lines, &mut taken, &mut was_connected);
            match result {
                Err(failure) if was_connected && failure.is_lost_connection() => {
                    self.print_trace()?;
                    self.reconnect()?;
                }
                result => return result,
            }
        }
    }

    fn lines_of_a_connection(
        &mut self,
        lines: &mut Option<Receiver<io::Result<Vec<u8>>>>,
        taken: &mut Option<Vec<u8>>,
        was_connected: &mut bool,
    ) -> Result<(), Failure> {
        self.await_connack()?;
        *was_connected = true;
        if lines.is_none() {
            *lines = Some(self.read_lines()?);
        }
        loop {
            if let Some(line) = taken.as_ref() {
                self.publish(line)?;
                *taken = None;
            }
            match lines.as_ref().map(Receiver::try_recv) {
                Some(Ok(line)) => *taken = Some(line?),
                Some(Err(TryRecvError::Empty)) => self.step(None)?,
                Some(Err(TryRecvError::Disconnected)) | None => return self.settle(),
            }
        }
    }

    fn reconnect(&mut self) -> Result<(), Failure> {
        if let Some(report) = &mut self.report {
            report.reconnected();
        }
        loop {
            self.client.pause(RECONNECT_DELAY)?;
            match self.client.reconnect(&self.job.connect, None) {
                Err(failure) if failure.is_lost_connection() => {}
                result => return result,
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
    fn step(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        let Some(event) = self.client.next_event()? else {
            self.print_trace()?;
            return self.client.wait(deadline);
        };
        if let Event::Published {
            packet_id,
            reason,
            text,
        } = event
        {
            if let Some(report) = &mut self.report {
                report.acknowledged(packet_id, reason);
            }
            if reason.is_failure() && !self.job.connect.quiet {
                let reason = sentence(reason.text());
                terminal::complain(&format!("Warning: Publish {packet_id} failed: {reason}."));
                if let Some(text) = text {
                    terminal::complain(text);
                }
            }
        }
        Ok(())
    }

    fn print_trace(&mut self) -> io::Result<()> {
        let trace = self.client.flows.take_trace();
        io::stdout().lock().write_all(trace.as_bytes())
    }
}

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
