//! What the locks promise to workers.

use std::thread;

use midge_broker::route::{Matches, SessionRef, SubscriptionOptions, Target};
use midge_broker::{Change, Tables};

use super::*;

fn target(slot: u32) -> Target {
    Target {
        session: SessionRef {
            shard: 0,
            generation: 0,
            slot,
        },
        options: SubscriptionOptions::new(0, false, false),
        subscription_id: 0,
    }
}

fn subscribe(filter: &str, slot: u32) -> Change {
    Change::Subscribe {
        filter: filter.into(),
        target: target(slot),
    }
}

fn matches(tables: &TurnTables<'_>, topic: &str) -> usize {
    let mut matches = Matches::new();
    tables.routing().route(topic, &mut matches);
    matches.targets.len()
}

#[test]
fn a_change_is_seen_by_this_turn_and_by_those_of_others_after_it() {
    let locks = SharedLocks::new(1);
    let mut turn = locks.turn();
    assert_eq!(matches(&turn, "a"), 0);
    turn.change(&mut vec![subscribe("a", 1), subscribe("+", 2)]);
    assert_eq!(matches(&turn, "a"), 2);
    drop(turn);
    assert_eq!(matches(&locks.turn(), "a"), 2);
    assert_eq!(
        locks.counts(),
        TableCounts {
            subscriptions: 2,
            shared_subscriptions: 0,
            retained: 0,
        }
    );
}

#[test]
fn workers_that_read_and_change_at_once_do_not_wait_for_each_other_for_ever() {
    const WORKERS: u32 = 4;
    const TURNS: u32 = 500;
    let locks = SharedLocks::new(1);
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let locks = &locks;
            scope.spawn(move || {
                for turn in 0..TURNS {
                    let mut tables = locks.turn();
                    let filter = format!("{worker}/{turn}");
                    tables.change(&mut vec![subscribe(&filter, turn)]);
                    assert_eq!(matches(&tables, &filter), 1);
                    tables.change(&mut vec![Change::Unsubscribe {
                        filter: filter.as_str().into(),
                        session: target(turn).session,
                    }]);
                    assert_eq!(matches(&tables, &filter), 0);
                    tables.read_retained(&mut |retained| assert!(retained.is_empty()));
                }
            });
        }
    });
    assert_eq!(locks.counts().subscriptions, 0);
}

#[test]
fn a_panic_while_the_tables_are_held_stops_nobody_else() {
    let locks = SharedLocks::new(1);
    let panicked = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _guard = locks.routing.write().unwrap();
            let _retained = locks.retained.write().unwrap();
            panic!("on purpose");
        });
        writer.join()
    });
    assert!(panicked.is_err());
    let mut turn = locks.turn();
    turn.change(&mut vec![subscribe("a", 1)]);
    assert_eq!(matches(&turn, "a"), 1);
    turn.read_retained(&mut |retained| assert!(retained.is_empty()));
}
