//! A client of any version on top of the codec, for [`Cluster`].

use std::collections::HashMap;
use std::num::NonZeroU16;

use midge_broker::Ended;
use midge_codec::{
    Ack, AckKind, Connect, Disconnect, Filters, Header, Packet, Properties, Property, Publish, QoS,
    ReasonCode, Subscribe, Subscription, SubscriptionOptions, Subscriptions, Unsubscribe, Version,
    Will,
};

use crate::cluster::Cluster;

/// A client that is about to connect.
#[derive(Clone)]
pub(crate) struct Builder {
    cluster: Cluster,
    id: String,
    version: Version,
    clean: bool,
    keep_alive: u16,
    properties: Vec<Property<'static>>,
    will: Option<WillOf>,
    user_name: Option<&'static str>,
    shard: u16,
    listener: usize,
}

/// A will to be sent.
#[derive(Clone, Default)]
pub(crate) struct WillOf {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<Property<'static>>,
}

/// A packet that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Session present, reason and properties.
    ConnAck(bool, u8, Vec<String>),
    Publish(Msg),
    /// Kind, packet identifier and reason.
    Ack(AckKind, u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
    PingResp,
    Disconnect(u8),
    /// Reason, method and data.
    Auth(u8, String, Vec<u8>),
}

/// A PUBLISH that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Msg {
    /// The topic that is meant, whether by name or by alias.
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: Option<u16>,
    pub(crate) alias: Option<u16>,
    /// The topic was left to the alias.
    pub(crate) by_alias: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) ids: Vec<u32>,
    /// The other properties in their order.
    pub(crate) properties: Vec<String>,
}

/// A message to publish.
#[derive(Clone, Copy)]
pub(crate) struct Pub<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) properties: &'a [Property<'a>],
}

impl<'a> Pub<'a> {
    pub(crate) fn new(topic: &'a str, payload: &'a str, qos: u8) -> Self {
        Self {
            topic,
            payload: payload.as_bytes(),
            qos,
            retain: false,
            dup: false,
            properties: &[],
        }
    }
}

impl Builder {
    pub(crate) fn new(cluster: Cluster, id: &str) -> Self {
        Self {
            cluster,
            id: id.to_owned(),
            version: Version::V5,
            clean: true,
            keep_alive: 0,
            properties: Vec::new(),
            will: None,
            user_name: None,
            shard: 0,
            listener: 0,
        }
    }

    pub(crate) fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Asks for a session that goes on for ever after this connection, and for an old one.
    pub(crate) fn persistent(mut self) -> Self {
        self.clean = false;
        if self.version == Version::V5 {
            self = self.property(Property::SessionExpiryInterval(u32::MAX));
        }
        self
    }

    /// Asks for an old session, and says nothing of what becomes of it.
    pub(crate) fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    /// Asks for a session that outlives this connection by so many seconds, and for an old one.
    pub(crate) fn expiry(self, seconds: u32) -> Self {
        self.resume()
            .property(Property::SessionExpiryInterval(seconds))
    }

    pub(crate) fn receive_maximum(self, count: u16) -> Self {
        self.property(Property::ReceiveMaximum(count))
    }

    pub(crate) fn property(mut self, property: Property<'static>) -> Self {
        self.properties.push(property);
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    pub(crate) fn user_name(mut self, name: &'static str) -> Self {
        self.user_name = Some(name);
        self
    }

    pub(crate) fn will(self, topic: &str, payload: &str, qos: u8) -> Self {
        self.will_of(WillOf {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            qos: QoS::from_bits(qos).unwrap(),
            ..WillOf::default()
        })
    }

    pub(crate) fn will_of(mut self, will: WillOf) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds a property to the will.
    pub(crate) fn will_property(mut self, property: Property<'static>) -> Self {
        self.will.as_mut().unwrap().properties.push(property);
        self
    }

    /// Puts the connection on a shard, where it stays if its session is not elsewhere.
    pub(crate) fn shard(mut self, shard: u16) -> Self {
        self.shard = shard;
        self
    }

    pub(crate) fn listener(mut self, listener: usize) -> Self {
        self.listener = listener;
        self
    }

    /// The bytes of the CONNECT.
    pub(crate) fn connect_bytes(&self) -> Vec<u8> {
        let will = self.will.as_ref().map(|will| Will {
            qos: will.qos,
            retain: will.retain,
            properties: Properties::from_list(&will.properties),
            topic: &will.topic,
            payload: will.payload.as_bytes(),
        });
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: self.clean,
            keep_alive: self.keep_alive,
            properties: Properties::from_list(&self.properties),
            client_id: &self.id,
            will,
            user_name: self.user_name,
            password: None,
        };
        encoded(&Packet::Connect(connect), self.version)
    }

