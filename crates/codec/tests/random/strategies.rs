//! Packets of every kind in every version, at random.

use std::num::NonZeroU16;

use midge_codec::{AckKind, PropertyId, QoS, RetainHandling, SubscriptionOptions, Version};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::owned::{OwnedBody, OwnedConnect, OwnedPacket, OwnedProperty, OwnedPublish, OwnedWill};

pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(Version::ALL.to_vec())
}

/// A packet in any version.
pub(crate) fn packet() -> impl Strategy<Value = OwnedPacket> {
    version().prop_flat_map(packet_of)
}

/// A packet that `version` has.
fn packet_of(version: Version) -> BoxedStrategy<OwnedPacket> {
    let is_5 = version.has_properties();
    let mut kinds = vec![
        connect(version),
        connack(version),
        publish(version),
        ack(version),
        subscribe(version),
        suback(version),
        unsubscribe(version),
        unsuback(version),
        Just((OwnedBody::PingReq, Vec::new())).boxed(),
        Just((OwnedBody::PingResp, Vec::new())).boxed(),
        disconnect(version),
    ];
    if is_5 {
        kinds.push(auth());
    }
    proptest::strategy::Union::new(kinds)
        .prop_map(move |(body, properties)| OwnedPacket {
            version,
            properties: if is_5 { properties } else { Vec::new() },
            body,
        })
        .boxed()
}

type Kind = BoxedStrategy<(OwnedBody, Vec<OwnedProperty>)>;

/// A character that MQTT allows, wildcards and slashes often among them.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        4 => prop::char::range('a', 'c'),
        2 => select(vec!['/', '$', ' ', '~']),
        1 => select(vec!['\u{A0}', 'ß', '\u{7FF}', '\u{800}', '\u{D7FF}', '\u{E000}', '\u{FEFF}',
            '\u{FFFD}', '\u{10000}', '🦀', '\u{10FFFD}']),
    ]
}

