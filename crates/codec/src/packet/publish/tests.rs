use std::vec::Vec;

use super::*;
use crate::tests::{V3, check, packet, text, whole_at, write};
use crate::{Packet, Property, PropertyId};

const PLAIN: Publish<'static> = Publish {
    dup: false,
    qos: QoS::AtMostOnce,
    retain: false,
    topic: "t",
    packet_id: None,
    properties: Properties::NONE,
    payload: &[],
};

fn id(value: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(value)
}

fn check_publish(
    version: Version,
    first: u8,
    parts: &[&[u8]],
    expected: Result<Publish<'_>, DecodeError>,
) {
    check(
        version,
        &packet(first, parts),
        expected.map(Packet::Publish),
    );
}

#[test]
fn the_payload_is_all_that_is_left() {
    for version in V3 {
        check_publish(version, 0x30, &[&[0, 1, b't']], Ok(PLAIN));
        let payload = [0, 0xFF, 7];
        let publish = Publish {
            payload: &payload,
            ..PLAIN
        };
        check_publish(version, 0x30, &[&[0, 1, b't'], &payload], Ok(publish));
    }
    check_publish(Version::V5, 0x30, &[&[0, 1, b't', 0]], Ok(PLAIN));
    let publish = Publish {
        payload: b"p",
        ..PLAIN
    };
    check_publish(Version::V5, 0x30, &[&[0, 1, b't', 0, b'p']], Ok(publish));
}

#[test]
fn the_flags_are_dup_qos_and_retain() {
    for first in 0x30..=0x3F_u8 {
        let (dup, retain) = (first & 8 != 0, first & 1 != 0);
        let bits = first >> 1 & 3;
        let expected = match QoS::from_bits(bits) {
            None => Err(DecodeError::QoS),
            Some(QoS::AtMostOnce) if dup => Err(DecodeError::DupWithoutQoS),
            Some(qos) => Ok(Publish {
                dup,
                qos,
                retain,
                packet_id: id(u16::from(bits.min(1))),
                ..PLAIN
            }),
        };
        let packet_id: &[u8] = if bits == 0 { &[] } else { &[0, 1] };
        check_publish(
            Version::V3_1_1,
            first,
            &[&[0, 1, b't'], packet_id],
            expected,
        );
        check_publish(
            Version::V5,
            first,
            &[&[0, 1, b't'], packet_id, &[0]],
            expected,
        );
        if let Ok(publish) = expected {
            assert_eq!(publish.first_byte(), first);
        }
    }
}

/// `[MQTT5-3.3.1-4]`, `[MQTT311-3.3.1-4]`
#[test]
fn qos_3_is_refused() {
    for version in Version::ALL {
        for first in [0x36, 0x37, 0x3E, 0x3F] {
            check_publish(
                version,
                first,
                &[&[0, 1, b't', 0, 1]],
                Err(DecodeError::QoS),
            );
        }
    }
}

/// `[MQTT5-3.3.1-2]`, `[MQTT311-3.3.1-2]`, `[MQTT5-4.3.1-1]`, `[MQTT311-4.3.1-1]`
#[test]
fn dup_is_neither_taken_nor_written_with_qos_0() {
    for version in Version::ALL {
        let dup = Err(DecodeError::DupWithoutQoS);
        check_publish(version, 0x38, &[&[0, 1, b't', 0]], dup);
        let bytes = write(version, &Packet::Publish(Publish { dup: true, ..PLAIN }));
        assert_eq!(bytes[0], 0x30);
    }
}

/// `[MQTT5-2.2.1-2]`, `[MQTT311-2.3.1-5]`
#[test]
fn qos_0_has_no_packet_id() {
    let two_bytes_of_payload = Publish {
        payload: &[0, 1],
        ..PLAIN
    };
    check_publish(
        Version::V3_1_1,
        0x30,
        &[&[0, 1, b't', 0, 1]],
        Ok(two_bytes_of_payload),
    );
    let careless = Publish {
        packet_id: id(9),
        ..PLAIN
    };
    for version in Version::ALL {
        let bytes = write(version, &Packet::Publish(careless));
        assert_eq!(bytes, write(version, &Packet::Publish(PLAIN)));
        assert_eq!(careless.packet_length(version), Ok(bytes.len()));
    }
}

/// `[MQTT5-2.2.1-3]`, `[MQTT311-2.3.1-1]`
#[test]
fn above_qos_0_the_packet_id_is_there_and_not_zero() {
    for version in Version::ALL {
        for first in [0x32, 0x34] {
            check_publish(
                version,
                first,
                &[&[0, 1, b't', 0, 0]],
                Err(DecodeError::PacketIdZero),
            );
            check_publish(
                version,
                first,
                &[&[0, 1, b't', 1]],
                Err(DecodeError::Truncated),
            );
            check_publish(
                version,
                first,
                &[&[0, 1, b't']],
                Err(DecodeError::Truncated),
            );
        }
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let without = Publish { qos, ..PLAIN };
            let mut bytes = Vec::new();
            let result = without.encode(version, &mut bytes);
            assert_eq!(result, Err(EncodeError::PacketIdMissing));
            assert!(bytes.is_empty());
        }
    }
}

