//! What is said, byte for byte, to a broker that is scripted.

use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use midge_codec::{Packet, Property, QoS, ReasonCode, Version};
use midge_proto::{Answer, Time};

use super::link::{Link, clock, poll_once, run};
use crate::{Buffers, Client, Error, Event, Message, Options, QueueError, Session, Subscription};

const CONNACK_V3: &[u8] = &[0x20, 2, 0, 0];
const CONNACK_V5: &[u8] = &[0x20, 3, 0, 0, 0];

/// Memory of one client.
struct Memory {
    log: [u8; 100],
    received: [u16; 2],
    receive: [u8; 64],
    send: [u8; 64],
}

impl Memory {
    const fn new() -> Self {
        Self {
            log: [0; 100],
            received: [0; 2],
            receive: [0; 64],
            send: [0; 64],
        }
    }
}

macro_rules! connected {
    ($memory:ident, $version:expr, $connack:expr, $link:ident, $time:ident, $client:ident) => {
        let mut $memory = Memory::new();
        let mut session = Session::new($version, &mut $memory.log, &mut $memory.received);
        let $link = Link::default();
        let $time = Rc::new(Cell::new(0));
        $link.give($connack);
        let buffers = Buffers {
            receive: &mut $memory.receive,
            send: &mut $memory.send,
        };
        let options = Options::new("me").keep_alive_secs(10);
        let connecting = Client::connect(
            $link.clone(),
            clock(&$time),
            &mut session,
            buffers,
            &options,
        );
        let (mut $client, _) = run(connecting).unwrap().unwrap();
        $link.sent();
    };
}

#[test]
fn connect_says_how_much_there_is_room_for() {
    let mut memory = Memory::new();
    let mut session = Session::new(Version::V5, &mut memory.log, &mut memory.received);
    let link = Link::default();
    link.give(&[0x20, 13, 1, 0, 10, 0x13, 0, 7, 0x21, 0, 1, 0x24, 0, 0x25, 0]);
    let time = Rc::new(Cell::new(5000));
    let buffers = Buffers {
        receive: &mut memory.receive,
        send: &mut memory.send,
    };
    let options = Options::new("me")
        .credentials("name", b"secret")
        .session_expiry_secs(9);
    let connecting = Client::connect(link.clone(), clock(&time), &mut session, buffers, &options);
    let (mut client, accepted) = run(connecting).unwrap().unwrap();
    assert!(accepted.session_present && !accepted.retain_available);
    assert_eq!(
        (accepted.keep_alive_secs, accepted.maximum_qos),
        (7, QoS::AtMostOnce)
    );
    assert_eq!(client.deadline(), Time(12_000));
    let sent = link.sent();
    let (packet, _) = Packet::read(&sent, Version::V5).unwrap().unwrap();
    let Packet::Connect(connect) = packet else {
        panic!("{packet:?}");
    };
    assert_eq!((connect.client_id, connect.user_name), ("me", Some("name")));
    let properties: Vec<Property<'_>> = connect.properties.iter().collect();
    assert_eq!(
        properties,
        [
            Property::MaximumPacketSize(64),
            Property::SessionExpiryInterval(9),
            Property::ReceiveMaximum(2)
        ]
    );
    let refused = client.try_publish(&Message::new("t", b"").qos(QoS::AtLeastOnce));
    assert_eq!(
        refused,
        Err(QueueError::Invalid("the broker does not take this QoS"))
    );
    let refused = client.try_publish(&Message::new("t", b"").retain());
    assert!(matches!(refused, Err(QueueError::Invalid(_))));
}

#[test]
fn a_refusal_is_told_and_so_is_a_buffer_that_does_not_hold_connect() {
    let connect = |connack: &[u8], options: &Options<'_>| {
        let mut memory = Memory::new();
        let mut session = Session::new(Version::V3_1_1, &mut memory.log, &mut memory.received);
        let link = Link::default();
        link.give(connack);
        let buffers = Buffers {
            receive: &mut memory.receive,
            send: &mut memory.send,
        };
        let time = Rc::new(Cell::new(0));
        let connecting = Client::connect(link, clock(&time), &mut session, buffers, options);
        run(connecting).unwrap().err().unwrap()
    };
    let error = connect(&[0x20, 2, 0, 5], &Options::new("me"));
    assert_eq!(error, Error::Refused(ReasonCode::NOT_AUTHORIZED));
    let long = "a client id of over sixty bytes, which is more than this buffer has";
    assert_eq!(
        connect(CONNACK_V3, &Options::new(long)),
        Error::Queue(QueueError::TooLarge)
    );
    let error = connect(&[0x30, 0], &Options::new("me"));
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}

