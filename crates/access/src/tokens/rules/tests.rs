use serde_json::json;

use super::*;

const CLIENT: Client<'_> = Client {
    id: "sensor-7",
    user_name: Some("device"),
};

fn from(value: Value, client: &Client<'_>) -> Result<Rules, RulesFault> {
    Rules::from_json(&value, Origin::TokenClaim, client)
}

fn rules(value: Value) -> Rules {
    from(value, &CLIENT).unwrap()
}

fn check(rules: &Rules, action: Action, topic: &str, allowed: bool, rule: &str) {
    let expected = Decision {
        allowed,
        rule: rule.to_owned(),
    };
    assert_eq!(rules.explain(action, topic), expected, "{action:?} {topic}");
    assert_eq!(rules.decide(action, topic), allowed, "{action:?} {topic}");
}

const NO_RULE: &str = "no rule of the login allows it";

#[test]
fn what_no_rule_allows_is_denied_in_either_direction() {
    let rules = rules(json!({"pub": ["garden/%c/#"], "sub": ["alerts/+"]}));
    let by_pub = "token claim, pub garden/%c/#";
    check(
        &rules,
        Action::Publish,
        "garden/sensor-7/soil",
        true,
        by_pub,
    );
    check(
        &rules,
        Action::Publish,
        "garden/sensor-8/soil",
        false,
        NO_RULE,
    );
    check(&rules, Action::Publish, "alerts/x", false, NO_RULE);
    check(
        &rules,
        Action::Deliver,
        "alerts/x",
        true,
        "token claim, sub alerts/+",
    );
    check(
        &rules,
        Action::Deliver,
        "garden/sensor-7/soil",
        false,
        NO_RULE,
    );
}

#[test]
fn a_deny_wins_wherever_it_stands() {
    let rules = rules(json!({
        "sub_deny": ["garden/secret/#"],
        "pub_deny": ["garden/fw"],
        "sub": ["garden/#"],
        "pub": ["garden/#"],
    }));
    let denied = "token claim, sub_deny garden/secret/#";
    check(&rules, Action::Deliver, "garden/secret/x", false, denied);
    check(&rules, Action::Subscribe, "garden/secret/+", false, denied);
    check(
        &rules,
        Action::Publish,
        "garden/fw",
        false,
        "token claim, pub_deny garden/fw",
    );
    check(
        &rules,
        Action::Publish,
        "garden/secret/x",
        true,
        "token claim, pub garden/#",
    );
    // Wider than the deny: it gets the rest.
    check(
        &rules,
        Action::Subscribe,
        "garden/#",
        true,
        "token claim, sub garden/#",
    );
}

#[test]
fn a_subscription_must_be_allowed_as_a_whole() {
    let rules = rules(json!({"sub": ["garden/#"]}));
    let by = "token claim, sub garden/#";
    check(&rules, Action::Subscribe, "garden/+/soil", true, by);
    check(&rules, Action::Subscribe, "garden", true, by);
    check(&rules, Action::Subscribe, "$share/g/garden/#", true, by);
    for filter in [
        "#",
        "+/soil",
        "garde",
        "$share/g/#",
        "$share/g",
        "garden/#/x",
        "",
    ] {
        check(&rules, Action::Subscribe, filter, false, NO_RULE);
    }
    check(
        &rules,
        Action::Unsubscribe,
        "#",
        true,
        "unsubscribing is always allowed",
    );
}

#[test]
fn wildcards_do_not_reach_topics_of_the_broker() {
    let rules = rules(json!({"sub": ["#"], "pub": ["+/x"]}));
    check(
        &rules,
        Action::Deliver,
        "$SYS/broker/uptime",
        false,
        NO_RULE,
    );
    check(&rules, Action::Subscribe, "$SYS/#", false, NO_RULE);
    check(&rules, Action::Publish, "$CONTROL/x", false, NO_RULE);
}

#[test]
fn client_id_and_user_name_are_filled_in_once() {
    let rules = rules(json!({"pub": ["%u/%c", "x-%c-%u/%d/100%"]}));
    assert!(rules.decide(Action::Publish, "device/sensor-7"));
    assert!(rules.decide(Action::Publish, "x-sensor-7-device/%d/100%"));
    let client = Client {
        id: "%u",
        user_name: Some("%c"),
    };
    let rules = from(json!({"pub": ["%c/%u"]}), &client).unwrap();
    assert!(rules.decide(Action::Publish, "%u/%c"));
    assert!(!rules.decide(Action::Publish, "%c/%c"));
}

