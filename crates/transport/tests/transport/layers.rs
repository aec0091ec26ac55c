//! All layers together, ours at both ends.

use std::sync::{Arc, LazyLock};

use midge_transport::proxy::{ProxiedClient, ProxyVersion};
use midge_transport::tls::{ClientTls, ServerTls, TlsError};
use midge_transport::websocket::{CloseCode, HandshakeRequest, Refused, Subprotocol};
use midge_transport::{
    ClientLayers, ClientWebSocket, Layers, LayersEnd, LayersError, Looks, ServerLayers,
};

use super::pki::{Ca, client, server};

static TLS: LazyLock<(Arc<ServerTls>, ClientTls)> = LazyLock::new(|| {
    let ca = Ca::new("CA");
    (Arc::new(server(&ca)), client(&ca))
});

const WEBSOCKET: ClientWebSocket<'_> = ClientWebSocket {
    request: HandshakeRequest {
        host: "localhost",
        path: "/mqtt",
        subprotocol: Subprotocol::Mqtt,
        headers: &[("Authorization", "Bearer x")],
    },
    key: [1; 16],
    mask_seed: [2; 16],
};

const PROXY: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n";

/// One end, with what it has found.
struct Side {
    layers: Option<Layers>,
    plain: Vec<u8>,
    news: Vec<String>,
    ended: Option<LayersEnd>,
    scratch: Vec<u8>,
    wire: Vec<u8>,
}

