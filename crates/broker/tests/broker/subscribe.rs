//! SUBSCRIBE and UNSUBSCRIBE.

use midge_codec::{AckKind, Property, Version};

use crate::client::Got;
use crate::cluster::Cluster;

/// [MQTT5-3.8.4-1], [MQTT5-3.8.4-2], [MQTT5-3.8.4-5], [MQTT5-3.8.4-6], [MQTT5-3.8.4-7], [MQTT5-3.9.3-1],
/// [MQTT5-2.2.1-6], [MQTT311-3.8.4-1], [MQTT311-3.8.4-2], [MQTT311-3.8.4-4], [MQTT311-3.8.4-5],
/// [MQTT311-3.9.3-1], [MQTT311-2.3.1-7]
#[test]
fn a_suback_has_a_code_for_each_filter_in_order() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect();
        client.send_subscribe(&[("a", 2), ("b/+", 0), ("#", 1)], 0);
        let mut expected = vec![0x90, 5, 0, 1, 2, 0, 1];
        if version == Version::V5 {
            expected = vec![0x90, 6, 0, 1, 0, 2, 0, 1];
        }
        assert_eq!(cluster.received(client.token), expected);
        assert_eq!(cluster.routing_counts(), (3, 0));
        client.disconnect();
        cluster.assert_empty();
    }
}

/// [MQTT5-3.10.4-4], [MQTT5-3.10.4-5], [MQTT5-3.10.4-6], [MQTT5-3.11.3-1], [MQTT5-3.10.4-1],
/// [MQTT311-3.10.4-1], [MQTT311-3.10.4-4], [MQTT311-3.10.4-5], [MQTT311-3.10.4-6]
#[test]
fn an_unsuback_has_a_code_for_each_filter_in_order() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect();
        client.subscribe_to(&[("a", 2), ("b/+", 0)], 0);
        let codes = client.unsubscribe(&["b/+", "b/#", "a", "A", "$never/x"]);
        let expected: &[u8] = match version {
            Version::V5 => &[0, 0x11, 0, 0x11, 0x11],
            _ => &[],
        };
        assert_eq!(codes, expected);
        assert_eq!(cluster.routing_counts(), (0, 0));
    }
}

/// [MQTT5-3.10.4-2], [MQTT311-3.10.4-2]; what is in flight is finished [MQTT5-3.10.4-3],
/// [MQTT311-3.10.4-3].
#[test]
fn after_unsubscribing_only_what_was_sent_is_finished() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").persistent().connect_by_hand();
    client.subscribe("t", 2);
    let mut publisher = cluster.client("p").connect();
    publisher.publish("t", "1", 2);
    let first = client.message_alone();
    client.unsubscribe(&["t"]);
    publisher.publish("t", "2", 2);
    client.cut();
    let mut client = cluster.client("a").persistent().connect();
    let again = client.message_alone();
    assert_eq!((again.id, &*again.payload), (first.id, "1"));
    assert_eq!(cluster.stats().queued_messages, 0);
}

/// [MQTT5-3.8.4-3], [MQTT311-3.8.4-3]
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect();
        client.subscribe("t", 0);
        client.subscribe("t", 2);
        assert_eq!(cluster.routing_counts(), (1, 0));
        client.publish("t", "x", 2);
        assert_eq!(client.message_alone().qos, 2);
    }
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.subscribe_to(&[("t", 1)], 5);
    client.subscribe_to(&[("t", 1)], 6);
    client.publish("t", "x", 1);
    assert_eq!(client.message_alone().ids, [6]);
    client.subscribe_to(&[("t", 1)], 0);
    client.publish("t", "x", 1);
    assert_eq!(client.message_alone().ids, [0; 0]);
}

/// [MQTT5-3.8.3-3]
#[test]
fn no_local_hides_a_clients_own_messages() {
    for qos in 0..=2 {
        let cluster = Cluster::new(1);
        let mut a = cluster.client("a").connect();
        let mut b = cluster.client("b").connect();
        a.subscribe("t", 0b110);
        b.subscribe("t", 0b010);
        a.publish("t", "mine", qos);
        b.publish("t", "theirs", qos);
        assert_eq!(a.payloads(), ["theirs"]);
        assert_eq!(b.payloads(), ["mine", "theirs"]);
    }
}

/// [MQTT5-3.3.1-12], [MQTT5-3.3.1-13], [MQTT311-3.3.1-9]
#[test]
fn retain_goes_on_as_published_only_for_who_wants_it() {
    for qos in 0..=2 {
        let cluster = Cluster::new(1);
        let mut plain = cluster.client("a").connect();
        let mut as_published = cluster.client("b").connect();
        let mut old = cluster.client("c").version(Version::V3_1_1).connect();
        plain.subscribe("t", 0b0010);
        as_published.subscribe("t", 0b1010);
        old.subscribe("t", 2);
        let mut publisher = cluster.client("p").connect();
        for retain in [false, true] {
            publisher.publish_of(&crate::client::Pub {
                retain,
                ..crate::client::Pub::new("t", "x", qos)
            });
            assert!(!plain.message_alone().retain);
            assert!(!old.message_alone().retain);
            assert_eq!(as_published.message_alone().retain, retain);
        }
    }
}

