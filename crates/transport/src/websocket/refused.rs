//! Why a request is no upgrade, and what its sender is told.

use std::fmt;

use crate::looks::Looks;

/// Why a client was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The first byte is none of HTTP. There is no answer.
    NotHttp(Looks),
    /// 431: a head of more bytes or headers than allowed.
    TooLong,
    /// 505: HTTP in another version than 1.1.
    HttpVersion,
    /// 400: not HTTP, or no request of a WebSocket client; what it has or lacks.
    Malformed(&'static str),
    /// 400: a header more than once.
    Repeated(&'static str),
    /// 405: another method than GET.
    Method,
    /// 404: another path than the listener's.
    Path(Box<str>),
    /// 426: plain HTTP.
    NotUpgrade,
    /// 426: a version of WebSocket other than 13.
    Version,
    /// 400: neither `mqtt` nor `mqttv3.1` [MQTT5-6.0.0-3].
    Subprotocol,
    /// 403: a site that the listener does not allow.
    Origin(Box<str>),
}

impl Refused {
    /// The status of the HTTP answer, if there is one.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::NotHttp(_) => None,
            Self::TooLong => Some(431),
            Self::HttpVersion => Some(505),
            Self::Malformed(_) | Self::Repeated(_) | Self::Subprotocol => Some(400),
            Self::Method => Some(405),
            Self::Path(_) => Some(404),
            Self::NotUpgrade | Self::Version => Some(426),
            Self::Origin(_) => Some(403),
        }
    }

    /// Appends the HTTP answer to `wire`; the connection is to be closed when it has been sent.
    pub fn answer(&self, wire: &mut Vec<u8>) {
        let (status, more) = match self.status() {
            None => return,
            Some(403) => ("403 Forbidden", ""),
            Some(404) => ("404 Not Found", ""),
            Some(405) => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Some(426) => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            Some(431) => ("431 Request Header Fields Too Large", ""),
            Some(505) => ("505 HTTP Version Not Supported", ""),
            Some(_) => ("400 Bad Request", ""),
        };
        let connection = match self {
            Self::NotUpgrade | Self::Version => "Upgrade, close",
            _ => "close",
        };
        let body = self.advice();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\n{more}Connection: {connection}\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        wire.extend_from_slice(answer.as_bytes());
    }

    /// What who looks at the answer can do about it. Nothing of the request comes back in it.
    const fn advice(&self) -> &'static str {
        match self {
            Self::NotHttp(_) => "",
            Self::TooLong => "The head of the request is too long.\n",
            Self::HttpVersion => "WebSocket needs HTTP/1.1.\n",
            Self::Malformed(_) | Self::Repeated(_) => "This is no valid WebSocket upgrade.\n",
            Self::Method => "WebSocket needs GET.\n",
            Self::Path(_) => "There is nothing at this path.\n",
            Self::NotUpgrade => "This is an MQTT broker; connect with WebSocket.\n",
            Self::Version => "WebSocket version 13 is needed.\n",
            Self::Subprotocol => "The WebSocket subprotocol has to be mqtt or mqttv3.1.\n",
            Self::Origin(_) => "This origin is not allowed.\n",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(looks) => write!(f, "not WebSocket: {looks}"),
            Self::TooLong => f.write_str("the head of the HTTP request is too long"),
            Self::HttpVersion => f.write_str("not HTTP/1.1"),
            Self::Malformed(what) => write!(f, "bad HTTP request: {what}"),
            Self::Repeated(name) => write!(f, "bad HTTP request: more than one {name}"),
            Self::Method => f.write_str("HTTP request with another method than GET"),
            Self::Path(path) => write!(
                f,
                "HTTP request for {}, which is not here",
                path.escape_debug()
            ),
            Self::NotUpgrade => f.write_str("plain HTTP request, not a WebSocket upgrade"),
            Self::Version => f.write_str("WebSocket upgrade with another version than 13"),
            Self::Subprotocol => f.write_str("WebSocket upgrade without subprotocol mqtt"),
            Self::Origin(origin) => {
                write!(
                    f,
                    "WebSocket upgrade from origin {}, which is not allowed",
                    origin.escape_debug()
                )
            }
        }
    }
}

impl std::error::Error for Refused {}
