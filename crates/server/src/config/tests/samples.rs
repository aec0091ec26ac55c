//! Files as people have them.

use super::*;

#[test]
fn the_file_that_distributions_ship_is_read() {
    let text = "\
# Place your local configuration in /etc/mosquitto/conf.d/
#
# A full description of the configuration file is at
# /usr/share/doc/mosquitto/examples/mosquitto.conf.example

pid_file /run/mosquitto/mosquitto.pid

persistence true
persistence_location /var/lib/mosquitto/

log_dest file /var/log/mosquitto/mosquitto.log
";
    let config = parse(text);
    assert!(config.local_only);
    assert_eq!(
        config.general.pid_file.as_deref(),
        Some(Path::new("/run/mosquitto/mosquitto.pid"))
    );
    let kept = config.general.persistence.as_ref().expect("on");
    assert_eq!(
        kept.mosquitto_file(),
        Path::new("/var/lib/mosquitto/mosquitto.db")
    );
    assert!(config.notes.is_empty(), "{:?}", config.notes);

    let config = parse(&text.replace("persistence true", "persistence false"));
    assert_eq!(config.general.persistence, None);
    assert_eq!(config.notes.len(), 1, "{:?}", config.notes);
}

#[test]
fn the_file_of_a_container_that_keeps_its_data_is_read() {
    let text = "\
persistence true
persistence_location /mosquitto/data
persistence_file mosquitto.db
autosave_interval 300
log_dest file /mosquitto/log/mosquitto.log
listener 1883
allow_anonymous true
persistent_client_expiration 7d
max_queued_messages 100000
";
    let config = parse(text);
    assert_eq!(
        config.general.persistence,
        Some(Persistence::below("/mosquitto/data"))
    );
    assert_eq!(config.notes.len(), 1, "{:?}", config.notes);
}

#[test]
fn a_file_of_ten_years_ago_is_read() {
    let text = "\
# Config file for mosquitto\r
#\r
# =================================================================\r
# General configuration\r
# =================================================================\r
retry_interval 20\r
sys_interval 10\r
max_inflight_messages 20\r
max_queued_messages 100\r
message_size_limit 0\r
allow_duplicate_messages true\r
user mosquitto\r
\r
# =================================================================\r
# Default listener\r
# =================================================================\r
bind_address 192.168.1.2\r
port 1883\r
max_connections -1\r
\r
listener 8080 127.0.0.1\r
mount_point devices/\r
\r
persistence true\r
autosave_interval 1800\r
autosave_on_changes false\r
persistence_file mosquitto.db\r
persistent_client_expiration 14d\r
\r
log_dest stdout\r
log_dest topic\r
log_type error\r
log_type warning\r
log_type notice\r
log_type information\r
connection_messages true\r
log_timestamp true\r
allow_anonymous true\r
clientid_prefixes dev-\r
";
    let config = parse(text);
    assert_eq!(
        endpoints(&config),
        ["port 1883 on 192.168.1.2", "port 8080 on 127.0.0.1"]
    );
    assert!(
        config
            .listeners
            .iter()
            .all(|listener| listener.settings.allow_anonymous)
    );
    assert_eq!(
        config.listeners[1].settings.mount_point.as_deref(),
        Some("devices/")
    );
    assert_eq!(
        config.general.persistent_client_expiration_secs,
        Some(14 * 86_400)
    );
    assert_eq!(config.general.persistence, Some(Persistence::default()));
    assert_eq!(config.general.message_size_limit, None);
    assert_eq!(config.general.clientid_prefix.as_deref(), Some("dev-"));
    assert_eq!(config.general.log.kinds, Kinds::DEFAULT);
    let log = &config.general.log.destinations;
    assert!(log.stdout && log.topic && !log.stderr);
}

#[test]
fn the_file_of_a_container_is_read() {
    let config = parse("listener 1883 0.0.0.0\nallow_anonymous true\nlog_dest stdout\n");
    assert_eq!(endpoints(&config), ["port 1883 on 0.0.0.0"]);
    assert!(config.listeners[0].settings.allow_anonymous);
    assert!(config.notes.is_empty());
}

#[test]
fn the_file_of_a_busy_site_is_read() {
    let text = "\
per_listener_settings true
listener 1883
allow_anonymous true
max_connections 100000
accept_protocol_versions 4, 5
set_tcp_nodelay true
max_keepalive 3600
listener 0 /run/midge/midge.sock
allow_anonymous true
worker_threads 8
queue_overflow drop_oldest
max_queued_bytes_total 8589934592
log_timestamp_format %Y-%m-%dT%H:%M:%S%z
log_type all
";
    let config = parse(text);
    assert_eq!(
        endpoints(&config),
        ["port 1883", "unix socket /run/midge/midge.sock"]
    );
    assert_eq!(config.general.worker_threads, NonZeroU16::new(8));
    assert_eq!(config.general.log.kinds, Kinds::ALL);
}

#[test]
fn a_secured_file_is_understood_but_for_its_bridge() {
    let text = "\
listener 8883
cafile /etc/ca.crt
certfile /etc/server.crt
keyfile /etc/server.key
require_certificate true
use_identity_as_username true
password_file /etc/passwd
acl_file /etc/acl
listener 9001
protocol websockets
connection remote
address example.org:8883
topic # both 2
";
    let errors = Config::parse(text, "m.conf").expect_err("later");
    let lines: Vec<_> = errors.errors().iter().map(|error| error.line).collect();
    assert_eq!(lines, [11]);
    let config = parse(text.split("connection").next().unwrap());
    let [tls, websockets] = &config.listeners[..] else {
        panic!("{:?}", config.listeners);
    };
    assert!(tls.settings.has_tls() && tls.settings.require_certificate);
    assert_eq!(websockets.settings.protocol, Protocol::WebSockets);
}