    /// Opens a connection and says nothing.
    pub(crate) fn open(&self) -> Client {
        Client {
            token: self.cluster.open(self.shard, self.listener),
            cluster: self.cluster.clone(),
            version: self.version,
            acknowledges: true,
            next_id: 0,
            present: false,
            connack: Vec::new(),
            inbox: Vec::new(),
            partial: Vec::new(),
            aliases: HashMap::new(),
        }
    }

    /// Sends CONNECT, whatever comes of it.
    pub(crate) fn try_connect(&self) -> Client {
        let client = self.open();
        client.feed(&self.connect_bytes());
        client
    }

    /// Connects.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        let mut client = self.try_connect();
        client.expect_connack();
        client
    }

    /// Connects and leaves acknowledgements to the test.
    #[track_caller]
    pub(crate) fn connect_by_hand(&self) -> Client {
        let mut client = self.try_connect();
        client.acknowledges = false;
        client.expect_connack();
        client
    }
}

/// A client.
pub(crate) struct Client {
    pub(crate) cluster: Cluster,
    pub(crate) token: usize,
    version: Version,
    /// Acknowledges what it receives, and goes on with its own QoS 2 messages.
    pub(crate) acknowledges: bool,
    next_id: u16,
    /// What CONNACK said of the session.
    pub(crate) present: bool,
    /// What CONNACK said besides.
    pub(crate) connack: Vec<String>,
    inbox: Vec<Got>,
    partial: Vec<u8>,
    aliases: HashMap<u16, String>,
}

impl Client {
    #[track_caller]
    pub(crate) fn expect_connack(&mut self) {
        self.sync();
        if self.inbox.is_empty() {
            panic!("no CONNACK, closed: {}", self.is_closed());
        }
        match self.inbox.remove(0) {
            Got::ConnAck(present, 0, properties) => {
                self.present = present;
                self.connack = properties;
            }
            other => panic!("{other:?} instead of a good CONNACK"),
        }
    }

    /// Sends bytes.
    pub(crate) fn feed(&self, bytes: &[u8]) {
        self.cluster.feed(self.token, bytes);
    }

    /// Sends a packet.
    pub(crate) fn send(&self, packet: &Packet<'_>) {
        self.feed(&encoded(packet, self.version));
    }

    /// Takes what has come, and acknowledges it if it does so.
    pub(crate) fn sync(&mut self) {
        loop {
            let bytes = self.cluster.received(self.token);
            if bytes.is_empty() {
                return;
            }
            self.replay(&bytes);
        }
    }

