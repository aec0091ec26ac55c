//! Topic aliases: chapter 3.3.2.3.4.

use std::collections::HashMap;

use crate::support::*;

/// MQTT5-3.3.2-12: every alias up to the maximum that CONNACK told is accepted, and stands for the
/// topic that came with it last.
#[test]
fn mqtt5_3_3_2_12_all_aliases_that_were_allowed_are_accepted() {
    let broker = Broker::shared();
    let base = unique_topic("alias");
    let mut watcher = subscriber(&broker, Version::V5, &format!("{base}/#"), 0);
    let (mut client, connack) =
        RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    let maximum = connack
        .properties
        .number(prop::TOPIC_ALIAS_MAXIMUM)
        .unwrap_or(0);
    let maximum = u16::try_from(maximum).unwrap();
    assert!(maximum > 0, "the test needs a broker with aliases");
    for round in 0..2 {
        for alias in 1..=maximum {
            let topic = format!("{base}/{round}/{alias}");
            let with_topic =
                Publish::new(Version::V5, &topic, "named").with(prop::topic_alias(alias));
            client.send(&with_topic.encode());
            assert_eq!(watcher.receive_payload("named").topic, topic);
        }
        for alias in (1..=maximum).rev() {
            let topic = format!("{base}/{round}/{alias}");
            let by_alias = Publish::new(Version::V5, "", "aliased").with(prop::topic_alias(alias));
            client.publish_packet(by_alias, 1);
            let message = watcher.receive_payload("aliased");
            assert_eq!(message.topic, topic);
            assert!(
                !message.properties.has(prop::TOPIC_ALIAS),
                "aliases are not passed on"
            );
        }
    }
}

/// MQTT5-3.3.2-9, MQTT5-3.2.2-17: more than CONNACK allowed.
#[test]
fn mqtt5_3_3_2_9_alias_above_the_maximum_is_refused() {
    let broker = Broker::shared();
    let (mut client, connack) =
        RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    let maximum = connack
        .properties
        .number(prop::TOPIC_ALIAS_MAXIMUM)
        .unwrap_or(0);
    let above = u16::try_from(maximum + 1).unwrap();
    let publish = Publish::new(Version::V5, "t", "p").with(prop::topic_alias(above));
    client.send(&publish.encode());
    client.expect_disconnect(0x94);
}

/// MQTT5-3.2.2-18: where CONNACK tells no maximum, no alias is accepted.
#[test]
fn mqtt5_3_2_2_18_no_alias_without_a_maximum() {
    let Some(broker) = Broker::with_config("max_topic_alias 0") else {
        return;
    };
    let (mut client, connack) =
        RawClient::connect(&broker, &Connect::new(Version::V5, unique_id()));
    assert!(!connack.properties.has(prop::TOPIC_ALIAS_MAXIMUM));
    let publish = Publish::new(Version::V5, "t", "p").with(prop::topic_alias(1));
    client.send(&publish.encode());
    client.expect_disconnect(0x94);
}

/// MQTT5-3.3.2-8: alias 0.
#[test]
fn mqtt5_3_3_2_8_alias_zero_is_refused() {
    let broker = Broker::shared();
    for topic in ["t", ""] {
        let mut client = RawClient::join(&broker, Version::V5);
        let publish = Publish::new(Version::V5, topic, "p").with(prop::topic_alias(0));
        client.send(&publish.encode());
        client.expect_end();
    }
}

/// MQTT5 3.3.2.1: an alias that no topic has been given to.
#[test]
fn unknown_alias_is_a_protocol_error() {
    let broker = Broker::shared();
    let publish = Publish::new(Version::V5, "", "p").with(prop::topic_alias(1));
    thrown_out(&broker, Version::V5, &publish.encode(), 0x82);
}

