//! A database as one JSON document, with the names that `mosquitto_db_dump --json` uses.

use std::io::{self, Read, Seek, Write};

use midge_codec::{Properties, Property, Version};

use super::{Error, write_hex};
use crate::mosquitto_db::{
    BaseMessage, Client, ClientMessage, Damage, Database, Kind, Record, Retained, Stop,
    Subscription,
};

/// How payloads are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payloads {
    /// As text when they are UTF-8; otherwise in base64, with `"payload-encoding": "base64"` beside.
    #[default]
    Text,
    /// All in base64, as Mosquitto prints them.
    Base64,
}

/// Prints a database as JSON: an object with the lists `base-messages`, `clients`,
/// `client-messages`, `retained-messages` and `subscriptions`, and `damage` if there is any.
///
/// Chunks of different kinds alternate in the file, so each list takes a reading of its own. Unless
/// the file's header is wrong, the document is complete and valid also when the file is not.
///
/// # Errors
/// See [`Error`].
pub fn json(
    mut source: impl Read + Seek,
    payloads: Payloads,
    out: &mut impl Write,
    complain: &mut dyn FnMut(&Damage),
) -> Result<(), Error> {
    let mut has_damage = false;
    let start = stream_position(&mut source)?;
    // The first reading takes all kinds of chunks, so that every damage is seen once.
    let mut database = Database::open(&mut source)?;
    let mut list = List::begin(out, "{\"base-messages\":")?;
    let result = loop {
        match database.next_chunk() {
            Ok(None) => break Ok(()),
            Err(stop) => break Err(stop),
            Ok(Some(chunk)) => match chunk.content {
                Ok(Record::BaseMessage(message)) => {
                    list.item(|out| base_message(&message, payloads, out))?;
                }
                Ok(_) => {}
                Err(damage) => {
                    complain(&damage);
                    has_damage = true;
                }
            },
        }
    };
    list.end()?;
    for (kind, name) in [
        (Kind::Client, ",\"clients\":"),
        (Kind::ClientMessage, ",\"client-messages\":"),
        (Kind::Retained, ",\"retained-messages\":"),
        (Kind::Subscription, ",\"subscriptions\":"),
    ] {
        rewind(&mut source, start)?;
        let database = Database::open(&mut source)?.only(kind);
        let mut list = List::begin(out, name)?;
        for_each_good(database, |record| match record {
            Record::Client(record) => list.item(|out| client(&record, out)),
            Record::ClientMessage(record) => list.item(|out| client_message(&record, out)),
            Record::Retained(record) => list.item(|out| retained(record, out)),
            Record::Subscription(record) => list.item(|out| subscription(&record, out)),
            Record::Config(_) | Record::BaseMessage(_) => Ok(()),
        })?;
        list.end()?;
    }
    if has_damage || result.is_err() {
        rewind(&mut source, start)?;
        let mut list = List::begin(out, ",\"damage\":")?;
        list_damage(Database::open(&mut source)?, &mut list)?;
        list.end()?;
    }
    out.write_all(b"}\n")?;
    result.map_err(Error::Read)
}

fn stream_position(source: &mut impl Seek) -> Result<u64, Stop> {
    source.stream_position().map_err(seek_failed)
}

fn rewind(source: &mut impl Seek, start: u64) -> Result<(), Stop> {
    source
        .seek(io::SeekFrom::Start(start))
        .map(|_| ())
        .map_err(seek_failed)
}

const fn seek_failed(error: io::Error) -> Stop {
    Stop {
        offset: 0,
        reason: crate::mosquitto_db::Reason::Io(error),
    }
}

/// Calls `each` for the chunks up to the end of what can be read; the first reading has told the rest.
fn for_each_good<R: Read>(
    mut database: Database<R>,
    mut each: impl FnMut(Record) -> io::Result<()>,
) -> io::Result<()> {
    while let Ok(Some(chunk)) = database.next_chunk() {
        if let Ok(record) = chunk.content {
            each(record)?;
        }
    }
    Ok(())
}

fn list_damage<R: Read>(
    mut database: Database<R>,
    list: &mut List<'_, impl Write>,
) -> io::Result<()> {
    loop {
        let (offset, words) = match database.next_chunk() {
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => match chunk.content {
                Ok(_) => continue,
                Err(damage) => (damage.offset, damage.to_string()),
            },
            Err(stop) => (stop.offset, stop.to_string()),
        };
        list.item(|out| {
            write!(out, "{{\"offset\":{offset},\"reason\":")?;
            string(&words, out)?;
            out.write_all(b"}")
        })?;
    }
}

fn base_message(message: &BaseMessage, payloads: Payloads, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "{{\"storeid\":{},\"expiry-time\":{},\"source-mid\":{},\"source-port\":{},\"qos\":{},\
         \"retain\":{},\"topic\":",
        message.id,
        message.expires_at.unwrap_or(0),
        message.source_packet_id,
        message.source_port,
        message.qos.bits(),
        u8::from(message.retain)
    )?;
    string(&message.topic, out)?;
    for (name, value) in [
        (",\"clientid\":", &message.source_id),
        (",\"username\":", &message.source_username),
    ] {
        if let Some(value) = value {
            out.write_all(name.as_bytes())?;
            string(value, out)?;
        }
    }
    payload_and_properties(&message.payload, &message.properties, payloads, out)?;
    out.write_all(b"}")
}

