//! Wills.

use midge_codec::{Property, Version};

use crate::client::{Client, WillOf};
use crate::cluster::Cluster;

fn watcher(cluster: &Cluster) -> Client {
    let mut watcher = cluster.client("watcher").connect();
    watcher.subscribe("will/#", 2);
    watcher
}

/// [MQTT5-3.1.2-7], [MQTT5-3.1.2-8], [MQTT5-3.1.2-14], [MQTT5-3.1.2-15], [MQTT311-3.1.2-8],
/// [MQTT311-3.1.2-16], [MQTT311-3.1.2-17]
#[test]
fn a_lost_clients_will_is_published_as_it_was_given() {
    for version in Version::ALL {
        for qos in 0..=2 {
            for retain in [false, true] {
                let cluster = Cluster::new(1);
                let mut watcher = watcher(&cluster);
                let client = cluster.client("a").version(version).will_of(WillOf {
                    topic: "will/a".to_owned(),
                    payload: "gone".to_owned(),
                    qos: midge_codec::QoS::from_bits(qos).unwrap(),
                    retain,
                    properties: Vec::new(),
                });
                let client = client.connect();
                watcher.expect_nothing();
                client.cut();
                let message = watcher.message_alone();
                assert_eq!((&*message.topic, &*message.payload), ("will/a", "gone"));
                assert_eq!((message.qos, message.retain), (qos, false));
                assert_eq!(cluster.retained_len(), usize::from(retain));
            }
        }
    }
}

/// [MQTT5-3.1.2-10], [MQTT5-3.14.4-3], [MQTT311-3.1.2-10], [MQTT311-3.14.4-3], [MQTT311-3.1.2-12]
#[test]
fn a_normal_disconnect_discards_the_will() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut watcher = watcher(&cluster);
        let builder = cluster.client("a").version(version);
        builder
            .clone()
            .will("will/a", "x", 1)
            .connect()
            .disconnect();
        builder.connect().cut();
        watcher.expect_nothing();
    }
}

/// Only 0x00 discards the will [MQTT5-3.1.2-10], [MQTT5-3.14.4-3].
#[test]
fn every_other_disconnect_publishes_the_will() {
    for reason in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x99] {
        let cluster = Cluster::new(1);
        let mut watcher = watcher(&cluster);
        let mut client = cluster.client("a").will("will/a", "x", 1).connect();
        client.disconnect_with(reason, &[]);
        assert_eq!(watcher.payloads(), ["x"], "{reason:#x}");
    }
}

#[test]
fn a_fault_publishes_the_will() {
    let cluster = Cluster::new(1);
    let mut watcher = watcher(&cluster);
    let mut client = cluster.client("a").will("will/a", "x", 1).connect();
    client.feed(&[0x00, 0x00]);
    client.expect_disconnect(0x82);
    assert_eq!(watcher.payloads(), ["x"]);
}

/// [MQTT5-3.1.2-8]: the delay, or the session's end if that is earlier.
#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
    for (delay, expiry, published_after) in [(10, 100, 10), (100, 10, 10), (10, 0, 0), (5, 5, 5)] {
        let cluster = Cluster::new(1);
        let mut watcher = watcher(&cluster);
        let builder = cluster.client("a").expiry(expiry).will("will/a", "x", 1);
        let client = builder
            .will_property(Property::WillDelayInterval(delay))
            .connect();
        client.cut();
        if published_after > 0 {
            cluster.advance(published_after - 1);
            watcher.expect_nothing();
            cluster.advance(2);
        }
        assert_eq!(watcher.payloads(), ["x"], "{delay} {expiry}");
        cluster.advance(200);
        watcher.expect_nothing();
    }
}

/// [MQTT5-3.1.3-9]
#[test]
fn a_connection_that_comes_in_time_cancels_the_will() {
    let cluster = Cluster::new(1);
    let mut watcher = watcher(&cluster);
    let builder = cluster.client("a").expiry(100);
    let delayed = builder
        .clone()
        .will("will/a", "x", 1)
        .will_property(Property::WillDelayInterval(10));
    delayed.connect().cut();
    cluster.advance(9);
    let client = builder.connect();
    cluster.advance(20);
    watcher.expect_nothing();
    // The new connection has no will.
    client.cut();
    cluster.advance(20);
    watcher.expect_nothing();
}

/// A clean start ends the session, and with it the wait.
#[test]
fn a_clean_start_publishes_the_will_that_waits() {
    let cluster = Cluster::new(1);
    let mut watcher = watcher(&cluster);
    let builder = cluster.client("a").expiry(100).will("will/a", "x", 1);
    builder
        .will_property(Property::WillDelayInterval(50))
        .connect()
        .cut();
    cluster.client("a").connect();
    assert_eq!(watcher.payloads(), ["x"]);
}

