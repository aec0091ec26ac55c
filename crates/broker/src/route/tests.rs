//! What the routing table promises, rule by rule.

mod groups;
mod memory;
mod model;

use super::*;

/// Finds out what a topic reaches when each filter has one subscriber, in order.
fn reached<'a>(filters: &[&'a str], topic: &str) -> Vec<&'a str> {
    let mut table = RoutingTable::new(7);
    for (at, filter) in filters.iter().enumerate() {
        assert!(table.subscribe(filter, target(1, at as u32 + 1)));
    }
    let found = route(&table, topic);
    found
        .targets
        .iter()
        .map(|target| filters[target.subscription_id as usize - 1])
        .collect()
}

fn check(filters: &[&str], topic: &str, expected: &[&str]) {
    assert_eq!(reached(filters, topic), expected, "for {topic:?}");
}

pub(super) fn route(table: &RoutingTable, topic: &str) -> Matches {
    let mut matches = Matches::new();
    table.route(topic, &mut matches);
    matches
}

pub(super) fn session(slot: u32) -> SessionRef {
    SessionRef {
        shard: 3,
        generation: 1,
        slot,
    }
}

pub(super) fn target(slot: u32, subscription_id: u32) -> Target {
    let options = SubscriptionOptions::new(1, false, false);
    Target {
        session: session(slot),
        options,
        subscription_id,
    }
}

#[test]
fn options_come_back_as_they_were_packed() {
    for qos in 0..=2 {
        for no_local in [false, true] {
            for as_published in [false, true] {
                let options = SubscriptionOptions::new(qos, no_local, as_published);
                let back = (
                    options.qos(),
                    options.no_local(),
                    options.retain_as_published(),
                );
                assert_eq!(back, (qos, no_local, as_published));
            }
        }
    }
    assert_eq!(SubscriptionOptions::new(9, false, false).qos(), 2);
}

#[test]
fn mqtt5_3_3_4_2_overlapping_filters_come_in_mosquittos_order() {
    let in_order = [
        "a/b/#", "a/b", "a/+/#", "a/+", "a/#", "+/b/#", "+/b", "+/+/#", "+/+", "+/#", "#",
    ];
    let mut reversed = in_order;
    reversed.reverse();
    check(&in_order, "a/b", &in_order);
    check(&reversed, "a/b", &in_order);
}

#[test]
fn an_exact_filter_comes_before_wildcards_even_where_the_literal_path_breaks_off() {
    check(
        &["#", "a/#", "a/b/x/#", "a/b/c"],
        "a/b/c",
        &["a/b/c", "a/#", "#"],
    );
    check(&["+/b/c", "a/b/c"], "a/b/c", &["a/b/c", "+/b/c"]);
}

#[test]
fn mqtt5_4_7_1_hash_matches_its_parent_and_all_below() {
    let filters = ["a/#", "a/b/#"];
    check(&filters, "a", &["a/#"]);
    check(&filters, "a/b", &["a/b/#", "a/#"]);
    check(&filters, "a/b/c/d", &["a/b/#", "a/#"]);
    check(&filters, "ab", &[]);
    check(&["#"], "/", &["#"]);
}

#[test]
fn mqtt5_4_7_1_plus_matches_one_level() {
    let filters = ["a/+", "+", "a/+/c"];
    check(&filters, "a", &["+"]);
    check(&filters, "a/", &["a/+"]);
    check(&filters, "a/b/c", &["a/+/c"]);
    check(&filters, "a/b/d", &[]);
}

#[test]
fn mqtt5_4_7_2_1_a_leading_wildcard_does_not_reach_dollar_topics() {
    let filters = ["#", "+/x", "+", "+/#", "$SYS/#", "$SYS/+", "$SYS/x", "a/+"];
    check(&filters, "$SYS/x", &["$SYS/x", "$SYS/+", "$SYS/#"]);
    check(&filters, "$SYS", &["$SYS/#"]);
    check(&filters, "$other/x", &[]);
    check(&filters, "a/$x", &["a/+", "+/#", "#"]);
}

#[test]
fn mqtt5_4_7_2_1_holds_for_filters_of_which_there_are_many_of_one_shape() {
    let mut table = RoutingTable::new(7);
    for number in 0..9 {
        for filter in [
            format!("+/{number}"),
            format!("+/{number}/#"),
            format!("$x/{number}/+"),
        ] {
            assert!(table.subscribe(&filter, target(number, 0)));
        }
    }
    for number in 0..9 {
        let found = |topic: String| route(&table, &topic).targets.len();
        assert_eq!(found(format!("a/{number}")), 2);
        assert_eq!(found(format!("a/{number}/b")), 1);
        assert_eq!(found(format!("$x/{number}")), 0);
        assert_eq!(found(format!("$x/{number}/b")), 1);
    }
}

