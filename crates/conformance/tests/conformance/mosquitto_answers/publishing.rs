//! Faults of PUBLISH and its acknowledgements.

use super::*;

fn publish(version: Version) -> Publish {
    Publish::new(version, "t", "p")
}

#[test]
fn publish_faults() {
    let broker = Broker::shared();
    check_connected(
        &broker,
        &[
            (
                "DUP with QoS 0",
                &Version::ALL,
                &|v| publish(v).dup().encode(),
                MALFORMED,
            ),
            (
                "QoS 3",
                &Version::ALL,
                &|v| publish(v).qos(3, 1).encode(),
                MALFORMED,
            ),
            (
                "topic cut short",
                &Version::ALL,
                &|_| vec![0x30, 3, 0, 9, b't'],
                MALFORMED,
            ),
            (
                "topic not UTF-8",
                &Version::ALL,
                &|v| Publish::new(v, b"\xFF", "").encode(),
                MALFORMED,
            ),
            (
                "U+0000 in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "a\0", "").encode(),
                MALFORMED,
            ),
            (
                "control character in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "a\u{1}", "").encode(),
                MALFORMED,
            ),
            (
                "U+FFFF in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "a\u{FFFF}", "").encode(),
                MALFORMED,
            ),
            (
                "U+FDD0 in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "a\u{FDD0}", "").encode(),
                MALFORMED,
            ),
            (
                "topic empty, no alias: the standard's 0x82",
                &Version::ALL,
                &|v| Publish::new(v, "", "p").encode(),
                PROTOCOL,
            ),
            (
                "packet id missing",
                &Version::ALL,
                &|_| wire::packet(0x32, &wire::string("t")),
                MALFORMED,
            ),
            (
                "packet id 0",
                &Version::ALL,
                &|v| publish(v).qos(1, 0).encode(),
                PROTOCOL,
            ),
            (
                "wildcard in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "a/+", "").encode(),
                MALFORMED,
            ),
            (
                "201 slashes in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "/".repeat(201), "").encode(),
                MALFORMED,
            ),
            (
                "200 slashes in the topic",
                &Version::ALL,
                &|v| Publish::new(v, "/".repeat(200), "").encode(),
                GoOn(vec![]),
            ),
            (
                "property unknown",
                &V5,
                &|v| publish(v).with(prop::raw(0x7E, [0])).encode(),
                MALFORMED,
            ),
            (
                "property cut short",
                &V5,
                &|v| {
                    publish(v)
                        .with(prop::raw(prop::MESSAGE_EXPIRY, [0]))
                        .encode()
                },
                MALFORMED,
            ),
            (
                "property length beyond the packet",
                &V5,
                &|_| wire::packet(0x30, b"\0\x01t\x09"),
                MALFORMED,
            ),
            (
                "property of another packet",
                &V5,
                &|v| publish(v).with(prop::session_expiry(1)).encode(),
                PROTOCOL,
            ),
            (
                "property twice",
                &V5,
                &|v| {
                    let twice = publish(v).with(prop::message_expiry(1));
                    twice.with(prop::message_expiry(1)).encode()
                },
                PROTOCOL,
            ),
            (
                "payload format 2",
                &V5,
                &|v| {
                    publish(v)
                        .with(prop::byte(prop::PAYLOAD_FORMAT, 2))
                        .encode()
                },
                PROTOCOL,
            ),
            (
                "response topic empty",
                &V5,
                &|v| {
                    publish(v)
                        .with(prop::text(prop::RESPONSE_TOPIC, ""))
                        .encode()
                },
                PROTOCOL,
            ),
            (
                "response topic with a wildcard",
                &V5,
                &|v| {
                    publish(v)
                        .with(prop::text(prop::RESPONSE_TOPIC, "a/#"))
                        .encode()
                },
                PROTOCOL,
            ),
            (
                "property not UTF-8",
                &V5,
                &|v| publish(v).with(prop::user("a", b"\xFF")).encode(),
                Close,
            ),
            (
                "subscription identifier",
                &V5,
                &|v| publish(v).with(prop::subscription_id(1)).encode(),
                PROTOCOL,
            ),
            (
                "alias 0: Mosquitto says 0x82, the standard's own code is 0x94",
                &V5,
                &|v| publish(v).with(prop::topic_alias(0)).encode(),
                Disconnect(&[0x82, 0x94]),
            ),
            (
                "alias above the maximum",
                &V5,
                &|v| publish(v).with(prop::topic_alias(11)).encode(),
                Disconnect(&[0x94]),
            ),
            (
                "alias unknown",
                &V5,
                &|v| Publish::new(v, "", "p").with(prop::topic_alias(3)).encode(),
                PROTOCOL,
            ),
            (
                "payload that is not what its format says",
                &V5,
                &|v| {
                    let publish = Publish::new(v, "t", b"\xFF");
                    publish
                        .with(prop::byte(prop::PAYLOAD_FORMAT, 1))
                        .qos(1, 1)
                        .encode()
                },
                GoOn(vec![vec![0x40, 3, 0, 1, 0x10]]),
            ),
        ],
    );
}

