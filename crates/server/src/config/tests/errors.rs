//! What is refused, in which words, and where.

use proptest::prelude::*;

use super::*;

fn errors(text: &str) -> ConfigErrors {
    match Config::parse(text, "t.conf") {
        Ok(config) => panic!("{text:?} is accepted: {config:?}"),
        Err(errors) => errors,
    }
}

/// Checks that `text` has one fault, in the line and with the words given, and status 3.
#[track_caller]
fn check(text: &str, line: u32, message: &str) {
    let errors = errors(text);
    let [error] = errors.errors() else {
        panic!("{text:?} has other than one fault:\n{errors}");
    };
    assert_eq!(
        (error.line, error.message.as_str()),
        (line, message),
        "{text:?}"
    );
    assert_eq!(error.file, "t.conf");
    assert!(!error.hint.is_empty());
    assert_eq!(errors.exit_code(), 3);
}

#[test]
fn an_error_is_mosquittos_words_then_place_and_way_out() {
    let shown = errors("\nlisenter 1883\n").to_string();
    let expected = "Error: Unknown configuration variable 'lisenter'.\n \
                    t.conf:2: did you mean 'listener'?";
    assert_eq!(shown, expected);
    let lines: Vec<_> = errors("max_keepalive 70000").lines().collect();
    let expected = [
        "Error: Invalid 'max_keepalive' value (70000).",
        " t.conf:1: 'max_keepalive' takes a whole number from 0 to 65535",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn unknown_names_are_refused() {
    check(
        "nonsense 1",
        1,
        "Error: Unknown configuration variable 'nonsense'.",
    );
    check(
        "Port 1883",
        1,
        "Error: Unknown configuration variable 'Port'.",
    );
    check(
        "port=1883",
        1,
        "Error: Unknown configuration variable 'port=1883'.",
    );
    check(
        "plugin_optx 1",
        1,
        "Error: Unknown configuration variable 'plugin_optx'.",
    );
    check(
        "plugin_opt_* 1",
        1,
        "Error: The 'plugin_opt_*' option requires plugin/global_plugin/plugin_load to be defined \
         first.",
    );
    let indented = errors(" # a comment");
    assert_eq!(
        indented.errors()[0].message,
        "Error: Unknown configuration variable '#'."
    );
    assert!(indented.errors()[0].hint.contains("first column"));
}

#[test]
fn missing_values_are_refused() {
    for (option, label) in [
        ("retain_available", "retain_available"),
        ("sys_interval", "sys_interval"),
        ("user", "user"),
        ("user \t ", "user"),
        ("listener", "listener port"),
        ("bind_address", "default listener bind_address"),
        (
            "persistent_client_expiration",
            "persistent_client_expiration",
        ),
        ("persistence", "persistence"),
        ("persistence_location", "persistence_location"),
        ("persistence_file", "persistence_file"),
        ("persistence_sync", "persistence_sync"),
        ("log_dest", "log_dest"),
        ("log_type", "log_type"),
        ("socket_domain", "socket_domain"),
        ("protocol", "protocol"),
        ("queue_overflow", "queue_overflow"),
        ("include_dir", "include_dir"),
    ] {
        check(
            option,
            1,
            &format!("Error: Empty '{label}' value in configuration."),
        );
    }
    check(
        "listener 1\naccept_protocol_versions",
        2,
        "Error: Empty 'accept_protocol_versions' value in configuration.",
    );
    check(
        "listener 1\naccept_protocol_versions , # none",
        2,
        "Error: Empty 'accept_protocol_versions' value in configuration.",
    );
    check(
        "log_dest file",
        1,
        "Error: Empty \"log_dest file\" value in configuration.",
    );
}

#[test]
fn texts_that_mosquitto_takes_once_are_refused_twice() {
    for (option, label) in [
        ("auto_id_prefix a", "auto_id_prefix"),
        ("pid_file a", "pid_file"),
        ("log_timestamp_format %Y", "log_timestamp_format"),
        ("bind_address a", "default listener bind_address"),
        ("bind_interface a", "bind_interface"),
    ] {
        let message = format!("Error: Duplicate '{label}' value in configuration.");
        check(&format!("{option}\n{option}"), 2, &message);
    }
    check(
        "listener 1\nlistener_auto_id_prefix a\nlistener_auto_id_prefix b",
        3,
        "Error: Duplicate 'listener_auto_id_prefix' value in configuration.",
    );
    check(
        "log_dest file a\nlog_dest file b",
        2,
        "Error: Duplicate \"log_dest file\" value.",
    );
}

#[test]
fn wrong_words_are_refused() {
    for (text, message) in [
        (
            "retain_available yes",
            "Error: Invalid 'retain_available' value (yes).",
        ),
        (
            "log_dest printer",
            "Error: Invalid 'log_dest' value (printer).",
        ),
        ("log_type loud", "Error: Invalid 'log_type' value (loud)."),
        (
            "protocol mqttsn",
            "Error: Invalid 'protocol' value (mqttsn).",
        ),
        (
            "socket_domain ipx",
            "Error: Invalid 'socket_domain' value 'ipx' in configuration.",
        ),
        (
            "queue_overflow drop",
            "Error: Invalid 'queue_overflow' value (drop).",
        ),
        (
            "log_timestamp_format %Q",
            "Error: Invalid 'log_timestamp_format' value (%Q).",
        ),
    ] {
        check(text, 1, message);
    }
    check(
        "listener 1\naccept_protocol_versions 3.1.1",
        2,
        "Error: Invalid 'accept_protocol_versions' value (3.1.1).",
    );
    for duration in ["1", "h", "1x", "0d", "-1d", "1.5h", "1 h", "d1", "1h1"] {
        check(
            &format!("persistent_client_expiration {duration}"),
            1,
            "Error: Invalid 'persistent_client_expiration' duration in configuration.",
        );
    }
}

#[test]
fn wrong_numbers_are_refused() {
    for (text, message) in [
        (
            "sys_interval ten",
            "Error: 'sys_interval' value not a number.",
        ),
        (
            "sys_interval 10s",
            "Error: 'sys_interval' value not a number.",
        ),
        (
            "sys_interval 2147483648",
            "Error: 'sys_interval' value out of range.",
        ),
        (
            "sys_interval -1",
            "Error: Invalid 'sys_interval' value (-1).",
        ),
        (
            "sys_interval 65536",
            "Error: Invalid 'sys_interval' value (65536).",
        ),
        (
            "max_keepalive -1",
            "Error: Invalid 'max_keepalive' value (-1).",
        ),
        (
            "max_inflight_messages 65536",
            "Error: 'max_inflight_messages' must be <= 65535.",
        ),
        (
            "max_packet_size 19",
            "Error: 'max_packet_size' must be >= 20.",
        ),
        (
            "max_packet_size 0",
            "Error: 'max_packet_size' must be >= 20.",
        ),
        (
            "max_qos 3",
            "Error: 'max_qos' must be between 0 and 2 inclusive.",
        ),
        (
            "maximum_qos -1",
            "Error: 'max_qos' must be between 0 and 2 inclusive.",
        ),
        (
            "memory_limit -1",
            "Error: Invalid 'memory_limit' value (-1).",
        ),
        (
            "memory_limit 9223372036854775808",
            "Error: 'memory_limit' value out of range.",
        ),
        (
            "message_size_limit 268435456",
            "Error: Invalid 'message_size_limit' value (268435456).",
        ),
        (
            "retain_expiry_interval 0",
            "Error: retain_expiry_interval must be >= 1.",
        ),
        ("log_facility 8", "Error: Invalid 'log_facility' value (8)."),
        (
            "packet_buffer_size 65536",
            "Error: Packet buffer size must be between 0 and 65535 inclusive.",
        ),
        (
            "connect_timeout 0",
            "Error: Invalid 'connect_timeout' value (0).",
        ),
        (
            "worker_threads 1025",
            "Error: Invalid 'worker_threads' value (1025).",
        ),
        (
            "outbox_bytes_max 1",
            "Error: Invalid 'outbox_bytes_max' value (1).",
        ),
        (
            "listen_backlog 0",
            "Error: Invalid 'listen_backlog' value (0).",
        ),
        ("port 0", "Error: Invalid 'port' value (0)."),
        ("port 65536", "Error: Invalid 'port' value (65536)."),
        ("port http", "Error: 'port' value not a number."),
        ("listener 65536", "Error: Invalid 'port' value (65536)."),
        ("listener -1", "Error: Invalid 'port' value (-1)."),
        (
            "listener localhost",
            "Error: 'listener port' value not a number.",
        ),
        (
            "listener 99999999999",
            "Error: 'listener port' value out of range.",
        ),
        (
            "listener 0",
            "Error: A listener with port 0 must provide a Unix socket path.",
        ),
        (
            "listener 0 # x",
            "Error: A listener with port 0 must provide a Unix socket path.",
        ),
    ] {
        check(text, 1, message);
    }
    check(
        "listener 1\nmax_topic_alias 65536",
        2,
        "Error: Invalid 'max_topic_alias' value in configuration.",
    );
    check(
        "listener 1\nmax_topic_alias_broker -1",
        2,
        "Error: Invalid 'max_topic_alias_broker' value in configuration.",
    );
}

#[test]
fn options_in_the_wrong_place_are_refused() {
    for option in [
        "mount_point a",
        "max_topic_alias 1",
        "listener_allow_anonymous true",
        "listener_auto_id_prefix a",
        "accept_protocol_versions 5",
        "cafile a",
    ] {
        let name = option.split(' ').next().unwrap_or_default();
        let message =
            format!("Error: The '{name}' option requires a listener to be defined first.");
        check(option, 1, &message);
    }
    check(
        "port 1883\naccept_protocol_versions 5",
        2,
        "Error: The 'accept_protocol_versions' option requires a listener to be defined first.",
    );
    check(
        "per_listener_settings true\nallow_anonymous true",
        2,
        "Error: The 'allow_anonymous' option requires a listener to be defined first.",
    );
    check(
        "allow_anonymous true\nper_listener_settings true",
        2,
        "Error: per_listener_settings must be set before any other security settings.",
    );
    check(
        "address example.org",
        1,
        "Error: The 'address' option requires a bridge to be defined first.",
    );
    check(
        "plugin_opt_file a",
        1,
        "Error: The 'plugin_opt_file' option requires plugin/global_plugin/plugin_load to be \
         defined first.",
    );
}

#[test]
fn prefixes_have_their_rules() {
    let long = "x".repeat(51);
    check(
        &format!("auto_id_prefix {long}"),
        1,
        "Error: auto_id_prefix length must be <= 50.",
    );
    check(
        &format!("listener 1\nlistener_auto_id_prefix {long}"),
        2,
        "Error: 'listener_auto_id_prefix' length must be <= 50.",
    );
    for wildcard in ["a/#", "+/b"] {
        check(
            &format!("listener 1\nmount_point {wildcard}"),
            2,
            &format!(
                "Error: Invalid 'mount_point' value ({wildcard}). Does it contain a wildcard character?"
            ),
        );
    }
    let huge = "x".repeat(65_536);
    check(
        &format!("user {huge}"),
        1,
        "Error: Invalid 'user' value (too long).",
    );
}

#[test]
fn the_same_listener_twice_is_refused() {
    let message = "Error: Duplicate 'listener' value in configuration.";
    check("listener 1883\nlistener 1884\nlistener 1883", 3, message);
    check("listener 0 /a\nlistener 0 /a", 2, message);
    check("max_connections 5\nlistener 1883", 2, message);
    assert!(Config::parse("listener 1883 ::1\nlistener 1883 127.0.0.1", "t").is_ok());
    let split = "listener 1883\nsocket_domain ipv4\nlistener 1883\nsocket_domain ipv6";
    assert!(Config::parse(split, "t").is_ok());
}

#[test]
fn what_later_versions_bring_is_refused_by_name() {
    for (text, what, feature) in [
        ("tls_engine e", "tls_engine", "engines of OpenSSL"),
        (
            "tls_keyform engine",
            "tls_keyform engine",
            "engines of OpenSSL",
        ),
        ("protocol http_api", "protocol http_api", "the HTTP API"),
        ("connection b", "connection", "bridges"),
    ] {
        check(
            text,
            1,
            &format!(
                "Error: '{what}' is known but not supported by this version of Midge yet ({feature})."
            ),
        );
    }
}

#[test]
fn a_bridge_is_refused_once_and_not_line_by_line() {
    let bridge = "connection b\naddress a.example:1883\ntopic # both 0\nremote_username u\n\
                  password secret\nbridge_cafile /ca\n";
    check(
        bridge,
        1,
        "Error: 'connection' is known but not supported by this version of Midge yet (bridges).",
    );
}

#[test]
fn every_fault_is_shown_first_one_first() {
    let errors = errors("max_qos 9\nfoo\nlistener 1\nsys_interval x\nretain_available maybe\n");
    let lines: Vec<_> = errors.errors().iter().map(|error| error.line).collect();
    assert_eq!(lines, [1, 2, 4, 5]);
    assert_eq!(errors.to_string().lines().count(), 8);
}

#[test]
fn a_file_of_faults_ends_early() {
    let text = "nonsense\n".repeat(100_000);
    assert!(errors(&text).errors().len() <= 101);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_line() {
    let faults = |bytes: &[u8]| {
        let errors = Config::parse_bytes(bytes, "t.conf").expect_err("refused");
        let error = errors.errors()[0].clone();
        assert_eq!(error.message, "Error: Malformed UTF-8 in configuration.");
        error.line
    };
    assert_eq!(faults(b"user \xFF"), 1);
    assert_eq!(faults(b"\nuser a\0b\n"), 2);
    assert_eq!(faults(b"\n\nuser a\x1bb\n"), 3);
}

#[test]
fn what_a_file_contains_cannot_forge_lines_of_errors() {
    let shown = errors("bad\rname\u{85}\x1b[2J 1").to_string();
    assert_eq!(shown.lines().count(), 2);
    assert!(
        !shown.replace('\n', "").contains(char::is_control),
        "{shown:?}"
    );
    let long = errors(&"x".repeat(1_000_000)).to_string();
    assert!(long.len() < 1_000);
}

#[test]
fn a_text_cannot_include_files() {
    check(
        "include_dir /etc",
        1,
        "Error: Unable to open include_dir '/etc'.",
    );
}

/// Lines that look enough like a configuration to get far.
fn likely_line() -> impl Strategy<Value = String> {
    let names: Vec<&str> = reference().flat_map(|option| option.names()).collect();
    let value = prop_oneof![
        Just(String::new()),
        any::<i64>().prop_map(|number| number.to_string()),
        (-2i64..70_000).prop_map(|number| number.to_string()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("file /x".to_owned()),
        Just("0 /x".to_owned()),
        Just("14d".to_owned()),
        Just("os".to_owned()),
        ".{0,20}",
    ];
    (proptest::sample::select(names), value).prop_map(|(name, value)| format!("{name} {value}"))
}

fn check_errors(result: &Result<Config, ConfigErrors>) -> Result<(), TestCaseError> {
    match result {
        Ok(config) => prop_assert!(!config.listeners.is_empty()),
        Err(errors) => {
            prop_assert!(!errors.errors().is_empty());
            for error in errors.errors() {
                prop_assert!(error.line > 0, "{error:?}");
                prop_assert!(error.message.starts_with("Error: "), "{error:?}");
                prop_assert_eq!(error.to_string().lines().count(), 2);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_faults_have_a_line(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        check_errors(&Config::parse_bytes(&bytes, "t.conf"))?;
    }

    #[test]
    fn arbitrary_options_never_panic_and_faults_have_a_line(
        lines in proptest::collection::vec(likely_line(), 0..20),
    ) {
        check_errors(&Config::parse(&lines.join("\n"), "t.conf"))?;
    }

    #[test]
    fn what_is_accepted_differs_from_itself_in_nothing(
        lines in proptest::collection::vec(likely_line(), 0..6),
    ) {
        if let Ok(config) = Config::parse(&lines.join("\n"), "t.conf") {
            prop_assert!(config.diff(&config).is_empty());
        }
    }
}
