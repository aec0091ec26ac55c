use super::*;

#[test]
fn names_are_ranked_by_priority_and_then_by_name() {
    let mut ranked = Ranked::default();
    for (name, priority) in [("b", 1), ("z", 5), ("a", 1), ("m", -1), ("c", 1)] {
        assert!(ranked.add(name, priority));
    }
    assert!(!ranked.add("m", 7), "a name is there once");
    let names: Vec<_> = ranked.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["z", "a", "b", "c", "m"]);
    assert!(ranked.remove("a"));
    assert!(!ranked.remove("a"));
}

#[test]
fn rules_of_one_priority_stay_in_the_order_in_which_they_came() {
    let acl = |topic: &str, priority| Acl {
        topic: topic.into(),
        priority,
        allow: true,
        extra: None,
    };
    let mut lists = AclLists::default();
    let mut role = Role::new();
    for (topic, priority) in [("a", 0), ("b", 3), ("c", 0), ("d", 3)] {
        assert!(role.add_acl(AclKind::PublishSend, acl(topic, priority)));
        assert!(lists.add(AclKind::PublishSend, acl(topic, priority)));
    }
    assert!(!role.add_acl(AclKind::PublishSend, acl("a", 9)));
    assert!(!lists.add(AclKind::PublishSend, acl("a", 9)));
    let topics = |role: &Role| -> Vec<String> {
        let acls = role.acls(AclKind::PublishSend).iter();
        acls.map(|acl| acl.topic.clone()).collect()
    };
    assert_eq!(topics(&role), ["b", "d", "a", "c"]);
    let mut at_once = Role::new();
    at_once.set_acls(lists);
    assert_eq!(topics(&at_once), ["b", "d", "a", "c"]);
}

#[test]
fn a_priority_out_of_range_is_brought_into_it() {
    assert_eq!(priority(None, PRIORITY_UNSET), -1);
    assert_eq!(priority(Some(100_001), 0), 100_000);
    assert_eq!(priority(Some(i32::MIN), 0), -100_000);
}
