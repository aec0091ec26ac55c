//! A strict reader of what a broker sends.
//!
//! It accepts nothing that the standard forbids a server: wrong fixed-header flags, lengths that are
//! not minimal, reason codes or properties that do not belong to the packet, strings that are not
//! valid UTF-8, trailing bytes. A test that reads a packet has therefore checked all of that.

mod reader;

use crate::wire::Version;
use crate::wire::prop::{self, Property, Value};
use reader::{Fault, Reader};

/// What a broker may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    Connack(Connack),
    /// PUBLISH.
    Publish(Message),
    /// PUBACK.
    Puback(Ack),
    /// PUBREC.
    Pubrec(Ack),
    /// PUBREL.
    Pubrel(Ack),
    /// PUBCOMP.
    Pubcomp(Ack),
    /// SUBACK.
    Suback(Codes),
    /// UNSUBACK; without codes in 3.x.
    Unsuback(Codes),
    /// PINGRESP.
    Pingresp,
    /// DISCONNECT (5.0).
    Disconnect(Reason),
    /// AUTH (5.0).
    Auth(Reason),
}

/// The answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the broker resumed a session.
    pub session_present: bool,
    /// The return code of 3.x or the reason code of 5.0.
    pub code: u8,
    /// The properties of 5.0.
    pub properties: Properties,
}

/// A PUBLISH from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// DUP.
    pub dup: bool,
    /// QoS, 0 to 2.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Topic name; empty only with an alias.
    pub topic: String,
    /// Packet id; there if and only if QoS is above 0.
    pub packet_id: Option<u16>,
    /// The properties of 5.0.
    pub properties: Properties,
    /// Application message.
    pub payload: Vec<u8>,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Packet id.
    pub packet_id: u16,
    /// Reason code, 0 in 3.x.
    pub reason: u8,
    /// The properties of 5.0.
    pub properties: Properties,
}

/// SUBACK or UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Packet id.
    pub packet_id: u16,
    /// The properties of 5.0.
    pub properties: Properties,
    /// One code for each filter.
    pub codes: Vec<u8>,
}

/// DISCONNECT or AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Reason code.
    pub reason: u8,
    /// Properties.
    pub properties: Properties,
}

