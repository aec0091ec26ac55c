//! Completions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::words;
use crate::options::{Command, Opt, Values};

type Commands<'a> = [(&'a Command, Option<&'a str>)];

fn options(command: &Command) -> impl Iterator<Item = &'static Opt> {
    command.all_options()
}

/// The first words, and the second words behind each.
fn tree(commands: &Commands<'_>) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut tree = BTreeMap::new();
    for name in ["completions", "help", "manual"] {
        tree.insert(name, Vec::new());
    }
    for (command, _) in commands {
        if let [first, rest @ ..] = words(command).as_slice() {
            tree.entry(*first).or_insert_with(Vec::new).extend(rest);
        }
    }
    tree.insert("completions", vec!["bash", "fish", "zsh"]);
    tree
}

/// The first sentence of a help text, for lists.
fn summary(help: &str) -> &str {
    let end = help.find(". ").or_else(|| help.find(": "));
    help.get(..end.unwrap_or(help.len()))
        .unwrap_or(help)
        .trim_end_matches('.')
}

/// The pattern of a command's words in a `case`, and of the program that it stands in for.
fn pattern(command: &Command, other: Option<&str>) -> String {
    let mut pattern = format!("'{}'", words(command).join(" "));
    if pattern == "'broker'" {
        pattern.push_str("|''");
    }
    if let Some(name) = other {
        let _ = write!(pattern, "|'{name}'");
    }
    pattern
}

pub(super) fn bash(commands: &Commands<'_>) -> String {
    let mut text = String::from(
        "# Completions of midge for bash.\n_midge() {\n    local current=${COMP_WORDS[COMP_CWORD]}\n    \
         local before=${COMP_WORDS[COMP_CWORD-1]}\n    local command=${COMP_WORDS[0]##*/} first=\n    \
         COMPREPLY=()\n    if [[ $command == midge ]]; then\n        command=\n        first=${COMP_WORDS[1]}\n        \
         if (( COMP_CWORD == 1 )) && [[ $current != -* ]]; then\n            COMPREPLY=($(compgen -W '",
    );
    let tree = tree(commands);
    text.push_str(&tree.keys().copied().collect::<Vec<_>>().join(" "));
    text.push_str("' -- \"$current\"))\n            return\n        fi\n        case $first in\n");
    for (first, seconds) in &tree {
        if seconds.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "            {first})\n                if (( COMP_CWORD == 2 )); then\n                    \
             COMPREPLY=($(compgen -W '{}' -- \"$current\"))\n                    return\n                \
             fi\n                command=\"$first ${{COMP_WORDS[2]}}\" ;;\n",
            seconds.join(" ")
        );
    }
    text.push_str("            -*) command='' ;;\n            *) command=$first ;;\n        esac\n    fi\n    case $command in\n");
    for (command, other) in commands {
        let _ = writeln!(
            text,
            "        {})\n            case $before in",
            pattern(command, *other)
        );
        let mut names = Vec::new();
        for option in options(command) {
            names.extend_from_slice(option.names);
            let Some(operand) = option.operand else {
                continue;
            };
            let reply = match operand.values {
                Values::Files => "COMPREPLY=($(compgen -f -- \"$current\"))".to_owned(),
                Values::Of(values) => {
                    format!(
                        "COMPREPLY=($(compgen -W '{}' -- \"$current\"))",
                        values.join(" ")
                    )
                }
                Values::Any => String::new(),
            };
            let space = if reply.is_empty() { "" } else { "; " };
            let _ = writeln!(
                text,
                "                {}) {reply}{space}return ;;",
                option.names.join("|")
            );
        }
        let _ = writeln!(
            text,
            "            esac\n            COMPREPLY=($(compgen -W '{}' -- \"$current\")) ;;",
            names.join(" ")
        );
    }
    text.push_str("    esac\n}\ncomplete -o default -F _midge midge");
    for name in commands.iter().filter_map(|(_, other)| *other) {
        let _ = write!(text, " {name}");
    }
    text.push('\n');
    text
}

/// For a word within single quotes.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

