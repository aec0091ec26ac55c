//! Our client with a pre-shared key: our server, and servers with a certificate.

use std::sync::{Arc, Mutex};

use midge_transport::tls::{
    ClientTls, PreSharedKey, PskClientOptions, PskKeys, PskOptions, ServerTls, Tls, TlsError,
    TlsVersion,
};

use super::pki::{self, Ca};

const HEX: &str = "0102030405060708090a0b0c0d0e0f10";

fn server(change: impl FnOnce(&mut PskOptions<'_>)) -> ServerTls {
    let (keys, faults) = PskKeys::parse(format!("device 7:{HEX}\nother:ffffffff\n").as_bytes());
    assert!(faults.is_empty());
    let mut options = PskOptions {
        keys,
        hint: "midge",
        oldest_version: TlsVersion::V12,
        ciphers: None,
        ciphers_tls13: None,
        key_logger: None,
    };
    change(&mut options);
    ServerTls::with_keys(options).unwrap()
}

fn client(key: &PreSharedKey, newest_version: TlsVersion) -> ClientTls {
    ClientTls::with_key(options(key, newest_version)).unwrap()
}

fn options(key: &PreSharedKey, newest_version: TlsVersion) -> PskClientOptions<'_> {
    PskClientOptions {
        key,
        oldest_version: TlsVersion::V12,
        newest_version,
        ciphers: None,
        ciphers_tls13: None,
        protocols: &[],
        key_logger: None,
    }
}

fn key() -> PreSharedKey {
    PreSharedKey::from_hex("device 7", HEX).unwrap()
}

/// What each side found of the other's bytes, or how it ended.
struct Talk {
    client: Result<Vec<u8>, TlsError>,
    server: Result<Vec<u8>, TlsError>,
}

/// Carries bytes both ways, at most `piece` at once, until nobody has any more to say.
fn talk(client: &mut Tls, server: &mut Tls, first: Vec<u8>, piece: usize) -> Talk {
    let mut talk = Talk {
        client: Ok(Vec::new()),
        server: Ok(Vec::new()),
    };
    let mut wire = first;
    let mut to_server = true;
    while !wire.is_empty() {
        let (end, found) = if to_server {
            (&mut *server, &mut talk.server)
        } else {
            (&mut *client, &mut talk.client)
        };
        let mut reply = Vec::new();
        for chunk in wire.chunks_mut(piece) {
            let Ok(plain) = found else { break };
            if let Err(error) = end.receive(chunk, plain, &mut reply) {
                *found = Err(error);
            }
        }
        wire = reply;
        to_server = !to_server;
    }
    talk
}

/// A handshake of both.
fn shake(client: &ClientTls, server: &ServerTls, piece: usize) -> (Tls, Tls, Talk) {
    let mut first = Vec::new();
    let mut client = Tls::connect(client, "broker.example", &mut first).unwrap();
    let mut server = Tls::accept(server).unwrap();
    let talk = talk(&mut client, &mut server, first, piece);
    (client, server, talk)
}

#[test]
fn a_client_with_the_key_is_let_in_by_either_version_and_bytes_go_both_ways() {
    for (version, name) in [(TlsVersion::V12, "TLSv1.2"), (TlsVersion::V13, "TLSv1.3")] {
        for piece in [1, 7, usize::MAX] {
            let (mut client, mut server, _) =
                shake(&client(&key(), version), &server(|_| {}), piece);
            assert!(client.is_open() && server.is_open());
            assert_eq!(client.info().unwrap().version, name);
            assert_eq!(server.identity(), Some("device 7"));
            assert_eq!(client.identity(), None);

            let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
            let mut wire = Vec::new();
            client.send(&text, &mut wire).unwrap();
            let heard = talk(&mut client, &mut server, wire, piece.max(1000));
            assert_eq!(heard.server.unwrap(), text);
            let mut wire = Vec::new();
            server.send(&text, &mut wire).unwrap();
            let heard = talk(&mut server, &mut client, wire, piece.max(1000));
            assert_eq!(heard.server.unwrap(), text);

            let mut wire = Vec::new();
            client.close(&mut wire);
            talk(&mut client, &mut server, wire, piece);
            assert!(server.peer_has_closed());
        }
    }
}

