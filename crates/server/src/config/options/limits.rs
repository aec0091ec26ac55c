//! Limits against abuse, in the manner of Mosquitto's.

use super::Scope::{General, ListenerOrDefault};
use super::{OptionDef, at_least, number};

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "max_bytes_rate",
        ListenerOrDefault,
        at_least(0),
        "0",
        "Bytes per second that each client of this listener may send, with bursts of a second's worth; \
         who sends more is read more slowly. 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.listener()?.settings.max_bytes_rate = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_bytes_rate_total",
        ListenerOrDefault,
        at_least(0),
        "0",
        "Bytes per second that all clients of this listener may send together; they are read in turns \
         above that. 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.listener()?.settings.max_bytes_rate_total = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_connect_rate_per_address",
        General,
        at_least(0),
        "0",
        "Connections per second that one address, or a /64 network of IPv6, may open, with bursts of a \
         second's worth; further ones are closed. Addresses of auth_fail_exempt may open any number. 0 \
         sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_connect_rate_per_address = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_publish_rate",
        ListenerOrDefault,
        at_least(0),
        "0",
        "Messages per second that each client of this listener may publish, with bursts of a second's \
         worth; who publishes more is read more slowly. 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.listener()?.settings.max_publish_rate = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_publish_rate_total",
        ListenerOrDefault,
        at_least(0),
        "0",
        "Messages per second that all clients of this listener may publish together; they are read in \
         turns above that. 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.listener()?.settings.max_publish_rate_total = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_retained_bytes",
        General,
        number(0, i64::MAX),
        "0",
        "Bytes of all retained messages together, topics included, above which further ones are refused \
         (0x97); 0 sets no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_retained_bytes = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_retained_messages",
        General,
        at_least(0),
        "0",
        "Retained messages, those of $SYS included, above which further ones are refused (0x97); 0 sets \
         no limit.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_retained_messages = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_topic_levels",
        General,
        number(1, 201),
        "201",
        "Levels that a topic (0x90) or a topic filter (0x8F) may have.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.general.max_topic_levels = args.integer()?;
        Ok(())
    }),
];
