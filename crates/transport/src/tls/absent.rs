//! The types of TLS in a build without it: they have no values, so no connection has TLS.

use std::fmt;

/// None.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// TLS cannot be sent on: the one that every layer can say.
    NotOpen,
}

/// The one that there would be if there were options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsConfigError {
    /// This build has no TLS.
    Absent,
}

/// None.
#[derive(Debug)]
pub enum ServerTls {}

/// None.
#[derive(Debug)]
pub enum ClientTls {}

/// None.
#[derive(Debug)]
pub enum Tls {}

impl Tls {
    pub(crate) fn accept(tls: &ServerTls) -> Result<Self, TlsError> {
        match *tls {}
    }

    pub(crate) fn connect(
        tls: &ClientTls,
        _: &str,
        _: &mut Vec<u8>,
    ) -> Result<Self, TlsConfigError> {
        match *tls {}
    }

    pub(crate) fn receive(
        &mut self,
        _: &mut [u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        match *self {}
    }

    pub(crate) fn send(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), TlsError> {
        match *self {}
    }

    pub(crate) fn close(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    pub(crate) fn is_open(&self) -> bool {
        match *self {}
    }

    pub(crate) fn peer_has_closed(&self) -> bool {
        match *self {}
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not open")
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this program was built without TLS")
    }
}