#[test]
fn identifiers_come_with_what_matched() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.subscribe_to(&[("a", 0), ("b", 1)], 268_435_455);
    client.subscribe("c", 2);
    for (topic, ids) in [("a", &[268_435_455][..]), ("b", &[268_435_455]), ("c", &[])] {
        client.publish(topic, "x", 2);
        assert_eq!(client.message_alone().ids, ids);
    }
}

#[test]
fn subscriptions_are_limited_when_told_so() {
    let cluster = Cluster::with(1, |settings| settings.max_subscriptions_per_client = 2);
    let mut client = cluster.client("a").connect();
    let codes = client.subscribe_to(&[("a", 0), ("b", 0), ("c", 0), ("a", 1)], 0);
    assert_eq!(codes, [0, 0, 0x97, 1]);
    assert_eq!(cluster.routing_counts(), (2, 0));
    // 3.x has one code for every failure [MQTT311-3.9.3-2].
    let mut client = cluster.client("b").version(Version::V3_1_1).connect();
    let codes = client.subscribe_to(&[("a", 0), ("b", 0), ("c", 0)], 0);
    assert_eq!(codes, [0, 0, 0x80]);
    client.unsubscribe(&["a"]);
    assert_eq!(client.subscribe("c", 2), 2);
}

/// [MQTT5-3.2.2-10]
#[test]
fn a_higher_qos_than_the_listeners_is_granted_at_its_maximum() {
    let cluster = Cluster::with_listener(1, |listener| {
        listener.max_qos = midge_codec::QoS::AtLeastOnce;
    });
    let mut client = cluster.client("a").connect();
    assert_eq!(
        client.subscribe_to(&[("a", 0), ("b", 1), ("c", 2)], 0),
        [0, 1, 1]
    );
}

/// A client hears itself although SUBSCRIBE and PUBLISH come in one segment, from retained messages first.
#[test]
fn a_client_that_subscribes_and_publishes_in_one_breath_hears_itself() {
    for version in Version::ALL {
        let cluster = Cluster::new(2);
        let mut other = cluster.client("o").connect();
        other.retain("t", "kept", 1);
        let mut client = cluster.client("a").version(version).connect();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(match version {
            Version::V5 => &[0x82, 7, 0, 1, 0, 0, 1, b't', 1][..],
            _ => &[0x82, 6, 0, 1, 0, 1, b't', 1],
        });
        bytes.extend_from_slice(match version {
            Version::V5 => &[0x30, 7, 0, 1, b't', 0, b'n', b'e', b'w'][..],
            _ => &[0x30, 6, 0, 1, b't', b'n', b'e', b'w'],
        });
        client.feed(&bytes);
        let got = client.take();
        assert!(matches!(got[0], Got::SubAck(1, _)), "{got:?}");
        let payloads: Vec<_> = got[1..]
            .iter()
            .map(|got| match got {
                Got::Publish(m) => (&*m.payload, m.retain),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(payloads, [("kept", true), ("new", false)]);
    }
}

/// An acknowledgement larger than the client takes is not sent [MQTT5-3.1.2-24], and the connection goes
/// on.
#[test]
fn a_suback_that_is_too_large_does_not_stop_the_connection() {
    let cluster = Cluster::new(1);
    let maximum = Property::MaximumPacketSize(20);
    let mut client = cluster.client("a").property(maximum).connect();
    let names: Vec<_> = (0..20).map(|number| format!("t/{number}")).collect();
    let filters: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
    client.send_subscribe(&filters, 0);
    client.expect_nothing();
    client.publish("t/3", "x", 1);
    assert_eq!(client.payloads(), ["x"]);
    assert_eq!(cluster.stats().outboxes, 0);
}

#[test]
fn subscribing_and_unsubscribing_is_logged_when_told_so() {
    let cluster = Cluster::with(1, |settings| settings.log_subscriptions = true);
    let mut client = cluster.client("a").connect();
    client.subscribe("t/+", 1);
    client.unsubscribe(&["t/+"]);
    assert_eq!(cluster.log_lines("t/+"), ["a 1 t/+", "a t/+"]);
}

#[test]
fn many_subscriptions_of_one_client_go_with_it() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    for number in 0..200 {
        client.subscribe(&format!("t/{number}/+"), 1);
    }
    for number in 0..100 {
        assert_eq!(client.unsubscribe(&[&format!("t/{number}/+")]), [0]);
    }
    client.publish("t/150/x", "x", 1);
    assert_eq!(client.payloads(), ["x"]);
    assert_eq!(cluster.routing_counts(), (100, 0));
    client.acknowledge(AckKind::PubAck, 1, 0);
    client.disconnect();
    cluster.assert_empty();
}

/// A bridge of the Mosquitto family says so in the top bit of the level: it wants none of its own messages
/// back, and RETAIN as published.
#[test]
fn a_bridge_gets_retain_as_published_and_nothing_of_its_own() {
    for (version, level_at) in [(Version::V3_1, 10), (Version::V3_1_1, 8)] {
        let cluster = Cluster::new(1);
        let builder = cluster.client("bridge").version(version);
        let mut bytes = builder.connect_bytes();
        bytes[level_at] |= 0x80;
        let mut bridge = builder.open();
        bridge.feed(&bytes);
        bridge.expect_connack();
        bridge.subscribe("t", 1);
        bridge.retain("t", "mine", 1);
        let mut other = cluster.client("o").connect();
        other.retain("t", "theirs", 1);
        let message = bridge.message_alone();
        assert_eq!((&*message.payload, message.retain), ("theirs", true));
    }
}
