//! What is kept when the broker is killed, and what waits for the disk.

use midge_codec::{AckKind, Property, Version};

use crate::client::{Client, Got};
use crate::cluster::Cluster;
use crate::disk::Answers;

/// A subscriber that comes back, with QoS 2 to `t/#`, and a publisher.
fn pair(cluster: &Cluster) -> (Client, Client) {
    let mut subscriber = cluster.client("subscriber").persistent().connect();
    subscriber.subscribe("t/#", 2);
    (subscriber, cluster.client("publisher").connect())
}

#[test]
fn puback_leaves_when_the_message_is_safe() {
    let cluster = Cluster::new(2);
    let (_subscriber, mut publisher) = pair(&cluster);
    cluster.set_disk(Answers::Later);
    assert_eq!(publisher.publish("t/a", "one", 1), None);
    // Nobody has to keep it, but no acknowledgement overtakes another [MQTT5-4.6.0-2].
    assert_eq!(publisher.publish("nobody", "two", 1), None);
    assert!(cluster.commit());
    assert_eq!(publisher.answer_to(1), Some(0));
    assert_eq!(publisher.answer_to(2), Some(0x10));
}

#[test]
fn what_nobody_has_to_keep_never_reaches_the_disk() {
    let cluster = Cluster::new(2);
    let mut clean = cluster.client("clean").connect();
    clean.subscribe("t/#", 2);
    clean.subscribe("$share/g/t/#", 1);
    cluster.set_disk(Answers::Later);
    let mut publisher = cluster.client("publisher").connect();
    assert_eq!(publisher.publish("t/a", "0", 0), None);
    assert_eq!(publisher.publish("t/a", "1", 1), Some(0));
    assert_eq!(publisher.publish("t/a", "2", 2), Some(0));
    assert_eq!(clean.payloads().len(), 6);
    assert!(!cluster.commit(), "something went to the disk");
}

#[test]
fn pubrec_and_pubcomp_leave_when_they_are_true() {
    let cluster = Cluster::new(1);
    let (mut subscriber, _) = pair(&cluster);
    let builder = cluster.client("sender").persistent();
    let mut publisher = builder.connect_by_hand();
    cluster.set_disk(Answers::Later);
    publisher.publish("t/a", "x", 2);
    assert_eq!(publisher.take(), []);
    cluster.commit();
    assert_eq!(publisher.take(), [Got::Ack(AckKind::PubRec, 1, 0)]);
    publisher.acknowledge(AckKind::PubRel, 1, 0);
    assert_eq!(publisher.take(), []);
    assert_eq!(
        subscriber.payloads(),
        [""; 0],
        "before its identifier is safe"
    );
    while cluster.commit() {}
    assert_eq!(publisher.take(), [Got::Ack(AckKind::PubComp, 1, 0)]);
    assert_eq!(subscriber.payloads(), ["x"]);
}

#[test]
fn connack_and_suback_of_a_persistent_session_wait_and_nothing_goes_before_them() {
    let cluster = Cluster::new(1);
    cluster.set_disk(Answers::Later);
    let mut client = cluster.client("a").persistent().try_connect();
    client.send_subscribe(&[("t", 1)], 0);
    let mut publisher = cluster.client("b").connect();
    publisher.publish("t", "x", 0);
    assert_eq!(client.take(), []);
    cluster.commit();
    let got = client.take();
    assert!(matches!(got[0], Got::ConnAck(false, 0, _)), "{got:?}");
    assert!(got.iter().any(|got| matches!(got, Got::SubAck(1, _))));
}

