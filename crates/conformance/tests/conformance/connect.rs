//! CONNECT: chapter 3.1.

use std::collections::HashSet;

use crate::support::*;

/// MQTT5-3.1.0-1, MQTT311-3.1.0-1, MQTT5-3.14.0-1: any other first packet ends the connection
/// without an answer.
#[test]
fn mqtt5_3_1_0_1_first_packet_must_be_connect() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for bytes in [
            wire::PINGREQ.to_vec(),
            wire::DISCONNECT.to_vec(),
            Publish::new(version, "t", "p").encode(),
            Subscribe::new(version, 1).filter("t", 0).encode(),
            Unsubscribe::new(version, 1).filter("t").encode(),
            wire::puback(1),
            wire::packet(first::AUTH, &[]),
        ] {
            closed_without_a_word(&broker, version, &bytes);
        }
    }
}

/// MQTT5-3.1.0-2, MQTT311-3.1.0-2, MQTT5-3.2.0-2: no second CONNACK, the connection ends.
#[test]
fn mqtt5_3_1_0_2_second_connect_ends_the_connection() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let connect = Connect::new(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.send(&connect.encode());
        client.expect_end();
    }
}

/// MQTT5-3.1.2-1, MQTT311-3.1.2-1, MQTT311-3.2.2-6: a name that is not MQTT is never served.
#[test]
fn mqtt5_3_1_2_1_wrong_protocol_name_is_closed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for name in ["", "mqtt", "MQTX", "MQTTT", "MQIsdq", "HTTP/1.1"] {
            let connect = Connect::new(version, unique_id()).protocol_name(name);
            closed_without_a_word(&broker, version, &connect.encode());
        }
    }
}

/// MQTT5-3.1.2-2, MQTT5-3.2.2-7: an unknown level is answered in the newest form that we know.
#[test]
fn mqtt5_3_1_2_2_unsupported_version_is_refused_and_closed() {
    let broker = Broker::shared();
    for level in [0, 1, 2, 6, 7, 0x7F] {
        let connect = Connect::new(Version::V5, unique_id()).level(level);
        refused(
            &broker,
            Version::V5,
            &connect.encode(),
            &[0x20, 3, 0, 0x84, 0],
        );
    }
}

/// MQTT311-3.1.2-2, MQTT311-3.2.2-4, MQTT311-3.2.2-5: a level that its name does not have.
#[test]
fn mqtt311_3_1_2_2_unsupported_level_is_refused_with_1() {
    let broker = Broker::shared();
    for (name, level) in [("MQTT", 3), ("MQIsdp", 4)] {
        let connect = Connect::new(Version::V3_1_1, unique_id())
            .protocol_name(name)
            .level(level);
        refused(
            &broker,
            Version::V3_1_1,
            &connect.encode(),
            &[0x20, 2, 0, 1],
        );
    }
}

/// MQTT5-3.1.2-2, MQTT311-3.1.2-2: versions that the operator switched off.
#[test]
fn mqtt5_3_1_2_2_version_switched_off_is_refused_and_closed() {
    let Some(only_v5) = Broker::with_config("accept_protocol_versions 5") else {
        return;
    };
    for version in [Version::V3_1, Version::V3_1_1] {
        let connect = Connect::new(version, unique_id()).encode();
        refused(&only_v5, version, &connect, &[0x20, 2, 0, 1]);
    }
    RawClient::join(&only_v5, Version::V5).disconnect();

    let Some(only_v3) = Broker::with_config("accept_protocol_versions 3, 4") else {
        return;
    };
    let connect = Connect::new(Version::V5, unique_id()).encode();
    refused(&only_v3, Version::V5, &connect, &[0x20, 3, 0, 0x84, 0]);
    RawClient::join(&only_v3, Version::V3_1).disconnect();
    RawClient::join(&only_v3, Version::V3_1_1).disconnect();
}

