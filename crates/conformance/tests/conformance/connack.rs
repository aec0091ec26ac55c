//! CONNACK: chapter 3.2, and what CONNECT's properties bind the broker to.

use crate::support::*;

/// MQTT5-3.2.2-1, MQTT5-3.2.2-2, MQTT311-3.2.2-1, MQTT5-3.1.2-4, MQTT311-3.1.2-6: clean start has
/// no session present, whatever was stored.
#[test]
fn mqtt5_3_2_2_2_clean_start_has_no_session_present() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let id = unique_id();
        RawClient::connect(&broker, &Connect::persistent(version, &id))
            .0
            .disconnect();
        let (client, connack) = RawClient::connect(&broker, &Connect::new(version, &id));
        assert!(!connack.session_present);
        client.disconnect();
    }
}

/// MQTT5-3.2.2-3, MQTT311-3.2.2-2, MQTT311-3.2.2-3, MQTT5-3.1.2-5, MQTT5-3.1.2-6: session present
/// tells what is stored.
#[test]
fn mqtt5_3_2_2_3_session_present_mirrors_the_stored_session() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let id = unique_id();
        let connect = Connect::persistent(version, &id);
        for present in [false, true, true] {
            let (client, connack) = RawClient::connect(&broker, &connect);
            assert_eq!(connack.session_present, present, "{version:?}");
            client.disconnect();
        }
        RawClient::connect(&broker, &Connect::new(version, &id))
            .0
            .disconnect();
        let (client, connack) = RawClient::connect(&broker, &connect);
        assert!(
            !connack.session_present,
            "a clean session left nothing behind"
        );
        client.disconnect();
    }
}

/// MQTT 3.1 has no session present; the byte stays 0 even for a resumed session.
#[test]
fn session_present_is_never_set_in_3_1() {
    let broker = Broker::shared();
    let connect = Connect::persistent(Version::V3_1, unique_id());
    for _ in 0..2 {
        let mut client = RawClient::open(&broker, Version::V3_1);
        client.send(&connect.encode());
        client.expect_bytes(&[0x20, 2, 0, 0]);
        client.disconnect();
    }
}

/// MQTT5-3.2.2-7, MQTT5-3.2.2-8, MQTT5-4.13.2-1: each refusal has a defined code, no session
/// present, and the end of the connection behind it.
#[test]
fn mqtt5_3_2_2_7_refusals_have_a_defined_code_and_close() {
    let broker = Broker::shared();
    let id = unique_id();
    RawClient::connect(&broker, &Connect::persistent(Version::V5, &id))
        .0
        .disconnect();
    let faulty = Connect::persistent(Version::V5, &id);
    for connect in [
        faulty.clone().level(9),
        faulty.clone().with(prop::receive_maximum(0)),
        faulty.clone().with(prop::raw(0x7E, [])),
        faulty
            .clone()
            .with(prop::text(prop::AUTH_METHOD, "unknown")),
        faulty.tail([0]),
    ] {
        let mut client = RawClient::open(&broker, Version::V5);
        client.send(&connect.encode());
        let connack = client.expect_connack();
        assert!(connack.code >= 0x80);
        assert!(!connack.session_present);
        client.expect_closed();
    }
}

/// MQTT5-3.2.2-9, MQTT5-3.2.2-10: the maximum QoS is told, and subscriptions to more are granted
/// at the maximum.
#[test]
fn mqtt5_3_2_2_9_limited_qos_is_announced() {
    for max in [0, 1] {
        let Some(broker) = Broker::with_config(&format!("max_qos {max}")) else {
            return;
        };
        let connect = Connect::new(Version::V5, unique_id());
        let (mut client, connack) = RawClient::connect(&broker, &connect);
        let announced = connack.properties.number(prop::MAXIMUM_QOS);
        assert_eq!(announced, Some(u32::from(max)));
        for asked in 0..=2 {
            assert_eq!(client.subscribe("qos/limited", asked), asked.min(max));
        }
        for version in [Version::V3_1, Version::V3_1_1] {
            let mut old = RawClient::join(&broker, version);
            assert_eq!(old.subscribe("qos/limited", 2), max);
        }
    }
}

/// MQTT5-3.2.2-9: a broker that supports QoS 2 says nothing about a maximum.
#[test]
fn mqtt5_3_2_2_9_full_qos_is_not_announced() {
    let broker = Broker::shared();
    let (_, connack) = RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    assert!(!connack.properties.has(prop::MAXIMUM_QOS));
    assert!(!connack.properties.has(prop::RETAIN_AVAILABLE));
}

/// MQTT5-3.2.2-12, MQTT5-3.2.2-11: a will, or a PUBLISH, of more than the maximum QoS.
#[test]
fn mqtt5_3_2_2_12_qos_above_the_maximum_is_refused() {
    let Some(broker) = Broker::with_config("max_qos 1") else {
        return;
    };
    let connect = Connect::new(Version::V5, unique_id()).will(Will::new("w", "w").qos(2));
    let mut client = RawClient::open(&broker, Version::V5);
    client.send(&connect.encode());
    assert_eq!(client.expect_connack().code, 0x9B);
    client.expect_closed();
    let publish = Publish::new(Version::V5, "t", "p").qos(2, 1).encode();
    thrown_out(&broker, Version::V5, &publish, 0x9B);
}

