//! Whole texts in, settings or errors out.

mod errors;
mod files;
mod logins;
mod plugins;
mod samples;
mod table;

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::Path;

use super::*;
use crate::log::{Facility, Kind, Kinds, Timestamp};

fn parse(text: &str) -> Config {
    match Config::parse(text, "t.conf") {
        Ok(config) => config,
        Err(errors) => panic!("{text:?} is refused:\n{errors}"),
    }
}

/// Parses `text`, picks something from the result and compares it.
#[track_caller]
fn check<T: PartialEq + fmt::Debug>(text: &str, pick: impl Fn(&Config) -> T, expected: T) {
    assert_eq!(pick(&parse(text)), expected, "{text:?}");
}

fn general<T: Clone>(pick: impl Fn(&General) -> T) -> impl Fn(&Config) -> T {
    move |config| pick(&config.general)
}

/// Picks from the first listener.
fn first<T: Clone>(pick: impl Fn(&ListenerSettings) -> T) -> impl Fn(&Config) -> T {
    move |config| pick(&config.listeners[0].settings)
}

fn endpoints(config: &Config) -> Vec<String> {
    config
        .listeners
        .iter()
        .map(|listener| listener.endpoint.to_string())
        .collect()
}

fn notes(config: &Config) -> Vec<&str> {
    config.notes.iter().map(|note| note.text.as_str()).collect()
}

#[test]
fn nothing_means_port_1883_of_this_machine_for_everybody() {
    let config = parse("");
    assert_eq!(config, Config::default_local());
    assert!(config.local_only);
    assert_eq!(
        endpoints(&config),
        ["port 1883 on 127.0.0.1", "port 1883 on ::1"]
    );
    assert!(
        config
            .listeners
            .iter()
            .all(|listener| listener.settings.allow_anonymous)
    );
    assert!(config.notes.is_empty());
    assert_eq!(config.general, General::default());
}

#[test]
fn defaults_are_mosquittos() {
    let General {
        allow_duplicate_messages,
        max_inflight_messages,
        max_packet_size,
        max_queued_messages,
        sys_interval_secs,
        connection_messages,
        retain_available,
        ..
    } = General::default();
    assert!(allow_duplicate_messages && connection_messages && retain_available);
    assert_eq!(max_inflight_messages, NonZeroU16::new(20));
    assert_eq!(max_packet_size, 2_000_000);
    assert_eq!(max_queued_messages, NonZeroU32::new(1000));
    assert_eq!(sys_interval_secs, NonZeroU16::new(10));
    let listener = ListenerSettings::default();
    assert_eq!(
        (listener.max_topic_alias, listener.max_topic_alias_broker),
        (10, 10)
    );
    assert_eq!(listener.max_qos, 2);
    assert_eq!(listener.auto_id_prefix, "auto-");
    assert_eq!(listener.accept_protocol_versions, ProtocolVersions::ALL);
}

