//! One TLS connection, of either role.

use std::sync::Arc;
use std::{fmt, mem};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use super::ciphers;
use super::client::{ClientEngine, ClientTls};
use super::drive;
use super::error::{CertificateFault, TlsError};
use super::files::TlsConfigError;
use super::identity::CertificateInfo;
#[cfg(feature = "tls-psk")]
use super::psk::PskSession;
use super::server::{Engine, ServerTls};
use crate::looks::Looks;

/// Bytes that are kept of a handshake, at most: chains of certificates are the longest part of it.
const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// The header of a record: kind, version, length.
const RECORD_HEADER_BYTES: usize = 5;

/// What is encrypted at once, at most.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// What a record adds to what is in it, at most: header, explicit nonce, tag, kind.
const RECORD_EXTRA_BYTES: usize = RECORD_HEADER_BYTES + 8 + 16 + 1;

/// A TLS connection.
///
/// Between two calls it holds an incomplete record or handshake message and nothing else, in memory that
/// is given back when the rest has come. It may move between threads.
pub struct Tls {
    side: Side,
    /// The beginning of a record, or of a handshake message in several.
    held: Vec<u8>,
    state: State,
    /// The peer sends no more.
    peer_closed: bool,
    /// What to compare a resumed client's certificate with; dropped after the handshake.
    dates: Option<Arc<dyn TimeProvider>>,
}

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
    #[cfg(feature = "tls-psk")]
    Keys(Box<PskSession>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come.
    New,
    Handshaking,
    Open,
    /// We send no more.
    Closed,
    Failed,
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeInfo {
    /// `TLSv1.2` or `TLSv1.3`, as OpenSSL calls it.
    pub version: &'static str,
    /// OpenSSL's name of the cipher.
    pub cipher: &'static str,
    /// The protocol that was chosen by ALPN.
    pub protocol: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

impl Tls {
    /// A server's end of a new connection.
    ///
    /// # Errors
    /// If the library refuses its configuration, which [`ServerTls::new`] has checked.
    pub fn accept(tls: &ServerTls) -> Result<Self, TlsError> {
        let (side, dates) = match &tls.engine {
            Engine::Certificates {
                config,
                checks_dates,
            } => {
                let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
                let dates = checks_dates.then(|| Arc::clone(&config.time_provider));
                (Side::Server(Box::new(connection)), dates)
            }
            #[cfg(feature = "tls-psk")]
            Engine::Keys(server) => (Side::Keys(Box::new(PskSession::accept(server)?)), None),
        };
        Ok(Self {
            side,
            held: Vec::new(),
            state: State::New,
            peer_closed: false,
            dates,
        })
    }

    /// A client's end of a new connection to `host`, a name or an address; its first message is
    /// appended to `wire`.
    ///
    /// # Errors
    /// [`TlsConfigError::HostName`].
    pub fn connect(
        tls: &ClientTls,
        host: &str,
        wire: &mut Vec<u8>,
    ) -> Result<Self, TlsConfigError> {
        let bad_name = || TlsConfigError::HostName(host.into());
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let name = ServerName::try_from(bare.unwrap_or(host).to_owned()).map_err(|_| bad_name())?;
        let side = match &tls.engine {
            ClientEngine::Certificates(config) => {
                let connection = UnbufferedClientConnection::new(Arc::clone(config), name)
                    .map_err(super::server::library)?;
                Side::Client(Box::new(connection))
            }
            #[cfg(feature = "tls-psk")]
            ClientEngine::Key(client) => {
                let host = match &name {
                    ServerName::DnsName(name) => Some(name.as_ref()),
                    _ => None,
                };
                Side::Keys(Box::new(PskSession::connect(client, host)?))
            }
        };
        let mut tls = Self {
            side,
            held: Vec::new(),
            state: State::New,
            peer_closed: false,
            dates: None,
        };
        tls.begin(wire)
            .map_err(|error| TlsConfigError::Library(error.to_string().into()))?;
        Ok(tls)
    }

    /// Appends the first message to `wire`.
    fn begin(&mut self, wire: &mut Vec<u8>) -> Result<(), TlsError> {
        #[cfg(feature = "tls-psk")]
        if let Side::Keys(session) = &mut self.side {
            session.receive(&[], &mut Vec::new(), wire)?;
            return Ok(());
        }
        self.process(&mut [], &mut Vec::new(), wire)?;
        Ok(())
    }

    /// Takes what was read from the wire: plain bytes are appended to `plain`, what is to be sent in
    /// answer to `reply`. All of `wire` is consumed, and overwritten.
    ///
    /// `plain` grows by less than the length of `wire` and a record. Nothing comes before the handshake
    /// is over ([`Self::is_open`]).
    ///
    /// # Errors
    /// When the connection cannot go on: send `reply`, which tells the peer why, and close. What is in
    /// `plain` then was good.
    pub fn receive(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let received = self.take(wire, plain, reply);
        if received.is_err() {
            self.state = State::Failed;
            self.held = Vec::new();
        }
        received
    }

    fn take(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        match self.state {
            State::Failed => return Err(TlsError::NotOpen),
            State::New => {
                let Some(first) = wire.first() else {
                    return Ok(());
                };
                // A handshake or, to a client, an alert.
                let fits = *first == 0x16 || *first == 0x15 && self.is_client();
                if !fits {
                    return Err(TlsError::NotTls(Looks::at(wire)));
                }
                self.state = State::Handshaking;
            }
            State::Handshaking | State::Open | State::Closed => {}
        }
        #[cfg(feature = "tls-psk")]
        if let Side::Keys(session) = &mut self.side {
            // What follows the peer's last word is nobody's.
            if !self.peer_closed {
                self.peer_closed = session.receive(wire, plain, reply)?;
            }
            if self.state == State::Handshaking && session.is_open() {
                self.state = State::Open;
            }
            return Ok(());
        }
        let mut rest = wire;
        // Completes what is held with no more of `rest` than it needs, so that the rest is decrypted
        // where it lies. What follows the peer's last word is nobody's.
        while !self.held.is_empty() && !rest.is_empty() && !self.peer_closed {
            let missing = missing_bytes(&self.held).min(rest.len());
            let (new, after) = rest.split_at_mut(missing);
            rest = after;
            let mut held = mem::take(&mut self.held);
            held.extend_from_slice(new);
            let used = self.process(&mut held, plain, reply)?;
            if used < held.len() {
                held.drain(..used);
                self.held = held;
            }
            self.check_held()?;
        }
        if !rest.is_empty() && !self.peer_closed {
            let used = self.process(rest, plain, reply)?;
            if !self.peer_closed {
                let unused = rest.get(used..).unwrap_or_default();
                self.held.extend_from_slice(unused);
            }
            self.check_held()?;
        }
        Ok(())
    }

    /// Takes the complete records in `wire` and tells how many bytes they were.
    fn process(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<usize, TlsError> {
        let before = plain.len();
        let driven = match &mut self.side {
            Side::Server(connection) => drive::receive(&mut **connection, wire, plain, reply),
            Side::Client(connection) => drive::receive(&mut **connection, wire, plain, reply),
            #[cfg(feature = "tls-psk")]
            Side::Keys(_) => Ok(drive::Driven::default()),
        };
        let driven = match driven {
            Ok(driven) => driven,
            Err(error) => {
                // Nobody has looked at who the peer is.
                if self.state == State::Handshaking {
                    plain.truncate(before);
                }
                return Err(error.into());
            }
        };
        self.peer_closed |= driven.peer_closed;
        if self.state == State::Handshaking
            && self.common().is_some_and(|common| !common.is_handshaking())
        {
            if let Err(error) = self.check_resumed() {
                plain.truncate(before);
                self.say_goodbye(wire.get_mut(driven.used..).unwrap_or_default(), reply);
                return Err(error);
            }
            self.state = State::Open;
        }
        Ok(driven.used)
    }

    /// A resumed session's certificate was verified once; it may have expired since.
    fn check_resumed(&mut self) -> Result<(), TlsError> {
        let Some(time) = self.dates.take() else {
            return Ok(());
        };
        let Some(common) = self.common() else {
            return Ok(());
        };
        let certificate = common.peer_certificates().and_then(<[_]>::first);
        let (Some(HandshakeKind::Resumed), Some(certificate)) =
            (common.handshake_kind(), certificate)
        else {
            return Ok(());
        };
        let info = CertificateInfo::read(certificate).map_err(CertificateFault::from);
        let fault = match (info, time.current_time()) {
            (Err(fault), _) => fault,
            (Ok(info), Some(now)) if now.as_secs() > info.not_after => CertificateFault::Expired,
            (Ok(info), Some(now)) if now.as_secs() < info.not_before => {
                CertificateFault::NotYetValid
            }
            (Ok(_), _) => return Ok(()),
        };
        Err(TlsError::Certificate(fault))
    }

    fn is_client(&self) -> bool {
        match &self.side {
            Side::Server(_) => false,
            Side::Client(_) => true,
            #[cfg(feature = "tls-psk")]
            Side::Keys(session) => session.is_client(),
        }
    }

    fn check_held(&self) -> Result<(), TlsError> {
        if self.held.len() > HANDSHAKE_BYTES_MAX {
            return Err(TlsError::TooLong);
        }
        Ok(())
    }

    /// Appends `plain` to `wire` in encrypted records.
    ///
    /// # Errors
    /// [`TlsError::NotOpen`] before the handshake is over and after [`Self::close`].
    pub fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), TlsError> {
        if !self.is_open() {
            return Err(TlsError::NotOpen);
        }
        if plain.is_empty() {
            return Ok(());
        }
        let records = plain.len().div_ceil(RECORD_BYTES_MAX);
        let bytes = plain.len() + records * RECORD_EXTRA_BYTES;
        let held = &mut self.held;
        match &mut self.side {
            Side::Server(connection) => {
                drive::send(&mut **connection, held, wire, bytes, |traffic, space| {
                    traffic.encrypt(plain, space)
                })
            }
            Side::Client(connection) => {
                drive::send(&mut **connection, held, wire, bytes, |traffic, space| {
                    traffic.encrypt(plain, space)
                })
            }
            #[cfg(feature = "tls-psk")]
            Side::Keys(session) => return session.send(plain, wire),
        }?;
        Ok(())
    }

    /// Appends the notice that nothing more will be sent, once. The connection is to be closed when it
    /// has gone.
    pub fn close(&mut self, wire: &mut Vec<u8>) {
        if self.is_open() {
            let mut held = mem::take(&mut self.held);
            self.say_goodbye(&mut held, wire);
            self.held = held;
            self.state = State::Closed;
        }
    }

    /// The notice by itself. Should it fail, nothing is lost but good manners.
    fn say_goodbye(&mut self, held: &mut [u8], wire: &mut Vec<u8>) {
        let bytes = 2 + RECORD_EXTRA_BYTES;
        let _ = match &mut self.side {
            Side::Server(connection) => {
                drive::send(&mut **connection, held, wire, bytes, |traffic, space| {
                    traffic.queue_close_notify(space)
                })
            }
            Side::Client(connection) => {
                drive::send(&mut **connection, held, wire, bytes, |traffic, space| {
                    traffic.queue_close_notify(space)
                })
            }
            #[cfg(feature = "tls-psk")]
            Side::Keys(session) => {
                session.close(wire);
                Ok(())
            }
        };
    }

    /// Whether the handshake is over and bytes can be sent.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the peer has said that it will send no more. Where a connection ends without it, somebody
    /// else may have cut it.
    pub const fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// What was agreed on; `None` before the handshake is over.
    pub fn info(&self) -> Option<HandshakeInfo> {
        #[cfg(feature = "tls-psk")]
        if let Side::Keys(session) = &self.side {
            return session.info();
        }
        let common = self.common()?;
        let cipher = common.negotiated_cipher_suite()?;
        Some(HandshakeInfo {
            version: match common.protocol_version()? {
                ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: ciphers::name(cipher),
            protocol: common.alpn_protocol().map(<[u8]>::to_vec),
            resumed: common.handshake_kind()? == HandshakeKind::Resumed,
        })
    }

    /// What the peer's own certificate says; `None` where it has shown none.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] where it cannot be read, although it was verified.
    pub fn peer_certificate(&self) -> Option<Result<CertificateInfo, TlsError>> {
        let certificate = self.common()?.peer_certificates()?.first()?;
        let info = CertificateInfo::read(certificate);
        Some(info.map_err(|error| TlsError::Certificate(error.into())))
    }

    /// The identity whose pre-shared key the peer has; `None` before the handshake is over, and where
    /// certificates are used.
    pub fn identity(&self) -> Option<&str> {
        match &self.side {
            Side::Server(_) | Side::Client(_) => None,
            #[cfg(feature = "tls-psk")]
            Side::Keys(session) => session.identity(),
        }
    }

    /// The peer's certificates as they were sent (DER), its own first.
    pub fn peer_chain(&self) -> impl Iterator<Item = &[u8]> {
        let chain = self.common().and_then(|common| common.peer_certificates());
        let chain = chain.unwrap_or_default();
        chain.iter().map(AsRef::as_ref)
    }

    /// What both roles have with certificates.
    fn common(&self) -> Option<&CommonState> {
        match &self.side {
            Side::Server(connection) => Some(connection),
            Side::Client(connection) => Some(connection),
            #[cfg(feature = "tls-psk")]
            Side::Keys(_) => None,
        }
    }
}

/// Bytes by which what is held should grow: up to the end of its last record, or of that one's header.
fn missing_bytes(held: &[u8]) -> usize {
    let mut rest = held;
    loop {
        let [_, _, _, high, low, after @ ..] = rest else {
            return RECORD_HEADER_BYTES - rest.len();
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match after.split_at_checked(length) {
            Some((_, next)) => rest = next,
            None => return length - after.len(),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("state", &self.state)
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
