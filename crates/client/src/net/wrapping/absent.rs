//! A build without TLS and WebSocket wraps nothing.

use super::dial::Resolving;
use super::wrapped::Wrapped;
use super::{Dialer, Server};
use crate::error::ConnectionError;

pub(super) struct Wrapping;

pub(super) async fn prepare(
    dialer: &Dialer,
    server: &Server,
    _: Resolving,
) -> Result<Wrapping, ConnectionError> {
    prepare_here(dialer, server)
}

pub(super) fn prepare_here(_: &Dialer, server: &Server) -> Result<Wrapping, ConnectionError> {
    server.check()?;
    Ok(Wrapping)
}

impl Wrapping {
    pub(super) fn begin(&self) -> Result<Option<Box<Wrapped>>, ConnectionError> {
        Ok(None)
    }
}
