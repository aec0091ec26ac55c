//! Retained messages.

use midge_codec::{AckKind, Property, Version};

use crate::client::Pub;
use crate::cluster::Cluster;

/// [MQTT5-3.3.1-5], [MQTT5-3.3.1-9], [MQTT311-3.3.1-5], [MQTT311-3.3.1-6], [MQTT311-3.3.1-8]
#[test]
fn a_new_subscription_gets_the_last_retained_message() {
    for version in Version::ALL {
        for qos in 0..=2 {
            for granted in 0..=2 {
                let cluster = Cluster::new(2);
                let mut publisher = cluster.client("p").version(version).shard(1).connect();
                publisher.retain("t/1", "old", qos);
                publisher.retain("t/1", "new", qos);
                // [MQTT5-3.3.1-8], [MQTT311-3.3.1-12]
                publisher.publish("t/1", "live", qos);
                publisher.retain("t/2", "two", qos);
                publisher.disconnect();
                let mut client = cluster.client("a").version(version).connect();
                client.subscribe("t/+", granted);
                let got = client.messages();
                let payloads: Vec<_> = got.iter().map(|m| &*m.payload).collect();
                assert_eq!(payloads, ["new", "two"]);
                let as_kept =
                    |m: &crate::client::Msg| m.retain && m.qos == qos.min(granted) && !m.dup;
                assert!(got.iter().all(as_kept));
                assert_eq!(cluster.stats().queued_messages, 0);
            }
        }
    }
}

/// [MQTT5-3.3.1-6], [MQTT5-3.3.1-7], [MQTT311-3.3.1-10], [MQTT311-3.3.1-11], [MQTT311-3.3.1-7]
#[test]
fn an_empty_payload_removes_the_retained_message() {
    for version in Version::ALL {
        for qos in 0..=2 {
            let cluster = Cluster::new(1);
            let mut watcher = cluster.client("w").version(version).connect();
            watcher.subscribe("t", 0);
            let mut publisher = cluster.client("p").version(version).connect();
            publisher.retain("t", "x", qos);
            publisher.retain("t", "", qos);
            publisher.retain("u", "", qos);
            assert_eq!(watcher.payloads(), ["x", ""]);
            cluster.settle();
            assert_eq!(cluster.retained_len(), 0);
            watcher.subscribe("#", 0);
            watcher.expect_nothing();
        }
    }
}

/// [MQTT5-3.3.1-9], [MQTT5-3.3.1-10], [MQTT5-3.3.1-11], [MQTT5-3.8.4-4]
#[test]
fn retain_handling_says_when_retained_messages_are_sent() {
    for (handling, first, again) in [(0, 1, 1), (1, 1, 0), (2, 0, 0)] {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").persistent().connect();
        client.retain("t", "x", 1);
        let bits = handling << 4 | 1;
        client.subscribe("t", bits);
        assert_eq!(client.messages().len(), first);
        client.subscribe("t", bits);
        assert_eq!(client.messages().len(), again);
        // The subscription is not new in a later connection either.
        client.disconnect();
        let mut client = cluster.client("a").persistent().connect();
        client.expect_nothing();
        client.subscribe("t", bits);
        assert_eq!(client.messages().len(), again);
    }
}

/// [MQTT311-3.8.4-3]
#[test]
fn clients_of_3_get_retained_messages_at_every_subscribe() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect();
        client.retain("t", "x", 1);
        for _ in 0..3 {
            client.subscribe("t", 1);
            assert_eq!(client.payloads(), ["x"]);
        }
    }
}

#[test]
fn retained_messages_outlive_everybody() {
    // [MQTT311-3.1.2-7]
    let cluster = Cluster::new(2);
    let mut client = cluster.client("a").connect();
    client.retain("t", "x", 0);
    client.disconnect();
    cluster.assert_empty();
    let mut client = cluster.client("a").shard(1).connect();
    client.subscribe("t", 0);
    assert_eq!(client.payloads(), ["x"]);
}

/// Properties are kept, and identifiers are those of the new subscription.
#[test]
fn a_retained_message_keeps_its_properties() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.publish_of(&Pub {
        retain: true,
        properties: &[Property::UserProperty("a", "b")],
        ..Pub::new("t", "x", 1)
    });
    client.subscribe_to(&[("t", 1)], 9);
    let message = client.message_alone();
    assert_eq!(message.properties, ["UserProperty(\"a\", \"b\")"]);
    assert_eq!(message.ids, [9]);
}

