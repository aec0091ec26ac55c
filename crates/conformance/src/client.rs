//! A blocking client that expects.
//!
//! Every `expect_*` panics with what was expected, what came, and all packets of the connection so
//! far. To show that a broker sends nothing, ask it for a PINGRESP
//! ([`RawClient::expect_silence_until_pong`]) instead of waiting.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::parse::{self, Ack, Codes, Connack, Message, Packet};
use crate::target::{Broker, unique_id};
use crate::wire::{self, Connect, Publish, Subscribe, Unsubscribe, Version};

/// How long an expected packet may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection to the broker under test.
pub struct RawClient {
    stream: TcpStream,
    version: Version,
    client_id: String,
    patience: Duration,
    unread: Vec<u8>,
    /// Packets that came while another one was waited for; they are next.
    set_aside: VecDeque<(Vec<u8>, Packet)>,
    history: Vec<String>,
    next_packet_id: u16,
}

/// What can happen while a client waits.
#[derive(Debug)]
enum Event {
    Packet(Vec<u8>, Packet),
    Closed,
    Silence,
}

impl RawClient {
    /// Opens a TCP connection and sends nothing.
    #[track_caller]
    pub fn open(broker: &Broker, version: Version) -> Self {
        let stream = match TcpStream::connect(broker.address()) {
            Ok(stream) => stream,
            Err(error) => fail(&format!("connecting to {}: {error}", broker.address())),
        };
        // Without this, small packets would wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            fail(&format!("TCP_NODELAY: {error}"));
        }
        Self {
            stream,
            version,
            client_id: String::new(),
            patience: PATIENCE,
            unread: Vec::new(),
            set_aside: VecDeque::new(),
            history: Vec::new(),
            next_packet_id: 1,
        }
    }

    /// Connects and expects success.
    #[track_caller]
    pub fn connect(broker: &Broker, connect: &Connect) -> (Self, Connack) {
        let mut client = Self::open(broker, connect.version());
        client.send(&connect.encode());
        let connack = client.expect_connack();
        if connack.code != 0 {
            client.fail(&format!("connection refused with {:#04x}", connack.code));
        }
        (client, connack)
    }

    /// Connects with a fresh client id, or gives `None` when the broker closes without an answer.
    #[track_caller]
    pub fn join_if_admitted(broker: &Broker, version: Version) -> Option<Self> {
        let mut client = Self::open(broker, version);
        client.send_if_open(&Connect::new(version, unique_id()).encode());
        match client.next_packet_or_end() {
            None => None,
            Some(Packet::Connack(connack)) if connack.code == 0 => Some(client),
            Some(other) => client.fail(&format!("expected CONNACK or the end, got {other:?}")),
        }
    }

    /// Connects with a fresh client id and a session that ends with the connection.
    #[track_caller]
    pub fn join(broker: &Broker, version: Version) -> Self {
        let client_id = unique_id();
        let (mut client, _) = Self::connect(broker, &Connect::new(version, &client_id));
        client.client_id = client_id;
        client
    }

    /// The version that this connection speaks.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Sets how long an expected packet may take.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// A packet id that this client has not used yet.
    pub const fn fresh_packet_id(&mut self) -> u16 {
        let id = self.next_packet_id;
        self.next_packet_id += 1;
        id
    }

    /// Writes bytes and panics when the connection is gone.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.note("->", bytes);
        if let Err(error) = self.stream.write_all(bytes) {
            self.fail(&format!("sending {}: {error}", hex(bytes)));
        }
    }

    /// Writes bytes to a broker that may have closed the connection already.
    pub fn send_if_open(&mut self, bytes: &[u8]) {
        self.note("->", bytes);
        if self.stream.write_all(bytes).is_err() {
            self.history.push("   (the broker had closed)".to_owned());
        }
    }

    /// Expects a packet, whatever it is.
    #[track_caller]
    pub fn expect_packet(&mut self, wanted: &str) -> (Vec<u8>, Packet) {
        match self.next_event() {
            Event::Packet(bytes, packet) => (bytes, packet),
            Event::Closed => self.fail(&format!("expected {wanted}, but the broker closed")),
            Event::Silence => self.fail(&format!("expected {wanted}, but nothing came")),
        }
    }

    /// The next packet, or `None` when the broker closed the connection.
    #[track_caller]
    pub fn next_packet_or_end(&mut self) -> Option<Packet> {
        match self.next_event() {
            Event::Packet(_, packet) => Some(packet),
            Event::Closed => None,
            Event::Silence => self.fail("expected a packet or the end, but nothing came"),
        }
    }

    /// Whether the broker closes the connection before the patience ends; packets count as a fault.
    #[track_caller]
    pub fn has_ended(&mut self) -> bool {
        match self.next_event() {
            Event::Closed => true,
            Event::Silence => false,
            Event::Packet(bytes, _) => self.fail(&format!("unexpected {}", hex(&bytes))),
        }
    }

    /// Expects exactly these bytes as the next packet.
    #[track_caller]
    pub fn expect_bytes(&mut self, wanted: &[u8]) {
        let (bytes, _) = self.expect_packet(&hex(wanted));
        if bytes != wanted {
            self.fail(&format!("expected {}, got {}", hex(wanted), hex(&bytes)));
        }
    }

    /// Expects a CONNACK of any code.
    #[track_caller]
    pub fn expect_connack(&mut self) -> Connack {
        match self.expect_packet("CONNACK") {
            (_, Packet::Connack(connack)) => connack,
            (_, other) => self.fail(&format!("expected CONNACK, got {other:?}")),
        }
    }

    /// Expects a PUBLISH and leaves its acknowledgement to the caller.
    #[track_caller]
    pub fn expect_publish(&mut self) -> Message {
        match self.expect_packet("PUBLISH") {
            (_, Packet::Publish(message)) => message,
            (_, other) => self.fail(&format!("expected PUBLISH, got {other:?}")),
        }
    }

    /// Expects a PUBLISH with this payload and leaves its acknowledgement to the caller.
    #[track_caller]
    pub fn expect_payload(&mut self, payload: impl AsRef<[u8]>) -> Message {
        let message = self.expect_publish();
        if message.payload != payload.as_ref() {
            self.fail(&format!(
                "expected a PUBLISH of {:?}, got {:?}",
                String::from_utf8_lossy(payload.as_ref()),
                String::from_utf8_lossy(&message.payload)
            ));
        }
        message
    }

    /// Expects a PUBLISH and takes it through all acknowledgements of its QoS.
    #[track_caller]
    pub fn receive(&mut self) -> Message {
        let message = self.expect_publish();
        self.acknowledge(&message);
        message
    }

    /// Expects a PUBLISH with this payload and takes it through all acknowledgements of its QoS.
    #[track_caller]
    pub fn receive_payload(&mut self, payload: impl AsRef<[u8]>) -> Message {
        let message = self.expect_payload(payload);
        self.acknowledge(&message);
        message
    }

    /// Acknowledges a message to the end.
    #[track_caller]
    pub fn acknowledge(&mut self, message: &Message) {
        let Some(id) = message.packet_id else {
            return;
        };
        if message.qos == 1 {
            self.send(&wire::puback(id));
        } else {
            self.send(&wire::pubrec(id));
            self.expect_ack(wire::first::PUBREL, id);
            self.send(&wire::pubcomp(id));
        }
    }

    /// Expects an acknowledgement of this kind and packet id; PUBLISH packets that come first are
    /// set aside.
    #[track_caller]
    pub fn expect_ack(&mut self, first_byte: u8, packet_id: u16) -> Ack {
        let wanted = format!("{} for packet id {packet_id}", name_of(first_byte));
        let (bytes, packet) = self.expect_past_publishes(&wanted);
        let ack = match packet {
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => ack,
            other => self.fail(&format!("expected {wanted}, got {other:?}")),
        };
        if bytes.first() != Some(&first_byte) || ack.packet_id != packet_id {
            self.fail(&format!("expected {wanted}, got {}", hex(&bytes)));
        }
        ack
    }

    /// Expects SUBACK with this packet id.
    #[track_caller]
    pub fn expect_suback(&mut self, packet_id: u16) -> Codes {
        match self.expect_past_publishes("SUBACK") {
            (_, Packet::Suback(codes)) if codes.packet_id == packet_id => codes,
            (_, other) => self.fail(&format!("expected SUBACK {packet_id}, got {other:?}")),
        }
    }

    /// Expects UNSUBACK with this packet id.
    #[track_caller]
    pub fn expect_unsuback(&mut self, packet_id: u16) -> Codes {
        match self.expect_past_publishes("UNSUBACK") {
            (_, Packet::Unsuback(codes)) if codes.packet_id == packet_id => codes,
            (_, other) => self.fail(&format!("expected UNSUBACK {packet_id}, got {other:?}")),
        }
    }

    /// Expects the end of the connection and not a byte before it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.next_event() {
            Event::Closed if self.unread.is_empty() => {}
            Event::Closed => {
                let rest = hex(&self.unread);
                self.fail(&format!(
                    "the broker closed in the middle of a packet: {rest}"
                ));
            }
            Event::Packet(bytes, packet) => self.fail(&format!(
                "expected the end of the connection, got {} {packet:?}",
                hex(&bytes)
            )),
            Event::Silence => self.fail("expected the end of the connection, but it stays open"),
        }
    }

    /// Expects DISCONNECT with this reason, then the end (5.0).
    #[track_caller]
    pub fn expect_disconnect(&mut self, wanted: u8) {
        match self.expect_packet(&format!("DISCONNECT with {wanted:#04x}")) {
            (_, Packet::Disconnect(came)) if came.reason == wanted => self.expect_closed(),
            (bytes, _) => self.fail(&format!(
                "expected DISCONNECT with {wanted:#04x}, got {}",
                hex(&bytes)
            )),
        }
    }

    /// Expects what ends a connection: in 5.0 DISCONNECT with `reason`, in 3.x only the end.
    #[track_caller]
    pub fn expect_thrown_out(&mut self, reason: u8) {
        if self.version.is_v5() {
            self.expect_disconnect(reason);
        } else {
            self.expect_closed();
        }
    }

    /// Expects the end of the connection, before which a broker of 5.0 may say an error reason.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.next_event() {
            Event::Closed => {}
            Event::Packet(_, Packet::Disconnect(reason)) if reason.reason >= 0x80 => {
                self.expect_closed();
            }
            other => self.fail(&format!(
                "expected the end of the connection, got {other:?}"
            )),
        }
    }

    /// Sends PINGREQ and expects PINGRESP as the very next packet.
    #[track_caller]
    pub fn expect_silence_until_pong(&mut self) {
        self.send(&wire::PINGREQ);
        match self.expect_packet("PINGRESP and nothing before it") {
            (_, Packet::Pingresp) => {}
            (_, other) => self.fail(&format!("expected nothing before PINGRESP, got {other:?}")),
        }
    }

    /// Subscribes to one filter and gives the code that was granted.
    #[track_caller]
    pub fn subscribe(&mut self, filter: impl AsRef<[u8]>, options: u8) -> u8 {
        let id = self.fresh_packet_id();
        let packet = Subscribe::new(self.version, id).filter(filter, options);
        self.send(&packet.encode());
        let codes = self.expect_suback(id).codes;
        match codes.as_slice() {
            [code] => *code,
            other => self.fail(&format!("one filter, codes {other:02x?}")),
        }
    }

    /// Unsubscribes from one filter and gives the code (none in 3.x).
    #[track_caller]
    pub fn unsubscribe(&mut self, filter: impl AsRef<[u8]>) -> Option<u8> {
        let id = self.fresh_packet_id();
        let packet = Unsubscribe::new(self.version, id).filter(filter);
        self.send(&packet.encode());
        self.expect_unsuback(id).codes.first().copied()
    }

    /// Publishes and takes the message through all acknowledgements of its QoS.
    #[track_caller]
    pub fn publish(&mut self, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, qos: u8) {
        let packet = Publish::new(self.version, topic, payload);
        self.publish_packet(packet, qos);
    }

    /// Publishes a retained message and takes it through all acknowledgements of its QoS.
    #[track_caller]
    pub fn publish_retained(
        &mut self,
        topic: impl AsRef<[u8]>,
        payload: impl AsRef<[u8]>,
        qos: u8,
    ) {
        let packet = Publish::new(self.version, topic, payload).retained();
        self.publish_packet(packet, qos);
    }

    /// Sends a prepared PUBLISH with this QoS and a fresh packet id, and completes its handshake.
    #[track_caller]
    pub fn publish_packet(&mut self, packet: Publish, qos: u8) {
        let id = self.fresh_packet_id();
        self.send(&packet.qos(qos, id).encode());
        let reason = match qos {
            0 => return,
            1 => self.expect_ack(wire::first::PUBACK, id).reason,
            _ => {
                let reason = self.expect_ack(wire::first::PUBREC, id).reason;
                if reason < 0x80 {
                    self.send(&wire::pubrel(id));
                    self.expect_ack(wire::first::PUBCOMP, id);
                }
                reason
            }
        };
        if reason >= 0x80 {
            self.fail(&format!("publication refused with {reason:#04x}"));
        }
    }

    /// Sends DISCONNECT and waits until the broker has closed the connection.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send(&wire::DISCONNECT);
        self.set_aside.clear();
        self.expect_closed();
    }

    /// Ends the sending half without DISCONNECT and waits until the broker has closed the rest.
    ///
    /// The broker then knows that the client is gone, so that no test must wait for it to notice.
    #[track_caller]
    pub fn cut(mut self) {
        if let Err(error) = self.stream.shutdown(Shutdown::Write) {
            self.fail(&format!("shutdown: {error}"));
        }
        loop {
            match self.next_event() {
                Event::Packet(..) => {}
                Event::Closed => return,
                Event::Silence => self.fail("the broker keeps a connection whose client left"),
            }
        }
    }

    /// Expects any packet but PUBLISH; those are set aside and are next.
    #[track_caller]
    fn expect_past_publishes(&mut self, wanted: &str) -> (Vec<u8>, Packet) {
        let mut publishes = VecDeque::new();
        let found = loop {
            match self.expect_packet(wanted) {
                (bytes, packet @ Packet::Publish(_)) => publishes.push_back((bytes, packet)),
                other => break other,
            }
        };
        publishes.append(&mut self.set_aside);
        self.set_aside = publishes;
        found
    }

    #[track_caller]
    fn next_event(&mut self) -> Event {
        if let Some((bytes, packet)) = self.set_aside.pop_front() {
            return Event::Packet(bytes, packet);
        }
        let deadline = Instant::now() + self.patience;
        loop {
            match parse::packet_length(&self.unread) {
                Ok(Some(length)) => {
                    let rest = self.unread.split_off(length);
                    let bytes = std::mem::replace(&mut self.unread, rest);
                    self.note("<-", &bytes);
                    match parse::packet(self.version, &bytes) {
                        Ok(packet) => return Event::Packet(bytes, packet),
                        Err(what) => {
                            self.fail(&format!("the broker sent {}: {what}", hex(&bytes)));
                        }
                    }
                }
                Ok(None) => {}
                Err(what) => {
                    let bytes = hex(&self.unread);
                    self.fail(&format!("the broker sent {bytes}: {what}"));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.history.push("   (silence)".to_owned());
                return Event::Silence;
            }
            if let Err(error) = self.stream.set_read_timeout(Some(left)) {
                self.fail(&format!("read deadline: {error}"));
            }
            let mut buffer = [0_u8; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.closed(),
                Ok(count) => self.unread.extend(buffer.iter().take(count)),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return self.closed(),
                    _ => self.fail(&format!("reading: {error}")),
                },
            }
        }
    }

    fn closed(&mut self) -> Event {
        self.history.push("<- (closed)".to_owned());
        Event::Closed
    }

    fn note(&mut self, direction: &str, bytes: &[u8]) {
        self.history.push(format!("{direction} {}", hex(bytes)));
        if self.history.len() > 200 {
            self.history.drain(..100);
        }
    }

    /// Panics with the history of the connection.
    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        fail(&format!(
            "{what}\nconnection of {:?} {}:\n  {}",
            self.version,
            self.client_id,
            self.history.join("\n  ")
        ))
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a failed expectation fails its test")]
fn fail(what: &str) -> ! {
    panic!("{what}")
}

/// Bytes for reading by people, shortened in the middle when there are many.
pub fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 96;
    let digits: Vec<String> = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut text = digits.join(" ");
    if bytes.len() > SHOWN {
        text.push_str(&format!(" ... ({} bytes)", bytes.len()));
    }
    text
}

const fn name_of(first_byte: u8) -> &'static str {
    match first_byte >> 4 {
        4 => "PUBACK",
        5 => "PUBREC",
        6 => "PUBREL",
        7 => "PUBCOMP",
        _ => "an acknowledgement",
    }
}
