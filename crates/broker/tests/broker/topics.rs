//! Topics: which filter matches, and what may be published.

use midge_codec::Version;

use crate::client::{Got, Pub};
use crate::cluster::Cluster;

/// [MQTT5-3.3.2-3], [MQTT5-4.7.1-1], [MQTT5-4.7.1-2], [MQTT5-4.7.2-1], [MQTT5-4.7.3-4], [MQTT311-3.3.2-3],
/// [MQTT311-4.7.1-2], [MQTT311-4.7.1-3], [MQTT311-4.7.2-1], [MQTT311-4.7.3-4]
#[test]
fn a_filter_matches_what_the_standard_says() {
    let cases: [(&str, &[&str], &[&str]); 9] = [
        (
            "sport/#",
            &["sport", "sport/a", "sport/a/b"],
            &["sports", "/sport"],
        ),
        ("#", &["a", "/", "a/b/c"], &["$x", "$x/a"]),
        ("sport/+", &["sport/a", "sport/"], &["sport", "sport/a/b"]),
        ("+", &["a"], &["/a", "a/", "$x"]),
        ("+/+", &["/a", "a/", "a/b"], &["a", "$x/b"]),
        ("/+", &["/a", "/"], &["a"]),
        ("$x/#", &["$x", "$x/a"], &["x", "a/$x"]),
        ("a//b", &["a//b"], &["a/b", "a///b"]),
        ("Größe/é", &["Größe/é"], &["größe/é", "Größe/e\u{301}"]),
    ];
    for (filter, matching, others) in cases {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").connect();
        client.subscribe(filter, 0);
        for topic in matching {
            client.publish(topic, "x", 0);
            assert_eq!(client.message_alone().topic, *topic, "{filter}");
        }
        for topic in others {
            client.publish(topic, "x", 0);
            assert_eq!(client.messages(), [], "{filter} {topic}");
        }
    }
}

/// As "not authorised": 5.0 is told, 3.x is acknowledged all the same [MQTT311-3.3.5-2].
#[test]
fn topics_of_the_broker_are_not_for_clients() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut watcher = cluster.client("w").connect();
        watcher.subscribe_to(&[("$SYS/#", 0), ("$share/#", 0)][..1], 0);
        let mut client = cluster.client("a").version(version).connect();
        let code = if version == Version::V5 { 0x87 } else { 0 };
        for topic in [
            "$SYS",
            "$SYS/broker/uptime",
            "$SYS/broker/connection/a/b/state",
            "$share/g/t",
        ] {
            for qos in 0..=2 {
                let answer = client.retain(topic, "x", qos);
                assert_eq!(answer, (qos > 0).then_some(code), "{topic}");
            }
        }
        watcher.expect_nothing();
        assert_eq!(cluster.retained_len(), 0);
        assert_eq!(cluster.log_lines("Denied PUBLISH from a").len(), 1);
        client.publish("$SYS/broker/connection/bridge/state", "1", 1);
        assert_eq!(watcher.payloads(), ["1"]);
    }
}

#[test]
fn a_request_to_an_endpoint_that_does_not_exist_is_answered() {
    for version in Version::ALL {
        for qos in 0..=2 {
            let cluster = Cluster::new(1);
            let mut watcher = cluster.client("w").connect();
            watcher.subscribe("$CONTROL/#", 0);
            let mut client = cluster.client("a").version(version).connect();
            let answer = client.publish("$CONTROL/x/v1", "{}", qos);
            assert_eq!(answer, (qos > 0).then_some(0));
            let message = client.message_alone();
            assert_eq!(message.topic, "$CONTROL/x/v1/response");
            assert_eq!(message.payload, "{\"error\": \"endpoint not available\"}");
            watcher.expect_nothing();
        }
    }
}

#[test]
fn too_many_levels_are_malformed() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let good = "/".repeat(200);
        let deep = "/".repeat(201);
        let mut client = cluster.client("a").version(version).connect();
        client.subscribe(&good, 0);
        client.publish(&good, "x", 0);
        assert_eq!(client.message_alone().topic, good);
        client.send_publish(0, &Pub::new(&deep, "x", 0));
        client.expect_disconnect(0x81);
        let mut client = cluster.client("a").version(version).connect();
        client.send_subscribe(&[("fine", 0), (&deep, 0)], 0);
        client.expect_disconnect(0x81);
        cluster.assert_empty();
    }
}

