use super::*;

fn rules(text: &str) -> Rules {
    let (rules, _) = Rules::parse("acl", text.as_bytes()).unwrap();
    rules
}

fn client(rules: &Rules, id: &str, user_name: impl Into<Option<&'static str>>) -> ClientRules {
    let user_name = user_name.into();
    rules.for_client(Client { id, user_name })
}

/// What the client may do: `r` for reading and `w` for writing the topic, `-` for not.
fn may(rules: &ClientRules, topic: &str) -> String {
    [(Action::Deliver, 'r'), (Action::Publish, 'w')]
        .map(|(action, letter)| {
            let allowed = rules.decide(action, topic);
            assert_eq!(rules.explain(action, topic).allowed, allowed, "{topic}");
            if allowed { letter } else { '-' }
        })
        .iter()
        .collect()
}

/// Checks a line `topic access` for each topic.
#[track_caller]
fn check(rules: &ClientRules, expected: &[(&str, &str)]) {
    for (topic, access) in expected {
        assert_eq!(may(rules, topic), *access, "{topic}");
    }
}

#[test]
fn an_empty_file_denies_everything_but_subscribing() {
    let rules = rules("# nothing\n\n   \n");
    assert!(rules.is_empty());
    for user in [None, Some("bob")] {
        let bob = client(&rules, "c", user);
        check(&bob, &[("a", "--"), ("$SYS/x", "--")]);
        assert!(bob.decide(Action::Subscribe, "#"));
        assert!(bob.decide(Action::Unsubscribe, "#"));
    }
}

#[test]
fn topics_before_the_first_user_are_for_clients_without_user_name_alone() {
    let rules = rules(
        "topic read a\nuser bob\ntopic write b\nuser eve smith \ntopic c\nuser bob\ntopic d\n",
    );
    check(
        &client(&rules, "c", None),
        &[("a", "r-"), ("b", "--"), ("c", "--")],
    );
    check(
        &client(&rules, "c", "bob"),
        &[("a", "--"), ("b", "-w"), ("d", "rw")],
    );
    check(
        &client(&rules, "c", "eve smith"),
        &[("c", "rw"), ("d", "--")],
    );
    check(&client(&rules, "c", "eve"), &[("c", "--")]);
    check(&client(&rules, "c", ""), &[("a", "r-")]);
}

#[test]
fn a_deny_wins_wherever_it_stands_in_the_section() {
    let rules = rules(
        "user bob\ntopic a/#\ntopic deny a/secret/#\ntopic readwrite a/secret/open\n\
         user eve\ntopic deny x\ntopic x\n",
    );
    let bob = client(&rules, "c", "bob");
    check(
        &bob,
        &[
            ("a", "rw"),
            ("a/b", "rw"),
            ("a/secret", "--"),
            ("a/secret/open", "--"),
        ],
    );
    check(&client(&rules, "c", "eve"), &[("x", "--")]);
}

#[test]
fn own_rules_come_before_patterns_so_that_a_deny_pattern_does_not_take_them_back() {
    let rules = rules(
        "pattern deny devices/%c/secret\npattern read devices/%c/#\nuser bob\ntopic devices/c1/secret\n\
         topic write devices/c2/#\n",
    );
    let bob = client(&rules, "c1", "bob");
    check(
        &bob,
        &[
            ("devices/c1/secret", "rw"),
            ("devices/c1/x", "r-"),
            ("devices/c2/x", "-w"),
        ],
    );
    // A match without the access goes on to the patterns.
    check(
        &client(&rules, "c2", "bob"),
        &[("devices/c2/x", "rw"), ("devices/c2/secret", "-w")],
    );
}

#[test]
fn patterns_replace_client_id_and_user_name() {
    let rules =
        rules("pattern write %u/%c/up\npattern read x/%u\npattern y/a%cb%u%c\npattern %%c/100%\n");
    let bob = client(&rules, "c1", "bob");
    check(
        &bob,
        &[
            ("bob/c1/up", "-w"),
            ("bob/c1", "--"),
            ("bob/c1/upper", "--"),
            ("x/bob", "r-"),
            ("x/bobby", "--"),
            ("y/ac1bbobc1", "rw"),
            ("%c1/100%", "rw"),
            ("%u/%c/up", "--"),
        ],
    );
    let nobody = client(&rules, "c1", None);
    check(
        &nobody,
        &[
            ("bob/c1/up", "--"),
            ("x/", "--"),
            ("/c1/up", "--"),
            ("%c1/100%", "rw"),
        ],
    );
    check(&client(&rules, "c1", ""), &[("x/", "--"), ("/c1/up", "--")]);
}

