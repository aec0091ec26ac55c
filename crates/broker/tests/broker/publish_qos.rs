//! PUBLISH and its acknowledgements, both ways.

use midge_codec::{AckKind, Property, Version};

use crate::client::{Got, Pub};
use crate::cluster::Cluster;

/// The QoS is the lower of the two [MQTT5-3.8.4-8], [MQTT311-3.8.4-6]; DUP is 0 [MQTT5-4.3.1-1],
/// [MQTT5-4.3.2-2], [MQTT5-4.3.3-2], [MQTT311-4.3.1-1], and the publisher's DUP does not go on
/// [MQTT5-3.3.1-3], [MQTT311-3.3.1-3]; the answer fits the QoS [MQTT5-3.3.4-1], [MQTT311-3.3.4-1].
#[test]
fn a_message_goes_out_with_the_lower_qos() {
    for from in Version::ALL {
        for to in Version::ALL {
            let cluster = Cluster::new(1);
            let mut publisher = cluster.client("p").version(from).connect();
            for granted in 0..=2 {
                let mut subscriber = cluster.client("s").version(to).connect();
                assert_eq!(subscriber.subscribe("t", granted), granted);
                for qos in 0..=2 {
                    let id = if qos > 0 { publisher.next_id() } else { 0 };
                    let message = Pub {
                        dup: qos > 0,
                        ..Pub::new("t", "x", qos)
                    };
                    publisher.send_publish(id, &message);
                    let answer = publisher.answer_to(id.max(1));
                    assert_eq!(answer, (qos > 0).then_some(0));
                    let message = subscriber.message_alone();
                    assert_eq!(message.qos, qos.min(granted));
                    assert!(!message.dup && !message.retain);
                    assert_eq!(message.id.is_some(), message.qos > 0);
                }
            }
        }
    }
}

#[test]
fn upgrade_outgoing_qos_sends_with_the_granted_one() {
    let cluster = Cluster::with(1, |settings| settings.upgrade_outgoing_qos = true);
    let mut client = cluster.client("a").connect();
    client.subscribe("t", 2);
    client.publish("t", "x", 0);
    assert_eq!(client.message_alone().qos, 2);
}

/// Bytes of the acknowledgements, with a body of two bytes when the reason is 0
/// [MQTT5-4.3.2-4], [MQTT5-4.3.3-8], [MQTT5-4.3.3-11], [MQTT5-2.2.1-5], [MQTT311-2.3.1-6],
/// [MQTT311-4.3.2-2], [MQTT311-4.3.3-2].
#[test]
fn acknowledgements_have_mosquittos_form() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect_by_hand();
        client.send_publish(0x102, &Pub::new("t", "x", 1));
        client.send_publish(0x103, &Pub::new("t", "x", 2));
        client.acknowledge(AckKind::PubRel, 0x103, 0);
        // Nobody subscribes, which 5.0 can say in PUBACK.
        let mut expected = match version {
            Version::V5 => vec![0x40, 3, 1, 2, 0x10],
            _ => vec![0x40, 2, 1, 2],
        };
        expected.extend_from_slice(&[0x50, 2, 1, 3, 0x70, 2, 1, 3]);
        assert_eq!(cluster.received(client.token), expected);
        client.subscribe("t", 0);
        client.send_publish(0x104, &Pub::new("t", "x", 1));
        let bytes = cluster.received(client.token);
        assert!(
            bytes.ends_with(&[0x40, 2, 1, 4]),
            "after the message itself"
        );
    }
}

#[test]
fn a_skipped_match_is_a_match() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.subscribe("t", 0b101);
    assert_eq!(client.publish("t", "x", 1), Some(0));
    client.expect_nothing();
    assert_eq!(client.retain("u", "x", 1), Some(0x10));
}

/// QoS 2 is delivered on PUBREL, once, however often PUBLISH comes [MQTT5-4.3.3-10], [MQTT311-4.3.3-2].
#[test]
fn a_repeated_qos_2_message_is_delivered_once() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut subscriber = cluster.client("s").connect();
        subscriber.subscribe("t", 2);
        let mut client = cluster.client("a").version(version).connect_by_hand();
        for dup in [false, true, true, true] {
            client.send_publish(
                5,
                &Pub {
                    dup,
                    ..Pub::new("t", "x", 2)
                },
            );
            assert_eq!(client.take(), [Got::Ack(AckKind::PubRec, 5, 0)]);
        }
        subscriber.expect_nothing();
        client.acknowledge(AckKind::PubRel, 5, 0);
        assert_eq!(client.take(), [Got::Ack(AckKind::PubComp, 5, 0)]);
        assert_eq!(subscriber.payloads(), ["x"]);
        // The identifier is new now [MQTT5-4.3.3-12].
        client.send_publish(5, &Pub::new("t", "y", 2));
        client.acknowledge(AckKind::PubRel, 5, 0);
        assert_eq!(subscriber.payloads(), ["y"]);
    }
}

