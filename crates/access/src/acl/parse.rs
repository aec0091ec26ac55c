//! Lines into rules.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use midge_codec::topic;

use crate::lines::{self, LineFaults, shown};

use super::pattern::{Pattern, Wildcards, has_placeholder};
use super::tree::Placeholders;
use super::{Access, Inner, LEVELS_TOTAL_MAX, Rule, RulesError, Section};

/// Most levels of one filter: 200 slashes, as in Mosquitto. No longer topic is ever published.
const LEVELS_MAX: usize = 201;

/// Reads a whole file.
pub(super) fn parse(name: &str, file: &[u8]) -> Result<(Inner, LineFaults), RulesError> {
    let fail = |whole, lines| RulesError {
        file: name.to_owned(),
        whole,
        lines,
    };
    let lines = lines::numbered(file)
        .map_err(|error| fail(Some(error.to_string()), LineFaults::default()))?;
    let mut reader = Reader::new(name);
    let mut faults = LineFaults::default();
    for (number, line) in lines {
        reader.line = number;
        if let Err(fault) = line.and_then(|line| reader.read(line)) {
            faults.push(number, fault);
        }
        if reader.levels > LEVELS_TOTAL_MAX {
            let text = format!(
                "the rules have more than {LEVELS_TOTAL_MAX} levels together; patterns with %c and %u \
                 need no line for each client"
            );
            return Err(fail(Some(text), LineFaults::default()));
        }
    }
    if faults.is_empty() {
        Ok(reader.finish())
    } else {
        Err(fail(None, faults))
    }
}

struct Reader {
    line: usize,
    levels: usize,
    owner: Owner,
    inner: Inner,
    warnings: LineFaults,
    anonymous: Option<u32>,
    users: HashMap<Box<str>, u32>,
    groups: HashMap<Box<str>, Group>,
}

/// Whose rules are being read.
#[derive(Clone, Debug)]
enum Owner {
    Anonymous,
    User(Box<str>),
    Group(Box<str>),
}

struct Group {
    line: usize,
    section: Option<u32>,
    members: BTreeSet<Box<str>>,
}

/// What the words before a filter say.
enum Say {
    Allow(Access),
    Deny(Access),
    DenyLiteral,
}