/// Properties go with the will [MQTT5-3.1.3-10], but for the delay; the expiry counts from publication.
#[test]
fn a_will_carries_its_properties() {
    let cluster = Cluster::new(1);
    let mut watcher = watcher(&cluster);
    let mut builder = cluster.client("a").expiry(100).will("will/a", "x", 1);
    for property in [
        Property::UserProperty("b", "1"),
        Property::WillDelayInterval(3),
        Property::ContentType("text"),
        Property::MessageExpiryInterval(60),
        Property::UserProperty("a", "2"),
        Property::ResponseTopic("r"),
        Property::CorrelationData(b"c"),
        Property::PayloadFormatIndicator(1),
    ] {
        builder = builder.will_property(property);
    }
    builder.connect().cut();
    cluster.advance(5);
    let message = watcher.message_alone();
    assert_eq!(
        message.properties,
        [
            "UserProperty(\"b\", \"1\")",
            "ContentType(\"text\")",
            "UserProperty(\"a\", \"2\")",
            "ResponseTopic(\"r\")",
            "CorrelationData([99])",
            "PayloadFormatIndicator(1)",
        ]
    );
    assert!(matches!(message.expiry, Some(58..=60)));
}

/// A connection's will reaches other shards, and its own session when that stays.
#[test]
fn a_will_reaches_every_shard_and_the_clients_own_session() {
    let cluster = Cluster::new(2);
    let mut far = cluster.client("far").shard(1).connect();
    far.subscribe("will/#", 1);
    let builder = cluster.client("a").shard(0).persistent();
    let mut client = builder.clone().will("will/a", "x", 1).connect();
    client.subscribe("will/#", 1);
    client.cut();
    assert_eq!(far.payloads(), ["x"]);
    let mut client = builder.connect();
    assert_eq!(client.payloads(), ["x"]);
}

/// [MQTT5-3.2.2-12], [MQTT5-3.2.2-13]
#[test]
fn a_will_beyond_what_the_listener_offers_is_refused() {
    let cluster = Cluster::with(1, |settings| {
        settings.retain_available = false;
        settings.message_size_limit = 3;
        let listener = std::sync::Arc::make_mut(&mut settings.listeners[0]);
        listener.max_qos = midge_codec::QoS::AtLeastOnce;
    });
    let retained = WillOf {
        topic: "t".to_owned(),
        retain: true,
        ..WillOf::default()
    };
    let refused = |builder: &crate::client::Builder| {
        let client = builder.try_connect();
        let bytes = cluster.received(client.token);
        assert!(client.is_closed());
        bytes
    };
    // A refusal names the maximum QoS too.
    let v5 = cluster.client("a");
    let code = |code: u8| vec![0x20, 5, 0, code, 2, 0x24, 1];
    assert_eq!(refused(&v5.clone().will_of(retained.clone())), code(0x9A));
    assert_eq!(refused(&v5.clone().will("t", "x", 2)), code(0x9B));
    assert_eq!(refused(&v5.clone().will("t", "long", 1)), code(0x95));
    v5.will("t", "x", 1).connect();
    let v3 = cluster.client("a").version(Version::V3_1_1);
    assert_eq!(refused(&v3.clone().will_of(retained)), []);
    assert_eq!(refused(&v3.clone().will("t", "x", 2)), []);
    assert_eq!(refused(&v3.will("t", "long", 1)), [0x20, 2, 0, 5]);
}

#[test]
fn a_will_to_a_topic_of_the_broker_is_not_published() {
    let cluster = Cluster::new(1);
    let mut watcher = cluster.client("w").connect();
    watcher.subscribe("$SYS/#", 0);
    cluster
        .client("a")
        .will("$SYS/broker/x", "x", 0)
        .connect()
        .cut();
    watcher.expect_nothing();
    let deep = "/".repeat(201);
    for topic in ["$CONTROL/x", &deep] {
        let mut client = cluster.client("a").will(topic, "x", 0).try_connect();
        client.expect_closed();
    }
}

/// At shutdown 5.0 clients are told, and all wills are published, delayed ones too.
#[test]
fn a_broker_that_stops_publishes_all_wills_first() {
    let cluster = Cluster::new(1);
    let mut watcher = watcher(&cluster);
    let mut old = cluster.client("o").version(Version::V3_1_1);
    old = old.will("will/o", "1", 0);
    let mut old = old.connect();
    let builder = cluster.client("a").expiry(100).will("will/a", "2", 1);
    let delayed = builder.will_property(Property::WillDelayInterval(50));
    delayed.connect().cut();
    watcher.acknowledges = false;
    cluster.shut_down();
    let mut payloads = watcher.payloads();
    payloads.sort();
    assert_eq!(payloads, ["1", "2"]);
    watcher.expect_disconnect(0x8B);
    old.expect_closed();
    assert_eq!(cluster.stats().connected, 0);
    assert_eq!(cluster.stats().sockets_open, 0);
}
