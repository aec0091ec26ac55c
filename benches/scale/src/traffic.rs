//! Numbers by chance that are the same in every run, messages to publish, and the time that it takes.

use std::time::{Duration, Instant};

use midge_codec::{QoS, Version};

use crate::cluster::Cluster;
use crate::meter::thread_cpu;
use crate::{Error, packets};

/// A small random generator (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let below = (u128::from(mixed ^ (mixed >> 31)) * end as u128) >> 64;
        usize::try_from(below).unwrap_or(0)
    }
}

/// Messages that a publisher sends in one turn.
pub(crate) const BATCH: usize = 20;

/// The payload of all messages.
pub(crate) const PAYLOAD: [u8; 128] = [b'.'; 128];

/// Blocks of [`BATCH`] messages of QoS 0 to topics that `topic` names.
pub(crate) fn blocks(
    version: Version,
    count: usize,
    mut topic: impl FnMut() -> String,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut blocks = Vec::with_capacity(count);
    for _ in 0..count {
        let mut block = Vec::new();
        for _ in 0..BATCH {
            let topic = topic();
            packets::publish(
                version,
                QoS::AtMostOnce,
                0,
                false,
                &topic,
                &PAYLOAD,
                &mut block,
            )?;
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// Sends each block in a turn of its own, from the client `token` of core 0; how many messages came out.
pub(crate) fn publish_all(
    cluster: &mut Cluster,
    token: usize,
    blocks: &[Vec<u8>],
) -> Result<u64, Error> {
    let before = cluster.counts().delivered;
    for block in blocks {
        cluster.core(0)?.turn([(token, block.as_slice())])?;
        for core in cluster.cores.iter_mut().skip(1) {
            if core.has_work() {
                core.turn([])?;
            }
        }
    }
    Ok(cluster.counts().delivered - before)
}

/// The least processor time that `work` takes for each of the messages that it says it has delivered, in
/// nanoseconds. It is done as often as it takes to make `rounds` of them long enough to be measured.
pub(crate) fn best_of(
    rounds: usize,
    mut work: impl FnMut() -> Result<u64, Error>,
) -> Result<f64, Error> {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let begin = thread_cpu();
        let latest = Instant::now() + LONGEST;
        let mut messages = 0;
        let mut span = Duration::ZERO;
        while span < LONG_ENOUGH && Instant::now() < latest {
            messages += work()?;
            span = thread_cpu() - begin;
        }
        best = best.min(per(span, messages));
    }
    Ok(best)
}

/// The system counts a thread's time in steps of some milliseconds.
const LONG_ENOUGH: Duration = Duration::from_millis(100);
/// Should it not count at all.
const LONGEST: Duration = Duration::from_secs(5);

/// Nanoseconds for each of `count`.
pub(crate) fn per(span: Duration, count: u64) -> f64 {
    span.as_secs_f64() * 1e9 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_reaches_everything_and_nothing_beyond() {
        let mut chance = Chance(1);
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[chance.below(10)] = true;
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn time_is_divided_by_what_was_done() {
        assert!((per(Duration::from_micros(3), 1_000) - 3.0).abs() < 1e-9);
        assert!((per(Duration::from_nanos(3), 0) - 3.0).abs() < 1e-9);
    }
}
