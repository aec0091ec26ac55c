//! Sessions that outlive their connections.

use midge_codec::{AckKind, Property, Version};

use crate::client::{Got, Pub};
use crate::cluster::Cluster;
use crate::shared::numbered;

/// [MQTT5-3.1.2-4], [MQTT5-3.1.2-5], [MQTT5-3.1.2-6], [MQTT5-3.2.2-2], [MQTT5-3.2.2-3],
/// [MQTT311-3.1.2-4], [MQTT311-3.1.2-6], [MQTT311-3.2.2-1], [MQTT311-3.2.2-2], [MQTT311-3.2.2-3]
#[test]
fn session_present_says_whether_there_was_one() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let clean = cluster.client("a").version(version);
        let persistent = clean.clone().persistent();
        // 3.1 has no such flag.
        let told = version != Version::V3_1;
        let steps = [
            (&clean, false),
            (&persistent, false),
            (&persistent, told),
            (&persistent, told),
            (&clean, false),
            (&persistent, false),
        ];
        for (builder, present) in steps {
            let mut client = builder.connect();
            assert_eq!(client.present, present);
            client.disconnect();
        }
    }
}

/// [MQTT5-3.1.3-2], [MQTT311-3.1.3-2], [MQTT5-4.1.0-1], [MQTT311-4.1.0-1], [MQTT5-3.1.2-23],
/// [MQTT311-3.1.2-5], [MQTT5-4.5.0-1], [MQTT311-4.5.0-1]
#[test]
fn a_session_keeps_subscriptions_and_queues_messages_while_its_client_is_away() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let builder = cluster.client("a").version(version).persistent();
        let mut client = builder.connect();
        client.subscribe("t/#", 2);
        client.disconnect();
        let mut publisher = cluster.client("p").version(version).connect();
        for qos in 0..=2 {
            publisher.publish("t/x", &qos.to_string(), qos);
        }
        let mut client = builder.connect();
        let got: Vec<_> = client.messages();
        let got: Vec<_> = got.iter().map(|m| (&*m.payload, m.qos, m.dup)).collect();
        assert_eq!(got, [("1", 1, false), ("2", 2, false)]);
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

#[test]
fn qos_0_waits_for_a_client_who_is_away_when_told_so() {
    let cluster = Cluster::with(1, |settings| settings.queue_qos0_messages = true);
    let mut client = cluster.client("a").persistent().connect();
    client.subscribe("t", 1);
    client.cut();
    let mut publisher = cluster.client("p").connect();
    for (number, qos) in [0, 1, 0].into_iter().enumerate() {
        publisher.publish("t", &number.to_string(), qos);
    }
    let mut client = cluster.client("a").persistent().connect();
    assert_eq!(client.payloads(), ["0", "1", "2"]);
    assert_eq!(cluster.stats().queued_messages, 0);
}

/// [MQTT5-4.6.0-6], [MQTT311-4.6.0-6]
#[test]
fn qos_0_that_waited_goes_before_what_comes_now() {
    let cluster = Cluster::with(1, |settings| settings.queue_qos0_messages = true);
    let builder = cluster.client("a").persistent().receive_maximum(1);
    let mut client = builder.connect();
    client.subscribe("t", 1);
    client.cut();
    let mut publisher = cluster.client("p").connect();
    for (payload, qos) in [("1", 1), ("2", 1), ("old", 0)] {
        publisher.publish("t", payload, qos);
    }
    let mut client = builder.connect_by_hand();
    publisher.publish("t", "new", 0);
    let first = client.message_alone();
    client.acknowledges = true;
    client.acknowledge(AckKind::PubAck, first.id.unwrap(), 0);
    assert_eq!(client.payloads(), ["2", "old", "new"]);
}

/// [MQTT5-4.1.0-2]
#[test]
fn a_session_ends_when_its_expiry_has_passed() {
    let cluster = Cluster::new(1);
    for (wait, present) in [(8, true), (11, false)] {
        let mut client = cluster.client("a").expiry(10).connect();
        client.subscribe("t", 1);
        client.cut();
        assert_eq!(cluster.routing_counts(), (1, 0));
        cluster.advance(wait);
        assert_eq!(cluster.stats().sessions, u64::from(present));
        let mut client = cluster.client("a").resume().connect();
        assert_eq!(client.present, present);
        client.disconnect();
        cluster.assert_empty();
    }
    assert_eq!(cluster.stats().clients_expired, 1);
}

