//! Listeners with a mount point.

use std::sync::Arc;

use midge_broker::ListenerSettings;
use midge_codec::{Property, Version};

use crate::cluster::Cluster;

/// Listener 0 has no mount point, 1 has `one/`, 2 has `two/`.
fn cluster(shards: u16) -> Cluster {
    Cluster::with(shards, |settings| {
        settings.listeners = [None, Some("one/"), Some("two/")]
            .map(|mount_point| {
                Arc::new(ListenerSettings {
                    mount_point: mount_point.map(Into::into),
                    ..ListenerSettings::default()
                })
            })
            .into();
    })
}

#[test]
fn clients_of_a_mount_point_see_only_each_other_and_no_prefix() {
    for shards in [1, 2] {
        let cluster = cluster(shards);
        let mut all = cluster.client("all").connect();
        all.subscribe("#", 2);
        let mut ones: Vec<_> = ["a", "b"]
            .map(|id| cluster.client(id).listener(1).shard(shards - 1).connect())
            .into();
        let mut two = cluster.client("c").listener(2).connect();
        two.subscribe("#", 2);
        for one in &mut ones {
            one.subscribe("t/+", 2);
        }
        for qos in 0..=2 {
            ones[0].publish("t/x", "x", qos);
            assert_eq!(all.message_alone().topic, "one/t/x");
            for one in &mut ones {
                assert_eq!(one.message_alone().topic, "t/x");
            }
            two.expect_nothing();
        }
        all.publish("two/u", "y", 1);
        assert_eq!(two.message_alone().topic, "u");
    }
}

#[test]
fn retained_messages_wills_aliases_and_shared_groups_are_mounted() {
    let cluster = cluster(1);
    let mut all = cluster.client("all").connect();
    let mut one = cluster.client("a").listener(1).connect();
    one.retain("r", "x", 1);
    one.subscribe("#", 1);
    assert_eq!(one.message_alone().topic, "r");
    all.subscribe("one/#", 1);
    assert_eq!(all.message_alone().topic, "one/r");
    one.publish_with("t", "1", 1, &[Property::TopicAlias(1)]);
    one.publish_with("", "2", 1, &[Property::TopicAlias(1)]);
    assert_eq!(one.payloads(), ["1", "2"]);
    assert!(
        all.messages()
            .iter()
            .all(|message| message.topic == "one/t")
    );
    let builder = cluster.client("w").listener(1).will("will", "gone", 1);
    builder.connect().cut();
    assert_eq!(one.message_alone().topic, "will");
    assert_eq!(all.message_alone().topic, "one/will");
    one.unsubscribe(&["#"]);
    all.unsubscribe(&["one/#"]);
    assert_eq!(one.subscribe("$share/g/s", 1), 1);
    let mut two = cluster.client("c").listener(2).connect();
    two.subscribe("$share/g/s", 1);
    one.publish("s", "x", 1);
    all.publish("one/s", "y", 1);
    assert_eq!(one.payloads(), ["x", "y"]);
    two.expect_nothing();
    one.unsubscribe(&["$share/g/s"]);
    two.unsubscribe(&["$share/g/s"]);
    assert_eq!(cluster.routing_counts(), (0, 0));
}

/// A session belongs to its mount point: below another one, neither its subscriptions nor what it has
/// queued mean anything, or may be seen.
#[test]
fn a_session_does_not_go_on_below_another_mount_point() {
    for (from, to) in [(1, 2), (1, 0), (0, 1)] {
        for version in Version::ALL {
            let cluster = cluster(1);
            let builder = cluster.client("a").version(version).persistent();
            let mut client = builder.clone().listener(from).connect();
            client.subscribe_to(&[("t", 1), ("$share/g/u", 1)], 0);
            client.cut();
            let mut publisher = cluster.client("p").listener(from).connect();
            publisher.publish("t", "secret", 1);
            let mut client = builder.listener(to).connect();
            assert!(!client.present);
            client.expect_nothing();
            assert_eq!(cluster.routing_counts(), (0, 0));
            assert_eq!(cluster.stats().queued_messages, 0);
        }
    }
}

/// With the mount point in front it is longer than a topic can be, so who would have to see it whole gets
/// nothing, and goes on.
#[test]
fn a_mounted_topic_that_is_too_long_to_be_sent_is_dropped() {
    let cluster = cluster(1);
    let topic = "x".repeat(65_535);
    for version in Version::ALL {
        for qos in 0..=2 {
            let mut all = cluster.client("all").version(version).connect();
            all.subscribe("#", 2);
            let mut one = cluster.client("a").listener(1).connect();
            one.subscribe("#", 2);
            one.publish(&topic, "x", qos);
            assert_eq!(one.message_alone().topic, topic);
            all.expect_nothing();
            one.publish("t", "x", qos);
            assert_eq!(all.message_alone().topic, "one/t");
            assert_eq!(cluster.stats().queued_messages, 0);
        }
    }
}