#[test]
fn messages_are_acknowledged_when_the_next_one_is_asked_for() {
    connected!(memory, Version::V3_1_1, CONNACK_V3, link, time, client);
    link.give(&[
        0x32, 6, 0, 1, b't', 0, 7, b'x', 0x34, 6, 0, 1, b't', 0, 8, b'y',
    ]);
    let Some(Ok(Event::Message(message))) = run(client.next()) else {
        panic!();
    };
    assert_eq!((message.topic, message.payload), ("t", &b"x"[..]));
    assert_eq!(link.sent(), []);
    let Some(Ok(Event::Message(message))) = run(client.next()) else {
        panic!();
    };
    assert_eq!(message.payload, b"y");
    assert_eq!(link.sent(), [0x40, 2, 0, 7]);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0x50, 2, 0, 8]);
    // Again, because the broker did not get PUBREC: not handed over twice.
    link.give(&[0x3C, 6, 0, 1, b't', 0, 8, b'y']);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0x50, 2, 0, 8]);
    link.give(&[0x62, 2, 0, 8]);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0x70, 2, 0, 8]);
    drop(time);
}

#[test]
fn the_keep_alive_is_kept_and_a_broker_that_is_silent_is_given_up() {
    connected!(memory, Version::V3_1_1, CONNACK_V3, link, time, client);
    assert_eq!(client.deadline(), Time(10_000));
    time.set(4000);
    run(client.publish(&Message::new("t", b"")))
        .unwrap()
        .unwrap();
    assert_eq!(link.sent(), [0x30, 3, 0, 1, b't']);
    assert_eq!(client.deadline(), Time(14_000));
    time.set(14_000);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0xC0, 0]);
    link.give(&[0xD0, 0]);
    assert!(run(client.next()).is_none());
    time.set(24_000);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0xC0, 0]);
    time.set(34_000);
    assert_eq!(run(client.next()), Some(Err(Error::TimedOut)));
    assert_eq!(
        run(client.next()),
        Some(Err(Error::TimedOut)),
        "it stays over"
    );
}

#[test]
fn the_brokers_receive_maximum_and_packet_size_are_kept() {
    let connack = &[0x20, 11, 0, 0, 8, 0x21, 0, 1, 0x27, 0, 0, 0, 12];
    connected!(memory, Version::V5, connack, link, time, client);
    let message = Message::new("t", b"12").qos(QoS::AtLeastOnce);
    let first = run(client.publish(&message)).unwrap().unwrap();
    let second = run(client.publish(&message)).unwrap().unwrap();
    assert_eq!(link.sent(), [0x32, 8, 0, 1, b't', 0, 1, 0, b'1', b'2']);
    link.give(&[0x40, 2, 0, 1]);
    let event = run(client.next()).unwrap().unwrap();
    let reason = ReasonCode::SUCCESS;
    assert_eq!(
        event,
        Event::Delivered {
            id: first.unwrap(),
            reason
        }
    );
    assert_eq!(link.sent(), []);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0x32, 8, 0, 1, b't', 0, 2, 0, b'1', b'2']);
    link.give(&[0x40, 3, 0, 2, 0x87]);
    let event = run(client.next()).unwrap().unwrap();
    let reason = ReasonCode::NOT_AUTHORIZED;
    assert_eq!(
        event,
        Event::Delivered {
            id: second.unwrap(),
            reason
        }
    );
    let long = Message::new("t", b"123456789");
    assert_eq!(client.try_publish(&long), Err(QueueError::TooLarge));
    assert_eq!(
        client.try_publish(&long.qos(QoS::ExactlyOnce)),
        Err(QueueError::TooLarge)
    );
    assert_eq!(client.session().unfinished(), 0);
    drop(time);
}

#[test]
fn full_buffers_refuse_and_have_room_again() {
    connected!(memory, Version::V3_1_1, CONNACK_V3, link, time, client);
    let of_qos_0 = Message::new("t", b"12345678901234567890");
    assert_eq!(client.try_publish(&of_qos_0), Ok(None));
    assert_eq!(client.try_publish(&of_qos_0), Err(QueueError::Full));
    assert_eq!(run(client.publish(&of_qos_0)), Some(Ok(None)));
    let of_qos_1 = Message::new("t", &[0; 40]).qos(QoS::AtLeastOnce);
    let id = client.try_publish(&of_qos_1).unwrap().unwrap();
    assert_eq!(client.try_publish(&of_qos_1), Err(QueueError::Full));
    assert!(run(client.next()).is_none());
    link.give(&[0x40, 2, 0, u8::try_from(id.get()).unwrap()]);
    assert!(matches!(
        run(client.next()),
        Some(Ok(Event::Delivered { .. }))
    ));
    assert!(client.try_publish(&of_qos_1).is_ok());
    let never = Message::new("t", &[0; 200]);
    assert_eq!(
        client.try_publish(&never.qos(QoS::AtLeastOnce)),
        Err(QueueError::Full)
    );
    assert_eq!(client.try_publish(&never), Err(QueueError::TooLarge));
    let wild = Message::new("t/#", b"");
    assert!(matches!(
        client.try_publish(&wild),
        Err(QueueError::Invalid(_))
    ));
    drop(time);
}

