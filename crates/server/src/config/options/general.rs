//! Options that hold for the whole broker, as Mosquitto has them.

use std::num::NonZeroU16;
use std::path::PathBuf;

use super::Scope::General;
use super::ValueType::{Flag, Form, Number, Text, Word};
use super::{Low, OptionDef, Reload, at_least, number};
use crate::config::MemoryLimit;
use crate::config::draft::Draft;
use crate::config::forms::{
    expiration, include_dir, log_dest, log_facility, log_timestamp_format, log_type,
    per_listener_settings, persistence_file, persistence_location,
};
use crate::config::value::{Args, Fault};

/// Why the options that tell Mosquitto when to save may stand in a file.
const SAVED_CONTINUOUSLY: &str = "what changes is saved as it changes";

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "allow_duplicate_messages",
        General,
        Flag,
        "true",
        "With false, a client with several subscriptions that match a message gets it once, with \
         the highest QoS and all subscription identifiers, instead of once for each.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.allow_duplicate_messages)),
    OptionDef::new(
        "autosave_interval",
        General,
        at_least(0),
        "1800",
        "Seconds between two saves of the state.",
    )
    .accepted(SAVED_CONTINUOUSLY),
    OptionDef::new(
        "autosave_on_changes",
        General,
        Flag,
        "false",
        "Whether autosave_interval counts changes instead of seconds.",
    )
    .accepted(SAVED_CONTINUOUSLY),
    OptionDef::new(
        "check_retain_source",
        General,
        Flag,
        "false",
        "Whether the right of the publisher of a retained message is checked again when the \
         message is delivered.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.check_retain_source))
    .accepted("it makes no difference while every client may publish everywhere"),
    OptionDef::new(
        "clientid_prefixes",
        General,
        Text,
        "",
        "Clients whose identifier does not begin with this text are refused.",
    )
    .reads(|draft, args| {
        draft.general.clientid_prefix = Some(args.text()?.to_owned());
        Ok(())
    }),
    OptionDef::new(
        "connection_messages",
        General,
        Flag,
        "true",
        "Whether connects and disconnects of clients are logged.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.connection_messages)),
    OptionDef::new(
        "enable_control_api",
        General,
        Flag,
        "false",
        "Whether $CONTROL/broker/v1 answers requests: about plugins and listeners, and for clients \
         with rules that let them publish there, about bans.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.enable_control_api)),
    OptionDef::new(
        "global_max_clients",
        General,
        at_least(-1),
        "-1",
        "How many sessions may exist, connected or not; 0 and -1 set no limit.",
    )
    .reads(|draft, args| {
        draft.general.global_max_clients = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "global_max_connections",
        General,
        at_least(-1),
        "-1",
        "How many clients may be connected at a time on all listeners together; 0 and -1 set no \
         limit.",
    )
    .reads(|draft, args| {
        draft.general.global_max_connections = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "include_dir",
        General,
        Text,
        "",
        "Reads every file of this directory whose name ends in .conf, in alphabetical order with \
         capitals before small letters; in the main file only.",
    )
    .adds()
    .reads(include_dir),
    OptionDef::new(
        "log_dest",
        General,
        Form("one of: none, syslog, stdout, stderr, topic, file <path>"),
        "stderr",
        "Where log lines go; several lines add up, and none takes back those before it.",
    )
    .adds()
    .reads(log_dest),
    OptionDef::new(
        "log_facility",
        General,
        number(0, 7),
        "",
        "Logs to the facility local0 to local7 of the system log instead of daemon.",
    )
    .reads(log_facility),
    OptionDef::new(
        "log_timestamp",
        General,
        Flag,
        "true",
        "Whether each log line begins with the time.",
    )
    .reads(|draft, args| flag(args, &mut draft.log_timestamp)),
    OptionDef::new(
        "log_timestamp_format",
        General,
        Text,
        "",
        "How the time in log lines is written, in the manner of strftime, in local time; seconds \
         since 1970 when absent.",
    )
    .once()
    .reads(log_timestamp_format),
    OptionDef::new(
        "log_type",
        General,
        Word(&[
            "none",
            "information",
            "notice",
            "warning",
            "error",
            "debug",
            "subscribe",
            "unsubscribe",
            "internal",
            "websockets",
            "all",
        ]),
        "error, warning, notice, information",
        "Which log lines are written; several lines add up, and none takes back those before it.",
    )
    .adds()
    .reads(log_type),
    OptionDef::new(
        "max_inflight_bytes",
        General,
        at_least(0),
        "0",
        "Bytes of QoS 1 and 2 messages that may be in flight to one client; 0 sets no limit.",
    )
    .reads(|draft, args| {
        draft.general.max_inflight_bytes = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_inflight_messages",
        General,
        Number {
            min: 0,
            max: 65_535,
            low: Low::Raised,
        },
        "20",
        "QoS 1 and 2 messages that may be in flight to one client, and from it; 0 and 65535 set \
         no limit.",
    )
    .refuses("Error: 'max_inflight_messages' must be <= 65535.")
    .reads(|draft, args| {
        // 65535 is what MQTT 5.0 takes an absent receive maximum for.
        let limit: Option<NonZeroU16> = args.limit()?;
        draft.general.max_inflight_messages = limit.filter(|limit| limit.get() < u16::MAX);
        Ok(())
    }),
    OptionDef::new(
        "max_keepalive",
        General,
        number(0, 65_535),
        "0",
        "The longest keep-alive in seconds that a client may ask for; 0 sets no limit and lets \
         clients do without.",
    )
    .reads(|draft, args| {
        draft.general.max_keepalive_secs = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_packet_size",
        General,
        number(20, i32::MAX as i64),
        "2000000",
        "The largest packet in bytes that the broker accepts.",
    )
    .refuses("Error: 'max_packet_size' must be >= 20.")
    .reads(|draft, args| {
        draft.general.max_packet_size = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "max_queued_bytes",
        General,
        at_least(0),
        "0",
        "Bytes that may wait in the queue of one client; 0 sets no limit.",
    )
    .reads(|draft, args| {
        draft.general.max_queued_bytes = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_queued_messages",
        General,
        at_least(0),
        "1000",
        "QoS 1 and 2 messages that may wait in the queue of one client; 0 sets no limit.",
    )
    .reads(|draft, args| {
        draft.general.max_queued_messages = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "memory_limit",
        General,
        number(0, i64::MAX),
        "four fifths of what the machine or container has",
        "Bytes of resident memory above which new sessions (0x89), subscriptions and messages (0x97) \
         are refused, while what waits is delivered; 0 sets no limit.",
    )
    .reads(|draft, args| {
        draft.general.memory_limit = match args.limit()? {
            Some(bytes) => MemoryLimit::Bytes(bytes),
            None => MemoryLimit::None,
        };
        Ok(())
    }),
    OptionDef::new(
        "message_size_limit",
        General,
        number(0, 268_435_455),
        "0",
        "The largest payload in bytes of a message; 0 sets no limit of its own.",
    )
    .deprecated("max_packet_size limits the whole packet and is told to the clients.")
    .reads(|draft, args| {
        draft.general.message_size_limit = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "packet_buffer_size",
        General,
        number(0, 65_535),
        "4096",
        "Bytes that the head of a WebSocket upgrade may have; connections share their read buffers.",
    )
    .also(&["websockets_headers_size"])
    .refuses("Error: Packet buffer size must be between 0 and 65535 inclusive.")
    .reads(|draft, args| {
        draft.general.packet_buffer_size = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "per_listener_settings",
        General,
        Flag,
        "false",
        "Whether the options that are general or for a listener hold for the listener before \
         them; must come before all of those.",
    )
    .deprecated("listener_allow_anonymous and listener_auto_id_prefix need no such switch.")
    .reads(per_listener_settings),
    OptionDef::new(
        "persistence",
        General,
        Flag,
        "false",
        "Whether sessions, queued and retained messages outlive a restart and a crash. Without a \
         configuration file they do.",
    )
    .also(&["retained_persistence"])
    .on_reload(Reload::Restart)
    .reads(|draft, args| flag(args, &mut draft.persistence.is_wanted)),
    OptionDef::new(
        "persistence_file",
        General,
        Text,
        "mosquitto.db",
        "The name of Mosquitto's database in persistence_location, which Midge takes over when it \
         starts there for the first time; the file stays as it is.",
    )
    .once()
    .on_reload(Reload::Restart)
    .reads(persistence_file),
    OptionDef::new(
        "persistence_location",
        General,
        Text,
        "the working directory",
        "The directory for the state, which is kept in its subdirectory midge. When the option is \
         absent, the environment variable MOSQUITTO_PERSISTENCE_LOCATION names it.",
    )
    .once()
    .on_reload(Reload::Restart)
    .reads(persistence_location),
    OptionDef::new(
        "persistent_client_expiration",
        General,
        Form("a number above 0 with a unit: s, h, d, w, m (30 days) or y (365 days), as in 14d"),
        "",
        "How long the session of an absent client is kept at most; for ever when absent.",
    )
    .reads(expiration),
    OptionDef::new(
        "pid_file",
        General,
        Text,
        "",
        "The file that the process id is written to.",
    )
    .once()
    .on_reload(Reload::Restart)
    .reads(|draft, args| {
        if draft.general.pid_file.is_some() {
            return Err(args.duplicate());
        }
        draft.general.pid_file = Some(PathBuf::from(args.text()?));
        Ok(())
    }),
    OptionDef::new(
        "queue_qos0_messages",
        General,
        Flag,
        "false",
        "Whether QoS 0 messages are queued for absent clients too.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.queue_qos0_messages)),
    OptionDef::new(
        "retain_available",
        General,
        Flag,
        "true",
        "Whether clients may publish retained messages.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.retain_available)),
    OptionDef::new(
        "retain_expiry_interval",
        General,
        number(1, i32::MAX as i64),
        "",
        "Minutes after which a retained message without an expiry of its own is forgotten; at \
         most 10000000, about 19 years.",
    )
    .refuses("Error: retain_expiry_interval must be >= 1.")
    .reads(retain_expiry_interval),
    OptionDef::new(
        "retry_interval",
        General,
        Form("anything"),
        "",
        "Once the seconds until an unacknowledged message was sent again.",
    )
    .accepted("messages are sent again when a client comes back, as the standards ask"),
    OptionDef::new(
        "set_tcp_nodelay",
        General,
        Flag,
        "true",
        "Whether small packets leave at once, without waiting for more to send (TCP_NODELAY). \
         Mosquitto's default is false; Midge gathers what it writes by itself.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.set_tcp_nodelay)),
    OptionDef::new(
        "sys_interval",
        General,
        number(0, 65_535),
        "10",
        "Seconds between two updates of the topics below $SYS; 0 publishes none.",
    )
    .reads(|draft, args| {
        draft.general.sys_interval_secs = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "upgrade_outgoing_qos",
        General,
        Flag,
        "false",
        "Whether messages are delivered with the QoS of the subscription even if they were \
         published with less.",
    )
    .reads(|draft, args| flag(args, &mut draft.general.upgrade_outgoing_qos)),
    OptionDef::new(
        "user",
        General,
        Text,
        "mosquitto",
        "The user to become when the broker is started as root; nobody when mosquitto, the \
         default, does not exist.",
    )
    .on_reload(Reload::Restart)
    .reads(|draft, args| {
        draft.general.user = Some(args.text()?.to_owned());
        Ok(())
    }),
    OptionDef::new(
        "websockets_log_level",
        General,
        number(i32::MIN as i64, i32::MAX as i64),
        "0",
        "What libwebsockets logs.",
    )
    .accepted("libwebsockets is not used"),
];

fn flag(args: &mut Args<'_>, setting: &mut bool) -> Result<(), Fault> {
    *setting = args.flag()?;
    Ok(())
}

/// The largest retain_expiry_interval in minutes.
const RETAIN_EXPIRY_MINUTES_MAX: i64 = 10_000_000;

fn retain_expiry_interval(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let minutes = args.number()?;
    if minutes > RETAIN_EXPIRY_MINUTES_MAX {
        draft.warn("Warning: retain_expiry_interval being capped at 19 years.");
    }
    let secs = minutes.clamp(1, RETAIN_EXPIRY_MINUTES_MAX) * 60;
    draft.general.retain_expiry_secs = u32::try_from(secs).ok().and_then(std::num::NonZero::new);
    Ok(())
}
