//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets, one body (sections 3.4 to 3.7).

use core::num::NonZeroU16;

use super::{Body, put_packet};
use crate::{
    DecodeError, EncodeError, PacketType, Properties, Reader, ReasonCode, Scope, Sink, Version,
};

/// Which step of a QoS 1 or QoS 2 delivery is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// The receiver owns a QoS 1 message.
    PubAck,
    /// The receiver owns a QoS 2 message.
    PubRec,
    /// The sender may no longer send the message again.
    PubRel,
    /// The packet identifier is free again.
    PubComp,
}

impl AckKind {
    /// The kind as a packet type.
    #[must_use]
    pub const fn packet_type(self) -> PacketType {
        match self {
            Self::PubAck => PacketType::PubAck,
            Self::PubRec => PacketType::PubRec,
            Self::PubRel => PacketType::PubRel,
            Self::PubComp => PacketType::PubComp,
        }
    }

    /// Whether MQTT 5.0 lists `code` for this packet (`[MQTT5-3.4.2-1]`, `[MQTT5-3.5.2-1]`,
    /// `[MQTT5-3.6.2-1]`, `[MQTT5-3.7.2-1]`).
    const fn allows(self, code: u8) -> bool {
        match self {
            Self::PubAck | Self::PubRec => {
                matches!(
                    code,
                    0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
                )
            }
            Self::PubRel | Self::PubComp => matches!(code, 0x00 | 0x92),
        }
    }
}

/// The body of an acknowledgement. In 3.x only the packet identifier is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The PUBLISH that is acknowledged.
    pub packet_id: NonZeroU16,
    /// What became of it.
    pub reason: ReasonCode,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    #[must_use]
    pub const fn new(packet_id: NonZeroU16, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: Properties::NONE,
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::PacketIdZero`], [`DecodeError::ReasonCode`], those of [`Properties::decode`],
    /// [`DecodeError::Truncated`], [`DecodeError::TrailingBytes`].
    pub fn decode(kind: AckKind, version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(version, body, |code| kind.allows(code))
    }

    /// Reads the body with whatever reason is in it, for those who can make sense of reasons that the
    /// standard does not list.
    ///
    /// # Errors
    /// As [`Self::decode`], without [`DecodeError::ReasonCode`].
    pub fn decode_any_reason(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(version, body, |_| true)
    }

    fn read(
        version: Version,
        body: &'a [u8],
        allows: impl FnOnce(u8) -> bool,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut ack = Self::new(reader.packet_id()?, ReasonCode::SUCCESS);
        // 5.0 lets a sender stop after any field whose rest would be zero (MQTT5 3.4.2.1).
        if version.has_properties() && !reader.is_empty() {
            ack.reason = ReasonCode(reader.u8()?);
            if !allows(ack.reason.0) {
                return Err(DecodeError::ReasonCode(ack.reason.0));
            }
            if !reader.is_empty() {
                ack.properties = Properties::read(&mut reader, Scope::ACK)?;
            }
        }
        if reader.is_empty() {
            Ok(ack)
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    /// Appends the packet in the shortest form that `version` allows.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(
        &self,
        kind: AckKind,
        version: Version,
        sink: &mut impl Sink,
    ) -> Result<(), EncodeError> {
        put_packet(kind.packet_type().first_byte(), self, version, sink)
    }
}

impl Body for Ack<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_u16(self.packet_id.get());
        if version.has_properties()
            && (self.reason != ReasonCode::SUCCESS || !self.properties.is_empty())
        {
            sink.put_u8(self.reason.0);
            if !self.properties.is_empty() {
                self.properties.write(sink);
            }
        }
    }
}

#[cfg(test)]
mod tests;
