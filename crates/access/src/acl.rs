//! The access file, as Mosquitto evaluates it.
//!
//! | line | for whom |
//! |---|---|
//! | `topic [ACCESS] FILTER` | before the first `user` line: clients without user name; after it: that user |
//! | `user NAME` | begins the rules of a user; may come again |
//! | `pattern [ACCESS] FILTER` | everybody, wherever it stands; `%c` is the client id and `%u` the user name |
//! | `# …` | nobody: a comment, where `#` is the first character of the line |
//!
//! `ACCESS` is `read` (messages are delivered), `write` (messages are taken), `readwrite`, which it is when
//! nothing stands there, or `deny`. A filter with spaces needs one of these words before it. What a client
//! wants is decided in this order:
//!
//! 1. a `deny` of its own rules that matches denies;
//! 2. another of its own rules that matches and has the access allows;
//! 3. where there are patterns, a client id or user name with `+` or `#` denies;
//! 4. a `deny` pattern that matches denies;
//! 5. another pattern that matches and has the access allows;
//! 6. the rest is denied, so an empty file denies everything.
//!
//! Subscribing and unsubscribing is allowed to everybody: each message is judged when it is delivered. Topics
//! that begin with `$` are met by filters that begin with `$` only.
//!
//! An empty user name is none. Mosquitto 2.0 and 2.1 differ in two points. `%c` and `%u` are replaced in any
//! part of a level, as in 2.0; to 2.1 they are text unless they are the whole level. And a pattern that begins
//! with `%c` or `%u` meets no topic that begins with `$`, as in 2.1: in 2.0 a client can call itself
//! `$CONTROL`.
//!
//! Midge adds:
//!
//! - `group NAME` begins the rules of a group, and `member NAME` within it names a user. A member's own rules
//!   are those of its groups as well, so a `deny` of any of them counts.
//! - `deny read`, `deny write` and `deny readwrite` deny one direction or both. A filter that begins with such
//!   a word and a space needs `deny readwrite` before it.
//! - `deny literal FILTER` refuses to subscribe to exactly this filter, with or without a `$share` group, and
//!   nothing else: `pattern deny literal #` keeps everybody from asking for everything.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::lines::{LineFaults, shown};
use crate::{Action, Client, Decision};

mod parse;
mod pattern;
mod tree;

use pattern::Pattern;
use tree::{Found, Tree};

/// Most levels of all rules together; what a broker keeps of a file grows with them, by 130 bytes or so each.
pub const LEVELS_TOTAL_MAX: usize = 4_000_000;

/// The rules of an access file. A clone is the same rules.
#[derive(Clone)]
pub struct Rules(Arc<Inner>);

struct Inner {
    /// How messages call the file.
    file: Box<str>,
    rules: Vec<Rule>,
    /// Of clients without user name, of users and of groups.
    sections: Vec<Section>,
    /// The sections of each user: its own, if it has one, and those of its groups.
    users: HashMap<Box<str>, Arc<[u32]>>,
    /// The section of each group that has rules.
    groups: HashMap<Box<str>, u32>,
    /// The section of clients without user name.
    anonymous: Arc<[u32]>,
    patterns: Section,
    has_patterns: bool,
    /// `pattern deny literal` with something to replace.
    literal_patterns: Vec<(Pattern, u32)>,
}

/// Rules that belong together.
#[derive(Default)]
struct Section {
    tree: Tree,
    /// Filters that must not be subscribed to, each with its rule.
    literals: HashMap<Box<str>, u32>,
}

/// A line of the file.
struct Rule {
    line: usize,
    text: Box<str>,
    allows: bool,
    access: Access,
}

/// Directions that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    read: bool,
    write: bool,
}

