//! What several shards do together, with mail that comes late.

use midge_codec::{AckKind, Property};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::shared::numbered;

fn publish_numbered(publisher: &mut Client, topic: &str, count: usize, qos: u8) {
    for payload in numbered("", count) {
        publisher.publish(topic, &payload, qos);
    }
}

/// A message reaches subscribers of all shards, each once, in order [MQTT5-4.6.0-6], [MQTT311-4.6.0-6].
#[test]
fn subscribers_on_other_shards_get_each_message_once_and_in_order() {
    for qos in 0..=2 {
        let cluster = Cluster::new(3);
        let mut subscribers: Vec<_> = (0..9)
            .map(|number| {
                let builder = cluster.client(&format!("s{number}"));
                let mut client = builder.shard(number % 3).connect();
                client.subscribe("t/#", 2);
                client
            })
            .collect();
        let mut publisher = cluster.client("p").shard(1).connect();
        cluster.hold_mail();
        publish_numbered(&mut publisher, "t/x", 100, qos);
        cluster.release_mail();
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.payloads(), numbered("", 100));
        }
    }
}

/// The publisher is told that somebody subscribes, wherever they are.
#[test]
fn a_match_on_another_shard_counts_for_the_acknowledgement() {
    let cluster = Cluster::new(2);
    let mut subscriber = cluster.client("s").shard(1).connect();
    subscriber.subscribe("t", 1);
    let mut publisher = cluster.client("p").connect();
    assert_eq!(publisher.publish("t", "x", 1), Some(0));
    assert_eq!(publisher.publish("u", "x", 1), Some(0x10));
}

#[test]
fn a_suback_means_that_every_shard_sees_the_subscription() {
    let cluster = Cluster::new(2);
    let mut subscriber = cluster.client("s").shard(1).connect();
    let mut publisher = cluster.client("p").connect();
    subscriber.subscribe("t", 1);
    cluster.hold_mail();
    assert_eq!(publisher.publish("t", "x", 1), Some(0));
    cluster.release_mail();
    assert_eq!(subscriber.payloads(), ["x"]);
}

#[test]
fn no_local_and_merged_copies_hold_across_shards() {
    let cluster = Cluster::with(2, |settings| settings.allow_duplicate_messages = false);
    let mut near = cluster.client("n").shard(0).connect();
    let mut far = cluster.client("f").shard(1).connect();
    for client in [&mut near, &mut far] {
        client.subscribe_to(&[("t/#", 0b0000_0100)], 1);
        client.subscribe_to(&[("t/+", 0b0000_0110)], 2);
    }
    near.publish("t/x", "1", 2);
    near.expect_nothing();
    let message = far.message_alone();
    assert_eq!((message.qos, &*message.ids), (2, &[1, 2][..]));
    far.publish("t/x", "2", 2);
    far.expect_nothing();
    assert_eq!(near.message_alone().ids, [1, 2]);
}

#[test]
fn a_session_is_found_again_from_any_shard() {
    let cluster = Cluster::new(3);
    let mut first = cluster.client("a").persistent().shard(2).connect();
    first.subscribe("t", 1);
    first.cut();
    let mut publisher = cluster.client("p").shard(1).connect();
    publisher.publish("t", "x", 1);
    let mut second = cluster.client("a").persistent().shard(0).connect();
    assert!(second.present);
    assert_eq!(cluster.shard_of(second.token), 2);
    assert_eq!(second.payloads(), ["x"]);
    // A connection that moved was opened twice and counts once.
    assert_eq!(cluster.stats().sockets, 3);
    assert_eq!(cluster.stats().connections, 3);
    second.disconnect_with(0, &[Property::SessionExpiryInterval(0)]);
    publisher.disconnect();
    cluster.assert_empty();
}

/// Take-over works from another shard [MQTT5-3.1.4-3].
#[test]
fn a_connection_on_another_shard_takes_the_session_over() {
    let cluster = Cluster::new(2);
    let mut first = cluster.client("a").shard(0).connect();
    let second = cluster.client("a").shard(1).connect();
    first.expect_disconnect(0x8E);
    assert_eq!(cluster.shard_of(second.token), 0);
    assert!(!second.present);
    assert_eq!(cluster.stats().sessions, 1);
    assert_eq!(cluster.directory_len(), 1);
}

#[test]
fn a_session_that_ended_frees_its_client_id_for_any_shard() {
    let cluster = Cluster::new(2);
    cluster.client("a").shard(0).connect().disconnect();
    let again = cluster.client("a").shard(1).connect();
    assert_eq!(cluster.shard_of(again.token), 1);
}

#[test]
fn shared_groups_rotate_over_members_on_all_shards() {
    let cluster = Cluster::new(3);
    let mut members: Vec<_> = (0..3)
        .map(|shard| {
            let mut member = cluster.client(&format!("m{shard}")).shard(shard).connect();
            member.subscribe("$share/g/t", 1);
            member
        })
        .collect();
    let mut publisher = cluster.client("p").shard(1).connect();
    publish_numbered(&mut publisher, "t", 30, 1);
    for member in &mut members {
        assert_eq!(member.messages().len(), 10);
    }
}

/// Nothing is lost and nothing goes twice when a member vanishes while messages are on their way to it.
#[test]
fn messages_on_their_way_to_a_member_who_has_gone_go_to_another() {
    for persistent in [false, true] {
        let cluster = Cluster::new(3);
        let mut home = cluster.client("h").shard(0).connect();
        home.subscribe("$share/g/t", 1);
        let member = cluster.client("m").shard(1);
        let member = if persistent {
            member.persistent()
        } else {
            member
        };
        let mut member = member.connect();
        member.subscribe("$share/g/t", 1);
        let mut publisher = cluster.client("p").shard(2).connect();
        cluster.hold_mail();
        publish_numbered(&mut publisher, "t", 20, 1);
        member.cut();
        cluster.release_mail();
        let mut payloads = home.payloads();
        payloads.sort_by_key(|payload| payload.parse::<u32>().unwrap());
        assert_eq!(payloads, numbered("", 20), "persistent: {persistent}");
        assert_eq!(cluster.stats().queued_messages, 0);
    }
}

