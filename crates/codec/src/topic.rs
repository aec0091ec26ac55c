//! Topic names and topic filters: what is one, and which filter matches which name.
//!
//! Strings here are UTF-8 that the decoder has checked already; nothing is normalised
//! (`[MQTT5-4.7.3-4]`), and an empty level is a level.

use crate::{DecodeError, scan};

/// Whether `name` can be published to: not empty (`[MQTT5-4.7.3-1]`), no wildcard
/// (`[MQTT5-3.3.2-2]`), at most 65,535 bytes (`[MQTT5-4.7.3-3]`).
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= usize::from(u16::MAX) && !has_wildcard(name)
}

/// Whether `text` contains `+` or `#`.
#[must_use]
pub fn has_wildcard(text: &str) -> bool {
    scan::has_wildcard(text.as_bytes())
}

/// Whether `filter` can be subscribed to, a shared subscription's filter part included.
///
/// `#` stands alone in the last level (`[MQTT5-4.7.1-1]`), `+` alone in a level (`[MQTT5-4.7.1-2]`).
#[must_use]
pub fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > usize::from(u16::MAX) {
        return false;
    }
    if !has_wildcard(filter) {
        return true;
    }
    // By bytes, which is smaller and quicker than to cut the string into levels.
    let bytes = filter.as_bytes();
    let mut before = b'/';
    for (at, byte) in bytes.iter().enumerate() {
        let after = bytes.get(at + 1);
        let fits = match byte {
            b'#' => before == b'/' && after.is_none(),
            b'+' => before == b'/' && matches!(after, None | Some(b'/')),
            _ => true,
        };
        if !fits {
            return false;
        }
        before = *byte;
    }
    true
}

/// How many levels `text` has: one more than its slashes.
#[must_use]
pub fn levels(text: &str) -> usize {
    scan::slashes(text.as_bytes()) + 1
}

/// A topic filter, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The share name, when the filter begins with `$share/`.
    pub share_name: Option<&'a str>,
    /// What topic names are compared with.
    pub filter: &'a str,
}

impl<'a> Filter<'a> {
    /// Checks the topic filter of a SUBSCRIBE or UNSUBSCRIBE.
    ///
    /// # Errors
    /// [`DecodeError::SharedFilter`] for `$share` without share name or filter, or a share name with a
    /// wildcard (`[MQTT5-4.8.2-1]`, `[MQTT5-4.8.2-2]`); [`DecodeError::TopicFilter`] otherwise.
    pub fn parse(text: &'a str) -> Result<Self, DecodeError> {
        if text == "$share" {
            return Err(DecodeError::SharedFilter);
        }
        let Some(shared) = text.strip_prefix("$share/") else {
            return if is_filter(text) {
                Ok(Self {
                    share_name: None,
                    filter: text,
                })
            } else {
                Err(DecodeError::TopicFilter)
            };
        };
        let (name, filter) = shared.split_once('/').ok_or(DecodeError::SharedFilter)?;
        if name.is_empty() || filter.is_empty() || has_wildcard(name) {
            return Err(DecodeError::SharedFilter);
        }
        if !is_filter(filter) {
            return Err(DecodeError::TopicFilter);
        }
        Ok(Self {
            share_name: Some(name),
            filter,
        })
    }
}

/// Whether `filter` (valid, without `$share`) matches `name` (valid).
///
/// A filter that begins with a wildcard matches no name that begins with `$` (`[MQTT5-4.7.2-1]`).
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(part) if level == "+" || level == part => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests;
