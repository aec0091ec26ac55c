//! Messages as JSON.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use midge_codec::{Property, Publish, QoS};
use serde_json::{Map, Value, json};

use super::format::Clock;
use crate::properties;

/// Appends a message as `%j` and `%J` have it: the payload as text, or as the JSON that it is.
///
/// # Errors
/// In words, when the payload should be JSON and is none.
pub(super) fn write(
    message: &Publish<'_>,
    now: &Clock,
    is_json: bool,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let mut object = head(message, now);
    let payload = match message.payload {
        [] => Value::Null,
        payload if is_json => serde_json::from_slice(payload).map_err(|_| {
            let topic = message.topic;
            format!("Error: Message payload is not valid JSON on topic {topic}.")
        })?,
        payload => String::from_utf8_lossy(payload).into(),
    };
    object.insert("payload".to_owned(), payload);
    // A vector takes everything.
    let _ = put(&Value::Object(object), pretty, out);
    Ok(())
}

/// Writes a message as `--json` has it: the payload loses nothing.
pub(super) fn write_line(
    message: &Publish<'_>,
    now: &Clock,
    pretty: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut object = head(message, now);
    let payload = message.payload;
    if payload.is_empty() {
        object.insert("payload".to_owned(), Value::Null);
    } else if let Ok(value) = serde_json::from_slice::<Value>(payload) {
        object.insert("payload".to_owned(), value);
    } else if let Ok(text) = str::from_utf8(payload) {
        object.insert("payload".to_owned(), text.into());
    } else {
        object.insert("payload_base64".to_owned(), STANDARD.encode(payload).into());
    }
    put(&Value::Object(object), pretty, out)
}

/// All but the payload.
fn head(message: &Publish<'_>, now: &Clock) -> Map<String, Value> {
    let mut object = Map::new();
    let mut add = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    add("tst", now.precise().into());
    add("topic", message.topic.into());
    add("qos", message.qos.bits().into());
    add("retain", message.retain.into());
    add("payloadlen", message.payload.len().into());
    if message.qos != QoS::AtMostOnce {
        add("mid", message.packet_id.map_or(0, u16::from).into());
    }
    if !message.properties.is_empty() {
        add("properties", all_properties(message).into());
    }
    object
}

fn all_properties(message: &Publish<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    for property in message.properties.iter() {
        let value = match property {
            Property::PayloadFormatIndicator(value) => value.into(),
            Property::MessageExpiryInterval(value) | Property::SubscriptionIdentifier(value) => {
                value.into()
            }
            Property::TopicAlias(value) => value.into(),
            Property::ContentType(text) | Property::ResponseTopic(text) => text.into(),
            Property::CorrelationData(bytes) => String::from_utf8_lossy(bytes).into(),
            Property::UserProperty(name, value) => {
                let list = object.entry("user-properties").or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(json!({ name: value }));
                }
                continue;
            }
            _ => continue,
        };
        object.insert(properties::name(property.id()).to_owned(), value);
    }
    object
}

fn put(value: &Value, pretty: bool, out: &mut impl Write) -> io::Result<()> {
    if pretty {
        put_pretty(value, 1, out)
    } else {
        serde_json::to_writer(out, value).map_err(io::Error::from)
    }
}

/// The lay-out of the Mosquitto tools: a member in each line, tabs, arrays in one line.
fn put_pretty(value: &Value, depth: usize, out: &mut impl Write) -> io::Result<()> {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.write_all(b"{\n")?;
            let mut is_first = true;
            for (name, value) in members {
                if !is_first {
                    out.write_all(b",\n")?;
                }
                is_first = false;
                write!(out, "{:\t<depth$}", "")?;
                serde_json::to_writer(&mut *out, name)?;
                out.write_all(b":\t")?;
                put_pretty(value, depth + 1, out)?;
            }
            let outer = depth - 1;
            write!(out, "\n{:\t<outer$}}}", "")
        }
        Value::Array(items) => {
            out.write_all(b"[")?;
            let mut is_first = true;
            for item in items {
                if !is_first {
                    out.write_all(b", ")?;
                }
                is_first = false;
                put_pretty(item, depth + 1, out)?;
            }
            out.write_all(b"]")
        }
        other => serde_json::to_writer(out, other).map_err(io::Error::from),
    }
}
