use std::vec::Vec;

use super::*;

const ALL_KINDS: [PacketType; 15] = [
    PacketType::Connect,
    PacketType::ConnAck,
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::Subscribe,
    PacketType::SubAck,
    PacketType::Unsubscribe,
    PacketType::UnsubAck,
    PacketType::PingReq,
    PacketType::PingResp,
    PacketType::Disconnect,
    PacketType::Auth,
];

/// The header of a packet with correct flags and this many bytes in all.
fn sized(kind: PacketType, length: u32) -> Header {
    Header {
        first: kind.first_byte(),
        remaining: length - 5,
        length: 5,
    }
}

fn header(kind: PacketType) -> Header {
    let is_ping = matches!(kind, PacketType::PingReq | PacketType::PingResp);
    sized(kind, if is_ping { 5 } else { 9 })
}

fn connected(role: Role, version: Version, authenticates: bool) -> Connection {
    let mut connection = match role {
        Role::Client => Connection::client(version, authenticates),
        Role::Server => Connection::server(),
    };
    connection.connected(version, authenticates);
    connection
}

fn admitted(connection: &Connection) -> Vec<PacketType> {
    let is_admitted = |kind: &PacketType| connection.admit(&header(*kind)) == Ok(*kind);
    ALL_KINDS.into_iter().filter(is_admitted).collect()
}

fn answer<T: core::fmt::Debug>(result: Result<T, Fault>) -> Answer {
    result.unwrap_err().answer
}

const PROTOCOL_ERROR: Answer = Answer::Disconnect(ReasonCode::PROTOCOL_ERROR);
const MALFORMED: Answer = Answer::Disconnect(ReasonCode::MALFORMED_PACKET);
const TOO_LARGE: Answer = Answer::Disconnect(ReasonCode::PACKET_TOO_LARGE);

const BOTH_WAYS: [PacketType; 5] = [
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
];

/// [MQTT311-3.1.0-1]
#[test]
fn mqtt5_3_1_0_1_a_server_takes_connect_first_and_closes_on_all_else() {
    let connection = Connection::server();
    assert_eq!(connection.phase(), Phase::Connecting);
    for kind in ALL_KINDS {
        let result = connection.admit(&header(kind));
        if kind == PacketType::Connect {
            assert_eq!(result, Ok(kind));
        } else {
            assert_eq!(answer(result), Answer::Close, "{kind:?}");
        }
    }
}

/// [MQTT311-3.2.0-1]
#[test]
fn mqtt5_3_2_0_1_a_client_takes_connack_first() {
    for version in Version::ALL {
        let connection = Connection::client(version, false);
        assert_eq!(admitted(&connection), [PacketType::ConnAck]);
        for kind in ALL_KINDS
            .into_iter()
            .filter(|kind| *kind != PacketType::ConnAck)
        {
            assert_eq!(answer(connection.admit(&header(kind))), Answer::Close);
        }
    }
}

#[test]
fn a_client_that_authenticates_takes_auth_before_connack() {
    let connection = Connection::client(Version::V5, true);
    assert_eq!(
        admitted(&connection),
        [PacketType::ConnAck, PacketType::Auth]
    );
}

#[test]
fn a_server_takes_the_requests_and_messages_of_its_client() {
    for version in Version::ALL {
        let mut expected = BOTH_WAYS.to_vec();
        expected.extend([
            PacketType::Subscribe,
            PacketType::Unsubscribe,
            PacketType::PingReq,
            PacketType::Disconnect,
        ]);
        assert_eq!(admitted(&connected(Role::Server, version, false)), expected);
    }
}

#[test]
fn a_client_takes_the_answers_and_messages_of_its_server() {
    for version in Version::ALL {
        let mut expected = BOTH_WAYS.to_vec();
        expected.extend([
            PacketType::SubAck,
            PacketType::UnsubAck,
            PacketType::PingResp,
        ]);
        // Servers of 3.x have no DISCONNECT.
        if version == Version::V5 {
            expected.push(PacketType::Disconnect);
        }
        assert_eq!(admitted(&connected(Role::Client, version, false)), expected);
    }
}

