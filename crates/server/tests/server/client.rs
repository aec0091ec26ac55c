//! What all tests share: a broker on a free port, and a blocking client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use midge_codec::{
    Ack, AckKind, Connect, Disconnect, Packet, Properties, Property, Publish, QoS, ReasonCode,
    Subscribe, Subscription, SubscriptionOptions, Subscriptions, Version, Will,
};
use midge_server::config::{CommandLine, Config, Endpoint};
use midge_server::{BindAddress, Server, ServerHandle};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const V3: Version = Version::V3_1_1;
pub(crate) const V5: Version = Version::V5;

/// A configuration on a port that the system chooses, with `workers` threads.
pub(crate) fn config(workers: u16, options: &str) -> Config {
    let text = format!(
        "worker_threads {workers}\nlog_type none\nsys_interval 0\nlistener 1883 127.0.0.1\n\
         allow_anonymous true\n{options}"
    );
    on_free_port(Config::parse(&text, "test.conf").unwrap())
}

pub(crate) fn on_free_port(mut config: Config) -> Config {
    for listener in &mut config.listeners {
        if let Endpoint::Tcp { port, .. } = &mut listener.endpoint {
            *port = 0;
        }
    }
    config
}

/// A running broker.
pub(crate) struct Broker {
    pub(crate) handle: ServerHandle,
    pub(crate) address: SocketAddr,
}

impl Broker {
    pub(crate) fn start(workers: u16) -> Self {
        Self::with(workers, "")
    }

    pub(crate) fn with(workers: u16, options: &str) -> Self {
        Self::from(config(workers, options))
    }

    pub(crate) fn from(config: Config) -> Self {
        let handle = Server::start(config).unwrap();
        let address = first_address(&handle);
        Self { handle, address }
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        tcp(self.address)
    }

    pub(crate) fn connect(&self, client_id: &str) -> Client {
        Client::connect(self.address, V3, client_id)
    }

    pub(crate) fn connect_v5(&self, client_id: &str) -> Client {
        Client::connect(self.address, V5, client_id)
    }
}

pub(crate) fn first_address(handle: &ServerHandle) -> SocketAddr {
    match handle.addresses().first() {
        Some(BindAddress::Ip(address)) => *address,
        other => panic!("no address: {other:?}"),
    }
}

/// The configuration of a command line alone, but for what would be left on the disk.
pub(crate) fn local_config() -> Config {
    let mut config = Config::without_file(&CommandLine {
        quiet: true,
        ..CommandLine::default()
    });
    config.general.persistence = None;
    on_free_port(config)
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A packet that has come, as far as tests ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    ConnAck {
        present: bool,
        reason: u8,
    },
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: QoS,
        id: u16,
        retain: bool,
    },
    Ack(AckKind, u16, u8),
    SubAck(u16),
    UnsubAck(u16),
    Pong,
    Disconnect(u8),
    Other(String),
}