#[test]
fn subscriptions_are_answered_and_taken_back() {
    connected!(memory, Version::V5, CONNACK_V5, link, time, client);
    let subscriptions = ["a", "b/#"].map(|filter| Subscription {
        filter,
        options: QoS::AtLeastOnce.into(),
    });
    let id = run(client.subscribe(&subscriptions)).unwrap().unwrap();
    assert_eq!(
        link.sent(),
        [0x82, 13, 0, 1, 0, 0, 1, b'a', 1, 0, 3, b'b', b'/', b'#', 1]
    );
    link.give(&[0x90, 5, 0, 1, 0, 1, 0x87]);
    let event = run(client.next()).unwrap().unwrap();
    assert_eq!(
        event,
        Event::Subscribed {
            id,
            codes: &[1, 0x87]
        }
    );
    let id = run(client.unsubscribe(&["a"])).unwrap().unwrap();
    assert_eq!(link.sent(), [0xA2, 6, 0, 2, 0, 0, 1, b'a']);
    link.give(&[0xB0, 4, 0, 2, 0, 0]);
    let event = run(client.next()).unwrap().unwrap();
    assert_eq!(event, Event::Unsubscribed { id, codes: &[0] });
    let wrong = run(client.unsubscribe(&["a/#/b"])).unwrap();
    assert!(matches!(wrong, Err(Error::Queue(QueueError::Invalid(_)))));
    run(client.disconnect()).unwrap().unwrap();
    assert_eq!(link.sent(), [0xE0, 0]);
    drop(time);
}

#[test]
fn what_does_not_fit_ends_the_connection_with_a_word_to_the_broker() {
    connected!(memory, Version::V5, CONNACK_V5, link, time, client);
    link.give(&[0x30, 70, 0, 1]);
    let Some(Err(Error::Protocol(fault))) = run(client.next()) else {
        panic!();
    };
    assert_eq!(
        fault.answer,
        Answer::Disconnect(ReasonCode::PACKET_TOO_LARGE)
    );
    assert_eq!(link.sent(), [0xE0, 1, 0x95]);
    drop(time);

    connected!(memory, Version::V5, CONNACK_V5, link, time, client);
    for id in 1..=3 {
        link.give(&[0x34, 6, 0, 1, b't', 0, id, 0]);
    }
    assert!(matches!(run(client.next()), Some(Ok(Event::Message(_)))));
    assert!(matches!(run(client.next()), Some(Ok(Event::Message(_)))));
    link.sent();
    assert!(matches!(run(client.next()), Some(Err(Error::Protocol(_)))));
    assert_eq!(link.sent(), [0x50, 2, 0, 2, 0xE0, 1, 0x93]);
    drop(time);
}

#[test]
fn a_broker_that_says_why_it_disconnects_is_heard() {
    connected!(memory, Version::V5, CONNACK_V5, link, time, client);
    link.give(&[0xE0, 1, 0x8B]);
    assert_eq!(
        run(client.next()),
        Some(Err(Error::Disconnected(ReasonCode::SERVER_SHUTTING_DOWN)))
    );
    drop(time);
}

#[test]
fn an_unknown_message_of_qos_2_is_released_so_that_the_broker_can_forget_it() {
    connected!(memory, Version::V5, CONNACK_V5, link, time, client);
    link.give(&[0x50, 2, 0, 9, 0x62, 2, 0, 9, 0x40, 2, 0, 9, 0x70, 2, 0, 9]);
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), [0x62, 3, 0, 9, 0x92, 0x70, 3, 0, 9, 0x92]);
    drop(time);
}

/// Drops what `make` makes after every poll, until it is done.
macro_rules! dropped_after_every_poll {
    ($make:expr) => {
        (0..10_000)
            .find_map(|_| match poll_once(std::pin::pin!($make)) {
                std::task::Poll::Ready(output) => Some(output.unwrap()),
                std::task::Poll::Pending => None,
            })
            .expect("it gets on")
    };
}

