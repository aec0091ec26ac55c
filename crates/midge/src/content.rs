//! What `pub` and `rr` publish, and where it comes from.

use std::io::{self, Read as _};
use std::path::PathBuf;

use midge_codec::topic;

use crate::failure::{Failure, plain};
use crate::options::{Id, UsageError, Value};

/// Where the payload comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
    StdinWhole,
    StdinLines,
}

impl Source {
    /// Takes an option that chooses a source; hands any other back.
    pub(crate) fn take(
        chosen: &mut Option<Self>,
        id: Id,
        value: Value,
    ) -> Result<Option<Value>, UsageError> {
        let source = match id {
            Id::Message => Self::Bytes(value.into_bytes()),
            Id::File => Self::File(value.into_os_string().into()),
            Id::Lines => Self::StdinLines,
            Id::StdinFile => Self::StdinWhole,
            Id::NullMessage => Self::Bytes(Vec::new()),
            _ => return Ok(Some(value)),
        };
        if chosen.replace(source).is_some() {
            return Err("Only one type of message can be sent at once.".into());
        }
        Ok(None)
    }

    /// The whole payload; `None` for one that comes in lines.
    pub(crate) fn load(&self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Bytes(bytes) => Ok(Some(bytes.clone())),
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|error| {
                    let (path, why) = (path.display(), plain(&error));
                    Failure::File {
                        option: Id::File,
                        text: format!("Unable to open file \"{path}\": {why}."),
                    }
                })?;
                Ok(Some(bytes))
            }
            Self::StdinWhole => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes)?;
                if bytes.is_empty() {
                    // With -r, what a command that failed did not print would remove a message.
                    return Err(Failure::Other(
                        "Zero length input. Nothing came on the standard input; -n publishes an empty message."
                            .to_owned(),
                    ));
                }
                Ok(Some(bytes))
            }
            Self::StdinLines => Ok(None),
        }
    }
}

/// Reads the operand of `-t`, or the topic of a URL, for publishing.
pub(crate) fn publish_topic(name: String) -> Result<String, UsageError> {
    if topic::is_name(&name) {
        return Ok(name);
    }
    Err(UsageError(format!(
        "Invalid publish topic '{}', does it contain '+' or '#'?",
        shown(&name)
    )))
}

/// A topic in a message: of a long one the beginning, and nothing that would steer a terminal.
pub(crate) fn shown(name: &str) -> String {
    const LETTERS_MAX: usize = 200;
    let mut letters = name.chars();
    let mut text: String = letters
        .by_ref()
        .take(LETTERS_MAX)
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    if letters.next().is_some() {
        text.push_str(&format!("… ({} bytes)", name.len()));
    }
    text
}