#[test]
fn names_with_slashes_go_over_several_levels() {
    let rules = rules("pattern a/%c/+/#\npattern b/%c\n");
    let slashed = client(&rules, "x/y", None);
    check(
        &slashed,
        &[
            ("a/x/y/z", "rw"),
            ("a/x/y", "--"),
            ("a/x/z", "--"),
            ("b/x/y", "rw"),
            ("b/x", "--"),
        ],
    );
}

#[test]
fn a_name_with_a_wildcard_is_denied_as_soon_as_there_are_patterns() {
    let text = "user a+\ntopic read own\n";
    let without = rules(text);
    check(
        &client(&without, "c#", "a+"),
        &[("own", "r-"), ("other", "--")],
    );
    let with = rules(&format!("{text}pattern free/#\n"));
    for (id, user) in [("c", "a+"), ("c", "a#"), ("+", "b"), ("#", "b")] {
        let named = client(&with, id, user);
        check(&named, &[("free/x", "--")]);
        let rule = named.explain(Action::Publish, "free/x").rule;
        assert!(rule.contains("has a + or #"), "{rule}");
    }
    check(&client(&with, "c", "a+"), &[("own", "r-")]);
    check(&client(&with, "c/%", "b"), &[("free/x", "rw")]);
    // A literal is no rule for messages.
    let literal = rules("topic x\npattern deny literal #\n");
    check(&client(&literal, "#", None), &[("x", "rw"), ("y", "--")]);
}

#[test]
fn topics_with_a_dollar_are_met_by_filters_with_a_dollar_alone() {
    let rules = rules(
        "topic #\ntopic +/x\ntopic read $SYS/#\npattern %c/#\npattern %c$/#\npattern $X/%c\n",
    );
    check(
        &client(&rules, "$CONTROL", None),
        &[
            ("a", "rw"),
            ("$x/x", "--"),
            ("$SYS/a", "r-"),
            ("$SYS", "r-"),
            ("$CONTROL/dynamic-security/v1", "--"),
            ("$CONTROL$/x", "--"),
            ("$X/$CONTROL", "rw"),
            ("a$SYS/a", "rw"),
        ],
    );
}

#[test]
fn wildcards_meet_what_a_subscription_would() {
    let rules = rules("topic a/+/c\ntopic b/#\ntopic /+\ntopic d/+/#\ntopic e//f\n");
    check(
        &client(&rules, "c", None),
        &[
            ("a/b/c", "rw"),
            ("a//c", "rw"),
            ("a/c", "--"),
            ("a/b/c/", "--"),
            ("b", "rw"),
            ("b/", "rw"),
            ("b/c/d", "rw"),
            ("bb", "--"),
            ("/", "rw"),
            ("/x", "rw"),
            ("x/y", "--"),
            ("d", "--"),
            ("d/e", "rw"),
            ("d/", "rw"),
            ("e//f", "rw"),
            ("e/f", "--"),
        ],
    );
}

