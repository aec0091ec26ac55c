//! PUBLISH itself: chapter 3.3 without QoS, retain, alias and expiry.

use crate::connect::ILL_FORMED;
use crate::support::*;

/// MQTT5-3.3.2-1, MQTT5-1.5.4-1, MQTT5-1.5.4-2, MQTT5-4.7.3-2, MQTT5-4.13.1-1, MQTT311-3.3.2-1,
/// MQTT311-1.5.3-1, MQTT311-1.5.3-2, MQTT311-4.7.3-2, MQTT311-4.8.0-1.
#[test]
fn mqtt5_3_3_2_1_topic_name_must_be_utf8_without_null() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for topic in ILL_FORMED {
            let publish = Publish::new(version, topic, "p").encode();
            thrown_out(&broker, version, &publish, 0x81);
        }
    }
}

/// MQTT5-1.5.4-3, MQTT311-1.5.3-3: EF BB BF is U+FEFF wherever it stands, and is not skipped.
#[test]
fn mqtt5_1_5_4_3_byte_order_mark_is_a_character() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let plain = unique_topic("bom");
        let marked = format!("{plain}/\u{FEFF}x");
        let bare = format!("{plain}/x");
        let mut watcher = subscriber(&broker, version, &format!("{plain}/#"), 0);
        let mut exact = subscriber(&broker, version, &bare, 1);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&marked, "marked", 1);
        assert_eq!(watcher.receive_payload("marked").topic, marked);
        nothing_before_marker(&mut publisher, &mut exact, &bare);
    }
}

/// MQTT5-4.7.3-1, MQTT311-4.7.3-1: an empty topic name, which 5.0 calls a protocol error where no
/// alias stands for it (3.3.2.1).
#[test]
fn mqtt5_4_7_3_1_topic_name_has_at_least_one_character() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let publish = Publish::new(version, "", "p").encode();
        thrown_out(&broker, version, &publish, 0x82);
    }
}

/// MQTT5-3.3.2-2, MQTT5-4.7.0-1, MQTT311-3.3.2-2, MQTT311-4.7.1-1.
#[test]
fn mqtt5_3_3_2_2_topic_name_has_no_wildcards() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for topic in ["#", "+", "a/#", "a/+/b", "a+b", "a#"] {
            let publish = Publish::new(version, topic, "p").encode();
            thrown_out(&broker, version, &publish, 0x81);
        }
    }
}

/// MQTT5-3.3.2-3, MQTT311-3.3.2-3: what arrives is the publisher's topic, and it matches.
#[test]
fn mqtt5_3_3_2_3_delivered_topic_is_the_published_one() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let base = unique_topic("name");
        let mut watcher = subscriber(&broker, version, &format!("{base}/+/c/#"), 0);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(format!("{base}/a/b"), "other", 0);
        publisher.publish(format!("{base}/a/c"), "one", 0);
        publisher.publish(format!("{base}/b/c/d/e"), "two", 0);
        assert_eq!(watcher.receive_payload("one").topic, format!("{base}/a/c"));
        assert_eq!(
            watcher.receive_payload("two").topic,
            format!("{base}/b/c/d/e")
        );
    }
}

/// MQTT5-4.7.3-3, MQTT311-4.7.3-3: 65,535 bytes are a topic name.
#[test]
fn mqtt5_4_7_3_3_longest_topic_name_is_carried() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let base = unique_topic("");
        let topic = format!("{base}{}", "x".repeat(65_535 - base.len()));
        let mut watcher = subscriber(&broker, version, &format!("{base}+"), 0);
        RawClient::join(&broker, version).publish(&topic, "long", 1);
        assert!(watcher.receive_payload("long").topic == topic);
    }
}

/// MQTT5-3.3.1-2, MQTT311-3.3.1-2: DUP with QoS 0.
#[test]
fn mqtt5_3_3_1_2_dup_with_qos_0_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let publish = Publish::new(version, "t", "p").dup().encode();
        thrown_out(&broker, version, &publish, 0x81);
    }
}

