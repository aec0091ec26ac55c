//! Chance.

use std::time::Duration;

/// Random numbers for waits and names; not for secrets (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Half of `whole` at least, all of it at most.
    pub(super) fn part(&mut self, whole: Duration) -> Duration {
        let half = whole / 2;
        let half_millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX - 1);
        half + Duration::from_millis(self.next() % half_millis.saturating_add(1))
    }
}
