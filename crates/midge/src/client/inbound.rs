//! What has arrived and was not looked at yet.

use std::collections::BTreeMap;

/// How much may be read at once.
const READ_BYTES: usize = 256 * 1024;
/// A buffer that grew for a large message is given back when it holds little again.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes from the broker, and the topics that it has given numbers to.
#[derive(Default)]
pub(crate) struct Inbound {
    bytes: Vec<u8>,
    /// What of `bytes` is waiting: behind `start`, before `end`.
    start: usize,
    end: usize,
    /// Topics by alias. No more than we allow, and a subscriber allows none unless it is told to.
    aliases: BTreeMap<u16, String>,
}

impl Inbound {
    /// Room for the next bytes.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() > KEPT_BYTES && self.end < READ_BYTES {
            self.bytes.truncate(self.end);
            self.bytes.shrink_to_fit();
        }
        if self.bytes.len() - self.end < READ_BYTES {
            self.bytes.resize(self.end + READ_BYTES, 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// The first `count` bytes of [`Self::space`] are there.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// Takes bytes that were read elsewhere.
    #[cfg(test)]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.space()[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Takes out what was not looked at.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        let unread = self
            .bytes
            .get(self.start..self.end)
            .unwrap_or_default()
            .to_vec();
        self.clear();
        unread
    }

    /// Forgets all, for another connection.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.aliases.clear();
    }

    /// The bytes up to the last, where those begin that were not looked at, and the aliases.
    pub(super) fn parts(&mut self) -> (&[u8], &mut usize, &mut BTreeMap<u16, String>) {
        let bytes = self.bytes.get(..self.end).unwrap_or_default();
        (bytes, &mut self.start, &mut self.aliases)
    }
}
