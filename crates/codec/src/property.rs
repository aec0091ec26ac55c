//! Properties of MQTT 5.0: one table says which packet may carry which, how often, and its type.

use crate::{Counter as _, DecodeError, Reader, Sink};

/// Where a property section stands. A bit each, so that the table can say where a property may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(u16);

impl Scope {
    /// CONNECT.
    pub const CONNECT: Self = Self(1);
    /// CONNACK.
    pub const CONNACK: Self = Self(1 << 1);
    /// PUBLISH.
    pub const PUBLISH: Self = Self(1 << 2);
    /// The will in CONNECT.
    pub const WILL: Self = Self(1 << 3);
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    pub const ACK: Self = Self(1 << 4);
    /// SUBSCRIBE.
    pub const SUBSCRIBE: Self = Self(1 << 5);
    /// SUBACK and UNSUBACK.
    pub const SUBACK: Self = Self(1 << 6);
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: Self = Self(1 << 7);
    /// DISCONNECT.
    pub const DISCONNECT: Self = Self(1 << 8);
    /// AUTH.
    pub const AUTH: Self = Self(1 << 9);

    const ALL: Self = Self(0x3FF);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two have a packet in common.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The identifiers of properties, in the order of the standard's table (MQTT5 2.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "the names are the standard's; Property documents the values"
)]
pub enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

impl PropertyId {
    /// Where the property may stand.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::PayloadFormatIndicator
            | Self::MessageExpiryInterval
            | Self::ContentType
            | Self::ResponseTopic
            | Self::CorrelationData => Scope::PUBLISH.or(Scope::WILL),
            Self::SubscriptionIdentifier => Scope::PUBLISH.or(Scope::SUBSCRIBE),
            Self::SessionExpiryInterval => Scope::CONNECT.or(Scope::CONNACK).or(Scope::DISCONNECT),
            Self::AssignedClientIdentifier
            | Self::ServerKeepAlive
            | Self::ResponseInformation
            | Self::MaximumQos
            | Self::RetainAvailable
            | Self::WildcardSubscriptionAvailable
            | Self::SubscriptionIdentifierAvailable
            | Self::SharedSubscriptionAvailable => Scope::CONNACK,
            Self::AuthenticationMethod | Self::AuthenticationData => {
                Scope::CONNECT.or(Scope::CONNACK).or(Scope::AUTH)
            }
            Self::RequestProblemInformation | Self::RequestResponseInformation => Scope::CONNECT,
            Self::WillDelayInterval => Scope::WILL,
            Self::ServerReference => Scope::CONNACK.or(Scope::DISCONNECT),
            Self::ReasonString => Scope::CONNACK
                .or(Scope::ACK)
                .or(Scope::SUBACK)
                .or(Scope::DISCONNECT)
                .or(Scope::AUTH),
            Self::ReceiveMaximum | Self::TopicAliasMaximum | Self::MaximumPacketSize => {
                Scope::CONNECT.or(Scope::CONNACK)
            }
            Self::TopicAlias => Scope::PUBLISH,
            Self::UserProperty => Scope::ALL,
        }
    }

    /// Whether the property may occur more than once in `scope`: user properties always, subscription
    /// identifiers in PUBLISH.
    const fn may_repeat(self, scope: Scope) -> bool {
        match self {
            Self::UserProperty => true,
            Self::SubscriptionIdentifier => scope.contains(Scope::PUBLISH),
            _ => false,
        }
    }
}

