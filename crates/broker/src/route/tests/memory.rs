//! What subscriptions cost, and that it comes back.

use super::*;

#[test]
fn what_a_hundred_thousand_subscriptions_took_comes_back() {
    let mut table = RoutingTable::new(7);
    let filters: Vec<String> = (0..25_000)
        .flat_map(|at| {
            [
                format!("device/{at:016}/cmd"),
                format!("device/{at:016}/+/state"),
                format!("+/{at:016}/#"),
                "one/for/all".to_owned(),
            ]
        })
        .collect();
    for (slot, filter) in filters.iter().enumerate() {
        assert!(table.subscribe(filter, target(slot as u32, 0)));
    }
    assert_eq!(table.counts().subscriptions, 100_000);
    assert_eq!(route(&table, "one/for/all").targets.len(), 25_000);
    let full_bytes = table.allocated_bytes();
    assert!(full_bytes > 1_000_000);
    for (slot, filter) in filters.iter().enumerate() {
        assert!(table.unsubscribe(filter, session(slot as u32)));
    }
    assert_eq!(table.counts(), Counts::default());
    assert!(route(&table, "one/for/all").targets.is_empty());
    let left_bytes = table.allocated_bytes();
    assert!(
        left_bytes < 65_536,
        "{left_bytes} of {full_bytes} bytes are left"
    );
}

#[test]
fn what_ten_thousand_groups_took_comes_back() {
    let mut table = RoutingTable::new(7);
    let presence = Arc::new(Presence::new());
    let filters: Vec<String> = (0..10_000).map(|at| format!("jobs/{at}/+")).collect();
    for (slot, filter) in filters.iter().enumerate() {
        assert!(table.subscribe_shared("g", filter, target(slot as u32, 0), presence.clone()));
    }
    for (slot, filter) in filters.iter().enumerate().rev() {
        assert!(table.unsubscribe_shared("g", filter, session(slot as u32)));
    }
    assert_eq!(table.counts(), Counts::default());
    assert_eq!(Arc::strong_count(&presence), 1);
    let left_bytes = table.allocated_bytes();
    assert!(left_bytes < 65_536, "{left_bytes} bytes are left");
}

#[test]
fn a_subscriber_of_its_own_filter_costs_less_than_150_bytes() {
    let mut worst = 0;
    let mut table = RoutingTable::new(7);
    for at in 0..200_000 {
        table.subscribe(&format!("device/{at:016}/cmd"), target(at, 0));
        if at >= 1_000 && at % 1_000 == 0 {
            worst = worst.max(table.allocated_bytes() / at as usize);
        }
    }
    assert!(worst < 150, "{worst} bytes per filter");
}

#[test]
fn a_wildcard_filter_of_its_own_costs_less_than_200_bytes() {
    let mut table = RoutingTable::new(7);
    for at in 0..50_000 {
        table.subscribe(&format!("device/{at:016}/+"), target(at, 0));
    }
    let each = table.allocated_bytes() / 50_000;
    assert!(each < 200, "{each} bytes per filter");
}
