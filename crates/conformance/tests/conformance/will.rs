//! The will: chapters 3.1.2.5 to 3.1.2.7, 3.1.3.2 to 3.1.3.4, 3.14.4.

use crate::support::*;

/// MQTT5-3.1.2-7, MQTT5-3.1.2-8, MQTT311-3.1.2-8: whatever ends the connection without DISCONNECT
/// publishes the will.
#[test]
fn mqtt5_3_1_2_8_will_is_published_after_an_unclean_close() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 0..=2 {
            let topic = unique_topic("will");
            let mut watcher = subscriber(&broker, version, &topic, 2);
            let connect =
                Connect::new(version, unique_id()).will(Will::new(&topic, "will").qos(qos));
            // The client goes.
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.expect_silence_until_pong();
            client.cut();
            assert_eq!(watcher.receive_payload("will").qos, qos);
            // The client breaks the protocol.
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.send(&Publish::new(version, "#", "").encode());
            client.expect_end();
            assert_eq!(watcher.receive_payload("will").qos, qos);
            // The client connects a second time on the same connection.
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.send(&connect.encode());
            client.expect_end();
            assert_eq!(watcher.receive_payload("will").qos, qos);
        }
    }
}

/// MQTT5-3.1.2-8, MQTT311-3.1.2-8: silence for one and a half keep alive is such an end.
#[test]
fn mqtt5_3_1_2_8_will_is_published_after_keep_alive() {
    let broker = Broker::shared();
    let mut watched = Vec::new();
    for version in Version::ALL {
        let topic = unique_topic("will");
        let watcher = subscriber(&broker, version, &topic, 0);
        let connect = Connect::new(version, unique_id())
            .keep_alive(1)
            .will(Will::new(&topic, "silent"));
        watched.push((watcher, RawClient::connect(&broker, &connect).0));
    }
    for (watcher, client) in &mut watched {
        watcher.set_patience(LONG);
        watcher.receive_payload("silent");
        client.expect_closed();
    }
}

/// MQTT5-3.1.2-8, MQTT311-3.1.2-8: so is being taken over, whether the session goes on or not.
#[test]
fn mqtt5_3_1_2_8_will_is_published_at_take_over() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for connect in [
            Connect::new(version, unique_id()),
            Connect::persistent(version, unique_id()),
        ] {
            let topic = unique_topic("taken");
            let mut watcher = subscriber(&broker, version, &topic, 0);
            let old = connect.clone().will(Will::new(&topic, "old will"));
            let (mut client, _) = RawClient::connect(&broker, &old);
            let (mut new, _) = RawClient::connect(&broker, &connect);
            client.expect_thrown_out(0x8E);
            watcher.receive_payload("old will");
            new.expect_silence_until_pong();
        }
    }
}

/// MQTT5-3.1.2-10, MQTT5-3.14.4-3, MQTT311-3.1.2-10, MQTT311-3.14.4-3: a normal DISCONNECT ends the
/// will.
#[test]
fn mqtt5_3_14_4_3_disconnect_discards_the_will() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("discarded");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let connect = Connect::new(version, unique_id()).will(Will::new(&topic, "will"));
        RawClient::connect(&broker, &connect).0.disconnect();
        let mut publisher = RawClient::join(&broker, version);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT5-3.1.2-10, MQTT5-3.1.2-8: only the reason 0 discards it; 0x04 asks for it, and an error is
/// none of the reasons not to publish.
#[test]
fn mqtt5_3_1_2_10_other_reasons_publish_the_will() {
    let broker = Broker::shared();
    for reason in [0x04, 0x80, 0x81, 0x82, 0x83, 0x93, 0x97, 0x99] {
        let topic = unique_topic("reason");
        let mut watcher = subscriber(&broker, Version::V5, &topic, 0);
        let connect = Connect::new(Version::V5, unique_id()).will(Will::new(&topic, "will"));
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.send(&[first::DISCONNECT, 1, reason]);
        client.expect_closed();
        watcher.receive_payload("will");
    }
}

/// MQTT5-3.1.2-10, MQTT311-3.1.2-10: once published it is gone; the next connection has its own
/// or none. MQTT311-3.1.2-12: without a will nothing is published.
#[test]
fn mqtt5_3_1_2_10_will_is_published_once() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("once");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let connect = Connect::persistent(version, unique_id());
        let with_will = connect.clone().will(Will::new(&topic, "will"));
        RawClient::connect(&broker, &with_will).0.cut();
        watcher.receive_payload("will");
        RawClient::connect(&broker, &connect).0.cut();
        let mut publisher = RawClient::join(&broker, version);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT5-3.1.2-14, MQTT311-3.1.2-16: without will retain nothing is stored.
/// MQTT5-3.1.2-15, MQTT311-3.1.2-17: with it the will is stored.
#[test]
fn mqtt5_3_1_2_15_will_retain_decides_whether_it_is_stored() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("retain");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let plain = Connect::new(version, unique_id()).will(Will::new(&topic, "plain"));
        RawClient::connect(&broker, &plain).0.cut();
        assert!(!watcher.receive_payload("plain").retain);
        let mut late = subscriber(&broker, version, &topic, 1);
        late.expect_silence_until_pong();
        let stored = Will::new(&topic, "stored").qos(1).retained();
        let stored = Connect::new(version, unique_id()).will(stored);
        RawClient::connect(&broker, &stored).0.cut();
        assert!(!watcher.receive_payload("stored").retain);
        let mut late = subscriber(&broker, version, &topic, 1);
        let message = late.receive_payload("stored");
        assert_eq!((message.retain, message.qos), (true, 1));
        late.publish_retained(&topic, "", 0);
    }
}

