//! Properties of MQTT 5.0 by their names: what `-D` takes, and what JSON calls them.

use std::ffi::OsString;

use midge_codec::{Properties, Property, PropertyId, Scope, Sink as _};

use crate::options::{UsageError, Value, utf8};

/// The properties that the packets of a client get, each section encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PacketProperties {
    pub(crate) connect: Section,
    pub(crate) publish: Section,
    pub(crate) subscribe: Section,
    pub(crate) unsubscribe: Section,
    pub(crate) disconnect: Section,
    pub(crate) will: Section,
}

/// Encoded properties of one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section(Vec<u8>);

impl Section {
    /// Adds a property at the end.
    pub(crate) fn push(&mut self, property: &Property<'_>) {
        property.write(&mut self.0);
    }

    /// For a packet.
    pub(crate) fn properties(&self) -> Properties<'_> {
        Properties::from_encoded(&self.0, &[])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Property<'_>> {
        self.properties().iter()
    }
}

/// What kind of value a property has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    Text,
    Binary,
    Pair,
}

/// Every property: its name, and the kind of its value.
const TABLE: &[(&str, PropertyId, Kind)] = &[
    (
        "payload-format-indicator",
        PropertyId::PayloadFormatIndicator,
        Kind::Byte,
    ),
    (
        "message-expiry-interval",
        PropertyId::MessageExpiryInterval,
        Kind::FourBytes,
    ),
    ("content-type", PropertyId::ContentType, Kind::Text),
    ("response-topic", PropertyId::ResponseTopic, Kind::Text),
    (
        "correlation-data",
        PropertyId::CorrelationData,
        Kind::Binary,
    ),
    (
        "subscription-identifier",
        PropertyId::SubscriptionIdentifier,
        Kind::Variable,
    ),
    (
        "session-expiry-interval",
        PropertyId::SessionExpiryInterval,
        Kind::FourBytes,
    ),
    (
        "assigned-client-identifier",
        PropertyId::AssignedClientIdentifier,
        Kind::Text,
    ),
    (
        "server-keep-alive",
        PropertyId::ServerKeepAlive,
        Kind::TwoBytes,
    ),
    (
        "authentication-method",
        PropertyId::AuthenticationMethod,
        Kind::Text,
    ),
    (
        "authentication-data",
        PropertyId::AuthenticationData,
        Kind::Binary,
    ),
    (
        "request-problem-information",
        PropertyId::RequestProblemInformation,
        Kind::Byte,
    ),
    (
        "will-delay-interval",
        PropertyId::WillDelayInterval,
        Kind::FourBytes,
    ),
    (
        "request-response-information",
        PropertyId::RequestResponseInformation,
        Kind::Byte,
    ),
    (
        "response-information",
        PropertyId::ResponseInformation,
        Kind::Text,
    ),
    ("server-reference", PropertyId::ServerReference, Kind::Text),
    ("reason-string", PropertyId::ReasonString, Kind::Text),
    (
        "receive-maximum",
        PropertyId::ReceiveMaximum,
        Kind::TwoBytes,
    ),
    (
        "topic-alias-maximum",
        PropertyId::TopicAliasMaximum,
        Kind::TwoBytes,
    ),
    ("topic-alias", PropertyId::TopicAlias, Kind::TwoBytes),
    ("maximum-qos", PropertyId::MaximumQos, Kind::Byte),
    ("retain-available", PropertyId::RetainAvailable, Kind::Byte),
    ("user-property", PropertyId::UserProperty, Kind::Pair),
    (
        "maximum-packet-size",
        PropertyId::MaximumPacketSize,
        Kind::FourBytes,
    ),
    (
        "wildcard-subscription-available",
        PropertyId::WildcardSubscriptionAvailable,
        Kind::Byte,
    ),
    (
        "subscription-identifier-available",
        PropertyId::SubscriptionIdentifierAvailable,
        Kind::Byte,
    ),
    (
        "shared-subscription-available",
        PropertyId::SharedSubscriptionAvailable,
        Kind::Byte,
    ),
];

/// What `-D` and JSON call a property.
pub(crate) fn name(id: PropertyId) -> &'static str {
    TABLE
        .iter()
        .find(|(_, property, _)| *property == id)
        .map_or("", |(name, _, _)| name)
}

/// Packets whose properties are known but not to be set.
const NOT_SET: &[(&str, Scope)] = &[
    ("connack", Scope::CONNACK),
    ("puback", Scope::ACK),
    ("pubrec", Scope::ACK),
    ("pubrel", Scope::ACK),
    ("pubcomp", Scope::ACK),
    ("suback", Scope::SUBACK),
    ("unsuback", Scope::SUBACK),
    ("auth", Scope::AUTH),
];

