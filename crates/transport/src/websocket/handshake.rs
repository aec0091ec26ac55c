//! A client's half of the opening handshake (RFC 6455, section 4.1).

use std::fmt;

use super::head::{HEADERS_MAX, Head, TooLong};
use super::key;
use super::request::{Subprotocol, words};

/// What an answer may have, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeRequest<'a> {
    /// The host, with the port unless it is the scheme's own: `broker.example:8080`.
    pub host: &'a str,
    /// Path and query, beginning with a slash, percent-encoded.
    pub path: &'a str,
    /// What is spoken inside.
    pub subprotocol: Subprotocol,
    /// Further headers, such as `Authorization`.
    pub headers: &'a [(&'a str, &'a str)],
}

/// An answer that has not come to its end.
pub struct Handshake {
    head: Head,
    accept: String,
    subprotocol: Subprotocol,
}

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The host, path or a header has bytes that would end it; which one.
    Unsendable(Box<str>),
    /// The answer is no HTTP, or breaks off.
    Malformed(&'static str),
    /// The answer's head is longer than 16 KiB.
    TooLong,
    /// The server refuses: its status, reason, and where else it says to go.
    Status {
        /// As `404`.
        status: u16,
        /// The server's words.
        reason: Box<str>,
        /// The value of `Location`.
        location: Option<Box<str>>,
    },
    /// The server says that it switches, but to something else than was asked for; the header.
    Unexpected(&'static str),
}

impl Handshake {
    /// Appends the request to `wire`. `key` is random; it shows that the answer is one to this request.
    ///
    /// # Errors
    /// [`HandshakeError::Unsendable`]; nothing is appended then.
    pub fn request(
        request: &HandshakeRequest<'_>,
        key: [u8; 16],
        wire: &mut Vec<u8>,
    ) -> Result<Self, HandshakeError> {
        let visible =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(request.host) {
            return Err(HandshakeError::Unsendable("host".into()));
        }
        if !visible(request.path) || !request.path.starts_with('/') {
            return Err(HandshakeError::Unsendable("path".into()));
        }
        for (name, value) in request.headers {
            let token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let bad_value = value
                .bytes()
                .any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7F);
            if name.is_empty() || !name.bytes().all(token) || bad_value {
                return Err(HandshakeError::Unsendable((*name).into()));
            }
        }
        let HandshakeRequest {
            host,
            path,
            subprotocol,
            headers,
        } = request;
        let key = key::key(key);
        let mut text = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\nSec-WebSocket-Version: 13\r\n",
            subprotocol.name()
        );
        for (name, value) in *headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        wire.extend_from_slice(text.as_bytes());
        Ok(Self {
            head: Head::default(),
            accept: key::accept(key.as_bytes()),
            subprotocol: *subprotocol,
        })
    }

    /// Takes bytes of the answer. When it is complete and good, says how many of them belong to it;
    /// frames follow.
    ///
    /// # Errors
    /// When the server refuses or answers something else.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        match self.head.take(bytes, ANSWER_BYTES_MAX) {
            Ok(None) => Ok(None),
            Ok(Some(consumed)) => {
                self.judge()?;
                Ok(Some(consumed))
            }
            Err(TooLong) => Err(HandshakeError::TooLong),
        }
    }

    fn judge(&self) -> Result<(), HandshakeError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(self.head.bytes()) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                return Err(HandshakeError::Malformed("an incomplete head"));
            }
            Err(error) => return Err(HandshakeError::Malformed(words(error))),
        }
        let value = |name: &str| {
            let mut found = response
                .headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case(name));
            found
                .next()
                .and_then(|header| str::from_utf8(header.value).ok())
                .map(str::trim)
        };
        let status = response.code.unwrap_or_default();
        if status != 101 {
            return Err(HandshakeError::Status {
                status,
                reason: response.reason.unwrap_or_default().into(),
                location: value("Location").map(Into::into),
            });
        }
        if !value("Upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
            return Err(HandshakeError::Unexpected("Upgrade"));
        }
        let connection = value("Connection").unwrap_or_default();
        let upgrades = |item: &str| item.trim().eq_ignore_ascii_case("upgrade");
        if !connection.split(',').any(upgrades) {
            return Err(HandshakeError::Unexpected("Connection"));
        }
        if value("Sec-WebSocket-Accept") != Some(self.accept.as_str()) {
            return Err(HandshakeError::Unexpected("Sec-WebSocket-Accept"));
        }
        if value("Sec-WebSocket-Extensions").is_some() {
            return Err(HandshakeError::Unexpected("Sec-WebSocket-Extensions"));
        }
        // Servers that name none speak MQTT all the same; another one does not.
        let subprotocol = value("Sec-WebSocket-Protocol");
        if subprotocol.is_some_and(|name| name != self.subprotocol.name()) {
            return Err(HandshakeError::Unexpected("Sec-WebSocket-Protocol"));
        }
        Ok(())
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsendable(what) => {
                write!(f, "the WebSocket {what} has bytes that cannot be sent")
            }
            Self::Malformed(what) => write!(f, "no WebSocket server: bad HTTP answer, {what}"),
            Self::TooLong => f.write_str("no WebSocket server: the HTTP answer is too long"),
            Self::Status {
                status,
                reason,
                location,
            } => {
                write!(
                    f,
                    "the server refuses WebSocket: {status} {}",
                    reason.escape_debug()
                )?;
                if let Some(location) = location {
                    write!(f, ", go to {}", location.escape_debug())?;
                }
                Ok(())
            }
            Self::Unexpected(name) => {
                write!(f, "the server's WebSocket answer has a wrong or no {name}")
            }
        }
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests;