/// MQTT5-3.1.3-10: user properties in their order, and the other properties of the will.
#[test]
fn mqtt5_3_1_3_10_will_properties_are_published_in_order() {
    let broker = Broker::shared();
    let topic = unique_topic("properties");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 0);
    let will = Will::new(&topic, "will")
        .with(prop::user("z", "1"))
        .with(prop::byte(prop::PAYLOAD_FORMAT, 1))
        .with(prop::user("a", "2"))
        .with(prop::text(prop::CONTENT_TYPE, "text"))
        .with(prop::text(prop::RESPONSE_TOPIC, "answer"))
        .with(prop::text(prop::CORRELATION_DATA, [0, 255]))
        .with(prop::message_expiry(1000))
        .with(prop::will_delay(0))
        .with(prop::user("z", "3"));
    let connect = Connect::new(Version::V5, unique_id()).will(will);
    RawClient::connect(&broker, &connect).0.cut();
    let message = watcher.receive_payload("will");
    let properties = &message.properties;
    let pairs = [("z", "1"), ("a", "2"), ("z", "3")];
    assert_eq!(
        properties.user(),
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(properties.number(prop::PAYLOAD_FORMAT), Some(1));
    assert_eq!(properties.bytes(prop::CONTENT_TYPE), Some(&b"text"[..]));
    assert_eq!(properties.bytes(prop::RESPONSE_TOPIC), Some(&b"answer"[..]));
    assert_eq!(
        properties.bytes(prop::CORRELATION_DATA),
        Some(&[0, 255][..])
    );
    assert!(matches!(
        properties.number(prop::MESSAGE_EXPIRY),
        Some(990..=1000)
    ));
}

/// MQTT5-3.1.2-8, MQTT5-3.1.3-9: a will with a delay waits; the client that comes back in time has
/// its will undone, the other's is published.
#[test]
fn mqtt5_3_1_3_9_reconnecting_within_the_delay_cancels_the_will() {
    let broker = Broker::shared();
    let topic = unique_topic("delay");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 1);
    let delayed = |payload: &str| {
        let will = Will::new(&topic, payload).with(prop::will_delay(1));
        Connect::persistent(Version::V5, unique_id()).will(will)
    };
    let returning = delayed("cancelled");
    RawClient::connect(&broker, &returning).0.cut();
    RawClient::connect(&broker, &delayed("published")).0.cut();
    let mut publisher = RawClient::join(&broker, Version::V5);
    nothing_before_marker(&mut publisher, &mut watcher, &topic);
    let (back, connack) = RawClient::connect(&broker, &returning);
    assert!(connack.session_present);
    watcher.set_patience(LONG);
    // A normal end, so that the new connection's will says nothing.
    back.disconnect();
    watcher.receive_payload("published");
    nothing_before_marker(&mut publisher, &mut watcher, &topic);
}

/// MQTT5 3.1.3.2.2: the delay ends with the session: by its expiry, or by a clean start.
#[test]
fn will_delay_ends_with_the_session() {
    let broker = Broker::shared();
    let topic = unique_topic("ends");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 1);
    let id = unique_id();
    let will = Will::new(&topic, "will").with(prop::will_delay(1000));
    // No session beyond the connection: no delay.
    let connect = Connect::new(Version::V5, &id).will(will.clone());
    RawClient::connect(&broker, &connect).0.cut();
    watcher.receive_payload("will");
    // The session is replaced by a clean one.
    let connect = Connect::persistent(Version::V5, &id).will(will.clone());
    RawClient::connect(&broker, &connect).0.cut();
    let mut publisher = RawClient::join(&broker, Version::V5);
    nothing_before_marker(&mut publisher, &mut watcher, &topic);
    RawClient::connect(&broker, &Connect::new(Version::V5, &id))
        .0
        .disconnect();
    watcher.receive_payload("will");
    // The session expires.
    let connect = Connect::new(Version::V5, &id)
        .with(prop::session_expiry(1))
        .will(will);
    RawClient::connect(&broker, &connect).0.cut();
    watcher.set_patience(LONG);
    watcher.receive_payload("will");
}

/// MQTT5-3.1.2-8: being taken over starts the delay of a session that goes on; the new connection
/// has come in time, so nothing is published.
#[test]
fn mqtt5_3_1_2_8_delayed_will_is_cancelled_by_take_over() {
    let broker = Broker::shared();
    let topic = unique_topic("taken");
    let mut watcher = subscriber(&broker, Version::V5, &topic, 1);
    let connect = Connect::persistent(Version::V5, unique_id());
    let will = Will::new(&topic, "will").with(prop::will_delay(1));
    let (mut old, _) = RawClient::connect(&broker, &connect.clone().will(will));
    let (_new, _) = RawClient::connect(&broker, &connect);
    old.expect_disconnect(0x8E);
    until_expired(&broker, 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    nothing_before_marker(&mut publisher, &mut watcher, &topic);
}

/// MQTT5-3.1.2-7: an empty will payload is a will; with retain it clears what is stored.
#[test]
fn will_may_be_empty() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("empty");
        let mut watcher = subscriber(&broker, version, &topic, 0);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish_retained(&topic, "stored", 1);
        watcher.receive_payload("stored");
        let connect = Connect::new(version, unique_id()).will(Will::new(&topic, "").retained());
        RawClient::connect(&broker, &connect).0.cut();
        watcher.receive_payload("");
        subscriber(&broker, version, &topic, 0).expect_silence_until_pong();
    }
}
