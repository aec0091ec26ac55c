use serde_json::json;

use super::*;
use crate::Action;

const CLIENT: Presented<'_> = Presented {
    client_id: "sensor-7",
    user_name: Some("device"),
    certificate_sha256: None,
};

fn claims(value: Value) -> Claims {
    match value {
        Value::Object(members) => Claims::from(members),
        other => panic!("{other}"),
    }
}

fn base() -> Value {
    json!({"sub": "gardener", "exp": 1000})
}

fn with(name: &str, member: impl Into<Value>) -> Claims {
    let mut value = base();
    value[name] = member.into();
    claims(value)
}

#[test]
fn a_claim_is_found_by_its_path() {
    let claims = claims(json!({
        "sub": "a",
        "realm_access": {"roles": ["r"]},
        "https://example.com/groups": "g",
        "a.b": {"c": "whole"},
        "x": {"y.z": "tail"},
        "null": null,
    }));
    for (path, expected) in [
        ("sub", Some(json!("a"))),
        ("realm_access.roles", Some(json!(["r"]))),
        ("https://example.com/groups", Some(json!("g"))),
        ("a\\.b.c", Some(json!("whole"))),
        ("a.b.c", None),
        ("x.y.z", Some(json!("tail"))),
        ("sub.a", None),
        ("realm_access.", None),
        (".", None),
        ("", None),
        ("\\", None),
        ("null", None),
    ] {
        assert_eq!(claims.value(&Claim::at(path)), expected.as_ref(), "{path}");
    }
}

#[test]
fn the_user_name_comes_from_its_claim() {
    let names = ClaimNames::default();
    let identity = names.identity(&claims(base()), &CLIENT).unwrap();
    assert_eq!(identity.user_name.as_deref(), Some("gardener"));
    assert_eq!(identity.expires_at, Some(UnixSecs(1000)));
    assert!(identity.rules.is_none() && identity.groups.is_empty());
    let names = ClaimNames {
        user_name: vec![Claim::at("preferred_username"), Claim::CLIENT_ID],
        ..names
    };
    let by_client_id = names.identity(&with("client_id", "machine"), &CLIENT);
    assert_eq!(by_client_id.unwrap().user_name.as_deref(), Some("machine"));
    let found = names.identity(&claims(base()), &CLIENT).unwrap_err();
    assert_eq!(found, Refusal::Missing(Claim::at("preferred_username")));
}

#[test]
fn a_user_name_that_would_break_files_and_logs_is_refused() {
    for name in [
        json!(""),
        json!("a\nb"),
        json!("a\u{0}"),
        json!("x".repeat(1025)),
        json!(1),
    ] {
        let found = ClaimNames::default().identity(&with("sub", name.clone()), &CLIENT);
        assert!(matches!(found, Err(Refusal::Malformed { .. })), "{name}");
    }
}

#[test]
fn the_user_name_of_connect_must_match_where_asked() {
    let names = ClaimNames {
        user_name_in_connect: UserNameInConnect::Equal,
        ..ClaimNames::default()
    };
    let check = |user_name| {
        names.identity(
            &claims(base()),
            &Presented {
                user_name,
                ..CLIENT
            },
        )
    };
    assert!(check(Some("gardener")).is_ok());
    assert!(check(None).is_ok());
    assert_eq!(
        check(Some("admin")).unwrap_err(),
        Refusal::UserName("gardener".into())
    );
}

#[test]
fn a_token_for_other_client_ids_is_refused() {
    let names = ClaimNames {
        client_id: Some(Claim::at("client")),
        ..ClaimNames::default()
    };
    let check = |value: Value| names.identity(&with("client", value), &CLIENT).map(|_| ());
    assert_eq!(check(json!("sensor-7")), Ok(()));
    assert_eq!(check(json!(["sensor-6", "sensor-7"])), Ok(()));
    assert_eq!(
        check(json!("sensor-")),
        Err(Refusal::ClientId("sensor-".into()))
    );
    assert_eq!(check(json!([])), Err(Refusal::Missing(Claim::at("client"))));
    assert_eq!(
        check(json!(null)),
        Err(Refusal::Missing(Claim::at("client")))
    );
    assert!(matches!(check(json!(7)), Err(Refusal::Malformed { .. })));
}

#[test]
fn groups_are_an_array_or_one_text_and_bounded() {
    let names = ClaimNames {
        groups: Some(Claim::at("groups")),
        ..ClaimNames::default()
    };
    let groups = |value: Value| {
        names
            .identity(&with("groups", value), &CLIENT)
            .map(|i| i.groups)
    };
    assert_eq!(groups(json!(["a b", "c"])).unwrap(), ["a b", "c"]);
    assert_eq!(groups(json!("a  b")).unwrap(), ["a", "b"]);
    assert!(groups(json!(null)).unwrap().is_empty());
    for value in [json!(vec!["g"; 257]), json!(["a\nb"]), json!([1]), json!(1)] {
        assert!(matches!(groups(value), Err(Refusal::Malformed { .. })));
    }
}

#[test]
fn rules_come_from_the_claim_and_from_scopes_together() {
    let names = ClaimNames {
        scopes: Some(ScopeRules {
            claim: Claim::SCOPE,
            prefix: "mqtt.".into(),
        }),
        ..ClaimNames::default()
    };
    let mut value = base();
    value["mqtt"] = json!({"sub": ["garden/%u/#"]});
    value["scope"] = json!("openid mqtt.publish:garden/%c/state");
    let rules = names
        .identity(&claims(value), &CLIENT)
        .unwrap()
        .rules
        .unwrap();
    assert!(rules.decide(Action::Deliver, "garden/gardener/x"));
    assert!(rules.decide(Action::Publish, "garden/sensor-7/state"));
    assert!(!rules.decide(Action::Publish, "garden/gardener/x"));
}

#[test]
fn wrong_rules_refuse_the_login() {
    for value in [
        json!({"sub_dney": []}),
        json!({"pub": "a"}),
        json!([]),
        json!({"pub": ["a/#/b"]}),
    ] {
        let found = ClaimNames::default().identity(&with("mqtt", value.clone()), &CLIENT);
        assert!(matches!(found, Err(Refusal::Rules(_))), "{value}");
    }
}

#[test]
fn a_token_without_rules_has_those_of_others_or_none() {
    let mut names = ClaimNames::default();
    assert!(
        names
            .identity(&claims(base()), &CLIENT)
            .unwrap()
            .rules
            .is_none()
    );
    names.without_rules = WithoutRules::Nothing;
    let rules = names
        .identity(&claims(base()), &CLIENT)
        .unwrap()
        .rules
        .unwrap();
    assert!(!rules.decide(Action::Deliver, "a"));
}

#[test]
fn a_token_that_is_bound_to_a_certificate_needs_it() {
    let bound = with("cnf", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([7; 32])}));
    let check = |claims: &Claims, certificate_sha256| {
        let presented = Presented {
            certificate_sha256,
            ..CLIENT
        };
        ClaimNames::default()
            .identity(claims, &presented)
            .map(|_| ())
    };
    assert_eq!(check(&bound, Some([7; 32])), Ok(()));
    for shown in [None, Some([8; 32])] {
        assert!(matches!(check(&bound, shown), Err(Refusal::Binding(_))));
    }
    for cnf in [
        json!({"jkt": "x"}),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": ""}),
        json!("x"),
    ] {
        let found = check(&with("cnf", cnf), Some([7; 32]));
        assert!(matches!(found, Err(Refusal::Binding(_))));
    }
    assert_eq!(check(&claims(base()), Some([7; 32])), Ok(()));
}
