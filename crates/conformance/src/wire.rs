//! Packets built by hand, rightly or wrongly.
//!
//! Every builder starts from a correct packet; each part can be replaced by a wrong one. Lengths are
//! computed last, so that a wrong field does not also make a wrong length unless a test asks for it.

pub mod prop;

use prop::Property;

/// Which standard a connection follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V3_1,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V3_1_1,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V3_1, Self::V3_1_1, Self::V5];
    /// The versions that OASIS published statements for.
    pub const OASIS: [Self; 2] = [Self::V3_1_1, Self::V5];

    /// The protocol level byte of CONNECT.
    pub const fn level(self) -> u8 {
        match self {
            Self::V3_1 => 3,
            Self::V3_1_1 => 4,
            Self::V5 => 5,
        }
    }

    /// The protocol name of CONNECT.
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V3_1 => "MQIsdp",
            Self::V3_1_1 | Self::V5 => "MQTT",
        }
    }

    /// Whether packets carry properties and reason codes.
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}

/// First bytes of the packets (type and the flags that the standard wants).
pub mod first {
    /// CONNECT.
    pub const CONNECT: u8 = 0x10;
    /// CONNACK.
    pub const CONNACK: u8 = 0x20;
    /// PUBLISH with QoS 0, no DUP, no RETAIN.
    pub const PUBLISH: u8 = 0x30;
    /// PUBACK.
    pub const PUBACK: u8 = 0x40;
    /// PUBREC.
    pub const PUBREC: u8 = 0x50;
    /// PUBREL.
    pub const PUBREL: u8 = 0x62;
    /// PUBCOMP.
    pub const PUBCOMP: u8 = 0x70;
    /// SUBSCRIBE.
    pub const SUBSCRIBE: u8 = 0x82;
    /// SUBACK.
    pub const SUBACK: u8 = 0x90;
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: u8 = 0xA2;
    /// UNSUBACK.
    pub const UNSUBACK: u8 = 0xB0;
    /// PINGREQ.
    pub const PINGREQ: u8 = 0xC0;
    /// PINGRESP.
    pub const PINGRESP: u8 = 0xD0;
    /// DISCONNECT.
    pub const DISCONNECT: u8 = 0xE0;
    /// AUTH.
    pub const AUTH: u8 = 0xF0;
}

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [first::PINGREQ, 0];
/// DISCONNECT without a body: normal disconnection in every version.
pub const DISCONNECT: [u8; 2] = [first::DISCONNECT, 0];

/// Encodes `value` as a variable byte integer in its shortest form.
///
/// Values above 268,435,455 take five bytes or more, which no receiver may accept.
pub fn variable_int(value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = value;
    loop {
        let low = u8::try_from(rest % 128).unwrap_or(0);
        rest /= 128;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Puts a fixed header with the right length before `body`.
pub fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    bytes.extend(variable_int(body.len()));
    bytes.extend(body);
    bytes
}

/// A two-byte length and the bytes: a UTF-8 string or binary data.
///
/// Only the low 16 bits of the length are written when there are more than 65,535 bytes.
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut out = two(u16::try_from(bytes.len() & 0xFFFF).unwrap_or(0)).to_vec();
    out.extend(bytes);
    out
}

/// A two-byte integer.
pub const fn two(value: u16) -> [u8; 2] {
    value.to_be_bytes()
}

/// A property block: its length and the properties.
pub fn properties(list: &[Property]) -> Vec<u8> {
    let body: Vec<u8> = list.iter().flat_map(Property::encode).collect();
    let mut out = variable_int(body.len());
    out.extend(body);
    out
}

/// The will of a CONNECT.
#[derive(Clone, Debug)]
pub struct Will {
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Vec<Property>,
}

impl Will {
    /// A will with QoS 0 that is not retained.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: false,
            properties: Vec::new(),
        }
    }

    /// Sets the QoS; 3 is possible and wrong.
    #[must_use]
    pub const fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the will retain flag.
    #[must_use]
    pub const fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Adds a will property (5.0).
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// A CONNECT under construction.
#[derive(Clone, Debug)]
pub struct Connect {
    version: Version,
    client_id: Vec<u8>,
    clean: bool,
    keep_alive_secs: u16,
    will: Option<Will>,
    user_name: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    properties: Vec<Property>,
    flags_set: u8,
    flags_cleared: u8,
    protocol_name: Vec<u8>,
    level: u8,
    first_byte: u8,
    tail: Vec<u8>,
}