/// MQTT5-3.1.2-3, MQTT311-3.1.2-3, MQTT5-3.1.4-1, MQTT311-3.1.4-1, MQTT311-4.8.0-1.
#[test]
fn mqtt5_3_1_2_3_reserved_connect_flag_must_be_zero() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let connect = Connect::new(version, unique_id()).set_flags(0x01);
        closed_without_a_word(&broker, version, &connect.encode());
    }
}

/// MQTT5-2.1.3-1, MQTT311-2.2.2-1, MQTT311-2.2.2-2: fixed-header flags of CONNECT are zero.
#[test]
fn mqtt5_2_1_3_1_connect_with_header_flags_is_closed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for flags in [1, 2, 4, 8, 0x0F] {
            let connect = Connect::new(version, unique_id()).first_byte(first::CONNECT | flags);
            closed_without_a_word(&broker, version, &connect.encode());
        }
    }
}

/// MQTT5-3.1.2-9, MQTT311-3.1.2-9: a will flag without its fields is a malformed packet.
#[test]
fn mqtt5_3_1_2_9_will_flag_demands_will_fields() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let connect = Connect::new(version, unique_id()).set_flags(0x04);
        let mut client = RawClient::open(&broker, version);
        client.send(&connect.encode());
        expect_malformed_connect(&mut client);
    }
}

/// MQTT5-3.1.2-11, MQTT5-3.1.2-13, MQTT311-3.1.2-11, MQTT311-3.1.2-13, MQTT311-3.1.2-15: will QoS
/// and will retain are zero without a will.
#[test]
fn mqtt5_3_1_2_11_will_bits_without_a_will_are_refused() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for bits in [0x08, 0x10, 0x20] {
            let connect = Connect::new(version, unique_id()).set_flags(bits);
            closed_without_a_word(&broker, version, &connect.encode());
        }
    }
}

/// MQTT5-3.1.2-12, MQTT311-3.1.2-14: will QoS 3.
#[test]
fn mqtt5_3_1_2_12_will_qos_3_is_refused() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let connect = Connect::new(version, unique_id()).will(Will::new("t", "w").qos(3));
        closed_without_a_word(&broker, version, &connect.encode());
    }
}

/// MQTT5-3.1.2-16, MQTT311-3.1.2-18: a user name that its flag does not announce.
#[test]
fn mqtt5_3_1_2_16_user_name_without_its_flag_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let connect = Connect::new(version, unique_id())
            .user_name("u")
            .clear_flags(0x80);
        let mut client = RawClient::open(&broker, version);
        client.send(&connect.encode());
        expect_malformed_connect(&mut client);
    }
}

/// MQTT5-3.1.2-17, MQTT311-3.1.2-19: a user name that is announced and missing.
#[test]
fn mqtt5_3_1_2_17_user_name_flag_demands_a_user_name() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let connect = Connect::new(version, unique_id()).set_flags(0x80);
        let mut client = RawClient::open(&broker, version);
        client.send(&connect.encode());
        expect_malformed_connect(&mut client);
    }
}

/// MQTT5-3.1.2-18, MQTT311-3.1.2-20: a password that its flag does not announce.
#[test]
fn mqtt5_3_1_2_18_password_without_its_flag_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let connect = Connect::new(version, unique_id())
            .user_name("u")
            .password("p")
            .clear_flags(0x40);
        let mut client = RawClient::open(&broker, version);
        client.send(&connect.encode());
        expect_malformed_connect(&mut client);
    }
}

/// MQTT5-3.1.2-19, MQTT311-3.1.2-21: a password that is announced and missing.
#[test]
fn mqtt5_3_1_2_19_password_flag_demands_a_password() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let connect = Connect::new(version, unique_id())
            .user_name("u")
            .set_flags(0x40);
        let mut client = RawClient::open(&broker, version);
        client.send(&connect.encode());
        expect_malformed_connect(&mut client);
    }
}

/// MQTT311-3.1.2-22: 3.x has no password without a user name; 5.0 has (MQTT5 3.1.2.9).
#[test]
fn mqtt311_3_1_2_22_password_without_user_name_is_refused_in_3_x() {
    let broker = Broker::shared();
    for version in [Version::V3_1, Version::V3_1_1] {
        let connect = Connect::new(version, unique_id()).password("p");
        closed_without_a_word(&broker, version, &connect.encode());
    }
    let connect = Connect::new(Version::V5, unique_id()).password("p");
    RawClient::connect(&broker, &connect).0.disconnect();
}

