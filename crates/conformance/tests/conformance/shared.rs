//! Shared subscriptions: chapter 4.8.2.

use crate::support::*;

/// MQTT5-4.8.2-1, MQTT5-4.8.2-2: `$share`, a share name without wildcards, and a filter.
#[test]
fn mqtt5_4_8_2_1_malformed_shared_filters_are_refused() {
    let broker = Broker::shared();
    for filter in [
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//t",
        "$share/+/t",
        "$share/#/t",
        "$share/g+/t",
        "$share/g#/t",
        "$share/#",
    ] {
        let subscribe = Subscribe::new(Version::V5, 1).filter(filter, 0).encode();
        thrown_out(&broker, Version::V5, &subscribe, 0x82);
    }
}

/// MQTT5 4.8.2: each message goes to one member of each group, and to every plain subscription.
#[test]
fn each_group_gets_each_message_once() {
    let broker = Broker::shared();
    let topic = unique_topic("once");
    let mut members: Vec<RawClient> = ["g1", "g1", "g1", "g2", "g2"]
        .iter()
        .map(|group| subscriber(&broker, Version::V5, &format!("$share/{group}/{topic}"), 1))
        .collect();
    let mut plain = subscriber(&broker, Version::V5, &topic, 1);
    for member in &mut members {
        assert_eq!(member.subscribe(format!("{topic}/end"), 1), 1);
    }
    let mut publisher = RawClient::join(&broker, Version::V5);
    for number in 0..30_u8 {
        publisher.publish(&topic, [number], 1);
    }
    publisher.publish(format!("{topic}/end"), "end", 1);
    let mut got: Vec<Vec<u8>> = Vec::new();
    for member in &mut members {
        let mut own = Vec::new();
        loop {
            let message = member.receive();
            if message.payload == b"end" {
                break;
            }
            assert_eq!(message.topic, topic);
            own.extend(message.payload);
        }
        got.push(own);
    }
    for group in [&got[..3], &got[3..]] {
        let mut all: Vec<u8> = group.concat();
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<u8>>());
        assert!(
            group.iter().all(|own| !own.is_empty()),
            "the load is shared"
        );
    }
    for number in 0..30 {
        plain.receive_payload([number]);
    }
}

/// MQTT5-4.8.2-3: each member is served at the QoS that it was granted.
#[test]
fn mqtt5_4_8_2_3_each_member_has_its_own_qos() {
    let broker = Broker::shared();
    for granted in 0..=2 {
        let topic = unique_topic("qos");
        let filter = format!("$share/g/{topic}");
        let mut member = subscriber(&broker, Version::V5, &filter, granted);
        RawClient::join(&broker, Version::V5).publish(&topic, "m", 2);
        assert_eq!(member.receive_payload("m").qos, granted);
        let mut next = subscriber(&broker, Version::V5, &filter, 1);
        member.unsubscribe(&filter);
        RawClient::join(&broker, Version::V5).publish(&topic, "m", 2);
        assert_eq!(next.receive_payload("m").qos, 1);
    }
}

/// A group of one member, which is given a QoS 2 message, and a second member that joins later.
struct Group {
    connect: Connect,
    first: RawClient,
    second: RawClient,
    packet_id: u16,
}

impl Group {
    fn with_message_in_flight(broker: &Broker, qos: u8) -> Self {
        let topic = unique_topic("group");
        let filter = format!("$share/g/{topic}");
        let connect = Connect::persistent(Version::V5, unique_id());
        let (mut first, _) = RawClient::connect(broker, &connect);
        first.subscribe(&filter, 2);
        RawClient::join(broker, Version::V5).publish(&topic, "m", qos);
        let packet_id = first.expect_payload("m").packet_id.unwrap();
        let second = subscriber(broker, Version::V5, &filter, 2);
        Self {
            connect,
            first,
            second,
            packet_id,
        }
    }
}

/// The second member was given nothing, and would have been before the marker.
fn has_nothing(broker: &Broker, member: &mut RawClient) {
    let marker = unique_topic("marker");
    member.subscribe(&marker, 1);
    let mut publisher = RawClient::join(broker, Version::V5);
    nothing_before_marker(&mut publisher, member, &marker);
}

