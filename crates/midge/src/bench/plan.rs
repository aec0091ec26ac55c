//! What is to be measured.

use std::ffi::OsString;
use std::time::Duration;

use midge_codec::{QoS, Version};

use super::template::STAMP_SIZE;
use crate::connect_options::{ConnectOptions, qos, random};
use crate::options::{Command, Id, UsageError, Value};

/// Who publishes to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Each publisher has a subscriber of its own.
    Pairs { pairs: u32 },
    /// One publisher, `subscribers` of its topic.
    FanOut { subscribers: u32 },
    /// `subscribers` share one subscription to all publishers' topics.
    Shared { publishers: u32, subscribers: u32 },
    /// One subscriber to all publishers' topics.
    Wildcard { publishers: u32 },
    /// So many filters with wildcards. Each publisher has three subscribers with a third of its filters
    /// each, and takes as many topics in turn as each of them has filters.
    Filters { publishers: u32, filters: u32 },
    /// `clients` at a time connect, subscribe and disconnect, over and over.
    Storm { clients: u32 },
    /// `clients` connect, subscribe, and do nothing.
    Idle { clients: u32 },
    /// `messages` are retained, then `subscribers` come and get them all.
    Retained { messages: u32, subscribers: u32 },
    /// `messages` are queued for each of the `sessions` that are away and then come back.
    Offline {
        sessions: u32,
        messages: u32,
        publishers: u32,
    },
}

/// Kinds of filter that match each message of [`Scenario::Filters`].
const KINDS: u32 = 3;

/// What makes a publisher send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At most so many messages of a publisher on their way.
    Closed { window: u32 },
    /// So many messages a second, all publishers together.
    Open { rate: u64 },
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) connect: ConnectOptions,
    pub(crate) scenario: Scenario,
    pub(crate) pace: Pace,
    pub(crate) qos: QoS,
    /// Bytes of each message.
    pub(crate) payload: usize,
    pub(crate) measure: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) threads: u32,
    /// How many processes do all of it at once.
    pub(crate) processes: u32,
    pub(crate) round: Duration,
    /// The broker's process.
    pub(crate) pid: Option<u32>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Tells this run's messages and topics from those of others.
    pub(crate) run: u32,
}

/// What `--help` asks for, or a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Run(Box<Plan>),
}

const CLIENTS_MAX: u32 = 100_000;
/// Topics have six digits, for as many as one message in three filters.
const FILTERS_MAX: u32 = 2_999_999;
const MESSAGES_MAX: u32 = 10_000_000;
const PAYLOAD_MAX: usize = 1024 * 1024;

impl Plan {
    pub(crate) const fn publishers(&self) -> u32 {
        match self.scenario {
            Scenario::Pairs { pairs } => pairs,
            Scenario::FanOut { .. } | Scenario::Retained { .. } | Scenario::Offline { .. } => 1,
            Scenario::Shared { publishers, .. }
            | Scenario::Wildcard { publishers }
            | Scenario::Filters { publishers, .. } => publishers,
            Scenario::Storm { .. } | Scenario::Idle { .. } => 0,
        }
    }

    pub(crate) const fn subscribers(&self) -> u32 {
        match self.scenario {
            Scenario::Pairs { pairs } => pairs,
            Scenario::FanOut { subscribers }
            | Scenario::Shared { subscribers, .. }
            | Scenario::Retained { subscribers, .. } => subscribers,
            Scenario::Wildcard { .. } => 1,
            Scenario::Filters { publishers, .. } => KINDS * publishers,
            Scenario::Storm { clients } | Scenario::Idle { clients } => clients,
            Scenario::Offline { sessions, .. } => sessions,
        }
    }

    /// How many subscribers get each message.
    pub(crate) const fn copies(&self) -> u64 {
        match self.scenario {
            Scenario::FanOut { subscribers } => subscribers as u64,
            Scenario::Filters { .. } => KINDS as u64,
            _ => 1,
        }
    }

    /// How many topics each publisher takes in turn.
    pub(crate) const fn topics_each(&self) -> u32 {
        match self.scenario {
            Scenario::Filters {
                publishers,
                filters,
            } => {
                let each = filters / (KINDS * publishers);
                if each == 0 { 1 } else { each }
            }
            _ => 1,
        }
    }

    /// The topics of all publishers; all have the same length.
    pub(crate) fn topics(&self) -> Vec<Vec<u8>> {
        (0..self.publishers() * self.topics_each())
            .map(|index| self.topic(index).into_bytes())
            .collect()
    }

