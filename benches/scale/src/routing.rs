//! A publish among few and among many filters.

use std::time::Instant;

use midge_codec::{QoS, Version};

use crate::cluster::Cluster;
use crate::instructions::{Counted, counted_by_valgrind};
use crate::meter::Memory;
use crate::plan::Plan;
use crate::report::{Goal, Report};
use crate::traffic::{BATCH, Chance, best_of, blocks, per, publish_all};
use crate::{Error, packets};

/// Filters that the many are compared with.
const FEW: usize = 1_000;

/// Filters of one client.
const OF_A_CLIENT: usize = 1_000;

/// SUBSCRIBE and UNSUBSCRIBE packets, of one filter each, that come in one turn.
const AT_ONCE: usize = 100;

/// Turns that a measurement takes.
const BLOCKS: usize = 5_000;

/// How much dearer a publish may become.
const RATIO_MAX: f64 = 2.0;

const SUBSCRIPTIONS_PER_SECOND: f64 = 100_000.0;

/// Measures routing.
pub(crate) fn run(plan: &Plan) -> Result<Report, Error> {
    let many = plan.count(1_000_000, 5_000);
    let blocks_count = if plan.quick { 50 } else { BLOCKS };
    let mut report = Report::new("routing");
    report.add("filters", many as f64, "");
    let few_cost = {
        let mut filters = Filters::new(FEW)?;
        filters.subscribe()?;
        filters.publish(plan.rounds(), blocks_count)?
    };
    let mut filters = Filters::new(many)?;
    let before = Memory::now();
    let begin = Instant::now();
    filters.subscribe()?;
    let span = begin.elapsed();
    let held = Memory::now();
    let each = |bytes: i64| bytes as f64 / many as f64;
    report.add_goal(
        "subscriptions per second",
        1e9 / per(span, many as u64),
        "",
        Goal::AtLeast(SUBSCRIPTIONS_PER_SECOND),
    );
    let bytes = each(held.allocated - before.allocated);
    report.add("memory of a subscription, by the allocator", bytes, "bytes");
    let bytes = each(held.resident - before.resident);
    report.add("memory of a subscription, resident", bytes, "bytes");
    let many_cost = filters.publish(plan.rounds(), blocks_count)?;
    report.add("publish among 1,000", few_cost, "ns");
    report.add("publish among all", many_cost, "ns");
    report.add_goal("ratio", many_cost / few_cost, "", Goal::AtMost(RATIO_MAX));
    let begin = Instant::now();
    filters.unsubscribe()?;
    let span = begin.elapsed();
    let left = Memory::now();
    let name = "unsubscriptions per second";
    report.add(name, 1e9 / per(span, many as u64), "");
    let bytes = each(left.allocated - before.allocated);
    report.add(
        "left of a subscription's memory, by the allocator",
        bytes,
        "bytes",
    );
    let bytes = each(left.resident - before.resident);
    report.add("left of a subscription's memory, resident", bytes, "bytes");
    if plan.instructions {
        let few = Counted::Routing(FEW).instructions()?;
        let many = Counted::Routing(many).instructions()?;
        report.add("publish among 1,000", few, "instructions");
        report.add("publish among all", many, "instructions");
        report.add_goal(
            "ratio of instructions",
            many / few,
            "",
            Goal::AtMost(RATIO_MAX),
        );
    }
    Ok(report)
}

/// Publishes among `count` filters, for valgrind.
pub(crate) fn count(count: usize) -> Result<u64, Error> {
    let mut filters = Filters::new(count)?;
    filters.subscribe()?;
    let blocks = filters.blocks(50)?;
    publish_all(&mut filters.cluster, PUBLISHER, &blocks)?;
    counted_by_valgrind(|| publish_all(&mut filters.cluster, PUBLISHER, &blocks))
}

/// A shard with many filters, each of which matches a topic of its own.
struct Filters {
    cluster: Cluster,
    count: usize,
}

/// The token of the client that publishes; subscribers follow.
const PUBLISHER: usize = 0;

impl Filters {
    fn new(count: usize) -> Result<Self, Error> {
        let clients = count.div_ceil(OF_A_CLIENT);
        let mut cluster = Cluster::new(1, clients + 1, Cluster::settings());
        let core = cluster.core(0)?;
        for token in 0..=clients {
            let mut bytes = Vec::new();
            packets::connect(Version::V5, &format!("client-{token}"), 0, &mut bytes)?;
            core.open(token, &bytes)?;
            core.turn([])?;
        }
        Ok(Self { cluster, count })
    }

    fn subscribe(&mut self) -> Result<(), Error> {
        self.each(|filter, bytes| packets::subscribe(Version::V5, filter, QoS::AtMostOnce, bytes))
    }

    fn unsubscribe(&mut self) -> Result<(), Error> {
        self.each(|filter, bytes| packets::unsubscribe(Version::V5, filter, bytes))
    }

    /// Lets a client send a packet for each filter.
    fn each(
        &mut self,
        encode: impl Fn(&str, &mut Vec<u8>) -> Result<(), midge_codec::EncodeError>,
    ) -> Result<(), Error> {
        let core = self.cluster.core(0)?;
        let mut packets: Vec<(usize, Vec<u8>)> = vec![(0, Vec::new()); AT_ONCE];
        for first in (0..self.count).step_by(AT_ONCE) {
            let numbers = first..(first + AT_ONCE).min(self.count);
            let used = numbers.len();
            for (number, (token, bytes)) in numbers.zip(&mut packets) {
                *token = 1 + number / OF_A_CLIENT;
                bytes.clear();
                encode(&filter(number), bytes)?;
            }
            let some = packets.iter().take(used);
            core.turn(some.map(|(token, bytes)| (*token, bytes.as_slice())))?;
        }
        Ok(())
    }

    fn blocks(&self, count: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut chance = Chance(11);
        blocks(Version::V5, count, || topic(chance.below(self.count)))
    }

    /// Nanoseconds of a publish that one filter matches.
    fn publish(&mut self, rounds: usize, blocks_count: usize) -> Result<f64, Error> {
        let blocks = self.blocks(blocks_count)?;
        let delivered = publish_all(&mut self.cluster, PUBLISHER, &blocks)?;
        if delivered != (blocks_count * BATCH) as u64 {
            return Err(
                format!("{delivered} messages came of {blocks_count} times {BATCH}").into(),
            );
        }
        best_of(rounds, || {
            publish_all(&mut self.cluster, PUBLISHER, &blocks)
        })
    }
}

fn topic(number: usize) -> String {
    format!("plant/{:03}/device/{number:06}/state", number / 1_000)
}

/// Of ten: six exact, of which one is shared, two with `+`, two with `#`.
fn filter(number: usize) -> String {
    let plant = number / 1_000;
    match number % 10 {
        0..=4 => topic(number),
        5 => format!("$share/group-{}/{}", number % 100, topic(number)),
        6 => format!("plant/+/device/{number:06}/state"),
        7 => format!("plant/{plant:03}/device/{number:06}/+"),
        8 => format!("plant/{plant:03}/device/{number:06}/#"),
        _ => format!("plant/{plant:03}/+/{number:06}/#"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_matched_once_until_all_have_unsubscribed() {
        let mut filters = Filters::new(2_030).unwrap();
        filters.subscribe().unwrap();
        filters.publish(1, 50).unwrap();
        filters.unsubscribe().unwrap();
        let blocks = filters.blocks(10).unwrap();
        let delivered = publish_all(&mut filters.cluster, PUBLISHER, &blocks);
        assert_eq!(delivered.unwrap(), 0);
    }
}