/// MQTT5-4.8.2-4: a QoS 2 delivery that has begun waits for its member, before and after PUBREC.
#[test]
fn mqtt5_4_8_2_4_qos_2_in_flight_waits_for_its_member() {
    let broker = Broker::shared();
    for received in [false, true] {
        let mut group = Group::with_message_in_flight(&broker, 2);
        let id = group.packet_id;
        if received {
            group.first.send(&wire::pubrec(id));
            group.first.expect_bytes(&wire::pubrel(id));
        }
        group.first.cut();
        has_nothing(&broker, &mut group.second);
        let (mut back, _) = RawClient::connect(&broker, &group.connect);
        if received {
            back.expect_bytes(&wire::pubrel(id));
            back.send(&wire::pubcomp(id));
        } else {
            let message = back.receive_payload("m");
            assert_eq!((message.packet_id, message.dup), (Some(id), true));
        }
        back.expect_silence_until_pong();
    }
}

/// MQTT5-4.8.2-5: when the member's session ends instead, the message goes to nobody else.
#[test]
fn mqtt5_4_8_2_5_qos_2_in_flight_ends_with_the_session() {
    let broker = Broker::shared();
    let mut group = Group::with_message_in_flight(&broker, 2);
    group.first.send(&wire::pubrec(group.packet_id));
    group.first.expect_bytes(&wire::pubrel(group.packet_id));
    group.first.cut();
    RawClient::connect(&broker, &group.connect.clean())
        .0
        .disconnect();
    has_nothing(&broker, &mut group.second);
}

/// MQTT5-4.8.2-6: a message that a member refuses is offered to no other.
#[test]
fn mqtt5_4_8_2_6_refused_message_goes_to_no_other_member() {
    let broker = Broker::shared();
    for qos in 1..=2 {
        let mut group = Group::with_message_in_flight(&broker, qos);
        let kind = if qos == 1 {
            first::PUBACK
        } else {
            first::PUBREC
        };
        group
            .first
            .send(&wire::ack_with(kind, group.packet_id, 0x80, &[]));
        group.first.expect_silence_until_pong();
        has_nothing(&broker, &mut group.second);
        group.first.expect_silence_until_pong();
    }
}

/// MQTT5-4.5.0-1: a group shares messages of `$` topics as well, when its filter names them.
#[test]
fn mqtt5_4_5_0_1_shared_filter_matches_dollar_topics() {
    let broker = Broker::shared();
    let topic = format!("${}", unique_topic("dollar"));
    let mut member = subscriber(&broker, Version::V5, &format!("$share/g/{topic}"), 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish(&topic, "m", 1);
    member.receive_payload("m");
    let mut wild = subscriber(&broker, Version::V5, &format!("$share/g/{topic}/#"), 1);
    publisher.publish(format!("{topic}/x"), "x", 1);
    wild.receive_payload("x");
}

/// MQTT5 4.8.2: a shared subscription ends by UNSUBSCRIBE with its whole filter.
#[test]
fn shared_subscription_is_unsubscribed_by_its_whole_filter() {
    let broker = Broker::shared();
    let topic = unique_topic("unsubscribe");
    let mut client = subscriber(&broker, Version::V5, &format!("$share/g/{topic}"), 1);
    assert_eq!(client.unsubscribe(&topic), Some(0x11));
    assert_eq!(client.unsubscribe(format!("$share/h/{topic}")), Some(0x11));
    assert_eq!(client.unsubscribe(format!("$share/g/{topic}")), Some(0));
    let marker = format!("{topic}/marker");
    client.subscribe(&marker, 1);
    let mut publisher = RawClient::join(&broker, Version::V5);
    publisher.publish(&topic, "m", 1);
    nothing_before_marker(&mut publisher, &mut client, &marker);
}

/// MQTT5 4.8.2: the subscription identifier of the member that is served.
#[test]
fn shared_subscription_has_its_identifier() {
    let broker = Broker::shared();
    let topic = unique_topic("identifier");
    let mut client = RawClient::join(&broker, Version::V5);
    let subscribe = Subscribe::new(Version::V5, 1)
        .filter(format!("$share/g/{topic}"), 1)
        .with(prop::subscription_id(77));
    client.send(&subscribe.encode());
    client.expect_suback(1);
    RawClient::join(&broker, Version::V5).publish(&topic, "m", 1);
    let message = client.receive_payload("m");
    assert_eq!(message.properties.numbers(prop::SUBSCRIPTION_ID), [77]);
}
