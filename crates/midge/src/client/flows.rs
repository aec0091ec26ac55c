//! The client's side of the protocol without a socket: bytes come in, events and bytes go out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use midge_codec::{
    Ack, AckKind, ConnAck, Connect, Disconnect, Header, Packet, Properties, Property, Publish, QoS,
    ReasonCode, SubAck, Subscribe, Subscription, SubscriptionOptions, Subscriptions, Version,
};

use crate::connect_options::ConnectOptions;
use crate::failure::Failure;

/// What the broker's bytes meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// CONNACK; a failure ends the connection.
    Connected { reason: ReasonCode },
    /// SUBACK with its codes.
    Subscribed { codes: Vec<u8> },
    /// A message, acknowledged already.
    Message {
        topic: String,
        payload: Vec<u8>,
        retain: bool,
    },
    /// A message of ours is through; a failure means that the broker did not take it.
    Published { packet_id: u16, reason: ReasonCode },
}

/// What an outgoing message waits to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// By PUBACK.
    Acknowledged,
    /// By PUBREC.
    Recorded,
    /// By PUBCOMP.
    Completed,
}

/// The state of one connection.
pub(crate) struct Flows {
    version: Version,
    client_id: String,
    inbound: Vec<u8>,
    /// How much of `inbound` is done with.
    consumed: usize,
    outbound: Vec<u8>,
    written: usize,
    connected: bool,
    last_packet_id: u16,
    outgoing: BTreeMap<u16, Step>,
    /// QoS 2 messages that were handed out and not yet released. At most 65,535.
    incoming: BTreeSet<u16>,
    receive_maximum: u16,
    keep_alive: Duration,
    /// When the last ping was sent; at first, when the connection began.
    last_ping: Instant,
    ping_sent: Option<Instant>,
    trace: Option<String>,
}

/// A wait without keep alive still ends now and then.
const IDLE: Duration = Duration::from_secs(3600);

