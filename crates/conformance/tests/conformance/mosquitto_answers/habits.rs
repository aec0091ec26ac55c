//! Habits in success that clients have come to rely on.

use super::*;

/// PUBACK tells that nobody subscribes, PUBREC does not; success has the short form.
#[test]
fn acknowledgements_have_their_shortest_form() {
    let broker = Broker::shared();
    let topic = unique_topic("nobody");
    let lonely = |qos: u8| {
        let topic = topic.clone();
        move |version: Version| Publish::new(version, &topic, "m").qos(qos, 3).encode()
    };
    check_connected(
        &broker,
        &[
            (
                "QoS 1 to nobody",
                &V5,
                &lonely(1),
                GoOn(vec![vec![0x40, 3, 0, 3, 0x10]]),
            ),
            (
                "QoS 1 to nobody in 3.x",
                &V3,
                &lonely(1),
                GoOn(vec![vec![0x40, 2, 0, 3]]),
            ),
            (
                "QoS 2 to nobody",
                &Version::ALL,
                &lonely(2),
                GoOn(vec![vec![0x50, 2, 0, 3]]),
            ),
        ],
    );
    let retained = Publish::new(Version::V5, &topic, "m").retained().qos(1, 3);
    let mut client = RawClient::join(&broker, Version::V5);
    client.send(&retained.encode());
    client.expect_bytes(&[0x40, 3, 0, 3, 0x10]);
    client.publish_retained(&topic, "", 0);
    let _watcher = subscriber(&broker, Version::V5, &topic, 0);
    check_connected(
        &broker,
        &[(
            "QoS 1 to somebody",
            &V5,
            &lonely(1),
            GoOn(vec![vec![0x40, 2, 0, 3]]),
        )],
    );
}

/// A subscription that is there and skipped is not nobody.
#[test]
fn skipped_subscription_counts_as_a_subscriber() {
    let broker = Broker::shared();
    let topic = unique_topic("skipped");
    let mut client = subscriber(&broker, Version::V5, &topic, 1 | option::NO_LOCAL);
    client.send(&Publish::new(Version::V5, &topic, "m").qos(1, 9).encode());
    client.expect_bytes(&[0x40, 2, 0, 9]);
}

/// QoS 1 is given to a subscriber before its PUBACK, QoS 2 at PUBREL before its PUBCOMP.
#[test]
fn delivery_comes_before_the_acknowledgement() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("before");
        let mut client = subscriber(&broker, version, &topic, 0);
        let delivered = Publish::new(version, &topic, "m").encode();
        client.send(&Publish::new(version, &topic, "m").qos(1, 30).encode());
        client.expect_bytes(&delivered);
        client.expect_bytes(&wire::puback(30));
        client.send(&Publish::new(version, &topic, "m").qos(2, 31).encode());
        client.expect_bytes(&wire::pubrec(31));
        client.expect_silence_until_pong();
        client.send(&wire::pubrel(31));
        client.expect_bytes(&delivered);
        client.expect_bytes(&wire::pubcomp(31));
    }
}

#[test]
fn suback_comes_before_retained_messages() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("suback");
        let mut client = RawClient::join(&broker, version);
        client.publish_retained(&topic, "stored", 1);
        client.send(&Subscribe::new(version, 9).filter(&topic, 0).encode());
        let mut body = wire::two(9).to_vec();
        body.extend(if version.is_v5() { &[0, 0][..] } else { &[0] });
        client.expect_bytes(&wire::packet(first::SUBACK, &body));
        client.expect_bytes(&Publish::new(version, &topic, "stored").retained().encode());
        client.publish_retained(&topic, "", 0);
    }
}

