//! Clients that are connected and idle.

use std::time::Instant;

use midge_broker::Time;
use midge_codec::{QoS, Version};

use crate::cluster::Cluster;
use crate::instructions::{Counted, counted_by_valgrind};
use crate::meter::{Memory, thread_cpu, trim};
use crate::plan::Plan;
use crate::report::{Goal, Report};
use crate::traffic::{BATCH, Chance, best_of, blocks, per, publish_all};
use crate::{Error, packets};

/// What a server adds for each socket: its state (64 bytes in a slot), the key by which the shard's token
/// finds it (8, in a vector that may be half empty), nothing in the poller.
const SOCKET_BYTES: f64 = 80.0;

/// What a client may cost in all.
const BYTES_MAX: f64 = 1024.0;

/// Clients that connect within one turn of all shards, which takes a millisecond of simulated time.
const AT_ONCE: usize = 64;

/// Milliseconds.
const MINUTE: u64 = 60_000;

/// Turns that a measurement of publishing takes.
const BLOCKS: usize = 5_000;

/// Measures all that concerns idle clients.
pub(crate) fn run(plan: &Plan) -> Result<Report, Error> {
    let count = plan.count(1_000_000, 2_000);
    let mut report = Report::new("clients");
    report.add("clients", count as f64, "");
    report.add("shards", f64::from(plan.shards), "");
    stay(plan, count, &mut report)?;
    ping(plan, count, &mut report)?;
    stages(plan, count, &mut report)?;
    if plan.instructions {
        let few = Counted::Clients(1_000.min(count)).instructions()?;
        let many = Counted::Clients(count).instructions()?;
        report.add("publish among 1,000, one shard", few, "instructions");
        report.add("publish among all, one shard", many, "instructions");
    }
    Ok(report)
}

/// Clients connect, idle, get messages and leave.
fn stay(plan: &Plan, count: usize, report: &mut Report) -> Result<(), Error> {
    let mut crowd = Crowd::new(plan.shards, count, 0);
    let before = Memory::now();
    let (begin, cpu) = (Instant::now(), thread_cpu());
    crowd.connect()?;
    let (span, cpu) = (begin.elapsed(), thread_cpu() - cpu);
    let held = Memory::now();
    let each = |bytes: i64| bytes as f64 / count as f64;
    let allocated = each(held.allocated - before.allocated);
    let resident = each(held.resident - before.resident);
    report.add("memory of a client, by the allocator", allocated, "bytes");
    report.add("blocks of a client", each(held.blocks - before.blocks), "");
    report.add("memory of a client, resident", resident, "bytes");
    report.add_goal(
        "the same with what a server needs for its socket",
        resident + SOCKET_BYTES,
        "bytes",
        Goal::AtMost(BYTES_MAX),
    );
    let seconds = span.as_secs_f64();
    report.add("time to connect and subscribe all", seconds, "s");
    let cost = per(cpu, count as u64) / 1e3;
    report.add("connect and subscribe: processor time", cost, "µs");
    crowd.idle(2 * MINUTE)?;
    let (cpu, turns) = crowd.idle(MINUTE)?;
    report.add(
        "idle minute, no keep alive: processor time",
        cpu * 1e3,
        "ms",
    );
    report.add("idle minute, no keep alive: turns", turns as f64, "");
    let blocks_count = if plan.quick { 50 } else { BLOCKS };
    for shard in 0..plan.shards.min(2) {
        let name = match shard {
            0 => "publish to one of the same shard",
            _ => "publish to one of another shard",
        };
        let (publisher, blocks) = crowd.publisher(blocks_count, count, shard)?;
        let cost = best_of(plan.rounds(), || {
            publish_all(&mut crowd.cluster, publisher, &blocks)
        })?;
        report.add(name, cost, "ns");
    }
    let cpu = thread_cpu();
    crowd.leave()?;
    let cost = per(thread_cpu() - cpu, count as u64) / 1e3;
    report.add("disconnect: processor time", cost, "µs");
    crowd.idle(5_000)?;
    let left = Memory::now();
    report.add(
        "left of a client's memory when all have gone, by the allocator",
        each(left.allocated - before.allocated),
        "bytes",
    );
    report.add(
        "left of a client's memory when all have gone, resident",
        each(left.resident - before.resident),
        "bytes",
    );
    trim();
    let left = Memory::now();
    report.add(
        "the same after malloc_trim",
        each(left.resident - before.resident),
        "bytes",
    );
    Ok(())
}

