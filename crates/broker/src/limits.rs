//! Limits that were reached: counted for `$SYS`, told the log now and then. And whether memory is short.
//!
//! One value is shared by all shards and by whoever stands around them. It is written only when a limit
//! acts; on the way of a message one flag is looked at.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::Time;

/// Between two lines of the log about the same limit.
const TOLD_MS: u64 = 10_000;

macro_rules! limits {
    ($( $(#[$doc:meta])* $name:ident = $option:literal, $does:literal; )*) => {
        /// A limit, by the option that sets it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit { $( $(#[$doc])* $name, )* }

        impl Limit {
            /// All of them.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// The option that sets it.
            #[must_use]
            pub const fn option(self) -> &'static str {
                match self { $( Self::$name => $option, )* }
            }

            /// Where `$SYS` counts how often it was reached.
            pub(crate) const fn topic(self) -> &'static str {
                match self { $( Self::$name => concat!("$SYS/broker/limits/", $option), )* }
            }

            /// What becomes of who reaches it.
            const fn does(self) -> &'static str {
                match self { $( Self::$name => $does, )* }
            }
        }
    };
}

limits! {
    /// Messages per second of one client.
    PublishRate = "max_publish_rate", "it is read more slowly";
    /// Bytes per second of one client.
    BytesRate = "max_bytes_rate", "it is read more slowly";
    /// Messages per second of a listener.
    PublishRateTotal = "max_publish_rate_total", "it is read more slowly";
    /// Bytes per second of a listener.
    BytesRateTotal = "max_bytes_rate_total", "it is read more slowly";
    /// Connections per second of a listener.
    ConnectRate = "max_connect_rate", "further connections wait";
    /// Connections per second from one address.
    AddressConnectRate = "max_connect_rate_per_address", "the connection is closed";
    /// Connections of a listener.
    Connections = "max_connections", "the connection is closed";
    /// Connections of the broker.
    GlobalConnections = "global_max_connections", "the connection is closed";
    /// Sessions of the broker.
    GlobalClients = "global_max_clients", "CONNECT is refused";
    /// Seconds until CONNECT is there.
    ConnectTimeout = "connect_timeout", "the connection is closed";
    /// Bytes of a packet.
    PacketSize = "max_packet_size", "the connection is closed";
    /// Bytes of a payload.
    MessageSize = "message_size_limit", "the message is refused";
    /// Subscriptions of one client.
    Subscriptions = "max_subscriptions_per_client", "the subscription is refused";
    /// Levels of a topic or filter.
    TopicLevels = "max_topic_levels", "the message or subscription is refused";
    /// Retained messages.
    RetainedMessages = "max_retained_messages", "the message is refused";
    /// Bytes of retained messages.
    RetainedBytes = "max_retained_bytes", "the message is refused";
    /// Bytes of all queues.
    QueuedBytesTotal = "max_queued_bytes_total", "the message is refused";
    /// Memory of the process.
    Memory = "memory_limit", "new work is refused";
    /// Failed logins.
    FailedLogins = "auth_fail_max", "the address or user is banned";
}

const COUNT: usize = Limit::ALL.len();

impl Limit {
    /// A line for the log: who has reached it, and how often it has been reached by all together.
    #[must_use]
    pub fn line(self, who: &str, count: u64) -> String {
        let (option, does) = (self.option(), self.does());
        format!("Limit {option} reached by {who}: {does}. It has been reached {count} times.")
    }
}

/// Messages have to be judged by limits that are seldom set.
const CONFIGURED: u8 = 1;
/// Memory is short.
const PRESSED: u8 = 2;

/// How often limits were reached, and whether memory is short.
#[derive(Debug, Default)]
pub struct Limits {
    /// Alone in its cache line nearly always: the counts behind it change only when something is refused.
    flags: AtomicU8,
    /// Bytes of memory that the process has; 0 as long as nobody has said so.
    resident: AtomicU64,
    reached: [Reached; COUNT],
}

#[derive(Debug, Default)]
struct Reached {
    count: AtomicU64,
    /// One more than the time of the last line in milliseconds; 0 before the first.
    told_at: AtomicU64,
}

impl Limits {
    /// Whether a message is to be judged by more than its size.
    #[inline]
    pub(crate) fn is_strict(&self) -> bool {
        self.flags.load(Relaxed) != 0
    }

    /// Whether memory is short, so that nothing new is to be taken on.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.flags.load(Relaxed) & PRESSED != 0
    }

    /// Says whether memory is short.
    pub fn set_pressed(&self, is_pressed: bool) {
        self.set(PRESSED, is_pressed);
    }

    pub(crate) fn set_configured(&self, is_configured: bool) {
        self.set(CONFIGURED, is_configured);
    }

    fn set(&self, flag: u8, on: bool) {
        if on {
            self.flags.fetch_or(flag, Relaxed);
        } else {
            self.flags.fetch_and(!flag, Relaxed);
        }
    }

    /// Says how much memory the process has, for `$SYS`.
    pub fn set_resident(&self, bytes: u64) {
        self.resident.store(bytes, Relaxed);
    }

    pub(crate) fn resident(&self) -> u64 {
        self.resident.load(Relaxed)
    }

    /// Counts that a limit was reached. How often that has been, if it is time for a line in the log.
    pub fn reached(&self, limit: Limit, now: Time) -> Option<u64> {
        let reached = self.reached.get(limit as usize)?;
        let count = reached.count.fetch_add(1, Relaxed) + 1;
        let is_due = |told: u64| (told == 0 || now.0 >= told - 1 + TOLD_MS).then_some(now.0 + 1);
        let told = reached.told_at.fetch_update(Relaxed, Relaxed, is_due);
        told.is_ok().then_some(count)
    }

    /// How often a limit has been reached.
    #[must_use]
    pub fn count(&self, limit: Limit) -> u64 {
        let reached = self.reached.get(limit as usize);
        reached.map_or(0, |reached| reached.count.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_and_a_line_is_due_every_ten_seconds() {
        let limits = Limits::default();
        let at = |ms| limits.reached(Limit::Memory, Time(ms));
        assert_eq!(at(0), Some(1));
        assert_eq!(at(1), None);
        assert_eq!(at(9_999), None);
        assert_eq!(at(10_000), Some(4));
        assert_eq!(at(10_001), None);
        assert_eq!(limits.count(Limit::Memory), 5);
        assert_eq!(limits.count(Limit::Connections), 0);
    }

    #[test]
    fn messages_are_judged_while_a_limit_is_set_or_memory_is_short() {
        let limits = Limits::default();
        assert!(!limits.is_strict());
        limits.set_configured(true);
        limits.set_pressed(true);
        assert!(limits.is_strict() && limits.is_pressed());
        limits.set_pressed(false);
        assert!(limits.is_strict() && !limits.is_pressed());
        limits.set_configured(false);
        assert!(!limits.is_strict());
    }
}
