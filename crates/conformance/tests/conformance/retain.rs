//! Retained messages: chapter 3.3.1.3.

use crate::support::*;

/// MQTT5-3.3.1-5, MQTT5-3.3.1-9, MQTT311-3.3.1-5, MQTT311-3.3.1-6, MQTT311-3.3.1-8: a new
/// subscription gets the last retained message of each matching topic, with RETAIN and its QoS.
#[test]
fn mqtt5_3_3_1_9_new_subscription_gets_retained_messages() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let base = unique_topic("retained");
        let mut publisher = RawClient::join(&broker, version);
        for qos in 0..=2 {
            publisher.publish_retained(format!("{base}/{qos}"), "replaced", 2);
            publisher.publish_retained(format!("{base}/{qos}"), format!("last {qos}"), qos);
        }
        for granted in 0..=2 {
            let mut client = subscriber(&broker, version, &format!("{base}/+"), granted);
            let mut topics = Vec::new();
            for _ in 0..3 {
                let message = client.receive();
                let qos = message.topic.as_bytes()[base.len() + 1] - b'0';
                assert!(message.retain);
                assert_eq!(message.qos, qos.min(granted));
                assert_eq!(message.payload, format!("last {qos}").as_bytes());
                topics.push(message.topic);
            }
            topics.sort();
            topics.dedup();
            assert_eq!(topics.len(), 3);
            client.expect_silence_until_pong();
        }
        for qos in 0..=2 {
            publisher.publish_retained(format!("{base}/{qos}"), "", 0);
        }
    }
}

/// MQTT311-3.3.1-7, MQTT5-3.3.1-5: a retained message of QoS 0 replaces the one before it.
#[test]
fn mqtt311_3_3_1_7_retained_qos_0_replaces_the_previous_message() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("q0");
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish_retained(&topic, "old", 2);
        publisher.publish_retained(&topic, "new", 0);
        publisher.expect_silence_until_pong();
        let mut client = subscriber(&broker, version, &topic, 2);
        assert_eq!(client.receive().payload, b"new");
        publisher.publish_retained(&topic, "", 0);
    }
}

/// MQTT5-3.3.1-12, MQTT311-3.3.1-9: live, RETAIN is 0.
#[test]
fn mqtt5_3_3_1_12_live_messages_have_retain_0() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("live");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish_retained(&topic, "stored", 1);
        assert!(!watcher.receive_payload("stored").retain);
        publisher.publish_retained(&topic, "", 1);
    }
}

/// MQTT5-3.3.1-13: live, RETAIN is as published where the subscription asks for it.
#[test]
fn mqtt5_3_3_1_13_retain_as_published_keeps_the_flag() {
    let broker = Broker::shared();
    let topic = unique_topic("as-published");
    let options = 1 | option::RETAIN_AS_PUBLISHED;
    let mut watcher = subscriber(&broker, Version::V5, &topic, options);
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish_retained(&topic, "stored", 1);
    assert!(watcher.receive_payload("stored").retain);
    publisher.publish(&topic, "plain", 1);
    assert!(!watcher.receive_payload("plain").retain);
    let mut late = subscriber(&broker, Version::V5, &topic, options);
    assert!(late.receive_payload("stored").retain);
    publisher.publish_retained(&topic, "", 1);
}

/// MQTT5-3.3.1-6, MQTT5-3.3.1-7, MQTT311-3.3.1-10, MQTT311-3.3.1-11: an empty payload is delivered
/// live, removes what is stored, and is not stored.
#[test]
fn mqtt5_3_3_1_6_empty_payload_removes_the_retained_message() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for qos in 0..=2 {
            let topic = unique_topic("removed");
            let mut publisher = RawClient::join(&broker, version);
            publisher.publish_retained(&topic, "stored", 1);
            let mut watcher = subscriber(&broker, version, &topic, 0);
            watcher.receive_payload("stored");
            publisher.publish_retained(&topic, "", qos);
            publisher.expect_silence_until_pong();
            assert!(!watcher.receive_payload("").retain);
            subscriber(&broker, version, &topic, 0).expect_silence_until_pong();
        }
    }
}

