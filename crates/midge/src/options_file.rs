//! Files with options, which the client tools read before their command lines.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::failure::plain;
use crate::options::{Command, Id, UsageError, Value};

/// The options of a file, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OptionsFile {
    path: PathBuf,
    /// The arguments of each line that has some, with its number from 1.
    lines: Vec<(usize, Vec<OsString>)>,
}

/// Where an option stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
}

/// Which options come from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins(Vec<(Id, Place)>);

impl OptionsFile {
    /// Reads the file that `-o` names in `args`, or the one that is usual for `tool`, such as `mosquitto_pub`;
    /// without a line if that is not there.
    ///
    /// # Errors
    /// The file that `-o` names cannot be read, or it names two.
    pub(crate) fn read(
        command: &Command,
        args: &[OsString],
        tool: &str,
    ) -> Result<Self, UsageError> {
        let (path, text) = match named(command, args)? {
            Some(path) => match std::fs::read(&path) {
                Ok(text) => (path, text),
                Err(error) => {
                    let (path, error) = (path.display(), plain(&error));
                    return Err(UsageError(format!(
                        "Unable to open options file {path}: {error}.\n-o names a file with an option and \
                         its value in each line."
                    )));
                }
            },
            // Not being there is what it mostly is.
            None => match usual(tool).map(|path| (std::fs::read(&path), path)) {
                Some((Ok(text), path)) => (path, text),
                _ => return Ok(Self::default()),
            },
        };
        let lines = lines(&text);
        Ok(Self { path, lines })
    }

    /// The options in their order, each with its place. A line's last option does not take its value from
    /// the next line.
    pub(crate) fn options<'a>(
        &'a self,
        command: &'a Command,
    ) -> impl Iterator<Item = (Option<Place>, Result<(Id, Value), UsageError>)> + 'a {
        self.lines.iter().flat_map(move |(line, args)| {
            command.parse(args.iter().cloned()).map(|option| {
                let path = self.path.clone();
                (Some(Place { path, line: *line }), option)
            })
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.path.display())
    }
}

impl Place {
    /// A fault of this option, with where it stands.
    pub(crate) fn add_to(place: Option<&Self>, UsageError(text): UsageError) -> UsageError {
        match place {
            Some(place) => UsageError(format!("{text}\nThis is {place}.")),
            None => UsageError(text),
        }
    }
}

impl Origins {
    /// An option was read; from a file if it has a place. The last one counts.
    pub(crate) fn note(&mut self, id: Id, place: Option<Place>) {
        self.0.retain(|(known, _)| *known != id);
        self.0.extend(place.map(|place| (id, place)));
    }

    /// Where the option stands, if it comes from a file.
    pub(crate) fn of(&self, id: Id) -> Option<&Place> {
        let (_, place) = self.0.iter().find(|(known, _)| *known == id)?;
        Some(place)
    }
}

/// What `-o` names. A fault before it is told when the options are read.
fn named(command: &Command, args: &[OsString]) -> Result<Option<PathBuf>, UsageError> {
    let mut found = None;
    for (id, value) in command.parse(args.iter().cloned()).map_while(Result::ok) {
        let is_second = id == Id::OptionsFile
            && found
                .replace(PathBuf::from(value.into_os_string()))
                .is_some();
        if is_second {
            return Err("Duplicate -o argument given.".into());
        }
    }
    Ok(found)
}

fn usual(tool: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = match set("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&set("HOME")?).join(".config"),
    };
    Some(folder.join(tool))
}

/// The lines of a file that have options: an option in each, its value behind a space; `#` begins a comment.
fn lines(text: &[u8]) -> Vec<(usize, Vec<OsString>)> {
    let numbered = text.split(|byte| *byte == b'\n').zip(1..);
    let has_option = |line: &[u8]| !line.starts_with(b"#") && !line.trim_ascii().is_empty();
    numbered
        .filter(|(line, _)| has_option(line))
        .map(|(line, number)| (number, arguments(line)))
        .collect()
}

