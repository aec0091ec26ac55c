use super::*;
use midge_codec::{Ack, AckKind, Packet, ReasonCode};

fn ending(world: &World) -> String {
    world
        .core
        .ending()
        .map_or(String::new(), |error| error.to_string())
}

#[test]
fn what_cannot_help_is_given_up_with_the_reason() {
    for reason in [
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ReasonCode::NOT_AUTHORIZED,
        ReasonCode::BANNED,
        ReasonCode::SERVER_MOVED,
    ] {
        let mut world = World::new(options());
        world.peer.answers.push_back(reason);
        let ticket = world.publish("a", "", QoS::AtLeastOnce);
        world.settle();
        assert!(ending(&world).contains(reason.text()), "{}", ending(&world));
        assert!(matches!(
            world.published(ticket),
            Err(PublishError::Closed(_))
        ));
        assert_eq!(world.connections, 1);
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    for reason in [
        ReasonCode::SERVER_UNAVAILABLE,
        ReasonCode::SERVER_BUSY,
        ReasonCode::QUOTA_EXCEEDED,
        ReasonCode::CONNECTION_RATE_EXCEEDED,
        ReasonCode::UNSPECIFIED_ERROR,
        ReasonCode::USE_ANOTHER_SERVER,
    ] {
        let mut world = World::new(options());
        world.peer.answers.push_back(reason);
        world.settle();
        assert!(world.core.is_connected());
        assert_eq!(world.connections, 2);
    }
}

#[test]
fn refused_credentials_are_asked_for_once_more() {
    let with_source = || options().credentials_from(|_| async { Ok(Credentials::default()) });
    let mut world = World::new(with_source());
    world.peer.answers.push_back(ReasonCode::NOT_AUTHORIZED);
    world.core.dial_failed(world.now, ConnectionError::TimedOut);
    world.settle();
    assert!(world.core.is_connected());
    let mut world = World::new(with_source());
    world.peer.answers.push_back(ReasonCode::NOT_AUTHORIZED);
    world
        .peer
        .answers
        .push_back(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    world.settle();
    assert!(world.core.ending().is_some());
    assert_eq!(world.connections, 2);
}

#[test]
fn waits_grow_and_differ_and_begin_anew_after_a_connection_that_stood() {
    let mut core = Core::new(options(), 3);
    let mut now = Time(0);
    let mut waits = Vec::new();
    for _ in 0..10 {
        let Duty::Dial(_) = core.duty(now) else {
            panic!("it waits")
        };
        core.dial_failed(now, ConnectionError::TimedOut);
        let Duty::Wait(until) = core.duty(now) else {
            panic!("it dials")
        };
        waits.push(until.since(now));
        now = until;
    }
    for (wait, most) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60, 60]) {
        let most = Duration::from_secs(most);
        assert!(*wait <= most && *wait >= most / 2, "{waits:?}");
    }
    assert_ne!(waits[8], waits[9], "{waits:?}");
    let Duty::Dial(attempt) = core.duty(now) else {
        panic!("it waits")
    };
    assert_eq!(attempt, 11);
    let mut world = World::connected(options());
    world.pass(Duration::from_secs(20));
    world.lose();
    let Duty::Wait(until) = world.core.duty(world.now) else {
        panic!("it dials")
    };
    assert!(until.since(world.now) <= Duration::from_secs(1));
}

#[test]
fn a_session_that_was_taken_over_comes_back_late() {
    let mut world = World::connected(options());
    world.peer.disconnect(ReasonCode::SESSION_TAKEN_OVER);
    world.carry();
    let Duty::Wait(until) = world.core.duty(world.now) else {
        panic!("it dials")
    };
    assert!(until.since(world.now) >= Duration::from_secs(30));
}

#[test]
fn silence_is_broken_by_pings_and_a_half_open_link_is_given_up() {
    let mut world = World::connected(options().keep_alive(Duration::from_secs(10)));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.core.next_deadline(), world.now);
    assert!(world.core.tick(world.now));
    world.settle();
    assert_eq!(world.peer.heard.last().unwrap(), "PINGREQ");
    world.peer.is_mute = true;
    world.pass(Duration::from_secs(10));
    assert!(world.core.tick(world.now));
    world.settle();
    world.pass(Duration::from_secs(9));
    assert!(world.core.tick(world.now));
    world.pass(Duration::from_secs(1));
    assert!(!world.core.tick(world.now));
}

