use std::vec;
use std::vec::Vec;

use super::*;
use crate::tests::{V3, check, packet, read, section, text, whole_at};
use crate::{Packet, Property, PropertyId, ReasonCode};

const ID: NonZeroU16 = NonZeroU16::MIN;

fn check_subscribe(
    version: Version,
    parts: &[&[u8]],
    expected: Result<&[(&str, u8)], DecodeError>,
) {
    let none: &[u8] = if version.has_properties() { &[0] } else { &[] };
    let bytes = packet(0x82, &[&[0, 1], none, &parts.concat()]);
    let list: Result<Vec<_>, _> = expected.map(|lines| {
        lines
            .iter()
            .map(|(filter, bits)| Subscription {
                filter,
                options: SubscriptionOptions::from_bits(version, *bits).unwrap(),
            })
            .collect()
    });
    let subscribe = list.as_ref().map_err(|error| *error).map(|list| {
        Packet::Subscribe(Subscribe {
            packet_id: ID,
            properties: Properties::NONE,
            subscriptions: Subscriptions::from_list(list),
        })
    });
    check(version, &bytes, subscribe);
}

fn check_unsubscribe(version: Version, parts: &[&[u8]], expected: Result<&[&str], DecodeError>) {
    let none: &[u8] = if version.has_properties() { &[0] } else { &[] };
    let bytes = packet(0xA2, &[&[0, 1], none, &parts.concat()]);
    let unsubscribe = expected.map(|filters| {
        Packet::Unsubscribe(Unsubscribe {
            packet_id: ID,
            properties: Properties::NONE,
            filters: Filters::from_list(filters),
        })
    });
    check(version, &bytes, unsubscribe);
}

#[test]
fn filters_are_read_in_order() {
    for version in Version::ALL {
        let lines: [&[u8]; 4] = [&text("a/#"), &[2], &text("+/b"), &[0]];
        check_subscribe(version, &lines, Ok(&[("a/#", 2), ("+/b", 0)]));
        check_unsubscribe(version, &[lines[0], lines[2]], Ok(&["a/#", "+/b"]));
        let again: [&[u8]; 4] = [&text("a"), &[0], &text("a"), &[1]];
        check_subscribe(version, &again, Ok(&[("a", 0), ("a", 1)]));
    }
}

/// `[MQTT5-3.8.3-5]`: reserved bits. QoS 3 and retain handling 3 do not exist either.
#[test]
fn the_options_of_5_0_fill_six_bits() {
    for bits in 0..=u8::MAX {
        let is_good = bits & 0xC0 == 0 && bits & 3 != 3 && bits & 0x30 != 0x30;
        let line: [&[u8]; 2] = [&text("a"), &[bits]];
        let expected = [("a", bits)];
        let expected = if is_good {
            Ok(&expected[..])
        } else {
            Err(DecodeError::SubscriptionOptions)
        };
        check_subscribe(Version::V5, &line, expected);
    }
    let options = SubscriptionOptions::from_bits(Version::V5, 0x2D);
    let expected = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    assert_eq!(options, Ok(expected));
    let fault = DecodeError::SubscriptionOptions;
    assert_eq!(fault.reason(), ReasonCode::MALFORMED_PACKET);
}

/// `[MQTT311-3.8.3-4]`
#[test]
fn the_options_of_v3_are_a_qos_alone() {
    for version in V3 {
        for bits in 0..=u8::MAX {
            let line: [&[u8]; 2] = [&text("a"), &[bits]];
            let expected = [("a", bits)];
            let expected = if bits < 3 {
                Ok(&expected[..])
            } else {
                Err(DecodeError::SubscriptionOptions)
            };
            check_subscribe(version, &line, expected);
        }
        let all = SubscriptionOptions::from_bits(Version::V5, 0x2E).unwrap();
        assert_eq!(all.bits(version), 2);
    }
}

