use super::*;

fn refuses(version: Version, bytes: &[u8]) {
    assert!(packet(version, bytes).is_err(), "{bytes:02x?}");
}

#[test]
fn a_connack_is_read_with_its_properties() {
    let bytes = [
        0x20, 0x0E, 0, 0, 0x0B, 0x22, 0, 10, 0x27, 0, 0x1E, 0x84, 0x80, 0x21, 0, 20,
    ];
    let Ok(Packet::Connack(connack)) = packet(Version::V5, &bytes) else {
        panic!("not read");
    };
    assert_eq!(
        connack.properties.number(prop::TOPIC_ALIAS_MAXIMUM),
        Some(10)
    );
    assert_eq!(
        connack.properties.number(prop::MAXIMUM_PACKET_SIZE),
        Some(2_000_000)
    );
    assert_eq!(connack.properties.number(prop::RECEIVE_MAXIMUM), Some(20));
}

#[test]
fn what_a_server_must_not_send_is_refused() {
    // Session present in a refusal, in 3.1 and with a reserved bit.
    refuses(Version::V3_1_1, &[0x20, 2, 1, 5]);
    refuses(Version::V3_1, &[0x20, 2, 1, 0]);
    refuses(Version::V3_1_1, &[0x20, 2, 2, 0]);
    // DUP with QoS 0, QoS 3, a wildcard, packet id 0, an empty topic.
    refuses(Version::V3_1_1, &[0x38, 3, 0, 1, b't']);
    refuses(Version::V3_1_1, &[0x36, 5, 0, 1, b't', 0, 1]);
    refuses(Version::V3_1_1, &[0x30, 3, 0, 1, b'#']);
    refuses(Version::V3_1_1, &[0x32, 5, 0, 1, b't', 0, 0]);
    refuses(Version::V3_1_1, &[0x30, 2, 0, 0]);
    // Codes and properties of other packets, DISCONNECT to 3.1.1.
    refuses(Version::V5, &[0x40, 3, 0, 1, 0x92]);
    refuses(Version::V5, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 1]);
    refuses(Version::V3_1_1, &[0xE0, 0]);
    // A property twice; a length that is not minimal; trailing bytes.
    refuses(Version::V5, &[0x30, 8, 0, 1, b't', 4, 1, 0, 1, 0]);
    refuses(Version::V5, &[0x30, 5, 0, 1, b't', 0x80, 0]);
    refuses(Version::V3_1_1, &[0xD0, 1, 0]);
}

#[test]
fn a_packet_is_cut_when_it_is_complete() {
    assert_eq!(packet_length(&[0xD0]), Ok(None));
    assert_eq!(packet_length(&[0x40, 2, 0]), Ok(None));
    assert_eq!(packet_length(&[0x40, 2, 0, 1, 9]), Ok(Some(4)));
    assert!(packet_length(&[0x40, 0x80, 0x00]).is_err());
    assert!(packet_length(&[0x40, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
}
