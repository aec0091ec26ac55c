//! CONNECT: a client introduces itself (section 3.1).
//!
//! A fault in a CONNECT is answered in the form of the version that the packet claims, and not every
//! fault is answered at all, so decoding says more here than which error it was: see [`ConnectFault`].

use super::{Body, put_packet};
use crate::{
    DecodeError, EncodeError, PacketType, Properties, Property, QoS, Reader, ReasonCode, Scope,
    Sink, Version, reader::checked_str, topic,
};

/// What the server publishes when the client is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The QoS to publish with.
    pub qos: QoS,
    /// Whether to retain it.
    pub retain: bool,
    /// Delay, expiry and the message's own properties.
    pub properties: Properties<'a>,
    /// The topic name; checked.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
}

/// The body of CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the client wants to speak.
    pub version: Version,
    /// The level's top bit was set: a bridge of the Mosquitto family, which wants none of its own
    /// messages back and retained ones as published.
    pub bridge: bool,
    /// Discard an existing session; clean session in 3.x.
    pub clean_start: bool,
    /// The longest silence in seconds; 0 for no limit.
    pub keep_alive: u16,
    /// The connection's properties.
    pub properties: Properties<'a>,
    /// Names the session; may be empty.
    pub client_id: &'a str,
    /// What to publish when the client is lost.
    pub will: Option<Will<'a>>,
    /// Who it is.
    pub user_name: Option<&'a str>,
    /// How it proves that.
    pub password: Option<&'a [u8]>,
}

/// Why a CONNECT is refused by what its bytes say, in the terms of the answer it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// No answer: the connection is closed `[MQTT311-3.1.4-1]`.
    Close(&'static str),
    /// A CONNACK in the form of `version`, then closed.
    ConnAck {
        /// The form of the answer.
        version: Version,
        /// The code of 5.0; [`ReasonCode::connack_v3`] translates.
        reason: ReasonCode,
        /// What is wrong, for a log.
        why: &'static str,
    },
}

impl ConnectFault {
    const fn connack(version: Version, reason: ReasonCode, why: &'static str) -> Self {
        Self::ConnAck {
            version,
            reason,
            why,
        }
    }

    /// A CONNACK for a 5.0 client, a plain close for others.
    const fn v5_only(version: Version, reason: ReasonCode, why: &'static str) -> Self {
        match version {
            Version::V5 => Self::connack(version, reason, why),
            Version::V3_1 | Version::V3_1_1 => Self::Close(why),
        }
    }

    /// What is wrong, in words.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Close(why) | Self::ConnAck { why, .. } => why,
        }
    }
}

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

impl<'a> Connect<'a> {
    /// Reads the body; `first` is the packet's first byte.
    ///
    /// # Errors
    /// What to answer to a CONNECT that is not one.
    pub fn decode(first: u8, body: &'a [u8]) -> Result<Self, ConnectFault> {
        let mut reader = Reader::new(body);
        let (version, bridge) = read_protocol(&mut reader)?;
        if version != Version::V3_1 && first & 0x0F != 0 {
            return Err(ConnectFault::Close("fixed header flags are set"));
        }
        let short = |_| ConnectFault::Close("CONNECT is cut short");
        let flags = reader.u8().map_err(short)?;
        if flags & RESERVED != 0 && version != Version::V3_1 {
            return Err(ConnectFault::Close("reserved connect flag is set"));
        }
        let will_qos =
            QoS::from_bits((flags & WILL_QOS) >> 3).ok_or(ConnectFault::Close("will QoS is 3"))?;
        if flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 && version != Version::V3_1 {
            return Err(ConnectFault::Close("will flags are set without a will"));
        }
        if flags & PASSWORD != 0 && flags & USER_NAME == 0 && version != Version::V5 {
            return Err(ConnectFault::Close("password without user name"));
        }
        let keep_alive = reader.u16().map_err(short)?;
        let properties = read_properties(&mut reader, version, Scope::CONNECT)?;
        check_authentication(version, properties)?;
        let client_id = reader.binary().map_err(short)?;
        let client_id = checked_str(client_id).ok_or(ConnectFault::v5_only(
            version,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            "client id is not valid UTF-8",
        ))?;
        let will = if flags & WILL == 0 {
            None
        } else {
            Some(read_will(
                &mut reader,
                version,
                will_qos,
                flags & WILL_RETAIN != 0,
            )?)
        };
        let mut connect = Self {
            version,
            bridge,
            clean_start: flags & CLEAN_START != 0,
            keep_alive,
            properties,
            client_id,
            will,
            user_name: None,
            password: None,
        };
        connect.read_credentials(flags, &mut reader)?;
        Ok(connect)
    }

