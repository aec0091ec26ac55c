//! The typed settings that a configuration file fills in.
//!
//! Every field names its option, so that what a reload changed can be told by option name. A limit
//! that the file writes as 0 (or -1) for "none" is an `Option` here: `None` is "no limit".

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use midge_access::lockout::{self, Network};
use midge_transport::proxy::ProxyVersion;
use midge_transport::tls::TlsVersion;
use midge_transport::websocket::ForwardedHeader;

use super::logins::{AuthMethod, HttpLogin, OAuth};
use crate::log::LogSettings;

/// Declares a settings struct from rows of `"option" => field: type = default`.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$doc:meta])* $option:literal => $field:ident: $type:ty = $default:expr, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            /// Names the options whose value differs between `self` and `other`.
            pub(super) fn changed_options(&self, other: &Self) -> Vec<&'static str> {
                let mut changed = Vec::new();
                $( if self.$field != other.$field { changed.push($option); } )*
                changed
            }
        }
    };
}

settings! {
    /// What holds for the whole broker.
    pub struct General {
        /// Whether overlapping subscriptions each get their own copy of a message.
        "allow_duplicate_messages" => allow_duplicate_messages: bool = true,
        /// Whether a retained message is delivered only while its publisher may still publish it.
        "check_retain_source" => check_retain_source: bool = false,
        /// What every client identifier must begin with.
        "clientid_prefixes" => clientid_prefix: Option<String> = None,
        /// Whether connects and disconnects of clients are logged.
        "connection_messages" => connection_messages: bool = true,
        /// Whether `$CONTROL/broker/v1` answers.
        "enable_control_api" => enable_control_api: bool = false,
        /// How many sessions may exist, connected or not.
        "global_max_clients" => global_max_clients: Option<NonZeroU32> = None,
        /// How many connections may be open on all listeners together.
        "global_max_connections" => global_max_connections: Option<NonZeroU32> = None,
        /// Bytes of QoS 1 and 2 messages in flight to one client.
        "max_inflight_bytes" => max_inflight_bytes: Option<NonZeroU64> = None,
        /// QoS 1 and 2 messages in flight to one client that states no receive maximum, and the
        /// receive maximum that the broker states.
        "max_inflight_messages" => max_inflight_messages: Option<NonZeroU16> = NonZeroU16::new(20),
        /// The longest keep-alive in seconds; `None` accepts any, also none at all.
        "max_keepalive" => max_keepalive_secs: Option<NonZeroU16> = None,
        /// The largest packet in bytes that is accepted, at least 20.
        "max_packet_size" => max_packet_size: u32 = 2_000_000,
        /// Bytes that may wait in one client's queue.
        "max_queued_bytes" => max_queued_bytes: Option<NonZeroU64> = None,
        /// QoS 1 and 2 messages that may wait in one client's queue, those in flight not counted.
        "max_queued_messages" => max_queued_messages: Option<NonZeroU32> = NonZeroU32::new(1000),
        /// Above how much memory the broker takes on nothing new.
        "memory_limit" => memory_limit: MemoryLimit = MemoryLimit::Automatic,
        /// The largest payload in bytes of a PUBLISH.
        "message_size_limit" => message_size_limit: Option<NonZeroU32> = None,
        /// The longest head in bytes of a WebSocket upgrade (`websockets_headers_size`); 0 is the
        /// default.
        "packet_buffer_size" => packet_buffer_size: u16 = 4096,
        /// Where sessions, queued and retained messages are kept, so that they outlive the process;
        /// `None` keeps them in memory alone. Fixed at the start.
        "persistence" => persistence: Option<Persistence> = None,
        /// Seconds after which the session of an absent client ends, whatever it asked for.
        /// Always below 0xFFFFFFFF, which MQTT reads as "never".
        "persistent_client_expiration" => persistent_client_expiration_secs: Option<u32> = None,
        /// Where the process id is written. Fixed at the start.
        "pid_file" => pid_file: Option<PathBuf> = None,
        /// Whether QoS 0 messages are queued for absent clients too.
        "queue_qos0_messages" => queue_qos0_messages: bool = false,
        /// Whether retained messages are supported.
        "retain_available" => retain_available: bool = true,
        /// Seconds after which a retained message without an expiry of its own goes.
        "retain_expiry_interval" => retain_expiry_secs: Option<NonZeroU32> = None,
        /// Whether accepted sockets get TCP_NODELAY.
        "set_tcp_nodelay" => set_tcp_nodelay: bool = true,
        /// Seconds between updates of `$SYS`; `None` publishes no `$SYS` topics.
        "sys_interval" => sys_interval_secs: Option<NonZeroU16> = NonZeroU16::new(10),
        /// Whether a message is delivered with the subscription's QoS even if published with less.
        "upgrade_outgoing_qos" => upgrade_outgoing_qos: bool = false,
        /// The user to become when started as root. `None`: `mosquitto`, else `nobody`.
        /// Fixed at the start.
        "user" => user: Option<String> = None,

        /// Worker threads; `None` is one for each core. Fixed at the start.
        "worker_threads" => worker_threads: Option<NonZeroU16> = None,
        /// Connections that each listener accepts per second.
        "max_connect_rate" => max_connect_rate: Option<NonZeroU32> = None,
        /// Connections that may wait in the kernel to be accepted, for each listening socket.
        "listen_backlog" => listen_backlog: u32 = 1024,
        /// Seconds that a new connection has to send its CONNECT.
        "connect_timeout" => connect_timeout_secs: u16 = 30,
        /// Which message goes when a queue is full.
        "queue_overflow" => queue_overflow: QueueOverflow = QueueOverflow::DropNewest,
        /// Bytes that may wait in the queues of all clients together.
        "max_queued_bytes_total" => max_queued_bytes_total: Option<NonZeroU64> =
            NonZeroU64::new(1 << 30),
        /// Unsent bytes of one connection above which QoS 0 messages to it are dropped.
        "outbox_bytes_max" => outbox_bytes_max: u32 = 1 << 20,
        /// Whether a payload that claims to be UTF-8 is checked.
        "validate_payload_format" => validate_payload_format: bool = false,
        /// Subscriptions that one client may hold.
        "max_subscriptions_per_client" => max_subscriptions_per_client: Option<NonZeroU32> = None,
        /// Levels that a topic or filter may have.
        "max_topic_levels" => max_topic_levels: u8 = 201,
        /// Retained messages that may be stored.
        "max_retained_messages" => max_retained_messages: Option<NonZeroU32> = None,
        /// Bytes of those.
        "max_retained_bytes" => max_retained_bytes: Option<NonZeroU64> = None,
        /// Connections that one address may open per second.
        "max_connect_rate_per_address" => max_connect_rate_per_address: Option<NonZeroU32> = None,

        /// Failed logins of an address within the window until it is banned; 0 bans none.
        "auth_fail_max" => auth_fail_max: u16 = 10,
        /// Failed logins of a user, from anywhere, until it is banned; 0 bans none.
        "auth_fail_user_max" => auth_fail_user_max: u16 = 100,
        /// Seconds for which a failed login counts.
        "auth_fail_window" => auth_fail_window_secs: u32 = 300,
        /// Seconds of the first ban; each further one is twice as long.
        "auth_fail_ban" => auth_fail_ban_secs: u32 = 300,
        /// Seconds of the longest ban.
        "auth_fail_ban_max" => auth_fail_ban_max_secs: u32 = 86_400,
        /// Milliseconds by which the first refusal is held back; each further one twice as long.
        "auth_fail_delay" => auth_fail_delay_ms: u32 = 250,
        /// Milliseconds by which a refusal is held back at most.
        "auth_fail_delay_max" => auth_fail_delay_max_ms: u32 = 5_000,
        /// Addresses and networks that are never banned.
        "auth_fail_exempt" => auth_fail_exempt: Vec<Network> =
            Network::LOOPBACK.to_vec(),

        /// Seconds for which a password that was right is not hashed again.
        "auth_cache" => auth_cache_secs: u32 = 3_600,

        /// Where log lines go and which are written.
        "log" => log: LogSettings = LogSettings::default(),
    }
}

