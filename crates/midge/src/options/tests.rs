use super::*;
use crate::completions_command::COMMANDS;

fn args(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

#[track_caller]
fn check(command: &Command, line: &str, expected: Result<&[(Id, &str)], &str>) {
    let read: Result<Vec<_>, _> = command.parse(args(line)).collect();
    let expected = expected
        .map(|list| {
            list.iter()
                .map(|(id, text)| (*id, Value::from(OsString::from(text))))
                .collect()
        })
        .map_err(UsageError::from);
    assert_eq!(read, expected, "{line}");
}

#[test]
fn short_and_long_spellings_are_one_option() {
    check(
        &PUB,
        "-t a --topic b --retain -r",
        Ok(&[
            (Id::Topic, "a"),
            (Id::Topic, "b"),
            (Id::Retain, ""),
            (Id::Retain, ""),
        ]),
    );
}

#[test]
fn a_value_may_look_like_an_option() {
    check(&PUB, "-m -t", Ok(&[(Id::Message, "-t")]));
}

#[test]
fn faults_are_told_in_the_words_of_the_mosquitto_tools() {
    check(&PUB, "-z", Err("Unknown option '-z'."));
    check(&PUB, "-t a extra", Err("Unknown option 'extra'."));
    check(&PUB, "-p1883", Err("Unknown option '-p1883'."));
    check(&SUB, "-m x", Err("Unknown option '-m'."));
    check(&SUB, "-r", Err("Unknown option '-r'."));
    check(&SUB, "-C", Err("-C argument given but no count specified."));
    check(
        &PUB,
        "-V",
        Err("--protocol-version argument given but no version specified."),
    );
    check(
        &PUB,
        "-M",
        Err("-M argument given but max_inflight not specified."),
    );
}

#[test]
fn no_table_spells_two_options_alike() {
    for (command, _) in COMMANDS {
        let mut names: Vec<_> = command
            .all_options()
            .flat_map(|option| option.names)
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{}", command.name);
    }
}

#[test]
fn help_shows_every_option_within_a_hundred_columns() {
    for (command, other) in COMMANDS {
        let help = command.help_as(other.unwrap_or(command.name));
        for option in command.all_options() {
            assert!(help.contains(&option.names.join(", ")), "{:?}", option.id);
        }
        let long = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{}", command.name);
    }
}

#[test]
fn usages_and_examples_name_options_that_there_are() {
    for (command, _) in COMMANDS {
        let examples = command.examples.iter().map(|(line, _)| *line);
        let words = std::iter::once(command.usage)
            .chain(examples)
            .flat_map(|line| line.split([' ', '[', ']', '{', '}', '|', '\n']));
        for word in words.filter(|word| word.len() > 1 && word.starts_with('-')) {
            assert!(
                command.find(&word.into()).is_some(),
                "{}: {word}",
                command.name
            );
        }
    }
}

#[test]
fn the_page_about_the_tools_names_options_that_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tools.md");
    let text = std::fs::read_to_string(path).unwrap();
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let names = text.split(|letter| !is_of_name(letter));
    let mut count = 0;
    for name in names.filter(|name| name.starts_with("--") && name.len() > 3) {
        let is_known =
            |(command, _): &(&Command, Option<&str>)| command.find(&name.into()).is_some();
        // What cargo and the tests take.
        let is_of_others = ["--release", "--features", "--group", "--into"].contains(&name);
        assert!(is_of_others || COMMANDS.iter().any(is_known), "{name}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}