#[test]
fn filters_with_spaces_and_words_are_read_as_mosquitto_reads_them() {
    let rules = rules(
        "  topic   read   a b  c \t\r\ntopic read\ntopic deny\ntopic readwrite read d\ntopic deny e  f\n\
         topic #\n",
    );
    check(
        &client(&rules, "c", None),
        &[
            ("a b  c", "rw"),
            ("e  f", "--"),
            ("read", "rw"),
            ("deny", "rw"),
        ],
    );
    let (_, warnings) = Rules::parse("acl", b"topic read\ntopic deny\ntopic #\n").unwrap();
    let lines: Vec<_> = warnings.list.iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn deny_of_one_direction_leaves_the_other() {
    let rules = rules(
        "user bob\ntopic main/#\ntopic deny write main/x/#\ntopic deny read main/y\n\
         topic deny readwrite main/z\ntopic deny readwrite read me\n\
         pattern p/#\npattern deny write p/%c\n",
    );
    check(
        &client(&rules, "c", "bob"),
        &[
            ("main/x", "r-"),
            ("main/x/1", "r-"),
            ("main/y", "-w"),
            ("main/z", "--"),
            ("main/q", "rw"),
            ("p/c", "r-"),
            ("p/d", "rw"),
        ],
    );
}

#[test]
fn members_have_the_rules_of_their_groups() {
    let rules = rules(
        "group gardeners\nmember bob\nmember eve smith\ntopic read garden/#\n\
         user bob\ntopic write bob/#\ntopic garden/bob\n\
         group careful\nmember bob\ntopic deny garden/poison\ntopic deny write garden/bob\n\
         group gardeners\nmember carol\ntopic tools\n",
    );
    check(
        &client(&rules, "c", "bob"),
        &[
            ("garden/rose", "r-"),
            ("garden/poison", "--"),
            ("garden/bob", "r-"),
            ("bob/x", "-w"),
            ("tools", "rw"),
        ],
    );
    check(
        &client(&rules, "c", "eve smith"),
        &[("garden/poison", "r-"), ("bob/x", "--")],
    );
    check(
        &client(&rules, "c", "carol"),
        &[("garden/x", "r-"), ("tools", "rw")],
    );
    // A group is no user.
    check(&client(&rules, "c", "gardeners"), &[("garden/x", "--")]);
    check(&client(&rules, "c", None), &[("garden/x", "--")]);
}

#[test]
fn a_literal_filter_is_refused_and_what_it_would_match_is_not() {
    let rules = rules(
        "pattern read #\npattern deny literal #\npattern deny literal %u/+\nuser bob\n\
         topic deny literal a/#\n",
    );
    let bob = client(&rules, "c", "bob");
    for filter in ["#", "$share/g/#", "bob/+", "a/#"] {
        assert!(!bob.decide(Action::Subscribe, filter), "{filter}");
        assert!(bob.decide(Action::Unsubscribe, filter), "{filter}");
    }
    for filter in ["+/#", "a/b", "a/+", "eve/+", "bob/x", "a"] {
        assert!(bob.decide(Action::Subscribe, filter), "{filter}");
    }
    check(&bob, &[("a/b", "r-"), ("bob/x", "r-")]);
    let decision = bob.explain(Action::Subscribe, "#");
    assert_eq!(
        (decision.allowed, &*decision.rule),
        (false, "acl:2 pattern deny literal #")
    );
    assert!(client(&rules, "c", "eve").decide(Action::Subscribe, "a/#"));
}

#[test]
fn a_decision_names_the_line_that_made_it() {
    let rules = rules(
        "topic read x\n\nuser bob\ntopic read a/#\ntopic a/b\n  topic deny  a/c \ntopic deny a/+\n\
         pattern read p/%c\n",
    );
    let bob = client(&rules, "c", "bob");
    let rule = |action, topic: &str| bob.explain(action, topic).rule;
    assert_eq!(rule(Action::Deliver, "a/c"), "acl:6 topic deny  a/c");
    assert_eq!(rule(Action::Deliver, "a/x"), "acl:7 topic deny a/+");
    assert_eq!(rule(Action::Deliver, "a/b/c"), "acl:4 topic read a/#");
    assert_eq!(rule(Action::Deliver, "p/c"), "acl:8 pattern read p/%c");
    assert_eq!(
        rule(Action::Publish, "p/c"),
        "acl: no rule allows it to user 'bob'"
    );
    assert!(rule(Action::Subscribe, "p/c").starts_with("acl: subscribing is not restricted"));
    assert_eq!(
        rule(Action::Unsubscribe, "p/c"),
        "acl: unsubscribing is not restricted"
    );
    let eve = client(&rules, "c", "eve")
        .explain(Action::Deliver, "x")
        .rule;
    assert!(
        eve.contains("no section for user 'eve'; rules before the first user"),
        "{eve}"
    );
    let nobody = client(&rules, "c", None).explain(Action::Deliver, "a").rule;
    assert_eq!(
        nobody,
        "acl: no rule allows it to clients without user name"
    );
}

#[track_caller]
fn check_faults(text: impl AsRef<[u8]>, expected: &[&str]) {
    let error = Rules::parse("acl", text.as_ref()).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, part) in lines.iter().zip(expected) {
        assert!(line.contains(part), "{line} has no {part:?}");
    }
}

