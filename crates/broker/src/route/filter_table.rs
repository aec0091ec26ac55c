//! Filters by their whole text: one hash and one look, whatever their depth.

use smallvec::SmallVec;

use super::hashing::Hashing;
use super::index::Leaf;
use super::split::Split;

/// A leaf for each of many filters.
pub(super) struct FilterTable<L> {
    filters: Split<Filter<L>>,
    count: usize,
}

struct Filter<L> {
    /// The filter's bytes, which stand here up to 32: with a million filters a look elsewhere
    /// would cost half as much again as the whole look-up.
    text: SmallVec<[u8; 32]>,
    leaf: L,
}

impl<L: Leaf> FilterTable<L> {
    pub(super) fn new() -> Self {
        Self {
            filters: Split::new(),
            count: 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The leaf of the filter that has this text, whose hash is given.
    #[inline]
    pub(super) fn find(&self, text: &[u8], hash: u64) -> Option<&L> {
        let filter = self
            .filters
            .find(hash, |filter| filter.text.as_slice() == text)?;
        Some(&filter.leaf)
    }

    /// Reads what [`Self::find`] of this hash will read, so that it is in a cache then. What comes out means
    /// nothing; it is to be used somehow, so that the compiler leaves the reading in.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u8 {
        let filter = self.filters.find(hash, |_| true);
        filter.map_or(0, |filter| {
            filter.text.first().copied().unwrap_or_default() ^ u8::from(filter.leaf.is_empty())
        })
    }

    /// The leaf of a filter, which is an empty one if the filter is new.
    pub(super) fn leaf(&mut self, text: &str, hashing: &Hashing) -> &mut L {
        let entry = self.filters.entry(
            hashing.text(text),
            |filter| filter.text.as_slice() == text.as_bytes(),
            |filter| hashing.bytes(&filter.text),
        );
        let fresh = || {
            self.count += 1;
            Filter {
                text: SmallVec::from_slice(text.as_bytes()),
                leaf: L::default(),
            }
        };
        &mut entry.or_insert_with(fresh).into_mut().leaf
    }

    /// Changes the leaf of a filter, if there is one, and forgets the filter if its leaf is empty
    /// then.
    pub(super) fn edit<R>(
        &mut self,
        text: &str,
        hashing: &Hashing,
        change: impl FnOnce(&mut L) -> R,
    ) -> Option<R> {
        let hash = hashing.text(text);
        let mut entry = self
            .filters
            .find_entry(hash, |filter| filter.text.as_slice() == text.as_bytes())?;
        let result = change(&mut entry.get_mut().leaf);
        if entry.get().leaf.is_empty() {
            entry.remove();
            self.count -= 1;
            self.filters
                .give_back(hash, |filter| hashing.bytes(&filter.text));
        }
        Some(result)
    }

    /// Bytes on the heap, without what the leaves own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.filters.allocated_bytes()
    }
}
