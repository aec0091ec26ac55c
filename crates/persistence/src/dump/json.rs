//! A store as one JSON document. What means the same has the name that it has for Mosquitto's database.

use std::io::{self, Write};

use midge_broker::persist::{ContentsView, SessionView, SubscriptionView};

use super::{ClientMessage, Payloads, Store, Unreadable, expiry_interval, option_bits, seconds};
use crate::mosquitto_db::dump::json::{List, payload_and_properties, string};

/// Prints a store as JSON: an object with the lists `base-messages`, `clients`, `client-messages`,
/// `retained-messages`, `subscriptions` and `group-messages`.
///
/// # Errors
/// When `out` cannot be written.
pub fn json(
    store: &Store,
    payloads: Payloads,
    out: &mut impl Write,
    complain: &mut dyn FnMut(&Unreadable),
) -> io::Result<()> {
    let mut list = List::begin(out, "{\"base-messages\":")?;
    store.for_each_message(complain, |_, message| {
        list.item(|out| base_message(message, payloads, out))
    })?;
    list.end()?;
    let sessions = store.image.show_sessions();
    let mut list = List::begin(out, ",\"clients\":")?;
    for session in &sessions {
        list.item(|out| client(*session, out))?;
    }
    list.end()?;
    let mut list = List::begin(out, ",\"client-messages\":")?;
    for session in &sessions {
        for message in ClientMessage::of(*session) {
            list.item(|out| client_message(session.client_id(), &message, out))?;
        }
    }
    list.end()?;
    let mut list = List::begin(out, ",\"retained-messages\":")?;
    for retained in store.image.show_retained() {
        list.item(|out| {
            write!(out, "{{\"storeid\":{},\"topic\":", retained.message)?;
            string(retained.topic, out)?;
            out.write_all(b"}")
        })?;
    }
    list.end()?;
    let mut list = List::begin(out, ",\"subscriptions\":")?;
    for session in &sessions {
        for subscribed in session.subscriptions() {
            list.item(|out| subscription(session.client_id(), &subscribed, out))?;
        }
    }
    list.end()?;
    let mut list = List::begin(out, ",\"group-messages\":")?;
    for group in store.image.show_groups() {
        for message in group.messages {
            list.item(|out| {
                write!(out, "{{\"storeid\":{message}")?;
                if let Some((name, filter)) = &group.name {
                    out.write_all(b",\"share-name\":")?;
                    string(name, out)?;
                    out.write_all(b",\"topic\":")?;
                    string(filter, out)?;
                }
                out.write_all(b"}")
            })?;
        }
    }
    list.end()?;
    out.write_all(b"}\n")
}

fn base_message(
    message: &ContentsView<'_>,
    payloads: Payloads,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(
        out,
        "{{\"storeid\":{},\"expiry-time\":{},\"qos\":{},\"retain\":{},\"topic\":",
        message.id,
        seconds(message.expires),
        message.qos.bits(),
        u8::from(message.retain)
    )?;
    string(message.topic, out)?;
    payload_and_properties(message.payload, message.properties, payloads, out)?;
    out.write_all(b"}")
}

fn client(session: SessionView<'_>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"clientid\":")?;
    string(session.client_id(), out)?;
    for (name, value) in [
        (",\"username\":", session.user_name()),
        (",\"mount-point\":", session.mount_point()),
    ] {
        if let Some(value) = value {
            out.write_all(name.as_bytes())?;
            string(value, out)?;
        }
    }
    write!(
        out,
        ",\"connected\":{},\"session-expiry-time\":{},\"session-expiry-interval\":{}",
        session.is_connected(),
        seconds(session.ends_at()),
        expiry_interval(session)
    )?;
    if let Some(will) = session.will() {
        out.write_all(b",\"will\":{\"topic\":")?;
        string(will.topic, out)?;
        write!(
            out,
            ",\"qos\":{},\"retain\":{},\"delay-interval\":{},\"due-time\":{}",
            will.qos.bits(),
            u8::from(will.retain),
            will.delay_secs,
            seconds(will.due)
        )?;
        payload_and_properties(will.payload, will.properties, Payloads::Text, out)?;
        out.write_all(b"}")?;
    }
    out.write_all(b"}")
}

fn client_message(
    client_id: &str,
    message: &ClientMessage<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(b"{\"clientid\":")?;
    string(client_id, out)?;
    write!(
        out,
        ",\"storeid\":{},\"mid\":{},\"qos\":{},\"state\":{},\"retain-dup\":{},\"direction\":{},\
         \"subscription-identifier\":{}",
        message.message,
        message.packet_id,
        message.qos.bits(),
        message.state as u8,
        u8::from(message.retain) << 4 | u8::from(message.was_sent),
        message.direction as u8,
        message.ids.first().copied().unwrap_or(0)
    )?;
    // Mosquitto sends a copy for each subscription, so its database knows one for each message.
    if message.ids.len() > 1 {
        let mut list = Separated::default();
        out.write_all(b",\"subscription-identifiers\":[")?;
        for id in message.ids {
            list.next(out)?;
            write!(out, "{id}")?;
        }
        out.write_all(b"]")?;
    }
    out.write_all(b"}")
}

fn subscription(
    client_id: &str,
    subscription: &SubscriptionView<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(b"{\"clientid\":")?;
    string(client_id, out)?;
    out.write_all(b",\"topic\":")?;
    string(subscription.filter, out)?;
    write!(
        out,
        ",\"qos\":{},\"options\":{},\"identifier\":{}}}",
        subscription.options.qos(),
        option_bits(subscription.options),
        subscription.identifier.unwrap_or(0)
    )
}

/// Puts commas between items.
#[derive(Default)]
struct Separated {
    has_any: bool,
}

impl Separated {
    fn next(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::replace(&mut self.has_any, true) {
            out.write_all(b",")?;
        }
        Ok(())
    }
}