impl Access {
    const READ: Self = Self {
        read: true,
        write: false,
    };
    const WRITE: Self = Self {
        read: false,
        write: true,
    };
    const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };

    const fn covers(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

/// Why a file cannot be used. Mosquitto does not start with such a file either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// How the caller called the file.
    pub file: String,
    /// What is wrong with the file as a whole.
    pub whole: Option<String>,
    /// What is wrong with its lines.
    pub lines: LineFaults,
}

impl fmt::Display for RulesError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.whole {
            return write!(out, "{}: {text}", self.file);
        }
        for (index, fault) in self.lines.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(
                out,
                "{separator}{}:{}: {}",
                self.file, fault.line, fault.text
            )?;
        }
        match self.lines.more {
            0 => Ok(()),
            more => write!(out, "\nand {more} lines more"),
        }
    }
}

impl std::error::Error for RulesError {}

impl Rules {
    /// Reads a file; `name` is how decisions and errors call it. Beside the rules come warnings: lines that
    /// are valid and perhaps not what was meant.
    ///
    /// # Errors
    /// [`RulesError`] with every line that is wrong: a file with a mistake is not half used.
    pub fn parse(name: &str, file: &[u8]) -> Result<(Self, LineFaults), RulesError> {
        let (inner, warnings) = parse::parse(name, file)?;
        Ok((Self(Arc::new(inner)), warnings))
    }

    /// The rules as they are for one client. This is cheap: rules are shared, only the names are copied.
    #[must_use]
    pub fn for_client(&self, client: Client<'_>) -> ClientRules {
        let user_name = client.user_name.filter(|name| !name.is_empty());
        let sections = match user_name {
            None => Arc::clone(&self.0.anonymous),
            Some(name) => self.0.users.get(name).map_or_else(Arc::default, Arc::clone),
        };
        let has_wildcard = midge_codec::topic::has_wildcard;
        let unsafe_name = if user_name.is_some_and(has_wildcard) {
            Some("user name")
        } else if has_wildcard(client.id) {
            Some("client id")
        } else {
            None
        };
        ClientRules {
            rules: Arc::clone(&self.0),
            sections,
            client_id: client.id.into(),
            user_name: user_name.map(Box::from),
            unsafe_name,
        }
    }

    /// The rules as they are for a client that somebody else puts into groups, besides those that the file
    /// puts it into. Groups that the file does not have mean nothing.
    #[must_use]
    pub fn for_member(&self, client: Client<'_>, groups: &[String]) -> ClientRules {
        let mut rules = self.for_client(client);
        let mut sections = rules.sections.to_vec();
        for group in groups {
            if let Some(section) = self.0.groups.get(group.as_str())
                && !sections.contains(section)
            {
                sections.push(*section);
            }
        }
        if sections.len() > rules.sections.len() {
            rules.sections = sections.into();
        }
        rules
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.rules.len()
    }

    /// Whether there is none, so that everything is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Rules");
        out.field("file", &self.0.file)
            .field("rules", &self.len())
            .finish_non_exhaustive()
    }
}

/// What one client may do.
#[derive(Clone)]
pub struct ClientRules {
    rules: Arc<Inner>,
    sections: Arc<[u32]>,
    client_id: Box<str>,
    user_name: Option<Box<str>>,
    /// Which of its names has a wildcard.
    unsafe_name: Option<&'static str>,
}

impl fmt::Debug for ClientRules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("ClientRules");
        out.field("file", &self.rules.file)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// What decided.
enum Outcome {
    Rule(u32),
    /// The name that has a wildcard.
    UnsafeName(&'static str),
    /// Nothing: what is so by default.
    Default,
}

impl ClientRules {
    /// Whether the client may do this. `topic` is a valid topic name, for subscribing and unsubscribing a
    /// valid topic filter.
    ///
    /// Nothing is allocated. Each node of the rules is looked at once at most, whatever the topic.
    #[must_use]
    pub fn decide(&self, action: Action, topic: &str) -> bool {
        match self.outcome(action, topic) {
            Outcome::Rule(rule) => self.rules.rule(rule).is_some_and(|rule| rule.allows),
            Outcome::UnsafeName(_) => false,
            Outcome::Default => is_free(action),
        }
    }

