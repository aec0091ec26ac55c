//! Streams that are cut anywhere give the same bytes, and streams that are damaged anywhere end and do
//! nothing worse.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use midge_transport::proxy::{ProxyReader, ProxyVersion};
use midge_transport::tls::{ServerTls, Tls};
use midge_transport::websocket::{End, Upgrade, WebSocket};
use proptest::collection::vec;
use proptest::prelude::*;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use super::pki::{Ca, client, server};
use super::tls_peer::{config, connect};

/// The places at which a stream of `length` bytes is cut.
fn pieces(length: usize, cuts: &[usize]) -> Vec<usize> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for cut in cuts.iter().cycle() {
        if at >= length || cuts.iter().all(|cut| *cut == 0) {
            break;
        }
        let piece = (*cut).min(length - at);
        pieces.push(piece);
        at += piece;
    }
    pieces.push(length - at);
    pieces
}

/// A frame as a client may send it.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    key: [u8; 4],
    payload: Vec<u8>,
}

fn frame() -> impl Strategy<Value = Frame> {
    let first = prop_oneof![
        10 => Just(0x82_u8), 2 => Just(0x02), 2 => Just(0x00), 2 => Just(0x80), 2 => Just(0x89),
        1 => Just(0x8A), 1 => Just(0x88), 1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        40 => vec(any::<u8>(), 0..40),
        4 => vec(any::<u8>(), 120..140),
        1 => vec(any::<u8>(), 1).prop_flat_map(|byte| (65_530..65_540_usize).prop_map(move |length| byte.repeat(length))),
    ];
    (first, any::<[u8; 4]>(), payload).prop_map(|(first, key, payload)| Frame {
        first,
        key,
        payload,
    })
}

fn write(frames: &[Frame]) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        wire.push(frame.first);
        match frame.payload.len() {
            short @ 0..126 => wire.push(0x80 | short as u8),
            long @ 126..0x1_0000 => {
                wire.push(0x80 | 126);
                wire.extend((long as u16).to_be_bytes());
            }
            huge => {
                wire.push(0x80 | 127);
                wire.extend((huge as u64).to_be_bytes());
            }
        }
        wire.extend(frame.key);
        wire.extend(
            frame
                .payload
                .iter()
                .zip(frame.key.iter().cycle())
                .map(|(b, k)| b ^ k),
        );
    }
    wire
}

/// What a simple reading of the standard makes of the frames, up to the first that ends it.
fn expected(frames: &[Frame]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut in_message = false;
    for frame in frames {
        let fin = frame.first & 0x80 != 0;
        match frame.first & 0x7F {
            0x02 if !in_message => {}
            0x00 if in_message => {}
            0x09 | 0x0A if fin && frame.payload.len() <= 125 => continue,
            _ => break,
        }
        in_message = !fin;
        plain.extend(&frame.payload);
    }
    plain
}

fn receive_websocket(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, Option<End>) {
    let mut socket = WebSocket::server();
    let (mut plain, mut reply) = (Vec::new(), Vec::new());
    let mut rest = wire;
    for piece in pieces(wire.len(), cuts) {
        let (now, later) = rest.split_at(piece);
        rest = later;
        let mut bytes = now.to_vec();
        let received = socket.receive(&mut bytes, &mut reply);
        plain.extend_from_slice(&bytes[received.plain]);
        if received.end.is_some() {
            return (plain, reply, received.end);
        }
    }
    (plain, reply, None)
}