/// An option and its value. What surrounds the value may be meant.
fn arguments(line: &[u8]) -> Vec<OsString> {
    let mut line = line;
    while let Some(rest) = line.strip_prefix(b" ") {
        line = rest;
    }
    while let Some(rest) = line.strip_suffix(b"\r") {
        line = rest;
    }
    let Some((option, value)) = split(line) else {
        return vec![owned(line)];
    };
    let mut args = vec![owned(option)];
    if matches!(option, b"-D" | b"--property") {
        push_words(value, &mut args);
    } else if !value.is_empty() {
        args.push(owned(value));
    }
    args
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Cuts at the first space.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    let (word, rest) = text.split_at(at);
    Some((word, rest.get(1..)?))
}

/// The operands of `-D`: words, the last of which goes on to the end of the line.
fn push_words(value: &[u8], args: &mut Vec<OsString>) {
    let mut rest = value;
    for _ in 0..2 {
        if let Some((word, behind)) = split(rest) {
            args.push(owned(word));
            rest = behind;
        }
    }
    let is_pair = args
        .last()
        .is_some_and(|name| name.eq_ignore_ascii_case("user-property"));
    match split(rest) {
        Some((name, value)) if is_pair => args.extend([owned(name), owned(value)]),
        _ => args.push(owned(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::PUB;

    #[test]
    fn a_line_is_an_option_and_its_value() {
        let text = "# mine\n-h broker.example\n\n-P my pass word\r\n-d\n-D publish content-type a b\n\
                    --property publish user-property n a b\n";
        let expected = [
            "-h",
            "broker.example",
            "-P",
            "my pass word",
            "-d",
            "-D",
            "publish",
            "content-type",
            "a b",
            "--property",
            "publish",
            "user-property",
            "n",
            "a b",
        ];
        let found: Vec<_> = lines(text.as_bytes())
            .into_iter()
            .flat_map(|(_, args)| args)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_takes_no_value_from_the_next_and_any_bytes() {
        let text = b"-h\n# -t\r\n   -P \xff \r\n\n-m";
        let found = lines(text);
        assert_eq!(
            found,
            [
                (1, vec!["-h".into()]),
                (3, vec!["-P".into(), owned(b"\xff ")]),
                (5, vec!["-m".into()]),
            ]
        );
        let file = OptionsFile {
            path: "conf/mosquitto_pub".into(),
            lines: found,
        };
        let (place, option) = file.options(&PUB).next().unwrap();
        let UsageError(text) = Place::add_to(place.as_ref(), option.unwrap_err());
        assert_eq!(
            text,
            "-h argument given but no host specified.\n\
             This is line 1 of conf/mosquitto_pub."
        );
    }

    #[test]
    fn what_comes_last_says_where_an_option_is_from() {
        let place = |line| Place {
            path: "o".into(),
            line,
        };
        let mut origins = Origins::default();
        origins.note(Id::CaFile, Some(place(1)));
        origins.note(Id::CaFile, Some(place(2)));
        origins.note(Id::Key, Some(place(3)));
        origins.note(Id::Key, None);
        assert_eq!(origins.of(Id::CaFile), Some(&place(2)));
        assert_eq!(origins.of(Id::Key), None);
    }

    #[test]
    fn one_file_can_be_named() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let named = |line: &str| named(&PUB, &args(line));
        assert_eq!(named("-t a"), Ok(None));
        assert_eq!(named("-o f -t a"), Ok(Some("f".into())));
        // The text of a message, and a fault that is told later.
        assert_eq!(named("-t a -m -o"), Ok(None));
        assert_eq!(named("-t a -o"), Ok(None));
        let twice = Err("Duplicate -o argument given.".into());
        assert_eq!(named("-o f -o g"), twice);
        let read = OptionsFile::read(&PUB, &args("-o /nowhere/o"), "mosquitto_pub");
        let UsageError(text) = read.unwrap_err();
        let first = text.lines().next();
        assert_eq!(
            first,
            Some("Unable to open options file /nowhere/o: No such file or directory.")
        );
    }
}
