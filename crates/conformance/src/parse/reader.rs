//! A cursor over a packet's body.

use super::Properties;
use crate::wire::prop::{self, Property, Value};

/// What is wrong with the bytes, in words.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

/// A cursor that never reads beyond its end.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Fault(format!("{} trailing bytes", self.rest.len())))
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some((head, tail)) = self.rest.split_at_checked(length) else {
            return Err(Fault(format!(
                "{length} bytes wanted, {} left",
                self.rest.len()
            )));
        };
        self.rest = tail;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        self.take(1)?
            .first()
            .copied()
            .ok_or_else(|| Fault("no byte".to_owned()))
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        Ok((u16::from(self.u8()?) << 8) | u16::from(self.u8()?))
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok((u32::from(self.u16()?) << 16) | u32::from(self.u16()?))
    }

    fn variable_int(&mut self) -> Result<u32, Fault> {
        let mut value = 0_u32;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if index > 0 && byte == 0 {
                    return Err(Fault("variable byte integer is not minimal".to_owned()));
                }
                return Ok(value);
            }
        }
        Err(Fault("variable byte integer of five bytes".to_owned()))
    }

    pub(super) fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.u16()? {
            0 => Err(Fault("packet id 0".to_owned())),
            id => Ok(id),
        }
    }

    fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(super) fn utf8(&mut self) -> Result<String, Fault> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Fault(format!("string {bytes:02x?}: {error}")))?;
        if text.contains('\0') {
            return Err(Fault("U+0000 in a string".to_owned()));
        }
        Ok(text.to_owned())
    }

    /// Reads a property block in which only `allowed` identifiers may stand.
    pub(super) fn properties(&mut self, allowed: &[u8]) -> Result<Properties, Fault> {
        let length = self.variable_int()?;
        let length = usize::try_from(length).map_err(|error| Fault(error.to_string()))?;
        let mut block = Self::new(self.take(length)?);
        let mut list: Vec<Property> = Vec::new();
        while !block.is_empty() {
            let id = block.u8()?;
            if !allowed.contains(&id) {
                return Err(Fault(format!("property {id:#04x} not allowed here")));
            }
            let repeatable = id == prop::USER_PROPERTY || id == prop::SUBSCRIPTION_ID;
            if !repeatable && list.iter().any(|property| property.id == id) {
                return Err(Fault(format!("property {id:#04x} twice")));
            }
            list.push(Property::new(id, block.value(id)?));
        }
        Ok(Properties(list))
    }

    fn value(&mut self, id: u8) -> Result<Value, Fault> {
        match id {
            prop::PAYLOAD_FORMAT
            | prop::MAXIMUM_QOS
            | prop::RETAIN_AVAILABLE
            | prop::WILDCARD_AVAILABLE
            | prop::SUBSCRIPTION_ID_AVAILABLE
            | prop::SHARED_AVAILABLE => match self.u8()? {
                value @ (0 | 1) => Ok(Value::Byte(value)),
                value => Err(Fault(format!("property {id:#04x} has value {value}"))),
            },
            prop::SERVER_KEEP_ALIVE | prop::TOPIC_ALIAS_MAXIMUM => Ok(Value::Two(self.u16()?)),
            prop::RECEIVE_MAXIMUM | prop::TOPIC_ALIAS => match self.u16()? {
                0 => Err(Fault(format!("property {id:#04x} has value 0"))),
                value => Ok(Value::Two(value)),
            },
            prop::MESSAGE_EXPIRY | prop::SESSION_EXPIRY => Ok(Value::Four(self.u32()?)),
            prop::MAXIMUM_PACKET_SIZE => match self.u32()? {
                0 => Err(Fault("maximum packet size 0".to_owned())),
                value => Ok(Value::Four(value)),
            },
            prop::SUBSCRIPTION_ID => match self.variable_int()? {
                0 => Err(Fault("subscription identifier 0".to_owned())),
                value => Ok(Value::VariableInt(value)),
            },
            prop::CORRELATION_DATA | prop::AUTH_DATA => Ok(Value::Bytes(self.binary()?.to_vec())),
            prop::USER_PROPERTY => Ok(Value::Pair(
                self.utf8()?.into_bytes(),
                self.utf8()?.into_bytes(),
            )),
            prop::RESPONSE_TOPIC => {
                let topic = self.utf8()?;
                if topic.contains(['+', '#']) {
                    return Err(Fault(format!("wildcard in response topic {topic:?}")));
                }
                Ok(Value::Bytes(topic.into_bytes()))
            }
            prop::CONTENT_TYPE
            | prop::ASSIGNED_CLIENT_ID
            | prop::AUTH_METHOD
            | prop::RESPONSE_INFO
            | prop::SERVER_REFERENCE
            | prop::REASON_STRING => Ok(Value::Bytes(self.utf8()?.into_bytes())),
            other => Err(Fault(format!("unknown property {other:#04x}"))),
        }
    }
}