    fn read_credentials(&mut self, flags: u8, reader: &mut Reader<'a>) -> Result<(), ConnectFault> {
        // Clients of 3.1 may set the flags and leave the fields out, but not cut them short.
        let may_leave_out = self.version == Version::V3_1;
        let is_left_out = |reader: &Reader<'_>| may_leave_out && reader.is_empty();
        if flags & USER_NAME != 0 && !is_left_out(reader) {
            let name = reader
                .string()
                .map_err(|_| ConnectFault::Close("user name is missing or not UTF-8"))?;
            self.user_name = Some(name);
        }
        if flags & PASSWORD != 0 && !is_left_out(reader) {
            let password = reader
                .binary()
                .map_err(|_| ConnectFault::Close("password is missing"))?;
            self.password = Some(password);
        }
        if reader.is_empty() {
            return Ok(());
        }
        Err(ConnectFault::v5_only(
            self.version,
            ReasonCode::MALFORMED_PACKET,
            "bytes follow the last field",
        ))
    }

    /// Appends the packet in the form of its own version.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        put_packet(PacketType::Connect.first_byte(), self, self.version, sink)
    }

    fn flags(&self) -> u8 {
        let will = self.will.map_or(0, |will| {
            WILL | will.qos.bits() << 3 | if will.retain { WILL_RETAIN } else { 0 }
        });
        will | if self.clean_start { CLEAN_START } else { 0 }
            | self.user_name.map_or(0, |_| USER_NAME)
            | self.password.map_or(0, |_| PASSWORD)
    }
}

/// Reads protocol name and level.
fn read_protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), ConnectFault> {
    let unknown = ConnectFault::Close("protocol name is not MQTT");
    let name = reader.binary().map_err(|_| unknown)?;
    if !matches!(name.len(), 4 | 6) {
        return Err(unknown);
    }
    let level = reader.u8().map_err(|_| unknown)?;
    let version = match level & 0x7F {
        3 => Version::V3_1,
        4 => Version::V3_1_1,
        5 if level == 5 => Version::V5,
        _ => {
            return Err(ConnectFault::connack(
                Version::V5,
                ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
                "unsupported protocol version",
            ));
        }
    };
    match name {
        b"MQTT" | b"MQIsdp" if name == version.protocol_name().as_bytes() => {
            Ok((version, level & 0x80 != 0))
        }
        b"MQTT" | b"MQIsdp" => Err(ConnectFault::connack(
            Version::V3_1_1,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            "protocol name and version do not fit",
        )),
        _ => Err(unknown),
    }
}

fn read_properties<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    scope: Scope,
) -> Result<Properties<'a>, ConnectFault> {
    if !version.has_properties() {
        return Ok(Properties::NONE);
    }
    Properties::read(reader, scope).map_err(|error| match error {
        DecodeError::PropertyUtf8(_) => ConnectFault::Close("a property is not valid UTF-8"),
        // Where a value of CONNECT is out of range there is no code but protocol error.
        DecodeError::PropertyValue(_)
        | DecodeError::PropertyNotAllowed(_)
        | DecodeError::PropertyRepeated(_) => ConnectFault::connack(
            version,
            ReasonCode::PROTOCOL_ERROR,
            "a property is not allowed",
        ),
        _ => ConnectFault::connack(
            version,
            ReasonCode::MALFORMED_PACKET,
            "the properties are malformed",
        ),
    })
}

/// Authentication data without a method is a protocol error (MQTT5 3.1.2.11.10).
fn check_authentication(version: Version, properties: Properties<'_>) -> Result<(), ConnectFault> {
    let mut method = false;
    let mut data = false;
    for property in properties.iter() {
        method |= matches!(property, Property::AuthenticationMethod(_));
        data |= matches!(property, Property::AuthenticationData(_));
    }
    if data && !method {
        return Err(ConnectFault::connack(
            version,
            ReasonCode::PROTOCOL_ERROR,
            "authentication data without a method",
        ));
    }
    Ok(())
}

fn read_will<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Result<Will<'a>, ConnectFault> {
    let properties = read_properties(reader, version, Scope::WILL)?;
    let short = |_| {
        ConnectFault::v5_only(
            version,
            ReasonCode::MALFORMED_PACKET,
            "the will is cut short",
        )
    };
    let topic = reader.binary().map_err(short)?;
    if topic.is_empty() {
        return Err(ConnectFault::v5_only(
            version,
            ReasonCode::PROTOCOL_ERROR,
            "the will topic is empty",
        ));
    }
    let topic = checked_str(topic)
        .filter(|topic| topic::is_name(topic))
        .ok_or(ConnectFault::Close("the will topic is no topic name"))?;
    let payload = reader.binary().map_err(short)?;
    Ok(Will {
        qos,
        retain,
        properties,
        topic,
        payload,
    })
}

impl Body for Connect<'_> {
    fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.put_string(version.protocol_name());
        sink.put_u8(version.level() | if self.bridge { 0x80 } else { 0 });
        sink.put_u8(self.flags());
        sink.put_u16(self.keep_alive);
        if version.has_properties() {
            self.properties.write(sink);
        }
        sink.put_string(self.client_id);
        if let Some(will) = &self.will {
            if version.has_properties() {
                will.properties.write(sink);
            }
            sink.put_string(will.topic);
            sink.put_binary(will.payload);
        }
        if let Some(user_name) = self.user_name {
            sink.put_string(user_name);
        }
        if let Some(password) = self.password {
            sink.put_binary(password);
        }
    }
}

#[cfg(test)]
mod tests;
