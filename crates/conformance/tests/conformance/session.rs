//! Session state: chapters 3.1.2.4, 3.1.2.11.2, 3.1.3.1, 4.1 and 4.4.

use crate::support::*;

/// MQTT5-3.1.2-5, MQTT5-3.1.2-23, MQTT311-3.1.2-4, MQTT311-3.1.2-5, MQTT311-4.1.0-1: a kept
/// session has its subscriptions, and queues QoS 1 and 2 while the client is away.
#[test]
fn mqtt5_3_1_2_5_session_is_resumed_with_subscriptions_and_messages() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("kept");
        let connect = Connect::persistent(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 2);
        client.disconnect();
        let mut publisher = RawClient::join(&broker, version);
        for number in 0..10 {
            publisher.publish(&topic, number.to_string(), 1 + number % 2);
        }
        let (mut client, connack) = RawClient::connect(&broker, &connect);
        assert_eq!(connack.session_present, version != Version::V3_1);
        for number in 0..10 {
            let message = client.receive_payload(number.to_string());
            assert_eq!((message.qos, message.dup), (1 + number % 2, false));
        }
        publisher.publish(&topic, "live", 1);
        client.receive_payload("live");
    }
}

/// MQTT5-3.1.2-4, MQTT5-3.1.4-4, MQTT311-3.1.2-6, MQTT311-3.1.4-3: a clean start has neither the
/// subscriptions nor the messages of the session before it.
#[test]
fn mqtt5_3_1_2_4_clean_start_discards_the_old_session() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("clean");
        let id = unique_id();
        let (mut client, _) = RawClient::connect(&broker, &Connect::persistent(version, &id));
        client.subscribe(&topic, 1);
        client.disconnect();
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "old", 1);
        let (mut client, _) = RawClient::connect(&broker, &Connect::new(version, &id));
        publisher.publish(&topic, "new", 1);
        let marker = unique_topic("marker");
        client.subscribe(&marker, 1);
        nothing_before_marker(&mut publisher, &mut client, &marker);
        // What the clean session had does not outlive it either (expiry 0, clean session 1).
        client.subscribe(&topic, 1);
        client.disconnect();
        publisher.publish(&topic, "between", 1);
        let (mut client, connack) = RawClient::connect(&broker, &Connect::persistent(version, &id));
        assert!(!connack.session_present);
        client.expect_silence_until_pong();
    }
}

/// MQTT5-3.1.2-6: clean start 0 without a session begins one that is kept.
#[test]
fn mqtt5_3_1_2_6_new_session_is_created_where_none_was() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("created");
        let connect = Connect::persistent(version, unique_id());
        let (mut client, connack) = RawClient::connect(&broker, &connect);
        assert!(!connack.session_present);
        client.expect_silence_until_pong();
        client.subscribe(&topic, 1);
        client.disconnect();
        RawClient::join(&broker, version).publish(&topic, "m", 1);
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.receive_payload("m");
    }
}

/// MQTT5-3.1.3-2, MQTT311-3.1.3-2: the client id, and nothing else, names the session.
#[test]
fn mqtt5_3_1_3_2_client_id_identifies_the_session() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let base = unique_id();
        let names = [
            base[..20].to_owned(),
            base[..20].to_uppercase(),
            format!("{base}."),
        ];
        let topic = unique_topic("identity");
        for (number, name) in names.iter().enumerate() {
            let connect = Connect::persistent(version, name);
            let (mut client, connack) = RawClient::connect(&broker, &connect);
            assert!(!connack.session_present, "{name}");
            client.subscribe(format!("{topic}/{number}"), 1);
            client.disconnect();
        }
        let mut publisher = RawClient::join(&broker, version);
        for number in 0..names.len() {
            publisher.publish(format!("{topic}/{number}"), number.to_string(), 1);
        }
        for (number, name) in names.iter().enumerate() {
            let connect = Connect::persistent(version, name);
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.receive_payload(number.to_string());
            client.expect_silence_until_pong();
        }
    }
}

/// MQTT5-4.1.0-1, MQTT311-4.1.0-2: state is kept as long as the connection, here beyond the second
/// that the session may live without it.
#[test]
fn mqtt5_4_1_0_1_session_lives_as_long_as_its_connection() {
    let broker = Broker::shared();
    let mut clients = Vec::new();
    for (version, connect) in [
        (Version::V3_1_1, Connect::new(Version::V3_1_1, unique_id())),
        (Version::V5, Connect::new(Version::V5, unique_id())),
        (
            Version::V5,
            Connect::new(Version::V5, unique_id()).with(prop::session_expiry(1)),
        ),
    ] {
        let topic = unique_topic("life");
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 1);
        clients.push((version, topic, client));
    }
    until_expired(&broker, 1);
    for (version, topic, mut client) in clients {
        RawClient::join(&broker, version).publish(&topic, "alive", 1);
        client.receive_payload("alive");
    }
}

