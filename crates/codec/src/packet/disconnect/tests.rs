use std::vec::Vec;

use super::*;
use crate::tests::{V3, check_long_form, check_no_more, codes, packet, whole_at};
use crate::{Packet, Property, PropertyId, tests};

fn check(version: Version, body: &[u8], expected: Result<Disconnect<'_>, DecodeError>) {
    tests::check(
        version,
        &packet(0xE0, &[body]),
        expected.map(Packet::Disconnect),
    );
}

#[test]
fn v3_body_is_empty() {
    for version in V3 {
        check(version, &[], Ok(Disconnect::new(ReasonCode::SUCCESS)));
        check(version, &[0], Err(DecodeError::TrailingBytes));
        check(version, &[0, 0], Err(DecodeError::TrailingBytes));
        let mut bytes = Vec::new();
        let taken_over = Disconnect::new(ReasonCode::SESSION_TAKEN_OVER);
        taken_over.encode(version, &mut bytes).unwrap();
        assert_eq!(bytes, [0xE0, 0]);
    }
}

/// MQTT5 3.14.2.1: a normal end may be left out, and is; so may the length of no properties.
#[test]
fn v5_body_is_written_in_its_shortest_form() {
    let normal = Disconnect::new(ReasonCode::SUCCESS);
    check(Version::V5, &[], Ok(normal));
    check_long_form(Version::V5, &[0xE0, 1, 0], Packet::Disconnect(normal));
    check_long_form(Version::V5, &[0xE0, 2, 0, 0], Packet::Disconnect(normal));
    let taken_over = Disconnect::new(ReasonCode::SESSION_TAKEN_OVER);
    check(Version::V5, &[0x8E], Ok(taken_over));
    check_long_form(
        Version::V5,
        &[0xE0, 2, 0x8E, 0],
        Packet::Disconnect(taken_over),
    );
}

/// `[MQTT5-3.14.2-1]`, table 3-10
#[test]
fn disconnect_has_its_own_reason_codes() {
    let decode = |code| Disconnect::decode(Version::V5, &[code]).is_ok();
    let expected = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
        0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
    ];
    assert_eq!(codes(decode), expected);
    check(Version::V5, &[0x01], Err(DecodeError::ReasonCode(0x01)));
}

#[test]
fn properties_follow_the_reason() {
    let list = [
        Property::SessionExpiryInterval(1),
        Property::ReasonString("w"),
        Property::UserProperty("k", "v"),
        Property::ServerReference("s"),
    ];
    let full = Disconnect {
        reason: ReasonCode::SUCCESS,
        properties: Properties::from_list(&list),
    };
    let body = [
        &[0, 20][..],
        &[0x11, 0, 0, 0, 1],
        &[0x1F, 0, 1, b'w'],
        &[0x26, 0, 1, b'k', 0, 1, b'v'],
        &[0x1C, 0, 1, b's'],
    ]
    .concat();
    check(Version::V5, &body, Ok(full));
    let bytes = packet(0xE0, &[&body]);
    assert_eq!(whole_at(Version::V5, &bytes), [0, 1, body.len()]);
    check_no_more(Version::V5, &bytes);
}

#[test]
fn a_property_of_another_packet_is_refused() {
    let alias = DecodeError::PropertyNotAllowed(PropertyId::TopicAlias);
    check(Version::V5, &[0, 3, 0x23, 0, 1], Err(alias));
    check(Version::V5, &[0, 2, 0x23, 0], Err(DecodeError::Truncated));
}
