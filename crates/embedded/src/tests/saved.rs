//! Sessions as bytes, and bytes that are none.

use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use midge_codec::{QoS, Version};
use proptest::prelude::*;

use super::link::{Link, clock, run};
use crate::{Buffers, Client, Event, Message, Options, RestoreError, Session, Subscription};

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            };
        }
    }
    !sum
}

/// With a checksum that is right.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32(bytes).to_be_bytes()].concat()
}

/// A session with a message in every state: PUBACK, PUBREC and PUBCOMP are waited for, one is not sent, an answer
/// to SUBSCRIBE is due, and one of QoS 2 was received.
fn full(version: Version) -> Vec<u8> {
    let (mut log, mut received) = ([0; 100], [0; 3]);
    let (mut receive, mut send) = ([0; 64], [0; 64]);
    let mut session = Session::new(version, &mut log, &mut received);
    let link = Link::default();
    link.give(if version == Version::V5 {
        &[0x20, 3, 0, 0, 0]
    } else {
        &[0x20, 2, 0, 0]
    });
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let time = Rc::new(Cell::new(0));
    let options = Options::new("me");
    let connecting = Client::connect(link.clone(), clock(&time), &mut session, buffers, &options);
    let (mut client, _) = run(connecting).unwrap().unwrap();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
        run(client.publish(&Message::new("t", b"x").qos(qos)))
            .unwrap()
            .unwrap();
    }
    let subscription = Subscription {
        filter: "a",
        options: QoS::AtLeastOnce.into(),
    };
    run(client.subscribe(&[subscription])).unwrap().unwrap();
    link.give(&[0x50, 2, 0, 3]);
    link.give(if version == Version::V5 {
        &[0x34, 7, 0, 1, b't', 0, 9, 0, b'y']
    } else {
        &[0x34, 6, 0, 1, b't', 0, 9, b'y']
    });
    assert!(matches!(run(client.next()), Some(Ok(Event::Message(_)))));
    client
        .try_publish(&Message::new("u", b"z").qos(QoS::AtLeastOnce))
        .unwrap();
    drop(client);
    session.saved().collect()
}

/// What a restored session makes a client send.
fn sent(session: &mut Session<'_>) -> Vec<u8> {
    let (mut receive, mut send) = ([0; 64], [0; 64]);
    let link = Link::default();
    let is_v5 = session.version() == Version::V5;
    link.give(if is_v5 {
        &[0x20, 3, 1, 0, 0]
    } else {
        &[0x20, 2, 1, 0]
    });
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let time = Rc::new(Cell::new(0));
    let options = Options::new("me");
    let connecting = Client::connect(link.clone(), clock(&time), session, buffers, &options);
    let (mut client, _) = run(connecting).unwrap().unwrap();
    link.sent();
    let _ = run(client.flush());
    link.sent()
}

#[test]
fn a_restored_session_goes_on_where_the_saved_one_was() {
    let saved = full(Version::V3_1_1);
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    assert_eq!(saved, sealed(&saved[..saved.len() - 4]));
    let (mut log, mut received) = ([0; 100], [0; 3]);
    let mut session = Session::restore(&saved, &mut log, &mut received).unwrap();
    assert_eq!(
        (session.version(), session.unfinished()),
        (Version::V3_1_1, 4)
    );
    let again: Vec<u8> = session.saved().collect();
    assert_eq!(again.len(), saved.len());
    assert!(saved.len() <= Session::saved_length_max(100, 3));
    let mut short = [0; 40];
    assert_eq!(session.save(&mut short), None);
    let mut long = [0xFF; 200];
    assert_eq!(session.save(&mut long), Some(again.len()));
    assert_eq!(long[..again.len()], again);
    // What is in the memory behind it is of no account.
    assert!(Session::restore(&long, &mut [0; 100], &mut [0; 3]).is_ok());
    // All may have been sent, also the last; the subscription is not asked for again.
    let packets = [
        &[0x3A, 6, 0, 1, b't', 0, 1, b'x'][..],
        &[0x3C, 6, 0, 1, b't', 0, 2, b'x'],
        &[0x62, 2, 0, 3],
        &[0x3A, 6, 0, 1, b'u', 0, 5, b'z'],
    ];
    assert_eq!(sent(&mut session), packets.concat());
    assert_eq!(
        Session::restore(&full(Version::V5), &mut [0; 100], &mut [0; 3])
            .unwrap()
            .version(),
        Version::V5
    );
}