/// MQTT5-3.3.1-4, MQTT311-3.3.1-4: both QoS bits.
#[test]
fn mqtt5_3_3_1_4_qos_3_is_malformed() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let publish = Publish::new(version, "t", "p").qos(3, 1).encode();
        thrown_out(&broker, version, &publish, 0x81);
    }
}

/// MQTT5-2.2.1-2, MQTT5-2.2.2-1, MQTT5-4.3.1-1, MQTT5-3.3.1-2, MQTT311-2.3.1-5, MQTT311-4.3.1-1,
/// MQTT311-3.3.1-2: QoS 0 arrives without packet id and DUP; no properties are one zero byte.
#[test]
fn mqtt5_2_2_1_2_qos_0_is_delivered_without_packet_id() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 0..=2 {
            let topic = unique_topic("q0");
            let mut watcher = subscriber(&broker, version, &topic, 0);
            RawClient::join(&broker, version).publish(&topic, "payload", qos);
            watcher.expect_bytes(&Publish::new(version, &topic, "payload").encode());
        }
    }
}

/// MQTT5-3.3.1-3, MQTT5-4.3.2-2, MQTT5-4.3.3-2, MQTT311-3.3.1-3: a DUP from the publisher says
/// nothing about the delivery.
#[test]
fn mqtt5_3_3_1_3_dup_is_not_passed_on() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 1..=2 {
            let topic = unique_topic("dup");
            let mut watcher = subscriber(&broker, version, &topic, 2);
            let mut publisher = RawClient::join(&broker, version);
            publisher.publish_packet(Publish::new(version, &topic, "again").dup(), qos);
            assert!(!watcher.receive_payload("again").dup);
        }
    }
}

/// MQTT5-3.3.2-4, MQTT5-3.3.2-15, MQTT5-3.3.2-16, MQTT5-3.3.2-17, MQTT5-3.3.2-18, MQTT5-3.3.2-20.
#[test]
fn mqtt5_3_3_2_17_application_properties_are_passed_on_unchanged() {
    let broker = Broker::shared();
    for qos in 0..=2 {
        for format in 0..=1 {
            let sent = [
                prop::byte(prop::PAYLOAD_FORMAT, format),
                prop::text(prop::CONTENT_TYPE, "text/plain; charset=utf-8"),
                prop::text(prop::RESPONSE_TOPIC, "answers/here"),
                prop::text(prop::CORRELATION_DATA, [0, 0xFF, 0x80, 7]),
                prop::user("b", "2"),
                prop::user("a", "1"),
                prop::user("b", "2"),
                prop::user("", ""),
                prop::user("a", "\u{1F980}"),
            ];
            let topic = unique_topic("props");
            let mut watcher = subscriber(&broker, Version::V5, &topic, 2);
            let publish = sent.iter().fold(
                Publish::new(Version::V5, &topic, "p"),
                |publish, property| publish.with(property.clone()),
            );
            RawClient::join(&broker, Version::V5).publish_packet(publish, qos);
            let message = watcher.receive_payload("p");
            for id in [
                prop::PAYLOAD_FORMAT,
                prop::CONTENT_TYPE,
                prop::RESPONSE_TOPIC,
                prop::CORRELATION_DATA,
            ] {
                let wanted = sent.iter().find(|property| property.id == id);
                let came = message
                    .properties
                    .0
                    .iter()
                    .find(|property| property.id == id);
                assert_eq!(came, wanted);
            }
            let pairs = [
                ("b", "2"),
                ("a", "1"),
                ("b", "2"),
                ("", ""),
                ("a", "\u{1F980}"),
            ];
            let wanted: Vec<(String, String)> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(message.properties.user(), wanted);
            assert_eq!(message.properties.0.len(), sent.len());
        }
    }
}

/// Properties are for 5.0: a 3.x subscriber gets the payload alone.
#[test]
fn properties_do_not_reach_older_clients() {
    let broker = Broker::shared();
    for version in [Version::V3_1, Version::V3_1_1] {
        let topic = unique_topic("down");
        let mut watcher = subscriber(&broker, version, &topic, 0);
        let publish = Publish::new(Version::V5, &topic, "p")
            .with(prop::user("a", "b"))
            .with(prop::message_expiry(100));
        RawClient::join(&broker, Version::V5).publish_packet(publish, 1);
        watcher.expect_bytes(&Publish::new(version, &topic, "p").encode());
    }
}

