//! Bytes that wait for a connection's socket.

/// The unsent bytes of one connection. Holds memory only while bytes wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// The size of a large packet among them.
    large: usize,
}

/// Packets from this size on are large: a slow reader cannot help that they wait.
const LARGE_BYTES: usize = 64 * 1024;

impl Outbox {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unsent bytes without those of one large packet: how far the reader is behind. A large packet
    /// alone must not make the small ones after it be dropped; a second one counts.
    #[inline]
    pub(crate) fn backlog(&self) -> usize {
        self.len().saturating_sub(self.large)
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Appends what `fill` writes, or nothing when it fails. An empty outbox takes its buffer from the
    /// pool.
    #[inline]
    pub(crate) fn write(
        &mut self,
        pool: &mut BufferPool,
        fill: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        let before = self.bytes.len();
        let written = fill(&mut self.bytes);
        if !written {
            self.bytes.truncate(before);
        }
        pool.outboxes += usize::from(before == 0 && !self.bytes.is_empty());
        let size = self.bytes.len() - before;
        pool.unsent_bytes += size;
        if size >= LARGE_BYTES && self.large == 0 {
            self.large = size;
        }
        if self.bytes.is_empty() {
            pool.give(std::mem::take(&mut self.bytes));
        }
        written
    }

    /// Notes that the first `count` unsent bytes have gone; gives the buffer back when all have.
    pub(crate) fn consume(&mut self, count: usize, pool: &mut BufferPool) {
        let count = count.min(self.len());
        self.sent += count;
        pool.unsent_bytes -= count;
        if self.sent == self.bytes.len() {
            pool.outboxes -= usize::from(count > 0);
            pool.give(std::mem::take(&mut self.bytes));
            self.sent = 0;
            self.large = 0;
        } else if self.sent > 64 * 1024 && self.sent > self.bytes.len() / 2 {
            // A slow reader's sent bytes must not pile up in front of the unsent ones.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Forgets what was not sent.
    pub(crate) fn empty(&mut self, pool: &mut BufferPool) {
        self.consume(self.len(), pool);
    }

    /// The unsent bytes of a connection that is over.
    pub(crate) fn take(self, pool: &mut BufferPool) -> Vec<u8> {
        pool.outboxes -= usize::from(!self.is_empty());
        pool.unsent_bytes -= self.len();
        let mut bytes = self.bytes;
        if self.sent > 0 {
            bytes.drain(..self.sent);
        }
        bytes
    }
}

/// Buffers that outboxes share, so that a turn's output costs no allocation; and how full they are.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    /// Outboxes with unsent bytes.
    pub(crate) outboxes: usize,
    /// Unsent bytes in all of them.
    pub(crate) unsent_bytes: usize,
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