/// `[MQTT5-3.8.3-2]`, `[MQTT311-3.8.3-3]`, `[MQTT5-3.10.3-2]`, `[MQTT311-3.10.3-2]`
#[test]
fn there_is_at_least_one_filter_except_in_3_1() {
    for version in [Version::V3_1_1, Version::V5] {
        check_subscribe(version, &[], Err(DecodeError::NoFilter));
        check_unsubscribe(version, &[], Err(DecodeError::NoFilter));
    }
    check_subscribe(Version::V3_1, &[], Ok(&[]));
    check_unsubscribe(Version::V3_1, &[], Ok(&[]));
    assert_eq!(DecodeError::NoFilter.reason(), ReasonCode::PROTOCOL_ERROR);
}

/// `[MQTT5-3.8.3-1]`, `[MQTT311-3.8.3-1]`, `[MQTT5-3.10.3-1]`, `[MQTT311-3.10.3-1]`
#[test]
fn filters_are_utf_8() {
    for version in Version::ALL {
        for filter in [&[0, 1, 0xFF][..], &[0, 1, 0], &[0, 3, 0xED, 0xA0, 0x80]] {
            check_subscribe(version, &[filter, &[0]], Err(DecodeError::Utf8));
            check_unsubscribe(version, &[filter], Err(DecodeError::Utf8));
        }
    }
}

/// `[MQTT5-4.7.1-1]`, `[MQTT5-4.7.1-2]`, `[MQTT5-4.7.3-1]`, `[MQTT311-4.7.1-2]`, `[MQTT311-4.7.1-3]`,
/// `[MQTT311-4.7.3-1]`
#[test]
fn a_filter_that_is_none_is_refused_wherever_it_stands() {
    for version in Version::ALL {
        for bad in ["", "a#", "#/a", "a+/b"] {
            let error = DecodeError::TopicFilter;
            let [good, bad] = [text("good"), text(bad)];
            check_subscribe(version, &[&bad, &[0]], Err(error));
            check_subscribe(version, &[&good, &[0], &bad, &[0]], Err(error));
            check_unsubscribe(version, &[&bad], Err(error));
            check_unsubscribe(version, &[&good, &bad], Err(error));
        }
    }
}

/// `[MQTT5-4.8.2-1]`, `[MQTT5-4.8.2-2]`
#[test]
fn a_shared_filter_is_checked_in_all_versions() {
    for version in Version::ALL {
        for bad in ["$share", "$share/g", "$share//t", "$share/g/", "$share/+/t"] {
            let error = DecodeError::SharedFilter;
            check_subscribe(version, &[&text(bad), &[0]], Err(error));
            check_unsubscribe(version, &[&text(bad)], Err(error));
        }
        let good = "$share/g/a/#";
        check_subscribe(version, &[&text(good), &[1]], Ok(&[(good, 1)]));
        check_unsubscribe(version, &[&text(good)], Ok(&[good]));
    }
}

/// `[MQTT5-3.8.3-4]`
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let error = DecodeError::SharedNoLocal;
    check_subscribe(Version::V5, &[&text("$share/g/a"), &[4]], Err(error));
    check_subscribe(Version::V5, &[&text("a"), &[4]], Ok(&[("a", 4)]));
    assert_eq!(error.reason(), ReasonCode::PROTOCOL_ERROR);
}

/// `[MQTT5-2.2.1-3]`, `[MQTT311-2.3.1-1]`
#[test]
fn the_packet_id_is_not_zero() {
    for version in Version::ALL {
        for first in [0x82, 0xA2] {
            let bytes = packet(first, &[&[0, 0], &[0, 0, 1, b'a', 0]]);
            assert_eq!(read(version, &bytes), Err(DecodeError::PacketIdZero));
            let bytes = packet(first, &[&[1]]);
            assert_eq!(read(version, &bytes), Err(DecodeError::Truncated));
        }
    }
}