    /// Takes bytes from the broker.
    pub(crate) fn replay(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.partial);
        let mut rest = &*bytes;
        while let Some(header) = Header::peek(rest).unwrap() {
            let Some(body) = header.body(rest) else { break };
            let packet = Packet::decode(header.first, self.version, body)
                .unwrap_or_else(|error| panic!("{error:?} in {rest:02X?}"));
            self.take_packet(&packet);
            rest = &rest[header.packet_length()..];
        }
        self.partial = rest.to_vec();
    }

    fn take_packet(&mut self, packet: &Packet<'_>) {
        let got = self.got(packet);
        if self.acknowledges {
            match &got {
                Got::Publish(Msg {
                    qos: 1,
                    id: Some(id),
                    ..
                }) => self.acknowledge(AckKind::PubAck, *id, 0),
                Got::Publish(Msg {
                    qos: 2,
                    id: Some(id),
                    ..
                }) => self.acknowledge(AckKind::PubRec, *id, 0),
                Got::Ack(AckKind::PubRec, id, reason) if *reason < 0x80 => {
                    self.acknowledge(AckKind::PubRel, *id, 0);
                }
                Got::Ack(AckKind::PubRel, id, _) => self.acknowledge(AckKind::PubComp, *id, 0),
                _ => {}
            }
        }
        self.inbox.push(got);
    }

    fn got(&mut self, packet: &Packet<'_>) -> Got {
        match packet {
            Packet::ConnAck(connack) => Got::ConnAck(
                connack.session_present,
                connack.reason.0,
                texts(&connack.properties),
            ),
            Packet::Publish(publish) => Got::Publish(self.message(publish)),
            Packet::Ack(kind, ack) => Got::Ack(*kind, ack.packet_id.get(), ack.reason.0),
            Packet::SubAck(suback) => Got::SubAck(suback.packet_id.get(), suback.codes.to_vec()),
            Packet::UnsubAck(unsuback) => {
                Got::UnsubAck(unsuback.packet_id.get(), unsuback.codes.to_vec())
            }
            Packet::PingResp => Got::PingResp,
            Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason.0),
            Packet::Auth(auth) => {
                let (mut name, mut data) = (String::new(), Vec::new());
                for property in auth.properties.iter() {
                    match property {
                        Property::AuthenticationMethod(text) => text.clone_into(&mut name),
                        Property::AuthenticationData(bytes) => bytes.clone_into(&mut data),
                        _ => {}
                    }
                }
                Got::Auth(auth.reason.0, name, data)
            }
            other => panic!("a server does not send {other:?}"),
        }
    }

    fn message(&mut self, publish: &Publish<'_>) -> Msg {
        let mut msg = Msg {
            topic: publish.topic.to_owned(),
            payload: String::from_utf8_lossy(publish.payload).into_owned(),
            qos: publish.qos.bits(),
            retain: publish.retain,
            dup: publish.dup,
            id: publish.packet_id.map(NonZeroU16::get),
            alias: None,
            by_alias: publish.topic.is_empty(),
            expiry: None,
            ids: Vec::new(),
            properties: Vec::new(),
        };
        for property in publish.properties.iter() {
            match property {
                Property::TopicAlias(alias) => msg.alias = Some(alias),
                Property::MessageExpiryInterval(seconds) => msg.expiry = Some(seconds),
                Property::SubscriptionIdentifier(id) => msg.ids.push(id),
                other => msg.properties.push(format!("{other:?}")),
            }
        }
        // Their order means nothing.
        msg.ids.sort_unstable();
        if let Some(alias) = msg.alias {
            if msg.by_alias {
                msg.topic.clone_from(&self.aliases[&alias]);
            } else {
                self.aliases.insert(alias, msg.topic.clone());
            }
        }
        msg
    }

    /// Takes all that has come.
    pub(crate) fn take(&mut self) -> Vec<Got> {
        self.sync();
        std::mem::take(&mut self.inbox)
    }

    /// Takes the messages that have come.
    pub(crate) fn messages(&mut self) -> Vec<Msg> {
        self.sync();
        let mut messages = Vec::new();
        self.inbox.retain(|got| match got {
            Got::Publish(message) => {
                messages.push(message.clone());
                false
            }
            _ => true,
        });
        messages
    }

    /// Takes the messages that have come; their payloads.
    pub(crate) fn payloads(&mut self) -> Vec<String> {
        let messages = self.messages().into_iter();
        messages.map(|message| message.payload).collect()
    }

    /// Takes the one message that has come.
    #[track_caller]
    pub(crate) fn message_alone(&mut self) -> Msg {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.cluster.is_closed(self.token)
    }

    /// Asserts that the broker's last words were DISCONNECT with `reason`, and that nothing else came
    /// since the inbox was emptied; a client of 3.x is just closed.
    #[track_caller]
    pub(crate) fn expect_disconnect(&mut self, reason: u8) {
        let got = self.take();
        if self.version == Version::V5 {
            assert_eq!(got, [Got::Disconnect(reason)]);
        } else {
            assert_eq!(got, []);
        }
        assert!(self.is_closed());
    }

    /// Asserts that the broker closed the connection without a word.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        assert_eq!(self.take(), []);
        assert!(self.is_closed());
    }

    /// Asserts that no message has come, and that the connection lives.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        assert_eq!(self.messages(), []);
        self.send(&Packet::PingReq);
        assert_eq!(self.take().pop(), Some(Got::PingResp));
    }

    pub(crate) fn next_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    /// Publishes; what the last acknowledgement says, if it has come.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8) -> Option<u8> {
        self.publish_of(&Pub::new(topic, payload, qos))
    }

    /// Publishes with RETAIN.
    pub(crate) fn retain(&mut self, topic: &str, payload: &str, qos: u8) -> Option<u8> {
        self.publish_of(&Pub {
            retain: true,
            ..Pub::new(topic, payload, qos)
        })
    }

    /// Publishes with properties.
    pub(crate) fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: u8,
        properties: &[Property<'_>],
    ) -> Option<u8> {
        self.publish_of(&Pub {
            properties,
            ..Pub::new(topic, payload, qos)
        })
    }

    pub(crate) fn publish_of(&mut self, message: &Pub<'_>) -> Option<u8> {
        let id = if message.qos > 0 { self.next_id() } else { 0 };
        self.send_publish(id, message);
        if id == 0 {
            self.sync();
            return None;
        }
        self.answer_to(id)
    }

    /// The last acknowledgement of the PUBLISH `id`; they are taken out of the inbox.
    pub(crate) fn answer_to(&mut self, id: u16) -> Option<u8> {
        self.sync();
        let mut last = None;
        self.inbox.retain(|got| match got {
            Got::Ack(kind, acked, reason) if *acked == id && *kind != AckKind::PubRel => {
                last = Some(*reason);
                false
            }
            _ => true,
        });
        last
    }

    /// Sends a PUBLISH with a packet identifier, which QoS 0 ignores.
    pub(crate) fn send_publish(&self, id: u16, message: &Pub<'_>) {
        self.send(&Packet::Publish(Publish {
            dup: message.dup,
            qos: QoS::from_bits(message.qos).unwrap(),
            retain: message.retain,
            topic: message.topic,
            packet_id: NonZeroU16::new(id),
            properties: Properties::from_list(message.properties),
            payload: message.payload,
        }));
    }

    pub(crate) fn acknowledge(&self, kind: AckKind, id: u16, reason: u8) {
        let id = NonZeroU16::new(id).unwrap();
        self.send(&Packet::Ack(kind, Ack::new(id, ReasonCode(reason))));
    }

    /// Subscribes; the code of the SUBACK.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.subscribe_to(&[(filter, qos)], 0)[0]
    }

    /// Subscribes with option bits and an identifier unless it is 0; the codes of the SUBACK.
    #[track_caller]
    pub(crate) fn subscribe_to(&mut self, filters: &[(&str, u8)], identifier: u32) -> Vec<u8> {
        let id = self.send_subscribe(filters, identifier);
        self.sync();
        let is_it = |got: &Got| matches!(got, Got::SubAck(acked, _) if *acked == id);
        let Some(place) = self.inbox.iter().position(is_it) else {
            panic!("no SUBACK in {:?}", self.inbox);
        };
        match self.inbox.remove(place) {
            Got::SubAck(_, codes) => codes,
            _ => unreachable!(),
        }
    }

    /// Sends SUBSCRIBE; its packet identifier.
    pub(crate) fn send_subscribe(&mut self, filters: &[(&str, u8)], identifier: u32) -> u16 {
        let id = self.next_id();
        let subscriptions: Vec<_> = filters
            .iter()
            .map(|(filter, bits)| Subscription {
                filter,
                options: SubscriptionOptions::from_bits(self.version, *bits).unwrap(),
            })
            .collect();
        let list = [Property::SubscriptionIdentifier(identifier)];
        let properties = if identifier == 0 { &[] } else { &list[..] };
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: NonZeroU16::new(id).unwrap(),
            properties: Properties::from_list(properties),
            subscriptions: Subscriptions::from_list(&subscriptions),
        }));
        id
    }

    /// Unsubscribes; the codes of the UNSUBACK, which 3.x has not.
    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.next_id();
        self.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id: NonZeroU16::new(id).unwrap(),
            properties: Properties::NONE,
            filters: Filters::from_list(filters),
        }));
        self.sync();
        let is_it = |got: &Got| matches!(got, Got::UnsubAck(acked, _) if *acked == id);
        let Some(place) = self.inbox.iter().position(is_it) else {
            panic!("no UNSUBACK in {:?}", self.inbox);
        };
        match self.inbox.remove(place) {
            Got::UnsubAck(_, codes) => codes,
            _ => unreachable!(),
        }
    }

    /// Sends DISCONNECT.
    pub(crate) fn disconnect(&mut self) {
        self.disconnect_with(0, &[]);
    }

    /// Sends DISCONNECT with a reason and properties.
    pub(crate) fn disconnect_with(&mut self, reason: u8, properties: &[Property<'_>]) {
        self.send(&Packet::Disconnect(Disconnect {
            properties: Properties::from_list(properties),
            ..Disconnect::new(ReasonCode(reason))
        }));
        self.cluster.settle();
    }

    /// The connection is lost.
    pub(crate) fn cut(&self) {
        self.cluster.end(self.token, &Ended::ByPeer);
    }

    /// Reads no more.
    pub(crate) fn stop_reading(&self) {
        self.cluster.set_room(self.token, 0);
    }

    /// Reads `bytes` more, and then no more.
    pub(crate) fn read_some(&self, bytes: usize) {
        self.cluster.set_room(self.token, bytes);
    }

    /// Reads all again.
    pub(crate) fn read_on(&self) {
        self.cluster.set_room(self.token, usize::MAX);
    }

    /// Bytes that the broker holds for this client.
    pub(crate) fn outbox_len(&self) -> usize {
        self.cluster.outbox_len(self.token)
    }
}

fn texts(properties: &Properties<'_>) -> Vec<String> {
    properties.iter().map(|item| format!("{item:?}")).collect()
}

/// The bytes of a packet.
pub(crate) fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}