/// The publisher's properties in its order, then expiry, alias, subscription identifier.
#[test]
fn forwarded_properties_have_an_order() {
    let broker = Broker::shared();
    let topic = unique_topic("order");
    let connect = Connect::new(Version::V5, unique_id()).with(prop::topic_alias_maximum(5));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    let subscribe = Subscribe::new(Version::V5, 1)
        .filter(&topic, 0)
        .with(prop::subscription_id(300));
    client.send(&subscribe.encode());
    client.expect_suback(1);
    let publish = Publish::new(Version::V5, &topic, "m")
        .with(prop::user("a", "1"))
        .with(prop::text(prop::CORRELATION_DATA, "c"))
        .with(prop::message_expiry(u32::MAX))
        .with(prop::byte(prop::PAYLOAD_FORMAT, 1))
        .with(prop::user("b", "2"))
        .with(prop::text(prop::CONTENT_TYPE, "t"))
        .with(prop::text(prop::RESPONSE_TOPIC, "r"));
    RawClient::join(&broker, Version::V5).publish_packet(publish, 0);
    let ids: Vec<u8> = client
        .receive_payload("m")
        .properties
        .0
        .iter()
        .map(|property| property.id)
        .collect();
    assert_eq!(ids, [0x26, 0x09, 0x01, 0x26, 0x03, 0x08, 0x02, 0x23, 0x0B]);
}

/// The first ten topics get the aliases 1 to 10, for good.
#[test]
fn aliases_are_given_to_the_first_topics() {
    let broker = Broker::shared();
    let base = unique_topic("aliases");
    let connect = Connect::new(Version::V5, unique_id()).with(prop::topic_alias_maximum(100));
    let (mut client, _) = RawClient::connect(&broker, &connect);
    client.subscribe(format!("{base}/#"), 0);
    let mut publisher = RawClient::join(&broker, Version::V5);
    for round in 0..2 {
        for number in 1..=12 {
            let topic = format!("{base}/{number}");
            publisher.publish(&topic, "m", 0);
            let message = client.receive_payload("m");
            let alias = message.properties.number(prop::TOPIC_ALIAS);
            assert_eq!(alias, (number <= 10).then_some(number));
            let bare = round == 1 && number <= 10;
            assert_eq!(message.topic.is_empty(), bare);
        }
    }
}

#[test]
fn packet_ids_count_from_one() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("count");
        let mut client = subscriber(&broker, version, &topic, 2);
        let mut publisher = RawClient::join(&broker, version);
        for id in 1..=30 {
            publisher.publish(&topic, "m", 1 + u8::try_from(id % 2).unwrap());
            assert_eq!(client.receive_payload("m").packet_id, Some(id));
        }
    }
}

/// Each subscription of a client has its copy: literal levels first, then `+`, then `#`.
#[test]
fn copies_come_in_the_order_of_the_levels() {
    let broker = Broker::shared();
    let base = unique_topic("levels");
    let mut client = RawClient::join(&broker, Version::V5);
    let filters = [
        "a/b/#", "a/b", "a/+/#", "a/+", "a/#", "+/b", "+/+", "+/#", "#",
    ];
    for (number, filter) in filters.iter().enumerate().rev() {
        let number = u16::try_from(number + 1).unwrap();
        let subscribe = Subscribe::new(Version::V5, number)
            .filter(format!("{base}/{filter}"), 0)
            .with(prop::subscription_id(u32::from(number)));
        client.send(&subscribe.encode());
        client.expect_suback(number);
    }
    RawClient::join(&broker, Version::V5).publish(format!("{base}/a/b"), "m", 0);
    let order: Vec<u32> = filters
        .iter()
        .filter_map(|_| {
            client
                .receive_payload("m")
                .properties
                .number(prop::SUBSCRIPTION_ID)
        })
        .collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// Without a receive maximum 20 messages are in flight; a larger one from the client counts.
#[test]
fn twenty_messages_are_in_flight_unless_the_client_says_more() {
    let broker = Broker::shared();
    let mut cases: Vec<(Connect, u16)> = Version::ALL
        .iter()
        .map(|version| (Connect::new(*version, unique_id()), 20))
        .collect();
    let more = Connect::new(Version::V5, unique_id()).with(prop::receive_maximum(35));
    cases.push((more, 35));
    for (connect, window) in cases {
        let topic = unique_topic("twenty");
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 1);
        client.subscribe(format!("{topic}/end"), 0);
        let mut publisher = RawClient::join(&broker, connect.version());
        for number in 0..50 {
            publisher.publish(&topic, number.to_string(), 1);
        }
        publisher.publish(format!("{topic}/end"), "end", 1);
        for number in 0..window {
            client.expect_payload(number.to_string());
        }
        client.expect_payload("end");
        client.expect_silence_until_pong();
    }
}

