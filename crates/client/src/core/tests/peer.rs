//! A small broker: it keeps its session over connections unless told to forget, and can be told to
//! misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;

use midge_codec::{
    Ack, AckKind, ConnAck, Disconnect, Packet, Properties, Property, Publish, QoS, ReasonCode,
    SubAck, UnsubAck, Version,
};
use midge_proto::{Acked, InboundAliases, Outgoing, Resend};

pub(super) struct Peer {
    version: Version,
    pub(super) outbound: Vec<u8>,
    inbound: Vec<u8>,
    pub(super) is_closed: bool,
    is_connected: bool,
    aliases: InboundAliases,
    /// What became of CONNECT, oldest first; success when nothing is said.
    pub(super) answers: VecDeque<ReasonCode>,
    /// Properties of CONNACK.
    pub(super) receive_maximum: u16,
    pub(super) topic_alias_maximum: u16,
    pub(super) packet_size_max: u32,
    pub(super) retains: bool,
    /// Forgets the session at the next connection.
    pub(super) forgets: bool,
    /// Answers no PUBLISH, and no PINGREQ.
    pub(super) is_mute: bool,
    has_session: bool,
    /// Identifiers of messages of QoS 2 between PUBREC and PUBREL.
    unreleased: BTreeMap<u16, ()>,
    /// Messages that this broker owns.
    pub(super) taken: Vec<(String, String)>,
    /// The most that were unacknowledged at once.
    pub(super) unanswered: usize,
    pub(super) filters: BTreeMap<String, QoS>,
    pub(super) subscribes: usize,
    pub(super) refused_filters: Vec<String>,
    outgoing: Outgoing<(String, String)>,
    waiting: VecDeque<(String, String, QoS)>,
    /// Unacknowledged messages that the client takes.
    client_receive_maximum: u16,
    /// Packets of the client's, by name.
    pub(super) heard: Vec<String>,
    pub(super) bytes_of_publishes: Vec<usize>,
}