#[test]
fn pubrel_to_a_subscriber_leaves_when_its_pubrec_is_safe() {
    let cluster = Cluster::new(1);
    let mut subscriber = cluster.client("s").persistent().connect_by_hand();
    subscriber.subscribe("t", 2);
    cluster.client("p").connect().publish("t", "x", 2);
    let id = subscriber.message_alone().id.unwrap();
    cluster.set_disk(Answers::Later);
    subscriber.acknowledge(AckKind::PubRec, id, 0);
    assert_eq!(subscriber.take(), []);
    cluster.commit();
    assert_eq!(subscriber.take(), [Got::Ack(AckKind::PubRel, id, 0)]);
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged_and_keeps_the_order() {
    for shards in 1..=3 {
        let cluster = Cluster::new(shards);
        let (mut subscriber, mut publisher) = pair(&cluster);
        subscriber.disconnect();
        for number in 0..40 {
            let qos = 1 + number % 2;
            assert_eq!(publisher.publish("t/a", &number.to_string(), qos), Some(0));
        }
        cluster.crash(4 - shards, 1);
        let mut subscriber = cluster.client("subscriber").resume().connect();
        assert!(subscriber.present);
        let wanted: Vec<String> = (0..40).map(|number: u8| number.to_string()).collect();
        assert_eq!(subscriber.payloads(), wanted);
        cluster.crash(1, 1);
        let mut subscriber = cluster.client("subscriber").resume().connect();
        assert_eq!(subscriber.payloads(), [""; 0], "it was acknowledged");
    }
}

#[test]
fn what_was_not_safe_was_not_acknowledged_and_is_gone() {
    let cluster = Cluster::new(1);
    let (mut subscriber, mut publisher) = pair(&cluster);
    subscriber.disconnect();
    cluster.set_disk(Answers::Later);
    assert_eq!(publisher.publish("t/a", "x", 1), None);
    cluster.crash(1, 0);
    cluster.set_disk(Answers::AtOnce);
    let mut subscriber = cluster.client("subscriber").resume().connect();
    assert!(subscriber.present);
    assert_eq!(subscriber.payloads(), [""; 0]);
}

#[test]
fn a_qos_2_delivery_goes_on_with_its_identifier_after_a_crash() {
    let cluster = Cluster::new(2);
    let mut subscriber = cluster.client("s").persistent().connect_by_hand();
    subscriber.subscribe("t", 2);
    let mut publisher = cluster.client("p").connect();
    for payload in ["received", "sent"] {
        publisher.publish("t", payload, 2);
    }
    let messages = subscriber.messages();
    let [received, sent] = [messages[0].id.unwrap(), messages[1].id.unwrap()];
    subscriber.acknowledge(AckKind::PubRec, received, 0);
    cluster.settle();
    cluster.crash(1, 0);
    let mut subscriber = cluster.client("s").resume().connect_by_hand();
    let got = subscriber.take();
    assert_eq!(got[0], Got::Ack(AckKind::PubRel, received, 0));
    let Got::Publish(again) = &got[1] else {
        panic!("{got:?}");
    };
    assert_eq!(
        (again.id, again.dup, &*again.payload),
        (Some(sent), true, "sent")
    );
    assert_eq!(got.len(), 2);
    // The next one gets another identifier.
    cluster.client("p").connect().publish("t", "next", 2);
    let next = subscriber.message_alone().id.unwrap();
    assert!(next != received && next != sent);
}

#[test]
fn a_qos_2_publication_is_passed_on_once_however_often_the_broker_dies() {
    let cluster = Cluster::new(2);
    let (mut subscriber, _) = pair(&cluster);
    subscriber.disconnect();
    let mut publisher = cluster.client("sender").persistent().connect_by_hand();
    publisher.publish("t/a", "x", 2);
    cluster.crash(2, 0);
    let mut publisher = cluster.client("sender").resume().connect_by_hand();
    assert!(publisher.present);
    publisher.acknowledge(AckKind::PubRel, 1, 0);
    assert_eq!(publisher.take(), [Got::Ack(AckKind::PubComp, 1, 0)]);
    cluster.crash(1, 0);
    let mut publisher = cluster.client("sender").resume().connect_by_hand();
    // The PUBCOMP may have been lost.
    publisher.acknowledge(AckKind::PubRel, 1, 0);
    assert_eq!(publisher.take(), [Got::Ack(AckKind::PubComp, 1, 0x92)]);
    let mut subscriber = cluster.client("subscriber").resume().connect();
    assert_eq!(subscriber.payloads(), ["x"]);
}

#[test]
fn retained_messages_come_back_with_what_is_left_of_their_life() {
    let cluster = Cluster::new(3);
    let mut publisher = cluster.client("p").connect();
    for (topic, payload) in [("a", "old"), ("a", "new"), ("b", "gone"), ("b", "")] {
        publisher.retain(topic, payload, 1);
    }
    publisher.retain("zero", "kept too", 0);
    publisher.publish_of(&crate::client::Pub {
        retain: true,
        properties: &[Property::MessageExpiryInterval(100)],
        ..crate::client::Pub::new("c", "expires", 1)
    });
    cluster.crash(2, 60);
    let mut subscriber = cluster.client("s").connect();
    subscriber.subscribe("#", 1);
    let mut messages = subscriber.messages();
    messages.sort_by(|a, b| a.topic.cmp(&b.topic));
    let seen: Vec<_> = messages
        .iter()
        .map(|message| (&*message.topic, &*message.payload))
        .collect();
    assert_eq!(seen, [("a", "new"), ("c", "expires"), ("zero", "kept too")]);
    assert_eq!(messages[1].expiry, Some(40));
    cluster.crash(1, 41);
    let mut subscriber = cluster.client("s").connect();
    subscriber.subscribe("c", 1);
    assert_eq!(subscriber.payloads(), [""; 0]);
}

#[test]
fn sessions_end_when_they_must_over_a_restart() {
    let cluster = Cluster::new(2);
    let away = cluster.client("away").expiry(100);
    away.connect().disconnect();
    let connected = cluster.client("connected").expiry(100);
    let _connected = connected.connect();
    let _clean = cluster.client("clean").connect();
    cluster.advance(30);
    cluster.crash(2, 50);
    assert_eq!(cluster.stats().sessions, 2, "a clean one is gone");
    // 20 of its seconds are left; the other lost its connection with the broker.
    cluster.advance(30);
    assert_eq!(cluster.stats().sessions, 1);
    cluster.advance(80);
    cluster.assert_empty();
}

#[test]
fn a_will_whose_client_went_with_the_broker_is_published_after_its_delay() {
    let cluster = Cluster::new(1);
    let (mut watcher, _) = pair(&cluster);
    watcher.disconnect();
    let doomed = cluster
        .client("doomed")
        .persistent()
        .will("t/will", "gone", 1);
    let doomed = doomed.will_property(Property::WillDelayInterval(30));
    let _doomed = doomed.connect();
    cluster.crash(1, 0);
    cluster.advance(10);
    let mut watcher = cluster.client("subscriber").resume().connect();
    assert_eq!(watcher.payloads(), [""; 0]);
    cluster.advance(25);
    assert_eq!(watcher.payloads(), ["gone"]);
    cluster.crash(1, 0);
    cluster.advance(60);
    let mut watcher = cluster.client("subscriber").resume().connect();
    assert_eq!(watcher.payloads(), [""; 0], "published twice");
}

#[test]
fn subscriptions_come_back_as_they_were() {
    let cluster = Cluster::new(2);
    let mut client = cluster.client("s").persistent().connect();
    // No local and retain as published; an identifier.
    client.subscribe_to(&[("a/+", 0b1101)], 7);
    client.subscribe("gone", 1);
    client.unsubscribe(&["gone"]);
    client.subscribe("changed", 0);
    client.subscribe("changed", 2);
    client.disconnect();
    cluster.crash(1, 0);
    let mut publisher = cluster.client("p").connect();
    publisher.retain("a/b", "x", 1);
    publisher.publish("gone", "y", 1);
    publisher.publish("changed", "z", 2);
    let mut client = cluster.client("s").resume().connect();
    let messages = client.messages();
    let seen: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                &*message.payload,
                message.qos,
                message.retain,
                message.ids.clone(),
            )
        })
        .collect();
    assert_eq!(seen, [("x", 1, true, vec![7]), ("z", 2, false, vec![])]);
    client.publish("a/c", "own", 1);
    assert_eq!(client.payloads(), [""; 0]);
}

