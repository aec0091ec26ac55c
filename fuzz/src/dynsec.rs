//! A dynamic-security file and requests that change it, and what must hold whatever they say.
//!
//! An input is a file, and behind each zero byte a request.

use midge_access::dynsec::{State, Surroundings};
use midge_access::{Action, Client};

/// Reads the file, carries out the requests, and asks for decisions on the way.
///
/// # Panics
/// When dynamic security breaks a promise.
pub fn check(input: &[u8]) {
    let mut parts = input.split(|&byte| byte == 0);
    let file = parts.next().unwrap_or_default();
    let mut state = match State::parse(file) {
        Ok(loaded) => loaded.state,
        Err(error) => {
            assert!(!error.fault.is_empty());
            State::default()
        }
    };
    let mut text = state.to_json();
    check_file(&text);
    for request in parts {
        let admin = Client {
            id: "admin",
            user_name: Some("admin"),
        };
        let outcome = state.control(request, admin, &mut Quiet);
        check_response(&outcome.response);
        let after = state.to_json();
        if outcome.save {
            check_file(&after);
        } else {
            assert_eq!(after, text, "nothing has changed");
            assert!(outcome.effects.is_empty());
        }
        let gone = &outcome.effects.disconnect;
        assert!(outcome.effects.recompile.is_disjoint(gone));
        text = after;
        check_rules(&state);
    }
    check_rules(&state);
}

struct Quiet;

impl Surroundings for Quiet {
    fn addresses(&self, _: &str, _: Option<&str>) -> Vec<String> {
        Vec::new()
    }

    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(1);
    }

    fn iterations(&self) -> u32 {
        1
    }
}

/// What is written is read again, and says the same.
fn check_file(text: &str) {
    let loaded = State::parse(text.as_bytes());
    let again = loaded.map(|loaded| loaded.state.to_json());
    assert_eq!(again.as_deref(), Ok(text));
}

fn check_response(response: &str) {
    let value: serde_json::Value = serde_json::from_str(response).unwrap_or_default();
    let responses = value.get("responses").and_then(serde_json::Value::as_array);
    assert!(responses.is_some(), "{response}");
    for one in responses.into_iter().flatten() {
        assert!(one.get("command").is_some_and(serde_json::Value::is_string));
    }
}

/// The short answer and the explained one agree, and an unknown user has none.
fn check_rules(state: &State) {
    for user_name in [None, Some("admin"), Some("ann"), Some("b")] {
        let rules = state.rules(Client {
            id: "c/+",
            user_name,
        });
        let known = user_name.is_none_or(|name| state.has_client(name));
        assert_eq!(rules.is_known(), known);
        for action in [
            Action::Publish,
            Action::Deliver,
            Action::Subscribe,
            Action::Unsubscribe,
        ] {
            for topic in [
                "a",
                "a/b/c",
                "/",
                "$SYS/a",
                "$CONTROL/x/v1",
                "ann/c",
                "#",
                "a/+/c",
            ] {
                let decision = rules.explain(action, topic);
                let allowed = rules.decide(action, topic).is_allowed();
                assert_eq!(decision.allowed, allowed, "{}", decision.rule);
                assert!(known || !allowed);
            }
        }
        let check = state.login(user_name, "c", true);
        assert_eq!(check.is_some(), user_name.is_some());
    }
}
