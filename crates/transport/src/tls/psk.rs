//! TLS with pre-shared keys (RFC 4279, RFC 5489, RFC 8446): who has which key, and with the feature
//! `tls-psk` the connections.

use std::collections::HashMap;
use std::fmt;

#[cfg(feature = "tls-psk")]
mod session;
#[cfg(feature = "tls-psk")]
pub(super) use session::{PskClient, PskServer, PskSession};

/// Longest identity, in bytes: as many as OpenSSL takes.
pub const IDENTITY_BYTES_MAX: usize = 256;

/// Longest key, in bytes: as many as every version of OpenSSL takes.
pub const KEY_BYTES_MAX: usize = 256;

/// As many faults are told one by one; further ones are counted.
const FAULTS_MAX: usize = 100;

/// Whether this build can serve clients with pre-shared keys: it has the feature `tls-psk`.
pub const PSK_IS_BUILT_IN: bool = cfg!(feature = "tls-psk");

/// Keys by identity, as a `psk_file` of Mosquitto lists them.
///
/// A line is an identity, a colon and the key in hexadecimal digits; `#` at the beginning of a line makes it
/// a comment. Spaces around identity and key do not count. A line that cannot be used costs its client the
/// access but nobody else.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PskKeys {
    keys: HashMap<Box<str>, Box<[u8]>>,
}

/// What is wrong with lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PskFaults {
    /// The first hundred: the line, counted from 1, and what is wrong with it.
    pub list: Vec<(usize, String)>,
    /// How many more there are.
    pub more: usize,
}

/// What a listener with pre-shared keys is made of.
#[cfg(feature = "tls-psk")]
pub struct PskOptions<'a> {
    /// Who may connect (`psk_file`).
    pub keys: PskKeys,
    /// What clients of TLS 1.2 are told to choose their identity by (`psk_hint`).
    pub hint: &'a str,
    /// The oldest version that clients may use (`tls_version`).
    pub oldest_version: super::TlsVersion,
    /// The ciphers of TLS 1.2 in OpenSSL's language; `None` for those that can use a pre-shared key, with
    /// forward secrecy first.
    pub ciphers: Option<&'a str>,
    /// The ciphers of TLS 1.3. One with SHA-256 is needed: that is the hash of pre-shared keys there.
    pub ciphers_tls13: Option<&'a str>,
    /// Gets the secrets of all connections.
    pub key_logger: Option<super::KeyLogger>,
}

/// What a client shows in the place of a certificate.
#[cfg(feature = "tls-psk")]
#[derive(Clone, PartialEq, Eq)]
pub struct PreSharedKey {
    identity: Box<str>,
    key: Box<[u8]>,
}

/// What a client with a pre-shared key is made of.
#[cfg(feature = "tls-psk")]
pub struct PskClientOptions<'a> {
    /// The key (`--psk`) and whose it is (`--psk-identity`).
    pub key: &'a PreSharedKey,
    /// The oldest version that the server may use (`--tls-version`).
    pub oldest_version: super::TlsVersion,
    /// The newest version that the server may use.
    pub newest_version: super::TlsVersion,
    /// The ciphers of TLS 1.2 in OpenSSL's language (`--ciphers`); `None` for those that can use a
    /// pre-shared key, with forward secrecy first.
    pub ciphers: Option<&'a str>,
    /// The ciphers of TLS 1.3. One with SHA-256 is needed: that is the hash of pre-shared keys there.
    pub ciphers_tls13: Option<&'a str>,
    /// The protocols that the server may choose from (`--tls-alpn`), the dearest first.
    pub protocols: &'a [&'a str],
    /// Gets the secrets of all connections (`--tls-keylog`).
    pub key_logger: Option<super::KeyLogger>,
}

