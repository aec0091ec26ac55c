//! The client's side.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::passwords::ITERATIONS_MAX;
use crate::passwords::scram_keys::{hash, hmac, key_bytes};

use super::{
    ChannelBinding, Mechanism, NONCE_BYTES, escaped, is_nonce, nonce_text, prepared, value, xor,
};

/// Fewer iterations a client does not accept: who claims to be the server could else learn the password
/// easily (RFC 7677, section 4).
pub const ITERATIONS_LEAST: u32 = 4_096;

/// A login that waits for the server's first message.
pub struct Client {
    mechanism: Mechanism,
    password: Vec<u8>,
    /// `c=` of the last message.
    binding: String,
    nonce: String,
    bare: String,
}

/// A login that waits for the server's last message.
pub struct Answered {
    /// What the server has to send to show that it knows the keys.
    signature: Box<[u8]>,
}

/// Why a client does not go on with a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server's message has not the form of RFC 5802; the text says where.
    Malformed(&'static str),
    /// The server asks for fewer than [`ITERATIONS_LEAST`] or more than
    /// [`ITERATIONS_MAX`](crate::passwords::ITERATIONS_MAX) iterations.
    Iterations(u32),
    /// The server refuses, with a word of RFC 5802 such as `invalid-proof`.
    Refused(String),
    /// The server does not know the keys of the password: it is another one than it claims to be.
    FalseServer,
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(out, "malformed SCRAM message of the server: {what}"),
            Self::Iterations(count) => write!(
                out,
                "the server asks for {count} iterations; from {ITERATIONS_LEAST} to {ITERATIONS_MAX} are \
                 accepted"
            ),
            Self::Refused(why) => write!(out, "the server refuses the login: {why}"),
            Self::FalseServer => out.write_str("the server does not know the user's keys"),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// Begins a login and gives the client's first message. `binding` is for a mechanism with `-PLUS`, and
    /// nothing to another; `nonce` is random.
    #[must_use]
    pub fn new(
        mechanism: Mechanism,
        user_name: &str,
        password: &[u8],
        binding: Option<&ChannelBinding>,
        nonce: [u8; NONCE_BYTES],
    ) -> (Self, Vec<u8>) {
        Self::with_nonce(mechanism, user_name, password, binding, nonce_text(nonce))
    }

    pub(super) fn with_nonce(
        mechanism: Mechanism,
        user_name: &str,
        password: &[u8],
        binding: Option<&ChannelBinding>,
        nonce: String,
    ) -> (Self, Vec<u8>) {
        let name = prepared(user_name.as_bytes());
        let name = escaped(&String::from_utf8_lossy(&name));
        let (header, data) = match binding {
            Some(binding) if mechanism.plus => (format!("p={},,", binding.kind), &*binding.data),
            _ => ("n,,".to_owned(), &[][..]),
        };
        let bare = format!("n={name},r={nonce}");
        let first = format!("{header}{bare}").into_bytes();
        let client = Self {
            mechanism,
            password: prepared(password).into_owned(),
            binding: STANDARD.encode([header.as_bytes(), data].concat()),
            nonce,
            bare,
        };
        (client, first)
    }

    /// Answers the server's first message. This hashes the password as often as the server asks, some
    /// milliseconds for the usual 4,096 times.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn answer(self, message: &[u8]) -> Result<(Answered, Vec<u8>), ClientError> {
        let malformed = ClientError::Malformed;
        let message = std::str::from_utf8(message).map_err(|_| malformed("UTF-8"))?;
        let mut parts = message.split(',').peekable();
        if value(parts.peek().copied(), 'm').is_some() {
            return Err(malformed("unknown mandatory extension"));
        }
        let nonce = value(parts.next(), 'r')
            .filter(|nonce| is_nonce(nonce))
            .filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce))
            .ok_or(malformed("nonce"))?;
        let salt = value(parts.next(), 's')
            .and_then(|salt| STANDARD.decode(salt).ok())
            .filter(|salt| !salt.is_empty())
            .ok_or(malformed("salt"))?;
        let iterations: u32 = value(parts.next(), 'i')
            .and_then(|count| count.parse().ok())
            .ok_or(malformed("iterations"))?;
        if !(ITERATIONS_LEAST..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ClientError::Iterations(iterations));
        }
        let function = self.mechanism.hash.hashing(iterations);
        let mut salted = vec![0; key_bytes(function)];
        function
            .derive(&self.password, &salt, &mut salted)
            .map_err(|_| malformed("iterations"))?;
        let signed = format!("c={},r={nonce}", self.binding);
        let messages = format!("{},{message},{signed}", self.bare);
        let client_key = hmac(function, &salted, b"Client Key");
        let stored = hash(function, &client_key);
        let proof = xor(&client_key, &hmac(function, &stored, messages.as_bytes()));
        let server_key = hmac(function, &salted, b"Server Key");
        let answered = Answered {
            signature: hmac(function, &server_key, messages.as_bytes()),
        };
        let proof = STANDARD.encode(proof);
        Ok((answered, format!("{signed},p={proof}").into_bytes()))
    }
}

impl Answered {
    /// Checks the server's last message: whether it knows the keys, too.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn finish(self, message: &[u8]) -> Result<(), ClientError> {
        let malformed = ClientError::Malformed;
        let message = std::str::from_utf8(message).map_err(|_| malformed("UTF-8"))?;
        let first = message.split(',').next();
        if let Some(why) = value(first, 'e') {
            return Err(ClientError::Refused(crate::lines::shown(why)));
        }
        let signature = value(first, 'v')
            .and_then(|signature| STANDARD.decode(signature).ok())
            .ok_or(malformed("signature"))?;
        if bool::from(signature.ct_eq(&self.signature)) {
            Ok(())
        } else {
            Err(ClientError::FalseServer)
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Client");
        out.field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
