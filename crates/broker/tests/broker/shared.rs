//! Shared subscriptions on one shard.

use midge_codec::{AckKind, Property, Version};

use crate::client::{Client, Got, Pub};
use crate::cluster::Cluster;

/// Payloads `{prefix}0`, `{prefix}1`, …
pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}{number}"))
        .collect()
}

fn publish_numbered(publisher: &mut Client, topic: &str, count: usize, qos: u8) {
    for payload in numbered("", count) {
        publisher.publish(topic, &payload, qos);
    }
}

/// Members get messages in turn, whatever the version [MQTT5-4.8.2-3].
#[test]
fn members_take_turns_and_each_gets_its_own_qos() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut publisher = cluster.client("p").version(version).connect();
        let mut members: Vec<_> = ["a", "b", "c"]
            .map(|id| cluster.client(id).version(version).connect())
            .into();
        for (qos, member) in (0..).zip(&mut members) {
            assert_eq!(member.subscribe("$share/g/t/+", qos), qos);
        }
        publish_numbered(&mut publisher, "t/1", 9, 2);
        let mut all = Vec::new();
        for (qos, member) in (0..).zip(&mut members) {
            let messages = member.messages();
            assert_eq!(messages.len(), 3);
            assert!(messages.iter().all(|message| message.qos == qos));
            all.extend(messages.into_iter().map(|message| message.payload));
        }
        all.sort();
        assert_eq!(all, numbered("", 9));
    }
}

#[test]
fn a_group_gets_one_copy_beside_those_of_other_groups_and_subscriptions() {
    let cluster = Cluster::new(1);
    let mut a = cluster.client("a").connect();
    let mut b = cluster.client("b").connect();
    a.subscribe("$share/g/t", 1);
    b.subscribe("$share/g/t", 1);
    b.subscribe("$share/h/t", 1);
    b.subscribe("t", 1);
    let mut publisher = cluster.client("p").connect();
    publisher.publish("t", "x", 1);
    assert_eq!(a.messages().len() + b.messages().len(), 3);
}

/// A shared filter on a topic that begins with `$` matches, and one that begins with a wildcard does not
/// reach it [MQTT5-4.7.2-1].
#[test]
fn shared_filters_obey_the_rule_for_dollar_topics() {
    let cluster = Cluster::new(1);
    let mut member = cluster.client("m").connect();
    let mut wild = cluster.client("w").connect();
    member.subscribe("$share/g/$dollar/#", 1);
    wild.subscribe("$share/g/#", 1);
    member.publish("$dollar/x", "1", 1);
    assert_eq!(member.payloads(), ["1"]);
    assert_eq!(wild.payloads(), [""; 0]);
}

#[test]
fn shared_subscriptions_get_no_retained_messages() {
    let cluster = Cluster::new(1);
    let mut a = cluster.client("a").connect();
    a.retain("t", "kept", 1);
    a.subscribe("$share/g/t", 1);
    a.expect_nothing();
}

#[test]
fn a_member_without_window_is_passed_over() {
    let cluster = Cluster::new(1);
    let mut full = cluster.client("a").receive_maximum(1).connect_by_hand();
    let mut free = cluster.client("b").connect();
    full.subscribe("$share/g/t", 1);
    free.subscribe("$share/g/t", 1);
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 10, 1);
    assert_eq!(full.messages().len(), 1);
    assert_eq!(free.messages().len(), 9);
}

#[test]
fn what_no_member_can_take_waits_for_the_first_who_has_room() {
    let cluster = Cluster::new(1);
    let mut member = cluster.client("a").receive_maximum(2).connect_by_hand();
    member.subscribe("$share/g/t", 1);
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 50, 1);
    let first = member.messages();
    assert_eq!(first.len(), 2);
    assert_eq!(cluster.stats().queued_messages, 50);
    member.acknowledges = true;
    let mut payloads: Vec<_> = first.iter().map(|m| m.payload.clone()).collect();
    for message in &first {
        member.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
    }
    payloads.extend(member.payloads());
    assert_eq!(
        payloads,
        numbered("", 50),
        "in order, since the queue comes first"
    );
    assert_eq!(cluster.stats().queued_messages, 0);
}

#[test]
fn what_comes_while_all_members_are_away_waits_for_one_of_them() {
    for returns in ["a", "b"] {
        let cluster = Cluster::new(1);
        for id in ["a", "b"] {
            let mut member = cluster.client(id).persistent().connect();
            member.subscribe("$share/g/t", 1);
            member.cut();
        }
        let mut publisher = cluster.client("p").connect();
        publish_numbered(&mut publisher, "t", 100, 1);
        publisher.publish("t", "lost", 0);
        let mut member = cluster.client(returns).persistent().connect();
        assert_eq!(member.payloads(), numbered("", 100));
    }
}

