//! JSON from outside: bounded, and with every member once.
//!
//! A name that stands twice in an object is refused: which of the two counts depends on who reads, and so
//! a checker and a user of the same text can see two different things (RFC 8725 section 2.4).

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::quoted::Quoted;

/// What a document may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) bytes_max: usize,
    /// Objects and arrays inside one another.
    pub(crate) depth_max: usize,
    /// Values of every kind, containers included.
    pub(crate) values_max: usize,
}

/// Why a text is not the JSON that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFault {
    message: String,
}

impl JsonFault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for JsonFault {}

/// Reads one object and nothing after it.
pub(crate) fn parse_object(bytes: &[u8], limits: Limits) -> Result<Map<String, Value>, JsonFault> {
    if bytes.len() > limits.bytes_max {
        let message = format!("{} bytes, more than {}", bytes.len(), limits.bytes_max);
        return Err(JsonFault::new(message));
    }
    let mut values_left = limits.values_max;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Bounded {
        depth_left: limits.depth_max,
        values_left: &mut values_left,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| JsonFault::new(error.to_string()))?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(JsonFault::new(format!("{}, not an object", kind(&other)))),
    }
}

/// What a value is, in words for a reason.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

struct Bounded<'a> {
    depth_left: usize,
    values_left: &'a mut usize,
}

impl Bounded<'_> {
    /// The bounds of what is inside of this value.
    fn inner<E: Error>(&mut self) -> Result<Bounded<'_>, E> {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            return Err(E::custom("nested too deeply"));
        };
        Ok(Bounded {
            depth_left,
            values_left: self.values_left,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.values_left.checked_sub(1) else {
            return Err(D::Error::custom("too many values"));
        };
        *self.values_left = left;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                let message = format!("the member {} stands twice", Quoted(&name));
                return Err(A::Error::custom(message));
            }
            let value = members.next_value_seed(self.inner()?)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests;
