//! The header of a frame (RFC 6455, section 5.2).

use super::close::Violation;
use super::mask::Mask;

/// Payload of a frame that is sent, at most. Small clients give up at frames of 15 KiB, and a browser
/// shows nothing of a frame before it is whole.
pub const FRAME_BYTES_MAX: usize = 8 * 1024;

/// What a control frame may carry (RFC 6455, section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// Two bytes, a length of eight, a masking key.
pub(super) const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;

/// Which end of the connection this is; it decides who masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// A header that keeps the rules for frames by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Mask,
    pub(super) payload: u64,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, sent to `role`, and tells its length; `None` when
    /// more bytes are needed. A fault is found with the byte that makes it.
    pub(super) fn read(bytes: &[u8], role: Role) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&first, bytes)) = bytes.split_first() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        let fin = first & FIN != 0;
        let opcode = match first & OPCODE {
            0x0 => Opcode::Continuation,
            0x1 => return Err(Violation::Text),
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            other => return Err(Violation::Opcode(other)),
        };
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some((&second, bytes)) = bytes.split_first() else {
            return Ok(None);
        };
        match (role, second & MASKED != 0) {
            (Role::Server, false) => return Err(Violation::NotMasked),
            (Role::Client, true) => return Err(Violation::Masked),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let length = second & !MASKED;
        if opcode.is_control() && usize::from(length) > CONTROL_BYTES_MAX {
            return Err(Violation::LongControl);
        }
        let Some((payload, length_bytes)) = read_length(length, bytes)? else {
            return Ok(None);
        };
        let mut header = Self {
            fin,
            opcode,
            mask: Mask::NONE,
            payload,
        };
        let mut header_bytes = 2 + length_bytes;
        if role == Role::Server {
            let Some(key) = bytes.get(length_bytes..).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            header.mask = Mask::new(*key);
            header_bytes += key.len();
        }
        Ok(Some((header, header_bytes)))
    }

    /// Appends a header for the last or only frame of a message, with a masking key if there is one.
    pub(super) fn write(opcode: Opcode, payload: usize, key: Option<[u8; 4]>, wire: &mut Vec<u8>) {
        let masked = if key.is_some() { MASKED } else { 0 };
        let first = FIN | opcode.bits();
        match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(length @ 0..=125), _) => wire.extend_from_slice(&[first, masked | length]),
            (_, Ok(length)) => {
                let [high, low] = length.to_be_bytes();
                wire.extend_from_slice(&[first, masked | 126, high, low]);
            }
            (_, Err(_)) => {
                wire.extend_from_slice(&[first, masked | 127]);
                wire.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        if let Some(key) = key {
            wire.extend_from_slice(&key);
        }
    }
}

/// The length of the payload and how many bytes behind the second one say it.
fn read_length(length: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match length {
        126 => {
            let Some(long) = bytes.first_chunk() else {
                return Ok(None);
            };
            let long = u64::from(u16::from_be_bytes(*long));
            if long <= 125 {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((long, 2)))
        }
        127 => {
            let Some(long) = bytes.first_chunk() else {
                return Ok(None);
            };
            let long = u64::from_be_bytes(*long);
            if long <= u64::from(u16::MAX) {
                return Err(Violation::LengthNotMinimal);
            }
            if long > i64::MAX as u64 {
                return Err(Violation::LengthTooLarge);
            }
            Ok(Some((long, 8)))
        }
        short => Ok(Some((u64::from(short), 0))),
    }
}

#[cfg(test)]
mod tests;
