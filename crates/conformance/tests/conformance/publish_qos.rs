//! QoS 1 and QoS 2: chapters 3.4 to 3.7, 4.3, 4.5 and 4.6.

use std::collections::HashSet;

use crate::support::*;

/// MQTT5-3.3.4-1, MQTT5-2.2.1-5, MQTT5-4.3.2-4, MQTT5-4.3.3-8, MQTT5-4.3.3-11, MQTT311-3.3.4-1,
/// MQTT311-2.3.1-6: the answer is that of the QoS, with the packet id of the question.
#[test]
fn mqtt5_3_3_4_1_publish_is_answered_by_its_qos() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("answer");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let mut client = RawClient::join(&broker, version);
        client.send(&Publish::new(version, &topic, "0").encode());
        client.expect_silence_until_pong();
        watcher.receive_payload("0");
        for id in [1, 255, 256, 65_535] {
            client.send(&Publish::new(version, &topic, "1").qos(1, id).encode());
            client.expect_bytes(&wire::puback(id));
            watcher.receive_payload("1");
            client.send(&Publish::new(version, &topic, "2").qos(2, id).encode());
            client.expect_bytes(&wire::pubrec(id));
            client.send(&wire::pubrel(id));
            client.expect_bytes(&wire::pubcomp(id));
            watcher.receive_payload("2");
        }
    }
}

/// MQTT5-2.2.1-3, MQTT311-2.3.1-1: QoS above 0 has a packet id that is not zero.
#[test]
fn mqtt5_2_2_1_3_packet_id_zero_is_refused() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 1..=2 {
            let publish = Publish::new(version, "t", "p").qos(qos, 0).encode();
            thrown_out(&broker, version, &publish, 0x82);
            let cut_short = wire::packet(first::PUBLISH | (qos << 1), &wire::string("t"));
            thrown_out(&broker, version, &cut_short, 0x81);
        }
    }
}

/// MQTT5-4.3.2-5, MQTT311-4.3.2-2: after PUBACK the packet id stands for a new message, even with
/// DUP.
#[test]
fn mqtt5_4_3_2_5_packet_id_is_new_after_puback() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("same");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut client = RawClient::join(&broker, version);
        let publish = Publish::new(version, &topic, "again").qos(1, 9);
        for packet in [publish.clone(), publish.clone(), publish.dup()] {
            client.send(&packet.encode());
            client.expect_bytes(&wire::puback(9));
        }
        for _ in 0..3 {
            watcher.receive_payload("again");
        }
    }
}

/// MQTT5-4.3.3-10, MQTT311-4.3.3-2: as long as PUBREL has not come, each repetition is answered by
/// PUBREC, and the message is passed on once.
#[test]
fn mqtt5_4_3_3_10_repeated_qos_2_is_delivered_once() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("once");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let mut client = RawClient::join(&broker, version);
        let publish = Publish::new(version, &topic, "once").qos(2, 5);
        client.send(&publish.encode());
        client.expect_bytes(&wire::pubrec(5));
        for _ in 0..4 {
            client.send(&publish.clone().dup().encode());
            client.expect_bytes(&wire::pubrec(5));
        }
        client.send(&wire::pubrel(5));
        client.expect_bytes(&wire::pubcomp(5));
        watcher.receive_payload("once");
        nothing_before_marker(&mut client, &mut watcher, &topic);
    }
}

/// MQTT5-4.3.3-12: after PUBCOMP the packet id stands for a new message.
#[test]
fn mqtt5_4_3_3_12_packet_id_is_new_after_pubcomp() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("reuse");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let mut client = RawClient::join(&broker, version);
        for _ in 0..3 {
            client.send(&Publish::new(version, &topic, "same").qos(2, 5).encode());
            client.expect_bytes(&wire::pubrec(5));
            client.send(&wire::pubrel(5));
            client.expect_bytes(&wire::pubcomp(5));
            watcher.receive_payload("same");
        }
    }
}

