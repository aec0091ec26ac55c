//! Files, and directories of them.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A directory with the files given.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    }
    directory
}

fn load(directory: &TempDir, text: &str) -> Result<Config, ConfigErrors> {
    let path = directory.path().join("main.conf");
    let text = text.replace("DIR", &directory.path().display().to_string());
    fs::write(&path, text).expect("written");
    Config::load(&path, &CommandLine::default())
}

#[test]
fn included_files_are_read_in_order_where_they_are_included() {
    let directory = directory(&[
        ("d/b.conf", "sys_interval 2\n"),
        ("d/B.conf", "sys_interval 1\nmax_keepalive 1\n"),
        ("d/notes.txt", "nonsense\n"),
    ]);
    let config = load(
        &directory,
        "sys_interval 9\ninclude_dir DIR/d\nmax_keepalive 7\n",
    )
    .expect("sound");
    assert_eq!(config.general.sys_interval_secs, NonZeroU16::new(2));
    assert_eq!(config.general.max_keepalive_secs, NonZeroU16::new(7));
    let loaded = notes(&config);
    assert_eq!(loaded.len(), 2, "{loaded:?}");
    assert!(loaded[0].starts_with("Loading config file '") && loaded[0].contains("B.conf"));
    assert_eq!(config.notes[0].level, NoteLevel::Information);
}

#[test]
fn each_file_has_its_own_place() {
    let included = [("d/a.conf", "listener 2\nmax_qos 1\n")];
    let config = load(
        &directory(&included),
        "listener 1\ninclude_dir DIR/d\nmax_connections 5\n",
    )
    .expect("sound");
    let connections: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.settings.max_connections.is_some())
        .collect();
    assert_eq!(connections, [true, false]);

    let orphan = [("d/a.conf", "\nmount_point a\n")];
    let errors = load(&directory(&orphan), "listener 1\ninclude_dir DIR/d\n").expect_err("refused");
    let error = &errors.errors()[0];
    assert!(error.file.ends_with("a.conf"), "{error:?}");
    assert_eq!(error.line, 2);
    assert!(error.message.contains("requires a listener"));
}

#[test]
fn only_the_main_file_may_include() {
    let files = [("d/a.conf", "include_dir /etc\n")];
    let errors = load(&directory(&files), "include_dir DIR/d\n").expect_err("refused");
    let expected = "Error: The include_dir option is only valid in the main configuration file.";
    assert_eq!(errors.errors()[0].message, expected);
}

#[test]
fn a_missing_directory_is_told_with_the_line_that_names_it() {
    let errors = load(&directory(&[]), "\ninclude_dir DIR/none\n").expect_err("refused");
    let error = &errors.errors()[0];
    assert!(
        error
            .message
            .starts_with("Error: Unable to open include_dir '"),
        "{error:?}"
    );
    assert_eq!(error.line, 2);
    assert!(error.file.ends_with("main.conf"));
}

#[test]
fn a_missing_file_or_a_directory_is_refused() {
    let directory = directory(&[]);
    let check = |path: &Path, message: String| {
        let errors = Config::load(path, &CommandLine::default()).expect_err("refused");
        let [error] = errors.errors() else {
            panic!("{errors}");
        };
        assert_eq!((error.line, &error.message), (0, &message));
        assert_eq!(errors.exit_code(), 3);
        assert_eq!(errors.to_string().lines().count(), 2);
    };
    let missing = directory.path().join("missing.conf");
    check(
        &missing,
        format!("Error: Unable to open config file '{}'.", missing.display()),
    );
    let path = directory.path();
    check(
        path,
        format!("Error: Config file '{}' is a directory.", path.display()),
    );
}

#[test]
fn a_directory_among_the_included_files_is_refused() {
    let files = [("d/a.conf/x", "")];
    let errors = load(&directory(&files), "include_dir DIR/d\n").expect_err("refused");
    assert!(
        errors.errors()[0].message.ends_with("is a directory."),
        "{errors}"
    );
}

#[test]
fn per_listener_settings_must_come_before_options_of_included_files_too() {
    let files = [("d/a.conf", "allow_anonymous true\n")];
    let errors = load(
        &directory(&files),
        "include_dir DIR/d\nper_listener_settings true\n",
    )
    .expect_err("refused");
    assert!(
        errors.errors()[0].message.contains("must be set before"),
        "{errors}"
    );
}

#[test]
fn a_directory_included_twice_defines_its_listeners_twice() {
    let files = [("d/a.conf", "listener 1883\n")];
    let errors =
        load(&directory(&files), "include_dir DIR/d\ninclude_dir DIR/d\n").expect_err("refused");
    assert!(
        errors.errors()[0].message.contains("Duplicate 'listener'"),
        "{errors}"
    );
}
