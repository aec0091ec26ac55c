//! Options whose value has a form of its own, or that change the place in the file.

use std::num::NonZeroU32;
use std::path::PathBuf;

use chrono::format::{Item, StrftimeItems};
use midge_access::lockout::Network;

use super::draft::{Draft, not_yet};
use super::value::{Args, Fault, parse_number, shown};
use super::{Endpoint, PersistenceSync, Protocol, ProtocolVersions, SocketDomain};
use crate::log::{Destinations, Facility, Kind, Kinds};

/// The longest prefix in bytes of a client identifier that the broker chooses.
pub(super) const AUTO_ID_PREFIX_MAX: usize = 50;

/// The longest time in milliseconds between a change and its being on disk.
const SYNC_INTERVAL_MS_MAX: u32 = 60_000;

/// `listener <port> [<host>]` or `listener 0 <path>`.
pub(super) fn listener(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let port = port_number(args, 0)?;
    let place = args.next_word().filter(|word| !word.starts_with('#'));
    let endpoint = match (port, place) {
        (0, None) => {
            return Err(Fault::new(
                "Error: A listener with port 0 must provide a Unix socket path.",
                args.usage(),
            ));
        }
        (0, Some(path)) => Endpoint::Unix {
            path: PathBuf::from(path),
        },
        (port, host) => Endpoint::tcp(host, port),
    };
    if place.is_none() {
        // What is left can only be a comment.
        while args.next_word().is_some() {}
    }
    draft.begin_listener(endpoint);
    Ok(())
}

/// `port <port>`, for the default listener.
pub(super) fn port(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let number = port_number(args, 1)?;
    if draft.port_is_set {
        draft.warn(
            "Warning: Default listener port specified multiple times. Only the latest will be used.",
        );
    }
    draft.port_is_set = true;
    draft.describe_default_listener(args.option.name);
    draft.local_only = false;
    if let Endpoint::Tcp { port, .. } = &mut draft.listener()?.endpoint {
        *port = number;
    }
    Ok(())
}

fn port_number(args: &mut Args<'_>, min: u16) -> Result<u16, Fault> {
    let number = args.int()?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port >= min)
        .ok_or_else(|| {
            Fault::new(
                format!("Error: Invalid 'port' value ({number})."),
                "a port is a whole number from 1 to 65535; 0 goes with the path of a unix socket",
            )
        })
}

/// `bind_address <host>`, for the default listener.
pub(super) fn bind_address(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    draft.describe_default_listener(args.option.name);
    draft.local_only = false;
    match &mut draft.listener()?.endpoint {
        Endpoint::Tcp { host, .. } => args.text_once(host),
        Endpoint::Unix { .. } => Ok(()),
    }
}

/// `bind_interface <device>`.
pub(super) fn bind_interface(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    match &mut draft.listener()?.endpoint {
        Endpoint::Tcp { interface, .. } => args.text_once(interface),
        Endpoint::Unix { .. } => without_effect(draft, args),
    }
}

/// `socket_domain ipv4` or `ipv6`.
pub(super) fn socket_domain(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let wanted = match args.word()? {
        "ipv4" => SocketDomain::Ipv4,
        "ipv6" => SocketDomain::Ipv6,
        other => {
            let other = shown(other);
            return Err(Fault::new(
                format!("Error: Invalid 'socket_domain' value '{other}' in configuration."),
                args.usage(),
            ));
        }
    };
    match &mut draft.listener()?.endpoint {
        Endpoint::Tcp { domain, .. } => {
            *domain = wanted;
            Ok(())
        }
        Endpoint::Unix { .. } => without_effect(draft, args),
    }
}

fn without_effect(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    while args.next_word().is_some() {}
    let name = args.option.name;
    draft.warn(&format!(
        "Warning: '{name}' has no effect on a unix socket."
    ));
    Ok(())
}

/// `protocol mqtt` or `websockets`.
pub(super) fn protocol(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    draft.listener()?.settings.protocol = match args.word()? {
        "mqtt" => Protocol::Mqtt,
        "websockets" => Protocol::WebSockets,
        "http_api" => return Err(not_yet("protocol http_api", "the HTTP API")),
        other => return Err(args.invalid(other)),
    };
    Ok(())
}