#[test]
fn a_publisher_that_hears_nothing_pings_as_well() {
    let mut world = World::connected(options().keep_alive(Duration::from_secs(10)));
    for _ in 0..11 {
        world.pass(Duration::from_secs(1));
        let _ = world
            .core
            .publish(world.now, &mut draft("a", "", QoS::AtMostOnce));
        world.core.tick(world.now);
        world.settle();
    }
    assert!(world.peer.heard.iter().any(|name| name == "PINGREQ"));
}

#[test]
fn a_broker_that_does_not_answer_connect_is_given_up() {
    let mut core = Core::new(options().connect_timeout(Duration::from_secs(5)), 1);
    let now = Time(0);
    let _ = core.duty(now);
    core.opened(now, &Credentials::default(), None);
    assert_eq!(core.next_deadline(), Time(5000));
    assert!(core.tick(Time(4999)));
    assert!(!core.tick(Time(5000)));
}

#[test]
fn messages_of_qos_0_that_went_down_with_the_link_are_reported() {
    let mut world = World::connected(options());
    let accepted = world
        .core
        .publish(world.now, &mut draft("a", "", QoS::AtMostOnce));
    let Ok(Accepted::Written(written)) = accepted else {
        panic!("{accepted:?}")
    };
    let mut ticket = None;
    assert!(world.core.poll_written(written, &mut ticket).is_pending());
    world.lose();
    let result = world.published(ticket.unwrap());
    assert!(matches!(result, Err(PublishError::Lost)), "{result:?}");
}

#[test]
fn a_broker_that_breaks_the_protocol_is_told_and_left() {
    let check = |bytes: &[u8], text: &str| {
        let mut world = World::connected(options());
        let listener = world.core.listen();
        world.core.received(world.now, bytes);
        let mut said = Vec::new();
        world.core.take_outbound(&mut said);
        assert_eq!(said.first(), Some(&0xE0), "{text}");
        world.core.written(world.now, said.len());
        assert!(world.core.is_to_close());
        world.core.lost(world.now, ConnectionError::ClosedByBroker);
        let events = world.events(listener);
        let Event::Disconnected(error) = &events[0] else {
            panic!("{events:?}")
        };
        assert!(error.to_string().contains(text), "{error}");
    };
    check(b"\x20\x03\0\0\0", "CONNACK");
    check(b"\x82\x06\0\x01\0\0\x01a\0", "SUBSCRIBE");
    check(b"\x90\x04\0\x01\0\0", "unknown packet identifier");
    check(b"\xB0\x04\0\x01\0\0", "unknown packet identifier");
    check(b"\x30\x04\0\0\0x", "alias");
    check(b"\x36\x05\0\x01a\0\x01", "QoS 3");
    check(b"\xF0\x00", "AUTH");
    check(b"\x30\xFF\xFF\xFF\xFF\x01", "length");
}

#[test]
fn more_messages_than_the_receive_maximum_are_a_fault() {
    let mut world = World::connected(options().receive_maximum(1));
    let (_, _) = world.subscribe("a");
    world.settle();
    for id in 1..=2 {
        let id = NonZeroU16::new(id);
        let message = peer::publish("a", "", QoS::AtLeastOnce, id, false);
        world.peer.say(Packet::Publish(message));
    }
    let down = mem::take(&mut world.peer.outbound);
    world.core.received(world.now, &down);
    let mut said = Vec::new();
    world.core.take_outbound(&mut said);
    assert_eq!(said, [0xE0, 1, ReasonCode::RECEIVE_MAXIMUM_EXCEEDED.0]);
}

