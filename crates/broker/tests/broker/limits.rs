//! Limits against abuse: what is refused, with which code, and where it is counted.

use std::sync::Arc;

use midge_broker::{Limit, Limits, Settings};
use midge_codec::Version;

use crate::client::Got;
use crate::cluster::Cluster;

fn with(change: impl FnOnce(&mut Settings)) -> (Cluster, Arc<Limits>) {
    let mut limits = Arc::default();
    let cluster = Cluster::with(2, |settings| {
        change(settings);
        limits = Arc::clone(&settings.limits);
    });
    (cluster, limits)
}

#[test]
fn topics_and_filters_have_as_many_levels_as_are_allowed() {
    let (cluster, limits) = with(|settings| settings.max_topic_levels = 3);
    let mut client = cluster.client("a").connect();
    assert_eq!(client.subscribe("a/b/#", 1), 1);
    assert_eq!(client.subscribe("$share/group/a/b/#", 1), 1);
    assert_eq!(client.subscribe("a/b/c/#", 1), 0x8F);
    assert_eq!(client.publish("x/b/c", "x", 1), Some(0x10));
    assert_eq!(client.publish("x/b/c/d", "x", 1), Some(0x90));
    assert_eq!(client.publish("x/b/c/d", "x", 2), Some(0x90));
    client.publish("a/b/c/d", "x", 0);
    assert_eq!(client.messages(), []);
    assert_eq!(limits.count(Limit::TopicLevels), 4);
    assert_eq!(cluster.log_lines("max_topic_levels").len(), 1);
    let will = cluster.client("b").will("a/b/c/d", "x", 0);
    assert_eq!(
        will.try_connect().take(),
        [Got::ConnAck(false, 0x90, Vec::new())]
    );
}

#[test]
fn retained_messages_are_as_many_as_are_allowed() {
    let (cluster, limits) = with(|settings| settings.max_retained_messages = 2);
    let mut client = cluster.client("a").connect();
    assert_eq!(client.retain("a", "1", 1), Some(0x10));
    assert_eq!(client.retain("b", "1", 2), Some(0));
    assert_eq!(client.retain("c", "1", 1), Some(0x97));
    assert_eq!(client.retain("c", "1", 2), Some(0x97));
    client.retain("c", "1", 0);
    assert_eq!(cluster.retained_len(), 2);
    // One that is there may change, and what is not retained is no matter.
    assert_eq!(client.retain("a", "2", 1), Some(0x10));
    assert_eq!(client.publish("c", "1", 1), Some(0x10));
    // Whoever makes room has it.
    client.retain("a", "", 1);
    assert_eq!(client.retain("c", "1", 1), Some(0x10));
    assert_eq!(limits.count(Limit::RetainedMessages), 3);
    // 3.x has no code for it [MQTT311-3.3.5-2].
    let mut old = cluster.client("old").version(Version::V3_1_1).connect();
    assert_eq!(old.retain("d", "1", 1), Some(0));
    assert_eq!(cluster.retained_len(), 2);
}

#[test]
fn retained_messages_have_as_many_bytes_as_are_allowed() {
    let (cluster, limits) = with(|settings| settings.max_retained_bytes = 30);
    let mut client = cluster.client("a").connect();
    assert_eq!(client.retain("a", "0123456789", 1), Some(0x10));
    assert_eq!(client.retain("b", "0123456789", 1), Some(0x10));
    assert_eq!(client.retain("c", "0123456789", 1), Some(0x97));
    assert_eq!(client.retain("a", "0123456789012345678901", 1), Some(0x97));
    assert_eq!(client.retain("a", "01234", 1), Some(0x10));
    assert_eq!(client.retain("c", "0123", 1), Some(0x10));
    assert_eq!(limits.count(Limit::RetainedBytes), 2);
}

#[test]
fn a_will_that_may_not_be_retained_is_delivered_all_the_same() {
    let (cluster, limits) = with(|settings| settings.max_retained_messages = 1);
    let mut watcher = cluster.client("w").connect();
    watcher.subscribe("#", 1);
    watcher.retain("a", "x", 1);
    watcher.messages();
    let will = crate::client::WillOf {
        topic: "gone".to_owned(),
        payload: "x".to_owned(),
        retain: true,
        ..Default::default()
    };
    cluster.client("b").will_of(will).connect().cut();
    cluster.settle();
    assert_eq!(watcher.message_alone().topic, "gone");
    assert_eq!(cluster.retained_len(), 1);
    assert_eq!(limits.count(Limit::RetainedMessages), 1);
}

