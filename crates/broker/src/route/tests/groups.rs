//! Shared groups: whom they choose, and when they choose nobody.

use super::*;

fn presence(state: PresenceState) -> Arc<Presence> {
    let presence = Presence::new();
    presence.set(state);
    Arc::new(presence)
}

fn ready() -> Arc<Presence> {
    presence(PresenceState::Ready)
}

/// A group `g` of the filter `t` with one member per state, in slots from 0.
fn group_of(states: &[PresenceState]) -> RoutingTable {
    let mut table = RoutingTable::new(7);
    for (slot, &state) in states.iter().enumerate() {
        assert!(table.subscribe_shared("g", "t", target(slot as u32, 0), presence(state)));
    }
    table
}

/// The slots that the next `count` messages choose.
fn chosen(table: &RoutingTable, count: usize) -> Vec<Option<u32>> {
    let choose = |_| match *route(table, "t").groups {
        [found] => found.member.map(|member| member.session.slot),
        ref other => panic!("one group matches, not {other:?}"),
    };
    (0..count).map(choose).collect()
}

#[test]
fn presence_is_away_until_set() {
    let presence = Presence::new();
    assert_eq!(presence.state(), PresenceState::Away);
    for state in [
        PresenceState::Busy,
        PresenceState::Ready,
        PresenceState::Away,
    ] {
        presence.set(state);
        assert_eq!(presence.state(), state);
    }
}

#[test]
fn mqtt5_4_8_2_one_member_gets_each_message_in_turn() {
    let table = group_of(&[PresenceState::Ready; 3]);
    assert_eq!(
        chosen(&table, 5),
        [Some(0), Some(1), Some(2), Some(0), Some(1)]
    );
}

#[test]
fn members_without_connection_or_room_are_passed_over_fairly() {
    use PresenceState::{Away, Busy, Ready};
    let table = group_of(&[Ready, Away, Busy, Ready, Ready]);
    let found = chosen(&table, 6);
    assert_eq!(
        found,
        [Some(0), Some(3), Some(4), Some(0), Some(3), Some(4)]
    );
}

#[test]
fn a_group_without_a_ready_member_chooses_nobody() {
    let table = group_of(&[PresenceState::Away, PresenceState::Busy]);
    assert_eq!(chosen(&table, 2), [None, None]);
}

#[test]
fn a_group_with_a_backlog_lets_it_drain_first() {
    let table = group_of(&[PresenceState::Ready; 2]);
    let id = table.find_group("g", "t").unwrap();
    let group = table.group(id).unwrap();
    table.count_waiting(id, 1);
    assert_eq!((group.backlog(), table.waiting()), (1, 1));
    assert_eq!(chosen(&table, 1), [None]);
    assert_eq!(
        group.next_ready().map(|member| member.session.slot),
        Some(0)
    );
    table.uncount_waiting(id, 1);
    assert_eq!((group.backlog(), table.waiting()), (0, 0));
    assert_eq!(chosen(&table, 1), [Some(1)]);
}

