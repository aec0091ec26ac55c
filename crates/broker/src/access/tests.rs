use std::hash::BuildHasher;

use super::*;

#[derive(Debug)]
struct Even;

impl Rights for Even {
    fn allows(&self, action: Action, topic: &str) -> bool {
        action == Action::Publish && topic.len().is_multiple_of(2)
    }

    fn explain(&self, _action: Action, _topic: &str) -> String {
        "odd".to_owned()
    }
}

fn access() -> Access {
    Access::new(Identity {
        rights: Some(Arc::new(Even)),
        ..Identity::default()
    })
}

#[test]
fn what_was_decided_is_remembered_for_each_action_and_topic_alone() {
    let hasher = foldhash::fast::FixedState::with_seed(1);
    let mut access = access();
    for round in 0..3 {
        for number in 0..5000 {
            let topic = format!("{number}/{}", "x".repeat(number % 7));
            let allowed = topic.len() % 2 == 0;
            assert_eq!(
                access.may(hasher.hash_one(&topic), Action::Publish, &topic),
                allowed,
                "{round}"
            );
            assert!(!access.may(hasher.hash_one(&topic), Action::Deliver, &topic));
        }
    }
    assert_eq!(access.decisions.slots.len(), SLOTS_MAX);
}

#[test]
fn other_rights_forget_what_was_decided() {
    let hasher = foldhash::fast::FixedState::with_seed(1);
    let mut access = access();
    assert!(access.may(hasher.hash_one("ab"), Action::Publish, "ab"));
    access.change(Some(Arc::new(Even)));
    assert_eq!(access.decisions.find(hasher.hash_one("ab")), None);
    access.change(None);
    assert!(access.may(hasher.hash_one("abc"), Action::Deliver, "abc"));
}

#[test]
fn a_client_that_is_always_in_the_same_place_costs_little() {
    let hasher = foldhash::fast::FixedState::with_seed(1);
    let mut access = access();
    for _ in 0..1000 {
        access.may(hasher.hash_one("one"), Action::Publish, "one");
        access.may(hasher.hash_one("two"), Action::Deliver, "two");
    }
    assert_eq!(access.decisions.slots.len(), SLOTS_MIN);
}

#[test]
fn denials_are_told_once_in_a_while() {
    let mut access = access();
    let now = Time(5_000);
    let why = |access: &mut Access, now| access.why_denied(now, Action::Publish, "odd");
    assert_eq!(why(&mut access, now).as_deref(), Some("odd"));
    assert_eq!(why(&mut access, now.plus_millis(DENIALS_MS - 1)), None);
    assert!(why(&mut access, now.plus_millis(DENIALS_MS)).is_some());
}