#[test]
fn what_a_shared_group_holds_comes_back() {
    let cluster = Cluster::new(3);
    let mut member = cluster.client("m").persistent().connect_by_hand();
    member.subscribe("$share/g/t", 1);
    let mut publisher = cluster.client("p").connect();
    for number in 0..30 {
        publisher.publish("t", &number.to_string(), 1);
    }
    // Some are with the member, unacknowledged; the rest waits at the group.
    let first = member.messages();
    assert!(!first.is_empty() && first.len() < 30);
    member.acknowledge(AckKind::PubAck, first[0].id.unwrap(), 0);
    cluster.settle();
    cluster.crash(2, 0);
    let mut member = cluster.client("m").resume().connect();
    let mut payloads = member.payloads();
    payloads.sort_by_key(|payload| payload.parse::<u32>().unwrap());
    let wanted: Vec<String> = (1..30).map(|number: u8| number.to_string()).collect();
    assert_eq!(payloads, wanted);
}

#[test]
fn a_full_disk_refuses_new_work_and_nothing_else() {
    for version in [Version::V5, Version::V3_1_1] {
        let cluster = Cluster::new(1);
        let (mut subscriber, _) = pair(&cluster);
        let mut watcher = cluster.client("clean").connect();
        watcher.subscribe("t/#", 0);
        let builder = cluster.client("p").version(version);
        let mut publisher = builder.connect();
        subscriber.disconnect();
        publisher.publish("t/a", "kept", 1);
        cluster.set_disk(Answers::Full);
        watcher.payloads();
        for turn in 0..2 {
            let mut publisher = builder.connect();
            let answer = publisher.publish("t/a", "refused", 1);
            let closed = publisher.is_closed();
            match version {
                Version::V5 => assert_eq!((answer, closed), (Some(0x97), false), "{turn}"),
                _ => assert_eq!((answer, closed), (None, true), "{turn}"),
            }
        }
        let mut publisher = builder.connect();
        publisher.publish("t/a", "live", 0);
        assert!(publisher.publish("nobody", "x", 1).is_some());
        assert_eq!(watcher.payloads().pop().as_deref(), Some("live"));
        let mut refused = cluster.client("new").persistent().try_connect();
        assert!(matches!(refused.take()[..], [Got::ConnAck(false, 0x97, _)]));
        // Who is known comes in and gets what was kept.
        let mut subscriber = cluster.client("subscriber").resume().connect();
        assert_eq!(subscriber.payloads()[0], "kept");
        assert_eq!(subscriber.subscribe("more", 1), 0x97);
        cluster.set_disk(Answers::AtOnce);
        assert_eq!(subscriber.subscribe("more", 1), 1);
        assert_eq!(builder.connect().publish("t/a", "again", 1), Some(0));
        assert_eq!(subscriber.payloads().pop().as_deref(), Some("again"));
    }
}

