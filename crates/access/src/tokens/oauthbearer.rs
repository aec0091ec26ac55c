//! `OAUTHBEARER` (RFC 7628): a token in MQTT's enhanced authentication.
//!
//! The authentication data of CONNECT (or of AUTH, when a client authenticates again) is the first message.
//! A server that takes the token ends with CONNACK or AUTH 0x00 and no data. One that does not may say so
//! with AUTH 0x18 and [`Challenge::message`]; the client answers [`ACKNOWLEDGEMENT`], and CONNACK 0x87 ends
//! it. It may as well refuse at once.

use core::fmt;
use std::borrow::Cow;

use serde_json::{Map, Value};

use super::JsonFault;
use super::json::{Limits, parse_object};

/// The name of the authentication method.
pub const METHOD: &str = "OAUTHBEARER";

/// What a client answers to a challenge before it is refused.
pub const ACKNOWLEDGEMENT: &[u8] = b"\x01";

/// Separates the parts of a message.
const SEPARATOR: char = '\x01';

/// The first message of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Whom the client wants to act as; most often nobody is named.
    pub acts_as: Option<Cow<'a, str>>,
    /// The server that it believes to talk to.
    pub host: Option<&'a str>,
    /// The port that it believes to talk to.
    pub port: Option<u16>,
    /// The token; `None` for a client that asks where to get one.
    pub token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("acts_as", &self.acts_as)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why a message is none of this mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageFault {
    /// More bytes than [`MESSAGE_BYTES_MAX`].
    TooLong(usize),
    /// Not text, or not made of the parts that it must have.
    Form(&'static str),
    /// Channel binding is asked for, which this mechanism does not have.
    ChannelBinding,
    /// Not a bearer token, or one with characters that it cannot have (RFC 6750 section 2.1).
    Token,
    /// A challenge that is not the JSON that it should be.
    Challenge(JsonFault),
}

impl fmt::Display for MessageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "{bytes} bytes, more than {MESSAGE_BYTES_MAX}"),
            Self::Form(what) => f.write_str(what),
            Self::ChannelBinding => f.write_str("channel binding is not part of OAUTHBEARER"),
            Self::Token => f.write_str("no bearer token"),
            Self::Challenge(fault) => write!(f, "the challenge: {fault}"),
        }
    }
}

impl core::error::Error for MessageFault {}

impl<'a> Credentials<'a> {
    /// Credentials with a token alone.
    #[must_use]
    pub const fn new(token: &'a str) -> Self {
        Self {
            acts_as: None,
            host: None,
            port: None,
            token: Some(token),
        }
    }

    /// Reads the first message of a client.
    ///
    /// # Errors
    /// [`MessageFault`]
    pub fn parse(message: &'a [u8]) -> Result<Self, MessageFault> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(MessageFault::TooLong(message.len()));
        }
        let text =
            core::str::from_utf8(message).map_err(|_| MessageFault::Form("it is no UTF-8"))?;
        let (header, pairs) = text
            .split_once(SEPARATOR)
            .ok_or(MessageFault::Form("it has no separator"))?;
        let mut credentials = Self {
            acts_as: parse_header(header)?,
            host: None,
            port: None,
            token: None,
        };
        let Some(pairs) = pairs.strip_suffix(SEPARATOR) else {
            return Err(MessageFault::Form("it does not end with a separator"));
        };
        // Each pair ends with a separator; the empty text stands for no pair.
        let mut has_auth = false;
        for pair in pairs.split_terminator(SEPARATOR) {
            let (key, value) = pair
                .split_once('=')
                .ok_or(MessageFault::Form("a part has no `=`"))?;
            match key {
                "auth" if has_auth => return Err(MessageFault::Form("`auth` stands twice")),
                "auth" => {
                    has_auth = true;
                    credentials.token = parse_token(value)?;
                }
                "host" => credentials.host = Some(value),
                "port" => {
                    let port = value.parse();
                    credentials.port =
                        Some(port.map_err(|_| MessageFault::Form("`port` is no port"))?);
                }
                // Others may be added by extensions and mean nothing here.
                _ if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic()) => {}
                _ => return Err(MessageFault::Form("a part has no name")),
            }
        }
        if !pairs.is_empty() && !pairs.ends_with(SEPARATOR) {
            return Err(MessageFault::Form("its last part has no end"));
        }
        if has_auth {
            Ok(credentials)
        } else {
            Err(MessageFault::Form("it has no `auth`"))
        }
    }

    /// The first message, for a client to send.
    ///
    /// # Errors
    /// [`MessageFault`] for a token or a name with characters that cannot be sent.
    pub fn message(&self) -> Result<Vec<u8>, MessageFault> {
        let mut message = "n,".to_owned();
        if let Some(name) = &self.acts_as {
            let name = name.replace('=', "=3D").replace(',', "=2C");
            message += &format!("a={name}");
        }
        message.push(',');
        message.push(SEPARATOR);
        if let Some(host) = self.host {
            message += &format!("host={host}{SEPARATOR}");
        }
        if let Some(port) = self.port {
            message += &format!("port={port}{SEPARATOR}");
        }
        let token = self
            .token
            .map_or_else(String::new, |token| format!("Bearer {token}"));
        message += &format!("auth={token}{SEPARATOR}{SEPARATOR}");
        match Credentials::parse(message.as_bytes()) {
            Ok(read) if read == *self => Ok(message.into_bytes()),
            Ok(_) => Err(MessageFault::Form(
                "a name has characters that cannot be sent",
            )),
            Err(fault) => Err(fault),
        }
    }
}

