use std::io::Write as _;
use std::net::TcpStream as Socket;
use std::time::Instant;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

const CONNECT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0];
const CONNECT_V5: [u8; 15] = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0];

fn client(relay: &Relay) -> Socket {
    let socket = Socket::connect(relay.address().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Sends `bytes`, and turns the relay until `receiver` has got `expected`.
#[track_caller]
fn expect(relay: &mut Relay, receiver: &mut Socket, expected: &[u8]) {
    let begin = Instant::now();
    let mut got = Vec::new();
    while got.len() < expected.len() && begin.elapsed() < DEADLINE {
        relay.turn(Some(Duration::from_millis(5))).unwrap();
        let mut buffer = [0; 256];
        match receiver.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(got, expected);
}

#[track_caller]
fn expect_end(relay: &mut Relay, client: &mut Socket) {
    let begin = Instant::now();
    while begin.elapsed() < DEADLINE {
        relay.turn(Some(Duration::from_millis(5))).unwrap();
        match client.read(&mut [0; 256]) {
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            _ => {}
        }
    }
    panic!("the connection lives");
}

#[test]
fn qos_0_is_passed_on_as_it_is() {
    let mut relay = Relay::listen(0).unwrap();
    let mut subscriber = client(&relay);
    subscriber.write_all(&CONNECT).unwrap();
    subscriber
        .write_all(&[0x82, 6, 0, 1, 0, 1, b'a', 0])
        .unwrap();
    expect(
        &mut relay,
        &mut subscriber,
        &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 0],
    );
    let mut publisher = client(&relay);
    let message = [0x30, 5, 0, 1, b'a', 1, 2];
    let other = [0x30, 5, 0, 1, b'b', 1, 2];
    publisher.write_all(&CONNECT).unwrap();
    publisher.write_all(&other).unwrap();
    publisher.write_all(&message).unwrap();
    expect(&mut relay, &mut subscriber, &message);
    expect(&mut relay, &mut publisher, &[0x20, 2, 0, 0]);
}

#[test]
fn qos_1_is_acknowledged_and_gets_a_packet_id_of_the_subscriber() {
    let mut relay = Relay::listen(0).unwrap();
    let mut both = client(&relay);
    both.write_all(&CONNECT_V5).unwrap();
    both.write_all(&[0x82, 7, 0, 1, 0, 0, 1, b'a', 1]).unwrap();
    expect(
        &mut relay,
        &mut both,
        &[0x20, 3, 0, 0, 0, 0x90, 4, 0, 1, 0, 1],
    );
    both.write_all(&[0x32, 7, 0, 1, b'a', 7, 7, 0, b'x'])
        .unwrap();
    let expected = [
        &[0x32, 7, 0, 1, b'a', 0, 1, 0, b'x'][..],
        &[0x40, 2, 7, 7][..],
    ];
    expect(&mut relay, &mut both, &expected.concat());
    both.write_all(&[0x40, 2, 0, 1, 0xC0, 0]).unwrap();
    expect(&mut relay, &mut both, &PINGRESP);
}

#[test]
fn what_it_cannot_do_is_refused() {
    let mut relay = Relay::listen(0).unwrap();
    let mut client = client(&relay);
    client.write_all(&CONNECT).unwrap();
    client.write_all(&[0x82, 6, 0, 1, 0, 1, b'#', 0]).unwrap();
    expect(
        &mut relay,
        &mut client,
        &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 0x80],
    );
    client
        .write_all(&[0x34, 6, 0, 1, b'a', 0, 1, b'x'])
        .unwrap();
    expect_end(&mut relay, &mut client);
}

#[test]
fn a_client_that_leaves_takes_its_subscriptions_with_it() {
    let mut relay = Relay::listen(0).unwrap();
    let mut client = client(&relay);
    client.write_all(&CONNECT).unwrap();
    client.write_all(&[0x82, 6, 0, 1, 0, 1, b'a', 0]).unwrap();
    expect(&mut relay, &mut client, &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 0]);
    assert_eq!(relay.topics.len(), 1);
    client.write_all(&[0xE0, 0]).unwrap();
    expect_end(&mut relay, &mut client);
    assert_eq!(relay.topics.len(), 0);
    assert_eq!(relay.free, [0]);
}
