use std::collections::BTreeSet;
use std::string::ToString;

use super::*;

const ALL: [DecodeError; 25] = [
    DecodeError::Truncated,
    DecodeError::TrailingBytes,
    DecodeError::RemainingLength,
    DecodeError::VariableInt,
    DecodeError::Utf8,
    DecodeError::PropertyUtf8(PropertyId::ReasonString),
    DecodeError::HeaderFlags,
    DecodeError::PacketType,
    DecodeError::QoS,
    DecodeError::DupWithoutQoS,
    DecodeError::PacketIdZero,
    DecodeError::PropertyUnknown(0x7F),
    DecodeError::PropertyNotAllowed(PropertyId::TopicAlias),
    DecodeError::PropertyRepeated(PropertyId::TopicAlias),
    DecodeError::PropertyValue(PropertyId::ReceiveMaximum),
    DecodeError::ReasonCode(0x7F),
    DecodeError::TopicName,
    DecodeError::TopicFilter,
    DecodeError::SharedFilter,
    DecodeError::SharedNoLocal,
    DecodeError::SubscriptionOptions,
    DecodeError::NoFilter,
    DecodeError::ConnAckFlags,
    DecodeError::Connect,
    DecodeError::NotInVersion,
];

#[test]
fn each_fault_has_words_of_its_own() {
    let words: BTreeSet<_> = ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), ALL.len());
    let named = DecodeError::PropertyUtf8(PropertyId::ReasonString).to_string();
    assert!(named.contains("ReasonString"), "{named}");
    let words: BTreeSet<_> = [
        EncodeError::FieldTooLong,
        EncodeError::PacketTooLong,
        EncodeError::PacketIdMissing,
        EncodeError::BufferTooSmall,
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    assert_eq!(words.len(), 4);
}

#[test]
fn each_fault_is_a_malformed_packet_or_a_protocol_error() {
    for error in ALL {
        assert!(
            matches!(
                error.reason(),
                ReasonCode::MALFORMED_PACKET | ReasonCode::PROTOCOL_ERROR
            ),
            "{error:?}"
        );
    }
}

/// MQTT5 3.3.2.3.4: a topic alias of 0 has a code of its own.
#[test]
fn a_topic_alias_of_zero_is_answered_as_an_invalid_alias() {
    let zero = DecodeError::PropertyValue(PropertyId::TopicAlias);
    assert_eq!(zero.reason(), ReasonCode::TOPIC_ALIAS_INVALID);
}