    /// A topic, by its place in [`Self::topics`].
    pub(crate) fn topic(&self, index: u32) -> String {
        match self.scenario {
            Scenario::Filters { .. } => format!("bench/{:08x}/{index:06}/value", self.run),
            _ => format!("bench/{:08x}/{index:06}", self.run),
        }
    }

    /// The filters of a subscriber.
    pub(crate) fn filters(&self, subscriber: u32) -> Vec<String> {
        let run = self.run;
        match self.scenario {
            Scenario::FanOut { .. } => vec![self.topic(0)],
            Scenario::Shared { .. } => vec![format!("$share/bench/bench/{run:08x}/+")],
            Scenario::Wildcard { .. } | Scenario::Retained { .. } => {
                vec![format!("bench/{run:08x}/+")]
            }
            Scenario::Filters { .. } => {
                let first = subscriber / KINDS * self.topics_each();
                (first..first + self.topics_each())
                    .map(|topic| match subscriber % KINDS {
                        0 => format!("bench/{run:08x}/{topic:06}/+"),
                        1 => format!("bench/{run:08x}/{topic:06}/#"),
                        _ => format!("+/{run:08x}/{topic:06}/value"),
                    })
                    .collect()
            }
            Scenario::Pairs { .. }
            | Scenario::Storm { .. }
            | Scenario::Idle { .. }
            | Scenario::Offline { .. } => vec![self.topic(subscriber)],
        }
    }

    /// The publishers that a subscriber hears: the first, and how many.
    pub(crate) const fn heard_by(&self, subscriber: u32) -> (u32, u32) {
        match self.scenario {
            Scenario::Pairs { .. } => (subscriber, 1),
            Scenario::FanOut { .. } => (0, 1),
            Scenario::Shared { publishers, .. } | Scenario::Wildcard { publishers } => {
                (0, publishers)
            }
            Scenario::Filters { .. } => (subscriber / KINDS, 1),
            // Their messages are counted elsewhere.
            Scenario::Storm { .. }
            | Scenario::Idle { .. }
            | Scenario::Retained { .. }
            | Scenario::Offline { .. } => (0, 0),
        }
    }

    /// Whether a subscriber gets only a part of what it subscribed to.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self.scenario, Scenario::Shared { .. })
    }
}

/// Reads the command line of a scenario.
pub(crate) fn parse(command: &Command, args: Vec<OsString>) -> Result<Request, UsageError> {
    let mut connect = ConnectOptions::default();
    let mut sizes = Sizes::default();
    let mut plan = Plan {
        connect: ConnectOptions::default(),
        scenario: Scenario::Pairs { pairs: 100 },
        pace: Pace::Closed { window: 100 },
        qos: QoS::AtMostOnce,
        payload: 128,
        measure: Duration::from_secs(10),
        warm_up: Duration::from_secs(1),
        threads: 1,
        processes: 1,
        round: Duration::from_micros(1000),
        pid: None,
        json: false,
        quiet: false,
        run: u32::try_from(random() >> 32).unwrap_or_default(),
    };
    for option in command.parse(args) {
        let (id, value) = option?;
        match id {
            Id::Help => return Ok(Request::Help),
            Id::Quiet => plan.quiet = true,
            Id::Url => {
                connect.take_url(value)?;
            }
            _ => {
                if let Some(value) = connect.take(id, value)? {
                    take(&mut plan, &mut sizes, id, &value)?;
                }
            }
        }
    }
    if plan.payload < STAMP_SIZE {
        return Err(UsageError(format!(
            "Invalid payload size, a message needs at least {STAMP_SIZE} bytes."
        )));
    }
    plan.scenario = sizes.scenario(command);
    if matches!(plan.scenario, Scenario::Offline { .. }) && plan.qos == QoS::AtMostOnce {
        // Brokers queue no QoS 0 for who is away.
        plan.qos = QoS::AtLeastOnce;
    }
    if plan.processes > 1 && connect.oauth.asks_a_person() {
        return Err(
            "Each of several processes would ask for a login. Get a token first, and give it by \
             --oauth-token-file."
                .into(),
        );
    }
    plan.connect = connect.finish()?;
    // No pings are sent while measuring, and no run lasts longer.
    plan.connect.keep_alive_secs = u16::MAX;
    Ok(Request::Run(Box::new(plan)))
}

