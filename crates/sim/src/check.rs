//! A promise that was broken.

use std::fmt;

/// A rule of the standard, or of the broker's own making, that a run saw broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A short name for the rule.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

impl std::error::Error for Violation {}

/// The result of one step of a run.
pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// The violation of `rule`.
pub(crate) fn broken<T>(rule: &'static str, detail: impl Into<String>) -> Checked<T> {
    let mut detail = detail.into();
    if let Some((end, _)) = detail.char_indices().nth(DETAIL_MAX) {
        detail.truncate(end);
        detail.push('…');
    }
    Err(Violation { rule, detail })
}

/// Characters of a detail that are kept: packets can be large.
const DETAIL_MAX: usize = 600;
