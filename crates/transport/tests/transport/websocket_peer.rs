//! Our WebSocket and tungstenite's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use midge_transport::websocket::{
    CloseCode, End, Handshake, HandshakeRequest, Subprotocol, Upgrade, WebSocket,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode as TheirCode;
use tungstenite::{Message, accept_hdr, client};

/// The peer's end of a connection that never waits.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    to_peer: VecDeque<u8>,
    to_us: Vec<u8>,
}

impl Pipe {
    fn give(&self, bytes: &[u8]) {
        self.0.borrow_mut().to_peer.extend(bytes);
    }

    fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().to_us)
    }
}

impl Read for Pipe {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.0.borrow_mut().to_peer.read(space) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().to_us.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What our side makes of what the peer has sent, with what it answers.
fn receive(ours: &mut WebSocket, pipe: &Pipe) -> (Vec<u8>, Option<End>) {
    let mut wire = pipe.taken();
    let mut reply = Vec::new();
    let received = ours.receive(&mut wire, &mut reply);
    pipe.give(&reply);
    (wire[received.plain].to_vec(), received.end)
}

/// A client of tungstenite at our server.
fn their_client() -> (WebSocket, tungstenite::WebSocket<Pipe>, Pipe) {
    let pipe = Pipe::default();
    let mut request = "ws://broker.example/mqtt".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "mqtt".parse().unwrap());
    let Err(HandshakeError::Interrupted(waiting)) = client(request, pipe.clone()) else {
        panic!("the client waits for an answer");
    };
    let mut upgrade = Upgrade::new(Arc::default());
    let accepted = upgrade.receive(&pipe.taken()).unwrap().unwrap();
    assert_eq!(&*accepted.request.path, "/mqtt");
    let mut answer = Vec::new();
    accepted.answer(&mut answer);
    pipe.give(&answer);
    let (peer, response) = waiting.handshake().unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    (WebSocket::server(), peer, pipe)
}

/// A server of tungstenite for our client.
#[expect(clippy::result_large_err, reason = "the callback's type is given")]
fn their_server() -> (WebSocket, tungstenite::WebSocket<Pipe>, Pipe) {
    let pipe = Pipe::default();
    let mut wire = Vec::new();
    let request = HandshakeRequest {
        host: "broker.example",
        path: "/mqtt",
        subprotocol: Subprotocol::Mqtt,
        headers: &[("Authorization", "Bearer x")],
    };
    let mut handshake = Handshake::request(&request, [5; 16], &mut wire).unwrap();
    pipe.give(&wire);
    let peer = accept_hdr(pipe.clone(), |request: &Request, mut response: Response| {
        assert_eq!(request.headers()["Authorization"], "Bearer x");
        let protocol = request.headers()["Sec-WebSocket-Protocol"].clone();
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    });
    let answer = pipe.taken();
    assert_eq!(handshake.receive(&answer), Ok(Some(answer.len())));
    (WebSocket::client([6; 16]), peer.unwrap(), pipe)
}

fn both(check: impl Fn(WebSocket, tungstenite::WebSocket<Pipe>, Pipe)) {
    let (ours, peer, pipe) = their_client();
    check(ours, peer, pipe);
    let (ours, peer, pipe) = their_server();
    check(ours, peer, pipe);
}

#[test]
fn bytes_of_any_length_go_both_ways() {
    both(|mut ours, mut peer, pipe| {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            peer.send(Message::binary(bytes.clone())).unwrap();
            assert_eq!(receive(&mut ours, &pipe), (bytes.clone(), None));
            let mut wire = Vec::new();
            ours.send(&bytes, &mut wire);
            pipe.give(&wire);
            let mut got = Vec::new();
            while got.len() < bytes.len() {
                got.extend(peer.read().unwrap().into_data());
            }
            assert_eq!(got, bytes);
        }
    });
}

#[test]
fn a_ping_is_answered() {
    both(|mut ours, mut peer, pipe| {
        peer.send(Message::Ping(b"there?".as_slice().into()))
            .unwrap();
        assert_eq!(receive(&mut ours, &pipe), (Vec::new(), None));
        let answer = peer.read().unwrap();
        assert_eq!(answer, Message::Pong(b"there?".as_slice().into()));
    });
}

#[test]
fn a_close_of_either_side_is_understood_by_the_other() {
    both(|mut ours, mut peer, pipe| {
        let frame = CloseFrame {
            code: TheirCode::Away,
            reason: "bye".into(),
        };
        peer.close(Some(frame)).unwrap();
        let (_, Some(End::Closed(close))) = receive(&mut ours, &pipe) else {
            panic!("closed");
        };
        assert_eq!(
            (close.code, &*close.reason),
            (Some(CloseCode::GOING_AWAY), "bye")
        );
        assert!(matches!(peer.read(), Ok(Message::Close(_))));
    });
    both(|mut ours, mut peer, pipe| {
        let mut wire = Vec::new();
        ours.close(CloseCode::GOING_AWAY, &mut wire);
        pipe.give(&wire);
        let Ok(Message::Close(Some(frame))) = peer.read() else {
            panic!("closed");
        };
        assert_eq!(frame.code, TheirCode::Away);
        peer.flush().unwrap_or_default();
        let (_, end) = receive(&mut ours, &pipe);
        assert!(matches!(end, Some(End::Closed(_))), "{end:?}");
    });
}

#[test]
fn text_is_refused_with_the_code_for_it() {
    both(|mut ours, mut peer, pipe| {
        peer.send(Message::text("hello")).unwrap();
        let (_, end) = receive(&mut ours, &pipe);
        assert!(matches!(end, Some(End::Violation(_))));
        let Ok(Message::Close(Some(frame))) = peer.read() else {
            panic!("closed");
        };
        assert_eq!(frame.code, TheirCode::Unsupported);
    });
}
