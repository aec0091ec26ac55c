//! Rules that come with a login: compiled once for one client, then asked for every topic.
//!
//! In a token's claim or the HTTP back end's answer they are one object; all its members are optional:
//!
//! ```json
//! {
//!   "pub": ["garden/%c/#"],
//!   "sub": ["garden/#", "alerts/+"],
//!   "pub_deny": ["garden/%c/firmware"],
//!   "sub_deny": ["garden/secret/#"]
//! }
//! ```
//!
//! Each entry is a topic filter. `%c` stands for the client id and `%u` for the user name. As OAuth scopes,
//! which have no spaces, the same is said as `mqtt.publish:garden/%c/#` and `mqtt.subscribe:garden/#`.
//!
//! - What no entry allows is denied, and a deny wins over every allow, in whatever order they stand.
//! - A subscription is allowed if one entry of `sub` allows **all** topics that it can match, so `sub:
//!   ["garden/#"]` allows `garden/+/soil` and not `#`. It is denied if one entry of `sub_deny` matches all
//!   of them; a wider one is allowed, and the denied messages are not delivered.
//! - A shared subscription is judged by its filter. Unsubscribing is always allowed.
//! - An allow whose `%c` or `%u` has nothing to stand for, or a value with `+`, `#` or `/`, which would
//!   reach into other clients' topics, is left out. A deny like that refuses the login: it would protect
//!   nothing.

use core::fmt;
use std::borrow::Cow;

use midge_codec::topic;
use serde_json::Value;

use super::json;
use super::quoted::Quoted;
use crate::{Action, Client, Decision};

mod cover;

/// What one client may do, without a look at anything else.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    superuser: bool,
    publish: Direction,
    subscribe: Direction,
    /// Allows that could not be made for this client, as they stand in the source.
    left_out: Vec<Box<str>>,
}

#[derive(Clone, Debug, Default)]
struct Direction {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    filter: Box<str>,
    /// What the filter was made of, where it is not the same.
    pattern: Option<Box<str>>,
    origin: Origin,
}

/// Where rules come from, for the words of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A claim of a token.
    TokenClaim,
    /// A scope of a token.
    TokenScope,
    /// The answer of the HTTP back end.
    HttpAnswer,
}

/// Why rules are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RulesFault {
    /// Not an object with the four lists of texts; what it is instead.
    Form(String),
    /// A member with another name: a misspelt deny must not pass for none.
    Member(String),
    /// A text that is no topic filter.
    Filter(String),
    /// More entries or bytes than [`RULES_MAX`] and [`RULES_BYTES_MAX`].
    TooMany,
    /// A deny with `%c` or `%u` for which this client has no usable value.
    Deny(String),
}

impl fmt::Display for RulesFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(what) => f.write_str(what),
            Self::Member(name) => write!(
                f,
                "unknown member {}; known are \"pub\", \"sub\", \"pub_deny\" and \"sub_deny\"",
                Quoted(name)
            ),
            Self::Filter(text) => write!(f, "{} is no topic filter", Quoted(text)),
            Self::TooMany => write!(f, "more than {RULES_MAX} rules or {RULES_BYTES_MAX} bytes"),
            Self::Deny(pattern) => write!(
                f,
                "the deny {} cannot be made for this client id and user name",
                Quoted(pattern)
            ),
        }
    }
}

impl core::error::Error for RulesFault {}

impl Rules {
    /// Rules that allow nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Rules that allow everything.
    #[must_use]
    pub fn superuser() -> Self {
        Self {
            superuser: true,
            ..Self::default()
        }
    }

    /// Compiles an object of the form above for `client`.
    ///
    /// # Errors
    /// [`RulesFault`]: nothing is guessed.
    pub fn from_json(
        value: &Value,
        origin: Origin,
        client: &Client<'_>,
    ) -> Result<Self, RulesFault> {
        let Value::Object(members) = value else {
            let message = format!("they are {}, not an object", json::kind(value));
            return Err(RulesFault::Form(message));
        };
        let mut compiler = Compiler::new(origin, client);
        let mut rules = Self::default();
        for (name, list) in members {
            let patterns = texts(name, list)?;
            let direction = match name.as_str() {
                "pub" | "pub_deny" => &mut rules.publish,
                "sub" | "sub_deny" => &mut rules.subscribe,
                _ => return Err(RulesFault::Member(name.clone())),
            };
            for pattern in patterns {
                if name.ends_with("_deny") {
                    direction.deny.push(compiler.deny(pattern)?);
                } else if let Some(rule) = compiler.allow(pattern)? {
                    direction.allow.push(rule);
                } else {
                    rules.left_out.push(pattern.into());
                }
            }
        }
        Ok(rules)
    }