#[test]
fn what_waits_for_a_group_that_goes_waits_no_longer() {
    let mut table = group_of(&[PresenceState::Busy]);
    let id = table.find_group("g", "t").unwrap();
    table.count_waiting(id, 3);
    let member = table.group(id).unwrap().members()[0].session;
    table.unsubscribe_shared("g", "t", member);
    assert_eq!(table.waiting(), 0);
    // It is at its home still, which drops it.
    table.uncount_waiting(id, 3);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn a_few_ready_among_many_share_the_messages_in_runs() {
    let mut states = [PresenceState::Away; 640];
    states[100] = PresenceState::Ready;
    states[420] = PresenceState::Ready;
    let table = group_of(&states);
    let found = chosen(&table, 2_000);
    let first = found.iter().filter(|&&slot| slot == Some(100)).count();
    let second = found.iter().filter(|&&slot| slot == Some(420)).count();
    assert_eq!(first + second, 2_000);
    assert!(first.abs_diff(second) <= 40, "{first} and {second}");
    let turns = found.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(
        (80..=130).contains(&turns),
        "a run is about 320 / 16 messages, not {turns} runs"
    );
}

#[test]
fn a_member_that_leaves_during_its_run_gets_no_more() {
    let mut table = group_of(&[PresenceState::Away; 100]);
    let last = ready();
    table.subscribe_shared("g", "t", target(99, 0), last.clone());
    assert_eq!(chosen(&table, 2), [Some(99), Some(99)]);
    last.set(PresenceState::Busy);
    assert_eq!(chosen(&table, 1), [None]);
    last.set(PresenceState::Ready);
    table.unsubscribe_shared("g", "t", session(99));
    assert_eq!(chosen(&table, 1), [None]);
}

#[test]
fn subscribing_again_replaces_options_and_presence() {
    let mut table = group_of(&[PresenceState::Away]);
    assert!(!table.subscribe_shared("g", "t", target(0, 8), ready()));
    assert_eq!(route(&table, "t").groups[0].member, Some(target(0, 8)));
    assert_eq!(
        table.counts(),
        Counts {
            subscriptions: 0,
            shared_subscriptions: 1
        }
    );
}

#[test]
fn a_group_is_a_share_name_and_a_filter() {
    let mut table = RoutingTable::new(7);
    table.subscribe("a/b", target(1, 0));
    table.subscribe_shared("g", "a/b", target(2, 0), ready());
    table.subscribe_shared("h", "a/b", target(3, 0), ready());
    table.subscribe_shared("g", "a/+", target(4, 0), ready());
    table.subscribe_shared("g", "x", target(5, 0), ready());
    let found = route(&table, "a/b");
    assert_eq!(found.targets, [target(1, 0)]);
    let names: Vec<(&str, &str)> = found
        .groups
        .iter()
        .map(|found| table.group(found.group).unwrap())
        .map(|group| (group.name(), group.filter()))
        .collect();
    assert_eq!(names, [("g", "a/b"), ("h", "a/b"), ("g", "a/+")]);
    assert_eq!(
        table.counts(),
        Counts {
            subscriptions: 1,
            shared_subscriptions: 4
        }
    );
}

#[test]
fn mqtt5_4_7_2_1_holds_for_shared_filters_and_dollar_filters_match() {
    let mut table = RoutingTable::new(7);
    table.subscribe_shared("g", "#", target(1, 0), ready());
    table.subscribe_shared("g", "+/x", target(2, 0), ready());
    table.subscribe_shared("g", "$SYS/#", target(3, 0), ready());
    let members: Vec<_> = route(&table, "$SYS/x")
        .groups
        .iter()
        .map(|g| g.member)
        .collect();
    assert_eq!(members, [Some(target(3, 0))]);
}

#[test]
fn the_home_is_that_of_the_first_member_and_stays() {
    let mut table = RoutingTable::new(7);
    let elsewhere = SessionRef {
        shard: 9,
        ..session(1)
    };
    table.subscribe_shared(
        "g",
        "t",
        Target {
            session: elsewhere,
            ..target(1, 0)
        },
        ready(),
    );
    table.subscribe_shared("g", "t", target(2, 0), ready());
    table.unsubscribe_shared("g", "t", elsewhere);
    let id = table.find_group("g", "t").unwrap();
    assert_eq!(table.group(id).unwrap().home(), 9);
    assert_eq!(table.group(id).unwrap().members(), [target(2, 0)]);
    assert_eq!(route(&table, "t").groups[0].home, 9);
}

#[test]
fn the_id_of_a_group_that_went_is_never_anothers() {
    let mut table = group_of(&[PresenceState::Ready]);
    let old = table.find_group("g", "t").unwrap();
    assert!(!table.unsubscribe_shared("g", "t", session(5)));
    assert!(table.unsubscribe_shared("g", "t", session(0)));
    assert!(!table.unsubscribe_shared("g", "t", session(0)));
    assert!(table.group(old).is_none());
    assert_eq!(table.find_group("g", "t"), None);
    assert!(route(&table, "t").groups.is_empty());
    table.subscribe_shared("g", "t", target(0, 0), ready());
    assert!(table.group(old).is_none());
    let new = table.find_group("g", "t").unwrap();
    assert_ne!(old, new);
    assert!(table.group(new).is_some());
}

#[test]
fn many_groups_of_one_filter_come_and_go_in_any_order() {
    let mut table = RoutingTable::new(7);
    let names: Vec<String> = (0..100).map(|at| format!("g{at}")).collect();
    for name in &names {
        table.subscribe_shared(name, "+/t", target(1, 0), ready());
    }
    for (gone, at) in (0..100).map(|at| at * 37 % 100).enumerate() {
        assert_eq!(route(&table, "x/t").groups.len(), 100 - gone);
        assert!(table.unsubscribe_shared(&names[at], "+/t", session(1)));
        assert_eq!(table.find_group(&names[at], "+/t"), None);
    }
    assert!(route(&table, "x/t").groups.is_empty());
    assert_eq!(table.counts(), Counts::default());
}