#[test]
fn general_options_are_read() {
    check(
        "allow_duplicate_messages false",
        general(|g| g.allow_duplicate_messages),
        false,
    );
    check(
        "check_retain_source true",
        general(|g| g.check_retain_source),
        true,
    );
    check(
        "clientid_prefixes secure-",
        general(|g| g.clientid_prefix.clone()),
        Some("secure-".to_owned()),
    );
    check(
        "connection_messages 0",
        general(|g| g.connection_messages),
        false,
    );
    check(
        "global_max_clients 5",
        general(|g| g.global_max_clients),
        NonZeroU32::new(5),
    );
    check(
        "global_max_clients 0",
        general(|g| g.global_max_clients),
        None,
    );
    check(
        "global_max_connections -1",
        general(|g| g.global_max_connections),
        None,
    );
    check(
        "global_max_connections 7",
        general(|g| g.global_max_connections),
        NonZeroU32::new(7),
    );
    check(
        "max_inflight_bytes 9",
        general(|g| g.max_inflight_bytes),
        NonZeroU64::new(9),
    );
    check(
        "max_keepalive 60",
        general(|g| g.max_keepalive_secs),
        NonZeroU16::new(60),
    );
    check("max_packet_size 20", general(|g| g.max_packet_size), 20);
    check(
        "max_packet_size 2147483647",
        general(|g| g.max_packet_size),
        i32::MAX as u32,
    );
    check(
        "max_queued_bytes 1024",
        general(|g| g.max_queued_bytes),
        NonZeroU64::new(1024),
    );
    check(
        "max_queued_messages -3",
        general(|g| g.max_queued_messages),
        None,
    );
    check(
        "memory_limit 9999999999",
        general(|g| g.memory_limit),
        MemoryLimit::Bytes(NonZeroU64::new(9_999_999_999).unwrap()),
    );
    check(
        "message_size_limit 268435455",
        general(|g| g.message_size_limit.is_some()),
        true,
    );
    check(
        "pid_file /run/m.pid",
        general(|g| g.pid_file.clone()),
        Some("/run/m.pid".into()),
    );
    check(
        "queue_qos0_messages true",
        general(|g| g.queue_qos0_messages),
        true,
    );
    check(
        "retain_available false",
        general(|g| g.retain_available),
        false,
    );
    check(
        "retain_expiry_interval 2",
        general(|g| g.retain_expiry_secs),
        NonZeroU32::new(120),
    );
    check(
        "set_tcp_nodelay false",
        general(|g| g.set_tcp_nodelay),
        false,
    );
    check("sys_interval 0", general(|g| g.sys_interval_secs), None);
    check(
        "upgrade_outgoing_qos true",
        general(|g| g.upgrade_outgoing_qos),
        true,
    );
    check(
        "user nobody",
        general(|g| g.user.clone()),
        Some("nobody".to_owned()),
    );
}

#[test]
fn options_of_midge_are_read() {
    check("worker_threads 0", general(|g| g.worker_threads), None);
    check(
        "worker_threads 3",
        general(|g| g.worker_threads),
        NonZeroU16::new(3),
    );
    check(
        "max_connect_rate 100",
        general(|g| g.max_connect_rate),
        NonZeroU32::new(100),
    );
    check("listen_backlog 16", general(|g| g.listen_backlog), 16);
    check("connect_timeout 5", general(|g| g.connect_timeout_secs), 5);
    check(
        "queue_overflow drop_oldest",
        general(|g| g.queue_overflow),
        QueueOverflow::DropOldest,
    );
    check(
        "max_queued_bytes_total 0",
        general(|g| g.max_queued_bytes_total),
        None,
    );
    check(
        "max_queued_bytes_total 5000000000",
        general(|g| g.max_queued_bytes_total),
        NonZeroU64::new(5_000_000_000),
    );
    check(
        "outbox_bytes_max 65536",
        general(|g| g.outbox_bytes_max),
        65_536,
    );
    check(
        "validate_payload_format true",
        general(|g| g.validate_payload_format),
        true,
    );
    check(
        "max_subscriptions_per_client 10",
        general(|g| g.max_subscriptions_per_client),
        NonZeroU32::new(10),
    );
}

#[test]
fn an_inflight_limit_of_65535_is_none() {
    let limit = || general(|g| g.max_inflight_messages);
    check(
        "max_inflight_messages 65534",
        limit(),
        NonZeroU16::new(65_534),
    );
    check("max_inflight_messages 65535", limit(), None);
    check("max_inflight_messages 0", limit(), None);
    check("max_inflight_messages -1", limit(), None);
}

#[test]
fn a_session_expiration_has_a_unit() {
    let secs = || general(|g| g.persistent_client_expiration_secs);
    check("persistent_client_expiration 30s", secs(), Some(30));
    check("persistent_client_expiration 2h", secs(), Some(7_200));
    check("persistent_client_expiration 1d", secs(), Some(86_400));
    check("persistent_client_expiration 2w", secs(), Some(1_209_600));
    check("persistent_client_expiration 1m", secs(), Some(2_592_000));
    check(
        "persistent_client_expiration 1y # a year",
        secs(),
        Some(31_536_000),
    );
    // "Never" in MQTT is not what the operator asked for.
    check(
        "persistent_client_expiration 1000y",
        secs(),
        Some(u32::MAX - 1),
    );
    let digits = "9".repeat(100);
    check(
        &format!("persistent_client_expiration {digits}y"),
        secs(),
        Some(u32::MAX - 1),
    );
}

