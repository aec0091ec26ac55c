use super::*;

fn state(file: &serde_json::Value) -> State {
    let loaded = State::parse(file.to_string().as_bytes()).unwrap();
    assert_eq!(loaded.warnings, []);
    loaded.state
}

fn rule(kind: &str, topic: &str, priority: i32, allow: bool) -> serde_json::Value {
    serde_json::json!({"acltype": kind, "topic": topic, "priority": priority, "allow": allow})
}

/// One client `ann` with one role of these rules.
fn with_rules(acls: &[serde_json::Value]) -> Rules {
    let state = state(&serde_json::json!({
        "roles": [{"rolename": "r", "acls": acls}],
        "clients": [{"username": "ann", "roles": [{"rolename": "r"}]}],
    }));
    state.rules(ANN)
}

const ANN: Client<'static> = Client {
    id: "c1",
    user_name: Some("ann"),
};

#[track_caller]
fn check(rules: &Rules, action: Action, topic: &str, verdict: Verdict, why: &str) {
    assert_eq!(rules.decide(action, topic), verdict, "{action:?} {topic}");
    let decision = rules.explain(action, topic);
    assert_eq!(decision.rule, why);
    assert_eq!(decision.allowed, verdict == Verdict::Allow);
}

#[test]
fn each_action_has_its_own_types_of_rules() {
    let rules = with_rules(&[
        rule("publishClientSend", "send", 0, true),
        rule("publishClientReceive", "receive", 0, true),
        rule("subscribeLiteral", "lit/+", 0, true),
        rule("subscribePattern", "pat/#", 0, true),
        rule("unsubscribeLiteral", "unlit/#", 0, true),
        rule("unsubscribePattern", "unpat/+", 0, true),
    ]);
    for (action, topic) in [
        (Action::Publish, "send"),
        (Action::Deliver, "receive"),
        (Action::Subscribe, "lit/+"),
        (Action::Subscribe, "pat/a/#"),
        (Action::Unsubscribe, "unlit/#"),
        (Action::Unsubscribe, "unpat/a"),
    ] {
        for other in [
            Action::Publish,
            Action::Deliver,
            Action::Subscribe,
            Action::Unsubscribe,
        ] {
            let verdict = if other == action {
                Verdict::Allow
            } else {
                Verdict::Defer
            };
            assert_eq!(rules.decide(other, topic), verdict, "{other:?} {topic}");
        }
    }
    // A literal rule is the text and not a pattern.
    assert_eq!(rules.decide(Action::Subscribe, "lit/a"), Verdict::Defer);
}

#[test]
fn the_rule_of_highest_priority_decides_and_among_equals_the_first() {
    let rules = with_rules(&[
        rule("publishClientSend", "a/#", 1, false),
        rule("publishClientSend", "a/b", 5, true),
        rule("publishClientSend", "+/c", 1, true),
    ]);
    check(
        &rules,
        Action::Publish,
        "a/b",
        Verdict::Allow,
        "role r, publishClientSend a/b (allow, priority 5)",
    );
    check(
        &rules,
        Action::Publish,
        "a/c",
        Verdict::Deny,
        "role r, publishClientSend a/# (deny, priority 1)",
    );
}

#[test]
fn a_literal_rule_comes_before_any_pattern_of_its_role() {
    let rules = with_rules(&[
        rule("subscribePattern", "a/#", 100, false),
        rule("subscribeLiteral", "a/b", -100, true),
    ]);
    assert_eq!(rules.decide(Action::Subscribe, "a/b"), Verdict::Allow);
    assert_eq!(rules.decide(Action::Subscribe, "a/c"), Verdict::Deny);
}

#[test]
fn own_roles_come_before_groups_and_both_go_by_priority_and_name() {
    let role = |name: &str, topic: &str, allow| serde_json::json!({"rolename": name, "acls": [rule("publishClientSend", topic, 0, allow)]});
    let state = state(&serde_json::json!({
        "roles": [
            role("own-low", "a", true), role("own-high", "b", false), role("own-z", "b", true),
            role("g-allow", "#", true), role("g-deny", "#", false), role("g-c", "c", false),
        ],
        "clients": [{"username": "ann", "roles": [
            {"rolename": "own-low", "priority": 1}, {"rolename": "own-z", "priority": 2},
            {"rolename": "own-high", "priority": 2},
        ]}],
        "groups": [
            {"groupname": "g1", "roles": [{"rolename": "g-deny"}],
             "clients": [{"username": "ann", "priority": 1}]},
            {"groupname": "g2", "roles": [{"rolename": "g-allow", "priority": 1}, {"rolename": "g-c", "priority": 2}],
             "clients": [{"username": "ann", "priority": 3}]},
            {"groupname": "g3", "roles": [{"rolename": "g-deny", "priority": 99}],
             "clients": [{"username": "ann", "priority": 2}]},
        ],
    }));
    let rules = state.rules(ANN);
    let because = |topic| rules.explain(Action::Publish, topic).rule;
    assert_eq!(
        because("a"),
        "role own-low, publishClientSend a (allow, priority 0)"
    );
    assert_eq!(
        because("b"),
        "role own-high, publishClientSend b (deny, priority 0)"
    );
    assert_eq!(
        because("c"),
        "role g-c of group g2, publishClientSend c (deny, priority 0)"
    );
    assert_eq!(
        because("d"),
        "role g-allow of group g2, publishClientSend # (allow, priority 0)"
    );
}

