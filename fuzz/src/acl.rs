//! Any bytes are an access file or refused by line, and its decisions do not depend on how it is written.
//!
//! An input is a file and, after a NUL each, a client id, a user name and topics.

use midge_access::acl::{ClientRules, Rules};
use midge_access::lines::FAULTS_MAX;
use midge_access::{Action, Client};
use midge_codec::topic;

/// Asks the rules of the file in `input` about its topics.
///
/// # Panics
/// When the access file breaks a promise.
pub fn check(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0);
    let file = parts.next().unwrap_or_default();
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let client_id = text().unwrap_or("c1");
    let user_name = text();
    let rules = match Rules::parse("acl", file) {
        Ok((rules, warnings)) => {
            assert!(warnings.list.len() <= FAULTS_MAX);
            rules
        }
        Err(error) => {
            assert!(!error.lines.is_empty(), "a fault has a line");
            let told = error.to_string();
            assert!(told.starts_with("acl:"), "{told}");
            assert!(!told.contains('\u{1b}'), "nothing commands a terminal");
            return;
        }
    };
    let client = Client {
        id: client_id,
        user_name,
    };
    let mine = rules.for_client(client);
    let written_otherwise = variants(file).map(|file| match Rules::parse("acl", &file) {
        Ok((rules, _)) => rules.for_client(client),
        Err(error) => panic!("it is refused when it is written otherwise: {error}"),
    });
    let asked = ["a", "a/b/c", "$SYS/x", "c1/x", "", "/"];
    let asked = asked.into_iter().chain(std::iter::from_fn(text));
    for topic in asked.take(40) {
        if topic::is_filter(topic) {
            check_topic(&mine, &written_otherwise, topic);
        }
    }
}

fn check_topic(mine: &ClientRules, written_otherwise: &[ClientRules], topic: &str) {
    let actions: &[Action] = if topic::is_name(topic) {
        &[
            Action::Publish,
            Action::Deliver,
            Action::Subscribe,
            Action::Unsubscribe,
        ]
    } else {
        &[Action::Subscribe, Action::Unsubscribe]
    };
    for action in actions {
        let allowed = mine.decide(*action, topic);
        let decision = mine.explain(*action, topic);
        assert_eq!(decision.allowed, allowed, "{action:?} {topic}");
        assert!(decision.rule.starts_with("acl"), "{}", decision.rule);
        for other in written_otherwise {
            assert_eq!(other.decide(*action, topic), allowed, "{action:?} {topic}");
        }
    }
}

/// The same rules: with the line ends of Windows, and between comments.
fn variants(file: &[u8]) -> [Vec<u8>; 2] {
    let mut windows = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => windows.extend([line, b"\r\n"].concat()),
            None => windows.extend(line),
        }
    }
    let bare = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    [windows, [b"\xEF\xBB\xBF# x\n\n", bare, b"\n# y"].concat()]
}
