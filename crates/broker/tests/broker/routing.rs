//! The routing table with very many filters of very many shapes, against the naive matcher: shapes get tables,
//! lose them, and find none free.

use std::collections::{BTreeMap, BTreeSet};

use midge_broker::route::{Matches, RoutingTable, SessionRef, SubscriptionOptions, Target};
use proptest::prelude::*;

#[path = "../../src/route/naive.rs"]
mod naive;

/// More than get a table, and filters of each beyond what it takes for one.
const SHAPES: usize = 22;
const FILTERS_OF_A_SHAPE: usize = 100;
const GUEST_FILTERS: usize = 64;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn level(&mut self) -> String {
        match self.below(30) {
            0 => String::new(),
            1 => "$x".to_owned(),
            2 => "a-level-that-is-longer-than-the-others".to_owned(),
            n => format!("n{n}"),
        }
    }

    fn topic(&mut self) -> String {
        let mut topic = self.level();
        for _ in 0..self.below(6) {
            topic += "/";
            topic += &self.level();
        }
        if topic.is_empty() {
            topic += "/";
        }
        topic
    }
}

/// Levels that are literal, or `+`; and whether `#` follows.
type Shape = (Vec<bool>, bool);

/// Those with two literals come first, since only they have many filters.
fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for levels in 2..=5_u32 {
        for bits in 0..1_u32 << levels {
            for hash in [false, true] {
                let plus: Vec<bool> = (0..levels).map(|level| bits >> level & 1 == 1).collect();
                let literals = plus.iter().filter(|plus| !**plus).count();
                if literals >= 2 && (hash || literals < plus.len()) {
                    shapes.push((plus, hash));
                }
            }
        }
    }
    shapes.truncate(SHAPES);
    assert_eq!(shapes.len(), SHAPES);
    shapes
}

fn filter((plus, hash): &Shape, random: &mut Random) -> String {
    let level = |plus: &bool| {
        if *plus {
            "+".to_owned()
        } else {
            random.level()
        }
    };
    let mut levels: Vec<String> = plus.iter().map(level).collect();
    if *hash {
        levels.push("#".to_owned());
    }
    levels.join("/")
}

struct Rig {
    table: RoutingTable,
    matches: Matches,
    model: BTreeMap<(String, u32), u32>,
    /// Its keys, to choose from.
    keys: Vec<(String, u32)>,
    /// A shape that comes and goes while topics are prepared has its filters.
    has_guest: bool,
    last_id: u32,
}

impl Rig {
    fn subscribe(&mut self, filter: &str, slot: u32) {
        self.last_id += 1;
        let target = Target {
            session: session(slot),
            options: SubscriptionOptions::new(1, false, false),
            subscription_id: self.last_id,
        };
        let old = self.model.insert((filter.to_owned(), slot), self.last_id);
        assert_eq!(self.table.subscribe(filter, target), old.is_none());
        if old.is_none() {
            self.keys.push((filter.to_owned(), slot));
        }
    }

    fn unsubscribe_any(&mut self, random: &mut Random) {
        let at = random.below(self.keys.len());
        let key = self.keys.swap_remove(at);
        self.model.remove(&key);
        let (filter, slot) = key;
        assert!(self.table.unsubscribe(&filter, session(slot)));
        assert!(!self.table.unsubscribe(&filter, session(slot)));
    }

    /// Lets a table come or go that moves the others, where one is free.
    fn flip_guest(&mut self) {
        self.has_guest = !self.has_guest;
        for at in 0..GUEST_FILTERS {
            let (filter, slot) = (format!("n3/+/+/+/+/{at}"), 9);
            if self.has_guest {
                self.subscribe(&filter, slot);
            } else {
                self.forget(&filter, slot);
            }
        }
    }

    fn forget(&mut self, filter: &str, slot: u32) {
        let old = self.model.remove(&(filter.to_owned(), slot));
        assert_eq!(self.table.unsubscribe(filter, session(slot)), old.is_some());
        self.keys
            .retain(|(known, at)| known != filter || *at != slot);
    }

    /// Routes several topics, as they come in one read: prepared, some left out, and with changes between.
    fn publish(&mut self, random: &mut Random) {
        let topics: Vec<String> = (0..8).map(|_| random.topic()).collect();
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        if random.below(4) > 0 {
            self.table.prepare(&names, &mut self.matches);
        }
        for topic in names {
            match random.below(12) {
                0 => continue,
                1 => self.subscribe(topic, 7),
                2 => self.unsubscribe_any(random),
                3 => self.flip_guest(),
                _ => {}
            }
            self.check(topic);
        }
    }

    fn check(&mut self, topic: &str) {
        let mut expected: Vec<(Vec<u8>, u32)> = self
            .model
            .iter()
            .filter(|((filter, _), _)| naive::matches(filter, topic))
            .map(|((filter, _), id)| (naive::rank(filter), *id))
            .collect();
        expected.sort();
        let ranks: BTreeMap<u32, Vec<u8>> = expected
            .iter()
            .map(|(rank, id)| (*id, rank.clone()))
            .collect();
        self.matches.clear();
        self.table.route(topic, &mut self.matches);
        let mut found: Vec<(Vec<u8>, u32)> = Vec::new();
        for target in &self.matches.targets {
            let rank = ranks.get(&target.subscription_id);
            assert!(rank.is_some(), "{topic:?} does not match {target:?}");
            found.push((rank.cloned().unwrap_or_default(), target.subscription_id));
        }
        assert!(
            found.is_sorted_by_key(|(rank, _)| rank),
            "out of order for {topic:?}: {found:?}"
        );
        found.sort();
        assert_eq!(found, expected, "for {topic:?}");
    }
}

fn session(slot: u32) -> SessionRef {
    SessionRef {
        shard: 0,
        generation: 0,
        slot,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn very_many_filters_of_many_shapes_match_what_the_naive_matcher_says(seed: u64) {
        let mut random = Random(seed);
        let mut rig = Rig {
            table: RoutingTable::new(seed),
            matches: Matches::new(),
            model: BTreeMap::new(),
            keys: Vec::new(),
            has_guest: false,
            last_id: 0,
        };
        let mut shapes = shapes();
        for round in 0..3 {
            // Which shapes find a table free differs from round to round.
            for at in (1..shapes.len()).rev() {
                shapes.swap(at, random.below(at + 1));
            }
            // In the second one there are tables for all.
            let count = if round == 1 { 12 } else { SHAPES };
            for shape in shapes.iter().take(count) {
                let mut filters = BTreeSet::new();
                while filters.len() < FILTERS_OF_A_SHAPE {
                    filters.insert(filter(shape, &mut random));
                }
                for filter in &filters {
                    let slot = random.below(3) as u32;
                    rig.subscribe(filter, slot);
                    if random.below(10) == 0 {
                        rig.subscribe(filter, slot + 1);
                    }
                }
                if random.below(2) == 0 {
                    rig.publish(&mut random);
                }
            }
            // Before the second round nothing is left, and after the last one.
            let left = if round == 1 { 500 } else { 0 };
            while rig.model.len() > left {
                rig.unsubscribe_any(&mut random);
                if rig.model.len().is_multiple_of(300) && !rig.model.is_empty() {
                    rig.publish(&mut random);
                }
            }
        }
        prop_assert_eq!(rig.table.counts().subscriptions, 0);
        rig.check("n3/n4/n5");
    }
}
