use super::*;

#[test]
fn the_brokers_receive_maximum_is_kept() {
    let mut world = World::new(options());
    world.peer.receive_maximum = 3;
    world.settle();
    world.peer.is_mute = true;
    for number in 0..10 {
        world.publish("a", &number.to_string(), QoS::AtLeastOnce);
    }
    // The peer holds the client against it.
    world.settle();
    assert_eq!(world.peer.unanswered, 3);
    world.peer.is_mute = false;
    world.lose();
    world.settle();
    assert_eq!(world.peer.taken.len(), 10);
}

#[test]
fn all_packet_identifiers_may_be_in_use() {
    let mut world = World::connected(options().inflight_max(u16::MAX).queue_max(70_000, 1 << 30));
    world.peer.is_mute = true;
    for _ in 0..61_000 {
        world.publish("a", "", QoS::AtLeastOnce);
    }
    world.settle();
    assert_eq!(world.core.outgoing.len(), 60_000);
    // Others still find identifiers.
    let (_, ticket) = world.subscribe("b");
    world.settle();
    assert!(world.outcome(ticket).is_some());
}

#[test]
fn messages_and_subscriptions_never_share_an_identifier() {
    let mut world = World::connected(options());
    // 65,534 messages bring the window's next identifier to the one that a SUBSCRIBE takes.
    for _ in 0..65_534 {
        world.publish("a", "", QoS::AtLeastOnce);
        world.settle();
    }
    let (_, ticket) = world.subscribe("b");
    let published = world.publish("a", "last", QoS::ExactlyOnce);
    assert_eq!(world.core.operations.len(), 1);
    assert!(
        world
            .core
            .outgoing
            .iter()
            .all(|(id, _)| !world.core.operations.contains_key(&id))
    );
    world.settle();
    assert!(world.outcome(ticket).is_some());
    world.published(published).unwrap();
}

#[test]
fn a_full_queue_makes_publishers_wait_and_wakes_them_one_by_one() {
    let mut world = World::new(options().queue_max(2, 1 << 20));
    world.publish("a", "1", QoS::AtLeastOnce);
    world.publish("a", "2", QoS::AtMostOnce);
    let mut third = draft("a", "3", QoS::AtLeastOnce);
    let full = world.core.publish(world.now, &mut third);
    assert!(matches!(full, Err(Rejected::Full)));
    assert_eq!(third.payload, "3", "the draft is unchanged");
    let mut waiter = None;
    world.core.wait_for_room(&mut waiter, Waker::noop());
    assert!(world.core.wakers().is_empty());
    world.settle();
    assert!(!world.core.wakers().is_empty());
    assert!(world.core.publish(world.now, &mut third).is_ok());
}

#[test]
fn a_full_queue_refuses_or_drops_the_oldest_as_the_options_say() {
    let full = |policy| World::new(options().queue_max(2, 1 << 20).queue_full(policy));
    let mut world = full(QueueFull::Refuse);
    world.publish("a", "1", QoS::AtLeastOnce);
    world.publish("a", "2", QoS::AtLeastOnce);
    let refused = world
        .core
        .publish(world.now, &mut draft("a", "3", QoS::AtLeastOnce));
    assert!(matches!(
        refused,
        Err(Rejected::Error(PublishError::QueueFull))
    ));
    let mut world = full(QueueFull::DropOldest);
    let first = world.publish("a", "1", QoS::AtLeastOnce);
    world.publish("a", "2", QoS::AtLeastOnce);
    world.publish("a", "3", QoS::AtLeastOnce);
    assert!(matches!(world.published(first), Err(PublishError::Dropped)));
    world.settle();
    let taken: Vec<_> = world
        .peer
        .taken
        .iter()
        .map(|(_, text)| text.as_str())
        .collect();
    assert_eq!(taken, ["2", "3"]);
}

#[test]
fn bytes_of_the_queue_are_limited_but_one_message_always_fits() {
    let mut world = World::new(options().queue_max(100, 1000));
    world.publish("a", &"x".repeat(5000), QoS::AtLeastOnce);
    let full = world
        .core
        .publish(world.now, &mut draft("a", "", QoS::AtLeastOnce));
    assert!(matches!(full, Err(Rejected::Full)));
}

#[test]
fn a_message_that_waited_too_long_is_not_sent_and_the_rest_of_its_life_is() {
    let mut world = World::new(options());
    let expiring = |seconds| {
        let mut message = draft("a", "x", QoS::AtLeastOnce);
        let properties = crate::MessageProperties {
            expiry: Some(Duration::from_secs(seconds)),
            ..Default::default()
        };
        message.properties = Some(Box::new(properties));
        message
    };
    let Ok(Accepted::Ticket(short)) = world.core.publish(world.now, &mut expiring(5)) else {
        panic!("not queued");
    };
    let Ok(Accepted::Ticket(long)) = world.core.publish(world.now, &mut expiring(60)) else {
        panic!("not queued");
    };
    world.pass(Duration::from_secs(10));
    world.settle();
    assert!(matches!(world.published(short), Err(PublishError::Expired)));
    world.published(long).unwrap();
    assert_eq!(world.peer.taken.len(), 1);
}