/// MQTT5-3.3.2-13, MQTT5-3.3.2-19, MQTT5-1.5.7-1: strings in properties are UTF-8, both halves of a
/// pair included.
#[test]
fn mqtt5_3_3_2_13_property_strings_must_be_utf8() {
    let broker = Broker::shared();
    for bytes in ILL_FORMED {
        for property in [
            prop::text(prop::RESPONSE_TOPIC, bytes),
            prop::text(prop::CONTENT_TYPE, bytes),
            prop::user(bytes, "value"),
            prop::user("name", bytes),
        ] {
            let mut client = RawClient::join(&broker, Version::V5);
            client.send(&Publish::new(Version::V5, "t", "p").with(property).encode());
            client.expect_end();
        }
    }
}

/// MQTT5-3.3.2-14.
#[test]
fn mqtt5_3_3_2_14_response_topic_has_no_wildcards() {
    let broker = Broker::shared();
    for topic in ["#", "a/+", "+/a", "a/#"] {
        let property = prop::text(prop::RESPONSE_TOPIC, topic);
        let publish = Publish::new(Version::V5, "t", "p").with(property).encode();
        thrown_out(&broker, Version::V5, &publish, 0x82);
    }
}

/// MQTT5-3.3.4-6: only a server tells subscription identifiers.
#[test]
fn mqtt5_3_3_4_6_subscription_identifier_from_a_client_is_a_protocol_error() {
    let broker = Broker::shared();
    let publish = Publish::new(Version::V5, "t", "p").with(prop::subscription_id(1));
    thrown_out(&broker, Version::V5, &publish.encode(), 0x82);
}

/// MQTT5 3.3.2.3: each of these may come once only.
#[test]
fn a_publish_property_given_twice_is_a_protocol_error() {
    let broker = Broker::shared();
    for property in [
        prop::byte(prop::PAYLOAD_FORMAT, 1),
        prop::message_expiry(5),
        prop::topic_alias(1),
        prop::text(prop::RESPONSE_TOPIC, "r"),
        prop::text(prop::CORRELATION_DATA, "c"),
        prop::text(prop::CONTENT_TYPE, "c"),
    ] {
        let publish = Publish::new(Version::V5, "t", "p")
            .with(property.clone())
            .with(property);
        thrown_out(&broker, Version::V5, &publish.encode(), 0x82);
    }
}

/// MQTT5-2.2.2-1: a PUBLISH of 5.0 that ends before its property length.
#[test]
fn mqtt5_2_2_2_1_property_length_must_be_there() {
    let broker = Broker::shared();
    let publish = wire::packet(first::PUBLISH, &wire::string("topic"));
    thrown_out(&broker, Version::V5, &publish, 0x81);
}

/// MQTT5-1.5.5-1: a property length in more bytes than it needs.
#[test]
fn mqtt5_1_5_5_1_longer_variable_integers_are_malformed() {
    let broker = Broker::shared();
    for length in [
        &[0x80, 0x00][..],
        &[0x80, 0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x00],
    ] {
        let mut body = wire::string("topic");
        body.extend(length);
        body.extend(b"payload");
        let publish = wire::packet(first::PUBLISH, &body);
        thrown_out(&broker, Version::V5, &publish, 0x81);
    }
}

/// MQTT5-1.5.5-1, MQTT5-4.2-1, MQTT311-7.1.1-1: lengths around each step of the variable byte
/// integer arrive in their shortest form, and all bytes in their order.
#[test]
fn mqtt5_4_2_1_payloads_of_every_length_class_arrive_whole() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("length");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut publisher = RawClient::join(&broker, version);
        // Two bytes of topic length, two of packet id, and one of property length in 5.0.
        let overhead = topic.len() + 4 + usize::from(version.is_v5());
        for remaining in [127, 128, 16_383, 16_384, 1_900_000] {
            let payload: Vec<u8> = (0..remaining - overhead)
                .map(|index| u8::try_from(index % 251).unwrap())
                .collect();
            publisher.publish(&topic, &payload, 1);
            let message = watcher.receive();
            assert!(message.payload == payload, "{remaining} bytes were changed");
        }
    }
}