/// MQTT5-3.1.3-1, MQTT5-3.1.3-3, MQTT311-3.1.3-1, MQTT311-3.1.3-3: read in any other order, the
/// will would be something else.
#[test]
fn mqtt5_3_1_3_1_payload_fields_are_read_in_their_order() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("will");
        let mut watcher = subscriber(&broker, version, &topic, 0);
        let connect = Connect::new(version, unique_id())
            .will(Will::new(&topic, "will payload"))
            .user_name("user")
            .password("password");
        RawClient::connect(&broker, &connect).0.cut();
        assert_eq!(watcher.receive_payload("will payload").topic, topic);
    }
}

/// MQTT5-3.1.3-4, MQTT5-3.1.3-8, MQTT5-1.5.4-1, MQTT311-3.1.3-4, MQTT311-1.5.3-1: a client id that
/// is not UTF-8.
#[test]
fn mqtt5_3_1_3_4_client_id_must_be_utf8() {
    let broker = Broker::shared();
    for id in ILL_FORMED {
        let connect = Connect::new(Version::V5, id);
        refused(
            &broker,
            Version::V5,
            &connect.encode(),
            &[0x20, 3, 0, 0x85, 0],
        );
        let connect = Connect::new(Version::V3_1_1, id);
        closed_without_a_word(&broker, Version::V3_1_1, &connect.encode());
    }
}

/// MQTT5-3.1.3-11, MQTT5-3.1.3-12, MQTT311-3.1.3-10, MQTT311-3.1.3-11: a will topic or user name
/// that is not UTF-8.
#[test]
fn mqtt5_3_1_3_11_will_topic_and_user_name_must_be_utf8() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for bytes in ILL_FORMED {
            let connect = Connect::new(version, unique_id()).will(Will::new(bytes, "w"));
            closed_without_a_word(&broker, version, &connect.encode());
            let connect = Connect::new(version, unique_id()).user_name(bytes);
            closed_without_a_word(&broker, version, &connect.encode());
        }
    }
}

/// MQTT5-3.1.3-5, MQTT311-3.1.3-5: 1 to 23 letters and digits.
#[test]
fn mqtt5_3_1_3_5_plain_client_ids_are_accepted() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for id in [
            "a",
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
        ] {
            RawClient::connect(&broker, &Connect::new(version, id))
                .0
                .disconnect();
        }
    }
}

/// MQTT5-3.1.3-6, MQTT5-3.1.3-7, MQTT5-3.2.2-16: the assigned id is told, unique, and usable.
#[test]
fn mqtt5_3_1_3_6_empty_client_id_is_given_a_unique_one() {
    let broker = Broker::shared();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let connect = Connect::new(Version::V5, "").with(prop::session_expiry(60));
        let (client, connack) = RawClient::connect(&broker, &connect);
        let assigned = connack
            .properties
            .bytes(prop::ASSIGNED_CLIENT_ID)
            .expect("Assigned Client Identifier")
            .to_vec();
        assert!(
            seen.insert(assigned.clone()),
            "{assigned:?} was given twice"
        );
        client.disconnect();
        let again = Connect::persistent(Version::V5, &assigned);
        let (client, connack) = RawClient::connect(&broker, &again);
        assert!(
            connack.session_present,
            "the assigned id is the session's id"
        );
        assert!(!connack.properties.has(prop::ASSIGNED_CLIENT_ID));
        client.disconnect();
        RawClient::connect(&broker, &Connect::new(Version::V5, &assigned))
            .0
            .disconnect();
    }
}

/// MQTT311-3.1.3-6: clients without an id do not take each other's session over.
#[test]
fn mqtt311_3_1_3_6_empty_client_ids_are_told_apart() {
    let broker = Broker::shared();
    let connect = Connect::new(Version::V3_1_1, "");
    let mut clients: Vec<RawClient> = (0..3)
        .map(|_| RawClient::connect(&broker, &connect).0)
        .collect();
    for client in &mut clients {
        client.expect_silence_until_pong();
    }
}

