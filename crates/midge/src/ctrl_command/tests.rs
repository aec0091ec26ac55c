use super::*;

fn read(line: &str) -> Settings {
    let args = line.split_whitespace().map(OsString::from).collect();
    match settings(args).unwrap() {
        Read::Settings(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_speaks_5_0_with_qos_1_unless_told() {
    // An options file that is there and empty, whatever this user has.
    let settings = read("-o /dev/null");
    assert_eq!(settings.connect.version, Version::V5);
    assert_eq!(settings.qos, QoS::AtLeastOnce);
    let settings = read("-o /dev/null -V 311 -q 2 -f x.json");
    assert_eq!(settings.connect.version, Version::V3_1_1);
    assert_eq!(settings.qos, QoS::ExactlyOnce);
    assert_eq!(
        settings.data_file.as_deref(),
        Some(std::path::Path::new("x.json"))
    );
}

#[test]
fn the_command_line_counts_more_than_the_options_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "# mine\n-h broker.example\n\n-u ann\n-P my pass word\n-p 1884\n",
    )
    .unwrap();
    let settings = read(&format!("-o {} -p 1885", file.path().display()));
    let connect = &settings.connect;
    assert_eq!(connect.host, "broker.example");
    assert_eq!(connect.port(), 1885);
    assert_eq!(connect.user_name.as_deref(), Some("ann"));
    assert_eq!(connect.password.as_deref(), Some(&b"my pass word"[..]));
}

#[test]
fn an_options_file_that_is_not_there_is_told() {
    let args = vec!["-o".into(), "/nowhere/o".into()];
    let UsageError(text) = settings(args).unwrap_err();
    let first = text.lines().next();
    assert_eq!(
        first,
        Some("Unable to open options file /nowhere/o: No such file or directory.")
    );
}

#[test]
fn a_fault_in_an_options_file_is_told_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# mine\n-h h\n-p x\n").unwrap();
    let path = file.path().display().to_string();
    let UsageError(text) = settings(vec!["-o".into(), path.clone().into()]).unwrap_err();
    assert_eq!(
        text,
        format!("Invalid port given: x\nThis is line 3 of {path}.")
    );
}

#[test]
fn options_end_where_the_module_stands() {
    let args: Vec<OsString> = [
        "-p",
        "1",
        "--quiet",
        "dynsec",
        "createClient",
        "u",
        "-p",
        "pw",
    ]
    .map(OsString::from)
    .to_vec();
    let (options, words) = options::CTRL.split_operands(args);
    assert_eq!(options, ["-p", "1", "--quiet"]);
    assert_eq!(words, ["dynsec", "createClient", "u", "-p", "pw"]);
}