#[test]
fn publications_that_are_not_allowed() {
    let broker = Broker::shared();
    let mut rows: Vec<Row<'_>> = Vec::new();
    let to = |topic: &'static str, qos: u8| {
        move |version: Version| Publish::new(version, topic, "p").qos(qos, 7).encode()
    };
    let sys = [to("$SYS/x", 0), to("$SYS/x", 1), to("$SYS/x", 2)];
    let share = [
        to("$share/g/t", 0),
        to("$share/g/t", 1),
        to("$share/g/t", 2),
    ];
    for [none, once, exactly] in [&sys, &share] {
        rows.push(("QoS 0", &Version::ALL, none, GoOn(vec![])));
        rows.push(("QoS 1", &V5, once, GoOn(vec![vec![0x40, 3, 0, 7, 0x87]])));
        rows.push(("QoS 2", &V5, exactly, GoOn(vec![vec![0x50, 3, 0, 7, 0x87]])));
        rows.push(("QoS 1 in 3.x", &V3, once, GoOn(vec![vec![0x40, 2, 0, 7]])));
        rows.push((
            "QoS 2 in 3.x",
            &V3,
            exactly,
            GoOn(vec![vec![0x50, 2, 0, 7]]),
        ));
    }
    check_connected(&broker, &rows);
}

#[test]
fn publications_beyond_what_is_offered() {
    let Some(broker) = Broker::with_config("max_qos 1\nretain_available false") else {
        return;
    };
    check_connected(
        &broker,
        &[
            (
                "QoS 2",
                &Version::ALL,
                &|v| publish(v).qos(2, 1).encode(),
                Disconnect(&[0x9B]),
            ),
            (
                "RETAIN",
                &Version::ALL,
                &|v| publish(v).retained().encode(),
                Disconnect(&[0x9A]),
            ),
        ],
    );
}

/// Mosquitto's code 0x95 is not defined for PUBACK and PUBREC, so it is another one.
#[test]
fn publications_larger_than_a_message_may_be() {
    let Some(broker) = Broker::with_config("message_size_limit 10") else {
        return;
    };
    for version in Version::ALL {
        let topic = unique_topic("limit");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut client = RawClient::join(&broker, version);
        let large = Publish::new(version, &topic, "x".repeat(11));
        client.send(&large.clone().encode());
        client.expect_silence_until_pong();
        client.send(&large.clone().qos(1, 1).encode());
        let reason = client.expect_ack(first::PUBACK, 1).reason;
        assert_eq!(reason >= 0x80, version.is_v5());
        client.send(&large.qos(2, 2).encode());
        let reason = client.expect_ack(first::PUBREC, 2).reason;
        assert_eq!(reason >= 0x80, version.is_v5());
        client.publish(&topic, "x".repeat(10), 1);
        watcher.receive_payload("x".repeat(10));
    }
}

/// The old message is dropped and the new one taken.
#[test]
fn qos_2_packet_id_reused_for_another_message() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("reused");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let mut client = RawClient::join(&broker, version);
        for payload in ["old", "new"] {
            client.send(&Publish::new(version, &topic, payload).qos(2, 4).encode());
            client.expect_bytes(&wire::pubrec(4));
        }
        client.send(&wire::pubrel(4));
        client.expect_bytes(&wire::pubcomp(4));
        watcher.receive_payload("new");
        nothing_before_marker(&mut client, &mut watcher, &topic);
    }
}

