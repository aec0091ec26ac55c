use std::vec;
use std::vec::Vec;

use super::*;
use crate::tests::{V3, check, packet, read, text};
use crate::{QoS, ReasonCode, SliceSink};

#[test]
fn a_ping_is_two_bytes() {
    for version in Version::ALL {
        check(version, &[0xC0, 0], Ok(Packet::PingReq));
        check(version, &[0xD0, 0], Ok(Packet::PingResp));
        let trailing = Err(DecodeError::TrailingBytes);
        check(version, &[0xC0, 1, 0], trailing);
        check(version, &[0xD0, 1, 0], trailing);
    }
}

/// Bodies that are good for every version that has the packet.
const BODIES: [(PacketType, &[u8]); 14] = [
    (PacketType::ConnAck, &[0, 0, 0]),
    (PacketType::PubAck, &[0, 1]),
    (PacketType::PubRec, &[0, 1]),
    (PacketType::PubRel, &[0, 1]),
    (PacketType::PubComp, &[0, 1]),
    (PacketType::Subscribe, &[0, 1, 0, 0, 1, b'a', 0]),
    (PacketType::SubAck, &[0, 1, 0, 0]),
    (PacketType::Unsubscribe, &[0, 1, 0, 0, 1, b'a']),
    (PacketType::UnsubAck, &[0, 1, 0, 0]),
    (PacketType::PingReq, &[]),
    (PacketType::PingResp, &[]),
    (PacketType::Disconnect, &[]),
    (PacketType::Auth, &[]),
    (
        PacketType::Connect,
        &[0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0],
    ),
];

/// `[MQTT5-2.1.3-1]`, `[MQTT5-3.6.1-1]`, `[MQTT5-3.8.1-1]`, `[MQTT5-3.10.1-1]`, `[MQTT5-3.14.1-1]`,
/// `[MQTT5-3.15.1-1]`
#[test]
fn flags_that_are_not_the_listed_ones_are_malformed() {
    for (kind, body) in BODIES {
        for flags in 0..16 {
            let first = kind.first_byte() & 0xF0 | flags;
            let decoded =
                Packet::decode(first, Version::V5, body).map(|packet| packet.packet_type());
            let expected = match kind {
                _ if first == kind.first_byte() => Ok(kind),
                PacketType::Connect => Err(DecodeError::Connect),
                _ => Err(DecodeError::HeaderFlags),
            };
            assert_eq!(decoded, expected, "{first:02x}");
        }
    }
    let flags = DecodeError::HeaderFlags;
    assert_eq!(flags.reason(), ReasonCode::MALFORMED_PACKET);
}

/// `[MQTT311-2.2.2-1]`, `[MQTT311-2.2.2-2]`, `[MQTT311-3.6.1-1]`, `[MQTT311-3.8.1-1]`,
/// `[MQTT311-3.10.1-1]`, `[MQTT311-3.14.1-1]`
#[test]
fn flags_are_judged_in_3_1_1_too() {
    for (kind, _) in BODIES
        .iter()
        .filter(|(kind, _)| *kind != PacketType::Connect)
    {
        for flags in (0..16).filter(|flags| Some(*flags) != kind.flags()) {
            let first = kind.first_byte() & 0xF0 | flags;
            let decoded = Packet::decode(first, Version::V3_1_1, &[0, 1]);
            assert_eq!(decoded, Err(DecodeError::HeaderFlags), "{first:02x}");
        }
    }
}

#[test]
fn version_3_1_tolerates_flags_on_pubrel_and_disconnect_alone() {
    let tolerated: Vec<PacketType> = BODIES
        .iter()
        .map(|(kind, _)| *kind)
        .filter(|kind| {
            let first = kind.first_byte() ^ 0x08;
            Packet::decode(first, Version::V3_1, &[0, 1]) != Err(DecodeError::HeaderFlags)
        })
        .collect();
    let expected = [
        PacketType::PubRel,
        PacketType::Disconnect,
        PacketType::Connect,
    ];
    assert_eq!(tolerated, expected);
    let pubrel = Packet::decode(0x68, Version::V3_1, &[0, 1]).map(|packet| packet.packet_type());
    assert_eq!(pubrel, Ok(PacketType::PubRel));
    let disconnect = Packet::decode(0xEF, Version::V3_1, &[]);
    assert_eq!(
        disconnect.map(|packet| packet.packet_type()),
        Ok(PacketType::Disconnect)
    );
}