/// The GS2 header (RFC 5801 section 4) without the comma-separated rest that SCRAM has.
fn parse_header(header: &str) -> Result<Option<Cow<'_, str>>, MessageFault> {
    if header.starts_with("p=") {
        return Err(MessageFault::ChannelBinding);
    }
    let wrong = MessageFault::Form("it does not begin with `n,` or `y,`");
    let Some(name) = header
        .strip_prefix("n,")
        .or_else(|| header.strip_prefix("y,"))
        .and_then(|rest| rest.strip_suffix(','))
    else {
        return Err(wrong);
    };
    if name.is_empty() {
        return Ok(None);
    }
    let name = name.strip_prefix("a=").ok_or(wrong.clone())?;
    if name.is_empty() || name.contains(',') || name.contains('\0') {
        return Err(wrong);
    }
    let plain = name.replace("=2C", "").replace("=3D", "");
    if plain.contains('=') {
        return Err(wrong);
    }
    Ok(Some(if name.contains('=') {
        Cow::Owned(name.replace("=2C", ",").replace("=3D", "="))
    } else {
        Cow::Borrowed(name)
    }))
}

/// The token in an HTTP `Authorization` header such as that of a WebSocket upgrade (RFC 6750 section 2.1);
/// `None` for another scheme or what is no token.
#[must_use]
pub fn bearer_token(header: &str) -> Option<&str> {
    parse_token(header.trim()).ok().flatten()
}

/// The value of `auth`, empty for a client that wants to be told where to get a token.
fn parse_token(value: &str) -> Result<Option<&str>, MessageFault> {
    if value.is_empty() {
        return Ok(None);
    }
    let (scheme, token) = value.split_once(' ').ok_or(MessageFault::Token)?;
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_token = !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
    if scheme.eq_ignore_ascii_case("Bearer") && is_token {
        Ok(Some(token))
    } else {
        Err(MessageFault::Token)
    }
}

/// What a server says of a token that it does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `invalid_token`, `insufficient_scope` or `invalid_request`.
    pub status: String,
    /// Scopes that a token needs.
    pub scope: Option<String>,
    /// Where the provider's discovery document is, so that a client can get a token.
    pub openid_configuration: Option<String>,
}

impl Challenge {
    /// A token that is not taken, for whatever reason: it does not say more.
    #[must_use]
    pub fn invalid_token() -> Self {
        Self {
            status: "invalid_token".to_owned(),
            scope: None,
            openid_configuration: None,
        }
    }

    /// The message for a server to send.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut members = Map::new();
        members.insert("status".to_owned(), self.status.clone().into());
        let optional = [
            ("scope", &self.scope),
            ("openid-configuration", &self.openid_configuration),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.clone().into());
            }
        }
        Value::Object(members).to_string().into_bytes()
    }

    /// Reads a server's message, for a client. It is answered with [`ACKNOWLEDGEMENT`].
    ///
    /// # Errors
    /// [`MessageFault::Challenge`]
    pub fn parse(message: &[u8]) -> Result<Self, MessageFault> {
        let limits = Limits {
            bytes_max: 8 * 1024,
            depth_max: 4,
            values_max: 64,
        };
        let members = parse_object(message, limits).map_err(MessageFault::Challenge)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let no_status = || MessageFault::Challenge(JsonFault::new("no \"status\""));
        Ok(Self {
            status: text("status").ok_or_else(no_status)?,
            scope: text("scope"),
            openid_configuration: text("openid-configuration"),
        })
    }
}

/// Bytes of a first message; the token has its own limit.
pub const MESSAGE_BYTES_MAX: usize = 20 * 1024;

#[cfg(test)]
mod tests;
