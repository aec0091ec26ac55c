//! A table of values with stable places, whose keys tell a later use of a place apart.

use std::collections::BTreeSet;

/// The address of a value: its place, and which use of the place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlabKey {
    pub(crate) slot: u32,
    pub(crate) generation: u16,
}

/// Grows and shrinks by whole chunks, so that a million values are never copied, half the memory never
/// idles as the spare room of a doubled vector, and a crowd that has gone leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks with free places, the first of which is filled first: so the last ones become empty.
    open: BTreeSet<u32>,
    /// Chunks that hold no value and have memory nevertheless.
    spare: usize,
    length: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// Nothing while the chunk holds no value and has given its memory back.
    entries: Box<[Entry<T>]>,
    /// A bit for each place that is free.
    free: [u64; CHUNK / 64],
    /// Places taken.
    length: usize,
    /// The generation of all places when the memory comes back.
    generation: u16,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u16,
    value: Option<T>,
}

const CHUNK: usize = 256;

/// Empty chunks that keep their memory, for clients that come and go.
const SPARE_MAX: usize = 1;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            open: BTreeSet::new(),
            spare: 0,
            length: 0,
        }
    }
}

impl<T> Slab<T> {
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn insert(&mut self, value: T) -> SlabKey {
        let number = match self.open.first() {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
                self.chunks.push(Chunk::new());
                self.open.insert(number);
                number
            }
        };
        let Some(chunk) = self.chunks.get_mut(number as usize) else {
            unreachable!("an open chunk is in the list");
        };
        if chunk.length == 0 {
            if chunk.entries.is_empty() {
                chunk.take_memory();
            } else {
                self.spare -= 1;
            }
        }
        let (place, generation) = chunk.insert(value);
        if chunk.length == CHUNK {
            self.open.remove(&number);
        }
        self.length += 1;
        SlabKey {
            slot: number * CHUNK as u32 + place,
            generation,
        }
    }

    pub(crate) fn remove(&mut self, key: SlabKey) -> Option<T> {
        let number = key.slot / CHUNK as u32;
        let chunk = self.chunks.get_mut(number as usize)?;
        let value = chunk.remove(key)?;
        self.length -= 1;
        if chunk.length + 1 == CHUNK {
            self.open.insert(number);
        }
        if chunk.length == 0 {
            if self.spare < SPARE_MAX {
                self.spare += 1;
            } else {
                chunk.give_memory_back();
            }
        }
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, key: SlabKey) -> Option<&T> {
        let chunk = self.chunks.get(key.slot as usize / CHUNK)?;
        let entry = chunk.entries.get(key.slot as usize % CHUNK)?;
        if entry.generation == key.generation {
            entry.value.as_ref()
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(key.slot as usize / CHUNK)?;
        let entry = chunk.entries.get_mut(key.slot as usize % CHUNK)?;
        if entry.generation == key.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SlabKey> + '_ {
        let chunks = self.chunks.iter().zip((0_u32..).step_by(CHUNK));
        chunks.flat_map(|(chunk, first)| {
            let entries = chunk.entries.iter().zip(first..);
            entries.filter_map(|(entry, slot)| {
                let generation = entry.generation;
                entry.value.as_ref().map(|_| SlabKey { slot, generation })
            })
        })
    }
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Self {
            entries: Box::default(),
            free: [u64::MAX; CHUNK / 64],
            length: 0,
            generation: 0,
        }
    }

    fn take_memory(&mut self) {
        let generation = self.generation;
        let entries = std::iter::repeat_with(|| Entry {
            generation,
            value: None,
        });
        self.entries = entries.take(CHUNK).collect();
    }

    /// No key of an earlier use reaches a place when the memory comes back: all generations go on from
    /// where that one was which had come furthest.
    fn give_memory_back(&mut self) {
        let began = self.generation;
        let uses = |entry: &Entry<T>| entry.generation.wrapping_sub(began);
        let most = self.entries.iter().map(uses).max().unwrap_or(0);
        self.generation = began.wrapping_add(most);
        self.entries = Box::default();
    }

    /// Takes a free place; which, and its generation.
    fn insert(&mut self, value: T) -> (u32, u16) {
        let mut words = (0_u32..).zip(&mut self.free);
        let Some((number, word)) = words.find(|(_, word)| **word != 0) else {
            unreachable!("an open chunk has a free place");
        };
        let place = number * u64::BITS + word.trailing_zeros();
        *word &= *word - 1;
        self.length += 1;
        match self.entries.get_mut(place as usize) {
            Some(entry) => {
                entry.value = Some(value);
                (place, entry.generation)
            }
            None => unreachable!("a free place lies in the chunk"),
        }
    }

    fn remove(&mut self, key: SlabKey) -> Option<T> {
        let place = key.slot as usize % CHUNK;
        let entry = self.entries.get_mut(place)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        if let Some(word) = self.free.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
        self.length -= 1;
        Some(value)
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

    #[test]
    fn a_crowd_that_has_gone_leaves_one_chunk_at_most() {
        let mut slab = Slab::default();
        let keys: Vec<_> = (0..10 * CHUNK).map(|value| slab.insert(value)).collect();
        for key in &keys {
            assert!(slab.remove(*key).is_some());
        }
        let kept = slab.chunks.iter().filter(|chunk| !chunk.entries.is_empty());
        assert_eq!(kept.count(), SPARE_MAX);
        assert_eq!((slab.len(), slab.keys().count()), (0, 0));
    }

    #[test]
    fn a_key_does_not_reach_a_place_whose_memory_went_and_came() {
        let mut slab = Slab::default();
        let mut gone = Vec::new();
        // Each round all chunks but one give their memory back, after places of them were used unequally.
        for round in 0..5 {
            let keys: Vec<_> = (0..4 * CHUNK).map(|_| slab.insert(round)).collect();
            for key in &keys {
                assert_eq!(slab.get(*key), Some(&round));
                assert!(!gone.contains(key));
            }
            assert_eq!(
                gone.iter().filter(|key| slab.get(**key).is_some()).count(),
                0
            );
            for (number, key) in keys.iter().enumerate() {
                slab.remove(*key);
                gone.push(*key);
                for _ in 0..number % 3 {
                    let again = slab.insert(round);
                    slab.remove(again);
                    gone.push(again);
                }
            }
        }
        assert!(gone.iter().all(|key| slab.remove(*key).is_none()));
    }

    #[test]
    fn free_places_at_the_beginning_are_taken_first() {
        let mut slab = Slab::default();
        let keys: Vec<_> = (0..3 * CHUNK).map(|value| slab.insert(value)).collect();
        for key in keys.iter().rev().step_by(2) {
            slab.remove(*key);
        }
        let again: Vec<_> = (0..CHUNK).map(|value| slab.insert(value).slot).collect();
        assert!(again.iter().all(|slot| (*slot as usize) < 2 * CHUNK));
        assert_eq!(slab.len(), 3 * CHUNK / 2 + CHUNK);
    }
}
