//! Packets that own their fields, to be made at random and then borrowed.

use std::num::NonZeroU16;

use midge_codec::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Filters, Packet, Properties, Property,
    PropertyId, Publish, QoS, ReasonCode, SubAck, Subscribe, Subscription, SubscriptionOptions,
    Subscriptions, UnsubAck, Unsubscribe, Version, Will,
};

/// A property's value; which of them an identifier takes, [`OwnedProperty::borrow`] knows.
#[derive(Clone, Debug)]
pub(crate) struct OwnedProperty {
    pub(crate) id: PropertyId,
    pub(crate) number: u32,
    pub(crate) text: String,
    pub(crate) other_text: String,
    pub(crate) binary: Vec<u8>,
}

impl OwnedProperty {
    /// The property, with its number brought into range.
    fn borrow(&self) -> Property<'_> {
        let text = self.text.as_str();
        let flag = u8::from(self.number & 1 == 1);
        let [low, high, ..] = self.number.to_le_bytes();
        let short = u16::from_le_bytes([low, high]);
        match self.id {
            PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(flag),
            PropertyId::MessageExpiryInterval => Property::MessageExpiryInterval(self.number),
            PropertyId::ContentType => Property::ContentType(text),
            PropertyId::ResponseTopic => Property::ResponseTopic(topic_or(text, "r")),
            PropertyId::CorrelationData => Property::CorrelationData(&self.binary),
            PropertyId::SubscriptionIdentifier => {
                Property::SubscriptionIdentifier(self.number % 268_435_455 + 1)
            }
            PropertyId::SessionExpiryInterval => Property::SessionExpiryInterval(self.number),
            PropertyId::AssignedClientIdentifier => Property::AssignedClientIdentifier(text),
            PropertyId::ServerKeepAlive => Property::ServerKeepAlive(short),
            PropertyId::AuthenticationMethod => Property::AuthenticationMethod(text),
            PropertyId::AuthenticationData => Property::AuthenticationData(&self.binary),
            PropertyId::RequestProblemInformation => Property::RequestProblemInformation(flag),
            PropertyId::WillDelayInterval => Property::WillDelayInterval(self.number),
            PropertyId::RequestResponseInformation => Property::RequestResponseInformation(flag),
            PropertyId::ResponseInformation => Property::ResponseInformation(text),
            PropertyId::ServerReference => Property::ServerReference(text),
            PropertyId::ReasonString => Property::ReasonString(text),
            PropertyId::ReceiveMaximum => Property::ReceiveMaximum(short.max(1)),
            PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(short),
            PropertyId::TopicAlias => Property::TopicAlias(short.max(1)),
            PropertyId::MaximumQos => Property::MaximumQos(flag),
            PropertyId::RetainAvailable => Property::RetainAvailable(flag),
            PropertyId::UserProperty => Property::UserProperty(text, &self.other_text),
            PropertyId::MaximumPacketSize => Property::MaximumPacketSize(self.number.max(1)),
            PropertyId::WildcardSubscriptionAvailable => {
                Property::WildcardSubscriptionAvailable(flag)
            }
            PropertyId::SubscriptionIdentifierAvailable => {
                Property::SubscriptionIdentifierAvailable(flag)
            }
            PropertyId::SharedSubscriptionAvailable => Property::SharedSubscriptionAvailable(flag),
        }
    }
}

/// `text` where it is a topic name.
fn topic_or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if midge_codec::topic::is_name(text) {
        text
    } else {
        other
    }
}

#[derive(Clone, Debug)]
pub(crate) struct OwnedWill {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<OwnedProperty>,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct OwnedConnect {
    pub(crate) bridge: bool,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) client_id: String,
    pub(crate) will: Option<OwnedWill>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(crate) struct OwnedPublish {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) packet_id: NonZeroU16,
    pub(crate) payload: Vec<u8>,
}

