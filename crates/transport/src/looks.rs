//! Telling what a peer speaks that does not speak what it should.

use std::fmt;

/// What the first bytes of a connection look like. For a log line: nothing may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Looks {
    /// The CONNECT packet of MQTT.
    Mqtt,
    /// A handshake of TLS.
    Tls,
    /// An HTTP request.
    Http,
    /// A header of the PROXY protocol.
    Proxy,
    /// Anything else.
    Unknown,
}

impl Looks {
    /// What `bytes`, the first of a connection, look like.
    pub fn at(bytes: &[u8]) -> Self {
        const METHODS: [&[u8]; 8] = [
            b"GET ",
            b"POST ",
            b"HEAD ",
            b"PUT ",
            b"OPTIONS ",
            b"CONNECT ",
            b"DELETE ",
            b"PRI * ",
        ];
        match bytes {
            [0x16, 0x03, ..] => Self::Tls,
            [0x10, ..] => Self::Mqtt,
            _ if bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => {
                Self::Proxy
            }
            _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Self::Http,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt => "this looks like plain MQTT",
            Self::Tls => "this looks like TLS",
            Self::Http => "this looks like HTTP",
            Self::Proxy => "this looks like a PROXY header",
            Self::Unknown => "this is no protocol that is known here",
        })
    }
}
