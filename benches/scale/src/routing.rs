//! A publish among few and among many filters.

use midge_codec::{QoS, Version};

use crate::cluster::Cluster;
use crate::instructions::{Counted, counted_by_valgrind};
use crate::meter::{Memory, thread_cpu, trim};
use crate::plan::Plan;
use crate::report::{Goal, Report};
use crate::traffic::{BATCH, Chance, best_of, blocks, per, publish_all};
use crate::{Error, packets};

/// Filters that the many are compared with.
const FEW: usize = 1_000;

/// Clients that have the filters. Shared ones are with clients of their own, of which each has one: a client
/// looks at all of its groups whenever it has room again.
const CLIENTS: usize = 1_000;
const SHARING_CLIENTS: usize = 100_000;

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
    let few_costs = {
        let mut filters = Filters::new(FEW)?;
        filters.subscribe()?;
        filters.publish_kinds(plan.rounds(), blocks_count)?
    };
    let mut filters = Filters::new(many)?;
    let before = Memory::now();
    let begin = thread_cpu();
    filters.subscribe()?;
    let span = thread_cpu() - begin;
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
    let many_costs = filters.publish_kinds(plan.rounds(), blocks_count)?;
    for ((kind, few), (_, many)) in few_costs.into_iter().zip(many_costs) {
        report.add(format!("publish, {kind}, among 1,000"), few, "ns");
        report.add(format!("publish, {kind}, among all"), many, "ns");
        let name = format!("publish, {kind}: ratio");
        report.add_goal(name, many / few, "", Goal::AtMost(RATIO_MAX));
    }
    let heavy = heavy_member(plan.rounds(), blocks_count.min(500))?;
    let name = "publish to one of many members with 1,000 shared subscriptions each";
    report.add(name, heavy, "ns");
    let begin = thread_cpu();
    filters.unsubscribe()?;
    let span = thread_cpu() - begin;
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
    trim();
    let left = Memory::now();
    let bytes = each(left.resident - before.resident);
    report.add("the same after malloc_trim", bytes, "bytes");
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
    let blocks = filters.blocks(50, ALL)?;
    publish_all(&mut filters.cluster, PUBLISHER, &blocks)?;
    counted_by_valgrind(|| publish_all(&mut filters.cluster, PUBLISHER, &blocks))
}

/// Nanoseconds of a publish where each of 20 clients has a thousand shared subscriptions.
fn heavy_member(rounds: usize, blocks_count: usize) -> Result<f64, Error> {
    let mut filters = Filters::with(20_000, |number| {
        (
            format!("$share/group/{}", topic(number)),
            1 + number / 1_000,
        )
    })?;
    filters.subscribe()?;
    filters.publish(rounds, blocks_count, ALL)
}

/// A shard with many filters, each of which matches a topic of its own.
struct Filters {
    cluster: Cluster,
    count: usize,
    /// The filter of a number, and the client that has it.
    of: fn(usize) -> (String, usize),
}

/// The token of the client that publishes; subscribers follow.
const PUBLISHER: usize = 0;

impl Filters {
    fn new(count: usize) -> Result<Self, Error> {
        Self::with(count, mixed)
    }

    fn with(count: usize, of: fn(usize) -> (String, usize)) -> Result<Self, Error> {
        let clients = (0..count).map(|number| of(number).1).max().unwrap_or(0);
        let mut cluster = Cluster::new(1, clients + 1, Cluster::settings());
        let core = cluster.core(0)?;
        for token in 0..=clients {
            let mut bytes = Vec::new();
            packets::connect(Version::V5, &format!("client-{token}"), 0, &mut bytes)?;
            core.open(token, &bytes)?;
            core.turn([])?;
        }
        Ok(Self { cluster, count, of })
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
        let of = self.of;
        let core = self.cluster.core(0)?;
        let mut packets: Vec<(usize, Vec<u8>)> = vec![(0, Vec::new()); AT_ONCE];
        for first in (0..self.count).step_by(AT_ONCE) {
            let numbers = first..(first + AT_ONCE).min(self.count);
            let used = numbers.len();
            for (number, (token, bytes)) in numbers.zip(&mut packets) {
                let (filter, client) = of(number);
                *token = client;
                bytes.clear();
                encode(&filter, bytes)?;
            }
            let some = packets.iter().take(used);
            core.turn(some.map(|(token, bytes)| (*token, bytes.as_slice())))?;
        }
        Ok(())
    }

