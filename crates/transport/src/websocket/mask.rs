//! Masking (RFC 6455, section 5.3).

use sha1::{Digest, Sha1};

/// A masking key, turned to where the payload has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    key: u32,
}

impl Mask {
    /// Of a frame that is not masked; applying it would change nothing.
    pub(super) const NONE: Self = Self { key: 0 };

    pub(super) const fn new(key: [u8; 4]) -> Self {
        Self {
            key: u32::from_le_bytes(key),
        }
    }

    /// Masks or unmasks the next bytes of the payload.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        if self.key == 0 {
            return;
        }
        let wide = u64::from(self.key) << 32 | u64::from(self.key);
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            if let Ok(word) = <&mut [u8; 8]>::try_from(word) {
                *word = (u64::from_le_bytes(*word) ^ wide).to_le_bytes();
            }
        }
        let rest = words.into_remainder();
        for (byte, key) in rest.iter_mut().zip(wide.to_le_bytes()) {
            *byte ^= key;
        }
        // Whole words leave the key as it is.
        let turned = (rest.len() % 4) as u32;
        self.key = self.key.rotate_right(8 * turned);
    }
}

/// The masking keys of a client: hashes of a secret seed and a counter, so that who sees some cannot
/// tell the next (RFC 6455, section 5.3).
pub(super) struct Keys {
    seed: [u8; 16],
    counter: u64,
    hash: [u8; 20],
    /// Bytes of the hash that have not been used.
    left: usize,
}

impl Keys {
    pub(super) const fn new(seed: [u8; 16]) -> Self {
        Self {
            seed,
            counter: 0,
            hash: [0; 20],
            left: 0,
        }
    }

    pub(super) fn next(&mut self) -> [u8; 4] {
        if self.left == 0 {
            let mut hasher = Sha1::new();
            hasher.update(self.seed);
            hasher.update(self.counter.to_le_bytes());
            self.hash = hasher.finalize().into();
            self.counter += 1;
            self.left = self.hash.len();
        }
        let unused = self.hash.last_chunk().copied().unwrap_or_default();
        self.hash.rotate_right(4);
        self.left -= 4;
        unused
    }
}

#[cfg(test)]
mod tests;
