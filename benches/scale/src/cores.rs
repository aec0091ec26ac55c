//! The same traffic on more and more shards.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use midge_codec::{QoS, Version};

use crate::cluster::{Cluster, Core, Counts};
use crate::instructions::{Counted, counted_by_valgrind};
use crate::meter::{allocations, thread_cpu};
use crate::plan::Plan;
use crate::report::Report;
use crate::traffic::{BATCH, PAYLOAD, best_of};
use crate::{Error, packets};

/// Numbers of shards.
const SHARDS: [u16; 5] = [1, 2, 4, 8, 16];

/// Publishers of all shards together.
const PUBLISHERS: usize = 96;

const FAN_OUT: usize = 1_024;

/// Members of the shared subscription.
const MEMBERS: usize = 16;

/// Who publishes to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Publishers with a subscriber each at the same shard.
    Near,
    NearQos1,
    /// The same at the next shard.
    Far,
    FarQos1,
    /// One publisher to many subscribers at all shards.
    FanOut,
    /// Many publishers to the members of a shared subscription at all shards.
    Shared,
    SharedQos1,
}

impl Shape {
    pub(crate) const ALL: [Self; 7] = [
        Self::Near,
        Self::NearQos1,
        Self::Far,
        Self::FarQos1,
        Self::FanOut,
        Self::Shared,
        Self::SharedQos1,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Near => "near-qos0",
            Self::NearQos1 => "near-qos1",
            Self::Far => "far-qos0",
            Self::FarQos1 => "far-qos1",
            Self::FanOut => "fan-out-qos0",
            Self::Shared => "shared-qos0",
            Self::SharedQos1 => "shared-qos1",
        }
    }

    const fn qos(self) -> QoS {
        match self {
            Self::Near | Self::Far | Self::FanOut | Self::Shared => QoS::AtMostOnce,
            Self::NearQos1 | Self::FarQos1 | Self::SharedQos1 => QoS::AtLeastOnce,
        }
    }
}

/// Measures all shapes on all numbers of shards.
pub(crate) fn run(plan: &Plan) -> Result<Report, Error> {
    let mut report = Report::new("cores");
    let rounds = if plan.quick { 5 } else { 200 };
    for shape in Shape::ALL {
        for shards in SHARDS {
            let at = |what: &str| format!("{} on {shards}: {what}", shape.name());
            let (counts, allocated, nanos) = in_order(shape, shards, rounds, plan.rounds())?;
            let each = |count: u64| count as f64 / counts.delivered.max(1) as f64;
            report.add(at("time of a message, one thread"), nanos, "ns");
            report.add(at("allocations of a message"), each(allocated), "");
            report.add(at("mail of a message"), each(counts.mail), "items");
            report.add(
                at("locks of tables"),
                per_turn(counts.tables.taken, &counts),
                "a turn",
            );
            report.add(
                at("locks of tables"),
                each(counts.tables.taken),
                "a message",
            );
            report.add(
                at("locks of mailboxes"),
                each(counts.boxes.taken),
                "a message",
            );
            if plan.instructions {
                let counted = Counted::Cores(shape, shards).instructions()?;
                report.add(at("instructions of a message"), counted, "");
            }
            let (counts, cpu) = at_once(shape, shards, rounds)?;
            let each = |count: u64| count as f64 / counts.delivered.max(1) as f64;
            report.add(at("processor time of a message, a thread each"), cpu, "ns");
            report.add(
                at("contended locks of tables"),
                each(counts.tables.contended),
                "a message",
            );
            report.add(
                at("contended locks of mailboxes"),
                each(counts.boxes.contended),
                "a message",
            );
        }
    }
    Ok(report)
}

fn per_turn(count: u64, counts: &Counts) -> f64 {
    count as f64 / counts.turns.max(1) as f64
}

/// Turns shards one after the other, for valgrind; how many messages were delivered.
pub(crate) fn count(shape: Shape, shards: u16) -> Result<u64, Error> {
    let mut load = Load::new(shape, shards)?;
    load.rounds(10)?;
    counted_by_valgrind(|| load.rounds(10))
}

