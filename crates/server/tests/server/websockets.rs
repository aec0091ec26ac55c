//! MQTT over WebSocket with a running broker.

use std::io::{Read, Write};
use std::net::TcpStream;

use midge_codec::{Packet, Version};

use crate::client::{Broker, V3, V5, encode, hello, is_end, tcp};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

fn broker() -> Broker {
    Broker::with(1, "protocol websockets\n")
}

/// Asks for an upgrade; gives the head of the answer.
fn upgrade(broker: &Broker, subprotocols: &str) -> (TcpStream, String) {
    let mut stream = tcp(broker.address);
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {subprotocols}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// A short frame as a client masks it, by zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length, 0, 0, 0, 0], payload].concat()
}

/// The first byte of the next short frame, and what is in it.
fn next(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert!(head[1] < 126, "{head:?}");
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

fn connect(version: Version) -> Vec<u8> {
    encode(version, &Packet::Connect(hello(version, "me")))
}

/// `[MQTT311-6.0.0-4]`
#[test]
fn mqtt5_6_0_0_4_the_subprotocol_mqtt_is_selected() {
    let broker = broker();
    for offered in ["mqtt", "chat, mqtt"] {
        let (_stream, head) = upgrade(&broker, offered);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"),
            "{head}"
        );
    }
}

/// `[MQTT311-6.0.0-1]`
#[test]
fn mqtt5_6_0_0_1_packets_come_in_binary_frames_and_a_text_frame_ends_the_connection() {
    let broker = broker();
    for version in [V3, V5] {
        let (mut stream, _) = upgrade(&broker, "mqtt");
        stream.write_all(&frame(BINARY, &connect(version))).unwrap();
        let (first, connack) = next(&mut stream);
        assert_eq!((first, connack[0]), (BINARY, 0x20));
        stream.write_all(&frame(TEXT, b"\xC0\x00")).unwrap();
        // The close frame says that the kind of data was wrong.
        assert_eq!(next(&mut stream), (CLOSE, 1003_u16.to_be_bytes().to_vec()));
        let end = stream.read(&mut [0]);
        assert!(
            end.as_ref().map_or_else(is_end, |count| *count == 0),
            "{end:?}"
        );
    }
}

/// `[MQTT311-6.0.0-2]`
#[test]
fn mqtt5_6_0_0_2_a_packet_may_span_frames_and_a_frame_may_hold_several() {
    let broker = broker();
    for version in [V3, V5] {
        let (mut stream, _) = upgrade(&broker, "mqtt");
        let connect = connect(version);
        for byte in connect {
            stream.write_all(&frame(BINARY, &[byte])).unwrap();
        }
        assert_eq!(next(&mut stream).1[0], 0x20);
        stream
            .write_all(&frame(BINARY, b"\xC0\x00\xC0\x00\xC0"))
            .unwrap();
        let mut pongs = Vec::new();
        while pongs.len() < 4 {
            pongs.extend(next(&mut stream).1);
        }
        stream.write_all(&frame(BINARY, b"\x00")).unwrap();
        pongs.extend(next(&mut stream).1);
        assert_eq!(pongs, b"\xD0\x00\xD0\x00\xD0\x00");
    }
}