/// Clients with a keep alive of a minute, which send PINGREQ in time.
fn ping(plan: &Plan, count: usize, report: &mut Report) -> Result<(), Error> {
    let mut crowd = Crowd::new(plan.shards, count, 60);
    crowd.connect()?;
    crowd.ping(MINUTE)?;
    let (cpu, pings) = crowd.ping(MINUTE)?;
    let name = "minute with keep alive 60: processor time";
    report.add(name, cpu * 1e3, "ms");
    let cost = cpu * 1e9 / pings.max(1) as f64;
    report.add("the same for each PINGREQ", cost, "ns");
    Ok(())
}

/// Where the memory is: what each step of a client adds.
fn stages(plan: &Plan, count: usize, report: &mut Report) -> Result<(), Error> {
    let mut crowd = Crowd::new(plan.shards, count, 0);
    let mut before = Memory::now();
    for (name, stage) in [
        ("socket opened", Stage::Open),
        ("CONNECT", Stage::Connect),
        ("SUBSCRIBE", Stage::Subscribe),
    ] {
        crowd.step_all(stage)?;
        let now = Memory::now();
        let bytes = (now.allocated - before.allocated) as f64 / count as f64;
        report.add(format!("added by {name}"), bytes, "bytes");
        for (size, blocks) in now.blocks_since(&before) {
            let each = blocks as f64 / count as f64;
            if each >= 0.01 {
                report.add(format!("added by {name}: {size}"), each, "");
            }
        }
        before = now;
    }
    Ok(())
}

/// Publishes to some of `count` clients at one shard, for valgrind.
pub(crate) fn count(count: usize) -> Result<u64, Error> {
    let mut crowd = Crowd::new(1, count, 0);
    crowd.connect()?;
    let (publisher, blocks) = crowd.publisher(50, count, 0)?;
    publish_all(&mut crowd.cluster, publisher, &blocks)?;
    counted_by_valgrind(|| publish_all(&mut crowd.cluster, publisher, &blocks))
}

/// What a client does on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Connect,
    Subscribe,
}

/// Many clients, spread over the shards.
struct Crowd {
    cluster: Cluster,
    count: usize,
    shards: usize,
    keep_alive: u16,
    now: Time,
}

impl Crowd {
    fn new(shards: u16, count: usize, keep_alive: u16) -> Self {
        let shards_count = usize::from(shards);
        let places = count.div_ceil(shards_count);
        Self {
            cluster: Cluster::new(shards, places, Cluster::settings()),
            count,
            shards: shards_count,
            keep_alive,
            now: Time(1_000),
        }
    }

    fn connect(&mut self) -> Result<(), Error> {
        self.in_batches(|crowd, clients| {
            crowd.step_some(clients.clone(), Stage::Open)?;
            crowd.step_some(clients.clone(), Stage::Connect)?;
            crowd.step_some(clients, Stage::Subscribe)
        })
    }

    fn step_all(&mut self, stage: Stage) -> Result<(), Error> {
        self.in_batches(|crowd, clients| crowd.step_some(clients, stage))
    }