#[cfg(feature = "tls-psk")]
impl PreSharedKey {
    /// A key in hexadecimal digits, as it stands in a `psk_file`.
    ///
    /// # Errors
    /// What is wrong with identity or key.
    pub fn from_hex(identity: &str, key: &str) -> Result<Self, &'static str> {
        Ok(Self {
            identity: read_identity(identity.as_bytes())?.into(),
            key: read_key(key.as_bytes())?,
        })
    }
}

/// Says whose it is, and no more.
#[cfg(feature = "tls-psk")]
impl fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreSharedKey")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl PskKeys {
    /// Reads a file. What is wrong with single lines is told beside what could be read; of several lines
    /// for one identity the last counts.
    pub fn parse(text: &[u8]) -> (Self, PskFaults) {
        let mut keys: HashMap<Box<str>, (usize, Box<[u8]>)> = HashMap::new();
        let mut faults = PskFaults::default();
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            match read(line) {
                Ok(None) => {}
                Ok(Some((identity, key))) => {
                    if let Some((before, _)) = keys.insert(identity.into(), (number, key)) {
                        faults.push(
                            before,
                            format!(
                                "identity '{}' stands again in line {number}, which counts; remove one \
                                 of them",
                                identity.escape_debug()
                            ),
                        );
                    }
                }
                Err(why) => faults.push(number, why.to_owned()),
            }
        }
        faults.list.sort_by_key(|(line, _)| *line);
        let keys = keys
            .into_iter()
            .map(|(identity, (_, key))| (identity, key))
            .collect();
        (Self { keys }, faults)
    }

    /// The key of an identity.
    pub fn get(&self, identity: &str) -> Option<&[u8]> {
        self.keys.get(identity).map(AsRef::as_ref)
    }

    /// Those who may connect, in no order.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(AsRef::as_ref)
    }

    /// How many identities there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none, and so nobody can connect.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for PskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PskKeys")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl PskFaults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn push(&mut self, line: usize, text: String) {
        if self.list.len() < FAULTS_MAX {
            self.list.push((line, text));
        } else {
            self.more += 1;
        }
    }
}

/// Identity and key.
type Entry<'a> = (&'a str, Box<[u8]>);

/// What a line says; nothing for a comment or an empty line.
fn read(line: &[u8]) -> Result<Option<Entry<'_>>, &'static str> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or("no colon between identity and key")?;
    let (identity, rest) = line.split_at(colon);
    let identity = identity.trim_ascii();
    // What follows a second colon is left out, as in Mosquitto.
    let key = rest.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    let key = key.trim_ascii();
    if identity.is_empty() {
        return Err("no identity before the colon");
    }
    if key.is_empty() {
        return Err("no key behind the colon");
    }
    Ok(Some((read_identity(identity)?, read_key(key)?)))
}

fn read_identity(identity: &[u8]) -> Result<&str, &'static str> {
    if identity.is_empty() {
        return Err("the identity is empty");
    }
    if identity.len() > IDENTITY_BYTES_MAX {
        return Err("the identity has more than 256 bytes");
    }
    let text = std::str::from_utf8(identity)
        .map_err(|_| "the identity is no UTF-8; save the file as UTF-8")?;
    if text.contains('\0') {
        return Err("the identity has a NUL, which no client can send");
    }
    Ok(text)
}

fn read_key(key: &[u8]) -> Result<Box<[u8]>, &'static str> {
    if key.is_empty() {
        return Err("the key is empty");
    }
    if key.len() > 2 * KEY_BYTES_MAX {
        return Err("the key has more than 256 bytes");
    }
    unhex(key).ok_or("the key is not in hexadecimal digits (0-9, a-f)")
}

/// Bytes from hexadecimal digits; of an odd number of them the first stands alone.
fn unhex(digits: &[u8]) -> Option<Box<[u8]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (first, pairs) = digits.split_at(digits.len() % 2);
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    for pair in first.chunks(1).chain(pairs.chunks(2)) {
        let mut value = 0;
        for byte in pair {
            value = value * 16 + digit(*byte)?;
        }
        bytes.push(u8::try_from(value).ok()?);
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests;
