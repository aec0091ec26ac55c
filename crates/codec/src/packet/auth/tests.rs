use super::*;
use crate::tests::{check_long_form, check_no_more, codes, packet, whole_at};
use crate::{Packet, Property, PropertyId, tests};

fn auth(code: u8) -> Auth<'static> {
    Auth {
        reason: ReasonCode(code),
        properties: Properties::NONE,
    }
}

fn check(body: &[u8], expected: Result<Auth<'_>, DecodeError>) {
    tests::check(
        Version::V5,
        &packet(0xF0, &[body]),
        expected.map(Packet::Auth),
    );
}

/// MQTT5 3.15.2.1: a success without properties is an empty body.
#[test]
fn success_without_properties_is_written_as_nothing() {
    check(&[], Ok(auth(0)));
    check_long_form(Version::V5, &[0xF0, 1, 0], Packet::Auth(auth(0)));
    check_long_form(Version::V5, &[0xF0, 2, 0, 0], Packet::Auth(auth(0)));
    check(&[0x18, 0], Ok(auth(0x18)));
}

/// `[MQTT5-3.15.2-1]`
#[test]
fn auth_has_three_reason_codes() {
    let decode = |code| Auth::decode(Version::V5, &[code, 0]).is_ok();
    assert_eq!(codes(decode), [0x00, 0x18, 0x19]);
    check(&[0x87, 0], Err(DecodeError::ReasonCode(0x87)));
}

#[test]
fn a_step_carries_method_and_data() {
    let list = [
        Property::AuthenticationMethod("m"),
        Property::AuthenticationData(&[0, 1]),
        Property::ReasonString("w"),
        Property::UserProperty("k", ""),
    ];
    let step = Auth {
        reason: ReasonCode::CONTINUE_AUTHENTICATION,
        properties: Properties::from_list(&list),
    };
    let body = [
        &[0x18, 19][..],
        &[0x15, 0, 1, b'm'],
        &[0x16, 0, 2, 0, 1],
        &[0x1F, 0, 1, b'w'],
        &[0x26, 0, 1, b'k', 0, 0],
    ]
    .concat();
    check(&body, Ok(step));
    let bytes = packet(0xF0, &[&body]);
    assert_eq!(whole_at(Version::V5, &bytes), [0, 1, body.len()]);
    check_no_more(Version::V5, &bytes);
}

#[test]
fn a_property_of_another_packet_is_refused() {
    let expiry = DecodeError::PropertyNotAllowed(PropertyId::SessionExpiryInterval);
    check(&[0x18, 5, 0x11, 0, 0, 0, 0], Err(expiry));
    check(&[0x18, 1], Err(DecodeError::Truncated));
}
