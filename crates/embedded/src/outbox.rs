//! Packets that are sent once: acknowledgements, pings, messages of QoS 0.

use midge_codec::{EncodeError, SliceSink};

use crate::QueueError;

/// Kept free for acknowledgements and PINGREQ, which cannot wait for room.
pub(crate) const RESERVED: usize = 16;

/// A queue of bytes in the caller's buffer. Packets enter whole; bytes leave in any portions.
pub(crate) struct Outbox<'b> {
    buffer: &'b mut [u8],
    queued: usize,
    sent: usize,
}

impl<'b> Outbox<'b> {
    pub(crate) const fn new(buffer: &'b mut [u8]) -> Self {
        Self {
            buffer,
            queued: 0,
            sent: 0,
        }
    }

    /// What waits.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.sent..self.queued).unwrap_or_default()
    }

    /// As many bytes have gone.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.queued {
            self.sent = 0;
            self.queued = 0;
        }
    }

    /// Gives up what waits.
    pub(crate) const fn clear(&mut self) {
        self.sent = 0;
        self.queued = 0;
    }

    /// Queues what `encode` writes, unless the packet is longer than `length_max`. `reserved` bytes are left
    /// free.
    pub(crate) fn queue(
        &mut self,
        reserved: usize,
        length_max: usize,
        encode: impl FnOnce(&mut SliceSink<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), QueueError> {
        if self.sent > 0 {
            move_down(self.buffer, self.sent, self.queued, 0);
            self.queued -= self.sent;
            self.sent = 0;
        }
        let end = self.buffer.len().saturating_sub(reserved);
        let space = self.buffer.get_mut(self.queued..end).unwrap_or_default();
        let length = written(space, encode)?;
        match length {
            Some(length) if length > length_max => Err(QueueError::TooLarge),
            Some(length) => {
                self.queued += length;
                Ok(())
            }
            None if self.queued == 0 => Err(QueueError::TooLarge),
            None => Err(QueueError::Full),
        }
    }
}

/// The length of what `encode` writes into `space`; `None` if that does not fit.
pub(crate) fn written(
    space: &mut [u8],
    encode: impl FnOnce(&mut SliceSink<'_>) -> Result<(), EncodeError>,
) -> Result<Option<usize>, QueueError> {
    let mut sink = SliceSink::new(space);
    encode(&mut sink)?;
    Ok(sink.finish().ok())
}

/// Moves the bytes in `from..end` down to `to`. Byte for byte, and so that the compiler makes no call of
/// `memmove` out of it: that would be 1.6 KiB of code where nothing else needs it.
pub(crate) fn move_down(buffer: &mut [u8], from: usize, end: usize, mut to: usize) {
    for at in from..end {
        let Some(byte) = buffer.get(at).copied() else {
            return;
        };
        if let Some(place) = buffer.get_mut(to) {
            *place = byte;
        }
        to += 1;
    }
}
