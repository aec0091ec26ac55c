//! PINGREQ and DISCONNECT: chapters 3.12 to 3.14; keep alive: 3.1.2.10.

use std::time::Duration;

use crate::support::*;

/// MQTT5-3.12.4-1, MQTT311-3.12.4-1.
#[test]
fn mqtt5_3_12_4_1_each_ping_is_answered() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let mut client = RawClient::join(&broker, version);
        let mut pings = Vec::new();
        for _ in 0..50 {
            pings.extend(wire::PINGREQ);
        }
        client.send(&pings);
        for _ in 0..50 {
            client.expect_bytes(&[first::PINGRESP, 0]);
        }
    }
}

/// MQTT5-2.1.3-1, MQTT311-2.2.2-1, MQTT311-2.2.2-2.
#[test]
fn mqtt5_2_1_3_1_ping_with_flags_is_malformed() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for flags in [1, 2, 8, 15] {
            thrown_out(&broker, version, &[first::PINGREQ | flags, 0], 0x81);
        }
    }
}

/// MQTT5-3.1.2-22, MQTT311-3.1.2-24: one and a half keep alive without a packet end the
/// connection, while a client that speaks stays. MQTT5-3.2.2-22: the client's own keep alive
/// counts when the broker names none.
#[test]
fn mqtt5_3_1_2_22_silent_client_is_dropped() {
    let broker = Broker::shared();
    let connect = Connect::new(Version::V5, unique_id()).keep_alive(1);
    let (_, connack) = RawClient::connect(&broker, &connect);
    assert!(!connack.properties.has(prop::SERVER_KEEP_ALIVE));
    let mut silent: Vec<RawClient> = Version::ALL
        .iter()
        .map(|version| Connect::new(*version, unique_id()).keep_alive(1))
        .map(|connect| RawClient::connect(&broker, &connect).0)
        .collect();
    let connect = Connect::new(Version::V5, unique_id()).keep_alive(2);
    let (mut speaking, _) = RawClient::connect(&broker, &connect);
    let connect = Connect::new(Version::V5, unique_id()).keep_alive(0);
    let (mut without, _) = RawClient::connect(&broker, &connect);
    for client in &mut silent {
        client.set_patience(Duration::from_millis(250));
        let mut rounds = 0;
        while !client.has_ended() {
            speaking.expect_silence_until_pong();
            rounds += 1;
            assert!(rounds < 60, "a silent client is kept");
        }
    }
    speaking.expect_silence_until_pong();
    without.expect_silence_until_pong();
}

/// MQTT311-3.14.1-1, MQTT5-3.14.1-1, MQTT5-2.1.3-1, MQTT311-2.2.2-2: DISCONNECT with flags is a
/// fault, so the will is published. In 5.0 it is answered with 0x81.
#[test]
fn mqtt5_3_14_1_1_disconnect_with_flags_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for flags in [1, 2, 4, 8, 15] {
            let topic = unique_topic("flags");
            let mut watcher = subscriber(&broker, version, &topic, 0);
            let connect = Connect::new(version, unique_id()).will(Will::new(&topic, "will"));
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.send(&[first::DISCONNECT | flags, 0]);
            client.expect_thrown_out(0x81);
            watcher.receive_payload("will");
        }
    }
}

/// MQTT5-3.14.2-1: a reason code that the table does not have is a fault, so the will is
/// published.
#[test]
fn mqtt5_3_14_2_1_disconnect_with_an_undefined_reason_is_refused() {
    let broker = Broker::shared();
    for reason in [0x01, 0x05, 0x7F, 0x85, 0xFF] {
        let topic = unique_topic("reason");
        let mut watcher = subscriber(&broker, Version::V5, &topic, 0);
        let connect = Connect::new(Version::V5, unique_id()).will(Will::new(&topic, "will"));
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.send(&[first::DISCONNECT, 1, reason]);
        client.expect_end();
        watcher.receive_payload("will");
    }
}

/// MQTT5-3.14.2-3, MQTT5-3.14.2-4, MQTT5-3.14.2-2, MQTT5-4.13.2-1: a DISCONNECT from the broker is
/// its reason code, for a client that can take no more, and the connection ends behind it.
#[test]
fn mqtt5_3_14_2_3_disconnect_fits_the_client() {
    let broker = Broker::shared();
    let mut client = smallest_client(&broker);
    client.send(&Publish::new(Version::V5, "#", "").encode());
    client.expect_disconnect(0x81);
}

/// MQTT5-3.14.4-1, MQTT311-3.14.4-2: what follows a DISCONNECT is not processed.
/// MQTT5-3.14.4-2, MQTT311-3.14.4-1: the broker ends the connection if the client does not.
#[test]
fn mqtt5_3_14_4_1_nothing_is_processed_after_disconnect() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("late");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut client = RawClient::join(&broker, version);
        let mut bytes = wire::DISCONNECT.to_vec();
        bytes.extend(Publish::new(version, &topic, "late").qos(1, 1).encode());
        bytes.extend(wire::PINGREQ);
        client.send(&bytes);
        client.expect_closed();
        let mut publisher = RawClient::join(&broker, version);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT5-3.14.4-1: what follows a packet that the broker refuses is not processed either, and
/// there is one DISCONNECT only.
#[test]
fn mqtt5_3_14_4_1_nothing_is_processed_after_a_fault() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("late");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut client = RawClient::join(&broker, version);
        let mut bytes = Publish::new(version, "#", "").encode();
        bytes.extend(Publish::new(version, "#", "").encode());
        bytes.extend(Publish::new(version, &topic, "late").qos(1, 1).encode());
        client.send(&bytes);
        client.expect_thrown_out(0x81);
        let mut publisher = RawClient::join(&broker, version);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT5 3.14.2.1: the reason may be absent, given, or given with properties.
#[test]
fn every_form_of_disconnect_is_understood() {
    let broker = Broker::shared();
    for bytes in [
        wire::DISCONNECT.to_vec(),
        vec![first::DISCONNECT, 1, 0],
        wire::reasoned(first::DISCONNECT, 0, &[]),
        wire::reasoned(
            first::DISCONNECT,
            0,
            &[prop::text(prop::REASON_STRING, "bye"), prop::user("a", "b")],
        ),
        wire::reasoned(first::DISCONNECT, 0, &[prop::session_expiry(0)]),
    ] {
        let topic = unique_topic("form");
        let mut watcher = subscriber(&broker, Version::V5, &topic, 1);
        let connect = Connect::new(Version::V5, unique_id()).will(Will::new(&topic, "will"));
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.send(&bytes);
        client.expect_closed();
        let mut publisher = RawClient::join(&broker, Version::V5);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT5 3.14.2.2.2: a session that was to end with the connection cannot be prolonged.
#[test]
fn disconnect_cannot_give_life_to_a_session_without_expiry() {
    let broker = Broker::shared();
    let bytes = wire::reasoned(first::DISCONNECT, 0, &[prop::session_expiry(60)]);
    thrown_out(&broker, Version::V5, &bytes, 0x82);
}

/// MQTT5-3.14.2-2, MQTT5 3.14.2.1: at its end the broker tells clients of 5.0 so (0x8B), and ends
/// all connections.
#[test]
fn mqtt5_3_14_2_2_broker_says_that_it_shuts_down() {
    let Some(broker) = Broker::with_config("") else {
        return;
    };
    let mut clients: Vec<RawClient> = Version::ALL
        .iter()
        .map(|version| RawClient::join(&broker, *version))
        .collect();
    broker.terminate();
    for client in &mut clients {
        client.expect_thrown_out(0x8B);
    }
}