#[test]
fn properties_stand_before_the_filters() {
    let list = [
        Property::SubscriptionIdentifier(268_435_455),
        Property::UserProperty("k", "v"),
    ];
    let lines = [Subscription {
        filter: "a",
        options: SubscriptionOptions::default(),
    }];
    let subscribe = Subscribe {
        packet_id: ID,
        properties: Properties::from_list(&list),
        subscriptions: Subscriptions::from_list(&lines),
    };
    let user = [0x26, 0, 1, b'k', 0, 1, b'v'];
    let identifier = [0x0B, 0xFF, 0xFF, 0xFF, 0x7F];
    let both = section(&[&identifier[..], &user].concat());
    let bytes = packet(0x82, &[&[0, 1], &both, &[0, 1, b'a', 0]]);
    check(Version::V5, &bytes, Ok(Packet::Subscribe(subscribe)));
    let unsubscribe = Unsubscribe {
        packet_id: ID,
        properties: Properties::from_list(&list[1..]),
        filters: Filters::from_list(&["a"]),
    };
    let bytes = packet(0xA2, &[&[0, 1], &section(&user), &[0, 1, b'a']]);
    check(Version::V5, &bytes, Ok(Packet::Unsubscribe(unsubscribe)));
}

#[test]
fn properties_of_another_packet_are_refused() {
    let id = PropertyId::SubscriptionIdentifier;
    let unsubscribe = packet(0xA2, &[&[0, 1], &[2, 0x0B, 1], &[0, 1, b'a']]);
    let error = DecodeError::PropertyNotAllowed(id);
    assert_eq!(read(Version::V5, &unsubscribe), Err(error));
    let check = |properties: &[u8], error| {
        let bytes = packet(0x82, &[&[0, 1], properties, &[0, 1, b'a', 0]]);
        assert_eq!(read(Version::V5, &bytes), Err(error));
    };
    check(&[2, 0x0B, 0], DecodeError::PropertyValue(id));
    check(&[4, 0x0B, 1, 0x0B, 2], DecodeError::PropertyRepeated(id));
    let why = DecodeError::PropertyNotAllowed(PropertyId::ReasonString);
    check(&[3, 0x1F, 0, 0], why);
}

#[test]
fn a_cut_line_is_refused() {
    for version in Version::ALL {
        let none: &[u8] = if version.has_properties() { &[0] } else { &[] };
        let start = 2 + none.len();
        let lines = [0, 1, b'a', 0, 0, 1, b'b', 0];
        let bytes = packet(0x82, &[&[0, 1], none, &lines]);
        let mut expected = vec![start + 4, start + 8];
        if version == Version::V3_1 {
            expected.insert(0, start);
        }
        assert_eq!(whole_at(version, &bytes), expected);
        let filters = [0, 1, b'a', 0, 1, b'b'];
        let bytes = packet(0xA2, &[&[0, 1], none, &filters]);
        let mut expected = vec![start + 3, start + 6];
        if version == Version::V3_1 {
            expected.insert(0, start);
        }
        assert_eq!(whole_at(version, &bytes), expected);
    }
}

#[test]
fn received_lines_can_be_written_in_another_version() {
    let bytes = packet(0x82, &[&[0, 1, 0], &text("a"), &[0x2D]]);
    let Ok(received) = read(Version::V5, &bytes) else {
        panic!("not read");
    };
    let mut older = Vec::new();
    received.encode(Version::V3_1_1, &mut older).unwrap();
    assert_eq!(older, [0x82, 6, 0, 1, 0, 1, b'a', 1]);
}

#[test]
fn a_filter_that_does_not_fit_the_wire_is_not_written() {
    let long = "a".repeat(65_536);
    let lines = [Subscription {
        filter: &long,
        options: SubscriptionOptions::default(),
    }];
    let subscribe = Subscribe {
        packet_id: ID,
        properties: Properties::NONE,
        subscriptions: Subscriptions::from_list(&lines),
    };
    let filters = [long.as_str()];
    let unsubscribe = Unsubscribe {
        packet_id: ID,
        properties: Properties::NONE,
        filters: Filters::from_list(&filters),
    };
    let mut bytes = Vec::new();
    let refused = Err(EncodeError::FieldTooLong);
    assert_eq!(subscribe.encode(Version::V5, &mut bytes), refused);
    assert_eq!(unsubscribe.encode(Version::V5, &mut bytes), refused);
    assert!(bytes.is_empty());
}
