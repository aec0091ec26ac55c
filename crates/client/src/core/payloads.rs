//! Memory for received payloads.

use bytes::{Bytes, BytesMut};

/// Larger payloads have memory of their own.
const SHARED_MAX: usize = 512;

/// The first block of a run of messages, and the largest.
const BLOCK: (usize, usize) = (512, 2048);

/// Copies payloads out of the read buffer.
///
/// Small ones that come one after the other on one topic share a block, so that not each of them costs an
/// allocation. Whoever keeps one of them keeps its block: that is why blocks are small, why a run begins
/// with a payload by itself, and why a slow stream, which has the topic's messages side by side, holds
/// hardly more than what is in them.
#[derive(Default)]
pub(super) struct Payloads {
    block: BytesMut,
    /// How large the next block of this run becomes.
    next: usize,
}

impl Payloads {
    /// A copy. `goes_on`: the message before had the same topic; `ahead`: how many bytes of this and
    /// later packets are there.
    pub(super) fn keep(&mut self, payload: &[u8], goes_on: bool, ahead: usize) -> Bytes {
        if !goes_on {
            self.finish();
            self.next = BLOCK.0;
            return Bytes::copy_from_slice(payload);
        }
        if payload.is_empty() || payload.len() > SHARED_MAX {
            return Bytes::copy_from_slice(payload);
        }
        if self.block.capacity() < payload.len() {
            let capacity = self.next.min(ahead);
            if capacity < 2 * payload.len() {
                return Bytes::copy_from_slice(payload);
            }
            self.block = BytesMut::with_capacity(capacity);
            self.next = (self.next * 2).min(BLOCK.1);
        }
        self.block.extend_from_slice(payload);
        self.block.split().freeze()
    }

    /// Nothing more is there: what is left of the block is not held on to.
    pub(super) fn finish(&mut self) {
        self.block = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the memory of a payload begins.
    fn address(payload: &Bytes) -> usize {
        payload.as_ptr().addr()
    }

    #[test]
    fn a_payload_that_is_kept_keeps_no_more_than_a_small_block() {
        let mut payloads = Payloads::default();
        let kept: Vec<Bytes> = (0..200)
            .map(|number| payloads.keep(&[7; 100], number > 0, 1 << 20))
            .collect();
        let mut longest = 1;
        let mut run = 1;
        for pair in kept.windows(2) {
            let touches = address(&pair[0]) + 100 == address(&pair[1]);
            run = if touches { run + 1 } else { 1 };
            longest = longest.max(run);
        }
        assert!(longest > 1, "no memory is shared");
        assert!(longest * 100 <= BLOCK.1, "{longest} payloads in one block");
        assert!(kept.iter().all(|payload| payload[..] == [7; 100]));
    }

    #[test]
    fn a_payload_that_comes_alone_shares_nothing() {
        let mut payloads = Payloads::default();
        let first = payloads.keep(b"alone", false, 1 << 20);
        let last = payloads.keep(b"last of its read", true, 20);
        assert!(first.is_unique() && last.is_unique());
        assert_eq!(payloads.block.capacity(), 0);
    }

    #[test]
    fn a_large_payload_has_memory_of_its_own() {
        let mut payloads = Payloads::default();
        payloads.keep(b"first", false, 1 << 20);
        let large = payloads.keep(&[1; SHARED_MAX + 1], true, 1 << 20);
        assert!(large.is_unique());
    }

    #[test]
    fn the_rest_of_a_block_is_let_go_when_nothing_more_is_there() {
        let mut payloads = Payloads::default();
        payloads.keep(b"first", false, 1 << 20);
        let second = payloads.keep(b"second", true, 1 << 20);
        assert!(!second.is_unique());
        payloads.finish();
        assert!(second.is_unique());
    }
}
