//! TLS and WebSocket against the broker.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use midge_client::net::{Connection, Dialer, Server};
use midge_client::{
    Client, ConnectionError, Event, Options, QoS, TlsFailureKind, TlsOptions, TlsVersion, Version,
};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair, date_time_ymd};

use crate::broker::{Broker, free_port};
use crate::{PATIENCE, soon};

/// A CA, and files signed by it.
pub(crate) struct Pki {
    folder: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self {
            folder: tempfile::tempdir().unwrap(),
            ca,
        };
        std::fs::write(pki.path("ca.pem"), pki.ca.pem()).unwrap();
        pki.sign("server", |_| {});
        pki
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `name.pem` with certificate and key for localhost and 127.0.0.1.
    pub(crate) fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let text = certificate.pem() + &key.serialize_pem();
        std::fs::write(self.path(&format!("{name}.pem")), text).unwrap();
    }

    /// A broker with a listener for TLS that shows this certificate.
    pub(crate) fn broker(&self, certificate: &str, lines: &str) -> (Broker, u16) {
        let port = free_port();
        let file = self.path(&format!("{certificate}.pem"));
        let lines = format!(
            "listener {port} 127.0.0.1\ncertfile {0}\nkeyfile {0}\n{lines}\n",
            file.display()
        );
        (Broker::with(&lines), port)
    }

    pub(crate) fn mutual(&self) -> String {
        format!(
            "cafile {}\nrequire_certificate true",
            self.path("ca.pem").display()
        )
    }

    pub(crate) fn tls(&self) -> TlsOptions {
        TlsOptions::new().ca_file(self.path("ca.pem"))
    }

    pub(crate) fn identity(&self, name: &str) -> TlsOptions {
        let file = self.path(&format!("{name}.pem"));
        self.tls().certificate_files(&file, &file)
    }
}

fn options(url: &str) -> Options {
    Options::new(url)
        .unwrap()
        .back_off(Duration::from_millis(10), Duration::from_millis(50))
}

/// A message of more than a record goes to the broker and back.
pub(crate) async fn check(options: Options) {
    check_with(options, 300_000).await;
}

/// A message of this many bytes goes to the broker and back.
pub(crate) async fn check_with(options: Options, size: u32) {
    let client = soon(Client::connect(options)).await.unwrap();
    let mut stream = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
    let payload: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0]).collect();
    let publish = client.publish("t", payload.clone()).qos(QoS::ExactlyOnce);
    soon(publish.into_future()).await.unwrap();
    let message = soon(stream.next()).await.unwrap();
    assert!(message.payload()[..] == payload[..]);
    soon(client.disconnect().into_future()).await.unwrap();
}

#[tokio::test]
async fn packets_go_over_tls_websocket_and_both() {
    let pki = Pki::new();
    let plain = free_port();
    let lines = format!("listener {plain} 127.0.0.1\nprotocol websockets");
    let (_broker, tls) = pki.broker("server", &lines);
    check(options(&format!("mqtts://localhost:{tls}")).tls(pki.tls())).await;
    check(options(&format!("ssl://127.0.0.1:{tls}")).tls(pki.tls())).await;
    check(options(&format!("ws://127.0.0.1:{plain}"))).await;
    let older = format!("ws://127.0.0.1:{plain}/?version=3.1&client_id=c");
    check(options(&older)).await;
    let (_broker, both) = pki.broker("server", "protocol websockets");
    check(options(&format!("wss://localhost:{both}/mqtt")).tls(pki.tls())).await;
    let url = format!(
        "wss://localhost:{both}?ca_file={}",
        pki.path("ca.pem").display()
    );
    check(options(&url)).await;
}

#[tokio::test]
async fn either_version_of_tls_is_spoken_when_it_is_the_only_one() {
    let pki = Pki::new();
    let (_broker, port) = pki.broker("server", "");
    for version in [TlsVersion::V12, TlsVersion::V13] {
        let tls = pki.tls().versions(version, version);
        check(options(&format!("mqtts://localhost:{port}")).tls(tls)).await;
    }
}

