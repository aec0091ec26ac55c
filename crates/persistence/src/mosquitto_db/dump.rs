//! Prints a database as `mosquitto_db_dump` of Mosquitto 2.1 does.
//!
//! All functions read the file once in small memory, except that [`client_stats`] keeps a line for
//! each client and a number for each message, and [`json`] reads the file once for each of its lists.
//! What is wrong with a chunk goes to `complain`; the chunk is left out.

pub(crate) mod json;

use std::{
    collections::HashMap,
    error, fmt,
    io::{self, Read, Write},
};

use midge_codec::{Properties, Property, Reader, Version};

use super::{
    BaseMessage, Chunk, Client, ClientMessage, Damage, Database, Kind, Record, Stop, Subscription,
};
pub use json::{Payloads, json};

/// Why a dump is not complete.
#[derive(Debug)]
pub enum Error {
    /// The file could not be read to its end. What was read has been printed.
    Read(Stop),
    /// The output could not be written.
    Write(io::Error),
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        Self::Read(stop)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(stop) => stop.fmt(f),
            Self::Write(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Read(stop) => Some(stop),
            Self::Write(error) => Some(error),
        }
    }
}

/// Prints every chunk with its fields, one a line.
///
/// # Errors
/// See [`Error`].
pub fn listing(
    source: impl Read,
    out: &mut impl Write,
    complain: &mut dyn FnMut(&Damage),
) -> Result<(), Error> {
    let mut database = Database::open(source)?;
    writeln!(out, "Mosquitto DB dump")?;
    writeln!(out, "CRC: {}", database.checksum())?;
    writeln!(out, "DB version: {}", database.version())?;
    while let Some(Chunk {
        length, content, ..
    }) = database.next_chunk()?
    {
        let record = match content {
            Ok(record) => record,
            Err(damage) => {
                complain(&damage);
                continue;
            }
        };
        writeln!(out, "{}:", title(record.kind()))?;
        writeln!(out, "\tLength: {length}")?;
        match record {
            Record::Config(config) => {
                writeln!(out, "\tShutdown: {}", u8::from(config.shutdown))?;
                writeln!(out, "\tDB ID size: {}", config.id_size)?;
                writeln!(out, "\tLast DB ID: {}", config.last_id)?;
            }
            Record::BaseMessage(message) => list_base_message(&message, out)?,
            Record::ClientMessage(message) => list_client_message(&message, out)?,
            Record::Retained(retained) => {
                writeln!(out, "\tStore ID: {}", retained.message_id)?;
            }
            Record::Subscription(subscription) => list_subscription(&subscription, out)?,
            Record::Client(client) => list_client(&client, out)?,
        }
    }
    Ok(())
}

/// Prints how many chunks of each kind there are.
///
/// # Errors
/// See [`Error`]. The numbers are printed before [`Error::Read`] is returned.
pub fn stats(
    source: impl Read,
    out: &mut impl Write,
    complain: &mut dyn FnMut(&Damage),
) -> Result<(), Error> {
    let database = Database::open(source)?;
    // In the order of the output.
    let mut counts = [
        Kind::Config,
        Kind::BaseMessage,
        Kind::ClientMessage,
        Kind::Retained,
        Kind::Subscription,
        Kind::Client,
    ]
    .map(|kind| (kind, 0_u64));
    let result = for_each(database, complain, |_, record| {
        let kind = record.kind();
        for (counted, count) in &mut counts {
            *count += u64::from(*counted == kind);
        }
    });
    for (kind, count) in counts {
        let title = format!("{}:", title(kind));
        writeln!(out, "{title:21}{count}")?;
    }
    result.map_err(Error::Read)
}

/// Prints for each client its number of subscriptions (`SC`) and their bytes in the file (`SS`), its
/// number of messages (`MC`) and their bytes (`MS`), stored messages included.
///
/// # Errors
/// See [`Error`]. The numbers are printed before [`Error::Read`] is returned.
pub fn client_stats(
    source: impl Read,
    out: &mut impl Write,
    complain: &mut dyn FnMut(&Damage),
) -> Result<(), Error> {
    let database = Database::open(source)?;
    let mut clients: HashMap<String, usize> = HashMap::new();
    let mut loads: Vec<Load> = Vec::new();
    let mut messages: HashMap<u64, u32> = HashMap::new();
    let result = for_each(database, complain, |length, record| match record {
        Record::Client(client) => {
            let place = loads.len();
            if *clients.entry(client.id).or_insert(place) == place {
                loads.push(Load::default());
            }
        }
        Record::BaseMessage(message) => {
            messages.insert(message.id, length);
        }
        Record::Subscription(subscription) => {
            let place = clients.get(&subscription.client_id);
            if let Some(load) = place.and_then(|place| loads.get_mut(*place)) {
                load.subscriptions += 1;
                load.subscription_bytes += u64::from(length);
            }
        }
        Record::ClientMessage(message) => {
            let place = clients.get(&message.client_id);
            if let Some(load) = place.and_then(|place| loads.get_mut(*place)) {
                let stored = messages.get(&message.message_id).copied().unwrap_or(0);
                load.messages += 1;
                load.message_bytes += u64::from(length) + u64::from(stored);
            }
        }
        Record::Config(_) | Record::Retained(_) => {}
    });
    let mut clients: Vec<_> = clients.into_iter().collect();
    clients.sort_unstable_by_key(|(_, place)| *place);
    for ((id, _), load) in clients.iter().zip(&loads) {
        writeln!(
            out,
            "SC: {} SS: {} MC: {} MS: {}   {id}",
            load.subscriptions, load.subscription_bytes, load.messages, load.message_bytes
        )?;
    }
    result.map_err(Error::Read)
}

