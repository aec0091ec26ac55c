use std::os::fd::AsRawFd;

use super::*;
use crate::testing::{eventually, is_closed, read_bytes, tcp_pair, unix_pair};

#[test]
fn an_empty_socket_blocks_and_a_closed_one_ends() {
    let (mut stream, peer) = tcp_pair();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), Received::Blocked);
    drop(peer);
    let end = eventually(|| match stream.read(&mut [0; 8]).unwrap() {
        Received::Blocked => None,
        other => Some(other),
    });
    assert_eq!(end, Received::Ended);
    let (mut stream, peer) = unix_pair();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), Received::Blocked);
    drop(peer);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), Received::Ended);
}

#[test]
fn bytes_go_both_ways_in_one_piece_or_several() {
    fn check(mut stream: Stream, mut peer: impl Read + Write) {
        peer.write_all(b"hello").unwrap();
        assert_eq!(read_bytes(&mut stream, 5), b"hello");
        assert_eq!(stream.write(b"one ").unwrap(), Sent::Bytes(4));
        let parts = [
            IoSlice::new(b"two "),
            IoSlice::new(b""),
            IoSlice::new(b"three"),
        ];
        assert_eq!(stream.write_vectored(&parts).unwrap(), Sent::Bytes(9));
        let mut received = [0; 13];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"one two three");
        assert_eq!(stream.write(b"").unwrap(), Sent::Bytes(0));
        assert_eq!(
            stream.write_vectored(&[IoSlice::new(b"")]).unwrap(),
            Sent::Bytes(0)
        );
        stream.set_nodelay(true).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(is_closed(&peer.read(&mut [0; 8])));
    }
    let (stream, peer) = tcp_pair();
    check(stream, peer);
    let (stream, peer) = unix_pair();
    check(stream, peer);
}

#[test]
fn a_peer_that_does_not_read_makes_writes_block_at_a_bound() {
    fn check(mut stream: Stream) {
        let mut sent = 0;
        eventually(|| match stream.write(&[1; 65536]).unwrap() {
            Sent::Bytes(length) => {
                sent += length;
                None
            }
            Sent::Blocked => Some(()),
        });
        assert!(sent > 0);
    }
    let (stream, _peer) = tcp_pair();
    check(stream);
    let (stream, _peer) = unix_pair();
    check(stream);
}

#[test]
fn writing_to_a_peer_that_has_gone_is_an_error_and_no_signal() {
    let (mut stream, peer) = unix_pair();
    drop(peer);
    assert_eq!(
        stream.write(b"x").unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
    let (mut stream, peer) = tcp_pair();
    drop(peer);
    eventually(|| stream.write(b"x").err());
}

#[test]
#[should_panic(expected = "an empty read")]
fn an_empty_read_is_our_own_mistake() {
    let (mut stream, _peer) = unix_pair();
    let _ = stream.read(&mut []);
}

#[test]
fn nodelay_reaches_the_socket() {
    let (stream, _peer) = tcp_pair();
    let Stream::Tcp(tcp) = &stream else {
        panic!("a TCP pair");
    };
    for nodelay in [true, false] {
        stream.set_nodelay(nodelay).unwrap();
        assert_eq!(tcp.nodelay().unwrap(), nodelay);
    }
    assert_eq!(stream.as_fd().as_raw_fd(), tcp.as_raw_fd());
}

#[cfg(not(debug_assertions))]
#[test]
fn a_stream_is_a_descriptor_and_no_more() {
    assert!(size_of::<Stream>() <= 8);
}