/// How many clients, as far as given.
#[derive(Default)]
struct Sizes {
    pairs: Option<u32>,
    publishers: Option<u32>,
    subscribers: Option<u32>,
    clients: Option<u32>,
    filters: Option<u32>,
    messages: Option<u32>,
    wildcard: bool,
}

impl Sizes {
    fn scenario(&self, command: &Command) -> Scenario {
        let publishers = self.publishers.unwrap_or(100);
        match command.name {
            "midge bench fan-out" => Scenario::FanOut {
                subscribers: self.subscribers.unwrap_or(1000),
            },
            "midge bench fan-in" if self.wildcard => Scenario::Wildcard { publishers },
            "midge bench fan-in" => Scenario::Shared {
                publishers,
                subscribers: self.subscribers.unwrap_or(5),
            },
            "midge bench wildcard" => Scenario::Filters {
                publishers: self.publishers.unwrap_or(10),
                filters: self.filters.unwrap_or(100_000),
            },
            "midge bench conn" => Scenario::Storm {
                clients: self.clients.unwrap_or(100),
            },
            "midge bench idle" => Scenario::Idle {
                clients: self.clients.unwrap_or(1000),
            },
            "midge bench retained" => Scenario::Retained {
                messages: self.messages.unwrap_or(10_000),
                subscribers: self.subscribers.unwrap_or(10),
            },
            "midge bench offline" => Scenario::Offline {
                sessions: self.clients.unwrap_or(100),
                messages: self.messages.unwrap_or(100),
                publishers: self.publishers.unwrap_or(1),
            },
            _ => Scenario::Pairs {
                pairs: self.pairs.unwrap_or(100),
            },
        }
    }
}

fn take(plan: &mut Plan, sizes: &mut Sizes, id: Id, value: &Value) -> Result<(), UsageError> {
    let clients = || value.number(1, CLIENTS_MAX, "Invalid number of clients: {}");
    match id {
        Id::Pairs => sizes.pairs = Some(clients()?),
        Id::Publishers => sizes.publishers = Some(clients()?),
        Id::Subscribers => sizes.subscribers = Some(clients()?),
        Id::Clients => sizes.clients = Some(clients()?),
        Id::Filters => {
            sizes.filters = Some(value.number(1, FILTERS_MAX, "Invalid number of filters: {}")?);
        }
        Id::Messages => {
            sizes.messages =
                Some(value.number(1, MESSAGES_MAX, "Invalid number of messages: {}")?);
        }
        Id::Wildcard => sizes.wildcard = true,
        Id::QoS => plan.qos = qos(value)?,
        Id::Payload => plan.payload = value.number(0, PAYLOAD_MAX, "Invalid payload size: {}")?,
        Id::Window => {
            let window = value.number(1, 65_535, "Invalid window: {}")?;
            plan.pace = Pace::Closed { window };
        }
        Id::Rate => {
            let rate = value.number(1, 1_000_000_000, "Invalid rate: {}")?;
            plan.pace = Pace::Open { rate };
        }
        Id::Seconds => plan.measure = seconds(value, 1)?,
        Id::WarmUp => plan.warm_up = seconds(value, 0)?,
        Id::Threads => plan.threads = value.number(1, 64, "Invalid number of threads: {}")?,
        Id::Processes => {
            plan.processes = value.number(1, 64, "Invalid number of processes: {}")?;
        }
        Id::RoundMicros => {
            let micros = value.number(0, 1_000_000, "Invalid round: {}")?;
            plan.round = Duration::from_micros(micros);
        }
        Id::Pid => plan.pid = Some(value.number(1, u32::MAX, "Invalid process id: {}")?),
        Id::Json => plan.json = true,
        _ => {}
    }
    Ok(())
}

fn seconds(value: &Value, min: u64) -> Result<Duration, UsageError> {
    let seconds = value.number(min, 36_000, "Invalid time: {}")?;
    Ok(Duration::from_secs(seconds))
}

/// The version as the command line spells it.
pub(crate) const fn version_name(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "3.1",
        Version::V3_1_1 => "3.1.1",
        Version::V5 => "5.0",
    }
}

/// What carries the messages, as a report says it.
pub(crate) fn transport(plan: &Plan) -> &'static str {
    let connect = &plan.connect;
    match (
        connect.uses_tls(),
        connect.websocket,
        connect.unix.is_some(),
    ) {
        (false, false, false) => "tcp",
        (true, false, _) => "tls",
        (false, true, _) => "websocket",
        (true, true, _) => "websocket over tls",
        (false, false, true) => "unix",
    }
}
