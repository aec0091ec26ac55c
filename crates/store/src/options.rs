//! How a store behaves.

use std::time::Duration;

use crate::format::DATA_START;

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Committed records survive the loss of power: they have been synced.
    Always,
    /// Committed records survive the end of the process; at most this much time of them can be lost
    /// with the power.
    Interval(Duration),
    /// Committed records survive the end of the process; when they reach the disk is the system's
    /// choice, except that the end of a segment and of a checkpoint is synced.
    Os,
}

/// The settings of a store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a segment's file, 16 KiB to 1 GiB. A store whose files have another size is used as
    /// it is; new segments get this one.
    pub segment_bytes: u32,
    /// What a commit promises.
    pub sync: SyncPolicy,
    /// Prepared segments that only removals and checkpoints may take, so that they still can be
    /// written when the disk is full.
    pub reserve_segments: usize,
    /// Prepared segments kept beyond the reserve, so that going over to the next one is cheap.
    pub ahead_segments: usize,
    /// Bytes of log since the last checkpoint that make the next one due; a large state makes it
    /// due later, when the log is four times what the last checkpoint took.
    pub checkpoint_bytes: u64,
    /// Random, and another one at each start: it salts the records, so that no payload can be
    /// mistaken for a record.
    pub seed: u64,
}

impl Options {
    /// The defaults: segments of 16 MiB, one ahead and one in reserve, every commit synced.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            segment_bytes: 16 * 1024 * 1024,
            sync: SyncPolicy::Always,
            reserve_segments: 1,
            ahead_segments: 1,
            checkpoint_bytes: 64 * 1024 * 1024,
            seed,
        }
    }

    /// The segment size within its bounds, as a multiple of 4096.
    pub(crate) fn segment_size(&self) -> u64 {
        let bytes = u64::from(self.segment_bytes).clamp(2 * DATA_START, 1 << 30);
        bytes & !4095
    }

    /// The salt of the segment with this generation.
    pub(crate) fn salt(&self, generation: u64) -> u64 {
        // One step of SplitMix64: distinct generations give unrelated salts.
        let mut mixed = self
            .seed
            .wrapping_add(generation.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
