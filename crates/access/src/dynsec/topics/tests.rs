use super::*;

const CLIENT: Client<'static> = Client {
    id: "c1",
    user_name: Some("ann"),
};

#[track_caller]
fn check(filters: &[&str], topic: &str, first: Option<usize>) {
    check_for(CLIENT, filters, topic, first);
}

#[track_caller]
fn check_for(client: Client<'_>, filters: &[&str], topic: &str, first: Option<usize>) {
    let topics = Topics::new(filters.iter().copied());
    let found = topics.first(topic, client).map(|(position, _)| position);
    assert_eq!(found, first, "{filters:?} {topic}");
}

#[test]
fn the_first_rule_in_order_wins_however_exact_others_are() {
    check(&["a/#", "a/b", "+/b"], "a/b", Some(0));
    check(&["a/b", "a/#", "+/b"], "a/b", Some(0));
    check(&["x", "+/b", "a/b", "#"], "a/b", Some(1));
    check(&["x", "y", "#", "a/b"], "a/b", Some(2));
    check(&["x", "a/b/c", "+/+"], "a/b", Some(2));
    check(&["x"], "a/b", None);
    check(&[], "a/b", None);
}

#[test]
fn wildcards_fit_topic_names_as_in_the_standard() {
    for (filter, topic, fits) in [
        ("a", "a", true),
        ("a", "a/b", false),
        ("a/b", "a", false),
        ("a/#", "a", true),
        ("a/#", "a/", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("+", "a", true),
        ("+", "a/b", false),
        ("+", "/a", false),
        ("+/+", "/a", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("+/#", "a", true),
        ("a/+/#", "a/b", true),
        ("a/+/#", "a", false),
        ("a/+/c", "a//c", true),
        ("#", "a/b", true),
        ("#", "/", true),
        ("/#", "/a", true),
        ("/#", "a", false),
        ("#", "$SYS/a", false),
        ("+/a", "$SYS/a", false),
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/+", "$SYS/a", true),
        ("a/$b", "a/$b", true),
        ("a/+", "a/$b", true),
    ] {
        check(&[filter], topic, fits.then_some(0));
    }
}

#[test]
fn a_topic_filter_fits_when_the_rule_covers_all_of_it() {
    for (rule, filter, fits) in [
        ("#", "#", true),
        ("#", "+/a", true),
        ("#", "a/#", true),
        ("+", "#", false),
        ("+", "+", true),
        ("+/a", "#", false),
        ("+/#", "#", false),
        ("+/#", "+/#", true),
        ("a/#", "a/#", true),
        ("a/#", "a/+/#", true),
        ("a/#", "a", true),
        ("a/#", "+/b", false),
        ("a/#", "#", false),
        ("a/+", "a/#", false),
        ("a/+", "a/+", true),
        ("a/+/#", "a/+", true),
        ("a/+/#", "a/#", false),
        ("a/b", "a/+", false),
        ("a/b", "a/#", false),
        ("a", "a/#", false),
        ("#", "$share/g/a", false),
        ("$share/#", "$share/g/a", true),
        ("$share/g/#", "$share/g/a", true),
        ("$share/+/a", "$share/g/a", true),
        ("$SYS/#", "$SYS/#", true),
        ("$SYS/#", "#", false),
    ] {
        check(&[rule], filter, fits.then_some(0));
    }
}

#[test]
fn client_id_and_user_name_stand_for_whole_levels() {
    check(&["%c"], "c1", Some(0));
    check(&["%c"], "c2", None);
    check(&["a/%c/+"], "a/c1/x", Some(0));
    check(&["a/%c/#"], "a/c1", Some(0));
    check(&["a/%c"], "a/%c", None);
    check(&["a/%u"], "a/ann", Some(0));
    check(&["a/%u/b/%c"], "a/ann/b/c1", Some(0));
    check(&["a/%u/b/%c"], "a/c1/b/ann", None);
    // Only a level that is nothing else.
    check(&["a/x%c"], "a/xc1", None);
    check(&["a/x%c"], "a/x%c", Some(0));
    check(&["a/%count"], "a/%count", Some(0));
}

#[test]
fn a_name_gives_no_wildcard_and_no_dollar_and_no_second_level() {
    let named = |id, user_name| Client { id, user_name };
    check_for(named("+", None), &["a/%c"], "a/+", None);
    check_for(named("#", None), &["a/%c"], "a/#", None);
    check_for(named("", None), &["a/%c"], "a/", None);
    check_for(named("b/c", None), &["a/%c"], "a/b/c", None);
    check_for(named("$SYS", None), &["%c/x"], "$SYS/x", None);
    check_for(named("c", None), &["a/%u"], "a/", None);
    check_for(named("c", None), &["a/%u"], "a/%u", None);
    check_for(named("c", Some("+")), &["a/%u"], "a/+", None);
}

#[test]
fn a_topic_that_is_no_filter_is_found_by_its_beginning() {
    let found = |filters: &[&str], topic| Topics::new(filters.iter().copied()).first(topic, CLIENT);
    assert_eq!(found(&["foo#", "#"], "foobar"), Some((0, true)));
    assert_eq!(found(&["foo#", "#"], "bar"), Some((1, false)));
    assert_eq!(found(&["#", "foo#"], "foobar"), Some((0, false)));
    assert_eq!(found(&["a/#/b"], "x"), Some((0, true)));
    assert_eq!(found(&["a+/b"], "a1/b"), Some((0, true)));
    let deep = "a/".repeat(LEVELS_MAX);
    assert_eq!(found(&[&deep], &format!("{deep}b")), Some((0, true)));
}

/// The plain way: each rule in turn.
fn in_turn(filters: &[String], topic: &str) -> Option<usize> {
    filters.iter().position(|filter| {
        if filter.starts_with('$') != topic.starts_with('$') {
            return false;
        }
        let mut levels = topic.split('/');
        for level in filter.split('/') {
            if level == "#" {
                return true;
            }
            let Some(part) = levels.next() else {
                return false;
            };
            let value = match level {
                "%c" => Some(CLIENT.id),
                "%u" => CLIENT.user_name,
                _ => Some(level),
            };
            if !(level == "+" && part != "#" || value == Some(part)) {
                return false;
            }
        }
        levels.next().is_none()
    })
}

#[test]
fn the_tree_finds_what_trying_each_rule_in_turn_finds() {
    // A small generator, so that each run has the same cases.
    let mut seed = 1_u32;
    let mut next = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    let mut found = 0;
    for _ in 0..3000 {
        let mut path = |words: &[&str], last: &[&str]| {
            let depth = next(4);
            let mut levels: Vec<&str> = (0..depth)
                .map(|_| words[next(words.len() as u32) as usize])
                .collect();
            levels.push(last[next(last.len() as u32) as usize]);
            levels.join("/")
        };
        let inner = ["a", "b", "+", "%c", "%u", "", "c1", "ann"];
        let filters: Vec<String> = (0..8)
            .map(|_| path(&inner, &["a", "b", "#", "#", "+", "%c", "$x"]))
            .collect();
        let name = path(&["a", "b", "", "c1", "ann"], &["a", "b", "", "c1", "$x"]);
        let filter = path(&["a", "b", "+", "c1", "ann"], &["a", "b", "+", "#"]);
        let topics = Topics::new(filters.iter().map(String::as_str));
        for topic in [name, filter] {
            if topic.is_empty() {
                continue;
            }
            let expected = in_turn(&filters, &topic);
            let first = topics.first(&topic, CLIENT).map(|(position, _)| position);
            assert_eq!(first, expected, "{filters:?} {topic}");
            found += usize::from(expected.is_some());
        }
    }
    assert!(found > 1000, "{found}");
}
