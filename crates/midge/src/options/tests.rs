use super::*;

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
    for command in [PUB, SUB, RR, TOP, CTRL, P2P, FAN_OUT, FAN_IN] {
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
    for command in [PUB, SUB, RR, TOP, CTRL, P2P, FAN_OUT, FAN_IN] {
        let help = command.help();
        for option in command.all_options() {
            assert!(help.contains(&option.names.join(", ")), "{:?}", option.id);
        }
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
