//! Topic names and filters: chapter 4.7.

use crate::support::*;

/// MQTT5-4.7.1-1, MQTT311-4.7.1-2: `#` stands alone or behind a slash, and last.
/// MQTT5-4.7.1-2, MQTT311-4.7.1-3: `+` fills its level.
#[test]
fn mqtt5_4_7_1_1_misplaced_wildcards_are_refused() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for filter in [
            "a/#/b", "#/", "#/a", "a#", "#a", "a/b#", "##", "a/##", "a+", "+a", "a/b+/c", "a/+b",
            "++", "a/++", "+#", "#+",
        ] {
            let subscribe = Subscribe::new(version, 1).filter(filter, 0).encode();
            thrown_out(&broker, version, &subscribe, 0x81);
            let unsubscribe = Unsubscribe::new(version, 1).filter(filter).encode();
            thrown_out(&broker, version, &unsubscribe, 0x81);
        }
    }
}

/// MQTT5-4.7.3-1, MQTT311-4.7.3-1: an empty filter.
#[test]
fn mqtt5_4_7_3_1_filter_has_at_least_one_character() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let subscribe = Subscribe::new(version, 1).filter("", 0).encode();
        thrown_out(&broker, version, &subscribe, 0x81);
        let unsubscribe = Unsubscribe::new(version, 1).filter("").encode();
        thrown_out(&broker, version, &unsubscribe, 0x81);
    }
}

/// MQTT5-4.7.1-1, MQTT5-4.7.1-2, MQTT5-4.7.3-4, MQTT311-4.7.1-2, MQTT311-4.7.1-3, MQTT311-4.7.3-4,
/// MQTT5-3.3.2-3, MQTT311-3.3.2-3: which names a filter matches. Each filter and each name stands
/// behind a level of its own.
#[test]
fn mqtt5_4_7_1_2_filters_match_level_by_level() {
    const NAMES: [&str; 19] = [
        "a",
        "A",
        "a/",
        "/a",
        "a/b",
        "a//b",
        "a/b/",
        "a/b/c",
        "a/b/c/d",
        "b",
        "/",
        "//",
        "a b",
        "a/ b",
        "\u{E9}",
        "e\u{301}",
        "a/$b",
        "a/\u{1F980}/c",
        "-",
    ];
    let cases: [(&str, &[&str]); 22] = [
        ("a", &["a"]),
        ("A", &["A"]),
        ("a/", &["a/"]),
        ("/a", &["/a"]),
        ("a/b", &["a/b"]),
        ("a//b", &["a//b"]),
        ("a/b/c", &["a/b/c"]),
        ("/", &["/"]),
        ("a b", &["a b"]),
        ("\u{E9}", &["\u{E9}"]),
        ("e\u{301}", &["e\u{301}"]),
        ("+", &["a", "A", "b", "a b", "\u{E9}", "e\u{301}", "-"]),
        ("+/", &["a/", "/"]),
        ("/+", &["/a", "/"]),
        ("+/+", &["a/", "/a", "a/b", "/", "a/ b", "a/$b"]),
        ("a/+", &["a/", "a/b", "a/ b", "a/$b"]),
        ("a/+/b", &["a//b"]),
        ("a/+/c", &["a/b/c", "a/\u{1F980}/c"]),
        ("+/+/+", &["a//b", "a/b/", "a/b/c", "//", "a/\u{1F980}/c"]),
        (
            "a/#",
            &[
                "a",
                "a/",
                "a/b",
                "a//b",
                "a/b/",
                "a/b/c",
                "a/b/c/d",
                "a/ b",
                "a/$b",
                "a/\u{1F980}/c",
            ],
        ),
        ("a/b/#", &["a/b", "a/b/", "a/b/c", "a/b/c/d"]),
        ("+/b/#", &["a/b", "a/b/", "a/b/c", "a/b/c/d"]),
    ];
    let broker = Broker::shared();
    for version in Version::ALL {
        let base = unique_topic("match");
        let mut publisher = RawClient::join(&broker, version);
        for (filter, wanted) in cases {
            let mut client = subscriber(&broker, version, &format!("{base}/{filter}"), 0);
            client.subscribe(format!("{base}.end"), 0);
            for name in NAMES {
                let topic = format!("{base}/{name}");
                publisher.send(&Publish::new(version, topic, name).encode());
            }
            publisher.publish(format!("{base}.end"), "end", 0);
            let mut matched = Vec::new();
            loop {
                let message = client.receive();
                if message.payload == b"end" {
                    break;
                }
                let name = String::from_utf8(message.payload).unwrap();
                assert_eq!(message.topic, format!("{base}/{name}"));
                matched.push(name);
            }
            assert_eq!(matched, wanted, "{filter} in {version:?}");
        }
    }
}

/// MQTT5-4.7.2-1, MQTT311-4.7.2-1: a filter that begins with a wildcard does not match names that
/// begin with `$`; one that begins with `$` does.
#[test]
fn mqtt5_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let own = unique_topic("own").replace('/', "-");
        let dollar = format!("${own}");
        let mut publisher = RawClient::join(&broker, version);
        for (filter, wanted) in [
            ("#".to_owned(), 1),
            ("+/#".to_owned(), 1),
            ("+/x".to_owned(), 1),
            (format!("{dollar}/#"), 2),
            (format!("{dollar}/+"), 2),
            (format!("{dollar}/x"), 2),
        ] {
            let mut client = RawClient::join(&broker, version);
            let id = client.fresh_packet_id();
            client.send(&Subscribe::new(version, id).filter(&filter, 0).encode());
            client.expect_suback(id);
            client.subscribe(
                format!("{own}/end/of/{filter}").replace(['+', '#', '$'], "w"),
                0,
            );
            publisher.publish(format!("{dollar}/x"), "dollar", 0);
            publisher.publish(format!("{own}/x"), "plain", 0);
            let end = format!("{own}/end/of/{filter}").replace(['+', '#', '$'], "w");
            publisher.publish(&end, "end", 0);
            // Other tests' messages may pass by.
            let mut own_payloads = Vec::new();
            loop {
                let message = client.receive();
                if message.topic == end {
                    break;
                }
                if message.topic.contains(&own) {
                    own_payloads.push(message.payload);
                }
            }
            let wanted: &[u8] = if wanted == 1 { b"plain" } else { b"dollar" };
            assert_eq!(own_payloads, [wanted], "{filter} in {version:?}");
        }
    }
}

/// MQTT5 4.7.2: `$SYS` has what a broker says about itself.
#[test]
fn broker_says_something_about_itself() {
    let Some(broker) = Broker::with_config("sys_interval 1") else {
        return;
    };
    for version in Version::ALL {
        let mut client = RawClient::join(&broker, version);
        client.subscribe("$SYS/broker/uptime", 0);
        let message = client.receive();
        assert_eq!(message.topic, "$SYS/broker/uptime");
    }
}

/// MQTT5-4.7.3-3, MQTT311-4.7.3-3: 65,535 bytes are a filter.
#[test]
fn mqtt5_4_7_3_3_longest_filter_is_granted() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let filter = "x".repeat(65_535);
        let mut client = subscriber(&broker, version, &filter, 0);
        client.unsubscribe(&filter);
    }
}