/// Writes the members `payload` and `properties`, each if there is any, behind other members.
pub(crate) fn payload_and_properties(
    payload: &[u8],
    properties: &[u8],
    payloads: Payloads,
    out: &mut impl Write,
) -> io::Result<()> {
    if !payload.is_empty() {
        out.write_all(b",\"payload\":")?;
        match (payloads, str::from_utf8(payload)) {
            (Payloads::Text, Ok(text)) => string(text, out)?,
            (Payloads::Text, Err(_)) => {
                base64(payload, out)?;
                out.write_all(b",\"payload-encoding\":\"base64\"")?;
            }
            (Payloads::Base64, _) => base64(payload, out)?,
        }
    }
    if !properties.is_empty() {
        out.write_all(b",\"properties\":[")?;
        let properties = Properties::from_encoded(properties, &[]);
        for (place, item) in properties.iter().enumerate() {
            if place > 0 {
                out.write_all(b",")?;
            }
            property(&item, out)?;
        }
        out.write_all(b"]")?;
    }
    Ok(())
}

fn property(property: &Property<'_>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"identifier\":\"")?;
    match property {
        Property::PayloadFormatIndicator(value) => {
            write!(out, "payload-format-indicator\",\"value\":{value}")?;
        }
        Property::MessageExpiryInterval(value) => {
            write!(out, "message-expiry-interval\",\"value\":{value}")?;
        }
        Property::SubscriptionIdentifier(value) => {
            write!(out, "subscription-identifier\",\"value\":{value}")?;
        }
        Property::TopicAlias(value) => write!(out, "topic-alias\",\"value\":{value}")?,
        Property::ContentType(value) => {
            out.write_all(b"content-type\",\"value\":")?;
            string(value, out)?;
        }
        Property::ResponseTopic(value) => {
            out.write_all(b"response-topic\",\"value\":")?;
            string(value, out)?;
        }
        Property::CorrelationData(value) => {
            out.write_all(b"correlation-data\",\"value\":\"")?;
            write_hex(value, out)?;
            out.write_all(b"\"")?;
        }
        Property::UserProperty(name, value) => {
            out.write_all(b"user-property\",\"name\":")?;
            string(name, out)?;
            out.write_all(b",\"value\":")?;
            string(value, out)?;
        }
        // A message cannot have others; the reader has checked that.
        other => write!(out, "{}\"", other.id() as u8)?,
    }
    out.write_all(b"}")
}

fn client(client: &Client, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"clientid\":")?;
    string(&client.id, out)?;
    if let Some(username) = &client.username {
        out.write_all(b",\"username\":")?;
        string(username, out)?;
    }
    write!(
        out,
        ",\"session-expiry-time\":{},\"session-expiry-interval\":{},\"last-mid\":{},\
         \"listener-port\":{}}}",
        client.expires_at.unwrap_or(0),
        client.expiry_interval,
        client.last_packet_id,
        client.listener_port
    )
}

fn client_message(message: &ClientMessage, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"clientid\":")?;
    string(&message.client_id, out)?;
    // Mosquitto prints the subscription identifier as `storeid`, too; that is an error of its own.
    write!(
        out,
        ",\"storeid\":{},\"mid\":{},\"qos\":{},\"state\":{},\"retain-dup\":{},\"direction\":{},\
         \"subscription-identifier\":{}}}",
        message.message_id,
        message.packet_id,
        message.qos.bits(),
        message.state as u8,
        u8::from(message.retain) << 4 | u8::from(message.dup),
        message.direction as u8,
        message.subscription_identifier.unwrap_or(0)
    )
}

fn subscription(subscription: &Subscription, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"clientid\":")?;
    string(&subscription.client_id, out)?;
    out.write_all(b",\"topic\":")?;
    string(&subscription.filter, out)?;
    write!(
        out,
        ",\"qos\":{},\"options\":{},\"identifier\":{}}}",
        subscription.options.qos.bits(),
        subscription.options.bits(Version::V5) & 0xFC,
        subscription.identifier.unwrap_or(0)
    )
}

fn retained(retained: Retained, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{{\"storeid\":{}}}", retained.message_id)
}

/// A JSON list, an item on each line.
pub(crate) struct List<'a, W> {
    out: &'a mut W,
    separator: &'static [u8],
}

impl<'a, W: Write> List<'a, W> {
    pub(crate) fn begin(out: &'a mut W, name: &str) -> io::Result<Self> {
        out.write_all(name.as_bytes())?;
        out.write_all(b"[")?;
        Ok(Self {
            out,
            separator: b"\n",
        })
    }

    pub(crate) fn item(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
        self.out.write_all(self.separator)?;
        self.separator = b",\n";
        write(self.out)
    }

    pub(crate) fn end(self) -> io::Result<()> {
        self.out.write_all(b"\n]")
    }
}

/// Writes a JSON string. DEL and the C1 controls are escaped, too, for the sake of terminals.
pub(crate) fn string(text: &str, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c.is_control()) {
        let (plain, special) = rest.split_at(at);
        out.write_all(plain.as_bytes())?;
        let mut characters = special.chars();
        match characters.next() {
            Some(c @ ('"' | '\\')) => write!(out, "\\{c}")?,
            Some('\n') => out.write_all(b"\\n")?,
            Some('\r') => out.write_all(b"\\r")?,
            Some('\t') => out.write_all(b"\\t")?,
            Some(c) => write!(out, "\\u{:04x}", u32::from(c))?,
            None => {}
        }
        rest = characters.as_str();
    }
    out.write_all(rest.as_bytes())?;
    out.write_all(b"\"")
}

/// Writes a JSON string of base64 with padding (RFC 4648).
fn base64(data: &[u8], out: &mut impl Write) -> io::Result<()> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.write_all(b"\"")?;
    for group in data.chunks(3) {
        let byte = |place: usize| group.get(place).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut digits = [b'='; 4];
        for (place, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
            let value = (bits >> (18 - 6 * place)) & 0x3F;
            *digit = DIGITS.get(value as usize).copied().unwrap_or(b'=');
        }
        out.write_all(&digits)?;
    }
    out.write_all(b"\"")
}