impl Side {
    fn new(layers: Option<Layers>, wire: Vec<u8>) -> Self {
        Self {
            layers,
            plain: Vec::new(),
            news: Vec::new(),
            ended: None,
            scratch: Vec::new(),
            wire,
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let Some(layers) = &mut self.layers else {
            self.plain.extend_from_slice(bytes);
            return;
        };
        let found = layers.receive(bytes, &mut self.scratch, &mut self.wire);
        self.plain.extend_from_slice(found.plain);
        if let Some(header) = found.proxied {
            assert!(matches!(header.client, ProxiedClient::Address { .. }));
            self.news.push("proxied".to_owned());
        }
        if found.tls_opened {
            self.news.push("tls".to_owned());
        }
        if let Some(request) = found.upgraded {
            assert_eq!(request.authorization.as_deref(), Some("Bearer x"));
            self.news.push("upgraded".to_owned());
        }
        if found.ended.is_some() {
            self.ended = found.ended;
        }
    }

    fn send(&mut self, plain: &[u8]) {
        match &mut self.layers {
            None => self.wire.extend_from_slice(plain),
            Some(layers) => layers
                .send(plain, &mut self.scratch, &mut self.wire)
                .unwrap(),
        }
    }
}

/// Carries bytes in pieces until nobody has any more.
fn carry(one: &mut Side, other: &mut Side, piece: usize) {
    while !one.wire.is_empty() || !other.wire.is_empty() {
        for mut bytes in std::mem::take(&mut one.wire)
            .chunks(piece)
            .map(<[u8]>::to_vec)
        {
            other.receive(&mut bytes);
        }
        for mut bytes in std::mem::take(&mut other.wire)
            .chunks(piece)
            .map(<[u8]>::to_vec)
        {
            one.receive(&mut bytes);
        }
    }
}

fn pair(proxy: bool, tls: bool, websocket: bool) -> (Side, Side) {
    let server = Layers::accept(&ServerLayers {
        proxy: proxy.then_some((ProxyVersion::V1, 107)),
        tls: tls.then(|| Arc::clone(&TLS.0)),
        websocket: websocket.then(Arc::default),
    });
    let mut wire = if proxy { PROXY.to_vec() } else { Vec::new() };
    let client = Layers::connect(
        &ClientLayers {
            tls: tls.then_some((&TLS.1, "localhost")),
            websocket: websocket.then_some(WEBSOCKET),
        },
        &mut wire,
    );
    (
        Side::new(client.unwrap(), wire),
        Side::new(server.unwrap(), Vec::new()),
    )
}

const ALL: [(bool, bool, bool); 8] = [
    (false, false, false),
    (false, false, true),
    (false, true, false),
    (false, true, true),
    (true, false, false),
    (true, false, true),
    (true, true, false),
    (true, true, true),
];

#[test]
fn every_stack_carries_bytes_both_ways_however_they_are_cut() {
    let long: Vec<u8> = (0..40_000_u32).map(|index| (index % 251) as u8).collect();
    for (proxy, tls, websocket) in ALL {
        for piece in [7, 600, 300_000] {
            let (mut client, mut server) = pair(proxy, tls, websocket);
            carry(&mut client, &mut server, piece);
            client.send(b"connect");
            client.send(&long);
            carry(&mut client, &mut server, piece);
            server.send(b"connack");
            server.send(&long);
            carry(&mut client, &mut server, piece);
            assert_eq!(server.plain, [b"connect", long.as_slice()].concat());
            assert_eq!(client.plain, [b"connack", long.as_slice()].concat());
            let mut expected = Vec::new();
            for (there, name) in [(proxy, "proxied"), (tls, "tls"), (websocket, "upgraded")] {
                expected.extend(there.then_some(name));
            }
            assert_eq!(server.news, expected);
            assert_eq!((&client.ended, &server.ended), (&None, &None));
            assert_eq!(server.layers.is_none(), !(proxy || tls || websocket));
            let transparent = server.layers.as_ref().is_none_or(Layers::is_transparent);
            assert_eq!(transparent, !(tls || websocket));
        }
    }
}

#[test]
fn every_layer_says_goodbye() {
    for (proxy, tls, websocket) in ALL {
        let (mut client, mut server) = pair(proxy, tls, websocket);
        carry(&mut client, &mut server, 4096);
        server.send(b"disconnect");
        if let Some(layers) = &mut server.layers {
            layers.close(CloseCode::GOING_AWAY, &mut server.wire);
        }
        carry(&mut client, &mut server, 4096);
        assert_eq!(client.plain, b"disconnect");
        match client.ended {
            Some(LayersEnd::WebSocket(_)) => assert!(websocket),
            Some(LayersEnd::TlsClosed) => assert!(tls),
            None => assert!(!tls && !websocket),
            Some(other) => panic!("{other}"),
        }
    }
}

#[test]
fn nothing_is_sent_before_all_layers_are_open() {
    for (proxy, tls, websocket) in &ALL[1..] {
        let (_, mut server) = pair(*proxy, *tls, *websocket);
        let layers = server.layers.as_mut().unwrap();
        assert!(!layers.is_open());
        let sent = layers.send(b"x", &mut Vec::new(), &mut server.wire);
        assert_eq!(sent, Err(TlsError::NotOpen));
        assert!(server.wire.is_empty());
    }
}

#[test]
fn the_layer_that_is_wrong_is_named() {
    for (layers, looks) in [
        ((true, true, true), "proxy"),
        ((false, true, true), "tls"),
        ((false, false, true), "upgrade"),
    ] {
        let (_, mut server) = pair(layers.0, layers.1, layers.2);
        server.receive(&mut b"\x10\x0C\x00\x04MQTT".to_vec());
        let ended = server.ended.unwrap();
        assert!(ended.to_string().contains("plain MQTT"), "{ended}");
        match looks {
            "proxy" => assert!(matches!(ended, LayersEnd::Proxy(_))),
            "tls" => assert_eq!(ended, LayersEnd::Tls(TlsError::NotTls(Looks::Mqtt))),
            _ => assert_eq!(ended, LayersEnd::Refused(Refused::NotHttp(Looks::Mqtt))),
        }
    }
}

#[test]
fn a_refusal_reaches_the_client_through_tls() {
    let mut wire = Vec::new();
    let wanted = ClientLayers {
        tls: Some((&TLS.1, "localhost")),
        websocket: None,
    };
    let mut client = Side::new(Layers::connect(&wanted, &mut wire).unwrap(), wire);
    let (_, mut server) = pair(false, true, true);
    carry(&mut client, &mut server, 4096);
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    carry(&mut client, &mut server, 4096);
    assert_eq!(server.ended, Some(LayersEnd::Refused(Refused::NotUpgrade)));
    assert!(client.plain.starts_with(b"HTTP/1.1 426 "));
}

#[test]
fn a_client_is_told_what_it_cannot_ask_for() {
    let websocket = ClientWebSocket {
        request: HandshakeRequest {
            path: "no path",
            ..WEBSOCKET.request
        },
        ..WEBSOCKET
    };
    let wanted = ClientLayers {
        tls: None,
        websocket: Some(websocket),
    };
    let error = Layers::connect(&wanted, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, LayersError::WebSocket(_)));
    let wanted = ClientLayers {
        tls: Some((&TLS.1, "no host")),
        websocket: None,
    };
    let error = Layers::connect(&wanted, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, LayersError::Tls(_)));
}

#[test]
fn layers_are_small_by_themselves_and_may_move() {
    const fn moves<T: Send + 'static>() {}
    moves::<Layers>();
    assert!(size_of::<Layers>() <= 144, "{}", size_of::<Layers>());
}