#[test]
fn another_key_and_an_unknown_identity_are_refused_and_the_client_is_told() {
    for version in [TlsVersion::V12, TlsVersion::V13] {
        for (identity, hex) in [("device 7", "ff"), ("nobody", HEX), ("other", HEX)] {
            let key = PreSharedKey::from_hex(identity, hex).unwrap();
            let (client, server, talk) = shake(&client(&key, version), &server(|_| {}), usize::MAX);
            assert!(!client.is_open() && !server.is_open());
            assert!(talk.server.is_err());
            assert!(
                matches!(talk.client, Err(TlsError::KeyRefused(_))),
                "{identity} {version:?}: {:?}",
                talk.client
            );
        }
    }
}

#[test]
fn a_server_that_shows_a_certificate_instead_does_not_get_a_byte() {
    let ca = Ca::new("CA");
    let server = pki::server(&ca);
    for version in [TlsVersion::V12, TlsVersion::V13] {
        let (mut client, _, talk) = shake(&client(&key(), version), &server, usize::MAX);
        assert!(!client.is_open());
        assert_eq!(
            client.send(b"secret", &mut Vec::new()),
            Err(TlsError::NotOpen)
        );
        assert!(
            matches!(
                talk.client,
                Err(TlsError::KeyIgnored | TlsError::KeyRefused(_))
            ),
            "{version:?}: {:?}",
            talk.client
        );
    }
}

#[test]
fn versions_ciphers_and_the_key_logger_are_those_of_the_options() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let key = key();
    let chosen = ClientTls::with_key(PskClientOptions {
        ciphers: Some("PSK-AES128-CBC-SHA256"),
        key_logger: Some(Arc::new(move |line: &str| {
            log.lock().unwrap().push(line.to_owned());
        })),
        ..options(&key, TlsVersion::V12)
    })
    .unwrap();
    let (client, ..) = shake(&chosen, &server(|_| {}), usize::MAX);
    assert_eq!(client.info().unwrap().cipher, "PSK-AES128-CBC-SHA256");
    assert!(
        lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.starts_with("CLIENT_RANDOM "))
    );

    let newest = server(|options| options.oldest_version = TlsVersion::V13);
    let old = ClientTls::with_key(options(&key, TlsVersion::V12)).unwrap();
    let (_, _, talk) = shake(&old, &newest, usize::MAX);
    assert_eq!(talk.client, Err(TlsError::NoSharedVersion));

    let nonsense = ClientTls::with_key(PskClientOptions {
        ciphers: Some("nonsense"),
        ..options(&key, TlsVersion::V13)
    });
    assert!(nonsense.err().unwrap().to_string().contains("nonsense"));
}

#[test]
fn keys_that_cannot_be_used_are_told_and_never_shown() {
    let long = "ab".repeat(257);
    for (identity, hex, words) in [
        ("", HEX, "identity is empty"),
        ("a\0b", HEX, "NUL"),
        (&"i".repeat(257), HEX, "256 bytes"),
        ("a", "", "key is empty"),
        ("a", "xyz", "hexadecimal"),
        ("a", &long, "256 bytes"),
    ] {
        let fault = PreSharedKey::from_hex(identity, hex).unwrap_err();
        assert!(fault.contains(words), "{fault}");
    }
    let longest = PreSharedKey::from_hex(&"i".repeat(256), &"ab".repeat(256)).unwrap();
    assert!(!format!("{longest:?}").contains("171"), "{longest:?}");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_as_such() {
    let mut first = Vec::new();
    let mut ours = Tls::connect(&client(&key(), TlsVersion::V13), "192.0.2.1", &mut first).unwrap();
    assert_eq!(first.first(), Some(&0x16));
    let ended = ours.receive(
        &mut b"HTTP/1.1 400\r\n".to_vec(),
        &mut Vec::new(),
        &mut Vec::new(),
    );
    assert!(matches!(ended, Err(TlsError::NotTls(_))), "{ended:?}");
}