/// What one client has in the file.
#[derive(Clone, Copy, Default)]
struct Load {
    subscriptions: u64,
    subscription_bytes: u64,
    messages: u64,
    message_bytes: u64,
}

/// Calls `each` with the length and record of every good chunk.
fn for_each(
    mut database: Database<impl Read>,
    complain: &mut dyn FnMut(&Damage),
    mut each: impl FnMut(u32, Record),
) -> Result<(), Stop> {
    while let Some(chunk) = database.next_chunk()? {
        match chunk.content {
            Ok(record) => each(chunk.length, record),
            Err(damage) => complain(&damage),
        }
    }
    Ok(())
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Config => "DB_CHUNK_CFG",
        Kind::BaseMessage => "DB_CHUNK_BASE_MSG",
        Kind::ClientMessage => "DB_CHUNK_CLIENT_MSG",
        Kind::Retained => "DB_CHUNK_RETAIN",
        Kind::Subscription => "DB_CHUNK_SUB",
        Kind::Client => "DB_CHUNK_CLIENT",
    }
}

fn list_client(client: &Client, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\tClient ID: {}", client.id)?;
    if let Some(username) = &client.username {
        writeln!(out, "\tUsername: {username}")?;
    }
    if client.listener_port > 0 {
        writeln!(out, "\tListener port: {}", client.listener_port)?;
    }
    writeln!(out, "\tLast MID: {}", client.last_packet_id)?;
    let expires_at = client.expires_at.unwrap_or(0);
    writeln!(out, "\tSession expiry time: {expires_at}")?;
    writeln!(out, "\tSession expiry interval: {}", client.expiry_interval)
}

fn list_client_message(message: &ClientMessage, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\tClient ID: {}", message.client_id)?;
    writeln!(out, "\tStore ID: {}", message.message_id)?;
    writeln!(out, "\tMID: {}", message.packet_id)?;
    writeln!(out, "\tQoS: {}", message.qos.bits())?;
    writeln!(out, "\tRetain: {}", u8::from(message.retain))?;
    writeln!(out, "\tDirection: {}", message.direction as u8)?;
    writeln!(out, "\tState: {}", message.state as u8)?;
    writeln!(out, "\tDup: {}", u8::from(message.dup))?;
    if let Some(identifier) = message.subscription_identifier {
        writeln!(out, "\tSubscription identifier: {identifier}")?;
    }
    Ok(())
}

fn list_subscription(subscription: &Subscription, out: &mut impl Write) -> io::Result<()> {
    let options = subscription.options;
    let identifier = subscription.identifier.unwrap_or(0);
    writeln!(out, "\tClient ID: {}", subscription.client_id)?;
    writeln!(out, "\tTopic: {}", subscription.filter)?;
    writeln!(out, "\tQoS: {}", options.qos.bits())?;
    writeln!(out, "\tSubscription ID: {identifier}")?;
    writeln!(out, "\tOptions: 0x{:02X}", options.bits(Version::V5) & 0xFC)
}

fn list_base_message(message: &BaseMessage, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\tStore ID: {}", message.id)?;
    writeln!(out, "\tSource Port: {}", message.source_port)?;
    writeln!(out, "\tSource MID: {}", message.source_packet_id)?;
    writeln!(out, "\tTopic: {}", message.topic)?;
    writeln!(out, "\tQoS: {}", message.qos.bits())?;
    writeln!(out, "\tRetain: {}", u8::from(message.retain))?;
    writeln!(out, "\tPayload Length: {}", message.payload.len())?;
    writeln!(out, "\tExpiry Time: {}", message.expires_at.unwrap_or(0))?;
    if let Some(text) = short_text(&message.payload) {
        writeln!(out, "\tPayload: {text}")?;
    }
    list_properties(&message.properties, out)
}

/// A payload of 1 to 255 bytes that is a string of MQTT: printing it cannot hurt a terminal.
pub(crate) fn short_text(payload: &[u8]) -> Option<String> {
    let length = u8::try_from(payload.len())
        .ok()
        .filter(|length| *length > 0)?;
    let string = [&[0, length], payload].concat();
    Reader::new(&string).string().ok().map(str::to_owned)
}

pub(crate) fn list_properties(encoded: &[u8], out: &mut impl Write) -> io::Result<()> {
    if encoded.is_empty() {
        return Ok(());
    }
    writeln!(out, "\tProperties:")?;
    for property in Properties::from_encoded(encoded, &[]).iter() {
        match property {
            Property::PayloadFormatIndicator(indicator) => {
                writeln!(out, "\t\tPayload format indicator: {indicator}")?;
            }
            Property::ContentType(text) => writeln!(out, "\t\tContent type: {text}")?,
            Property::ResponseTopic(topic) => writeln!(out, "\t\tResponse topic: {topic}")?,
            Property::CorrelationData(data) => {
                write!(out, "\t\tCorrelation data: ")?;
                write_hex(data, out)?;
                writeln!(out)?;
            }
            Property::UserProperty(name, value) => {
                writeln!(out, "\t\tUser property: {name} , {value}")?;
            }
            // Mosquitto stores no others.
            other => writeln!(out, "\t\tInvalid property type: {}", other.id() as u8)?,
        }
    }
    Ok(())
}

fn write_hex(data: &[u8], out: &mut impl Write) -> io::Result<()> {
    data.iter().try_for_each(|byte| write!(out, "{byte:02X}"))
}

#[cfg(test)]
mod tests;
