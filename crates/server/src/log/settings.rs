//! Where log lines go and which of them are written.

use std::path::PathBuf;

use super::kind::Kinds;

/// The logging part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Where lines go.
    pub destinations: Destinations,
    /// Which kinds of line are written.
    pub kinds: Kinds,
    /// What stands before each line.
    pub timestamp: Timestamp,
    /// The facility that the system log is told.
    pub facility: Facility,
}

/// Where log lines go; several at once are possible, and none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// The system log.
    pub syslog: bool,
    /// Topics below `$SYS/broker/log`.
    pub topic: bool,
    /// A file, to which lines are appended.
    pub file: Option<PathBuf>,
}

/// What stands before each line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Timestamp {
    /// Nothing.
    None,
    /// Seconds since 1970, as in `1700000000: `.
    #[default]
    UnixSeconds,
    /// Local time in a `strftime` format, then `: `.
    Format(String),
}

/// The part of the system that a line in the system log belongs to (RFC 3164, section 4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Facility {
    /// `daemon`.
    #[default]
    Daemon,
    /// `local0` to `local7`.
    Local(u8),
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            destinations: Destinations {
                stderr: true,
                ..Destinations::NONE
            },
            kinds: Kinds::DEFAULT,
            timestamp: Timestamp::default(),
            facility: Facility::default(),
        }
    }
}

impl LogSettings {
    /// Names the options whose value differs between `self` and `other`.
    pub(crate) fn changed_options(&self, other: &Self) -> Vec<&'static str> {
        [
            ("log_dest", self.destinations != other.destinations),
            ("log_type", self.kinds != other.kinds),
            ("log_timestamp", self.timestamp != other.timestamp),
            ("log_facility", self.facility != other.facility),
        ]
        .into_iter()
        .filter_map(|(option, changed)| changed.then_some(option))
        .collect()
    }
}

impl Destinations {
    /// No destination.
    pub const NONE: Self = Self {
        stdout: false,
        stderr: false,
        syslog: false,
        topic: false,
        file: None,
    };

    /// Whether lines go nowhere.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl Facility {
    /// Returns the number that RFC 3164 gives it.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Daemon => 3,
            Self::Local(number) => 16 + (number & 7),
        }
    }
}
