//! Time, chance and what happens when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Milliseconds since the run began.
pub(crate) type Millis = u64;

/// The broker's clock is this coarse, and so is the grain of its timers: a deadline is met in the first
/// turn that begins at or after it.
pub(crate) const TICK: Millis = 64;

/// A moment that never comes.
pub(crate) const NEVER: Millis = Millis::MAX;

/// The one source of chance in a run (SplitMix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when that is 0.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// A number from `least` to `most`, both included.
    pub(crate) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A place in a list of `length`.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A size from `least` to `most`, both included.
    pub(crate) fn size(&mut self, least: usize, most: usize) -> usize {
        least + self.index(most.saturating_sub(least) + 1)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.index(last + 1));
        }
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A worker of the broker wakes.
    Turn(usize),
    /// Something may have arrived at an end of a link.
    Arrival(usize),
    /// A client does the next thing that comes to its mind.
    Act(usize),
    /// A client looks at its clock: to ping, to read on, to send what it held back.
    Wake(usize),
    /// The run enters its next stage.
    Stage,
    /// The log commits.
    Commit,
    /// The log prepares for what comes.
    Maintain,
    /// Messages of long queues are read back.
    Load,
    /// A checkpoint is made, step by step.
    Checkpoint,
    /// The broker comes to its end.
    Fall,
    /// It starts again.
    Start,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Millis,
    /// Breaks ties by the order of scheduling.
    number: u64,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where the lines of a trace go.
pub type TraceSink = fn(&str);

/// The clock, the chance and the events to come.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) random: Random,
    queue: BinaryHeap<Entry>,
    number: u64,
    trace: Option<TraceSink>,
}

impl World {
    pub(crate) const fn new(seed: u64, trace: Option<TraceSink>) -> Self {
        Self {
            now: 0,
            random: Random::new(seed),
            queue: BinaryHeap::new(),
            number: 0,
            trace,
        }
    }

    /// Lets `event` happen at `at`, or now if that has passed.
    pub(crate) fn at(&mut self, at: Millis, event: Event) {
        if at == NEVER {
            return;
        }
        self.number += 1;
        self.queue.push(Entry {
            at: at.max(self.now),
            number: self.number,
            event,
        });
    }

    /// Moves to the next event.
    pub(crate) fn advance(&mut self) -> Option<Event> {
        let entry = self.queue.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }

    /// Adds a line to the trace, if somebody reads it.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(sink) = self.trace {
            sink(&format!("{:>8} {}", self.now, line()));
        }
    }
}
