//! Topic aliases, byte for byte.

use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use midge_codec::{Property, QoS, ReasonCode, Version};
use midge_proto::{Answer, Time};

use super::link::{Link, clock, run};
use crate::{
    Buffers, Client, Error, Event, Message, Options, QueueError, Session, TopicAliases, With,
};

/// CONNACK of a broker that takes aliases up to 2.
const CONNACK: &[u8] = &[0x20, 6, 0, 0, 3, 0x22, 0, 2];

const TOPICS: [&str; 3] = ["first", "second", "third"];

type Connected<'a, 's, C> = Client<'a, 's, Link, C, With<TopicAliases<'a>>>;

/// Memory of one connection.
struct Memory {
    receive: [u8; 64],
    send: [u8; 80],
    topics: [u8; 20],
}

impl Memory {
    const fn new() -> Self {
        Self {
            receive: [0; 64],
            send: [0; 80],
            topics: [0; 20],
        }
    }
}

/// A client on a link, and what CONNECT was.
fn connect<'a, 's>(
    session: &'a mut Session<'s>,
    memory: &'a mut Memory,
    connack: &[u8],
) -> (Connected<'a, 's, impl Fn() -> Time + use<>>, Link, Vec<u8>) {
    let link = Link::default();
    link.give(connack);
    let buffers = Buffers {
        receive: &mut memory.receive,
        send: &mut memory.send,
    };
    let aliases = TopicAliases::new()
        .outgoing(&TOPICS)
        .incoming(2, &mut memory.topics);
    let time = Rc::new(Cell::new(0));
    let options = Options::new("me");
    let with = With::new().topic_aliases(aliases);
    let connecting =
        Client::connect_with(link.clone(), clock(&time), session, buffers, &options, with);
    let (client, _) = run(connecting).unwrap().unwrap();
    let sent = link.sent();
    (client, link, sent)
}

fn text<'a>(
    event: Option<Result<Event<'a>, Error<embedded_io_async::ErrorKind>>>,
) -> (&'a str, &'a [u8]) {
    let Some(Ok(Event::Message(message))) = event else {
        panic!("{event:?}");
    };
    (message.topic, message.payload)
}

/// [MQTT5-3.2.2-17] [MQTT5-3.3.2-8] [MQTT5-3.3.2-9]
#[test]
fn a_topic_is_sent_once_and_then_its_number_if_the_broker_takes_it() {
    let (mut log, mut memory) = ([0; 100], Memory::new());
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let (mut client, link, connect) = connect(&mut session, &mut memory, CONNACK);
    assert!(connect.windows(3).any(|bytes| bytes == [0x22, 0, 2]));
    let mut publish = |topic: &str, qos| {
        run(client.publish(&Message::new(topic, b"x").qos(qos)))
            .unwrap()
            .unwrap();
        link.sent()
    };
    let whole = [&[0x30, 13, 0, 6][..], b"second", &[3, 0x23, 0, 2, b'x']].concat();
    assert_eq!(publish("second", QoS::AtMostOnce), whole);
    assert_eq!(
        publish("second", QoS::AtMostOnce),
        [0x30, 7, 0, 0, 3, 0x23, 0, 2, b'x']
    );
    assert_eq!(
        publish("second", QoS::ExactlyOnce),
        [0x34, 9, 0, 0, 0, 1, 3, 0x23, 0, 2, b'x']
    );
    let whole = [
        &[0x32, 14, 0, 5][..],
        b"first",
        &[0, 2, 3, 0x23, 0, 1, b'x'],
    ]
    .concat();
    assert_eq!(publish("first", QoS::AtLeastOnce), whole);
    assert_eq!(
        publish("first", QoS::AtMostOnce),
        [0x30, 7, 0, 0, 3, 0x23, 0, 1, b'x']
    );
    // One more than the broker takes, and one that is not in the table.
    let whole = [&[0x30, 9, 0, 5][..], b"third", &[0, b'x']].concat();
    assert_eq!(publish("third", QoS::AtMostOnce), whole);
    assert_eq!(
        publish("other", QoS::AtMostOnce),
        [&[0x30, 9, 0, 5][..], b"other", &[0, b'x']].concat()
    );
}

/// [MQTT5-3.3.2-7]
#[test]
fn what_is_sent_again_has_no_number_of_the_connection_before() {
    let mut log = [0; 100];
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let mut memory = Memory::new();
    let (mut client, link, _) = connect(&mut session, &mut memory, CONNACK);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        run(client.publish(&Message::new("first", b"x").qos(qos)))
            .unwrap()
            .unwrap();
    }
    assert!(link.sent().ends_with(&[0, 0, 0, 2, 3, 0x23, 0, 1, b'x']));
    drop(client);
    // A broker that takes none, and then one that takes them.
    let mut memory = Memory::new();
    let (mut client, link, _) = connect(&mut session, &mut memory, &[0x20, 3, 1, 0, 0]);
    run(client.flush()).unwrap().unwrap();
    let first = [&[0x3A, 11, 0, 5][..], b"first", &[0, 1, 0, b'x']].concat();
    let second = [&[0x3C, 11, 0, 5][..], b"first", &[0, 2, 0, b'x']].concat();
    assert_eq!(link.sent(), [first, second].concat());
    drop(client);
    let mut memory = Memory::new();
    let (mut client, link, _) = connect(&mut session, &mut memory, CONNACK);
    run(client.flush()).unwrap().unwrap();
    let first = [
        &[0x3A, 14, 0, 5][..],
        b"first",
        &[0, 1, 3, 0x23, 0, 1, b'x'],
    ]
    .concat();
    let second = [0x3C, 9, 0, 0, 0, 2, 3, 0x23, 0, 1, b'x'];
    assert_eq!(link.sent(), [&first[..], &second].concat());
    link.give(&[0x40, 2, 0, 1]);
    assert!(matches!(
        run(client.next()),
        Some(Ok(Event::Delivered { .. }))
    ));
}

