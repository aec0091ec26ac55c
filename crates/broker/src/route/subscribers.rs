//! The subscribers of one filter: mostly one, sometimes a few, rarely a million.

use hashbrown::HashTable;

use super::hashing::Hashing;
use super::index::Leaf;
use super::split::{shrink_table, shrink_vec};
use super::{SessionRef, Target};

/// The subscribers of one filter, in no particular order, each session once.
#[derive(Default)]
pub(super) enum Subscribers {
    #[default]
    None,
    One(Target),
    Several(Box<TargetList>),
}

impl Subscribers {
    pub(super) fn as_slice(&self) -> &[Target] {
        match self {
            Self::None => &[],
            Self::One(target) => std::slice::from_ref(target),
            Self::Several(list) => list.as_slice(),
        }
    }

    /// Adds `target` or replaces its session's, and tells whether it is new.
    pub(super) fn put(&mut self, target: Target, hashing: &Hashing) -> bool {
        match self {
            Self::None => *self = Self::One(target),
            Self::One(first) if first.session == target.session => {
                *first = target;
                return false;
            }
            Self::One(first) => {
                let mut list = TargetList::default();
                list.put(*first, hashing);
                list.put(target, hashing);
                *self = Self::Several(Box::new(list));
            }
            Self::Several(list) => return list.put(target, hashing) == Put::Added,
        }
        true
    }

    /// Bytes on the heap.
    #[cfg(test)]
    fn allocated_bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Several(list) => {
                let targets = list.targets.capacity() * size_of::<Target>();
                size_of::<TargetList>() + targets + list.places.allocation_size()
            }
        }
    }

    /// Removes the target of `session` and tells whether there was one.
    pub(super) fn remove(&mut self, session: SessionRef, hashing: &Hashing) -> bool {
        match self {
            Self::One(target) if target.session == session => *self = Self::None,
            Self::None | Self::One(_) => return false,
            Self::Several(list) => {
                if list.remove(session, hashing).is_none() {
                    return false;
                }
                if let [last] = *list.as_slice() {
                    *self = Self::One(last);
                }
            }
        }
        true
    }
}

impl Leaf for Subscribers {
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Targets by place and, once they are many, by session too.
#[derive(Debug, Default)]
pub(super) struct TargetList {
    targets: Vec<Target>,
    /// The places of all targets by session, or nothing while looking through them is as fast.
    places: HashTable<u32>,
}

/// What became of a target that was put into a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is new and stands last.
    Added,
    /// It replaced its session's at this place.
    Replaced(usize),
}

impl TargetList {
    pub(super) fn as_slice(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn put(&mut self, target: Target, hashing: &Hashing) -> Put {
        if let Some(place) = self.place_of(target.session, hashing) {
            self.targets[place] = target;
            return Put::Replaced(place);
        }
        let place = self.targets.len();
        assert!(place < u32::MAX as usize, "places are 32 bits wide");
        self.targets.push(target);
        if !self.places.is_empty() {
            self.add_place(place as u32, hashing);
        } else if self.targets.len() > PLACES_FROM {
            for place in 0..self.targets.len() as u32 {
                self.add_place(place, hashing);
            }
        }
        Put::Added
    }

    /// Removes the target of `session`; the last one takes its place, which is returned.
    pub(super) fn remove(&mut self, session: SessionRef, hashing: &Hashing) -> Option<usize> {
        let place = self.place_of(session, hashing)?;
        if !self.places.is_empty() {
            self.forget_place(place, hashing);
        }
        self.targets.swap_remove(place);
        shrink_vec(&mut self.targets);
        if self.targets.len() < PLACES_UNTIL {
            self.places = HashTable::new();
        } else {
            let targets = &self.targets;
            shrink_table(&mut self.places, |&at| hash_at(targets, at, hashing));
        }
        Some(place)
    }

    fn place_of(&self, session: SessionRef, hashing: &Hashing) -> Option<usize> {
        if self.places.is_empty() {
            return self
                .targets
                .iter()
                .position(|target| target.session == session);
        }
        let is_it = |&at: &u32| self.targets[at as usize].session == session;
        let place = self.places.find(hashing.session(session), is_it)?;
        Some(*place as usize)
    }

    fn add_place(&mut self, place: u32, hashing: &Hashing) {
        let targets = &self.targets;
        let rehash = |&at: &u32| hash_at(targets, at, hashing);
        self.places
            .insert_unique(hash_at(targets, place, hashing), place, rehash);
    }

    /// Takes `place` out, and lets the last target be found there, where it is about to move.
    fn forget_place(&mut self, place: usize, hashing: &Hashing) {
        let last = self.targets.len() - 1;
        let moved = hash_at(&self.targets, last as u32, hashing);
        let gone = hash_at(&self.targets, place as u32, hashing);
        if let Ok(entry) = self.places.find_entry(gone, |&at| at as usize == place) {
            entry.remove();
        }
        if place != last
            && let Some(at) = self.places.find_mut(moved, |&at| at as usize == last)
        {
            *at = place as u32;
        }
    }
}

fn hash_at(targets: &[Target], place: u32, hashing: &Hashing) -> u64 {
    hashing.session(targets[place as usize].session)
}

/// Above this many targets, finding one takes a table. Below [`PLACES_UNTIL`] it goes again.
const PLACES_FROM: usize = 32;
const PLACES_UNTIL: usize = 16;

const _: () = assert!(size_of::<Subscribers>() == 16 && size_of::<Option<Subscribers>>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::{session, target};

    #[test]
    fn a_list_takes_memory_for_those_who_are_left() {
        let hashing = Hashing::new(7);
        let mut list = Subscribers::default();
        for slot in 0..10_000 {
            assert!(list.put(target(slot, 0), &hashing));
        }
        assert!(list.allocated_bytes() < 10_000 * 48);
        for left in (0..10_000).rev() {
            assert!(list.remove(session(left as u32), &hashing));
            assert_eq!(list.as_slice().len(), left);
            // Half a kibibyte for the beginning, then what a list of eight times its length takes.
            assert!(
                list.allocated_bytes() <= 512 + left * 192,
                "{left} are left"
            );
            if left < PLACES_UNTIL {
                assert!(list.allocated_bytes() < 1_200, "{left} need no table");
            }
        }
        assert!(list.is_empty());
    }
}
