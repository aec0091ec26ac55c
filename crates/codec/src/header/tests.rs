use super::*;

fn check(bytes: &[u8], expected: Result<Option<(u32, u8)>, DecodeError>) {
    let header = Header::peek(bytes);
    let seen = header.map(|header| header.map(|header| (header.remaining, header.length)));
    assert_eq!(seen, expected, "{bytes:02x?}");
}

#[test]
fn a_header_has_two_to_five_bytes() {
    check(&[0x30, 0], Ok(Some((0, 2))));
    check(&[0x30, 0x7F], Ok(Some((127, 2))));
    check(&[0x30, 0x80, 0x01], Ok(Some((128, 3))));
    check(&[0x30, 0xFF, 0x7F], Ok(Some((16_383, 3))));
    check(&[0x30, 0x80, 0x80, 0x01], Ok(Some((16_384, 4))));
    check(&[0x30, 0xFF, 0xFF, 0x7F], Ok(Some((2_097_151, 4))));
    check(&[0x30, 0x80, 0x80, 0x80, 0x01], Ok(Some((2_097_152, 5))));
    let largest = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    check(&largest, Ok(Some((REMAINING_LENGTH_MAX, 5))));
}

#[test]
fn a_header_is_awaited_until_its_last_byte() {
    let bytes = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    for end in 0..bytes.len() {
        check(&bytes[..end], Ok(None));
    }
}

#[test]
fn a_fifth_length_byte_is_refused_as_soon_as_it_is_announced() {
    check(
        &[0x30, 0x80, 0x80, 0x80, 0x80],
        Err(DecodeError::RemainingLength),
    );
    check(
        &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0],
        Err(DecodeError::RemainingLength),
    );
}

#[test]
fn a_length_that_is_not_minimal_is_accepted() {
    check(&[0x30, 0x80, 0x00], Ok(Some((0, 3))));
    check(&[0x30, 0x81, 0x80, 0x80, 0x00], Ok(Some((1, 5))));
}

#[test]
fn the_body_is_what_the_header_says_and_nothing_behind() {
    let bytes = [0x40, 2, 0, 7, 0xC0, 0];
    let header = Header::peek(&bytes).unwrap().unwrap();
    assert_eq!(header.packet_type(), Some(PacketType::PubAck));
    assert_eq!(header.packet_length(), 4);
    assert_eq!(header.body(&bytes), Some(&[0, 7][..]));
    assert_eq!(header.body(&bytes[..4]), Some(&[0, 7][..]));
    assert_eq!(header.body(&bytes[..3]), None);
    assert_eq!(header.body(&[]), None);
}

/// `[MQTT5-2.1.3-1]`, `[MQTT311-2.2.2-1]`: the encoder begins each packet with the listed flags.
#[test]
fn each_kind_begins_with_its_number_and_its_flags() {
    let first_bytes = [
        (PacketType::Connect, 0x10, "CONNECT"),
        (PacketType::ConnAck, 0x20, "CONNACK"),
        (PacketType::Publish, 0x30, "PUBLISH"),
        (PacketType::PubAck, 0x40, "PUBACK"),
        (PacketType::PubRec, 0x50, "PUBREC"),
        (PacketType::PubRel, 0x62, "PUBREL"),
        (PacketType::PubComp, 0x70, "PUBCOMP"),
        (PacketType::Subscribe, 0x82, "SUBSCRIBE"),
        (PacketType::SubAck, 0x90, "SUBACK"),
        (PacketType::Unsubscribe, 0xA2, "UNSUBSCRIBE"),
        (PacketType::UnsubAck, 0xB0, "UNSUBACK"),
        (PacketType::PingReq, 0xC0, "PINGREQ"),
        (PacketType::PingResp, 0xD0, "PINGRESP"),
        (PacketType::Disconnect, 0xE0, "DISCONNECT"),
        (PacketType::Auth, 0xF0, "AUTH"),
    ];
    for (kind, first, name) in first_bytes {
        assert_eq!(kind.first_byte(), first);
        assert_eq!(kind.name(), name);
        for flags in 0..16 {
            assert_eq!(
                PacketType::from_first_byte(first & 0xF0 | flags),
                Some(kind)
            );
        }
    }
    assert_eq!(PacketType::from_first_byte(0x0F), None);
}