#[test]
fn another_message_with_the_identifier_of_an_unfinished_one_takes_its_place() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect_by_hand();
    client.subscribe("t", 0);
    client.send_publish(5, &Pub::new("t", "old", 2));
    client.send_publish(5, &Pub::new("t", "new", 2));
    client.acknowledge(AckKind::PubRel, 5, 0);
    assert_eq!(client.payloads(), ["new"]);
}

/// QoS 1 ends with PUBACK: the same identifier is a new message then [MQTT5-4.3.2-5], [MQTT311-4.3.2-2].
#[test]
fn a_qos_1_message_with_a_used_identifier_is_new() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.subscribe("t", 0);
    client.send_publish(5, &Pub::new("t", "1", 1));
    client.send_publish(5, &Pub::new("t", "1", 1));
    assert_eq!(client.payloads(), ["1", "1"]);
}

/// MQTT5 4.3.3: 0x92 for what is not known.
#[test]
fn acknowledgements_of_nothing_are_answered_as_the_standard_says() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect_by_hand();
        let not_found = if version == Version::V5 { 0x92 } else { 0 };
        client.acknowledge(AckKind::PubRel, 9, 0);
        assert_eq!(client.take(), [Got::Ack(AckKind::PubComp, 9, not_found)]);
        client.acknowledge(AckKind::PubRec, 9, 0);
        assert_eq!(client.take(), [Got::Ack(AckKind::PubRel, 9, not_found)]);
        client.acknowledge(AckKind::PubAck, 9, 0);
        client.acknowledge(AckKind::PubComp, 9, 0);
        if version == Version::V5 {
            client.acknowledge(AckKind::PubRec, 9, 0x80);
        }
        client.expect_nothing();
    }
}

#[test]
fn acknowledgements_that_do_not_fit_are_protocol_errors() {
    let cases: [(u8, &[(AckKind, u8)]); 5] = [
        (1, &[(AckKind::PubRec, 0)]),
        (1, &[(AckKind::PubComp, 0)]),
        (2, &[(AckKind::PubAck, 0)]),
        (2, &[(AckKind::PubComp, 0)]),
        (2, &[(AckKind::PubRec, 0), (AckKind::PubRec, 0x80)]),
    ];
    for (qos, acks) in cases {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").connect_by_hand();
        client.subscribe("t", 2);
        client.publish("t", "x", qos);
        if qos == 2 {
            client.acknowledge(AckKind::PubRel, 1 + 1, 0);
        }
        let id = client.message_alone().id.unwrap();
        client.take();
        for (kind, reason) in acks {
            client.acknowledge(*kind, id, *reason);
        }
        assert_eq!(client.take().pop(), Some(Got::Disconnect(0x82)));
        assert!(client.is_closed());
        cluster.assert_empty();
    }
}

/// [MQTT5-4.3.3-4], [MQTT5-4.3.3-5], [MQTT311-4.3.3-1]
#[test]
fn qos_2_goes_its_four_steps() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").version(version).connect_by_hand();
        client.subscribe("t", 2);
        let mut publisher = cluster.client("p").connect();
        publisher.publish("t", "x", 2);
        let id = client.message_alone().id.unwrap();
        for _ in 0..2 {
            client.acknowledge(AckKind::PubRec, id, 0);
            assert_eq!(client.take(), [Got::Ack(AckKind::PubRel, id, 0)]);
        }
        client.acknowledge(AckKind::PubComp, id, 0);
        client.expect_nothing();
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