impl Connect {
    /// A correct CONNECT: clean session or clean start, keep alive 60 s, no will, anonymous.
    pub fn new(version: Version, client_id: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            client_id: client_id.as_ref().to_vec(),
            clean: true,
            keep_alive_secs: 60,
            will: None,
            user_name: None,
            password: None,
            properties: Vec::new(),
            flags_set: 0,
            flags_cleared: 0,
            protocol_name: version.protocol_name().as_bytes().to_vec(),
            level: version.level(),
            first_byte: first::CONNECT,
            tail: Vec::new(),
        }
    }

    /// A CONNECT whose session outlives the connection in every version.
    ///
    /// Clean session 0; in 5.0 also a session expiry interval of 300 s.
    pub fn persistent(version: Version, client_id: impl AsRef<[u8]>) -> Self {
        let connect = Self::new(version, client_id).resume();
        if version.is_v5() {
            connect.with(prop::session_expiry(300))
        } else {
            connect
        }
    }

    /// The version that this CONNECT asks for.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Clears the clean session or clean start flag.
    #[must_use]
    pub const fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    /// Sets the clean session or clean start flag.
    #[must_use]
    pub const fn clean(mut self) -> Self {
        self.clean = true;
        self
    }

    /// Sets the keep alive in seconds.
    #[must_use]
    pub const fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive_secs = secs;
        self
    }

    /// Adds a will with its flags.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds a user name with its flag.
    #[must_use]
    pub fn user_name(mut self, name: impl AsRef<[u8]>) -> Self {
        self.user_name = Some(name.as_ref().to_vec());
        self
    }

    /// Adds a password with its flag.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// Adds a property (5.0; not written in 3.x).
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Sets connect flags although nothing in the payload asks for them.
    #[must_use]
    pub const fn set_flags(mut self, mask: u8) -> Self {
        self.flags_set = mask;
        self
    }

    /// Clears connect flags although the payload has their fields.
    #[must_use]
    pub const fn clear_flags(mut self, mask: u8) -> Self {
        self.flags_cleared = mask;
        self
    }

    /// Replaces the protocol name.
    #[must_use]
    pub fn protocol_name(mut self, name: impl AsRef<[u8]>) -> Self {
        self.protocol_name = name.as_ref().to_vec();
        self
    }

    /// Replaces the protocol level.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Replaces the first byte of the packet.
    #[must_use]
    pub const fn first_byte(mut self, byte: u8) -> Self {
        self.first_byte = byte;
        self
    }

    /// Adds bytes behind the last field, inside the packet.
    #[must_use]
    pub fn tail(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.tail = bytes.as_ref().to_vec();
        self
    }

    /// The connect flags as they will be written.
    pub fn flags(&self) -> u8 {
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | ((will.qos & 3) << 3) | (u8::from(will.retain) << 5);
        }
        flags |= u8::from(self.password.is_some()) << 6;
        flags |= u8::from(self.user_name.is_some()) << 7;
        (flags | self.flags_set) & !self.flags_cleared
    }

    /// The bytes behind the fixed header.
    pub fn body(&self) -> Vec<u8> {
        let mut body = string(&self.protocol_name);
        body.push(self.level);
        body.push(self.flags());
        body.extend(two(self.keep_alive_secs));
        if self.version.is_v5() {
            body.extend(properties(&self.properties));
        }
        body.extend(string(&self.client_id));
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                body.extend(properties(&will.properties));
            }
            body.extend(string(&will.topic));
            body.extend(string(&will.payload));
        }
        for field in [&self.user_name, &self.password].into_iter().flatten() {
            body.extend(string(field));
        }
        body.extend(&self.tail);
        body
    }

    /// The whole packet.
    pub fn encode(&self) -> Vec<u8> {
        packet(self.first_byte, &self.body())
    }
}

/// A PUBLISH under construction.
#[derive(Clone, Debug)]
pub struct Publish {
    version: Version,
    topic: Vec<u8>,
    payload: Vec<u8>,
    first_byte: u8,
    packet_id: Option<u16>,
    properties: Vec<Property>,
}

impl Publish {
    /// A correct PUBLISH with QoS 0.
    pub fn new(version: Version, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            first_byte: first::PUBLISH,
            packet_id: None,
            properties: Vec::new(),
        }
    }

    /// Sets the QoS and, for QoS above 0, the packet id.
    #[must_use]
    pub const fn qos(mut self, qos: u8, packet_id: u16) -> Self {
        self.first_byte = (self.first_byte & !0x06) | (qos << 1);
        self.packet_id = if qos == 0 { None } else { Some(packet_id) };
        self
    }

    /// Sets RETAIN.
    #[must_use]
    pub const fn retained(mut self) -> Self {
        self.first_byte |= 0x01;
        self
    }

    /// Sets DUP.
    #[must_use]
    pub const fn dup(mut self) -> Self {
        self.first_byte |= 0x08;
        self
    }

    /// Adds a property (5.0; not written in 3.x).
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// The whole packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = string(&self.topic);
        if let Some(id) = self.packet_id {
            body.extend(two(id));
        }
        if self.version.is_v5() {
            body.extend(properties(&self.properties));
        }
        body.extend(&self.payload);
        packet(self.first_byte, &body)
    }
}

