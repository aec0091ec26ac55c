use std::collections::HashSet;
use std::io::Write;

use signal_hook::low_level::raise;

use super::*;
use crate::testing::{in_own_process, tcp_pair, wait_for, wait_until};
use crate::{Key, Poller, Sent};

#[test]
fn every_signal_arrives_as_an_event() {
    if !in_own_process("signals::tests::every_signal_arrives_as_an_event") {
        return;
    }
    let mut poller = Poller::new(8).unwrap();
    let mut signals = Signals::new().unwrap();
    let key = Key::reserved(0).unwrap();
    poller.register_readable(&mut signals, key).unwrap();
    let mut expected = vec![
        (SIGINT, Signal::Interrupt),
        (SIGTERM, Signal::Terminate),
        (SIGHUP, Signal::Hangup),
        (SIGUSR1, Signal::User1),
        (SIGUSR2, Signal::User2),
    ];
    expected.extend(rotate_number().map(|number| (number, Signal::Rotate)));
    for (number, signal) in &expected {
        raise(*number).unwrap();
        wait_for(&mut poller, key, |event| event.readable);
        assert_eq!(signals.pending().collect::<Vec<_>>(), [*signal]);
    }
    for (number, _) in &expected {
        raise(*number).unwrap();
        raise(*number).unwrap();
    }
    let mut heard = HashSet::new();
    wait_until(&mut poller, |_| {
        heard.extend(signals.pending());
        heard.len() == expected.len()
    });
    assert_eq!(signals.pending().count(), 0);
}

#[test]
fn a_signal_ends_the_wait_of_another_thread() {
    if !in_own_process("signals::tests::a_signal_ends_the_wait_of_another_thread") {
        return;
    }
    let mut poller = Poller::new(8).unwrap();
    let mut signals = Signals::new().unwrap();
    poller
        .register_readable(&mut signals, Key::reserved(0).unwrap())
        .unwrap();
    let waiter = std::thread::spawn(move || {
        let mut heard = Vec::new();
        wait_until(&mut poller, |_| {
            heard.extend(signals.pending());
            !heard.is_empty()
        });
        heard
    });
    raise(SIGTERM).unwrap();
    assert_eq!(waiter.join().unwrap(), [Signal::Terminate]);
}

#[test]
fn a_write_to_a_closed_connection_does_not_end_the_process() {
    if !in_own_process("signals::tests::a_write_to_a_closed_connection_does_not_end_the_process") {
        return;
    }
    let _signals = Signals::new().unwrap();
    raise(SIGPIPE).unwrap();
    let (mut stream, mut peer) = tcp_pair();
    // Closing with unread bytes resets the connection.
    assert_eq!(stream.write(b"unread").unwrap(), Sent::Bytes(6));
    peer.write_all(b"x").unwrap();
    drop(peer);
    crate::testing::eventually(|| stream.write_vectored(&[io::IoSlice::new(b"y")]).err());
}
