//! CONNACK: the server's answer to CONNECT (section 3.2).

use super::{Body, put_packet};
use crate::{
    DecodeError, EncodeError, PacketType, Properties, Reader, ReasonCode, Scope, Sink, Version,
};

/// The body of CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the server kept a session for this client. Not on the wire in 3.1.
    pub session_present: bool,
    /// Success, or why the connection is refused. In 3.x it stands for the return code
    /// ([`ReasonCode::connack_v3`]).
    pub reason: ReasonCode,
    /// What the server offers.
    pub properties: Properties<'a>,
}

impl<'a> ConnAck<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// [`DecodeError::ConnAckFlags`] `[MQTT5-3.2.2-1]`, [`DecodeError::ReasonCode`], those of
    /// [`Properties::decode`], [`DecodeError::Truncated`], [`DecodeError::TrailingBytes`].
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let flags = reader.u8()?;
        let code = reader.u8()?;
        // 3.1 calls the first byte reserved and says nothing of its value.
        let session_present = match (version, flags) {
            (Version::V3_1, _) | (_, 0) => false,
            (_, 1) => true,
            _ => return Err(DecodeError::ConnAckFlags),
        };
        let mut connack = Self {
            session_present,
            reason: ReasonCode(code),
            properties: Properties::NONE,
        };
        if version.has_properties() {
            if !allows(code) {
                return Err(DecodeError::ReasonCode(code));
            }
            connack.properties = Properties::read(&mut reader, Scope::CONNACK)?;
        } else {
            connack.reason = ReasonCode::from_connack_v3(code);
        }
        if reader.is_empty() {
            Ok(connack)
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    /// Appends the packet. A reason that 3.x has no return code for is written as 5, not authorised;
    /// a server closes without CONNACK instead `[MQTT311-3.2.2-6]`.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::ConnAck.first_byte(), self, version, sink)
    }
}

/// Whether the code is in the standard's list for CONNACK `[MQTT5-3.2.2-8]`.
const fn allows(code: u8) -> bool {
    matches!(
        code,
        0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
    )
}

impl Body for ConnAck<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_u8(u8::from(self.session_present && version != Version::V3_1));
        if version.has_properties() {
            sink.put_u8(self.reason.0);
            self.properties.write(sink);
        } else {
            sink.put_u8(self.reason.connack_v3().unwrap_or(5));
        }
    }
}

#[cfg(test)]
mod tests;
