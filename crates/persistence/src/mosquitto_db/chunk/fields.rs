//! The fields of each kind of chunk.
//!
//! Versions 5 and 6 begin a chunk with a C structure, padding at its end included, and put the texts
//! behind it. Versions 2 to 4 write field after field, each text behind its own length.

use std::io::Read;

use midge_codec::{
    Properties, Property, QoS, REMAINING_LENGTH_MAX, Reader, Scope, SubscriptionOptions, Version,
    topic,
};

use super::{
    Fault, Kind, Reason, Record, Stop,
    body::{Body, Failure},
};
use crate::mosquitto_db::{
    BaseMessage, Client, ClientMessage, Config, Direction, MessageState, Retained, Subscription,
};

/// Reads a chunk of `kind` as `version` has it.
pub(super) fn read<R: Read>(
    body: &mut Body<'_, R>,
    kind: Kind,
    version: u32,
) -> Result<Record, Failure> {
    Ok(match (kind, version) {
        (Kind::Config, _) => Record::Config(config(body, version)?),
        (Kind::Client, ..=4) => Record::Client(client_v2(body, version)?),
        (Kind::Client, _) => Record::Client(client(body, version)?),
        (Kind::Subscription, _) => Record::Subscription(subscription(body, version)?),
        (Kind::BaseMessage, ..=4) => Record::BaseMessage(base_message_v2(body, version)?),
        (Kind::BaseMessage, _) => Record::BaseMessage(base_message(body)?),
        (Kind::ClientMessage, ..=4) => Record::ClientMessage(client_message_v2(body)?),
        (Kind::ClientMessage, _) => Record::ClientMessage(client_message(body)?),
        (Kind::Retained, _) => Record::Retained(Retained {
            message_id: body.id(MESSAGE_ID)?,
        }),
    })
}

fn config<R: Read>(body: &mut Body<'_, R>, version: u32) -> Result<Config, Failure> {
    const LAST_ID: &str = "last message id";
    const SHUTDOWN: &str = "shutdown flag";
    if version <= 4 {
        let shutdown = body.u8(SHUTDOWN)? != 0;
        let id_size = id_size(body)?;
        return Ok(Config {
            shutdown,
            id_size,
            last_id: body.id(LAST_ID)?,
        });
    }
    let last_id = body.id(LAST_ID)?;
    let shutdown = body.u8(SHUTDOWN)? != 0;
    let id_size = id_size(body)?;
    // Where numbers of 8 bytes are aligned to 4 (x86 of 32 bits) the structure ends sooner.
    if matches!(body.rest(), 6 | 2) {
        body.bytes("padding", body.rest())?;
    }
    Ok(Config {
        shutdown,
        id_size,
        last_id,
    })
}

/// All that follows has ids of this size, so another one ends the reading.
fn id_size<R: Read>(body: &mut Body<'_, R>) -> Result<u8, Failure> {
    let offset = body.offset();
    match body.u8("size of message ids")? {
        8 => Ok(8),
        size => Err(Failure::File(Stop {
            offset,
            reason: Reason::IdSize(size),
        })),
    }
}

fn client<R: Read>(body: &mut Body<'_, R>, version: u32) -> Result<Client, Failure> {
    let expires_at = body.time("session expiry time")?;
    let expiry_interval = body.u32("session expiry interval")?;
    let last_packet_id = body.u16("last packet identifier")?;
    let id_length = body.u16(CLIENT_ID)?;
    let (mut listener_port, mut username_length) = (0, 0);
    if version >= 6 {
        listener_port = body.u16("listener port")?;
        username_length = body.u16(USERNAME)?;
        let texts = u32::from(id_length) + u32::from(username_length);
        if body.rest() != texts {
            // As for the settings, the end of the structure depends on the machine.
            body.bytes("padding", 4)?;
        }
    }
    Ok(Client {
        id: body.name(CLIENT_ID, id_length)?,
        username: username(body, username_length)?,
        listener_port,
        last_packet_id,
        expires_at,
        expiry_interval,
        disconnected_at: None,
    })
}

/// Reads the user name of a client.
///
/// Mosquitto 2.0 writes a client without one with what is left from the client before, and the length
/// with its bytes swapped: 5 has become 1,280, and memory follows the name. A zero byte tells.
fn username<R: Read>(body: &mut Body<'_, R>, length: u16) -> Result<Option<String>, Failure> {
    let offset = body.offset();
    let bytes = body.raw_text(USERNAME, length)?;
    match Reader::new(&bytes).string() {
        Ok("") => Ok(None),
        Ok(name) => Ok(Some(name.to_owned())),
        Err(_) if bytes.iter().skip(2).any(|byte| *byte == 0) => Ok(None),
        Err(_) => Err(Failure::Chunk(offset, Fault::Text { field: USERNAME })),
    }
}

