//! Why a WebSocket connection ends (RFC 6455, section 7.4).

use std::fmt;

/// A status code of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// All was done that was to be done.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A text frame: MQTT is sent in binary ones [MQTT5-6.0.0-1].
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// A rule of the server's own was broken.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// The server failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server has too much to do; the client may try again.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code for a number that may be sent: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What a close frame of the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// `None` where the frame was empty.
    pub code: Option<CloseCode>,
    /// The peer's words, up to 123 bytes; control characters may be among them.
    pub reason: Box<str>,
}

impl Close {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Violation> {
        if payload.is_empty() {
            return Ok(Self {
                code: None,
                reason: Box::default(),
            });
        }
        let Some((&number, reason)) = payload.split_first_chunk() else {
            return Err(Violation::CloseLength);
        };
        let number = u16::from_be_bytes(number);
        let Some(code) = CloseCode::new(number) else {
            return Err(Violation::CloseCode(number));
        };
        let Ok(reason) = str::from_utf8(reason) else {
            return Err(Violation::CloseReason);
        };
        Ok(Self {
            code: Some(code),
            reason: reason.into(),
        })
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => f.write_str("closed without a code")?,
            Some(code) => write!(f, "closed with code {}", code.number())?,
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason.escape_debug())?;
        }
        Ok(())
    }
}

/// How the peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// One of the three reserved bits is set, and no extension was agreed on.
    ReservedBits,
    /// A text frame [MQTT5-6.0.0-1].
    Text,
    /// An opcode that nothing is defined for.
    Opcode(u8),
    /// A control frame that says that it goes on in another frame.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A client's frame without a mask.
    NotMasked,
    /// A server's frame with a mask.
    Masked,
    /// A length in more bytes than it needs.
    LengthNotMinimal,
    /// A length of 2⁶³ bytes or more.
    LengthTooLarge,
    /// A continuation of nothing.
    StrayContinuation,
    /// A new message within another.
    MissingContinuation,
    /// A close frame of one byte.
    CloseLength,
    /// A code in a close frame that may not be sent.
    CloseCode(u16),
    /// A reason in a close frame that is not UTF-8.
    CloseReason,
}

impl Violation {
    /// The code that the peer is told.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::UNSUPPORTED_DATA,
            Self::CloseReason => CloseCode::INVALID_DATA,
            Self::ReservedBits
            | Self::Opcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NotMasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthTooLarge
            | Self::StrayContinuation
            | Self::MissingContinuation
            | Self::CloseLength
            | Self::CloseCode(_) => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "reserved bits set in a WebSocket frame",
            Self::Text => "a text frame, MQTT needs binary frames",
            Self::Opcode(opcode) => return write!(f, "unknown WebSocket opcode {opcode:#x}"),
            Self::FragmentedControl => "a control frame in fragments",
            Self::LongControl => "a control frame of more than 125 bytes",
            Self::NotMasked => "a WebSocket frame that is not masked",
            Self::Masked => "a masked WebSocket frame from a server",
            Self::LengthNotMinimal => "a WebSocket frame whose length is not in its shortest form",
            Self::LengthTooLarge => "a WebSocket frame of 2^63 bytes or more",
            Self::StrayContinuation => "a continuation frame without a beginning",
            Self::MissingContinuation => "a new message before the last one has ended",
            Self::CloseLength => "a close frame of one byte",
            Self::CloseCode(number) => return write!(f, "a close frame with code {number}"),
            Self::CloseReason => "a close frame whose reason is not UTF-8",
        })
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests;
