use serde_json::json;

use super::*;
use crate::Action;

const TIME: UnixSecs = UnixSecs(1_800_000_000);

const LOGIN: Login<'_> = Login {
    client_id: "sensor-7",
    user_name: Some("device"),
    password: Some(b"secret"),
    address: Some(IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7))),
    tls_common_name: None,
    listener: 8883,
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn back_end() -> HttpLogin {
    let settings = HttpLoginSettings {
        entries_max: 3,
        authorization: Some("Bearer own".into()),
        ..HttpLoginSettings::new("http://127.0.0.1:9/login")
    };
    HttpLogin::new(settings, HashKey::new(&[3; 32]))
}

fn ask(back_end: &mut HttpLogin, login: &Login<'_>, now: u64) -> Box<Question> {
    match back_end.look_up(login, secs(now), UnixSecs(TIME.0 + now)) {
        LookUp::Ask(question) => question,
        LookUp::Known(known) => panic!("{known:?}"),
    }
}

fn known(back_end: &mut HttpLogin, login: &Login<'_>, now: u64) -> Result<Identity, Refusal> {
    match back_end.look_up(login, secs(now), UnixSecs(TIME.0 + now)) {
        LookUp::Known(known) => known,
        LookUp::Ask(question) => panic!("{question:?}"),
    }
}

fn answer(back_end: &mut HttpLogin, login: &Login<'_>, body: &str) -> Result<Identity, Refusal> {
    let question = ask(back_end, login, 0);
    back_end.answered(&question, 200, body.as_bytes(), secs(0), TIME)
}

fn body(question: &Question) -> Value {
    serde_json::from_slice(&question.post.body).unwrap()
}

#[test]
fn a_request_has_what_the_client_has() {
    let question = ask(&mut back_end(), &LOGIN, 0);
    assert_eq!(question.post.url, "http://127.0.0.1:9/login");
    assert_eq!(question.post.authorization.as_deref(), Some("Bearer own"));
    let expected = json!({
        "client_id": "sensor-7", "user_name": "device", "password": "secret",
        "address": "192.0.2.7", "listener": 8883,
    });
    assert_eq!(body(&question), expected);
    let login = Login {
        client_id: "c\"\n",
        tls_common_name: Some("cn"),
        address: Some("2001:db8::1".parse().unwrap()),
        password: Some(b"\xFF\0"),
        ..Login::default()
    };
    let expected = json!({
        "client_id": "c\"\n", "tls_common_name": "cn", "address": "2001:db8::1",
        "password_base64": "/wA=", "listener": 0,
    });
    assert_eq!(body(&ask(&mut back_end(), &login, 0)), expected);
}

#[test]
fn an_allow_makes_a_client_with_all_that_the_answer_says() {
    let text = r#"{"allow":true,"user_name":"garden","groups":["a","b"],"expires_in":60,
        "rules":{"pub":["%u/%c"]},"reason":"known","superuser":false,"cache_for":null}"#;
    let identity = answer(&mut back_end(), &LOGIN, text).unwrap();
    assert_eq!(identity.user_name.as_deref(), Some("garden"));
    assert_eq!(identity.groups, ["a", "b"]);
    assert_eq!(identity.expires_at, Some(UnixSecs(TIME.0 + 60)));
    let rules = identity.rules.unwrap();
    assert!(rules.decide(Action::Publish, "garden/sensor-7"));
    let decision = rules.explain(Action::Publish, "garden/sensor-7");
    assert_eq!(decision.rule, "HTTP answer, pub %u/%c");
}

