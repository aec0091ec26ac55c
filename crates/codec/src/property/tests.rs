use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::{EncodeError, LengthCounter};

/// The letters of [`TABLE`], in the order of the scopes' bits.
const SCOPES: [(char, Scope); 10] = [
    ('C', Scope::CONNECT),
    ('c', Scope::CONNACK),
    ('P', Scope::PUBLISH),
    ('W', Scope::WILL),
    ('A', Scope::ACK),
    ('S', Scope::SUBSCRIBE),
    ('s', Scope::SUBACK),
    ('U', Scope::UNSUBSCRIBE),
    ('D', Scope::DISCONNECT),
    ('X', Scope::AUTH),
];

/// Table 2-4 of the standard: identifier, an example's value on the wire, the example, where it may
/// stand.
const TABLE: [(u8, &[u8], Property<'static>, &str); 27] = [
    (0x01, &[1], Property::PayloadFormatIndicator(1), "PW"),
    (
        0x02,
        &[0, 0, 1, 2],
        Property::MessageExpiryInterval(258),
        "PW",
    ),
    (0x03, &[0, 1, b'a'], Property::ContentType("a"), "PW"),
    (0x08, &[0, 1, b'r'], Property::ResponseTopic("r"), "PW"),
    (
        0x09,
        &[0, 2, 0, 255],
        Property::CorrelationData(&[0, 255]),
        "PW",
    ),
    (
        0x0B,
        &[0x80, 1],
        Property::SubscriptionIdentifier(128),
        "PS",
    ),
    (
        0x11,
        &[255; 4],
        Property::SessionExpiryInterval(u32::MAX),
        "CcD",
    ),
    (
        0x12,
        &[0, 1, b'i'],
        Property::AssignedClientIdentifier("i"),
        "c",
    ),
    (0x13, &[1, 0], Property::ServerKeepAlive(256), "c"),
    (
        0x15,
        &[0, 1, b'm'],
        Property::AuthenticationMethod("m"),
        "CcX",
    ),
    (0x16, &[0, 1, 0], Property::AuthenticationData(&[0]), "CcX"),
    (0x17, &[0], Property::RequestProblemInformation(0), "C"),
    (
        0x18,
        &[0, 1, 0, 0],
        Property::WillDelayInterval(65_536),
        "W",
    ),
    (0x19, &[1], Property::RequestResponseInformation(1), "C"),
    (0x1A, &[0, 1, b'b'], Property::ResponseInformation("b"), "c"),
    (0x1C, &[0, 1, b's'], Property::ServerReference("s"), "cD"),
    (0x1F, &[0, 1, b'w'], Property::ReasonString("w"), "cAsDX"),
    (0x21, &[0, 1], Property::ReceiveMaximum(1), "Cc"),
    (0x22, &[0, 0], Property::TopicAliasMaximum(0), "Cc"),
    (0x23, &[255, 255], Property::TopicAlias(65_535), "P"),
    (0x24, &[1], Property::MaximumQos(1), "c"),
    (0x25, &[0], Property::RetainAvailable(0), "c"),
    (
        0x26,
        &[0, 1, b'k', 0, 1, b'v'],
        Property::UserProperty("k", "v"),
        "CcPWASsUDX",
    ),
    (0x27, &[0, 0, 0, 1], Property::MaximumPacketSize(1), "Cc"),
    (0x28, &[0], Property::WildcardSubscriptionAvailable(0), "c"),
    (
        0x29,
        &[1],
        Property::SubscriptionIdentifierAvailable(1),
        "c",
    ),
    (0x2A, &[0], Property::SharedSubscriptionAvailable(0), "c"),
];

fn row(id: PropertyId) -> (Vec<u8>, &'static str) {
    let (number, value, _, places) = TABLE[TABLE
        .iter()
        .position(|(number, ..)| *number == id as u8)
        .unwrap()];
    ([&[number], value].concat(), places)
}

fn check(content: &[u8], scope: Scope, expected: Result<&[Property<'_>], DecodeError>) {
    let decoded = Properties::decode(content, scope);
    let seen = decoded.map(|properties| properties.iter().collect::<Vec<_>>());
    assert_eq!(
        seen,
        expected.map(<[_]>::to_vec),
        "{content:02x?} {scope:?}"
    );
}

#[test]
fn every_property_is_read_and_written_where_it_may_stand_and_nowhere_else() {
    for (number, value, property, places) in TABLE {
        let id = property.id();
        assert_eq!(id as u8, number);
        let content = [&[number], value].concat();
        let mut written = Vec::new();
        property.write(&mut written);
        assert_eq!(written, content, "{id:?}");
        for (letter, scope) in SCOPES {
            let expected = if places.contains(letter) {
                Ok(&[property][..])
            } else {
                Err(DecodeError::PropertyNotAllowed(id))
            };
            check(&content, scope, expected);
        }
    }
}

#[test]
fn a_property_occurs_once_unless_the_standard_says_otherwise() {
    for (number, value, property, places) in TABLE {
        let content = [&[number], value, &[number], value].concat();
        for (_, scope) in SCOPES.iter().filter(|(letter, _)| places.contains(*letter)) {
            let many = match property.id() {
                PropertyId::UserProperty => true,
                PropertyId::SubscriptionIdentifier => *scope == Scope::PUBLISH,
                _ => false,
            };
            let expected = if many {
                Ok(&[property, property][..])
            } else {
                Err(DecodeError::PropertyRepeated(property.id()))
            };
            check(&content, *scope, expected);
        }
    }
}

#[test]
fn a_property_cut_short_at_any_byte_is_no_property() {
    for (number, value, _, places) in TABLE {
        let content = [&[number], value].concat();
        let (_, scope) = SCOPES[SCOPES
            .iter()
            .position(|(letter, _)| places.contains(*letter))
            .unwrap()];
        for end in 1..content.len() {
            check(&content[..end], scope, Err(DecodeError::Truncated));
        }
    }
}

#[test]
fn an_identifier_that_no_property_has_is_refused() {
    for number in (0..=0x7F).filter(|number| TABLE.iter().all(|(known, ..)| known != number)) {
        let unknown = Err(DecodeError::PropertyUnknown(u32::from(number)));
        check(&[number, 0, 0, 0, 0], Scope::PUBLISH, unknown);
    }
    check(
        &[0x81, 0x01, 0],
        Scope::PUBLISH,
        Err(DecodeError::PropertyUnknown(129)),
    );
    // The identifier is a variable byte integer, so 0x26 in two bytes is not minimal [MQTT5-1.5.5-1].
    let padded = [0xA6, 0x00, 0, 0, 0, 0];
    check(&padded, Scope::PUBLISH, Err(DecodeError::VariableInt));
}

fn check_range(id: PropertyId, values: &[(&[u8], bool)]) {
    let (example, places) = row(id);
    let (_, scope) = SCOPES[SCOPES
        .iter()
        .position(|(letter, _)| places.contains(*letter))
        .unwrap()];
    for (value, is_good) in values {
        let content = [&example[..1], value].concat();
        let decoded = Properties::decode(&content, scope).map(|_| ());
        let expected = if *is_good {
            Ok(())
        } else {
            Err(DecodeError::PropertyValue(id))
        };
        assert_eq!(decoded, expected, "{id:?} {value:02x?}");
    }
}

#[test]
fn a_flag_is_0_or_1() {
    for id in [
        PropertyId::PayloadFormatIndicator,
        PropertyId::RequestProblemInformation,
        PropertyId::RequestResponseInformation,
        PropertyId::MaximumQos,
        PropertyId::RetainAvailable,
        PropertyId::WildcardSubscriptionAvailable,
        PropertyId::SubscriptionIdentifierAvailable,
        PropertyId::SharedSubscriptionAvailable,
    ] {
        check_range(
            id,
            &[(&[0], true), (&[1], true), (&[2], false), (&[255], false)],
        );
    }
}

/// `[MQTT5-3.3.2-8]`: among them the topic alias.
#[test]
fn a_count_that_may_not_be_zero_is_not() {
    for id in [PropertyId::ReceiveMaximum, PropertyId::TopicAlias] {
        check_range(
            id,
            &[(&[0, 0], false), (&[0, 1], true), (&[255, 255], true)],
        );
    }
    for id in [PropertyId::TopicAliasMaximum, PropertyId::ServerKeepAlive] {
        check_range(id, &[(&[0, 0], true), (&[255, 255], true)]);
    }
    let size = PropertyId::MaximumPacketSize;
    check_range(
        size,
        &[(&[0; 4], false), (&[0, 0, 0, 1], true), (&[255; 4], true)],
    );
    let largest: &[u8] = &[255, 255, 255, 127];
    let identifier = PropertyId::SubscriptionIdentifier;
    check_range(identifier, &[(&[0], false), (&[1], true), (largest, true)]);
    for id in [
        PropertyId::MessageExpiryInterval,
        PropertyId::SessionExpiryInterval,
        PropertyId::WillDelayInterval,
    ] {
        check_range(id, &[(&[0; 4], true), (&[255; 4], true)]);
    }
}

/// `[MQTT5-3.3.2-14]`
#[test]
fn a_response_topic_is_a_topic_name() {
    let id = PropertyId::ResponseTopic;
    check_range(
        id,
        &[
            (&[0, 0], false),
            (&[0, 1, b'#'], false),
            (&[0, 3, b'a', b'/', b'+'], false),
            (&[0, 1, b'/'], true),
        ],
    );
}

/// `[MQTT5-1.5.7-1]` for both halves of a user property, `[MQTT5-3.3.2-13]` for a response topic,
/// `[MQTT5-3.3.2-19]` for a content type.
#[test]
fn the_strings_of_properties_are_utf_8_and_the_fault_names_the_property() {
    for id in [
        PropertyId::ContentType,
        PropertyId::ResponseTopic,
        PropertyId::AssignedClientIdentifier,
        PropertyId::AuthenticationMethod,
        PropertyId::ResponseInformation,
        PropertyId::ServerReference,
        PropertyId::ReasonString,
    ] {
        let content = [id as u8, 0, 1, 0xFF];
        check(&content, Scope::PUBLISH, Err(DecodeError::PropertyUtf8(id)));
        let content = [id as u8, 0, 1, 0];
        check(&content, Scope::PUBLISH, Err(DecodeError::PropertyUtf8(id)));
    }
    let user = Err(DecodeError::PropertyUtf8(PropertyId::UserProperty));
    check(&[0x26, 0, 1, 0xFF, 0, 1, b'v'], Scope::AUTH, user);
    check(&[0x26, 0, 1, b'k', 0, 1, 0xFF], Scope::AUTH, user);
    check(&[0x26, 0, 1, b'k', 0, 1, 0], Scope::AUTH, user);
    let empty = [0x26, 0, 0, 0, 0];
    check(&empty, Scope::AUTH, Ok(&[Property::UserProperty("", "")]));
}

#[test]
fn a_malformed_section_is_found_before_a_wrong_property_in_it() {
    let wrong_then_cut = [0x24, 9, 0x23, 0];
    check(&wrong_then_cut, Scope::PUBLISH, Err(DecodeError::Truncated));
    let wrong_then_unknown = [0x24, 9, 0x7F];
    check(
        &wrong_then_unknown,
        Scope::PUBLISH,
        Err(DecodeError::PropertyUnknown(0x7F)),
    );
}

#[test]
fn of_one_property_the_value_is_judged_before_its_place() {
    let value = Err(DecodeError::PropertyValue(PropertyId::MaximumQos));
    check(&[0x24, 2], Scope::PUBLISH, value);
    let place = Err(DecodeError::PropertyNotAllowed(PropertyId::MaximumQos));
    check(&[0x24, 1, 0x24, 1], Scope::PUBLISH, place);
}

#[test]
fn properties_keep_their_order() {
    let list = [
        Property::UserProperty("b", "1"),
        Property::ContentType("t"),
        Property::UserProperty("a", "2"),
        Property::UserProperty("b", "1"),
    ];
    let mut content = Vec::new();
    Properties::from_list(&list).write_content(&mut content);
    check(&content, Scope::PUBLISH, Ok(&list));
}

fn write(properties: Properties<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    properties.write(&mut bytes);
    bytes
}

/// `[MQTT5-2.2.2-1]`
#[test]
fn no_properties_are_a_length_of_zero() {
    assert_eq!(write(Properties::NONE), [0]);
    assert_eq!(write(Properties::from_list(&[])), [0]);
    let nothing = Properties::decode(&[], Scope::AUTH).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(nothing, Properties::default());
}

#[test]
fn a_forwarded_section_keeps_its_bytes_and_gains_a_list() {
    let content = [0x26, 0, 1, b'k', 0, 1, b'v', 0x23, 0, 5, 0x01, 1];
    let received = Properties::decode(&content, Scope::PUBLISH).unwrap();
    assert_eq!(received.encoded(), content);
    let items: Vec<_> = received.items().collect();
    assert_eq!(
        items,
        [
            (Property::UserProperty("k", "v"), &content[..7]),
            (Property::TopicAlias(5), &content[7..10]),
            (Property::PayloadFormatIndicator(1), &content[10..]),
        ]
    );
    let gained = [Property::SubscriptionIdentifier(7)];
    let forwarded = Properties::from_encoded(items[0].1, &gained);
    assert!(!forwarded.is_empty());
    assert_eq!(write(forwarded), [9, 0x26, 0, 1, b'k', 0, 1, b'v', 0x0B, 7]);
    let all = [Property::UserProperty("k", "v"), gained[0]];
    assert_eq!(forwarded, Properties::from_list(&all));
    assert_ne!(forwarded, received);
}

#[test]
fn equality_does_not_ask_where_properties_come_from() {
    for (number, value, property, _) in TABLE {
        let content = [&[number], value].concat();
        let list = [property];
        let encoded = Properties::from_encoded(&content, &[]);
        assert_eq!(encoded, Properties::from_list(&list));
        assert_ne!(encoded, Properties::NONE);
    }
}

#[test]
fn a_long_section_has_a_long_length() {
    let value: String = "v".repeat(1_000);
    let list = vec![Property::UserProperty("k", &value); 17];
    let bytes = write(Properties::from_list(&list));
    assert_eq!(bytes[..3], [0xCE, 0x85, 0x01]);
    assert_eq!(bytes.len(), 3 + 17 * 1_006);
    let mut reader = Reader::new(&bytes);
    let read = Properties::read(&mut reader, Scope::ACK).unwrap();
    assert_eq!(read, Properties::from_list(&list));
    assert!(reader.is_empty());
}

#[test]
fn a_value_that_does_not_fit_the_wire_is_refused() {
    let refusal = |property| {
        let list = [property];
        let mut counter = LengthCounter::default();
        Properties::from_list(&list).write(&mut counter);
        counter.count()
    };
    let long: String = "v".repeat(65_536);
    let too_long = Err(EncodeError::FieldTooLong);
    assert_eq!(refusal(Property::ReasonString(&long)), too_long);
    assert_eq!(refusal(Property::UserProperty("k", &long)), too_long);
    assert_eq!(
        refusal(Property::CorrelationData(long.as_bytes())),
        too_long
    );
    let identifier = Property::SubscriptionIdentifier(crate::REMAINING_LENGTH_MAX + 1);
    assert_eq!(refusal(identifier), Err(EncodeError::PacketTooLong));
    assert_eq!(refusal(Property::ReasonString(&long[1..])), Ok(65_541));
}
