//! Enhanced authentication, byte for byte, with a method that says `a`, `b`, `c` and wants to hear `yes`.

use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use embedded_io_async::ErrorKind;
use midge_codec::{ReasonCode, Version};
use midge_proto::{Answer, Time};

use super::link::{Link, clock, run};
use crate::{
    Authentication, Authenticator, Buffers, Client, Error, Event, Options, QueueError, Session,
    Unconvinced, With,
};

struct Letters {
    is_first_silent: bool,
    next: u8,
}

impl Authenticator for Letters {
    fn method(&self) -> &'static str {
        "abc"
    }

    fn begin(&mut self) -> Option<&[u8]> {
        self.next = 0;
        (!self.is_first_silent).then_some(b"a")
    }

    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced> {
        self.next += 1;
        match (data, self.next) {
            (Some(b"?"), 1) => Ok(Some(b"b")),
            (Some(b"?"), 2) => Ok(None),
            _ => Err(Unconvinced),
        }
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced> {
        if data == Some(b"yes") {
            Ok(())
        } else {
            Err(Unconvinced)
        }
    }
}

/// Method and data as properties, with their length.
fn said(method: &str, data: &str) -> Vec<u8> {
    let [method_length, data_length] = [method, data].map(|text| u8::try_from(text.len()).unwrap());
    let mut bytes = std::vec![0, 0x15, 0, method_length];
    bytes.extend(method.as_bytes());
    if !data.is_empty() {
        bytes.extend([0x16, 0, data_length]);
        bytes.extend(data.as_bytes());
    }
    bytes[0] = u8::try_from(bytes.len() - 1).unwrap();
    bytes
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

fn auth(reason: u8, method: &str, data: &str) -> Vec<u8> {
    packet(0xF0, &[&[reason], &said(method, data)])
}

fn connack(method: &str, data: &str) -> Vec<u8> {
    packet(0x20, &[&[0, 0], &said(method, data)])
}

type Connected<'a, 's, C> = Client<'a, 's, Link, C, With<(), Authentication<Letters>>>;

/// Connects to a broker that says this; the client, the link and what was sent.
fn connect<'a, 's>(
    session: &'a mut Session<'s>,
    [receive, send]: &'a mut [[u8; 64]; 2],
    is_first_silent: bool,
    says: &[Vec<u8>],
) -> (
    Result<Connected<'a, 's, impl Fn() -> Time + use<>>, Error<ErrorKind>>,
    Link,
) {
    let link = Link::default();
    for packet in says {
        link.give(packet);
    }
    let time = Rc::new(Cell::new(0));
    let options = Options::new("me");
    let letters = Letters {
        is_first_silent,
        next: 0,
    };
    let with = With::new().authenticator(letters);
    let buffers = Buffers { receive, send };
    let connecting =
        Client::connect_with(link.clone(), clock(&time), session, buffers, &options, with);
    (run(connecting).unwrap().map(|(client, _)| client), link)
}

fn reason<T>(result: Result<T, Error<ErrorKind>>) -> ReasonCode {
    match result.err().unwrap() {
        Error::Protocol(fault) => match fault.answer {
            Answer::Disconnect(reason) => reason,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// [MQTT5-4.12.0-3] [MQTT5-4.12.1-1]
#[test]
fn an_exchange_is_gone_through_at_connect_and_again() {
    let mut memory = [[0; 64]; 2];
    let mut session = Session::new(Version::V5, &mut [], &mut []);
    let says = [
        auth(0x18, "abc", "?"),
        auth(0x18, "abc", "?"),
        connack("abc", "yes"),
    ];
    let (client, link) = connect(&mut session, &mut memory, false, &says);
    let mut client = client.unwrap();
    let sent = link.sent();
    let answers = [auth(0x18, "abc", "b"), auth(0x18, "abc", "")].concat();
    assert!(sent.ends_with(&answers));
    let has = |bytes: &[u8]| sent.windows(bytes.len()).any(|part| part == bytes);
    assert!(has(b"\x16\0\x01a\x15\0\x03abc"), "{sent:?}");
    run(client.authenticate()).unwrap().unwrap();
    assert_eq!(link.sent(), auth(0x19, "abc", "a"));
    let twice = run(client.authenticate()).unwrap();
    assert!(matches!(twice, Err(Error::Queue(QueueError::Invalid(_)))));
    link.give(&auth(0x18, "abc", "?"));
    assert!(run(client.next()).is_none());
    assert_eq!(link.sent(), auth(0x18, "abc", "b"));
    link.give(&auth(0, "abc", "yes"));
    assert_eq!(run(client.next()), Some(Ok(Event::Authenticated)));
    // It is over.
    link.give(&auth(0x18, "abc", "?"));
    assert_eq!(
        reason(run(client.next()).unwrap()),
        ReasonCode::PROTOCOL_ERROR
    );
}

#[test]
fn a_method_may_let_the_broker_begin() {
    let mut memory = [[0; 64]; 2];
    let mut session = Session::new(Version::V5, &mut [], &mut []);
    let (client, link) = connect(&mut session, &mut memory, true, &[connack("abc", "yes")]);
    let mut client = client.unwrap();
    assert!(!link.sent().contains(&0x16));
    run(client.authenticate()).unwrap().unwrap();
    assert_eq!(link.sent(), auth(0x19, "abc", ""));
}

#[test]
fn a_broker_that_does_not_keep_to_the_exchange_is_left() {
    let (astray, unconvinced) = (ReasonCode::PROTOCOL_ERROR, ReasonCode::NOT_AUTHORIZED);
    for (says, expected) in [
        (auth(0x18, "other", "?"), astray),
        (packet(0xF0, &[&[0x18]]), astray),
        (auth(0x19, "abc", "?"), astray),
        // That is CONNACK's to say.
        (auth(0, "abc", "yes"), astray),
        (auth(0x18, "abc", "!"), unconvinced),
        (connack("abc", "no"), unconvinced),
        (connack("abc", ""), unconvinced),
        (connack("other", "yes"), astray),
        (packet(0x20, &[&[0, 0, 0]]), astray),
    ] {
        let mut memory = [[0; 64]; 2];
        let mut session = Session::new(Version::V5, &mut [], &mut []);
        let (client, link) = connect(
            &mut session,
            &mut memory,
            false,
            std::slice::from_ref(&says),
        );
        assert_eq!(reason(client), expected, "{says:?}");
        assert!(link.sent().ends_with(&[0xE0, 1, expected.0]), "{says:?}");
    }
}

#[test]
fn without_an_authenticator_auth_is_a_fault() {
    for says in [&[0xF0, 0][..], &[0x20, 3, 0, 0, 0, 0xF0, 0]] {
        let (mut receive, mut send) = ([0; 64], [0; 64]);
        let mut session = Session::new(Version::V5, &mut [], &mut []);
        let link = Link::default();
        link.give(says);
        let buffers = Buffers {
            receive: &mut receive,
            send: &mut send,
        };
        let time = Rc::new(Cell::new(0));
        let options = Options::new("me");
        let connecting =
            Client::connect(link.clone(), clock(&time), &mut session, buffers, &options);
        let result = run(connecting).unwrap();
        let result =
            result.map(|(mut client, _)| run(async move { client.next().await.err().unwrap() }));
        let error = result.map_or_else(|error| error, Option::unwrap);
        assert_eq!(reason(Err::<(), _>(error)), ReasonCode::PROTOCOL_ERROR);
    }
}

#[test]
fn version_3_1_1_has_no_methods() {
    let mut memory = [[0; 64]; 2];
    let mut session = Session::new(Version::V3_1_1, &mut [], &mut []);
    let (client, link) = connect(&mut session, &mut memory, false, &[]);
    assert!(matches!(
        client.err(),
        Some(Error::Queue(QueueError::Invalid(_)))
    ));
    assert_eq!(link.sent(), []);
}