    /// Compiles those of the scopes that begin with `prefix` and are rules; `None` if there is none.
    ///
    /// # Errors
    /// [`RulesFault`] for a rule without topic filter or with a wrong one. Other scopes are not ours.
    pub fn from_scopes<'a>(
        scopes: impl IntoIterator<Item = &'a str>,
        prefix: &str,
        client: &Client<'_>,
    ) -> Result<Option<Self>, RulesFault> {
        let mut compiler = Compiler::new(Origin::TokenScope, client);
        let mut rules: Option<Self> = None;
        for scope in scopes {
            let Some((verb, pattern)) = scope
                .strip_prefix(prefix)
                .and_then(|rule| rule.split_once(':'))
            else {
                continue;
            };
            if !matches!(verb, "publish" | "subscribe") {
                continue;
            }
            let rules = rules.get_or_insert_default();
            let direction = match verb {
                "publish" => &mut rules.publish,
                _ => &mut rules.subscribe,
            };
            match compiler.allow(pattern)? {
                Some(rule) => direction.allow.push(rule),
                None => rules.left_out.push(pattern.into()),
            }
        }
        Ok(rules)
    }

    /// Puts two sets of rules into one: what either allows, without what either denies.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        self.superuser |= other.superuser;
        self.publish.allow.extend(other.publish.allow);
        self.publish.deny.extend(other.publish.deny);
        self.subscribe.allow.extend(other.subscribe.allow);
        self.subscribe.deny.extend(other.subscribe.deny);
        self.left_out.extend(other.left_out);
        self
    }

    /// Whether everything is allowed.
    #[must_use]
    pub const fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// Allows that were left out because of this client's id or user name, for the log.
    pub fn left_out(&self) -> impl Iterator<Item = &str> {
        self.left_out.iter().map(AsRef::as_ref)
    }

    /// Whether the client may. `topic` is a topic name, or a topic filter for (un)subscribing; a shared
    /// subscription comes with its `$share/…/`. Nothing is allocated.
    #[must_use]
    pub fn decide(&self, action: Action, topic: &str) -> bool {
        matches!(
            self.judge(action, topic),
            Verdict::Superuser | Verdict::Unsubscribe | Verdict::Allowed(_)
        )
    }

    /// Decides, and says which rule did.
    #[must_use]
    pub fn explain(&self, action: Action, topic: &str) -> Decision {
        let list = match action {
            Action::Publish => "pub",
            Action::Deliver | Action::Subscribe | Action::Unsubscribe => "sub",
        };
        let (allowed, rule) = match self.judge(action, topic) {
            Verdict::Superuser => (true, "superuser by the HTTP answer".to_owned()),
            Verdict::Unsubscribe => (true, "unsubscribing is always allowed".to_owned()),
            Verdict::Allowed(rule) => (true, rule.described(list)),
            Verdict::Denied(rule) => (false, rule.described(&format!("{list}_deny"))),
            Verdict::NoRule => (false, "no rule of the login allows it".to_owned()),
        };
        Decision { allowed, rule }
    }

    fn judge(&self, action: Action, topic: &str) -> Verdict<'_> {
        if self.superuser {
            return Verdict::Superuser;
        }
        match action {
            Action::Publish => self.publish.judge(|filter| topic::matches(filter, topic)),
            Action::Deliver => self.subscribe.judge(|filter| topic::matches(filter, topic)),
            Action::Unsubscribe => Verdict::Unsubscribe,
            Action::Subscribe => match topic::Filter::parse(topic) {
                Ok(wanted) => self
                    .subscribe
                    .judge(|filter| cover::covers(filter, wanted.filter)),
                Err(_) => Verdict::NoRule,
            },
        }
    }
}