#[test]
fn mqtt5_4_12_0_7_auth_is_for_those_whose_connect_named_a_method() {
    for role in [Role::Client, Role::Server] {
        let auth = header(PacketType::Auth);
        assert_eq!(
            connected(role, Version::V5, true).admit(&auth),
            Ok(PacketType::Auth)
        );
        for (version, authenticates) in [
            (Version::V5, false),
            (Version::V3_1_1, true),
            (Version::V3_1, true),
        ] {
            let connection = connected(role, version, authenticates);
            assert_eq!(answer(connection.admit(&auth)), PROTOCOL_ERROR);
        }
    }
}

/// [MQTT311-3.1.0-2]
#[test]
fn mqtt5_3_1_0_2_a_second_connect_closes_without_an_answer() {
    for version in Version::ALL {
        let connection = connected(Role::Server, version, false);
        let result = connection.admit(&header(PacketType::Connect));
        assert_eq!(answer(result), Answer::Close);
    }
}

#[test]
fn a_packet_of_the_other_role_is_a_protocol_error() {
    for version in Version::ALL {
        let server = connected(Role::Server, version, false);
        for kind in [
            PacketType::ConnAck,
            PacketType::SubAck,
            PacketType::UnsubAck,
            PacketType::PingResp,
        ] {
            assert_eq!(
                answer(server.admit(&header(kind))),
                PROTOCOL_ERROR,
                "{kind:?}"
            );
        }
        let client = connected(Role::Client, version, false);
        for kind in [
            PacketType::ConnAck,
            PacketType::Subscribe,
            PacketType::Unsubscribe,
            PacketType::PingReq,
        ] {
            assert_eq!(
                answer(client.admit(&header(kind))),
                PROTOCOL_ERROR,
                "{kind:?}"
            );
        }
    }
}

#[test]
fn a_ping_with_a_body_closes_without_an_answer() {
    for (role, kind) in [
        (Role::Server, PacketType::PingReq),
        (Role::Server, PacketType::PingResp),
        (Role::Client, PacketType::PingResp),
    ] {
        let connection = connected(role, Version::V5, false);
        assert_eq!(answer(connection.admit(&sized(kind, 6))), Answer::Close);
    }
}

#[test]
fn wrong_flags_outweigh_the_wrong_role_but_for_connack() {
    let server = connected(Role::Server, Version::V5, false);
    for (kind, expected) in [
        (PacketType::SubAck, MALFORMED),
        (PacketType::UnsubAck, MALFORMED),
        (PacketType::PingResp, MALFORMED),
        (PacketType::Auth, MALFORMED),
        (PacketType::ConnAck, PROTOCOL_ERROR),
    ] {
        let mut flagged = header(kind);
        flagged.first |= 4;
        assert_eq!(answer(server.admit(&flagged)), expected, "{kind:?}");
    }
}

#[test]
fn packet_type_zero_closes_before_connect_and_is_a_protocol_error_after() {
    let zero = Header {
        first: 0x0F,
        remaining: 0,
        length: 2,
    };
    assert_eq!(answer(Connection::server().admit(&zero)), Answer::Close);
    for version in Version::ALL {
        let connection = connected(Role::Server, version, false);
        assert_eq!(answer(connection.admit(&zero)), PROTOCOL_ERROR);
    }
}

#[test]
fn a_connect_over_100000_bytes_closes() {
    let connection = Connection::server();
    let connect = |length| connection.admit(&sized(PacketType::Connect, length));
    assert_eq!(connect(100_000), Ok(PacketType::Connect));
    assert_eq!(answer(connect(100_001)), Answer::Close);
}

#[test]
fn a_connect_over_the_configured_size_closes() {
    let mut connection = Connection::server();
    connection.set_packet_size_max(50);
    let connect = |length| connection.admit(&sized(PacketType::Connect, length));
    assert_eq!(connect(50), Ok(PacketType::Connect));
    assert_eq!(answer(connect(51)), Answer::Close);
}