/// MQTT5-4.3.3-9: after a PUBREC that refuses, the packet id stands for a new message.
#[test]
fn mqtt5_4_3_3_9_packet_id_is_new_after_a_refusing_pubrec() {
    let broker = Broker::shared();
    let topic = unique_topic("second");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 2);
    let mut client = RawClient::join(&broker, Version::V5);
    client.send(
        &Publish::new(Version::V5, "$SYS/broker/x", "no")
            .qos(2, 5)
            .encode(),
    );
    assert!(client.expect_ack(first::PUBREC, 5).reason >= 0x80);
    client.send(&Publish::new(Version::V5, &topic, "yes").qos(2, 5).encode());
    client.expect_bytes(&wire::pubrec(5));
    client.send(&wire::pubrel(5));
    client.expect_bytes(&wire::pubcomp(5));
    watcher.receive_payload("yes");
}

/// MQTT311-4.3.3-1, MQTT5-4.3.3-3, MQTT5-4.3.3-4, MQTT5-4.3.3-5: as sender of QoS 2 the broker
/// answers PUBREC with PUBREL, also a second one, and is done with PUBCOMP.
#[test]
fn mqtt5_4_3_3_4_broker_releases_what_was_received() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("release");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "two", 2);
        let message = watcher.expect_payload("two");
        assert_eq!((message.qos, message.dup), (2, false));
        let id = message.packet_id.unwrap();
        watcher.expect_silence_until_pong();
        watcher.send(&wire::pubrec(id));
        watcher.expect_bytes(&wire::pubrel(id));
        watcher.send(&wire::pubcomp(id));
        watcher.expect_silence_until_pong();
    }
}

/// MQTT5-2.2.1-4, MQTT5-4.3.2-1, MQTT5-4.3.3-1, MQTT311-2.3.1-4, MQTT311-4.3.2-1: messages in
/// flight have different packet ids, none of them zero.
#[test]
fn mqtt5_2_2_1_4_messages_in_flight_have_packet_ids_of_their_own() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 1..=2 {
            let topic = unique_topic("ids");
            let mut watcher = subscriber(&broker, version, &topic, 2);
            let mut publisher = RawClient::join(&broker, version);
            let mut seen = HashSet::new();
            for number in 0..15 {
                publisher.publish(&topic, number.to_string(), qos);
                let message = watcher.expect_payload(number.to_string());
                assert_eq!((message.qos, message.dup), (qos, false));
                assert!(seen.insert(message.packet_id.unwrap()));
            }
        }
    }
}

/// MQTT5-2.2.1-4, MQTT311-2.3.1-4: the packet id of a message that is never acknowledged is left
/// alone, also after all others have been used.
#[test]
fn mqtt5_2_2_1_4_packet_id_in_use_is_skipped_after_wrapping() {
    const BATCH: u32 = 500;
    let Some(broker) = Broker::with_config("max_inflight_messages 600") else {
        return;
    };
    for version in Version::OASIS {
        let topic = unique_topic("wrap");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "held", 1);
        let held = watcher.expect_payload("held").packet_id;
        let mut batch = Vec::new();
        for id in 1..=BATCH {
            let id = u16::try_from(id).unwrap();
            batch.extend(Publish::new(version, &topic, "x").qos(1, id).encode());
        }
        for _ in 0..=(65_535 / BATCH) {
            publisher.send(&batch);
            let mut acks = Vec::new();
            for _ in 0..BATCH {
                let message = watcher.expect_payload("x");
                assert_ne!(message.packet_id, held, "the packet id is in use");
                acks.extend(wire::puback(message.packet_id.unwrap()));
            }
            watcher.send(&acks);
            for id in 1..=BATCH {
                publisher.expect_ack(first::PUBACK, u16::try_from(id).unwrap());
            }
        }
    }
}

/// MQTT5-3.6.1-1, MQTT311-3.6.1-1, MQTT5-2.1.3-1, MQTT311-2.2.2-1, MQTT311-2.2.2-2.
#[test]
fn mqtt5_3_6_1_1_pubrel_with_other_flags_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for flags in [0, 1, 3, 4, 6, 10, 15] {
            thrown_out(&broker, version, &wire::ack(0x60 | flags, 1), 0x81);
        }
    }
}

