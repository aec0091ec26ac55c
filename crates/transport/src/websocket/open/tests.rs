use super::*;

/// A frame from a client, with a fixed key.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    let key = [0xA1, 0xB2, 0xC3, 0xD4];
    bytes.extend_from_slice(&key);
    let masked = payload.iter().zip(key.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

/// What a server makes of `wire` when it comes in pieces of `piece` bytes.
fn receive(wire: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Option<End>) {
    let mut socket = WebSocket::server();
    let mut plain = Vec::new();
    let mut reply = Vec::new();
    for bytes in wire.chunks(piece) {
        let mut bytes = bytes.to_vec();
        let received = socket.receive(&mut bytes, &mut reply);
        plain.extend_from_slice(&bytes[received.plain]);
        if received.end.is_some() {
            return (plain, reply, received.end);
        }
    }
    (plain, reply, None)
}

/// The same in all pieces.
fn check(frames: &[Vec<u8>], plain: &[u8], reply: &[u8], end: Option<End>) {
    let wire = frames.concat();
    for piece in 1..=wire.len() {
        let expected = (plain.to_vec(), reply.to_vec(), end.clone());
        assert_eq!(receive(&wire, piece), expected, "pieces of {piece}");
    }
}

fn violation(violation: Violation) -> Option<End> {
    Some(End::Violation(violation))
}

#[test]
fn mqtt5_6_0_0_2_packets_span_and_share_frames() {
    check(
        &[
            frame(0x82, b"one"),
            frame(0x82, b""),
            frame(0x82, b"two three"),
            frame(0x82, &[b'x'; 200]),
        ],
        &[b"onetwo three", [b'x'; 200].as_slice()].concat(),
        b"",
        None,
    );
}

#[test]
fn fragments_and_control_frames_between_them_are_one_stream() {
    check(
        &[
            frame(0x02, b"be"),
            frame(0x89, b"there?"),
            frame(0x00, b""),
            frame(0x00, b"gin"),
            frame(0x8A, b"unasked"),
            frame(0x80, b" end"),
            frame(0x82, b", next"),
        ],
        b"begin end, next",
        b"\x8A\x06there?",
        None,
    );
}

#[test]
fn a_single_frame_stays_where_it_is() {
    let mut wire = frame(0x82, b"payload");
    let mut socket = WebSocket::server();
    let mut reply = Vec::new();
    let received = socket.receive(&mut wire, &mut reply);
    assert_eq!(received.plain, 6..13);
    assert_eq!(&wire[6..13], b"payload");
}

#[test]
fn every_ping_is_answered_with_its_payload() {
    check(
        &[
            frame(0x89, b""),
            frame(0x89, &[b'p'; 125]),
            frame(0x89, b"again"),
        ],
        b"",
        &[
            b"\x8A\x00\x8A\x7D",
            [b'p'; 125].as_slice(),
            b"\x8A\x05again",
        ]
        .concat(),
        None,
    );
}

#[test]
fn a_flood_of_pings_does_not_make_the_reply_grow() {
    let mut wire = frame(0x89, b"ping").repeat(10_000);
    wire.extend(frame(0x89, b"last"));
    let (_, reply, end) = receive(&wire, wire.len());
    assert!(reply.len() <= PONG_BYTES_MAX, "{}", reply.len());
    assert!(reply.ends_with(b"\x8A\x04last"));
    assert_eq!(end, None);
}

#[test]
fn a_close_frame_is_echoed_and_ends_everything() {
    let closed = |code, reason: &str| {
        Some(End::Closed(Close {
            code,
            reason: reason.into(),
        }))
    };
    let after = frame(0x82, b"too late");
    check(
        &[
            frame(0x82, b"bye"),
            frame(0x88, b"\x03\xE9so long"),
            after.clone(),
        ],
        b"bye",
        b"\x88\x02\x03\xE9",
        closed(Some(CloseCode::GOING_AWAY), "so long"),
    );
    check(
        &[frame(0x88, b""), after],
        b"",
        b"\x88\x02\x03\xE8",
        closed(None, ""),
    );
}

#[test]
fn what_breaks_the_protocol_is_told_after_what_came_before_it() {
    for (bad, why, code) in [
        (vec![0x81], Violation::Text, 1003),
        (vec![0xC2], Violation::ReservedBits, 1002),
        (vec![0x83], Violation::Opcode(3), 1002),
        (vec![0x09], Violation::FragmentedControl, 1002),
        (vec![0x89, 0xFE], Violation::LongControl, 1002),
        (vec![0x82, 0x01], Violation::NotMasked, 1002),
        (vec![0x82, 0xFE, 0, 1], Violation::LengthNotMinimal, 1002),
        (frame(0x80, b""), Violation::StrayContinuation, 1002),
        (frame(0x88, b"\x03"), Violation::CloseLength, 1002),
        (frame(0x88, b"\x03\xED"), Violation::CloseCode(1005), 1002),
        (frame(0x88, b"\x03\xE8\xC3"), Violation::CloseReason, 1007),
        (
            [frame(0x02, b""), frame(0x82, b"")].concat(),
            Violation::MissingContinuation,
            1002,
        ),
    ] {
        let mut reply = vec![0x88, 2];
        reply.extend_from_slice(&u16::to_be_bytes(code));
        check(&[frame(0x82, b"ok"), bad], b"ok", &reply, violation(why));
    }
}

#[test]
fn a_client_refuses_masked_frames_and_answers_masked() {
    let mut client = WebSocket::client([1; 16]);
    let mut reply = Vec::new();
    let received = client.receive(&mut [0x89, 1, b'?', 0x82, 1, b'!'], &mut reply);
    assert_eq!((received.plain, received.end), (5..6, None));
    assert_eq!((reply[0], reply[1], reply.len()), (0x8A, 0x81, 7));
    assert_eq!(reply[6] ^ reply[2], b'?');
    let received = client.receive(&mut frame(0x82, b"x"), &mut reply);
    assert_eq!(received.end, violation(Violation::Masked));
}

#[test]
fn what_is_sent_comes_out_at_the_other_end() {
    for length in [
        0,
        1,
        125,
        126,
        FRAME_BYTES_MAX,
        FRAME_BYTES_MAX + 1,
        100_000,
    ] {
        let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let mut client = WebSocket::client([3; 16]);
        let mut server = WebSocket::server();
        let mut wire = Vec::new();
        let mut reply = Vec::new();
        client.send(&payload, &mut wire);
        let received = server.receive(&mut wire, &mut reply);
        assert_eq!(wire[received.plain], payload, "to the server");
        let mut wire = Vec::new();
        server.send(&payload, &mut wire);
        let frames = payload.len().div_ceil(FRAME_BYTES_MAX);
        assert!(wire.len() <= payload.len() + 4 * frames);
        let received = client.receive(&mut wire, &mut reply);
        assert_eq!(wire[received.plain], payload, "to the client");
        assert!(reply.is_empty());
    }
}

#[test]
fn nothing_follows_a_close_frame() {
    let mut server = WebSocket::server();
    let mut wire = Vec::new();
    server.close(CloseCode::GOING_AWAY, &mut wire);
    server.close(CloseCode::NORMAL, &mut wire);
    server.send(b"more", &mut wire);
    server.receive(&mut frame(0x89, b""), &mut wire);
    assert_eq!(wire, b"\x88\x02\x03\xE9");
    let received = server.receive(&mut frame(0x88, b"\x03\xE9"), &mut wire);
    assert!(matches!(received.end, Some(End::Closed(_))));
    assert_eq!(wire.len(), 4, "no second close frame");
}

#[test]
fn an_idle_connection_costs_a_few_dozen_bytes() {
    assert!(size_of::<WebSocket>() <= 64, "{}", size_of::<WebSocket>());
}

#[test]
fn a_connection_may_move_to_another_thread() {
    const fn moves<T: Send + 'static>() {}
    moves::<WebSocket>();
}