impl Flows {
    pub(crate) fn new(options: &ConnectOptions, now: Instant) -> Self {
        Self {
            version: options.version,
            client_id: options.client_id.clone().unwrap_or_default(),
            inbound: Vec::new(),
            consumed: 0,
            outbound: Vec::new(),
            written: 0,
            connected: false,
            last_packet_id: 0,
            outgoing: BTreeMap::new(),
            incoming: BTreeSet::new(),
            receive_maximum: u16::MAX,
            keep_alive: Duration::from_secs(u64::from(options.keep_alive_secs)),
            last_ping: now,
            ping_sent: None,
            trace: options.debug.then(String::new),
        }
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// How many unacknowledged messages the broker takes.
    pub(crate) const fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    /// How many messages of ours wait for their acknowledgement.
    pub(crate) fn in_flight(&self) -> usize {
        self.outgoing.len()
    }

    /// The lines about packets since the last call; empty unless asked for.
    pub(crate) fn take_trace(&mut self) -> String {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "Client {} {text}", self.client_id);
        }
    }

    /// The bytes to be sent.
    pub(crate) fn outbound(&self) -> &[u8] {
        self.outbound.get(self.written..).unwrap_or_default()
    }

    /// Takes `count` bytes off the front of [`Self::outbound`].
    pub(crate) fn sent(&mut self, count: usize) {
        self.written = self.written.saturating_add(count);
        if self.written >= self.outbound.len() {
            self.outbound.clear();
            self.written = 0;
        }
    }

    /// Takes bytes from the broker.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.inbound.drain(..self.consumed.min(self.inbound.len()));
            self.consumed = 0;
        }
        self.inbound.extend_from_slice(bytes);
    }

    /// Bytes received and not looked at.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        let unread = self
            .inbound
            .split_off(self.consumed.min(self.inbound.len()));
        self.inbound.clear();
        self.consumed = 0;
        unread
    }

    /// Queues CONNECT.
    pub(crate) fn connect(&mut self, options: &ConnectOptions) -> Result<(), Failure> {
        let mut properties = Vec::new();
        if self.version == Version::V5 {
            if options.session_expiry_secs() > 0 {
                properties.push(Property::SessionExpiryInterval(
                    options.session_expiry_secs(),
                ));
            }
            if let Some(maximum) = options.receive_maximum {
                properties.push(Property::ReceiveMaximum(maximum));
            }
        }
        self.note(format_args!("sending CONNECT"));
        Connect {
            version: self.version,
            bridge: false,
            clean_start: options.clean_start,
            keep_alive: options.keep_alive_secs,
            properties: Properties::from_list(&properties),
            client_id: &self.client_id,
            will: None,
            user_name: options.user_name.as_deref(),
            password: options.password.as_deref(),
        }
        .encode(&mut self.outbound)?;
        Ok(())
    }

    /// Queues a SUBSCRIBE for all `filters`.
    pub(crate) fn subscribe(&mut self, filters: &[String], qos: QoS) -> Result<(), Failure> {
        let packet_id = self.next_packet_id();
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        let list: Vec<_> = filters
            .iter()
            .map(|filter| Subscription { filter, options })
            .collect();
        for filter in filters {
            let bits = options.bits(self.version);
            self.note(format_args!(
                "sending SUBSCRIBE (Mid: {packet_id}, Topic: {filter}, QoS: {}, Options: {:#04x})",
                qos.bits(),
                bits & 0xFC
            ));
        }
        let subscribe = Subscribe {
            packet_id,
            properties: Properties::NONE,
            subscriptions: Subscriptions::from_list(&list),
        };
        self.put(&Packet::Subscribe(subscribe))
    }

    /// Queues a message; the caller holds it back while [`Self::in_flight`] is at its limit.
    /// Returns its packet id; QoS 0 has none.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Option<NonZeroU16>, Failure> {
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.next_packet_id());
        let message = Publish {
            dup: false,
            qos,
            retain,
            topic,
            packet_id,
            properties: Properties::NONE,
            payload,
        };
        self.note(format_args!(
            "sending PUBLISH (d0, q{}, r{}, m{}, '{topic}', ... ({} bytes))",
            qos.bits(),
            u8::from(retain),
            packet_id.map_or(0, NonZeroU16::get),
            payload.len()
        ));
        self.put(&Packet::Publish(message))?;
        if let Some(id) = packet_id {
            let step = if qos == QoS::AtLeastOnce {
                Step::Acknowledged
            } else {
                Step::Recorded
            };
            self.outgoing.insert(id.get(), step);
        }
        Ok(packet_id)
    }

    /// Queues DISCONNECT.
    pub(crate) fn disconnect(&mut self) -> Result<(), Failure> {
        self.note(format_args!("sending DISCONNECT"));
        self.put(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)))
    }

    /// Sends a ping each keep alive, whatever else is sent `[MQTT5-3.1.2-20]`; `false` when CONNECT
    /// or the last ping was not answered in that time.
    pub(crate) fn tend(&mut self, now: Instant) -> Result<bool, Failure> {
        if self.keep_alive.is_zero() {
            return Ok(true);
        }
        if let Some(sent) = self.ping_sent {
            return Ok(now.saturating_duration_since(sent) < self.keep_alive);
        }
        if now.saturating_duration_since(self.last_ping) >= self.keep_alive {
            if !self.connected {
                return Ok(false);
            }
            self.note(format_args!("sending PINGREQ"));
            self.put(&Packet::PingReq)?;
            self.ping_sent = Some(now);
            self.last_ping = now;
        }
        Ok(true)
    }

    /// When [`Self::tend`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Instant {
        let idle = if self.keep_alive.is_zero() {
            IDLE
        } else {
            self.keep_alive
        };
        self.ping_sent.unwrap_or(self.last_ping) + idle
    }

    /// Handles packets until one is worth an event.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Failure> {
        // The buffer moves out while its packets are read and the rest of the state changes.
        let inbound = std::mem::take(&mut self.inbound);
        let event = self.read_packets(&inbound);
        self.inbound = inbound;
        event
    }

    fn read_packets(&mut self, inbound: &[u8]) -> Result<Option<Event>, Failure> {
        loop {
            let rest = inbound.get(self.consumed..).unwrap_or_default();
            let Some(header) = Header::peek(rest)? else {
                return Ok(None);
            };
            let Some(body) = header.body(rest) else {
                return Ok(None);
            };
            self.consumed += header.packet_length();
            let packet = Packet::decode(header.first, self.version, body)?;
            if self.connected == matches!(packet, Packet::ConnAck(_)) {
                let name = packet.packet_type().name();
                return Err(Failure::Protocol(format!("unexpected {name}")));
            }
            if let Some(event) = self.on_packet(&packet)? {
                return Ok(Some(event));
            }
        }
    }

    fn on_packet(&mut self, packet: &Packet<'_>) -> Result<Option<Event>, Failure> {
        match packet {
            Packet::ConnAck(connack) => Ok(Some(self.on_connack(connack))),
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::Ack(AckKind::PubRel, ack) => self.on_pubrel(ack.packet_id).map(|()| None),
            Packet::Ack(kind, ack) => self.on_ack(*kind, ack),
            Packet::SubAck(suback) => Ok(Some(self.on_suback(suback))),
            Packet::UnsubAck(_) => Ok(None),
            Packet::PingResp => {
                self.note(format_args!("received PINGRESP"));
                self.ping_sent = None;
                Ok(None)
            }
            Packet::Disconnect(disconnect) if self.version == Version::V5 => {
                self.note(format_args!(
                    "received DISCONNECT ({})",
                    disconnect.reason.0
                ));
                Err(Failure::Lost)
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {
                let name = packet.packet_type().name();
                Err(Failure::Protocol(format!("unexpected {name}")))
            }
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>) -> Event {
        self.connected = true;
        for property in connack.properties.iter() {
            match property {
                Property::ReceiveMaximum(maximum) => self.receive_maximum = maximum,
                Property::ServerKeepAlive(seconds) => {
                    self.keep_alive = Duration::from_secs(u64::from(seconds));
                }
                _ => {}
            }
        }
        let code = if self.version == Version::V5 {
            connack.reason.0
        } else {
            connack.reason.connack_v3().unwrap_or(connack.reason.0)
        };
        self.note(format_args!("received CONNACK ({code})"));
        Event::Connected {
            reason: connack.reason,
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<Option<Event>, Failure> {
        let id = publish.packet_id.map_or(0, NonZeroU16::get);
        self.note(format_args!(
            "received PUBLISH (d{}, q{}, r{}, m{id}, '{}', ... ({} bytes))",
            u8::from(publish.dup),
            publish.qos.bits(),
            u8::from(publish.retain),
            publish.topic,
            publish.payload.len()
        ));
        if publish.topic.is_empty() {
            // We allow no aliases [MQTT5-3.1.2-26].
            return Err(Failure::Protocol("a message without topic".to_owned()));
        }
        let mut fresh = true;
        if let Some(packet_id) = publish.packet_id {
            let kind = if publish.qos == QoS::AtLeastOnce {
                AckKind::PubAck
            } else {
                // What was handed out once is not handed out again until it was released
                // [MQTT5-4.3.3-10].
                fresh = self.incoming.insert(id);
                AckKind::PubRec
            };
            self.acknowledge(kind, packet_id, ReasonCode::SUCCESS)?;
        }
        Ok(fresh.then(|| Event::Message {
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_vec(),
            retain: publish.retain,
        }))
    }

    fn on_pubrel(&mut self, packet_id: NonZeroU16) -> Result<(), Failure> {
        self.note(format_args!("received PUBREL (Mid: {packet_id})"));
        let reason = if self.incoming.remove(&packet_id.get()) {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
        };
        self.acknowledge(AckKind::PubComp, packet_id, reason)
    }

    fn on_ack(&mut self, kind: AckKind, ack: &Ack<'_>) -> Result<Option<Event>, Failure> {
        let id = ack.packet_id.get();
        let name = kind.packet_type().name();
        if kind == AckKind::PubRec {
            self.note(format_args!("received PUBREC (Mid: {id})"));
        } else {
            self.note(format_args!(
                "received {name} (Mid: {id}, RC:{})",
                ack.reason.0
            ));
        }
        let awaited = self.outgoing.get(&id).copied();
        let done = match (kind, awaited) {
            (AckKind::PubAck, Some(Step::Acknowledged))
            | (AckKind::PubComp, Some(Step::Completed)) => true,
            // A failure in PUBREC ends the exchange (MQTT5 4.3.3).
            (AckKind::PubRec, Some(Step::Recorded)) if ack.reason.is_failure() => true,
            (AckKind::PubRec, Some(Step::Recorded | Step::Completed)) => {
                self.outgoing.insert(id, Step::Completed);
                self.acknowledge(AckKind::PubRel, ack.packet_id, ReasonCode::SUCCESS)?;
                false
            }
            // Left over from an earlier life of a kept session.
            (AckKind::PubRec, None) => {
                let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                self.acknowledge(AckKind::PubRel, ack.packet_id, reason)?;
                false
            }
            _ => false,
        };
        if !done {
            return Ok(None);
        }
        self.outgoing.remove(&id);
        Ok(Some(Event::Published {
            packet_id: id,
            reason: ack.reason,
        }))
    }

    fn on_suback(&mut self, suback: &SubAck<'_>) -> Event {
        self.note(format_args!("received SUBACK"));
        if let Some(trace) = &mut self.trace {
            let codes: Vec<_> = suback.codes.iter().map(u8::to_string).collect();
            let _ = writeln!(
                trace,
                "Subscribed (mid: {}): {}",
                suback.packet_id,
                codes.join(", ")
            );
        }
        Event::Subscribed {
            codes: suback.codes.to_vec(),
        }
    }

    fn acknowledge(
        &mut self,
        kind: AckKind,
        packet_id: NonZeroU16,
        reason: ReasonCode,
    ) -> Result<(), Failure> {
        let name = kind.packet_type().name();
        match kind {
            AckKind::PubAck | AckKind::PubRec => {
                self.note(format_args!(
                    "sending {name} (m{packet_id}, rc{})",
                    reason.0
                ));
            }
            AckKind::PubRel | AckKind::PubComp => {
                self.note(format_args!("sending {name} (m{packet_id})"));
            }
        }
        self.put(&Packet::Ack(kind, Ack::new(packet_id, reason)))
    }

    fn put(&mut self, packet: &Packet<'_>) -> Result<(), Failure> {
        packet.encode(self.version, &mut self.outbound)?;
        Ok(())
    }

    /// The next identifier that is not in use `[MQTT5-2.2.1-3]`. There is always one, since no more
    /// than the receive maximum are in flight and SUBSCRIBE is sent once.
    fn next_packet_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_packet_id)
                && !self.outgoing.contains_key(&id.get())
            {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests;
