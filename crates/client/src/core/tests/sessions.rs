use super::*;

#[test]
fn what_a_forgetful_broker_had_not_taken_is_sent_anew_in_order() {
    let mut world = World::connected(options());
    world.peer.is_mute = true;
    let tickets: Vec<_> = ["1", "2", "3"]
        .iter()
        .map(|text| world.publish("a", text, QoS::ExactlyOnce))
        .collect();
    world.settle();
    world.peer.is_mute = false;
    world.peer.forgets = true;
    world.lose();
    world.settle();
    let taken: Vec<_> = world
        .peer
        .taken
        .iter()
        .map(|(_, text)| text.as_str())
        .collect();
    assert_eq!(taken, ["1", "2", "3"]);
    for ticket in tickets {
        world.published(ticket).unwrap();
    }
}

#[test]
fn a_session_that_is_there_is_not_subscribed_to_again() {
    let mut world = World::connected(options());
    let _ = world.subscribe("a");
    world.settle();
    let listener = world.core.listen();
    world.lose();
    world.settle();
    assert_eq!(world.peer.subscribes, 1);
    let events = world.events(listener);
    assert!(matches!(events[0], Event::Disconnected(_)), "{events:?}");
    assert!(matches!(
        events[1],
        Event::Reconnecting { attempt: 1.., .. }
    ));
    assert!(matches!(&events[2], Event::Connected(connected) if connected.session_present));
    assert_eq!(events.len(), 3);
}

#[test]
fn a_filter_that_is_refused_after_a_lost_session_ends_its_stream_with_the_reason() {
    let mut world = World::connected(options());
    let (kept, _) = world.subscribe("kept");
    let (gone, _) = world.subscribe("gone");
    world.settle();
    let listener = world.core.listen();
    world.peer.forgets = true;
    world.peer.refused_filters.push("gone".to_owned());
    world.lose();
    world.settle();
    let events = world.events(listener);
    let resubscribed = events.iter().find_map(|event| match event {
        Event::Resubscribed { filters, refused } => Some((*filters, refused.len())),
        _ => None,
    });
    assert_eq!(resubscribed, Some((1, 1)));
    let mut batch = VecDeque::new();
    let taken = world.core.take(world.now, gone, None, &mut batch, None);
    assert!(
        matches!(taken, Taken::End(Some(SubscribeError::Refused { .. }))),
        "{taken:?}"
    );
    let taken = world.core.take(world.now, kept, None, &mut batch, None);
    assert!(matches!(taken, Taken::Nothing));
}

#[test]
fn a_refused_filter_gives_up_the_others_of_its_call() {
    let mut world = World::connected(options());
    world.peer.refused_filters.push("no".to_owned());
    let (_, ticket) = world.subscribe_with(&["yes", "no"], TERMS);
    world.settle();
    let outcome = world.outcome(ticket);
    let Some(Outcome::Subscribed(Err(SubscribeError::Refused { filter, .. }))) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(filter, "no");
    assert!(world.peer.filters.is_empty(), "{:?}", world.peer.filters);
}

#[test]
fn messages_of_a_resumed_session_wait_for_their_subscription() {
    let mut world = World::new(options().client_id("c").clean_start(false));
    // An earlier run of the program had subscribed.
    let mut earlier = World::new(options().client_id("c").clean_start(false));
    let _ = earlier.subscribe("work/#");
    earlier.settle();
    earlier.lose();
    mem::swap(&mut earlier.peer, &mut world.peer);
    world.peer.send("work/1", "a", QoS::AtLeastOnce);
    world.peer.send("work/2", "b", QoS::ExactlyOnce);
    world.settle();
    assert!(!world.peer.is_finished(), "nobody has them yet");
    let (key, _) = world.subscribe("work/#");
    world.settle();
    assert_eq!(world.texts(key), ["a", "b"]);
    world.settle();
    assert!(world.peer.is_finished());
}

#[test]
fn messages_that_nobody_claims_do_not_block_the_rest() {
    let mut world = World::new(
        options()
            .client_id("c")
            .clean_start(false)
            .receive_maximum(4),
    );
    let mut earlier = World::new(options().client_id("c").clean_start(false));
    let _ = earlier.subscribe("old/#");
    earlier.settle();
    earlier.lose();
    mem::swap(&mut earlier.peer, &mut world.peer);
    let listener = world.core.listen();
    let (key, _) = world.subscribe("new");
    for number in 0..10 {
        let text = number.to_string();
        world.peer.send("old/x", &text, QoS::AtLeastOnce);
    }
    world.peer.send("new", "n", QoS::AtLeastOnce);
    world.settle();
    assert_eq!(world.texts(key), ["n"]);
    let given_up = world.events(listener).into_iter();
    let given_up = given_up.filter(|event| matches!(event, Event::Unclaimed { .. }));
    assert_eq!(given_up.count(), 8);
    // Whoever asks for the rest gets it.
    let rest = world.core.unclaimed(TERMS).unwrap();
    assert_eq!(world.texts(rest), ["8", "9"]);
}

