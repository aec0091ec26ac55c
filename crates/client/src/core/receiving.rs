//! Packets from the broker.

use std::mem;
use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{
    Ack, AckKind, Header, Packet, PacketType, Property, Publish, QoS, ReasonCode, Version,
};
use midge_proto::{Answer, Connection, Fault, Incoming, Time};

use super::handing::Item;
use super::journal::Journal;
use super::{Core, Event};
use crate::message::{Message, MessageProperties};

/// How far a received message of QoS 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The application has it; PUBREC is owed.
    Waiting,
    /// PUBREC was sent.
    Recorded,
}

/// With more bytes of answers on the way nothing is read: a broker that asks and does not listen must not
/// fill the memory.
const ANSWERS_MAX: u64 = 256 * 1024;

/// More subscription identifiers than this in one message are not looked at.
const IDENTIFIERS_MAX: usize = 16;

const RECEIVE_MAXIMUM_EXCEEDED: Fault = Fault::disconnect(
    ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
    "more unacknowledged messages than the receive maximum [MQTT5-3.3.4-9]",
);

/// A message on its way from the packet to the streams.
struct Arrival<'a> {
    topic: Arc<str>,
    /// The message before had the same topic.
    goes_on: bool,
    /// How many bytes there are of its packet and those behind it.
    ahead: usize,
    /// The subscriptions that it comes for, where the broker says so.
    identifiers: &'a [u32],
}

/// A buffer that grew larger for a packet is given back after it.
const UNREAD_KEPT: usize = 1024;

/// How many bytes the first packet of `unread` lacks, or its header; all that come, if it is whole or
/// faulty.
fn missing(unread: &[u8]) -> usize {
    match Header::peek(unread) {
        Ok(None) => 1,
        Ok(Some(header)) if header.packet_length() > unread.len() => {
            header.packet_length() - unread.len()
        }
        Ok(Some(_)) | Err(_) => usize::MAX,
    }
}

/// Reads a PUBACK or PUBREC. A refusal is one whatever its reason: Mosquitto refuses messages that are too
/// large with 0x95, which the standard does not list here, and would be sent them for ever.
fn read_ack<'a>(
    connection: &Connection,
    kind: PacketType,
    header: &Header,
    body: &'a [u8],
) -> Result<Packet<'a>, Fault> {
    let refusal = match Ack::decode_any_reason(connection.version(), body) {
        Ok(ack) if ack.reason.is_failure() && header.first & 0x0F == 0 => ack,
        _ => return connection.decode(kind, header, body),
    };
    Ok(match kind {
        PacketType::PubRec => Packet::Ack(AckKind::PubRec, refusal),
        _ => Packet::Ack(AckKind::PubAck, refusal),
    })
}

impl Core {
    /// Takes bytes from the connection.
    pub(crate) fn received(&mut self, now: Time, bytes: &[u8]) {
        let Some(link) = &mut self.link else {
            return;
        };
        link.last_heard = now;
        link.keep_alive.active(now.min(link.last_sent));
        let mut bytes = bytes;
        // A packet that came in part is completed first: what follows it need not be copied.
        while let Some(link) = &mut self.link
            && !link.unread.is_empty()
            && !bytes.is_empty()
        {
            let (head, rest) = bytes.split_at(missing(&link.unread).min(bytes.len()));
            link.unread.extend_from_slice(head);
            bytes = rest;
            self.resume(now);
        }
        if bytes.is_empty() {
            return;
        }
        let used = self.read_packets(now, bytes);
        if let Some(link) = &mut self.link
            && let Some(rest) = bytes.get(used..)
        {
            link.unread.extend_from_slice(rest);
        }
    }

    /// Goes on with bytes that could not be dealt with before.
    pub(crate) fn resume(&mut self, now: Time) {
        let Some(link) = &mut self.link else {
            return;
        };
        if link.unread.is_empty() {
            return;
        }
        let mut unread = mem::take(&mut link.unread);
        let used = self.read_packets(now, &unread);
        if let Some(link) = &mut self.link {
            unread.drain(..used.min(unread.len()));
            if !unread.is_empty() || unread.capacity() <= UNREAD_KEPT {
                link.unread = unread;
            }
        }
    }