/// The properties of a packet, in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a property of this identifier is there.
    pub fn has(&self, id: u8) -> bool {
        self.0.iter().any(|property| property.id == id)
    }

    /// The value of an integer property of any width.
    pub fn number(&self, id: u8) -> Option<u32> {
        self.numbers(id).first().copied()
    }

    /// All values of an integer property of any width.
    pub fn numbers(&self, id: u8) -> Vec<u32> {
        self.values(id)
            .filter_map(|value| match value {
                Value::Byte(value) => Some(u32::from(*value)),
                Value::Two(value) => Some(u32::from(*value)),
                Value::Four(value) | Value::VariableInt(value) => Some(*value),
                Value::Bytes(_) | Value::Pair(..) | Value::Raw(_) => None,
            })
            .collect()
    }

    /// The value of a string or binary property.
    pub fn bytes(&self, id: u8) -> Option<&[u8]> {
        self.values(id).find_map(|value| match value {
            Value::Bytes(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// All user properties, in order.
    pub fn user(&self) -> Vec<(String, String)> {
        self.values(prop::USER_PROPERTY)
            .filter_map(|value| match value {
                Value::Pair(name, value) => Some((
                    String::from_utf8_lossy(name).into_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                )),
                _ => None,
            })
            .collect()
    }

    fn values(&self, id: u8) -> impl Iterator<Item = &Value> {
        self.0
            .iter()
            .filter(move |property| property.id == id)
            .map(|property| &property.value)
    }
}

/// Cuts the first packet off `bytes` and gives its length.
///
/// # Errors
/// A remaining length of more than four bytes or not in its shortest form.
pub fn packet_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut length = 0_usize;
    for index in 0..4 {
        let Some(byte) = bytes.get(index + 1) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if index > 0 && *byte == 0 {
                return Err("remaining length is not in its shortest form".to_owned());
            }
            let total = index + 2 + length;
            return Ok((bytes.len() >= total).then_some(total));
        }
    }
    Err("remaining length of more than four bytes".to_owned())
}

/// Reads one whole packet from a broker.
///
/// # Errors
/// What the broker did that the standard forbids it.
pub fn packet(version: Version, bytes: &[u8]) -> Result<Packet, String> {
    let first_byte = *bytes.first().ok_or("no bytes")?;
    let header = 1
        + bytes
            .get(1..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| **byte & 0x80 != 0)
            .count()
        + 1;
    let mut reader = Reader::new(bytes.get(header..).ok_or("no body")?);
    let packet = body(version, first_byte, &mut reader).map_err(|fault| fault.0)?;
    reader.end().map_err(|fault| fault.0)?;
    Ok(packet)
}

fn body(version: Version, first_byte: u8, reader: &mut Reader<'_>) -> Result<Packet, Fault> {
    let flags = first_byte & 0x0F;
    let packet_type = first_byte >> 4;
    let flags_wanted = if packet_type == 6 { 2 } else { 0 };
    if packet_type != 3 && flags != flags_wanted {
        return Err(Fault(format!("fixed-header flags {flags:#x}")));
    }
    match packet_type {
        2 => connack(version, reader).map(Packet::Connack),
        3 => publish(version, flags, reader).map(Packet::Publish),
        4 => ack(version, &PUBLISH_CODES, reader).map(Packet::Puback),
        5 => ack(version, &PUBLISH_CODES, reader).map(Packet::Pubrec),
        6 => ack(version, &RELEASE_CODES, reader).map(Packet::Pubrel),
        7 => ack(version, &RELEASE_CODES, reader).map(Packet::Pubcomp),
        9 => suback(version, reader).map(Packet::Suback),
        11 => unsuback(version, reader).map(Packet::Unsuback),
        13 => Ok(Packet::Pingresp),
        14 if version.is_v5() => {
            reason(&DISCONNECT_CODES, &DISCONNECT_PROPERTIES, reader).map(Packet::Disconnect)
        }
        15 if version.is_v5() => reason(&AUTH_CODES, &AUTH_PROPERTIES, reader).map(Packet::Auth),
        other => Err(Fault(format!("packet type {other} from a server"))),
    }
}

fn connack(version: Version, reader: &mut Reader<'_>) -> Result<Connack, Fault> {
    let flags = reader.u8()?;
    if flags > 1 || (version == Version::V3_1 && flags != 0) {
        return Err(Fault(format!("acknowledge flags {flags:#x}")));
    }
    let code = reader.u8()?;
    let properties = if version.is_v5() {
        known_code(code, &CONNECT_CODES)?;
        reader.properties(&CONNACK_PROPERTIES)?
    } else {
        known_code(code, &[0, 1, 2, 3, 4, 5])?;
        Properties::default()
    };
    if code != 0 && flags != 0 {
        return Err(Fault("session present in a refusal".to_owned()));
    }
    Ok(Connack {
        session_present: flags == 1,
        code,
        properties,
    })
}

fn publish(version: Version, flags: u8, reader: &mut Reader<'_>) -> Result<Message, Fault> {
    let qos = (flags >> 1) & 3;
    let dup = flags & 8 != 0;
    if qos == 3 {
        return Err(Fault("PUBLISH with QoS 3".to_owned()));
    }
    if qos == 0 && dup {
        return Err(Fault("DUP with QoS 0".to_owned()));
    }
    let topic = reader.utf8()?;
    if topic.contains(['+', '#']) {
        return Err(Fault(format!("wildcard in topic name {topic:?}")));
    }
    let packet_id = if qos > 0 {
        Some(reader.packet_id()?)
    } else {
        None
    };
    let properties = if version.is_v5() {
        reader.properties(&PUBLISH_PROPERTIES)?
    } else {
        Properties::default()
    };
    if topic.is_empty() && !properties.has(prop::TOPIC_ALIAS) {
        return Err(Fault("PUBLISH with neither topic nor alias".to_owned()));
    }
    Ok(Message {
        dup,
        qos,
        retain: flags & 1 != 0,
        topic,
        packet_id,
        properties,
        payload: reader.rest().to_vec(),
    })
}

fn ack(version: Version, codes: &[u8], reader: &mut Reader<'_>) -> Result<Ack, Fault> {
    let mut ack = Ack {
        packet_id: reader.packet_id()?,
        reason: 0,
        properties: Properties::default(),
    };
    if version.is_v5() && !reader.is_empty() {
        ack.reason = reader.u8()?;
        known_code(ack.reason, codes)?;
        if !reader.is_empty() {
            ack.properties = reader.properties(&REASON_PROPERTIES)?;
        }
    }
    Ok(ack)
}

fn suback(version: Version, reader: &mut Reader<'_>) -> Result<Codes, Fault> {
    let packet_id = reader.packet_id()?;
    let (properties, codes) = if version.is_v5() {
        (reader.properties(&REASON_PROPERTIES)?, &SUBSCRIBE_CODES[..])
    } else {
        (Properties::default(), &[0, 1, 2, 0x80][..])
    };
    let list = reader.rest().to_vec();
    for code in &list {
        known_code(*code, codes)?;
    }
    Ok(Codes {
        packet_id,
        properties,
        codes: list,
    })
}

fn unsuback(version: Version, reader: &mut Reader<'_>) -> Result<Codes, Fault> {
    let packet_id = reader.packet_id()?;
    if !version.is_v5() {
        return Ok(Codes {
            packet_id,
            properties: Properties::default(),
            codes: Vec::new(),
        });
    }
    let properties = reader.properties(&REASON_PROPERTIES)?;
    let codes = reader.rest().to_vec();
    for code in &codes {
        known_code(*code, &UNSUBSCRIBE_CODES)?;
    }
    Ok(Codes {
        packet_id,
        properties,
        codes,
    })
}

fn reason(codes: &[u8], allowed: &[u8], reader: &mut Reader<'_>) -> Result<Reason, Fault> {
    let reason = if reader.is_empty() { 0 } else { reader.u8()? };
    known_code(reason, codes)?;
    let properties = if reader.is_empty() {
        Properties::default()
    } else {
        reader.properties(allowed)?
    };
    Ok(Reason { reason, properties })
}

fn known_code(code: u8, codes: &[u8]) -> Result<(), Fault> {
    if codes.contains(&code) {
        Ok(())
    } else {
        Err(Fault(format!(
            "code {code:#04x} is not defined for this packet"
        )))
    }
}

const CONNECT_CODES: [u8; 22] = [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
const PUBLISH_CODES: [u8; 9] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASE_CODES: [u8; 2] = [0x00, 0x92];
const SUBSCRIBE_CODES: [u8; 12] = [
    0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
];
const UNSUBSCRIBE_CODES: [u8; 7] = [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
/// Without 0x04, which only a client sends.
const DISCONNECT_CODES: [u8; 28] = [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
/// Without 0x19, which only a client sends.
const AUTH_CODES: [u8; 2] = [0x00, 0x18];

const CONNACK_PROPERTIES: [u8; 17] = [
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
    0x2A,
];
const PUBLISH_PROPERTIES: [u8; 8] = [0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
const REASON_PROPERTIES: [u8; 2] = [0x1F, 0x26];
/// Without Session Expiry Interval, which a server must not send.
const DISCONNECT_PROPERTIES: [u8; 3] = [0x1C, 0x1F, 0x26];
const AUTH_PROPERTIES: [u8; 4] = [0x15, 0x16, 0x1F, 0x26];

#[cfg(test)]
mod tests;