/// MQTT5-4.1.0-2, MQTT5-3.1.2-23: when the session's time is over, which its will tells, nothing is
/// left of it.
#[test]
fn mqtt5_4_1_0_2_session_is_discarded_when_it_expires() {
    let broker = Broker::shared();
    let topic = unique_topic("expires");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 0);
    let will = Will::new(&topic, "over").with(prop::will_delay(1000));
    let id = unique_id();
    let connect = Connect::new(Version::V5, &id)
        .with(prop::session_expiry(1))
        .will(will);
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(format!("{topic}/x"), 1);
    client.cut();
    watcher.set_patience(LONG);
    watcher.receive_payload("over");
    let (mut client, connack) = RawClient::connect(&broker, &Connect::persistent(Version::V5, &id));
    assert!(!connack.session_present);
    RawClient::join(&broker, Version::V5).publish(format!("{topic}/x"), "late", 1);
    client.expect_silence_until_pong();
}

/// MQTT5-4.1.0-2, MQTT5 3.1.2.11.2: without an interval the session ends with its connection, also
/// when that was not clean.
#[test]
fn mqtt5_4_1_0_2_session_without_expiry_ends_with_its_connection() {
    let broker = Broker::shared();
    for connect in [
        Connect::new(Version::V5, unique_id()),
        Connect::new(Version::V5, unique_id()).resume(),
        Connect::new(Version::V5, unique_id()).with(prop::session_expiry(0)),
    ] {
        let topic = unique_topic("ends");
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 1);
        client.cut();
        let (mut client, connack) = RawClient::connect(&broker, &connect.resume());
        assert!(!connack.session_present);
        RawClient::join(&broker, Version::V5).publish(&topic, "late", 1);
        client.expect_silence_until_pong();
    }
}

/// MQTT5 3.1.2.11.2: 0xFFFFFFFF is for ever.
#[test]
fn session_expiry_of_all_ones_is_kept() {
    let broker = Broker::shared();
    let connect = Connect::new(Version::V5, unique_id()).with(prop::session_expiry(u32::MAX));
    RawClient::connect(&broker, &connect).0.cut();
    let (client, connack) = RawClient::connect(&broker, &connect.resume());
    assert!(connack.session_present);
    client.disconnect();
}

/// MQTT5 3.14.2.2.2: DISCONNECT may change the interval: shorten it to nothing, or lengthen it.
#[test]
fn session_expiry_can_be_changed_at_disconnect() {
    let broker = Broker::shared();
    let mut sessions = Vec::new();
    for (at_connect, at_disconnect, present) in [(300, 0, false), (300, 1, false), (1, 300, true)] {
        let id = unique_id();
        let connect = Connect::new(Version::V5, &id).with(prop::session_expiry(at_connect));
        let (mut client, _) = RawClient::connect(&broker, &connect);
        let list = [prop::session_expiry(at_disconnect)];
        client.send(&wire::reasoned(first::DISCONNECT, 0, &list));
        client.expect_closed();
        sessions.push((id, present));
    }
    until_expired(&broker, 1);
    for (id, present) in sessions {
        let connect = Connect::persistent(Version::V5, &id);
        let (_, connack) = RawClient::connect(&broker, &connect);
        assert_eq!(connack.session_present, present);
    }
}

/// MQTT5-4.4.0-1, MQTT5-3.3.1-1, MQTT5-4.3.2-3, MQTT5-4.3.3-3, MQTT5-4.6.0-1, MQTT311-4.4.0-1,
/// MQTT311-4.3.2-1, MQTT311-4.3.3-1, MQTT311-3.3.1-1, MQTT311-2.3.1-3, MQTT311-4.6.0-1: what was not acknowledged comes again, in
/// its order, with DUP and the same packet ids, when the session is resumed.
#[test]
fn mqtt5_4_4_0_1_unacknowledged_messages_are_sent_again() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("resend");
        let connect = Connect::persistent(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 2);
        let mut publisher = RawClient::join(&broker, version);
        let mut ids = Vec::new();
        for number in 0..8 {
            publisher.publish(&topic, number.to_string(), 1 + number % 2);
            let message = client.expect_payload(number.to_string());
            assert!(!message.dup);
            ids.push(message.packet_id);
        }
        client.cut();
        publisher.publish(&topic, "8", 1);
        for _ in 0..2 {
            let (mut client, _) = RawClient::connect(&broker, &connect);
            for (number, id) in (0..8).zip(&ids) {
                let message = client.expect_payload(number.to_string());
                assert_eq!((message.dup, message.packet_id), (true, *id));
                assert_eq!(message.qos, 1 + number % 2);
            }
            client.expect_payload("8");
            client.expect_silence_until_pong();
            client.cut();
        }
    }
}