/// MQTT311-3.1.3-7, MQTT311-3.1.3-8, MQTT311-3.1.3-9, MQTT311-3.2.2-4, MQTT311-3.2.2-5.
#[test]
fn mqtt311_3_1_3_8_empty_client_id_with_a_stored_session_is_rejected() {
    let broker = Broker::shared();
    let connect = Connect::persistent(Version::V3_1_1, "").encode();
    refused(&broker, Version::V3_1_1, &connect, &[0x20, 2, 0, 2]);
}

/// MQTT5-3.1.3-6: clean start 0 with an empty id is no fault in 5.0.
#[test]
fn mqtt5_3_1_3_6_empty_client_id_may_ask_for_a_stored_session() {
    let broker = Broker::shared();
    let (client, connack) = RawClient::connect(&broker, &Connect::new(Version::V5, "").resume());
    assert!(!connack.session_present);
    assert!(connack.properties.has(prop::ASSIGNED_CLIENT_ID));
    client.disconnect();
}

/// MQTT5-3.1.3-8, MQTT311-3.1.3-9, MQTT5-3.2.2-6, MQTT5-3.2.2-7: empty ids switched off.
#[test]
fn mqtt5_3_1_3_8_empty_client_id_can_be_forbidden() {
    let Some(broker) = Broker::with_config("allow_zero_length_clientid false") else {
        return;
    };
    for version in Version::ALL {
        let connect = Connect::new(version, "").encode();
        refused(&broker, version, &connect, &refusal(version, 0x80, 2));
    }
}

/// MQTT5-3.1.4-2, MQTT5-3.2.2-6, MQTT5-3.2.2-7, MQTT311-3.2.2-4, MQTT311-3.2.2-5: who may not in
/// is told so and the connection ends.
#[test]
fn mqtt5_3_1_4_2_unauthorised_client_is_refused_and_closed() {
    let Some(broker) = Broker::with_config("allow_anonymous false") else {
        return;
    };
    for version in Version::ALL {
        let connect = Connect::new(version, unique_id()).encode();
        refused(&broker, version, &connect, &refusal(version, 0x87, 5));
    }
}

/// MQTT5-3.1.4-3, MQTT311-3.1.4-2, MQTT5-3.14.4-1, MQTT5-3.14.4-2, MQTT5-3.14.2-2: the older
/// connection of a client id ends, in 5.0 with 0x8E and nothing behind it.
#[test]
fn mqtt5_3_1_4_3_second_connection_of_a_client_id_ends_the_first() {
    let broker = Broker::shared();
    for old in Version::ALL {
        for new in Version::ALL {
            let id = unique_id();
            let (mut first, _) = RawClient::connect(&broker, &Connect::new(old, &id));
            let (mut second, _) = RawClient::connect(&broker, &Connect::new(new, &id));
            first.expect_thrown_out(0x8E);
            second.expect_silence_until_pong();
        }
    }
}

/// MQTT5-3.1.4-5, MQTT311-3.1.4-4, MQTT5-3.2.0-1, MQTT311-3.2.0-1: success is a CONNACK with code
/// 0, before anything else, even for requests that came with the CONNECT.
#[test]
fn mqtt5_3_1_4_5_success_is_acknowledged_before_all_else() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("early");
        let mut bytes = Connect::new(version, unique_id()).encode();
        bytes.extend(Subscribe::new(version, 7).filter(&topic, 0).encode());
        bytes.extend(Publish::new(version, &topic, "early").encode());
        bytes.extend(wire::PINGREQ);
        let mut client = RawClient::open(&broker, version);
        client.send(&bytes);
        assert_eq!(client.expect_connack().code, 0);
        assert_eq!(client.expect_suback(7).codes, [0]);
        client.expect_payload("early");
        assert_eq!(client.expect_packet("PINGRESP").1, Packet::Pingresp);
    }
}

