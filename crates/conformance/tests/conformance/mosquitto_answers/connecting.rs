//! CONNECT and CONNACK.

use super::*;

fn connect(version: Version) -> Connect {
    Connect::new(version, unique_id())
}

#[test]
fn connack_of_success() {
    let broker = Broker::shared();
    check_fresh(
        &broker,
        &[
            (
                "3.x",
                &V3,
                &|version| connect(version).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
            (
                "5.0: alias maximum, packet size, receive maximum",
                &V5,
                &|version| connect(version).encode(),
                GoOn(vec![vec![
                    0x20, 14, 0, 0, 11, 0x22, 0, 10, 0x27, 0, 0x1E, 0x84, 0x80, 0x21, 0, 20,
                ]]),
            ),
        ],
    );
}

#[test]
fn connack_properties_come_in_order() {
    let config = "max_keepalive 30\nmax_qos 1\nretain_available false";
    let Some(broker) = Broker::with_config(config) else {
        return;
    };
    let mut client = RawClient::open(&broker, Version::V5);
    client.send(&Connect::new(Version::V5, "").keep_alive(0).encode());
    let order: Vec<u8> = client
        .expect_connack()
        .properties
        .0
        .iter()
        .map(|property| property.id)
        .collect();
    assert_eq!(order, [0x13, 0x22, 0x12, 0x25, 0x27, 0x21, 0x24]);
}

#[test]
fn limits_of_zero_are_not_told() {
    for (config, connack) in [
        (
            "max_topic_alias 0",
            &[0x27, 0, 0x1E, 0x84, 0x80, 0x21, 0, 20][..],
        ),
        (
            "max_inflight_messages 0",
            &[0x22, 0, 10, 0x27, 0, 0x1E, 0x84, 0x80],
        ),
    ] {
        let Some(broker) = Broker::with_config(config) else {
            return;
        };
        let mut client = RawClient::open(&broker, Version::V5);
        client.send(&connect(Version::V5).encode());
        let length = u8::try_from(connack.len()).unwrap();
        let head = [0x20, length + 3, 0, 0, length];
        client.expect_bytes(&[&head, connack].concat());
    }
}

#[test]
fn assigned_client_id_has_prefix_and_upper_case_groups() {
    let broker = Broker::shared();
    let (_, connack) = RawClient::connect(&broker, &Connect::new(Version::V5, ""));
    let id = connack.properties.bytes(prop::ASSIGNED_CLIENT_ID).unwrap();
    let id = std::str::from_utf8(id).unwrap();
    let groups: Vec<&str> = id.strip_prefix("auto-").unwrap().split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    let hex = |digit: char| matches!(digit, '0'..='9' | 'A'..='F');
    assert!(groups.concat().chars().all(hex), "{id}");
}

#[test]
fn prefix_of_assigned_client_ids_is_configurable() {
    let Some(broker) = Broker::with_config("auto_id_prefix mine_") else {
        return;
    };
    let (_, connack) = RawClient::connect(&broker, &Connect::new(Version::V5, ""));
    let id = connack.properties.bytes(prop::ASSIGNED_CLIENT_ID).unwrap();
    assert!(id.starts_with(b"mine_"));
}

#[test]
fn faults_of_the_first_packet() {
    let broker = Broker::shared();
    check_fresh(
        &broker,
        &[
            (
                "TLS hello",
                &V5,
                &|_| vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3],
                Close,
            ),
            (
                "not CONNECT",
                &Version::ALL,
                &|_| wire::PINGREQ.to_vec(),
                Close,
            ),
            ("packet type 0", &Version::ALL, &|_| vec![0, 0], Close),
            (
                "CONNECT over 100000 bytes",
                &Version::ALL,
                &|_| [vec![first::CONNECT], wire::variable_int(100_010)].concat(),
                Close,
            ),
            (
                "remaining length of five bytes",
                &Version::ALL,
                &|_| vec![first::CONNECT, 0x80, 0x80, 0x80, 0x80, 0x01],
                Close,
            ),
            (
                "header flags",
                &Version::OASIS,
                &|version| connect(version).first_byte(0x12).encode(),
                Close,
            ),
            (
                "header flags in 3.1",
                &ONLY_V3_1,
                &|version| connect(version).first_byte(0x12).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
        ],
    );
}

#[test]
fn faults_of_name_and_level() {
    let broker = Broker::shared();
    check_fresh(
        &broker,
        &[
            (
                "level 6",
                &V5,
                &|version| connect(version).level(6).encode(),
                connack(Version::V5, 0x84),
            ),
            (
                "level 6 behind another name of four letters",
                &V5,
                &|version| connect(version).protocol_name("ABCD").level(6).encode(),
                connack(Version::V5, 0x84),
            ),
            (
                "MQTT with level 3",
                &ONLY_V3_1_1,
                &|version| connect(version).level(3).encode(),
                connack(Version::V3_1_1, 1),
            ),
            (
                "MQIsdp with level 4",
                &ONLY_V3_1,
                &|version| connect(version).level(4).encode(),
                connack(Version::V3_1, 1),
            ),
            (
                "MQIsdp with level 5",
                &ONLY_V3_1,
                &|version| connect(version).level(5).encode(),
                connack(Version::V3_1, 1),
            ),
            (
                "another name",
                &Version::OASIS,
                &|version| connect(version).protocol_name("ABCD").encode(),
                Close,
            ),
            (
                "name of five letters",
                &Version::OASIS,
                &|version| connect(version).protocol_name("MQTT5").encode(),
                Close,
            ),
            (
                "no name",
                &V5,
                &|_| wire::packet(first::CONNECT, &[]),
                Close,
            ),
            (
                "no level",
                &V5,
                &|_| wire::packet(first::CONNECT, &wire::string("MQTT")),
                Close,
            ),
            (
                "bridge bit of the level",
                &ONLY_V3_1_1,
                &|version| connect(version).level(0x84).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
            (
                "bridge bit of the level in 3.1",
                &ONLY_V3_1,
                &|version| connect(version).level(0x83).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
        ],
    );
}

#[test]
fn faults_of_flags_and_fields() {
    let broker = Broker::shared();
    let cut_at = |version: Version, kept: usize| {
        let body = connect(version).body();
        wire::packet(first::CONNECT, &body[..kept])
    };
    check_fresh(
        &broker,
        &[
            (
                "reserved flag",
                &Version::OASIS,
                &|version| connect(version).set_flags(1).encode(),
                Close,
            ),
            (
                "reserved flag in 3.1",
                &ONLY_V3_1,
                &|version| connect(version).set_flags(1).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
            (
                "no flags",
                &Version::OASIS,
                &|version| cut_at(version, 7),
                Close,
            ),
            (
                "no keep alive",
                &Version::OASIS,
                &|version| cut_at(version, 8),
                Close,
            ),
            (
                "half a keep alive",
                &Version::OASIS,
                &|version| cut_at(version, 9),
                Close,
            ),
            (
                "no client id",
                &ONLY_V3_1_1,
                &|version| cut_at(version, 10),
                Close,
            ),
            (
                "client id cut short",
                &ONLY_V3_1_1,
                &|version| cut_at(version, 20),
                Close,
            ),
            (
                "will QoS 3 without a will",
                &Version::OASIS,
                &|version| connect(version).set_flags(0x18).encode(),
                Close,
            ),
            (
                "will QoS without a will",
                &Version::OASIS,
                &|version| connect(version).set_flags(0x08).encode(),
                Close,
            ),
            (
                "will retain without a will",
                &Version::OASIS,
                &|version| connect(version).set_flags(0x20).encode(),
                Close,
            ),
            (
                "will QoS and retain without a will in 3.1",
                &ONLY_V3_1,
                &|version| connect(version).set_flags(0x28).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
            (
                "password flag without user name flag",
                &V3,
                &|version| connect(version).password("p").encode(),
                Close,
            ),
            (
                "user name flag without its field",
                &Version::OASIS,
                &|version| connect(version).set_flags(0x80).encode(),
                Close,
            ),
            (
                "user name not UTF-8",
                &Version::OASIS,
                &|version| connect(version).user_name(b"\xFF").encode(),
                Close,
            ),
            (
                "password flag without its field",
                &Version::OASIS,
                &|version| connect(version).user_name("u").set_flags(0x40).encode(),
                Close,
            ),
            (
                "user name flag without its field in 3.1",
                &ONLY_V3_1,
                &|version| connect(version).set_flags(0x80).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
            (
                "password flag without its field in 3.1",
                &ONLY_V3_1,
                &|version| connect(version).user_name("u").set_flags(0x40).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
            (
                "trailing bytes",
                &V5,
                &|version| connect(version).tail([0]).encode(),
                connack(Version::V5, 0x81),
            ),
            (
                "trailing bytes in 3.x",
                &V3,
                &|version| connect(version).tail([0]).encode(),
                Close,
            ),
        ],
    );
}

#[test]
fn faults_of_properties() {
    let broker = Broker::shared();
    let with = |property: prop::Property| connect(Version::V5).with(property).encode();
    check_fresh(
        &broker,
        &[
            (
                "twice",
                &V5,
                &|version| {
                    let twice = connect(version).with(prop::session_expiry(1));
                    twice.with(prop::session_expiry(1)).encode()
                },
                connack(Version::V5, 0x82),
            ),
            (
                "of another packet",
                &V5,
                &|_| with(prop::message_expiry(1)),
                connack(Version::V5, 0x82),
            ),
            (
                "out of range",
                &V5,
                &|_| with(prop::receive_maximum(0)),
                connack(Version::V5, 0x82),
            ),
            (
                "unknown",
                &V5,
                &|_| with(prop::raw(0x7E, [0])),
                connack(Version::V5, 0x81),
            ),
            (
                "cut short",
                &V5,
                &|_| with(prop::raw(prop::SESSION_EXPIRY, [0, 0])),
                connack(Version::V5, 0x81),
            ),
            ("not UTF-8", &V5, &|_| with(prop::user("a", b"\xFF")), Close),
            (
                "authentication data without a method",
                &V5,
                &|_| with(prop::text(prop::AUTH_DATA, "d")),
                connack(Version::V5, 0x82),
            ),
            (
                "unknown authentication method",
                &V5,
                &|_| with(prop::text(prop::AUTH_METHOD, "m")),
                connack(Version::V5, 0x8C),
            ),
        ],
    );
}

#[test]
fn faults_of_the_client_id() {
    let broker = Broker::shared();
    check_fresh(
        &broker,
        &[
            (
                "not UTF-8",
                &V5,
                &|version| Connect::new(version, b"\xC0\xAF").encode(),
                connack(Version::V5, 0x85),
            ),
            (
                "not UTF-8 in 3.x",
                &V3,
                &|version| Connect::new(version, b"\xC0\xAF").encode(),
                Close,
            ),
            (
                "empty with clean session 0",
                &ONLY_V3_1_1,
                &|version| Connect::new(version, "").resume().encode(),
                connack(Version::V3_1_1, 2),
            ),
            (
                "empty in 3.1",
                &ONLY_V3_1,
                &|version| Connect::new(version, "").encode(),
                connack(Version::V3_1, 2),
            ),
            (
                "longer than 23 in 3.1",
                &ONLY_V3_1,
                &|version| Connect::new(version, unique_id().repeat(3)).encode(),
                GoOn(vec![vec![0x20, 2, 0, 0]]),
            ),
        ],
    );
}

#[test]
fn client_ids_outside_the_configured_prefix() {
    let Some(broker) = Broker::with_config("clientid_prefixes good-") else {
        return;
    };
    for version in Version::ALL {
        let bad = Connect::new(version, "bad-1").encode();
        refused(&broker, version, &bad, &refusal(version, 0x87, 5));
        let good = Connect::new(version, "good-1");
        RawClient::connect(&broker, &good).0.disconnect();
    }
}

#[test]
fn faults_of_the_will() {
    let broker = Broker::shared();
    let with = |version: Version, will: Will| connect(version).will(will).encode();
    check_fresh(
        &broker,
        &[
            (
                "will QoS 3",
                &Version::ALL,
                &|version| with(version, Will::new("t", "w").qos(3)),
                Close,
            ),
            (
                "property twice",
                &V5,
                &|version| {
                    let will = Will::new("t", "w").with(prop::will_delay(1));
                    with(version, will.with(prop::will_delay(1)))
                },
                connack(Version::V5, 0x82),
            ),
            (
                "property of another packet",
                &V5,
                &|version| with(version, Will::new("t", "w").with(prop::topic_alias(1))),
                connack(Version::V5, 0x82),
            ),
            (
                "property unknown",
                &V5,
                &|version| with(version, Will::new("t", "w").with(prop::raw(0x7E, [0]))),
                connack(Version::V5, 0x81),
            ),
            (
                "property not UTF-8",
                &V5,
                &|version| with(version, Will::new("t", "w").with(prop::user(b"\xFF", ""))),
                Close,
            ),
            (
                "topic empty",
                &V5,
                &|version| with(version, Will::new("", "w")),
                connack(Version::V5, 0x82),
            ),
            (
                "topic empty in 3.x",
                &V3,
                &|version| with(version, Will::new("", "w")),
                Close,
            ),
            (
                "topic not UTF-8",
                &Version::ALL,
                &|version| with(version, Will::new(b"\xFF", "w")),
                Close,
            ),
            (
                "topic with a wildcard",
                &Version::ALL,
                &|version| with(version, Will::new("a/#", "w")),
                Close,
            ),
            (
                "topic with 201 slashes",
                &Version::ALL,
                &|version| with(version, Will::new("/".repeat(201), "w")),
                Close,
            ),
            (
                "topic of the control plane",
                &Version::ALL,
                &|version| with(version, Will::new("$CONTROL/x", "w")),
                Close,
            ),
            (
                "topic missing",
                &V5,
                &|version| connect(version).set_flags(0x04).tail([0]).encode(),
                connack(Version::V5, 0x81),
            ),
            (
                "payload cut short",
                &V5,
                &|version| {
                    let tail = [&[0][..], &wire::string("t"), &[0, 9, b'w']].concat();
                    connect(version).set_flags(0x04).tail(tail).encode()
                },
                connack(Version::V5, 0x81),
            ),
            (
                "payload cut short in 3.x",
                &V3,
                &|version| {
                    let tail = [&wire::string("t")[..], &[0, 9, b'w']].concat();
                    connect(version).set_flags(0x04).tail(tail).encode()
                },
                Close,
            ),
        ],
    );
}

#[test]
fn wills_beyond_what_is_offered() {
    let Some(broker) = Broker::with_config("max_qos 1\nretain_available false") else {
        return;
    };
    check_fresh(
        &broker,
        &[
            (
                "retained",
                &V5,
                &|version| {
                    connect(version)
                        .will(Will::new("t", "w").retained())
                        .encode()
                },
                Last(vec![0x20, 5, 0, 0x9A, 2, 0x24, 1]),
            ),
            (
                "retained in 3.x",
                &V3,
                &|version| {
                    connect(version)
                        .will(Will::new("t", "w").retained())
                        .encode()
                },
                Close,
            ),
            (
                "QoS 2",
                &V5,
                &|version| connect(version).will(Will::new("t", "w").qos(2)).encode(),
                Last(vec![0x20, 5, 0, 0x9B, 2, 0x24, 1]),
            ),
            (
                "QoS 2 in 3.x",
                &V3,
                &|version| connect(version).will(Will::new("t", "w").qos(2)).encode(),
                Close,
            ),
        ],
    );
}

#[test]
fn wills_larger_than_a_message_may_be() {
    let Some(broker) = Broker::with_config("message_size_limit 10") else {
        return;
    };
    for version in Version::ALL {
        let large = connect(version)
            .will(Will::new("t", "x".repeat(11)))
            .encode();
        refused(&broker, version, &large, &refusal(version, 0x95, 5));
        let fits = connect(version).will(Will::new("t", "x".repeat(10)));
        RawClient::connect(&broker, &fits).0.disconnect();
    }
}

#[test]
fn keep_alive_longer_than_the_broker_wants() {
    let Some(broker) = Broker::with_config("max_keepalive 20") else {
        return;
    };
    for version in V3 {
        for secs in [0, 21] {
            let connect = connect(version).keep_alive(secs).encode();
            refused(&broker, version, &connect, &[0x20, 2, 0, 2]);
        }
        RawClient::connect(&broker, &connect(version).keep_alive(20))
            .0
            .disconnect();
    }
}

#[test]
fn more_connections_than_the_listener_has() {
    let Some(broker) = Broker::with_config("max_connections 2") else {
        return;
    };
    let admitted = || {
        eventually("an admitted connection", || {
            RawClient::join_if_admitted(&broker, Version::V5)
        })
    };
    let _one = admitted();
    let two = admitted();
    RawClient::open(&broker, Version::V5).expect_closed();
    two.disconnect();
    admitted().expect_silence_until_pong();
}

#[test]
fn more_connections_than_the_broker_has() {
    let Some(broker) = Broker::with_config("global_max_connections 1") else {
        return;
    };
    let _one = eventually("an admitted connection", || {
        RawClient::join_if_admitted(&broker, Version::V5)
    });
    RawClient::open(&broker, Version::V5).expect_closed();
}

#[test]
fn take_over_is_told_before_the_new_connack() {
    let broker = Broker::shared();
    let connect = connect(Version::V5);
    let (mut old, _) = RawClient::connect(&broker, &connect);
    let (_new, _) = RawClient::connect(&broker, &connect);
    old.expect_bytes(&[0xE0, 1, 0x8E]);
    old.expect_closed();
}
