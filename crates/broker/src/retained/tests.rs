//! What the retained store promises, and walks against the naive matcher.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::route::naive;

fn store<'a>(topics: &[&'a str]) -> Retained<&'a str> {
    let mut store = Retained::new();
    for &topic in topics {
        assert_eq!(store.set(topic, topic), None);
    }
    store
}

/// Takes one step and returns the topics that it showed.
fn step(store: &Retained<&str>, walk: &mut Walk, visits_max: usize) -> (Vec<String>, WalkState) {
    let mut found = Vec::new();
    let state = store.walk(walk, visits_max, &mut |topic, &value| {
        assert_eq!(topic, value);
        found.push(topic.to_owned());
        ControlFlow::Continue(())
    });
    (found, state)
}

fn check(topics: &[&str], filter: &str, expected: &[&str]) {
    let (found, state) = step(&store(topics), &mut Walk::new(filter), usize::MAX);
    assert_eq!(found, expected, "for {filter:?}");
    assert_eq!(state, WalkState::Done);
}

/// How many stored topics a whole walk looks at, and how many match.
fn visits(store: &Retained<&str>, filter: &str) -> (usize, usize) {
    let mut walk = Walk::new(filter);
    let mut matches = 0;
    for visits in 1.. {
        let (found, state) = step(store, &mut walk, 1);
        matches += found.len();
        if state == WalkState::Done {
            return (visits, matches);
        }
    }
    unreachable!("a walk ends");
}

#[test]
fn a_value_is_kept_replaced_and_removed_by_its_very_topic() {
    let mut store = Retained::new();
    assert!(store.is_empty());
    assert_eq!(store.set("a/b", 1), None);
    assert_eq!(store.set("a/b/", 2), None);
    assert_eq!(store.set("a/b", 3), Some(1));
    assert_eq!(store.get("a/b"), Some(&3));
    assert_eq!(store.get("a"), None);
    assert_eq!(store.len(), 2);
    assert_eq!(store.remove("a/b"), Some(3));
    assert_eq!(store.remove("a/b"), None);
    assert_eq!(store.len(), 1);
}

#[test]
fn topics_come_in_order_of_their_levels() {
    let topics = ["a b", "a", "a/b", "a!/x", "a/", "a/b/c", "a/b-c", "b"];
    check(
        &topics,
        "#",
        &["a", "a/", "a/b", "a/b/c", "a/b-c", "a b", "a!/x", "b"],
    );
}

#[test]
fn a_filter_without_wildcards_is_one_topic() {
    check(&["a", "a/b", "a/b/c"], "a/b", &["a/b"]);
    check(&["a", "a/b/c"], "a/b", &[]);
}

#[test]
fn mqtt5_4_7_1_wildcards_match_as_in_subscriptions() {
    let topics = ["/a", "a", "a/", "a/b", "a/b/c", "a/c/c", "ab", "b/b/c"];
    check(&topics, "a/#", &["a", "a/", "a/b", "a/b/c", "a/c/c"]);
    check(&topics, "a/+", &["a/", "a/b"]);
    check(&topics, "+", &["a", "ab"]);
    check(&topics, "+/+", &["/a", "a/", "a/b"]);
    check(&topics, "+/b/c", &["a/b/c", "b/b/c"]);
    check(&topics, "+/b/#", &["a/b", "a/b/c", "b/b/c"]);
    check(&topics, "a/+/c", &["a/b/c", "a/c/c"]);
}

#[test]
fn mqtt5_4_7_2_1_a_leading_wildcard_does_not_reach_dollar_topics() {
    let topics = ["!x", "$SYS", "$SYS/a", "$SYS/a/b", "$a/b", "x/a", "x/$SYS"];
    check(&topics, "#", &["!x", "x/$SYS", "x/a"]);
    check(&topics, "+/a", &["x/a"]);
    check(&topics, "$SYS/#", &["$SYS", "$SYS/a", "$SYS/a/b"]);
    check(&topics, "$SYS/+", &["$SYS/a"]);
    check(&topics, "x/+", &["x/$SYS", "x/a"]);
}

#[test]
fn a_walk_passes_over_what_cannot_match_without_looking() {
    let names: Vec<String> = (0..1_000)
        .flat_map(|sensor| (0..50).map(move |topic| format!("sensors/{sensor}/t{topic:02}")))
        .chain((0..1_000).map(|at| format!("$SYS/{at}")))
        .chain((0..300).map(|at| format!("rooms/{}{}", at / 3, ["", "/a", "/b"][at % 3])))
        .chain((0..1_000).map(|at| format!("zoo/{at}")))
        .collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let store = store(&topics);
    for (filter, visits_max, matches) in [
        ("sensors/+/t25", 2_002, 1_000),
        ("sensors/+/t00", 1_001, 1_000),
        ("sensors/+", 1_001, 0),
        ("rooms/+/b", 201, 100),
        ("rooms/+", 201, 100),
        ("sensors/7/+", 51, 50),
        ("sensors/7/#", 51, 50),
        ("+/7/t07", 10, 1),
        ("+/7", 10, 2),
        ("zoo/#", 1_000, 1_000),
        ("zoo/+", 1_000, 1_000),
        ("sensors/+/none/+", 2_002, 0),
        ("nothing/#", 1, 0),
        ("zzz/#", 1, 0),
    ] {
        let (looked_at, found) = visits(&store, filter);
        assert_eq!(found, matches, "{filter}");
        assert!(looked_at <= visits_max, "{filter} looks at {looked_at}");
    }
}

