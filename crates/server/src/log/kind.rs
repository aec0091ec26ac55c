//! The kinds of log line.

use std::ops::{BitOr, BitOrAssign};

/// What a log line is about; `log_type` chooses by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Kind {
    /// Something failed that should not have.
    Error = 1,
    /// Something is probably not as the operator wants it.
    Warning = 1 << 1,
    /// Something worth knowing, as a client that connects.
    Notice = 1 << 2,
    /// What the broker is doing, as opening a socket.
    Information = 1 << 3,
    /// Every packet.
    Debug = 1 << 4,
    /// A client subscribes.
    Subscribe = 1 << 5,
    /// A client unsubscribes.
    Unsubscribe = 1 << 6,
    /// The broker's own workings.
    Internal = 1 << 7,
    /// WebSocket handshakes and frames.
    WebSockets = 1 << 8,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Information,
        Self::Debug,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Internal,
        Self::WebSockets,
    ];

    /// Returns the name that `log_type` has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Information => "information",
            Self::Debug => "debug",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Internal => "internal",
            Self::WebSockets => "websockets",
        }
    }

    /// Returns the topic that `log_dest topic` publishes it on.
    ///
    /// Debug and internal lines have none: publishing a line logs debug lines of its own.
    #[must_use]
    pub const fn topic(self) -> Option<&'static str> {
        match self {
            Self::Error => Some("$SYS/broker/log/E"),
            Self::Warning => Some("$SYS/broker/log/W"),
            Self::Notice => Some("$SYS/broker/log/N"),
            Self::Information => Some("$SYS/broker/log/I"),
            Self::Subscribe => Some("$SYS/broker/log/M/subscribe"),
            Self::Unsubscribe => Some("$SYS/broker/log/M/unsubscribe"),
            Self::WebSockets => Some("$SYS/broker/log/WS"),
            Self::Debug | Self::Internal => None,
        }
    }

    /// Returns the severity that the system log is told (RFC 3164, section 4.1.1).
    pub(super) const fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice | Self::Subscribe | Self::Unsubscribe => 5,
            Self::Information => 6,
            Self::Debug | Self::Internal | Self::WebSockets => 7,
        }
    }

    const fn bit(self) -> u16 {
        self as u16
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);

    /// Every kind.
    pub const ALL: Self = Self((1 << Kind::ALL.len()) - 1);

    /// What is written unless `log_type` says otherwise.
    pub const DEFAULT: Self = Self(
        Kind::Error.bit() | Kind::Warning.bit() | Kind::Notice.bit() | Kind::Information.bit(),
    );

    /// Whether `kind` is in the set.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl From<Kind> for Kinds {
    fn from(kind: Kind) -> Self {
        Self(kind.bit())
    }
}

impl BitOr<Kind> for Kinds {
    type Output = Self;

    fn bitor(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }
}

impl BitOrAssign<Kind> for Kinds {
    fn bitor_assign(&mut self, kind: Kind) {
        self.0 |= kind.bit();
    }
}