settings! {
    /// What holds for the clients of one listener.
    pub struct ListenerSettings {
        /// The protocol versions that may connect.
        "accept_protocol_versions" => accept_protocol_versions: ProtocolVersions =
            ProtocolVersions::ALL,
        /// Whether clients may connect without a user name.
        "allow_anonymous" => allow_anonymous: bool = false,
        /// Whether clients may leave the choice of their identifier to the broker.
        "allow_zero_length_clientid" => allow_zero_length_clientid: bool = true,
        /// What the identifiers chosen by the broker begin with; at most 50 bytes.
        "listener_auto_id_prefix" => auto_id_prefix: String = "auto-".to_owned(),
        /// Connections that may be open on this listener.
        "max_connections" => max_connections: Option<NonZeroU32> = None,
        /// Messages per second that each client may publish.
        "max_publish_rate" => max_publish_rate: Option<NonZeroU32> = None,
        /// Messages per second that all clients may publish together.
        "max_publish_rate_total" => max_publish_rate_total: Option<NonZeroU32> = None,
        /// Bytes per second that each client may send.
        "max_bytes_rate" => max_bytes_rate: Option<NonZeroU32> = None,
        /// Bytes per second that all clients may send together.
        "max_bytes_rate_total" => max_bytes_rate_total: Option<NonZeroU32> = None,
        /// The file with user names and hashes of passwords.
        "password_file" => password_file: Option<PathBuf> = None,
        /// The file that says who may publish and subscribe what.
        "acl_file" => acl_file: Option<PathBuf> = None,
        /// Clients, groups and roles that administrators change while the broker runs.
        "plugin" => dynamic_security: Option<DynamicSecurity> = None,
        /// Tokens that let clients in.
        "oauth_issuer" => oauth: Option<OAuth> = None,
        /// The methods that judge logins, in their order; `None` for the usual one.
        "auth_order" => auth_order: Option<Vec<AuthMethod>> = None,
        /// A URL that is asked about logins.
        "http_login_url" => http_login: Option<HttpLogin> = None,
        /// Whether the user name takes the place of the client identifier.
        "use_username_as_clientid" => use_username_as_clientid: bool = false,
        /// The highest QoS that clients may use: 0, 1 or 2.
        "max_qos" => max_qos: u8 = 2,
        /// Topic aliases that a client may use; 0 forbids them.
        "max_topic_alias" => max_topic_alias: u16 = 10,
        /// Topic aliases that the broker uses towards a client that allows them; 0 uses none.
        "max_topic_alias_broker" => max_topic_alias_broker: u16 = 10,
        /// What is put before the topics of these clients, without the clients seeing it.
        "mount_point" => mount_point: Option<String> = None,

        /// What is spoken.
        "protocol" => protocol: Protocol = Protocol::Mqtt,
        /// The certificate and its chain; with `keyfile` it makes the listener one for TLS.
        "certfile" => certfile: Option<PathBuf> = None,
        /// The private key of `certfile`.
        "keyfile" => keyfile: Option<PathBuf> = None,
        /// Other certificates with their keys, for other names of hosts.
        "additional_certificate" => additional_certificates: Vec<(PathBuf, PathBuf)> = Vec::new(),
        /// What clients with pre-shared keys are told; it makes the listener one for TLS with such keys.
        "psk_hint" => psk_hint: Option<String> = None,
        /// The file with identities and pre-shared keys.
        "psk_file" => psk_file: Option<PathBuf> = None,
        /// The authorities that client certificates are checked against.
        "cafile" => cafile: Option<PathBuf> = None,
        /// The same, as a directory of files that are named by hashes.
        "capath" => capath: Option<PathBuf> = None,
        /// Client certificates that have been revoked.
        "crlfile" => crlfile: Option<PathBuf> = None,
        /// Whether clients must show a certificate.
        "require_certificate" => require_certificate: bool = false,
        /// Whether client certificates are accepted before and after their time.
        "disable_client_cert_date_checks" => disable_client_cert_date_checks: bool = false,
        /// The lowest version of TLS.
        "tls_version" => tls_version: TlsVersion = TlsVersion::V12,
        /// The ciphers of TLS 1.2, in the manner of OpenSSL; `None` for all.
        "ciphers" => ciphers: Option<String> = None,
        /// The ciphers of TLS 1.3; `None` for all.
        "ciphers_tls1.3" => ciphers_tls13: Option<String> = None,
        /// Whether the user name is the common name of the client's certificate.
        "use_identity_as_username" => use_identity_as_username: bool = false,
        /// Whether it is the subject.
        "use_subject_as_username" => use_subject_as_username: bool = false,
        /// Whether it is the first alternative name of this kind.
        "use_san_as_username" => use_san_as_username: Option<CertificateName> = None,
        /// The version of the PROXY header that connections begin with.
        "enable_proxy_protocol" => proxy_protocol: Option<ProxyVersion> = None,
        /// Whether clients have to reach the proxy over TLS.
        "proxy_protocol_v2_require_tls" => proxy_protocol_v2_require_tls: bool = false,
        /// Sites whose pages may connect by WebSocket; empty for all.
        "websockets_origin" => websockets_origins: Vec<String> = Vec::new(),
        /// The path that WebSocket clients have to ask for; `None` for any.
        "websockets_path" => websockets_path: Option<String> = None,
        /// The header in which trusted proxies tell the address of a WebSocket client.
        "websockets_forwarded_header" => websockets_forwarded_header: Option<ForwardedHeader> =
            None,
        /// The proxies that are believed.
        "websockets_trusted_proxy" => websockets_trusted_proxies: Vec<Network> = Vec::new(),
    }
}