/// `[MQTT5-3.3.2-1]`, `[MQTT311-3.3.2-1]`
#[test]
fn the_topic_comes_first_and_is_utf_8() {
    for version in Version::ALL {
        check_publish(version, 0x30, &[], Err(DecodeError::Truncated));
        check_publish(version, 0x30, &[&[0, 2, b't']], Err(DecodeError::Truncated));
        check_publish(version, 0x30, &[&[0, 1, 0xFF, 0]], Err(DecodeError::Utf8));
        check_publish(
            version,
            0x30,
            &[&[0, 3, 0xED, 0xA0, 0x80, 0]],
            Err(DecodeError::Utf8),
        );
        check_publish(version, 0x30, &[&[0, 1, 0, 0]], Err(DecodeError::Utf8));
    }
}

/// `[MQTT5-3.3.2-2]`, `[MQTT311-3.3.2-2]`, `[MQTT5-4.7.0-1]`, `[MQTT311-4.7.1-1]`
#[test]
fn the_topic_has_no_wildcard() {
    for version in Version::ALL {
        for topic in ["#", "+", "a/#", "a/+/b", "a+"] {
            let parts: [&[u8]; 2] = [&text(topic), &[0]];
            check_publish(version, 0x30, &parts, Err(DecodeError::TopicName));
        }
    }
}

/// `[MQTT311-4.7.3-1]`; in 5.0 an alias may stand for it (MQTT5 3.3.2.3.4).
#[test]
fn the_topic_is_empty_in_5_0_alone() {
    for version in V3 {
        check_publish(version, 0x30, &[&[0, 0]], Err(DecodeError::TopicName));
    }
    let alias = [Property::TopicAlias(1)];
    let aliased = Publish {
        topic: "",
        properties: Properties::from_list(&alias),
        ..PLAIN
    };
    check_publish(Version::V5, 0x30, &[&[0, 0, 3, 0x23, 0, 1]], Ok(aliased));
}

#[test]
fn all_properties_of_a_message_are_read_in_order() {
    let list = [
        Property::PayloadFormatIndicator(1),
        Property::MessageExpiryInterval(60),
        Property::TopicAlias(2),
        Property::ResponseTopic("r"),
        Property::CorrelationData(&[0]),
        Property::UserProperty("k", "v"),
        Property::SubscriptionIdentifier(1),
        Property::SubscriptionIdentifier(300),
        Property::ContentType("c"),
    ];
    let full = Publish {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: "a/b",
        packet_id: id(0x0102),
        properties: Properties::from_list(&list),
        payload: b"pay",
    };
    let body: [&[u8]; 12] = [
        &[0, 3, b'a', b'/', b'b', 1, 2, 34],
        &[0x01, 1],
        &[0x02, 0, 0, 0, 60],
        &[0x23, 0, 2],
        &[0x08, 0, 1, b'r'],
        &[0x09, 0, 1, 0],
        &[0x26, 0, 1, b'k', 0, 1, b'v'],
        &[0x0B, 1],
        &[0x0B, 0xAC, 2],
        &[0x03, 0, 1, b'c'],
        b"pay",
        &[],
    ];
    check_publish(Version::V5, 0x3D, &body, Ok(full));
    let bytes = packet(0x3D, &body);
    assert_eq!(full.packet_length(Version::V5), Ok(bytes.len()));
    // The payload may be cut, but nothing before it.
    assert_eq!(whole_at(Version::V5, &bytes), [42, 43, 44, 45]);
}

#[test]
fn faulty_properties_are_refused() {
    let check = |properties: &[u8], error| {
        check_publish(Version::V5, 0x30, &[&[0, 1, b't'], properties], Err(error));
    };
    check(&[], DecodeError::Truncated);
    check(&[1], DecodeError::Truncated);
    check(&[0x80, 0x00], DecodeError::VariableInt);
    check(
        &[3, 0x23, 0, 0],
        DecodeError::PropertyValue(PropertyId::TopicAlias),
    );
    let expiry = DecodeError::PropertyNotAllowed(PropertyId::SessionExpiryInterval);
    check(&[5, 0x11, 0, 0, 0, 0], expiry);
    let wildcard = DecodeError::PropertyValue(PropertyId::ResponseTopic);
    check(&[4, 0x08, 0, 1, b'#'], wildcard);
}

#[test]
fn the_length_is_known_before_anything_is_written() {
    let payload = std::vec![7; 2_097_152];
    for length in [0, 1, 123, 124, 16_379, 16_380, 16_384, 2_097_148, 2_097_152] {
        let publish = Publish {
            payload: &payload[..length],
            ..PLAIN
        };
        for version in Version::ALL {
            let mut bytes = Vec::new();
            publish.encode(version, &mut bytes).unwrap();
            assert_eq!(publish.packet_length(version), Ok(bytes.len()));
        }
    }
}