#[test]
fn the_longest_topic_goes_through() {
    // [MQTT5-4.7.3-3], [MQTT311-4.7.3-3]
    let cluster = Cluster::new(2);
    let topic = "x".repeat(65_535);
    let mut client = cluster.client("a").connect();
    client.subscribe(&topic, 2);
    let mut publisher = cluster.client("p").shard(1).connect();
    publisher.publish(&topic, "1", 2);
    assert_eq!(client.message_alone().topic, topic);
}

#[test]
fn a_payload_may_be_large() {
    let cluster = Cluster::with(1, |settings| settings.max_packet_size = 0);
    let mut client = cluster.client("a").connect();
    client.subscribe("t", 2);
    let payload = "x".repeat(20 * 1024 * 1024);
    for qos in 0..=2 {
        client.publish("t", &payload, qos);
        assert_eq!(client.message_alone().payload.len(), payload.len());
    }
    assert!(!matches!(client.take().pop(), Some(Got::Disconnect(_))));
    assert_eq!(cluster.stats().outbox_bytes, 0);
}

#[test]
fn a_payload_over_the_size_limit_is_refused() {
    for version in Version::ALL {
        let cluster = Cluster::with(1, |settings| settings.message_size_limit = 10);
        let mut client = cluster.client("a").version(version).connect();
        client.subscribe("t", 0);
        let code = if version == Version::V5 { 0x97 } else { 0 };
        for qos in 0..=2 {
            let answer = client.publish("t", "12345678901", qos);
            assert_eq!(answer, (qos > 0).then_some(code));
        }
        client.expect_nothing();
        assert_eq!(cluster.stats().publish_dropped, 3);
        client.publish("t", "1234567890", 2);
        assert_eq!(client.messages().len(), 1);
    }
}

/// One answer, however often a QoS 2 request comes.
#[test]
fn a_repeated_request_is_answered_once() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect_by_hand();
    for dup in [false, true, true] {
        client.send_publish(
            1,
            &Pub {
                dup,
                ..Pub::new("$CONTROL/x", "{}", 2)
            },
        );
    }
    assert_eq!(client.messages().len(), 1);
    assert_eq!(client.take().len(), 3);
    client.acknowledge(midge_codec::AckKind::PubRel, 1, 0);
    let done = Got::Ack(midge_codec::AckKind::PubComp, 1, 0);
    assert_eq!(client.take(), [done]);
}

/// A burst of messages is looked at ahead of time where there are very many subscriptions; whatever stands in
/// it, every message is judged when its turn has come.
#[test]
fn a_burst_of_messages_comes_to_the_same_among_few_and_among_many_subscriptions() {
    let message = |topic: &str, payload: &str| {
        let body = [
            &[0, topic.len() as u8],
            topic.as_bytes(),
            payload.as_bytes(),
        ]
        .concat();
        [&[0x30, body.len() as u8], &*body].concat()
    };
    let valid: Vec<u8> = (0..20)
        .flat_map(|number| message(&format!("a/{number}"), "valid"))
        .collect();
    let with = |middle: &[u8]| [&*valid, middle, &*valid].concat();
    let bursts = [
        with(&[]),
        with(&[0xC0, 0]),
        with(&message("b", "nobody's")),
        with(&message("", "no topic")),
        with(&message("a/+", "a wildcard")),
        with(&message("$SYS/a", "the broker's")),
        // No UTF-8; a topic longer than the packet; a packet of a server; a length without end; one cut off.
        with(&[0x30, 4, 0, 2, 0xFF, 0xFE]),
        with(&[0x30, 4, 0, 9, b'a', b'b']),
        with(&[0x20, 2, 0, 0]),
        with(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        valid[..valid.len() - 3].to_vec(),
    ];
    let filters: Vec<String> = (0..12_000)
        .map(|number| format!("many/{number}/+"))
        .collect();
    let mut results = Vec::new();
    for count in [0, filters.len()] {
        let cluster = Cluster::new(1);
        let mut crowd = cluster.client("crowd").connect();
        for filters in filters[..count].chunks(1_000) {
            let filters: Vec<_> = filters.iter().map(|filter| (&**filter, 0)).collect();
            crowd.subscribe_to(&filters, 0);
        }
        let mut watcher = cluster.client("watcher").connect();
        watcher.subscribe_to(&[("a/+", 0), ("+/7", 0), ("many/7/+", 0)], 0);
        let result: Vec<_> = bursts
            .iter()
            .map(|burst| {
                let mut client = cluster.client("a").version(Version::V3_1_1).connect();
                client.feed(burst);
                (client.take(), client.is_closed(), watcher.messages())
            })
            .collect();
        results.push(result);
    }
    assert_eq!(results[0], results[1]);
    // All of the first burst, twice, and once more by the other filter.
    assert_eq!(results[0][0].2.len(), 2 * 21);
}
