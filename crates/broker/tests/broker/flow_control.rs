//! Windows, and clients that do not read.

use midge_broker::QueueOverflow;
use midge_codec::{AckKind, Packet, Property, Version};

use crate::client::{Got, Pub};
use crate::cluster::Cluster;
use crate::shared::numbered;

/// [MQTT5-3.3.4-9], [MQTT5-4.9.0-1], [MQTT5-4.9.0-2]
#[test]
fn no_more_than_the_receive_maximum_is_unacknowledged() {
    for (asked, window) in [(None, 20), (Some(1), 1), (Some(5), 5), (Some(100), 100)] {
        for qos in 1..=2 {
            let cluster = Cluster::new(1);
            let mut builder = cluster.client("a");
            if let Some(asked) = asked {
                builder = builder.receive_maximum(asked);
            }
            let mut client = builder.connect_by_hand();
            client.subscribe("t", qos);
            let mut publisher = cluster.client("p").connect();
            for payload in numbered("", 150) {
                publisher.publish("t", &payload, qos);
            }
            let sent = client.messages();
            assert_eq!(sent.len(), window);
            let id = sent[0].id.unwrap();
            if qos == 2 {
                // PUBREC does not open the window, PUBCOMP does.
                client.acknowledge(AckKind::PubRec, id, 0);
                assert_eq!(client.take(), [Got::Ack(AckKind::PubRel, id, 0)]);
                client.acknowledge(AckKind::PubComp, id, 0);
            } else {
                client.acknowledge(AckKind::PubAck, id, 0);
            }
            assert_eq!(client.messages().len(), 1);
        }
    }
}

/// QoS 0 and all other packets flow although the window is full [MQTT5-3.3.4-10], [MQTT5-4.9.0-3].
#[test]
fn other_packets_do_not_wait_for_the_window() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").receive_maximum(1).connect_by_hand();
    client.subscribe("t", 1);
    let mut publisher = cluster.client("p").connect();
    publisher.publish("t", "1", 1);
    publisher.publish("t", "2", 1);
    publisher.publish("t", "3", 0);
    assert_eq!(client.payloads(), ["1", "3"]);
    client.expect_nothing();
    client.subscribe("u", 1);
    assert_eq!(client.publish("v", "x", 1), Some(0x10));
}

/// MQTT5 4.9: more unfinished QoS 2 messages than were agreed end the connection with 0x93.
#[test]
fn a_client_that_exceeds_the_brokers_receive_maximum_is_disconnected() {
    let cluster = Cluster::with(1, |settings| settings.max_inflight_messages = 3);
    let mut client = cluster.client("a").connect_by_hand();
    for id in 1..=3 {
        client.send_publish(id, &Pub::new("t", "x", 2));
    }
    // A repeated one is not one more.
    client.send_publish(3, &Pub::new("t", "x", 2));
    assert_eq!(client.take().len(), 4);
    client.send_publish(4, &Pub::new("t", "x", 2));
    client.expect_disconnect(0x93);
    // 3.x knows no such limit.
    let mut client = cluster
        .client("b")
        .version(Version::V3_1_1)
        .connect_by_hand();
    for id in 1..=100 {
        client.send_publish(id, &Pub::new("t", "x", 2));
    }
    assert_eq!(client.take().len(), 100);
}

#[test]
fn bytes_bound_the_window_too() {
    let cluster = Cluster::with(1, |settings| settings.max_inflight_bytes = 100);
    let mut client = cluster.client("a").connect_by_hand();
    client.subscribe("t", 2);
    let mut publisher = cluster.client("p").connect();
    let payload = "x".repeat(59);
    for _ in 0..10 {
        publisher.publish("t", &payload, 2);
    }
    for _ in 0..5 {
        let sent = client.messages();
        assert_eq!(sent.len(), 2);
        for message in sent {
            client.acknowledge(AckKind::PubRec, message.id.unwrap(), 0);
            client.acknowledge(AckKind::PubComp, message.id.unwrap(), 0);
        }
    }
    assert_eq!(cluster.stats().queued_messages, 0);
}

