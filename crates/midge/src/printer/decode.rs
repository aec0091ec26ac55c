//! Binary payloads made readable.

use midge_codec::{Property, Publish};

use super::property;

/// Which payloads are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decode {
    None,
    /// Those whose content type says what they are.
    Auto,
    Cbor,
    MessagePack,
}

/// How deep values may lie in each other.
const DEPTH_MAX: usize = 100;

impl Decode {
    /// A payload in words: CBOR in its diagnostic notation (RFC 8949 section 8), MessagePack like JSON.
    /// `None` if it is to stay as it is, or is not what it should be.
    pub(super) fn readable(self, message: &Publish<'_>) -> Option<String> {
        let form = match self {
            Self::None => return None,
            Self::Auto => by_content_type(message)?,
            form => form,
        };
        if message.payload.is_empty() {
            return None;
        }
        match form {
            Self::MessagePack => message_pack(message.payload),
            _ => cbor(message.payload),
        }
    }
}

fn by_content_type(message: &Publish<'_>) -> Option<Decode> {
    let content_type = property(message, |property| match property {
        Property::ContentType(text) => Some(text),
        _ => None,
    })?;
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/cbor" => Some(Decode::Cbor),
        "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
            Some(Decode::MessagePack)
        }
        kind if kind.ends_with("+cbor") => Some(Decode::Cbor),
        kind if kind.ends_with("+msgpack") => Some(Decode::MessagePack),
        _ => None,
    }
}

fn cbor(payload: &[u8]) -> Option<String> {
    // What is shown of a payload that breaks off would hide that it does.
    let mut decoder = minicbor::Decoder::new(payload);
    while decoder.position() < payload.len() {
        decoder.skip().ok()?;
    }
    Some(minicbor::display(payload).to_string())
}

fn message_pack(payload: &[u8]) -> Option<String> {
    let mut rest = payload;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH_MAX).ok()?;
    rest.is_empty().then(|| value.to_string())
}