proptest! {
    #[test]
    fn websocket_frames_may_be_cut_anywhere(
        frames in vec(frame(), 0..12),
        cuts in vec(0..40_usize, 1..6),
    ) {
        let wire = write(&frames);
        let whole = receive_websocket(&wire, &[wire.len()]);
        prop_assert_eq!(&whole.0, &expected(&frames));
        let cut = receive_websocket(&wire, &cuts);
        prop_assert_eq!(&cut.0, &whole.0);
        prop_assert_eq!(&cut.1, &whole.1);
        prop_assert_eq!(&cut.2, &whole.2);
    }

    #[test]
    fn websocket_bytes_of_any_kind_end_it_or_pass(
        mut wire in vec(any::<u8>(), 0..200),
        cut in 0..200_usize,
    ) {
        let cut = cut.min(wire.len());
        let (first, second) = wire.split_at_mut(cut);
        for mut socket in [WebSocket::server(), WebSocket::client([0; 16])] {
            let mut reply = Vec::new();
            let received = socket.receive(first, &mut reply);
            prop_assert!(received.plain.end <= first.len());
            let received = socket.receive(second, &mut reply);
            prop_assert!(received.plain.end <= second.len());
        }
    }

    #[test]
    fn an_upgrade_may_be_cut_anywhere(cuts in vec(0..60_usize, 1..5)) {
        let request = b"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n";
        let wire = [request.as_slice(), b"frames"].concat();
        let mut upgrade = Upgrade::new(Arc::default());
        let mut rest = wire.as_slice();
        for piece in pieces(wire.len(), &cuts) {
            let (now, later) = rest.split_at(piece);
            if let Some(accepted) = upgrade.receive(now).unwrap() {
                let behind = [&now[accepted.consumed..], later].concat();
                prop_assert_eq!(behind, b"frames");
                return Ok(());
            }
            rest = later;
        }
        prop_assert!(false, "accepted");
    }

    #[test]
    fn a_proxy_header_may_be_cut_anywhere(
        fields in vec((any::<u8>(), vec(any::<u8>(), 0..20)), 0..5),
        cuts in vec(0..30_usize, 1..5),
    ) {
        let mut body = vec![192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4];
        for (kind, value) in &fields {
            body.push(*kind);
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(value);
        }
        let mut wire = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        wire.extend((body.len() as u16).to_be_bytes());
        wire.extend(body);
        let length = wire.len();
        let whole = ProxyReader::new(ProxyVersion::V2, 500).receive(&wire);
        wire.extend_from_slice(b"\x10rest");
        let mut reader = ProxyReader::new(ProxyVersion::V2, 500);
        let mut before = 0;
        for piece in pieces(wire.len(), &cuts) {
            match reader.receive(&wire[before..before + piece]) {
                Ok(None) => before += piece,
                Ok(Some((header, consumed))) => {
                    prop_assert_eq!(before + consumed, length);
                    prop_assert_eq!(whole, Ok(Some((header, length))));
                    return Ok(());
                }
                Err(error) => {
                    prop_assert_eq!(whole, Err(error));
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "read or refused");
    }
}

/// Handshakes cost, so they are few.
static SERVER: LazyLock<(Ca, ServerTls, [Arc<ClientConfig>; 2])> = LazyLock::new(|| {
    let ca = Ca::new("CA");
    let server = server(&ca);
    let configs = [&TLS12, &TLS13].map(|version| Arc::new(config(&ca, None, &[version])));
    (ca, server, configs)
});

/// A client of rustls at our server, whose bytes to us are changed by `damage`; what we got.
fn run_tls(
    version: usize,
    messages: &[Vec<u8>],
    cuts: &[usize],
    mut damage: impl FnMut(usize, &mut [u8]),
) -> Option<Vec<u8>> {
    let (_, server, configs) = &*SERVER;
    let mut ours = Tls::accept(server).unwrap();
    let mut peer = connect(&configs[version], "localhost");
    let (mut plain, mut wire) = (Vec::new(), Vec::new());
    let mut sent = false;
    let mut round = 0;
    loop {
        if !peer.is_handshaking() && !sent {
            sent = true;
            for message in messages {
                peer.writer().write_all(message).unwrap();
            }
        }
        let mut to_us = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut to_us).unwrap();
        }
        if to_us.is_empty() {
            return Some(plain);
        }
        damage(round, &mut to_us);
        round += 1;
        let mut rest = to_us.as_mut_slice();
        for piece in pieces(rest.len(), cuts) {
            let (now, later) = rest.split_at_mut(piece);
            if ours.receive(now, &mut plain, &mut wire).is_err() {
                // It stays so.
                assert!(ours.receive(later, &mut plain, &mut wire).is_err());
                return None;
            }
            rest = later;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            if peer.process_new_packets().is_err() {
                return None;
            }
        }
        wire.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tls_records_may_be_cut_anywhere(
        version in 0..2_usize,
        messages in vec(vec(any::<u8>(), 1..300), 1..6),
        long in 0..40_000_usize,
        cuts in vec(0..700_usize, 1..6),
    ) {
        let mut messages = messages;
        messages.push(vec![7; long]);
        let got = run_tls(version, &messages, &cuts, |_, _| {});
        prop_assert_eq!(got, Some(messages.concat()));
    }

    #[test]
    fn tls_that_is_damaged_anywhere_ends_without_a_wrong_byte(
        version in 0..2_usize,
        round in 0..3_usize,
        at in any::<prop::sample::Index>(),
        bits in 1..=255_u8,
        cuts in vec(0..700_usize, 1..6),
    ) {
        let message = vec![b'm'; 500];
        let got = run_tls(version, std::slice::from_ref(&message), &cuts, |now, bytes| {
            if now == round && !bytes.is_empty() {
                bytes[at.index(bytes.len())] ^= bits;
            }
        });
        if let Some(got) = got {
            prop_assert!(message.starts_with(&got));
        }
    }

    #[test]
    fn bytes_of_any_kind_instead_of_tls_end_it(
        kind in prop_oneof![Just(0x16_u8), Just(0x15), Just(0x17), Just(0x14)],
        mut wire in vec(any::<u8>(), 5..600),
        plausible in any::<bool>(),
        cuts in vec(0..100_usize, 1..4),
    ) {
        wire[0] = kind;
        if plausible {
            // A record of this length with a handshake message that fills it.
            let length = wire.len() - 5;
            wire[1..5].copy_from_slice(&[3, 3, (length >> 8) as u8, length as u8]);
            if length > 4 {
                wire[5..9].copy_from_slice(&[1, 0, ((length - 4) >> 8) as u8, (length - 4) as u8]);
            }
        }
        let (ca, server, _) = &*SERVER;
        let theirs = Tls::connect(&client(ca), "localhost", &mut Vec::new()).unwrap();
        for mut ours in [Tls::accept(server).unwrap(), theirs] {
            let (mut plain, mut reply) = (Vec::new(), Vec::new());
            let mut bytes = wire.clone();
            let mut rest = bytes.as_mut_slice();
            for piece in pieces(rest.len(), &cuts) {
                let (now, later) = rest.split_at_mut(piece);
                let _ = ours.receive(now, &mut plain, &mut reply);
                rest = later;
            }
            prop_assert!(plain.is_empty() && !ours.is_open());
        }
    }
}
