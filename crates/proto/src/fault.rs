//! What a peer did wrong, and what it is told.

use core::fmt;

use midge_codec::{DecodeError, PacketType, PropertyId, ReasonCode, Version};

/// How a connection with a fault ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Without a word.
    Close,
    /// After a DISCONNECT with this reason. Peers of 3.x get none and are just closed.
    Disconnect(ReasonCode),
    /// After a CONNACK in the form of this version.
    ConnAck(Version, ReasonCode),
}

/// A fault of the peer: the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the peer is told.
    pub answer: Answer,
    /// What it did, for a log.
    pub why: Why,
}

/// The fault in detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The bytes of a packet of this kind are not one.
    Malformed(Option<PacketType>, DecodeError),
    /// What is said here.
    Text(&'static str),
}

impl Fault {
    /// A fault that is answered with DISCONNECT.
    #[must_use]
    pub const fn disconnect(reason: ReasonCode, why: &'static str) -> Self {
        Self {
            answer: Answer::Disconnect(reason),
            why: Why::Text(why),
        }
    }

    /// A fault that is not answered.
    #[must_use]
    pub const fn close(why: &'static str) -> Self {
        Self {
            answer: Answer::Close,
            why: Why::Text(why),
        }
    }

    /// The fault of a packet of `kind` that could not be decoded.
    ///
    /// The codes are those of the standard where it names one, else those that Mosquitto 2.1 uses.
    #[must_use]
    pub const fn decode(kind: PacketType, error: DecodeError) -> Self {
        let answer = match (kind, error) {
            (_, DecodeError::PropertyUtf8(_))
            | (PacketType::PingReq | PacketType::PingResp, DecodeError::TrailingBytes) => {
                Answer::Close
            }
            (
                PacketType::Subscribe,
                DecodeError::PropertyValue(PropertyId::SubscriptionIdentifier),
            ) => Answer::Disconnect(ReasonCode::PROTOCOL_ERROR),
            (
                PacketType::Subscribe | PacketType::Unsubscribe,
                DecodeError::PacketIdZero
                | DecodeError::PropertyNotAllowed(_)
                | DecodeError::PropertyValue(_),
            ) => Answer::Disconnect(ReasonCode::MALFORMED_PACKET),
            _ => Answer::Disconnect(error.reason()),
        };
        Self {
            answer,
            why: Why::Malformed(Some(kind), error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.answer {
            Answer::Disconnect(reason) | Answer::ConnAck(_, reason) => {
                write!(f, "{}, ", reason.text())?;
            }
            Answer::Close => {}
        }
        match self.why {
            Why::Malformed(Some(kind), error) => write!(f, "{}: {error}", kind.name()),
            Why::Malformed(None, error) => write!(f, "{error}"),
            Why::Text(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests;
