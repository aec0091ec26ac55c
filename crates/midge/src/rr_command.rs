//! `midge rr`: publishes a request and prints the response.

use std::ffi::OsString;
use std::io::{self, StdoutLock, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use midge_codec::{Property, PropertyId, ReasonCode, Version};

use crate::client::Client;
use crate::client::flows::{Event, Outgoing};
use crate::command_line::{self, CommandLine};
use crate::connect_options::{ConnectOptions, needed};
use crate::content::{Source, publish_topic, shown};
use crate::failure::{Failure, sentence};
use crate::options::{self, Command, Id, UsageError, Value};
use crate::printer::{PrintOptions, Printer};
use crate::qos_report::QosReport;
use crate::subscribe_options::SubscribeOptions;

/// The command line, read.
#[derive(Clone, Debug, PartialEq)]
struct Job {
    connect: ConnectOptions,
    print: PrintOptions,
    topic: Option<String>,
    response_topic: Option<String>,
    source: Option<Source>,
    subscribe: SubscribeOptions,
    latency: bool,
}

/// How long the last packets may take to leave.
const LINGER: Duration = Duration::from_secs(5);

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    command_line::run::<Job>(args, ask, |job| &job.connect)
}

impl Default for Job {
    fn default() -> Self {
        Self {
            connect: ConnectOptions {
                version: Version::V5,
                ..ConnectOptions::default()
            },
            print: PrintOptions::default(),
            topic: None,
            response_topic: None,
            source: None,
            subscribe: SubscribeOptions::default(),
            latency: false,
        }
    }
}

impl CommandLine for Job {
    type Job = Self;

    const COMMAND: &'static Command = &options::RR;
    const OPTIONS_FILE: &'static str = "mosquitto_rr";

    fn connect(&mut self) -> &mut ConnectOptions {
        &mut self.connect
    }

    fn finish(mut self) -> Result<Self, UsageError> {
        let (Some(_), Some(response_topic), Some(_)) =
            (&self.topic, &self.response_topic, &self.source)
        else {
            return Err("All of topic, message, and response topic must be supplied.".into());
        };
        if self.connect.version == Version::V5 {
            let publish = &mut self.connect.properties.publish;
            if publish
                .iter()
                .any(|property| property.id() == PropertyId::ResponseTopic)
            {
                return Err(
                    "The response topic is given twice: leave out the property, -e sets it.".into(),
                );
            }
            publish.push(&Property::ResponseTopic(response_topic));
        }
        self.connect = self.connect.finish()?;
        self.connect.receive_maximum = Some(1);
        Ok(self)
    }

    fn take(&mut self, id: Id, value: Value) -> Result<(), UsageError> {
        let Some(value) = self.print.take(id, value)? else {
            return Ok(());
        };
        let Some(value) = self.subscribe.take(id, value)? else {
            return Ok(());
        };
        let Some(value) = Source::take(&mut self.source, id, value)? else {
            return Ok(());
        };
        match id {
            Id::Topic => self.topic = Some(publish_topic(value.into_text("-t")?)?),
            Id::Url => {
                let name = needed(self.connect.take_url(value)?)?;
                self.topic = Some(publish_topic(name)?);
            }
            Id::ResponseTopic => {
                let name = value.into_text("-e")?;
                if !midge_codec::topic::is_name(&name) {
                    return Err(UsageError(format!(
                        "Invalid response topic '{name}', does it contain '+' or '#'?"
                    )));
                }
                self.response_topic = Some(name);
            }
            Id::Latency => self.latency = true,
            _ => {}
        }
        Ok(())
    }
}

/// Does the job.
fn ask(job: &Job) -> Result<(), Failure> {
    let payload = match &job.source {
        Some(source) => source.load()?.unwrap_or_default(),
        None => Vec::new(),
    };
    let deadline = job
        .subscribe
        .timeout
        .map(|timeout| Instant::now() + timeout);
    let mut requester = Requester {
        job,
        client: Client::connect(&job.connect, deadline)?,
        printer: Printer::new(&job.print, io::stdout().lock()),
        report: QosReport::new(job.connect.qos_report),
        sent: None,
        unheard: false,
    };
    let result = requester.run(&payload, deadline);
    requester.print_trace()?;
    if let Some(report) = &requester.report {
        report.print();
    }
    result
}

struct Requester<'a> {
    job: &'a Job,
    client: Client,
    printer: Printer<'a, StdoutLock<'static>>,
    report: Option<Box<QosReport>>,
    /// When the request was made.
    sent: Option<Instant>,
    /// The broker has said that nobody is subscribed to the topic of the request.
    unheard: bool,
}

