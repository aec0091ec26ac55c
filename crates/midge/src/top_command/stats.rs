//! What the `$SYS` topics said.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use midge_codec::Publish;

/// A number that a broker publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Figure {
    Connected,
    Disconnected,
    Clients,
    ClientsMaximum,
    Expired,
    Subscriptions,
    SharedSubscriptions,
    Retained,
    HeapCurrent,
    HeapMaximum,
    Queued,
    QueuedBytes,
    OutgoingPackets,
    OutgoingBytes,
    Sockets,
    MessagesIn,
    MessagesOut,
    PublishIn,
    PublishOut,
    Dropped,
    BytesIn,
    BytesOut,
}

/// What is counted up, and the load average of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Load {
    PublishIn,
    PublishOut,
    Dropped,
    MessagesIn,
    MessagesOut,
    BytesIn,
    BytesOut,
    Connections,
    Sockets,
}

const FIGURES: &[(&str, Figure)] = &[
    ("clients/connected", Figure::Connected),
    ("clients/disconnected", Figure::Disconnected),
    ("clients/total", Figure::Clients),
    ("clients/maximum", Figure::ClientsMaximum),
    ("clients/expired", Figure::Expired),
    ("subscriptions/count", Figure::Subscriptions),
    ("shared_subscriptions/count", Figure::SharedSubscriptions),
    ("retained messages/count", Figure::Retained),
    ("heap/current", Figure::HeapCurrent),
    ("heap/maximum", Figure::HeapMaximum),
    ("store/messages/count", Figure::Queued),
    ("store/messages/bytes", Figure::QueuedBytes),
    ("packet/out/count", Figure::OutgoingPackets),
    ("packet/out/bytes", Figure::OutgoingBytes),
    ("connections/socket/count", Figure::Sockets),
    ("messages/received", Figure::MessagesIn),
    ("messages/sent", Figure::MessagesOut),
    ("publish/messages/received", Figure::PublishIn),
    ("publish/messages/sent", Figure::PublishOut),
    ("publish/messages/dropped", Figure::Dropped),
    ("bytes/received", Figure::BytesIn),
    ("bytes/sent", Figure::BytesOut),
];

const LOADS: &[(&str, Load)] = &[
    ("publish/received", Load::PublishIn),
    ("publish/sent", Load::PublishOut),
    ("publish/dropped", Load::Dropped),
    ("messages/received", Load::MessagesIn),
    ("messages/sent", Load::MessagesOut),
    ("bytes/received", Load::BytesIn),
    ("bytes/sent", Load::BytesOut),
    ("connections", Load::Connections),
    ("sockets", Load::Sockets),
];

/// Figures that are counted up, whose rate is of interest.
const COUNTERS: &[Figure] = &[
    Figure::MessagesIn,
    Figure::MessagesOut,
    Figure::PublishIn,
    Figure::PublishOut,
    Figure::Dropped,
    Figure::BytesIn,
    Figure::BytesOut,
];

/// How long the values of one round take to come.
const ROUND: Duration = Duration::from_millis(200);
/// Rates that are remembered for the curve.
const HISTORY: usize = 512;
/// Topics that are counted apart.
const TOPICS_MAX: usize = 10_000;
/// How long without any `$SYS` topic is strange.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is known of a broker.
pub(super) struct Stats {
    began: Instant,
    version: Option<String>,
    uptime_secs: Option<u64>,
    figures: HashMap<Figure, f64>,
    /// Averages a second over 1, 5 and 15 minutes.
    loads: HashMap<Load, [Option<f64>; 3]>,
    /// The counters at the last round, and when that was.
    last_round: Option<(Instant, HashMap<Figure, f64>)>,
    /// When the values of this round are all there.
    round_ends: Option<Instant>,
    rates: HashMap<Figure, f64>,
    /// Messages published each second, in and out, the newest last.
    pub(super) history: VecDeque<(f64, f64)>,
    topics: HashMap<String, Topic>,
    topics_from: Instant,
    /// Messages of topics beyond those that are counted apart.
    uncounted: u64,
}