fn client_v2<R: Read>(body: &mut Body<'_, R>, version: u32) -> Result<Client, Failure> {
    const DISCONNECTED: &str = "time of disconnection";
    let id_length = body.u16(CLIENT_ID)?;
    let id = body.name(CLIENT_ID, id_length)?;
    let last_packet_id = body.u16("last packet identifier")?;
    let disconnected_at = match (version, body.rest()) {
        (2, _) => None,
        // The size of `time_t` is the machine's.
        (_, 4) => body.short_time(DISCONNECTED)?,
        _ => body.time(DISCONNECTED)?,
    };
    Ok(Client {
        id,
        username: None,
        listener_port: 0,
        last_packet_id,
        expires_at: None,
        expiry_interval: u32::MAX,
        disconnected_at,
    })
}

fn subscription<R: Read>(body: &mut Body<'_, R>, version: u32) -> Result<Subscription, Failure> {
    const FILTER: &str = "topic filter";
    const IDENTIFIER: &str = "subscription identifier";
    if version <= 4 {
        let id_length = body.u16(CLIENT_ID)?;
        let client_id = body.name(CLIENT_ID, id_length)?;
        let filter_length = body.u16(FILTER)?;
        let filter = filter(body, FILTER, filter_length)?;
        let offset = body.offset();
        let bits = body.u8("QoS")?;
        return Ok(Subscription {
            client_id,
            filter,
            options: options(offset, Version::V3_1_1, bits)?,
            identifier: None,
        });
    }
    let offset = body.offset();
    let identifier = body.u32(IDENTIFIER)?;
    if identifier > REMAINING_LENGTH_MAX {
        return Err(value(offset, IDENTIFIER, identifier, "at most 268,435,455"));
    }
    let id_length = body.u16(CLIENT_ID)?;
    let filter_length = body.u16(FILTER)?;
    let offset = body.offset();
    let bits = body.u8("QoS")? | body.u8("subscription options")?;
    let options = options(offset, Version::V5, bits)?;
    body.bytes("padding", 2)?;
    Ok(Subscription {
        client_id: body.name(CLIENT_ID, id_length)?,
        filter: filter(body, FILTER, filter_length)?,
        options,
        identifier: (identifier > 0).then_some(identifier),
    })
}

fn filter<R: Read>(
    body: &mut Body<'_, R>,
    field: &'static str,
    length: u16,
) -> Result<String, Failure> {
    let offset = body.offset();
    let filter = body.name(field, length)?;
    match topic::Filter::parse(&filter) {
        Ok(_) => Ok(filter),
        Err(_) => Err(Failure::Chunk(offset, Fault::Filter)),
    }
}

fn options(offset: u64, version: Version, bits: u8) -> Result<SubscriptionOptions, Failure> {
    SubscriptionOptions::from_bits(version, bits).map_err(|_| {
        let expected = "a QoS from 0 to 2 with the options of MQTT 5.0";
        value(offset, "subscription options", u32::from(bits), expected)
    })
}

fn base_message<R: Read>(body: &mut Body<'_, R>) -> Result<BaseMessage, Failure> {
    let id = body.id(MESSAGE_ID)?;
    let expires_at = body.time("message expiry time")?;
    let payload_length = payload_length(body)?;
    let source_packet_id = body.u16("packet identifier of the source")?;
    let source_id_length = body.u16(SOURCE_ID)?;
    let source_username_length = body.u16(SOURCE_USERNAME)?;
    let topic_length = body.u16(TOPIC)?;
    let source_port = body.u16("listener port of the source")?;
    let qos = qos(body)?;
    let retain = body.u8("retain flag")? != 0;
    Ok(BaseMessage {
        id,
        source_id: body.text(SOURCE_ID, source_id_length)?,
        source_username: body.text(SOURCE_USERNAME, source_username_length)?,
        source_port,
        source_packet_id,
        topic: topic_name(body, topic_length)?,
        payload: body.bytes(PAYLOAD, payload_length)?,
        qos,
        retain,
        expires_at,
        properties: properties(body)?,
    })
}

fn base_message_v2<R: Read>(body: &mut Body<'_, R>, version: u32) -> Result<BaseMessage, Failure> {
    let id = body.id(MESSAGE_ID)?;
    let source_id_length = body.u16(SOURCE_ID)?;
    let source_id = body.text(SOURCE_ID, source_id_length)?;
    let (mut source_username, mut source_port) = (None, 0);
    if version == 4 {
        let source_username_length = body.u16(SOURCE_USERNAME)?;
        source_username = body.text(SOURCE_USERNAME, source_username_length)?;
        source_port = body.u16("listener port of the source")?;
    }
    let source_packet_id = body.u16("packet identifier of the source")?;
    // Of no use: the message has an identifier with each client.
    body.u16("packet identifier")?;
    let topic_length = body.u16(TOPIC)?;
    let topic = topic_name(body, topic_length)?;
    let qos = qos(body)?;
    let retain = body.u8("retain flag")? != 0;
    let payload_length = payload_length(body)?;
    Ok(BaseMessage {
        id,
        source_id,
        source_username,
        source_port,
        source_packet_id,
        topic,
        payload: body.bytes(PAYLOAD, payload_length)?,
        qos,
        retain,
        expires_at: None,
        properties: Vec::new(),
    })
}