/// What one thread that turns all shards in order finds: counts, allocations and the best time of a
/// message.
fn in_order(
    shape: Shape,
    shards: u16,
    rounds: usize,
    repeats: usize,
) -> Result<(Counts, u64, f64), Error> {
    let mut load = Load::new(shape, shards)?;
    load.rounds(10)?;
    for core in &mut load.cluster.cores {
        core.counts = Counts::default();
    }
    let before = allocations();
    load.rounds(rounds)?;
    let allocated = allocations() - before;
    let counts = load.cluster.counts();
    let nanos = best_of(repeats, || load.rounds(rounds))?;
    Ok((counts, allocated, nanos))
}

/// What a thread for each shard finds: counts, and nanoseconds of processor time for each message.
fn at_once(shape: Shape, shards: u16, rounds: usize) -> Result<(Counts, f64), Error> {
    let mut load = Load::new(shape, shards)?;
    load.rounds(10)?;
    for core in &mut load.cluster.cores {
        core.counts = Counts::default();
    }
    let expected = load.in_a_round * rounds as u64;
    let race = Race {
        rounds,
        in_a_round: load.in_a_round,
        delivered: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    let waiting = AtomicUsize::new(load.cluster.cores.len());
    let inputs = load.inputs;
    let nanos = thread::scope(|scope| {
        let threads: Vec<_> = load
            .cluster
            .cores
            .iter_mut()
            .zip(&inputs)
            .map(|(core, input)| {
                let (race, waiting) = (&race, &waiting);
                scope.spawn(move || {
                    waiting.fetch_sub(1, Relaxed);
                    while waiting.load(Relaxed) > 0 {
                        thread::yield_now();
                    }
                    let before = thread_cpu();
                    let result = race.run(core, input);
                    if result.is_err() {
                        race.failed.store(true, Relaxed);
                    }
                    result.map(|()| (thread_cpu() - before).as_nanos())
                })
            })
            .collect();
        let mut nanos = 0;
        for thread in threads {
            nanos += thread.join().map_err(|_| "a thread has panicked")??;
        }
        Ok::<u128, Error>(nanos)
    })?;
    let counts = load.cluster.counts();
    Ok((counts, nanos as f64 / expected.max(1) as f64))
}

/// What the threads of all cores share.
struct Race {
    rounds: usize,
    /// Messages that a round of all publishers leads to.
    in_a_round: u64,
    delivered: AtomicU64,
    failed: AtomicBool,
}

impl Race {
    /// One core's thread: it sends what its publishers have, a round for each turn, and goes on until all
    /// that was sent anywhere has been delivered.
    fn run(&self, core: &mut Core, input: &[(usize, Vec<u8>)]) -> Result<(), Error> {
        let (mut sent, mut told) = (0, 0);
        let mut latest = Instant::now() + PATIENCE;
        loop {
            let delivered = self.delivered.load(Relaxed);
            if delivered >= self.in_a_round * self.rounds as u64 || self.failed.load(Relaxed) {
                return Ok(());
            }
            if sent < self.rounds && (sent as u64) * self.in_a_round <= delivered + self.ahead() {
                sent += 1;
                core.turn(
                    input
                        .iter()
                        .map(|(token, bytes)| (*token, bytes.as_slice())),
                )?;
            } else if core.has_work() {
                core.turn([])?;
            } else if Instant::now() < latest {
                thread::yield_now();
                continue;
            } else {
                return Err(format!("only {delivered} messages came out").into());
            }
            latest = Instant::now() + PATIENCE;
            self.delivered
                .fetch_add(core.counts.delivered - told, Relaxed);
            told = core.counts.delivered;
        }
    }

    /// Messages that may be on their way: a closed loop, so that no queue fills.
    const fn ahead(&self) -> u64 {
        ROUNDS_AHEAD * self.in_a_round
    }
}

/// Rounds that a core sends before what it sent has come out.
const ROUNDS_AHEAD: u64 = 4;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shards, clients and what they send.
struct Load {
    cluster: Cluster,
    /// What the publishers of each shard send in a round.
    inputs: Vec<Vec<(usize, Vec<u8>)>>,
    /// Messages that are delivered in a round.
    in_a_round: u64,
}

impl Load {
    fn new(shape: Shape, shards: u16) -> Result<Self, Error> {
        let shards_count = usize::from(shards);
        let mut load = Self {
            cluster: Cluster::new(shards, 0, Cluster::settings()),
            inputs: vec![Vec::new(); shards_count],
            in_a_round: 0,
        };
        let qos = shape.qos();
        match shape {
            Shape::Near | Shape::NearQos1 | Shape::Far | Shape::FarQos1 => {
                let is_far = matches!(shape, Shape::Far | Shape::FarQos1);
                for pair in 0..PUBLISHERS {
                    let topic = format!("bench/pair/{pair:06}");
                    let at = pair % shards_count;
                    load.subscriber((at + usize::from(is_far)) % shards_count, &topic, qos)?;
                    load.publisher(at, &topic, qos)?;
                }
                load.in_a_round = (PUBLISHERS * BATCH) as u64;
            }
            Shape::FanOut => {
                for subscriber in 0..FAN_OUT {
                    load.subscriber(subscriber % shards_count, "bench/fan-out", qos)?;
                }
                load.publisher(0, "bench/fan-out", qos)?;
                load.in_a_round = (FAN_OUT * BATCH) as u64;
            }
            Shape::Shared | Shape::SharedQos1 => {
                for member in 0..MEMBERS {
                    load.subscriber(member % shards_count, "$share/group/bench/shared", qos)?;
                }
                for publisher in 0..PUBLISHERS {
                    load.publisher(publisher % shards_count, "bench/shared", qos)?;
                }
                load.in_a_round = (PUBLISHERS * BATCH) as u64;
            }
        }
        load.cluster.settle()?;
        Ok(load)
    }

    fn connect(&mut self, at: usize) -> Result<usize, Error> {
        let core = self.cluster.core(at)?;
        let token = core.next_token();
        let mut bytes = Vec::new();
        packets::connect(
            Version::V3_1_1,
            &format!("client-{at}-{token}"),
            0,
            &mut bytes,
        )?;
        core.open(token, &bytes)?;
        core.turn([])?;
        Ok(token)
    }

    fn subscriber(&mut self, at: usize, filter: &str, qos: QoS) -> Result<(), Error> {
        let token = self.connect(at)?;
        let mut bytes = Vec::new();
        // The members of a shared subscription need 5.0 no more than others do here: any version may
        // name one.
        packets::subscribe(Version::V3_1_1, filter, qos, &mut bytes)?;
        self.cluster.core(at)?.turn([(token, bytes.as_slice())])
    }

    fn publisher(&mut self, at: usize, topic: &str, qos: QoS) -> Result<(), Error> {
        let token = self.connect(at)?;
        let mut bytes = Vec::new();
        for id in (1..).take(BATCH) {
            packets::publish(Version::V3_1_1, qos, id, false, topic, &PAYLOAD, &mut bytes)?;
        }
        if let Some(input) = self.inputs.get_mut(at) {
            input.push((token, bytes));
        }
        Ok(())
    }

    /// Lets every publisher send, and every shard have a turn, so many times, and then ends what is under
    /// way; how many messages were delivered.
    fn rounds(&mut self, rounds: usize) -> Result<u64, Error> {
        let before = self.cluster.counts().delivered;
        for _ in 0..rounds {
            for (core, input) in self.cluster.cores.iter_mut().zip(&self.inputs) {
                core.turn(
                    input
                        .iter()
                        .map(|(token, bytes)| (*token, bytes.as_slice())),
                )?;
            }
        }
        self.cluster.settle()?;
        let delivered = self.cluster.counts().delivered - before;
        let expected = self.in_a_round * rounds as u64;
        if delivered == expected {
            Ok(delivered)
        } else {
            Err(format!("{delivered} messages were delivered instead of {expected}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_delivered_whatever_turns_the_shards() {
        for shape in Shape::ALL {
            for shards in [1, 3] {
                let mut load = Load::new(shape, shards).unwrap();
                load.rounds(3).unwrap();
                let (counts, _) = at_once(shape, shards, 3).unwrap();
                assert_eq!(counts.delivered, load.in_a_round * 3, "{}", shape.name());
            }
        }
    }

    #[test]
    fn only_what_crosses_shards_is_mailed() {
        let mail = |shape| in_order(shape, 4, 5, 1).unwrap().0.mail;
        assert_eq!(mail(Shape::Near), 0);
        assert_eq!(mail(Shape::Far), 5 * (PUBLISHERS * BATCH) as u64);
        // The statistics may ask each other too, but not without time that passes.
        assert_eq!(mail(Shape::FanOut), 5 * BATCH as u64 * 3);
    }
}