#[test]
fn retaining_is_refused_when_it_is_not_available() {
    for version in Version::ALL {
        let cluster = Cluster::with(1, |settings| settings.retain_available = false);
        let mut client = cluster.client("a").version(version).connect();
        client.send_publish(
            1,
            &Pub {
                retain: true,
                ..Pub::new("t", "x", 1)
            },
        );
        client.expect_disconnect(0x9A);
        assert_eq!(cluster.retained_len(), 0);
    }
}

/// Ten thousand retained messages: bounded steps, and no more in memory than the client takes.
#[test]
fn a_slow_client_gets_many_retained_messages_at_its_own_pace() {
    for qos in 0..=2 {
        let cluster = Cluster::new(1);
        let mut publisher = cluster.client("p").connect();
        let payload = "x".repeat(100);
        for number in 0..10_000 {
            publisher.retain(&format!("t/{number:05}"), &payload, 2);
        }
        let mut client = cluster.client("a").connect();
        client.read_some(100);
        client.send_subscribe(&[("t/#", qos)], 0);
        cluster.settle();
        assert!(!cluster.turn(0), "a blocked walk asks for no turn");
        assert!(client.outbox_len() < 400_000);
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            client.read_some(50_000);
            seen.extend(client.messages());
            assert!(client.outbox_len() < 400_000);
            if seen.len() == 10_000 {
                break;
            }
        }
        let topics: Vec<_> = seen.iter().map(|message| &*message.topic).collect();
        assert!(topics.is_sorted() && topics.len() == 10_000);
        client.read_on();
        client.expect_nothing();
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

#[test]
fn a_walk_waits_for_a_window_of_one() {
    let cluster = Cluster::new(1);
    let mut publisher = cluster.client("p").connect();
    for number in 0..1_000 {
        publisher.retain(&format!("t/{number:05}"), "x", 1);
    }
    let mut client = cluster.client("a").receive_maximum(1).connect_by_hand();
    client.subscribe("t/#", 1);
    for _ in 0..1_000 {
        let message = client.message_alone();
        assert!(!cluster.turn(0), "a blocked walk asks for no turn");
        assert!(cluster.stats().queued_messages <= 2);
        client.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
    }
    client.expect_nothing();
}

/// [MQTT5-3.10.4-2]
#[test]
fn unsubscribing_ends_a_walk() {
    let cluster = Cluster::new(1);
    let mut publisher = cluster.client("p").connect();
    for number in 0..100 {
        publisher.retain(&format!("t/{number:05}"), "x", 1);
    }
    let mut client = cluster.client("a").receive_maximum(1).connect_by_hand();
    client.subscribe("t/#", 1);
    let first = client.message_alone();
    client.unsubscribe(&["t/#"]);
    client.acknowledges = true;
    client.acknowledge(AckKind::PubAck, first.id.unwrap(), 0);
    assert!(client.messages().len() <= 1);
}

/// A client that subscribes on and on without taking anything.
#[test]
fn walks_that_nobody_takes_do_not_pile_up() {
    let cluster = Cluster::new(1);
    let mut publisher = cluster.client("p").connect();
    publisher.retain("t/1", "x", 1);
    let mut client = cluster.client("a").receive_maximum(1).connect_by_hand();
    client.subscribe("t/1", 1);
    assert_eq!(client.messages().len(), 1);
    for _ in 0..1_000 {
        client.subscribe("t/1", 1);
    }
    client.acknowledges = true;
    client.acknowledge(AckKind::PubAck, 1, 0);
    assert!(client.messages().len() <= 2);
    // Distinct filters that are given up again.
    let mut client = cluster.client("b").receive_maximum(1).connect_by_hand();
    client.subscribe("t/1", 1);
    for round in 0..20 {
        let names: Vec<_> = (0..500).map(|n| format!("{round}/{n}/#")).collect();
        let filters: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
        client.subscribe_to(&filters, 0);
        let filters: Vec<_> = names.iter().map(|name| &**name).collect();
        client.unsubscribe(&filters);
    }
    client.acknowledge(AckKind::PubAck, 1, 0);
    client.disconnect();
}

#[test]
fn wildcards_do_not_reach_retained_dollar_topics() {
    // [MQTT5-4.7.2-1], [MQTT311-4.7.2-1]
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.retain("$x/y", "1", 0);
    client.subscribe_to(&[("#", 0), ("+/y", 0)], 0);
    client.expect_nothing();
    client.subscribe("$x/+", 0);
    assert_eq!(client.payloads(), ["1"]);
}