#[test]
fn topic_aliases_are_used_by_themselves_and_end_with_the_connection() {
    let mut world = World::new(options());
    world.peer.topic_alias_maximum = 1;
    world.settle();
    for _ in 0..3 {
        world.publish("a/long/topic", "x", QoS::AtLeastOnce);
        world.publish("other/topic", "y", QoS::AtLeastOnce);
    }
    world.lose();
    world.settle();
    let sizes = world.peer.bytes_of_publishes.clone();
    assert!(sizes[2] < sizes[0], "{sizes:?}");
    assert_eq!(sizes[3], sizes[1], "there is one alias only");
    // The peer resolves aliases, and would not know those of the connection before.
    assert!(
        world
            .peer
            .taken
            .iter()
            .all(|(topic, _)| topic.ends_with("/topic"))
    );
}

#[test]
fn too_large_a_message_for_the_broker_fails_alone() {
    let mut world = World::new(options());
    world.peer.packet_size_max = 100;
    let large = world.publish("a", &"x".repeat(200), QoS::AtLeastOnce);
    let small = world.publish("a", "x", QoS::AtLeastOnce);
    world.settle();
    assert!(matches!(
        world.published(large),
        Err(PublishError::TooLarge { .. })
    ));
    world.published(small).unwrap();
}

#[test]
fn reading_stops_at_a_full_stream_and_goes_on_when_it_is_read() {
    let mut world = World::connected(options());
    let terms = StreamTerms {
        capacity: 2,
        ..TERMS
    };
    let (key, _) = world.subscribe_with(&["in"], terms);
    world.settle();
    for number in 0..10 {
        world.peer.send("in", &number.to_string(), QoS::AtMostOnce);
    }
    world.settle();
    assert!(!world.core.wants_bytes());
    let mut last = None;
    let first = world.next(key, &mut last).unwrap();
    assert_eq!((first.text(), world.batch.len()), (Some("0"), 1));
    assert!(!world.core.wants_bytes(), "it is full again");
    let mut texts = vec!["0".to_owned()];
    texts.extend(world.texts(key));
    let expected: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    assert!(world.core.wants_bytes());
    assert_eq!(world.core.lost_messages(key), 0);
    assert_eq!(world.core.streams.bytes(), 0);
}

#[test]
fn a_reader_that_waits_for_the_broker_is_not_waited_for() {
    let mut world = World::connected(options());
    let terms = StreamTerms {
        capacity: 1,
        ..TERMS
    };
    let (key, _) = world.subscribe_with(&["in"], terms);
    world.settle();
    for _ in 0..10 {
        world.peer.send("in", "x", QoS::AtMostOnce);
    }
    world.settle();
    assert!(!world.core.wants_bytes());
    let ticket = world.publish("out", "x", QoS::AtLeastOnce);
    assert!(world.core.wants_bytes());
    world.settle();
    world.published(ticket).unwrap();
    assert!(world.core.lost_messages(key) > 0);
}

#[test]
fn in_3_x_reading_stops_at_the_receive_maximum_unless_an_answer_is_awaited() {
    let version = Version::V3_1_1;
    let mut world = World::connected(options().version(version).receive_maximum(3));
    let (key, _) = world.subscribe("in");
    world.settle();
    for _ in 0..10 {
        world.peer.send("in", "x", QoS::AtLeastOnce);
    }
    world.settle();
    assert_eq!(world.core.receipts.len(), 3);
    let ticket = world.publish("out", "x", QoS::ExactlyOnce);
    world.settle();
    world.published(ticket).unwrap();
    assert_eq!(world.texts(key).len(), 10);
    world.settle();
    assert!(world.peer.is_finished());
}

#[test]
fn a_dropped_subscription_frees_the_brokers_window() {
    let mut world = World::connected(options().receive_maximum(2));
    let (unread, _) = world.subscribe("unread");
    let (read, _) = world.subscribe("read");
    world.settle();
    for _ in 0..2 {
        world.peer.send("unread", "", QoS::AtLeastOnce);
    }
    world.peer.send("read", "x", QoS::AtLeastOnce);
    world.settle();
    assert!(world.texts(read).is_empty());
    world.core.drop_stream(unread, std::iter::empty(), None);
    world.settle();
    assert_eq!(world.texts(read), ["x"]);
}

#[test]
fn a_slow_link_keeps_what_waits_within_bounds() {
    let mut world = World::connected(options().queue_max(100_000, 1 << 30));
    let payload = "x".repeat(1000);
    for _ in 0..5000 {
        let _ = world
            .core
            .publish(world.now, &mut draft("a", &payload, QoS::AtMostOnce));
    }
    assert!(world.core.outbound.bytes.len() < 200 * 1024);
    assert!(world.core.unfinished() > 4000);
    world.settle();
    assert_eq!(world.peer.taken.len(), 5000);
    assert_eq!(world.core.held_bytes, 0);
}