#[test]
fn every_wrong_line_is_told_with_its_number_and_the_way_out() {
    check_faults(
        "topic\ntopic   \nuser\nuser  \ngroup\nmember bob\nTopic a\ntopic\ta\n # comment\n",
        &[
            "acl:1: Empty topic",
            "acl:2: Empty topic",
            "acl:3: Missing username: the line is user NAME",
            "acl:4: Missing username",
            "acl:5: Missing group name",
            "acl:6: A member stands below the group line",
            "acl:7: Invalid line: 'Topic' is none of user, topic",
            "acl:8: Invalid line: words are separated by spaces",
            "acl:9: Invalid line: a comment begins with #",
        ],
    );
    check_faults(
        "topic a b\ntopic rw a\ntopic a#\ntopic #/a\ntopic a+\ntopic literal a\ntopic deny read a+\n",
        &[
            "acl:1: Invalid topic access type 'a': it is read, write",
            "acl:2: Invalid topic access type 'rw'",
            "acl:3: Invalid ACL topic 'a#'",
            "acl:4: Invalid ACL topic '#/a'",
            "acl:5: Invalid ACL topic 'a+'",
            "acl:6: Invalid topic access type 'literal': only deny literal",
            "acl:7: Invalid ACL topic 'a+'",
        ],
    );
    check_faults(
        b"topic \xFF\ntopic a\0b\n",
        &["acl:1: byte 7", "acl:2: the line has a NUL"],
    );
    check_faults(
        format!("topic {}", "/".repeat(201)),
        &["acl:1: Invalid ACL topic: it has 202 levels"],
    );
    check_faults(
        format!("topic {}", "x".repeat(65_536)),
        &["acl:1: Invalid ACL topic"],
    );
}

#[test]
fn windows_files_are_read() {
    let rules = rules("\u{FEFF}topic read a\r\nuser bob\r\ntopic b\r\n");
    check(&client(&rules, "c", None), &[("a", "r-")]);
    check(&client(&rules, "c", "bob"), &[("b", "rw")]);
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    let text = "topic a/%c\npattern b\npattern c/x%c\npattern %c/%u\ngroup empty\ntopic a\n";
    let (_, warnings) = Rules::parse("acl", text.as_bytes()).unwrap();
    let found: Vec<_> = warnings.list.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{warnings}");
    for (warning, part) in found.iter().zip([
        "line 1: %c and %u are replaced in patterns only",
        "line 2: the pattern has neither",
        "line 3: %c or %u is only a part",
        "line 5: group 'empty' has no member",
    ]) {
        assert!(warning.starts_with(part), "{warning}");
    }
}

#[test]
fn rules_beyond_the_limit_of_levels_are_refused() {
    let line = format!("topic {}\n", vec!["a"; 200].join("/"));
    let error = Rules::parse("acl", line.repeat(20_001).as_bytes()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("acl: the rules have more than 4000000"),
        "{error}"
    );
    assert!(Rules::parse("acl", line.repeat(20_000).as_bytes()).is_ok());
}

#[test]
fn rules_of_a_client_may_be_asked_on_any_thread() {
    fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let rules = rules("topic a\n");
    is_shared(&rules);
    is_shared(&client(&rules, "c", None));
}

/// A rule for each of many ways through the same levels, and a topic that goes all of them: a search that
/// comes back to a node would take 2¹⁹⁹ steps.
#[test]
fn topics_that_fit_almost_every_rule_take_no_longer_than_the_rules_are_long() {
    let mut text = String::new();
    for at in 0..199 {
        let mut levels = vec!["+"; 200];
        levels[at] = "a";
        levels[199] = "b";
        text.push_str(&format!("topic {}\n", levels.join("/")));
    }
    let rules = client(&rules(&text), "c", None);
    let topic = vec!["a"; 200].join("/");
    assert_eq!(may(&rules, &topic), "--");
    assert_eq!(
        may(&rules, &format!("{}/b", &topic[..topic.len() - 2])),
        "rw"
    );
}

#[test]
fn a_client_that_somebody_else_puts_into_groups_has_their_rules_too() {
    let text = b"user alice\ntopic read a\ngroup sensors\nmember bob\ntopic read s\n";
    let (rules, _) = Rules::parse("acl", text).unwrap();
    let client = Client {
        id: "c",
        user_name: Some("alice"),
    };
    let groups = ["sensors".to_owned(), "unknown".to_owned()];
    let rules_of = |groups: &[String]| {
        let rules = rules.for_member(client, groups);
        ["a", "s"].map(|topic| rules.decide(Action::Deliver, topic))
    };
    assert_eq!(rules_of(&groups), [true, true]);
    assert_eq!(rules_of(&groups[1..]), [true, false]);
    assert_eq!(rules_of(&[]), [true, false]);
}