/// A refused message is over [MQTT5-4.4.0-2], and its place in the window is free.
#[test]
fn an_error_ends_a_delivery_and_frees_the_window() {
    for (qos, kind) in [(1, AckKind::PubAck), (2, AckKind::PubRec)] {
        let cluster = Cluster::new(1);
        let builder = cluster.client("a").receive_maximum(1).persistent();
        let mut client = builder.connect_by_hand();
        client.subscribe("t", qos);
        let mut publisher = cluster.client("p").connect();
        for payload in ["1", "2", "3"] {
            publisher.publish("t", payload, qos);
        }
        for payload in ["1", "2", "3"] {
            let message = client.message_alone();
            assert_eq!(message.payload, payload);
            client.acknowledge(kind, message.id.unwrap(), 0x97);
            client.sync();
        }
        assert_eq!(client.take(), []);
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

/// Identifiers are never 0 and never in use [MQTT5-2.2.1-4], [MQTT5-4.3.2-1], [MQTT5-4.3.3-1],
/// [MQTT311-2.3.1-1], [MQTT311-2.3.1-4], [MQTT311-4.3.2-1].
#[test]
fn identifiers_run_round_and_skip_one_that_is_in_use() {
    let cluster = Cluster::new(1);
    let builder = cluster.client("a").receive_maximum(2);
    let mut client = builder.connect_by_hand();
    client.subscribe("t", 1);
    let publisher = cluster.client("p").version(Version::V3_1_1).connect();
    publisher.send_publish(1, &Pub::new("t", "stuck", 1));
    let stuck = client.message_alone().id.unwrap();
    assert_eq!(stuck, 1);
    let mut last = stuck;
    for _ in 0..66_000 {
        publisher.send_publish(1, &Pub::new("t", "x", 1));
        let id = client.message_alone().id.unwrap();
        let next = if last == u16::MAX { 2 } else { last + 1 };
        assert_eq!(id, next);
        client.acknowledge(AckKind::PubAck, id, 0);
        last = id;
    }
}

/// [MQTT5-3.3.2-4], [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17], [MQTT5-3.3.2-18],
/// [MQTT5-3.3.2-20]
#[test]
fn properties_go_on_unchanged_and_in_order() {
    let properties = [
        Property::UserProperty("z", "1"),
        Property::CorrelationData(&[0, 255]),
        Property::PayloadFormatIndicator(1),
        Property::UserProperty("a", "2"),
        Property::ResponseTopic("r/t"),
        Property::ContentType("text/plain"),
        Property::UserProperty("z", "1"),
    ];
    let expected: Vec<_> = properties.iter().map(|item| format!("{item:?}")).collect();
    for qos in 0..=2 {
        let cluster = Cluster::new(2);
        let mut near = cluster.client("n").connect();
        let mut far = cluster.client("f").shard(1).persistent().connect();
        let mut old = cluster.client("o").version(Version::V3_1_1).connect();
        for client in [&mut near, &mut far, &mut old] {
            client.subscribe("t", 2);
        }
        far.cut();
        let mut publisher = cluster.client("p").connect();
        publisher.publish_with("t", "x", qos, &properties);
        assert_eq!(near.message_alone().properties, expected);
        assert_eq!(old.message_alone().properties, [""; 0]);
        let mut far = cluster.client("f").persistent().connect();
        for message in far.messages() {
            assert_eq!(message.properties, expected);
        }
    }
}

#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.publish_with("t", "x", 0, &[Property::SubscriptionIdentifier(1)]);
    client.expect_disconnect(0x82);
}

/// MQTT5 3.3.2.3.2: 0x99 where the operator wants payloads checked.
#[test]
fn a_payload_that_is_not_the_text_it_claims_to_be_is_refused_when_checked() {
    for checks in [false, true] {
        let cluster = Cluster::with(1, |settings| settings.validate_payload_format = checks);
        let mut client = cluster.client("a").connect();
        client.subscribe("t", 0);
        let bad = Pub {
            payload: &[0xFF],
            properties: &[Property::PayloadFormatIndicator(1)],
            ..Pub::new("t", "", 0)
        };
        for qos in 0..=2 {
            let code = client.publish_of(&Pub { qos, ..bad });
            let expected = if checks { 0x99 } else { 0 };
            assert_eq!(code, (qos > 0).then_some(expected));
        }
        assert_eq!(client.messages().len(), if checks { 0 } else { 3 });
        let unmarked = Pub {
            properties: &[],
            ..bad
        };
        assert_eq!(client.publish_of(&Pub { qos: 1, ..unmarked }), Some(0));
    }
}

/// Order per publisher, topic and QoS [MQTT5-4.6.0-5], [MQTT5-4.6.0-6], [MQTT311-4.6.0-5],
/// [MQTT311-4.6.0-6].
#[test]
fn messages_keep_their_order_although_windows_fill() {
    for version in Version::ALL {
        let cluster = Cluster::new(2);
        let mut subscriber = cluster.client("s").version(version).connect();
        subscriber.subscribe("t", 2);
        let mut publisher = cluster.client("p").shard(1).version(version).connect();
        subscriber.acknowledges = false;
        for number in 0..100 {
            publisher.publish("t", &number.to_string(), (number % 2) as u8 + 1);
        }
        subscriber.acknowledges = true;
        let first = subscriber.cluster.received(subscriber.token);
        assert!(!first.is_empty());
        cluster.settle();
        let mut back = Vec::new();
        // What had come already is read now, and the rest follows.
        subscriber.replay(&first);
        back.extend(subscriber.payloads());
        assert_eq!(back, crate::shared::numbered("", 100));
    }
}