#[test]
fn qos_2_messages_that_come_twice_are_handed_out_once() {
    let mut world = World::connected(options());
    let (key, _) = world.subscribe("a");
    world.settle();
    let id = NonZeroU16::new(9);
    for dup in [false, true, true] {
        let message = peer::publish("a", "once", QoS::ExactlyOnce, id, dup);
        message
            .encode(Version::V5, &mut world.peer.outbound)
            .unwrap();
        let down = mem::take(&mut world.peer.outbound);
        world.core.received(world.now, &down);
    }
    let mut last = None;
    assert!(world.next(key, &mut last).is_some());
    assert!(world.next(key, &mut last).is_none());
    // After PUBREL the identifier means another message.
    for _ in 0..2 {
        let release = Ack::new(id.unwrap(), ReasonCode::SUCCESS);
        release
            .encode(AckKind::PubRel, Version::V5, &mut world.peer.outbound)
            .unwrap();
        let message = peer::publish("a", "again", QoS::ExactlyOnce, id, false);
        message
            .encode(Version::V5, &mut world.peer.outbound)
            .unwrap();
        let down = mem::take(&mut world.peer.outbound);
        world.core.received(world.now, &down);
        assert!(world.next(key, &mut last).is_some());
        assert!(world.next(key, &mut last).is_none());
    }
}

#[test]
fn no_bytes_of_a_broker_make_the_core_panic_or_grow() {
    let mut random = Random(11);
    let alphabet: &[u8] = &[
        0x20, 0x30, 0x32, 0x34, 0x3D, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0, 0, 1,
        2, 3, 4, 5, 0x0B, 0x23, 0x26, 0x7F, 0x80, 0xFF, b'a', b'/',
    ];
    for round in 0..3000 {
        let mut world = World::connected(options());
        let (_, _) = world.subscribe("a/#");
        world.publish("b", "x", QoS::ExactlyOnce);
        if round % 2 == 0 {
            world.settle();
        }
        for _ in 0..20 {
            let length = random.next() % 24;
            let bytes: Vec<u8> = (0..length)
                .map(|_| alphabet[usize::try_from(random.next()).unwrap() % alphabet.len()])
                .collect();
            world.core.received(world.now, &bytes);
        }
        assert!(world.core.outbound.bytes.len() < 10_000);
    }
}

#[test]
fn a_refusal_is_one_whatever_its_reason() {
    let mut world = World::connected(options());
    world.peer.is_mute = true;
    for (qos, packet) in [
        (QoS::AtLeastOnce, b"\x40\x03\x00\x01\x95"),
        (QoS::ExactlyOnce, b"\x50\x03\x00\x02\x95"),
    ] {
        let ticket = world.publish("t", "too large", qos);
        world.settle();
        world.peer.outbound.extend_from_slice(packet);
        world.settle();
        let Err(PublishError::Refused(refusal)) = world.published(ticket) else {
            panic!("{qos:?} is not refused");
        };
        assert_eq!(refusal.reason, ReasonCode::PACKET_TOO_LARGE);
    }
    assert_eq!(world.connections, 1);
    // What is neither success nor a refusal is still a fault.
    let ticket = world.publish("t", "", QoS::AtLeastOnce);
    world.settle();
    world
        .peer
        .outbound
        .extend_from_slice(b"\x40\x03\x00\x03\x01");
    world.settle();
    assert!(world.connections > 1 && world.outcome(ticket).is_none());
}

#[test]
fn without_a_word_of_the_broker_few_messages_are_on_their_way() {
    for (version, most) in [(Version::V3_1_1, 20), (Version::V5, 1000)] {
        let mut world = World::connected(options().version(version));
        world.peer.is_mute = true;
        for _ in 0..1500 {
            world.publish("t", "", QoS::ExactlyOnce);
        }
        world.settle();
        assert_eq!(world.peer.unanswered, most, "{version:?}");
    }
}

#[test]
fn a_message_of_qos_2_above_the_receive_maximum_is_not_taken_for_one_that_was_had() {
    let mut world = World::connected(options().receive_maximum(1));
    let (key, _) = world.subscribe("a");
    world.settle();
    let say = |world: &mut World, number: u16, dup: bool| {
        let id = NonZeroU16::new(number);
        let text = number.to_string();
        let message = peer::publish("a", &text, QoS::ExactlyOnce, id, dup);
        world.peer.say(Packet::Publish(message));
        let down = mem::take(&mut world.peer.outbound);
        world.core.received(world.now, &down);
    };
    say(&mut world, 1, false);
    say(&mut world, 2, false);
    assert!(!world.core.is_connected());
    assert_eq!(world.texts(key), ["1"]);
    world.lose();
    world.settle();
    assert!(world.core.is_connected());
    // The broker has heard of neither.
    say(&mut world, 1, true);
    say(&mut world, 2, true);
    assert_eq!(world.texts(key), ["2"]);
}