/// MQTT5-2.1.3-1, MQTT311-2.2.2-1, MQTT311-2.2.2-2: the other acknowledgements have flags zero.
#[test]
fn mqtt5_2_1_3_1_acknowledgement_with_flags_is_malformed() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for first_byte in [first::PUBACK, first::PUBREC, first::PUBCOMP] {
            for flags in [1, 2, 8, 15] {
                thrown_out(&broker, version, &wire::ack(first_byte | flags, 1), 0x81);
            }
        }
    }
}

/// MQTT5-3.4.2-1, MQTT5-3.5.2-1, MQTT5-3.6.2-1, MQTT5-3.7.2-1: reason codes that their tables do
/// not have.
#[test]
fn mqtt5_3_4_2_1_undefined_reason_codes_are_a_protocol_error() {
    let broker = Broker::shared();
    for (first_byte, reasons) in [
        (first::PUBACK, [0x01, 0x92, 0xFF]),
        (first::PUBREC, [0x01, 0x92, 0xFF]),
        (first::PUBREL, [0x10, 0x80, 0xFF]),
        (first::PUBCOMP, [0x10, 0x80, 0xFF]),
    ] {
        for reason in reasons {
            let ack = wire::ack_with(first_byte, 1, reason, &[]);
            thrown_out(&broker, Version::V5, &ack, 0x82);
        }
    }
}

/// MQTT5 4.3.3, 3.6.2.1, 3.7.2.1: packet ids that the broker does not know are answered with 0x92.
#[test]
fn unknown_packet_ids_are_answered_with_0x92() {
    let broker = Broker::shared();
    let mut client = RawClient::join(&broker, Version::V5);
    client.send(&wire::pubrel(77));
    client.expect_bytes(&[first::PUBCOMP, 3, 0, 77, 0x92]);
    client.send(&wire::pubrec(78));
    client.expect_bytes(&[first::PUBREL, 3, 0, 78, 0x92]);
    client.send(&wire::puback(79));
    client.send(&wire::pubcomp(80));
    client.expect_silence_until_pong();
}

/// MQTT311-4.3.3-2: a PUBREL without its PUBLISH is completed, or its sender would never end.
#[test]
fn mqtt311_4_3_3_2_unknown_packet_ids_are_completed_in_3_x() {
    let broker = Broker::shared();
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut client = RawClient::join(&broker, version);
        client.send(&wire::pubrel(77));
        client.expect_bytes(&wire::pubcomp(77));
        client.send(&wire::pubrec(78));
        client.expect_bytes(&wire::pubrel(78));
        client.send(&wire::puback(79));
        client.send(&wire::pubcomp(80));
        client.expect_silence_until_pong();
    }
}

/// MQTT5-3.4.2-2, MQTT5-3.4.2-3, MQTT5-3.5.2-2, MQTT5-3.5.2-3, MQTT5-3.6.2-2, MQTT5-3.6.2-3,
/// MQTT5-3.7.2-2, MQTT5-3.7.2-3, MQTT5-3.1.2-24: with a reason code and nothing else they are of
/// the five bytes that the client can take.
#[test]
fn mqtt5_3_4_2_2_acknowledgements_fit_the_client() {
    let broker = Broker::shared();
    let mut client = smallest_client(&broker);
    client.send(&Publish::new(Version::V5, "$SYS/x", "").qos(1, 1).encode());
    client.expect_bytes(&[first::PUBACK, 3, 0, 1, 0x87]);
    client.send(&Publish::new(Version::V5, "$SYS/x", "").qos(2, 2).encode());
    client.expect_bytes(&[first::PUBREC, 3, 0, 2, 0x87]);
    client.send(&wire::pubrec(3));
    client.expect_bytes(&[first::PUBREL, 3, 0, 3, 0x92]);
    client.send(&wire::pubrel(4));
    client.expect_bytes(&[first::PUBCOMP, 3, 0, 4, 0x92]);
}

