//! What is wrong with a configuration, and how to put it right.

use std::error::Error;
use std::fmt;

use crate::log::escape;

/// One fault in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file it was found in.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is at fault.
    pub line: u32,
    /// Mosquitto's own words, beginning with `Error: `.
    pub message: String,
    /// What is allowed, or the way out.
    pub hint: String,
    /// The exit status that Mosquitto has for this fault.
    pub exit_code: u8,
}

/// Every fault that was found in a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

/// Mosquitto's exit status for a configuration that it cannot use.
pub(super) const EXIT_CONFIG: u8 = 3;

impl ConfigErrors {
    /// Gathers `errors`, unless there are none.
    pub(super) fn gather(errors: Vec<ConfigError>) -> Option<Self> {
        if errors.is_empty() {
            None
        } else {
            Some(Self(errors))
        }
    }

    /// Returns the faults in the order in which they were found.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }

    /// Returns the exit status for the first fault.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.0.first().map_or(EXIT_CONFIG, |error| error.exit_code)
    }

    /// Returns the lines to show, two for each fault.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().flat_map(ConfigError::lines)
    }
}

impl ConfigError {
    /// Returns the two lines to show: Mosquitto's words, then place and way out.
    ///
    /// Neither contains a control character, whatever the file contained.
    #[must_use]
    pub fn lines(&self) -> [String; 2] {
        let place = if self.line == 0 {
            format!(" {}: {}", self.file, self.hint)
        } else {
            format!(" {}:{}: {}", self.file, self.line, self.hint)
        };
        [
            escape(&self.message).into_owned(),
            escape(&place).into_owned(),
        ]
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [message, place] = self.lines();
        write!(out, "{message}\n{place}")
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            error.fmt(out)?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

impl Error for ConfigErrors {}