/// A member with room asks for what its group holds. While the message is still on its way to the group's
/// home, the answer is "nothing", and it must not ask in a circle.
#[test]
fn a_backlog_that_is_still_on_its_way_is_waited_for_in_peace() {
    for home in [0, 1] {
        let cluster = Cluster::new(2);
        let mut first = cluster.client("h").shard(home).persistent().connect();
        first.subscribe("$share/g/t", 1);
        first.subscribe("$share/f/t", 1);
        let builder = cluster.client("m").receive_maximum(2);
        let mut member = builder.shard(0).connect_by_hand();
        member.subscribe("$share/g/t", 1);
        member.subscribe("$share/f/t", 1);
        first.cut();
        let mut publisher = cluster.client("p").shard(1).connect();
        publisher.publish("t", "1", 1);
        cluster.settle();
        let in_flight = member.messages();
        assert_eq!(in_flight.len(), 2);
        cluster.hold_mail();
        publisher.publish("t", "2", 1);
        // The window opens, and both groups have a backlog that is under way.
        for message in &in_flight {
            member.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
        }
        cluster.settle();
        cluster.release_mail();
        assert_eq!(member.payloads(), ["2", "2"], "home {home}");
    }
}

/// A message that finds nobody ready just before a member joins is not stranded.
#[test]
fn a_message_that_a_joining_member_just_missed_reaches_it() {
    let cluster = Cluster::new(2);
    let mut away = cluster.client("a").persistent().shard(0).connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut joins = cluster.client("b").shard(1).connect();
    let mut publisher = cluster.client("p").shard(0).connect();
    // The SUBSCRIBE is handled, but its turn has not ended, while the other shard publishes and ends its
    // turn.
    joins.send_subscribe(&[("$share/g/t", 1)], 0);
    publisher.send_publish(1, &crate::client::Pub::new("t", "x", 1));
    cluster.turn(0);
    cluster.settle();
    assert_eq!(joins.payloads(), ["x"]);
    assert_eq!(publisher.answer_to(1), Some(0));
}

#[test]
fn a_group_with_delayed_mail_loses_nothing() {
    let cluster = Cluster::new(3);
    let mut members: Vec<_> = (0..3)
        .map(|shard| {
            let builder = cluster.client(&format!("m{shard}")).receive_maximum(3);
            let mut member = builder.shard(shard).persistent().connect_by_hand();
            member.subscribe("$share/g/t", 1);
            member
        })
        .collect();
    let mut publisher = cluster.client("p").shard(1).connect();
    cluster.hold_mail();
    publish_numbered(&mut publisher, "t", 200, 1);
    let mut seen = Vec::new();
    for round in 0..40 {
        cluster.deliver_mail(round % 3, (round + 1) % 3);
        cluster.deliver_mail((round + 2) % 3, round % 3);
        for member in &mut members {
            for message in member.messages() {
                member.acknowledge(AckKind::PubAck, message.id.unwrap(), 0);
                seen.push(message.payload);
            }
        }
        if round == 10 {
            members[2].cut();
            members[2] = cluster.client("m2").persistent().connect_by_hand();
        }
    }
    for member in &mut members {
        member.acknowledges = true;
    }
    cluster.release_mail();
    for member in &mut members {
        for message in member.messages() {
            seen.push(message.payload);
        }
    }
    seen.sort_by_key(|payload| payload.parse::<u32>().unwrap());
    seen.dedup();
    assert_eq!(seen, numbered("", 200));
}

#[test]
fn what_a_gone_member_was_granted_returns_in_its_order() {
    let cluster = Cluster::new(2);
    let mut away = cluster.client("a").persistent().shard(0).connect();
    away.subscribe("$share/g/t", 1);
    away.cut();
    let mut publisher = cluster.client("p").shard(0).connect();
    publish_numbered(&mut publisher, "t", 10, 1);
    cluster.hold_mail();
    let mut member = cluster.client("b").shard(1).connect();
    member.subscribe("$share/g/t", 1);
    // It has asked, and goes before the answer comes.
    assert_eq!(cluster.deliver_mail(1, 0), 1);
    member.cut();
    cluster.release_mail();
    assert_eq!(cluster.stats().queued_messages, 10);
    let mut back = cluster.client("a").persistent().connect();
    assert_eq!(back.payloads(), numbered("", 10));
}

#[test]
fn nothing_is_left_of_many_clients_on_many_shards() {
    let cluster = Cluster::new(3);
    for round in 0..3 {
        let mut clients: Vec<_> = (0..30)
            .map(|number| {
                let builder = cluster.client(&format!("c{number}"));
                let mut client = builder.shard(number % 3).expiry(100).connect_by_hand();
                client.subscribe(&format!("t/{}", number % 5), 2);
                client.subscribe(&format!("$share/g{}/t/+", number % 4), 1);
                client
            })
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.publish(&format!("t/{}", number % 5), "x", (number % 3) as u8);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            match (number + round) % 3 {
                0 => client.cut(),
                1 => client.disconnect_with(0, &[Property::SessionExpiryInterval(0)]),
                _ => client.disconnect(),
            }
        }
    }
    cluster.advance(200);
    cluster.assert_empty();
}
