//! `midge sub`: subscribes and prints what arrives.

use std::ffi::OsString;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use midge_codec::{Properties, Publish, QoS, ReasonCode, topic};

use crate::client::Client;
use crate::client::flows::{Event, Flows, Outgoing};
use crate::command_line::{self, CommandLine};
use crate::connect_options::{ConnectOptions, needed};
use crate::content::shown;
use crate::failure::{Failure, sentence};
use crate::options::{self, Command, Id, UsageError, Value};
use crate::printer::{PrintOptions, Printer};
use crate::qos_report::QosReport;
use crate::subscribe_options::SubscribeOptions;
use crate::terminal;

/// The command line, read.
#[derive(Clone, Debug, Default, PartialEq)]
struct Job {
    connect: ConnectOptions,
    print: PrintOptions,
    filters: Vec<String>,
    filters_out: Vec<String>,
    unsubscribe: Vec<String>,
    subscribe: SubscribeOptions,
    retained_only: bool,
    remove_retained: bool,
    message_rate: bool,
    count: Option<u64>,
    exit_after_subscribe: bool,
}

/// How long after a lost connection the next is tried.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// How long the last packets may take to leave.
const LINGER: Duration = Duration::from_secs(1);
const OUTPUT_BUFFER: usize = 256 * 1024;
/// A broker need not send more than this ahead of what `-C` asks for.
const RECEIVE_MAXIMUM: u16 = 20;
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let perform = |job: &Job| {
        let mut subscriber = Subscriber::new(job);
        let result = subscriber.run();
        if let Some(report) = &subscriber.report {
            report.print();
        }
        result
    };
    command_line::run::<Job>(args, perform, |job| &job.connect)
}

impl CommandLine for Job {
    type Job = Self;

    const COMMAND: &'static Command = &options::SUB;
    const OPTIONS_FILE: &'static str = "mosquitto_sub";

    fn connect(&mut self) -> &mut ConnectOptions {
        &mut self.connect
    }

    fn finish(mut self) -> Result<Self, UsageError> {
        if self.filters.is_empty() && self.unsubscribe.is_empty() {
            return Err(
                "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).".into(),
            );
        }
        if !self.subscribe.show_retained && self.retained_only {
            return Err("Combining '-R' and '--retained-only' makes no sense.".into());
        }
        self.connect = self.connect.finish()?;
        self.connect.receive_maximum = self
            .count
            .and_then(|count| u16::try_from(count).ok())
            .filter(|count| *count < RECEIVE_MAXIMUM);
        Ok(self)
    }

    fn take(&mut self, id: Id, value: Value) -> Result<(), UsageError> {
        let Some(value) = self.print.take(id, value)? else {
            return Ok(());
        };
        let Some(value) = self.subscribe.take(id, value)? else {
            return Ok(());
        };
        match id {
            Id::Topic => self
                .filters
                .push(filter(value.into_text("-t")?, "subscription")?),
            Id::Url => {
                let filter_of_url = needed(self.connect.take_url(value)?)?;
                self.filters.push(filter(filter_of_url, "subscription")?);
            }
            Id::FilterOut => self
                .filters_out
                .push(filter(value.into_text("-T")?, "filter")?),
            Id::Unsubscribe => self
                .unsubscribe
                .push(filter(value.into_text("-U")?, "unsubscribe")?),
            Id::RetainedOnly => self.retained_only = true,
            Id::RemoveRetained => self.remove_retained = true,
            Id::MessageRate => self.message_rate = true,
            Id::Count => {
                let fault = "Invalid message count \"{}\".";
                self.count = Some(value.number(1, u64::MAX, fault)?);
            }
            Id::ExitAfterSubscribe => self.exit_after_subscribe = true,
            _ => {}
        }
        Ok(())
    }
}