impl Requester<'_> {
    fn run(&mut self, payload: &[u8], deadline: Option<Instant>) -> Result<(), Failure> {
        let result = match self.exchange(payload, deadline) {
            Err(Failure::TimedOut) if self.sent.is_some() => Err(self.no_response()),
            result => result,
        };
        let reason = match &result {
            Ok(_) => ReasonCode::SUCCESS,
            Err(Failure::TimedOut | Failure::NoResponse(_)) => ReasonCode::DISCONNECT_WITH_WILL,
            Err(_) => return result.map(|_| ()),
        };
        let properties = &self.job.connect.properties.disconnect;
        let by = Instant::now() + LINGER;
        self.client.disconnect_with(reason, properties, by)?;
        let latency = result?;
        if self.job.latency {
            self.print_trace()?;
            writeln!(self.printer.output, "Latency: {}", latency_text(latency))?;
        }
        Ok(())
    }

    /// Asks, and gives how long the response took.
    fn exchange(&mut self, payload: &[u8], deadline: Option<Instant>) -> Result<Duration, Failure> {
        let job = self.job;
        let response_topic = job.response_topic.clone().unwrap_or_default();
        let mut response = None;
        loop {
            // A request of QoS 1 or 2 is through before the connection ends.
            if let Some(took) = response
                && self.client.flows.in_flight() == 0
            {
                return Ok(took);
            }
            let Some(event) = self.client.flows.next_event(&mut self.client.inbound)? else {
                self.print_trace()?;
                self.client.wait(deadline)?;
                continue;
            };
            match event {
                Event::Connected { reason } if reason.is_failure() => {
                    return Err(Failure::Refused(job.connect.version, reason));
                }
                Event::Connected { .. } => self.client.flows.subscribe(
                    std::slice::from_ref(&response_topic),
                    job.subscribe.asked,
                    &job.connect.properties.subscribe,
                )?,
                Event::Subscribed { codes, .. } => {
                    if let Some(code) = codes.first().filter(|code| **code >= 0x80) {
                        let why = sentence(ReasonCode(*code).text());
                        return Err(Failure::Other(format!(
                            "The subscription to the response topic was denied: {why}."
                        )));
                    }
                    self.publish(payload)?;
                }
                Event::Message(message) => {
                    if message.retain && !job.subscribe.show_retained || response.is_some() {
                        continue;
                    }
                    let Some(sent) = self.sent else {
                        // A retained message that was there before.
                        self.printer.print(&message)?;
                        response = Some(Duration::ZERO);
                        continue;
                    };
                    response = Some(sent.elapsed());
                    if let Some(report) = &mut self.report {
                        report.received(&message);
                    }
                    let trace = self.client.flows.take_trace();
                    self.printer.output.write_all(trace.as_bytes())?;
                    self.printer.print(&message)?;
                }
                Event::Published {
                    packet_id, reason, ..
                } => {
                    if let Some(report) = &mut self.report {
                        report.acknowledged(packet_id, reason);
                    }
                    self.unheard |= reason == ReasonCode::NO_MATCHING_SUBSCRIBERS;
                    if reason.is_failure() {
                        let why = sentence(reason.text());
                        return Err(Failure::Other(format!("The request was refused: {why}.")));
                    }
                }
                Event::Unsubscribed => {}
            }
        }
    }

    fn publish(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let job = self.job;
        self.sent = Some(Instant::now());
        let number = self.client.flows.publish(&Outgoing {
            topic: job.topic.as_deref().unwrap_or_default(),
            payload,
            qos: job.subscribe.asked.qos,
            retain: false,
            properties: job.connect.properties.publish.properties(),
        })?;
        if let Some(report) = &mut self.report {
            report.sent(job.subscribe.asked.qos, number);
        }
        Ok(())
    }

    /// The request has left, and its time is over.
    fn no_response(&self) -> Failure {
        let shown_of = |topic: &Option<String>| shown(topic.as_deref().unwrap_or_default());
        let (request, response) = (
            shown_of(&self.job.topic),
            shown_of(&self.job.response_topic),
        );
        Failure::NoResponse(if self.unheard {
            format!(
                "The broker says that nobody is subscribed to '{request}'. Who answers has to be there first."
            )
        } else {
            format!(
                "Is anyone subscribed to '{request}', and does it answer to '{response}'? -W gives it more time."
            )
        })
    }

    fn print_trace(&mut self) -> io::Result<()> {
        let trace = self.client.flows.take_trace();
        self.printer.output.write_all(trace.as_bytes())
    }
}

/// A time as mosquitto_rr prints it.
fn latency_text(latency: Duration) -> String {
    let nanos = latency.subsec_nanos();
    if latency.as_secs() > 0 {
        format!("{}.{nanos:09}", latency.as_secs())
    } else if nanos < 1_000 {
        format!("{nanos}ns")
    } else if nanos < 1_000_000 {
        format!("{:.6}µs", f64::from(nanos) / 1e3)
    } else {
        format!("{:.6}ms", f64::from(nanos) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::{Request, parse};
    use midge_codec::QoS;

    fn read_line(line: &str) -> Result<Request<Job>, UsageError> {
        parse::<Job>(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn a_request_says_where_its_response_is_expected() {
        let Ok(Request::Run(job)) = read_line("-t ask -e answer -m x -q 1 -W 3") else {
            panic!("no job");
        };
        let properties: Vec<_> = job.connect.properties.publish.iter().collect();
        assert_eq!(properties, [Property::ResponseTopic("answer")]);
        assert_eq!(job.connect.version, Version::V5);
        assert_eq!(job.subscribe.asked.qos, QoS::AtLeastOnce);
        assert_eq!(job.subscribe.timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn faults_are_told_in_the_words_of_mosquitto_rr() {
        for (line, text) in [
            (
                "-t a -m x",
                "All of topic, message, and response topic must be supplied.",
            ),
            (
                "-t a -e b/# -m x",
                "Invalid response topic 'b/#', does it contain '+' or '#'?",
            ),
            ("-t a -e b -m x -C 1", "Unknown option '-C'."),
            ("-t a -e b -m x -r", "Unknown option '-r'."),
            ("-t a -e b -l", "Unknown option '-l'."),
        ] {
            assert_eq!(read_line(line), Err(text.into()), "{line}");
        }
    }

    #[test]
    fn latencies_are_printed_as_mosquitto_rr_does() {
        assert_eq!(latency_text(Duration::from_nanos(999)), "999ns");
        assert_eq!(latency_text(Duration::from_nanos(1_500)), "1.500000µs");
        assert_eq!(latency_text(Duration::from_micros(2_250)), "2.250000ms");
        assert_eq!(latency_text(Duration::from_millis(1_001)), "1.001000000");
    }
}