#[test]
fn a_packet_over_the_configured_size_is_too_large() {
    for role in [Role::Client, Role::Server] {
        for version in Version::ALL {
            let mut connection = connected(role, version, false);
            connection.set_packet_size_max(1000);
            let publish = |length| connection.admit(&sized(PacketType::Publish, length));
            assert_eq!(publish(1000), Ok(PacketType::Publish));
            assert_eq!(answer(publish(1001)), TOO_LARGE);
        }
    }
}

#[test]
fn without_a_configured_size_the_largest_publish_may_come() {
    let connection = connected(Role::Server, Version::V5, false);
    let largest = sized(PacketType::Publish, midge_codec::REMAINING_LENGTH_MAX + 5);
    assert_eq!(connection.admit(&largest), Ok(PacketType::Publish));
}

#[test]
fn a_client_of_5_that_sends_a_large_small_packet_is_closed() {
    let connection = connected(Role::Server, Version::V5, true);
    for (kind, most) in [
        (PacketType::Subscribe, 100_000),
        (PacketType::Unsubscribe, 100_000),
        (PacketType::Auth, 100_000),
        (PacketType::PubAck, 10_000),
        (PacketType::PubRec, 10_000),
        (PacketType::PubRel, 10_000),
        (PacketType::PubComp, 10_000),
        (PacketType::Disconnect, 10_000),
    ] {
        assert_eq!(connection.admit(&sized(kind, most)), Ok(kind));
        assert_eq!(
            answer(connection.admit(&sized(kind, most + 1))),
            Answer::Close
        );
    }
}

#[test]
fn in_3_only_auth_has_a_size_of_its_own() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let connection = connected(Role::Server, version, false);
        for kind in [PacketType::Subscribe, PacketType::PubAck] {
            assert_eq!(connection.admit(&sized(kind, 2_000_000)), Ok(kind));
        }
        let auth = connection.admit(&sized(PacketType::Auth, 100_001));
        assert_eq!(answer(auth), Answer::Close);
    }
}

#[test]
fn a_server_may_send_its_client_packets_of_any_size() {
    let connection = connected(Role::Client, Version::V5, true);
    for kind in [PacketType::PubAck, PacketType::Auth, PacketType::Disconnect] {
        assert_eq!(connection.admit(&sized(kind, 2_000_000)), Ok(kind));
    }
}

#[test]
fn the_handshake_settles_version_and_authentication() {
    let mut connection = Connection::server();
    assert_eq!(connection.version(), Version::V5);
    connection.connected(Version::V3_1_1, false);
    assert_eq!(connection.phase(), Phase::Connected);
    assert_eq!(connection.version(), Version::V3_1_1);
    assert!(!connection.authenticates());
    connection.connected(Version::V5, true);
    assert!(connection.authenticates());
}

/// Admits and decodes a packet of 5.0.
fn receive(connection: &Connection, bytes: &[u8]) -> Result<PacketType, Fault> {
    let header = Header::peek(bytes).unwrap().unwrap();
    let kind = connection.admit(&header)?;
    let body = header.body(bytes).unwrap();
    let packet = connection.decode(kind, &header, body)?;
    Ok(packet.packet_type())
}

#[test]
fn the_version_of_the_connection_says_how_a_body_is_read() {
    let publish = [0x30, 4, 0, 1, b'a', 0];
    for version in Version::ALL {
        let connection = connected(Role::Server, version, false);
        let header = Header::peek(&publish).unwrap().unwrap();
        let packet = connection.decode(PacketType::Publish, &header, &publish[2..]);
        let payload = match packet.unwrap() {
            Packet::Publish(publish) => publish.payload.len(),
            _ => 9,
        };
        assert_eq!(payload, usize::from(version != Version::V5));
    }
}

