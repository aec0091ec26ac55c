//! Topics that were published to lately, with what they reach.
//!
//! Most messages go to a topic that has just had one. What was found out about it then (that it is a
//! valid name, and which subscriptions match) holds until the routing table changes.

use smallvec::SmallVec;

use crate::route::{GroupId, Matches, RoutingTable, Target};

/// The topics that one shard remembers.
#[derive(Debug)]
pub(crate) struct KnownTopics {
    sets: Box<[Set; SETS]>,
}

/// A topic and what it reaches.
#[derive(Debug)]
pub(crate) struct KnownTopic {
    hash: u32,
    topic: Box<str>,
    reach: Reach,
}

/// What a topic reaches.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Of the routing table that was asked; zero is none's.
    version: u64,
    targets: SmallVec<[Target; 2]>,
    groups: SmallVec<[GroupId; 1]>,
    /// The seeded hash by which rights remember the topic; 0 until somebody has asked them.
    pub(crate) topic_hash: u64,
}

/// Topics whose hashes are alike.
#[derive(Debug, Default)]
struct Set {
    /// The one that was entered last, and the one before it.
    ways: [Option<Box<KnownTopic>>; 2],
    /// The topic that was last looked for in vain: it is entered the second time, so that topics that
    /// never come again cost next to nothing.
    missed: u32,
}

/// Sets of two; they take 10 KiB, and as much again for each hundred topics.
const SETS: usize = 256;
/// Longer topics, and those of more subscriptions, are matched each time: there it matters least.
const TOPIC_BYTES_MAX: usize = 256;
const TARGETS_MAX: usize = 8;

impl Default for KnownTopics {
    fn default() -> Self {
        Self {
            sets: Box::new(std::array::from_fn(|_| Set::default())),
        }
    }
}

impl KnownTopics {
    /// Lends what is known of a topic; [`Self::give_back`] is to have it again.
    #[inline]
    pub(crate) fn take(&mut self, topic: &[u8]) -> Option<Box<KnownTopic>> {
        let hash = hash(topic);
        let set = self.sets.get_mut(set_of(hash))?;
        let is_it =
            |known: &mut Box<KnownTopic>| known.hash == hash && known.topic.as_bytes() == topic;
        let [first, second] = &mut set.ways;
        first.take_if(is_it).or_else(|| second.take_if(is_it))
    }

    #[inline]
    pub(crate) fn give_back(&mut self, known: Box<KnownTopic>) {
        if let Some(set) = self.sets.get_mut(set_of(known.hash)) {
            let [first, second] = &mut set.ways;
            // One of them was lent.
            let place = if first.is_none() { first } else { second };
            *place = Some(known);
        }
    }

    /// Learns what an unknown topic reaches.
    pub(crate) fn learn(&mut self, topic: &str, version: u64, matches: &Matches) {
        let hash = hash(topic.as_bytes());
        let Some(set) = self.sets.get_mut(set_of(hash)) else {
            return;
        };
        if set.missed != hash {
            set.missed = hash;
            return;
        }
        if topic.len() > TOPIC_BYTES_MAX {
            return;
        }
        let mut known = Box::new(KnownTopic {
            hash,
            topic: topic.into(),
            reach: Reach::default(),
        });
        known.reach.learn(version, matches);
        let [first, second] = &mut set.ways;
        *second = first.replace(known);
    }
}

impl KnownTopic {
    /// The topic's name, and what it reaches.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&str, &mut Reach) {
        (&self.topic, &mut self.reach)
    }
}

impl Reach {
    /// Appends what the topic reaches, if the table is still the one that was asked.
    #[inline]
    pub(crate) fn recall(&self, table: &RoutingTable, matches: &mut Matches) -> bool {
        if self.version != table.version() {
            return false;
        }
        matches.targets.extend_from_slice(&self.targets);
        for group in &self.groups {
            matches.groups.extend(table.choose(*group));
        }
        true
    }

    /// Learns what the topic reaches now.
    pub(crate) fn learn(&mut self, version: u64, matches: &Matches) {
        self.targets.clear();
        self.groups.clear();
        if matches.targets.len() + matches.groups.len() > TARGETS_MAX {
            self.version = 0;
            return;
        }
        self.targets.extend_from_slice(&matches.targets);
        self.groups
            .extend(matches.groups.iter().map(|found| found.group));
        self.version = version;
    }
}

/// The set of a hash, by its highest bits: only these depend on all bytes, since a product's bit depends on
/// those of its factors that are not above it.
#[inline]
const fn set_of(hash: u32) -> usize {
    (hash >> (u32::BITS - SETS.trailing_zeros())) as usize
}

