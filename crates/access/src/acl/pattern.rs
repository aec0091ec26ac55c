//! Filters with `%c` and `%u`, compared with a topic as they are, so that no client needs a copy of its own.

use super::ClientRules;

/// A filter, or its end, in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Box<[Part]>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    ClientId,
    UserName,
    /// `+`
    Level,
    /// `/#` at the end.
    Rest,
}

impl Pattern {
    /// Takes a valid filter apart; in a literal one `+` and `#` are text.
    pub(super) fn new(filter: &str, wildcards: Wildcards) -> Self {
        let mut parts = Vec::new();
        let (body, rest) = match filter.strip_suffix("/#") {
            Some(body) if wildcards == Wildcards::Match => (body, Some(Part::Rest)),
            _ => (filter, None),
        };
        for (index, level) in body.split('/').enumerate() {
            if index > 0 {
                push_text(&mut parts, "/");
            }
            if level == "+" && wildcards == Wildcards::Match {
                parts.push(Part::Level);
            } else {
                push_level(&mut parts, level);
            }
        }
        parts.extend(rest);
        Self(parts.into())
    }

    /// Whether `topic` is met for this client. Each part takes what it takes, so nothing is tried twice.
    pub(super) fn matches(&self, topic: &str, client: &ClientRules) -> bool {
        let mut left = topic;
        for part in &self.0 {
            let taken = match part {
                Part::Text(text) => left.strip_prefix(&**text),
                Part::ClientId => left.strip_prefix(&*client.client_id),
                Part::UserName => {
                    let name = client.user_name.as_deref();
                    name.and_then(|name| left.strip_prefix(name))
                }
                Part::Level => left.find('/').map_or(Some(""), |end| left.get(end..)),
                Part::Rest if left.is_empty() || left.starts_with('/') => return true,
                Part::Rest => None,
            };
            match taken {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        left.is_empty()
    }
}

/// What `+` and `#` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wildcards {
    Match,
    Text,
}

/// Whether something in `text` is replaced.
pub(super) fn has_placeholder(text: &str) -> bool {
    text.contains("%c") || text.contains("%u")
}

fn push_level(parts: &mut Vec<Part>, level: &str) {
    let mut left = level;
    while let Some(at) = left.find('%') {
        let (before, from) = left.split_at(at);
        let part = match from.as_bytes() {
            [b'%', b'c', ..] => Part::ClientId,
            [b'%', b'u', ..] => Part::UserName,
            _ => {
                push_text(parts, before);
                push_text(parts, "%");
                left = from.get(1..).unwrap_or_default();
                continue;
            }
        };
        push_text(parts, before);
        parts.push(part);
        left = from.get(2..).unwrap_or_default();
    }
    push_text(parts, left);
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(before)) => *before = [&**before, text].concat().into(),
        _ => parts.push(Part::Text(text.into())),
    }
}

#[cfg(test)]
mod tests;
