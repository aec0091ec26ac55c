//! Bytes that wait for a connection's socket.

/// The unsent bytes of one connection. Holds memory only while bytes wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Option<Box<Buffer>>);

/// Bytes of which the first have been sent.
#[derive(Debug, Default)]
struct Buffer {
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
        self.0
            .as_ref()
            .map_or(0, |buffer| buffer.bytes.len() - buffer.sent)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        // A buffer is given back with its last byte.
        self.0.is_none()
    }

    /// The unsent bytes without those of one large packet: how far the reader is behind. A large packet
    /// alone must not make the small ones after it be dropped; a second one counts.
    #[inline]
    pub(crate) fn backlog(&self) -> usize {
        let large = self.0.as_ref().map_or(0, |buffer| buffer.large);
        self.len().saturating_sub(large)
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        let unsent = self
            .0
            .as_ref()
            .and_then(|buffer| buffer.bytes.get(buffer.sent..));
        unsent.unwrap_or_default()
    }

    /// Appends what `fill` writes, or nothing when it fails. An empty outbox takes its buffer from the
    /// pool.
    #[inline]
    pub(crate) fn write(
        &mut self,
        pool: &mut BufferPool,
        fill: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let buffer = self.0.get_or_insert_with(|| pool.take());
        let before = buffer.bytes.len();
        let written = fill(&mut buffer.bytes);
        if !written {
            buffer.bytes.truncate(before);
        }
        let size = buffer.bytes.len() - before;
        pool.outboxes += usize::from(before == 0 && size > 0);
        pool.unsent_bytes += size;
        if size >= LARGE_BYTES && buffer.large == 0 {
            buffer.large = size;
        }
        if buffer.bytes.is_empty()
            && let Some(buffer) = self.0.take()
        {
            pool.give(buffer);
        }
        written
    }

    /// Notes that the first `count` unsent bytes have gone; gives the buffer back when all have.
    pub(crate) fn consume(&mut self, count: usize, pool: &mut BufferPool) {
        let Some(buffer) = &mut self.0 else {
            return;
        };
        let count = count.min(buffer.bytes.len() - buffer.sent);
        buffer.sent += count;
        pool.unsent_bytes -= count;
        if buffer.sent < buffer.bytes.len() {
            if buffer.sent > 64 * 1024 && buffer.sent > buffer.bytes.len() / 2 {
                // A slow reader's sent bytes must not pile up in front of the unsent ones.
                buffer.bytes.drain(..buffer.sent);
                buffer.sent = 0;
            }
        } else if let Some(buffer) = self.0.take() {
            pool.outboxes -= 1;
            pool.give(buffer);
        }
    }

    /// Forgets what was not sent.
    pub(crate) fn empty(&mut self, pool: &mut BufferPool) {
        self.consume(self.len(), pool);
    }

    /// The unsent bytes of a connection that is over.
    pub(crate) fn take(self, pool: &mut BufferPool) -> Vec<u8> {
        let Some(mut buffer) = self.0 else {
            return Vec::new();
        };
        pool.outboxes -= 1;
        pool.unsent_bytes -= buffer.bytes.len() - buffer.sent;
        buffer.bytes.drain(..buffer.sent);
        buffer.bytes
    }
}

/// Buffers that outboxes share, so that a turn's output costs no allocation; and how full they are.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    #[expect(clippy::vec_box, reason = "the boxes are what is used again")]
    buffers: Vec<Box<Buffer>>,
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
    fn take(&mut self) -> Box<Buffer> {
        self.buffers.pop().unwrap_or_else(|| {
            Box::new(Buffer {
                bytes: Vec::with_capacity(512),
                ..Buffer::default()
            })
        })
    }

    fn give(&mut self, mut buffer: Box<Buffer>) {
        if buffer.bytes.capacity() <= POOLED_CAPACITY_MAX && self.buffers.len() < POOL_MAX {
            buffer.bytes.clear();
            buffer.sent = 0;
            buffer.large = 0;
            self.buffers.push(buffer);
        }
    }
}
