//! Bytes that mean no good: never a panic, never an endless loop, and nothing handed over that is none.

use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use midge_codec::{QoS, Version};
use proptest::prelude::*;

use super::link::{Link, clock, run};
use crate::{Buffers, Client, Event, Message, Options, Session};

/// Packets that a broker may send, of small identifiers.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let id = 0_u8..5;
    prop_oneof![
        (id.clone(), 0_u8..8).prop_map(|(id, flags)| {
            std::vec![0x30 | flags << 1, 7, 0, 1, b't', 0, id, 0, b'x']
        }),
        (4_u8..8, id.clone()).prop_map(|(kind, id)| {
            let flags = if kind == 6 { 2 } else { 0 };
            std::vec![kind << 4 | flags, 2, 0, id]
        }),
        (4_u8..8, id.clone(), any::<u8>()).prop_map(|(kind, id, reason)| {
            let flags = if kind == 6 { 2 } else { 0 };
            std::vec![kind << 4 | flags, 3, 0, id, reason]
        }),
        id.prop_map(|id| std::vec![0x90, 4, 0, id, 0, 1]),
        Just(std::vec![0xD0, 0]),
        Just(std::vec![0xE0, 1, 0x8B]),
        proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn check(version: Version, chunk: usize, bytes: &[u8], with_connack: bool) {
    let (mut log, mut received) = ([0; 60], [0; 2]);
    let (mut receive, mut send) = ([0; 40], [0; 60]);
    let mut session = Session::new(version, &mut log, &mut received);
    let link = Link::default();
    link.0.borrow_mut().chunk = chunk;
    if with_connack {
        link.give(if version == Version::V5 {
            &[0x20, 3, 1, 0, 0]
        } else {
            &[0x20, 2, 1, 0]
        });
    }
    link.give(bytes);
    link.0.borrow_mut().is_closed = false;
    let time = Rc::new(Cell::new(0));
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let options = Options::new("me");
    let connecting = Client::connect(link, clock(&time), &mut session, buffers, &options);
    let Some(Ok((mut client, _))) = run(connecting) else {
        return;
    };
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let _ = client.try_publish(&Message::new("t", b"x").qos(qos));
    }
    let mut in_flight = client.session().unfinished();
    for _ in 0..200 {
        match run(client.next()) {
            Some(Ok(Event::Delivered { .. })) => {
                in_flight = in_flight
                    .checked_sub(1)
                    .expect("no more than were published");
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    drop(client);
    assert_eq!(session.unfinished(), in_flight);
}

proptest! {
    #[test]
    fn hostile_brokers_end_in_an_error_or_wait(
        packets in proptest::collection::vec(packet(), 0..12),
        chunk in 0_usize..5,
        with_connack in proptest::bool::weighted(0.9),
    ) {
        let bytes = packets.concat();
        check(Version::V5, chunk, &bytes, with_connack);
        check(Version::V3_1_1, chunk, &bytes, with_connack);
    }
}
