//! Deadlines of many things, at a cost that does not depend on how many wait.

use crate::Time;

/// A hierarchical timer wheel. Entries are never removed early: whoever sets one checks, when it
/// fires, whether it still means anything, and sets the next.
#[derive(Debug)]
pub(crate) struct TimerWheel<K> {
    /// Ticks that have been dealt with.
    tick: u64,
    /// `levels[l].slots[s]`: entries whose tick first differs from `tick` in the l-th group of six bits,
    /// and has the value `s` there.
    levels: Vec<Level<K>>,
    length: usize,
}

#[derive(Debug)]
struct Level<K> {
    slots: Vec<Vec<(u64, K)>>,
    occupied: u64,
}

/// Milliseconds per tick: finer than anyone can tell in a protocol that counts seconds.
const TICK_MILLIS: u64 = 64;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 6 groups of 6 bits of 64 ms: 139 years.
const LEVELS: usize = 6;

impl<K> TimerWheel<K> {
    pub(crate) fn new(now: Time) -> Self {
        let level = || Level {
            slots: Vec::new(),
            occupied: 0,
        };
        Self {
            tick: now.0 / TICK_MILLIS,
            levels: std::iter::repeat_with(level).take(LEVELS).collect(),
            length: 0,
        }
    }

    /// Fires `key` at `when` or up to a tick later, never before.
    pub(crate) fn set(&mut self, when: Time, key: K) {
        if when == Time::NEVER {
            return;
        }
        let tick = when.0.div_ceil(TICK_MILLIS).max(self.tick + 1);
        self.length += 1;
        self.place(tick, key);
    }

    fn place(&mut self, tick: u64, key: K) {
        let differs = tick ^ self.tick;
        let level = ((63 - differs.leading_zeros()) / SLOT_BITS) as usize;
        let level = level.min(LEVELS - 1);
        let slot = slot_of(tick, level);
        if let Some(level) = self.levels.get_mut(level) {
            if level.slots.is_empty() {
                level.slots = std::iter::repeat_with(Vec::new).take(SLOTS).collect();
            }
            if let Some(entries) = level.slots.get_mut(slot) {
                entries.push((tick, key));
                level.occupied |= 1 << slot;
            }
        }
    }

    /// When [`Self::fire`] is to be called next; early rather than late.
    pub(crate) fn next(&self) -> Option<Time> {
        for (number, level) in self.levels.iter().enumerate() {
            if level.occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * u32::try_from(number).unwrap_or(0);
            let current = slot_of(self.tick, number);
            // Slots behind the current one; the topmost level may wrap.
            let ahead = level
                .occupied
                .rotate_right(u32::try_from(current).unwrap_or(0));
            let distance = u64::from((ahead & !1).trailing_zeros().min(64));
            let base = (self.tick >> shift) + distance;
            return Some(Time((base << shift).saturating_mul(TICK_MILLIS)));
        }
        None
    }

    /// Moves to `now` and appends the keys that are due to `fired`.
    pub(crate) fn fire(&mut self, now: Time, fired: &mut Vec<K>) {
        let target = now.0 / TICK_MILLIS;
        while self.tick < target {
            match self.next() {
                Some(next) if next.0 / TICK_MILLIS <= target => {
                    self.advance(next.0 / TICK_MILLIS, fired);
                }
                _ => {
                    self.skip(target);
                    return;
                }
            }
        }
    }

    /// Moves over ticks at which nothing is due and nothing has to be placed anew.
    fn skip(&mut self, target: u64) {
        self.tick = target;
    }

    fn advance(&mut self, tick: u64, fired: &mut Vec<K>) {
        self.tick = tick;
        // From the top, so that entries fall as far as they can.
        for number in (0..LEVELS).rev() {
            let slot = slot_of(tick, number);
            let Some(level) = self.levels.get_mut(number) else {
                continue;
            };
            if level.occupied & (1 << slot) == 0 {
                continue;
            }
            let shift = SLOT_BITS * u32::try_from(number).unwrap_or(0);
            let Some(entries) = level.slots.get_mut(slot) else {
                continue;
            };
            let mut entries = std::mem::take(entries);
            level.occupied &= !(1 << slot);
            for (due, key) in entries.drain(..) {
                if due <= tick {
                    self.length -= 1;
                    fired.push(key);
                } else if due >> shift == tick >> shift && number > 0 {
                    self.place(due, key);
                } else {
                    self.put_back(number, slot, due, key);
                }
            }
            // A burst's memory goes; an ordinary slot's is used again.
            if entries.capacity() <= 256
                && let Some(slot) = self
                    .levels
                    .get_mut(number)
                    .and_then(|level| level.slots.get_mut(slot))
                && slot.is_empty()
            {
                *slot = entries;
            }
        }
    }

