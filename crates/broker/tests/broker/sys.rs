//! `$SYS`.

use std::collections::HashMap;

use midge_broker::Settings;

use crate::client::Client;
use crate::cluster::Cluster;

fn cluster(shards: u16) -> Cluster {
    Cluster::with(shards, |settings| settings.sys_interval = 10)
}

/// The tree as a new subscriber sees it.
fn tree(watcher: &mut Client) -> HashMap<String, String> {
    watcher.subscribe("$SYS/#", 0);
    let messages = watcher.messages();
    assert!(messages.iter().all(|message| message.retain));
    let values = messages.into_iter();
    values
        .map(|message| (message.topic, message.payload))
        .collect()
}

#[test]
fn the_tree_tells_what_all_shards_hold_and_have_counted() {
    for shards in 1..=3 {
        let cluster = cluster(shards);
        cluster.advance(1);
        let mut clients: Vec<_> = (0..6)
            .map(|number| {
                let builder = cluster.client(&format!("c{number}")).persistent();
                let mut client = builder.shard(number % shards).connect();
                client.subscribe("t", 1);
                client
            })
            .collect();
        clients[0].subscribe("$share/g/t", 1);
        clients[5].cut();
        clients[4].cut();
        clients[1].publish("t", "12345", 1);
        clients[1].retain("r", "x", 0);
        for client in &mut clients[..4] {
            client.sync();
        }
        cluster.advance(20);
        let mut watcher = cluster.client("watcher").connect();
        let tree = tree(&mut watcher);
        let value = |topic: &str| &*tree[&format!("$SYS/broker/{topic}")];
        assert_eq!(value("clients/total"), "6");
        assert_eq!(value("clients/connected"), "4");
        assert_eq!(value("clients/active"), "4");
        assert_eq!(value("clients/disconnected"), "2");
        assert_eq!(value("clients/inactive"), "2");
        assert_eq!(value("clients/maximum"), "4");
        assert_eq!(value("clients/expired"), "0");
        assert_eq!(value("subscriptions/count"), "6");
        assert_eq!(value("shared_subscriptions/count"), "1");
        assert_eq!(value("publish/messages/received"), "2");
        assert_eq!(value("publish/bytes/received"), "6");
        assert_eq!(value("publish/messages/sent"), "5");
        assert_eq!(value("publish/bytes/sent"), "25");
        assert_eq!(value("queued messages/count"), "2");
        assert_eq!(value("queued messages/bytes"), "12");
        assert_eq!(value("packet/out/count"), "0");
        assert_eq!(value("connections/socket/count"), "4");
        assert!(value("version").starts_with("midge version "));
        assert!(value("uptime").ends_with(" seconds"));
        let uptime: u64 = value("uptime")
            .trim_end_matches(" seconds")
            .parse()
            .unwrap();
        assert!((10..=22).contains(&uptime), "{uptime}");
        // The sum and the parts agree.
        let number = |topic: &str| value(topic).parse::<u64>().unwrap();
        let stored = number("store/messages/count");
        assert_eq!(
            stored,
            number("queued messages/count") + number("retained messages/count")
        );
    }
}

#[test]
fn values_are_published_when_they_change() {
    let cluster = cluster(2);
    cluster.advance(1);
    let mut watcher = cluster.client("watcher").connect();
    watcher.subscribe("$SYS/broker/clients/total", 0);
    watcher.messages();
    cluster.advance(11);
    assert_eq!(watcher.message_alone().payload, "1");
    cluster.advance(50);
    watcher.expect_nothing();
    let other = cluster.client("b").shard(1).connect();
    cluster.advance(11);
    assert_eq!(watcher.message_alone().payload, "2");
    other.cut();
    cluster.advance(11);
    assert_eq!(watcher.message_alone().payload, "1");
}

/// A steady rate is what the averages come to.
#[test]
fn loads_approach_the_rate_per_minute() {
    let cluster = cluster(1);
    let mut client = cluster.client("a").connect();
    for _ in 0..600 {
        client.publish("t", "x", 0);
        client.publish("t", "x", 0);
        cluster.advance_millis(1_000);
    }
    let mut watcher = cluster.client("watcher").connect();
    let tree = tree(&mut watcher);
    let load = |span: &str| -> f64 {
        tree[&format!("$SYS/broker/load/publish/received/{span}")]
            .parse()
            .unwrap()
    };
    assert!((load("1min") - 120.0).abs() < 1.0, "{}", load("1min"));
    // After two spans, 1 - e^-2 of it.
    assert!((load("5min") - 103.8).abs() < 3.0, "{}", load("5min"));
    assert!(load("15min") < load("5min"));
}

/// The first round counts from the broker's start, not from the clock's.
#[test]
fn the_first_load_is_that_of_the_first_seconds() {
    let cluster = cluster(1);
    let mut client = cluster.client("a").connect();
    client.publish("t", "x", 0);
    cluster.advance_millis(1_000);
    let mut watcher = cluster.client("watcher").connect();
    let tree = tree(&mut watcher);
    let load: f64 = tree["$SYS/broker/load/publish/received/1min"]
        .parse()
        .unwrap();
    assert!((0.9..=1.1).contains(&load), "{load}");
}

#[test]
fn an_interval_of_zero_publishes_nothing_and_can_be_changed() {
    let cluster = Cluster::new(1);
    cluster.advance(60);
    assert_eq!(cluster.retained_len(), 0);
    let mut watcher = cluster.client("watcher").connect();
    watcher.subscribe("$SYS/broker/uptime", 0);
    let every = |seconds| {
        cluster.reconfigure(Settings {
            sys_interval: seconds,
            ..Settings::default()
        });
    };
    // On, off and on again leaves one timer and not two.
    every(10);
    every(0);
    every(10);
    cluster.advance(100);
    let count = watcher.messages().len();
    assert!((9..=11).contains(&count), "{count}");
    every(0);
    cluster.advance(20);
    watcher.messages();
    cluster.advance(60);
    watcher.expect_nothing();
}
