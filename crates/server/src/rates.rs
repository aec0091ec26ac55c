//! How fast the clients of a listener may send, each and all together.
//!
//! Who sends more is not read until its turn has come: what it sends next waits in the kernel, and then at
//! the client itself. Turns are reserved before they are used, so that clients who wait for a common limit
//! have theirs one after another, and none has to try again and again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use midge_broker::{Limit, Time};

use crate::config::ListenerSettings;

const NANOS_PER_MS: u64 = 1_000_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// What may be saved up by sending nothing, as time.
const BURST_NANOS: u64 = NANOS_PER_SEC;

/// The most messages, and the most bytes, that one turn is for: a tenth of a second's worth, within these.
const PUBLISHES_MAX: u32 = 64;
const BYTES_MIN: u32 = 512;
const BYTES_MAX: u32 = 16 * 1024;

/// The rates of one listener, and how far all its clients together have used them.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    publishes: AtomicU32,
    bytes: AtomicU32,
    publishes_total: AtomicU32,
    bytes_total: AtomicU32,
    publishes_due: AtomicU64,
    bytes_due: AtomicU64,
}

/// How far one client has used its rates, and what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    publishes_due: u64,
    bytes_due: u64,
    /// Messages that it may send when its time has come, since they have been counted.
    pub(crate) publishes: u32,
    /// Bytes, likewise.
    pub(crate) bytes: u32,
    /// When that is.
    pub(crate) until: Time,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Publishes,
    Bytes,
}

/// When what was counted may go, and which limit it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) at: Time,
    pub(crate) limit: Limit,
}

/// Moves `due` on by `count` at `rate` per second; gives it as it was, since when that has come, what was
/// counted may go.
fn advance(due: u64, now: u64, rate: u32, count: u32) -> (u64, u64) {
    let start = due.max(now.saturating_sub(BURST_NANOS));
    let cost = u64::from(count) * NANOS_PER_SEC / u64::from(rate.max(1));
    (start, start.saturating_add(cost))
}

impl Rates {
    /// Takes the rates of a configuration.
    pub(crate) fn set(&self, settings: &ListenerSettings) {
        let rate = |rate: Option<std::num::NonZeroU32>| rate.map_or(0, std::num::NonZeroU32::get);
        self.publishes
            .store(rate(settings.max_publish_rate), Relaxed);
        self.bytes.store(rate(settings.max_bytes_rate), Relaxed);
        let total = rate(settings.max_publish_rate_total);
        self.publishes_total.store(total, Relaxed);
        let total = rate(settings.max_bytes_rate_total);
        self.bytes_total.store(total, Relaxed);
    }

    /// Whether there is any.
    pub(crate) fn are_set(settings: &ListenerSettings) -> bool {
        settings.max_publish_rate.is_some()
            || settings.max_bytes_rate.is_some()
            || settings.max_publish_rate_total.is_some()
            || settings.max_bytes_rate_total.is_some()
    }

    fn of(&self, kind: Kind) -> (u32, u32) {
        match kind {
            Kind::Publishes => (
                self.publishes.load(Relaxed),
                self.publishes_total.load(Relaxed),
            ),
            Kind::Bytes => (self.bytes.load(Relaxed), self.bytes_total.load(Relaxed)),
        }
    }

    /// How many messages one turn is for; nothing without a limit.
    pub(crate) fn publishes_per_turn(&self) -> Option<u32> {
        Some((lower(self.of(Kind::Publishes))? / 10).clamp(1, PUBLISHES_MAX))
    }

    /// How many bytes one turn is for; nothing without a limit.
    pub(crate) fn bytes_per_turn(&self) -> Option<u32> {
        Some((lower(self.of(Kind::Bytes))? / 10).clamp(BYTES_MIN, BYTES_MAX))
    }

    /// Counts messages of a client before they are dealt with.
    pub(crate) fn reserve_publishes(&self, meter: &mut Meter, now: Time, count: u32) -> Turn {
        self.reserve(Kind::Publishes, meter, now, count)
    }

    /// Counts bytes of a client before they are read.
    pub(crate) fn reserve_bytes(&self, meter: &mut Meter, now: Time, count: u32) -> Turn {
        self.reserve(Kind::Bytes, meter, now, count)
    }

    fn reserve(&self, kind: Kind, meter: &mut Meter, now: Time, count: u32) -> Turn {
        // A second after zero, so that there is something saved up from the start.
        let now_nanos = now.0 * NANOS_PER_MS + BURST_NANOS;
        let (rate, rate_total) = self.of(kind);
        let (due, due_total, limit, limit_total) = match kind {
            Kind::Publishes => (
                &mut meter.publishes_due,
                &self.publishes_due,
                Limit::PublishRate,
                Limit::PublishRateTotal,
            ),
            Kind::Bytes => (
                &mut meter.bytes_due,
                &self.bytes_due,
                Limit::BytesRate,
                Limit::BytesRateTotal,
            ),
        };
        let mut at = now_nanos;
        let mut slowest = limit;
        if rate > 0 {
            let (start, next) = advance(*due, now_nanos, rate, count);
            *due = next;
            at = at.max(start);
        }
        if rate_total > 0 {
            let step = |due| Some(advance(due, now_nanos, rate_total, count).1);
            // It always has an answer, so it cannot fail.
            let old = due_total.fetch_update(Relaxed, Relaxed, step);
            let (start, _) = advance(old.unwrap_or_default(), now_nanos, rate_total, count);
            if start > at {
                at = start;
                slowest = limit_total;
            }
        }
        let at = Time((at - BURST_NANOS).div_ceil(NANOS_PER_MS));
        meter.until = at;
        Turn { at, limit: slowest }
    }