#[test]
fn the_visitor_can_stop_and_the_walk_goes_on_behind_the_item() {
    for filter in ["#", "+/x", "a/#"] {
        let store = store(&["a/x", "b/x", "c/x"]);
        let mut walk = Walk::new(filter);
        let mut found = Vec::new();
        let mut steps = 0;
        while store.walk(&mut walk, usize::MAX, &mut |topic, _| {
            found.push(topic.to_owned());
            ControlFlow::Break(())
        }) == WalkState::More
        {
            steps += 1;
            assert_eq!(found.len(), steps.min(3));
        }
        let expected = if filter == "a/#" {
            &["a/x"][..]
        } else {
            &["a/x", "b/x", "c/x"]
        };
        assert_eq!(found, expected, "{filter}");
    }
}

#[test]
fn a_walk_that_is_done_stays_done() {
    for filter in ["a", "+"] {
        let mut store = store(&["a"]);
        let mut walk = Walk::new(filter);
        assert_eq!(
            step(&store, &mut walk, 9),
            (vec!["a".to_owned()], WalkState::Done)
        );
        store.set("b", "b");
        assert_eq!(step(&store, &mut walk, 9), (Vec::new(), WalkState::Done));
    }
}

#[test]
fn a_step_of_no_visits_looks_at_one_topic() {
    let store = store(&["a", "b"]);
    let mut walk = Walk::new("#");
    assert_eq!(
        step(&store, &mut walk, 0),
        (vec!["a".to_owned()], WalkState::More)
    );
}

#[derive(Clone, Debug)]
enum Change {
    Set(String),
    Remove(String),
}

fn levels() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$x"), 1 => Just("ab"),
        1 => Just("a\u{1}"), 1 => Just("%"), 1 => Just("é"),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    vec(levels(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic has a character", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    (
        vec(prop_oneof![3 => levels(), 2 => Just("+")], 0..5),
        any::<bool>(),
    )
        .prop_map(|(mut levels, ends_with_hash)| {
            if ends_with_hash || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a filter has a character", |filter| !filter.is_empty())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        topic().prop_map(Change::Set),
        topic().prop_map(Change::Remove)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_walk_shows_what_the_naive_matcher_finds(
        topics in vec(topic(), 0..60),
        filter in filter(),
        visits_max in 1_usize..8,
    ) {
        let mut store = Retained::new();
        for topic in &topics {
            store.set(topic, &**topic);
        }
        let mut walk = Walk::new(&filter);
        let mut found = Vec::new();
        loop {
            let (some, state) = step(&store, &mut walk, visits_max);
            prop_assert!(some.len() <= visits_max);
            found.extend(some);
            if state == WalkState::Done {
                break;
            }
        }
        let mut expected = topics.clone();
        expected.retain(|topic| naive::matches(&filter, topic));
        expected.sort_unstable_by_key(|topic| topic.replace('/', "\0"));
        expected.dedup();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_walk_survives_changes_between_its_steps(
        topics in vec(topic(), 0..40),
        filter in filter(),
        visits_max in 1_usize..5,
        stops: bool,
        mut changes in vec(change(), 0..40),
    ) {
        let mut store: Retained<()> = Retained::new();
        let mut stored: BTreeMap<String, ()> = BTreeMap::new();
        for topic in topics {
            store.set(&topic, ());
            stored.insert(topic, ());
        }
        // Must be shown: what is there from first to last. May be shown: what ever was there.
        let mut throughout = stored.clone();
        let mut ever = stored.clone();
        let mut walk = Walk::new(&filter);
        let mut found: Vec<String> = Vec::new();
        loop {
            let state = store.walk(&mut walk, visits_max, &mut |topic, ()| {
                found.push(topic.to_owned());
                if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if state == WalkState::Done {
                break;
            }
            match changes.pop() {
                Some(Change::Set(topic)) => {
                    prop_assert_eq!(store.set(&topic, ()), stored.insert(topic.clone(), ()));
                    ever.insert(topic, ());
                }
                Some(Change::Remove(topic)) => {
                    prop_assert_eq!(store.remove(&topic), stored.remove(&topic));
                    throughout.remove(&topic);
                }
                None => {}
            }
            prop_assert_eq!(store.len(), stored.len());
        }
        let keys: Vec<String> = found.iter().map(|topic| topic.replace('/', "\0")).collect();
        prop_assert!(keys.is_sorted_by(|one, next| one < next), "in order and once: {:?}", found);
        for topic in throughout.keys().filter(|topic| naive::matches(&filter, topic)) {
            prop_assert!(found.contains(topic), "{:?} is missing", topic);
        }
        for topic in &found {
            prop_assert!(ever.contains_key(topic) && naive::matches(&filter, topic));
        }
    }
}
