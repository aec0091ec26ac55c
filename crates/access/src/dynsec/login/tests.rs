use super::*;
use crate::dynsec::password::new_verifier;

fn state() -> State {
    let hash = new_verifier("secret", [7; 12], 3).to_string();
    let file = serde_json::json!({"clients": [
        {"username": "ann", "encoded_password": hash},
        {"username": "bob", "encoded_password": hash, "clientid": "b1"},
        {"username": "cid", "encoded_password": hash, "disabled": true},
        {"username": "dan"},
        {"username": "eve", "encoded_password": "$9$what"},
    ]});
    State::parse(file.to_string().as_bytes()).unwrap().state
}

#[track_caller]
fn check(user: &str, client_id: &str, password: &str, verdict: LoginVerdict) {
    let check = state().login(Some(user), client_id, true).unwrap();
    let there = std::thread::spawn({
        let password = password.to_owned();
        move || check.verify(password.as_bytes())
    });
    assert_eq!(
        there.join().unwrap(),
        verdict,
        "{user} {client_id} {password}"
    );
}

#[test]
fn the_right_password_lets_a_client_in_and_a_wrong_one_does_not() {
    check("ann", "x", "secret", LoginVerdict::Accepted);
    check(
        "ann",
        "x",
        "Secret",
        LoginVerdict::Refused(Refusal::Password),
    );
    check("ann", "x", "", LoginVerdict::Refused(Refusal::Password));
}

#[test]
fn a_client_bound_to_a_client_id_comes_with_no_other() {
    check("bob", "b1", "secret", LoginVerdict::Accepted);
    check(
        "bob",
        "b2",
        "secret",
        LoginVerdict::Refused(Refusal::ClientId),
    );
}

#[test]
fn a_disabled_client_and_one_without_usable_password_are_refused() {
    check(
        "cid",
        "x",
        "secret",
        LoginVerdict::Refused(Refusal::Disabled),
    );
    check("dan", "x", "", LoginVerdict::Refused(Refusal::NoPassword));
    check(
        "eve",
        "x",
        "$9$what",
        LoginVerdict::Refused(Refusal::NoPassword),
    );
}

#[test]
fn an_unknown_user_is_left_to_others_after_a_check_of_the_usual_cost() {
    check("zoe", "x", "secret", LoginVerdict::Unknown);
    let state = state();
    let known = state.login(Some("ann"), "x", true).unwrap();
    let unknown = state.login(Some("zoe"), "x", true).unwrap();
    assert_eq!(unknown.cost(), known.cost());
    assert_ne!(unknown.verifier, known.verifier);
}

#[test]
fn without_user_name_or_password_there_is_nothing_to_check() {
    assert!(state().login(None, "x", true).is_none());
    assert!(state().login(Some("ann"), "x", false).is_none());
}