/// A client that blocks.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) version: Version,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, version: Version, client_id: &str) -> Self {
        let (client, present) = Self::open(address, &hello(version, client_id));
        assert!(!present);
        client
    }

    /// Connects with this CONNECT, which must be accepted; tells whether a session was present.
    pub(crate) fn open(address: SocketAddr, connect: &Connect<'_>) -> (Self, bool) {
        let mut client = Self::new(tcp(address), connect.version);
        client.send(&Packet::Connect(*connect));
        match client.next() {
            Came::ConnAck { present, reason: 0 } => (client, present),
            other => panic!("not let in: {other:?}"),
        }
    }

    pub(crate) fn new(stream: TcpStream, version: Version) -> Self {
        Self {
            stream,
            version,
            unread: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        let bytes = self.bytes(packet);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn bytes(&self, packet: &Packet<'_>) -> Vec<u8> {
        encode(self.version, packet)
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        let list = [Subscription {
            filter,
            options: SubscriptionOptions {
                qos,
                ..SubscriptionOptions::default()
            },
        }];
        let packet_id = NonZeroU16::new(1).unwrap();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            properties: Properties::NONE,
            subscriptions: Subscriptions::from_list(&list),
        }));
        assert_eq!(self.next(), Came::SubAck(1));
    }

    /// Publishes and sees the delivery through.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, id: u16) {
        self.send(&publish(topic, payload, qos, id));
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.expect_ack(AckKind::PubAck, id),
            QoS::ExactlyOnce => {
                self.expect_ack(AckKind::PubRec, id);
                self.send(&ack(AckKind::PubRel, id));
                self.expect_ack(AckKind::PubComp, id);
            }
        }
    }

    pub(crate) fn expect_ack(&mut self, kind: AckKind, id: u16) {
        match self.next() {
            Came::Ack(came, came_id, reason) if reason < 0x80 => {
                assert_eq!((came, came_id), (kind, id));
            }
            other => panic!("not {kind:?} {id}: {other:?}"),
        }
    }

    /// Takes a message and sees its delivery through.
    pub(crate) fn take(&mut self) -> (String, Vec<u8>) {
        match self.next() {
            Came::Publish {
                topic,
                payload,
                qos,
                id,
                ..
            } => {
                match qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => self.send(&ack(AckKind::PubAck, id)),
                    QoS::ExactlyOnce => {
                        self.send(&ack(AckKind::PubRec, id));
                        self.expect_ack(AckKind::PubRel, id);
                        self.send(&ack(AckKind::PubComp, id));
                    }
                }
                (topic, payload)
            }
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Requires that nothing has been sent to this client until now.
    pub(crate) fn expect_silence(&mut self) {
        self.send(&Packet::PingReq);
        assert_eq!(self.next(), Came::Pong);
    }

    pub(crate) fn disconnect(mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)));
        self.expect_end();
    }

    /// Requires that the broker closes the connection without another packet.
    pub(crate) fn expect_end(&mut self) {
        match self.try_next() {
            Err(error) if is_end(&error) => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    pub(crate) fn next(&mut self) -> Came {
        self.try_next().unwrap()
    }

    pub(crate) fn try_next(&mut self) -> io::Result<Came> {
        self.read(|packet| Came::from(packet))
    }

    /// Takes a packet and makes of it what `show` does.
    pub(crate) fn next_as<T>(&mut self, show: impl FnOnce(&Packet<'_>) -> T) -> T {
        self.read(show).unwrap()
    }

    fn read<T>(&mut self, show: impl FnOnce(&Packet<'_>) -> T) -> io::Result<T> {
        loop {
            if let Some((packet, length)) = Packet::read(&self.unread, self.version).unwrap() {
                let shown = show(&packet);
                self.unread.drain(..length);
                return Ok(shown);
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

impl From<&Packet<'_>> for Came {
    fn from(packet: &Packet<'_>) -> Self {
        match packet {
            Packet::ConnAck(connack) => Self::ConnAck {
                present: connack.session_present,
                reason: connack.reason.0,
            },
            Packet::Publish(publish) => Self::Publish {
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                qos: publish.qos,
                id: publish.packet_id.map_or(0, NonZeroU16::get),
                retain: publish.retain,
            },
            Packet::Ack(kind, ack) => Self::Ack(*kind, ack.packet_id.get(), ack.reason.0),
            Packet::SubAck(suback) => Self::SubAck(suback.packet_id.get()),
            Packet::UnsubAck(unsuback) => Self::UnsubAck(unsuback.packet_id.get()),
            Packet::PingResp => Self::Pong,
            Packet::Disconnect(disconnect) => Self::Disconnect(disconnect.reason.0),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

pub(crate) fn hello(version: Version, client_id: &str) -> Connect<'_> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        properties: Properties::NONE,
        client_id,
        will: None,
        user_name: None,
        password: None,
    }
}

/// A CONNECT whose session outlives the connection.
pub(crate) fn persistent<'a>(client_id: &'a str, properties: &'a [Property<'a>]) -> Connect<'a> {
    Connect {
        clean_start: false,
        properties: Properties::from_list(properties),
        ..hello(V5, client_id)
    }
}

pub(crate) fn will<'a>(topic: &'a str, payload: &'a [u8]) -> Will<'a> {
    Will {
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::NONE,
        topic,
        payload,
    }
}

pub(crate) fn publish<'a>(topic: &'a str, payload: &'a [u8], qos: QoS, id: u16) -> Packet<'a> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: NonZeroU16::new(id),
        properties: Properties::NONE,
        payload,
    })
}

pub(crate) fn ack<'a>(kind: AckKind, id: u16) -> Packet<'a> {
    Packet::Ack(
        kind,
        Ack::new(NonZeroU16::new(id).unwrap(), ReasonCode::SUCCESS),
    )
}

pub(crate) fn encode(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Tries `step` again until it has a result.
pub(crate) fn eventually<T>(mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = step() {
            return result;
        }
        assert!(
            Instant::now() < deadline,
            "what was waited for did not happen"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
