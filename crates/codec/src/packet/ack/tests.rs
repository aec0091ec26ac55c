use std::vec::Vec;

use super::*;
use crate::tests::{V3, check_long_form, check_no_more, codes, packet, whole_at};
use crate::{Packet, Property, PropertyId, tests};

const KINDS: [AckKind; 4] = [
    AckKind::PubAck,
    AckKind::PubRec,
    AckKind::PubRel,
    AckKind::PubComp,
];

fn ack(id: u16, code: u8) -> Ack<'static> {
    Ack::new(NonZeroU16::new(id).unwrap(), ReasonCode(code))
}

fn check(kind: AckKind, version: Version, body: &[u8], expected: Result<Ack<'_>, DecodeError>) {
    let bytes = packet(kind.packet_type().first_byte(), &[body]);
    tests::check(version, &bytes, expected.map(|ack| Packet::Ack(kind, ack)));
}

#[test]
fn v3_body_is_a_packet_id_alone() {
    for kind in KINDS {
        for version in V3 {
            check(kind, version, &[0, 7], Ok(ack(7, 0)));
            check(kind, version, &[0xFF, 0xFF], Ok(ack(65_535, 0)));
            check(kind, version, &[0, 7, 0], Err(DecodeError::TrailingBytes));
            check(kind, version, &[7], Err(DecodeError::Truncated));
            check(kind, version, &[], Err(DecodeError::Truncated));
        }
    }
}

#[test]
fn in_v3_neither_reason_nor_properties_are_written() {
    let why = [Property::ReasonString("why")];
    let mut full = ack(7, 0x80);
    full.properties = Properties::from_list(&why);
    for version in V3 {
        let mut bytes = Vec::new();
        full.encode(AckKind::PubAck, version, &mut bytes).unwrap();
        assert_eq!(bytes, [0x40, 2, 0, 7]);
    }
}

/// MQTT5 3.4.2.1: success without properties may be left out, and is.
#[test]
fn v5_body_is_written_in_its_shortest_form() {
    for kind in KINDS {
        check(kind, Version::V5, &[0, 7], Ok(ack(7, 0)));
        check(kind, Version::V5, &[0, 7, 0x92], only_releases(kind));
        let first = kind.packet_type().first_byte();
        let success = Packet::Ack(kind, ack(7, 0));
        check_long_form(Version::V5, &[first, 3, 0, 7, 0], success);
        check_long_form(Version::V5, &[first, 4, 0, 7, 0, 0], success);
    }
    let refused = Packet::Ack(AckKind::PubAck, ack(7, 0x87));
    check_long_form(Version::V5, &[0x40, 4, 0, 7, 0x87, 0], refused);
}

fn only_releases(kind: AckKind) -> Result<Ack<'static>, DecodeError> {
    match kind {
        AckKind::PubRel | AckKind::PubComp => Ok(ack(7, 0x92)),
        AckKind::PubAck | AckKind::PubRec => Err(DecodeError::ReasonCode(0x92)),
    }
}

/// `[MQTT5-3.4.2-1]` PUBACK, `[MQTT5-3.5.2-1]` PUBREC, `[MQTT5-3.6.2-1]` PUBREL, `[MQTT5-3.7.2-1]`
/// PUBCOMP
#[test]
fn each_kind_has_its_own_reason_codes() {
    for kind in KINDS {
        let expected: &[u8] = match kind {
            AckKind::PubAck | AckKind::PubRec => {
                &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
            }
            AckKind::PubRel | AckKind::PubComp => &[0x00, 0x92],
        };
        let decode = |code| Ack::decode(kind, Version::V5, &[0, 1, code]).map(|_| ());
        assert_eq!(codes(|code| decode(code).is_ok()), expected, "{kind:?}");
        assert_eq!(decode(0x81), Err(DecodeError::ReasonCode(0x81)));
    }
}

#[test]
fn properties_follow_the_reason() {
    let list = [
        Property::ReasonString("why"),
        Property::UserProperty("k", "v"),
    ];
    for kind in KINDS {
        let mut full = ack(1, 0);
        full.properties = Properties::from_list(&list);
        let body = [
            &[0, 1, 0, 13][..],
            &[0x1F, 0, 3, b'w', b'h', b'y'],
            &[0x26, 0, 1, b'k', 0, 1, b'v'],
        ]
        .concat();
        check(kind, Version::V5, &body, Ok(full));
        let bytes = packet(kind.packet_type().first_byte(), &[&body]);
        assert_eq!(whole_at(Version::V5, &bytes), [2, 3, body.len()]);
        check_no_more(Version::V5, &bytes);
    }
}

#[test]
fn faulty_properties_are_refused() {
    let kind = AckKind::PubRec;
    let check = |body, error| check(kind, Version::V5, body, Err(error));
    check(&[0, 1, 0, 1], DecodeError::Truncated);
    check(&[0, 1, 0, 0x80, 0], DecodeError::VariableInt);
    let alias = DecodeError::PropertyNotAllowed(PropertyId::TopicAlias);
    check(&[0, 1, 0, 3, 0x23, 0, 1], alias);
    let twice = DecodeError::PropertyRepeated(PropertyId::ReasonString);
    check(&[0, 1, 0, 6, 0x1F, 0, 0, 0x1F, 0, 0], twice);
}

/// `[MQTT311-2.3.1-1]`, `[MQTT5-2.2.1-3]`
#[test]
fn the_packet_id_is_not_zero() {
    for kind in KINDS {
        for version in Version::ALL {
            check(kind, version, &[0, 0], Err(DecodeError::PacketIdZero));
        }
    }
}