impl Reader {
    fn new(file: &str) -> Self {
        Self {
            line: 0,
            levels: 0,
            owner: Owner::Anonymous,
            inner: Inner {
                file: file.into(),
                rules: Vec::new(),
                sections: Vec::new(),
                users: HashMap::new(),
                groups: HashMap::new(),
                anonymous: Arc::default(),
                patterns: Section::default(),
                has_patterns: false,
                literal_patterns: Vec::new(),
            },
            warnings: LineFaults::default(),
            anonymous: None,
            users: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Reads a line; an error is what is wrong with it.
    fn read(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with('#') {
            return Ok(());
        }
        let line = trim(line);
        let (word, rest) = next_word(line);
        match word {
            "" => Ok(()),
            "topic" => self.rule(line, rest, Placeholders::Text),
            "pattern" => self.rule(line, rest, Placeholders::Replaced),
            "user" => {
                self.owner = Owner::User(named(rest, "Missing username", "user NAME")?.into());
                Ok(())
            }
            "group" => {
                let name: Box<str> = named(rest, "Missing group name", "group NAME")?.into();
                let line = self.line;
                self.groups.entry(name.clone()).or_insert_with(|| Group {
                    line,
                    section: None,
                    members: BTreeSet::new(),
                });
                self.owner = Owner::Group(name);
                Ok(())
            }
            "member" => self.member(rest),
            _ if word.contains('\t') => {
                Err("Invalid line: words are separated by spaces, and there is a tab".to_owned())
            }
            _ if word.starts_with('#') => Err(
                "Invalid line: a comment begins with # at the very start of the line".to_owned(),
            ),
            _ => Err(format!(
                "Invalid line: '{}' is none of user, topic, pattern, group, member",
                shown(word)
            )),
        }
    }

    fn member(&mut self, rest: Option<&str>) -> Result<(), String> {
        let name = named(rest, "Missing username", "member NAME")?;
        let Owner::Group(group) = &self.owner else {
            return Err("A member stands below the group line that it belongs to".to_owned());
        };
        if let Some(group) = self.groups.get_mut(group) {
            group.members.insert(name.into());
        }
        Ok(())
    }

    /// Reads what follows `topic` or `pattern`.
    fn rule(
        &mut self,
        line: &str,
        rest: Option<&str>,
        placeholders: Placeholders,
    ) -> Result<(), String> {
        let rest = rest.unwrap_or_default().trim_start_matches(' ');
        if rest.is_empty() {
            return Err("Empty topic: write a topic filter after the word".to_owned());
        }
        let (say, filter) = self.words(rest)?;
        if !topic::is_filter(filter) {
            return Err(format!(
                "Invalid ACL topic '{}': + and # stand alone between slashes, and # at the end",
                shown(filter)
            ));
        }
        let levels = topic::levels(filter);
        if levels > LEVELS_MAX {
            return Err(format!(
                "Invalid ACL topic: it has {levels} levels, and {LEVELS_MAX} is the limit"
            ));
        }
        self.levels += levels;
        self.warn_about_placeholders(filter, placeholders);
        let (allows, access) = match say {
            Say::Allow(access) => (true, access),
            Say::Deny(access) => (false, access),
            Say::DenyLiteral => (false, Access::READ),
        };
        let index = u32::try_from(self.inner.rules.len())
            .map_err(|_| "There are more than 4294967295 rules".to_owned())?;
        self.inner.rules.push(Rule {
            line: self.line,
            text: shown(line).into(),
            allows,
            access,
        });
        if matches!(say, Say::DenyLiteral) {
            self.add_literal(filter, placeholders, index);
        } else if placeholders == Placeholders::Replaced {
            self.inner.has_patterns = true;
            let tree = &mut self.inner.patterns.tree;
            tree.insert(filter, placeholders, index, &self.inner.rules);
        } else if let Some(at) = self.section() {
            let Inner {
                rules, sections, ..
            } = &mut self.inner;
            if let Some(section) = sections.get_mut(at) {
                section.tree.insert(filter, placeholders, index, rules);
            }
        }
        Ok(())
    }

    fn add_literal(&mut self, filter: &str, placeholders: Placeholders, index: u32) {
        if placeholders == Placeholders::Text {
            let Some(at) = self.section() else {
                return;
            };
            if let Some(section) = self.inner.sections.get_mut(at) {
                section.literals.entry(filter.into()).or_insert(index);
            }
        } else if has_placeholder(filter) {
            let pattern = Pattern::new(filter, Wildcards::Text);
            self.inner.literal_patterns.push((pattern, index));
        } else {
            let literals = &mut self.inner.patterns.literals;
            literals.entry(filter.into()).or_insert(index);
        }
    }

    /// Takes the words of access off; what is left is the filter.
    fn words<'a>(&mut self, rest: &'a str) -> Result<(Say, &'a str), String> {
        let (word, filter) = next_word(rest);
        let Some(filter) = filter.map(trim).filter(|filter| !filter.is_empty()) else {
            if matches!(word, "read" | "write" | "readwrite" | "deny") {
                self.warnings.push(
                    self.line,
                    format!("this allows to read and write a topic that is called '{word}'"),
                );
            }
            return Ok((Say::Allow(Access::READ_WRITE), word));
        };
        let say = match word {
            "read" => Say::Allow(Access::READ),
            "write" => Say::Allow(Access::WRITE),
            "readwrite" => Say::Allow(Access::READ_WRITE),
            "deny" => {
                let (direction, behind) = next_word(filter);
                let behind = behind.map(trim).filter(|behind| !behind.is_empty());
                return Ok(match (direction, behind) {
                    ("read", Some(filter)) => (Say::Deny(Access::READ), filter),
                    ("write", Some(filter)) => (Say::Deny(Access::WRITE), filter),
                    ("readwrite", Some(filter)) => (Say::Deny(Access::READ_WRITE), filter),
                    ("literal", Some(filter)) => (Say::DenyLiteral, filter),
                    _ => (Say::Deny(Access::READ_WRITE), filter),
                });
            }
            "literal" => {
                return Err(
                    "Invalid topic access type 'literal': only deny literal exists".to_owned(),
                );
            }
            _ => {
                return Err(format!(
                    "Invalid topic access type '{}': it is read, write, readwrite or deny, and a topic \
                     with spaces needs one of them before it",
                    shown(word)
                ));
            }
        };
        Ok((say, filter))
    }

    fn warn_about_placeholders(&mut self, filter: &str, placeholders: Placeholders) {
        let text = match (placeholders, has_placeholder(filter)) {
            (Placeholders::Text, false) => return,
            (Placeholders::Text, true) => {
                "%c and %u are replaced in patterns only; write pattern instead of topic"
            }
            (Placeholders::Replaced, false) => {
                "the pattern has neither %c nor %u, so it says the same for everybody"
            }
            (Placeholders::Replaced, true) => {
                let is_part = |level: &str| level.len() > 2 && has_placeholder(level);
                if !filter.split('/').any(is_part) {
                    return;
                }
                "%c or %u is only a part of its level; it is replaced here and in Mosquitto 2.0, but not \
                 in Mosquitto 2.1"
            }
        };
        self.warnings.push(self.line, text);
    }

    /// The section of the present owner, which is made with its first rule.
    fn section(&mut self) -> Option<usize> {
        let slot = match &self.owner {
            Owner::Anonymous => &mut self.anonymous,
            Owner::User(name) => match self.users.get(name) {
                Some(section) => return usize::try_from(*section).ok(),
                None => &mut None,
            },
            Owner::Group(name) => &mut self.groups.get_mut(name)?.section,
        };
        if let Some(section) = *slot {
            return usize::try_from(section).ok();
        }
        let at = self.inner.sections.len();
        let section = u32::try_from(at).ok()?;
        *slot = Some(section);
        if let Owner::User(name) = &self.owner {
            self.users.insert(name.clone(), section);
        }
        self.inner.sections.push(Section::default());
        Some(at)
    }

    fn finish(mut self) -> (Inner, LineFaults) {
        let users = self.users.into_iter();
        let mut sections: HashMap<Box<str>, Vec<u32>> =
            users.map(|(name, section)| (name, vec![section])).collect();
        for (name, group) in self.groups {
            if group.members.is_empty() {
                let text = format!("group '{}' has no member", shown(&name));
                self.warnings.push(group.line, text);
            }
            let Some(section) = group.section else {
                continue;
            };
            self.inner.groups.insert(name, section);
            for member in group.members {
                sections.entry(member).or_default().push(section);
            }
        }
        self.warnings.list.sort_by_key(|warning| warning.line);
        self.inner.users = sections
            .into_iter()
            .map(|(name, sections)| (name, sections.into()))
            .collect();
        self.inner.anonymous = self.anonymous.into_iter().collect();
        (self.inner, self.warnings)
    }
}

/// The first word, and what follows the space behind it.
fn next_word(text: &str) -> (&str, Option<&str>) {
    match text.split_once(' ') {
        Some((word, rest)) => (word, Some(rest)),
        None => (text, None),
    }
}

/// The name behind a keyword.
fn named<'a>(rest: Option<&'a str>, missing: &str, form: &str) -> Result<&'a str, String> {
    let name = trim(rest.unwrap_or_default());
    if name.is_empty() {
        return Err(format!("{missing}: the line is {form}"));
    }
    Ok(name)
}

/// Without the white space of C at either end.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}
