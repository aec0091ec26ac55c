//! What the operator chose, as far as the broker's decisions depend on it.

use std::sync::Arc;

use midge_codec::{QoS, Version};

use crate::limits::Limits;

/// Settings of the whole broker. Shards share one value; a reload hands them another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners by their number, as [`crate::Origin`] names them. A number keeps its meaning as long as
    /// connections of that listener live.
    pub listeners: Vec<Arc<ListenerSettings>>,
    /// Window of QoS 1 and 2 messages towards a client that names no Receive Maximum, and the Receive
    /// Maximum that clients are told; 0 stands for 65,535 and tells them nothing.
    pub max_inflight_messages: u16,
    /// Bytes in that window per client; 0 for no limit.
    pub max_inflight_bytes: usize,
    /// Messages that wait for one client beyond its window; 0 for no limit.
    pub max_queued_messages: usize,
    /// Bytes of those; 0 for no limit.
    pub max_queued_bytes: usize,
    /// Bytes of all messages that wait in all queues together; 0 for no limit.
    pub max_queued_bytes_total: usize,
    /// What gives way when a queue is full.
    pub queue_overflow: QueueOverflow,
    /// Whether QoS 0 messages wait for a session that is away.
    pub queue_qos0_messages: bool,
    /// Unsent bytes for one connection above which QoS 0 messages are dropped for it.
    pub outbox_bytes_max: usize,
    /// Largest packet from a client in bytes; 0 for no limit but the protocol's.
    pub max_packet_size: u32,
    /// Largest payload in bytes; 0 for no limit.
    pub message_size_limit: usize,
    /// Longest keep alive that a client may ask for in seconds; 0 for no limit.
    pub max_keepalive: u16,
    /// Longest life of a session without a connection in seconds; `None` for no limit.
    pub persistent_client_expiration: Option<u64>,
    /// Whether messages are retained at all.
    pub retain_available: bool,
    /// Life of a retained message that brings no expiry of its own in seconds; `None` for ever.
    pub retain_expiry: Option<u64>,
    /// Whether a message goes out with the QoS of the subscription even if it came with a lower one.
    pub upgrade_outgoing_qos: bool,
    /// Whether a client with overlapping subscriptions gets a copy for each.
    pub allow_duplicate_messages: bool,
    /// Seconds between two publications of `$SYS`; 0 for never.
    pub sys_interval: u64,
    /// Whether a payload that is said to be UTF-8 is checked to be.
    pub validate_payload_format: bool,
    /// Subscriptions that one client may hold; 0 for no limit.
    pub max_subscriptions_per_client: usize,
    /// Levels that a topic or filter may have; at most [`Self::TOPIC_LEVELS_MAX`].
    pub max_topic_levels: usize,
    /// Retained messages that may be stored, those of `$SYS` included; 0 for no limit.
    pub max_retained_messages: usize,
    /// Bytes of those; 0 for no limit.
    pub max_retained_bytes: usize,
    /// Where it is counted how often limits are reached.
    pub limits: Arc<Limits>,
    /// Prefixes of which a client id must have one, unless there are none.
    pub clientid_prefixes: Vec<String>,
    /// Whether connecting and disconnecting clients are logged.
    pub connection_messages: bool,
    /// Whether each subscription and unsubscription is logged.
    pub log_subscriptions: bool,
    /// Topics below `$CONTROL/` that somebody answers, as [`crate::ControlRequest`] says.
    pub controls: Vec<Box<str>>,
    /// Seconds that a connection has for its CONNECT.
    pub connect_timeout: u64,
    /// What `$SYS/broker/version` says.
    pub version: String,
}

impl Settings {
    /// The most levels that [`Self::max_topic_levels`] can allow, as in Mosquitto: 200 slashes.
    pub const TOPIC_LEVELS_MAX: usize = crate::publish::LEVELS_MAX;

    /// Whether limits are set that messages have to be judged by one by one.
    pub(crate) const fn judges_messages(&self) -> bool {
        self.max_topic_levels < Self::TOPIC_LEVELS_MAX
            || self.max_retained_messages > 0
            || self.max_retained_bytes > 0
    }
}

/// Settings of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Names the listener for whoever judges logins.
    pub number: u64,
    /// The port, for the log; 0 for a unix socket.
    pub port: u16,
    /// Whether each CONNECT is judged outside, as [`crate::Login`] says.
    pub login: bool,
    /// Whether clients are let in, credentials or not, on a listener without [`Self::login`].
    pub allow_anonymous: bool,
    /// Highest QoS that clients may publish with.
    pub max_qos: QoS,
    /// Highest topic alias that clients may assign; 0 for none.
    pub max_topic_alias: u16,
    /// Highest topic alias that the broker assigns; 0 for none.
    pub max_topic_alias_broker: u16,
    /// The protocol versions that are spoken.
    pub versions: Versions,
    /// Put before every topic of these clients, and taken off again.
    pub mount_point: Option<Box<str>>,
    /// Whether a client may leave its id to the broker.
    pub allow_zero_length_clientid: bool,
    /// Begins the ids that the broker gives.
    pub auto_id_prefix: Box<str>,
}

/// A set of protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// 3.1.
    pub v3_1: bool,
    /// 3.1.1.
    pub v3_1_1: bool,
    /// 5.0.
    pub v5: bool,
}

impl Versions {
    /// All of them.
    pub const ALL: Self = Self {
        v3_1: true,
        v3_1_1: true,
        v5: true,
    };

    /// Whether `version` is in the set.
    #[must_use]
    pub const fn contains(self, version: Version) -> bool {
        match version {
            Version::V3_1 => self.v3_1,
            Version::V3_1_1 => self.v3_1_1,
            Version::V5 => self.v5,
        }
    }
}

/// Which message is dropped when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueOverflow {
    /// The one that comes.
    DropNewest,
    /// The one that has waited longest.
    DropOldest,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: vec![Arc::new(ListenerSettings::default())],
            max_inflight_messages: 20,
            max_inflight_bytes: 0,
            max_queued_messages: 1000,
            max_queued_bytes: 0,
            max_queued_bytes_total: 0,
            queue_overflow: QueueOverflow::DropNewest,
            queue_qos0_messages: false,
            outbox_bytes_max: 1024 * 1024,
            max_packet_size: 2_000_000,
            message_size_limit: 0,
            max_keepalive: 0,
            persistent_client_expiration: None,
            retain_available: true,
            retain_expiry: None,
            upgrade_outgoing_qos: false,
            allow_duplicate_messages: true,
            sys_interval: 10,
            validate_payload_format: false,
            max_subscriptions_per_client: 0,
            max_topic_levels: Self::TOPIC_LEVELS_MAX,
            max_retained_messages: 0,
            max_retained_bytes: 0,
            limits: Arc::default(),
            clientid_prefixes: Vec::new(),
            connection_messages: true,
            log_subscriptions: false,
            controls: Vec::new(),
            connect_timeout: 30,
            version: concat!("midge version ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            number: 0,
            port: 1883,
            login: false,
            allow_anonymous: true,
            max_qos: QoS::ExactlyOnce,
            max_topic_alias: 10,
            max_topic_alias_broker: 10,
            versions: Versions::ALL,
            mount_point: None,
            allow_zero_length_clientid: true,
            auto_id_prefix: "auto-".into(),
        }
    }
}
