//! A build without TLS and WebSocket wraps nothing.

use super::dial::Resolving;
use super::wrapped::Wrapped;
use super::{Dialer, Server};
use crate::error::ConnectionError;

pub(super) struct Wrapping;

pub(super) async fn prepare(
    _: &Dialer,
    server: &Server,
    _: Resolving,
) -> Result<Wrapping, ConnectionError> {
    server.check()?;
    Ok(Wrapping)
}

impl Wrapping {
    pub(super) fn begin(&self) -> Result<Option<Box<Wrapped>>, ConnectionError> {
        Ok(None)
    }
}
