//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10).

use core::num::NonZeroU16;

use super::{Body, put_packet};
use crate::{
    DecodeError, EncodeError, PacketType, Properties, QoS, Reader, Scope, Sink, Version,
    topic::Filter,
};

/// Whether a new subscription is sent the retained messages that match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: at every SUBSCRIBE `[MQTT5-3.3.1-9]`. The only way of 3.x.
    #[default]
    Send = 0,
    /// 1: only when the subscription is new `[MQTT5-3.3.1-10]`.
    SendIfNew = 1,
    /// 2: never `[MQTT5-3.3.1-11]`.
    DoNotSend = 2,
}

/// How a subscription wants its messages. In 3.x only the QoS is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The highest QoS asked for.
    pub qos: QoS,
    /// Not the messages that this client publishes itself `[MQTT5-3.8.3-3]`.
    pub no_local: bool,
    /// With the RETAIN flag as they were published `[MQTT5-3.3.1-13]`.
    pub retain_as_published: bool,
    /// Retained messages at the start.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// Reads the options byte.
    ///
    /// # Errors
    /// [`DecodeError::SubscriptionOptions`] for QoS 3, retain handling 3 or reserved bits
    /// (`[MQTT5-3.8.3-5]`, `[MQTT311-3.8.3-4]`).
    pub const fn from_bits(version: Version, bits: u8) -> Result<Self, DecodeError> {
        let Some(qos) = QoS::from_bits(bits & 3) else {
            return Err(DecodeError::SubscriptionOptions);
        };
        let retain_handling = match (bits >> 4) & 3 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::SubscriptionOptions),
        };
        if bits & 0xC0 != 0 || !version.has_properties() && bits > 2 {
            return Err(DecodeError::SubscriptionOptions);
        }
        Ok(Self {
            qos,
            no_local: bits & 4 != 0,
            retain_as_published: bits & 8 != 0,
            retain_handling,
        })
    }

    /// The options byte.
    #[must_use]
    pub const fn bits(self, version: Version) -> u8 {
        if version.has_properties() {
            self.qos.bits()
                | (self.no_local as u8) << 2
                | (self.retain_as_published as u8) << 3
                | (self.retain_handling as u8) << 4
        } else {
            self.qos.bits()
        }
    }
}

impl From<QoS> for SubscriptionOptions {
    /// With this QoS, and nothing else said.
    fn from(qos: QoS) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }
}

/// One line of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The topic filter as sent, `$share` included.
    pub filter: &'a str,
    /// How the messages are wanted.
    pub options: SubscriptionOptions,
}

/// The lines of a SUBSCRIBE: checked bytes as received, or a list to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Subscriptions<'a> {
    encoded: &'a [u8],
    version: Version,
    list: &'a [Subscription<'a>],
}

impl<'a> Subscriptions<'a> {
    /// Subscriptions to be sent.
    #[must_use]
    pub const fn from_list(list: &'a [Subscription<'a>]) -> Self {
        Self {
            encoded: &[],
            version: Version::V5,
            list,
        }
    }

    /// The subscriptions in order.
    pub fn iter(&self) -> impl Iterator<Item = Subscription<'a>> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        let version = self.version;
        // The bytes were checked when they were decoded, so an error can only mean their end.
        core::iter::from_fn(move || read_subscription(&mut reader, version).ok())
            .chain(self.list.iter().copied())
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Subscriptions<'_> {}

fn read_subscription<'a>(
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<Subscription<'a>, DecodeError> {
    let filter = reader.string()?;
    let shared = Filter::parse(filter)?.share_name.is_some();
    let options = SubscriptionOptions::from_bits(version, reader.u8()?)?;
    if shared && options.no_local {
        return Err(DecodeError::SharedNoLocal);
    }
    Ok(Subscription { filter, options })
}