#[test]
fn a_long_queue_is_read_back_from_the_disk_in_its_order() {
    let cluster = Cluster::with(2, |settings| settings.max_queued_messages = 0);
    let (mut subscriber, mut publisher) = pair(&cluster);
    subscriber.disconnect();
    let payload = |number: u32| format!("{number:0>1000}");
    for number in 0..600 {
        publisher.publish("t/a", &payload(number), 1);
    }
    let mut subscriber = cluster.client("subscriber").resume().connect();
    let wanted: Vec<String> = (0..600).map(payload).collect();
    assert!(subscriber.payloads() == wanted);
    subscriber.disconnect();
    cluster.advance(u64::from(u32::MAX));
    assert_eq!(cluster.stats().queued_messages, 0);
    assert_eq!(cluster.stats().queued_bytes, 0);
}

#[test]
fn persistent_client_expiration_holds_for_sessions_from_before_it_was_set() {
    let cluster = Cluster::new(1);
    cluster.client("a").persistent().connect().disconnect();
    cluster.reconfigure_at_start(|settings| settings.persistent_client_expiration = Some(60));
    cluster.crash(1, 0);
    cluster.advance(50);
    assert_eq!(cluster.stats().sessions, 1);
    cluster.advance(15);
    cluster.assert_empty();
}
