//! The fixed header: which packet, and how long.

use crate::DecodeError;

/// The largest Remaining Length: what four bytes of a variable byte integer hold.
pub const REMAINING_LENGTH_MAX: u32 = 268_435_455;

/// The kinds of packet, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Client asks for a connection.
    Connect = 1,
    /// Server answers.
    ConnAck = 2,
    /// A message.
    Publish = 3,
    /// QoS 1 answer.
    PubAck = 4,
    /// QoS 2 first answer.
    PubRec = 5,
    /// QoS 2 release.
    PubRel = 6,
    /// QoS 2 end.
    PubComp = 7,
    /// Client subscribes.
    Subscribe = 8,
    /// Server answers.
    SubAck = 9,
    /// Client unsubscribes.
    Unsubscribe = 10,
    /// Server answers.
    UnsubAck = 11,
    /// Client asks for a sign of life.
    PingReq = 12,
    /// Server answers.
    PingResp = 13,
    /// The connection ends.
    Disconnect = 14,
    /// A step of an enhanced authentication (5.0).
    Auth = 15,
}

impl PacketType {
    /// The kind for the four upper bits of a first byte; zero is none.
    #[must_use]
    pub const fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The flags that the fixed header must carry; `None` for PUBLISH, whose flags mean something.
    #[must_use]
    pub const fn flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => Some(2),
            _ => Some(0),
        }
    }

    /// The first byte of a packet of this kind with its fixed flags.
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        let flags = match self.flags() {
            Some(flags) => flags,
            None => 0,
        };
        ((self as u8) << 4) | flags
    }

    /// The name in the standard, in capitals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

/// A fixed header that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first byte: kind and flags.
    pub first: u8,
    /// The Remaining Length in bytes: the size of the body.
    pub remaining: u32,
    /// The size of the fixed header itself: 2 to 5 bytes.
    pub length: u8,
}

impl Header {
    /// Looks at the start of `bytes`; `None` when the header has not arrived whole.
    ///
    /// A Remaining Length that is not in its shortest form is accepted, as other brokers do.
    ///
    /// # Errors
    /// [`DecodeError::RemainingLength`] when a fifth length byte is announced.
    pub fn peek(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let mut remaining = 0_u32;
        for (byte, (shift, length)) in rest.iter().zip([(0, 2), (7, 3), (14, 4), (21, 5)]) {
            remaining |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(Self {
                    first,
                    remaining,
                    length,
                }));
            }
        }
        if rest.len() >= 4 {
            Err(DecodeError::RemainingLength)
        } else {
            Ok(None)
        }
    }

    /// The size of the whole packet in bytes.
    #[must_use]
    pub const fn packet_length(&self) -> usize {
        self.length as usize + self.remaining as usize
    }

    /// Whether the Remaining Length is in its shortest form, as it has to be `[MQTT5-1.5.5-1]`.
    #[must_use]
    pub const fn is_minimal(&self) -> bool {
        let least = match self.remaining {
            0..=0x7F => 2,
            0x80..=0x3FFF => 3,
            0x4000..=0x1F_FFFF => 4,
            _ => 5,
        };
        self.length == least
    }

    /// The kind of packet; `None` for the reserved number 0.
    #[must_use]
    pub const fn packet_type(&self) -> Option<PacketType> {
        PacketType::from_first_byte(self.first)
    }

    /// The body in `bytes`, which begin with this header; `None` when it has not arrived whole.
    #[must_use]
    pub fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(usize::from(self.length)..self.packet_length())
    }
}

#[cfg(test)]
mod tests;
