//! Options of bridges.

use super::Scope::{Bridge, General};
use super::ValueType::{Flag, Form, Text, Word};
use super::{OptionDef, at_least, number};

const BRIDGES: &str = "bridges";

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "address",
        Bridge,
        Form("<host>[:<port>] ..."),
        "",
        "The brokers to connect to, one after the other until one answers.",
    )
    .also(&["addresses"])
    .once()
    .later(BRIDGES),
    OptionDef::new(
        "bridge_alpn",
        Bridge,
        Text,
        "",
        "The application protocol that TLS asks for.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_attempt_unsubscribe",
        Bridge,
        Flag,
        "true",
        "Whether a bridge unsubscribes from topics that it only sends.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_bind_address",
        Bridge,
        Text,
        "",
        "The local address that the connection is made from.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_cafile",
        Bridge,
        Text,
        "",
        "The file with the certificates of the authorities that the remote broker is checked \
         against.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_capath",
        Bridge,
        Text,
        "",
        "The directory with the certificates of the authorities that the remote broker is \
         checked against.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_certfile",
        Bridge,
        Text,
        "",
        "The file with the certificate that the bridge shows.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_ciphers",
        Bridge,
        Text,
        "",
        "The ciphers of TLS 1.2, in the manner of OpenSSL.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_ciphers_tls1.3",
        Bridge,
        Text,
        "",
        "The ciphers of TLS 1.3, in the manner of OpenSSL.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_identity",
        Bridge,
        Text,
        "",
        "The identity for TLS with pre-shared keys.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_insecure",
        Bridge,
        Flag,
        "false",
        "Whether the host name in the certificate of the remote broker goes unchecked.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_keyfile",
        Bridge,
        Text,
        "",
        "The file with the private key of bridge_certfile.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_max_packet_size",
        Bridge,
        at_least(0),
        "0",
        "The largest packet in bytes that the remote broker may send; 0 sets no limit.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_max_topic_alias",
        Bridge,
        number(0, 65_535),
        "10",
        "Topic aliases that the bridge uses; 0 uses none.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_outgoing_retain",
        Bridge,
        Flag,
        "true",
        "Whether messages keep their retain flag on the way out.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_protocol_version",
        Bridge,
        Word(&["mqttv31", "mqttv311", "mqttv50"]),
        "mqttv311",
        "The protocol version that is spoken with the remote broker.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_psk",
        Bridge,
        Text,
        "",
        "The pre-shared key for TLS, in hexadecimal.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_receive_maximum",
        Bridge,
        number(1, 65_535),
        "",
        "QoS 1 and 2 messages that the remote broker may have in flight.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_reload_type",
        Bridge,
        Word(&["lazy", "immediate"]),
        "lazy",
        "When a reload reaches the bridge: at its next connect or at once.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_require_ocsp",
        Bridge,
        Flag,
        "false",
        "Whether the remote broker must prove that its certificate is not revoked.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_session_expiry_interval",
        Bridge,
        number(0, i32::MAX as i64),
        "0",
        "Seconds that the remote broker keeps the session of an MQTT 5.0 bridge.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_tcp_keepalive",
        Bridge,
        Form("<idle seconds> <interval seconds> <count>"),
        "",
        "How TCP finds out that the remote broker is gone.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_tcp_user_timeout",
        Bridge,
        number(0, i32::MAX as i64),
        "",
        "Milliseconds that sent data may stay unacknowledged by TCP.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_tls_use_os_certs",
        Bridge,
        Flag,
        "false",
        "Whether the authorities that the system trusts are trusted.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "bridge_tls_version",
        Bridge,
        Word(&["tlsv1.2", "tlsv1.3"]),
        "tlsv1.2",
        "The lowest version of TLS that is used.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "cleansession",
        Bridge,
        Flag,
        "false",
        "Whether the bridge starts with a clean session each time.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "connection",
        General,
        Form("<name>"),
        "",
        "Begins a bridge to another broker.",
    )
    .adds()
    .later(BRIDGES),
    OptionDef::new(
        "idle_timeout",
        Bridge,
        at_least(1),
        "60",
        "Seconds without messages after which a lazy bridge disconnects.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "keepalive_interval",
        Bridge,
        number(5, 65_535),
        "60",
        "The keep-alive of the bridge in seconds.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "local_cleansession",
        Bridge,
        Flag,
        "as cleansession",
        "Whether the local side of the bridge starts with a clean session.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "local_clientid",
        Bridge,
        Text,
        "local.<remote_clientid>",
        "The client identifier of the bridge on this broker.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "local_password",
        Bridge,
        Text,
        "",
        "The password of the bridge on this broker.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "local_username",
        Bridge,
        Text,
        "",
        "The user name of the bridge on this broker.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "notification_topic",
        Bridge,
        Text,
        "$SYS/broker/connection/<remote_clientid>/state",
        "The topic that tells whether the bridge is connected.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "notifications",
        Bridge,
        Flag,
        "true",
        "Whether the state of the bridge is published.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "notifications_local_only",
        Bridge,
        Flag,
        "false",
        "Whether the state of the bridge is published on this broker alone.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "remote_clientid",
        Bridge,
        Text,
        "<host name>.<connection>",
        "The client identifier of the bridge on the remote broker.",
    )
    .also(&["clientid"])
    .later(BRIDGES),
    OptionDef::new(
        "remote_password",
        Bridge,
        Text,
        "",
        "The password of the bridge on the remote broker.",
    )
    .also(&["password"])
    .later(BRIDGES),
    OptionDef::new(
        "remote_username",
        Bridge,
        Text,
        "",
        "The user name of the bridge on the remote broker.",
    )
    .also(&["username"])
    .later(BRIDGES),
    OptionDef::new(
        "restart_timeout",
        Bridge,
        Form("<seconds> [<cap seconds> [<stable seconds>]]"),
        "5 30",
        "Seconds until the bridge connects again.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "round_robin",
        Bridge,
        Flag,
        "false",
        "Whether the bridge stays with the address that answered.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "start_type",
        Bridge,
        Word(&["automatic", "lazy", "once"]),
        "automatic",
        "When the bridge connects.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "threshold",
        Bridge,
        at_least(1),
        "10",
        "Queued messages that make a lazy bridge connect.",
    )
    .later(BRIDGES),
    OptionDef::new(
        "topic",
        Bridge,
        Form("<pattern> [out | in | both] [<QoS>] [<local prefix>] [<remote prefix>]"),
        "",
        "Topics that the bridge carries.",
    )
    .adds()
    .later(BRIDGES),
    OptionDef::new(
        "try_private",
        Bridge,
        Flag,
        "true",
        "Whether the bridge tells the remote broker that it is one.",
    )
    .later(BRIDGES),
];
