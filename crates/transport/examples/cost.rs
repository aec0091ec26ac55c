//! What the layers cost: instructions for each message, memory for each idle TLS connection.
//!
//! `cost <scenario> <count>` does one thing `count` times. Run for two counts under a counter of
//! instructions (`valgrind --tool=callgrind`), the difference is what the messages cost: everything
//! around them is in both runs. `cost tls-idle-1.2 <count>`, `tls-idle-1.3` and `tls-idle-mutual` hold
//! that many connections open after their handshakes, `tls-begun` before them, and print the resident
//! memory of each (Linux). `tls-idle-psk` does the same with pre-shared keys, in a build for them.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a tool for the terminal: its count is its result"
)]

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use midge_transport::tls::ClientCertificates::{self, NotAsked, Required};
use midge_transport::tls::{
    DefaultTimeProvider, PemFile, ServerCertificate, ServerTls, ServerTlsOptions, TicketKeys, Tls,
};
use midge_transport::websocket::WebSocket;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12 as V12, TLS13 as V13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// A PUBLISH with QoS 0 and a payload of 128 bytes is a little longer; the layers do not look into it.
const MESSAGE_BYTES: usize = 128;

/// Messages that a client sends at once, one to a frame or record.
const BATCH: usize = 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [scenario, count] = args.as_slice() else {
        panic!("cost <scenario> <count>");
    };
    let count: usize = count.parse().unwrap();
    match scenario.as_str() {
        "copy" => copy(count),
        "websocket-receive" => websocket_receive(count),
        "websocket-send" => websocket_send(count),
        "tls-receive" => tls_receive(count),
        "tls-send" => tls_send(count),
        "tls-handshake" => drop(pairs(&V13, NotAsked).take(count).count()),
        "tls-begun" => begun(count),
        "tls-idle-1.2" => idle(count, &V12, NotAsked),
        "tls-idle-1.3" => idle(count, &V13, NotAsked),
        "tls-idle-mutual" => idle(count, &V13, Required),
        #[cfg(feature = "tls-psk")]
        "tls-idle-psk" => pre_shared::idle(count),
        other => panic!("no scenario {other}"),
    }
}

/// The floor: what arrives is copied once, as into an outbox.
fn copy(count: usize) {
    let message = [7; MESSAGE_BYTES];
    let mut out = Vec::with_capacity(BATCH * MESSAGE_BYTES);
    for _ in 0..count / BATCH {
        out.clear();
        for _ in 0..BATCH {
            out.extend_from_slice(black_box(&message));
        }
        black_box(&out);
    }
}

/// Frames of one message each, a batch in one read.
fn websocket_receive(count: usize) {
    let mut client = WebSocket::client([1; 16]);
    let mut batch = Vec::new();
    for _ in 0..BATCH {
        client.send(&[7; MESSAGE_BYTES], &mut batch);
    }
    let mut server = WebSocket::server();
    let mut reply = Vec::new();
    let mut read = batch.clone();
    for _ in 0..count / BATCH {
        // The read from the socket, which is there without the layer as well.
        read.copy_from_slice(&batch);
        black_box(server.receive(black_box(&mut read), &mut reply));
    }
}

/// One message at a time, as to a subscriber at low load.
fn websocket_send(count: usize) {
    let mut server = WebSocket::server();
    let mut wire = Vec::new();
    for _ in 0..count {
        wire.clear();
        server.send(black_box(&[7; MESSAGE_BYTES]), &mut wire);
        black_box(&wire);
    }
}

fn tls_receive(count: usize) {
    let (mut server, mut client) = pairs(&V13, NotAsked).next().unwrap();
    let (mut wire, mut plain, mut reply) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count / BATCH {
        wire.clear();
        plain.clear();
        for _ in 0..BATCH {
            client.writer().write_all(&[7; MESSAGE_BYTES]).unwrap();
            client.write_tls(&mut wire).unwrap();
        }
        server.receive(&mut wire, &mut plain, &mut reply).unwrap();
    }
}

fn tls_send(count: usize) {
    let (mut server, _) = pairs(&V13, NotAsked).next().unwrap();
    let mut wire = Vec::new();
    for _ in 0..count {
        wire.clear();
        server
            .send(black_box(&[7; MESSAGE_BYTES]), &mut wire)
            .unwrap();
    }
}

fn idle(
    count: usize,
    version: &'static SupportedProtocolVersion,
    certificates: ClientCertificates,
) {
    let mut pairs = pairs(version, certificates);
    // What is made once is not counted.
    let _ = pairs.by_ref().take(16).count();
    let before = resident();
    // The clients' ends are dropped as they come, so that their memory serves the next.
    let servers: Vec<Tls> = pairs.take(count).map(|(server, _)| server).collect();
    let bytes = (resident() - before) / servers.len();
    println!("{bytes} bytes for each of {count} servers' ends");
}

