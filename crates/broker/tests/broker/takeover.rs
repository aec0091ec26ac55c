//! A second connection with a client id that has one.

use midge_codec::{Property, Version};

use crate::client::Got;
use crate::cluster::Cluster;

/// [MQTT5-3.1.4-3], [MQTT311-3.1.4-2]
#[test]
fn the_older_connection_is_told_and_closed() {
    for old in Version::ALL {
        for new in Version::ALL {
            let cluster = Cluster::new(1);
            let mut first = cluster.client("a").version(old).connect();
            let second = cluster.client("a").version(new).connect();
            first.expect_disconnect(0x8E);
            assert!(!second.is_closed());
            assert_eq!(cluster.stats().sessions, 1);
            assert_eq!(cluster.stats().connected, 1);
            second.cut();
            cluster.assert_empty();
        }
    }
}

#[test]
fn a_session_is_resumed_by_the_connection_that_takes_it_over() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let builder = cluster.client("a").version(version).persistent();
        let mut first = builder.connect_by_hand();
        first.subscribe("t", 1);
        first.publish("t", "x", 1);
        let before = first.message_alone();
        let mut second = builder.connect();
        assert_eq!(second.present, version != Version::V3_1);
        let again = second.message_alone();
        assert_eq!((again.id, again.dup), (before.id, true));
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

#[test]
fn three_connections_with_one_id_leave_one() {
    let cluster = Cluster::new(1);
    cluster.hold_claims();
    let mut clients: Vec<_> = (0..3).map(|_| cluster.client("a").try_connect()).collect();
    cluster.answer_claims();
    let alive = clients.iter().filter(|client| !client.is_closed()).count();
    assert_eq!(alive, 1);
    for client in &mut clients {
        assert!(matches!(client.take()[0], Got::ConnAck(false, 0, _)));
    }
    assert_eq!(cluster.directory_len(), 1);
    for client in &clients {
        client.cut();
    }
    cluster.assert_empty();
}

/// The client id stays taken although the old session's end gives it free in the same step.
#[test]
fn a_clean_take_over_keeps_the_client_id() {
    let cluster = Cluster::new(2);
    cluster.client("a").shard(0).connect();
    let _second = cluster.client("a").shard(0).connect();
    assert_eq!(cluster.directory_len(), 1);
    let third = cluster.client("a").shard(1).connect();
    assert_eq!(cluster.shard_of(third.token), 0);
}

/// The will is the network connection's, which has been closed without DISCONNECT [MQTT5-3.1.2-8],
/// [MQTT311-3.1.2-8]; with a delay the new connection comes in time [MQTT5-3.1.3-9], unless the session
/// ends.
#[test]
fn a_take_over_publishes_the_will_unless_it_waits_for_a_session_that_goes_on() {
    for (version, delay, persistent, clean, published) in [
        (Version::V3_1, 0, false, true, true),
        (Version::V3_1_1, 0, true, false, true),
        (Version::V5, 0, true, false, true),
        (Version::V5, 0, false, true, true),
        (Version::V5, 10, true, false, false),
        (Version::V5, 10, true, true, true),
        (Version::V5, 10, false, false, true),
    ] {
        let cluster = Cluster::new(1);
        let mut watcher = cluster.client("w").connect();
        watcher.subscribe("will", 1);
        let mut builder = cluster.client("a").version(version).will("will", "x", 1);
        if delay > 0 {
            builder = builder.will_property(Property::WillDelayInterval(delay));
        }
        if persistent {
            builder = builder.persistent();
        }
        let _first = builder.connect();
        let mut builder = cluster.client("a").version(version);
        if !clean {
            builder = builder.resume();
        }
        let _second = builder.connect();
        cluster.advance(20);
        let expected = usize::from(published);
        assert_eq!(
            watcher.messages().len(),
            expected,
            "{version:?} {delay} {clean}"
        );
    }
}
