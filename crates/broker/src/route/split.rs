//! A hash table in parts, so that no single growth takes long.

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

/// A hash table whose entries are spread over [`PARTS`] tables by bits of their hash.
///
/// A table that grows moves all its entries at once, under the lock that every publisher waits
/// for. At a million entries that is tens of milliseconds; a part of it stays below one.
pub(super) struct Split<T> {
    parts: Box<[HashTable<T>; PARTS]>,
}

impl<T> Split<T> {
    pub(super) fn new() -> Self {
        Self {
            parts: Box::new([const { HashTable::new() }; PARTS]),
        }
    }

    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[part(hash)].find(hash, is_it)
    }

    pub(super) fn entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
    ) -> Entry<'_, T> {
        self.parts[part(hash)].entry(hash, is_it, rehash)
    }

    pub(super) fn find_entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
    ) -> Option<OccupiedEntry<'_, T>> {
        self.parts[part(hash)].find_entry(hash, is_it).ok()
    }

    pub(super) fn insert(&mut self, hash: u64, item: T, rehash: impl Fn(&T) -> u64) {
        self.parts[part(hash)].insert_unique(hash, item, rehash);
    }

    pub(super) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let (item, _) = self.find_entry(hash, is_it)?.remove();
        self.give_back(hash, rehash);
        Some(item)
    }

    /// Gives memory back where an entry of `hash` was removed, if its part is mostly empty.
    pub(super) fn give_back(&mut self, hash: u64, rehash: impl Fn(&T) -> u64) {
        shrink_table(&mut self.parts[part(hash)], rehash);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(HashTable::is_empty)
    }

    /// Bytes on the heap, without what the entries own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }
}

/// Shrinks a table of which less than an eighth is used to twice what it holds.
///
/// The distance between the two keeps a table that hovers around one size from moving its
/// entries again and again.
pub(super) fn shrink_table<T>(table: &mut HashTable<T>, rehash: impl Fn(&T) -> u64) {
    if table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, rehash);
    }
}

/// The same for a vector.
pub(super) fn shrink_vec<T>(vec: &mut Vec<T>) {
    if vec.len() < vec.capacity() / 4 {
        vec.shrink_to(vec.len() * 2);
    }
}

/// Bits that a table itself does not use: it takes the lowest for the place, the top 7 as a tag.
fn part(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

const PARTS: usize = 64;