#[test]
fn an_expiry_that_began_is_forgotten_by_a_new_connection() {
    let cluster = Cluster::new(1);
    let client = cluster.client("a").expiry(10).connect();
    client.cut();
    cluster.advance(5);
    let client = cluster.client("a").expiry(10).connect();
    assert!(client.present);
    cluster.advance(100);
    assert!(!client.is_closed());
    client.cut();
    cluster.advance(9);
    assert_eq!(cluster.stats().sessions, 1);
    cluster.advance(2);
    cluster.assert_empty();
}

#[test]
fn a_shorter_expiry_counts_although_a_longer_one_was_set_before() {
    let cluster = Cluster::new(1);
    cluster.client("a").expiry(1000).connect().cut();
    cluster.client("a").expiry(10).connect().cut();
    cluster.advance(11);
    cluster.assert_empty();
}

#[test]
fn the_greatest_expiry_never_ends() {
    let cluster = Cluster::new(1);
    cluster.client("a").expiry(u32::MAX).connect().cut();
    cluster.advance(10_000_000_000);
    assert_eq!(cluster.stats().sessions, 1);
}

#[test]
fn disconnect_changes_the_expiry() {
    for (at_connect, at_disconnect, lives) in [(100, 10, 10), (10, 100, 100), (100, 0, 0)] {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").expiry(at_connect).connect();
        client.disconnect_with(0, &[Property::SessionExpiryInterval(at_disconnect)]);
        if lives > 0 {
            cluster.advance(lives - 1);
            assert_eq!(cluster.stats().sessions, 1);
            cluster.advance(2);
        }
        cluster.assert_empty();
    }
}

/// MQTT5 3.14.2.2.2: it is a protocol error, so the will is published too.
#[test]
fn disconnect_cannot_give_an_expiry_to_a_session_without() {
    let cluster = Cluster::new(1);
    let mut watcher = cluster.client("w").connect();
    watcher.subscribe("will", 0);
    let mut client = cluster.client("a").will("will", "x", 0).connect();
    client.disconnect_with(0, &[Property::SessionExpiryInterval(5)]);
    client.expect_disconnect(0x82);
    assert_eq!(watcher.payloads(), ["x"]);
    let mut client = cluster.client("a").connect();
    client.disconnect_with(0, &[Property::SessionExpiryInterval(0)]);
    client.expect_closed();
}

#[test]
fn the_operator_shortens_all_sessions() {
    let cluster = Cluster::with(1, |settings| {
        settings.persistent_client_expiration = Some(10);
    });
    let mut late = cluster.client("c").expiry(5).connect();
    for version in Version::ALL {
        let id = format!("{version:?}");
        cluster
            .client(&id)
            .version(version)
            .persistent()
            .connect()
            .cut();
    }
    late.disconnect_with(0, &[Property::SessionExpiryInterval(1000)]);
    cluster.advance(8);
    assert_eq!(cluster.stats().sessions, 4);
    cluster.advance(3);
    cluster.assert_empty();
}

/// [MQTT5-4.4.0-1], [MQTT311-4.4.0-1], [MQTT5-3.3.1-1], [MQTT311-3.3.1-1], [MQTT311-4.6.0-1],
/// [MQTT5-4.3.3-6]: the same identifiers, in order, with DUP, and PUBREL where PUBREC had come.
#[test]
fn what_was_not_finished_is_sent_again_in_order() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let builder = cluster.client("a").version(version).persistent();
        let mut client = builder.connect_by_hand();
        client.subscribe("t", 2);
        let mut publisher = cluster.client("p").connect();
        for (number, qos) in [1, 2, 1, 2, 2].into_iter().enumerate() {
            publisher.publish("t", &number.to_string(), qos);
        }
        let first = client.messages();
        let ids: Vec<_> = first.iter().map(|message| message.id.unwrap()).collect();
        client.acknowledge(AckKind::PubAck, ids[0], 0);
        client.acknowledge(AckKind::PubRec, ids[3], 0);
        assert_eq!(client.take(), [Got::Ack(AckKind::PubRel, ids[3], 0)]);
        client.cut();
        publisher.publish("t", "new", 1);
        let mut client = builder.connect_by_hand();
        let again = client.take();
        let again: Vec<_> = again
            .iter()
            .map(|got| match got {
                Got::Publish(m) => (m.id.unwrap(), m.payload.clone(), m.dup),
                Got::Ack(AckKind::PubRel, id, 0) => (*id, "PUBREL".to_owned(), false),
                other => panic!("{other:?}"),
            })
            .collect();
        let expect = |place: usize, dup| (ids[place], place.to_string(), dup);
        assert_eq!(again[..2], [expect(1, true), expect(2, true)]);
        assert_eq!(again[2], (ids[3], "PUBREL".to_owned(), false));
        assert_eq!(again[3], expect(4, true));
        assert_eq!((&*again[4].1, again[4].2), ("new", false));
        assert!(!ids.contains(&again[4].0) || again[4].0 == ids[0]);
    }
}

