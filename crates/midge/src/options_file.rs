//! Files with options, which the client tools read before their command lines.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::failure::plain;
use crate::options::UsageError;

/// The options of the file that `-o` names, or of the one that is usual for `tool`, such as
/// `mosquitto_pub`; none if that is not there.
pub(crate) fn read(args: &[OsString], tool: &str) -> Result<Vec<OsString>, UsageError> {
    let text = match named(args)? {
        Some(path) => std::fs::read_to_string(&path).map_err(|error| {
            let (path, error) = (path.display(), plain(&error));
            UsageError(format!("Unable to open options file {path}: {error}."))
        })?,
        // Not being there is what it mostly is.
        None => usual(tool)
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default(),
    };
    Ok(options(&text))
}

/// What `-o` names.
fn named(args: &[OsString]) -> Result<Option<PathBuf>, UsageError> {
    let mut found = None;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "-o" {
            let Some(path) = rest.next() else {
                return Err("-o argument given but no options file specified.".into());
            };
            if found.replace(PathBuf::from(path)).is_some() {
                return Err("Duplicate -o argument given.".into());
            }
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

/// The options of a file: one to a line, its value behind a space; `#` begins a comment.
pub(crate) fn options(text: &str) -> Vec<OsString> {
    let mut args = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        // What surrounds a value may be meant.
        let line = line.trim_start_matches(' ').trim_end_matches('\r');
        let Some((option, value)) = line.split_once(' ') else {
            args.push(line.into());
            continue;
        };
        args.push(option.into());
        if matches!(option, "-D" | "--property") {
            push_words(value, &mut args);
        } else if !value.is_empty() {
            args.push(value.into());
        }
    }
    args
}

/// The operands of `-D`: words, the last of which goes on to the end of the line.
fn push_words(value: &str, args: &mut Vec<OsString>) {
    let mut rest = value;
    for _ in 0..2 {
        if let Some((word, behind)) = rest.split_once(' ') {
            args.push(word.into());
            rest = behind;
        }
    }
    let is_pair = args
        .last()
        .is_some_and(|name| name == OsStr::new("user-property"));
    match rest.split_once(' ') {
        Some((name, value)) if is_pair => args.extend([name.into(), value.into()]),
        _ => args.push(rest.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(options(text), expected);
    }

    #[test]
    fn one_file_can_be_named() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(named(&args("-t a")), Ok(None));
        assert_eq!(named(&args("-o f -t a")), Ok(Some("f".into())));
        let twice = Err("Duplicate -o argument given.".into());
        assert_eq!(named(&args("-o f -o g")), twice);
        let missing = Err("-o argument given but no options file specified.".into());
        assert_eq!(named(&args("-t a -o")), missing);
        let UsageError(text) = read(&args("-o /nowhere/o"), "mosquitto_pub").unwrap_err();
        assert_eq!(
            text,
            "Unable to open options file /nowhere/o: No such file or directory."
        );
    }
}
