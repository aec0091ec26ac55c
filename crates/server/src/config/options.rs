//! The option table: every option of `mosquitto.conf`, and those that Midge adds.
//!
//! A row says what an option is called, where it may stand, what it takes and what it does. The
//! parser, the error messages and the manual all come from these rows.

mod bridge;
mod general;
mod limits;
mod listener;
mod logins;
mod ours;
mod security;

use std::fmt;

use super::draft::Draft;
use super::value::{Args, Fault};

/// One option.
#[derive(Debug)]
pub struct OptionDef {
    /// The name. One that ends in `*` stands for every name that begins with the rest.
    pub name: &'static str,
    /// Other names for the same option.
    pub aliases: &'static [&'static str],
    /// Where in a file it may stand.
    pub scope: Scope,
    /// What it takes.
    pub value: ValueType,
    /// What holds when it is absent; empty when that is nothing.
    pub default: &'static str,
    /// What a second line with the same option does.
    pub repeat: Repeat,
    /// Whether a reload can change it.
    pub reload: Reload,
    /// What becomes of it in this version.
    pub status: Status,
    /// Where it comes from.
    pub origin: Origin,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// Advice for an option that Mosquitto means to give up.
    pub deprecated: Option<&'static str>,
    /// What error messages call it; as in Mosquitto this is not always the name.
    pub(super) label: &'static str,
    /// Mosquitto's own words for a number out of range, when it has some.
    pub(super) refusal: Option<&'static str>,
    pub(super) set: Option<Setter>,
}

/// Reads a value into the configuration that is being drafted.
pub(super) type Setter = fn(&mut Draft, &mut Args<'_>) -> Result<(), Fault>;

/// Where in a file an option may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Anywhere; it holds for the whole broker.
    General,
    /// Anywhere; with `per_listener_settings true` after a listener, for which alone it then holds.
    GeneralOrListener,
    /// After `listener`, `port` or `bind_address`.
    Listener,
    /// After `listener`; elsewhere it describes a default listener on port 1883.
    ListenerOrDefault,
    /// After `listener`.
    NamedListener,
    /// After `connection`.
    Bridge,
    /// After `plugin`, `global_plugin` or `plugin_load`.
    Plugin,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// `true`, `1`, `false` or `0`; what follows is ignored.
    Flag,
    /// A whole number, decimal, hexadecimal (`0x`) or octal (`0`); what follows is ignored.
    Number {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
        /// What becomes of a smaller one.
        low: Low,
    },
    /// Everything up to the end of the line.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A form of its own.
    Form(&'static str),
}

/// What becomes of a number below the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Low {
    /// It is an error.
    Refused,
    /// The smallest is taken.
    Raised,
}

/// What a second line with the same option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The last line counts.
    LastCounts,
    /// It is an error.
    Refused,
    /// Each line adds something.
    Adds,
}

/// Whether a reload can change an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At once.
    Live,
    /// The listener is closed and opened again; its connections stay.
    Reopens,
    /// After a restart only.
    Restart,
}

/// What becomes of an option in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what it says.
    Implemented,
    /// It may stand in a file and changes nothing, for this reason.
    Accepted(&'static str),
    /// It is refused, since it belongs to this feature that a later version brings.
    Later(&'static str),
}

/// Where an option comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Mosquitto has it too.
    Mosquitto,
    /// Midge alone has it.
    Midge,
}

/// Yields every row: general options first, then those of security and plugins, of listeners and of
/// bridges.
pub fn reference() -> impl Iterator<Item = &'static OptionDef> {
    [
        general::OPTIONS,
        ours::OPTIONS,
        limits::OPTIONS,
        security::OPTIONS,
        logins::OPTIONS,
        listener::OPTIONS,
        bridge::OPTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Finds the row for a name or alias.
pub(super) fn find(name: &str) -> Option<&'static OptionDef> {
    reference().find(|option| option.is_called(name))
}

impl OptionDef {
    /// An option that is implemented, if `reads` says how; the rest of a row is added to it.
    const fn new(
        name: &'static str,
        scope: Scope,
        value: ValueType,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            scope,
            value,
            default,
            repeat: Repeat::LastCounts,
            reload: Reload::Live,
            status: Status::Implemented,
            origin: Origin::Mosquitto,
            doc,
            deprecated: None,
            label: name,
            refusal: None,
            set: None,
        }
    }

    const fn reads(mut self, set: Setter) -> Self {
        self.set = Some(set);
        self
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn once(mut self) -> Self {
        self.repeat = Repeat::Refused;
        self
    }

    const fn adds(mut self) -> Self {
        self.repeat = Repeat::Adds;
        self
    }

    const fn on_reload(mut self, reload: Reload) -> Self {
        self.reload = reload;
        self
    }

    const fn later(mut self, feature: &'static str) -> Self {
        self.status = Status::Later(feature);
        self
    }

    const fn accepted(mut self, reason: &'static str) -> Self {
        self.status = Status::Accepted(reason);
        self
    }

    const fn deprecated(mut self, advice: &'static str) -> Self {
        self.deprecated = Some(advice);
        self
    }

    const fn called(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    const fn refuses(mut self, message: &'static str) -> Self {
        self.refusal = Some(message);
        self
    }

    const fn by_midge(mut self) -> Self {
        self.origin = Origin::Midge;
        self
    }

    fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| match own.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => own == name,
        })
    }

    /// Yields the name and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// A number from `min` to `max`.
const fn number(min: i64, max: i64) -> ValueType {
    let low = Low::Refused;
    ValueType::Number { min, max, low }
}

/// A number from `min` to what a C `int` can hold, where everything below `min` counts as `min`.
const fn at_least(min: i64) -> ValueType {
    ValueType::Number {
        min,
        max: i32::MAX as i64,
        low: Low::Raised,
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::General => "general",
            Self::GeneralOrListener => "general or listener",
            Self::Listener | Self::ListenerOrDefault | Self::NamedListener => "listener",
            Self::Bridge => "bridge",
            Self::Plugin => "plugin",
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flag => out.write_str("true or false"),
            Self::Text => out.write_str("a text up to the end of the line"),
            Self::Form(form) => out.write_str(form),
            Self::Word(words) => write!(out, "one of: {}", words.join(", ")),
            Self::Number { min, max, low } => {
                write!(out, "a whole number from {min} to {max}")?;
                match low {
                    Low::Refused => Ok(()),
                    Low::Raised => write!(out, " (less counts as {min})"),
                }
            }
        }
    }
}