/// A string of any characters; short ones mostly, now and then one that needs a long length.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => vec(character(), 0..12).prop_map(String::from_iter),
        1 => (100_usize..400).prop_map(|length| "long".repeat(length)),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    vec(character(), 1..12).prop_map(String::from_iter)
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        2 => Just("+".to_owned()),
        3 => vec(prop::char::range('a', 'c'), 0..3).prop_map(String::from_iter),
    ];
    let share = option::of(vec(prop::char::range('a', 'c'), 1..4).prop_map(String::from_iter));
    (share, vec(level, 1..4), any::<bool>()).prop_map(|(share, levels, hash)| {
        let mut filter = levels.join("/");
        if hash {
            filter.push_str("/#");
        }
        if filter.is_empty() {
            filter.push('a');
        }
        match share {
            Some(name) => format!("$share/{name}/{filter}"),
            None => filter,
        }
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn packet_id() -> impl Strategy<Value = NonZeroU16> {
    (1..=u16::MAX).prop_map(|id| NonZeroU16::new(id).unwrap_or(NonZeroU16::MIN))
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn property(id: PropertyId) -> impl Strategy<Value = OwnedProperty> {
    (any::<u32>(), text(), text(), bytes()).prop_map(move |(number, text, other_text, binary)| {
        OwnedProperty {
            id,
            number,
            text,
            other_text,
            binary,
        }
    })
}

/// Each of `once` at most once and each of `often` up to three times, in any order.
fn properties(
    once: &[PropertyId],
    often: &[PropertyId],
) -> impl Strategy<Value = Vec<OwnedProperty>> + use<> {
    let singles: Vec<_> = once.iter().map(|id| option::of(property(*id))).collect();
    let multiples: Vec<_> = often.iter().map(|id| vec(property(*id), 0..=3)).collect();
    (singles, multiples, vec(any::<(Index, Index)>(), 0..4)).prop_map(
        |(singles, multiples, swaps)| {
            let mut all: Vec<_> = singles
                .into_iter()
                .flatten()
                .chain(multiples.into_iter().flatten())
                .collect();
            if all.len() > 1 {
                for (a, b) in swaps {
                    let (a, b) = (a.index(all.len()), b.index(all.len()));
                    all.swap(a, b);
                }
            }
            all
        },
    )
}

const USER: &[PropertyId] = &[PropertyId::UserProperty];
const MESSAGE: &[PropertyId] = &[
    PropertyId::PayloadFormatIndicator,
    PropertyId::MessageExpiryInterval,
    PropertyId::ContentType,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
];

fn connect(version: Version) -> Kind {
    let is_5 = version.has_properties();
    let will_ids = [MESSAGE, &[PropertyId::WillDelayInterval]].concat();
    let will = (
        qos(),
        any::<bool>(),
        properties(&will_ids, USER),
        topic(),
        bytes(),
    )
        .prop_map(move |(qos, retain, properties, topic, payload)| OwnedWill {
            qos,
            retain,
            properties: if is_5 { properties } else { Vec::new() },
            topic,
            payload,
        });
    let mut ids = vec![
        PropertyId::SessionExpiryInterval,
        PropertyId::ReceiveMaximum,
        PropertyId::MaximumPacketSize,
        PropertyId::TopicAliasMaximum,
        PropertyId::RequestResponseInformation,
        PropertyId::RequestProblemInformation,
        PropertyId::AuthenticationMethod,
    ];
    let fields = (
        any::<bool>(),
        any::<bool>(),
        any::<u16>(),
        text(),
        option::of(will),
        option::of(text()),
        option::of(bytes()),
    )
        .prop_map(
            move |(bridge, clean_start, keep_alive, client_id, will, user_name, password)| {
                OwnedConnect {
                    bridge: bridge && !is_5,
                    clean_start,
                    keep_alive,
                    client_id,
                    will,
                    password: password.filter(|_| is_5 || user_name.is_some()),
                    user_name,
                }
            },
        );
    // Authentication data needs a method, which may stand behind it.
    let without_data = properties(&ids, USER);
    ids.pop();
    let method = property(PropertyId::AuthenticationMethod);
    let data = property(PropertyId::AuthenticationData);
    let with_data = (properties(&ids, USER), data, method).prop_map(|(mut all, data, method)| {
        all.extend([data, method]);
        all
    });
    (fields, prop_oneof![without_data, with_data])
        .prop_map(|(connect, properties)| (OwnedBody::Connect(connect), properties))
        .boxed()
}

fn connack(version: Version) -> Kind {
    let codes: &[u8] = if version.has_properties() {
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ]
    } else {
        &[0x00, 0x84, 0x85, 0x88, 0x86, 0x87]
    };
    let ids = [
        PropertyId::SessionExpiryInterval,
        PropertyId::ReceiveMaximum,
        PropertyId::MaximumQos,
        PropertyId::RetainAvailable,
        PropertyId::MaximumPacketSize,
        PropertyId::AssignedClientIdentifier,
        PropertyId::TopicAliasMaximum,
        PropertyId::ReasonString,
        PropertyId::WildcardSubscriptionAvailable,
        PropertyId::SubscriptionIdentifierAvailable,
        PropertyId::SharedSubscriptionAvailable,
        PropertyId::ServerKeepAlive,
        PropertyId::ResponseInformation,
        PropertyId::ServerReference,
        PropertyId::AuthenticationMethod,
        PropertyId::AuthenticationData,
    ];
    (
        any::<bool>(),
        select(codes.to_vec()),
        properties(&ids, USER),
    )
        .prop_map(move |(present, code, properties)| {
            let present = present && version != Version::V3_1;
            (OwnedBody::ConnAck(present, code), properties)
        })
        .boxed()
}

fn publish(version: Version) -> Kind {
    let ids = [MESSAGE, &[PropertyId::TopicAlias]].concat();
    let often = [PropertyId::UserProperty, PropertyId::SubscriptionIdentifier];
    let payload = prop_oneof![9 => bytes(), 1 => (0_usize..20_000).prop_map(|n| vec![0xA5; n])];
    let topic = if version.has_properties() {
        prop_oneof![9 => topic(), 1 => Just(String::new())].boxed()
    } else {
        topic().boxed()
    };
    let fields = (
        any::<bool>(),
        qos(),
        any::<bool>(),
        topic,
        packet_id(),
        payload,
    )
        .prop_map(
            |(dup, qos, retain, topic, packet_id, payload)| OwnedPublish {
                dup: dup && qos != QoS::AtMostOnce,
                qos,
                retain,
                topic,
                packet_id,
                payload,
            },
        );
    (fields, properties(&ids, &often))
        .prop_map(|(publish, properties)| (OwnedBody::Publish(publish), properties))
        .boxed()
}

fn ack(version: Version) -> Kind {
    let kinds = vec![
        (
            AckKind::PubAck,
            &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99][..],
        ),
        (
            AckKind::PubRec,
            &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        ),
        (AckKind::PubRel, &[0x00, 0x92]),
        (AckKind::PubComp, &[0x00, 0x92]),
    ];
    let properties = properties(&[PropertyId::ReasonString], USER);
    (select(kinds), any::<Index>(), packet_id(), properties)
        .prop_map(move |((kind, codes), code, id, properties)| {
            let code = if version.has_properties() {
                codes[code.index(codes.len())]
            } else {
                0
            };
            (OwnedBody::Ack(kind, id, code), properties)
        })
        .boxed()
}

fn subscribe(version: Version) -> Kind {
    let is_5 = version.has_properties();
    let handling = select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let line = (filter(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(filter, qos, no_local, retain_as_published, retain_handling)| {
            let only_qos = SubscriptionOptions {
                qos,
                ..SubscriptionOptions::default()
            };
            let options = SubscriptionOptions {
                qos,
                no_local: no_local && !filter.starts_with("$share/"),
                retain_as_published,
                retain_handling,
            };
            (filter, if is_5 { options } else { only_qos })
        },
    );
    let least = usize::from(version != Version::V3_1);
    let properties = properties(&[PropertyId::SubscriptionIdentifier], USER);
    (packet_id(), vec(line, least..5), properties)
        .prop_map(|(id, lines, properties)| (OwnedBody::Subscribe(id, lines), properties))
        .boxed()
}

fn suback(version: Version) -> Kind {
    let codes: &[u8] = if version.has_properties() {
        &[
            0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
        ]
    } else {
        &[0, 1, 2, 0x80]
    };
    let properties = properties(&[PropertyId::ReasonString], USER);
    (packet_id(), vec(select(codes.to_vec()), 0..5), properties)
        .prop_map(|(id, codes, properties)| (OwnedBody::SubAck(id, codes), properties))
        .boxed()
}

fn unsubscribe(version: Version) -> Kind {
    let least = usize::from(version != Version::V3_1);
    (packet_id(), vec(filter(), least..5), properties(&[], USER))
        .prop_map(|(id, filters, properties)| (OwnedBody::Unsubscribe(id, filters), properties))
        .boxed()
}

fn unsuback(version: Version) -> Kind {
    let most = if version.has_properties() { 4 } else { 0 };
    let codes = select(vec![0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]);
    let properties = properties(&[PropertyId::ReasonString], USER);
    (packet_id(), vec(codes, 0..=most), properties)
        .prop_map(|(id, codes, properties)| (OwnedBody::UnsubAck(id, codes), properties))
        .boxed()
}

fn disconnect(version: Version) -> Kind {
    let codes = if version.has_properties() {
        vec![
            0x00, 0x04, 0x80, 0x81, 0x82, 0x87, 0x8B, 0x8D, 0x8E, 0x93, 0x95, 0x98, 0x9D, 0xA2,
        ]
    } else {
        vec![0]
    };
    let ids = [
        PropertyId::SessionExpiryInterval,
        PropertyId::ReasonString,
        PropertyId::ServerReference,
    ];
    (select(codes), properties(&ids, USER))
        .prop_map(|(code, properties)| (OwnedBody::Disconnect(code), properties))
        .boxed()
}

fn auth() -> Kind {
    let ids = [
        PropertyId::AuthenticationMethod,
        PropertyId::AuthenticationData,
        PropertyId::ReasonString,
    ];
    (select(vec![0x00, 0x18, 0x19]), properties(&ids, USER))
        .prop_map(|(code, properties)| (OwnedBody::Auth(code), properties))
        .boxed()
}
