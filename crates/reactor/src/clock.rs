//! The only place that reads the system's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time. Make one when the process starts and give copies of it to all that need it, so
/// that their times compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts a clock at 0.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Milliseconds since the start. Never runs backwards, and stands still while the machine sleeps.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        // Full after 584 million years.
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start, as [`Self::now_ms`] counts.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since 1970 by the wall clock, which may be set forwards and backwards; 0 before 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }

    /// Seconds since 1970 by the wall clock, which may be set forwards and backwards; 0 before 1970.
    #[must_use]
    pub fn unix_secs(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_tell_the_same_time_and_it_never_runs_backwards() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now_ms();
        let second = copy.now_ms();
        let third = clock.now_ms();
        assert!(first <= second && second <= third);
    }

    #[test]
    fn the_wall_clock_counts_from_1970() {
        assert!(Clock::start().unix_secs() > 1_700_000_000);
    }
}
