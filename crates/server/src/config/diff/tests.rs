use super::*;
use crate::config::SocketDomain;

const BASE: &str = "listener 1883\nallow_anonymous true\nlistener 8883 localhost\nmax_qos 1\n";

fn parse(text: &str) -> Config {
    Config::parse(text, "t.conf").expect("sound")
}

fn diff(old: &str, new: &str) -> Changes {
    parse(old).diff(&parse(new))
}

#[test]
fn the_same_file_changes_nothing() {
    let changes = diff(BASE, &format!("# a comment\n{BASE}"));
    assert_eq!(changes, Changes::default());
    assert!(changes.is_empty() && !changes.touches_log());
}

#[test]
fn listeners_come_and_go_by_their_endpoint() {
    let changes = diff(
        BASE,
        "listener 1883\nallow_anonymous true\nlistener 8883 127.0.0.1\n",
    );
    assert_eq!(changes.removed, [Endpoint::tcp(Some("localhost"), 8883)]);
    assert_eq!(changes.added.len(), 1);
    assert_eq!(
        changes.added[0].endpoint,
        Endpoint::tcp(Some("127.0.0.1"), 8883)
    );
    assert!(changes.changed.is_empty());
}

#[test]
fn a_listener_with_another_interface_or_family_is_another_listener() {
    let changes = diff("listener 1883\n", "listener 1883\nsocket_domain ipv6\n");
    assert_eq!(changes.removed, [Endpoint::tcp(None, 1883)]);
    let Endpoint::Tcp { domain, .. } = &changes.added[0].endpoint else {
        panic!("not TCP");
    };
    assert_eq!(*domain, SocketDomain::Ipv6);
    assert_eq!(
        diff("listener 1883\n", "listener 1883\nbind_interface lo\n")
            .added
            .len(),
        1
    );
}

#[test]
fn a_unix_socket_is_known_by_its_path() {
    let changes = diff("listener 0 /a\n", "listener 0 /b\n");
    assert_eq!((changes.added.len(), changes.removed.len()), (1, 1));
    assert!(diff("listener 0 /a\n", "listener 0 /a\n").is_empty());
}

#[test]
fn settings_of_a_listener_change_in_place() {
    let new = BASE.replace("max_qos 1", "max_qos 0\nmax_connections 5");
    let changes = diff(BASE, &new);
    assert!(changes.added.is_empty() && changes.removed.is_empty());
    assert_eq!(changes.changed.len(), 1);
    let change = &changes.changed[0];
    assert_eq!(change.endpoint, Endpoint::tcp(Some("localhost"), 8883));
    assert_eq!(change.options, ["max_connections", "max_qos"]);
    assert_eq!(change.settings.max_qos, 0);
}

#[test]
fn a_general_security_option_changes_every_listener() {
    let changes = diff(BASE, &BASE.replace("anonymous true", "anonymous false"));
    let options: Vec<_> = changes
        .changed
        .iter()
        .map(|change| &change.options)
        .collect();
    assert_eq!(options, [&["allow_anonymous"], &["allow_anonymous"]]);
}

#[test]
fn the_order_of_listeners_does_not_matter() {
    assert!(diff("listener 1\nlistener 2\n", "listener 2\nlistener 1\n").is_empty());
}

#[test]
fn general_options_are_told_by_name() {
    let changes = diff("", "max_packet_size 1000\nsys_interval 1\nlog_type debug\n");
    assert_eq!(
        changes.general,
        ["max_packet_size", "sys_interval", "log_type"]
    );
    assert!(changes.touches_log());
    assert!(changes.notes.is_empty());
}

#[test]
fn what_needs_a_restart_is_noted_and_kept() {
    let old = parse("user a\npid_file /p\nworker_threads 2\nlisten_backlog 5\n");
    let mut new =
        parse("user b\npid_file /q\nworker_threads 3\nlisten_backlog 6\nmax_keepalive 9\n");
    let changes = old.diff(&new);
    assert_eq!(changes.general, ["max_keepalive"]);
    let noted: Vec<_> = changes
        .notes
        .iter()
        .map(|note| note.text.as_str())
        .collect();
    assert_eq!(noted.len(), 4, "{noted:?}");
    for option in ["user", "pid_file", "worker_threads", "listen_backlog"] {
        assert!(noted.iter().any(|text| text.contains(option)), "{noted:?}");
    }

    new.keep_fixed(&old);
    assert!(old.diff(&new).notes.is_empty());
    assert_eq!(old.diff(&new).general, ["max_keepalive"]);
}

#[test]
fn persistence_stays_as_it_is_until_a_restart() {
    let check = |old: &str, new: &str, options: &[&str]| {
        let old = parse(old);
        let mut new = parse(new);
        let changes = old.diff(&new);
        assert!(changes.is_empty(), "{changes:?}");
        let noted: Vec<_> = changes.notes.iter().map(|note| &note.text).collect();
        let expected: Vec<_> = options
            .iter()
            .map(|option| format!("Warning: '{option}' changes with the next restart only."))
            .collect();
        assert_eq!(noted, expected.iter().collect::<Vec<_>>());
        new.keep_fixed(&old);
        assert_eq!(old.diff(&new), Changes::default());
        assert_eq!(new.general.persistence, old.general.persistence);
    };
    let on = "persistence true\npersistence_location /a\n";
    check(on, "", &["persistence"]);
    check("", on, &["persistence"]);
    check(on, &on.replace("/a", "/a/"), &[]);
    check(on, &on.replace("/a", "/b"), &["persistence_location"]);
    check(
        on,
        &format!("{on}persistence_sync 100\npersistence_file b\n"),
        &["persistence_file", "persistence_sync"],
    );
}

#[test]
fn every_field_that_needs_a_restart_is_kept() {
    let fixed: Vec<_> = crate::config::reference()
        .filter(|option| option.reload == Reload::Restart && option.set.is_some())
        .map(|option| option.name)
        .collect();
    assert_eq!(
        fixed,
        [
            "persistence",
            "persistence_file",
            "persistence_location",
            "pid_file",
            "user",
            "listen_backlog",
            "persistence_sync",
            "worker_threads"
        ]
    );
}

#[test]
fn the_last_listener_gone_means_local_only() {
    let changes = diff("listener 1883\n", "");
    assert_eq!(changes.removed, [Endpoint::tcp(None, 1883)]);
    assert_eq!(changes.added.len(), 2);
}