/// MQTT5-3.1.4-6, MQTT311-3.1.4-5: what follows a refused CONNECT is not processed.
#[test]
fn mqtt5_3_1_4_6_data_after_a_refusal_is_ignored() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let topic = unique_topic("refused");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let (connect, connack) = if version.is_v5() {
            let connect = Connect::new(version, unique_id()).level(6);
            (connect.encode(), vec![0x20, 3, 0, 0x84, 0])
        } else {
            (
                Connect::persistent(version, "").encode(),
                vec![0x20, 2, 0, 2],
            )
        };
        let mut bytes = connect;
        bytes.extend(Publish::new(version, &topic, "smuggled").qos(1, 1).encode());
        refused(&broker, version, &bytes, &connack);
        let mut publisher = RawClient::join(&broker, version);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT311-7.0.0-2: a client that uses nothing but what the standard obliges it to gets service.
#[test]
fn mqtt311_7_0_0_2_the_plainest_client_is_served() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("plain");
        let mut client = RawClient::open(&broker, version);
        client.send(&Connect::new(version, unique_id()).keep_alive(0).encode());
        assert_eq!(client.expect_connack().code, 0);
        assert_eq!(client.subscribe(&topic, 2), 2);
        for qos in 0..=2 {
            client.publish(&topic, "plain", qos);
            assert_eq!(client.receive_payload("plain").qos, qos);
        }
        client.disconnect();
    }
}

/// MQTT5 3.1.2.11: a property that may come once comes twice.
#[test]
fn a_connect_property_given_twice_is_a_protocol_error() {
    let broker = Broker::shared();
    for property in [
        prop::session_expiry(1),
        prop::receive_maximum(1),
        prop::maximum_packet_size(1000),
        prop::topic_alias_maximum(1),
        prop::byte(prop::REQUEST_RESPONSE_INFO, 0),
        prop::byte(prop::REQUEST_PROBLEM_INFO, 0),
        prop::text(prop::AUTH_METHOD, "m"),
    ] {
        let connect = Connect::new(Version::V5, unique_id())
            .with(property.clone())
            .with(property);
        refused(
            &broker,
            Version::V5,
            &connect.encode(),
            &[0x20, 3, 0, 0x82, 0],
        );
    }
}

/// MQTT5 3.1.2.11: values that the standard calls a protocol error.
#[test]
fn a_connect_property_out_of_range_is_a_protocol_error() {
    let broker = Broker::shared();
    for property in [
        prop::receive_maximum(0),
        prop::maximum_packet_size(0),
        prop::byte(prop::REQUEST_RESPONSE_INFO, 2),
        prop::byte(prop::REQUEST_PROBLEM_INFO, 2),
        prop::text(prop::AUTH_DATA, "data without a method"),
    ] {
        let connect = Connect::new(Version::V5, unique_id()).with(property);
        refused(
            &broker,
            Version::V5,
            &connect.encode(),
            &[0x20, 3, 0, 0x82, 0],
        );
    }
}

/// Strings that are not well-formed UTF-8, or hold U+0000.
pub(crate) const ILL_FORMED: [&[u8]; 9] = [
    b"a\xC0\xAF",         // overlong slash
    b"a\xED\xA0\x80",     // U+D800
    b"a\xED\xBF\xBF",     // U+DFFF
    b"a\xE2\x82",         // cut short
    b"a\x80",             // continuation without a start
    b"a\xF4\x90\x80\x80", // above U+10FFFF
    b"a\xF8\x88\x80\x80\x80",
    b"a\xFF",
    b"a\0b",
];

/// A malformed CONNECT is answered with 0x81 or without a word, and the connection ends.
#[track_caller]
fn expect_malformed_connect(client: &mut RawClient) {
    match client.next_packet_or_end() {
        None => {}
        Some(Packet::Connack(connack)) if client.version().is_v5() && connack.code == 0x81 => {
            client.expect_closed();
        }
        Some(other) => client.fail(&format!("a malformed CONNECT was answered with {other:?}")),
    }
}
