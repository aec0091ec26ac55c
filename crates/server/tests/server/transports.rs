//! TLS and the PROXY protocol around a running broker.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use midge_server::{Server, StartError};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Broker, config, eventually, tcp};

const CONNECT: &[u8] = b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x00\x00\x02me";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const PINGREQ: &[u8] = b"\xC0\x00";
const PINGRESP: &[u8] = b"\xD0\x00";

/// A CA, and the files of a broker.
struct Files {
    folder: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Pair {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            ca,
        };
        fs::write(files.path("ca.pem"), files.ca.pem()).unwrap();
        files.renew();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another certificate for the broker.
    fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
    }

    fn device(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        Pair {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    fn options(&self) -> String {
        let show = |name: &str| self.path(name).display().to_string();
        format!(
            "certfile {}\nkeyfile {}\n",
            show("cert.pem"),
            show("key.pem")
        )
    }

    fn mutual(&self) -> String {
        let ca = self.path("ca.pem");
        format!(
            "{}cafile {}\nrequire_certificate true\nuse_identity_as_username true\n",
            self.options(),
            ca.display()
        )
    }

    fn connect(&self, broker: &Broker, pair: Option<Pair>) -> Secure {
        let mut anchors = RootCertStore::empty();
        anchors.add(self.ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(anchors);
        let client = match pair {
            None => client.with_no_client_auth(),
            Some(pair) => client
                .with_client_auth_cert(vec![pair.certificate], pair.key)
                .unwrap(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(client), name).unwrap();
        StreamOwned::new(connection, tcp(broker.address))
    }
}

fn expect(stream: &mut impl Read, bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    stream.read_exact(&mut came).unwrap();
    assert_eq!(came, bytes);
}

/// The certificate that a new client sees.
fn seen(files: &Files, broker: &Broker) -> Vec<u8> {
    let mut client = files.connect(broker, None);
    client
        .write_all(b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
        .unwrap();
    expect(&mut client, CONNACK);
    client.conn.peer_certificates().unwrap()[0].to_vec()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn a_new_certificate_is_for_new_connections_and_a_faulty_one_for_none() {
    let files = Files::new();
    let broker = Broker::with(1, &files.options());
    let mut old = files.connect(&broker, None);
    old.write_all(CONNECT).unwrap();
    expect(&mut old, CONNACK);
    let first = seen(&files, &broker);
    files.renew();
    eventually(|| (seen(&files, &broker) != first).then_some(()));
    let second = seen(&files, &broker);

    write(&files.path("cert.pem"), "no certificate\n");
    let same = config(1, &files.options());
    broker.handle.reload(same).unwrap();
    assert_eq!(seen(&files, &broker), second);

    let other = config(1, &format!("{}max_qos 1\n", files.options()));
    let error = broker.handle.reload(other).unwrap_err();
    assert!(error.to_string().contains("no certificate"), "{error}");
    assert_eq!(seen(&files, &broker), second);
    old.write_all(PINGREQ).unwrap();
    expect(&mut old, PINGRESP);
}

#[test]
fn the_name_in_a_certificate_is_the_user_name_and_no_password_is_asked() {
    let files = Files::new();
    let acl = files.path("acl");
    write(&acl, "user device 7\ntopic readwrite own\n");
    let options = format!("{}acl_file {}\n", files.mutual(), acl.display());
    let broker = Broker::with(2, &options);
    let mut client = files.connect(&broker, Some(files.device("device 7")));
    client.write_all(CONNECT).unwrap();
    expect(&mut client, CONNACK);
    // SUBSCRIBE to both topics, and PUBLISH to both: one of them comes back.
    client
        .write_all(b"\x82\x0E\x00\x01\x00\x03own\x00\x00\x03any\x00")
        .unwrap();
    expect(&mut client, b"\x90\x04\x00\x01\x00\x00");
    client
        .write_all(b"\x30\x06\x00\x03any1\x30\x06\x00\x03own2")
        .unwrap();
    expect(&mut client, b"\x30\x06\x00\x03own2");
}

#[test]
fn nobody_comes_in_without_the_certificate_that_is_required() {
    let files = Files::new();
    let broker = Broker::with(1, &files.mutual());
    let mut client = files.connect(&broker, None);
    let _ = client.write_all(CONNECT);
    assert!(client.read(&mut [0]).is_err());
}

#[test]
fn a_broker_with_a_faulty_certificate_does_not_start_and_names_the_file() {
    let files = Files::new();
    write(&files.path("cert.pem"), "nothing\n");
    match Server::start(config(1, &files.options())) {
        Err(StartError::Tls(text)) => assert!(text.contains("cert.pem: no certificate"), "{text}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it runs"),
    }
}

#[test]
fn a_proxy_header_comes_before_the_first_packet() {
    let broker = Broker::with(1, "enable_proxy_protocol 1\n");
    let mut client = tcp(broker.address);
    client
        .write_all(b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 1883\r\n")
        .unwrap();
    client.write_all(CONNECT).unwrap();
    expect(&mut client, CONNACK);
    client.write_all(PINGREQ).unwrap();
    expect(&mut client, PINGRESP);
    let mut other = tcp(broker.address);
    other.write_all(CONNECT).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_tree_tells_how_long_a_certificate_lasts() {
    let files = Files::new();
    let mut config = config(2, &files.options());
    config.general.sys_interval_secs = std::num::NonZeroU16::new(1);
    let mut plain = config.listeners[0].clone();
    plain.settings.certfile = None;
    plain.settings.keyfile = None;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("midge.sock");
    plain.endpoint = midge_server::config::Endpoint::Unix { path };
    config.listeners.push(plain);
    let broker = Broker::from(config);
    let topic = format!(
        "$SYS/broker/listeners/{}/certificate/expires_in",
        broker.address.port()
    );
    let mut secure = files.connect(&broker, None);
    secure.write_all(CONNECT).unwrap();
    let mut connack = [0; 4];
    secure.read_exact(&mut connack).unwrap();
    let subscribe = [
        &[0x82, u8::try_from(topic.len() + 5).unwrap(), 0, 1, 0],
        &[u8::try_from(topic.len()).unwrap()][..],
        topic.as_bytes(),
        &[0],
    ];
    secure.write_all(&subscribe.concat()).unwrap();
    let mut suback = [0; 5];
    secure.read_exact(&mut suback).unwrap();
    let mut head = [0; 2];
    secure.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(head[1])];
    secure.read_exact(&mut body).unwrap();
    let value = str::from_utf8(&body[2 + topic.len()..]).unwrap();
    // rcgen's certificates end in 4096.
    assert!(value.parse::<i64>().unwrap() > 1_000_000_000, "{value}");
}
