use std::vec::Vec;

use super::*;
use crate::tests::{V3, check_long_form, check_no_more, codes, packet, whole_at};
use crate::{Packet, Property, PropertyId, tests};

fn connack(session_present: bool, code: u8) -> ConnAck<'static> {
    ConnAck {
        session_present,
        reason: ReasonCode(code),
        properties: Properties::NONE,
    }
}

fn check(version: Version, body: &[u8], expected: Result<ConnAck<'_>, DecodeError>) {
    tests::check(
        version,
        &packet(0x20, &[body]),
        expected.map(Packet::ConnAck),
    );
}

#[test]
fn v3_body_is_flags_and_a_return_code() {
    for (code, reason) in [
        (0, 0),
        (1, 0x84),
        (2, 0x85),
        (3, 0x88),
        (4, 0x86),
        (5, 0x87),
    ] {
        for version in V3 {
            check(version, &[0, code], Ok(connack(false, reason)));
        }
        check(Version::V3_1_1, &[1, code], Ok(connack(true, reason)));
    }
    for version in V3 {
        for body in [&[][..], &[0]] {
            check(version, body, Err(DecodeError::Truncated));
        }
        check_no_more(version, &[0x20, 2, 0, 0]);
    }
}

#[test]
fn an_unknown_return_code_of_v3_is_a_failure_without_a_name() {
    for code in 6..=u8::MAX {
        let body = [0, code];
        let refused = ConnAck::decode(Version::V3_1_1, &body).unwrap();
        assert_eq!(refused.reason, ReasonCode::UNSPECIFIED_ERROR);
    }
}

#[test]
fn in_v3_a_reason_without_a_return_code_is_written_as_not_authorised() {
    for version in V3 {
        let mut bytes = Vec::new();
        let refused = connack(false, ReasonCode::PROTOCOL_ERROR.0);
        refused.encode(version, &mut bytes).unwrap();
        assert_eq!(bytes, [0x20, 2, 0, 5]);
    }
}

/// The byte is reserved in 3.1, and there is no session present.
#[test]
fn v3_1_has_no_flags() {
    for flags in [1, 2, 0xFF] {
        let body = [flags, 0];
        let read = ConnAck::decode(Version::V3_1, &body);
        assert_eq!(read, Ok(connack(false, 0)));
    }
    let mut bytes = Vec::new();
    let present = connack(true, 0);
    present.encode(Version::V3_1, &mut bytes).unwrap();
    assert_eq!(bytes, [0x20, 2, 0, 0]);
}

/// `[MQTT5-3.2.2-1]`
#[test]
fn flags_other_than_session_present_are_zero() {
    for flags in 2..=u8::MAX {
        let reserved = Err(DecodeError::ConnAckFlags);
        check(Version::V5, &[flags, 0, 0], reserved);
        check(Version::V3_1_1, &[flags, 0], reserved);
    }
}

/// `[MQTT5-3.2.2-8]`
#[test]
fn connack_has_its_own_reason_codes() {
    let decode = |code| ConnAck::decode(Version::V5, &[0, code, 0]).is_ok();
    let expected = [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95,
        0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
    ];
    assert_eq!(codes(decode), expected);
    check(
        Version::V5,
        &[0, 0x8B, 0],
        Err(DecodeError::ReasonCode(0x8B)),
    );
}

#[test]
fn v5_body_ends_with_properties() {
    check(Version::V5, &[0, 0, 0], Ok(connack(false, 0)));
    check(Version::V5, &[1, 0, 0], Ok(connack(true, 0)));
    check(Version::V5, &[0, 0x87, 0], Ok(connack(false, 0x87)));
    check(Version::V5, &[0, 0], Err(DecodeError::Truncated));
    let list = [
        Property::TopicAliasMaximum(10),
        Property::AssignedClientIdentifier("c"),
        Property::MaximumPacketSize(2_000_000),
        Property::ReceiveMaximum(20),
    ];
    let full = ConnAck {
        properties: Properties::from_list(&list),
        ..connack(false, 0)
    };
    let body = [
        &[0, 0, 15][..],
        &[0x22, 0, 10],
        &[0x12, 0, 1, b'c'],
        &[0x27, 0, 0x1E, 0x84, 0x80],
        &[0x21, 0, 20],
    ]
    .concat();
    check(Version::V5, &body, Ok(full));
    let bytes = packet(0x20, &[&body]);
    assert_eq!(whole_at(Version::V5, &bytes), [body.len()]);
    check_no_more(Version::V5, &bytes);
}

#[test]
fn a_property_of_another_packet_is_refused() {
    let alias = DecodeError::PropertyNotAllowed(PropertyId::TopicAlias);
    check(Version::V5, &[0, 0, 3, 0x23, 0, 1], Err(alias));
}

#[test]
fn a_longer_header_is_the_same_packet() {
    let bytes = [0x20, 0x82, 0x00, 0, 0];
    check_long_form(Version::V3_1_1, &bytes, Packet::ConnAck(connack(false, 0)));
}