/// A message too large for its client is dropped and counted, and the window does not shrink
/// [MQTT5-3.1.2-24], [MQTT5-3.1.2-25].
#[test]
fn a_message_too_large_for_the_client_is_dropped_for_it_alone() {
    for qos in 0..=2 {
        let cluster = Cluster::new(1);
        let maximum = Property::MaximumPacketSize(50);
        let builder = cluster.client("a").property(maximum).receive_maximum(1);
        let mut small = builder.connect();
        let mut large = cluster.client("b").connect();
        small.subscribe("t", 2);
        large.subscribe("t", 2);
        let mut publisher = cluster.client("p").connect();
        let payload = "x".repeat(60);
        for _ in 0..5 {
            publisher.publish("t", &payload, qos);
        }
        publisher.publish("t", "fits", qos);
        assert_eq!(small.payloads(), ["fits"]);
        assert_eq!(large.messages().len(), 6);
        assert_eq!(cluster.stats().publish_dropped, 5);
        assert_eq!(cluster.stats().queued_messages, 0);
        assert_eq!(cluster.stats().queued_bytes, 0);
    }
}

/// The limit is exact, with whatever the broker adds.
#[test]
fn a_message_of_exactly_the_maximum_size_is_sent() {
    let cluster = Cluster::new(1);
    let maximum = Property::MaximumPacketSize(20);
    let mut client = cluster.client("a").property(maximum).connect();
    client.subscribe_to(&[("t", 1)], 5);
    // Header 2, topic 3, id 2, properties 1 + 2: 10 are left.
    client.publish("t", "1234567890", 1);
    assert_eq!(client.payloads(), ["1234567890"]);
    client.publish("t", "12345678901", 1);
    client.expect_nothing();
}