#[test]
fn a_call_that_is_answered_wrongly_is_asked_again_on_the_next_connection() {
    // One filter, and two codes, or the answer to another question.
    let answers: [&[u8]; 2] = [b"\x90\x05\xFF\xFF\0\0\0", b"\xB0\x05\xFF\xFF\0\0\0"];
    for answer in answers {
        let mut world = World::connected(options());
        let unanswered = |world: &mut World| {
            let mut up = Vec::new();
            world.core.take_outbound(&mut up);
            world.core.received(world.now, answer);
            assert!(!world.core.is_connected());
            world.lose();
        };
        let (key, subscribed) = world.subscribe("a");
        unanswered(&mut world);
        world.settle();
        let outcome = world.outcome(subscribed);
        assert!(
            matches!(outcome, Some(Outcome::Subscribed(Ok(_)))),
            "{outcome:?}"
        );
        let unsubscribed = world.core.await_unsubscribe();
        world
            .core
            .drop_stream(key, std::iter::empty(), Some(unsubscribed));
        unanswered(&mut world);
        world.settle();
        let outcome = world.outcome(unsubscribed);
        assert!(
            matches!(outcome, Some(Outcome::Unsubscribed(Ok(())))),
            "{outcome:?}"
        );
        assert!(world.peer.filters.is_empty());
    }
}

#[test]
fn the_keep_alive_of_the_broker_is_the_one_that_is_kept() {
    let mut core = Core::new(options().keep_alive(Duration::from_secs(30)), 1);
    let now = Time(0);
    let _ = core.duty(now);
    core.opened(now, &Credentials::default(), None);
    // Server Keep Alive: 3.
    core.received(now, b"\x20\x06\0\0\x03\x13\0\x03");
    assert!(core.is_connected());
    assert_eq!(core.next_deadline(), Time(3000));
    let mut said = Vec::new();
    core.take_outbound(&mut said);
    core.written(now, said.len());
    assert!(core.tick(Time(3000)));
    said.clear();
    core.take_outbound(&mut said);
    assert_eq!(said, b"\xC0\0");
}

#[test]
fn acknowledgements_of_nothing_are_ignored() {
    let mut world = World::connected(options());
    let published = world.publish("a", "1", QoS::ExactlyOnce);
    let mut up = Vec::new();
    world.core.take_outbound(&mut up);
    // PUBACK, PUBREC with a refusal, and PUBCOMP for other messages.
    for bytes in [b"\x40\x02\0\x09", b"\x70\x02\0\x09"] {
        world.core.received(world.now, bytes);
    }
    world.core.received(world.now, b"\x50\x03\0\x09\x87");
    assert!(world.core.is_connected());
    assert!(world.core.outbound.bytes.is_empty());
    world.core.written(world.now, up.len());
    world.peer.received(&up);
    world.settle();
    world.published(published).unwrap();
    assert_eq!(world.connections, 1);
}

#[test]
fn a_broker_that_takes_one_at_a_time_gets_all() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut world = World::new(options().receive_maximum(1));
        world.peer.receive_maximum = 1;
        let (key, _) = world.subscribe("in");
        world.settle();
        let tickets: Vec<_> = (0..20)
            .map(|number| world.publish("out", &number.to_string(), qos))
            .collect();
        for number in 0..20 {
            world.peer.send("in", &number.to_string(), qos);
        }
        let mut got = Vec::new();
        for _ in 0..40 {
            world.settle();
            got.extend(world.texts(key));
        }
        assert_eq!((got.len(), world.peer.taken.len()), (20, 20));
        for ticket in tickets {
            world.published(ticket).unwrap();
        }
    }
}
