//! What happens to the connection, for those who want to know.

use std::time::Duration;

use crate::error::{ConnectionError, Refusal};

/// Something that happened. See [`Client::events`](crate::Client::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The broker has accepted the connection.
    Connected(Connected),
    /// The connection is gone.
    Disconnected(ConnectionError),
    /// An attempt to connect failed.
    ConnectFailed(ConnectionError),
    /// Another attempt follows after `delay`.
    Reconnecting {
        /// 1 for the first attempt after a connection.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
    },
    /// The broker had no session, or may have begun a new one by a connection whose answer did not come. All
    /// subscriptions were made again.
    Resubscribed {
        /// Filters that it grants.
        filters: usize,
        /// Filters that it does not grant any more; their streams end with the reason.
        refused: Vec<(String, Refusal)>,
    },
    /// A message of QoS 1 or 2 from an earlier run matched no subscription of this one for so long that
    /// it was given up.
    Unclaimed {
        /// Its topic.
        topic: String,
    },
    /// The disk does not take what the durable queue has to note, for this reason. Deliveries wait; it is
    /// tried again.
    QueueFailing(String),
    /// The client has ended, and nothing follows.
    Closed(ConnectionError),
    /// The reader of these events was too slow; this many were left out.
    Missed(u64),
}

/// What the broker said when it accepted the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// Whether it had a session for this client id.
    pub session_present: bool,
    /// The client id in use, which the broker may have chosen.
    pub client_id: String,
    /// The keep alive in use in seconds, which the broker may have imposed; 0 for none.
    pub keep_alive_secs: u16,
    /// How long it keeps the session after the connection, in seconds; `u32::MAX` for ever.
    pub session_expiry_secs: u32,
    /// How many messages of QoS 1 and 2 it takes unacknowledged.
    pub receive_maximum: u16,
    /// The highest QoS that it takes.
    pub maximum_qos: u8,
    /// The largest packet in bytes that it takes; 0 for any.
    pub packet_size_max: u32,
    /// Whether it retains messages.
    pub retain_available: bool,
    /// Whether filters may have wildcards.
    pub wildcards_available: bool,
    /// Whether it knows shared subscriptions.
    pub shared_available: bool,
    /// Whether it knows subscription identifiers.
    pub subscription_identifiers_available: bool,
    /// How many topic aliases it accepts.
    pub topic_alias_maximum: u16,
    /// The base of response topics that it offers.
    pub response_information: Option<String>,
    /// What TLS agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::TlsInfo>,
    /// What it says for people to read.
    pub reason_string: Option<String>,
    /// Its user properties.
    pub user_properties: Vec<(String, String)>,
}
