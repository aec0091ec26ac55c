//! TLS 1.2 and 1.3, either role, over rustls; with pre-shared keys over OpenSSL.
//!
//! [`ServerTls`] and [`ClientTls`] are made from options with the text of the files in them; each
//! connection is a [`Tls`] that takes what was read from the wire and appends plain bytes to a buffer
//! of the caller's, and the other way round. Who reads files, watches them and swaps one [`ServerTls`]
//! for another is the caller; connections keep what they began with.
//!
//! The time for the dates in certificates is an argument ([`TimeProvider`]); randomness for keys is the
//! cryptography library's own.

mod ciphers;
mod client;
mod distinguished;
mod drive;
mod error;
mod files;
mod identity;
mod keylog;
mod psk;
mod server;
mod session;
mod sni;
mod tickets;
mod verify;
mod version1;

pub use ciphers::Unavailable;
pub use client::{ClientTls, ClientTlsOptions, HostCheck};
pub use error::{CertificateFault, TlsError};
pub use files::{FileProblem, PemFile, TlsConfigError};
pub use identity::{AlternativeName, CertificateInfo};
pub use keylog::KeyLogger;
pub use psk::{IDENTITY_BYTES_MAX, KEY_BYTES_MAX, PSK_IS_BUILT_IN, PskFaults, PskKeys};
#[cfg(feature = "tls-psk")]
pub use psk::{PreSharedKey, PskClientOptions, PskOptions};
pub use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
pub use server::{
    ClientCertificates, Expires, ExpiringItem, ServerCertificate, ServerTls, ServerTlsOptions,
    TlsVersion,
};
pub use session::{HandshakeInfo, Tls};
pub use tickets::TicketKeys;
