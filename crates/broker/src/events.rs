//! The words of the log. Other programs read some of these lines, so those follow Mosquitto's.

use std::fmt::Display;

use midge_codec::Version;

use crate::access::Action;
use crate::connection::Origin;
use crate::effects::{Effects, LogKind, LogLine};
use crate::limits::Limit;

fn log(effects: &mut Effects, kind: LogKind, text: String) {
    effects.log.push(LogLine { kind, text });
}

pub(crate) fn connected(
    effects: &mut Effects,
    origin: &Origin,
    client_id: &str,
    user_name: Option<&str>,
    version: Version,
    clean: bool,
    keep_alive: u16,
) {
    let user = user_name.map_or_else(String::new, |name| format!(", u'{name}'"));
    let text = format!(
        "New client connected from {origin} as {client_id} (p{}, c{}, k{keep_alive}{user}).",
        version.level(),
        u8::from(clean),
    );
    log(effects, LogKind::Notice, text);
}

pub(crate) fn disconnected(
    effects: &mut Effects,
    origin: &Origin,
    client_id: Option<&str>,
    reason: Option<&dyn Display>,
) {
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let text = match client_id {
        Some(id) => format!("Client {id} [{origin}] disconnected{reason}."),
        None => format!("Connection from {origin} closed{reason}."),
    };
    log(effects, LogKind::Notice, text);
}

pub(crate) fn outbox_full(effects: &mut Effects, client_id: &str, bytes: usize) {
    let text = format!(
        "Outgoing messages are being dropped for client {client_id}: it does not read, and \
         {bytes} bytes wait for it (outbox_bytes_max)."
    );
    log(effects, LogKind::Notice, text);
}

pub(crate) fn queue_full(effects: &mut Effects, client_id: &str, messages: usize, bytes: usize) {
    let text = format!(
        "Outgoing messages are being dropped for client {client_id}: its queue is full with \
         {messages} messages of {bytes} bytes (max_queued_messages, max_queued_bytes)."
    );
    log(effects, LogKind::Notice, text);
}

pub(crate) fn limit_reached(effects: &mut Effects, limit: Limit, who: &str, count: u64) {
    log(effects, LogKind::Notice, limit.line(who, count));
}

pub(crate) fn session_expired(effects: &mut Effects, client_id: &str) {
    let text = format!("Expiring client {client_id} due to timeout.");
    log(effects, LogKind::Notice, text);
}

pub(crate) fn subscribed(effects: &mut Effects, client_id: &str, qos: u8, filter: &str) {
    log(
        effects,
        LogKind::Subscribe,
        format!("{client_id} {qos} {filter}"),
    );
}

pub(crate) fn unsubscribed(effects: &mut Effects, client_id: &str, filter: &str) {
    log(
        effects,
        LogKind::Unsubscribe,
        format!("{client_id} {filter}"),
    );
}

pub(crate) fn denied(
    effects: &mut Effects,
    action: Action,
    client_id: &str,
    user_name: Option<&str>,
    topic: &str,
    why: &str,
) {
    let action = match action {
        Action::Publish => "PUBLISH from",
        Action::Deliver => "delivery to",
        Action::Subscribe => "SUBSCRIBE from",
        Action::Unsubscribe => "UNSUBSCRIBE from",
    };
    let user = user_name.map_or_else(|| "no user".to_owned(), |name| format!("user '{name}'"));
    let text = format!("Denied {action} {client_id} ({user}, topic '{topic}'): {why}.");
    log(effects, LogKind::Notice, text);
}

pub(crate) fn subscription_removed(effects: &mut Effects, client_id: &str, filter: &str) {
    let text =
        format!("Subscription of {client_id} to '{filter}' removed: it is no longer allowed.");
    log(effects, LogKind::Notice, text);
}

pub(crate) fn publish_denied(effects: &mut Effects, client_id: &str, topic: &str, why: &str) {
    let text = format!("Denied PUBLISH from {client_id} (topic '{topic}'): {why}.");
    log(effects, LogKind::Warning, text);
}