/// One property with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// 1: the payload is UTF-8 text.
    PayloadFormatIndicator(u8),
    /// Lifetime of the message in seconds.
    MessageExpiryInterval(u32),
    /// What the payload is, as the application agrees.
    ContentType(&'a str),
    /// Where a response is expected.
    ResponseTopic(&'a str),
    /// Which request a response belongs to.
    CorrelationData(&'a [u8]),
    /// 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// Lifetime of the session after its connection in seconds; `u32::MAX`: for ever.
    SessionExpiryInterval(u32),
    /// The client id that the server chose.
    AssignedClientIdentifier(&'a str),
    /// The keep alive in seconds that the server imposes.
    ServerKeepAlive(u16),
    /// The name of an enhanced authentication.
    AuthenticationMethod(&'a str),
    /// A step's data of an enhanced authentication.
    AuthenticationData(&'a [u8]),
    /// 0: reason strings and user properties only in PUBLISH, CONNACK and DISCONNECT.
    RequestProblemInformation(u8),
    /// How long the will waits after the connection in seconds.
    WillDelayInterval(u32),
    /// 1: the client would like response information.
    RequestResponseInformation(u8),
    /// The base of response topics.
    ResponseInformation(&'a str),
    /// Another server to use.
    ServerReference(&'a str),
    /// A reason in words, for people.
    ReasonString(&'a str),
    /// How many unacknowledged QoS 1 and 2 messages are accepted at once; never 0.
    ReceiveMaximum(u16),
    /// The highest topic alias that is accepted.
    TopicAliasMaximum(u16),
    /// A number that stands for the topic; never 0.
    TopicAlias(u16),
    /// The highest QoS that the server takes: 0 or 1.
    MaximumQos(u8),
    /// 0: the server retains nothing.
    RetainAvailable(u8),
    /// A name and a value of the application's.
    UserProperty(&'a str, &'a str),
    /// The largest packet in bytes that is accepted; never 0.
    MaximumPacketSize(u32),
    /// 0: no wildcards in topic filters.
    WildcardSubscriptionAvailable(u8),
    /// 0: no subscription identifiers.
    SubscriptionIdentifierAvailable(u8),
    /// 0: no shared subscriptions.
    SharedSubscriptionAvailable(u8),
}

impl<'a> Property<'a> {
    /// Which property it is.
    #[must_use]
    pub const fn id(&self) -> PropertyId {
        match self {
            Self::PayloadFormatIndicator(_) => PropertyId::PayloadFormatIndicator,
            Self::MessageExpiryInterval(_) => PropertyId::MessageExpiryInterval,
            Self::ContentType(_) => PropertyId::ContentType,
            Self::ResponseTopic(_) => PropertyId::ResponseTopic,
            Self::CorrelationData(_) => PropertyId::CorrelationData,
            Self::SubscriptionIdentifier(_) => PropertyId::SubscriptionIdentifier,
            Self::SessionExpiryInterval(_) => PropertyId::SessionExpiryInterval,
            Self::AssignedClientIdentifier(_) => PropertyId::AssignedClientIdentifier,
            Self::ServerKeepAlive(_) => PropertyId::ServerKeepAlive,
            Self::AuthenticationMethod(_) => PropertyId::AuthenticationMethod,
            Self::AuthenticationData(_) => PropertyId::AuthenticationData,
            Self::RequestProblemInformation(_) => PropertyId::RequestProblemInformation,
            Self::WillDelayInterval(_) => PropertyId::WillDelayInterval,
            Self::RequestResponseInformation(_) => PropertyId::RequestResponseInformation,
            Self::ResponseInformation(_) => PropertyId::ResponseInformation,
            Self::ServerReference(_) => PropertyId::ServerReference,
            Self::ReasonString(_) => PropertyId::ReasonString,
            Self::ReceiveMaximum(_) => PropertyId::ReceiveMaximum,
            Self::TopicAliasMaximum(_) => PropertyId::TopicAliasMaximum,
            Self::TopicAlias(_) => PropertyId::TopicAlias,
            Self::MaximumQos(_) => PropertyId::MaximumQos,
            Self::RetainAvailable(_) => PropertyId::RetainAvailable,
            Self::UserProperty(..) => PropertyId::UserProperty,
            Self::MaximumPacketSize(_) => PropertyId::MaximumPacketSize,
            Self::WildcardSubscriptionAvailable(_) => PropertyId::WildcardSubscriptionAvailable,
            Self::SubscriptionIdentifierAvailable(_) => PropertyId::SubscriptionIdentifierAvailable,
            Self::SharedSubscriptionAvailable(_) => PropertyId::SharedSubscriptionAvailable,
        }
    }

    /// Reads one property off the front of a section.
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let id = reader.variable_int()?;
        let text = |id: PropertyId, reader: &mut Reader<'a>| {
            reader.string().map_err(|error| match error {
                DecodeError::Utf8 => DecodeError::PropertyUtf8(id),
                other => other,
            })
        };
        Ok(match id {
            0x01 => Self::PayloadFormatIndicator(reader.u8()?),
            0x02 => Self::MessageExpiryInterval(reader.u32()?),
            0x03 => Self::ContentType(text(PropertyId::ContentType, reader)?),
            0x08 => Self::ResponseTopic(text(PropertyId::ResponseTopic, reader)?),
            0x09 => Self::CorrelationData(reader.binary()?),
            0x0B => Self::SubscriptionIdentifier(reader.variable_int()?),
            0x11 => Self::SessionExpiryInterval(reader.u32()?),
            0x12 => {
                Self::AssignedClientIdentifier(text(PropertyId::AssignedClientIdentifier, reader)?)
            }
            0x13 => Self::ServerKeepAlive(reader.u16()?),
            0x15 => Self::AuthenticationMethod(text(PropertyId::AuthenticationMethod, reader)?),
            0x16 => Self::AuthenticationData(reader.binary()?),
            0x17 => Self::RequestProblemInformation(reader.u8()?),
            0x18 => Self::WillDelayInterval(reader.u32()?),
            0x19 => Self::RequestResponseInformation(reader.u8()?),
            0x1A => Self::ResponseInformation(text(PropertyId::ResponseInformation, reader)?),
            0x1C => Self::ServerReference(text(PropertyId::ServerReference, reader)?),
            0x1F => Self::ReasonString(text(PropertyId::ReasonString, reader)?),
            0x21 => Self::ReceiveMaximum(reader.u16()?),
            0x22 => Self::TopicAliasMaximum(reader.u16()?),
            0x23 => Self::TopicAlias(reader.u16()?),
            0x24 => Self::MaximumQos(reader.u8()?),
            0x25 => Self::RetainAvailable(reader.u8()?),
            0x26 => Self::UserProperty(
                text(PropertyId::UserProperty, reader)?,
                text(PropertyId::UserProperty, reader)?,
            ),
            0x27 => Self::MaximumPacketSize(reader.u32()?),
            0x28 => Self::WildcardSubscriptionAvailable(reader.u8()?),
            0x29 => Self::SubscriptionIdentifierAvailable(reader.u8()?),
            0x2A => Self::SharedSubscriptionAvailable(reader.u8()?),
            _ => return Err(DecodeError::PropertyUnknown(id)),
        })
    }

    /// Whether the value is one that the standard allows.
    fn is_in_range(&self) -> bool {
        match *self {
            Self::PayloadFormatIndicator(flag)
            | Self::RequestProblemInformation(flag)
            | Self::RequestResponseInformation(flag)
            | Self::MaximumQos(flag)
            | Self::RetainAvailable(flag)
            | Self::WildcardSubscriptionAvailable(flag)
            | Self::SubscriptionIdentifierAvailable(flag)
            | Self::SharedSubscriptionAvailable(flag) => flag <= 1,
            Self::SubscriptionIdentifier(id) => id > 0,
            Self::ReceiveMaximum(count) | Self::TopicAlias(count) => count > 0,
            Self::MaximumPacketSize(size) => size > 0,
            // A response topic is a topic name [MQTT5-3.3.2-14].
            Self::ResponseTopic(topic) => crate::topic::is_name(topic),
            Self::MessageExpiryInterval(_)
            | Self::ContentType(_)
            | Self::CorrelationData(_)
            | Self::SessionExpiryInterval(_)
            | Self::AssignedClientIdentifier(_)
            | Self::ServerKeepAlive(_)
            | Self::AuthenticationMethod(_)
            | Self::AuthenticationData(_)
            | Self::WillDelayInterval(_)
            | Self::ResponseInformation(_)
            | Self::ServerReference(_)
            | Self::ReasonString(_)
            | Self::TopicAliasMaximum(_)
            | Self::UserProperty(..) => true,
        }
    }

    /// Writes identifier and value.
    pub fn write(&self, sink: &mut impl Sink) {
        sink.put_u8(self.id() as u8);
        match *self {
            Self::PayloadFormatIndicator(value)
            | Self::RequestProblemInformation(value)
            | Self::RequestResponseInformation(value)
            | Self::MaximumQos(value)
            | Self::RetainAvailable(value)
            | Self::WildcardSubscriptionAvailable(value)
            | Self::SubscriptionIdentifierAvailable(value)
            | Self::SharedSubscriptionAvailable(value) => sink.put_u8(value),
            Self::ServerKeepAlive(value)
            | Self::ReceiveMaximum(value)
            | Self::TopicAliasMaximum(value)
            | Self::TopicAlias(value) => sink.put_u16(value),
            Self::MessageExpiryInterval(value)
            | Self::SessionExpiryInterval(value)
            | Self::WillDelayInterval(value)
            | Self::MaximumPacketSize(value) => sink.put_u32(value),
            Self::SubscriptionIdentifier(value) => sink.put_variable_int(value),
            Self::ContentType(value)
            | Self::ResponseTopic(value)
            | Self::AssignedClientIdentifier(value)
            | Self::AuthenticationMethod(value)
            | Self::ResponseInformation(value)
            | Self::ServerReference(value)
            | Self::ReasonString(value) => sink.put_string(value),
            Self::CorrelationData(value) | Self::AuthenticationData(value) => {
                sink.put_binary(value);
            }
            Self::UserProperty(name, value) => {
                sink.put_string(name);
                sink.put_string(value);
            }
        }
    }
}

/// The properties of a packet: a checked section as received, then a list, either of which may be
/// empty. So a forwarded message keeps its own properties untouched, and gains some.
#[derive(Clone, Copy, Debug, Default)]
pub struct Properties<'a> {
    encoded: &'a [u8],
    list: &'a [Property<'a>],
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const NONE: Self = Self {
        encoded: &[],
        list: &[],
    };

    /// Properties to be sent. That each fits the packet is the caller's affair.
    #[must_use]
    pub const fn from_list(list: &'a [Property<'a>]) -> Self {
        Self { encoded: &[], list }
    }

    /// Bytes from [`Self::encoded`] of an earlier decoding (or whole items of it, in order), with
    /// `list` after them.
    #[must_use]
    pub const fn from_encoded(encoded: &'a [u8], list: &'a [Property<'a>]) -> Self {
        Self { encoded, list }
    }

    /// Checks the content of a property section for a packet.
    ///
    /// # Errors
    /// For the whole section first: [`DecodeError::PropertyUnknown`], [`DecodeError::PropertyUtf8`],
    /// [`DecodeError::Truncated`], [`DecodeError::VariableInt`]. Then for each property in order:
    /// [`DecodeError::PropertyValue`], [`DecodeError::PropertyNotAllowed`],
    /// [`DecodeError::PropertyRepeated`].
    pub fn decode(section: &'a [u8], scope: Scope) -> Result<Self, DecodeError> {
        if section.is_empty() {
            return Ok(Self::NONE);
        }
        let mut reader = Reader::new(section);
        while !reader.is_empty() {
            Property::read(&mut reader)?;
        }
        let mut seen = 0_u64;
        let mut reader = Reader::new(section);
        while !reader.is_empty() {
            let property = Property::read(&mut reader)?;
            let id = property.id();
            if !property.is_in_range() {
                return Err(DecodeError::PropertyValue(id));
            }
            if !id.scope().contains(scope) {
                return Err(DecodeError::PropertyNotAllowed(id));
            }
            let bit = 1_u64 << (id as u8);
            if seen & bit != 0 && !id.may_repeat(scope) {
                return Err(DecodeError::PropertyRepeated(id));
            }
            seen |= bit;
        }
        Ok(Self {
            encoded: section,
            list: &[],
        })
    }

    /// Reads length and content of a section off `reader`.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub(crate) fn read(reader: &mut Reader<'a>, scope: Scope) -> Result<Self, DecodeError> {
        Self::decode(reader.section()?, scope)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_empty() && self.list.is_empty()
    }

    /// The checked section as it was received, without its length.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// The properties in order.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        self.items()
            .map(|(property, _)| property)
            .chain(self.list.iter().copied())
    }

    /// The received properties, each with its own bytes.
    pub fn items(&self) -> impl Iterator<Item = (Property<'a>, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        core::iter::from_fn(move || {
            let before = reader.rest();
            // The section was checked when it was decoded, so an error can only mean its end.
            let property = Property::read(&mut reader).ok()?;
            let used = before.len().saturating_sub(reader.rest().len());
            Some((property, before.get(..used)?))
        })
    }

    /// Writes length and content.
    pub(crate) fn write<S: Sink>(&self, sink: &mut S) {
        if self.is_empty() {
            // [MQTT5-2.2.2-1]
            sink.put_u8(0);
            return;
        }
        let mut counter = S::Counter::default();
        self.write_content(&mut counter);
        match counter.count() {
            Ok(length) => {
                sink.put_variable_int(u32::try_from(length).unwrap_or(u32::MAX));
                self.write_content(sink);
            }
            Err(error) => sink.refuse(error),
        }
    }

    fn write_content(&self, sink: &mut impl Sink) {
        sink.put(self.encoded);
        for property in self.list {
            property.write(sink);
        }
    }
}

impl PartialEq for Properties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Properties<'_> {}

#[cfg(test)]
mod tests;
