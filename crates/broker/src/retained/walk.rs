//! Where a walk stands, and what a stored topic says about where it goes on.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::SEPARATOR;

/// A walk over the stored topics that match a filter, between its steps.
///
/// It remembers a topic and not a place, so that it survives changes of the store.
#[derive(Clone, Debug)]
pub struct Walk {
    pub(super) filter: Box<str>,
    /// Whether a wildcard at the beginning reaches topics that begin with `$` too.
    pub(super) reaches_dollar: bool,
    /// The key from which on it goes on.
    pub(super) from: String,
    pub(super) state: WalkState,
}

/// Whether a walk has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkState {
    /// There may be more topics.
    More,
    /// There are none.
    Done,
}

impl Walk {
    /// Stands before the first topic that matches `filter`, which is taken as valid and without
    /// a share name.
    #[must_use]
    pub fn new(filter: &str) -> Self {
        let mut from = String::new();
        let literals = filter.split('/').take_while(|level| !is_wildcard(level));
        for (at, level) in literals.enumerate() {
            if at > 0 {
                from.push(SEPARATOR);
            }
            from.push_str(level);
        }
        Self {
            filter: filter.into(),
            reaches_dollar: false,
            from,
            state: WalkState::More,
        }
    }

    /// Stands before the first of all topics, those that begin with `$` included.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            reaches_dollar: true,
            ..Self::new("#")
        }
    }

    /// The filter that the walk was made for.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }
}

/// The levels of a filter with wildcards.
pub(super) struct Pattern<'a> {
    levels: SmallVec<[&'a str; 16]>,
    reaches_dollar: bool,
}

/// Where a walk goes on after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At the key that follows.
    Following,
    /// At the first key that is not less than the one that was written.
    Seek,
    /// Nowhere: no later key can match.
    End,
}

impl<'a> Pattern<'a> {
    /// The pattern of `filter`, or nothing if that has no wildcard.
    pub(super) fn new(filter: &'a str, reaches_dollar: bool) -> Option<Self> {
        let levels: SmallVec<[&str; 16]> = filter.split('/').collect();
        levels
            .iter()
            .any(|level| is_wildcard(level))
            .then_some(Self {
                levels,
                reaches_dollar,
            })
    }

    /// Whether `key` matches, and where the next key that can match is; for [`Next::Seek`] it is
    /// written to `from` and greater than `key`.
    ///
    /// All keys between the two are left out without being looked at: those below a level that
    /// came out too great, and those before a literal level that follows a `+`.
    pub(super) fn judge(&self, key: &str, from: &mut String) -> (bool, Next) {
        // Where the level begins, unless the key has ended before it.
        let mut start = Some(0);
        let mut plus_end = None;
        for (depth, &level) in self.levels.iter().enumerate() {
            // A wildcard at the beginning does not reach topics that begin with `$`.
            // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
            let hides = depth == 0 && is_wildcard(level) && !self.reaches_dollar;
            if hides && key.starts_with('$') {
                return (false, seek(from, "", AFTER_DOLLAR));
            }
            if level == "#" {
                return (true, Next::Following);
            }
            let Some(begin) = start else {
                // The key is above whatever can match.
                let literal = if level == "+" { "" } else { level };
                seek(from, key, "\0");
                from.push_str(literal);
                return (false, Next::Seek);
            };
            let rest = &key[begin..];
            let end = begin + rest.find(SEPARATOR).unwrap_or(rest.len());
            if level == "+" {
                plus_end = Some(end);
            } else {
                match key[begin..end].cmp(level) {
                    Ordering::Less => return (false, seek(from, &key[..begin], level)),
                    Ordering::Equal => {}
                    Ordering::Greater => return (false, leave(from, key, plus_end)),
                }
            }
            start = (end < key.len()).then_some(end + 1);
        }
        if start.is_none() && self.levels.last() == Some(&"+") {
            // Most likely its sibling follows, for which a look-up would be too much.
            return (true, Next::Following);
        }
        (start.is_none(), leave(from, key, plus_end))
    }
}

/// Goes on at the first key that begins with `prefix` and `rest`, or would stand behind it.
fn seek(from: &mut String, prefix: &str, rest: &str) -> Next {
    from.clear();
    from.push_str(prefix);
    from.push_str(rest);
    Next::Seek
}

/// Goes on behind all keys that have the same level as `key` where the last `+` so far matched.
fn leave(from: &mut String, key: &str, plus_end: Option<usize>) -> Next {
    match plus_end {
        Some(end) => seek(from, &key[..end], AFTER_SEPARATOR),
        None => Next::End,
    }
}

fn is_wildcard(level: &str) -> bool {
    level == "+" || level == "#"
}

/// The first string behind all those that begin with a separator.
const AFTER_SEPARATOR: &str = "\u{1}";
/// The first string behind all those that begin with `$`.
const AFTER_DOLLAR: &str = "%";
