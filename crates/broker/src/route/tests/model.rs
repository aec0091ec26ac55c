//! The routing table against a list of subscriptions and the naive matcher.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::naive;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Subscribe(String, u32),
    Unsubscribe(String, u32),
    Join(&'static str, String, u32),
    Leave(&'static str, String, u32),
    Publish(String),
}

impl Step {
    fn topic(&self) -> Option<&str> {
        match self {
            Self::Publish(topic) => Some(topic),
            _ => None,
        }
    }
}

/// The subscriptions as they should be; each has an identifier of its own.
#[derive(Default)]
struct Model {
    plain: BTreeMap<(String, u32), u32>,
    shared: BTreeMap<(&'static str, String), BTreeMap<u32, u32>>,
    last_id: u32,
    /// Used again for each message, with what was prepared for it.
    matches: Matches,
}

impl Model {
    fn take(&mut self, table: &mut RoutingTable, step: &Step) {
        self.last_id += 1;
        let id = self.last_id;
        match step {
            Step::Subscribe(filter, slot) => {
                let is_new = self.plain.insert((filter.clone(), *slot), id).is_none();
                assert_eq!(table.subscribe(filter, target(*slot, id)), is_new);
            }
            Step::Unsubscribe(filter, slot) => {
                let was_there = self.plain.remove(&(filter.clone(), *slot)).is_some();
                assert_eq!(table.unsubscribe(filter, session(*slot)), was_there);
            }
            Step::Join(name, filter, slot) => {
                let members = self.shared.entry((name, filter.clone())).or_default();
                let is_new = members.insert(*slot, id).is_none();
                // Those with an odd slot are ready.
                let presence = Presence::new();
                if slot % 2 == 1 {
                    presence.set(PresenceState::Ready);
                }
                let member = target(*slot, id);
                assert_eq!(
                    table.subscribe_shared(name, filter, member, Arc::new(presence)),
                    is_new
                );
            }
            Step::Leave(name, filter, slot) => {
                let key = (*name, filter.clone());
                let members = self.shared.get_mut(&key);
                let was_there = members.is_some_and(|members| members.remove(slot).is_some());
                if self.shared.get(&key).is_some_and(BTreeMap::is_empty) {
                    self.shared.remove(&key);
                }
                assert_eq!(
                    table.unsubscribe_shared(name, filter, session(*slot)),
                    was_there
                );
            }
            Step::Publish(topic) => {
                self.matches.clear();
                table.route(topic, &mut self.matches);
                self.compare_targets(topic);
                self.compare_groups(table, topic);
            }
        }
        let counts = Counts {
            subscriptions: self.plain.len(),
            shared_subscriptions: self.shared.values().map(BTreeMap::len).sum(),
        };
        assert_eq!(table.counts(), counts);
    }

    fn compare_targets(&self, topic: &str) {
        let mut found: Vec<u32> = Vec::new();
        let mut ranks: Vec<Vec<u8>> = Vec::new();
        for target in &self.matches.targets {
            let id = target.subscription_id;
            let mut plain = self.plain.iter();
            let ((filter, slot), _) = plain.find(|(_, known)| **known == id).unwrap();
            assert_eq!(target.session.slot, *slot);
            ranks.push(naive::rank(filter));
            found.push(id);
        }
        assert!(ranks.is_sorted(), "out of order for {topic:?}: {ranks:?}");
        found.sort_unstable();
        let matching = self
            .plain
            .iter()
            .filter(|((filter, _), _)| naive::matches(filter, topic));
        let mut expected: Vec<u32> = matching.map(|(_, id)| *id).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "for {topic:?}");
    }

    fn compare_groups(&self, table: &RoutingTable, topic: &str) {
        let mut found = Vec::new();
        for found_group in &self.matches.groups {
            let group = table.group(found_group.group).unwrap();
            let key = (group.name(), group.filter());
            assert_eq!(table.find_group(key.0, key.1), Some(found_group.group));
            let (_, members) = self
                .shared
                .iter()
                .find(|(k, _)| (k.0, &*k.1) == key)
                .unwrap();
            match found_group.member {
                Some(member) => {
                    assert_eq!(member.session.slot % 2, 1, "it is ready");
                    assert_eq!(
                        members.get(&member.session.slot),
                        Some(&member.subscription_id)
                    );
                }
                None => assert!(members.keys().all(|slot| slot % 2 == 0), "nobody is ready"),
            }
            found.push((group.name().to_owned(), group.filter().to_owned()));
        }
        found.sort_unstable();
        let groups = self
            .shared
            .keys()
            .filter(|(_, filter)| naive::matches(filter, topic));
        let expected: Vec<_> = groups
            .map(|(name, f)| ((*name).to_owned(), f.clone()))
            .collect();
        assert_eq!(found, expected, "for {topic:?}");
    }
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        3 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$x"),
        1 => Just("a-level-that-is-longer-than-the-others"), 3 => Just("+"),
    ];
    (vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, ends_with_hash)| {
            if ends_with_hash || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a filter has a character", |filter| !filter.is_empty())
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        3 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$x"),
        1 => Just("a-level-that-is-longer-than-the-others"),
    ];
    vec(level, 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic has a character", |topic| !topic.is_empty())
}

fn step(slots: u32) -> impl Strategy<Value = Step> {
    let name = || prop_oneof![Just("g"), Just("h")];
    prop_oneof![
        4 => (filter(), 0..slots).prop_map(|(f, s)| Step::Subscribe(f, s)),
        3 => (filter(), 0..slots).prop_map(|(f, s)| Step::Unsubscribe(f, s)),
        2 => (name(), filter(), 0..slots).prop_map(|(n, f, s)| Step::Join(n, f, s)),
        1 => (name(), filter(), 0..slots).prop_map(|(n, f, s)| Step::Leave(n, f, s)),
        3 => topic().prop_map(Step::Publish),
    ]
}

/// Steps that pile up subscribers of very few filters.
fn crowding_step() -> impl Strategy<Value = Step> {
    let filter = || prop_oneof![Just("a".to_owned()), Just("+".to_owned())];
    let slot = || 0..90_u32;
    prop_oneof![
        6 => (filter(), slot()).prop_map(|(f, s)| Step::Subscribe(f, s)),
        5 => (filter(), slot()).prop_map(|(f, s)| Step::Unsubscribe(f, s)),
        6 => (filter(), slot()).prop_map(|(f, s)| Step::Join("g", f, s)),
        5 => (filter(), slot()).prop_map(|(f, s)| Step::Leave("g", f, s)),
        1 => Just(Step::Publish("a".to_owned())),
    ]
}

/// Takes the steps and then removes all that is left.
fn run(seed: u64, steps: &[Step]) {
    let mut table = RoutingTable::new(seed);
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
        if at % 12 == 0 {
            // What comes between them makes it void.
            let topics: Vec<&str> = steps.iter().skip(at).filter_map(Step::topic).collect();
            table.prepare(&topics[..topics.len().min(8)], &mut model.matches);
        }
        model.take(&mut table, step);
    }
    let plain: Vec<_> = model.plain.keys().cloned().collect();
    for (filter, slot) in plain {
        model.take(&mut table, &Step::Unsubscribe(filter, slot));
    }
    let shared: Vec<_> = model
        .shared
        .iter()
        .map(|(k, m)| (k.clone(), m.clone()))
        .collect();
    for ((name, filter), members) in shared {
        for &slot in members.keys() {
            model.take(&mut table, &Step::Leave(name, filter.clone(), slot));
        }
    }
    assert_eq!(table.counts(), Counts::default());
    assert!(table.subscriptions.is_empty() && table.groups.is_empty());
}

proptest! {
    #[test]
    fn any_sequence_routes_as_the_naive_matcher_does(
        seed: u64,
        steps in vec(step(4), 1..120),
    ) {
        run(seed, &steps);
    }

    #[test]
    fn a_crowd_that_grows_and_shrinks_is_routed_in_full(
        seed: u64,
        steps in vec(crowding_step(), 1..600),
    ) {
        run(seed, &steps);
    }
}
