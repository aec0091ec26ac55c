//! The value of one option, read word by word as Mosquitto reads it.

use std::num::NonZeroI64;

use super::lines::BLANKS;
use super::options::{Low, OptionDef, ValueType};

/// The longest text value in bytes, as in Mosquitto.
const TEXT_BYTES_MAX: usize = 65_535;

/// How much of a faulty value an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 100;

/// A fault without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Mosquitto's own words.
    pub(super) message: String,
    /// What is allowed, or the way out.
    pub(super) hint: String,
}

/// What follows the name of `option` on its line.
#[derive(Debug)]
pub(super) struct Args<'a> {
    /// The row of the option table.
    pub(super) option: &'static OptionDef,
    rest: &'a str,
}

impl Fault {
    /// Puts words and a way out together.
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl<'a> Args<'a> {
    /// Begins to read `rest` as the value of `option`.
    pub(super) fn new(option: &'static OptionDef, rest: &'a str) -> Self {
        Self { option, rest }
    }

    /// Takes the next word, if there is one.
    pub(super) fn next_word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start_matches(BLANKS);
        if rest.is_empty() {
            return None;
        }
        let (word, rest) = rest.split_once(BLANKS).unwrap_or((rest, ""));
        self.rest = rest;
        Some(word)
    }

    /// Takes the next word.
    pub(super) fn word(&mut self) -> Result<&'a str, Fault> {
        self.next_word().ok_or_else(|| self.empty())
    }

    /// Takes `true`, `1`, `false` or `0`.
    pub(super) fn flag(&mut self) -> Result<bool, Fault> {
        match self.word()? {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(self.invalid(other)),
        }
    }

    /// Takes a whole number in the range that the option table states.
    pub(super) fn number(&mut self) -> Result<i64, Fault> {
        let ValueType::Number { min, max, low } = self.option.value else {
            return self.int();
        };
        let shown = self.rest;
        let number = if max > i64::from(i32::MAX) {
            self.whole_number()?
        } else {
            self.int()?
        };
        match low {
            Low::Raised if number < min => Ok(min),
            _ if number < min || number > max => Err(self.refused(shown)),
            _ => Ok(number),
        }
    }

    /// Takes a whole number that a C `int` can hold, as Mosquitto does before it looks at the
    /// range of the option.
    pub(super) fn int(&mut self) -> Result<i64, Fault> {
        let number = self.whole_number()?;
        if i32::try_from(number).is_err() {
            return Err(self.not_a_number(NumberFault::Range));
        }
        Ok(number)
    }

    fn whole_number(&mut self) -> Result<i64, Fault> {
        let word = self.word()?;
        parse_number(word).map_err(|fault| self.not_a_number(fault))
    }

    /// Takes a whole number as the type of the setting that it is for.
    pub(super) fn integer<T: TryFrom<i64>>(&mut self) -> Result<T, Fault> {
        let shown = self.rest;
        T::try_from(self.number()?).map_err(|_| self.refused(shown))
    }

    /// Takes a limit, where 0 and everything below mean that there is none.
    pub(super) fn limit<T: TryFrom<NonZeroI64>>(&mut self) -> Result<Option<T>, Fault> {
        let shown = self.rest;
        let number = self.number()?;
        let Some(number) = NonZeroI64::new(number.max(0)) else {
            return Ok(None);
        };
        T::try_from(number)
            .map(Some)
            .map_err(|_| self.refused(shown))
    }

    /// Takes everything up to the end of the line, without the blanks around it.
    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        let text = self.rest.trim_ascii();
        self.rest = "";
        if text.is_empty() {
            return Err(self.empty());
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(Fault::new(
                format!("Error: Invalid '{}' value (too long).", self.option.label),
                format!("a value may be {TEXT_BYTES_MAX} bytes long"),
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(malformed_utf8("the value contains a control character"));
        }
        Ok(text)
    }

    /// Takes a text for a setting that may be given only once.
    pub(super) fn text_once(&mut self, slot: &mut Option<String>) -> Result<(), Fault> {
        if slot.is_some() {
            return Err(self.duplicate());
        }
        *slot = Some(self.text()?.to_owned());
        Ok(())
    }

    /// Returns what is left on the line, unless it is a comment.
    pub(super) fn unread(&self) -> Option<&'a str> {
        let rest = self.rest.trim_ascii();
        (!rest.is_empty() && !rest.starts_with('#')).then_some(rest)
    }

    /// Whether nothing is left on the line.
    pub(super) fn unread_is_empty(&self) -> bool {
        self.rest.trim_ascii().is_empty()
    }

    /// The fault of a value that is missing.
    pub(super) fn empty(&self) -> Fault {
        let label = self.option.label;
        Fault::new(
            format!("Error: Empty '{label}' value in configuration."),
            self.usage(),
        )
    }

    /// The fault of a value that is given again.
    pub(super) fn duplicate(&self) -> Fault {
        let label = self.option.label;
        Fault::new(
            format!("Error: Duplicate '{label}' value in configuration."),
            format!(
                "'{}' may be set once; remove one of the lines",
                self.option.name
            ),
        )
    }

    /// The fault of a value that the option does not have.
    pub(super) fn invalid(&self, value: &str) -> Fault {
        let label = self.option.label;
        Fault::new(
            format!("Error: Invalid '{label}' value ({}).", shown(value)),
            self.usage(),
        )
    }

    /// The fault of a value out of range, in the option's own words when it has some.
    fn refused(&self, value: &str) -> Fault {
        match self.option.refusal {
            Some(message) => Fault::new(message, self.usage()),
            None => self.invalid(value.split_ascii_whitespace().next().unwrap_or_default()),
        }
    }

    fn not_a_number(&self, fault: NumberFault) -> Fault {
        let label = self.option.label;
        let what = match fault {
            NumberFault::Digits => "not a number",
            NumberFault::Range => "out of range",
        };
        Fault::new(format!("Error: '{label}' value {what}."), self.usage())
    }

    /// Says what the option takes.
    pub(super) fn usage(&self) -> String {
        format!("'{}' takes {}", self.option.name, self.option.value)
    }
}

/// The fault of a text that has bytes or characters which no value may have.
pub(super) fn malformed_utf8(hint: &str) -> Fault {
    Fault::new("Error: Malformed UTF-8 in configuration.", hint)
}

/// Cuts a faulty value to what an error can show.
pub(super) fn shown(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < value.len() {
        shown.push_str("...");
    }
    shown
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberFault {
    Digits,
    Range,
}

/// Reads a number as C's `strtol` with base 0: decimal, `0x` hexadecimal, `0` octal, with a sign.
pub(super) fn parse_number(word: &str) -> Result<i64, NumberFault> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits)
    } else {
        (10, digits)
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(NumberFault::Digits);
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| NumberFault::Range)
}

#[cfg(test)]
mod tests;