    /// Messages to topics of a kind, or of all kinds.
    fn blocks(&self, count: usize, kind: &[usize]) -> Result<Vec<Vec<u8>>, Error> {
        let mut chance = Chance(11);
        blocks(Version::V5, count, || {
            let tens = chance.below((self.count / 10).max(1)) * 10;
            let kind = kind.get(chance.below(kind.len())).copied();
            topic((tens + kind.unwrap_or(0)).min(self.count - 1))
        })
    }

    /// Nanoseconds of a publish that one filter matches, for each kind of that.
    fn publish_kinds(
        &mut self,
        rounds: usize,
        blocks_count: usize,
    ) -> Result<Vec<(&'static str, f64)>, Error> {
        let mut costs = Vec::new();
        for (name, kind) in KINDS {
            costs.push((name, self.publish(rounds, blocks_count, kind)?));
        }
        Ok(costs)
    }

    fn publish(
        &mut self,
        rounds: usize,
        blocks_count: usize,
        kind: &[usize],
    ) -> Result<f64, Error> {
        let blocks = self.blocks(blocks_count, kind)?;
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

const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// Filters by the last digit of their number; see [`mixed`].
const KINDS: [(&str, &[usize]); 5] = [
    ("any filter", ALL),
    ("an exact filter", &[0, 1, 2, 3, 4]),
    ("a shared filter", &[5]),
    ("a filter with +", &[6, 7]),
    ("a filter with #", &[8, 9]),
];

fn topic(number: usize) -> String {
    format!("plant/{:03}/device/{number:06}/state", number / 1_000)
}

/// Of ten filters: six exact, of which one is shared, two with `+`, two with `#`. And the client's token.
fn mixed(number: usize) -> (String, usize) {
    let plant = number / 1_000;
    let filter = match number % 10 {
        0..=4 => topic(number),
        5 => format!("$share/group-{}/{}", number % 100, topic(number)),
        6 => format!("plant/+/device/{number:06}/state"),
        7 => format!("plant/{plant:03}/device/{number:06}/+"),
        8 => format!("plant/{plant:03}/device/{number:06}/#"),
        _ => format!("plant/{plant:03}/+/{number:06}/#"),
    };
    // As many clients take part however many filters there are, but for those of shared ones.
    let client = if number % 10 == 5 {
        1 + CLIENTS + number / 10 % SHARING_CLIENTS
    } else {
        1 + number % CLIENTS
    };
    (filter, client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_has_many_shared_filters() {
        let mut shared = std::collections::HashMap::<usize, usize>::new();
        let mut others = shared.clone();
        for number in 0..1_000_000 {
            let (filter, client) = mixed(number);
            let counts = if filter.starts_with("$share/") {
                &mut shared
            } else {
                &mut others
            };
            *counts.entry(client).or_default() += 1;
        }
        assert!(shared.values().all(|count| *count == 1));
        assert!(others.values().all(|count| *count == 1_000));
        assert!(shared.keys().all(|client| !others.contains_key(client)));
        assert_eq!((shared.len(), others.len()), (100_000, 900));
    }

    #[test]
    fn every_topic_is_matched_once_until_all_have_unsubscribed() {
        let mut filters = Filters::new(2_030).unwrap();
        filters.subscribe().unwrap();
        filters.publish_kinds(1, 50).unwrap();
        filters.unsubscribe().unwrap();
        let blocks = filters.blocks(10, &[0, 5, 6, 8]).unwrap();
        let delivered = publish_all(&mut filters.cluster, PUBLISHER, &blocks);
        assert_eq!(delivered.unwrap(), 0);
    }
}
