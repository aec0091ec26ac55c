//! Connections with pre-shared keys, over the system's OpenSSL: rustls has none.
//!
//! OpenSSL reads from memory and writes to it, so a connection is a transformer of bytes like any other
//! here. Sessions are not resumed: a handshake has no signature to save, and a key that is taken away is
//! worthless at once.

use std::ffi::{CString, c_char, c_int};
use std::io::{self, Read, Write};
use std::sync::OnceLock;
use std::{fmt, mem};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    Error, ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};

use super::{PreSharedKey, PskClientOptions, PskKeys, PskOptions};
use crate::tls::{HandshakeInfo, TlsConfigError, TlsError, TlsVersion};

/// Ciphers of TLS 1.2 where no others are chosen: forward secrecy first, and none without encryption.
const CIPHERS: &str = "kECDHEPSK:kPSK:!eNULL";

/// Plain bytes that are asked for at once, at most: those of a record.
const READ_BYTES_MAX: usize = 16 * 1024;

/// What stands in for the key of somebody who is not known.
const DECOY_BYTES: usize = 32;

/// What the connections of a listener have in common.
pub(in crate::tls) struct PskServer {
    context: SslContext,
}

/// What the connections of a client have in common.
pub(in crate::tls) struct PskClient {
    context: SslContext,
}

/// One connection.
pub(in crate::tls) struct PskSession {
    stream: SslStream<Memory>,
    /// The handshake is over: the peer has shown that it has the key.
    open: bool,
}

/// What OpenSSL reads from and writes to.
#[derive(Default)]
struct Memory {
    came: Vec<u8>,
    /// Bytes of `came` that have been read.
    read: usize,
    goes: Vec<u8>,
}

/// Whom the client says to be.
struct Claim {
    identity: Box<str>,
    is_known: bool,
}

impl PskServer {
    pub(in crate::tls) fn new(options: PskOptions<'_>) -> Result<Self, TlsConfigError> {
        let mut context = context(
            SslMethod::tls_server(),
            options.oldest_version,
            options.ciphers,
            options.ciphers_tls13,
        )?;
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
        context.set_num_tickets(0).map_err(library)?;
        use_hint(&mut context, options.hint)?;
        let claims = claims().map_err(library)?;
        let keys = options.keys;
        context.set_psk_server_callback(move |ssl, identity, key| {
            answer(&keys, claims, ssl, identity, key)
        });
        if let Some(logger) = options.key_logger {
            context.set_keylog_callback(move |_, line| logger(line));
        }
        Ok(Self {
            context: context.build(),
        })
    }
}

impl PskClient {
    pub(in crate::tls) fn new(options: PskClientOptions<'_>) -> Result<Self, TlsConfigError> {
        let mut context = context(
            SslMethod::tls_client(),
            options.oldest_version,
            options.ciphers,
            options.ciphers_tls13,
        )?;
        context
            .set_max_proto_version(Some(version(options.newest_version)))
            .map_err(library)?;
        // A server of TLS 1.3 that does not want the key may show a certificate instead. No CA is trusted,
        // so that none will do: who has the key is the broker, and nobody else.
        context.set_verify(SslVerifyMode::PEER);
        if !options.protocols.is_empty() {
            let list = protocol_list(options.protocols)
                .ok_or_else(|| TlsConfigError::Library("a protocol has no good name".into()))?;
            context.set_alpn_protos(&list).map_err(library)?;
        }
        let key = options.key.clone();
        context.set_psk_client_callback(move |_, _, identity, space| show(&key, identity, space));
        if let Some(logger) = options.key_logger {
            context.set_keylog_callback(move |_, line| logger(line));
        }
        Ok(Self {
            context: context.build(),
        })
    }
}

/// What both roles want of OpenSSL.
fn context(
    method: SslMethod,
    oldest: TlsVersion,
    ciphers: Option<&str>,
    ciphers_tls13: Option<&str>,
) -> Result<SslContextBuilder, TlsConfigError> {
    let mut context = SslContext::builder(method).map_err(library)?;
    context
        .set_min_proto_version(Some(version(oldest)))
        .map_err(library)?;
    context.set_options(
        SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    // An idle connection keeps no buffers.
    context.set_mode(SslMode::RELEASE_BUFFERS);
    let list = ciphers.unwrap_or(CIPHERS);
    context
        .set_cipher_list(list)
        .map_err(|_| TlsConfigError::NoCipherLeft(list.into()))?;
    if let Some(list) = ciphers_tls13 {
        context
            .set_ciphersuites(list)
            .map_err(|_| TlsConfigError::NoCipherLeft(list.into()))?;
    }
    Ok(context)
}

const fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::V12 => SslVersion::TLS1_2,
        TlsVersion::V13 => SslVersion::TLS1_3,
    }
}