#[test]
fn acknowledgement_faults() {
    let broker = Broker::shared();
    for kind in [first::PUBACK, first::PUBREC, first::PUBREL, first::PUBCOMP] {
        let with = |list: &[prop::Property]| wire::ack_with(kind, 1, 0, list);
        check_connected(
            &broker,
            &[
                (
                    "flags",
                    &Version::OASIS,
                    &|_| wire::ack(kind | 1, 1),
                    MALFORMED,
                ),
                ("cut short", &Version::ALL, &|_| vec![kind, 1, 0], MALFORMED),
                ("empty", &Version::ALL, &|_| vec![kind, 0], MALFORMED),
                (
                    "packet id 0",
                    &Version::ALL,
                    &|_| wire::ack(kind, 0),
                    PROTOCOL,
                ),
                (
                    "undefined reason",
                    &V5,
                    &|_| vec![kind, 3, 0, 1, 0x42],
                    PROTOCOL,
                ),
                (
                    "trailing byte",
                    &V5,
                    &|_| vec![kind, 5, 0, 1, 0, 0, 0],
                    MALFORMED,
                ),
                (
                    "property unknown",
                    &V5,
                    &|_| with(&[prop::raw(0x7E, [0])]),
                    MALFORMED,
                ),
                (
                    "property of another packet",
                    &V5,
                    &|_| with(&[prop::message_expiry(1)]),
                    PROTOCOL,
                ),
                (
                    "property twice",
                    &V5,
                    &|_| {
                        let reason = prop::text(prop::REASON_STRING, "r");
                        with(&[reason.clone(), reason])
                    },
                    PROTOCOL,
                ),
                (
                    "property not UTF-8",
                    &V5,
                    &|_| with(&[prop::text(prop::REASON_STRING, b"\xFF")]),
                    Close,
                ),
            ],
        );
    }
    for kind in [first::PUBACK, first::PUBREC, first::PUBCOMP] {
        let flags_in_3_1: Sent<'_> = &|_| wire::ack(kind | 2, 1);
        check_connected(
            &broker,
            &[("flags in 3.1", &ONLY_V3_1, flags_in_3_1, Close)],
        );
    }
    check_connected(
        &broker,
        &[(
            "flags of PUBREL in 3.1",
            &ONLY_V3_1,
            &|_| wire::ack(0x60, 1),
            GoOn(vec![wire::pubcomp(1)]),
        )],
    );
}

#[test]
fn acknowledgements_of_unknown_packet_ids() {
    let broker = Broker::shared();
    check_connected(
        &broker,
        &[
            ("PUBACK", &Version::ALL, &|_| wire::puback(9), GoOn(vec![])),
            (
                "PUBCOMP",
                &Version::ALL,
                &|_| wire::pubcomp(9),
                GoOn(vec![]),
            ),
            (
                "PUBREC with an error",
                &V5,
                &|_| wire::ack_with(first::PUBREC, 9, 0x80, &[]),
                GoOn(vec![]),
            ),
            (
                "PUBREC: the standard's 0x92",
                &V5,
                &|_| wire::pubrec(9),
                GoOn(vec![vec![0x62, 3, 0, 9, 0x92]]),
            ),
            (
                "PUBREL: the standard's 0x92",
                &V5,
                &|_| wire::pubrel(9),
                GoOn(vec![vec![0x70, 3, 0, 9, 0x92]]),
            ),
            (
                "PUBREC in 3.x",
                &V3,
                &|_| wire::pubrec(9),
                GoOn(vec![wire::pubrel(9)]),
            ),
            (
                "PUBREL in 3.x",
                &V3,
                &|_| wire::pubrel(9),
                GoOn(vec![wire::pubcomp(9)]),
            ),
        ],
    );
}

#[test]
fn acknowledgements_that_do_not_fit_their_message() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for (qos, answers) in [
            (1, vec![wire::pubrec as fn(u16) -> Vec<u8>]),
            (1, vec![wire::pubcomp]),
            (2, vec![wire::puback]),
            (2, vec![wire::pubcomp]),
        ] {
            let topic = unique_topic("unfit");
            let mut client = subscriber(&broker, version, &topic, 2);
            RawClient::join(&broker, version).publish(&topic, "m", qos);
            let id = client.expect_payload("m").packet_id.unwrap();
            for answer in answers {
                client.send(&answer(id));
            }
            client.expect_thrown_out(0x82);
        }
    }
    let topic = unique_topic("unfit");
    let mut client = subscriber(&broker, Version::V5, &topic, 2);
    RawClient::join(&broker, Version::V5).publish(&topic, "m", 2);
    let id = client.expect_payload("m").packet_id.unwrap();
    client.send(&wire::pubrec(id));
    client.expect_bytes(&wire::pubrel(id));
    client.send(&wire::ack_with(first::PUBREC, id, 0x80, &[]));
    client.expect_disconnect(0x82);
}