/// The packet that is too large waits in the queue, or is sent again to a client that takes less now.
#[test]
fn queued_and_resent_messages_obey_the_maximum_packet_size() {
    for qos in 1..=2 {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").persistent().connect_by_hand();
        client.subscribe("t", qos);
        let mut publisher = cluster.client("p").connect();
        let payload = "x".repeat(60);
        publisher.publish("t", &payload, qos);
        assert_eq!(client.messages().len(), 1);
        client.cut();
        publisher.publish("t", &payload, qos);
        publisher.publish("t", "fits", qos);
        let builder = cluster.client("a").persistent();
        let builder = builder.property(Property::MaximumPacketSize(50));
        let mut client = builder.receive_maximum(1).connect();
        assert_eq!(client.payloads(), ["fits"]);
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

/// A client that does not read costs bounded memory: QoS 0 is dropped and counted, and the log says so
/// once for each time.
#[test]
fn qos_0_is_dropped_for_a_client_that_does_not_read() {
    let cluster = Cluster::with(2, |settings| settings.outbox_bytes_max = 100_000);
    let mut slow = cluster.client("slow").connect();
    let mut quick = cluster.client("quick").connect();
    slow.subscribe("t", 0);
    quick.subscribe("t", 0);
    let mut publisher = cluster.client("p").shard(1).connect();
    let payload = "x".repeat(1_000);
    slow.stop_reading();
    for _ in 0..500 {
        publisher.publish("t", &payload, 0);
    }
    assert!(slow.outbox_len() >= 100_000 && slow.outbox_len() < 102_000);
    let stats = cluster.stats();
    assert_eq!(stats.outboxes, 1);
    assert_eq!(stats.outbox_bytes, slow.outbox_len() as u64);
    assert_eq!(quick.messages().len(), 500);
    slow.read_on();
    assert_eq!(slow.messages().len() as u64, 500 - stats.publish_dropped);
    assert!(stats.publish_dropped >= 395);
    let stats = cluster.stats();
    assert_eq!((stats.outboxes, stats.outbox_bytes), (0, 0));
    publisher.publish("t", "again", 0);
    assert_eq!(slow.payloads(), ["again"]);
}

#[test]
fn each_episode_of_not_reading_is_logged_once() {
    let cluster = Cluster::with(1, |settings| settings.outbox_bytes_max = 10_000);
    let mut slow = cluster.client("slow").connect();
    slow.subscribe("t", 0);
    let mut publisher = cluster.client("p").connect();
    let payload = "x".repeat(1_000);
    for episode in 1..=3 {
        slow.stop_reading();
        for _ in 0..30 {
            publisher.publish("t", &payload, 0);
        }
        assert_eq!(cluster.log_lines("it does not read").len(), episode);
        slow.read_on();
        assert!(slow.messages().len() >= 10);
    }
}

/// QoS 1 and 2 wait in the queue, none is lost, and the outbox stays small.
#[test]
fn qos_1_and_2_wait_in_the_queue_of_a_client_that_does_not_read() {
    for qos in 1..=2 {
        let cluster = Cluster::with(1, |settings| settings.max_inflight_messages = 0);
        let mut slow = cluster.client("slow").connect();
        slow.subscribe("t", qos);
        slow.stop_reading();
        let mut publisher = cluster.client("p").connect();
        let filler = "x".repeat(1_000);
        for number in 0..900 {
            publisher.publish("t", &format!("{number} {filler}"), qos);
        }
        assert!(slow.outbox_len() < 140_000, "{}", slow.outbox_len());
        assert_eq!(cluster.stats().queued_messages, 900);
        // In small pieces, and then all.
        for _ in 0..20 {
            slow.read_some(10_000);
            slow.sync();
            assert!(slow.outbox_len() < 140_000);
        }
        slow.read_on();
        let payloads = slow.payloads();
        let numbers: Vec<_> = payloads
            .iter()
            .map(|payload| payload.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(numbers, numbered("", 900));
        assert_eq!(cluster.stats().queued_messages, 0);
        assert_eq!(cluster.stats().publish_dropped, 0);
    }
}

/// Answers are owed, but not to a client that sends on and never reads one.
#[test]
fn a_client_that_never_reads_its_answers_is_given_up() {
    for packet in [
        &[0xC0, 0][..],
        &[0x32, 5, 0, 1, b't', 0, 1],
        &[0x82, 6, 0, 1, 0, 1, b't', 0],
    ] {
        let cluster = Cluster::new(1);
        let mut watcher = cluster.client("w").connect();
        watcher.subscribe("will", 0);
        let builder = cluster.client("a").version(Version::V3_1_1);
        let client = builder.will("will", "x", 0).connect();
        client.stop_reading();
        let many = packet.repeat(10_000);
        for _ in 0..100 {
            client.feed(&many);
            cluster.settle();
        }
        assert!(client.is_closed());
        assert_eq!(watcher.payloads(), ["x"]);
        assert_eq!(cluster.log_lines("does not read its answers").len(), 1);
    }
}

/// Whoever reads, however slowly, stays.
#[test]
fn a_client_that_reads_its_answers_late_stays() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    for _ in 0..40 {
        client.stop_reading();
        client.feed(&[0xC0, 0].repeat(100_000));
        cluster.settle();
        client.read_on();
        assert_eq!(client.take().len(), 100_000);
    }
    assert!(!client.is_closed());
}

#[test]
fn requests_to_the_broker_do_not_fill_the_outbox_of_a_client_that_does_not_read() {
    let cluster = Cluster::with(1, |settings| settings.outbox_bytes_max = 10_000);
    let client = cluster.client("a").connect();
    client.stop_reading();
    for _ in 0..10_000 {
        client.send_publish(0, &Pub::new("$CONTROL/x", "", 0));
    }
    assert!(client.outbox_len() < 11_000);
}

#[test]
fn a_full_queue_drops_the_newest_or_the_oldest() {
    for (overflow, connected) in [
        (QueueOverflow::DropNewest, false),
        (QueueOverflow::DropNewest, true),
        (QueueOverflow::DropOldest, false),
        (QueueOverflow::DropOldest, true),
    ] {
        let cluster = Cluster::with(1, |settings| {
            settings.max_queued_messages = 10;
            settings.queue_overflow = overflow;
        });
        let builder = cluster.client("slow").persistent().receive_maximum(3);
        let mut client = builder.connect_by_hand();
        client.subscribe("t", 1);
        if !connected {
            client.cut();
        }
        let mut publisher = cluster.client("p").connect();
        for payload in numbered("", 20) {
            assert_eq!(publisher.publish("t", &payload, 1), Some(0));
        }
        let window = if connected { 3 } else { 0 };
        let all = numbered("", 20);
        let mut expected = all[..window].to_vec();
        match overflow {
            QueueOverflow::DropNewest => expected.extend_from_slice(&all[window..window + 10]),
            QueueOverflow::DropOldest => expected.extend_from_slice(&all[10..]),
        }
        assert_eq!(cluster.stats().publish_dropped, 10 - window as u64);
        assert_eq!(cluster.log_lines("slow: its queue is full").len(), 1);
        client.cut();
        let mut client = builder.connect();
        assert_eq!(client.payloads(), expected);
        assert_eq!(cluster.stats().queued_messages, 0);
        assert_eq!(cluster.stats().queued_bytes, 0);
    }
}

/// What was sent before the connection went counts against the queue of a client that is away.
#[test]
fn a_session_that_is_away_holds_no_more_than_its_limit() {
    for overflow in [QueueOverflow::DropNewest, QueueOverflow::DropOldest] {
        let cluster = Cluster::with(1, |settings| {
            settings.max_queued_messages = 5;
            settings.queue_overflow = overflow;
        });
        let mut client = cluster.client("a").persistent().connect_by_hand();
        client.subscribe("t", 1);
        let mut publisher = cluster.client("p").connect();
        for payload in numbered("", 5) {
            publisher.publish("t", &payload, 1);
        }
        client.cut();
        publisher.publish("t", "more", 1);
        assert_eq!(cluster.stats().queued_messages, 5);
        assert_eq!(cluster.stats().publish_dropped, 1);
    }
}

#[test]
fn bytes_bound_a_queue() {
    for overflow in [QueueOverflow::DropNewest, QueueOverflow::DropOldest] {
        let cluster = Cluster::with(1, |settings| {
            settings.max_queued_bytes = 100;
            settings.queue_overflow = overflow;
        });
        let mut client = cluster.client("a").persistent().connect();
        client.subscribe("t", 1);
        client.cut();
        let mut publisher = cluster.client("p").connect();
        for payload in ["1", "2", "3"] {
            publisher.publish("t", &payload.repeat(49), 1);
        }
        // Larger than the whole queue: it has no place however much is dropped.
        publisher.publish("t", &"x".repeat(200), 1);
        assert!(cluster.stats().queued_bytes <= 100);
        let mut client = cluster.client("a").persistent().connect();
        let first: Vec<_> = client.payloads();
        let first: Vec<_> = first.iter().map(|payload| &payload[..1]).collect();
        match overflow {
            QueueOverflow::DropNewest => assert_eq!(first, ["1", "2"]),
            QueueOverflow::DropOldest => assert_eq!(first, [""; 0]),
        }
    }
}

/// The limit of the whole broker holds however many sessions there are, and whatever gives way.
#[test]
fn bytes_bound_all_queues_together() {
    for overflow in [QueueOverflow::DropNewest, QueueOverflow::DropOldest] {
        for shards in [1, 2] {
            let cluster = Cluster::with(shards, |settings| {
                settings.max_queued_bytes_total = 2_000;
                settings.queue_overflow = overflow;
            });
            for number in 0..50 {
                let builder = cluster.client(&format!("c{number}")).persistent();
                let mut client = builder.shard(number % shards).connect();
                client.subscribe("t", 1);
                client.cut();
            }
            let mut publisher = cluster.client("p").connect();
            for _ in 0..10 {
                publisher.publish("t", &"x".repeat(99), 1);
            }
            let stats = cluster.stats();
            assert_eq!((stats.queued_bytes, stats.queued_messages), (2_000, 20));
            assert_eq!(stats.publish_dropped, 480);
        }
    }
}

/// A client that is slow all the time fills no log.
#[test]
fn a_queue_that_stays_full_is_logged_once() {
    let cluster = Cluster::with(1, |settings| settings.max_queued_messages = 5);
    let builder = cluster.client("slow").receive_maximum(1);
    let mut client = builder.connect_by_hand();
    client.subscribe("t", 1);
    let mut publisher = cluster.client("p").connect();
    for _ in 0..100 {
        for _ in 0..3 {
            publisher.publish("t", "x", 1);
        }
        for message in client.messages() {
            client.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
        }
    }
    assert_eq!(cluster.log_lines("its queue is full").len(), 1);
    assert!(cluster.stats().publish_dropped > 150);
}

#[test]
fn a_queue_that_drained_logs_its_next_overflow_again() {
    let cluster = Cluster::with(1, |settings| settings.max_queued_messages = 2);
    for episode in 1..=3 {
        let mut client = cluster.client("a").persistent().connect();
        client.subscribe("t", 1);
        client.sync();
        client.cut();
        let mut publisher = cluster.client("p").connect();
        for _ in 0..5 {
            publisher.publish("t", "x", 1);
        }
        assert_eq!(cluster.log_lines("its queue is full").len(), episode);
    }
}

#[test]
fn pings_are_answered_at_once() {
    // [MQTT5-3.12.4-1], [MQTT311-3.12.4-1]
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let client = cluster.client("a").version(version).connect();
        client.send(&Packet::PingReq);
        assert_eq!(cluster.received(client.token), [0xD0, 0]);
    }
}

/// A reload changes limits for those who are connected too.
#[test]
fn new_limits_hold_from_now_on() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").persistent().connect();
    client.subscribe("t", 1);
    client.cut();
    let mut publisher = cluster.client("p").connect();
    for _ in 0..10 {
        publisher.publish("t", "x", 1);
    }
    cluster.reconfigure(midge_broker::Settings {
        sys_interval: 0,
        max_queued_messages: 5,
        ..midge_broker::Settings::default()
    });
    publisher.publish("t", "x", 1);
    assert_eq!(cluster.stats().queued_messages, 10);
    assert_eq!(cluster.stats().publish_dropped, 1);
    let mut client = cluster.client("a").persistent().connect();
    assert_eq!(client.messages().len(), 10);
}