/// A session that is away has 1000 messages waiting, and then the newest are dropped; their
/// publisher is not told. QoS 0 does not wait.
#[test]
fn queue_of_an_absent_client_ends_at_its_limit() {
    let Some(small) = Broker::with_config("max_queued_messages 5") else {
        return;
    };
    for (broker, limit) in [(Broker::shared(), 1000), (small, 5)] {
        for version in Version::OASIS {
            let topic = unique_topic("queue");
            let connect = Connect::persistent(version, unique_id());
            let (mut client, _) = RawClient::connect(&broker, &connect);
            client.subscribe(&topic, 1);
            client.disconnect();
            let mut publisher = RawClient::join(&broker, version);
            publisher.publish(&topic, "QoS 0", 0);
            for number in 0..limit + 5 {
                publisher.send(
                    &Publish::new(version, &topic, number.to_string())
                        .qos(1, 1)
                        .encode(),
                );
                publisher.expect_bytes(&wire::puback(1));
            }
            let (mut client, _) = RawClient::connect(&broker, &connect);
            for number in 0..limit {
                client.receive_payload(number.to_string());
            }
            client.expect_silence_until_pong();
        }
    }
}

#[test]
fn qos_0_waits_for_an_absent_client_where_configured() {
    let Some(broker) = Broker::with_config("queue_qos0_messages true") else {
        return;
    };
    for version in Version::ALL {
        let topic = unique_topic("queued");
        let connect = Connect::persistent(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 0);
        client.disconnect();
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "waited", 0);
        publisher.expect_silence_until_pong();
        let (mut client, _) = RawClient::connect(&broker, &connect);
        assert_eq!(client.receive_payload("waited").qos, 0);
    }
}

#[test]
fn qos_is_upgraded_where_configured() {
    let Some(broker) = Broker::with_config("upgrade_outgoing_qos true") else {
        return;
    };
    for version in Version::ALL {
        for granted in 0..=2 {
            let topic = unique_topic("upgrade");
            let mut client = subscriber(&broker, version, &topic, granted);
            RawClient::join(&broker, version).publish(&topic, "m", 0);
            assert_eq!(client.receive_payload("m").qos, granted);
        }
    }
}

/// Shared subscriptions are there for 3.x as well.
#[test]
fn older_clients_may_share() {
    let broker = Broker::shared();
    for version in V3 {
        let topic = unique_topic("share");
        let mut client = subscriber(&broker, version, &format!("$share/g/{topic}"), 1);
        RawClient::join(&broker, version).publish(&topic, "m", 1);
        assert_eq!(client.receive_payload("m").topic, topic);
    }
}

/// A client that says it is a bridge does not hear itself and sees RETAIN as published.
#[test]
fn bridge_bit_of_the_level_changes_all_subscriptions() {
    let broker = Broker::shared();
    for version in V3 {
        let topic = unique_topic("bridge");
        let connect = Connect::new(version, unique_id()).level(version.level() | 0x80);
        let (mut bridge, _) = RawClient::connect(&broker, &connect);
        bridge.subscribe(&topic, 1);
        bridge.publish(&topic, "own", 1);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish_retained(&topic, "other", 1);
        assert!(bridge.receive_payload("other").retain);
        publisher.publish_retained(&topic, "", 0);
    }
}

/// Publishing to the control plane, where nothing answers, is answered to that client alone.
#[test]
fn control_topic_without_an_endpoint() {
    let broker = Broker::shared();
    let mut watcher = subscriber(&broker, Version::V5, "$CONTROL/#", 0);
    let mut client = RawClient::join(&broker, Version::V5);
    client.send(
        &Publish::new(Version::V5, "$CONTROL/none/v1", "{}")
            .qos(1, 5)
            .encode(),
    );
    let answer = "{\"error\": \"endpoint not available\"}";
    let message = Publish::new(Version::V5, "$CONTROL/none/v1/response", answer);
    client.expect_bytes(&message.encode());
    client.expect_bytes(&wire::puback(5));
    let marker = unique_topic("marker");
    watcher.subscribe(&marker, 1);
    nothing_before_marker(&mut client, &mut watcher, &marker);
}