#[test]
fn type_0_is_reserved() {
    for version in Version::ALL {
        for first in 0..16 {
            check(version, &[first, 0], Err(DecodeError::PacketType));
        }
    }
}

#[test]
fn the_first_of_several_packets_is_read() {
    let bytes = [0xC0, 0, 0xD0, 0, 0xE0];
    let first = Packet::read(&bytes, Version::V5);
    assert_eq!(first, Ok(Some((Packet::PingReq, 2))));
    let second = Packet::read(&bytes[2..], Version::V5);
    assert_eq!(second, Ok(Some((Packet::PingResp, 2))));
    assert_eq!(Packet::read(&bytes[4..], Version::V5), Ok(None));
    assert_eq!(Packet::read(&[], Version::V5), Ok(None));
}

#[test]
fn a_packet_is_awaited_until_its_last_byte_even_when_it_is_faulty() {
    let bytes = [0x4F, 2, 0, 0];
    for end in 0..bytes.len() {
        assert_eq!(Packet::read(&bytes[..end], Version::V5), Ok(None));
    }
    assert_eq!(read(Version::V5, &bytes), Err(DecodeError::HeaderFlags));
    let endless = Packet::read(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], Version::V5);
    assert_eq!(endless, Err(DecodeError::RemainingLength));
}

#[test]
fn connect_says_its_own_version() {
    let body: [&[u8]; 2] = [&text("MQTT"), &[4, 2, 0, 9, 0, 1, b'c']];
    let bytes = packet(0x10, &body);
    for version in Version::ALL {
        let Ok(Packet::Connect(connect)) = read(version, &bytes) else {
            panic!("not read");
        };
        assert_eq!(connect.version, Version::V3_1_1);
        check(version, &bytes, Ok(Packet::Connect(connect)));
    }
    check(Version::V5, &[0x10, 0], Err(DecodeError::Connect));
}

#[test]
fn a_packet_that_cannot_be_written_leaves_nothing_behind() {
    let topic = "t".repeat(65_536);
    let mut publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: &topic,
        packet_id: None,
        properties: crate::Properties::NONE,
        payload: &[],
    };
    let refused = |publish: Publish<'_>| {
        let mut bytes = vec![1];
        let result = Packet::Publish(publish).encode(Version::V5, &mut bytes);
        assert_eq!(bytes, [1]);
        let mut space = [0; 8];
        let mut sink = SliceSink::new(&mut space);
        assert_eq!(publish.encode(Version::V5, &mut sink), result);
        assert_eq!(sink.finish(), Ok(0));
        assert_eq!(publish.packet_length(Version::V5).map(|_| ()), result);
        result
    };
    assert_eq!(refused(publish), Err(EncodeError::FieldTooLong));
    publish.topic = "t";
    publish.qos = QoS::AtLeastOnce;
    assert_eq!(refused(publish), Err(EncodeError::PacketIdMissing));
}

/// Only counts, since the counter needs no memory for what is never written.
#[test]
fn a_packet_over_the_largest_remaining_length_is_refused() {
    let payload = vec![0; REMAINING_LENGTH_MAX as usize];
    let publish = |length: usize| Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "t",
        packet_id: None,
        properties: crate::Properties::NONE,
        payload: &payload[..length],
    };
    let largest = payload.len() - 4;
    let length = publish(largest).packet_length(Version::V5);
    assert_eq!(length, Ok(payload.len() + 5));
    let refused = publish(largest + 1).packet_length(Version::V5);
    assert_eq!(refused, Err(EncodeError::PacketTooLong));
    let mut bytes = Vec::new();
    let refused = publish(largest + 1).encode(Version::V5, &mut bytes);
    assert_eq!(refused, Err(EncodeError::PacketTooLong));
    assert!(bytes.is_empty());
}

#[test]
fn only_5_0_has_auth() {
    for version in V3 {
        check(version, &[0xF0, 0], Err(DecodeError::NotInVersion));
    }
}