#[tokio::test]
async fn what_tls_agreed_on_is_told_with_the_connection() {
    let pki = Pki::new();
    pki.sign("until", |params| {
        params.not_after = date_time_ymd(2040, 5, 6);
    });
    let (broker, port) = pki.broker("until", "");
    let of = async |url: String, tls: TlsOptions| {
        let client = Client::start(options(&url).tls(tls)).unwrap();
        let mut events = client.events();
        let told = loop {
            if let Event::Connected(connected) = soon(events.next()).await.unwrap() {
                break connected.tls;
            }
        };
        assert_eq!(client.connection().unwrap().tls, told);
        told
    };
    let url = format!("mqtts://localhost:{port}");
    let info = of(url.clone(), pki.tls()).await.unwrap();
    assert_eq!(info.version, "TLSv1.3");
    assert!(info.cipher.starts_with("TLS_"), "{}", info.cipher);
    assert_eq!((info.protocol, info.is_resumed), (None, false));
    let end = UNIX_EPOCH + Duration::from_secs(date_time_ymd(2040, 5, 6).unix_timestamp() as u64);
    assert_eq!(info.peer_not_after, Some(end));
    assert!(info.peer_subject.unwrap().contains("CN=until"));
    let older = pki.tls().versions(TlsVersion::V12, TlsVersion::V12);
    let info = of(url.clone(), older).await.unwrap();
    assert_eq!(info.version, "TLSv1.2");
    let blocking = options(&url).tls(pki.tls());
    let blocking =
        tokio::task::spawn_blocking(|| midge_client::blocking::Client::connect(blocking))
            .await
            .unwrap();
    let info = blocking.unwrap().connection().unwrap().tls.unwrap();
    assert_eq!(info.peer_not_after, Some(end));
    assert_eq!(of(broker.url(), pki.tls()).await, None);
}

#[tokio::test]
async fn tls_goes_through_proxies() {
    let pki = Pki::new();
    let (_broker, port) = pki.broker("server", "");
    let proxy = crate::proxy::start();
    for scheme in ["http", "socks5"] {
        let through = options(&format!("mqtts://localhost:{port}"))
            .proxy(&format!("{scheme}://127.0.0.1:{proxy}"))
            .unwrap();
        check(through.tls(pki.tls())).await;
    }
}

/// The failure of a first connection.
pub(crate) async fn failure(options: Options) -> ConnectionError {
    let error = soon(Client::connect(options)).await.err();
    error.expect("it does not connect")
}

#[tokio::test]
async fn failures_of_tls_say_what_failed_and_what_to_try() {
    let pki = Pki::new();
    pki.sign("expired", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    pki.sign("future", |params| {
        params.not_before = date_time_ymd(2400, 1, 1);
    });
    pki.sign("other", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(
            "elsewhere.example".try_into().unwrap(),
        )];
    });
    let check = async |certificate: &str, tls: TlsOptions, kind, words: &str| {
        let (_broker, port) = pki.broker(certificate, "");
        let error = failure(options(&format!("mqtts://localhost:{port}")).tls(tls)).await;
        let ConnectionError::Tls(failure) = &error else {
            panic!("{error}");
        };
        assert_eq!(failure.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        // The broker's certificate can be renewed while the client runs.
        assert!(!error.is_permanent());
    };
    use TlsFailureKind as Kind;
    check("expired", pki.tls(), Kind::Expired, "has expired").await;
    check("future", pki.tls(), Kind::NotYetValid, "clock").await;
    check("other", pki.tls(), Kind::WrongHost, "elsewhere.example").await;
    let strangers = Pki::new();
    check("server", strangers.tls(), Kind::UnknownCa, "ca_file").await;
    let renamed = pki.tls().server_name("another.example");
    check("server", renamed, Kind::WrongHost, "server_name").await;
}