    /// What [`decide`](Self::decide) says, with the rule that decided.
    #[must_use]
    pub fn explain(&self, action: Action, topic: &str) -> Decision {
        let file = &self.rules.file;
        let (allowed, rule) = match self.outcome(action, topic) {
            Outcome::Rule(rule) => match self.rules.rule(rule) {
                Some(rule) => (rule.allows, format!("{file}:{} {}", rule.line, rule.text)),
                None => (false, format!("{file}: no rule allows it")),
            },
            Outcome::UnsafeName(name) => (
                false,
                format!("{file}: there are patterns, and the {name} has a + or #"),
            ),
            Outcome::Default if is_free(action) => {
                let text = match action {
                    Action::Subscribe => {
                        "subscribing is not restricted; each message is judged when it is delivered"
                    }
                    _ => "unsubscribing is not restricted",
                };
                (true, format!("{file}: {text}"))
            }
            Outcome::Default => (false, format!("{file}: {}", self.why_nothing_allows())),
        };
        Decision { allowed, rule }
    }

    fn outcome(&self, action: Action, topic: &str) -> Outcome {
        match action {
            Action::Publish => self.judge(Access::WRITE, topic),
            Action::Deliver => self.judge(Access::READ, topic),
            Action::Subscribe => self.judge_filter(topic),
            Action::Unsubscribe => Outcome::Default,
        }
    }

    fn judge(&self, access: Access, topic: &str) -> Outcome {
        let rules = &self.rules;
        let mut found = Found::new(&rules.rules, access);
        for section in self.sections() {
            section.tree.find(topic, self, &mut found);
        }
        if let Some(rule) = found.first() {
            return Outcome::Rule(rule);
        }
        if !rules.has_patterns {
            return Outcome::Default;
        }
        if let Some(name) = self.unsafe_name {
            return Outcome::UnsafeName(name);
        }
        let mut found = Found::new(&rules.rules, access);
        rules.patterns.tree.find(topic, self, &mut found);
        found.first().map_or(Outcome::Default, Outcome::Rule)
    }

    fn judge_filter(&self, filter: &str) -> Outcome {
        let filter = filter
            .strip_prefix("$share/")
            .and_then(|shared| shared.split_once('/'))
            .map_or(filter, |(_, filter)| filter);
        let own = self.sections().chain([&self.rules.patterns]);
        let literals = own.filter_map(|section| section.literals.get(filter).copied());
        let patterns = self.rules.literal_patterns.iter();
        let patterns = patterns.filter(|(pattern, _)| pattern.matches(filter, self));
        literals
            .chain(patterns.map(|(_, rule)| *rule))
            .min()
            .map_or(Outcome::Default, Outcome::Rule)
    }

    fn sections(&self) -> impl Iterator<Item = &Section> {
        let sections = self.sections.iter();
        sections.filter_map(|index| self.rules.sections.get(usize::try_from(*index).ok()?))
    }

    /// For somebody who wonders.
    fn why_nothing_allows(&self) -> String {
        let Some(name) = &self.user_name else {
            return "no rule allows it to clients without user name".to_owned();
        };
        let name = shown(name);
        if !self.sections.is_empty() {
            return format!("no rule allows it to user '{name}'");
        }
        let hint = if self.rules.anonymous.is_empty() {
            ""
        } else {
            "; rules before the first user line are for clients without user name only"
        };
        format!("no rule allows it: there is no section for user '{name}'{hint}")
    }
}

impl Inner {
    fn rule(&self, index: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(index).ok()?)
    }
}

/// Whether an action is allowed when no rule says anything.
const fn is_free(action: Action) -> bool {
    matches!(action, Action::Subscribe | Action::Unsubscribe)
}

#[cfg(test)]
mod tests;
