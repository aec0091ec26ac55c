use std::string::String;

use super::*;

/// `[MQTT5-4.7.3-1]`, `[MQTT311-4.7.3-1]`: at least one character.
/// `[MQTT5-4.7.0-1]`, `[MQTT5-3.3.2-2]`, `[MQTT311-4.7.1-1]`, `[MQTT311-3.3.2-2]`: no wildcards.
/// `[MQTT5-4.7.3-3]`, `[MQTT311-4.7.3-3]`: at most 65,535 bytes.
#[test]
fn a_topic_name_is_not_empty_not_too_long_and_has_no_wildcard() {
    for name in [
        "a",
        "/",
        "//",
        " ",
        "a/b",
        "/a",
        "a/",
        "$SYS/x",
        "$share/g/t",
        "ä/ö",
    ] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "+", "#", "a/+", "a/#", "a+", "+a", "a#b", "a/b+/c"] {
        assert!(!is_name(name), "{name}");
    }
    let long: String = "a".repeat(65_536);
    assert!(is_name(&long[1..]) && !is_name(&long));
}

fn check_filter(filter: &str, expected: bool) {
    assert_eq!(is_filter(filter), expected, "{filter}");
    let parsed = Filter::parse(filter);
    let as_it_stands = Filter {
        share_name: None,
        filter,
    };
    let wanted = if expected {
        Ok(as_it_stands)
    } else {
        Err(DecodeError::TopicFilter)
    };
    assert_eq!(parsed, wanted, "{filter}");
}

/// `[MQTT5-4.7.1-1]`, `[MQTT311-4.7.1-2]`
#[test]
fn a_hash_stands_alone_in_the_last_level() {
    for filter in ["#", "a/#", "/#", "a/b/#", "+/#", "$SYS/#"] {
        check_filter(filter, true);
    }
    for filter in [
        "a#", "#a", "a/#/b", "#/", "#/#", "##", "a/b#", "a/#b", "#/a",
    ] {
        check_filter(filter, false);
    }
}

/// `[MQTT5-4.7.1-2]`, `[MQTT311-4.7.1-3]`
#[test]
fn a_plus_fills_a_whole_level() {
    for filter in ["+", "/+", "+/", "+/+", "a/+/b", "+/a/#", "a/+"] {
        check_filter(filter, true);
    }
    for filter in ["a+", "+a", "a/b+", "a/+b/c", "++", "+#", "#+", "a/+#"] {
        check_filter(filter, false);
    }
}

/// `[MQTT5-4.7.3-1]`, `[MQTT311-4.7.3-1]`, `[MQTT5-4.7.3-3]`, `[MQTT311-4.7.3-3]`
#[test]
fn a_filter_is_not_empty_and_not_too_long() {
    check_filter("", false);
    check_filter("/", true);
    check_filter("a b", true);
    let long: String = "a".repeat(65_536);
    check_filter(&long[1..], true);
    check_filter(&long, false);
    let long: String = "+/".repeat(32_768);
    check_filter(&long[2..], true);
    check_filter(&long, false);
}

fn check_shared(text: &str, expected: Result<(&str, &str), DecodeError>) {
    let parsed = Filter::parse(text).map(|parsed| (parsed.share_name.unwrap(), parsed.filter));
    assert_eq!(parsed, expected, "{text}");
}

/// `[MQTT5-4.8.2-1]`: a share name of at least one character.
/// `[MQTT5-4.8.2-2]`: without `/`, `+` or `#`, and with a topic filter behind it.
#[test]
fn a_shared_subscription_has_a_share_name_and_a_filter() {
    check_shared("$share/g/t", Ok(("g", "t")));
    check_shared("$share/g/#", Ok(("g", "#")));
    check_shared("$share/g/+/a", Ok(("g", "+/a")));
    check_shared("$share/g//", Ok(("g", "/")));
    check_shared("$share/g h/$SYS/#", Ok(("g h", "$SYS/#")));
    for text in [
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//t",
        "$share//",
        "$share/+/t",
        "$share/#/t",
        "$share/g+/t",
        "$share/#",
        "$share/+",
    ] {
        check_shared(text, Err(DecodeError::SharedFilter));
    }
    for text in ["$share/g/a#", "$share/g/#/a", "$share/g/a+"] {
        check_shared(text, Err(DecodeError::TopicFilter));
    }
}

#[test]
fn only_the_exact_word_makes_a_filter_shared() {
    for text in [
        "$shared/g/t",
        "$SHARE/g/t",
        "/$share/g/t",
        "$share2",
        "share/g/t",
        "$queue/t",
    ] {
        check_filter(text, true);
    }
}

#[test]
fn levels_are_one_more_than_slashes() {
    for (text, count) in [
        ("", 1),
        ("a", 1),
        ("/", 2),
        ("a/b", 2),
        ("//", 3),
        ("/a/b/", 4),
    ] {
        assert_eq!(levels(text), count, "{text}");
    }
}

fn check_match(filter: &str, matching: &[&str], not: &[&str]) {
    for name in matching {
        assert!(matches(filter, name), "{filter} matches {name}");
    }
    for name in not {
        assert!(!matches(filter, name), "{filter} does not match {name}");
    }
}

/// `[MQTT5-4.7.1-1]`, `[MQTT311-4.7.1-2]`: the parent level and any number of levels below.
#[test]
fn a_hash_matches_the_level_above_and_all_below() {
    check_match("#", &["a", "/", "a/b/c", "/a"], &["$SYS", "$a/b"]);
    check_match(
        "a/#",
        &["a", "a/", "a/b", "a/b/c"],
        &["b", "ab", "/a", "aa/b"],
    );
    check_match("/#", &["/", "/a", "/a/b"], &["a"]);
    check_match("+/#", &["a", "a/b", "/"], &["$SYS/a"]);
}

/// `[MQTT5-4.7.1-2]`, `[MQTT311-4.7.1-3]`
#[test]
fn a_plus_matches_exactly_one_level_which_may_be_empty() {
    check_match("+", &["a", " "], &["/", "a/b", "/a", "$SYS"]);
    check_match("a/+", &["a/", "a/b"], &["a", "a/b/c", "b/a"]);
    check_match("+/+", &["/", "/a", "a/", "a/b"], &["a", "//"]);
    check_match("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/b/c", "a/b/d"]);
}

/// `[MQTT5-4.7.2-1]`, `[MQTT311-4.7.2-1]`
#[test]
fn a_filter_that_begins_with_a_wildcard_matches_no_dollar_topic() {
    check_match("#", &[], &["$SYS", "$SYS/a", "$"]);
    check_match("+/a", &["b/a"], &["$SYS/a"]);
    check_match("$SYS/#", &["$SYS", "$SYS/a/b"], &["SYS/a"]);
    check_match("$SYS/+/b", &["$SYS/a/b"], &["$SYS/b"]);
    check_match("a/+", &["a/$b"], &[]);
}

/// `[MQTT5-4.7.3-4]`, `[MQTT311-4.7.3-4]`: no normalisation.
#[test]
fn names_are_compared_as_they_stand() {
    check_match(
        "Accounts",
        &["Accounts"],
        &["accounts", "ACCOUNTS", "Accounts "],
    );
    check_match("/a", &["/a"], &["a", "//a", "/a/"]);
    check_match("a//b", &["a//b"], &["a/b"]);
    check_match("\u{E9}", &["\u{E9}"], &["e\u{301}"]);
    check_match("a/./b", &["a/./b"], &["a/b"]);
}