settings! {
    /// Where the state is kept, and how safely. All of it is fixed at the start.
    pub struct Persistence {
        /// The directory that holds the store, and perhaps a database of Mosquitto. A relative one
        /// starts in the working directory, which is also the default.
        "persistence_location" => location: PathBuf = PathBuf::from("."),
        /// The name under which a database of Mosquitto is looked for in the location, to be taken
        /// over when there is no store yet. It is not written to.
        "persistence_file" => file: String = "mosquitto.db".to_owned(),
        /// What has become of a message when it is acknowledged.
        "persistence_sync" => sync: PersistenceSync = PersistenceSync::Always,
    }
}

impl General {
    /// How long a connection may take to log in.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_secs.into())
    }

    /// How long a password that was right is not hashed again.
    pub(crate) fn auth_cache(&self) -> Duration {
        Duration::from_secs(self.auth_cache_secs.into())
    }

    /// What failed logins lead to.
    pub(crate) fn lockout(&self) -> lockout::Settings {
        let secs = |secs: u32| Duration::from_secs(secs.into());
        let millis = |millis: u32| Duration::from_millis(millis.into());
        lockout::Settings {
            failures_max: self.auth_fail_max.into(),
            user_failures_max: self.auth_fail_user_max.into(),
            window: secs(self.auth_fail_window_secs),
            ban: secs(self.auth_fail_ban_secs),
            ban_max: secs(self.auth_fail_ban_max_secs),
            delay: millis(self.auth_fail_delay_ms),
            delay_max: millis(self.auth_fail_delay_max_ms),
            exempt: self.auth_fail_exempt.clone(),
        }
    }
}

