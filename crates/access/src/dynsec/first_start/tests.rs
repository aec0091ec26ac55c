use crate::{Action, Client};

use super::super::Verdict;
use super::super::login::LoginVerdict;
use super::*;

/// Bytes that differ, the same in each run.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0_u8;
    move |bytes| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_mul(5).wrapping_add(3);
        }
    }
}

fn names<T>(map: &std::collections::BTreeMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

#[test]
fn a_first_start_makes_what_mosquitto_2_1_makes() {
    let made = State::first_start(FirstPassword::Random, &mut counting()).unwrap();
    let state = &made.state;
    assert_eq!(names(&state.clients), ["admin", "democlient"]);
    assert_eq!(names(&state.groups), ["unauthenticated"]);
    assert_eq!(state.anonymous_group.as_deref(), Some("unauthenticated"));
    assert_eq!(
        names(&state.roles),
        [
            "broker-admin",
            "client",
            "dynsec-admin",
            "super-admin",
            "sys-notify",
            "sys-observe",
            "topic-observe"
        ]
    );
    assert_eq!(state.defaults.values(), [false, true, false, true]);
    let passwords = made.passwords.unwrap();
    for (line, user) in passwords.lines().zip(["admin", "democlient"]) {
        let password = line.strip_prefix(&format!("{user} ")).unwrap();
        assert_eq!(password.len(), 20);
        let check = state.login(Some(user), "x", true).unwrap();
        assert_eq!(check.verify(password.as_bytes()), LoginVerdict::Accepted);
    }
    let rules = |user| {
        state.rules(Client {
            id: "x",
            user_name: Some(user),
        })
    };
    let control = "$CONTROL/dynamic-security/v1";
    assert_eq!(
        rules("admin").decide(Action::Publish, control),
        Verdict::Allow
    );
    assert_eq!(rules("admin").decide(Action::Publish, "a"), Verdict::Defer);
    assert_eq!(
        rules("democlient").decide(Action::Publish, "a"),
        Verdict::Allow
    );
    assert_eq!(
        rules("democlient").decide(Action::Publish, control),
        Verdict::Defer
    );
}

#[test]
fn a_given_password_makes_an_admin_alone() {
    let password = FirstPassword::Environment("123456789012");
    let made = State::first_start(password, &mut counting()).unwrap();
    assert_eq!(made.passwords, None);
    assert_eq!(names(&made.state.clients), ["admin"]);
    let check = made.state.login(Some("admin"), "x", true).unwrap();
    assert_eq!(check.verify(b"123456789012"), LoginVerdict::Accepted);

    let made = State::first_start(FirstPassword::File("short \nmore\n"), &mut counting()).unwrap();
    let check = made.state.login(Some("admin"), "x", true).unwrap();
    assert_eq!(check.verify(b"short"), LoginVerdict::Accepted);
}

#[test]
fn a_password_that_is_too_short_makes_nothing() {
    let made = |password| State::first_start(password, &mut counting()).map(|_| ());
    assert_eq!(
        made(FirstPassword::Environment("12345678901")),
        Err(FirstStartError::Short)
    );
    assert_eq!(
        made(FirstPassword::File(" \nsecret")),
        Err(FirstStartError::Empty)
    );
    assert_eq!(made(FirstPassword::File("")), Err(FirstStartError::Empty));
}

#[test]
fn what_is_made_survives_the_file() {
    let made = State::first_start(FirstPassword::Random, &mut counting()).unwrap();
    let text = made.state.to_json();
    let loaded = State::parse(text.as_bytes()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.state.to_json(), text);
}

#[test]
fn init_makes_an_admin_who_may_administer_and_watch() {
    let state = init_file("boss", "secret", &mut counting());
    let check = state.login(Some("boss"), "x", true).unwrap();
    assert_eq!(check.verify(b"secret"), LoginVerdict::Accepted);
    let rules = state.rules(Client {
        id: "x",
        user_name: Some("boss"),
    });
    for (action, topic, verdict) in [
        (
            Action::Publish,
            "$CONTROL/dynamic-security/v1",
            Verdict::Allow,
        ),
        (Action::Publish, "a", Verdict::Defer),
        (Action::Subscribe, "#", Verdict::Allow),
        (Action::Subscribe, "$SYS/#", Verdict::Allow),
        (Action::Deliver, "$SYS/a", Verdict::Allow),
    ] {
        assert_eq!(rules.decide(action, topic), verdict, "{action:?} {topic}");
    }
}
