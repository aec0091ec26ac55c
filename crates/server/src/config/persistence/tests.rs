use std::num::NonZeroU32;

use super::*;
use crate::config::{CommandLine, Config, ConfigErrors};

type Variables<'a> = &'a [(&'a str, &'a str)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Root,
    Other,
}

/// Gives `run` an environment of these variables.
fn within<T>(variables: Variables<'_>, user: User, run: impl FnOnce(&Environment<'_>) -> T) -> T {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    run(&Environment::new(&variable, user == User::Root))
}

fn without_file(variables: Variables<'_>, user: User) -> Config {
    within(variables, user, |environment| {
        Config::without_file_in(environment, &CommandLine::default())
    })
}

/// Checks where the state is kept when there is no file.
#[track_caller]
fn check_without_file(variables: Variables<'_>, user: User, location: &str) {
    let config = without_file(variables, user);
    assert_eq!(
        config.general.persistence,
        Some(Persistence::below(location))
    );
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

/// Loads a file with this text.
fn load(variables: Variables<'_>, text: &str) -> Result<Config, ConfigErrors> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("m.conf");
    std::fs::write(&file, text).expect("written");
    within(variables, User::Other, |environment| {
        Config::load_in(environment, &file, &CommandLine::default())
    })
}

fn parse(text: &str) -> Config {
    Config::parse(text, "t.conf").expect("sound")
}

fn persistence(text: &str) -> Persistence {
    parse(text).general.persistence.expect("on")
}

/// Checks that `text` has one fault, in these words and with this way out.
#[track_caller]
fn check_fault(text: &str, message: &str, way_out: &str) {
    let errors = Config::parse(text, "t.conf").expect_err(text);
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines, [message, way_out], "{text:?}");
}

#[test]
fn without_a_file_the_state_is_in_the_directory_that_systemd_gives() {
    let given = [
        ("STATE_DIRECTORY", "/var/lib/mq"),
        ("XDG_STATE_HOME", "/users/ann/state"),
        ("HOME", "/users/ann"),
    ];
    check_without_file(&given, User::Other, "/var/lib/mq");
    check_without_file(&given, User::Root, "/var/lib/mq");
    let several = [("STATE_DIRECTORY", "/var/lib/mq:/var/lib/other")];
    check_without_file(&several, User::Other, "/var/lib/mq");
}

#[test]
fn without_a_file_the_state_of_root_is_in_var_lib() {
    check_without_file(&[], User::Root, "/var/lib/midge");
    let home = [("HOME", "/admin"), ("XDG_STATE_HOME", "/admin/state")];
    check_without_file(&home, User::Root, "/var/lib/midge");
}

#[test]
fn without_a_file_the_state_of_others_is_in_their_home() {
    let xdg = [
        ("XDG_STATE_HOME", "/users/ann/state"),
        ("HOME", "/users/ann"),
    ];
    check_without_file(&xdg, User::Other, "/users/ann/state/midge");
    let home = [("HOME", "/users/ann")];
    check_without_file(&home, User::Other, "/users/ann/.local/state/midge");
}

#[test]
fn directories_that_are_empty_or_relative_do_not_count() {
    let relative = [
        ("STATE_DIRECTORY", "state"),
        ("XDG_STATE_HOME", "state"),
        ("HOME", "/users/ann"),
    ];
    check_without_file(&relative, User::Other, "/users/ann/.local/state/midge");
    let empty = [
        ("MOSQUITTO_PERSISTENCE_LOCATION", ""),
        ("STATE_DIRECTORY", ""),
        ("XDG_STATE_HOME", ""),
        ("HOME", "/users/ann"),
    ];
    check_without_file(&empty, User::Other, "/users/ann/.local/state/midge");
    let leading = [("STATE_DIRECTORY", ":/b"), ("HOME", "/users/ann")];
    check_without_file(&leading, User::Other, "/users/ann/.local/state/midge");
}

#[test]
fn a_location_in_the_environment_counts_without_a_file_too() {
    let variables = [
        ("MOSQUITTO_PERSISTENCE_LOCATION", "data"),
        ("STATE_DIRECTORY", "/var/lib/mq"),
    ];
    check_without_file(&variables, User::Root, "data");
}

#[test]
fn without_any_directory_persistence_is_off_and_the_operator_is_told_the_way_out() {
    for variables in [&[][..], &[("HOME", "")][..]] {
        let config = without_file(variables, User::Other);
        assert_eq!(config.general.persistence, None);
        let [note] = &config.notes[..] else {
            panic!("{:?}", config.notes);
        };
        assert_eq!(note.level, NoteLevel::Warning);
        assert_eq!(note.place, None);
        assert!(note.text.starts_with("Warning: Persistence is off"));
        assert!(note.text.contains("'persistence true'"), "{}", note.text);
    }
}

