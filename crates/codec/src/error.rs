//! What can be wrong with bytes, and with values that are to become bytes.

use core::fmt;

use crate::{PropertyId, ReasonCode};

/// Why received bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A field is cut short by the end of the packet.
    Truncated,
    /// Bytes follow the last field.
    TrailingBytes,
    /// The Remaining Length takes more than four bytes.
    RemainingLength,
    /// A variable byte integer is too long or not in its shortest form `[MQTT5-1.5.5-1]`.
    VariableInt,
    /// A string field is not UTF-8, or holds U+0000, another control character or a non-character.
    Utf8,
    /// The same in a string of a property.
    PropertyUtf8(PropertyId),
    /// The flags of the fixed header are not those of the packet type `[MQTT5-2.1.3-1]`.
    HeaderFlags,
    /// Packet type 0 is reserved.
    PacketType,
    /// QoS 3 does not exist `[MQTT5-3.3.1-4]`.
    QoS,
    /// DUP on a message of QoS 0 `[MQTT5-3.3.1-2]`.
    DupWithoutQoS,
    /// A packet identifier of zero.
    PacketIdZero,
    /// An identifier that no property has.
    PropertyUnknown(u32),
    /// A property that this packet may not carry.
    PropertyNotAllowed(PropertyId),
    /// A property that may occur once occurs again.
    PropertyRepeated(PropertyId),
    /// A property's value is outside its range.
    PropertyValue(PropertyId),
    /// A reason code that this packet may not carry.
    ReasonCode(u8),
    /// A topic name with a wildcard, or an empty one where none may be.
    TopicName,
    /// A topic filter with a wildcard in the wrong place, or an empty one.
    TopicFilter,
    /// A `$share` filter without share name or filter, or with wildcards in the share name.
    SharedFilter,
    /// No Local on a shared subscription `[MQTT5-3.8.3-4]`.
    SharedNoLocal,
    /// Reserved bits, QoS 3 or retain handling 3 in the options of a subscription.
    SubscriptionOptions,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    NoFilter,
    /// CONNACK with reserved bits in its flags.
    ConnAckFlags,
    /// CONNECT is read by [`crate::Connect::decode`], which says more than this.
    Connect,
    /// A packet that this version of the protocol does not have (AUTH before 5.0).
    NotInVersion,
}

impl DecodeError {
    /// The class of the fault as MQTT 5.0 names it: malformed packet or protocol error, or a code of
    /// its own where the standard gives one.
    #[must_use]
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::Truncated
            | Self::TrailingBytes
            | Self::RemainingLength
            | Self::VariableInt
            | Self::Utf8
            | Self::PropertyUtf8(_)
            | Self::HeaderFlags
            | Self::QoS
            | Self::DupWithoutQoS
            | Self::PropertyUnknown(_)
            | Self::TopicName
            | Self::TopicFilter
            | Self::SubscriptionOptions
            | Self::ConnAckFlags
            | Self::Connect => ReasonCode::MALFORMED_PACKET,
            Self::PropertyValue(PropertyId::TopicAlias) => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::PacketType
            | Self::PacketIdZero
            | Self::PropertyNotAllowed(_)
            | Self::PropertyRepeated(_)
            | Self::PropertyValue(_)
            | Self::ReasonCode(_)
            | Self::SharedFilter
            | Self::SharedNoLocal
            | Self::NoFilter
            | Self::NotInVersion => ReasonCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a field is cut short"),
            Self::TrailingBytes => f.write_str("bytes follow the last field"),
            Self::RemainingLength => f.write_str("the remaining length takes over four bytes"),
            Self::VariableInt => f.write_str("a variable byte integer is malformed"),
            Self::Utf8 => f.write_str("a string is not valid UTF-8"),
            Self::PropertyUtf8(id) => write!(f, "the string of property {id:?} is not valid UTF-8"),
            Self::HeaderFlags => f.write_str("the flags of the fixed header are wrong"),
            Self::PacketType => f.write_str("packet type 0 is reserved"),
            Self::QoS => f.write_str("QoS 3 does not exist"),
            Self::DupWithoutQoS => f.write_str("DUP is set on QoS 0"),
            Self::PacketIdZero => f.write_str("the packet identifier is zero"),
            Self::PropertyUnknown(id) => write!(f, "there is no property {id:#04x}"),
            Self::PropertyNotAllowed(id) => write!(f, "property {id:?} is not allowed here"),
            Self::PropertyRepeated(id) => write!(f, "property {id:?} occurs twice"),
            Self::PropertyValue(id) => write!(f, "property {id:?} is out of range"),
            Self::ReasonCode(code) => write!(f, "reason code {code:#04x} is not allowed here"),
            Self::TopicName => f.write_str("the topic name is empty or has a wildcard"),
            Self::TopicFilter => f.write_str("the topic filter is invalid"),
            Self::SharedFilter => f.write_str("the shared subscription's filter is invalid"),
            Self::SharedNoLocal => f.write_str("no local is set on a shared subscription"),
            Self::SubscriptionOptions => f.write_str("the subscription options are invalid"),
            Self::NoFilter => f.write_str("there is no topic filter"),
            Self::ConnAckFlags => f.write_str("reserved connect acknowledge flags are set"),
            Self::Connect => f.write_str("CONNECT is malformed"),
            Self::NotInVersion => f.write_str("this protocol version has no such packet"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a value cannot be written as a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field has more than 65,535 bytes.
    FieldTooLong,
    /// The packet would exceed a Remaining Length of 268,435,455.
    PacketTooLong,
    /// A PUBLISH of QoS 1 or 2 has no packet identifier `[MQTT5-2.2.1-3]`.
    PacketIdMissing,
    /// The caller's buffer is too small.
    BufferTooSmall,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldTooLong => "a field has over 65,535 bytes",
            Self::PacketTooLong => "the packet has over 268,435,455 bytes",
            Self::PacketIdMissing => "a message of QoS 1 or 2 has no packet identifier",
            Self::BufferTooSmall => "the buffer is too small for the packet",
        })
    }
}

impl core::error::Error for EncodeError {}

#[cfg(test)]
mod tests;