/// A SUBSCRIBE under construction.
#[derive(Clone, Debug)]
pub struct Subscribe {
    version: Version,
    first_byte: u8,
    packet_id: u16,
    properties: Vec<Property>,
    filters: Vec<(Vec<u8>, u8)>,
}

/// Subscription options of 5.0, to be or-ed with the QoS.
pub mod option {
    /// No Local.
    pub const NO_LOCAL: u8 = 0x04;
    /// Retain As Published.
    pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
    /// Retain Handling 1: only when the subscription is new.
    pub const RETAIN_IF_NEW: u8 = 0x10;
    /// Retain Handling 2: never.
    pub const RETAIN_NEVER: u8 = 0x20;
}

impl Subscribe {
    /// A SUBSCRIBE without filters, which is wrong until one is added.
    pub const fn new(version: Version, packet_id: u16) -> Self {
        Self {
            version,
            first_byte: first::SUBSCRIBE,
            packet_id,
            properties: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// Adds a filter with its options byte (in 3.x the QoS).
    #[must_use]
    pub fn filter(mut self, filter: impl AsRef<[u8]>, options: u8) -> Self {
        self.filters.push((filter.as_ref().to_vec(), options));
        self
    }

    /// Adds a property (5.0; not written in 3.x).
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Replaces the first byte of the packet.
    #[must_use]
    pub const fn first_byte(mut self, byte: u8) -> Self {
        self.first_byte = byte;
        self
    }

    /// The whole packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = two(self.packet_id).to_vec();
        if self.version.is_v5() {
            body.extend(properties(&self.properties));
        }
        for (filter, options) in &self.filters {
            body.extend(string(filter));
            body.push(*options);
        }
        packet(self.first_byte, &body)
    }
}

/// An UNSUBSCRIBE under construction.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    version: Version,
    first_byte: u8,
    packet_id: u16,
    properties: Vec<Property>,
    filters: Vec<Vec<u8>>,
}

impl Unsubscribe {
    /// An UNSUBSCRIBE without filters, which is wrong until one is added.
    pub const fn new(version: Version, packet_id: u16) -> Self {
        Self {
            version,
            first_byte: first::UNSUBSCRIBE,
            packet_id,
            properties: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// Adds a filter.
    #[must_use]
    pub fn filter(mut self, filter: impl AsRef<[u8]>) -> Self {
        self.filters.push(filter.as_ref().to_vec());
        self
    }

    /// Adds a property (5.0; not written in 3.x).
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Replaces the first byte of the packet.
    #[must_use]
    pub const fn first_byte(mut self, byte: u8) -> Self {
        self.first_byte = byte;
        self
    }

    /// The whole packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = two(self.packet_id).to_vec();
        if self.version.is_v5() {
            body.extend(properties(&self.properties));
        }
        for filter in &self.filters {
            body.extend(string(filter));
        }
        packet(self.first_byte, &body)
    }
}

/// An acknowledgement of two bytes: success in every version. `first_byte` says which one.
pub fn ack(first_byte: u8, packet_id: u16) -> Vec<u8> {
    packet(first_byte, &two(packet_id))
}

/// An acknowledgement of 5.0 with a reason code and properties.
pub fn ack_with(first_byte: u8, packet_id: u16, reason: u8, list: &[Property]) -> Vec<u8> {
    let mut body = two(packet_id).to_vec();
    body.push(reason);
    body.extend(properties(list));
    packet(first_byte, &body)
}

/// PUBACK.
pub fn puback(packet_id: u16) -> Vec<u8> {
    ack(first::PUBACK, packet_id)
}

/// PUBREC.
pub fn pubrec(packet_id: u16) -> Vec<u8> {
    ack(first::PUBREC, packet_id)
}

/// PUBREL.
pub fn pubrel(packet_id: u16) -> Vec<u8> {
    ack(first::PUBREL, packet_id)
}

/// PUBCOMP.
pub fn pubcomp(packet_id: u16) -> Vec<u8> {
    ack(first::PUBCOMP, packet_id)
}

/// DISCONNECT or AUTH of 5.0 with a reason code and properties.
pub fn reasoned(first_byte: u8, reason: u8, list: &[Property]) -> Vec<u8> {
    let mut body = vec![reason];
    body.extend(properties(list));
    packet(first_byte, &body)
}

#[cfg(test)]
mod tests;
