//! Many retained messages, and a subscription to all of them while others publish.

use std::time::Instant;

use midge_codec::{QoS, Version};

use crate::cluster::{Cluster, Core};
use crate::meter::{Memory, peak_above, reset_peak, thread_cpu};
use crate::plan::Plan;
use crate::report::{Goal, Report};
use crate::traffic::{PAYLOAD, per};
use crate::{Error, packets};

/// Bytes of each payload.
const PAYLOAD_BYTES: usize = 32;

/// What a retained message may cost beyond its topic and payload.
const BYTES_MAX: f64 = 400.0;

/// What others may have to wait for at the 99th percentile, in microseconds.
const WAIT_MAX: f64 = 10_000.0;

/// PUBLISH packets in a turn while they are stored.
const AT_ONCE: usize = 100;

const STORER: usize = 0;
const PUBLISHER: usize = 1;
const LISTENER: usize = 2;
const FIRST_READER: usize = 3;

/// Measures retained messages.
pub(crate) fn run(plan: &Plan) -> Result<Report, Error> {
    let count = plan.count(1_000_000, 5_000);
    let mut report = Report::new("retained");
    report.add("retained messages", count as f64, "");
    let mut store = Store::new()?;
    let before = Memory::now();
    let begin = thread_cpu();
    store.fill(count)?;
    let span = thread_cpu() - begin;
    let held = Memory::now();
    let each = |bytes: i64| bytes as f64 / count as f64;
    report.add("store", per(span, count as u64), "ns");
    let beyond = |bytes: i64| each(bytes) - (topic(0).len() + PAYLOAD_BYTES) as f64;
    report.add_goal(
        "memory of one beyond topic and payload, by the allocator",
        beyond(held.allocated - before.allocated),
        "bytes",
        Goal::AtMost(BYTES_MAX),
    );
    report.add_goal(
        "memory of one beyond topic and payload, resident",
        beyond(held.resident - before.resident),
        "bytes",
        Goal::AtMost(BYTES_MAX),
    );
    let idle = store.turns(if plan.quick { 100 } else { 20_000 })?;
    report.add(
        "turn with one message to one client, median",
        idle.at(0.5),
        "µs",
    );
    for (name, filter) in [("all", "#"), ("every 10th", "plant/+/device/+/state/0")] {
        let before = Memory::now();
        reset_peak();
        let walk = store.walk(filter)?;
        let peak = peak_above(&before) as f64 / 1024.0;
        report.add(
            format!("subscription to {name}: messages"),
            walk.sent as f64,
            "",
        );
        let cost = walk.turns.sum_micros() * 1e3 / walk.sent.max(1) as f64;
        report.add(format!("subscription to {name}: each message"), cost, "ns");
        report.add(
            format!("subscription to {name}: turns"),
            walk.turns.len() as f64,
            "",
        );
        report.add(
            format!("subscription to {name}: median turn"),
            walk.turns.at(0.5),
            "µs",
        );
        report.add_goal(
            format!("subscription to {name}: 99th percentile of turns"),
            walk.turns.at(0.99),
            "µs",
            Goal::AtMost(WAIT_MAX),
        );
        report.add_goal(
            format!("subscription to {name}: longest turn"),
            walk.turns.at(1.0),
            "µs",
            Goal::AtMost(WAIT_MAX),
        );
        report.add(
            format!("subscription to {name}: memory at the most"),
            peak,
            "KiB",
        );
    }
    let before = Memory::now();
    let stuck = store.stick()?;
    let after = Memory::now();
    let bytes = (after.allocated - before.allocated) as f64 / 1024.0;
    report.add(
        "subscription to all of a client that takes nothing: memory",
        bytes,
        "KiB",
    );
    report.add_goal(
        "the same: 99th percentile of turns",
        stuck.at(0.99),
        "µs",
        Goal::AtMost(WAIT_MAX),
    );
    Ok(report)
}

/// A shard with retained messages.
struct Store {
    cluster: Cluster,
    next_reader: usize,
}

/// How a subscription to retained messages went.
struct Walk {
    sent: u64,
    turns: Turns,
}

/// Lengths of turns in nanoseconds.
struct Turns(Vec<u64>);

impl Turns {
    fn new(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Self(nanos)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// The length that this share of the turns does not exceed, in microseconds.
    fn at(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share).ceil().max(1.0) as usize - 1;
        self.0.get(place).map_or(0.0, |nanos| *nanos as f64 / 1e3)
    }

    fn sum_micros(&self) -> f64 {
        self.0.iter().sum::<u64>() as f64 / 1e3
    }
}

impl Store {
    fn new() -> Result<Self, Error> {
        let mut cluster = Cluster::new(1, 16, Cluster::settings());
        let core = cluster.core(0)?;
        for token in 0..FIRST_READER {
            connect(core, token)?;
        }
        let mut bytes = Vec::new();
        packets::subscribe(Version::V5, OTHERS, QoS::AtMostOnce, &mut bytes)?;
        core.turn([(LISTENER, bytes.as_slice())])?;
        Ok(Self {
            cluster,
            next_reader: FIRST_READER,
        })
    }

