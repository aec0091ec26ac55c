//! Files of lines: what is wrong with which, and bytes cut into lines.

use std::fmt;

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// The longest line that is read, in bytes without its end: a name of 65,535 bytes and what follows it.
pub const LINE_BYTES_MAX: usize = 70_000;

/// As many faults are told one by one; further ones are counted.
pub const FAULTS_MAX: usize = 100;

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it and the way out.
    pub text: String,
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineFaults {
    /// The first [`FAULTS_MAX`] faults.
    pub list: Vec<LineFault>,
    /// How many more there are.
    pub more: usize,
}

impl LineFaults {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn push(&mut self, line: usize, text: impl Into<String>) {
        if self.list.len() < FAULTS_MAX {
            let text = text.into();
            self.list.push(LineFault { line, text });
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.text)
    }
}

impl fmt::Display for LineFaults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{fault}")?;
        }
        if self.more > 0 {
            write!(out, "\nand {} lines more", self.more)?;
        }
        Ok(())
    }
}

/// The file has more than [`FILE_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTooLarge {
    /// How many it has.
    pub bytes: usize,
}

impl fmt::Display for FileTooLarge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the file has {} bytes, and {FILE_BYTES_MAX} is the limit; use dynamic security, tokens or \
             several listeners for so many clients",
            self.bytes
        )
    }
}

impl std::error::Error for FileTooLarge {}

/// Cuts `file` into numbered lines: LF or CRLF ends one, and the byte order mark that Windows editors
/// write is left out.
///
/// A line that is too long, or is no UTF-8, or has a NUL is an error with the text to say.
pub(crate) fn numbered(
    file: &[u8],
) -> Result<impl Iterator<Item = (usize, Result<&str, String>)>, FileTooLarge> {
    if file.len() > FILE_BYTES_MAX {
        return Err(FileTooLarge { bytes: file.len() });
    }
    let file = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file);
    let lines = file.split(|byte| *byte == b'\n').map(checked);
    Ok(lines.enumerate().map(|(index, line)| (index + 1, line)))
}

fn checked(line: &[u8]) -> Result<&str, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(format!(
            "the line has {} bytes, and {LINE_BYTES_MAX} is the limit; a line end may be missing",
            line.len()
        ));
    }
    if line.contains(&0) {
        return Err(
            "the line has a NUL; the file may be damaged, or UTF-16 instead of UTF-8".into(),
        );
    }
    std::str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to() + 1;
        format!("byte {at} of the line is no UTF-8; save the file as UTF-8")
    })
}

/// A name or word of a file for a message: at most 100 characters, and none that a terminal or a log would
/// take for a command or a line end.
pub(crate) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters
        .by_ref()
        .take(100)
        .map(|character| {
            if character.is_control() {
                '\u{FFFD}'
            } else {
                character
            }
        })
        .collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests;