pub(super) fn zsh(commands: &Commands<'_>) -> String {
    let mut text = String::from("#compdef midge");
    for name in commands.iter().filter_map(|(_, other)| *other) {
        let _ = write!(text, " {name}");
    }
    text.push_str(
        "\n# Completions of midge for zsh.\n_midge() {\n    local command=${service:-midge}\n    \
         if [[ $command == midge ]]; then\n        command=\n        if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; \
         then\n            compadd -- ",
    );
    let tree = tree(commands);
    text.push_str(&tree.keys().copied().collect::<Vec<_>>().join(" "));
    text.push_str("\n            return\n        fi\n        case $words[2] in\n");
    for (first, seconds) in &tree {
        if !seconds.is_empty() {
            let _ = write!(
                text,
                "            {first})\n                if (( CURRENT == 3 )); then\n                    compadd \
                 -- {}\n                    return\n                fi\n                command=\"{first} \
                 $words[3]\"\n                shift 2 words; (( CURRENT -= 2 )) ;;\n",
                seconds.join(" ")
            );
        }
    }
    text.push_str(
        "            -*) ;;\n            *)\n                command=$words[2]\n                shift words; (( \
         CURRENT -= 1 )) ;;\n        esac\n    fi\n    case $command in\n",
    );
    for (command, other) in commands {
        let _ = writeln!(
            text,
            "        {})\n            _arguments \\",
            pattern(command, *other)
        );
        for option in options(command) {
            for name in option.names {
                let help = quoted(summary(option.help))
                    .replace('[', "(")
                    .replace(']', ")")
                    .replace(':', " -");
                let action = option.operand.map_or_else(String::new, |operand| {
                    let action = match operand.values {
                        Values::Files => "_files".to_owned(),
                        Values::Of(values) => format!("({})", values.join(" ")),
                        Values::Any => " ".to_owned(),
                    };
                    format!(":{}:{action}", operand.name)
                });
                let _ = writeln!(text, "                '*{name}[{help}]{action}' \\");
            }
        }
        text.push_str("                '*:file:_files' ;;\n");
    }
    text.push_str("    esac\n}\n_midge \"$@\"\n");
    text
}

pub(super) fn fish(commands: &Commands<'_>) -> String {
    let mut text = String::from("# Completions of midge for fish.\n");
    let tree = tree(commands);
    let all: Vec<_> = tree.keys().copied().collect();
    let all = all.join(" ");
    for (first, seconds) in &tree {
        let about = commands
            .iter()
            .find(|(command, _)| words(command) == [*first])
            .map_or("", |(command, _)| summary(command.about));
        let _ = writeln!(
            text,
            "complete -c midge -f -n 'not __fish_seen_subcommand_from {all}' -a {first} -d '{}'",
            about.replace('\'', "\\'")
        );
        if !seconds.is_empty() {
            let _ = writeln!(
                text,
                "complete -c midge -f -n '__fish_seen_subcommand_from {first}; and not \
                 __fish_seen_subcommand_from {0}' -a '{0}'",
                seconds.join(" ")
            );
        }
    }
    for (command, other) in commands {
        let words = words(command);
        let seen: Vec<_> = words
            .iter()
            .map(|word| format!("__fish_seen_subcommand_from {word}"))
            .collect();
        let condition = seen.join("; and ");
        for option in options(command) {
            fish_option(&format!("-c midge -n '{condition}'"), option, &mut text);
            if let Some(name) = other {
                fish_option(&format!("-c {name}"), option, &mut text);
            }
        }
    }
    text
}

fn fish_option(place: &str, option: &Opt, text: &mut String) {
    let _ = write!(text, "complete {place}");
    for name in option.names {
        match name.strip_prefix("--") {
            Some(long) => {
                let _ = write!(text, " -l {long}");
            }
            None => {
                let _ = write!(text, " -s {}", name.trim_start_matches('-'));
            }
        }
    }
    match option.operand.map(|operand| operand.values) {
        None => {}
        Some(Values::Files) => text.push_str(" -r -F"),
        Some(Values::Any) => text.push_str(" -x"),
        Some(Values::Of(values)) => {
            let _ = write!(text, " -x -a '{}'", values.join(" "));
        }
    }
    let _ = writeln!(text, " -d '{}'", summary(option.help).replace('\'', "\\'"));
}
