use std::vec::Vec;

use super::*;
use crate::tests::{V3, check, codes, packet, whole_at};
use crate::{Packet, Property, PropertyId};

fn suback(codes: &[u8]) -> SubAck<'_> {
    SubAck {
        packet_id: NonZeroU16::new(7).unwrap(),
        properties: Properties::NONE,
        codes,
    }
}

fn unsuback(codes: &[u8]) -> UnsubAck<'_> {
    UnsubAck {
        packet_id: NonZeroU16::new(7).unwrap(),
        properties: Properties::NONE,
        codes,
    }
}

fn check_sub(version: Version, body: &[u8], expected: Result<SubAck<'_>, DecodeError>) {
    check(
        version,
        &packet(0x90, &[body]),
        expected.map(Packet::SubAck),
    );
}

fn check_unsub(version: Version, body: &[u8], expected: Result<UnsubAck<'_>, DecodeError>) {
    check(
        version,
        &packet(0xB0, &[body]),
        expected.map(Packet::UnsubAck),
    );
}

#[test]
fn suback_has_a_code_for_each_filter_in_order() {
    for version in V3 {
        check_sub(
            version,
            &[0, 7, 1, 0, 2, 0x80],
            Ok(suback(&[1, 0, 2, 0x80])),
        );
        // The answer to a SUBSCRIBE without filters, which 3.1 allows.
        check_sub(version, &[0, 7], Ok(suback(&[])));
    }
    check_sub(
        Version::V5,
        &[0, 7, 0, 1, 0, 0x87],
        Ok(suback(&[1, 0, 0x87])),
    );
}

/// `[MQTT311-3.9.3-2]`, `[MQTT5-3.9.3-2]`
#[test]
fn suback_has_its_own_codes() {
    for version in V3 {
        let decode = |code| SubAck::decode(version, &[0, 7, code]).is_ok();
        assert_eq!(codes(decode), [0, 1, 2, 0x80]);
    }
    let decode = |code| SubAck::decode(Version::V5, &[0, 7, 0, code]).is_ok();
    let expected = [
        0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
    ];
    assert_eq!(codes(decode), expected);
    let third = Err(DecodeError::ReasonCode(0x11));
    check_sub(Version::V5, &[0, 7, 0, 1, 2, 0x11, 0], third);
}

/// `[MQTT5-3.11.3-2]`
#[test]
fn unsuback_has_its_own_codes() {
    let decode = |code| UnsubAck::decode(Version::V5, &[0, 7, 0, code]).is_ok();
    let expected = [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
    assert_eq!(codes(decode), expected);
    let second = Err(DecodeError::ReasonCode(0x01));
    check_unsub(Version::V5, &[0, 7, 0, 0x11, 1], second);
    check_unsub(Version::V5, &[0, 7, 0, 0x11, 0], Ok(unsuback(&[0x11, 0])));
}

#[test]
fn in_v3_unsuback_is_a_packet_id_alone() {
    for version in V3 {
        check_unsub(version, &[0, 7], Ok(unsuback(&[])));
        check_unsub(version, &[0, 7, 0], Err(DecodeError::TrailingBytes));
        let mut bytes = Vec::new();
        unsuback(&[0x11]).encode(version, &mut bytes).unwrap();
        assert_eq!(bytes, [0xB0, 2, 0, 7]);
    }
}

#[test]
fn a_cut_acknowledgement_is_refused_up_to_its_codes() {
    let whole = [0, 7, 4, 0x1F, 0, 1, b'w', 0, 0x87];
    let why = [Property::ReasonString("w")];
    let suback = SubAck {
        properties: Properties::from_list(&why),
        ..suback(&[0, 0x87])
    };
    check_sub(Version::V5, &whole, Ok(suback));
    assert_eq!(whole_at(Version::V5, &packet(0x90, &[&whole])), [7, 8, 9]);
    assert_eq!(whole_at(Version::V5, &packet(0xB0, &[&whole])), [7, 8, 9]);
    for version in V3 {
        let bytes = packet(0x90, &[&[0, 7, 1, 2]]);
        assert_eq!(whole_at(version, &bytes), [2, 3, 4]);
        assert_eq!(whole_at(version, &[0xB0, 2, 0, 7]), [2]);
    }
}

/// `[MQTT311-2.3.1-1]`, `[MQTT5-2.2.1-3]`
#[test]
fn the_packet_id_is_not_zero() {
    for version in Version::ALL {
        check_sub(version, &[0, 0, 0, 0], Err(DecodeError::PacketIdZero));
        check_unsub(version, &[0, 0, 0, 0], Err(DecodeError::PacketIdZero));
    }
}

#[test]
fn a_property_of_another_packet_is_refused() {
    let error = DecodeError::PropertyNotAllowed(PropertyId::SubscriptionIdentifier);
    check_sub(Version::V5, &[0, 7, 2, 0x0B, 1, 0], Err(error));
    check_unsub(Version::V5, &[0, 7, 2, 0x0B, 1, 0], Err(error));
}