#[test]
fn listeners_are_read_in_order() {
    let text = "listener 1883\nlistener 1884 localhost\nlistener 1885 ::1\nlistener 0 /run/m.sock\n\
                listener 1886 # nobody\nlistener 1887\nbind_interface eth0\nsocket_domain ipv4\n";
    let config = parse(text);
    assert!(!config.local_only);
    let expected = [
        "port 1883",
        "port 1884 on localhost",
        "port 1885 on ::1",
        "unix socket /run/m.sock",
        "port 1886",
        "port 1887 of interface eth0 (IPv4)",
    ];
    assert_eq!(endpoints(&config), expected);
}

#[test]
fn listener_options_hold_for_the_listener_before_them() {
    let text = "listener 1\nmax_qos 1\nmount_point a/\nlistener 2\nmax_connections 3\n\
                accept_protocol_versions 5\nmax_topic_alias 0\nmax_topic_alias_broker 65535\n";
    let config = parse(text);
    let [one, two] = &config.listeners[..] else {
        panic!("two listeners");
    };
    assert_eq!((one.settings.max_qos, two.settings.max_qos), (1, 2));
    assert_eq!(one.settings.mount_point.as_deref(), Some("a/"));
    assert_eq!(two.settings.mount_point, None);
    assert_eq!(two.settings.max_connections, NonZeroU32::new(3));
    assert_eq!(two.settings.max_topic_alias, 0);
    assert_eq!(two.settings.max_topic_alias_broker, 65_535);
    let versions = two.settings.accept_protocol_versions;
    assert!(versions.v5 && !versions.v3_1 && !versions.v3_1_1);
}

#[test]
fn a_list_of_versions_takes_any_separator() {
    for list in ["3,4", "3 4", "3, 4", "4\t3", ",3,,4,", "3 4 # not 5"] {
        let text = format!("listener 1\naccept_protocol_versions {list}");
        let versions = parse(&text).listeners[0].settings.accept_protocol_versions;
        assert!(versions.v3_1 && versions.v3_1_1 && !versions.v5, "{list}");
    }
}

#[test]
fn anonymous_clients_are_refused_once_a_listener_is_defined() {
    let anonymous = || first(|listener| listener.allow_anonymous);
    check("", anonymous(), true);
    check("allow_anonymous false", anonymous(), false);
    check("listener 1883", anonymous(), false);
    check("port 1883", anonymous(), false);
    check("listener 1883\nallow_anonymous true", anonymous(), true);
    check("allow_anonymous true\nlistener 1883", anonymous(), true);
    check(
        "listener 1883\nlistener_allow_anonymous true",
        anonymous(),
        true,
    );
    check(
        "allow_anonymous true\nlistener 1\nlistener_allow_anonymous false",
        anonymous(),
        false,
    );
}

#[test]
fn per_listener_settings_bind_options_to_the_listener_before_them() {
    let text = "per_listener_settings true\nlistener 1\nallow_anonymous true\nauto_id_prefix one-\n\
                listener 2\nallow_zero_length_clientid false\nlistener 3\n";
    let config = parse(text);
    let picked: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| &listener.settings)
        .map(|listener| {
            (
                listener.allow_anonymous,
                listener.allow_zero_length_clientid,
                listener.auto_id_prefix.as_str(),
            )
        })
        .collect();
    assert_eq!(
        picked,
        [
            (true, true, "one-"),
            (false, false, "auto-"),
            (false, true, "auto-")
        ]
    );
}

