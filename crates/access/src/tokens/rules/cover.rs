//! Which topic filter takes in which other one.

/// Whether every topic that `inner` can match is matched by `outer` as well. Both are valid and without
/// `$share`.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    // A wildcard in front matches nothing that begins with `$` ([MQTT5-4.7.2-1]).
    if inner.starts_with('$') && outer.starts_with(['+', '#']) {
        return false;
    }
    let mut inner = inner.split('/');
    for level in outer.split('/') {
        if level == "#" {
            // It takes in its parent level too, which is when `inner` is over.
            return true;
        }
        match inner.next() {
            Some("#") | None => return false,
            Some(_) if level == "+" => {}
            Some(part) if part == level => {}
            Some(_) => return false,
        }
    }
    inner.next().is_none()
}

#[cfg(test)]
mod tests {
    use midge_codec::topic;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_filter_covers_what_is_inside_of_it() {
        for (outer, inner, expected) in [
            ("a/#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/c", true),
            ("a/#", "#", false),
            ("a/#", "+/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("+/b", "a/b", true),
            ("a/b", "a/+", false),
            ("#", "+/+", true),
            ("#", "$SYS/#", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/broker/+", true),
            ("a//b", "a/+/b", false),
            ("a/+/b", "a//b", true),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} over {inner}");
        }
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("$x")];
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(levels, open)| {
            let text = levels.join("/");
            if open { format!("{text}/#") } else { text }
        })
    }

    /// All topics of up to four levels over a small alphabet, which is enough to tell such filters apart.
    fn topics() -> Vec<String> {
        let levels = ["a", "b", "", "$x", "other"];
        let mut topics: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
        let mut longest = topics.clone();
        for _ in 0..3 {
            longest = longest
                .iter()
                .flat_map(|topic| levels.iter().map(move |level| format!("{topic}/{level}")))
                .collect();
            topics.extend(longest.iter().cloned());
        }
        topics.retain(|topic| topic::is_name(topic));
        topics
    }

    proptest! {
        #[test]
        fn covering_is_what_comparing_all_topics_says(outer in filter(), inner in filter()) {
            prop_assume!(topic::is_filter(&outer) && topic::is_filter(&inner));
            // Its parent is the empty topic, which is none: `/+/#` covers it and we say no.
            prop_assume!(inner != "/#");
            let by_topics = topics()
                .iter()
                .all(|name| !topic::matches(&inner, name) || topic::matches(&outer, name));
            prop_assert_eq!(covers(&outer, &inner), by_topics);
        }
    }
}