/// Reads a topic filter.
pub(crate) fn filter(text: String, what: &str) -> Result<String, UsageError> {
    if topic::Filter::parse(&text).is_ok() {
        return Ok(text);
    }
    Err(UsageError(format!(
        "Invalid {what} topic '{}', are all '+' and '#' wildcards correct?",
        shown(&text)
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
    printer: Printer<'a, BufWriter<StdoutLock<'static>>>,
    report: Option<Box<QosReport>>,
    deadline: Option<Instant>,
    printed: u64,
    /// Messages of this second, and its end.
    rate: (u64, Instant),
    /// A CONNACK has come, ever.
    was_connected: bool,
    /// Acknowledgements of subscriptions and unsubscriptions that this connection waits for.
    unanswered: usize,
    /// Enough was printed; what is in flight is waited for.
    ending: bool,
}

impl<'a> Subscriber<'a> {
    fn new(job: &'a Job) -> Self {
        let output = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
        let now = Instant::now();
        Self {
            job,
            printer: Printer::new(&job.print, output),
            report: QosReport::new(job.connect.qos_report),
            deadline: job.subscribe.timeout.map(|timeout| now + timeout),
            printed: 0,
            rate: (0, now + RATE_INTERVAL),
            was_connected: false,
            unanswered: 0,
            ending: false,
        }
    }

    /// Connects, and connects again whenever the connection is lost.
    fn run(&mut self) -> Result<(), Failure> {
        let connect = &self.job.connect;
        let mut client = Client::connect(connect, self.deadline)?;
        client.watch_signals()?;
        client.watch_output();
        self.printer.begin(&connect.host)?;
        loop {
            let mut result = self.serve(&mut client);
            let properties = &connect.properties.disconnect;
            let by = Instant::now() + LINGER;
            match &result {
                Ok(()) => client.disconnect_with(ReasonCode::SUCCESS, properties, by)?,
                Err(Failure::TimedOut | Failure::Signal) if self.was_connected => {
                    let reason = ReasonCode::DISCONNECT_WITH_WILL;
                    client.disconnect_with(reason, properties, by)?;
                }
                Err(_) => {}
            }
            self.print_trace(&mut client.flows)?;
            self.printer.output.flush()?;
            if matches!(result, Err(Failure::Signal)) && self.was_connected {
                result = Ok(());
            }
            match result {
                Err(failure) if failure.is_lost_connection() => self.reconnect(&mut client)?,
                result => return result,
            }
        }
    }

    fn reconnect(&mut self, client: &mut Client) -> Result<(), Failure> {
        if !self.was_connected && !self.job.connect.quiet {
            terminal::complain(
                "Warning: The broker closed the connection before it answered. Trying again; is this \
                 the right port, with or without TLS?",
            );
        }
        if let Some(report) = &mut self.report {
            report.reconnected();
        }
        loop {
            let left = self
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            client.pause(left.unwrap_or(RECONNECT_DELAY).min(RECONNECT_DELAY))?;
            if left.is_some_and(|left| left <= RECONNECT_DELAY) {
                return Err(Failure::TimedOut);
            }
            match client.reconnect(&self.job.connect, self.deadline) {
                Err(failure) if failure.is_lost_connection() => {}
                result => return result,
            }
        }
    }

    /// One connection from CONNECT to its end.
    fn serve(&mut self, client: &mut Client) -> Result<(), Failure> {
        let traced = self.job.connect.debug;
        loop {
            let Some(event) = client.flows.next_event(&mut client.inbound)? else {
                self.print_trace(&mut client.flows)?;
                self.printer.output.flush()?;
                if self.ending && client.flows.in_flight() == 0 {
                    return Ok(());
                }
                self.wait(client)?;
                continue;
            };
            if traced {
                self.print_trace(&mut client.flows)?;
            }
            if self.on_event(&mut client.flows, &event)? == Progress::Done {
                self.ending = true;
                if client.flows.in_flight() == 0 {
                    return Ok(());
                }
            }
        }
    }

    fn wait(&mut self, client: &mut Client) -> Result<(), Failure> {
        if !self.job.message_rate {
            return client.wait(self.deadline);
        }
        let (count, end) = self.rate;
        if Instant::now() >= end {
            writeln!(self.printer.output, "{count}")?;
            self.printer.output.flush()?;
            self.rate = (0, end + RATE_INTERVAL);
        }
        let (_, end) = self.rate;
        let until = self.deadline.map_or(end, |deadline| deadline.min(end));
        match client.wait(Some(until)) {
            Err(Failure::TimedOut) if Some(until) != self.deadline => Ok(()),
            result => result,
        }
    }

    fn on_event(&mut self, flows: &mut Flows, event: &Event<'_>) -> Result<Progress, Failure> {
        match event {
            Event::Message(message) => self.on_message(flows, message),
            Event::Connected { reason } if reason.is_failure() => {
                Err(Failure::Refused(self.job.connect.version, *reason))
            }
            Event::Connected { .. } => {
                self.was_connected = true;
                let Job {
                    filters,
                    unsubscribe,
                    connect,
                    ..
                } = self.job;
                self.unanswered = usize::from(!filters.is_empty()) + unsubscribe.len();
                if !filters.is_empty() {
                    let properties = &connect.properties.subscribe;
                    flows.subscribe(filters, self.job.subscribe.asked, properties)?;
                }
                for filter in unsubscribe {
                    flows.unsubscribe(filter, &connect.properties.unsubscribe)?;
                }
                Ok(Progress::More)
            }
            Event::Subscribed { packet_id, codes } => {
                if self.job.connect.debug {
                    let codes: Vec<_> = codes.iter().map(u8::to_string).collect();
                    let codes = codes.join(", ");
                    writeln!(
                        self.printer.output,
                        "Subscribed (mid: {packet_id}): {codes}"
                    )?;
                }
                let denied = codes.iter().all(|code| *code >= 0x80);
                if denied && !self.job.connect.quiet {
                    terminal::complain("All subscription requests were denied.");
                }
                Ok(if denied {
                    Progress::Done
                } else {
                    self.answered()
                })
            }
            Event::Unsubscribed => Ok(self.answered()),
            Event::Published { reason, .. } => {
                if reason.is_failure() && !self.job.connect.quiet {
                    let reason = sentence(reason.text());
                    terminal::complain(&format!(
                        "Warning: A retained message was not removed: {reason}."
                    ));
                }
                Ok(Progress::More)
            }
        }
    }

    /// One of the first requests is answered.
    const fn answered(&mut self) -> Progress {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0 && self.job.exit_after_subscribe {
            Progress::Done
        } else {
            Progress::More
        }
    }

    fn on_message(
        &mut self,
        flows: &mut Flows,
        message: &Publish<'_>,
    ) -> Result<Progress, Failure> {
        let job = self.job;
        if self.ending {
            return Ok(Progress::More);
        }
        if job.retained_only && !message.retain {
            return Ok(Progress::Done);
        }
        if message.retain && !job.subscribe.show_retained {
            return Ok(Progress::More);
        }
        let is_out = |filter: &String| topic::matches(filter, message.topic);
        if !job.filters_out.is_empty() && job.filters_out.iter().any(is_out) {
            return Ok(Progress::More);
        }
        if job.remove_retained && message.retain {
            flows.publish(&Outgoing {
                topic: message.topic,
                payload: &[],
                qos: QoS::AtLeastOnce,
                retain: true,
                properties: Properties::NONE,
            })?;
        }
        if let Some(report) = &mut self.report {
            report.received(message);
        }
        if job.message_rate {
            self.rate.0 += 1;
        } else {
            self.printer.print(message)?;
        }
        self.printed += 1;
        Ok(match job.count {
            Some(count) if self.printed >= count => Progress::Done,
            _ => Progress::More,
        })
    }

    fn print_trace(&mut self, flows: &mut Flows) -> io::Result<()> {
        let trace = flows.take_trace();
        self.printer.output.write_all(trace.as_bytes())
    }
}

#[cfg(test)]
mod tests;