fn topic_name<R: Read>(body: &mut Body<'_, R>, length: u16) -> Result<String, Failure> {
    let offset = body.offset();
    let name = body.name(TOPIC, length)?;
    if topic::is_name(&name) {
        Ok(name)
    } else {
        Err(Failure::Chunk(offset, Fault::Topic))
    }
}

fn payload_length<R: Read>(body: &mut Body<'_, R>) -> Result<u32, Failure> {
    let offset = body.offset();
    let length = body.u32(PAYLOAD)?;
    if length > REMAINING_LENGTH_MAX {
        let fault = Fault::TooLong {
            field: PAYLOAD,
            length,
            room: REMAINING_LENGTH_MAX,
        };
        return Err(Failure::Chunk(offset, fault));
    }
    Ok(length)
}

/// Reads the rest of a chunk as MQTT's length and properties, if there is a rest.
fn properties<R: Read>(body: &mut Body<'_, R>) -> Result<Vec<u8>, Failure> {
    let offset = body.offset();
    if body.rest() > REMAINING_LENGTH_MAX {
        return Err(body.fault(Fault::TooLong {
            field: PROPERTIES,
            length: body.rest(),
            room: REMAINING_LENGTH_MAX,
        }));
    }
    let mut bytes = body.bytes(PROPERTIES, body.rest())?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let fault = |error| Failure::Chunk(offset, Fault::Properties(error));
    let mut reader = Reader::new(&bytes);
    let section = reader.section().map_err(fault)?;
    let left_over = reader.rest().len();
    if left_over > 0 {
        let length = u32::try_from(left_over).unwrap_or(u32::MAX);
        return Err(body.fault(Fault::LeftOver { length }));
    }
    Properties::decode(section, Scope::PUBLISH).map_err(fault)?;
    bytes.drain(..bytes.len() - section.len());
    Ok(bytes)
}

fn client_message<R: Read>(body: &mut Body<'_, R>) -> Result<ClientMessage, Failure> {
    let message_id = body.id(MESSAGE_ID)?;
    let packet_id = body.u16("packet identifier")?;
    let id_length = body.u16(CLIENT_ID)?;
    let qos = qos(body)?;
    let state = state(body)?;
    let retain_and_dup = body.u8("retain and DUP flags")?;
    let direction = direction(body)?;
    let client_id = body.name(CLIENT_ID, id_length)?;
    let properties = properties(body)?;
    Ok(ClientMessage {
        client_id,
        message_id,
        packet_id,
        qos,
        retain: retain_and_dup & 0xF0 != 0,
        dup: retain_and_dup & 0x0F != 0,
        direction,
        state,
        subscription_identifier: subscription_identifier(&properties),
    })
}

/// The last one, as Mosquitto takes it; it writes one at most.
fn subscription_identifier(properties: &[u8]) -> Option<u32> {
    let properties = Properties::from_encoded(properties, &[]);
    let identifiers = properties.iter().filter_map(|property| match property {
        Property::SubscriptionIdentifier(identifier) => Some(identifier),
        _ => None,
    });
    identifiers.last()
}

fn client_message_v2<R: Read>(body: &mut Body<'_, R>) -> Result<ClientMessage, Failure> {
    let id_length = body.u16(CLIENT_ID)?;
    let client_id = body.name(CLIENT_ID, id_length)?;
    let message_id = body.id(MESSAGE_ID)?;
    let packet_id = body.u16("packet identifier")?;
    let qos = qos(body)?;
    let retain = body.u8("retain flag")? != 0;
    let direction = direction(body)?;
    let state = state(body)?;
    Ok(ClientMessage {
        client_id,
        message_id,
        packet_id,
        qos,
        retain,
        dup: body.u8("DUP flag")? != 0,
        direction,
        state,
        subscription_identifier: None,
    })
}

fn qos<R: Read>(body: &mut Body<'_, R>) -> Result<QoS, Failure> {
    let offset = body.offset();
    let bits = body.u8("QoS")?;
    QoS::from_bits(bits).ok_or(value(offset, "QoS", u32::from(bits), "0 to 2"))
}

fn direction<R: Read>(body: &mut Body<'_, R>) -> Result<Direction, Failure> {
    const FIELD: &str = "direction";
    let offset = body.offset();
    let number = body.u8(FIELD)?;
    Direction::from_number(number).ok_or(value(offset, FIELD, u32::from(number), "0 or 1"))
}

fn state<R: Read>(body: &mut Body<'_, R>) -> Result<MessageState, Failure> {
    const FIELD: &str = "state";
    let offset = body.offset();
    let number = body.u8(FIELD)?;
    MessageState::from_number(number).ok_or(value(offset, FIELD, u32::from(number), "0 to 11"))
}

const fn value(offset: u64, field: &'static str, value: u32, expected: &'static str) -> Failure {
    Failure::Chunk(
        offset,
        Fault::Value {
            field,
            value,
            expected,
        },
    )
}

const CLIENT_ID: &str = "client id";
const USERNAME: &str = "user name";
const MESSAGE_ID: &str = "message id";
const PROPERTIES: &str = "properties";
const SOURCE_ID: &str = "client id of the source";
const SOURCE_USERNAME: &str = "user name of the source";
const TOPIC: &str = "topic";
const PAYLOAD: &str = "payload";
