//! A WebSocket peer may send anything, in whatever pieces: the same comes of it, and nothing grows.

use std::sync::Arc;

use midge_transport::websocket::{
    Accepted, End, Handshake, HandshakeError, HandshakeRequest, Refused, Subprotocol, Upgrade,
    UpgradeOptions, WebSocket,
};

/// More than a close frame and the pongs of one call may take.
const REPLY_BYTES_MAX: usize = 4 * 1024 + 16;

/// What may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beginning {
    /// A client's request to upgrade.
    Upgrade,
    /// Frames to a server.
    Server,
    /// Frames to a client.
    Client,
    /// A server's answer to a client.
    Answer,
}

/// Takes what begins from the first byte of `input`, the length of the pieces from the second, and
/// reads the others.
///
/// # Panics
/// When a promise is broken.
pub fn check(input: &[u8]) {
    let Some((beginning, piece, bytes)) = split(input) else {
        return;
    };
    let whole = bytes.len().max(1);
    match beginning {
        Beginning::Upgrade => {
            let seen = upgrade(bytes, whole);
            match (&seen, &upgrade(bytes, piece)) {
                // What it looks like depends on how much of it there is.
                (Err(Refused::NotHttp(_)), Err(Refused::NotHttp(_))) => {}
                (seen, cut) => assert_eq!(*seen, *cut, "in pieces of {piece}"),
            }
            check_upgrade(&seen, bytes);
        }
        Beginning::Server => check_frames(WebSocket::server, bytes, piece),
        Beginning::Client => check_frames(|| WebSocket::client([7; 16]), bytes, piece),
        Beginning::Answer => {
            let seen = answer(bytes, whole);
            assert_eq!(seen, answer(bytes, piece), "in pieces of {piece}");
            match seen {
                Ok(consumed) => assert!(consumed.is_none_or(|consumed| consumed <= bytes.len())),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// What begins, the length of the pieces, and the bytes.
pub fn split(input: &[u8]) -> Option<(Beginning, usize, &[u8])> {
    let [beginning, piece, bytes @ ..] = input else {
        return None;
    };
    let beginning = match beginning % 4 {
        0 => Beginning::Upgrade,
        1 => Beginning::Server,
        2 => Beginning::Client,
        _ => Beginning::Answer,
    };
    Some((beginning, usize::from(*piece).max(1), bytes))
}

/// Reads a request in pieces; its length is counted over all.
pub fn upgrade(bytes: &[u8], piece: usize) -> Result<Option<Accepted>, Refused> {
    let mut upgrade = Upgrade::new(Arc::new(UpgradeOptions {
        head_bytes_max: 600,
        path: Some("/mqtt".to_owned()),
        origins: vec!["https://a.example".to_owned()],
    }));
    let mut before = 0;
    for now in bytes.chunks(piece) {
        if let Some(mut accepted) = upgrade.receive(now)? {
            assert!(accepted.consumed <= now.len());
            accepted.consumed += before;
            return Ok(Some(accepted));
        }
        before += now.len();
    }
    Ok(None)
}

fn check_upgrade(seen: &Result<Option<Accepted>, Refused>, bytes: &[u8]) {
    let mut wire = Vec::new();
    match seen {
        Ok(None) => assert!(bytes.len() < 600, "a head has an end"),
        Ok(Some(accepted)) => {
            assert!(accepted.consumed <= bytes.len());
            accepted.answer(&mut wire);
            assert!(wire.starts_with(b"HTTP/1.1 101 ") && wire.ends_with(b"\r\n\r\n"));
        }
        Err(refused) => {
            refused.answer(&mut wire);
            let status = refused.status().map(|status| format!("HTTP/1.1 {status} "));
            assert_eq!(status.is_none(), wire.is_empty());
            assert!(wire.starts_with(status.unwrap_or_default().as_bytes()));
            assert!(!refused.to_string().contains(['\r', '\n']));
        }
    }
}

/// Reads an answer in pieces; its length is counted over all.
pub fn answer(bytes: &[u8], piece: usize) -> Result<Option<usize>, HandshakeError> {
    let request = HandshakeRequest {
        host: "broker.example",
        path: "/mqtt",
        subprotocol: Subprotocol::Mqtt,
        headers: &[],
    };
    let mut handshake = Handshake::request(&request, [7; 16], &mut Vec::new())?;
    let mut before = 0;
    for now in bytes.chunks(piece) {
        if let Some(consumed) = handshake.receive(now)? {
            assert!(consumed <= now.len());
            return Ok(Some(before + consumed));
        }
        before += now.len();
    }
    Ok(None)
}

/// What came of frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The payload.
    pub plain: Vec<u8>,
    /// What is answered.
    pub reply: Vec<u8>,
    /// How it ended.
    pub end: Option<End>,
}

/// Reads frames in pieces.
pub fn frames(mut socket: WebSocket, bytes: &[u8], piece: usize) -> Seen {
    let mut seen = Seen::default();
    for now in bytes.chunks(piece) {
        let mut now = now.to_vec();
        let mut reply = Vec::new();
        let received = socket.receive(&mut now, &mut reply);
        assert!(reply.len() <= REPLY_BYTES_MAX, "{}", reply.len());
        seen.reply.extend(reply);
        let plain = now.get(received.plain);
        assert!(plain.is_some(), "the payload is in the buffer");
        seen.plain.extend(plain.unwrap_or_default());
        if received.end.is_some() {
            seen.end = received.end;
            let after = socket.receive(&mut now, &mut Vec::new());
            assert!(
                after.plain.is_empty() && after.end.is_none(),
                "nothing follows"
            );
            break;
        }
    }
    seen
}

fn check_frames(socket: impl Fn() -> WebSocket, bytes: &[u8], piece: usize) {
    let whole = frames(socket(), bytes, bytes.len().max(1));
    let cut = frames(socket(), bytes, piece);
    assert_eq!(whole.plain, cut.plain, "in pieces of {piece}");
    assert_eq!(whole.end, cut.end, "in pieces of {piece}");
    // A flood of pings in one piece is not answered whole.
    if cut.reply.len() < 3 * 1024 {
        assert_eq!(whole.reply, cut.reply, "in pieces of {piece}");
    }
    assert!(whole.plain.len() <= bytes.len());
    if let Some(End::Violation(violation)) = whole.end {
        assert!(!violation.to_string().is_empty());
    }
}