#[test]
fn a_name_that_is_not_utf8_is_a_place_like_any_other() {
    let name = OsStr::from_bytes(b"/var/lib/m\xFFq").to_owned();
    let variable = |wanted: &str| (wanted == "STATE_DIRECTORY").then(|| name.clone());
    let environment = Environment::new(&variable, false);
    let config = Config::without_file_in(&environment, &CommandLine::default());
    let location = config.general.persistence.map(|kept| kept.location);
    assert_eq!(location, Some(PathBuf::from(name.clone())));
}

#[test]
fn a_broker_within_another_program_keeps_nothing_on_disk() {
    assert_eq!(Config::default_local().general.persistence, None);
}

#[test]
fn a_file_has_to_switch_persistence_on() {
    let variables = [
        ("MOSQUITTO_PERSISTENCE_LOCATION", "/data"),
        ("STATE_DIRECTORY", "/var/lib/mq"),
        ("HOME", "/users/ann"),
    ];
    for text in ["", "listener 1883\n", "persistence false\n"] {
        let config = load(&variables, text).expect("sound");
        assert_eq!(config.general.persistence, None, "{text:?}");
        assert!(config.notes.is_empty());
    }
    for text in [
        "persistence true",
        "persistence 1",
        "retained_persistence true",
        "persistence false\npersistence true",
    ] {
        assert_eq!(persistence(text), Persistence::default(), "{text:?}");
    }
    let last = parse("persistence true\npersistence false");
    assert_eq!(last.general.persistence, None);
}

#[test]
fn by_default_the_state_is_in_the_working_directory_and_synced() {
    let default = persistence("persistence true");
    assert_eq!(default.location, Path::new("."));
    assert_eq!(default.file, "mosquitto.db");
    assert_eq!(default.sync, PersistenceSync::Always);
    // As in Mosquitto: the directories of systemd and of the user are not asked.
    let variables = [("STATE_DIRECTORY", "/var/lib/mq"), ("HOME", "/users/ann")];
    let loaded = load(&variables, "persistence true").expect("sound");
    assert_eq!(loaded.general.persistence, Some(default));
}

#[test]
fn the_environment_stands_in_for_a_location_that_the_file_does_not_name() {
    let variables = [("MOSQUITTO_PERSISTENCE_LOCATION", "/data")];
    let location = |text| {
        let config = load(&variables, text).expect("sound");
        config.general.persistence.expect("on").location
    };
    assert_eq!(location("persistence true"), Path::new("/data"));
    assert_eq!(
        location("persistence true\npersistence_location /var/lib/m"),
        Path::new("/var/lib/m")
    );
}

#[test]
fn a_location_may_end_in_a_slash_or_not() {
    for location in ["/var/lib/mosquitto", "/var/lib/mosquitto/"] {
        // The order of the lines does not matter.
        let kept = persistence(&format!(
            "persistence_location {location}\npersistence true"
        ));
        assert_eq!(kept, Persistence::below("/var/lib/mosquitto"));
        assert_eq!(
            kept.store_directory(),
            Path::new("/var/lib/mosquitto/midge")
        );
        assert_eq!(
            kept.mosquitto_file(),
            Path::new("/var/lib/mosquitto/mosquitto.db")
        );
    }
}

#[test]
fn mosquittos_file_is_looked_for_below_the_location() {
    let path = |location: &str, file: &str| {
        let text =
            format!("persistence true\npersistence_location {location}\npersistence_file {file}\n");
        persistence(&text).mosquitto_file()
    };
    assert_eq!(path("data", "m.db"), Path::new("data/m.db"));
    assert_eq!(path("/a b/", "m 1.db"), Path::new("/a b/m 1.db"));
    assert_eq!(path("/a", "/m.db"), Path::new("/a/m.db"));
    assert_eq!(path("/a", "b/m.db"), Path::new("/a/b/m.db"));
}

#[test]
fn the_promise_is_chosen() {
    let sync =
        |value: &str| persistence(&format!("persistence true\npersistence_sync {value}")).sync;
    let interval =
        |milliseconds| PersistenceSync::Interval(NonZeroU32::new(milliseconds).expect("not zero"));
    assert_eq!(sync("always"), PersistenceSync::Always);
    assert_eq!(sync("os # faster"), PersistenceSync::Os);
    assert_eq!(sync("1"), interval(1));
    assert_eq!(sync("60000"), interval(60_000));
    assert_eq!(sync("100\npersistence_sync 200"), interval(200));
}