#[test]
fn a_dropped_future_loses_no_byte_and_repeats_none() {
    // Every transfer is of a byte or three, and the transport waits now and then before it.
    for chunk in [1, 3] {
        connected!(memory, Version::V3_1_1, CONNACK_V3, link, time, client);
        let wait = |link: &Link| {
            link.0.borrow_mut().chunk = chunk;
            link.0.borrow_mut().waits_before = 2;
        };
        wait(&link);
        client.try_publish(&Message::new("a", b"0")).unwrap();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            client
                .try_publish(&Message::new("b", b"1").qos(qos))
                .unwrap();
        }
        dropped_after_every_poll!(client.flush());
        let sent = [
            &[0x30, 4, 0, 1, b'a', b'0'][..],
            &[0x32, 6, 0, 1, b'b', 0, 1, b'1'],
            &[0x34, 6, 0, 1, b'b', 0, 2, b'1'],
        ];
        assert_eq!(link.sent(), sent.concat());
        link.give(&[
            0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x32, 6, 0, 1, b't', 0, 7, b'x',
        ]);
        let is_delivery =
            |event: Event<'_>| -> Result<bool, ()> { Ok(matches!(event, Event::Delivered { .. })) };
        let is_message = |event: Event<'_>| -> Result<bool, ()> {
            Ok(matches!(event, Event::Message(message) if message.payload == b"x"))
        };
        let next_is = async |client: &mut _, check: &dyn Fn(Event<'_>) -> Result<bool, ()>| {
            let client: &mut Client<'_, '_, _, _> = client;
            check(client.next().await.unwrap())
        };
        assert!(dropped_after_every_poll!(next_is(
            &mut client,
            &is_delivery
        )));
        assert!(dropped_after_every_poll!(next_is(&mut client, &is_message)));
        link.give(&[0x70, 2, 0, 2]);
        assert!(dropped_after_every_poll!(next_is(
            &mut client,
            &is_delivery
        )));
        assert_eq!(link.sent(), [0x62, 2, 0, 2, 0x40, 2, 0, 7]);
        drop(time);
    }
}

#[test]
fn a_refusal_is_one_whatever_its_reason() {
    for (qos, refusal) in [
        (QoS::AtLeastOnce, [0x40, 3, 0, 1, 0x95]),
        (QoS::ExactlyOnce, [0x50, 3, 0, 1, 0x95]),
    ] {
        connected!(memory, Version::V5, CONNACK_V5, link, time, client);
        let id = client.try_publish(&Message::new("t", b"large").qos(qos));
        run(client.flush()).unwrap().unwrap();
        link.give(&refusal);
        let Some(Ok(Event::Delivered { id: told, reason })) = run(client.next()) else {
            panic!("{qos:?} is not told");
        };
        assert_eq!(Some(told), id.unwrap());
        assert_eq!(reason, ReasonCode::PACKET_TOO_LARGE);
        assert_eq!(client.session().unfinished(), 0);
    }
}

#[test]
fn what_the_next_broker_takes_no_more_is_given_up_alone() {
    let mut memory = Memory::new();
    let mut session = Session::new(Version::V5, &mut memory.log, &mut memory.received);
    let time = Rc::new(Cell::new(0));
    // At most 20 bytes, and nothing retained.
    let second: &[u8] = &[0x20, 10, 0, 0, 7, 0x27, 0, 0, 0, 20, 0x25, 0];
    let mut ids = Vec::new();
    for connack in [CONNACK_V5, second] {
        let link = Link::default();
        link.give(connack);
        let buffers = Buffers {
            receive: &mut memory.receive,
            send: &mut memory.send,
        };
        let options = Options::new("me");
        let connecting =
            Client::connect(link.clone(), clock(&time), &mut session, buffers, &options);
        let (mut client, _) = run(connecting).unwrap().unwrap();
        link.sent();
        if ids.is_empty() {
            let large = Message::new("t", b"twenty bytes and more").qos(QoS::AtLeastOnce);
            let retained = Message::new("t", b"r").qos(QoS::ExactlyOnce).retain();
            let small = Message::new("t", b"s").qos(QoS::AtLeastOnce);
            for message in [large, retained, small] {
                ids.extend(client.try_publish(&message).unwrap());
            }
            run(client.flush()).unwrap().unwrap();
            continue;
        }
        run(client.flush()).unwrap().unwrap();
        assert_eq!(link.sent(), [], "it is not told yet");
        for (given_up, expected) in ids.iter().zip([
            ReasonCode::PACKET_TOO_LARGE,
            ReasonCode::RETAIN_NOT_SUPPORTED,
        ]) {
            let Some(Ok(Event::Delivered { id, reason })) = run(client.next()) else {
                panic!("nothing is told");
            };
            assert_eq!((id, reason), (*given_up, expected));
        }
        assert!(run(client.next()).is_none());
        assert_eq!(link.sent().last(), Some(&b's'));
        assert_eq!(client.session().unfinished(), 1);
    }
}
