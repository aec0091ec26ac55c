//! DISCONNECT (section 3.14). Only 5.0 knows reasons, and only there may a server send it.

use super::{Body, put_packet};
use crate::{
    DecodeError, EncodeError, PacketType, Properties, Reader, ReasonCode, Scope, Sink, Version,
};

/// The body of DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why the connection ends; success is the normal end.
    pub reason: ReasonCode,
    /// Session expiry interval, reason string, user properties, server reference.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            properties: Properties::NONE,
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::ReasonCode`] `[MQTT5-3.14.2-1]`, those of [`Properties::decode`],
    /// [`DecodeError::TrailingBytes`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut disconnect = Self::new(ReasonCode::SUCCESS);
        if version.has_properties() && !reader.is_empty() {
            disconnect.reason = ReasonCode(reader.u8()?);
            if !allows(disconnect.reason.0) {
                return Err(DecodeError::ReasonCode(disconnect.reason.0));
            }
            if !reader.is_empty() {
                disconnect.properties = Properties::read(&mut reader, Scope::DISCONNECT)?;
            }
        }
        if reader.is_empty() {
            Ok(disconnect)
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    /// Appends the packet in its shortest form.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::Disconnect.first_byte(), self, version, sink)
    }
}

/// Whether the code is in the standard's list for DISCONNECT (MQTT5 table 3-13).
const fn allows(code: u8) -> bool {
    matches!(code, 0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2)
}

impl Body for Disconnect<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
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
