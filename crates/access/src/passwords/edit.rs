//! Changes of a password file's text: what mosquitto_passwd does, without the file.
//!
//! Comments, empty lines, the order, line ends and a byte order mark stay as they are.

use crate::lines::{BYTE_ORDER_MARK, FileTooLarge, LineFault, numbered};

use super::{Line, USER_NAME_BYTES_MAX};

/// Why a name cannot stand in a password file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// It is empty, or would be without the spaces around it.
    Empty,
    /// It has more than [`USER_NAME_BYTES_MAX`] bytes.
    TooLong,
    /// It has a control character, or begins with what would be a byte order mark.
    Control,
    /// It has a colon.
    Colon,
    /// It begins with `#`, so that its line would be a comment.
    Comment,
    /// It has spaces at an end, which do not count in the file.
    Spaces,
}

/// Whether `name` can stand in a password file.
///
/// # Errors
/// Why not.
pub fn check_name(name: &str) -> Result<(), NameFault> {
    let fault = if name.trim().is_empty() {
        NameFault::Empty
    } else if name.len() > USER_NAME_BYTES_MAX {
        NameFault::TooLong
    } else if name.chars().any(char::is_control) || name.starts_with('\u{FEFF}') {
        NameFault::Control
    } else if name.contains(':') {
        NameFault::Colon
    } else if name.starts_with('#') {
        NameFault::Comment
    } else if name.trim() != name {
        NameFault::Spaces
    } else {
        return Ok(());
    };
    Err(fault)
}

/// Why a text cannot be changed. Nothing is lost that way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// A line that is neither user nor comment; mosquitto_passwd stops at it as well.
    Line(LineFault),
    /// The file is larger than a broker would read.
    TooLarge(FileTooLarge),
}

/// What [`set`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The user is new.
    Added,
    /// The user has another hash.
    Updated,
}

/// The text with `hash` for the user `name`: in its line, or in a new one at the end. Further lines of the
/// same user go.
///
/// # Errors
/// [`EditError`].
pub fn set(text: &[u8], name: &str, hash: &str) -> Result<(Vec<u8>, Set), EditError> {
    let mut done = Set::Added;
    let mut changed = rewrite(text, |found, _| {
        if found != name {
            Change::Keep
        } else if done == Set::Added {
            done = Set::Updated;
            Change::Replace(hash.to_owned())
        } else {
            Change::Remove
        }
    })?;
    if done == Set::Added {
        let line_end: &[u8] = if text.ends_with(b"\r\n") {
            b"\r\n"
        } else {
            b"\n"
        };
        if !matches!(changed.last(), None | Some(b'\n')) {
            changed.extend(line_end);
        }
        changed.extend([name, ":", hash].concat().as_bytes());
        changed.extend(line_end);
    }
    Ok((changed, done))
}

/// The text without the user `name`; `None` when it has no such user.
///
/// # Errors
/// [`EditError`].
pub fn remove(text: &[u8], name: &str) -> Result<Option<Vec<u8>>, EditError> {
    let mut is_found = false;
    let changed = rewrite(text, |found, _| {
        if found == name {
            is_found = true;
            Change::Remove
        } else {
            Change::Keep
        }
    })?;
    Ok(is_found.then_some(changed))
}

/// What [`hash_plain`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The new text.
    pub text: Vec<u8>,
    /// How many passwords are hashed now that were not.
    pub hashed: usize,
    /// How many were hashed before and are as they were. mosquitto_passwd would hash the hash, and nobody
    /// could log in any more.
    pub kept: usize,
}

/// The text with `hash(password)` for every password that is not hashed yet.
///
/// # Errors
/// [`EditError`], or the error of `hash` as a fault of that line.
pub fn hash_plain(text: &[u8], mut hash: impl FnMut(&str) -> String) -> Result<Hashed, EditError> {
    let (mut hashed, mut kept) = (0, 0);
    let text = rewrite(text, |_, password| {
        if super::Verifier::parse(password).is_ok() {
            kept += 1;
            Change::Keep
        } else {
            hashed += 1;
            Change::Replace(hash(password))
        }
    })?;
    Ok(Hashed { text, hashed, kept })
}

enum Change {
    Keep,
    Remove,
    /// With this hash.
    Replace(String),
}

/// Copies the text, and asks `change` about each user and what stands behind the colon.
fn rewrite(
    text: &[u8],
    mut change: impl FnMut(&str, &str) -> Change,
) -> Result<Vec<u8>, EditError> {
    let mut changed = Vec::with_capacity(text.len() + 256);
    if text.starts_with(BYTE_ORDER_MARK) {
        changed.extend(BYTE_ORDER_MARK);
    }
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let raw = body.split_inclusive(|byte| *byte == b'\n');
    for ((number, line), raw) in numbered(text).map_err(EditError::TooLarge)?.zip(raw) {
        let fault = |text: String| EditError::Line(LineFault { line: number, text });
        let line = line.map_err(fault)?;
        let (name, password) = match Line::read(line) {
            Line::Other => {
                changed.extend(raw);
                continue;
            }
            Line::User(name, password) if !password.is_empty() => (name, password),
            Line::User(..) | Line::NoUser => {
                return Err(fault(
                    "this is no user: a line is NAME:HASH, or a comment that begins with #".into(),
                ));
            }
        };
        match change(name, password) {
            Change::Keep => changed.extend(raw),
            Change::Remove => {}
            Change::Replace(hash) => {
                // As it was, spaces included: without them another thing could come to stand at the beginning.
                let (before, _) = line.split_once(':').unwrap_or((name, ""));
                changed.extend([before, ":", &hash].concat().as_bytes());
                changed.extend(raw.get(line.len()..).unwrap_or_default());
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests;
