//! Topic aliases, both ways.

use midge_codec::{Property, Version};

use crate::client::Pub;
use crate::cluster::Cluster;

/// [MQTT5-3.3.2-12]
#[test]
fn a_client_may_use_all_aliases_that_it_was_allowed() {
    let cluster = Cluster::new(1);
    let mut subscriber = cluster.client("s").connect();
    subscriber.subscribe("#", 2);
    let mut client = cluster.client("a").connect();
    for qos in 0..=2 {
        for alias in 1..=10 {
            let topic = format!("{qos}/{alias}");
            client.publish_with(&topic, "1", qos, &[Property::TopicAlias(alias)]);
        }
        for alias in (1..=10).rev() {
            client.publish_with("", "2", qos, &[Property::TopicAlias(alias)]);
            let last = subscriber.messages().pop().unwrap();
            assert_eq!(last.topic, format!("{qos}/{alias}"));
            assert_eq!((&*last.payload, last.alias), ("2", None));
        }
    }
}

/// MQTT5 3.3.2.3.4
#[test]
fn an_alias_out_of_range_is_invalid() {
    for (maximum, alias) in [(10, 0), (10, 11), (0, 1), (10, 65_535)] {
        let cluster = Cluster::with_listener(1, |listener| listener.max_topic_alias = maximum);
        let mut client = cluster.client("a").connect();
        client.publish_with("t", "x", 0, &[Property::TopicAlias(alias)]);
        client.expect_disconnect(0x94);
    }
}

#[test]
fn an_alias_that_nothing_was_assigned_to_is_a_protocol_error() {
    for alias in [None, Some(3)] {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").connect();
        let list = [Property::TopicAlias(alias.unwrap_or(1))];
        let properties = if alias.is_some() { &list[..] } else { &[] };
        client.publish_with("", "x", 0, properties);
        client.expect_disconnect(0x82);
    }
}

/// [MQTT5-3.3.2-7]
#[test]
fn aliases_end_with_their_connection() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").persistent().connect();
    client.publish_with("t", "x", 0, &[Property::TopicAlias(1)]);
    client.cut();
    let mut client = cluster.client("a").persistent().connect();
    client.publish_with("", "x", 0, &[Property::TopicAlias(1)]);
    client.expect_disconnect(0x82);
}

/// The first topics get 1, 2, 3 …, at most as many as both sides allow [MQTT5-3.1.2-26],
/// [MQTT5-3.3.2-11], [MQTT5-3.3.2-8]; none without a maximum [MQTT5-3.1.2-27].
#[test]
fn the_broker_assigns_aliases_to_the_first_topics() {
    for (asked, own, most) in [(3, 10, 3), (20, 10, 10), (5, 0, 0), (0, 10, 0)] {
        let cluster = Cluster::with_listener(1, |listener| listener.max_topic_alias_broker = own);
        let mut builder = cluster.client("a");
        if asked > 0 {
            builder = builder.property(Property::TopicAliasMaximum(asked));
        }
        let mut client = builder.connect();
        client.subscribe("#", 2);
        let mut publisher = cluster.client("p").connect();
        for round in 0..2 {
            for number in 1..=12 {
                let topic = format!("t/{number}");
                publisher.publish(&topic, "x", number as u8 % 3);
                let message = client.message_alone();
                assert_eq!(message.topic, topic);
                assert_eq!(message.alias, (number <= most).then_some(number));
                assert_eq!(message.by_alias, round > 0 && number <= most);
            }
        }
    }
}

/// A message that is too large assigns no alias [MQTT5-3.3.2-3].
#[test]
fn a_dropped_message_teaches_the_client_no_alias() {
    let cluster = Cluster::new(1);
    let builder = cluster.client("a").property(Property::TopicAliasMaximum(5));
    let mut client = builder.property(Property::MaximumPacketSize(40)).connect();
    client.subscribe("#", 1);
    client.publish("t", &"x".repeat(50), 1);
    client.publish("t", "fits", 1);
    let message = client.message_alone();
    assert_eq!(
        (&*message.topic, message.alias, message.by_alias),
        ("t", Some(1), false)
    );
}

/// What fits only without the alias is sent without.
#[test]
fn an_alias_is_left_out_where_it_would_not_fit() {
    let cluster = Cluster::new(1);
    let builder = cluster.client("a").property(Property::TopicAliasMaximum(5));
    let mut client = builder.property(Property::MaximumPacketSize(20)).connect();
    client.subscribe("#", 0);
    // 2 + 3 + 1 + 14 bytes; the alias takes 3 more.
    client.publish("t", "12345678901234", 0);
    assert_eq!(client.message_alone().alias, None);
}

#[test]
fn aliases_go_with_retained_and_resent_messages_too() {
    let cluster = Cluster::new(1);
    let builder = cluster.client("a").persistent();
    let builder = builder.property(Property::TopicAliasMaximum(2));
    let mut publisher = cluster.client("p").connect();
    publisher.retain("r", "x", 1);
    let mut client = builder.connect_by_hand();
    client.subscribe("r", 1);
    assert_eq!(client.message_alone().alias, Some(1));
    publisher.publish_of(&Pub::new("r", "y", 1));
    assert!(client.message_alone().by_alias);
    client.cut();
    let mut client = builder.connect();
    let again = client.messages();
    assert!(
        !again[0].by_alias && again[1].by_alias,
        "a new connection begins anew"
    );
}

#[test]
fn clients_of_3_get_no_aliases() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").version(Version::V3_1_1).connect();
    client.subscribe("t", 0);
    for _ in 0..2 {
        client.publish("t", "x", 0);
        assert_eq!(client.message_alone().topic, "t");
    }
}
