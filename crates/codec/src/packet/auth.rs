//! AUTH: a step of an enhanced authentication (5.0 section 3.15).

use super::{Body, put_packet};
use crate::{
    DecodeError, EncodeError, PacketType, Properties, Reader, ReasonCode, Scope, Sink, Version,
};

/// The body of AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Method, data, reason string, user properties.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// Reads the body; an empty one means success without properties.
    ///
    /// # Errors
    /// [`DecodeError::NotInVersion`], [`DecodeError::ReasonCode`] `[MQTT5-3.15.2-1]`, those of
    /// [`Properties::decode`], [`DecodeError::TrailingBytes`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        if !version.has_properties() {
            return Err(DecodeError::NotInVersion);
        }
        let mut reader = Reader::new(body);
        let mut auth = Self {
            reason: ReasonCode::SUCCESS,
            properties: Properties::NONE,
        };
        if !reader.is_empty() {
            auth.reason = ReasonCode(reader.u8()?);
            if !matches!(auth.reason.0, 0x00 | 0x18 | 0x19) {
                return Err(DecodeError::ReasonCode(auth.reason.0));
            }
            if !reader.is_empty() {
                auth.properties = Properties::read(&mut reader, Scope::AUTH)?;
            }
        }
        if reader.is_empty() {
            Ok(auth)
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::Auth.first_byte(), self, version, sink)
    }
}

impl Body for Auth<'_> {
    fn write(&self, _version: Version, sink: &mut impl Sink) {
        if self.reason != ReasonCode::SUCCESS || !self.properties.is_empty() {
            sink.put_u8(self.reason.0);
            self.properties.write(sink);
        }
    }
}

#[cfg(test)]
mod tests;