/// Connections that have said nothing.
fn begun(count: usize) {
    let server = server(&authority(), NotAsked);
    let first = Tls::accept(&server).unwrap();
    let before = resident();
    let servers: Vec<Tls> = (0..count).map(|_| Tls::accept(&server).unwrap()).collect();
    let bytes = (resident() - before) / servers.len();
    println!("{bytes} bytes for each of {count} servers' ends");
    drop(first);
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// A CA, and a certificate that it has signed, with its key.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    certificate: Certificate,
    key: KeyPair,
}

fn authority() -> Authority {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    Authority {
        ca,
        certificate,
        key,
    }
}

fn server(authority: &Authority, certificates: ClientCertificates) -> ServerTls {
    let (chain, key) = (authority.certificate.pem(), authority.key.serialize_pem());
    let ca = authority.ca.pem();
    let file = |text| PemFile { name: "", text };
    let identity = [ServerCertificate {
        chain: file(chain.as_bytes()),
        key: file(key.as_bytes()),
    }];
    let cas = [file(ca.as_bytes())];
    let tickets = Arc::new(TicketKeys::new(&[[1; 32]], 3600));
    let server = ServerTls::new(&ServerTlsOptions {
        client_certificates: certificates,
        client_cas: &cas,
        ..ServerTlsOptions::new(&identity, tickets, Arc::new(DefaultTimeProvider))
    });
    server.unwrap()
}

/// Connections after their handshakes: our server's end and a client's of rustls.
fn pairs(
    version: &'static SupportedProtocolVersion,
    certificates: ClientCertificates,
) -> impl Iterator<Item = (Tls, ClientConnection)> {
    let authority = authority();
    let server = server(&authority, certificates);
    let mut roots = RootCertStore::empty();
    roots.add(authority.ca.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(authority.key.serialize_der()).unwrap();
    let chain = vec![authority.certificate.der().clone()];
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let client = Arc::new(client);
    std::iter::repeat_with(move || {
        let name = ServerName::try_from("localhost").unwrap();
        let mut theirs = ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut ours = Tls::accept(&server).unwrap();
        let (mut wire, mut plain, mut reply) = (Vec::new(), Vec::new(), Vec::new());
        while theirs.wants_write() {
            theirs.write_tls(&mut wire).unwrap();
            ours.receive(&mut wire, &mut plain, &mut reply).unwrap();
            wire.clear();
            let mut rest = reply.as_slice();
            while !rest.is_empty() {
                theirs.read_tls(&mut rest).unwrap();
                theirs.process_new_packets().unwrap();
            }
            reply.clear();
        }
        assert!(ours.is_open());
        (ours, theirs)
    })
}

#[cfg(feature = "tls-psk")]
mod pre_shared {
    use std::io::{self, Read, Write};

    use midge_transport::tls::{PskKeys, PskOptions, ServerTls, Tls, TlsVersion};
    use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream};

    use super::resident;

    /// What a client reads and writes.
    #[derive(Default)]
    struct Pipe {
        came: Vec<u8>,
        goes: Vec<u8>,
    }

    impl Read for Pipe {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            let count = self.came.as_slice().read(space)?;
            self.came.drain(..count);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
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

    /// Servers' ends with pre-shared keys, after their handshakes.
    pub(super) fn idle(count: usize) {
        let server = ServerTls::with_keys(PskOptions {
            keys: PskKeys::parse(b"a:0102030405060708").0,
            hint: "",
            oldest_version: TlsVersion::V12,
            ciphers: None,
            ciphers_tls13: None,
            key_logger: None,
        })
        .unwrap();
        let mut client = SslContext::builder(SslMethod::tls_client()).unwrap();
        client.set_psk_client_callback(|_, _, name, key| {
            for (place, byte) in name.iter_mut().zip(b"a\0") {
                *place = *byte;
            }
            for (place, byte) in key.iter_mut().zip(1..=8) {
                *place = byte;
            }
            Ok(8)
        });
        let client = client.build();
        let open = || {
            let mut ours = Tls::accept(&server).unwrap();
            let mut theirs = SslStream::new(Ssl::new(&client).unwrap(), Pipe::default()).unwrap();
            let (mut plain, mut reply) = (Vec::new(), Vec::new());
            while !ours.is_open() {
                let _ = theirs.connect();
                let mut wire = std::mem::take(&mut theirs.get_mut().goes);
                ours.receive(&mut wire, &mut plain, &mut reply).unwrap();
                theirs.get_mut().came.append(&mut reply);
            }
            ours
        };
        let first: Vec<Tls> = (0..16).map(|_| open()).collect();
        let before = resident();
        let servers: Vec<Tls> = (0..count).map(|_| open()).collect();
        let bytes = (resident() - before) / servers.len();
        println!("{bytes} bytes for each of {count} servers' ends");
        drop(first);
    }
}
