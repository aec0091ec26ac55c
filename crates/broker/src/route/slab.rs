//! Things kept under small numbers, which are used again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A list with holes; a thing keeps its id until it is removed.
///
/// It grows by chunks and never moves what it holds, since publishers wait meanwhile. The lowest
/// hole is filled first and holes at the end are cut off, so that a slab that was large once
/// becomes small again.
pub(super) struct Slab<T> {
    /// All are full of places but the last, which has at least one.
    chunks: Vec<Vec<Option<T>>>,
    /// The holes, and ids beyond the end that were holes before it was cut off.
    holes: BinaryHeap<Reverse<u32>>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            holes: BinaryHeap::new(),
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        let chunk = self.chunks.get(id as usize / CHUNK)?;
        chunk.get(id as usize % CHUNK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.place_mut(id)?.as_mut()
    }

    /// Keeps `thing` and tells its id.
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        if let Some(Reverse(id)) = self.holes.pop()
            && let Some(place) = self.place_mut(id)
        {
            *place = Some(thing);
            return id;
        }
        // Holes come out lowest first: if this one was beyond the end, so are all others.
        self.holes.clear();
        let id = self.end();
        assert!(id < u32::MAX as usize, "a slab's ids are 32 bits wide");
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(Some(thing)),
            _ => self.chunks.push(vec![Some(thing)]),
        }
        id as u32
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let thing = self.place_mut(id)?.take()?;
        if id as usize + 1 == self.end() {
            self.cut_end();
        } else {
            self.holes.push(Reverse(id));
        }
        Some(thing)
    }

    fn place_mut(&mut self, id: u32) -> Option<&mut Option<T>> {
        let chunk = self.chunks.get_mut(id as usize / CHUNK)?;
        chunk.get_mut(id as usize % CHUNK)
    }

    /// One more than the highest id.
    fn end(&self) -> usize {
        match self.chunks.split_last() {
            Some((last, full)) => full.len() * CHUNK + last.len(),
            None => 0,
        }
    }

    fn cut_end(&mut self) {
        while let Some(last) = self.chunks.last_mut() {
            while let Some(None) = last.last() {
                last.pop();
            }
            if !last.is_empty() {
                break;
            }
            self.chunks.pop();
        }
        // Only once ids beyond the end outnumber the others: that pays for looking at all.
        let end = self.end();
        if self.holes.len() > 2 * end {
            self.holes.retain(|&Reverse(id)| (id as usize) < end);
            self.holes.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes on the heap, without what the things own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        let places: usize = self.chunks.iter().map(Vec::capacity).sum();
        places * size_of::<Option<T>>()
            + self.chunks.capacity() * size_of::<Vec<T>>()
            + self.holes.capacity() * size_of::<u32>()
    }
}

/// Places per chunk.
const CHUNK: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_leads_to_its_thing_until_that_is_removed(
            steps in vec((any::<bool>(), any::<u16>()), 0..300),
            crowd in 0_u16..3_000,
        ) {
            let mut slab = Slab::new();
            let mut model = BTreeMap::new();
            for thing in 0..crowd {
                model.insert(slab.insert(thing), thing);
            }
            // Leaves holes, a few things high up, and a new end now and then.
            let ids: Vec<u32> = model.keys().copied().filter(|id| id % 977 != 0).collect();
            for &id in ids.iter().rev().step_by(2).chain(ids.iter().rev().skip(1).step_by(2)) {
                prop_assert_eq!(slab.remove(id), model.remove(&id));
            }
            for (is_insert, thing) in steps {
                if is_insert {
                    let id = slab.insert(thing);
                    prop_assert_eq!(model.insert(id, thing), None, "the id is free");
                    prop_assert!(id as usize <= model.len() + usize::from(crowd));
                } else if let Some(&id) = model.keys().nth(usize::from(thing) % 7) {
                    prop_assert_eq!(slab.remove(id), model.remove(&id));
                    prop_assert_eq!(slab.remove(id), None);
                }
                for (&id, thing) in &model {
                    prop_assert_eq!(slab.get(id), Some(thing));
                }
                let highest = model.keys().last().map_or(0, |&id| id as usize + 1);
                prop_assert_eq!(slab.end(), highest);
            }
        }
    }
}