#[tokio::test]
async fn what_is_dangerous_works_when_it_is_asked_for() {
    let pki = Pki::new();
    let strangers = Pki::new();
    let (_broker, port) = pki.broker("server", "");
    let url = format!("mqtts://localhost:{port}");
    let any = strangers.tls().danger_accept_any_certificate();
    check(options(&url).tls(any)).await;
    let wrong_name = pki.tls().server_name("another.example");
    check(options(&url).tls(wrong_name.danger_accept_any_host_name())).await;
    // Another CA is still refused.
    let error = failure(options(&url).tls(strangers.tls().danger_accept_any_host_name())).await;
    assert!(matches!(error, ConnectionError::Tls(_)), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_refusal_is_final() {
    let pki = Pki::new();
    pki.sign("me", |_| {});
    pki.sign("late", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let (_broker, port) = pki.broker("server", &pki.mutual());
    let url = format!("mqtts://localhost:{port}");
    check(options(&url).tls(pki.identity("me"))).await;
    for tls in [pki.tls(), pki.identity("late")] {
        let client = Client::start(options(&url).tls(tls)).unwrap();
        let mut events = client.events();
        let why = loop {
            match soon(events.next()).await {
                Some(Event::Closed(why)) => break why,
                Some(_) => {}
                None => panic!("no end is told"),
            }
        };
        let ConnectionError::Tls(failure) = &why else {
            panic!("{why}");
        };
        assert_eq!(failure.kind, TlsFailureKind::ClientCertificate, "{why}");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_speak_tls_or_websocket_is_named_as_that() {
    let mut broker = Broker::start();
    let port = broker.port;
    let error = failure(options(&format!("mqtts://127.0.0.1:{port}"))).await;
    assert!(error.to_string().contains("port for TLS"), "{error}");
    let error = failure(options(&format!("ws://127.0.0.1:{port}"))).await;
    assert!(matches!(error, ConnectionError::WebSocket(_)), "{error}");
    broker.stop();
}

#[tokio::test]
async fn a_websocket_that_is_refused_says_with_what() {
    let pki = Pki::new();
    let lines = "protocol websockets\nwebsockets_origin https://good.example";
    let (_broker, port) = pki.broker("server", lines);
    let url = format!("wss://localhost:{port}");
    let bad = options(&url).websocket_header("Origin", "https://bad.example");
    let error = failure(bad.tls(pki.tls())).await;
    let ConnectionError::WebSocket(failure) = &error else {
        panic!("{error}");
    };
    assert_eq!(failure.status, Some(403), "{error}");
    assert!(error.is_permanent());
    let good = options(&url).websocket_header("Origin", "https://good.example");
    check(good.tls(pki.tls())).await;
    let broken = options(&url).websocket_header("X-Broken", "a\r\nb");
    let error = self::failure(broken.tls(pki.tls())).await;
    assert!(matches!(error, ConnectionError::Options(_)), "{error}");
}

#[tokio::test]
async fn a_restart_of_the_broker_is_survived_over_tls() {
    let pki = Pki::new();
    let (mut broker, port) = pki.broker("server", "");
    let url = format!("mqtts://localhost:{port}?client_id=c&clean_start=false");
    let client = soon(Client::connect(options(&url).tls(pki.tls())))
        .await
        .unwrap();
    let mut stream = client.subscribe("t").qos(QoS::ExactlyOnce).await.unwrap();
    for number in 0..3 {
        let publish = client
            .publish("t", number.to_string())
            .qos(QoS::ExactlyOnce);
        let delivery = publish.enqueue().await.unwrap();
        broker.stop();
        broker.run();
        soon(delivery).await.unwrap();
        let message = soon(stream.next()).await.unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
}

const CONNECT: &[u8] = b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

fn greet(connection: &mut Connection) {
    connection.write_all(CONNECT).unwrap();
    connection.flush().unwrap();
    let mut answer = [0; 4];
    // Byte for byte: the rest waits inside.
    for byte in &mut answer {
        connection.read_exact(std::slice::from_mut(byte)).unwrap();
    }
    assert_eq!(answer, CONNACK);
}

#[test]
fn a_dialer_opens_connections_for_those_who_wait_by_themselves() {
    let pki = Pki::new();
    let plain = free_port();
    let lines = format!("listener {plain} 127.0.0.1\nprotocol websockets");
    let (broker, port) = pki.broker("server", &lines);
    let dialer = Dialer::new().tls(pki.tls()).version(Version::V3_1_1);
    for server in [
        Server::new("127.0.0.1", broker.port),
        Server::new("localhost", port).tls(),
        Server::new("localhost", plain).websocket("/mqtt"),
    ] {
        let mut connection = dialer.dial(&server).unwrap();
        greet(&mut connection);
        let limit = Some(Duration::from_millis(1));
        connection.set_read_timeout(limit).unwrap();
        let late = connection.read(&mut [0; 9]).unwrap_err();
        assert!(matches!(
            late.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut
        ));
        assert!(!connection.has_read_ahead() && !connection.wants_write());
        connection.set_read_timeout(None).unwrap();
        // Nothing more than what the socket takes at once is held inside.
        connection.set_nonblocking(true).unwrap();
        let packet = [
            &[0x30, 0x80, 0x80, 0x40, 0x00, 0x01, b't'][..],
            &[0; 1_048_573],
        ]
        .concat();
        let mut sent = 0;
        while sent < packet.len() {
            match connection.write(&packet[sent..]) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        connection.set_nonblocking(false).unwrap();
        connection.write_all(b"\xC0\x00").unwrap();
        connection.flush().unwrap();
        let mut answer = [0; 2];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"\xD0\x00");
        connection.close().unwrap();
        while connection.read(&mut [0; 9]).is_ok_and(|count| count > 0) {}
    }
}

#[test]
fn many_handshakes_are_under_way_at_once_over_connections_that_the_caller_began() {
    let pki = Pki::new();
    let plain = free_port();
    let lines = format!("listener {plain} 127.0.0.1\nprotocol websockets");
    let (broker, port) = pki.broker("server", &lines);
    let dialer = Dialer::new().tls(pki.tls()).version(Version::V3_1_1);
    let servers = [
        (Server::new("127.0.0.1", broker.port), broker.port),
        (Server::new("localhost", port).tls(), port),
        (Server::new("localhost", plain).websocket("/mqtt"), plain),
    ];
    let mut connections: Vec<_> = servers
        .iter()
        .cycle()
        .take(30)
        .map(|(server, port)| {
            let stream = std::net::TcpStream::connect(("127.0.0.1", *port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            (dialer.begin(server, stream).unwrap(), 0, Vec::new())
        })
        .collect();
    // In TLS and WebSocket nothing is sent before the handshake is over, which it never is here.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (server, _) in &servers[1..] {
        let stream = std::net::TcpStream::connect(silent.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let early = dialer.begin(server, stream).unwrap().write(CONNECT);
        assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let deadline = Instant::now() + PATIENCE;
    while connections.iter().any(|(_, _, heard)| heard != CONNACK) {
        assert!(Instant::now() < deadline, "a handshake does not end");
        for (connection, sent, heard) in &mut connections {
            if *sent < CONNECT.len() {
                match connection.write(&CONNECT[*sent..]) {
                    Ok(count) => *sent += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            let mut space = [0; 16];
            match connection.read(&mut space) {
                Ok(count) => heard.extend_from_slice(&space[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(dialer.begin(&Server::unix("/s"), stream).is_err());
}

#[test]
fn sessions_are_resumed_and_a_restarted_broker_begins_new_ones() {
    let pki = Pki::new();
    let (mut broker, port) = pki.broker("server", "");
    let dialer = Dialer::new().tls(pki.tls());
    let server = Server::new("localhost", port).tls();
    let is_resumed = || {
        let mut connection = dialer.dial(&server).unwrap();
        greet(&mut connection);
        connection.tls_info().unwrap().is_resumed
    };
    assert!(!is_resumed());
    assert!(is_resumed());
    broker.stop();
    broker.run();
    is_resumed();
    assert!(is_resumed());
}

#[test]
fn dialling_fails_with_the_reason() {
    let pki = Pki::new();
    let (_broker, port) = pki.broker("server", &pki.mutual());
    let server = Server::new("localhost", port).tls();
    let error = Dialer::new()
        .tls(Pki::new().tls())
        .dial(&server)
        .unwrap_err();
    assert!(error.to_string().contains("no CA"), "{error}");
    // With TLS 1.3 the broker judges a client after its first words.
    let mut connection = Dialer::new().tls(pki.tls()).dial(&server).unwrap();
    let _ = connection.write_all(CONNECT);
    let error = ConnectionError::from(connection.read(&mut [0; 9]).unwrap_err());
    assert!(
        error.to_string().contains("requires a certificate"),
        "{error}"
    );
    assert!(error.is_permanent());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(async { Dialer::new().dial(&server).unwrap_err() });
    assert!(error.to_string().contains("asynchronous"), "{error}");
}

#[tokio::test]
async fn the_protocols_of_alpn_are_offered_in_their_order() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = TlsOptions::new()
        .danger_accept_any_certificate()
        .alpn(["x-amzn-mqtt-ca", "mqtt"]);
    let client = Client::start(options(&format!("mqtts://127.0.0.1:{port}")).tls(tls)).unwrap();
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let mut hello = [0; 4096];
    let reading = tokio::io::AsyncReadExt::read(&mut stream, &mut hello);
    let count = soon(reading).await.unwrap();
    // The extension: its number, its length, that of the list, each name behind its length.
    let offer = b"\x00\x10\x00\x16\x00\x14\x0Ex-amzn-mqtt-ca\x04mqtt";
    let found = hello[..count]
        .windows(offer.len())
        .any(|part| part == offer);
    assert!(found, "{:02X?}", &hello[..count]);
    drop(client);
}

/// Not a test by itself: the program that the one below runs, with CAs of its own as the platform's.
#[tokio::test]
async fn program_that_trusts_the_platform() {
    if let Ok(url) = std::env::var("MIDGE_CLIENT_PLATFORM_URL") {
        check(options(&url)).await;
        let error = failure(options(&std::env::var("MIDGE_CLIENT_STRANGE_URL").unwrap())).await;
        let ConnectionError::Tls(failure) = &error else {
            panic!("{error}");
        };
        assert_eq!(failure.kind, TlsFailureKind::UnknownCa, "{error}");
    }
}

#[test]
fn the_cas_of_the_platform_are_trusted_if_no_others_are_named() {
    let (pki, strangers) = (Pki::new(), Pki::new());
    let (_broker, port) = pki.broker("server", "");
    let (_other, strange) = strangers.broker("server", "");
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "secure::program_that_trusts_the_platform"])
        .env(
            "MIDGE_CLIENT_PLATFORM_URL",
            format!("mqtts://localhost:{port}"),
        )
        .env(
            "MIDGE_CLIENT_STRANGE_URL",
            format!("mqtts://localhost:{strange}"),
        )
        .env("SSL_CERT_FILE", pki.path("ca.pem"))
        .env_remove("SSL_CERT_DIR")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
