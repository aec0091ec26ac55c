//! SUBACK and UNSUBACK (sections 3.9 and 3.11): one code for each topic filter.

use core::num::NonZeroU16;

use super::{Body, put_packet};
use crate::{DecodeError, EncodeError, PacketType, Properties, Reader, Scope, Sink, Version};

/// The body of SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// The SUBSCRIBE that is answered.
    pub packet_id: NonZeroU16,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
    /// A granted QoS or a failure for each filter, in order.
    pub codes: &'a [u8],
}

impl<'a> SubAck<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::ReasonCode`] (`[MQTT5-3.9.3-2]`, `[MQTT311-3.9.3-2]`),
    /// [`DecodeError::PacketIdZero`], those of [`Properties::decode`], [`DecodeError::Truncated`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = if version.has_properties() {
            Properties::read(&mut reader, Scope::SUBACK)?
        } else {
            Properties::NONE
        };
        let codes = reader.rest();
        let allowed = |code: u8| match version {
            Version::V5 => matches!(
                code,
                0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            Version::V3_1 | Version::V3_1_1 => matches!(code, 0..=2 | 0x80),
        };
        match codes.iter().find(|code| !allowed(**code)) {
            Some(code) => Err(DecodeError::ReasonCode(*code)),
            None => Ok(Self {
                packet_id,
                properties,
                codes,
            }),
        }
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::SubAck.first_byte(), self, version, sink)
    }
}

impl Body for SubAck<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_u16(self.packet_id.get());
        if version.has_properties() {
            self.properties.write(sink);
        }
        sink.put(self.codes);
    }
}

/// The body of UNSUBACK. In 3.x only the packet identifier is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// The UNSUBSCRIBE that is answered.
    pub packet_id: NonZeroU16,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
    /// A reason code for each filter, in order.
    pub codes: &'a [u8],
}

impl<'a> UnsubAck<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::ReasonCode`] `[MQTT5-3.11.3-2]`, [`DecodeError::PacketIdZero`], those of
    /// [`Properties::decode`], [`DecodeError::Truncated`], [`DecodeError::TrailingBytes`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if !version.has_properties() {
            return if reader.is_empty() {
                Ok(Self {
                    packet_id,
                    properties: Properties::NONE,
                    codes: &[],
                })
            } else {
                Err(DecodeError::TrailingBytes)
            };
        }
        let properties = Properties::read(&mut reader, Scope::SUBACK)?;
        let codes = reader.rest();
        let allowed = |code: u8| matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91);
        match codes.iter().find(|code| !allowed(**code)) {
            Some(code) => Err(DecodeError::ReasonCode(*code)),
            None => Ok(Self {
                packet_id,
                properties,
                codes,
            }),
        }
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::UnsubAck.first_byte(), self, version, sink)
    }
}

impl Body for UnsubAck<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_u16(self.packet_id.get());
        if version.has_properties() {
            self.properties.write(sink);
            sink.put(self.codes);
        }
    }
}

#[cfg(test)]
mod tests;