#[test]
fn bytes_that_were_not_saved_are_refused_for_what_they_are() {
    let restore = |bytes: &[u8], log: usize, received: usize| {
        let (mut log, mut received) = (std::vec![0; log], std::vec![0; received]);
        Session::restore(bytes, &mut log, &mut received).map(|session| session.unfinished())
    };
    let saved = full(Version::V5);
    assert_eq!(restore(&saved, 100, 1), Ok(4));
    for blank in [&[][..], &[0xFF; 64], &[0; 64]] {
        assert_eq!(restore(blank, 100, 3), Err(RestoreError::Unknown));
    }
    for length in 1..saved.len() {
        assert_eq!(
            restore(&saved[..length], 100, 3),
            Err(RestoreError::Damaged),
            "{length}"
        );
    }
    for bit in 8..8 * saved.len() {
        let mut bytes = saved.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(restore(&bytes, 100, 3), Err(RestoreError::Damaged), "{bit}");
    }
    assert_eq!(restore(&saved, 40, 3), Err(RestoreError::TooSmall));
    assert_eq!(restore(&saved, 100, 0), Err(RestoreError::TooSmall));
    // Written whole, and wrong.
    let body = |log: &[u8], ids: &[u8]| {
        let mut bytes = std::vec![
            1,
            4,
            0,
            7,
            0,
            0,
            0,
            u8::try_from(log.len()).unwrap(),
            0,
            u8::try_from(ids.len() / 2).unwrap()
        ];
        bytes.extend(log);
        bytes.extend(ids);
        sealed(&bytes)
    };
    let publish = [0, 8, 0, 1, 0, 0x32, 6, 0, 1, b't', 0, 1, b'x'];
    assert_eq!(restore(&body(&publish, &[0, 9]), 100, 3), Ok(1));
    assert_eq!(
        restore(&body(&[publish, publish].concat(), &[]), 100, 3),
        Err(RestoreError::Damaged)
    );
    assert_eq!(
        restore(&body(&publish, &[0, 0]), 100, 3),
        Err(RestoreError::Damaged)
    );
    assert_eq!(
        restore(&body(&publish, &[0, 9, 0, 9]), 100, 3),
        Err(RestoreError::Damaged)
    );
    for (at, byte) in [
        (1, 7),
        (1, 9),
        (3, 2),
        (4, 1),
        (4, 4),
        (4, 5),
        (5, 0x30),
        (5, 0x36),
        (5, 0x62),
        (6, 5),
        (6, 0x80),
        (8, 0),
        (9, b'#'),
        (11, 2),
    ] {
        let mut wrong = publish;
        wrong[at] = byte;
        assert_eq!(
            restore(&body(&wrong, &[]), 100, 3),
            Err(RestoreError::Damaged),
            "{at} {byte}"
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_restored_can_be_sent_and_saved(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        is_v5: bool,
        is_sealed in proptest::bool::weighted(0.8),
    ) {
        let mut bytes = full(if is_v5 { Version::V5 } else { Version::V3_1_1 });
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_sealed {
            bytes = sealed(&bytes[..bytes.len() - 4]);
        }
        let (mut log, mut received) = ([0; 100], [0; 3]);
        if let Ok(mut session) = Session::restore(&bytes, &mut log, &mut received) {
            let again: Vec<u8> = session.saved().collect();
            assert!(Session::restore(&again, &mut [0; 100], &mut [0; 3]).is_ok());
            let unfinished = session.unfinished();
            sent(&mut session);
            assert_eq!(session.unfinished(), unfinished);
        }
    }
}
