//! The PROXY protocol, versions 1 and 2: whom a proxy in front of the broker has accepted.
//!
//! The header is the very first thing on a connection, before TLS and WebSocket. Whoever can reach a
//! listener that reads it can claim any address and any certificate, so such a listener belongs where
//! only the proxy can reach it.

use std::fmt;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, Tlv};

use crate::looks::Looks;

mod version2;

/// What version 1 takes at most, with its line end.
const VERSION1_BYTES_MAX: usize = 107;

const VERSION1_START: &[u8] = b"PROXY ";

/// Which version a listener expects: `enable_proxy_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text with addresses.
    V1,
    /// Binary, with more about the connection.
    V2,
}

/// A header that has not come to its end.
pub struct ProxyReader {
    version: ProxyVersion,
    bytes_max: usize,
    held: Vec<u8>,
}

/// What the proxy says about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who is at the other end of the proxy.
    pub client: ProxiedClient,
    /// The client's TLS connection to the proxy, if it has one.
    pub tls: Option<ProxiedTls>,
    /// The host name that the client asked for (SNI).
    pub authority: Option<Box<str>>,
    /// The protocol that client and proxy agreed on (ALPN).
    pub alpn: Option<Box<[u8]>>,
}

/// Who is at the other end of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxiedClient {
    /// The proxy itself, for a health check (command `LOCAL`), or somebody that it cannot name
    /// (`UNKNOWN`): the address of the socket counts.
    Unnamed,
    /// A client by its address.
    Address {
        /// The client's.
        source: SocketAddr,
        /// The one that the client connected to.
        destination: SocketAddr,
    },
    /// A client of a unix socket; its path, which is often empty.
    Unix {
        /// The client's path.
        source: Box<[u8]>,
    },
}

/// A client's TLS connection to the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxiedTls {
    /// As `TLSv1.3`.
    pub version: Option<Box<str>>,
    /// As `ECDHE-RSA-AES128-GCM-SHA256`.
    pub cipher: Option<Box<str>>,
    /// The client showed a certificate, on this connection or on one that it resumes.
    pub certificate: bool,
    /// The proxy found the certificate good.
    pub verified: bool,
    common_name: Option<Box<str>>,
}

impl ProxiedTls {
    /// The common name in the client's certificate; `None` without a certificate or where the proxy did
    /// not find it good.
    pub fn common_name(&self) -> Option<&str> {
        let good = self.certificate && self.verified;
        self.common_name.as_deref().filter(|_| good)
    }
}

/// Why a connection is refused. The peer is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The connection does not begin with a header.
    NotProxy(Looks),
    /// It begins with a header of the other version.
    OtherVersion,
    /// The header is longer than allowed: how long it says it is.
    TooLong(usize),
    /// The header breaks the rules; how.
    Malformed(&'static str),
    /// A client that talks to the proxy in datagrams.
    Datagram,
    /// The checksum in the header is not that of the header.
    Checksum,
}

impl ProxyReader {
    /// Before the first byte. A header of version 2 may have `bytes_max` bytes; 2,048 are plenty unless
    /// the proxy passes whole certificates.
    pub fn new(version: ProxyVersion, bytes_max: usize) -> Self {
        Self {
            version,
            // Less could not even say how long the header is.
            bytes_max: bytes_max.max(16),
            held: Vec::new(),
        }
    }

    /// Takes bytes of the header. When it is whole, gives it and says how many of `bytes` belong to it;
    /// `None` as long as it is not. Memory is taken for an incomplete header only, up to `bytes_max`.
    /// There is no time limit here: that is the caller's.
    ///
    /// # Errors
    /// When this is no header, or a bad one: close the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
        if self.held.is_empty() {
            let found = self.read(bytes)?;
            if found.is_none() {
                self.held.extend_from_slice(bytes);
            }
            return Ok(found);
        }
        let before = self.held.len();
        let longest = match self.version {
            ProxyVersion::V1 => VERSION1_BYTES_MAX,
            ProxyVersion::V2 => self.bytes_max,
        };
        let room = longest.saturating_sub(before).min(bytes.len());
        self.held
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
        let Some((header, length)) = self.read(&self.held)? else {
            return Ok(None);
        };
        self.held = Vec::new();
        Ok(Some((header, length - before)))
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
        let (start, other) = match self.version {
            ProxyVersion::V1 => (VERSION1_START, version2::START),
            ProxyVersion::V2 => (version2::START, VERSION1_START),
        };
        if !may_start(bytes, start) {
            return Err(if !bytes.is_empty() && may_start(bytes, other) {
                ProxyError::OtherVersion
            } else {
                ProxyError::NotProxy(Looks::at(bytes))
            });
        }
        match self.version {
            ProxyVersion::V1 => read_version1(bytes),
            ProxyVersion::V2 => version2::read(bytes, self.bytes_max),
        }
    }
}

/// Whether `bytes` begin with `start`, as far as they go.
fn may_start(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

fn read_version1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let bytes = bytes.get(..VERSION1_BYTES_MAX).unwrap_or(bytes);
    // Looked for first: a line that is not whole may look wrong.
    let Some(line_end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() == VERSION1_BYTES_MAX {
            Err(ProxyError::TooLong(bytes.len()))
        } else {
            Ok(None)
        };
    };
    let line = bytes.get(..=line_end).unwrap_or_default();
    let (header, length) = parse(line)?;
    let client = header
        .proxied_address()
        .map_or(ProxiedClient::Unnamed, |address| ProxiedClient::Address {
            source: address.source,
            destination: address.destination,
        });
    let header = ProxyHeader {
        client,
        ..ProxyHeader::unnamed()
    };
    Ok(Some((header, length)))
}

/// Reads a header that is whole.
fn parse(whole: &[u8]) -> Result<(proxy_header::ProxyHeader<'_>, usize), ProxyError> {
    proxy_header::ProxyHeader::parse(whole, ParseConfig::default())
        .map_err(|_| ProxyError::Malformed("an address or field that is none"))
}

impl ProxyHeader {
    const fn unnamed() -> Self {
        Self {
            client: ProxiedClient::Unnamed,
            tls: None,
            authority: None,
            alpn: None,
        }
    }

    /// Takes what is known from the fields of version 2.
    fn take_fields(&mut self, fields: proxy_header::Tlvs<'_>) -> Result<(), proxy_header::Error> {
        for field in fields {
            match field? {
                Tlv::Authority(name) => self.authority = Some(name.into()),
                Tlv::Alpn(protocol) => self.alpn = Some((*protocol).into()),
                Tlv::Ssl(info) if info.client_ssl() => {
                    let mut tls = ProxiedTls {
                        certificate: info.client_cert_conn() || info.client_cert_sess(),
                        verified: info.verify() == 0,
                        ..ProxiedTls::default()
                    };
                    for field in info.tlvs() {
                        match field? {
                            Tlv::SslVersion(version) => tls.version = Some(version.into()),
                            Tlv::SslCipher(cipher) => tls.cipher = Some(cipher.into()),
                            Tlv::SslCn(name) => tls.common_name = Some(name.into()),
                            _ => {}
                        }
                    }
                    self.tls = Some(tls);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProxy(looks) => write!(f, "no PROXY header: {looks}"),
            Self::OtherVersion => f.write_str("a PROXY header of the other version"),
            Self::TooLong(bytes) => write!(f, "a PROXY header that is too long ({bytes} bytes)"),
            Self::Malformed(what) => write!(f, "corrupt PROXY header: {what}"),
            Self::Datagram => f.write_str("a PROXY header for datagrams"),
            Self::Checksum => f.write_str("corrupt PROXY header: wrong checksum"),
        }
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests;