#[test]
fn another_promise_is_refused_with_those_that_there_are() {
    for value in [
        "normal",
        "Always",
        "0",
        "-1",
        "60001",
        "5s",
        "1.5",
        "99999999999999999999",
    ] {
        check_fault(
            &format!("persistence_sync {value}"),
            &format!("Error: Invalid 'persistence_sync' value ({value})."),
            " t.conf:1: 'persistence_sync' takes always, os, or milliseconds from 1 to 60000",
        );
    }
    check_fault(
        "persistence maybe",
        "Error: Invalid 'persistence' value (maybe).",
        " t.conf:1: 'persistence' takes true or false",
    );
}

#[test]
fn a_location_and_a_file_are_named_once() {
    for option in ["persistence_location", "persistence_file"] {
        check_fault(
            &format!("{option} a\n{option} a"),
            &format!("Error: Duplicate '{option}' value in configuration."),
            &format!(" t.conf:2: '{option}' may be set once; remove one of the lines"),
        );
    }
}

#[test]
fn a_file_whose_name_is_taken_or_none_is_refused() {
    for name in ["midge", "./midge", "/midge", "midge/"] {
        check_fault(
            &format!("persistence_file {name}\npersistence true"),
            &format!("Error: Invalid 'persistence_file' value ({name})."),
            " t.conf:1: the directory in which Midge keeps its state has that name; give the file \
             another one",
        );
    }
    for name in ["/", "..", "a/..", "."] {
        check_fault(
            &format!("persistence_file {name}\npersistence true"),
            &format!("Error: Invalid 'persistence_file' value ({name})."),
            " t.conf:1: it is the name of a file in persistence_location",
        );
    }
    let off = parse("persistence_file midge");
    assert_eq!(off.general.persistence, None);
}

#[test]
fn what_goes_with_persistence_is_noted_while_it_is_off() {
    let text = "persistence_location /a\npersistence_file b\npersistence_sync os\n";
    let config = parse(text);
    let noted: Vec<_> = config.notes.iter().map(|note| note.text.as_str()).collect();
    let expected = [
        "The 'persistence_location' option is ignored: it has no effect while persistence is off. \
         (t.conf:1)",
        "The 'persistence_file' option is ignored: it has no effect while persistence is off. \
         (t.conf:2)",
        "The 'persistence_sync' option is ignored: it has no effect while persistence is off. \
         (t.conf:3)",
    ];
    assert_eq!(noted, expected);
    assert!(
        config
            .notes
            .iter()
            .all(|note| note.level == NoteLevel::Notice)
    );
    assert_eq!(config.notes[2].place, Some(("t.conf".to_owned(), 3)));
    assert!(parse(&format!("{text}persistence true")).notes.is_empty());
}

#[test]
fn when_to_save_is_accepted_since_saving_goes_on_all_the_time() {
    for switch in ["true", "false"] {
        let text =
            format!("persistence {switch}\nautosave_interval 1800\nautosave_on_changes true\n");
        let config = parse(&text);
        let noted: Vec<_> = config.notes.iter().map(|note| note.text.as_str()).collect();
        let expected = [
            "The 'autosave_interval' option is ignored: what changes is saved as it changes. \
             (t.conf:2)",
            "The 'autosave_on_changes' option is ignored: what changes is saved as it changes. \
             (t.conf:3)",
        ];
        assert_eq!(noted, expected);
    }
    check_fault(
        "autosave_interval often",
        "Error: 'autosave_interval' value not a number.",
        " t.conf:1: 'autosave_interval' takes a whole number from 0 to 2147483647 (less counts as 0)",
    );
    check_fault(
        "autosave_on_changes 2",
        "Error: Invalid 'autosave_on_changes' value (2).",
        " t.conf:1: 'autosave_on_changes' takes true or false",
    );
}

#[test]
fn the_log_can_say_where_the_state_is_and_what_is_promised() {
    let mut kept = Persistence::below("/var/lib/mosquitto/");
    assert_eq!(
        kept.to_string(),
        "/var/lib/mosquitto/midge (on disk before it is acknowledged)"
    );
    kept.sync = PersistenceSync::Os;
    assert!(
        kept.to_string()
            .ends_with("(on disk when the system decides)")
    );
    kept.sync = PersistenceSync::Interval(NonZeroU32::MIN);
    assert!(
        kept.to_string()
            .ends_with("(on disk after 1 ms at the latest)")
    );

    let here = env::current_dir().expect("a working directory");
    let directory = here.join("midge").display().to_string();
    let default = Persistence::default().to_string();
    assert!(default.starts_with(&directory), "{default}");
}