#[test]
fn subscriptions_beyond_the_limit_are_counted_and_told() {
    let (cluster, limits) = with(|settings| settings.max_subscriptions_per_client = 1);
    let mut client = cluster.client("a").connect();
    assert_eq!(client.subscribe("a", 1), 1);
    assert_eq!(client.subscribe("b", 1), 0x97);
    assert_eq!(client.subscribe("a", 0), 0);
    assert_eq!(limits.count(Limit::Subscriptions), 1);
    let line = cluster.log_lines("max_subscriptions_per_client");
    assert!(line[0].contains("client a ["), "{line:?}");
}

/// What waits is still delivered, what would add to it is refused, and what makes room is taken.
#[test]
fn with_memory_short_new_work_is_refused_while_deliveries_drain() {
    let (cluster, limits) = with(|_| {});
    let mut away = cluster.client("away").persistent().connect();
    away.subscribe("t", 1);
    away.cut();
    let mut client = cluster.client("a").connect();
    client.subscribe("other", 0);
    for number in 0..3 {
        client.publish("t", &number.to_string(), 1);
    }
    client.retain("kept", "x", 1);
    limits.set_pressed(true);
    assert_eq!(client.publish("t", "x", 1), Some(0x97));
    assert_eq!(client.publish("t", "x", 2), Some(0x97));
    client.publish("other", "x", 0);
    assert_eq!(client.messages(), []);
    assert_eq!(client.subscribe("new", 0), 0x97);
    assert_eq!(client.subscribe("other", 1), 1);
    client.retain("kept", "", 1);
    assert_eq!(cluster.retained_len(), 0);
    // Nobody new comes in, but who has something to take does.
    let mut new = cluster.client("new").try_connect();
    assert_eq!(new.take(), [Got::ConnAck(false, 0x89, Vec::new())]);
    let mut back = cluster.client("away").resume().connect();
    assert_eq!(back.payloads(), ["0", "1", "2"]);
    limits.set_pressed(false);
    assert_eq!(client.publish("t", "x", 1), Some(0));
    assert_eq!(limits.count(Limit::Memory), 5);
}

/// [MQTT311-3.3.5-2]: there is no way to say no, and a publisher that is closed tries again.
#[test]
fn with_memory_short_a_publisher_of_3_x_is_closed_and_told_no_at_its_return() {
    let (cluster, limits) = with(|_| {});
    let mut old = cluster.client("old").version(Version::V3_1_1).connect();
    limits.set_pressed(true);
    old.publish("t", "x", 0);
    assert!(!old.is_closed());
    old.send_publish(1, &crate::client::Pub::new("t", "x", 1));
    cluster.settle();
    assert!(old.is_closed());
    let builder = cluster.client("old").version(Version::V3_1_1);
    assert_eq!(
        builder.try_connect().take(),
        [Got::ConnAck(false, 0x88, Vec::new())]
    );
}

#[test]
fn the_tree_counts_each_limit() {
    let (cluster, limits) = with(|settings| {
        settings.sys_interval = 10;
        settings.connect_timeout = 5;
    });
    limits.set_resident(1 << 20);
    cluster.client("silent").open();
    cluster.advance(20);
    let mut watcher = cluster.client("watcher").connect();
    watcher.subscribe("$SYS/broker/limits/#", 0);
    watcher.subscribe("$SYS/broker/heap/+", 0);
    let messages = watcher.messages();
    assert_eq!(messages.len(), Limit::ALL.len() + 2);
    let value = |name: &str| {
        let topic = format!("$SYS/broker/{name}");
        let found = messages.iter().find(|message| message.topic == topic);
        found.map(|message| message.payload.clone())
    };
    assert_eq!(value("limits/connect_timeout").as_deref(), Some("1"));
    assert_eq!(value("limits/max_publish_rate").as_deref(), Some("0"));
    assert_eq!(value("heap/current").as_deref(), Some("1048576"));
}
