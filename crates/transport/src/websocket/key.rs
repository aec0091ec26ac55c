//! The key of an upgrade and the answer that proves that it was read (RFC 6455, section 4.2.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Every server appends this to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` for the value of `Sec-WebSocket-Key`.
pub(super) fn accept(key: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(key);
    hasher.update(GUID);
    STANDARD.encode(hasher.finalize())
}

/// Whether this is the form of sixteen bytes that a key has to be.
pub(super) fn is_key(value: &[u8]) -> bool {
    let mut bytes = [0; 18];
    matches!(STANDARD.decode_slice(value, &mut bytes), Ok(16))
}

/// A key for sixteen bytes.
pub(super) fn key(bytes: [u8; 16]) -> String {
    STANDARD.encode(bytes)
}