/// `accept_protocol_versions 3, 4, 5`.
pub(super) fn accept_protocol_versions(
    draft: &mut Draft,
    args: &mut Args<'_>,
) -> Result<(), Fault> {
    let mut versions = ProtocolVersions::NONE;
    while let Some(word) = args.next_word() {
        if word.starts_with('#') {
            while args.next_word().is_some() {}
            break;
        }
        for version in word.split(',').filter(|version| !version.is_empty()) {
            match version {
                "3" => versions.v3_1 = true,
                "4" => versions.v3_1_1 = true,
                "5" => versions.v5 = true,
                other => return Err(args.invalid(other)),
            }
        }
    }
    if versions == ProtocolVersions::NONE {
        return Err(args.empty());
    }
    draft.listener()?.settings.accept_protocol_versions = versions;
    Ok(())
}

/// `mount_point <prefix>`.
pub(super) fn mount_point(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let prefix = args.text()?;
    if prefix.contains(['+', '#']) {
        let prefix = shown(prefix);
        return Err(Fault::new(
            format!(
                "Error: Invalid 'mount_point' value ({prefix}). Does it contain a wildcard \
                 character?"
            ),
            "a mount point is the beginning of a topic name, without + and #",
        ));
    }
    draft.listener()?.settings.mount_point = Some(prefix.to_owned());
    Ok(())
}

/// `max_topic_alias <number>` and `max_topic_alias_broker <number>`.
pub(super) fn max_topic_alias(args: &mut Args<'_>, setting: &mut u16) -> Result<(), Fault> {
    *setting = args.integer()?;
    Ok(())
}

/// Refuses a prefix that leaves too little of an identifier, with Mosquitto's own `message`.
pub(super) fn check_auto_id_prefix(prefix: Option<&str>, message: &str) -> Result<(), Fault> {
    if prefix.is_some_and(|prefix| prefix.len() > AUTO_ID_PREFIX_MAX) {
        let hint = format!("the prefix may be {AUTO_ID_PREFIX_MAX} bytes long");
        return Err(Fault::new(message, hint));
    }
    Ok(())
}

/// `per_listener_settings true`; once true it stays so.
pub(super) fn per_listener_settings(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let wanted = args.flag()?;
    if wanted && !draft.per_listener_settings && draft.security_seen {
        return Err(Fault::new(
            "Error: per_listener_settings must be set before any other security settings.",
            "make it the first line of the file",
        ));
    }
    draft.per_listener_settings |= wanted;
    Ok(())
}

/// `persistent_client_expiration <number><unit>`.
pub(super) fn expiration(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let word = args.word()?;
    let secs = duration_secs(word).ok_or_else(|| {
        Fault::new(
            "Error: Invalid 'persistent_client_expiration' duration in configuration.",
            args.usage(),
        )
    })?;
    // 0xFFFFFFFF seconds mean "never" in MQTT; what is longer, 136 years, ends just before it.
    let secs = u32::try_from(secs).unwrap_or(u32::MAX).min(u32::MAX - 1);
    draft.general.persistent_client_expiration_secs = Some(secs);
    Ok(())
}

fn duration_secs(word: &str) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60;
    let unit = word.chars().next_back()?;
    let unit_secs = match unit {
        's' => 1,
        'h' => 60 * 60,
        'd' => DAY,
        'w' => 7 * DAY,
        'm' => 30 * DAY,
        'y' => 365 * DAY,
        _ => return None,
    };
    let digits = word.strip_suffix(unit)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) || digits.is_empty() {
        return None;
    }
    // More digits than fit are still a duration, a very long one.
    let count: u64 = digits.parse().unwrap_or(u64::MAX);
    (count > 0).then(|| count.saturating_mul(unit_secs))
}

/// `persistence_location <directory>`.
pub(super) fn persistence_location(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    if draft.persistence.location.is_some() {
        return Err(args.duplicate());
    }
    draft.persistence.location = Some(draft.placed(PathBuf::from(args.text()?)));
    Ok(())
}

