//! Logins by pre-shared keys, which are judged in the handshake.

use std::net::IpAddr;

use midge_broker::{ConnId, Origin};
use midge_transport::tls::TlsError;

use super::attempt::{Refused, Who};
use super::guard::Guard;

/// Who refuses, as the log calls it.
const PSK: &str = "psk_file";

impl Guard {
    /// Why an address is banned, if it is. Where a handshake shows whether a key is right, nobody who is banned
    /// may begin one.
    pub(crate) fn ban_of(&self, address: IpAddr) -> Option<String> {
        let inner = &self.0;
        inner.failures.ban(inner.now(), Some(address), None)
    }

    /// Counts a handshake that failed, if it was a guess: at a pre-shared key or its identity.
    ///
    /// A certificate cannot be guessed, and what is no handshake at all tries nothing; but certificates expire,
    /// ports are mistaken and looked at by monitors, and that must not ban whole sites.
    pub(crate) fn note_handshake(
        &self,
        worker: u16,
        conn: ConnId,
        origin: &Origin,
        error: &TlsError,
    ) {
        let (identity, tried) = match error {
            // The keys themselves are not known here: each counts, as with SCRAM.
            TlsError::WrongKey(identity) => (identity, format!("{identity}\0{worker} {conn:?}")),
            TlsError::UnknownIdentity(identity) => (identity, identity.to_string()),
            _ => return,
        };
        let inner = &self.0;
        let who = Who {
            worker,
            conn,
            listener: origin.listener.number,
            port: origin.listener.port,
            address: origin.address.map(|address| address.ip().to_canonical()),
            client_id: "".into(),
            user_name: Some((&**identity).into()),
            is_connected: false,
        };
        let refused = Refused::guess(PSK, error.to_string(), tried.as_bytes());
        // An identity need not be a user. The peer has its alert already, so nothing is held back.
        let failures = &inner.failures;
        let _ = failures.failed_as(None, inner.now(), &who, &refused, &inner.logger);
    }
}