#[test]
fn general_security_options_hold_for_every_listener() {
    let text = "listener 1\nlistener 2\nlistener_auto_id_prefix two-\nauto_id_prefix all-\n\
                allow_zero_length_clientid false\n";
    let config = parse(text);
    let prefixes: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.settings.auto_id_prefix.as_str())
        .collect();
    assert_eq!(prefixes, ["all-", "two-"]);
    assert!(
        config
            .listeners
            .iter()
            .all(|l| !l.settings.allow_zero_length_clientid)
    );
}

#[test]
fn the_deprecated_default_listener_still_works() {
    let config = parse("port 1884\nbind_address 127.0.0.1\nmax_connections 10\nlistener 1885\n");
    assert_eq!(endpoints(&config), ["port 1884 on 127.0.0.1", "port 1885"]);
    assert_eq!(
        config.listeners[0].settings.max_connections,
        NonZeroU32::new(10)
    );
    assert_eq!(config.listeners[1].settings.max_connections, None);
    assert_eq!(notes(&config).len(), 2, "{:?}", notes(&config));

    let config = parse("port 1\nport 2\n");
    assert_eq!(endpoints(&config), ["port 2"]);
    assert!(
        notes(&config)
            .iter()
            .any(|note| note.contains("multiple times"))
    );
}

#[test]
fn a_listener_option_before_any_listener_opens_the_default_listener_too() {
    let config = parse("max_connections 10\nlistener 8883\n");
    assert_eq!(endpoints(&config), ["port 1883", "port 8883"]);
    let text = "Creating default listener due to 'max_connections' option.";
    assert!(
        notes(&config).iter().any(|note| note.starts_with(text)),
        "{:?}",
        notes(&config)
    );
}

#[test]
fn a_listener_option_alone_describes_the_local_listeners() {
    let config = parse("max_connections 10\nsocket_domain ipv4\n");
    assert!(config.local_only);
    assert_eq!(endpoints(&config), ["port 1883 on 127.0.0.1"]);
    assert_eq!(
        config.listeners[0].settings.max_connections,
        NonZeroU32::new(10)
    );
    assert!(config.listeners[0].settings.allow_anonymous);
}

#[test]
fn an_interface_without_a_listener_has_no_effect() {
    let config = parse("bind_interface eth0\n");
    assert_eq!(
        endpoints(&config),
        ["port 1883 on 127.0.0.1", "port 1883 on ::1"]
    );
    assert!(
        notes(&config)
            .iter()
            .any(|note| note.contains("no effect without"))
    );
}

#[test]
fn ports_of_the_command_line_count_only_without_a_listener() {
    let command_line = CommandLine {
        ports: vec![1884, 1885, 1884],
        ..CommandLine::default()
    };
    let config = Config::without_file(&command_line);
    let expected = [
        "port 1884 on 127.0.0.1",
        "port 1884 on ::1",
        "port 1885 on 127.0.0.1",
        "port 1885 on ::1",
    ];
    assert_eq!(endpoints(&config), expected);
    assert!(config.local_only);

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("m.conf");
    std::fs::write(&path, "listener 1883\n").expect("written");
    let config = Config::load(&path, &command_line).expect("sound");
    assert_eq!(endpoints(&config), ["port 1883"]);
}

#[test]
fn log_destinations_and_kinds_add_up() {
    let log = || general(|general| general.log.clone());
    let parsed = parse("log_dest syslog\nlog_dest file /var/log/a b.log\nlog_dest topic\n");
    let destinations = &parsed.general.log.destinations;
    assert!(destinations.syslog && destinations.topic);
    assert!(!destinations.stderr && !destinations.stdout);
    assert_eq!(
        destinations.file.as_deref(),
        Some(Path::new("/var/log/a b.log"))
    );
    assert!(
        parse("log_dest stdout\nlog_dest none")
            .general
            .log
            .destinations
            .is_none()
    );
    check(
        "log_dest dlt",
        |config| config.general.log.destinations.stderr,
        true,
    );

    check(
        "log_type error\nlog_type debug",
        |config| log()(config).kinds,
        Kinds::from(Kind::Error) | Kind::Debug,
    );
    check("log_type all", |config| log()(config).kinds, Kinds::ALL);
    check(
        "log_type all\nlog_type none",
        |config| log()(config).kinds,
        Kinds::NONE,
    );
    check(
        "log_facility 3",
        |config| log()(config).facility,
        Facility::Local(3),
    );
}

