//! PUBLISH: a message (section 3.3).

use core::num::NonZeroU16;

use super::{Body, put_packet, remaining_length};
use crate::{
    DecodeError, EncodeError, LengthCounter, PacketType, Properties, Property, QoS, Reader, Scope,
    Sink, Version, reader::checked_str, scan, topic,
};

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The same message was sent before.
    pub dup: bool,
    /// The delivery promised.
    pub qos: QoS,
    /// To be kept for later subscribers; or, from a server, kept earlier.
    pub retain: bool,
    /// The topic name; empty in 5.0 when a topic alias stands for it.
    pub topic: &'a str,
    /// Set for QoS 1 and 2 only `[MQTT5-2.2.1-2]`.
    pub packet_id: Option<NonZeroU16>,
    /// The message's properties.
    pub properties: Properties<'a>,
    /// The application's bytes.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Reads the body; `first` is the packet's first byte.
    ///
    /// An empty topic passes in 5.0: whether an alias stands for it is the connection's knowledge.
    ///
    /// # Errors
    /// [`DecodeError::QoS`], [`DecodeError::DupWithoutQoS`], [`DecodeError::Utf8`],
    /// [`DecodeError::TopicName`], [`DecodeError::PacketIdZero`], those of [`Properties::decode`],
    /// [`DecodeError::Truncated`].
    pub fn decode(first: u8, version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode_known(first, version, body, None)
    }

    /// The number that stands for the topic, or is given to it `[MQTT5-3.3.2-8]`.
    #[must_use]
    pub fn topic_alias(&self) -> Option<u16> {
        self.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        })
    }

    /// The bytes where a body of a PUBLISH has its topic, unchecked.
    #[must_use]
    pub fn topic_bytes(body: &[u8]) -> Option<&[u8]> {
        Reader::new(body).binary().ok()
    }

    /// Reads the body as [`Self::decode`] does. `known` is the topic, if the caller has compared
    /// [`Self::topic_bytes`] with one that passed here before: it is not checked again.
    ///
    /// # Errors
    /// As [`Self::decode`].
    #[inline]
    pub fn decode_known(
        first: u8,
        version: Version,
        body: &'a [u8],
        known: Option<&'a str>,
    ) -> Result<Self, DecodeError> {
        let qos = QoS::from_bits((first >> 1) & 3).ok_or(DecodeError::QoS)?;
        let dup = first & 8 != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::DupWithoutQoS);
        }
        let mut reader = Reader::new(body);
        let topic = reader.binary()?;
        let topic = match known {
            Some(known) => known,
            None => read_topic(topic)?,
        };
        if topic.is_empty() && !version.has_properties() {
            return Err(DecodeError::TopicName);
        }
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = if version.has_properties() {
            Properties::read(&mut reader, Scope::PUBLISH)?
        } else {
            Properties::NONE
        };
        Ok(Self {
            dup,
            qos,
            retain: first & 1 != 0,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        })
    }

    /// The size of the whole packet in bytes.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn packet_length(&self, version: Version) -> Result<usize, EncodeError> {
        let remaining = remaining_length::<LengthCounter>(self, version)?;
        let length_bytes = match remaining {
            0..=0x7F => 1,
            0x80..=0x3FFF => 2,
            0x4000..=0x1F_FFFF => 3,
            _ => 4,
        };
        Ok(1 + length_bytes + remaining as usize)
    }

    /// Appends the packet. With QoS 0 neither DUP `[MQTT5-3.3.1-2]` nor a packet identifier
    /// `[MQTT5-2.2.1-2]` is written, whatever the fields say.
    ///
    /// # Errors
    /// [`EncodeError::PacketIdMissing`], [`EncodeError::FieldTooLong`],
    /// [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(self.first_byte(), self, version, sink)
    }

    /// The first byte with its flags.
    #[must_use]
    pub const fn first_byte(&self) -> u8 {
        let dup = self.dup && !matches!(self.qos, QoS::AtMostOnce);
        PacketType::Publish.first_byte()
            | (dup as u8) << 3
            | self.qos.bits() << 1
            | self.retain as u8
    }
}

/// Checks a topic name, in one pass for the names that are common.
fn read_topic(bytes: &[u8]) -> Result<&str, DecodeError> {
    if scan::is_plain_name(bytes) {
        return core::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8);
    }
    let topic = checked_str(bytes).ok_or(DecodeError::Utf8)?;
    if topic::has_wildcard(topic) {
        Err(DecodeError::TopicName)
    } else {
        Ok(topic)
    }
}

impl Body for Publish<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_string(self.topic);
        match (self.qos, self.packet_id) {
            (QoS::AtMostOnce, _) => {}
            (QoS::AtLeastOnce | QoS::ExactlyOnce, Some(id)) => sink.put_u16(id.get()),
            (QoS::AtLeastOnce | QoS::ExactlyOnce, None) => {
                sink.refuse(EncodeError::PacketIdMissing);
            }
        }
        if version.has_properties() {
            self.properties.write(sink);
        }
        sink.put(self.payload);
    }
}

#[cfg(test)]
mod tests;
