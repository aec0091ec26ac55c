use std::sync::Arc;

use super::*;
use crate::websocket::Upgrade;

const REQUEST: HandshakeRequest<'_> = HandshakeRequest {
    host: "broker.example:8080",
    path: "/mqtt",
    subprotocol: Subprotocol::Mqtt,
    headers: &[("Authorization", "Bearer x")],
};

/// The value for the key of sixteen sevens.
fn accept() -> String {
    key::accept(key::key([7; 16]).as_bytes())
}

fn answered(answer: &str) -> Result<Option<usize>, HandshakeError> {
    let mut wire = Vec::new();
    let mut handshake = Handshake::request(&REQUEST, [7; 16], &mut wire).unwrap();
    handshake.receive(answer.as_bytes())
}

fn good(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{more}\r\n",
        accept()
    )
}

#[test]
fn our_client_and_our_server_agree() {
    let mut wire = Vec::new();
    let mut handshake = Handshake::request(&REQUEST, [7; 16], &mut wire).unwrap();
    let accepted = Upgrade::new(Arc::default()).receive(&wire);
    let accepted = accepted.unwrap().unwrap();
    assert_eq!(accepted.request.authorization.as_deref(), Some("Bearer x"));
    let mut answer = Vec::new();
    accepted.answer(&mut answer);
    let length = answer.len();
    answer.extend_from_slice(b"frames");
    assert_eq!(handshake.receive(&answer), Ok(Some(length)));
}

#[test]
fn an_answer_may_come_in_any_parts_and_name_no_subprotocol() {
    for answer in [good(""), good("Sec-WebSocket-Protocol: mqtt\r\n")] {
        for cut in 0..answer.len() {
            let mut wire = Vec::new();
            let mut handshake = Handshake::request(&REQUEST, [7; 16], &mut wire).unwrap();
            let (first, second) = answer.as_bytes().split_at(cut);
            assert_eq!(handshake.receive(first), Ok(None));
            assert_eq!(handshake.receive(second), Ok(Some(second.len())));
        }
    }
}

#[test]
fn a_refusal_says_status_reason_and_where_to_go() {
    let error = answered("HTTP/1.1 301 Moved\r\nLocation: wss://other/\r\n\r\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refuses WebSocket: 301 Moved, go to wss://other/"
    );
}

#[test]
fn an_answer_to_another_request_is_refused() {
    for (header, answer) in [
        ("Upgrade", good("").replace("WebSocket\r\n", "h2c\r\n")),
        (
            "Connection",
            good("").replace("Connection: Upgrade", "Connection: close"),
        ),
        ("Sec-WebSocket-Accept", good("").replace(&accept(), "AAAA")),
        (
            "Sec-WebSocket-Protocol",
            good("Sec-WebSocket-Protocol: chat\r\n"),
        ),
        (
            "Sec-WebSocket-Extensions",
            good("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        ),
    ] {
        assert_eq!(answered(&answer), Err(HandshakeError::Unexpected(header)));
    }
}

#[test]
fn what_is_no_http_or_too_long_is_refused() {
    let error = answered("220 smtp.example ready\r\n\r\n");
    assert!(
        matches!(error, Err(HandshakeError::Malformed(_))),
        "{error:?}"
    );
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
    assert_eq!(answered(&long), Err(HandshakeError::TooLong));
}

#[test]
fn nothing_can_be_smuggled_into_the_request() {
    for (name, value) in [
        ("X", "a\r\nY: b"),
        ("X\r\nY", "b"),
        ("", "b"),
        ("X: Y", "b"),
    ] {
        let mut wire = Vec::new();
        let request = HandshakeRequest {
            headers: &[(name, value)],
            ..REQUEST
        };
        assert!(Handshake::request(&request, [0; 16], &mut wire).is_err());
        assert!(wire.is_empty());
    }
    for path in ["/a b", "/a\r\nX: y", "", "mqtt"] {
        let request = HandshakeRequest { path, ..REQUEST };
        assert!(Handshake::request(&request, [0; 16], &mut Vec::new()).is_err());
    }
    let request = HandshakeRequest {
        host: "a\r\nb",
        ..REQUEST
    };
    assert!(Handshake::request(&request, [0; 16], &mut Vec::new()).is_err());
}