enum Verdict<'a> {
    Superuser,
    Unsubscribe,
    Allowed(&'a Rule),
    Denied(&'a Rule),
    NoRule,
}

impl Direction {
    fn judge(&self, fits: impl Fn(&str) -> bool) -> Verdict<'_> {
        if let Some(rule) = self.deny.iter().find(|rule| fits(&rule.filter)) {
            return Verdict::Denied(rule);
        }
        match self.allow.iter().find(|rule| fits(&rule.filter)) {
            Some(rule) => Verdict::Allowed(rule),
            None => Verdict::NoRule,
        }
    }
}

impl Rule {
    fn described(&self, list: &str) -> String {
        let pattern = self.pattern.as_ref().unwrap_or(&self.filter);
        let (origin, list) = match (self.origin, list) {
            (Origin::TokenClaim, list) => ("token claim", list),
            (Origin::TokenScope, "pub") => ("token scope", "publish"),
            (Origin::TokenScope, _) => ("token scope", "subscribe"),
            (Origin::HttpAnswer, list) => ("HTTP answer", list),
        };
        format!("{origin}, {list} {pattern}")
    }
}

/// Makes rules of patterns, for one client.
struct Compiler<'a> {
    origin: Origin,
    client: &'a Client<'a>,
    rules_left: usize,
    bytes_left: usize,
}

impl<'a> Compiler<'a> {
    const fn new(origin: Origin, client: &'a Client<'a>) -> Self {
        Self {
            origin,
            client,
            rules_left: RULES_MAX,
            bytes_left: RULES_BYTES_MAX,
        }
    }

    fn deny(&mut self, pattern: &str) -> Result<Rule, RulesFault> {
        self.allow(pattern)?
            .ok_or_else(|| RulesFault::Deny(pattern.to_owned()))
    }

    /// A rule, or `None` if the pattern cannot be filled in for this client.
    fn allow(&mut self, pattern: &str) -> Result<Option<Rule>, RulesFault> {
        if !topic::is_filter(pattern) {
            return Err(RulesFault::Filter(pattern.to_owned()));
        }
        let Some(filter) = self.filled_in(pattern) else {
            return Ok(None);
        };
        // Control characters aside, a value can only have made it too long.
        if !topic::is_filter(&filter) {
            return Err(RulesFault::Filter(pattern.to_owned()));
        }
        self.rules_left = self.rules_left.checked_sub(1).ok_or(RulesFault::TooMany)?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(filter.len())
            .ok_or(RulesFault::TooMany)?;
        Ok(Some(Rule {
            pattern: matches!(filter, Cow::Owned(_)).then(|| pattern.into()),
            filter: filter.into(),
            origin: self.origin,
        }))
    }

    /// Puts values in for `%c` and `%u`, each once: a value with `%u` inside is not looked at again.
    fn filled_in<'p>(&self, pattern: &'p str) -> Option<Cow<'p, str>> {
        if !pattern.contains("%c") && !pattern.contains("%u") {
            return Some(Cow::Borrowed(pattern));
        }
        let mut filter = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('%') {
            filter.push_str(before);
            let (value, tail) = if let Some(tail) = after.strip_prefix('c') {
                (Some(self.client.id), tail)
            } else if let Some(tail) = after.strip_prefix('u') {
                (self.client.user_name, tail)
            } else {
                (Some("%"), after)
            };
            filter.push_str(value.filter(|value| is_level_text(value))?);
            rest = tail;
        }
        filter.push_str(rest);
        Some(Cow::Owned(filter))
    }
}

fn is_level_text(value: &str) -> bool {
    !value.is_empty() && !value.contains(['+', '#', '/'])
}

fn texts<'a>(name: &str, list: &'a Value) -> Result<Vec<&'a str>, RulesFault> {
    let fault = || {
        let message = format!("{} is not an array of strings", Quoted(name));
        RulesFault::Form(message)
    };
    let items = list.as_array().ok_or_else(fault)?;
    items
        .iter()
        .map(|item| item.as_str().ok_or_else(fault))
        .collect()
}

/// Rules of one login.
pub const RULES_MAX: usize = 1000;

/// Bytes of all filters of one login.
pub const RULES_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
