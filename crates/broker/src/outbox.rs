//! Bytes that wait for a connection's socket.

/// The unsent bytes of one connection. Holds memory only while bytes wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Where packets are written. An empty outbox takes its buffer from the pool.
    #[inline]
    pub(crate) fn buffer(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        &mut self.bytes
    }

    /// Notes that the first `count` unsent bytes have gone; gives the buffer back when all have.
    pub(crate) fn consume(&mut self, count: usize, pool: &mut BufferPool) {
        self.sent = (self.sent + count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            pool.give(std::mem::take(&mut self.bytes));
            self.sent = 0;
        } else if self.sent > 64 * 1024 && self.sent > self.bytes.len() / 2 {
            // A slow reader's sent bytes must not pile up in front of the unsent ones.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(crate) fn take(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        if self.sent > 0 {
            bytes.drain(..self.sent);
        }
        bytes
    }
}

/// Buffers that outboxes share, so that a turn's output costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
}

/// Buffers kept for later; more than this many connections with output at once is rare.
const POOL_MAX: usize = 256;
/// Larger buffers come from large messages and go back to the allocator.
const POOLED_CAPACITY_MAX: usize = 64 * 1024;

impl BufferPool {
    fn take(&mut self) -> Vec<u8> {
        self.buffers
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(512))
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= POOLED_CAPACITY_MAX && self.buffers.len() < POOL_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}