/// MQTT5-3.3.2-7: an alias of the connection before is unknown, in both directions, even when the
/// session goes on.
#[test]
fn mqtt5_3_3_2_7_aliases_end_with_the_connection() {
    let broker = Broker::shared();
    let topic = unique_topic("ends");
    let connect = Connect::persistent(Version::V5, unique_id()).with(prop::topic_alias_maximum(5));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 1);
    let publish = Publish::new(Version::V5, &topic, "p").with(prop::topic_alias(1));
    client.publish_packet(publish, 1);
    assert_eq!(client.receive_payload("p").topic, topic);
    client.cut();
    let (mut client, _) = RawClient::connect(&broker, &connect);
    RawClient::join(&broker, Version::V5).publish(&topic, "named again", 1);
    assert_eq!(client.receive_payload("named again").topic, topic);
    client.send(
        &Publish::new(Version::V5, "", "p")
            .with(prop::topic_alias(1))
            .encode(),
    );
    client.expect_disconnect(0x82);
}

/// MQTT5-3.3.2-7: an alias belongs to the connection that set it.
#[test]
fn mqtt5_3_3_2_7_aliases_of_two_clients_are_apart() {
    let broker = Broker::shared();
    let base = unique_topic("apart");
    let mut watcher = subscriber(&broker, Version::V5, &format!("{base}/#"), 0);
    let mut clients: Vec<RawClient> = (0..3)
        .map(|_| RawClient::join(&broker, Version::V5))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let topic = format!("{base}/{number}");
        let publish = Publish::new(Version::V5, topic, "named").with(prop::topic_alias(1));
        client.publish_packet(publish, 1);
        watcher.receive_payload("named");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let publish = Publish::new(Version::V5, "", "aliased").with(prop::topic_alias(1));
        client.publish_packet(publish, 1);
        assert_eq!(
            watcher.receive_payload("aliased").topic,
            format!("{base}/{number}")
        );
    }
}

/// MQTT5-3.1.2-26, MQTT5-3.3.2-11, MQTT5-3.3.2-8: aliases to a client are from 1 to its maximum,
/// and always stand for the topic that came with them.
#[test]
fn mqtt5_3_1_2_26_aliases_to_a_client_stay_within_its_maximum() {
    let broker = Broker::shared();
    for maximum in [1, 3, 100] {
        let base = unique_topic("outbound");
        let connect =
            Connect::new(Version::V5, unique_id()).with(prop::topic_alias_maximum(maximum));
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(format!("{base}/#"), 1);
        let mut publisher = RawClient::join(&broker, Version::V5);
        let mut known: HashMap<u32, String> = HashMap::new();
        for round in 0..3 {
            for number in 0..15 {
                let topic = format!("{base}/{number}");
                publisher.publish(&topic, format!("{round} {number}"), 1);
                let message = client.receive_payload(format!("{round} {number}"));
                let alias = message.properties.number(prop::TOPIC_ALIAS);
                if let Some(alias) = alias {
                    assert!((1..=u32::from(maximum)).contains(&alias), "alias {alias}");
                    if !message.topic.is_empty() {
                        known.insert(alias, message.topic.clone());
                    }
                    assert_eq!(known.get(&alias), Some(&topic));
                } else {
                    assert_eq!(message.topic, topic);
                }
            }
        }
    }
}

/// MQTT5-3.1.2-27: a client that allows none is sent none.
#[test]
fn mqtt5_3_1_2_27_no_alias_to_a_client_that_allows_none() {
    let broker = Broker::shared();
    for connect in [
        Connect::new(Version::V5, unique_id()),
        Connect::new(Version::V5, unique_id()).with(prop::topic_alias_maximum(0)),
    ] {
        let topic = unique_topic("none");
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 0);
        let mut publisher = RawClient::join(&broker, Version::V5);
        for _ in 0..3 {
            publisher.publish(&topic, "m", 0);
            let message = client.receive_payload("m");
            assert_eq!(message.topic, topic);
            assert!(!message.properties.has(prop::TOPIC_ALIAS));
        }
    }
}

/// MQTT5 3.3.2.3.4: an alias that went with a message too large for the client was never seen by
/// it, so the next message must name the topic.
#[test]
fn alias_of_a_dropped_message_is_not_used() {
    let broker = Broker::shared();
    let topic = unique_topic("dropped");
    let connect = Connect::new(Version::V5, unique_id())
        .with(prop::topic_alias_maximum(5))
        .with(prop::maximum_packet_size(200));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(&topic, 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish(&topic, "x".repeat(300), 1);
    publisher.publish(&topic, "fits", 1);
    assert_eq!(client.receive_payload("fits").topic, topic);
}
