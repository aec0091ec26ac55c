//! Reads fields off the front of a slice, each length checked before use.

use core::num::NonZeroU16;

use crate::{DecodeError, scan};

/// A cursor over the body of a packet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left, as for all of the following.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// See [`Self::bytes`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let (head, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Reads a two byte integer.
    ///
    /// # Errors
    /// See [`Self::bytes`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*head))
    }

    /// Reads a four byte integer.
    ///
    /// # Errors
    /// See [`Self::bytes`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*head))
    }

    /// Reads a variable byte integer.
    ///
    /// # Errors
    /// [`DecodeError::VariableInt`] when it has over four bytes or is not minimal
    /// `[MQTT5-1.5.5-1]`; [`DecodeError::Truncated`].
    pub fn variable_int(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for position in 0..4_u32 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                if byte == 0 && position > 0 {
                    return Err(DecodeError::VariableInt);
                }
                return Ok(value);
            }
        }
        Err(DecodeError::VariableInt)
    }

    /// Reads binary data behind its two byte length.
    ///
    /// # Errors
    /// See [`Self::bytes`].
    pub fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// Reads a string behind its two byte length.
    ///
    /// # Errors
    /// [`DecodeError::Utf8`] for what is not UTF-8, U+0000, other control characters and
    /// non-characters; [`DecodeError::Truncated`].
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        checked_str(self.binary()?).ok_or(DecodeError::Utf8)
    }

    /// Reads a packet identifier.
    ///
    /// # Errors
    /// [`DecodeError::PacketIdZero`] `[MQTT5-2.2.1-3]`; [`DecodeError::Truncated`].
    pub fn packet_id(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(DecodeError::PacketIdZero)
    }

    /// Reads bytes behind their variable byte length: a property section.
    ///
    /// # Errors
    /// As [`Self::variable_int`] and [`Self::bytes`].
    pub fn section(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.variable_int()?;
        self.bytes(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }
}

/// The string in `bytes`, if it is one that MQTT allows.
///
/// Surrogates and U+0000 must be refused (`[MQTT5-1.5.4-1]`, `[MQTT5-1.5.4-2]`); other control
/// characters (U+0001 to U+001F, U+007F to U+009F) and non-characters may be, and are.
/// U+FEFF is kept as it stands `[MQTT5-1.5.4-3]`.
#[must_use]
pub(crate) fn checked_str(bytes: &[u8]) -> Option<&str> {
    let plain = scan::is_plain(bytes);
    let text = core::str::from_utf8(bytes).ok()?;
    if plain || text.chars().all(is_allowed) {
        Some(text)
    } else {
        None
    }
}

fn is_allowed(c: char) -> bool {
    let code = u32::from(c);
    !(c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE)
}

#[cfg(test)]
mod tests;