/// MQTT5-4.4.0-1: there is no other occasion to send again: not while the connection lasts.
#[test]
fn mqtt5_4_4_0_1_nothing_is_sent_again_on_the_same_connection() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("patience");
        let mut client = subscriber(&broker, version, &topic, 2);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "one", 1);
        publisher.publish(&topic, "two", 2);
        client.expect_payload("one");
        client.expect_payload("two");
        for number in 0..5 {
            publisher.publish(&topic, number.to_string(), 1);
            client.receive_payload(number.to_string());
            client.expect_silence_until_pong();
        }
    }
}

/// MQTT5-4.3.3-5, MQTT5-4.3.3-6, MQTT5-4.4.0-1, MQTT311-4.4.0-1: after PUBREC it is PUBREL that
/// comes again, never the PUBLISH.
#[test]
fn mqtt5_4_3_3_6_released_message_is_not_published_again() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("released");
        let connect = Connect::persistent(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 2);
        RawClient::join(&broker, version).publish(&topic, "two", 2);
        let id = client.expect_payload("two").packet_id.unwrap();
        client.send(&wire::pubrec(id));
        client.expect_bytes(&wire::pubrel(id));
        client.cut();
        for _ in 0..2 {
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.expect_bytes(&wire::pubrel(id));
            client.expect_silence_until_pong();
            client.cut();
        }
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.expect_bytes(&wire::pubrel(id));
        client.send(&wire::pubcomp(id));
        client.expect_silence_until_pong();
        client.cut();
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.expect_silence_until_pong();
    }
}

/// MQTT5-4.3.3-10, MQTT5-3.1.2-5, MQTT311-4.3.3-2, MQTT311-4.1.0-1: the broker remembers which
/// QoS 2 messages it has received, so that a repetition on a new connection is no second message.
#[test]
fn mqtt5_4_3_3_10_half_received_message_survives_the_connection() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("half");
        let mut watcher = subscriber(&broker, version, &topic, 2);
        let connect = Connect::persistent(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        let publish = Publish::new(version, &topic, "once").qos(2, 3);
        client.send(&publish.encode());
        client.expect_bytes(&wire::pubrec(3));
        client.cut();
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.send(&publish.dup().encode());
        client.expect_bytes(&wire::pubrec(3));
        client.cut();
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.send(&wire::pubrel(3));
        client.expect_bytes(&wire::pubcomp(3));
        watcher.receive_payload("once");
        nothing_before_marker(&mut client, &mut watcher, &topic);
    }
}

/// MQTT5-3.1.4-3, MQTT5-3.1.2-5, MQTT311-3.1.4-2: a session that is taken over goes on, with what
/// was not acknowledged.
#[test]
fn mqtt5_3_1_2_5_session_goes_on_when_it_is_taken_over() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("takeover");
        let connect = Connect::persistent(version, unique_id());
        let (mut old, _) = RawClient::connect(&broker, &connect);
        old.subscribe(&topic, 1);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "owed", 1);
        old.expect_payload("owed");
        let (mut new, connack) = RawClient::connect(&broker, &connect);
        assert_eq!(connack.session_present, version != Version::V3_1);
        old.expect_thrown_out(0x8E);
        assert!(new.receive_payload("owed").dup);
        publisher.publish(&topic, "next", 1);
        new.receive_payload("next");
    }
}

/// A session may be resumed by another version of the protocol.
#[test]
fn session_is_shared_by_all_versions() {
    let broker = Broker::shared();
    for old in Version::ALL {
        for new in Version::ALL {
            let topic = unique_topic("versions");
            let id = unique_id();
            let (mut client, _) = RawClient::connect(&broker, &Connect::persistent(old, &id));
            client.subscribe(&topic, 1);
            client.disconnect();
            RawClient::join(&broker, old).publish(&topic, "m", 1);
            let (mut client, _) = RawClient::connect(&broker, &Connect::persistent(new, &id));
            client.receive_payload("m");
            client.disconnect();
        }
    }
}