#[test]
fn mqtt5_4_7_3_4_empty_levels_are_levels() {
    let filters = ["/a", "a", "+/a", "a//b", "a/+/b", "a/b", "a/", "//", "/+/"];
    check(&filters, "/a", &["/a", "+/a"]);
    check(&filters, "a", &["a"]);
    check(&filters, "a//b", &["a//b", "a/+/b"]);
    check(&filters, "a/", &["a/"]);
    check(&filters, "//", &["//", "/+/"]);
}

#[test]
fn mqtt5_3_8_4_3_the_same_filter_replaces_the_subscription() {
    for filter in ["a/b", "a/+", "#"] {
        let mut table = RoutingTable::new(7);
        assert!(table.subscribe(filter, target(1, 5)));
        assert!(table.subscribe(filter, target(2, 6)));
        let again = Target {
            options: SubscriptionOptions::new(2, true, true),
            ..target(1, 9)
        };
        assert!(!table.subscribe(filter, again));
        assert_eq!(route(&table, "a/b").targets, [again, target(2, 6)]);
        assert_eq!(
            table.counts(),
            Counts {
                subscriptions: 2,
                shared_subscriptions: 0
            }
        );
    }
}

#[test]
fn mqtt5_3_10_4_1_only_the_very_filter_is_removed() {
    let mut table = RoutingTable::new(7);
    for filter in ["a/b", "a/+", "a/#"] {
        table.subscribe(filter, target(1, 0));
    }
    for filter in ["a/b/", "A/b", "+/b", "a", "#", "a/+/#", "a/b/#"] {
        assert!(!table.unsubscribe(filter, session(1)), "{filter}");
    }
    assert!(!table.unsubscribe("a/+", session(2)));
    let newer = SessionRef {
        generation: 2,
        ..session(1)
    };
    assert!(!table.unsubscribe("a/b", newer));
    assert!(table.unsubscribe("a/+", session(1)));
    assert!(!table.unsubscribe("a/+", session(1)));
    assert_eq!(table.counts().subscriptions, 2);
    assert_eq!(route(&table, "a/b").targets.len(), 2);
}

#[test]
fn a_filter_below_another_outlives_it() {
    let mut table = RoutingTable::new(7);
    table.subscribe("+/a/b", target(1, 1));
    table.subscribe("+/a", target(1, 2));
    assert!(table.unsubscribe("+/a/b", session(1)));
    assert_eq!(route(&table, "x/a").targets, [target(1, 2)]);
    table.subscribe("+/a/b", target(1, 3));
    assert!(table.unsubscribe("+/a", session(1)));
    assert_eq!(route(&table, "x/a/b").targets, [target(1, 3)]);
}

#[test]
fn levels_of_any_length_and_any_letters_are_told_apart() {
    let long = "l".repeat(60_000);
    let longer = format!("+/{long}x/é");
    let long = format!("+/{long}/é");
    check(&[&long, &longer], &long.replace('+', "é"), &[&long]);
}

#[test]
fn the_deepest_topic_is_routed_without_recursion() {
    let topic = "/".repeat(65_535);
    let path = format!("+{}", "/".repeat(65_534));
    let filters = [&*path, "#", "/+/#"];
    let deep = format!("{}#", "/".repeat(65_534));
    check(&[&deep, "#", "/+/#"], &topic, &[&deep, "/+/#", "#"]);
    check(&filters, &topic, &["/+/#", "#"]);
    check(&filters, &topic[1..], &["/+/#", &path, "#"]);
}

#[test]
fn topics_too_deep_for_shapes_keep_the_order() {
    let topic = "a/".repeat(40) + "a";
    let below = format!("{topic}/#");
    let plus = "a/".repeat(40) + "+";
    // Enough of one shape for a table.
    let filters = ["+/1", "+/2", "+/3", &topic, &plus, &below, "#"];
    check(&filters, &topic, &[&below, &topic, &plus, "#"]);
}

#[test]
fn matches_are_appended_and_cleared_by_the_caller() {
    let mut table = RoutingTable::new(7);
    table.subscribe("a/+", target(1, 0));
    let mut matches = Matches::new();
    table.route("a/b", &mut matches);
    table.route("a/c", &mut matches);
    assert_eq!(matches.targets.len(), 2);
    matches.clear();
    assert!(matches.targets.is_empty() && matches.groups.is_empty());
}
