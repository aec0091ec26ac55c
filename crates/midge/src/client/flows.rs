//! The client's side of the protocol without a socket: bytes come in, events and bytes go out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use midge_codec::{
    Ack, AckKind, ConnAck, Connect, Disconnect, Filters, Header, Packet, Properties, Property,
    PropertyId, Publish, QoS, ReasonCode, SubAck, Subscribe, Subscription, SubscriptionOptions,
    Subscriptions, UnsubAck, Unsubscribe, Version, Will,
};

use super::inbound::Inbound;
use crate::connect_options::ConnectOptions;
use crate::failure::Failure;
use crate::properties::Section;

/// What the broker's bytes meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event<'a> {
    /// CONNACK; a failure ends the connection.
    Connected { reason: ReasonCode },
    /// SUBACK with its codes.
    Subscribed { packet_id: u16, codes: &'a [u8] },
    /// UNSUBACK.
    Unsubscribed,
    /// A message, acknowledged already. Its topic is there even if an alias stood for it.
    Message(Publish<'a>),
    /// A message of ours is through; a failure means that the broker did not take it.
    Published {
        packet_id: u16,
        reason: ReasonCode,
        /// The broker's words.
        text: Option<&'a str>,
    },
}

/// A message to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Properties<'a>,
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

/// A message of ours that waits.
struct InFlight {
    step: Step,
    /// The packet, for another connection.
    packet: Vec<u8>,
}

/// The state of one connection, and what of it outlives the connection.
pub(crate) struct Flows {
    version: Version,
    client_id: String,
    outbound: Vec<u8>,
    written: usize,
    connected: bool,
    last_packet_id: u16,
    outgoing: BTreeMap<u16, InFlight>,
    /// The identifiers of `outgoing` in the order of their messages.
    order: VecDeque<u16>,
    /// QoS 2 messages that were handed out and not yet released. At most 65,535.
    incoming: BTreeSet<u16>,
    receive_maximum: u16,
    /// What the broker said in its CONNACK (5.0).
    maximum_qos: u8,
    retain_available: bool,
    maximum_packet_size: Option<usize>,
    /// The alias that stands for the topic of our messages on this connection.
    alias_set: Option<u16>,
    keep_alive: Duration,
    /// When the last ping was sent; at first, when the connection began.
    last_ping: Instant,
    ping_sent: Option<Instant>,
    trace: Option<String>,
}

/// The flag of a PUBLISH that was sent before.
const DUP: u8 = 0x08;
/// A wait without keep alive still ends now and then.
const IDLE: Duration = Duration::from_secs(3600);

impl Flows {
    pub(crate) fn new(options: &ConnectOptions, now: Instant) -> Self {
        Self {
            version: options.version,
            client_id: options.client_id.clone().unwrap_or_default(),
            outbound: Vec::new(),
            written: 0,
            connected: false,
            last_packet_id: 0,
            outgoing: BTreeMap::new(),
            order: VecDeque::new(),
            incoming: BTreeSet::new(),
            receive_maximum: u16::MAX,
            maximum_qos: 2,
            retain_available: true,
            maximum_packet_size: None,
            alias_set: None,
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
            // As the Mosquitto tools have it, whose lines are read by scripts.
            let name = if self.client_id.is_empty() {
                "(null)"
            } else {
                &self.client_id
            };
            let _ = writeln!(trace, "Client {name} {text}");
        }
    }

    /// Forgets the connection and keeps the session.
    pub(crate) fn begin_again(&mut self, now: Instant) {
        self.outbound.clear();
        self.written = 0;
        self.connected = false;
        self.alias_set = None;
        self.last_ping = now;
        self.ping_sent = None;
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

    /// Queues CONNECT; `password` is that of the options, or a token.
    pub(crate) fn connect(
        &mut self,
        options: &ConnectOptions,
        password: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let mut list = Vec::new();
        let given = |id: PropertyId| {
            let mut properties = options.properties.connect.iter();
            properties.any(|property| property.id() == id)
        };
        if self.version == Version::V5 {
            if options.session_expiry_secs() > 0 {
                list.push(Property::SessionExpiryInterval(
                    options.session_expiry_secs(),
                ));
            }
            if let Some(maximum) = options.receive_maximum
                && !given(PropertyId::ReceiveMaximum)
            {
                list.push(Property::ReceiveMaximum(maximum));
            }
        }
        let will = options.will.topic.as_deref().map(|topic| Will {
            qos: options.will.qos,
            retain: options.will.retain,
            properties: self.of_5_0(&options.properties.will),
            topic,
            payload: options.will.payload.as_deref().unwrap_or_default(),
        });
        let encoded = self.of_5_0(&options.properties.connect).encoded();
        self.note(format_args!("sending CONNECT"));
        Connect {
            version: self.version,
            bridge: false,
            clean_start: options.clean_start,
            keep_alive: options.keep_alive_secs,
            properties: Properties::from_encoded(encoded, &list),
            client_id: options.client_id.as_deref().unwrap_or_default(),
            will,
            user_name: options.user_name.as_deref(),
            password,
        }
        .encode(&mut self.outbound)?;
        Ok(())
    }

    /// The properties of a section, of which older versions have none.
    fn of_5_0<'a>(&self, section: &'a Section) -> Properties<'a> {
        if self.version == Version::V5 {
            section.properties()
        } else {
            Properties::NONE
        }
    }

    /// Queues a SUBSCRIBE for all `filters`.
    pub(crate) fn subscribe(
        &mut self,
        filters: &[String],
        options: SubscriptionOptions,
        properties: &Section,
    ) -> Result<(), Failure> {
        let packet_id = self.next_packet_id();
        let list: Vec<_> = filters
            .iter()
            .map(|filter| Subscription { filter, options })
            .collect();
        for filter in filters {
            let bits = options.bits(self.version);
            self.note(format_args!(
                "sending SUBSCRIBE (Mid: {packet_id}, Topic: {filter}, QoS: {}, Options: {:#04x})",
                options.qos.bits(),
                bits & 0xFC
            ));
        }
        let subscribe = Subscribe {
            packet_id,
            properties: self.of_5_0(properties),
            subscriptions: Subscriptions::from_list(&list),
        };
        self.put(&Packet::Subscribe(subscribe))
    }

    /// Queues an UNSUBSCRIBE for one filter.
    pub(crate) fn unsubscribe(
        &mut self,
        filter: &str,
        properties: &Section,
    ) -> Result<(), Failure> {
        let packet_id = self.next_packet_id();
        self.note(format_args!(
            "sending UNSUBSCRIBE (Mid: {packet_id}, Topic: {filter})"
        ));
        let filters = [filter];
        let unsubscribe = Unsubscribe {
            packet_id,
            properties: self.of_5_0(properties),
            filters: Filters::from_list(&filters),
        };
        self.put(&Packet::Unsubscribe(unsubscribe))
    }

    /// Queues a message; the caller holds it back while [`Self::in_flight`] is at its limit.
    /// Returns its number, which with QoS 1 and 2 is the packet identifier.
    pub(crate) fn publish(&mut self, message: &Outgoing<'_>) -> Result<u16, Failure> {
        let id = self.next_packet_id();
        let Outgoing {
            topic,
            payload,
            qos,
            retain,
            properties,
        } = *message;
        let packet = Publish {
            dup: false,
            qos,
            retain,
            topic,
            packet_id: (qos != QoS::AtMostOnce).then_some(id),
            properties: if self.version == Version::V5 {
                properties
            } else {
                Properties::NONE
            },
            payload,
        };
        self.note(format_args!(
            "sending PUBLISH (d0, q{}, r{}, m{id}, '{topic}', ... ({} bytes))",
            qos.bits(),
            u8::from(retain),
            payload.len()
        ));
        self.check(&packet)?;
        let from = self.outbound.len();
        let alias = packet.topic_alias();
        let is_known = alias.is_some() && alias == self.alias_set;
        self.put(&Packet::Publish(Publish {
            topic: if is_known { "" } else { topic },
            ..packet
        }))?;
        self.alias_set = alias;
        let step = match qos {
            QoS::AtMostOnce => return Ok(id.get()),
            QoS::AtLeastOnce => Step::Acknowledged,
            QoS::ExactlyOnce => Step::Recorded,
        };
        let packet = if is_known {
            // Another connection does not know the alias.
            let mut bytes = Vec::new();
            packet.encode(self.version, &mut bytes)?;
            bytes
        } else {
            self.outbound.get(from..).unwrap_or_default().to_vec()
        };
        self.outgoing.insert(id.get(), InFlight { step, packet });
        self.order.push_back(id.get());
        Ok(id.get())
    }

    /// Whether the broker has said that it takes such a message.
    fn check(&self, packet: &Publish<'_>) -> Result<(), Failure> {
        let refuse = |text: &str| Err(Failure::Other(text.to_owned()));
        if packet.qos.bits() > self.maximum_qos {
            return refuse("Message QoS not supported on broker, try a lower QoS.");
        }
        if packet.retain && !self.retain_available {
            return refuse("Retain not available on broker: leave out -r.");
        }
        if let Some(maximum) = self.maximum_packet_size
            && packet.packet_length(self.version)? > maximum
        {
            return Err(Failure::Other(format!(
                "Message payload is too large: the broker takes packets of {maximum} bytes."
            )));
        }
        Ok(())
    }

    /// Queues again what another connection left unacknowledged, in its order. `known` says whether the
    /// broker has kept the session and so may have seen it.
    fn resend(&mut self, known: bool) -> Result<(), Failure> {
        for id in self.order.clone() {
            let Some(waiting) = self.outgoing.get(&id) else {
                continue;
            };
            if waiting.step == Step::Completed
                && let Some(packet_id) = NonZeroU16::new(id)
            {
                self.acknowledge(AckKind::PubRel, packet_id, ReasonCode::SUCCESS)?;
                continue;
            }
            let from = self.outbound.len();
            self.outbound.extend_from_slice(&waiting.packet);
            if known && let Some(first) = self.outbound.get_mut(from) {
                *first |= DUP;
            }
        }
        Ok(())
    }

    /// Queues DISCONNECT; versions before 5.0 have no reason.
    pub(crate) fn disconnect(
        &mut self,
        reason: ReasonCode,
        properties: &Section,
    ) -> Result<(), Failure> {
        self.note(format_args!("sending DISCONNECT"));
        let properties = self.of_5_0(properties);
        self.put(&Packet::Disconnect(Disconnect { reason, properties }))
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
    pub(crate) fn next_event<'a>(
        &mut self,
        inbound: &'a mut Inbound,
    ) -> Result<Option<Event<'a>>, Failure> {
        let (bytes, start, aliases) = inbound.parts();
        loop {
            let rest = bytes.get(*start..).unwrap_or_default();
            let Some(header) = Header::peek(rest)? else {
                return Ok(None);
            };
            let Some(body) = header.body(rest) else {
                return Ok(None);
            };
            *start += header.packet_length();
            let packet = Packet::decode(header.first, self.version, body)?;
            if self.connected == matches!(packet, Packet::ConnAck(_)) {
                return Err(unexpected(&packet));
            }
            let Packet::Publish(mut message) = packet else {
                if let Some(event) = self.on_packet(packet)? {
                    return Ok(Some(event));
                }
                continue;
            };
            if !message.properties.is_empty()
                && let Some(alias) = message.topic_alias()
            {
                if !message.topic.is_empty() {
                    aliases.insert(alias, message.topic.to_owned());
                } else if aliases.contains_key(&alias) {
                    if !self.on_publish(&message)? {
                        continue;
                    }
                    message.topic = aliases.get(&alias).map_or("", String::as_str);
                    return Ok(Some(Event::Message(message)));
                }
            }
            if message.topic.is_empty() {
                // Aliases come when we allow them, and only those that were set [MQTT5-3.3.2-7].
                return Err(Failure::Protocol("a message without topic".to_owned()));
            }
            if self.on_publish(&message)? {
                return Ok(Some(Event::Message(message)));
            }
        }
    }

    fn on_packet<'a>(&mut self, packet: Packet<'a>) -> Result<Option<Event<'a>>, Failure> {
        match packet {
            Packet::ConnAck(connack) => self.on_connack(&connack).map(Some),
            Packet::Ack(AckKind::PubRel, ack) => self.on_pubrel(ack.packet_id).map(|()| None),
            Packet::Ack(kind, ack) => self.on_ack(kind, &ack),
            Packet::SubAck(suback) => Ok(Some(self.on_suback(&suback))),
            Packet::UnsubAck(unsuback) => Ok(Some(self.on_unsuback(&unsuback))),
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
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_)
            | Packet::Auth(_) => Err(unexpected(&packet)),
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>) -> Result<Event<'static>, Failure> {
        self.connected = true;
        self.receive_maximum = u16::MAX;
        for property in connack.properties.iter() {
            match property {
                Property::ReceiveMaximum(maximum) => self.receive_maximum = maximum,
                Property::MaximumQos(maximum) => self.maximum_qos = maximum,
                Property::RetainAvailable(available) => self.retain_available = available != 0,
                Property::MaximumPacketSize(bytes) => {
                    self.maximum_packet_size = usize::try_from(bytes).ok();
                }
                Property::ServerKeepAlive(seconds) => {
                    self.keep_alive = Duration::from_secs(u64::from(seconds));
                }
                Property::AssignedClientIdentifier(id) => id.clone_into(&mut self.client_id),
                _ => {}
            }
        }
        let code = if self.version == Version::V5 {
            connack.reason.0
        } else {
            connack.reason.connack_v3().unwrap_or(connack.reason.0)
        };
        self.note(format_args!("received CONNACK ({code})"));
        if !connack.reason.is_failure() {
            if !connack.session_present {
                self.incoming.clear();
            }
            self.resend(connack.session_present)?;
        }
        Ok(Event::Connected {
            reason: connack.reason,
        })
    }

    /// Acknowledges a message; whether it is new.
    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<bool, Failure> {
        let id = publish.packet_id.map_or(0, NonZeroU16::get);
        self.note(format_args!(
            "received PUBLISH (d{}, q{}, r{}, m{id}, '{}', ... ({} bytes))",
            u8::from(publish.dup),
            publish.qos.bits(),
            u8::from(publish.retain),
            publish.topic,
            publish.payload.len()
        ));
        let Some(packet_id) = publish.packet_id else {
            return Ok(true);
        };
        if publish.qos == QoS::AtLeastOnce {
            self.acknowledge(AckKind::PubAck, packet_id, ReasonCode::SUCCESS)?;
            return Ok(true);
        }
        // What was handed out once is not handed out again until it was released
        // [MQTT5-4.3.3-10].
        let is_new = self.incoming.insert(id);
        self.acknowledge(AckKind::PubRec, packet_id, ReasonCode::SUCCESS)?;
        Ok(is_new)
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

    fn on_ack<'a>(&mut self, kind: AckKind, ack: &Ack<'a>) -> Result<Option<Event<'a>>, Failure> {
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
        let awaited = self.outgoing.get(&id).map(|waiting| waiting.step);
        let done = match (kind, awaited) {
            (AckKind::PubAck, Some(Step::Acknowledged))
            | (AckKind::PubComp, Some(Step::Completed)) => true,
            // A failure in PUBREC ends the exchange (MQTT5 4.3.3).
            (AckKind::PubRec, Some(Step::Recorded)) if ack.reason.is_failure() => true,
            (AckKind::PubRec, Some(Step::Recorded | Step::Completed)) => {
                if let Some(waiting) = self.outgoing.get_mut(&id) {
                    waiting.step = Step::Completed;
                    waiting.packet = Vec::new();
                }
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
        // Mostly the first.
        if let Some(at) = self.order.iter().position(|waiting| *waiting == id) {
            self.order.remove(at);
        }
        let text = ack.properties.iter().find_map(|property| match property {
            Property::ReasonString(text) => Some(text),
            _ => None,
        });
        Ok(Some(Event::Published {
            packet_id: id,
            reason: ack.reason,
            text,
        }))
    }

    fn on_suback<'a>(&mut self, suback: &SubAck<'a>) -> Event<'a> {
        self.note(format_args!("received SUBACK"));
        Event::Subscribed {
            packet_id: suback.packet_id.get(),
            codes: suback.codes,
        }
    }

    fn on_unsuback(&mut self, _: &UnsubAck<'_>) -> Event<'static> {
        self.note(format_args!("received UNSUBACK"));
        Event::Unsubscribed
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

fn unexpected(packet: &Packet<'_>) -> Failure {
    Failure::Protocol(format!("unexpected {}", packet.packet_type().name()))
}

#[cfg(test)]
mod tests;