/// The answers of other brokers, where the standard leaves them open.
#[test]
fn malformed_packets_are_answered_by_their_faults() {
    let connection = connected(Role::Server, Version::V5, true);
    let close = Answer::Close;
    let cases: [(&[u8], Answer); 30] = [
        // PUBLISH: QoS 3, DUP with QoS 0, NUL in the topic, wildcard, topic cut short.
        (&[0x36, 6, 0, 1, b'a', 0, 1, 0], MALFORMED),
        (&[0x38, 4, 0, 1, b'a', 0], MALFORMED),
        (&[0x30, 4, 0, 1, 0, 0], MALFORMED),
        (&[0x30, 4, 0, 1, b'#', 0], MALFORMED),
        (&[0x30, 4, 0, 9, b'a', 0], MALFORMED),
        // Its packet identifier: missing, zero.
        (&[0x32, 3, 0, 1, b'a'], MALFORMED),
        (&[0x32, 6, 0, 1, b'a', 0, 0, 0], PROTOCOL_ERROR),
        // Its properties: unknown, cut short, of another packet, bad value, bad UTF-8.
        (&[0x30, 6, 0, 1, b'a', 2, 0x7F, 0], MALFORMED),
        (&[0x30, 5, 0, 1, b'a', 9, 0], MALFORMED),
        (&[0x30, 7, 0, 1, b'a', 3, 0x13, 0, 1], PROTOCOL_ERROR),
        (&[0x30, 6, 0, 1, b'a', 2, 0x01, 2], PROTOCOL_ERROR),
        (&[0x30, 8, 0, 1, b'a', 4, 0x03, 0, 1, 0xFF], close),
        // Acknowledgements: wrong flags, cut short, identifier zero, bad code, trailing bytes.
        (&[0x41, 2, 0, 1], MALFORMED),
        (&[0x60, 2, 0, 1], MALFORMED),
        (&[0x50, 1, 0], MALFORMED),
        (&[0x40, 2, 0, 0], PROTOCOL_ERROR),
        (&[0x70, 3, 0, 1, 0x10], PROTOCOL_ERROR),
        (&[0x40, 5, 0, 1, 0, 0, 0], MALFORMED),
        // SUBSCRIBE: flags, identifier zero, no filter, wildcard, options, $share, No Local.
        (&[0x80, 7, 0, 1, 0, 0, 1, b'a', 0], MALFORMED),
        (&[0x82, 7, 0, 0, 0, 0, 1, b'a', 0], MALFORMED),
        (&[0x82, 3, 0, 1, 0], PROTOCOL_ERROR),
        (&[0x82, 8, 0, 1, 0, 0, 2, b'a', b'#', 0], MALFORMED),
        (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 3], MALFORMED),
        (
            &[
                0x82, 13, 0, 1, 0, 0, 7, b'$', b's', b'h', b'a', b'r', b'e', b'/', 0,
            ],
            PROTOCOL_ERROR,
        ),
        // Subscription identifier zero; a property of another packet.
        (&[0x82, 9, 0, 1, 2, 0x0B, 0, 0, 1, b'a', 0], PROTOCOL_ERROR),
        (&[0x82, 9, 0, 1, 2, 0x01, 0, 0, 1, b'a', 0], MALFORMED),
        // PINGREQ: wrong flags, a body.
        (&[0xC1, 0], MALFORMED),
        (&[0xC0, 1, 0], close),
        // DISCONNECT: trailing bytes. AUTH: wrong flags.
        (&[0xE0, 3, 0, 0, 0], MALFORMED),
        (&[0xF1, 0], MALFORMED),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            answer(receive(&connection, bytes)),
            expected,
            "{bytes:02x?}"
        );
    }
}

#[test]
fn well_formed_packets_pass() {
    let connection = connected(Role::Server, Version::V5, true);
    for bytes in [
        &[0x30, 4, 0, 1, b'a', 0][..],
        &[0x62, 2, 0, 1],
        &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0],
        &[0xC0, 0],
        &[0xE0, 0],
    ] {
        assert!(receive(&connection, bytes).is_ok(), "{bytes:02x?}");
    }
}
