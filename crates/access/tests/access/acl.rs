//! The access file against the plainest form of its rules.

use midge_access::acl::Rules;
use midge_access::{Action, Client};
use midge_codec::topic;
use proptest::prelude::*;

/// A line of the file.
#[derive(Clone, Debug)]
struct Line {
    /// `None` for a pattern.
    section: Option<usize>,
    access: &'static str,
    filter: String,
}

/// Sections: clients without user name, two users and a group that the first is in.
const SECTIONS: [&str; 4] = ["", "user u1", "user u2", "group g\nmember u1"];

fn file(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut order: Vec<_> = lines.iter().collect();
    // Clients without user name come first; the rest stays as it is.
    order.sort_by_key(|line| line.section != Some(0));
    for line in order {
        let word = if let Some(section) = line.section {
            text.push_str(SECTIONS[section]);
            "\ntopic"
        } else {
            "\npattern"
        };
        text.push_str(&format!("{word} {} {}\n", line.access, line.filter));
    }
    text
}

/// What the rules say, line by line and with filters that are written out.
fn expected(lines: &[Line], client: Client<'_>, word: &str, topic_name: &str) -> bool {
    let mine = |section| {
        matches!(
            (section, client.user_name),
            (0, None | Some("")) | (1 | 3, Some("u1")) | (2, Some("u2"))
        )
    };
    let own: Vec<_> = lines
        .iter()
        .filter(|line| line.section.is_some_and(mine))
        .map(|line| (line.access, line.filter.clone()))
        .collect();
    let is_about =
        |access: &str| access.ends_with(word) || access.ends_with("readwrite") || access == "deny";
    let verdict = |list: &[(&str, String)]| {
        let fitting =
            |access: &str, filter: &str| is_about(access) && topic::matches(filter, topic_name);
        let any = |denies| {
            list.iter().any(|(access, filter)| {
                access.starts_with("deny") == denies && fitting(access, filter)
            })
        };
        if any(true) {
            Some(false)
        } else {
            any(false).then_some(true)
        }
    };
    if let Some(verdict) = verdict(&own) {
        return verdict;
    }
    let is_unsafe =
        topic::has_wildcard(client.id) || client.user_name.is_some_and(topic::has_wildcard);
    if is_unsafe {
        return false;
    }
    let user_name = client.user_name.unwrap_or_default();
    let patterns: Vec<_> = lines
        .iter()
        .filter(|line| line.section.is_none())
        .filter(|line| !(line.filter.contains("%u") && user_name.is_empty()))
        .filter(|line| !(line.filter.starts_with('%') && topic_name.starts_with('$')))
        .map(|line| {
            // In two steps, so that a name that looks like a placeholder stays as it is.
            let marked = line.filter.replace("%c", "\u{1}").replace("%u", "\u{2}");
            let filter = marked
                .replace('\u{1}', client.id)
                .replace('\u{2}', user_name);
            (line.access, filter)
        })
        .collect();
    verdict(&patterns).unwrap_or(false)
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "", "$SYS", "u1", "c/1"])
}

fn filter(placeholders: bool) -> impl Strategy<Value = String> {
    let level = if placeholders {
        prop_oneof![
            3 => level(),
            2 => prop::sample::select(vec!["+", "%c", "%u", "a%c", "%ub%c"]),
        ]
        .boxed()
    } else {
        prop_oneof![3 => level(), 1 => Just("+")].boxed()
    };
    (prop::collection::vec(level, 1..4), any::<bool>()).prop_filter_map(
        "no filter is empty",
        |(mut levels, rest)| {
            if rest {
                levels.push("#");
            }
            let filter = levels.join("/");
            (!filter.is_empty()).then_some(filter)
        },
    )
}

fn line() -> impl Strategy<Value = Line> {
    let access = prop::sample::select(vec![
        "read",
        "write",
        "readwrite",
        "deny",
        "deny read",
        "deny write",
        "deny readwrite",
    ]);
    (prop::option::of(0..4_usize), access).prop_flat_map(|(section, access)| {
        filter(section.is_none()).prop_map(move |filter| Line {
            section,
            access,
            filter,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_those_of_the_rules_written_out(
        lines in prop::collection::vec(line(), 0..8),
        topics in prop::collection::vec(prop::collection::vec(level(), 1..4), 1..12),
    ) {
        let text = file(&lines);
        let (rules, _) = Rules::parse("acl", text.as_bytes()).unwrap();
        let clients = [
            ("a", None),
            ("a", Some("u1")),
            ("c/1", Some("u1")),
            ("$SYS", Some("u2")),
            ("b+", Some("u2")),
            ("b", Some("")),
            ("%u", Some("u1")),
        ];
        for (id, user_name) in clients {
            let client = Client { id, user_name };
            let mine = rules.for_client(client);
            for levels in &topics {
                let name = levels.join("/");
                if name.is_empty() {
                    continue;
                }
                for (action, word) in [(Action::Deliver, "read"), (Action::Publish, "write")] {
                    let found = mine.decide(action, &name);
                    prop_assert_eq!(
                        found, expected(&lines, client, word, &name),
                        "{:?} {:?} {} in\n{}", client, action, name, text
                    );
                    prop_assert_eq!(mine.explain(action, &name).allowed, found);
                }
            }
        }
    }
}