/// The body of SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Comes back in the SUBACK.
    pub packet_id: NonZeroU16,
    /// Subscription identifier and user properties.
    pub properties: Properties<'a>,
    /// At least one `[MQTT5-3.8.3-2]`; 3.1 alone lets it be none.
    pub subscriptions: Subscriptions<'a>,
}

impl<'a> Subscribe<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::NoFilter`], [`DecodeError::TopicFilter`], [`DecodeError::SharedFilter`],
    /// [`DecodeError::SharedNoLocal`], [`DecodeError::SubscriptionOptions`],
    /// [`DecodeError::PacketIdZero`], [`DecodeError::Utf8`], those of [`Properties::decode`],
    /// [`DecodeError::Truncated`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = if version.has_properties() {
            Properties::read(&mut reader, Scope::SUBSCRIBE)?
        } else {
            Properties::NONE
        };
        let encoded = reader.rest();
        if encoded.is_empty() && version != Version::V3_1 {
            return Err(DecodeError::NoFilter);
        }
        while !reader.is_empty() {
            read_subscription(&mut reader, version)?;
        }
        let subscriptions = Subscriptions {
            encoded,
            version,
            list: &[],
        };
        Ok(Self {
            packet_id,
            properties,
            subscriptions,
        })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::Subscribe.first_byte(), self, version, sink)
    }
}

impl Body for Subscribe<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_u16(self.packet_id.get());
        if version.has_properties() {
            self.properties.write(sink);
        }
        // What was received was checked, so it is not read again but for the bits that 3.x lacks.
        let mut received = Reader::new(self.subscriptions.encoded);
        while let (Ok(filter), Ok(bits)) = (received.binary(), received.u8()) {
            let known = if version.has_properties() {
                bits
            } else {
                bits & 3
            };
            sink.put_binary(filter);
            sink.put_u8(known);
        }
        for subscription in self.subscriptions.list {
            sink.put_string(subscription.filter);
            sink.put_u8(subscription.options.bits(version));
        }
    }
}

/// The filters of an UNSUBSCRIBE: checked bytes as received, or a list to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'a> {
    encoded: &'a [u8],
    list: &'a [&'a str],
}

impl<'a> Filters<'a> {
    /// Filters to be sent.
    #[must_use]
    pub const fn from_list(list: &'a [&'a str]) -> Self {
        Self { encoded: &[], list }
    }

    /// The filters in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        // The bytes were checked when they were decoded, so an error can only mean their end.
        core::iter::from_fn(move || reader.string().ok()).chain(self.list.iter().copied())
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Filters<'_> {}

/// The body of UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Comes back in the UNSUBACK.
    pub packet_id: NonZeroU16,
    /// User properties.
    pub properties: Properties<'a>,
    /// At least one `[MQTT5-3.10.3-2]`; 3.1 alone lets it be none.
    pub filters: Filters<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::NoFilter`], [`DecodeError::TopicFilter`], [`DecodeError::SharedFilter`],
    /// [`DecodeError::PacketIdZero`], [`DecodeError::Utf8`], those of [`Properties::decode`],
    /// [`DecodeError::Truncated`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = if version.has_properties() {
            Properties::read(&mut reader, Scope::UNSUBSCRIBE)?
        } else {
            Properties::NONE
        };
        let encoded = reader.rest();
        if encoded.is_empty() && version != Version::V3_1 {
            return Err(DecodeError::NoFilter);
        }
        while !reader.is_empty() {
            Filter::parse(reader.string()?)?;
        }
        Ok(Self {
            packet_id,
            properties,
            filters: Filters { encoded, list: &[] },
        })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::Unsubscribe.first_byte(), self, version, sink)
    }
}

impl Body for Unsubscribe<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_u16(self.packet_id.get());
        if version.has_properties() {
            self.properties.write(sink);
        }
        sink.put(self.filters.encoded);
        for filter in self.filters.list {
            sink.put_string(filter);
        }
    }
}

#[cfg(test)]
mod tests;