/// Names of protocols, each behind its length (RFC 7301 section 3.1).
fn protocol_list(names: &[&str]) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    for name in names {
        list.push(u8::try_from(name.len()).ok().filter(|length| *length > 0)?);
        list.extend_from_slice(name.as_bytes());
    }
    Some(list)
}

/// Tells OpenSSL the client's own key. Both have been measured; where they do not fit, there is no key.
fn show(key: &PreSharedKey, identity: &mut [u8], space: &mut [u8]) -> Result<usize, ErrorStack> {
    let name = key.identity.as_bytes();
    let (Some((name_space, [end, ..])), Some(key_space)) = (
        identity.split_at_mut_checked(name.len()),
        space.get_mut(..key.key.len()),
    ) else {
        return Ok(0);
    };
    name_space.copy_from_slice(name);
    *end = 0;
    key_space.copy_from_slice(&key.key);
    Ok(key.key.len())
}

/// Tells OpenSSL the key of a client, or another one in its place: the end of the handshake is the same for
/// a wrong key and for somebody who is not known.
fn answer(
    keys: &PskKeys,
    claims: Index<Ssl, Claim>,
    ssl: &mut SslRef,
    identity: Option<&[u8]>,
    key: &mut [u8],
) -> Result<usize, ErrorStack> {
    let identity = String::from_utf8_lossy(identity.unwrap_or_default());
    let found = keys.get(&identity);
    ssl.set_ex_data(
        claims,
        Claim {
            identity: identity.as_ref().into(),
            is_known: found.is_some(),
        },
    );
    match found {
        Some(found) => match key.get_mut(..found.len()) {
            Some(place) => {
                place.copy_from_slice(found);
                Ok(found.len())
            }
            // Keys have been measured when they were read.
            None => Ok(0),
        },
        None => {
            let bytes = key.len().min(DECOY_BYTES);
            if let Some(place) = key.get_mut(..bytes) {
                openssl::rand::rand_bytes(place)?;
            }
            Ok(bytes)
        }
    }
}

/// Where a connection keeps its claim.
fn claims() -> Result<Index<Ssl, Claim>, ErrorStack> {
    static CLAIMS: OnceLock<Index<Ssl, Claim>> = OnceLock::new();
    if let Some(index) = CLAIMS.get() {
        return Ok(*index);
    }
    let new = Ssl::new_ex_index()?;
    Ok(*CLAIMS.get_or_init(|| new))
}

#[expect(
    unsafe_code,
    reason = "a function of OpenSSL that the crates for it leave out"
)]
unsafe extern "C" {
    fn SSL_CTX_use_psk_identity_hint(
        context: *mut openssl_sys::SSL_CTX,
        hint: *const c_char,
    ) -> c_int;
}

/// Sets what clients of TLS 1.2 are told.
fn use_hint(context: &mut SslContextBuilder, hint: &str) -> Result<(), TlsConfigError> {
    let bad = || TlsConfigError::Library("the hint for pre-shared keys is too long".into());
    let hint = CString::new(hint).map_err(|_| bad())?;
    // SAFETY: the context is alive and nobody else's, and OpenSSL copies the text, which ends with a NUL.
    #[expect(unsafe_code, reason = "a function of OpenSSL")]
    let done = unsafe { SSL_CTX_use_psk_identity_hint(context.as_ptr(), hint.as_ptr()) };
    if done == 1 { Ok(()) } else { Err(bad()) }
}

impl PskSession {
    pub(in crate::tls) fn accept(server: &PskServer) -> Result<Self, TlsError> {
        let broken = |error: ErrorStack| TlsError::Misbehaved(error.to_string().into());
        let mut ssl = Ssl::new(&server.context).map_err(broken)?;
        ssl.set_accept_state();
        Ok(Self {
            stream: SslStream::new(ssl, Memory::default()).map_err(broken)?,
            open: false,
        })
    }

    /// A client's end, whose first message is made by [`Self::receive`]; `host` is what the server is
    /// called, if that is a name.
    pub(in crate::tls) fn connect(
        client: &PskClient,
        host: Option<&str>,
    ) -> Result<Self, TlsConfigError> {
        let mut ssl = Ssl::new(&client.context).map_err(library)?;
        if let Some(host) = host {
            ssl.set_hostname(host).map_err(library)?;
        }
        ssl.set_connect_state();
        Ok(Self {
            stream: SslStream::new(ssl, Memory::default()).map_err(library)?,
            open: false,
        })
    }

    /// Whether this is a client's end.
    pub(in crate::tls) fn is_client(&self) -> bool {
        !self.stream.ssl().is_server()
    }

