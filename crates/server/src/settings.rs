//! From what the operator wrote to what the broker's logic asks for.

use std::sync::Arc;

use midge_broker::{Limits, ListenerSettings, QueueOverflow, Settings, Versions};
use midge_codec::QoS;

use crate::config::{self, General};
use crate::log::{Kind, Kinds};

/// The name and version that the log and `$SYS` tell.
pub const VERSION: &str = concat!("midge version ", env!("CARGO_PKG_VERSION"));

/// The settings of the whole broker.
pub(crate) fn broker_settings(
    general: &General,
    listeners: Vec<Arc<ListenerSettings>>,
    controls: Vec<Box<str>>,
    limits: Arc<Limits>,
) -> Settings {
    let kinds = if general.log.destinations.is_none() {
        Kinds::NONE
    } else {
        general.log.kinds
    };
    Settings {
        listeners,
        max_inflight_messages: general.max_inflight_messages.map_or(0, |count| count.get()),
        max_inflight_bytes: size(general.max_inflight_bytes.map(|bytes| bytes.get())),
        max_queued_messages: count(general.max_queued_messages.map(|count| count.get())),
        max_queued_bytes: size(general.max_queued_bytes.map(|bytes| bytes.get())),
        max_queued_bytes_total: size(general.max_queued_bytes_total.map(|bytes| bytes.get())),
        queue_overflow: match general.queue_overflow {
            config::QueueOverflow::DropNewest => QueueOverflow::DropNewest,
            config::QueueOverflow::DropOldest => QueueOverflow::DropOldest,
        },
        queue_qos0_messages: general.queue_qos0_messages,
        outbox_bytes_max: count(Some(general.outbox_bytes_max)),
        max_packet_size: general.max_packet_size,
        message_size_limit: count(general.message_size_limit.map(|bytes| bytes.get())),
        max_keepalive: general
            .max_keepalive_secs
            .map_or(0, |seconds| seconds.get()),
        persistent_client_expiration: general.persistent_client_expiration_secs.map(u64::from),
        retain_available: general.retain_available,
        retain_expiry: general
            .retain_expiry_secs
            .map(|seconds| seconds.get().into()),
        upgrade_outgoing_qos: general.upgrade_outgoing_qos,
        allow_duplicate_messages: general.allow_duplicate_messages,
        sys_interval: general
            .sys_interval_secs
            .map_or(0, |seconds| seconds.get().into()),
        validate_payload_format: general.validate_payload_format,
        max_subscriptions_per_client: count(
            general
                .max_subscriptions_per_client
                .map(|count| count.get()),
        ),
        max_topic_levels: general.max_topic_levels.into(),
        max_retained_messages: count(general.max_retained_messages.map(|count| count.get())),
        max_retained_bytes: size(general.max_retained_bytes.map(|bytes| bytes.get())),
        limits,
        clientid_prefixes: general.clientid_prefix.iter().cloned().collect(),
        connection_messages: general.connection_messages,
        log_subscriptions: kinds.contains(Kind::Subscribe) || kinds.contains(Kind::Unsubscribe),
        controls,
        connect_timeout: general.connect_timeout_secs.into(),
        version: VERSION.to_owned(),
    }
}

/// The settings of one listener, which is called `number` and open on `port` (0 for a unix socket).
pub(crate) fn listener_settings(
    settings: &config::ListenerSettings,
    number: u64,
    port: u16,
) -> ListenerSettings {
    let versions = settings.accept_protocol_versions;
    ListenerSettings {
        number,
        port,
        login: settings.asks_who_comes(),
        allow_anonymous: settings.allow_anonymous,
        max_qos: match settings.max_qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        max_topic_alias: settings.max_topic_alias,
        max_topic_alias_broker: settings.max_topic_alias_broker,
        versions: Versions {
            v3_1: versions.v3_1,
            v3_1_1: versions.v3_1_1,
            v5: versions.v5,
        },
        mount_point: settings.mount_point.as_deref().map(Into::into),
        allow_zero_length_clientid: settings.allow_zero_length_clientid,
        auto_id_prefix: settings.auto_id_prefix.as_str().into(),
    }
}

/// A limit as the broker takes it: 0 for none.
fn size(limit: Option<u64>) -> usize {
    limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

fn count(limit: Option<u32>) -> usize {
    size(limit.map(u64::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn of(text: &str) -> Settings {
        broker_settings(
            &Config::parse(text, "test.conf").unwrap().general,
            Vec::new(),
            Vec::new(),
            Arc::default(),
        )
    }

    #[test]
    fn the_defaults_are_those_of_the_broker_itself() {
        let ours = of("");
        let broker = Settings::default();
        assert_eq!(ours.max_inflight_messages, broker.max_inflight_messages);
        assert_eq!(ours.max_queued_messages, broker.max_queued_messages);
        assert_eq!(ours.max_packet_size, broker.max_packet_size);
        assert_eq!(ours.outbox_bytes_max, broker.outbox_bytes_max);
        assert_eq!(ours.sys_interval, broker.sys_interval);
        assert_eq!(ours.connect_timeout, broker.connect_timeout);
        assert!(!ours.log_subscriptions);
    }

    #[test]
    fn no_limit_is_zero() {
        let settings = of(
            "max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\nsys_interval 0\n",
        );
        assert_eq!(settings.max_inflight_messages, 0);
        assert_eq!(settings.max_queued_messages, 0);
        assert_eq!(settings.max_queued_bytes, 0);
        assert_eq!(settings.sys_interval, 0);
    }

    #[test]
    fn subscriptions_are_logged_when_somebody_reads_them() {
        assert!(of("log_type subscribe\n").log_subscriptions);
        assert!(of("log_type all\n").log_subscriptions);
        assert!(!of("log_type all\nlog_dest none\n").log_subscriptions);
    }

    #[test]
    fn a_listener_keeps_its_own_settings() {
        let text = "listener 1884\nmax_qos 1\nmount_point a/\nmax_topic_alias 3\n\
                    accept_protocol_versions 5\nallow_anonymous true\n";
        let config = Config::parse(text, "test.conf").unwrap();
        let settings = listener_settings(&config.listeners[0].settings, 1, 1884);
        assert_eq!(settings.port, 1884);
        assert_eq!(settings.max_qos, QoS::AtLeastOnce);
        assert_eq!(settings.mount_point.as_deref(), Some("a/"));
        assert_eq!(settings.max_topic_alias, 3);
        assert!(settings.allow_anonymous);
        assert_eq!(
            settings.versions,
            Versions {
                v3_1: false,
                v3_1_1: false,
                v5: true
            }
        );
    }
}