/// `persistence_file <name>`.
pub(super) fn persistence_file(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    if draft.persistence.file.is_some() {
        return Err(args.duplicate());
    }
    draft.persistence.file = Some(draft.placed(args.text()?.to_owned()));
    Ok(())
}

/// `persistence_sync always`, `os` or `<milliseconds>`.
pub(super) fn persistence_sync(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let word = args.word()?;
    let sync = match word {
        "always" => PersistenceSync::Always,
        "os" => PersistenceSync::Os,
        number => parse_number(number)
            .ok()
            .and_then(|milliseconds| u32::try_from(milliseconds).ok())
            .filter(|milliseconds| *milliseconds <= SYNC_INTERVAL_MS_MAX)
            .and_then(NonZeroU32::new)
            .map(PersistenceSync::Interval)
            .ok_or_else(|| args.invalid(word))?,
    };
    draft.persistence.sync = Some(draft.placed(sync));
    Ok(())
}

/// `auth_fail_exempt <network> ...` or `none`.
pub(super) fn auth_fail_exempt(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let mut networks = Vec::new();
    let mut word = args.word()?;
    loop {
        match word.parse::<Network>() {
            Ok(network) => networks.push(network),
            Err(_) if word == "none" && networks.is_empty() => break,
            Err(error) => {
                let mut fault = args.invalid(word);
                fault.hint = error.to_string();
                return Err(fault);
            }
        }
        match args.next_word() {
            Some(next) if !next.starts_with('#') => word = next,
            _ => break,
        }
    }
    // What is left can only be a comment.
    while args.next_word().is_some() {}
    draft.general.auth_fail_exempt = networks;
    Ok(())
}

/// `include_dir <directory>`.
pub(super) fn include_dir(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    if draft.is_included() {
        return Err(Fault::new(
            "Error: The include_dir option is only valid in the main configuration file.",
            "move the line to the file that the broker is started with",
        ));
    }
    draft.include = Some(args.text()?.to_owned());
    Ok(())
}

/// `log_dest <word>` or `log_dest file <path>`.
pub(super) fn log_dest(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let word = args.word()?;
    if word == "dlt" {
        draft.warn("Warning: 'log_dest dlt' is not supported and ignored.");
        return Ok(());
    }
    let destinations = draft.log_destinations.get_or_insert(Destinations::NONE);
    match word {
        "none" => *destinations = Destinations::NONE,
        "syslog" => destinations.syslog = true,
        "stdout" => destinations.stdout = true,
        "stderr" => destinations.stderr = true,
        "topic" => destinations.topic = true,
        "file" => {
            if destinations.file.is_some() {
                return Err(Fault::new(
                    "Error: Duplicate \"log_dest file\" value.",
                    "lines can go to one file only",
                ));
            }
            if args.unread_is_empty() {
                return Err(Fault::new(
                    "Error: Empty \"log_dest file\" value in configuration.",
                    args.usage(),
                ));
            }
            destinations.file = Some(PathBuf::from(args.text()?));
        }
        other => return Err(args.invalid(other)),
    }
    Ok(())
}

/// `log_type <word>`.
pub(super) fn log_type(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let word = args.word()?;
    let kinds = draft.log_kinds.get_or_insert(Kinds::NONE);
    match word {
        "none" => *kinds = Kinds::NONE,
        "all" => *kinds = Kinds::ALL,
        other => match Kind::ALL.into_iter().find(|kind| kind.name() == other) {
            Some(kind) => *kinds |= kind,
            None => return Err(args.invalid(other)),
        },
    }
    Ok(())
}

/// `log_facility 0` to `7`.
pub(super) fn log_facility(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    draft.general.log.facility = Facility::Local(args.integer()?);
    Ok(())
}

/// `log_timestamp_format <strftime>`.
pub(super) fn log_timestamp_format(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    args.text_once(&mut draft.log_timestamp_format)?;
    let format = draft.log_timestamp_format.as_deref().unwrap_or_default();
    if StrftimeItems::new(format).any(|item| matches!(item, Item::Error)) {
        let mut fault = args.invalid(format);
        "the format is one of strftime, as in %Y-%m-%dT%H:%M:%S".clone_into(&mut fault.hint);
        return Err(fault);
    }
    Ok(())
}
