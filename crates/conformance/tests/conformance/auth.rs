//! AUTH and enhanced authentication: chapters 3.15 and 4.12, for a broker without a method.

use crate::support::*;

/// MQTT5-4.12.0-1, MQTT5-4.12.0-4, MQTT5-3.2.2-7.
#[test]
fn mqtt5_4_12_0_1_unknown_method_is_refused_and_closed() {
    let broker = Broker::shared();
    for method in ["SCRAM-SHA-1", "x", ""] {
        let connect = Connect::new(Version::V5, unique_id())
            .with(prop::text(prop::AUTH_METHOD, method))
            .with(prop::text(prop::AUTH_DATA, [1, 2, 3]));
        refused(
            &broker,
            Version::V5,
            &connect.encode(),
            &[0x20, 3, 0, 0x8C, 0],
        );
    }
}

/// MQTT5-4.12.0-6: a client that names no method is never sent AUTH.
#[test]
fn mqtt5_4_12_0_6_no_auth_without_a_method() {
    let broker = Broker::shared();
    let connect = Connect::new(Version::V5, unique_id())
        .user_name("u")
        .password("p");
    let (mut client, connack) = RawClient::connect(&broker, &connect);
    assert!(!connack.properties.has(prop::AUTH_METHOD));
    client.expect_silence_until_pong();
}

/// MQTT5-4.12.0-7: AUTH on a connection without a method, with any
/// code, is a protocol error.
#[test]
fn mqtt5_4_12_0_7_auth_without_a_method_is_a_protocol_error() {
    let broker = Broker::shared();
    let method = [prop::text(prop::AUTH_METHOD, "m")];
    for reason in [0x00, 0x18, 0x19, 0x01, 0x80] {
        let auth = wire::reasoned(first::AUTH, reason, &method);
        thrown_out(&broker, Version::V5, &auth, 0x82);
    }
}

/// MQTT5-3.15.1-1, MQTT5-2.1.3-1: malformed, before anything else is looked at.
#[test]
fn mqtt5_3_15_1_1_auth_with_flags_is_malformed() {
    let broker = Broker::shared();
    for flags in [1, 2, 4, 8, 15] {
        let method = [prop::text(prop::AUTH_METHOD, "m")];
        let auth = wire::reasoned(first::AUTH | flags, 0x19, &method);
        let mut client = RawClient::join(&broker, Version::V5);
        client.send(&auth);
        client.expect_disconnect(0x81);
    }
}

/// MQTT311-2.2.2-2: packet type 15 is reserved before 5.0.
#[test]
fn mqtt311_2_2_2_2_auth_is_no_packet_of_3_x() {
    let broker = Broker::shared();
    for version in [Version::V3_1, Version::V3_1_1] {
        thrown_out(&broker, version, &[first::AUTH, 0], 0);
    }
}
