use super::*;
use midge_codec::Packet;

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
    assert_eq!(world.core.streams.bytes, 0);
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

#[test]
fn what_the_broker_takes_no_more_after_a_reconnect_fails_alone() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut world = World::connected(options());
        world.peer.is_mute = true;
        let large = world.publish("a", &"x".repeat(200), qos);
        let mut message = draft("a", "kept", qos);
        message.retain = true;
        let Ok(Accepted::Ticket(retained)) = world.core.publish(world.now, &mut message) else {
            panic!("not accepted");
        };
        let small = world.publish("a", "small", qos);
        world.settle();
        world.peer.is_mute = false;
        world.peer.packet_size_max = 100;
        world.peer.retains = false;
        world.peer.heard.clear();
        world.lose();
        world.settle();
        assert_eq!(world.connections, 2);
        let error = world.published(large);
        assert!(
            matches!(error, Err(PublishError::TooLarge { .. })),
            "{error:?}"
        );
        let error = world.published(retained);
        assert!(matches!(error, Err(PublishError::Invalid(_))), "{error:?}");
        world.published(small).unwrap();
        assert_eq!(world.peer.taken, [("a".to_owned(), "small".to_owned())]);
        // The broker may have had the first copies, and is told to let go of them.
        let released = world
            .peer
            .heard
            .iter()
            .filter(|name| *name == "PUBREL")
            .count();
        assert_eq!(released, if qos == QoS::ExactlyOnce { 3 } else { 0 });
        assert_eq!((world.core.unfinished(), world.core.held_bytes), (0, 0));
        assert!(world.core.releasing.is_empty());
    }
}

#[test]
fn filters_are_asked_for_in_packets_that_the_broker_takes() {
    let mut world = World::connected(options());
    let names: Vec<String> = (0..100)
        .map(|number| format!("filter/{number:02}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (many, _) = world.subscribe_with(&names, TERMS);
    let long = "long/".repeat(40);
    let (alone, _) = world.subscribe(&long);
    world.settle();
    assert_eq!(world.peer.filters.len(), 101);
    let listener = world.core.listen();
    world.peer.forgets = true;
    world.peer.packet_size_max = 150;
    world.lose();
    world.settle();
    assert_eq!(world.connections, 2);
    assert_eq!(world.peer.filters.len(), 100);
    let events = world.events(listener);
    let Some(Event::Resubscribed { filters, refused }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!((*filters, refused.len()), (100, 1));
    assert_eq!(refused[0].1.reason, ReasonCode::PACKET_TOO_LARGE);
    let mut batch = VecDeque::new();
    let taken = world.core.take(world.now, alone, None, &mut batch, None);
    assert!(matches!(taken, Taken::End(Some(_))), "{taken:?}");
    // A call is granted as a whole or not at all.
    let (_, ticket) = world.subscribe_with(&names, TERMS);
    world.settle();
    let outcome = world.outcome(ticket);
    let Some(Outcome::Subscribed(Err(SubscribeError::TooLarge { bytes, bytes_max }))) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert!(bytes > 1000 && bytes_max == 150);
    let ticket = world.core.await_unsubscribe();
    world
        .core
        .drop_stream(many, std::iter::empty(), Some(ticket));
    world.settle();
    let outcome = world.outcome(ticket);
    assert!(
        matches!(outcome, Some(Outcome::Unsubscribed(Ok(())))),
        "{outcome:?}"
    );
    assert!(world.peer.filters.is_empty());
    assert_eq!(world.connections, 2);
}

#[test]
fn filters_of_one_packet_have_the_identifier_that_it_says() {
    let mut world = World::new(options());
    let (wide, _) = world.subscribe_with(&["x/#", "b"], TERMS);
    let (narrow, _) = world.subscribe("x/1");
    // Changes what the broker is told of the first.
    let _ = world.subscribe("b");
    let Duty::Dial(_) = world.core.duty(world.now) else {
        panic!("it does not dial");
    };
    world.core.opened(world.now, &Credentials::default(), None);
    world.peer.opened();
    while !world.core.is_connected() {
        world.carry();
    }
    let mut up = Vec::new();
    world.core.take_outbound(&mut up);
    let (packet, _) = Packet::read(&up, Version::V5).unwrap().unwrap();
    let Packet::Subscribe(subscribe) = packet else {
        panic!("{packet:?}");
    };
    let list: Vec<_> = subscribe.properties.iter().collect();
    assert_eq!(subscribe.subscriptions.iter().next().unwrap().filter, "x/#");
    let message = midge_codec::Publish {
        properties: midge_codec::Properties::from_list(&list),
        ..peer::publish("x/1", "wide", QoS::AtMostOnce, None, false)
    };
    world.peer.say(Packet::Publish(message));
    let down = mem::take(&mut world.peer.outbound);
    world.core.received(world.now, &down);
    assert_eq!(world.texts(wide), ["wide"]);
    assert!(world.texts(narrow).is_empty(), "its own copy follows");
}

#[test]
fn bytes_that_nobody_reads_stop_reading_unless_an_answer_is_awaited() {
    let send = |world: &mut World, qos| {
        for _ in 0..20 {
            world.peer.send("in", &"x".repeat(500), qos);
        }
        world.settle();
    };
    let mut world = World::connected(options().inbound_bytes_max(2000));
    let (key, _) = world.subscribe("in");
    world.settle();
    send(&mut world, QoS::AtMostOnce);
    assert!(!world.core.wants_bytes());
    assert_eq!(world.core.lost_messages(key), 0);
    let ticket = world.publish("out", "x", QoS::AtLeastOnce);
    world.settle();
    world.published(ticket).unwrap();
    assert!(world.core.lost_messages(key) > 0);
    assert!(world.core.streams.bytes < 3000);
    // What must not be dropped has a limit all the same.
    world.peer.is_mute = true;
    world.publish("out", "x", QoS::AtLeastOnce);
    send(&mut world, QoS::AtLeastOnce);
    assert!(world.core.streams.bytes < 5000);
    assert!(!world.core.wants_bytes());
}

#[test]
fn a_stream_that_drops_the_oldest_does_so_for_its_bytes_too() {
    let mut world = World::connected(options().inbound_bytes_max(2000));
    let terms = StreamTerms {
        overflow: Overflow::DropOldest,
        ..TERMS
    };
    let (key, _) = world.subscribe_with(&["in"], terms);
    world.settle();
    for number in 0..20 {
        let text = format!("{number:0500}");
        world.peer.send("in", &text, QoS::AtLeastOnce);
    }
    world.settle();
    assert!(world.core.wants_bytes());
    let texts = world.texts(key);
    assert!((1..5).contains(&texts.len()), "{}", texts.len());
    assert!(texts.last().unwrap().ends_with("019"));
}

#[test]
fn a_broker_that_asks_and_does_not_listen_fills_no_memory() {
    let mut world = World::connected(options());
    // PUBREL for nothing is answered each time.
    let asked = b"\x62\x02\x00\x07".repeat(1000);
    for _ in 0..1000 {
        if !world.core.wants_bytes() {
            break;
        }
        world.core.received(world.now, &asked);
    }
    assert!(!world.core.wants_bytes());
    assert!(world.core.outbound.bytes.len() < 300 * 1024);
    // It listens again.
    let mut up = Vec::new();
    world.core.take_outbound(&mut up);
    world.core.written(world.now, up.len());
    world.core.resume(world.now);
    assert!(world.core.wants_bytes());
}