#[test]
fn a_clean_end_tells_the_broker_to_forget_a_session_that_nobody_asked_for() {
    let mut world = World::connected(options());
    let ticket = world.core.await_end();
    let deadline = world.now + Duration::from_secs(1);
    let farewell = Farewell::default();
    world
        .core
        .shut_down(world.now, deadline, farewell, Some(ticket));
    let mut bytes = Vec::new();
    world.core.take_outbound(&mut bytes);
    assert_eq!(bytes, b"\xE0\x07\x00\x05\x11\x00\x00\x00\x00");
}

#[test]
fn an_end_waits_for_deliveries_and_no_longer_than_its_limit() {
    for mute in [false, true] {
        let mut world = World::connected(options());
        world.peer.is_mute = mute;
        world.publish("a", "1", QoS::AtLeastOnce);
        let ticket = world.core.await_end();
        let deadline = world.now + Duration::from_secs(1);
        let farewell = Farewell::default();
        world
            .core
            .shut_down(world.now, deadline, farewell, Some(ticket));
        world.settle();
        if mute {
            assert!(world.outcome(ticket).is_none());
            world.pass(Duration::from_secs(1));
            world.core.tick(world.now);
            world.settle();
        }
        let Some(Outcome::Disconnected(result)) = world.outcome(ticket) else {
            panic!("it goes on");
        };
        assert_eq!(
            result.map_err(|left| left.messages),
            [Ok(()), Err(1)][usize::from(mute)]
        );
        assert_eq!(world.peer.heard.last().unwrap(), "DISCONNECT");
        assert!(world.core.ending().is_some());
    }
}

#[test]
fn a_link_that_is_lost_while_everything_is_subscribed_to_again_costs_no_subscription() {
    for version in [Version::V5, Version::V3_1_1] {
        for cut in 0.. {
            // 3.x begins a new session with every connection.
            let mut world = World::connected(options().version(version).client_id("c"));
            let (two, _) = world.subscribe_with(&["one", "two/#"], TERMS);
            let _ = world.subscribe("three");
            world.settle();
            world.peer.forgets = true;
            world.lose();
            world.cut_after = Some(cut);
            world.settle();
            let filters: Vec<_> = world.peer.filters.keys().collect();
            assert_eq!(filters, ["one", "three", "two/#"], "{version:?}, {cut}");
            let is_over = world.cut_after.take().is_some();
            world.peer.send("two/x", "x", QoS::ExactlyOnce);
            world.settle();
            assert_eq!(world.texts(two), ["x"]);
            if is_over {
                assert!(cut > 50, "the cut is reached");
                break;
            }
        }
    }
}

#[test]
fn subscribing_again_is_told_once_whatever_becomes_of_the_first_try() {
    let mut world = World::connected(options());
    let _ = world.subscribe("one");
    let _ = world.subscribe("two");
    world.settle();
    let listener = world.core.listen();
    world.peer.forgets = true;
    world.lose();
    // CONNECT and both SUBSCRIBEs arrive, no answer does.
    while !world.core.is_connected() {
        let Duty::Talk = world.core.duty(world.now) else {
            world.pass(Duration::from_secs(1));
            if let Duty::Dial(_) = world.core.duty(world.now) {
                world.core.opened(world.now, &Credentials::default(), None);
                world.peer.opened();
            }
            continue;
        };
        world.carry();
    }
    world.lose();
    world.settle();
    let events = world.events(listener);
    let told: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            Event::Resubscribed { filters, .. } => Some(*filters),
            _ => None,
        })
        .collect();
    assert_eq!(told, [2], "{events:?}");
}

#[test]
fn a_session_that_was_not_to_be_there_is_a_fault() {
    let mut world = World::new(options());
    let Duty::Dial(_) = world.core.duty(world.now) else {
        panic!("it does not dial");
    };
    world.core.opened(world.now, &Credentials::default(), None);
    world.core.received(world.now, b"\x20\x03\x01\0\0");
    assert!(!world.core.is_connected());
    assert!(
        world
            .core
            .link
            .as_ref()
            .is_some_and(|link| link.closing.is_some())
    );
}

#[test]
fn a_session_that_was_begun_behind_our_back_is_not_taken_for_the_old_one() {
    let mut world = World::connected(options().client_id("c"));
    let (key, _) = world.subscribe("in");
    world.settle();
    world.peer.forgets = true;
    world.lose();
    // CONNECT arrives, and its answer goes down as well.
    while !matches!(world.core.duty(world.now), Duty::Talk) {
        world.pass(Duration::from_secs(1));
        if matches!(world.core.duty(world.now), Duty::Dial(_)) {
            world.core.opened(world.now, &Credentials::default(), None);
            world.peer.opened();
        }
    }
    let mut up = Vec::new();
    world.core.take_outbound(&mut up);
    world.peer.received(&up);
    world.lose();
    world.settle();
    assert!(world.core.terms().session_present);
    assert_eq!(world.peer.filters.len(), 1);
    world.peer.send("in", "2", QoS::AtLeastOnce);
    world.settle();
    assert_eq!(world.texts(key), ["2"]);
}
