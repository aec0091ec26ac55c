//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): a login with a password that is never sent, and that
//! the server cannot give away.
//!
//! In MQTT 5.0 the messages are authentication data: the client's first in CONNECT, the server's first in AUTH,
//! the client's last in AUTH, the server's last in CONNACK; to authenticate anew, in AUTH throughout.
//! [`Server`] and [`Client`] are the two sides. Neither reads randomness: a nonce is an argument, new for each
//! login and from a good source.
//!
//! The server needs the keys that `midge passwd -H scram-sha-256` writes into the password file, in a line of
//! Midge's own:
//!
//! ```text
//! NAME:$scram-sha-256$ITERATIONS$SALT$STORED KEY$SERVER KEY        (the last three in base64)
//! ```
//!
//! They cannot be made from the other forms of hash. Such a user can log in with a password as well. Names and
//! passwords are prepared with SASLprep (RFC 4013); what it does not allow is taken as it is.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::passwords::Hashing;

mod client;
mod server;

pub use client::{Answered, Client, ClientError, ITERATIONS_LEAST};
pub use server::{Server, ServerError, ServerFailure, Success};

/// Bytes of randomness in a nonce.
pub const NONCE_BYTES: usize = 18;

/// The hash function of a login, and whether it is bound to the TLS channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mechanism {
    /// The hash function.
    pub hash: ScramHash,
    /// Whether its name ends with `-PLUS`.
    pub plus: bool,
}

/// A hash function for SCRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Mechanism {
    /// All mechanisms, the best one first.
    pub const ALL: [Self; 4] = [
        Self::new(ScramHash::Sha512, true),
        Self::new(ScramHash::Sha256, true),
        Self::new(ScramHash::Sha512, false),
        Self::new(ScramHash::Sha256, false),
    ];

    const fn new(hash: ScramHash, plus: bool) -> Self {
        Self { hash, plus }
    }

    /// The authentication method of that name, such as `SCRAM-SHA-256`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.hash, self.plus) {
            (ScramHash::Sha256, false) => "SCRAM-SHA-256",
            (ScramHash::Sha256, true) => "SCRAM-SHA-256-PLUS",
            (ScramHash::Sha512, false) => "SCRAM-SHA-512",
            (ScramHash::Sha512, true) => "SCRAM-SHA-512-PLUS",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl ScramHash {
    const fn hashing(self, iterations: u32) -> Hashing {
        match self {
            Self::Sha256 => Hashing::ScramSha256 { iterations },
            Self::Sha512 => Hashing::ScramSha512 { iterations },
        }
    }

    /// The same function; the iterations do not matter to it.
    const fn function(self) -> Hashing {
        self.hashing(1)
    }
}

/// What names the TLS connection to both of its ends (RFC 5929, RFC 9266).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelBinding {
    /// Its type: `tls-exporter` for TLS 1.3, `tls-server-end-point` otherwise.
    pub kind: String,
    /// What both ends have.
    pub data: Vec<u8>,
}

/// A name or password as SCRAM hashes it.
pub(crate) fn prepared(bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = std::str::from_utf8(bytes).ok();
    match text.and_then(|text| stringprep::saslprep(text).ok()) {
        Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        Some(Cow::Borrowed(_)) | None => Cow::Borrowed(bytes),
    }
}

/// A nonce as text: without commas, as it stands in messages.
fn nonce_text(random: [u8; NONCE_BYTES]) -> String {
    STANDARD.encode(random)
}

/// Whether `nonce` may stand in a message: printable ASCII without a comma.
fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty()
        && nonce
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// The value of `attribute` when `part` is one: `x=value`.
fn value(part: Option<&str>, attribute: char) -> Option<&str> {
    part?.strip_prefix(attribute)?.strip_prefix('=')
}

/// A name with `,` and `=` as messages write them.
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// The name that [`escaped`] wrote; `None` when `=` means anything else.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        if let Some(rest) = part.strip_prefix("2C") {
            name.push(',');
            name.push_str(rest);
        } else {
            name.push('=');
            name.push_str(part.strip_prefix("3D")?);
        }
    }
    (!name.is_empty()).then_some(name)
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter()
        .zip(other)
        .map(|(one, other)| one ^ other)
        .collect()
}

#[cfg(test)]
mod tests;
