//! The table of what a worker has registered.

use crate::Key;

/// Entries per chunk.
const CHUNK: usize = 1024;

/// A table whose keys say when their entry has gone.
///
/// It grows by chunks of 1024 entries, so that for one more connection a million others are neither
/// copied nor twice in memory. Each entry costs 4 bytes on top of `Option<T>` (and its alignment);
/// memory stays at the highest number of entries that were present at once. Put large connection
/// state in a `Box` so that a free slot is small.
#[derive(Debug)]
pub struct Slots<T> {
    chunks: Vec<Vec<Entry<T>>>,
    /// Slots without an entry; the one that was freed last, whose memory is warm, is used first.
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// Makes an empty table, which allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }

    /// The number of entries present.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry is present.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `value` under a key that no earlier entry had.
    ///
    /// # Errors
    /// Gives `value` back when all [`Key::SLOTS_MAX`] slots are taken.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => match self.grow() {
                Some(slot) => slot,
                None => return Err(value),
            },
        };
        let Some(entry) = self.entry_mut(slot) else {
            return Err(value);
        };
        entry.value = Some(value);
        let key = Key::new(slot, entry.generation as usize);
        self.len += 1;
        Ok(key)
    }

    /// The entry of `key`, unless it has gone.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = key.slot();
        let entry = self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?;
        if entry.generation as usize == key.generation() {
            entry.value.as_ref()
        } else {
            None
        }
    }

    /// The entry of `key`, unless it has gone.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entry_mut(key.slot())?;
        if entry.generation as usize == key.generation() {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// Takes the entry of `key` out; from now on the key names nothing.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entry_mut(key.slot())?;
        if entry.generation as usize != key.generation() {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = Key::next_generation(key.generation()) as u32;
        self.free.push(key.slot() as u32);
        self.len -= 1;
        Some(value)
    }

    /// All entries with their keys, in no meaningful order. Costs a walk over all slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, entries)| {
            entries
                .iter()
                .enumerate()
                .filter_map(move |(offset, entry)| {
                    let key = Key::new(chunk * CHUNK + offset, entry.generation as usize);
                    entry.value.as_ref().map(|value| (key, value))
                })
        })
    }

    /// Makes one more slot and says which.
    fn grow(&mut self) -> Option<usize> {
        let last_is_full = self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK);
        if last_is_full {
            if self.chunks.len() * CHUNK >= Key::SLOTS_MAX {
                return None;
            }
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunks_before = self.chunks.len() - 1;
        let chunk = self.chunks.last_mut()?;
        let slot = chunks_before * CHUNK + chunk.len();
        if slot >= Key::SLOTS_MAX {
            return None;
        }
        chunk.push(Entry {
            generation: 0,
            value: None,
        });
        Some(slot)
    }

    fn entry_mut(&mut self, slot: usize) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
