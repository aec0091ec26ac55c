//! Statement ids such as `MQTT5 3.1.2-8`, written with a hyphen, and the lists of them in `spec/`.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use crate::Outcome;
use crate::source::is_word;
use crate::workspace::Workspace;

/// Which of the two standards numbers a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standard {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

impl Standard {
    /// Both, oldest first.
    pub(crate) const ALL: [Self; 2] = [Self::V311, Self::V5];

    /// How ids begin, up to the hyphen.
    const fn prefix(self) -> &'static str {
        match self {
            Self::V311 => "MQTT311",
            Self::V5 => "MQTT5",
        }
    }

    /// How names of test functions begin, up to the underscore; also the stem of the list's file.
    pub(crate) const fn stem(self) -> &'static str {
        match self {
            Self::V311 => "mqtt311",
            Self::V5 => "mqtt5",
        }
    }

    /// The version as people write it.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

/// The number of one statement, with its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// Whose number it is.
    pub(crate) standard: Standard,
    /// Two or three section numbers.
    sections: Vec<u16>,
    /// The number within the section.
    number: u16,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections: Vec<String> = self.sections.iter().map(u16::to_string).collect();
        write!(
            f,
            "{}-{}-{}",
            self.standard.prefix(),
            sections.join("."),
            self.number
        )
    }
}

impl Id {
    /// Reads an id that is the whole of `text`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, length) = Self::at_start(text)?;
        (length == text.len()).then_some(id)
    }

    /// Reads the id that `text` begins with, and its length.
    fn at_start(text: &str) -> Option<(Self, usize)> {
        let standard = Standard::ALL.into_iter().find(|standard| {
            text.strip_prefix(standard.prefix())
                .is_some_and(|rest| rest.starts_with('-'))
        })?;
        let mut at = standard.prefix().len() + 1;
        let mut sections = Vec::new();
        loop {
            let (number, digits) = leading_number(&text[at..])?;
            sections.push(number);
            at += digits;
            match text.as_bytes().get(at) {
                Some(b'.') if sections.len() < 3 => at += 1,
                Some(b'-') if sections.len() > 1 => break,
                _ => return None,
            }
        }
        at += 1;
        let (number, digits) = leading_number(&text[at..])?;
        let id = Self {
            standard,
            sections,
            number,
        };
        Some((id, at + digits))
    }

    /// Reads the name of a test, `mqtt5_3_1_2_8_what_it_proves`: four numbers and then a word.
    ///
    /// Five numbers name a section instead, and three leave open which one is the statement.
    pub(crate) fn from_test_name(name: &str) -> Option<Self> {
        let (standard, rest) = Standard::ALL.into_iter().find_map(|standard| {
            let rest = name.strip_prefix(standard.stem())?.strip_prefix('_')?;
            Some((standard, rest))
        })?;
        let numbers: Vec<u16> = rest
            .split('_')
            .map_while(|part| part.parse().ok())
            .collect();
        let &[chapter, section, subsection, number] = numbers.as_slice() else {
            return None;
        };
        let sections = vec![chapter, section, subsection];
        Some(Self {
            standard,
            sections,
            number,
        })
    }
}

/// All ids in `text` with their offsets.
pub(crate) fn ids_in(text: &str) -> Vec<(usize, Id)> {
    text.match_indices("MQTT")
        .filter(|(at, _)| !text[..*at].ends_with(is_word))
        .filter_map(|(at, _)| Some((at, Id::at_start(&text[at..])?.0)))
        .collect()
}

/// Offsets of ids that do not say which standard they belong to.
pub(crate) fn ids_without_version(text: &str) -> Vec<usize> {
    const BARE: &str = "MQTT-";
    text.match_indices(BARE)
        .filter(|(at, _)| text[at + BARE.len()..].starts_with(|c: char| c.is_ascii_digit()))
        .map(|(at, _)| at)
        .collect()
}

fn leading_number(text: &str) -> Option<(u16, usize)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, digits))
}

/// Which side must obey a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The server alone.
    Server,
    /// The client alone.
    Client,
    /// Either side.
    Both,
}

/// One row of a list.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Which side must obey.
    pub(crate) who: Who,
    /// Our own short words for it.
    pub(crate) gist: String,
    /// Why no test proves it.
    pub(crate) not_tested: Option<String>,
}

impl Statement {
    /// Whether a server must obey it.
    pub(crate) fn binds_server(&self) -> bool {
        self.who != Who::Client
    }
}

/// The statements of both standards, in the order of their numbers.
pub(crate) type Statements = BTreeMap<Id, Statement>;

/// Reads `spec/mqtt311.toml` and `spec/mqtt5.toml`.
pub(crate) fn read(workspace: &Workspace) -> Outcome<Statements> {
    let mut all = Statements::new();
    for standard in Standard::ALL {
        let path = format!("spec/{}.toml", standard.stem());
        let text = workspace
            .text(&path)
            .ok_or_else(|| format!("{path}: cannot be read"))?;
        let list = parse(&text, standard).map_err(|error| format!("{path}: {error}"))?;
        all.extend(list);
    }
    Ok(all)
}

/// Reads one list; a faulty row is an error that names it.
fn parse(text: &str, standard: Standard) -> Outcome<Statements> {
    let table: Table = text.parse().map_err(|error| format!("{error}"))?;
    table
        .iter()
        .map(|(key, row)| {
            let id = Id::parse(key)
                .filter(|id| id.standard == standard)
                .ok_or_else(|| format!("{key:?} is not an id of MQTT {}", standard.version()))?;
            let statement = parse_row(row).map_err(|error| format!("{key}: {error}"))?;
            Ok((id, statement))
        })
        .collect()
}

fn parse_row(row: &Value) -> Outcome<Statement> {
    let row = row.as_table().ok_or("not a table")?;
    let mut statement = Statement {
        who: Who::Both,
        gist: String::new(),
        not_tested: None,
    };
    let mut has_who = false;
    for (key, value) in row {
        let value = value.as_str().filter(|value| !value.trim().is_empty());
        let value = value.ok_or_else(|| format!("{key} is not a text with words in it"))?;
        match key.as_str() {
            "who" => {
                has_who = true;
                statement.who = match value {
                    "server" => Who::Server,
                    "client" => Who::Client,
                    "both" => Who::Both,
                    other => return Err(format!("who is {other:?}, not server, client or both")),
                };
            }
            "gist" => value.clone_into(&mut statement.gist),
            "not_tested" => statement.not_tested = Some(value.to_owned()),
            other => return Err(format!("unknown key {other:?}")),
        }
    }
    if !has_who || statement.gist.is_empty() {
        return Err("who and gist are both needed".to_owned());
    }
    Ok(statement)
}

#[cfg(test)]
mod tests;