#[test]
fn an_allow_alone_leaves_user_name_and_rules_as_they_are() {
    let identity = answer(&mut back_end(), &LOGIN, r#"{"allow":true}"#).unwrap();
    assert_eq!(identity.user_name.as_deref(), Some("device"));
    assert!(identity.rules.is_none() && identity.expires_at.is_none());
    let anonymous = Login {
        user_name: None,
        ..LOGIN
    };
    let identity = answer(&mut back_end(), &anonymous, r#"{"allow":true}"#).unwrap();
    assert_eq!(identity.user_name, None);
    let mut strict = back_end();
    strict.settings.without_rules = WithoutRules::Nothing;
    let identity = answer(&mut strict, &LOGIN, r#"{"allow":true}"#).unwrap();
    assert!(!identity.rules.unwrap().decide(Action::Deliver, "a"));
}

#[test]
fn a_superuser_may_everything() {
    let text = r#"{"allow":true,"superuser":true}"#;
    let identity = answer(&mut back_end(), &LOGIN, text).unwrap();
    assert!(identity.rules.unwrap().is_superuser());
}

#[test]
fn a_denial_says_why_to_the_log() {
    let found = answer(
        &mut back_end(),
        &LOGIN,
        r#"{"allow":false,"reason":"locked\n"}"#,
    );
    assert_eq!(found.unwrap_err().to_string(), r#"denied: "locked\n""#);
    for status in [401, 403] {
        let mut back_end = back_end();
        let question = ask(&mut back_end, &LOGIN, 0);
        let found = back_end.answered(&question, status, b"", secs(0), TIME);
        assert!(matches!(found, Err(Refusal::Denied(_))));
    }
}

#[test]
fn whatever_is_no_answer_denies_and_is_asked_again() {
    let mut back_end = back_end();
    for (text, words) in [
        ("", "EOF"),
        ("true", "a boolean, not an object"),
        ("{}", "there is no"),
        (r#"{"allow":"true"}"#, "the member allow has a value"),
        (r#"{"allow":1}"#, "the member allow has a value"),
        (r#"{"allow":null}"#, "the member allow has a value"),
        (r#"{"allow":true,"allow":true}"#, "stands twice"),
        (r#"{"allow":true,"rule":{}}"#, "the member rule is unknown"),
        (
            r#"{"allow":true,"rule":null}"#,
            "the member rule is unknown",
        ),
        (
            r#"{"allow":true,"rules":[]}"#,
            "the member rules has a value",
        ),
        (
            r#"{"allow":true,"groups":[1]}"#,
            "the member groups has a value",
        ),
        (
            r#"{"allow":true,"user_name":""}"#,
            "the member user_name has a value",
        ),
        (
            r#"{"allow":true,"user_name":"a\nb"}"#,
            "the member user_name has a value",
        ),
        (
            r#"{"allow":true,"superuser":1}"#,
            "the member superuser has a value",
        ),
        (
            r#"{"allow":true,"expires_in":-1}"#,
            "the member expires_in has a value",
        ),
        (
            r#"{"allow":true,"cache_for":0.5}"#,
            "the member cache_for has a value",
        ),
    ] {
        let refusal = answer(&mut back_end, &LOGIN, text).unwrap_err();
        assert!(matches!(refusal, Refusal::NoAnswer(_)), "{text}: {refusal}");
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
    for status in [0, 201, 204, 301, 400, 404, 500, 503] {
        let question = ask(&mut back_end, &LOGIN, 0);
        let found = back_end.answered(&question, status, br#"{"allow":true}"#, secs(0), TIME);
        assert!(matches!(found, Err(Refusal::NoAnswer(_))), "{status}");
    }
    let found = answer(
        &mut back_end,
        &LOGIN,
        r#"{"allow":true,"rules":{"pub":["a#"]}}"#,
    );
    assert!(matches!(found, Err(Refusal::Rules(_))));
    let _ = ask(&mut back_end, &LOGIN, 0);
}

#[test]
fn answers_are_kept_as_long_as_they_say_within_a_limit() {
    for (text, kept) in [
        (r#"{"allow":true}"#, 10),
        (r#"{"allow":true,"cache_for":30}"#, 30),
        (r#"{"allow":true,"cache_for":99999}"#, 600),
        (r#"{"allow":true,"expires_in":7}"#, 7),
    ] {
        let mut back_end = back_end();
        let _ = answer(&mut back_end, &LOGIN, text).unwrap();
        assert!(known(&mut back_end, &LOGIN, kept - 1).is_ok(), "{text}");
        let _ = ask(&mut back_end, &LOGIN, kept);
    }
    let mut back_end = back_end();
    let _ = answer(&mut back_end, &LOGIN, r#"{"allow":true,"cache_for":0}"#).unwrap();
    let _ = ask(&mut back_end, &LOGIN, 0);
    let _ = answer(&mut back_end, &LOGIN, r#"{"allow":false}"#).unwrap_err();
    assert!(known(&mut back_end, &LOGIN, 4).is_err());
    let _ = ask(&mut back_end, &LOGIN, 5);
}

#[test]
fn another_password_address_name_or_listener_is_another_login() {
    let mut back_end = back_end();
    let _ = answer(&mut back_end, &LOGIN, r#"{"allow":true}"#).unwrap();
    for other in [
        Login {
            password: Some(b"secreT"),
            ..LOGIN
        },
        Login {
            password: None,
            ..LOGIN
        },
        Login {
            user_name: Some("devicE"),
            ..LOGIN
        },
        Login {
            user_name: None,
            ..LOGIN
        },
        Login {
            client_id: "sensor-8",
            ..LOGIN
        },
        Login {
            address: None,
            ..LOGIN
        },
        Login {
            tls_common_name: Some(""),
            ..LOGIN
        },
        Login {
            listener: 1883,
            ..LOGIN
        },
    ] {
        let _ = ask(&mut back_end, &other, 0);
    }
    assert!(known(&mut back_end, &LOGIN, 0).is_ok());
}

#[test]
fn a_flood_of_guesses_displaces_nobody_and_stays_bounded() {
    let mut back_end = back_end();
    let _ = answer(&mut back_end, &LOGIN, r#"{"allow":true}"#).unwrap();
    for index in 0..100_u32 {
        let password = index.to_be_bytes();
        let guess = Login {
            password: Some(&password),
            ..LOGIN
        };
        let _ = answer(&mut back_end, &guess, r#"{"allow":false}"#).unwrap_err();
    }
    assert!(known(&mut back_end, &LOGIN, 1).is_ok());
    assert_eq!(back_end.denied.len(), 3);
}

#[test]
fn a_denial_takes_back_an_allow_that_was_kept() {
    let mut back_end = back_end();
    let first = ask(&mut back_end, &LOGIN, 0);
    let second = ask(&mut back_end, &LOGIN, 0);
    let allow = back_end.answered(&first, 200, br#"{"allow":true}"#, secs(0), TIME);
    assert!(allow.is_ok());
    let deny = back_end.answered(&second, 200, br#"{"allow":false}"#, secs(0), TIME);
    assert!(deny.is_err());
    assert!(known(&mut back_end, &LOGIN, 1).is_err());
    back_end.forget_all();
    let _ = ask(&mut back_end, &LOGIN, 1);
}

#[test]
fn no_password_is_kept_in_clear() {
    let mut back_end = back_end();
    let _ = answer(&mut back_end, &LOGIN, r#"{"allow":true}"#).unwrap();
    assert!(!format!("{back_end:?}").contains("secret"));
}