#[test]
fn names_that_would_widen_a_rule_leave_it_out() {
    for (id, user_name) in [
        ("#", Some("u")),
        ("+", Some("u")),
        ("a/b", Some("u")),
        ("", Some("u")),
        ("c", None),
        ("c", Some("#")),
    ] {
        let client = Client { id, user_name };
        let rules = from(json!({"pub": ["a/%c/%u", "b"]}), &client).unwrap();
        assert_eq!(rules.left_out().collect::<Vec<_>>(), ["a/%c/%u"]);
        assert!(rules.decide(Action::Publish, "b"));
        assert!(!rules.decide(Action::Publish, "a/x/u"));
        let fault = from(json!({"pub_deny": ["a/%c/%u"]}), &client).unwrap_err();
        assert_eq!(fault, RulesFault::Deny("a/%c/%u".into()));
    }
}

#[test]
fn wrong_rules_are_refused_and_not_guessed() {
    for (value, words) in [
        (json!({"publish": []}), "unknown member \"publish\""),
        (json!({"pub": "a"}), "\"pub\" is not an array of strings"),
        (json!({"pub": [1]}), "\"pub\" is not an array of strings"),
        (json!("a"), "they are a string, not an object"),
        (json!({"pub": [""]}), "\"\" is no topic filter"),
        (json!({"pub": ["a#"]}), "\"a#\" is no topic filter"),
        (json!({"pub": ["a/%c+"]}), "no topic filter"),
    ] {
        let fault = from(value, &CLIENT).unwrap_err().to_string();
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn rules_are_bounded_in_number_and_bytes() {
    let many = |count, text: &str| from(json!({"pub": vec![text; count]}), &CLIENT).map(|_| ());
    assert_eq!(many(1000, "a"), Ok(()));
    assert_eq!(many(1001, "a"), Err(RulesFault::TooMany));
    assert_eq!(many(64, &"a".repeat(1024)), Ok(()));
    assert_eq!(many(65, &"a".repeat(1024)), Err(RulesFault::TooMany));
    // What is filled in counts as well.
    let id = "i".repeat(60_000);
    let client = Client {
        id: &id,
        user_name: None,
    };
    let fault = from(json!({"pub": ["%c", "a/%c"]}), &client).unwrap_err();
    assert_eq!(fault, RulesFault::TooMany);
    let fault = from(json!({"pub": ["%c%c"]}), &client).unwrap_err();
    assert_eq!(fault, RulesFault::Filter("%c%c".into()));
}

#[test]
fn scopes_are_rules_if_they_begin_so() {
    let from = |scopes: &str| Rules::from_scopes(scopes.split(' '), "mqtt.", &CLIENT);
    let rules = from("openid mqtt.publish:a/%c mqtt.subscribe:b/# mqtt.admin:x mqtt.publish")
        .unwrap()
        .unwrap();
    check(
        &rules,
        Action::Publish,
        "a/sensor-7",
        true,
        "token scope, publish a/%c",
    );
    check(
        &rules,
        Action::Deliver,
        "b/c",
        true,
        "token scope, subscribe b/#",
    );
    check(&rules, Action::Publish, "b/c", false, NO_RULE);
    assert!(from("openid email xmqtt.publish:a").unwrap().is_none());
    assert_eq!(
        from("mqtt.publish:").unwrap_err(),
        RulesFault::Filter(String::new())
    );
    assert_eq!(
        from("mqtt.publish:a#").unwrap_err(),
        RulesFault::Filter("a#".into())
    );
}

#[test]
fn joined_rules_allow_what_either_allows_and_deny_what_either_denies() {
    let joined = rules(json!({"pub": ["a/#"], "pub_deny": ["b/x"]}))
        .joined(rules(json!({"pub": ["b/#"], "pub_deny": ["a/x"]})));
    for (topic, allowed) in [("a/y", true), ("b/y", true), ("a/x", false), ("b/x", false)] {
        assert_eq!(joined.decide(Action::Publish, topic), allowed, "{topic}");
    }
}

#[test]
fn a_superuser_may_everything_and_nothing_is_nothing() {
    let all = [Action::Publish, Action::Deliver, Action::Subscribe];
    for action in all {
        check(
            &Rules::superuser(),
            action,
            "$CONTROL/x",
            true,
            "superuser by the HTTP answer",
        );
        check(&Rules::nothing(), action, "a", false, NO_RULE);
    }
}

#[test]
fn rules_can_be_shared_between_threads() {
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Rules>();
}