/// MQTT5-3.3.1-8, MQTT311-3.3.1-12: RETAIN 0 neither stores, replaces nor removes.
#[test]
fn mqtt5_3_3_1_8_plain_messages_leave_the_store_alone() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("plain");
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "plain", 1);
        subscriber(&broker, version, &topic, 0).expect_silence_until_pong();
        publisher.publish_retained(&topic, "stored", 1);
        publisher.publish(&topic, "plain", 1);
        publisher.publish(&topic, "", 1);
        let mut late = subscriber(&broker, version, &topic, 0);
        late.receive_payload("stored");
        late.expect_silence_until_pong();
        publisher.publish_retained(&topic, "", 1);
    }
}

/// MQTT5-3.3.1-9, MQTT5-3.3.1-10, MQTT5-3.3.1-11: retain handling 0 sends always, 1 to a new
/// subscription, 2 never.
#[test]
fn mqtt5_3_3_1_10_retain_handling_decides_what_is_sent() {
    let broker = Broker::shared();
    let topic = unique_topic("handling");
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish_retained(&topic, "stored", 1);
    for (handling, at_first, again) in [
        (0, true, true),
        (option::RETAIN_IF_NEW, true, false),
        (option::RETAIN_NEVER, false, false),
    ] {
        let mut client = RawClient::join(&broker, Version::V5);
        for sent in [at_first, again] {
            client.subscribe(&topic, handling);
            if sent {
                client.receive_payload("stored");
            }
            client.expect_silence_until_pong();
        }
        // A subscription after UNSUBSCRIBE is new.
        client.unsubscribe(&topic);
        client.subscribe(&topic, handling);
        if at_first {
            client.receive_payload("stored");
        }
        client.expect_silence_until_pong();
    }
    publisher.publish_retained(&topic, "", 1);
}

/// MQTT5-3.3.1-10: a subscription of a resumed session is not new.
#[test]
fn mqtt5_3_3_1_10_resumed_subscription_is_not_new() {
    let broker = Broker::shared();
    let topic = unique_topic("resumed");
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish_retained(&topic, "stored", 1);
    let connect = Connect::persistent(Version::V5, unique_id());
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, option::RETAIN_IF_NEW);
    client.receive_payload("stored");
    client.disconnect();
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, option::RETAIN_IF_NEW);
    client.expect_silence_until_pong();
    publisher.publish_retained(&topic, "", 1);
}

/// MQTT5 4.8.2: retained messages are not sent to a shared subscription.
#[test]
fn shared_subscription_gets_no_retained_messages() {
    let broker = Broker::shared();
    let topic = unique_topic("shared");
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish_retained(&topic, "stored", 1);
    let mut client = subscriber(&broker, Version::V5, &format!("$share/g/{topic}"), 1);
    client.expect_silence_until_pong();
    publisher.publish_retained(&topic, "", 1);
}

/// MQTT311-3.1.2-7: the end of the session that stored it does not remove a retained message.
#[test]
fn mqtt311_3_1_2_7_retained_message_outlives_its_session() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("outlives");
        let id = unique_id();
        let (mut client, _) = RawClient::connect(&broker, &Connect::persistent(version, &id));
        client.publish_retained(&topic, "stored", 1);
        client.disconnect();
        RawClient::connect(&broker, &Connect::new(version, &id))
            .0
            .disconnect();
        let mut late = subscriber(&broker, version, &topic, 0);
        late.receive_payload("stored");
        late.publish_retained(&topic, "", 0);
    }
}

/// MQTT5 3.3.2.3: the properties are stored with the message.
#[test]
fn retained_message_keeps_its_properties() {
    let broker = Broker::shared();
    let topic = unique_topic("properties");
    let mut publisher = RawClient::join(&broker, Version::V5);
    let publish = Publish::new(Version::V5, &topic, "stored")
        .retained()
        .with(prop::text(prop::CONTENT_TYPE, "text"))
        .with(prop::user("a", "b"));
    publisher.publish_packet(publish, 1);
    let subscribe = Subscribe::new(Version::V5, 1)
        .filter(&topic, 1)
        .with(prop::subscription_id(9));
    let mut client = RawClient::join(&broker, Version::V5);
    client.send(&subscribe.encode());
    client.expect_suback(1);
    let message = client.receive_payload("stored");
    assert_eq!(
        message.properties.bytes(prop::CONTENT_TYPE),
        Some(&b"text"[..])
    );
    assert_eq!(
        message.properties.user(),
        [("a".to_owned(), "b".to_owned())]
    );
    assert_eq!(message.properties.number(prop::SUBSCRIPTION_ID), Some(9));
    publisher.publish_retained(&topic, "", 1);
}