    /// An entry of a later round of the topmost level.
    fn put_back(&mut self, number: usize, slot: usize, due: u64, key: K) {
        if let Some(level) = self.levels.get_mut(number)
            && let Some(entries) = level.slots.get_mut(slot)
        {
            entries.push((due, key));
            level.occupied |= 1 << slot;
        }
    }

    /// How many timers are set.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// Removes timers that `keep` does not want, by the latest moment at which they fire and their key.
    /// Looks at all of them.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Time, &K) -> bool) {
        self.length = 0;
        for level in &mut self.levels {
            level.occupied = 0;
            for (number, entries) in level.slots.iter_mut().enumerate() {
                entries.retain(|(tick, key)| keep(Time((tick + 1) * TICK_MILLIS), key));
                if entries.len() < entries.capacity() / 4 {
                    entries.shrink_to_fit();
                }
                if !entries.is_empty() {
                    level.occupied |= 1 << number;
                    self.length += entries.len();
                }
            }
        }
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    let shift = SLOT_BITS * u32::try_from(level).unwrap_or(0);
    usize::try_from((tick >> shift) & (SLOTS as u64 - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fires_in_time_and_not_before() {
        let mut wheel = TimerWheel::new(Time(1_000));
        wheel.set(Time(5_000), 'a');
        let mut fired = Vec::new();
        wheel.fire(Time(4_999), &mut fired);
        assert!(fired.is_empty());
        wheel.fire(Time(5_000 + TICK_MILLIS), &mut fired);
        assert_eq!(fired, ['a']);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn what_is_due_already_fires_at_the_next_tick() {
        let mut wheel = TimerWheel::new(Time(10_000));
        wheel.set(Time(0), ());
        let mut fired = Vec::new();
        wheel.fire(Time(10_000 + 2 * TICK_MILLIS), &mut fired);
        assert_eq!(fired.len(), 1);
    }

    #[test]
    fn what_is_removed_does_not_fire_and_takes_no_memory() {
        let mut wheel = TimerWheel::new(Time(1_000));
        for number in 0..100_000 {
            wheel.set(Time(2_000 + number * 77), number);
        }
        wheel.retain(|due, number| {
            assert!(due.0 >= 2_000 + number * 77);
            number % 1000 == 0
        });
        assert_eq!(wheel.len(), 100);
        let slots = wheel.levels.iter().flat_map(|level| &level.slots);
        let places: usize = slots.map(Vec::capacity).sum();
        assert!(places <= 1_000, "{places}");
        let mut fired = Vec::new();
        wheel.fire(Time(10_000_000), &mut fired);
        assert_eq!(fired, (0..100).map(|n| n * 1000).collect::<Vec<u64>>());
        assert_eq!((wheel.len(), wheel.next()), (0, None));
    }

    proptest! {
        #[test]
        fn every_timer_fires_once_within_a_tick_of_its_time(
            start in 0_u64..10_000_000,
            delays in proptest::collection::vec(prop_oneof![0_u64..5_000, 0_u64..10_000_000, 0_u64..400_000_000_000], 1..60),
            steps in proptest::collection::vec(prop_oneof![0_u64..200, 0_u64..500_000, 0_u64..50_000_000_000], 1..60),
        ) {
            let mut wheel = TimerWheel::new(Time(start));
            for (index, delay) in delays.iter().enumerate() {
                wheel.set(Time(start + delay), index);
            }
            let mut now = start;
            let mut seen = vec![None; delays.len()];
            // Step as a worker does: never past the next deadline without looking, but sometimes late.
            for step in steps.iter().copied().chain(std::iter::repeat_n(20_000_000_000, 40)) {
                let before = now;
                now += step;
                let mut fired = Vec::new();
                wheel.fire(Time(now), &mut fired);
                for index in fired {
                    prop_assert_eq!(seen[index], None, "fired twice");
                    seen[index] = Some((before, now));
                }
                if let Some(next) = wheel.next() {
                    let earliest = (0..delays.len()).filter(|i| seen[*i].is_none()).map(|i| start + delays[i]).min();
                    prop_assert!(earliest.is_none_or(|at| next.0 <= at + TICK_MILLIS), "next is late");
                }
            }
            for (index, delay) in delays.iter().enumerate() {
                let due = start + delay;
                let Some((before, at)) = seen[index] else { prop_assert!(false, "never fired"); return Ok(()) };
                prop_assert!(at >= due, "fired early");
                prop_assert!(before < due + 2 * TICK_MILLIS, "fired late: due {}, between {} and {}", due, before, at);
            }
            prop_assert_eq!(wheel.len(), 0);
        }
    }
}
