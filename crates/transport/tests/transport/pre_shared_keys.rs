//! Our server with pre-shared keys, clients of OpenSSL.

use std::io::{self, Read, Write};

use midge_transport::tls::{PskKeys, PskOptions, ServerTls, Tls, TlsError, TlsVersion};
use midge_transport::{Layers, ServerLayers};
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use std::sync::{Arc, Mutex};

const KEY: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// What a client reads and writes.
#[derive(Default)]
struct Pipe {
    came: Vec<u8>,
    goes: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.came.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.came.as_slice().read(space)?;
        self.came.drain(..count);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.goes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options() -> PskOptions<'static> {
    let (keys, faults) =
        PskKeys::parse(b"device 7:0102030405060708090a0b0c0d0e0f10\nother:ffffffffffffffff\n");
    assert!(faults.is_empty());
    PskOptions {
        keys,
        hint: "midge",
        oldest_version: TlsVersion::V12,
        ciphers: None,
        ciphers_tls13: None,
        key_logger: None,
    }
}

fn server() -> ServerTls {
    ServerTls::with_keys(options()).unwrap()
}

fn client(version: SslVersion, shows: Option<(&'static str, &'static [u8])>) -> SslStream<Pipe> {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_min_proto_version(Some(version)).unwrap();
    context.set_max_proto_version(Some(version)).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    if let Some((identity, key)) = shows {
        context.set_psk_client_callback(move |_, hint, name, space| {
            assert!(hint.is_none_or(|hint| hint == b"midge"));
            name[..identity.len()].copy_from_slice(identity.as_bytes());
            space[..key.len()].copy_from_slice(key);
            Ok(key.len())
        });
    }
    let ssl = Ssl::new(&context.build()).unwrap();
    SslStream::new(ssl, Pipe::default()).unwrap()
}

/// Carries bytes until nobody has any more to say, at most `piece` at once; what the server has found.
fn talk(ours: &mut Tls, peer: &mut SslStream<Pipe>, piece: usize) -> Result<Vec<u8>, TlsError> {
    let mut plain = Vec::new();
    loop {
        let _ = peer.connect();
        let mut wire = std::mem::take(&mut peer.get_mut().goes);
        if wire.is_empty() {
            return Ok(plain);
        }
        for chunk in wire.chunks_mut(piece) {
            let mut reply = Vec::new();
            let received = ours.receive(chunk, &mut plain, &mut reply);
            peer.get_mut().came.append(&mut reply);
            received?;
        }
    }
}

fn read(peer: &mut SslStream<Pipe>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut space = [0; 4096];
    while let Ok(count) = peer.ssl_read(&mut space) {
        all.extend_from_slice(&space[..count]);
    }
    all
}

const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

#[test]
fn both_versions_carry_bytes_and_tell_whose_key_it_is() {
    let server = server();
    for (version, name, cipher) in [
        (SslVersion::TLS1_2, "TLSv1.2", "ECDHE-PSK-CHACHA20-POLY1305"),
        (SslVersion::TLS1_3, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ] {
        for piece in [1, 7, usize::MAX] {
            let mut ours = Tls::accept(&server).unwrap();
            let mut peer = client(version, Some(("device 7", KEY)));
            assert!(ours.identity().is_none() && ours.info().is_none());
            talk(&mut ours, &mut peer, piece).unwrap();
            assert!(ours.is_open());
            assert_eq!(ours.identity(), Some("device 7"));
            let info = ours.info().unwrap();
            assert_eq!((info.version, info.resumed), (name, false));
            if version == SslVersion::TLS1_2 {
                assert_eq!(info.cipher, cipher);
            } else {
                assert!(info.cipher.ends_with("_SHA256"), "{}", info.cipher);
            }
            assert!(ours.peer_certificate().is_none());

            // Several records in both directions.
            let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
            peer.ssl_write(&text).unwrap();
            assert_eq!(talk(&mut ours, &mut peer, piece.max(1000)).unwrap(), text);
            let mut wire = Vec::new();
            ours.send(&text, &mut wire).unwrap();
            peer.get_mut().came = wire;
            assert_eq!(read(&mut peer), text);

            // Each side says that it ends.
            let mut wire = Vec::new();
            ours.close(&mut wire);
            peer.get_mut().came = wire;
            let error = peer.ssl_read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ZERO_RETURN);
            assert_eq!(ours.send(b"x", &mut Vec::new()), Err(TlsError::NotOpen));
            let _ = peer.shutdown();
            talk(&mut ours, &mut peer, piece).unwrap();
            assert!(ours.peer_has_closed());
        }
    }
}

#[test]
fn who_is_not_known_and_whose_key_is_wrong_hear_the_same() {
    let server = server();
    for version in BOTH {
        let mut heard = Vec::new();
        for (identity, key, wanted) in [
            ("nobody", KEY, TlsError::UnknownIdentity("nobody".into())),
            ("other", KEY, TlsError::WrongKey("other".into())),
        ] {
            let mut ours = Tls::accept(&server).unwrap();
            let mut peer = client(version, Some((identity, key)));
            assert_eq!(talk(&mut ours, &mut peer, usize::MAX), Err(wanted));
            assert!(!ours.is_open() && ours.identity().is_none());
            let error = peer.connect().unwrap_err();
            heard.push(error.ssl_error().unwrap().errors()[0].reason());
            // Nothing is to be had from it any more.
            let again = ours.receive(&mut [0; 100], &mut Vec::new(), &mut Vec::new());
            assert_eq!(again, Err(TlsError::NotOpen));
        }
        assert_eq!(heard[0], heard[1]);
    }
}

