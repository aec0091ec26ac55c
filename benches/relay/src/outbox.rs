//! Bytes that wait for a socket.

use std::io::{self, Write};

/// The unsent bytes of one connection. Without any it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// Buffers without bytes, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<Vec<u8>>);

/// Buffers larger than this go back to the allocator.
const POOLED_MAX: usize = 1024 * 1024;

impl Outbox {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Appends `bytes`; where they begin in [`Self::patch`]'s count.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8], pool: &mut Pool) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.0.pop().unwrap_or_default();
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// Overwrites two bytes.
    #[inline]
    pub(crate) fn patch(&mut self, at: usize, bytes: [u8; 2]) {
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&bytes);
        }
    }

    /// Writes until nothing is left or the socket takes no more.
    pub(crate) fn flush(&mut self, socket: &mut impl Write, pool: &mut Pool) -> io::Result<()> {
        while let Some(unsent) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match socket.write(unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        let mut bytes = std::mem::take(&mut self.bytes);
        if (1..=POOLED_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            pool.0.push(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, then refuses.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3).min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_socket_refuses_is_sent_later_and_the_buffer_is_used_again() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::default();
        let mut socket = Narrow {
            taken: Vec::new(),
            room: 4,
        };
        outbox.put(b"abc", &mut pool);
        let at = outbox.put(b"d__g", &mut pool);
        outbox.patch(at + 1, *b"ef");
        outbox.flush(&mut socket, &mut pool).unwrap();
        assert_eq!((outbox.len(), pool.0.len()), (3, 0));
        socket.room = 9;
        outbox.flush(&mut socket, &mut pool).unwrap();
        assert_eq!(socket.taken, b"abcdefg");
        assert_eq!((outbox.len(), pool.0.len()), (0, 1));
        outbox.put(b"h", &mut pool);
        assert_eq!(pool.0.len(), 0);
    }
}