#[test]
fn where_no_rule_fits_the_default_access_decides_but_not_for_control_topics() {
    let state = state(&serde_json::json!({
        "defaultACLAccess": {"publishClientSend": true, "publishClientReceive": false,
            "subscribe": true, "unsubscribe": false},
        "clients": [{"username": "ann"}],
    }));
    let rules = state.rules(ANN);
    check(
        &rules,
        Action::Publish,
        "a",
        Verdict::Allow,
        "no rule fits, defaultACLAccess publishClientSend true",
    );
    check(
        &rules,
        Action::Deliver,
        "a",
        Verdict::Defer,
        "no rule fits, defaultACLAccess publishClientReceive false",
    );
    assert_eq!(rules.decide(Action::Subscribe, "a"), Verdict::Allow);
    assert_eq!(rules.decide(Action::Unsubscribe, "a"), Verdict::Defer);
    check(
        &rules,
        Action::Publish,
        "$CONTROL/dynamic-security/v1",
        Verdict::Defer,
        "no rule allows it, and $CONTROL has no default access",
    );
}

#[test]
fn a_role_without_wildcards_denies_them_when_its_turn_comes() {
    let state = state(&serde_json::json!({
        "roles": [
            {"rolename": "a", "acls": [rule("subscribePattern", "open/#", 0, true)]},
            {"rolename": "b", "allowwildcardsubs": false, "acls": [
                rule("subscribePattern", "#", 0, true), rule("subscribeLiteral", "x/#", 0, true),
                rule("unsubscribePattern", "#", 0, true)]},
        ],
        "clients": [{"username": "ann", "roles": [{"rolename": "a"}, {"rolename": "b"}]}],
    }));
    let rules = state.rules(ANN);
    assert_eq!(rules.decide(Action::Subscribe, "open/+"), Verdict::Allow);
    assert_eq!(rules.decide(Action::Subscribe, "shut/a"), Verdict::Allow);
    check(
        &rules,
        Action::Subscribe,
        "x/#",
        Verdict::Deny,
        "role b, allowwildcardsubs false",
    );
    assert_eq!(rules.decide(Action::Unsubscribe, "x/#"), Verdict::Allow);
}

#[test]
fn a_client_without_user_name_has_the_roles_of_the_anonymous_group() {
    let mut file = serde_json::json!({
        "defaultACLAccess": {"publishClientReceive": true},
        "roles": [{"rolename": "r", "acls": [rule("publishClientSend", "%c/#", 0, true),
            rule("publishClientSend", "u/%u", 0, true)]}],
        "groups": [{"groupname": "nobody", "roles": [{"rolename": "r"}]}],
        "anonymousGroup": "nobody",
    });
    let anonymous = Client {
        id: "c1",
        user_name: None,
    };
    let rules = state(&file).rules(anonymous);
    assert_eq!(rules.decide(Action::Publish, "c1/a"), Verdict::Allow);
    assert_eq!(rules.decide(Action::Publish, "c2/a"), Verdict::Defer);
    assert_eq!(rules.decide(Action::Publish, "u/"), Verdict::Defer);
    file.as_object_mut().unwrap().remove("anonymousGroup");
    let rules = state(&file).rules(anonymous);
    assert_eq!(rules.decide(Action::Publish, "c1/a"), Verdict::Defer);
    assert_eq!(rules.decide(Action::Deliver, "a"), Verdict::Allow);
}

#[test]
fn a_user_that_is_unknown_here_is_left_to_others() {
    let state = state(&serde_json::json!({
        "defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true},
    }));
    let rules = state.rules(ANN);
    assert!(!rules.is_known());
    check(
        &rules,
        Action::Deliver,
        "a",
        Verdict::Defer,
        "dynamic security does not know the user",
    );
}

#[test]
fn a_rule_whose_topic_is_no_filter_denies() {
    let file = serde_json::json!({
        "roles": [{"rolename": "r", "acls": [rule("publishClientSend", "foo#", 0, true)]}],
        "clients": [{"username": "ann", "roles": [{"rolename": "r"}]}],
    });
    let loaded = State::parse(file.to_string().as_bytes()).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    let decision = loaded.state.rules(ANN).explain(Action::Publish, "foobar");
    assert!(!decision.allowed);
    assert!(
        decision.rule.ends_with("its topic is no topic filter"),
        "{}",
        decision.rule
    );
}

#[test]
fn rules_can_be_given_to_other_threads() {
    fn is<T: Send + Sync + Clone + 'static>(_: &T) {}
    is(&with_rules(&[]));
}

/// The cases that `tests/debian/dynsec.py` puts to Debian's mosquitto.
const CASES: &str = include_str!("../../../../../tests/debian/dynsec_cases.json");

#[test]
fn the_cases_that_mosquitto_is_asked_are_decided_as_mosquitto_does() {
    let cases: serde_json::Value = serde_json::from_str(CASES).unwrap();
    let mut count = 0;
    for scenario in cases["scenarios"].as_array().unwrap() {
        let state = state(&scenario["state"]);
        for case in scenario["cases"].as_array().unwrap() {
            let rules = state.rules(Client {
                id: "c1",
                user_name: case["user"].as_str(),
            });
            let action = match case["action"].as_str().unwrap() {
                "publish" => Action::Publish,
                "deliver" => Action::Deliver,
                "subscribe" => Action::Subscribe,
                "unsubscribe" => Action::Unsubscribe,
                other => panic!("{other}"),
            };
            let topic = case["topic"].as_str().unwrap();
            let decision = rules.explain(action, topic);
            assert_eq!(
                decision.allowed, case["allowed"],
                "{case} {}",
                decision.rule
            );
            assert_eq!(
                decision.allowed,
                rules.decide(action, topic) == Verdict::Allow
            );
            count += 1;
        }
    }
    assert!(count >= 80, "{count}");
}