    fn fill(&mut self, count: usize) -> Result<(), Error> {
        let payload = PAYLOAD.get(..PAYLOAD_BYTES).unwrap_or_default();
        let core = self.cluster.core(0)?;
        let mut bytes = Vec::new();
        for first in (0..count).step_by(AT_ONCE) {
            bytes.clear();
            for number in first..(first + AT_ONCE).min(count) {
                let topic = topic(number);
                packets::publish(
                    Version::V5,
                    QoS::AtMostOnce,
                    0,
                    true,
                    &topic,
                    payload,
                    &mut bytes,
                )?;
            }
            core.turn([(STORER, bytes.as_slice())])?;
        }
        Ok(())
    }

    /// A turn in which a message goes from one of the others to another; its nanoseconds.
    fn turn(&mut self, subscribe: Option<(usize, &[u8])>) -> Result<u64, Error> {
        let mut bytes = Vec::new();
        packets::publish(
            Version::V5,
            QoS::AtMostOnce,
            0,
            false,
            OTHERS,
            &PAYLOAD,
            &mut bytes,
        )?;
        let core = self.cluster.core(0)?;
        let begin = Instant::now();
        let input = subscribe.into_iter().chain([(PUBLISHER, bytes.as_slice())]);
        core.turn(input)?;
        Ok(u64::try_from(begin.elapsed().as_nanos())?)
    }

    fn turns(&mut self, count: usize) -> Result<Turns, Error> {
        let turns: Result<Vec<u64>, Error> = (0..count).map(|_| self.turn(None)).collect();
        Ok(Turns::new(turns?))
    }

    /// A new client that is about to subscribe to `filter`.
    fn reader(&mut self, filter: &str) -> Result<(usize, Vec<u8>), Error> {
        let reader = self.next_reader;
        self.next_reader += 1;
        connect(self.cluster.core(0)?, reader)?;
        let mut bytes = Vec::new();
        packets::subscribe(Version::V5, filter, QoS::AtMostOnce, &mut bytes)?;
        Ok((reader, bytes))
    }

    /// Lets a new client subscribe to `filter` and take everything; others go on.
    fn walk(&mut self, filter: &str) -> Result<Walk, Error> {
        let (reader, bytes) = self.reader(filter)?;
        let before = self.cluster.counts().delivered;
        let mut turns = vec![self.turn(Some((reader, &bytes)))?];
        while self.cluster.core(0)?.has_work() {
            turns.push(self.turn(None)?);
        }
        // A message of the others comes to the listener in each turn, and to a reader of everything.
        let own = turns.len() as u64 * if filter == "#" { 2 } else { 1 };
        let sent = (self.cluster.counts().delivered - before).saturating_sub(own);
        self.cluster
            .core(0)?
            .turn([(reader, packets::DISCONNECT.as_slice())])?;
        Ok(Walk {
            sent,
            turns: Turns::new(turns),
        })
    }

    /// The same of a client that takes nothing.
    fn stick(&mut self) -> Result<Turns, Error> {
        let (reader, bytes) = self.reader("plant/#")?;
        self.cluster.core(0)?.let_stick(reader);
        let mut turns = vec![self.turn(Some((reader, &bytes)))?];
        for _ in 0..1_000 {
            turns.push(self.turn(None)?);
        }
        Ok(Turns::new(turns))
    }
}

fn connect(core: &mut Core, token: usize) -> Result<(), Error> {
    let mut bytes = Vec::new();
    packets::connect(Version::V5, &format!("client-{token}"), 0, &mut bytes)?;
    core.open(token, &bytes)?;
    core.turn([])
}

fn topic(number: usize) -> String {
    format!(
        "plant/{:03}/device/{number:06}/state/{}",
        number / 1_000,
        number % 10
    )
}

/// The topic of those who have nothing to do with retained messages.
const OTHERS: &str = "others/topic";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_turns_are_found_in_order() {
        let turns = Turns::new((1..=100).rev().map(|micros| micros * 1_000).collect());
        assert!((turns.at(0.5) - 50.0).abs() < 1e-9);
        assert!((turns.at(0.99) - 99.0).abs() < 1e-9);
        assert!((turns.at(1.0) - 100.0).abs() < 1e-9);
        assert!(Turns::new(Vec::new()).at(1.0).abs() < 1e-9);
    }

    #[test]
    fn a_subscription_gets_what_matches() {
        let mut store = Store::new().unwrap();
        store.fill(2_500).unwrap();
        let all = store.walk("#").unwrap();
        assert_eq!(all.sent, 2_500);
        assert!(all.turns.len() > 1);
        assert_eq!(store.walk("plant/001/#").unwrap().sent, 1_000);
        store.stick().unwrap();
    }
}
