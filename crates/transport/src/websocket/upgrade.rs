//! A server's half of the opening handshake (RFC 6455, section 4.2).

use std::sync::Arc;

use super::head::{Head, TooLong};
use super::refused::Refused;
use super::request::Request;
use crate::looks::Looks;

/// What a listener asks of its clients.
#[derive(Clone, Debug)]
pub struct UpgradeOptions {
    /// Bytes of the request, at most: `websockets_headers_size`.
    pub head_bytes_max: usize,
    /// The path to be asked for, without a query; `None` for any.
    pub path: Option<String>,
    /// Sites whose pages may connect, as `https://example.org:8443`; empty for all. A request without
    /// an `Origin` does not come from a page and passes.
    pub origins: Vec<String>,
}

impl Default for UpgradeOptions {
    /// As Mosquitto: 4096 bytes, any path, any site.
    fn default() -> Self {
        Self {
            head_bytes_max: 4096,
            path: None,
            origins: Vec::new(),
        }
    }
}

impl UpgradeOptions {
    pub(super) fn allows(&self, origin: &str) -> bool {
        self.origins.is_empty()
            || self
                .origins
                .iter()
                .any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }
}

/// A request that has not come to its end.
pub struct Upgrade {
    options: Arc<UpgradeOptions>,
    head: Head,
}

/// A client that may go on with WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it said.
    pub request: Request,
    /// How many of the bytes that were given last belong to the request; frames follow.
    pub consumed: usize,
}

impl Upgrade {
    /// Before the first byte.
    pub fn new(options: Arc<UpgradeOptions>) -> Self {
        Self {
            options,
            head: Head::default(),
        }
    }

    /// Takes bytes of the request; `None` as long as it is not complete. Of a request that is not, up
    /// to `head_bytes_max` bytes are kept. There is no time limit here: that is the caller's.
    ///
    /// # Errors
    /// When this is no upgrade, or none that the options allow: send [`Refused::answer`] and close.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Accepted>, Refused> {
        if self.head.bytes().is_empty()
            && let Some(first) = bytes.first()
            && !first.is_ascii_uppercase()
        {
            return Err(Refused::NotHttp(Looks::at(bytes)));
        }
        match self.head.take(bytes, self.options.head_bytes_max) {
            Ok(None) => Ok(None),
            Ok(Some(consumed)) => Ok(Some(Accepted {
                request: Request::read(self.head.bytes(), &self.options)?,
                consumed,
            })),
            Err(TooLong) => Err(Refused::TooLong),
        }
    }
}

impl Accepted {
    /// Appends the answer that switches to WebSocket.
    pub fn answer(&self, wire: &mut Vec<u8>) {
        let Request {
            accept,
            subprotocol,
            ..
        } = &self.request;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            subprotocol.name()
        );
        wire.extend_from_slice(answer.as_bytes());
    }
}

#[cfg(test)]
mod tests;
