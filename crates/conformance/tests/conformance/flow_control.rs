//! Receive maximum in both directions: chapters 3.3.4 and 4.9.

use crate::support::*;

/// MQTT5-3.3.4-9, MQTT5-4.9.0-1, MQTT5-4.9.0-2: no more than the client's receive maximum is in
/// flight. MQTT5-3.3.4-10, MQTT5-4.9.0-3: QoS 0 and answers flow all the same.
#[test]
fn mqtt5_3_3_4_9_receive_maximum_of_the_client_is_respected() {
    let broker = Broker::shared();
    for maximum in 1..=3_u16 {
        for qos in 1..=2 {
            let topic = unique_topic("window");
            let connect =
                Connect::new(Version::V5, unique_id()).with(prop::receive_maximum(maximum));
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.subscribe(&topic, 2);
            client.subscribe(format!("{topic}/free"), 0);
            let mut publisher = RawClient::join(&broker, Version::V5);
            for number in 0..10 {
                publisher.publish(&topic, number.to_string(), qos);
            }
            publisher.publish(format!("{topic}/free"), "free", 1);
            let mut open = Vec::new();
            for number in 0..maximum {
                open.push(client.expect_payload(number.to_string()));
            }
            client.expect_payload("free");
            client.expect_silence_until_pong();
            for number in maximum..10 {
                let message = open.remove(0);
                client.acknowledge(&message);
                open.push(client.expect_payload(number.to_string()));
                client.expect_silence_until_pong();
            }
        }
    }
}

/// MQTT5 4.9: of QoS 2 only PUBCOMP, or a PUBREC that refuses, gives the place back.
#[test]
fn window_opens_when_the_handshake_has_ended() {
    let broker = Broker::shared();
    let topic = unique_topic("opens");
    let connect = Connect::new(Version::V5, unique_id()).with(prop::receive_maximum(1));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 2);
    let mut publisher = RawClient::join(&broker, Version::V5);
    for number in 0..6 {
        publisher.publish(&topic, number.to_string(), 2);
    }
    for number in (0..6).step_by(2) {
        let id = client.expect_payload(number.to_string()).packet_id.unwrap();
        client.send(&wire::pubrec(id));
        client.expect_bytes(&wire::pubrel(id));
        client.expect_silence_until_pong();
        client.send(&wire::pubcomp(id));
        let id = client
            .expect_payload((number + 1).to_string())
            .packet_id
            .unwrap();
        client.expect_silence_until_pong();
        client.send(&wire::ack_with(first::PUBREC, id, 0x97, &[]));
    }
    client.expect_silence_until_pong();
}

/// MQTT5 4.9: so does a PUBACK that refuses.
#[test]
fn window_opens_after_a_refusing_puback() {
    let broker = Broker::shared();
    let topic = unique_topic("refusing");
    let connect = Connect::new(Version::V5, unique_id()).with(prop::receive_maximum(1));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    for number in 0..5 {
        publisher.publish(&topic, number.to_string(), 1);
    }
    for number in 0..5 {
        let id = client.expect_payload(number.to_string()).packet_id.unwrap();
        client.expect_silence_until_pong();
        client.send(&wire::ack_with(first::PUBACK, id, 0x87, &[]));
    }
}

/// MQTT5-4.9.0-1: the window is that of the connection: what comes again takes its places first.
#[test]
fn mqtt5_4_9_0_1_window_of_a_resumed_session_is_the_new_one() {
    let broker = Broker::shared();
    let topic = unique_topic("resumed");
    let connect = Connect::persistent(Version::V5, unique_id());
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    for number in 0..4 {
        publisher.publish(&topic, number.to_string(), 1);
        client.expect_payload(number.to_string());
    }
    client.cut();
    let narrow = connect.with(prop::receive_maximum(2));
    let (mut client, _) = RawClient::connect(&broker, &narrow);
    let zero = client.expect_payload("0");
    let one = client.expect_payload("1");
    assert!(zero.dup && one.dup);
    client.expect_silence_until_pong();
    client.acknowledge(&zero);
    client.expect_payload("2");
    client.expect_silence_until_pong();
    client.acknowledge(&one);
    client.expect_payload("3");
    client.expect_silence_until_pong();
}

/// MQTT5 4.9, MQTT5-3.3.4-7: the broker's own receive maximum, and one message more.
#[test]
fn mqtt5_3_3_4_7_exceeding_the_server_receive_maximum_is_refused() {
    let broker = Broker::shared();
    let connect = Connect::new(Version::V5, unique_id());
    let (mut client, connack) = RawClient::connect(&broker, &connect);
    let announced = connack
        .properties
        .number(prop::RECEIVE_MAXIMUM)
        .unwrap_or(65_535);
    let maximum = u16::try_from(announced).unwrap();
    let publish = |id| Publish::new(Version::V5, "quota", "m").qos(2, id).encode();
    for id in 1..=maximum {
        client.send(&publish(id));
        client.expect_bytes(&wire::pubrec(id));
    }
    // A repetition takes no further place, and a completed handshake gives one back.
    client.send(
        &Publish::new(Version::V5, "quota", "m")
            .qos(2, 1)
            .dup()
            .encode(),
    );
    client.expect_bytes(&wire::pubrec(1));
    client.send(&wire::pubrel(1));
    client.expect_bytes(&wire::pubcomp(1));
    client.send(&publish(1));
    client.expect_bytes(&wire::pubrec(1));
    client.send(&publish(maximum + 1));
    client.expect_disconnect(0x93);
}

/// MQTT5 3.2.2.3.3: the receive maximum can be configured, and is told.
#[test]
fn configured_receive_maximum_is_told_and_held() {
    let Some(broker) = Broker::with_config("max_inflight_messages 2") else {
        return;
    };
    let (mut client, connack) =
        RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    assert_eq!(connack.properties.number(prop::RECEIVE_MAXIMUM), Some(2));
    let publish = |id| Publish::new(Version::V5, "quota", "m").qos(2, id).encode();
    for id in 1..=2 {
        client.send(&publish(id));
        client.expect_bytes(&wire::pubrec(id));
    }
    client.send(&publish(3));
    client.expect_disconnect(0x93);
}
