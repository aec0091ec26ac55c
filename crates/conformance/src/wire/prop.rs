//! Properties of MQTT 5.0 as (identifier, value) pairs.

use super::{string, two, variable_int};

/// Payload Format Indicator.
pub const PAYLOAD_FORMAT: u8 = 0x01;
/// Message Expiry Interval.
pub const MESSAGE_EXPIRY: u8 = 0x02;
/// Content Type.
pub const CONTENT_TYPE: u8 = 0x03;
/// Response Topic.
pub const RESPONSE_TOPIC: u8 = 0x08;
/// Correlation Data.
pub const CORRELATION_DATA: u8 = 0x09;
/// Subscription Identifier.
pub const SUBSCRIPTION_ID: u8 = 0x0B;
/// Session Expiry Interval.
pub const SESSION_EXPIRY: u8 = 0x11;
/// Assigned Client Identifier.
pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
/// Server Keep Alive.
pub const SERVER_KEEP_ALIVE: u8 = 0x13;
/// Authentication Method.
pub const AUTH_METHOD: u8 = 0x15;
/// Authentication Data.
pub const AUTH_DATA: u8 = 0x16;
/// Request Problem Information.
pub const REQUEST_PROBLEM_INFO: u8 = 0x17;
/// Will Delay Interval.
pub const WILL_DELAY: u8 = 0x18;
/// Request Response Information.
pub const REQUEST_RESPONSE_INFO: u8 = 0x19;
/// Response Information.
pub const RESPONSE_INFO: u8 = 0x1A;
/// Server Reference.
pub const SERVER_REFERENCE: u8 = 0x1C;
/// Reason String.
pub const REASON_STRING: u8 = 0x1F;
/// Receive Maximum.
pub const RECEIVE_MAXIMUM: u8 = 0x21;
/// Topic Alias Maximum.
pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
/// Topic Alias.
pub const TOPIC_ALIAS: u8 = 0x23;
/// Maximum QoS.
pub const MAXIMUM_QOS: u8 = 0x24;
/// Retain Available.
pub const RETAIN_AVAILABLE: u8 = 0x25;
/// User Property.
pub const USER_PROPERTY: u8 = 0x26;
/// Maximum Packet Size.
pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
/// Wildcard Subscription Available.
pub const WILDCARD_AVAILABLE: u8 = 0x28;
/// Subscription Identifiers Available.
pub const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
/// Shared Subscription Available.
pub const SHARED_AVAILABLE: u8 = 0x2A;

/// The value of a property, by its form on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// A two-byte integer.
    Two(u16),
    /// A four-byte integer.
    Four(u32),
    /// A variable byte integer.
    VariableInt(u32),
    /// A UTF-8 string or binary data, with a two-byte length.
    Bytes(Vec<u8>),
    /// A pair of strings.
    Pair(Vec<u8>, Vec<u8>),
    /// Bytes that are written as they are, right or wrong.
    Raw(Vec<u8>),
}

/// A property: its identifier and its value, which need not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The identifier.
    pub id: u8,
    /// The value.
    pub value: Value,
}

impl Property {
    /// Joins an identifier and a value.
    pub const fn new(id: u8, value: Value) -> Self {
        Self { id, value }
    }

    /// The bytes of identifier and value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.id];
        match &self.value {
            Value::Byte(value) => out.push(*value),
            Value::Two(value) => out.extend(two(*value)),
            Value::Four(value) => out.extend(value.to_be_bytes()),
            Value::VariableInt(value) => {
                out.extend(variable_int(usize::try_from(*value).unwrap_or(0)));
            }
            Value::Bytes(value) => out.extend(string(value)),
            Value::Pair(name, value) => {
                out.extend(string(name));
                out.extend(string(value));
            }
            Value::Raw(bytes) => out.extend(bytes),
        }
        out
    }
}

/// A property of one byte.
pub const fn byte(id: u8, value: u8) -> Property {
    Property::new(id, Value::Byte(value))
}

/// A property with a two-byte length: a string or binary data.
pub fn text(id: u8, value: impl AsRef<[u8]>) -> Property {
    Property::new(id, Value::Bytes(value.as_ref().to_vec()))
}

/// A property whose value is written byte for byte.
pub fn raw(id: u8, value: impl AsRef<[u8]>) -> Property {
    Property::new(id, Value::Raw(value.as_ref().to_vec()))
}

/// Session Expiry Interval in seconds.
pub const fn session_expiry(secs: u32) -> Property {
    Property::new(SESSION_EXPIRY, Value::Four(secs))
}

/// Message Expiry Interval in seconds.
pub const fn message_expiry(secs: u32) -> Property {
    Property::new(MESSAGE_EXPIRY, Value::Four(secs))
}

/// Will Delay Interval in seconds.
pub const fn will_delay(secs: u32) -> Property {
    Property::new(WILL_DELAY, Value::Four(secs))
}

/// Receive Maximum.
pub const fn receive_maximum(count: u16) -> Property {
    Property::new(RECEIVE_MAXIMUM, Value::Two(count))
}

/// Maximum Packet Size in bytes.
pub const fn maximum_packet_size(bytes: u32) -> Property {
    Property::new(MAXIMUM_PACKET_SIZE, Value::Four(bytes))
}

/// Topic Alias Maximum.
pub const fn topic_alias_maximum(count: u16) -> Property {
    Property::new(TOPIC_ALIAS_MAXIMUM, Value::Two(count))
}

/// Topic Alias.
pub const fn topic_alias(alias: u16) -> Property {
    Property::new(TOPIC_ALIAS, Value::Two(alias))
}

/// Subscription Identifier.
pub const fn subscription_id(id: u32) -> Property {
    Property::new(SUBSCRIPTION_ID, Value::VariableInt(id))
}

/// User Property.
pub fn user(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Property {
    Property::new(
        USER_PROPERTY,
        Value::Pair(name.as_ref().to_vec(), value.as_ref().to_vec()),
    )
}
