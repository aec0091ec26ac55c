//! A table of values with stable places, whose keys tell a later use of a place apart.

/// The address of a value: its place, and which use of the place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlabKey {
    pub(crate) slot: u32,
    pub(crate) generation: u16,
}

/// Grows by whole chunks, so that a million values are never copied, and half the memory never idles
/// as the spare room of a doubled vector.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[Entry<T>]>>,
    free: Vec<u32>,
    length: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u16,
    value: Option<T>,
}

const CHUNK: usize = 256;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            length: 0,
        }
    }
}

impl<T> Slab<T> {
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn insert(&mut self, value: T) -> SlabKey {
        if self.free.is_empty() {
            let first = self.chunks.len() * CHUNK;
            let entries = std::iter::repeat_with(|| Entry {
                generation: 0,
                value: None,
            });
            self.chunks.push(entries.take(CHUNK).collect());
            let last = u32::try_from(first + CHUNK - 1).unwrap_or(u32::MAX);
            let first = u32::try_from(first).unwrap_or(u32::MAX);
            self.free.extend((first..=last).rev());
        }
        let slot = self.free.pop().unwrap_or(u32::MAX);
        self.length += 1;
        let generation = match self.entry(slot) {
            Some(entry) => {
                entry.value = Some(value);
                entry.generation
            }
            None => unreachable!("a free slot lies in a chunk"),
        };
        SlabKey { slot, generation }
    }

    pub(crate) fn remove(&mut self, key: SlabKey) -> Option<T> {
        let entry = self.entry(key.slot)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.slot);
        self.length -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, key: SlabKey) -> Option<&T> {
        let chunk = self.chunks.get(key.slot as usize / CHUNK)?;
        let entry = chunk.get(key.slot as usize % CHUNK)?;
        if entry.generation == key.generation {
            entry.value.as_ref()
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let entry = self.entry(key.slot)?;
        if entry.generation == key.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SlabKey> + '_ {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .zip(0_u32..)
            .filter_map(|(entry, slot)| {
                let generation = entry.generation;
                entry.value.as_ref().map(|_| SlabKey { slot, generation })
            })
    }

    #[inline]
    fn entry(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.chunks
            .get_mut(slot as usize / CHUNK)?
            .get_mut(slot as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_reach_the_next_use_of_its_slot() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(second.slot, first.slot);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn keys_lists_what_is_there_across_chunks() {
        let mut slab = Slab::default();
        let keys: Vec<_> = (0..600).map(|value| slab.insert(value)).collect();
        for key in keys.iter().filter(|key| key.slot % 2 == 0) {
            slab.remove(*key);
        }
        assert_eq!(slab.keys().count(), 300);
        assert!(
            slab.keys()
                .all(|key| slab.get(key).is_some_and(|value| value % 2 == 1))
        );
    }
}
