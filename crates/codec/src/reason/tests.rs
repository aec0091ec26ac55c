use std::format;

use super::*;

#[test]
fn a_code_is_a_failure_from_0x80_on() {
    for code in 0..=u8::MAX {
        assert_eq!(ReasonCode(code).is_failure(), code >= 0x80);
    }
}

/// Table 2-6 of the standard has 43 values.
#[test]
fn every_code_of_the_standard_has_a_name_and_no_other() {
    let named: std::vec::Vec<u8> = (0..=u8::MAX)
        .filter(|code| ReasonCode(*code).text() != "unknown reason")
        .collect();
    let expected: std::vec::Vec<u8> = [0x00, 0x01, 0x02, 0x04, 0x10, 0x11, 0x18, 0x19]
        .into_iter()
        .chain(0x80..=0xA2)
        .collect();
    assert_eq!(named, expected);
}

#[test]
fn names_are_shown_with_their_numbers() {
    let shown = format!("{}", ReasonCode::NOT_AUTHORIZED);
    assert_eq!(shown, "not authorized (0x87)");
    assert_eq!(format!("{}", ReasonCode(0x7F)), "unknown reason (0x7f)");
}

#[test]
fn the_six_return_codes_of_3_x_translate_there_and_back() {
    for code in 0..=5 {
        assert_eq!(ReasonCode::from_connack_v3(code).connack_v3(), Some(code));
    }
    for code in 6..=u8::MAX {
        let reason = ReasonCode::from_connack_v3(code);
        assert_eq!(reason, ReasonCode::UNSPECIFIED_ERROR);
    }
}

#[test]
fn a_reason_that_3_x_cannot_say_has_no_return_code() {
    assert_eq!(ReasonCode::SERVER_BUSY.connack_v3(), Some(3));
    assert_eq!(ReasonCode::BANNED.connack_v3(), Some(5));
    for reason in [
        ReasonCode::PROTOCOL_ERROR,
        ReasonCode::MALFORMED_PACKET,
        ReasonCode::UNSPECIFIED_ERROR,
        ReasonCode::BAD_AUTHENTICATION_METHOD,
    ] {
        assert_eq!(reason.connack_v3(), None);
    }
}