/// Fast rather than good: whoever makes topics collide makes their messages as dear as they are without
/// this.
#[inline]
fn hash(topic: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = topic.as_chunks::<8>();
    let mut hash = topic.len() as u64;
    for word in words {
        hash = (hash.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    // The last bytes again with some before them, so that no byte is looked at alone.
    if let Some(word) = topic.last_chunk::<8>() {
        hash = (hash.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    } else {
        for byte in rest {
            hash = (hash.rotate_left(29) ^ u64::from(*byte)).wrapping_mul(FACTOR);
        }
    }
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::route::{Presence, PresenceState, SessionRef, SubscriptionOptions};

    fn target(slot: u32) -> Target {
        Target {
            session: SessionRef {
                shard: 0,
                generation: 0,
                slot,
            },
            subscription_id: 0,
            options: SubscriptionOptions::new(1, false, false),
        }
    }

    fn route(table: &RoutingTable, topic: &str) -> Matches {
        let mut matches = Matches::new();
        table.route(topic, &mut matches);
        matches
    }

    /// Publishes to a topic until it is known.
    fn learn(topics: &mut KnownTopics, table: &RoutingTable, topic: &str) {
        for _ in 0..2 {
            topics.learn(topic, table.version(), &route(table, topic));
        }
    }

    #[test]
    fn a_topic_is_known_from_its_second_message_on_until_the_table_changes() {
        let mut table = RoutingTable::new(1);
        table.subscribe("a/+", target(1));
        let mut topics = KnownTopics::default();
        topics.learn("a/b", table.version(), &route(&table, "a/b"));
        assert!(topics.take(b"a/b").is_none());
        topics.learn("a/b", table.version(), &route(&table, "a/b"));
        let mut known = topics.take(b"a/b").unwrap();
        assert!(topics.take(b"a/b").is_none(), "it is lent");
        let mut matches = Matches::new();
        assert!(known.parts().1.recall(&table, &mut matches));
        assert_eq!(matches.targets, [target(1)]);
        topics.give_back(known);

        table.subscribe("a/b", target(2));
        let mut known = topics.take(b"a/b").unwrap();
        let (topic, reach) = known.parts();
        assert_eq!(topic, "a/b");
        matches.clear();
        assert!(!reach.recall(&table, &mut matches));
        reach.learn(table.version(), &route(&table, "a/b"));
        assert!(reach.recall(&table, &mut matches));
        assert_eq!(matches.targets, route(&table, "a/b").targets);
        for session in [target(1).session, target(2).session] {
            let version = table.version();
            table.unsubscribe("a/b", session);
            assert_eq!(table.version() > version, session.slot == 2);
        }
    }

    #[test]
    fn a_shared_group_chooses_anew_for_each_message() {
        let mut table = RoutingTable::new(1);
        for slot in 0..3 {
            let presence = Arc::new(Presence::new());
            presence.set(PresenceState::Ready);
            table.subscribe_shared("g", "a", target(slot), presence);
        }
        let mut topics = KnownTopics::default();
        learn(&mut topics, &table, "a");
        let mut known = topics.take(b"a").unwrap();
        let (_, reach) = known.parts();
        let mut chosen = Vec::new();
        for _ in 0..3 {
            let mut matches = Matches::new();
            assert!(reach.recall(&table, &mut matches));
            chosen.extend(matches.groups.iter().filter_map(|found| found.member));
        }
        chosen.sort_by_key(|target| target.session.slot);
        assert_eq!(chosen, [target(0), target(1), target(2)]);
        let version = table.version();
        table.unsubscribe_shared("g", "a", target(0).session);
        assert_ne!(table.version(), version);
    }

    #[test]
    fn what_reaches_many_is_matched_each_time() {
        let mut table = RoutingTable::new(1);
        for slot in 0..100 {
            table.subscribe("a", target(slot));
        }
        let mut topics = KnownTopics::default();
        learn(&mut topics, &table, "a");
        let mut known = topics.take(b"a").unwrap();
        assert!(!known.parts().1.recall(&table, &mut Matches::new()));
    }

    #[test]
    fn topics_that_differ_anywhere_do_not_push_each_other_out() {
        let table = RoutingTable::new(1);
        let make: [fn(u32) -> String; 4] = [
            |n| format!("a/topic/{n:02}"),
            |n| format!("{n:02}/a/longer/topic"),
            |n| format!("house/{n:02}/state"),
            |n| format!("{n}"),
        ];
        for make in make {
            let mut topics = KnownTopics::default();
            let names: Vec<_> = (0..50).map(make).collect();
            for name in &names {
                learn(&mut topics, &table, name);
            }
            let known = names
                .iter()
                .filter(|name| topics.take(name.as_bytes()).is_some());
            let known = known.count();
            assert!(known >= 45, "{known} like {}", names[0]);
        }
    }

    #[test]
    fn more_topics_than_there_is_room_for_push_each_other_out() {
        let table = RoutingTable::new(1);
        let mut topics = KnownTopics::default();
        let names: Vec<_> = (0..10_000).map(|n| format!("sensor/{n}/state")).collect();
        for name in &names {
            learn(&mut topics, &table, name);
        }
        let known = names
            .iter()
            .filter(|name| topics.take(name.as_bytes()).is_some());
        let known = known.count();
        assert!((400..=2 * SETS).contains(&known), "{known}");
    }
}
