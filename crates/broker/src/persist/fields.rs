//! The smallest parts of records: numbers and strings.
//!
//! Numbers are little-endian base 128, seven bits to a byte with the highest bit set on all but the last;
//! addresses of sessions and hashes of groups take eight bytes, packet identifiers two, little-endian.
//! Strings and bytes begin with their length.

use std::num::NonZeroU16;

use crate::route::SessionRef;

pub(crate) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

pub(crate) fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_number(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

pub(crate) fn put_session(bytes: &mut Vec<u8>, session: SessionRef) {
    bytes.extend_from_slice(&session.bits().to_le_bytes());
}

pub(crate) fn put_packet_id(bytes: &mut Vec<u8>, id: NonZeroU16) {
    bytes.extend_from_slice(&id.get().to_le_bytes());
}

/// The rest of a record's bytes. Every method takes what it returns from the front, or finds that it is
/// not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            number |= bits.checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn number_u32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn fixed(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    pub(crate) fn session(&mut self) -> Option<SessionRef> {
        self.fixed().map(SessionRef::from_bits)
    }

    pub(crate) fn packet_id(&mut self) -> Option<NonZeroU16> {
        let bytes = self.take(2)?;
        NonZeroU16::new(u16::from_le_bytes(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_read_back(number: u64, value: Vec<u8>) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            put_bytes(&mut bytes, &value);
            let mut fields = Fields(&bytes);
            prop_assert_eq!(fields.number(), Some(number));
            prop_assert_eq!(fields.bytes(), Some(&*value));
            prop_assert!(fields.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut fields = Fields(&bytes);
            while fields.number().is_some() && fields.bytes().is_some() {}
        }
    }
}
