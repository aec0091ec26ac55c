//! Message expiry.

use midge_codec::Property;

use crate::client::Pub;
use crate::cluster::Cluster;

/// [MQTT5-3.3.2-5], [MQTT5-3.3.2-6]
#[test]
fn messages_expire_while_they_wait_and_tell_the_rest_of_their_life() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").persistent().connect();
    client.subscribe("t", 1);
    client.cut();
    let mut publisher = cluster.client("p").connect();
    for seconds in [10, 100] {
        let expiry = [Property::MessageExpiryInterval(seconds)];
        publisher.publish_with("t", &seconds.to_string(), 1, &expiry);
    }
    publisher.publish("t", "for ever", 1);
    cluster.advance(30);
    let mut client = cluster.client("a").persistent().connect();
    let got: Vec<_> = client.messages();
    let got: Vec<_> = got.iter().map(|m| (&*m.payload, m.expiry)).collect();
    assert_eq!(got, [("100", Some(70)), ("for ever", None)]);
    assert_eq!(cluster.stats().publish_dropped, 1);
    assert_eq!(cluster.stats().queued_messages, 0);
}

#[test]
fn a_live_message_tells_its_whole_life() {
    for qos in 0..=2 {
        let cluster = Cluster::new(2);
        let mut near = cluster.client("a").connect();
        let mut far = cluster.client("b").shard(1).connect();
        near.subscribe("t", 2);
        far.subscribe("t", 2);
        let expiry = [Property::MessageExpiryInterval(10)];
        let mut publisher = cluster.client("p").connect();
        publisher.publish_with("t", "x", qos, &expiry);
        assert_eq!(near.message_alone().expiry, Some(10));
        assert_eq!(far.message_alone().expiry, Some(10));
    }
}

/// An interval of 0 is over at once [MQTT5-3.3.2-5].
#[test]
fn an_expiry_of_zero_reaches_nobody() {
    for qos in 0..=2 {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").connect();
        client.subscribe("t", 2);
        client.publish_of(&Pub {
            retain: true,
            properties: &[Property::MessageExpiryInterval(0)],
            ..Pub::new("t", "x", qos)
        });
        client.expect_nothing();
        client.subscribe("t", 2);
        client.expect_nothing();
        cluster.advance(3);
        assert_eq!(cluster.retained_len(), 0);
    }
}

#[test]
fn retained_messages_expire_and_are_freed() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    for topic in ["t", "$dollar/t"] {
        client.publish_of(&Pub {
            retain: true,
            properties: &[Property::MessageExpiryInterval(10)],
            ..Pub::new(topic, "x", 1)
        });
    }
    cluster.advance(4);
    client.subscribe("t", 1);
    assert_eq!(client.message_alone().expiry, Some(6));
    cluster.advance(7);
    client.subscribe("t", 1);
    client.expect_nothing();
    cluster.advance(2);
    assert_eq!(cluster.retained_len(), 0);
}

#[test]
fn the_operator_lets_retained_messages_expire() {
    let cluster = Cluster::with(1, |settings| settings.retain_expiry = Some(10));
    let mut client = cluster.client("a").connect();
    client.retain("t", "x", 1);
    client.publish_of(&Pub {
        retain: true,
        properties: &[Property::MessageExpiryInterval(100)],
        ..Pub::new("u", "x", 1)
    });
    cluster.advance(12);
    client.subscribe("#", 0);
    assert_eq!(client.message_alone().topic, "u");
}

#[test]
fn what_replaced_an_expired_retained_message_stays() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    client.publish_of(&Pub {
        retain: true,
        properties: &[Property::MessageExpiryInterval(5)],
        ..Pub::new("t", "old", 1)
    });
    cluster.advance(4);
    client.retain("t", "new", 1);
    cluster.advance(10);
    client.subscribe("t", 1);
    assert_eq!(client.payloads(), ["new"]);
}