#[test]
fn a_client_without_a_key_is_told_apart() {
    let server = server();
    for version in BOTH {
        let mut ours = Tls::accept(&server).unwrap();
        let mut peer = client(version, None);
        assert_eq!(talk(&mut ours, &mut peer, usize::MAX), Err(TlsError::NoKey));
    }
}

#[test]
fn versions_and_ciphers_are_those_of_the_options() {
    let server = ServerTls::with_keys(PskOptions {
        oldest_version: TlsVersion::V13,
        ..options()
    });
    let mut ours = Tls::accept(&server.unwrap()).unwrap();
    let mut peer = client(SslVersion::TLS1_2, Some(("device 7", KEY)));
    let ended = talk(&mut ours, &mut peer, usize::MAX);
    assert_eq!(ended, Err(TlsError::NoSharedVersion));

    let server = ServerTls::with_keys(PskOptions {
        ciphers: Some("PSK-AES128-CBC-SHA256"),
        ciphers_tls13: Some("TLS_CHACHA20_POLY1305_SHA256"),
        ..options()
    })
    .unwrap();
    for (version, cipher) in BOTH
        .iter()
        .zip(["PSK-AES128-CBC-SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
    {
        let mut ours = Tls::accept(&server).unwrap();
        let mut peer = client(*version, Some(("device 7", KEY)));
        talk(&mut ours, &mut peer, usize::MAX).unwrap();
        assert_eq!(ours.info().unwrap().cipher, cipher);
    }
    for (tls12, tls13) in [(Some("nonsense"), None), (None, Some("nonsense"))] {
        let refused = ServerTls::with_keys(PskOptions {
            ciphers: tls12,
            ciphers_tls13: tls13,
            ..options()
        });
        assert!(refused.err().unwrap().to_string().contains("nonsense"));
    }
    let hint = "h".repeat(1000);
    let refused = ServerTls::with_keys(PskOptions {
        hint: &hint,
        ..options()
    });
    assert!(refused.err().unwrap().to_string().contains("hint"));
}

#[test]
fn secrets_go_to_the_key_logger() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let server = ServerTls::with_keys(PskOptions {
        key_logger: Some(Arc::new(move |line: &str| {
            log.lock().unwrap().push(line.to_owned());
        })),
        ..options()
    })
    .unwrap();
    for (version, label) in BOTH
        .iter()
        .zip(["CLIENT_RANDOM ", "CLIENT_TRAFFIC_SECRET_0 "])
    {
        lines.lock().unwrap().clear();
        let mut ours = Tls::accept(&server).unwrap();
        let mut peer = client(*version, Some(("device 7", KEY)));
        talk(&mut ours, &mut peer, usize::MAX).unwrap();
        let lines = lines.lock().unwrap();
        assert!(
            lines.iter().any(|line| line.starts_with(label)),
            "{lines:?}"
        );
    }
}

#[test]
fn noise_ends_the_connection_and_nothing_else() {
    let server = server();
    for noise in [
        &b"\x10\x0e\x00\x04MQTT"[..],
        b"\x16\x03\x01\x40\x00 too long for a record",
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
    ] {
        let mut ours = Tls::accept(&server).unwrap();
        let mut wire = noise.to_vec();
        wire.resize(40_000, 7);
        let (mut plain, mut reply) = (Vec::new(), Vec::new());
        assert!(ours.receive(&mut wire, &mut plain, &mut reply).is_err());
        assert!(plain.is_empty());
    }
    // A byte that was changed on its way.
    let mut ours = Tls::accept(&server).unwrap();
    let mut peer = client(SslVersion::TLS1_3, Some(("device 7", KEY)));
    talk(&mut ours, &mut peer, usize::MAX).unwrap();
    peer.ssl_write(b"hello").unwrap();
    *peer.get_mut().goes.last_mut().unwrap() ^= 1;
    assert!(talk(&mut ours, &mut peer, usize::MAX).is_err());
}

#[test]
fn websocket_goes_inside_of_it() {
    let layers = ServerLayers {
        proxy: None,
        tls: Some(Arc::new(server())),
        websocket: Some(Arc::default()),
    };
    let mut layers = Layers::accept(&layers).unwrap().unwrap();
    let mut peer = client(SslVersion::TLS1_3, Some(("device 7", KEY)));
    let mut upgraded = false;
    for _ in 0..5 {
        if peer.connect().is_ok() && !upgraded {
            upgraded = true;
            peer.ssl_write(
                b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Protocol: mqtt\r\n\r\n",
            )
            .unwrap();
        }
        let mut wire = std::mem::take(&mut peer.get_mut().goes);
        let (mut scratch, mut reply) = (Vec::new(), Vec::new());
        let found = layers.receive(&mut wire, &mut scratch, &mut reply);
        assert!(found.ended.is_none(), "{:?}", found.ended);
        peer.get_mut().came.append(&mut reply);
    }
    assert!(layers.is_open() && layers.is_websocket());
    assert_eq!(layers.tls().unwrap().identity(), Some("device 7"));
    assert!(read(&mut peer).starts_with(b"HTTP/1.1 101"));
}