/// [MQTT5-3.2.2-18]
#[test]
fn without_a_table_no_number_is_sent_and_the_application_cannot_send_one() {
    let (mut log, mut receive, mut send) = ([0; 100], [0; 64], [0; 64]);
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let link = Link::default();
    link.give(CONNACK);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let time = Rc::new(Cell::new(0));
    let options = Options::new("me");
    let connecting = Client::connect(link.clone(), clock(&time), &mut session, buffers, &options);
    let (mut client, _) = run(connecting).unwrap().unwrap();
    assert!(!link.sent().contains(&0x22));
    let alias = [Property::TopicAlias(1)];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let refused = client.try_publish(&Message::new("first", b"x").qos(qos).properties(&alias));
        assert!(
            matches!(refused, Err(QueueError::Invalid(_))),
            "{refused:?}"
        );
        run(client.publish(&Message::new("first", b"x").qos(qos)))
            .unwrap()
            .unwrap();
        run(client.publish(&Message::new("first", b"x").qos(qos)))
            .unwrap()
            .unwrap();
    }
    assert!(!link.sent().contains(&0x23));
}

#[test]
fn a_send_buffer_without_room_sends_the_topic() {
    let mut log = [0; 200];
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let mut memory = Memory::new();
    let (mut client, link, _) = connect(&mut session, &mut memory, CONNACK);
    let payload = [b'x'; 70];
    run(client.publish(&Message::new("first", &payload).qos(QoS::AtLeastOnce)))
        .unwrap()
        .unwrap();
    let whole = [&[0x32, 80, 0, 5][..], b"first", &[0, 1, 0], &payload].concat();
    assert_eq!(link.sent(), whole);
}

/// [MQTT5-3.3.2-10]
#[test]
fn numbers_of_the_broker_mean_what_it_said_last() {
    let mut log = [0; 64];
    let mut received = [0; 2];
    let mut session = Session::new(Version::V5, &mut log, &mut received);
    let mut memory = Memory::new();
    let (mut client, link, _) = connect(&mut session, &mut memory, CONNACK);
    let named = |alias: u8, topic: &str, payload: u8| {
        let length = u8::try_from(topic.len()).unwrap();
        [
            &[0x30, length + 7, 0, length][..],
            topic.as_bytes(),
            &[3, 0x23, 0, alias, payload],
        ]
        .concat()
    };
    for (alias, topic, payload, means) in [
        (2, "abc", b'1', "abc"),
        (2, "", b'2', "abc"),
        (1, "de", b'3', "de"),
        (2, "", b'4', "abc"),
        // The other one moves in the memory.
        (2, "longer", b'5', "longer"),
        (1, "", b'6', "de"),
        (2, "", b'7', "longer"),
        // There is room for this one only without the other.
        (2, "f", b'8', "f"),
        (1, "123456789", b'9', "123456789"),
        (1, "", b'a', "123456789"),
        (2, "", b'b', "f"),
    ] {
        link.give(&named(alias, topic, payload));
        assert_eq!(text(run(client.next())), (means, &[payload][..]));
    }
    // Of QoS 2, and again: it is not handed over twice, and what it says of the number holds.
    link.give(&[0x34, 10, 0, 1, b'g', 0, 5, 3, 0x23, 0, 2, b'c']);
    assert_eq!(text(run(client.next())), ("g", &b"c"[..]));
    link.give(&[0x3C, 10, 0, 1, b'h', 0, 5, 3, 0x23, 0, 2, b'c']);
    link.give(&named(2, "", b'd'));
    assert_eq!(text(run(client.next())), ("h", &b"d"[..]));
    // A topic that finds no room is handed over, but its number is of no use.
    link.give(&named(2, "more than is left", b'e'));
    assert_eq!(text(run(client.next())), ("more than is left", &b"e"[..]));
    link.give(&named(1, "", b'f'));
    assert_eq!(text(run(client.next())), ("123456789", &b"f"[..]));
    link.give(&named(2, "", b'g'));
    let Some(Err(Error::Protocol(fault))) = run(client.next()) else {
        panic!();
    };
    assert_eq!(
        fault.answer,
        Answer::Disconnect(ReasonCode::TOPIC_ALIAS_INVALID)
    );
}

#[test]
fn numbers_that_were_not_offered_or_not_given_end_the_connection() {
    for (packet, reason) in [
        (
            &[0x30, 8, 0, 1, b't', 3, 0x23, 0, 3, b'x'][..],
            ReasonCode::TOPIC_ALIAS_INVALID,
        ),
        (
            &[0x30, 7, 0, 0, 3, 0x23, 0, 1, b'x'],
            ReasonCode::TOPIC_ALIAS_INVALID,
        ),
        (&[0x30, 4, 0, 0, 0, b'x'], ReasonCode::PROTOCOL_ERROR),
    ] {
        let mut log = [0; 64];
        let mut session = Session::new(Version::V5, &mut log, &mut []);
        let mut memory = Memory::new();
        let (mut client, link, _) = connect(&mut session, &mut memory, CONNACK);
        link.give(packet);
        let Some(Err(Error::Protocol(fault))) = run(client.next()) else {
            panic!("{packet:?}");
        };
        assert_eq!(fault.answer, Answer::Disconnect(reason), "{packet:?}");
        assert_eq!(link.sent(), [0xE0, 1, reason.0]);
    }
}