/// The messages of one topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Topic {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Stats {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            version: None,
            uptime_secs: None,
            figures: HashMap::new(),
            loads: HashMap::new(),
            last_round: None,
            round_ends: None,
            rates: HashMap::new(),
            history: VecDeque::new(),
            topics: HashMap::new(),
            topics_from: now,
            uncounted: 0,
        }
    }

    /// Takes a message, of `$SYS` or to be counted.
    pub(super) fn take(&mut self, message: &Publish<'_>, now: Instant) {
        let Some(name) = message.topic.strip_prefix("$SYS/broker/") else {
            if !message.topic.starts_with("$SYS/") && !message.retain {
                self.count(message);
            }
            return;
        };
        let Ok(text) = str::from_utf8(message.payload) else {
            return;
        };
        match name {
            "version" => self.version = Some(text.to_owned()),
            "uptime" => {
                let number = text.split(' ').next().unwrap_or_default();
                self.uptime_secs = number.parse().ok();
                // It comes with each round; what was retained belongs to one that is over.
                if !message.retain {
                    self.round_ends = Some(now + ROUND);
                }
            }
            _ => self.take_number(name, text),
        }
    }

    fn take_number(&mut self, name: &str, text: &str) {
        let Some(value) = text
            .trim()
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
        else {
            return;
        };
        if let Some((_, figure)) = FIGURES.iter().find(|(known, _)| *known == name) {
            self.figures.insert(*figure, value);
        } else if let Some(load) = name.strip_prefix("load/")
            && let Some((what, span)) = load.rsplit_once('/')
            && let Some((_, load)) = LOADS.iter().find(|(known, _)| *known == what)
        {
            let span = match span {
                "1min" => 0,
                "5min" => 1,
                "15min" => 2,
                _ => return,
            };
            if let Some(place) = self.loads.entry(*load).or_default().get_mut(span) {
                // They are published by the minute.
                *place = Some(value / 60.0);
            }
        }
    }

    fn count(&mut self, message: &Publish<'_>) {
        if !self.topics.contains_key(message.topic) {
            if self.topics.len() >= TOPICS_MAX {
                self.uncounted += 1;
                return;
            }
            self.topics
                .insert(message.topic.to_owned(), Topic::default());
        }
        if let Some(topic) = self.topics.get_mut(message.topic) {
            topic.messages += 1;
            topic.bytes += message.payload.len() as u64;
        }
    }

    /// Makes rates of counters when a round is complete.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(_) = self.round_ends.filter(|end| now >= *end) else {
            return;
        };
        self.round_ends = None;
        let counters: HashMap<Figure, f64> = COUNTERS
            .iter()
            .filter_map(|figure| Some((*figure, *self.figures.get(figure)?)))
            .collect();
        if let Some((then, before)) = &self.last_round {
            let seconds = now
                .saturating_duration_since(*then)
                .as_secs_f64()
                .max(0.001);
            for (figure, value) in &counters {
                if let Some(before) = before.get(figure) {
                    // Less than before: the broker was started anew.
                    self.rates
                        .insert(*figure, ((value - before) / seconds).max(0.0));
                }
            }
            let rate = |figure| self.rates.get(&figure).copied().unwrap_or_default();
            if self.history.len() >= HISTORY {
                self.history.pop_front();
            }
            self.history
                .push_back((rate(Figure::PublishIn), rate(Figure::PublishOut)));
        }
        self.last_round = Some((now, counters));
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(super) const fn uptime_secs(&self) -> Option<u64> {
        self.uptime_secs
    }

    pub(super) fn figure(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).copied()
    }

    /// How fast a counter grew in the last round, by the second.
    pub(super) fn rate(&self, figure: Figure) -> Option<f64> {
        self.rates.get(&figure).copied()
    }

    /// An average by the second over 1, 5 or 15 minutes.
    pub(super) fn load(&self, load: Load, span: usize) -> Option<f64> {
        self.loads.get(&load)?.get(span).copied().flatten()
    }

    /// Whether there is enough for a line.
    pub(super) fn is_complete(&self) -> bool {
        self.figure(Figure::Connected).is_some() && self.figure(Figure::BytesOut).is_some()
    }

    /// Whether the broker is silent about itself.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.figures.is_empty() && now.saturating_duration_since(self.began) > PATIENCE
    }

    /// The topics with most messages, and for how long all of them were counted.
    pub(super) fn busiest(&self, count: usize, now: Instant) -> (Vec<(&str, Topic)>, Duration) {
        let mut topics: Vec<_> = self
            .topics
            .iter()
            .map(|(name, topic)| (name.as_str(), *topic))
            .collect();
        topics.sort_by(|a, b| b.1.messages.cmp(&a.1.messages).then(a.0.cmp(b.0)));
        topics.truncate(count);
        (topics, now.saturating_duration_since(self.topics_from))
    }

    pub(super) const fn uncounted(&self) -> u64 {
        self.uncounted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midge_codec::{Properties, QoS};

    fn publish(stats: &mut Stats, topic: &str, payload: &str, retain: bool, now: Instant) {
        let message = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain,
            topic,
            packet_id: None,
            properties: Properties::NONE,
            payload: payload.as_bytes(),
        };
        stats.take(&message, now);
    }

    #[test]
    fn rates_are_what_counters_grew_from_round_to_round() {
        let start = Instant::now();
        let mut stats = Stats::new(start);
        let round = |stats: &mut Stats, count: &str, at: Instant, retain| {
            publish(stats, "$SYS/broker/uptime", "5 seconds", retain, at);
            publish(
                stats,
                "$SYS/broker/publish/messages/received",
                count,
                retain,
                at,
            );
            stats.tick(at + ROUND);
        };
        round(&mut stats, "1000", start, true);
        assert_eq!(stats.rate(Figure::PublishIn), None);
        let ten = Duration::from_secs(10);
        round(&mut stats, "2000", start + ten, false);
        assert_eq!(stats.rate(Figure::PublishIn), None);
        round(&mut stats, "2500", start + 2 * ten, false);
        assert_eq!(stats.rate(Figure::PublishIn), Some(50.0));
        assert_eq!(stats.history, [(50.0, 0.0)]);
        // A broker that was started anew begins at nothing.
        round(&mut stats, "5", start + 3 * ten, false);
        assert_eq!(stats.rate(Figure::PublishIn), Some(0.0));
    }

    #[test]
    fn averages_are_by_the_second() {
        let now = Instant::now();
        let mut stats = Stats::new(now);
        publish(
            &mut stats,
            "$SYS/broker/load/publish/sent/5min",
            "120.5",
            true,
            now,
        );
        publish(
            &mut stats,
            "$SYS/broker/load/publish/sent/9min",
            "1",
            true,
            now,
        );
        publish(
            &mut stats,
            "$SYS/broker/clients/connected",
            "nonsense",
            true,
            now,
        );
        assert_eq!(stats.load(Load::PublishOut, 1), Some(120.5 / 60.0));
        assert_eq!(stats.load(Load::PublishOut, 0), None);
        assert_eq!(stats.figure(Figure::Connected), None);
    }

    #[test]
    fn the_busiest_topics_come_first_and_there_is_an_end_to_them() {
        let now = Instant::now();
        let mut stats = Stats::new(now);
        for number in 0..TOPICS_MAX + 5 {
            publish(&mut stats, &format!("t/{number}"), "x", false, now);
        }
        publish(&mut stats, "t/7", "xyz", false, now);
        publish(&mut stats, "t/8", "x", true, now);
        let (topics, _) = stats.busiest(1, now);
        assert_eq!(topics.len(), 1);
        assert_eq!(
            (topics[0].0, topics[0].1.messages, topics[0].1.bytes),
            ("t/7", 2, 4)
        );
        assert_eq!(stats.uncounted(), 5);
    }

    #[test]
    fn a_broker_that_says_nothing_of_itself_is_noticed() {
        let start = Instant::now();
        let stats = Stats::new(start);
        assert!(!stats.is_silent(start + PATIENCE));
        assert!(stats.is_silent(start + PATIENCE + Duration::from_secs(1)));
    }
}