#[test]
fn the_time_in_log_lines_is_chosen() {
    let time = || general(|general| general.log.timestamp.clone());
    check("", time(), Timestamp::UnixSeconds);
    check("log_timestamp false", time(), Timestamp::None);
    check(
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        time(),
        Timestamp::Format("%Y-%m-%dT%H:%M:%S".to_owned()),
    );
    check(
        "log_timestamp_format %Y\nlog_timestamp false",
        time(),
        Timestamp::None,
    );
}

#[test]
fn verbose_and_quiet_are_stronger_than_the_file() {
    let kinds = |verbose, quiet| {
        let command_line = CommandLine {
            verbose,
            quiet,
            ..CommandLine::default()
        };
        Config::without_file(&command_line).general.log.kinds
    };
    assert_eq!(kinds(false, false), Kinds::DEFAULT);
    assert_eq!(kinds(true, false), Kinds::ALL);
    assert_eq!(kinds(false, true), Kinds::NONE);
    assert_eq!(kinds(true, true), Kinds::NONE);
}

#[test]
fn a_comment_after_a_word_is_no_part_of_it() {
    check("allow_anonymous true # for now", |_| (), ());
    check(
        "max_queued_messages 5 # few",
        general(|g| g.max_queued_messages),
        NonZeroU32::new(5),
    );
    let config = parse("retain_available true false");
    assert!(
        notes(&config)[0].contains("ignored"),
        "{:?}",
        notes(&config)
    );
    assert_eq!(config.notes[0].place, Some(("t.conf".to_owned(), 1)));
}

#[test]
fn the_last_of_several_lines_counts() {
    check(
        "sys_interval 5\nsys_interval 7",
        general(|g| g.sys_interval_secs),
        NonZeroU16::new(7),
    );
    check(
        "user a\nuser b",
        general(|g| g.user.clone()),
        Some("b".to_owned()),
    );
}

#[test]
fn options_without_effect_are_accepted_and_noted() {
    for text in [
        "retry_interval 20",
        "retry_interval",
        "dhparamfile /etc/dh.pem",
        "websockets_log_level 0",
        "persistence_file m.db",
        "persistence_location /var/lib/mosquitto/",
        "persistence_sync os",
        "autosave_interval 1800",
        "autosave_on_changes false",
        "check_retain_source true",
    ] {
        let config = parse(text);
        assert_eq!(config.notes.len(), 1, "{text}: {:?}", config.notes);
        assert_eq!(config.notes[0].level, NoteLevel::Notice);
        assert!(
            config.notes[0].text.ends_with("(t.conf:1)"),
            "{:?}",
            config.notes
        );
    }
}

#[test]
fn switching_off_what_is_not_there_is_fine() {
    for text in [
        "persistence false",
        "retained_persistence 0",
        "enable_control_api false",
        "listener 1883\nrequire_certificate false",
        "listener 1883\nuse_username_as_clientid false",
    ] {
        assert!(parse(text).notes.is_empty(), "{text}");
    }
    assert!(parse("require_certificate false").local_only);
}

#[test]
fn an_expiry_of_retained_messages_ends_at_19_years() {
    let config = parse("retain_expiry_interval 10000001");
    assert_eq!(
        config.general.retain_expiry_secs,
        NonZeroU32::new(600_000_000)
    );
    assert!(notes(&config)[0].contains("19 years"));
}

#[test]
fn endpoints_are_shown_for_the_log() {
    let endpoint = Endpoint::Tcp {
        port: 1883,
        host: Some("::1".to_owned()),
        interface: Some("lo".to_owned()),
        domain: SocketDomain::Ipv6,
    };
    assert_eq!(
        endpoint.to_string(),
        "port 1883 on ::1 of interface lo (IPv6)"
    );
}