/// MQTT5-3.2.2-13, MQTT5-3.2.2-14: a will, or a PUBLISH, with RETAIN where it is not available.
#[test]
fn mqtt5_3_2_2_13_retain_where_it_is_unavailable_is_refused() {
    let Some(broker) = Broker::with_config("retain_available false") else {
        return;
    };
    let (_, connack) = RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    assert_eq!(connack.properties.number(prop::RETAIN_AVAILABLE), Some(0));
    let connect = Connect::new(Version::V5, unique_id()).will(Will::new("w", "w").retained());
    refused(
        &broker,
        Version::V5,
        &connect.encode(),
        &[0x20, 3, 0, 0x9A, 0],
    );
    for version in Version::ALL {
        let publish = Publish::new(version, "t", "p").retained().encode();
        thrown_out(&broker, version, &publish, 0x9A);
    }
}

/// MQTT5-3.2.2-19, MQTT5-3.2.2-20, MQTT5-3.1.2-24: a refusal of the five bytes that the client can
/// take has neither reason string nor user property.
#[test]
fn mqtt5_3_2_2_19_refusal_fits_the_client() {
    let Some(broker) = Broker::with_config("allow_anonymous false") else {
        return;
    };
    let connect = Connect::new(Version::V5, unique_id()).with(prop::maximum_packet_size(5));
    refused(
        &broker,
        Version::V5,
        &connect.encode(),
        &[0x20, 3, 0, 0x87, 0],
    );
}

/// MQTT5-3.1.2-24: a success that does not fit the client's maximum is not sent.
#[test]
fn mqtt5_3_1_2_24_connack_never_exceeds_the_client_maximum() {
    let broker = Broker::shared();
    let connect = Connect::new(Version::V5, unique_id()).with(prop::maximum_packet_size(4));
    let mut client = RawClient::open(&broker, Version::V5);
    client.send(&connect.encode());
    client.expect_closed();
}

/// MQTT5-3.1.2-28: no response information for who does not ask for it.
#[test]
fn mqtt5_3_1_2_28_response_information_only_on_request() {
    let broker = Broker::shared();
    for connect in [
        Connect::new(Version::V5, unique_id()),
        Connect::new(Version::V5, unique_id()).with(prop::byte(prop::REQUEST_RESPONSE_INFO, 0)),
    ] {
        let (_, connack) = RawClient::connect(&broker, &connect);
        assert!(!connack.properties.has(prop::RESPONSE_INFO));
    }
}

/// MQTT5-3.1.2-29: without problem information, acknowledgements have no reason string and no user
/// property, also where they report a problem.
#[test]
fn mqtt5_3_1_2_29_problem_information_only_on_request() {
    let broker = Broker::shared();
    let connect =
        Connect::new(Version::V5, unique_id()).with(prop::byte(prop::REQUEST_PROBLEM_INFO, 0));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    // Not authorised, no subscribers, no subscription, unknown packet ids.
    client.send(
        &Publish::new(Version::V5, "$SYS/broker/uptime", "1")
            .qos(1, 1)
            .encode(),
    );
    assert!(client.expect_ack(first::PUBACK, 1).properties.is_empty());
    client.send(
        &Publish::new(Version::V5, unique_topic("lonely"), "1")
            .qos(1, 2)
            .encode(),
    );
    assert!(client.expect_ack(first::PUBACK, 2).properties.is_empty());
    client.send(
        &Publish::new(Version::V5, "$SYS/broker/uptime", "1")
            .qos(2, 3)
            .encode(),
    );
    assert!(client.expect_ack(first::PUBREC, 3).properties.is_empty());
    client.send(&wire::pubrel(4));
    assert!(client.expect_ack(first::PUBCOMP, 4).properties.is_empty());
    client.send(&wire::pubrec(5));
    assert!(client.expect_ack(first::PUBREL, 5).properties.is_empty());
    client.send(
        &Subscribe::new(Version::V5, 6)
            .filter("$share/g/x", 1)
            .encode(),
    );
    assert!(client.expect_suback(6).properties.is_empty());
    client.send(&Unsubscribe::new(Version::V5, 7).filter("nothing").encode());
    assert!(client.expect_unsuback(7).properties.is_empty());
}

/// MQTT5-3.2.2-22: the keep alive is the client's unless the broker names another.
/// MQTT5 3.2.2.3.14: the broker's replaces one that is too long, or none.
#[test]
fn mqtt5_3_2_2_22_server_keep_alive_only_where_it_differs() {
    let Some(broker) = Broker::with_config("max_keepalive 20") else {
        return;
    };
    for (asked, answered) in [(10, None), (20, None), (21, Some(20)), (0, Some(20))] {
        let connect = Connect::new(Version::V5, unique_id()).keep_alive(asked);
        let (_, connack) = RawClient::connect(&broker, &connect);
        let server = connack.properties.number(prop::SERVER_KEEP_ALIVE);
        assert_eq!(server, answered, "keep alive {asked}");
    }
}