/// What is peculiar to a kind of packet.
#[derive(Clone, Debug)]
pub(crate) enum OwnedBody {
    Connect(OwnedConnect),
    ConnAck(bool, u8),
    Publish(OwnedPublish),
    Ack(AckKind, NonZeroU16, u8),
    Subscribe(NonZeroU16, Vec<(String, SubscriptionOptions)>),
    SubAck(NonZeroU16, Vec<u8>),
    Unsubscribe(NonZeroU16, Vec<String>),
    UnsubAck(NonZeroU16, Vec<u8>),
    PingReq,
    PingResp,
    Disconnect(u8),
    Auth(u8),
}

/// A packet in the form of one version.
#[derive(Clone, Debug)]
pub(crate) struct OwnedPacket {
    pub(crate) version: Version,
    pub(crate) properties: Vec<OwnedProperty>,
    pub(crate) body: OwnedBody,
}

impl OwnedPacket {
    /// Lends the packet to `work`.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&Packet<'_>) -> R) -> R {
        let list: Vec<_> = self.properties.iter().map(OwnedProperty::borrow).collect();
        let properties = Properties::from_list(&list);
        match &self.body {
            OwnedBody::Connect(connect) => {
                let will_list: Vec<_> = connect
                    .will
                    .iter()
                    .flat_map(|will| &will.properties)
                    .map(OwnedProperty::borrow)
                    .collect();
                let will = connect.will.as_ref().map(|will| Will {
                    qos: will.qos,
                    retain: will.retain,
                    properties: Properties::from_list(&will_list),
                    topic: &will.topic,
                    payload: &will.payload,
                });
                work(&Packet::Connect(Connect {
                    version: self.version,
                    bridge: connect.bridge,
                    clean_start: connect.clean_start,
                    keep_alive: connect.keep_alive,
                    properties,
                    client_id: &connect.client_id,
                    will,
                    user_name: connect.user_name.as_deref(),
                    password: connect.password.as_deref(),
                }))
            }
            OwnedBody::ConnAck(session_present, code) => work(&Packet::ConnAck(ConnAck {
                session_present: *session_present,
                reason: ReasonCode(*code),
                properties,
            })),
            OwnedBody::Publish(publish) => work(&Packet::Publish(Publish {
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                topic: &publish.topic,
                packet_id: (publish.qos != QoS::AtMostOnce).then_some(publish.packet_id),
                properties,
                payload: &publish.payload,
            })),
            OwnedBody::Ack(kind, packet_id, code) => work(&Packet::Ack(
                *kind,
                Ack {
                    packet_id: *packet_id,
                    reason: ReasonCode(*code),
                    properties,
                },
            )),
            OwnedBody::Subscribe(packet_id, lines) => {
                let lines: Vec<_> = lines
                    .iter()
                    .map(|(filter, options)| Subscription {
                        filter,
                        options: *options,
                    })
                    .collect();
                work(&Packet::Subscribe(Subscribe {
                    packet_id: *packet_id,
                    properties,
                    subscriptions: Subscriptions::from_list(&lines),
                }))
            }
            OwnedBody::SubAck(packet_id, codes) => work(&Packet::SubAck(SubAck {
                packet_id: *packet_id,
                properties,
                codes,
            })),
            OwnedBody::Unsubscribe(packet_id, filters) => {
                let filters: Vec<_> = filters.iter().map(String::as_str).collect();
                work(&Packet::Unsubscribe(Unsubscribe {
                    packet_id: *packet_id,
                    properties,
                    filters: Filters::from_list(&filters),
                }))
            }
            OwnedBody::UnsubAck(packet_id, codes) => work(&Packet::UnsubAck(UnsubAck {
                packet_id: *packet_id,
                properties,
                codes,
            })),
            OwnedBody::PingReq => work(&Packet::PingReq),
            OwnedBody::PingResp => work(&Packet::PingResp),
            OwnedBody::Disconnect(code) => work(&Packet::Disconnect(Disconnect {
                reason: ReasonCode(*code),
                properties,
            })),
            OwnedBody::Auth(code) => work(&Packet::Auth(Auth {
                reason: ReasonCode(*code),
                properties,
            })),
        }
    }
}