/// MQTT5-4.5.0-1, MQTT311-4.5.0-1: what was acknowledged reaches every session that matches, also
/// those that are away.
#[test]
fn mqtt5_4_5_0_1_owned_message_reaches_all_matching_sessions() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 1..=2 {
            let topic = unique_topic("all");
            let away = Connect::persistent(version, unique_id());
            let (mut client, _) = RawClient::connect(&broker, &away);
            client.subscribe(&topic, qos);
            client.disconnect();
            let mut here: Vec<RawClient> = (0..4)
                .map(|_| subscriber(&broker, version, &topic, qos))
                .collect();
            RawClient::join(&broker, version).publish(&topic, "to all", qos);
            for client in &mut here {
                assert_eq!(client.receive_payload("to all").qos, qos);
            }
            let (mut client, _) = RawClient::connect(&broker, &away);
            assert_eq!(client.receive_payload("to all").qos, qos);
        }
    }
}

/// MQTT5-4.6.0-5, MQTT5-4.6.0-6, MQTT311-4.6.0-5, MQTT311-4.6.0-6: per publisher, topic and QoS the
/// order of sending is the order of arriving.
#[test]
fn mqtt5_4_6_0_5_order_is_kept_per_topic_and_qos() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 0..=2 {
            let topic = unique_topic("order");
            let mut watcher = subscriber(&broker, version, &topic, qos);
            let mut publisher = RawClient::join(&broker, version);
            for number in 0..200 {
                publisher.publish(&topic, number.to_string(), qos);
            }
            for number in 0..200 {
                assert_eq!(watcher.receive_payload(number.to_string()).qos, qos);
            }
        }
    }
}

/// MQTT5-4.6.0-6: QoS 2 messages whose PUBRELs come in order are delivered in order, although all
/// were published first.
#[test]
fn mqtt5_4_6_0_6_interleaved_qos_2_keeps_its_order() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("interleaved");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let mut client = RawClient::join(&broker, version);
        for id in 1..=10 {
            client.send(
                &Publish::new(version, &topic, id.to_string())
                    .qos(2, id)
                    .encode(),
            );
        }
        for id in 1..=10 {
            client.expect_bytes(&wire::pubrec(id));
        }
        for id in 1..=10 {
            client.send(&wire::pubrel(id));
        }
        for id in 1..=10 {
            client.expect_bytes(&wire::pubcomp(id));
            watcher.receive_payload(id.to_string());
        }
    }
}

/// MQTT5-4.4.0-2: what the subscriber refused is not sent again when its session is resumed.
#[test]
fn mqtt5_4_4_0_2_refused_message_is_not_sent_again() {
    let broker = Broker::shared();
    for qos in 1..=2 {
        let topic = unique_topic("refused");
        let connect = Connect::persistent(Version::V5, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 2);
        RawClient::join(&broker, Version::V5).publish(&topic, "unwanted", qos);
        let id = client.expect_payload("unwanted").packet_id.unwrap();
        let kind = if qos == 1 {
            first::PUBACK
        } else {
            first::PUBREC
        };
        client.send(&wire::ack_with(kind, id, 0x83, &[]));
        client.expect_silence_until_pong();
        client.cut();
        let (mut client, connack) = RawClient::connect(&broker, &connect);
        assert!(connack.session_present);
        client.expect_silence_until_pong();
    }
}

/// MQTT5 4.3.2, 4.3.3: reason strings and user properties in a client's acknowledgements are read
/// and do no harm.
#[test]
fn acknowledgements_may_carry_properties() {
    let broker = Broker::shared();
    let topic = unique_topic("carry");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 2);
    let mut publisher = RawClient::join(&broker, Version::V5);
    let list = [prop::text(prop::REASON_STRING, "why"), prop::user("a", "b")];
    publisher.publish(&topic, "one", 1);
    let id = watcher.expect_payload("one").packet_id.unwrap();
    watcher.send(&wire::ack_with(first::PUBACK, id, 0x10, &list));
    publisher.send(&Publish::new(Version::V5, &topic, "two").qos(2, 40).encode());
    publisher.expect_bytes(&wire::pubrec(40));
    publisher.send(&wire::ack_with(first::PUBREL, 40, 0, &list));
    publisher.expect_bytes(&wire::pubcomp(40));
    let id = watcher.expect_payload("two").packet_id.unwrap();
    watcher.send(&wire::ack_with(first::PUBREC, id, 0x10, &list));
    watcher.expect_bytes(&wire::pubrel(id));
    watcher.send(&wire::ack_with(first::PUBCOMP, id, 0, &list));
    watcher.expect_silence_until_pong();
}