/// A smaller receive maximum holds for what is sent again too [MQTT5-3.3.4-9], [MQTT5-4.9.0-2].
#[test]
fn a_smaller_receive_maximum_paces_what_is_sent_again() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").persistent().connect_by_hand();
    client.subscribe("t", 1);
    let mut publisher = cluster.client("p").connect();
    for payload in numbered("", 15) {
        publisher.publish("t", &payload, 1);
    }
    assert_eq!(client.messages().len(), 15);
    client.cut();
    publisher.publish("t", "15", 1);
    let builder = cluster.client("a").persistent().receive_maximum(2);
    let mut client = builder.connect_by_hand();
    let mut seen = Vec::new();
    loop {
        let messages = client.messages();
        assert!(messages.len() <= 2, "{}", messages.len());
        if messages.is_empty() {
            break;
        }
        for message in messages {
            assert_eq!(message.dup, message.payload != "15");
            seen.push(message.payload);
            client.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
        }
    }
    assert_eq!(seen, numbered("", 16));
}

/// [MQTT5-4.3.3-7], [MQTT5-4.3.3-13]: what was sent does not expire, what waits does.
#[test]
fn what_was_sent_is_sent_again_although_it_has_expired() {
    let cluster = Cluster::new(1);
    let builder = cluster.client("a").persistent().receive_maximum(1);
    let mut client = builder.connect_by_hand();
    client.subscribe("t", 2);
    let mut publisher = cluster.client("p").connect();
    let expiry = [Property::MessageExpiryInterval(5)];
    publisher.publish_with("t", "sent", 2, &expiry);
    publisher.publish_with("t", "waits", 2, &expiry);
    assert_eq!(client.payloads(), ["sent"]);
    client.cut();
    cluster.advance(10);
    let mut client = builder.connect();
    assert_eq!(client.payloads(), ["sent"]);
    assert_eq!(cluster.stats().queued_messages, 0);
}

/// QoS 2 from the client goes on where it stopped [MQTT5-4.3.3-8], [MQTT5-4.3.3-10], [MQTT311-4.3.3-2].
#[test]
fn an_unfinished_qos_2_message_of_a_client_survives_its_connection() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut subscriber = cluster.client("s").connect();
        subscriber.subscribe("t", 2);
        let builder = cluster.client("a").version(version).persistent();
        let client = builder.connect_by_hand();
        client.send_publish(7, &Pub::new("t", "x", 2));
        client.cut();
        let mut client = builder.connect_by_hand();
        client.send_publish(
            7,
            &Pub {
                dup: true,
                ..Pub::new("t", "x", 2)
            },
        );
        client.acknowledge(AckKind::PubRel, 7, 0);
        let expected = [
            Got::Ack(AckKind::PubRec, 7, 0),
            Got::Ack(AckKind::PubComp, 7, 0),
        ];
        assert_eq!(client.take(), expected);
        assert_eq!(subscriber.payloads(), ["x"]);
    }
}

/// A session belongs to its client id, whatever version the client speaks next.
#[test]
fn a_session_changes_its_version_with_its_client() {
    let cluster = Cluster::new(1);
    let old = cluster.client("a").version(Version::V3_1_1).persistent();
    let mut client = old.connect();
    client.subscribe("t", 1);
    client.disconnect();
    let mut publisher = cluster.client("p").connect();
    let property = [Property::UserProperty("k", "v")];
    publisher.publish_with("t", "1", 1, &property);
    // Its expiry is now what 5.0 says: with the connection.
    let mut client = cluster.client("a").resume().connect();
    assert!(client.present);
    assert_eq!(
        client.message_alone().properties,
        ["UserProperty(\"k\", \"v\")"]
    );
    client.disconnect();
    publisher.disconnect();
    cluster.assert_empty();
}
