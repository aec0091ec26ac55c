//! What has arrived.

use midge_codec::{Header, PacketType};

use crate::outbox::move_down;

/// What has arrived and was not taken: `buffer[start..end]`.
pub(super) struct Inbox<'a> {
    pub(super) buffer: &'a mut [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A packet in the inbox.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) kind: PacketType,
    pub(super) at: usize,
}

impl Inbox<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Moves what is there to the front, so that there is room behind it.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            move_down(self.buffer, self.start, self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    pub(super) fn body(&self, frame: &Frame) -> &[u8] {
        let bytes = self.buffer.get(frame.at..);
        bytes
            .and_then(|bytes| frame.header.body(bytes))
            .unwrap_or_default()
    }
}