    /// Gives back bytes that were counted and did not come.
    pub(crate) fn give_back_bytes(&self, meter: &mut Meter, count: u32) {
        let (rate, rate_total) = self.of(Kind::Bytes);
        let cost = |rate: u32| u64::from(count) * NANOS_PER_SEC / u64::from(rate.max(1));
        meter.bytes_due = meter.bytes_due.saturating_sub(cost(rate));
        if rate_total > 0 {
            let step = |due: u64| Some(due.saturating_sub(cost(rate_total)));
            let _ = self.bytes_due.fetch_update(Relaxed, Relaxed, step);
        }
    }
}

/// The lower of two rates, where 0 is none.
fn lower((one, other): (u32, u32)) -> Option<u32> {
    [one, other].into_iter().filter(|rate| *rate > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn rates(publish: u32, publish_total: u32, bytes: u32) -> Rates {
        let rates = Rates::default();
        rates.set(&ListenerSettings {
            max_publish_rate: NonZeroU32::new(publish),
            max_publish_rate_total: NonZeroU32::new(publish_total),
            max_bytes_rate: NonZeroU32::new(bytes),
            ..ListenerSettings::default()
        });
        rates
    }

    const START: u64 = 5_000;

    /// When a client that sends without end may send each of so many messages, after the start.
    fn times(rates: &Rates, meter: &mut Meter, count: usize) -> Vec<u64> {
        let mut now = Time(START);
        let mut times = Vec::new();
        for _ in 0..count {
            now = now.max(rates.reserve_publishes(meter, now, 1).at);
            times.push(now.0 - START);
        }
        times
    }

    #[test]
    fn a_client_has_a_second_s_worth_at_once_and_then_its_rate() {
        let rates = rates(4, 0, 0);
        let times = times(&rates, &mut Meter::default(), 8);
        assert_eq!(times, [0, 0, 0, 0, 0, 250, 500, 750]);
    }

    #[test]
    fn what_one_client_sends_does_not_count_for_another() {
        let rates = rates(1, 0, 0);
        times(&rates, &mut Meter::default(), 10);
        assert_eq!(times(&rates, &mut Meter::default(), 2), [0, 0]);
    }

    #[test]
    fn clients_have_their_turns_one_after_another() {
        let rates = rates(0, 10, 0);
        let mut meters: Vec<Meter> = (0..4).map(|_| Meter::default()).collect();
        let now = Time(START);
        times(&rates, &mut Meter::default(), 11);
        let turns: Vec<_> = meters
            .iter_mut()
            .map(|meter| rates.reserve_publishes(meter, now, 1))
            .map(|turn| (turn.at.0 - START, turn.limit))
            .collect();
        let limit = Limit::PublishRateTotal;
        assert_eq!(turns, [100, 200, 300, 400].map(|at| (at, limit)));
    }

    #[test]
    fn the_stricter_of_two_limits_holds_and_is_named() {
        let rates = rates(10, 2, 0);
        let mut meter = Meter::default();
        let now = Time(START);
        for _ in 0..3 {
            assert_eq!(rates.reserve_publishes(&mut meter, now, 1).at, now);
        }
        let turn = rates.reserve_publishes(&mut meter, now, 1);
        assert_eq!(
            (turn.at.0 - START, turn.limit),
            (500, Limit::PublishRateTotal)
        );
    }

    #[test]
    fn bytes_that_did_not_come_are_not_counted() {
        let rates = rates(0, 0, 1_000);
        let mut meter = Meter::default();
        let now = Time(START);
        for _ in 0..100 {
            assert_eq!(rates.reserve_bytes(&mut meter, now, 1_000).at, now);
            rates.give_back_bytes(&mut meter, 1_000);
        }
        rates.reserve_bytes(&mut meter, now, 2_000);
        assert_eq!(
            rates.reserve_bytes(&mut meter, now, 1).at,
            Time(START + 1_000)
        );
    }

    #[test]
    fn a_turn_is_for_a_tenth_of_a_second_within_bounds() {
        assert_eq!(rates(0, 0, 0).publishes_per_turn(), None);
        assert_eq!(rates(5, 0, 0).publishes_per_turn(), Some(1));
        assert_eq!(rates(100, 300, 0).publishes_per_turn(), Some(10));
        assert_eq!(rates(0, 1_000_000, 0).publishes_per_turn(), Some(64));
        assert_eq!(rates(0, 0, 1).bytes_per_turn(), Some(512));
        assert_eq!(rates(0, 0, 50_000).bytes_per_turn(), Some(5_000));
        assert_eq!(rates(0, 0, u32::MAX).bytes_per_turn(), Some(16 * 1024));
    }
}