    fn in_batches(
        &mut self,
        mut each: impl FnMut(&mut Self, std::ops::Range<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut first = 0;
        while first < self.count {
            let last = (first + AT_ONCE).min(self.count);
            self.now = self.now.plus_millis(1);
            self.cluster.set_time(self.now);
            each(self, first..last)?;
            first = last;
        }
        Ok(())
    }

    fn step_some(&mut self, clients: std::ops::Range<usize>, stage: Stage) -> Result<(), Error> {
        let mut packets = Vec::with_capacity(AT_ONCE);
        for client in clients {
            let (core, token) = (client % self.shards, client / self.shards);
            let mut bytes = Vec::with_capacity(64);
            match stage {
                Stage::Open => self.cluster.core(core)?.open(token, &[])?,
                Stage::Connect => {
                    packets::connect(version(client), &id(client), self.keep_alive, &mut bytes)?;
                }
                Stage::Subscribe => {
                    let filter = topic(client);
                    packets::subscribe(version(client), &filter, QoS::AtMostOnce, &mut bytes)?;
                }
            }
            packets.push((core, token, bytes));
        }
        if stage == Stage::Open {
            return Ok(());
        }
        self.give(&packets)
    }

    /// Gives each shard what its clients send, in one turn.
    fn give(&mut self, packets: &[(usize, usize, Vec<u8>)]) -> Result<(), Error> {
        for (number, core) in self.cluster.cores.iter_mut().enumerate() {
            let own = packets.iter().filter(|(core, ..)| *core == number);
            core.turn(own.map(|(_, token, bytes)| (*token, bytes.as_slice())))?;
        }
        Ok(())
    }

    /// Lets time pass: seconds of processor time, and turns.
    fn idle(&mut self, millis: u64) -> Result<(f64, u64), Error> {
        self.now = self.now.plus_millis(millis);
        let before = thread_cpu();
        let turns = self.cluster.pass_time(self.now)?;
        Ok(((thread_cpu() - before).as_secs_f64(), turns))
    }

    /// Lets time pass while each client sends PINGREQ once a minute: seconds of processor time, and how
    /// many PINGREQs.
    fn ping(&mut self, millis: u64) -> Result<(f64, u64), Error> {
        let before = thread_cpu();
        let mut pings = 0;
        for _ in 0..millis {
            self.now = self.now.plus_millis(1);
            self.cluster.pass_time(self.now)?;
            let first = usize::try_from(self.now.0 % MINUTE)?;
            let mut due = (first..self.count).step_by(60_000).peekable();
            if due.peek().is_none() {
                continue;
            }
            let due: Vec<usize> = due.collect();
            pings += due.len() as u64;
            for (number, core) in self.cluster.cores.iter_mut().enumerate() {
                let own = due.iter().filter(|client| *client % self.shards == number);
                let shards = self.shards;
                core.turn(own.map(|client| (client / shards, packets::PINGREQ.as_slice())))?;
            }
        }
        if self.cluster.counts().closed > 0 {
            return Err("a client that pings was given up".into());
        }
        Ok(((thread_cpu() - before).as_secs_f64(), pings))
    }

    /// Connects a publisher at shard 0, with messages to clients by chance that are at `shard`.
    fn publisher(
        &mut self,
        blocks_count: usize,
        count: usize,
        shard: u16,
    ) -> Result<(usize, Vec<Vec<u8>>), Error> {
        let core = self.cluster.core(0)?;
        let token = core.next_token();
        let mut bytes = Vec::new();
        packets::connect(
            Version::V3_1_1,
            &format!("publisher-{token}"),
            0,
            &mut bytes,
        )?;
        core.open(token, &bytes)?;
        core.turn([])?;
        let mut chance = Chance(7);
        let shards = self.shards;
        let blocks = blocks(Version::V3_1_1, blocks_count, || {
            let any = chance.below(count / shards) * shards;
            topic(any + usize::from(shard))
        })?;
        let delivered = publish_all(&mut self.cluster, token, &blocks)?;
        if delivered == (blocks_count * BATCH) as u64 {
            Ok((token, blocks))
        } else {
            Err(format!("{delivered} messages came out of {blocks_count} times {BATCH}").into())
        }
    }

    fn leave(&mut self) -> Result<(), Error> {
        self.in_batches(|crowd, clients| {
            let packets: Vec<_> = clients
                .map(|client| {
                    let bytes = packets::DISCONNECT.to_vec();
                    (client % crowd.shards, client / crowd.shards, bytes)
                })
                .collect();
            crowd.give(&packets)
        })?;
        self.cluster.settle()?;
        let closed = self.cluster.counts().closed;
        if closed == self.count as u64 {
            Ok(())
        } else {
            Err(format!("{closed} of {} clients have gone", self.count).into())
        }
    }
}

/// A client id of 16 bytes.
fn id(client: usize) -> String {
    format!("device-{client:09}")
}

fn topic(client: usize) -> String {
    format!("site/device-{client:09}/set")
}

/// Half of them speak 3.1.1, half 5.0, at every shard.
const fn version(client: usize) -> Version {
    if (client / 2).is_multiple_of(2) {
        Version::V3_1_1
    } else {
        Version::V5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_has_16_bytes() {
        assert_eq!(id(0).len(), 16);
        assert_eq!(id(999_999_999).len(), 16);
    }

    #[test]
    fn a_crowd_comes_gets_messages_pings_and_goes() {
        let mut crowd = Crowd::new(2, 101, 60);
        crowd.connect().unwrap();
        crowd.publisher(3, 101, 1).unwrap();
        let (_, pings) = crowd.ping(2 * MINUTE).unwrap();
        assert_eq!(pings, 2 * 101);
        crowd.leave().unwrap();
        assert_eq!(count(50).unwrap(), (50 * BATCH) as u64);
    }
}