#[test]
fn a_new_member_gets_what_waited_for_the_group() {
    let cluster = Cluster::new(1);
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 30, 1);
    let mut new = cluster.client("b").connect();
    new.subscribe("$share/g/t", 1);
    assert_eq!(new.payloads(), numbered("", 30));
}

#[test]
fn a_member_of_several_groups_gets_what_waited_for_each() {
    let cluster = Cluster::new(1);
    let mut away = cluster.client("a").persistent().connect();
    for group in ["f", "g", "h"] {
        away.subscribe(&format!("$share/{group}/t"), 1);
    }
    away.cut();
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 20, 1);
    let mut back = cluster.client("a").persistent().connect();
    let mut payloads = back.payloads();
    payloads.sort_by_key(|payload| payload.parse::<u32>().unwrap());
    assert_eq!(payloads.len(), 60);
    assert!(payloads.chunks(3).all(|same| same[0] == same[2]));
    assert_eq!(cluster.stats().queued_messages, 0);
}

#[test]
fn the_queue_of_a_group_goes_with_its_last_member() {
    let cluster = Cluster::new(1);
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 5, 1);
    assert_eq!(cluster.stats().queued_messages, 5);
    let mut back = cluster.client("a").connect();
    back.subscribe("$share/g/t", 1);
    back.expect_nothing();
    cluster.advance(2);
    assert_eq!(cluster.stats().queued_messages, 0);
    assert_eq!(cluster.stats().publish_dropped, 5);
    back.disconnect();
    publisher.disconnect();
    cluster.assert_empty();
}

#[test]
fn the_queue_of_a_group_is_bounded() {
    let cluster = Cluster::with(1, |settings| settings.max_queued_messages = 10);
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 15, 1);
    assert_eq!(cluster.stats().publish_dropped, 5);
    let mut back = cluster.client("a").persistent().connect();
    assert_eq!(back.payloads(), numbered("", 10));
}

#[test]
fn the_queue_of_a_group_obeys_the_limit_of_the_whole_broker() {
    let cluster = Cluster::with(1, |settings| settings.max_queued_bytes_total = 100);
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    for _ in 0..50 {
        publisher.publish("t", "123456789", 1);
    }
    assert_eq!(cluster.stats().queued_bytes, 100);
    assert_eq!(cluster.stats().publish_dropped, 40);
}

#[test]
fn the_queue_of_a_group_drops_its_oldest_when_told_so() {
    let cluster = Cluster::with(1, |settings| {
        settings.max_queued_messages = 10;
        settings.queue_overflow = midge_broker::QueueOverflow::DropOldest;
    });
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 15, 1);
    assert_eq!(cluster.stats().publish_dropped, 5);
    let mut back = cluster.client("a").persistent().connect();
    assert_eq!(back.payloads(), numbered("", 15)[5..]);
}

/// What expires while it waits for a group is not delivered [MQTT5-3.3.2-5], and the rest of the others'
/// life is told [MQTT5-3.3.2-6].
#[test]
fn messages_expire_while_they_wait_for_a_group() {
    let cluster = Cluster::new(1);
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    for seconds in [5, 50] {
        let expiry = [Property::MessageExpiryInterval(seconds)];
        publisher.publish_with("t", &seconds.to_string(), 1, &expiry);
    }
    cluster.advance(10);
    let mut back = cluster.client("a").persistent().connect();
    let message = back.message_alone();
    assert_eq!((&*message.payload, message.expiry), ("50", Some(40)));
    assert_eq!(cluster.stats().queued_messages, 0);
}

