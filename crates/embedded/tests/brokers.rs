//! Over TCP, against the broker and against mosquitto: every QoS both ways, topic aliases, and a session whose link
//! is cut in the middle and which goes on from its saved bytes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "../examples/host.rs"]
#[expect(dead_code, reason = "only its socket is used")]
mod host;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::Socket;
use midge_embedded::{
    Accepted, Buffers, Client, Event, Message, Options, QoS, Session, Subscription, Time,
    TopicAliases, Version, With,
};
use midge_server::config::Config;
use midge_server::{Server, ServerHandle};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

type Connection<'a, 's> = Client<'a, 's, Socket, fn() -> Time, With<TopicAliases<'a>>>;

/// Topics that go by numbers with 5.0, one message before and one after the cut.
const TOPICS: [&str; 2] = ["t/own", "t/away"];

/// A mosquitto that ends with its owner.
struct Mosquitto {
    child: Child,
    _config: tempfile::NamedTempFile,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn own(port: u16) -> ServerHandle {
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n");
    Server::start(Config::parse(&text, "test").unwrap()).unwrap()
}

/// `None` if there is no mosquitto.
fn mosquitto(port: u16) -> Option<Mosquitto> {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    writeln!(config, "listener {port} 127.0.0.1\nallow_anonymous true").unwrap();
    config.flush().unwrap();
    let child = ["mosquitto", "/usr/sbin/mosquitto"]
        .iter()
        .find_map(|program| {
            let mut command = Command::new(program);
            command
                .arg("-c")
                .arg(config.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn().ok()
        })?;
    Some(Mosquitto {
        child,
        _config: config,
    })
}

async fn dial(port: u16) -> Socket {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return Socket::new(stream),
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Memory of one connection.
struct Memory {
    receive: [u8; 256],
    send: [u8; 128],
    topics: [u8; 64],
}

impl Memory {
    const fn new() -> Self {
        Self {
            receive: [0; 256],
            send: [0; 128],
            topics: [0; 64],
        }
    }
}

async fn connect<'a, 's>(
    port: u16,
    session: &'a mut Session<'s>,
    memory: &'a mut Memory,
    options: &Options<'_>,
) -> (Connection<'a, 's>, Accepted) {
    let buffers = Buffers {
        receive: &mut memory.receive,
        send: &mut memory.send,
    };
    let clock: fn() -> Time = || Time(0);
    let aliases = TopicAliases::new()
        .outgoing(&TOPICS)
        .incoming(4, &mut memory.topics);
    let with = With::new().topic_aliases(aliases);
    let connecting = Client::connect_with(dial(port).await, clock, session, buffers, options, with);
    connecting.await.unwrap()
}

/// What came, as QoS and payload, and how much was delivered.
#[derive(Default)]
struct Got {
    messages: Vec<(QoS, Vec<u8>)>,
    delivered: usize,
}

impl Got {
    /// Takes events until as many messages are there and as much is delivered.
    async fn wait(&mut self, client: &mut Connection<'_, '_>, messages: usize, delivered: usize) {
        while self.messages.len() < messages || self.delivered < delivered {
            match client.next().await.unwrap() {
                Event::Message(message) => {
                    let is_own = message.payload.first().is_some_and(u8::is_ascii_digit)
                        || message.payload.starts_with(b"cut");
                    assert_eq!(message.topic, TOPICS[usize::from(!is_own)]);
                    self.messages.push((message.qos, message.payload.to_vec()));
                }
                Event::Delivered { reason, .. } => {
                    assert!(!reason.is_failure(), "{reason}");
                    self.delivered += 1;
                }
                Event::Subscribed { codes, .. } => assert_eq!(codes, [2]),
                other => panic!("{other:?}"),
            }
        }
    }

    fn of(&self, payload: &[u8]) -> usize {
        self.messages.iter().filter(|(_, of)| of == payload).count()
    }
}

async fn publish_elsewhere(port: u16, version: Version, payload: &[u8]) {
    let (mut log, mut memory) = ([0; 64], Memory::new());
    let mut session = Session::new(version, &mut log, &mut []);
    let options = Options::new("other").clean_start();
    let (mut client, _) = connect(port, &mut session, &mut memory, &options).await;
    client
        .publish(&Message::new("t/away", payload).qos(QoS::ExactlyOnce))
        .await
        .unwrap();
    Got::default().wait(&mut client, 0, 1).await;
    client.disconnect().await.unwrap();
}

async fn check(port: u16, version: Version) {
    let (mut log, mut received) = ([0; 256], [0; 20]);
    let mut session = Session::new(version, &mut log, &mut received);
    let options = Options::new("device").session_expiry_secs(600);
    let mut got = Got::default();

    let mut memory = Memory::new();
    let (mut client, accepted) = connect(port, &mut session, &mut memory, &options).await;
    assert!(!accepted.session_present);
    let subscription = Subscription {
        filter: "t/+",
        options: QoS::ExactlyOnce.into(),
    };
    client.subscribe(&[subscription]).await.unwrap();
    for (qos, payload) in [
        (QoS::AtMostOnce, &b"0"[..]),
        (QoS::AtLeastOnce, b"1"),
        (QoS::ExactlyOnce, b"2"),
    ] {
        client
            .publish(&Message::new("t/own", payload).qos(qos))
            .await
            .unwrap();
    }
    got.wait(&mut client, 3, 2).await;
    let mut messages = got.messages.clone();
    messages.sort_by_key(|(qos, _)| qos.bits());
    let expected = [
        (QoS::AtMostOnce, b"0".to_vec()),
        (QoS::AtLeastOnce, b"1".to_vec()),
        (QoS::ExactlyOnce, b"2".to_vec()),
    ];
    assert_eq!(messages, expected);
    // Both are under way when the link is cut: one is sent and one is not, and the message that comes last is
    // handed over and not acknowledged.
    client
        .publish(&Message::new("t/own", b"cut 2").qos(QoS::ExactlyOnce))
        .await
        .unwrap();
    publish_elsewhere(port, version, b"handed over").await;
    while got.of(b"handed over") == 0 {
        let count = got.messages.len() + 1;
        got.wait(&mut client, count, 0).await;
    }
    client
        .try_publish(&Message::new("t/own", b"cut 1").qos(QoS::AtLeastOnce))
        .unwrap();
    drop(client);
    publish_elsewhere(port, version, b"away").await;

    // The power goes as well.
    let saved: Vec<u8> = session.saved().collect();
    let (mut log, mut received) = ([0; 256], [0; 20]);
    let mut session = Session::restore(&saved, &mut log, &mut received).unwrap();
    let mut memory = Memory::new();
    let (mut client, accepted) = connect(port, &mut session, &mut memory, &options).await;
    assert!(accepted.session_present);
    while [&b"cut 1"[..], b"cut 2", b"away"]
        .iter()
        .any(|payload| got.of(payload) == 0)
    {
        let count = got.messages.len() + 1;
        got.wait(&mut client, count, 0).await;
    }
    got.wait(&mut client, 0, 4).await;
    for payload in [&b"2"[..], b"cut 2", b"handed over", b"away"] {
        assert_eq!(got.of(payload), 1, "{}", String::from_utf8_lossy(payload));
    }
    client.disconnect().await.unwrap();
    assert_eq!(session.unfinished(), 0);
}

async fn check_both(port: u16) {
    for version in [Version::V5, Version::V3_1_1] {
        let checked = tokio::time::timeout(PATIENCE, check(port, version));
        checked.await.unwrap();
        // The next one begins without a session.
        let (mut log, mut memory) = ([0; 64], Memory::new());
        let mut session = Session::new(version, &mut log, &mut []);
        let options = Options::new("device").clean_start();
        let (client, _) = connect(port, &mut session, &mut memory, &options).await;
        client.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn every_qos_and_a_cut_link_with_the_broker() {
    let port = free_port();
    let server = own(port);
    check_both(port).await;
    server.shut_down();
}

#[tokio::test]
async fn every_qos_and_a_cut_link_with_mosquitto() {
    let port = free_port();
    let Some(_broker) = mosquitto(port) else {
        println!("skipped: mosquitto is not installed");
        return;
    };
    check_both(port).await;
}