impl ListenerSettings {
    /// Whether each CONNECT is judged by files or methods.
    pub(crate) const fn asks_who_comes(&self) -> bool {
        self.password_file.is_some()
            || self.acl_file.is_some()
            || self.dynamic_security.is_some()
            || self.oauth.is_some()
            || self.http_login.is_some()
            || self.auth_order.is_some()
            || self.use_username_as_clientid
            || self.certificate_name().is_some()
    }

    /// Which name in the client's certificate is the user name.
    pub(crate) const fn certificate_name(&self) -> Option<CertificateName> {
        if self.use_identity_as_username {
            Some(CertificateName::Common)
        } else if self.use_subject_as_username {
            Some(CertificateName::Subject)
        } else {
            self.use_san_as_username
        }
    }

    /// Whether its clients speak TLS with the broker itself.
    pub(crate) const fn has_tls(&self) -> bool {
        self.has_certificate() || self.psk_hint.is_some()
    }

    /// Whether the broker has a certificate there.
    pub(crate) const fn has_certificate(&self) -> bool {
        self.certfile.is_some() && self.keyfile.is_some()
    }
}

impl General {
    /// The longest head of a WebSocket upgrade, in bytes.
    pub(crate) fn websockets_head_bytes(&self) -> usize {
        match self.packet_buffer_size {
            0 => usize::from(Self::default().packet_buffer_size),
            bytes => bytes.into(),
        }
    }
}

/// Above how much memory the broker takes on nothing new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Above four fifths of what the machine or container has.
    #[default]
    Automatic,
    /// It goes on until there is none.
    None,
    /// Above so many bytes.
    Bytes(NonZeroU64),
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT.
    #[default]
    Mqtt,
    /// MQTT in WebSocket frames.
    WebSockets,
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    Common,
    /// The whole subject.
    Subject,
    /// The first host name among the alternative names.
    Dns,
    /// The first mail address among them.
    Email,
    /// The first URI among them.
    Uri,
}

/// Where dynamic security keeps what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicSecurity {
    /// Its file (`plugin_opt_config_file`), which is made when it is not there.
    pub config_file: PathBuf,
    /// The file with the first administrator's password (`plugin_opt_password_init_file`).
    pub password_init_file: Option<PathBuf>,
}

impl Default for DynamicSecurity {
    fn default() -> Self {
        Self {
            config_file: PathBuf::from("dynamic-security.json"),
            password_init_file: None,
        }
    }
}

/// When what is kept reaches the disk.
///
/// Whatever it says, the end of the process alone, also by a crash, loses nothing that was
/// acknowledged; this is about the loss of power and about crashes of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PersistenceSync {
    /// Before it is acknowledged: nothing that was acknowledged is lost.
    #[default]
    Always,
    /// When the operating system writes it: some seconds of what was acknowledged can be lost.
    Os,
    /// So many milliseconds later at most, 1 to 60000 in a file: what was acknowledged in that time
    /// can be lost.
    Interval(NonZeroU32),
}

/// Which message goes when a client's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOverflow {
    /// The one that has just arrived, as in Mosquitto.
    #[default]
    DropNewest,
    /// The one that has waited longest.
    DropOldest,
}

/// The protocol versions that a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersions {
    /// MQTT 3.1, protocol level 3.
    pub v3_1: bool,
    /// MQTT 3.1.1, protocol level 4.
    pub v3_1_1: bool,
    /// MQTT 5.0, protocol level 5.
    pub v5: bool,
}

impl ProtocolVersions {
    /// Every version.
    pub const ALL: Self = Self {
        v3_1: true,
        v3_1_1: true,
        v5: true,
    };

    /// No version: what a list in the file starts from.
    pub(crate) const NONE: Self = Self {
        v3_1: false,
        v3_1_1: false,
        v5: false,
    };
}
