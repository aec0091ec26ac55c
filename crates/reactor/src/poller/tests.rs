use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc;

use super::*;
use crate::testing::{read_bytes, tcp_pair, unix_pair, wait_for, wait_once, wait_until};
use crate::{Bounds, Mailbox, Received, Slots, Stream};

fn poller() -> Poller {
    Poller::new(64).unwrap()
}

fn now(poller: &mut Poller) -> Vec<Ready> {
    let mut ready = Vec::new();
    poller
        .wait(Some(Duration::ZERO), &mut ready, || false)
        .unwrap();
    ready
}

#[test]
fn a_socket_is_reported_once_for_what_has_come_and_again_for_more() {
    let mut poller = poller();
    let (mut stream, mut peer) = tcp_pair();
    let key = Key::new(3, 1);
    poller.register(&mut stream, key).unwrap();
    wait_for(&mut poller, key, |event| event.writable);
    peer.write_all(b"one").unwrap();
    wait_for(&mut poller, key, |event| event.readable && !event.closed);
    assert_eq!(now(&mut poller), [], "edge-triggered: reported once");
    assert_eq!(read_bytes(&mut stream, 3), b"one");
    peer.write_all(b"two").unwrap();
    wait_for(&mut poller, key, |event| event.readable);
    assert_eq!(read_bytes(&mut stream, 3), b"two");
}

#[test]
fn bytes_sent_before_the_peer_closed_are_read_before_the_end() {
    let mut poller = poller();
    let (mut stream, mut peer) = tcp_pair();
    let key = Key::new(0, 0);
    poller.register(&mut stream, key).unwrap();
    peer.write_all(b"last words").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    wait_for(&mut poller, key, |event| event.closed && event.readable);
    let mut buffer = [0; 64];
    assert_eq!(stream.read(&mut buffer).unwrap(), Received::Bytes(10));
    assert_eq!(stream.read(&mut buffer).unwrap(), Received::Ended);
}

#[test]
fn a_writer_that_blocked_hears_of_room() {
    let mut poller = poller();
    let (mut stream, mut peer) = unix_pair();
    let key = Key::new(0, 0);
    poller.register(&mut stream, key).unwrap();
    let mut sent = 0;
    while let crate::Sent::Bytes(length) = stream.write(&[7; 65536]).unwrap() {
        sent += length;
    }
    assert_eq!(now(&mut poller), [], "there is no room");
    let mut received = vec![0; sent];
    io::Read::read_exact(&mut peer, &mut received).unwrap();
    wait_for(&mut poller, key, |event| event.writable);
    assert!(matches!(stream.write(b"x").unwrap(), crate::Sent::Bytes(1)));
}

#[test]
fn a_stream_moves_to_another_poller_with_the_bytes_that_wait() {
    let mut first = poller();
    let mut second = poller();
    for (mut stream, mut peer) in [
        {
            let (stream, peer) = tcp_pair();
            (stream, Box::new(peer) as Box<dyn Write>)
        },
        {
            let (stream, peer) = unix_pair();
            (stream, Box::new(peer) as Box<dyn Write>)
        },
    ] {
        first.register(&mut stream, Key::new(1, 0)).unwrap();
        peer.write_all(b"CONNECT").unwrap();
        wait_for(&mut first, Key::new(1, 0), |event| event.readable);
        first.deregister(&mut stream).unwrap();
        let key = Key::new(9, 2);
        let mut moved: Stream = stream;
        second.register(&mut moved, key).unwrap();
        wait_for(&mut second, key, |event| event.readable);
        assert_eq!(read_bytes(&mut moved, 7), b"CONNECT");
        peer.write_all(b"more").unwrap();
        wait_for(&mut second, key, |event| event.readable);
        assert_eq!(now(&mut first), []);
    }
}

#[test]
fn an_event_of_a_connection_that_has_gone_does_not_reach_the_next_in_its_slot() {
    let mut poller = poller();
    let mut slots: Slots<Stream> = Slots::new();
    let mut peers = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (stream, peer) = tcp_pair();
        let key = slots.insert(stream).unwrap();
        poller.register(slots.get_mut(key).unwrap(), key).unwrap();
        peers.push(peer);
        keys.push(key);
    }
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    let mut batch = Vec::new();
    wait_until(&mut poller, |ready| {
        batch.extend_from_slice(ready);
        keys.iter().all(|key| {
            batch
                .iter()
                .any(|event| event.key == *key && event.readable)
        })
    });
    // While the batch is worked off, both connections end and a new one gets a slot of theirs.
    for key in &keys {
        drop(slots.remove(*key).unwrap());
    }
    let (stream, mut peer) = tcp_pair();
    let fresh = slots.insert(stream).unwrap();
    assert!(keys.iter().any(|key| key.slot() == fresh.slot()));
    poller
        .register(slots.get_mut(fresh).unwrap(), fresh)
        .unwrap();
    assert!(batch.iter().all(|event| slots.get(event.key).is_none()));
    peer.write_all(b"y").unwrap();
    wait_for(&mut poller, fresh, |event| event.readable);
    assert_eq!(read_bytes(slots.get_mut(fresh).unwrap(), 1), b"y");
}

#[test]
fn wakes_while_the_owner_is_awake_cost_nothing() {
    let mut poller = poller();
    let waker = poller.waker();
    for _ in 0..100 {
        waker.wake().unwrap();
    }
    assert_eq!(waker.writes(), 0);
    // A look without waiting is part of the turn: it does not count as sleep either.
    assert_eq!(now(&mut poller), []);
    waker.wake().unwrap();
    assert_eq!(waker.writes(), 0);
}

#[test]
fn many_wakes_of_a_sleeping_owner_cost_one_write() {
    let mut poller = poller();
    let waker = poller.waker();
    let mut ready = Vec::new();
    for round in 1..=3 {
        // At the time of the look for work, the owner has said that it sleeps.
        let wake_often = || {
            for _ in 0..100 {
                waker.wake().unwrap();
            }
            false
        };
        wait_once(&mut poller, &mut ready, wake_often);
        assert_eq!(ready, [], "the waker is no socket");
        assert_eq!(waker.writes(), round);
    }
}

#[test]
fn pending_work_keeps_the_owner_from_waiting() {
    let mut poller = poller();
    let waker = poller.waker();
    let mut ready = Vec::new();
    wait_once(&mut poller, &mut ready, || true);
    assert_eq!(ready, []);
    waker.wake().unwrap();
    assert_eq!(waker.writes(), 0, "the owner never slept");
}

#[test]
fn no_message_is_overslept() {
    const MESSAGES: u32 = 20_000;
    let mut consumer = poller();
    let mailbox = Mailbox::new(
        Bounds {
            messages: usize::MAX,
            bytes: usize::MAX,
        },
        consumer.waker(),
    );
    let (answered, answers) = mpsc::channel();
    let sender = mailbox.sender(None);
    let producer = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            let _ = sender.push_batch(&mut vec![number], 4).unwrap();
            // Each message is awaited, so that the owner goes to sleep between any two.
            let answer: u32 = answers.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(answer, number);
        }
    });
    let (mut ready, mut messages) = (Vec::new(), Vec::new());
    let mut taken = 0;
    while taken < MESSAGES {
        wait_once(&mut consumer, &mut ready, || !mailbox.is_empty());
        mailbox.take(&mut messages).unwrap();
        for message in messages.drain(..) {
            taken += 1;
            answered.send(message).unwrap();
        }
    }
    producer.join().unwrap();
}
