//! Matching as the standard words it, level by level: what the tests compare with.

/// Whether `filter` matches `topic`. [MQTT5 4.7.1] [MQTT5-4.7.2-1]
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let topic: Vec<&str> = topic.split('/').collect();
    let filter: Vec<&str> = filter.split('/').collect();
    match filter.split_last() {
        Some((&"#", parents)) => {
            topic.len() >= parents.len() && all_match(parents, &topic[..parents.len()])
        }
        _ => topic.len() == filter.len() && all_match(&filter, &topic),
    }
}

fn all_match(filter: &[&str], topic: &[&str]) -> bool {
    let mut pairs = filter.iter().zip(topic);
    pairs.all(|(&filter, &topic)| filter == "+" || filter == topic)
}

/// Where a matching filter stands in Mosquitto's order: literal, `+`, `#`, and what ends here
/// after the `#` that could follow it.
pub(crate) fn rank(filter: &str) -> Vec<u8> {
    let levels = filter.split('/').map(|level| match level {
        "+" => 1,
        "#" => 2,
        _ => 0,
    });
    levels.chain([3]).collect()
}