impl PacketProperties {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the operands of `-D`: packet, name, value, and for a user property its value.
    pub(crate) fn take(&mut self, value: Value) -> Result<(), UsageError> {
        let mut words = value.into_all();
        let mut next = || words.next().unwrap_or_default();
        let text = |word| utf8(word, "--property");
        let (packet, name) = (text(next())?, text(next())?);
        let values: Vec<_> = words.collect();

        let lower = packet.to_ascii_lowercase();
        let not_set = NOT_SET.iter().find(|(name, _)| *name == lower);
        let (section, scope) = match (lower.as_str(), not_set) {
            ("connect", _) => (Some(&mut self.connect), Scope::CONNECT),
            ("publish", _) => (Some(&mut self.publish), Scope::PUBLISH),
            ("subscribe", _) => (Some(&mut self.subscribe), Scope::SUBSCRIBE),
            ("unsubscribe", _) => (Some(&mut self.unsubscribe), Scope::UNSUBSCRIBE),
            ("disconnect", _) => (Some(&mut self.disconnect), Scope::DISCONNECT),
            ("will", _) => (Some(&mut self.will), Scope::WILL),
            (_, Some((_, scope))) => (None, *scope),
            (_, None) => {
                return Err(UsageError(format!(
                    "Invalid command {packet} given in --property argument."
                )));
            }
        };
        let Some(&(_, id, kind)) = TABLE
            .iter()
            .find(|(known, _, _)| known.eq_ignore_ascii_case(&name))
        else {
            return Err(UsageError(format!(
                "Invalid property name {name} given in --property argument."
            )));
        };
        if !id.scope().contains(scope) {
            return Err(UsageError(format!(
                "{name} property not allowed for {packet} in --property argument."
            )));
        }
        let is_refused = scope == Scope::PUBLISH && id == PropertyId::SubscriptionIdentifier;
        let Some(section) = section.filter(|_| !is_refused) else {
            return Err(UsageError(format!(
                "{name} property not supported for {packet} in --property argument."
            )));
        };
        let bytes = &mut section.0;
        bytes.put_u8(id as u8);
        write(bytes, &name, kind, values)?;
        if Properties::decode(bytes, scope).is_err() {
            return Err(UsageError(format!(
                "Property {name} cannot be given to {packet} twice, or not with this value."
            )));
        }
        Ok(())
    }
}

/// Appends a value in the form of its kind.
fn write(
    bytes: &mut Vec<u8>,
    name: &str,
    kind: Kind,
    values: Vec<OsString>,
) -> Result<(), UsageError> {
    if kind == Kind::Binary {
        return write_bytes(
            bytes,
            name,
            values.first().map(|value| value.as_encoded_bytes()),
        );
    }
    let values: Vec<_> = values
        .into_iter()
        .map(|value| utf8(value, "--property"))
        .collect::<Result<_, _>>()?;
    let value = values.first().map_or("", String::as_str);
    match kind {
        Kind::Byte => bytes.put_u8(number(name, value, u8::MAX)?),
        Kind::TwoBytes => bytes.put_u16(number(name, value, u16::MAX)?),
        Kind::FourBytes => bytes.put_u32(number(name, value, u32::MAX)?),
        Kind::Variable => bytes.put_variable_int(number(name, value, VARIABLE_MAX)?),
        Kind::Text | Kind::Binary | Kind::Pair => {
            for text in &values {
                write_bytes(bytes, name, Some(text.as_bytes()))?;
            }
        }
    }
    Ok(())
}

fn write_bytes(bytes: &mut Vec<u8>, name: &str, value: Option<&[u8]>) -> Result<(), UsageError> {
    let value = value.unwrap_or_default();
    let Ok(length) = u16::try_from(value.len()) else {
        return Err(UsageError(format!(
            "Property value too long for property {name}."
        )));
    };
    bytes.put_u16(length);
    bytes.put(value);
    Ok(())
}

const VARIABLE_MAX: u32 = 268_435_455;

fn number<T>(name: &str, value: &str, max: T) -> Result<T, UsageError>
where
    T: TryFrom<i64> + PartialOrd,
{
    let Ok(number) = value.parse::<i64>() else {
        return Err(UsageError(format!(
            "Property value '{value}' not a number."
        )));
    };
    T::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| {
            UsageError(format!(
                "Property value ({number}) out of range for property {name}."
            ))
        })
}

#[cfg(test)]
mod tests;
