//! A build without TLS and WebSocket has no layers.

use std::io;

use super::raw::Raw;

/// There is none.
pub(super) enum Wrapped {}

impl Wrapped {
    pub(super) fn shake_hands(&mut self, _: &mut impl Raw) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &mut impl Raw, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &mut impl Raw, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn flush(&mut self, _: &mut impl Raw) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn close(&mut self) {
        match *self {}
    }

    pub(super) const fn has_read_ahead(&self) -> bool {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }
}