    /// Whether more bytes are wanted from the connection.
    pub(crate) fn wants_bytes(&self) -> bool {
        let Some(link) = &self.link else {
            return false;
        };
        link.judged.is_none() && !self.is_paused() && link.closing.is_none()
    }

    /// Whether the application has so much to read that nothing more is taken.
    ///
    /// A full stream alone stops nothing while the application waits for an answer of the broker's,
    /// since it may not read on before it has that.
    pub(super) fn is_paused(&self) -> bool {
        if self.journal.as_ref().is_some_and(Journal::is_forgetting) {
            return true;
        }
        if self.streams.is_brimful() || self.outbound.answers >= ANSWERS_MAX {
            return true;
        }
        // 3.x cannot tell the broker how much is enough; its packet identifiers are the last limit.
        let unacknowledged = self.receipts.len();
        let is_v3 = !self.options.version.has_properties();
        if is_v3 && unacknowledged >= usize::from(u16::MAX) {
            return true;
        }
        let enough = self.streams.has_enough()
            || is_v3 && unacknowledged >= usize::from(self.options.receive_maximum);
        enough && self.outgoing.is_empty() && self.operations.is_empty() && self.requests.is_empty()
    }

    /// Deals with whole packets; gives the number of bytes used.
    fn read_packets(&mut self, now: Time, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let Some(link) = &self.link else {
                return bytes.len();
            };
            if link.closing.is_some() {
                return bytes.len();
            }
            if link.judged.is_some() || self.is_paused() {
                break;
            }
            let rest = bytes.get(used..).unwrap_or_default();
            let connection = link.connection;
            let header = match Header::peek(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => {
                    self.fault(Some(error.reason()), error.to_string());
                    return bytes.len();
                }
            };
            let kind = match connection.admit(&header) {
                Ok(kind) => kind,
                Err(fault) => {
                    self.on_fault(&fault);
                    return bytes.len();
                }
            };
            let Some(body) = header.body(rest) else {
                break;
            };
            let taken = match kind {
                PacketType::Publish => self.read_publish(&header, body, rest.len()),
                PacketType::PubAck | PacketType::PubRec => {
                    let packet = read_ack(&connection, kind, &header, body);
                    packet.map(|packet| self.on_packet(now, &packet))
                }
                _ => {
                    let packet = connection.decode(kind, &header, body);
                    packet.map(|packet| self.on_packet(now, &packet))
                }
            };
            if let Err(fault) = taken {
                self.on_fault(&fault);
                return bytes.len();
            }
            used += header.packet_length();
        }
        self.payloads.finish();
        used
    }

    /// A whole PUBLISH. `ahead`: how many bytes there are of it and what follows.
    fn read_publish(&mut self, header: &Header, body: &[u8], ahead: usize) -> Result<(), Fault> {
        let version = self.options.version;
        let bytes = Publish::topic_bytes(body).unwrap_or_default();
        let known = self.routes.last_topic(bytes);
        let publish = Publish::decode_known(header.first, version, body, known.as_deref())
            .map_err(|error| Fault::decode(PacketType::Publish, error))?;
        self.on_publish(&publish, known.clone(), ahead)
    }

    fn on_fault(&mut self, fault: &Fault) {
        let answer = match fault.answer {
            Answer::Disconnect(reason) => Some(reason),
            Answer::Close | Answer::ConnAck(..) => None,
        };
        self.fault(answer, fault.to_string());
    }

    fn on_packet(&mut self, now: Time, packet: &Packet<'_>) {
        match packet {
            Packet::Ack(AckKind::PubRel, ack) => self.on_pubrel(ack.packet_id),
            Packet::Ack(kind, ack) => self.on_ack(now, *kind, ack),
            Packet::ConnAck(connack) => self.on_connack(now, connack),
            Packet::SubAck(suback) => self.on_suback(now, suback),
            Packet::UnsubAck(unsuback) => self.on_unsuback(now, unsuback),
            Packet::PingResp => {
                if let Some(link) = &mut self.link {
                    link.keep_alive.pong_received();
                }
            }
            Packet::Disconnect(disconnect) => {
                self.on_disconnect(disconnect.reason, disconnect.properties);
            }
            Packet::Auth(auth) => self.on_auth(auth),
            Packet::Publish(_) => {} // Read apart from the others.
            // Not admitted in the client's role.
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => self.protocol_error("a packet that only clients send"),
        }
    }

    /// `known`: the topic, if it is that of the message before.
    fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        known: Option<Arc<str>>,
        ahead: usize,
    ) -> Result<(), Fault> {
        let goes_on = known.is_some();
        if let Some(topic) = known
            && publish.properties.is_empty()
        {
            let arrival = Arrival {
                topic,
                goes_on,
                ahead,
                identifiers: &[],
            };
            return self.take_in(publish, arrival);
        }
        let mut alias = None;
        let mut identifiers = [0; IDENTIFIERS_MAX];
        let mut count = 0;
        for property in publish.properties.iter() {
            match property {
                Property::TopicAlias(number) => alias = Some(number),
                Property::SubscriptionIdentifier(id) => {
                    if let Some(place) = identifiers.get_mut(count) {
                        *place = id;
                        count += 1;
                    }
                }
                _ => {}
            }
        }
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let maximum = self.options.inbound_aliases_max;
        let topic = link
            .inbound_aliases
            .resolve(publish.topic, alias, maximum)?;
        let (topic, goes_on) = self.routes.intern(topic);
        let arrival = Arrival {
            topic,
            goes_on,
            ahead,
            identifiers: identifiers.get(..count).unwrap_or_default(),
        };
        self.take_in(publish, arrival)
    }

    /// Delivers a message, unless the application has had it.
    fn take_in(&mut self, publish: &Publish<'_>, arrival: Arrival<'_>) -> Result<(), Fault> {
        let Some(id) = publish.packet_id else {
            self.deliver(publish, arrival, None);
            return Ok(());
        };
        if self.is_known(publish, id) {
            return Ok(());
        }
        let owed = self.receipts.len();
        if self.options.version == Version::V5 && owed >= self.options.receive_maximum.into() {
            return Err(RECEIVE_MAXIMUM_EXCEEDED);
        }
        // Not before it is sure to be delivered: what is known is not delivered again.
        if publish.qos == QoS::ExactlyOnce {
            self.incoming.insert(id, Received::Waiting);
        }
        let sequence = self.receipts.next_sequence();
        let holders = self.deliver(publish, arrival, Some(sequence));
        self.receipts.add(id, publish.qos, holders);
        // Nobody may have wanted it, or an older one had to give way to it.
        self.send_receipts();
        Ok(())
    }

    /// Whether the application has been given this message, so that it must not be given it again.
    fn is_known(&mut self, publish: &Publish<'_>, id: NonZeroU16) -> bool {
        if publish.qos == QoS::AtLeastOnce {
            let known = publish.dup && self.receipts.carry_on(id, QoS::AtLeastOnce);
            if known {
                self.send_receipts();
            }
            return known;
        }
        match self.incoming.get_mut(id) {
            None => return false,
            Some(Received::Recorded) => {
                let ack = Ack::new(id, ReasonCode::SUCCESS);
                self.answer(Packet::Ack(AckKind::PubRec, ack));
            }
            Some(Received::Waiting) => {
                self.receipts.carry_on(id, QoS::ExactlyOnce);
                self.send_receipts();
            }
        }
        true
    }

    /// Hands a message to everybody whose filters match; gives how many of them have to be done with it.
    fn deliver(
        &mut self,
        publish: &Publish<'_>,
        arrival: Arrival<'_>,
        sequence: Option<u64>,
    ) -> usize {
        let Arrival {
            topic,
            goes_on,
            ahead,
            identifiers,
        } = arrival;
        let message = Message {
            payload: self.payloads.keep(publish.payload, goes_on, ahead),
            properties: if publish.properties.is_empty() {
                None
            } else {
                MessageProperties::read(publish.properties)
            },
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            receipt: None,
            topic,
        };
        let item = Item { message, sequence };
        let route = self.routes.find(&item.message.topic, identifiers);
        if let [key] = route[..]
            && !self.requests.is_stream(key)
        {
            self.routes.give_back(route);
            let holders = self.streams.push(key, item, &mut self.wakers);
            self.trim(key);
            return usize::from(holders);
        }
        let mut holders = 0;
        let mut item = Some(item);
        for (at, key) in route.iter().enumerate() {
            let given = if at + 1 == route.len() {
                item.take()
            } else {
                item.clone()
            };
            let Some(given) = given else { break };
            if self.requests.is_stream(*key) {
                self.on_response(given.message);
            } else if self.streams.push(*key, given, &mut self.wakers) {
                holders += 1;
            }
        }
        for key in &route {
            self.trim(*key);
        }
        if let Some(unclaimed) = item.filter(|_| route.is_empty()) {
            holders = self.keep_unclaimed(unclaimed);
        }
        self.routes.give_back(route);
        holders
    }

    /// Keeps a message that matches no subscription, since the one that it is for may still be made.
    fn keep_unclaimed(&mut self, item: Item) -> usize {
        if let Some(key) = self.routes.fallback {
            return usize::from(self.streams.push(key, item, &mut self.wakers));
        }
        let unclaimed_max = usize::from(self.options.receive_maximum / 2).min(256);
        if item.sequence.is_none() || !self.terms.session_present || unclaimed_max == 0 {
            return 0;
        }
        if let Some(oldest) = self.streams.keep_unclaimed(item, unclaimed_max) {
            self.done(oldest.sequence);
            let topic = oldest.message.topic().to_owned();
            self.tell(Event::Unclaimed { topic });
        }
        1
    }

    /// Somebody is done with a message.
    pub(super) fn done(&mut self, sequence: Option<u64>) {
        if let Some(sequence) = sequence {
            self.receipts.done(sequence);
        }
    }

    /// The application acknowledges a message by itself.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.receipts.done(sequence);
        self.send_receipts();
    }

    /// Sends the acknowledgements that may leave.
    pub(super) fn send_receipts(&mut self) {
        if !self.is_connected() {
            return;
        }
        let before = self.outbound.end();
        while let Some((id, qos)) = self.receipts.next_due() {
            let kind = match qos {
                QoS::ExactlyOnce => {
                    if let Some(state) = self.incoming.get_mut(id) {
                        *state = Received::Recorded;
                    }
                    self.record_received(id);
                    AckKind::PubRec
                }
                QoS::AtMostOnce | QoS::AtLeastOnce => AckKind::PubAck,
            };
            let version = self.options.version;
            let ack = Ack::new(id, ReasonCode::SUCCESS);
            let _ = ack.encode(kind, version, &mut self.outbound.bytes);
        }
        let sent = self.outbound.end() - before;
        if sent > 0 {
            self.outbound.answers += sent;
            self.rouse();
        }
    }

    fn on_pubrel(&mut self, id: NonZeroU16) {
        let reason = match self.incoming.release(id) {
            Some(_) if self.record_gone(id) => return,
            Some(_) => ReasonCode::SUCCESS,
            None => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        self.answer(Packet::Ack(AckKind::PubComp, Ack::new(id, reason)));
    }

    /// The broker has no session: nothing that it sent before will be sent again as the same message.
    pub(super) fn session_lost(&mut self) {
        self.record_none_received();
        self.incoming = Incoming::default();
        self.receipts.session_lost();
        self.requeue();
        self.forget_unsubscribes();
    }
}
