//! Options that Midge adds, in the manner of Mosquitto's.

use super::Scope::General;
use super::ValueType::{Flag, Form, Word};
use super::{OptionDef, Reload, at_least, number};
use crate::config::QueueOverflow;
use crate::config::forms::{auth_fail_exempt, persistence_sync};

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "auth_fail_ban",
        General,
        number(1, 31_536_000),
        "300",
        "Seconds of the first ban of an address or user; each further one is twice as long.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_ban_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_fail_ban_max",
        General,
        number(1, 31_536_000),
        "86400",
        "Seconds of the longest ban.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_ban_max_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_fail_delay",
        General,
        number(0, 10_000),
        "250",
        "Milliseconds by which the refusal of a failed login is held back; each further one twice \
         as long.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_delay_ms = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_fail_delay_max",
        General,
        number(0, 10_000),
        "5000",
        "Milliseconds by which a refusal is held back at most.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_delay_max_ms = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_fail_exempt",
        General,
        Form("addresses and networks such as 192.0.2.0/24 or 2001:db8::/32, or none"),
        "127.0.0.0/8 ::1/128",
        "Addresses that are never banned, such as those of gateways and proxies; their failed \
         logins are counted and answered late all the same.",
    )
    .by_midge()
    .reads(auth_fail_exempt),
    OptionDef::new(
        "auth_fail_max",
        General,
        number(0, 1_000),
        "10",
        "Failed logins with different names or passwords after which an address, or a /64 network of \
         IPv6, is banned; 0 bans none.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_max = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_fail_user_max",
        General,
        number(0, 1_000),
        "100",
        "Failed logins after which a user is banned, except from the last addresses that it has \
         logged in from; 0 bans none.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_user_max = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_fail_window",
        General,
        number(1, 86_400),
        "300",
        "Seconds for which a failed login counts.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_fail_window_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "auth_cache",
        General,
        number(0, 604_800),
        "3600",
        "Seconds for which a password that was right is not hashed again when the same user connects \
         with it; 0 hashes each time. See security.md.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.auth_cache_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "connect_timeout",
        General,
        number(1, 65_535),
        "30",
        "Seconds that a new connection has to send a complete CONNECT.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.connect_timeout_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "listen_backlog",
        General,
        number(1, 65_535),
        "1024",
        "Connections that may wait in the kernel until the broker accepts them, for each \
         listening socket.",
    )
    .on_reload(Reload::Restart)
    .by_midge()
    .reads(|draft, args| {
        draft.general.listen_backlog = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "max_connect_rate",
        General,
        at_least(0),
        "0",
        "Connections that each listener accepts per second, the rest wait; 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_connect_rate = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_queued_bytes_total",
        General,
        number(0, i64::MAX),
        "1073741824",
        "Bytes that may wait in the queues of all clients together; 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_queued_bytes_total = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_subscriptions_per_client",
        General,
        at_least(0),
        "0",
        "Subscriptions that one client may hold; 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_subscriptions_per_client = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "outbox_bytes_max",
        General,
        number(4_096, i32::MAX as i64),
        "1048576",
        "Unsent bytes of one connection above which QoS 0 messages to it are dropped.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.outbox_bytes_max = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "persistence_sync",
        General,
        Form("always, os, or milliseconds from 1 to 60000"),
        "always",
        "When what is acknowledged is on disk: always before that, at most so many milliseconds \
         later, or when the operating system writes it. A crash of the broker alone loses nothing \
         either way; a power cut can lose what was not on disk yet.",
    )
    .on_reload(Reload::Restart)
    .by_midge()
    .reads(persistence_sync),
    OptionDef::new(
        "queue_overflow",
        General,
        Word(&["drop_newest", "drop_oldest"]),
        "drop_newest",
        "Which message goes when the queue of a client is full.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.queue_overflow = match args.word()? {
            "drop_newest" => QueueOverflow::DropNewest,
            "drop_oldest" => QueueOverflow::DropOldest,
            other => return Err(args.invalid(other)),
        };
        Ok(())
    }),
    OptionDef::new(
        "validate_payload_format",
        General,
        Flag,
        "false",
        "Whether a message whose payload format indicator promises UTF-8 is refused when its \
         payload is not.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.validate_payload_format = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "worker_threads",
        General,
        number(0, 1_024),
        "0",
        "Threads that serve clients; 0 starts one for each core.",
    )
    .on_reload(Reload::Restart)
    .by_midge()
    .reads(|draft, args| {
        draft.general.worker_threads = args.limit()?;
        Ok(())
    }),
];
