use std::vec;
use std::vec::Vec;

use super::*;

#[test]
fn a_field_is_read_off_the_front() {
    let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(reader.u8(), Ok(1));
    assert_eq!(reader.u16(), Ok(0x0203));
    assert_eq!(reader.u32(), Ok(0x0405_0607));
    assert_eq!(reader.rest(), [8]);
    assert_eq!(reader.bytes(1), Ok(&[8][..]));
    assert!(reader.is_empty());
    assert_eq!(reader.bytes(0), Ok(&[][..]));
}

#[test]
fn a_field_that_is_cut_short_is_not_read_in_part() {
    let cut = Err(DecodeError::Truncated);
    let mut reader = Reader::new(&[1, 2, 3]);
    assert_eq!(reader.bytes(4), Err(DecodeError::Truncated));
    assert_eq!(reader.u32().map(|_| ()), cut);
    assert_eq!(reader.rest(), [1, 2, 3]);
    assert_eq!(Reader::new(&[]).u8().map(|_| ()), cut);
    assert_eq!(Reader::new(&[1]).u16().map(|_| ()), cut);
    assert_eq!(Reader::new(&[0, 2, 1]).binary().map(|_| ()), cut);
    assert_eq!(Reader::new(&[0, 2, b'a']).string().map(|_| ()), cut);
    assert_eq!(Reader::new(&[2, 1]).section().map(|_| ()), cut);
    assert_eq!(Reader::new(&[0x80]).variable_int().map(|_| ()), cut);
    let longest = Reader::new(&[0xFF, 0xFF, 0xFF, 0x7F]).section().map(|_| ());
    assert_eq!(longest, cut);
}

/// `[MQTT5-1.5.5-1]`
#[test]
fn a_variable_int_is_minimal_and_has_four_bytes_at_most() {
    let check = |bytes: &[u8], expected| {
        assert_eq!(Reader::new(bytes).variable_int(), expected, "{bytes:02x?}");
    };
    check(&[0x00], Ok(0));
    check(&[0x7F], Ok(127));
    check(&[0x80, 0x01], Ok(128));
    check(&[0xFF, 0x7F], Ok(16_383));
    check(&[0x80, 0x80, 0x01], Ok(16_384));
    check(&[0xFF, 0xFF, 0x7F], Ok(2_097_151));
    check(&[0x80, 0x80, 0x80, 0x01], Ok(2_097_152));
    check(&[0xFF, 0xFF, 0xFF, 0x7F], Ok(268_435_455));
    for bytes in [
        &[0x80, 0x00][..],
        &[0xFF, 0x00],
        &[0x80, 0x80, 0x00],
        &[0x81, 0x80, 0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x80],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    ] {
        check(bytes, Err(DecodeError::VariableInt));
    }
}

/// `[MQTT5-2.2.1-3]`, `[MQTT311-2.3.1-1]`
#[test]
fn a_packet_id_is_not_zero() {
    let id = |bytes| Reader::new(bytes).packet_id().map(NonZeroU16::get);
    assert_eq!(id(&[0, 1]), Ok(1));
    assert_eq!(id(&[0xFF, 0xFF]), Ok(65_535));
    assert_eq!(id(&[0, 0]), Err(DecodeError::PacketIdZero));
    assert_eq!(id(&[1]), Err(DecodeError::Truncated));
}

fn check_string(bytes: &[u8], expected: Option<&str>) {
    assert_eq!(checked_str(bytes), expected, "{bytes:02x?}");
    // Neither what stands around it nor its place decides.
    let around = [b"abcdefgh", bytes, b"abcdefgh"].concat();
    assert_eq!(checked_str(&around).is_some(), expected.is_some());
}

/// `[MQTT5-1.5.4-1]`, `[MQTT311-1.5.3-1]`: ill-formed UTF-8 and surrogates.
#[test]
fn a_string_is_well_formed_utf_8() {
    for good in [
        "",
        "a",
        "grün",
        "\u{D7FF}",
        "\u{E000}",
        "日本",
        "🦀",
        "\u{10FFFD}",
    ] {
        check_string(good.as_bytes(), Some(good));
    }
    for bad in [
        &[0x80][..],
        &[0xBF],
        &[0xC0, 0x80],
        &[0xC1, 0xBF],
        &[0xC3],
        &[0xE0, 0x80, 0x80],
        &[0xE2, 0x82],
        &[0xED, 0xA0, 0x80],
        &[0xED, 0xBF, 0xBF],
        &[0xED, 0xA0, 0xBD, 0xED, 0xB0, 0x80],
        &[0xF0, 0x80, 0x80, 0x80],
        &[0xF4, 0x90, 0x80, 0x80],
        &[0xF5, 0x80, 0x80, 0x80],
        &[0xFF],
        &[0xFE],
    ] {
        check_string(bad, None);
    }
}

/// `[MQTT5-1.5.4-2]`, `[MQTT311-1.5.3-2]`, `[MQTT5-4.7.3-2]`, `[MQTT311-4.7.3-2]`
#[test]
fn u_0000_is_in_no_string() {
    check_string(&[0], None);
    check_string(b"a\0b", None);
}

/// MQTT5 1.5.4: what a receiver may refuse is refused, at the edges and not beyond.
#[test]
fn control_characters_and_non_characters_are_refused() {
    let allowed = |code: u32| {
        let c = char::from_u32(code).unwrap();
        checked_str(c.encode_utf8(&mut [0; 4]).as_bytes()).is_some()
    };
    for code in (0x01..0x20).chain(0x7F..0xA0).chain(0xFDD0..=0xFDEF) {
        assert!(!allowed(code), "U+{code:04X}");
    }
    for plane in 0..=16 {
        assert!(allowed(plane << 16 | 0xFFFD), "U+{plane:X}FFFD");
        assert!(!allowed(plane << 16 | 0xFFFE), "U+{plane:X}FFFE");
        assert!(!allowed(plane << 16 | 0xFFFF), "U+{plane:X}FFFF");
    }
    for code in [0x20, 0x7E, 0xA0, 0xFDCF, 0xFDF0, 0x1_FDD0, 0x1_0000] {
        assert!(allowed(code), "U+{code:04X}");
    }
}

/// `[MQTT5-1.5.4-3]`, `[MQTT311-1.5.3-3]`
#[test]
fn a_byte_order_mark_is_kept_as_a_character() {
    check_string(&[0xEF, 0xBB, 0xBF], Some("\u{FEFF}"));
    check_string(&[0xEF, 0xBB, 0xBF, b'a'], Some("\u{FEFF}a"));
}

#[test]
fn the_longest_string_is_read_whole() {
    let long = vec![b'a'; 65_535];
    let bytes: Vec<u8> = [&[0xFF, 0xFF], &long[..]].concat();
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.string().map(str::len), Ok(65_535));
    assert!(reader.is_empty());
}

#[test]
fn a_section_ends_where_its_length_says() {
    let mut reader = Reader::new(&[2, 7, 8, 9]);
    assert_eq!(reader.section(), Ok(&[7, 8][..]));
    assert_eq!(reader.rest(), [9]);
}
