//! Message expiry: chapters 3.3.2.3.3 and 4.3.3.

use crate::support::*;

/// MQTT5-3.3.2-5: what has expired in a queue, or in the retained store, is not delivered; what has
/// more time is.
#[test]
fn mqtt5_3_3_2_5_expired_messages_are_not_delivered() {
    let broker = Broker::shared();
    let topic = unique_topic("expired");
    let connect = Connect::persistent(Version::V5, unique_id());
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 2);
    client.disconnect();
    let mut publisher = RawClient::join(&broker, Version::V5);
    for qos in 1..=2 {
        for (payload, secs) in [("short", Some(1)), ("long", Some(1000)), ("endless", None)] {
            let publish = Publish::new(Version::V5, &topic, payload);
            let publish = match secs {
                Some(secs) => publish.with(prop::message_expiry(secs)),
                None => publish,
            };
            publisher.publish_packet(publish, qos);
        }
    }
    until_expired(&broker, 1);
    let (mut client, _) = RawClient::connect(&broker, &connect);
    for qos in 1..=2 {
        assert_eq!(client.receive_payload("long").qos, qos);
        assert_eq!(client.receive_payload("endless").qos, qos);
    }
    client.expect_silence_until_pong();
}

/// MQTT5-3.3.2-5: an expiry of 0 leaves no time in a queue.
#[test]
fn mqtt5_3_3_2_5_expiry_of_zero_is_not_delivered_later() {
    let broker = Broker::shared();
    let topic = unique_topic("zero");
    let connect = Connect::persistent(Version::V5, unique_id());
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 1);
    client.disconnect();
    let mut publisher = RawClient::join(&broker, Version::V5);
    let publish = Publish::new(Version::V5, &topic, "zero").with(prop::message_expiry(0));
    publisher.publish_packet(publish, 1);
    until_expired(&broker, 0);
    publisher.publish(&topic, "after", 1);
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.receive_payload("after");
}

/// MQTT5-3.3.2-6: what is left of the expiry is told, live, from a queue, and from the store.
#[test]
fn mqtt5_3_3_2_6_expiry_is_reduced_by_the_time_of_waiting() {
    let broker = Broker::shared();
    let topic = unique_topic("reduced");
    let connect = Connect::persistent(Version::V5, unique_id());
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 1);
    client.disconnect();
    let mut live = subscriber(&broker, Version::V5, &topic, 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    let publish = Publish::new(Version::V5, &topic, "m")
        .retained()
        .with(prop::message_expiry(500));
    publisher.publish_packet(publish, 1);
    let left = live
        .receive_payload("m")
        .properties
        .number(prop::MESSAGE_EXPIRY);
    assert!(matches!(left, Some(490..=500)), "{left:?}");
    until_expired(&broker, 1);
    let (mut client, _) = RawClient::connect(&broker, &connect);
    let left = client
        .receive_payload("m")
        .properties
        .number(prop::MESSAGE_EXPIRY);
    assert!(matches!(left, Some(480..=499)), "{left:?}");
    let mut late = subscriber(&broker, Version::V5, &topic, 1);
    let left = late
        .receive_payload("m")
        .properties
        .number(prop::MESSAGE_EXPIRY);
    assert!(matches!(left, Some(480..=499)), "{left:?}");
    publisher.publish_retained(&topic, "", 1);
}

/// MQTT5-4.3.3-7, MQTT5-4.3.3-13: what has been sent as QoS 2 is completed even when its time is
/// over: sent again before PUBREC, released again after it.
#[test]
fn mqtt5_4_3_3_7_qos_2_delivery_is_completed_after_expiry() {
    let broker = Broker::shared();
    let topic = unique_topic("completed");
    let connect = Connect::persistent(Version::V5, unique_id());
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 2);
    let mut publisher = RawClient::join(&broker, Version::V5);
    for payload in ["sent", "received"] {
        let publish = Publish::new(Version::V5, &topic, payload).with(prop::message_expiry(1));
        publisher.publish_packet(publish, 2);
    }
    let sent = client.expect_payload("sent").packet_id.unwrap();
    let received = client.expect_payload("received").packet_id.unwrap();
    client.send(&wire::pubrec(received));
    client.expect_bytes(&wire::pubrel(received));
    client.cut();
    until_expired(&broker, 1);
    let (mut client, _) = RawClient::connect(&broker, &connect);
    let again = client.expect_payload("sent");
    assert_eq!((again.packet_id, again.dup), (Some(sent), true));
    client.expect_bytes(&wire::pubrel(received));
    client.send(&wire::pubcomp(received));
    client.acknowledge(&again);
    client.expect_silence_until_pong();
}

/// MQTT5-4.3.3-13: as receiver, too, the broker completes what has expired meanwhile.
#[test]
fn mqtt5_4_3_3_13_pubrel_is_answered_after_expiry() {
    let broker = Broker::shared();
    let mut client = RawClient::join(&broker, Version::V5);
    let publish = Publish::new(Version::V5, unique_topic("late"), "m")
        .qos(2, 6)
        .with(prop::message_expiry(1));
    client.send(&publish.encode());
    client.expect_bytes(&wire::pubrec(6));
    until_expired(&broker, 1);
    client.send(&publish.dup().encode());
    client.expect_bytes(&wire::pubrec(6));
    client.send(&wire::pubrel(6));
    client.expect_bytes(&wire::pubcomp(6));
}
