//! The retained messages, one per topic, and walks over those that match a filter.

mod walk;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::ops::ControlFlow;

pub use walk::{Walk, WalkState};

use walk::{Next, Pattern};

/// A value for each topic, in topic order.
///
/// A topic is kept with NUL, which no topic contains [MQTT5-4.7.3-2], in place of `/`. Since
/// nothing sorts before it, a topic stands directly before its descendants, and all that begins
/// with the same levels is one range: a walk can pass over what cannot match by one look-up.
#[derive(Debug)]
pub struct Retained<V> {
    messages: BTreeMap<Box<str>, V>,
    weigh: fn(&V) -> usize,
    /// What all values weigh.
    bytes: usize,
    /// Counts changes.
    version: u64,
}

impl<V> Retained<V> {
    /// Makes an empty store.
    #[must_use]
    pub const fn new() -> Self {
        Self::weighing(|_| 0)
    }

    /// Makes an empty store of values whose bytes are counted by `weigh`.
    #[must_use]
    pub const fn weighing(weigh: fn(&V) -> usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            weigh,
            bytes: 0,
            version: 0,
        }
    }

    /// Keeps `value` for `topic` and returns what it replaced.
    pub fn set(&mut self, topic: &str, value: V) -> Option<V> {
        self.bytes += (self.weigh)(&value);
        let old = self.messages.insert(key(topic).into_boxed_str(), value);
        self.discount(old.as_ref());
        old
    }

    /// Forgets the value of `topic` and returns it.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        let old = self.messages.remove(key(topic).as_str());
        self.discount(old.as_ref());
        old
    }

    fn discount(&mut self, old: Option<&V>) {
        self.bytes -= old.map_or(0, self.weigh);
    }

    /// What all values weigh.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of `topic`.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.messages.get(key(topic).as_str())
    }

    /// A number for the change that was just made, greater than any before.
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Lets versions begin after `version`, which an earlier run of the program gave.
    pub fn begin_versions_after(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// How many topics have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no topic has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Goes on with `walk`: shows `each` the topics that match its filter, in order of their
    /// levels, looking at no more than `visits_max` stored topics (at least one, so that a walk
    /// always moves). `each` may stop the walk after an item; it goes on behind it.
    ///
    /// The store may change between the steps. A topic that was there all the time is shown
    /// once; one that came or went in between is shown or not.
    pub fn walk(
        &self,
        walk: &mut Walk,
        visits_max: usize,
        each: &mut dyn FnMut(&str, &V) -> ControlFlow<()>,
    ) -> WalkState {
        let Walk {
            filter,
            reaches_dollar,
            from,
            state,
        } = walk;
        if *state == WalkState::More {
            *state = match Pattern::new(filter, *reaches_dollar) {
                Some(pattern) => self.search(&pattern, from, visits_max.max(1), each),
                None => {
                    if let Some(value) = self.get(filter) {
                        // There is nothing left to stop.
                        let _ = each(filter, value);
                    }
                    WalkState::Done
                }
            };
        }
        *state
    }

    /// Walks from the key `from`, which is moved to where the walk is to go on.
    fn search(
        &self,
        pattern: &Pattern<'_>,
        from: &mut String,
        visits_max: usize,
        each: &mut dyn FnMut(&str, &V) -> ControlFlow<()>,
    ) -> WalkState {
        let mut topic = String::new();
        let mut visits = 0;
        loop {
            let range = (Bound::Included(from.as_str()), Bound::Unbounded);
            let mut run = self.messages.range::<str, _>(range);
            loop {
                let Some((key, value)) = run.next() else {
                    return WalkState::Done;
                };
                if visits == visits_max {
                    from.clear();
                    from.push_str(key);
                    return WalkState::More;
                }
                visits += 1;
                let (is_match, next) = pattern.judge(key, from);
                let stopped = is_match && {
                    write_topic(key, &mut topic);
                    each(&topic, value).is_break()
                };
                match next {
                    Next::End => return WalkState::Done,
                    Next::Following if stopped => {
                        // The first string behind the key.
                        from.clear();
                        from.push_str(key);
                        from.push(SEPARATOR);
                        return WalkState::More;
                    }
                    Next::Seek if stopped => return WalkState::More,
                    Next::Following => {}
                    Next::Seek => break,
                }
            }
        }
    }
}

impl<V> Default for Retained<V> {
    fn default() -> Self {
        Self::new()
    }
}

fn key(topic: &str) -> String {
    topic.replace('/', "\0")
}

fn write_topic(key: &str, topic: &mut String) {
    topic.clear();
    for (at, level) in key.split(SEPARATOR).enumerate() {
        if at > 0 {
            topic.push('/');
        }
        topic.push_str(level);
    }
}

/// Stands between levels in a key; less than any character of a topic.
const SEPARATOR: char = '\0';

#[cfg(test)]
mod tests;
