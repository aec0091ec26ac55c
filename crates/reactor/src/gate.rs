//! How many connections per second a listener takes.

use std::num::NonZeroU32;

/// Units per connection, so that a millisecond's share of any rate is a whole number.
const UNITS: u64 = 1000;

/// Limits a listener to so many accepts per second, with bursts of up to one second's worth.
///
/// Time is the caller's, in milliseconds that never run backwards; an earlier one counts as no time.
#[derive(Clone, Debug)]
pub struct AcceptGate {
    rate: Option<NonZeroU32>,
    /// What may be accepted now, in thousandths of a connection.
    units: u64,
    filled_at_ms: u64,
}

impl AcceptGate {
    /// Makes a gate that is full at `now_ms`. Without a rate it stays open.
    #[must_use]
    pub fn new(per_second: Option<NonZeroU32>, now_ms: u64) -> Self {
        Self {
            rate: per_second,
            units: Self::capacity(per_second),
            filled_at_ms: now_ms,
        }
    }

    /// How many of `wanted` connections may be accepted now.
    #[must_use]
    pub fn allows(&mut self, now_ms: u64, wanted: usize) -> usize {
        if self.rate.is_none() {
            return wanted;
        }
        self.fill(now_ms);
        usize::try_from(self.units / UNITS).map_or(wanted, |whole| whole.min(wanted))
    }

    /// Counts connections that were accepted.
    pub fn passed(&mut self, count: usize) {
        let units = (count as u64).saturating_mul(UNITS);
        self.units = self.units.saturating_sub(units);
    }

    /// When the next connection may be accepted, in milliseconds; `None` when that is now.
    #[must_use]
    pub fn opens_at_ms(&self) -> Option<u64> {
        let rate = u64::from(self.rate?.get());
        let missing = UNITS
            .checked_sub(self.units)
            .filter(|missing| *missing > 0)?;
        Some(self.filled_at_ms.saturating_add(missing.div_ceil(rate)))
    }

    /// Changes the rate, as a reload does; what has been accepted still counts.
    pub fn set_rate(&mut self, per_second: Option<NonZeroU32>, now_ms: u64) {
        let was_open = self.rate.is_none();
        self.fill(now_ms);
        self.rate = per_second;
        let capacity = Self::capacity(per_second);
        self.units = if was_open {
            capacity
        } else {
            self.units.min(capacity)
        };
    }

    fn fill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.filled_at_ms);
        self.filled_at_ms = self.filled_at_ms.max(now_ms);
        let rate = self.rate.map_or(0, |rate| u64::from(rate.get()));
        let filled = self.units.saturating_add(passed_ms.saturating_mul(rate));
        self.units = filled.min(Self::capacity(self.rate));
    }

    /// A second's worth at `rate` per second, in thousandths.
    fn capacity(rate: Option<NonZeroU32>) -> u64 {
        rate.map_or(0, |rate| u64::from(rate.get()) * UNITS)
    }
}

#[cfg(test)]
mod tests;