impl Peer {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            outbound: Vec::new(),
            inbound: Vec::new(),
            is_closed: false,
            is_connected: false,
            aliases: InboundAliases::default(),
            answers: VecDeque::new(),
            receive_maximum: 65_535,
            topic_alias_maximum: 0,
            packet_size_max: 0,
            retains: true,
            forgets: false,
            is_mute: false,
            has_session: false,
            unreleased: BTreeMap::new(),
            taken: Vec::new(),
            unanswered: 0,
            filters: BTreeMap::new(),
            subscribes: 0,
            refused_filters: Vec::new(),
            outgoing: Outgoing::default(),
            waiting: VecDeque::new(),
            client_receive_maximum: 65_535,
            heard: Vec::new(),
            bytes_of_publishes: Vec::new(),
        }
    }

    pub(super) fn opened(&mut self) {
        self.outbound.clear();
        self.inbound.clear();
        self.aliases = InboundAliases::default();
        self.is_closed = false;
        self.is_connected = false;
    }

    pub(super) fn lost(&mut self) {
        self.outgoing.disconnected();
        self.is_connected = false;
        self.outbound.clear();
        self.unanswered = 0;
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.inbound.extend_from_slice(bytes);
        let inbound = std::mem::take(&mut self.inbound);
        let mut rest = &inbound[..];
        while let Some((packet, length)) = Packet::read(rest, self.version).unwrap() {
            self.heard.push(packet.packet_type().name().to_owned());
            let bytes_max = self.packet_size_max as usize;
            let is_taken = !self.is_connected || bytes_max == 0 || length <= bytes_max;
            assert!(is_taken, "{length} bytes of {:?}", packet.packet_type());
            if let Packet::Publish(_) = packet {
                self.bytes_of_publishes.push(length);
            }
            self.on_packet(&packet);
            rest = &rest[length..];
        }
        self.inbound = rest.to_vec();
    }

    fn on_packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => {
                let answer = self.answers.pop_front().unwrap_or(ReasonCode::SUCCESS);
                for property in connect.properties.iter() {
                    if let Property::ReceiveMaximum(maximum) = property {
                        self.client_receive_maximum = maximum;
                    }
                }
                if connect.clean_start || std::mem::take(&mut self.forgets) {
                    self.has_session = false;
                }
                if !self.has_session {
                    self.unreleased.clear();
                    self.filters.clear();
                    self.outgoing = Outgoing::default();
                    self.waiting.clear();
                }
                let mut list = Vec::new();
                if self.receive_maximum < 65_535 {
                    list.push(Property::ReceiveMaximum(self.receive_maximum));
                }
                if self.topic_alias_maximum > 0 {
                    list.push(Property::TopicAliasMaximum(self.topic_alias_maximum));
                }
                if self.packet_size_max > 0 {
                    list.push(Property::MaximumPacketSize(self.packet_size_max));
                }
                if !self.retains {
                    list.push(Property::RetainAvailable(0));
                }
                self.say(Packet::ConnAck(ConnAck {
                    session_present: self.has_session && !answer.is_failure(),
                    reason: answer,
                    properties: Properties::from_list(&list),
                }));
                if answer.is_failure() {
                    self.is_closed = true;
                    return;
                }
                self.has_session = true;
                self.is_connected = true;
                while let Some(resend) = self.outgoing.next_resend(self.client_receive_maximum) {
                    let packet = match resend {
                        Resend::Publish(id, qos, (topic, payload)) => {
                            Packet::Publish(publish(topic, payload, qos, Some(id), true))
                        }
                        Resend::PubRel(id) => {
                            Packet::Ack(AckKind::PubRel, Ack::new(id, ReasonCode::SUCCESS))
                        }
                    };
                    packet.encode(self.version, &mut self.outbound).unwrap();
                }
                self.push();
            }
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::Ack(AckKind::PubRel, ack) => {
                self.unreleased.remove(&ack.packet_id.get());
                self.ack(AckKind::PubComp, ack.packet_id);
            }
            Packet::Ack(kind, ack) => {
                let refused = ack.reason.is_failure();
                match self.outgoing.acknowledge(*kind, ack.packet_id, refused) {
                    Acked::Release(_) => self.ack(AckKind::PubRel, ack.packet_id),
                    Acked::Finished(_) => self.push(),
                    Acked::Unknown => panic!("{kind:?} for nothing"),
                    Acked::Mismatch => panic!("{kind:?} at the wrong step"),
                }
            }
            Packet::Subscribe(subscribe) => {
                self.subscribes += 1;
                let mut codes = Vec::new();
                for subscription in subscribe.subscriptions.iter() {
                    let filter = subscription.filter.to_owned();
                    if self.refused_filters.contains(&filter) {
                        codes.push(0x80);
                        continue;
                    }
                    codes.push(subscription.options.qos.bits());
                    self.filters.insert(filter, subscription.options.qos);
                }
                self.say(Packet::SubAck(SubAck {
                    packet_id: subscribe.packet_id,
                    properties: Properties::NONE,
                    codes: &codes,
                }));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let mut codes = Vec::new();
                for filter in unsubscribe.filters.iter() {
                    self.filters.remove(filter);
                    codes.push(0);
                }
                self.say(Packet::UnsubAck(UnsubAck {
                    packet_id: unsubscribe.packet_id,
                    properties: Properties::NONE,
                    codes: &codes,
                }));
            }
            Packet::PingReq if !self.is_mute => self.say(Packet::PingResp),
            Packet::PingReq => {}
            Packet::Disconnect(_) => {
                self.is_closed = true;
                self.has_session = false;
            }
            other => panic!("{other:?}"),
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        assert!(self.retains || !publish.retain);
        let alias = publish.topic_alias();
        let topic = self
            .aliases
            .resolve(publish.topic, alias, self.topic_alias_maximum)
            .unwrap()
            .to_owned();
        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
        let Some(id) = publish.packet_id else {
            self.taken.push((topic, payload));
            return;
        };
        self.unanswered += 1;
        assert!(self.unanswered <= usize::from(self.receive_maximum));
        if self.is_mute {
            return;
        }
        self.unanswered -= 1;
        if publish.qos == QoS::AtLeastOnce {
            self.taken.push((topic, payload));
            self.ack(AckKind::PubAck, id);
        } else {
            if self.unreleased.insert(id.get(), ()).is_none() {
                self.taken.push((topic, payload));
            }
            self.ack(AckKind::PubRec, id);
        }
    }

    fn ack(&mut self, kind: AckKind, id: NonZeroU16) {
        self.say(Packet::Ack(kind, Ack::new(id, ReasonCode::SUCCESS)));
    }

    pub(super) fn say(&mut self, packet: Packet<'_>) {
        packet.encode(self.version, &mut self.outbound).unwrap();
    }

    /// Ends the connection with a DISCONNECT.
    pub(super) fn disconnect(&mut self, reason: ReasonCode) {
        self.say(Packet::Disconnect(Disconnect::new(reason)));
        self.is_closed = true;
    }

    /// Sends a message as soon as the client takes it.
    pub(super) fn send(&mut self, topic: &str, payload: &str, qos: QoS) {
        self.waiting
            .push_back((topic.to_owned(), payload.to_owned(), qos));
        self.push();
    }

    fn push(&mut self) {
        while self.is_connected
            && let Some((topic, payload, qos)) = self.waiting.front().cloned()
        {
            if qos == QoS::AtMostOnce {
                self.say(Packet::Publish(publish(&topic, &payload, qos, None, false)));
            } else if self.outgoing.has_room(self.client_receive_maximum) {
                let message = (topic.clone(), payload.clone());
                let id = self.outgoing.push(qos, message).unwrap();
                self.say(Packet::Publish(publish(
                    &topic,
                    &payload,
                    qos,
                    Some(id),
                    false,
                )));
            } else {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Whether the client has acknowledged everything.
    pub(super) fn is_finished(&self) -> bool {
        self.outgoing.is_empty() && self.waiting.is_empty()
    }
}

pub(super) fn publish<'a>(
    topic: &'a str,
    payload: &'a str,
    qos: QoS,
    packet_id: Option<NonZeroU16>,
    dup: bool,
) -> Publish<'a> {
    Publish {
        dup,
        qos,
        retain: false,
        topic,
        packet_id,
        properties: Properties::NONE,
        payload: payload.as_bytes(),
    }
}