    /// Takes what was read from the wire; tells whether the peer has said that nothing follows.
    pub(in crate::tls) fn receive(
        &mut self,
        wire: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<bool, TlsError> {
        self.stream.get_mut().came.extend_from_slice(wire);
        let read = self.read(plain);
        self.hand_out(reply);
        let memory = self.stream.get_mut();
        if memory.read == memory.came.len() || read.is_err() {
            *memory = Memory::default();
        }
        read
    }

    fn read(&mut self, plain: &mut Vec<u8>) -> Result<bool, TlsError> {
        if !self.open {
            match self.stream.do_handshake() {
                Ok(()) => self.open = true,
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(false),
                Err(error) => return Err(self.fault(&error)),
            }
        }
        loop {
            let before = plain.len();
            let memory = self.stream.get_ref();
            let waiting = memory.came.len() - memory.read;
            plain.resize(before + waiting.clamp(1, READ_BYTES_MAX), 0);
            let space = plain.get_mut(before..).unwrap_or_default();
            let read = self.stream.ssl_read(space);
            plain.truncate(before + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(_) => {}
                Err(error) => {
                    return match error.code() {
                        ErrorCode::WANT_READ => Ok(false),
                        ErrorCode::ZERO_RETURN => Ok(true),
                        _ => Err(self.fault(&error)),
                    };
                }
            }
        }
    }

    pub(in crate::tls) fn send(
        &mut self,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let mut rest = plain;
        while !rest.is_empty() {
            match self.stream.ssl_write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => return Err(self.fault(&error)),
            }
        }
        self.hand_out(wire);
        Ok(())
    }

    pub(in crate::tls) fn close(&mut self, wire: &mut Vec<u8>) {
        // Should it fail, nothing is lost but good manners.
        let _ = self.stream.shutdown();
        self.hand_out(wire);
    }

    fn hand_out(&mut self, wire: &mut Vec<u8>) {
        let mut goes = mem::take(&mut self.stream.get_mut().goes);
        wire.append(&mut goes);
    }

    /// Whether the handshake is over.
    pub(in crate::tls) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whose key it was, once the handshake is over.
    pub(in crate::tls) fn identity(&self) -> Option<&str> {
        self.claim()
            .filter(|claim| claim.is_known && self.open)
            .map(|claim| claim.identity.as_ref())
    }

    /// What was agreed on; `None` before the handshake is over.
    pub(in crate::tls) fn info(&self) -> Option<HandshakeInfo> {
        let ssl = self.stream.ssl();
        if !self.open {
            return None;
        }
        Some(HandshakeInfo {
            version: match ssl.version2()? {
                SslVersion::TLS1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: ssl.current_cipher()?.name(),
            protocol: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
            resumed: false,
        })
    }

    fn claim(&self) -> Option<&Claim> {
        self.stream.ssl().ex_data(claims().ok()?)
    }

    /// Why the connection cannot go on.
    fn fault(&self, error: &Error) -> TlsError {
        let first = error.ssl_error().and_then(|stack| stack.errors().first());
        let reason = first
            .and_then(|error| error.reason())
            .unwrap_or("no reason");
        let is_alert = reason.contains(" alert ");
        match self.claim() {
            _ if is_alert && self.is_client() && !self.open => refused(reason),
            _ if is_alert => TlsError::Alert(reason.into()),
            Some(claim) if !self.open => {
                let identity = claim.identity.clone();
                if claim.is_known {
                    TlsError::WrongKey(identity)
                } else {
                    TlsError::UnknownIdentity(identity)
                }
            }
            _ => match reason {
                "certificate verify failed" => TlsError::KeyIgnored,
                "no shared cipher" | "no suitable signature algorithm" => TlsError::NoKey,
                "unsupported protocol" | "no protocols available" | "version too low" => {
                    TlsError::NoSharedVersion
                }
                reason => TlsError::Misbehaved(reason.into()),
            },
        }
    }
}

/// What a server means that ends a handshake by an alert. Servers do not tell a wrong key from an identity
/// that they do not know.
fn refused(alert: &str) -> TlsError {
    if alert.contains("protocol version") {
        TlsError::NoSharedVersion
    } else {
        TlsError::KeyRefused(alert.into())
    }
}

impl Read for Memory {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.came.get(self.read..).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.read(space)?;
        self.read += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.goes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PskClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PskClient").finish_non_exhaustive()
    }
}

impl fmt::Debug for PskServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PskServer").finish_non_exhaustive()
    }
}

fn library(error: ErrorStack) -> TlsConfigError {
    TlsConfigError::Library(error.to_string().into())
}