/// MQTT5-3.1.2-24, MQTT5-3.1.2-25: what is too large for a subscriber is dropped for it alone, and
/// counts as delivered: nothing waits behind it.
#[test]
fn mqtt5_3_1_2_25_too_large_message_is_dropped_as_if_sent() {
    let broker = Broker::shared();
    for qos in 0..=2 {
        let topic = unique_topic("large");
        let connect = Connect::new(Version::V5, unique_id())
            .with(prop::maximum_packet_size(100))
            .with(prop::receive_maximum(2));
        let (mut small, _) = RawClient::connect(&broker, &connect);
        small.subscribe(&topic, 2);
        let mut large = subscriber(&broker, Version::V5, &topic, 2);
        let mut publisher = RawClient::join(&broker, Version::V5);
        for round in 0..4 {
            publisher.publish(&topic, "x".repeat(200), qos);
            publisher.publish(&topic, format!("fits {round}"), qos);
            large.receive_payload("x".repeat(200));
            large.receive_payload(format!("fits {round}"));
            small.receive_payload(format!("fits {round}"));
        }
    }
}

/// MQTT5-3.1.2-24: the largest packet that the client takes, and one byte more.
#[test]
fn mqtt5_3_1_2_24_maximum_packet_size_counts_the_whole_packet() {
    let broker = Broker::shared();
    let topic = unique_topic("exact");
    let size = Publish::new(Version::V5, &topic, "12345").encode().len();
    let connect = Connect::new(Version::V5, unique_id())
        .with(prop::maximum_packet_size(u32::try_from(size).unwrap()));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 0);
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish(&topic, "123456", 0);
    publisher.publish(&topic, "12345", 0);
    client.receive_payload("12345");
}

/// MQTT5-3.2.2-15: more than the broker's maximum packet size.
#[test]
fn mqtt5_3_2_2_15_packet_above_the_server_maximum_is_refused() {
    let Some(broker) = Broker::with_config("max_packet_size 1000") else {
        return;
    };
    let (_, connack) = RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    assert_eq!(
        connack.properties.number(prop::MAXIMUM_PACKET_SIZE),
        Some(1000)
    );
    for version in Version::ALL {
        let overhead = Publish::new(version, "t", "x".repeat(500)).encode().len() - 500;
        let mut client = RawClient::join(&broker, version);
        client.send(&Publish::new(version, "t", "x".repeat(1000 - overhead)).encode());
        client.expect_silence_until_pong();
        client.send(&Publish::new(version, "t", "x".repeat(1001 - overhead)).encode());
        client.expect_thrown_out(0x95);
    }
}

/// MQTT311-3.3.5-2: a publication that is not allowed is acknowledged as if it were, and reaches
/// nobody.
#[test]
fn mqtt311_3_3_5_2_unauthorised_publication_is_acknowledged_and_dropped() {
    let broker = Broker::shared();
    for version in [Version::V3_1, Version::V3_1_1] {
        let topic = "$SYS/broker/conformance";
        let mut watcher = subscriber(&broker, version, topic, 1);
        let mut publisher = RawClient::join(&broker, version);
        for qos in 0..=2 {
            publisher.publish(topic, "forged", qos);
        }
        let allowed = unique_topic("allowed");
        watcher.subscribe(&allowed, 1);
        nothing_before_marker(&mut publisher, &mut watcher, &allowed);
    }
}

/// MQTT5 3.4.2.1, 3.5.2.1: 5.0 is told that it may not.
#[test]
fn unauthorised_publication_is_refused_with_0x87_in_5_0() {
    let broker = Broker::shared();
    let mut client = RawClient::join(&broker, Version::V5);
    let publish = Publish::new(Version::V5, "$SYS/broker/conformance", "forged");
    client.send(&publish.clone().qos(1, 1).encode());
    assert_eq!(client.expect_ack(first::PUBACK, 1).reason, 0x87);
    client.send(&publish.clone().qos(2, 2).encode());
    assert_eq!(client.expect_ack(first::PUBREC, 2).reason, 0x87);
    client.send(&publish.encode());
    client.expect_silence_until_pong();
}
