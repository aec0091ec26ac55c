//! What layers read from and write to.

use std::io;

/// A socket, blocking or not: `WouldBlock` where it has to wait and does not.
pub(super) trait Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}