/// What a lost member had not acknowledged goes to another one (QoS 1).
#[test]
fn unacknowledged_messages_of_a_lost_member_go_to_another() {
    for persistent in [false, true] {
        let cluster = Cluster::new(1);
        let lost = cluster.client("a");
        let lost = if persistent { lost.persistent() } else { lost };
        let mut lost = lost.connect_by_hand();
        lost.subscribe("$share/g/t", 1);
        let mut publisher = cluster.client("p").connect();
        publish_numbered(&mut publisher, "t", 30, 1);
        let sent = lost.messages();
        assert_eq!(sent.len(), 20);
        for message in &sent[..5] {
            lost.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
        }
        let mut other = cluster.client("b").receive_maximum(1).connect();
        other.subscribe("$share/g/t", 1);
        lost.cut();
        let mut payloads = other.payloads();
        payloads.extend(lost.payloads());
        payloads.sort_by_key(|payload| payload.parse::<u32>().unwrap());
        payloads.dedup();
        assert_eq!(payloads, numbered("", 30)[5..], "persistent: {persistent}");
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

/// QoS 2 in flight waits for the same member [MQTT5-4.8.2-4], and is not given to another when the
/// member's session ends [MQTT5-4.8.2-5].
#[test]
fn qos_2_in_flight_stays_with_its_member() {
    let cluster = Cluster::new(1);
    let mut lost = cluster.client("a").persistent().connect_by_hand();
    let mut other = cluster.client("b").connect();
    lost.subscribe("$share/g/t", 2);
    let mut publisher = cluster.client("p").connect();
    publisher.publish("t", "x", 2);
    let first = lost.message_alone();
    other.subscribe("$share/g/t", 2);
    lost.cut();
    other.expect_nothing();
    let mut back = cluster.client("a").persistent().connect_by_hand();
    let again = back.message_alone();
    assert_eq!(
        (again.id, again.dup, &*again.payload),
        (first.id, true, "x")
    );
    back.disconnect_with(0, &[Property::SessionExpiryInterval(0)]);
    other.expect_nothing();
    assert_eq!(cluster.stats().queued_messages, 0);
}

/// A negative acknowledgement ends a delivery, and nobody else gets the message [MQTT5-4.8.2-6],
/// [MQTT5-4.4.0-2].
#[test]
fn a_refused_message_is_not_given_to_another_member() {
    for (qos, kind) in [(1, AckKind::PubAck), (2, AckKind::PubRec)] {
        let cluster = Cluster::new(1);
        let mut refuses = cluster.client("a").persistent().connect_by_hand();
        refuses.subscribe("$share/g/t", qos);
        let mut publisher = cluster.client("p").connect();
        publisher.publish("t", "x", qos);
        let id = refuses.message_alone().id.unwrap();
        refuses.acknowledge(kind, id, 0x80);
        let mut other = cluster.client("b").connect();
        other.subscribe("$share/g/t", qos);
        refuses.cut();
        other.expect_nothing();
        let mut back = cluster.client("a").persistent().connect();
        back.expect_nothing();
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

#[test]
fn no_local_is_refused_for_a_shared_subscription() {
    let cluster = Cluster::new(1);
    let mut member = cluster.client("a").connect();
    member.send_subscribe(&[("$share/g/t", 0b101)], 0);
    // [MQTT5-3.8.3-4]
    member.expect_disconnect(0x82);
}

#[test]
fn members_get_the_identifier_of_their_own_subscription() {
    let cluster = Cluster::new(1);
    let mut a = cluster.client("a").connect();
    let mut b = cluster.client("b").connect();
    a.subscribe_to(&[("$share/g/t", 1)], 5);
    b.subscribe_to(&[("$share/g/t", 1)], 6);
    let mut publisher = cluster.client("p").connect();
    publish_numbered(&mut publisher, "t", 4, 1);
    assert!(a.messages().iter().all(|message| message.ids == [5]));
    assert!(b.messages().iter().all(|message| message.ids == [6]));
}

#[test]
fn unsubscribing_leaves_the_group() {
    let cluster = Cluster::new(1);
    let mut a = cluster.client("a").connect();
    let mut b = cluster.client("b").connect();
    a.subscribe("$share/g/t", 1);
    b.subscribe("$share/g/t", 1);
    assert_eq!(a.unsubscribe(&["$share/g/t", "$share/h/t"]), [0, 0x11]);
    publish_numbered(&mut b, "t", 4, 1);
    a.expect_nothing();
    assert_eq!(b.messages().len(), 4);
    assert_eq!(cluster.routing_counts(), (0, 1));
}

#[test]
fn qos_0_goes_to_a_member_who_is_there_even_when_messages_wait() {
    let cluster = Cluster::new(1);
    let mut member = cluster.client("a").connect();
    member.subscribe("$share/g/t", 1);
    member.publish("t", "x", 0);
    assert_eq!(member.payloads(), ["x"]);
    member.cut();
    assert_eq!(cluster.stats().sessions, 0);
}

#[test]
fn a_member_who_stops_reading_is_passed_over() {
    let cluster = Cluster::with(1, |settings| settings.max_inflight_messages = 0);
    let mut stalled = cluster.client("a").connect();
    let mut reads = cluster.client("b").connect();
    stalled.subscribe("$share/g/t", 1);
    reads.subscribe("$share/g/t", 1);
    stalled.stop_reading();
    let publisher = cluster.client("p").connect();
    let payload = "x".repeat(10_000);
    for id in 1..=100 {
        publisher.send_publish(id, &Pub::new("t", &payload, 1));
    }
    let got = reads.messages().len();
    assert!(got >= 80, "{got}");
    assert!(stalled.outbox_len() <= 200_000);
    stalled.read_on();
    assert_eq!(stalled.messages().len() + got, 100);
}

/// An empty packet identifier or a busy group must not keep a PUBACK back.
#[test]
fn the_publisher_is_told_of_success_when_the_message_waits_for_a_group() {
    let cluster = Cluster::new(1);
    let mut away = cluster.client("a").persistent().connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").connect();
    assert_eq!(publisher.publish("t", "x", 1), Some(0));
    assert_eq!(publisher.publish("u", "x", 1), Some(0x10));
    assert_eq!(publisher.take(), [] as [Got; 0]);
}
