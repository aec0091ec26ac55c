//! JSON from outside: read within bounds, and looked into as Mosquitto does.

use serde_json::{Map, Value};

/// An object of a file or of a request.
pub(super) type Object = Map<String, Value>;

/// Why bytes were not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// More bytes or more values than the limit.
    TooLarge { what: &'static str, limit: usize },
    /// No JSON; the text says where.
    Syntax(String),
}

/// Reads one JSON value.
///
/// The number of values is counted before anything is built, since a value costs many times what its
/// bytes do: `[1,1,1…` would otherwise grow thirtyfold. Nesting ends at 128 levels.
pub(super) fn read(bytes: &[u8], bytes_max: usize, values_max: usize) -> Result<Value, ReadError> {
    if bytes.len() > bytes_max {
        return Err(ReadError::TooLarge {
            what: "bytes",
            limit: bytes_max,
        });
    }
    if values(bytes) > values_max {
        return Err(ReadError::TooLarge {
            what: "values",
            limit: values_max,
        });
    }
    serde_json::from_slice(bytes).map_err(|error| ReadError::Syntax(error.to_string()))
}

/// At least as many as there are values in `bytes`.
fn values(bytes: &[u8]) -> usize {
    let mut count = 1;
    let mut quoted = false;
    let mut escaped = false;
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// A member of an object, whatever the case of its name: Mosquitto does not look at that either.
pub(super) fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// The same, to change it.
pub(super) fn member_mut<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Value> {
    let key = key(object, name)?;
    object.get_mut(&key)
}

/// The same, to take it out.
pub(super) fn take_member(object: &mut Object, name: &str) -> Option<Value> {
    let key = key(object, name)?;
    object.shift_remove(&key)
}

fn key(object: &Object, name: &str) -> Option<String> {
    if object.contains_key(name) {
        return Some(name.to_owned());
    }
    let mut keys = object.keys();
    keys.find(|key| key.eq_ignore_ascii_case(name)).cloned()
}

/// A value of another type than the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType;

/// A text; `None` when there is no such member.
pub(super) fn text<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, WrongType> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(WrongType),
    }
}

/// `true` or `false`; `None` when there is no such member.
pub(super) fn boolean(object: &Object, name: &str) -> Result<Option<bool>, WrongType> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(WrongType),
    }
}

/// A number without its fraction, cut to what an `i32` holds; `None` when there is no such member.
pub(super) fn integer(object: &Object, name: &str) -> Result<Option<i32>, WrongType> {
    match long(object, name)? {
        None => Ok(None),
        Some(value) => Ok(Some(i32::try_from(value).unwrap_or(if value < 0 {
            i32::MIN
        } else {
            i32::MAX
        }))),
    }
}

/// A number without its fraction, cut to what an `i64` holds; `None` when there is no such member.
pub(super) fn long(object: &Object, name: &str) -> Result<Option<i64>, WrongType> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let float = number.as_f64().unwrap_or(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast from a float saturates"
            )]
            let cut = float as i64;
            Ok(Some(number.as_i64().unwrap_or(cut)))
        }
        Some(_) => Err(WrongType),
    }
}

/// Whether Mosquitto takes `text` for a name: no control characters and no noncharacters.
pub(super) fn is_clean(text: &str) -> bool {
    text.len() <= usize::from(u16::MAX)
        && !text.chars().any(|c| {
            let code = u32::from(c);
            c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
        })
}
