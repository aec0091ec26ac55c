//! A map that forgets rather than grow.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How many entries are looked at to find one that may go.
const LOOKS_MAX: usize = 16;

/// What is lost when an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    Nothing,
    Something,
    Much,
}

/// A map with a highest number of entries. A new one takes the place of one that has nothing to remember, or
/// else of an old one.
pub(crate) struct Table<K, V> {
    map: HashMap<K, V>,
    /// All keys of the map, once each; those that have been there for long come first.
    order: VecDeque<K>,
    most: usize,
}

impl<K: Clone + Eq + Hash, V: Default> Table<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    /// The entry of `key`, new if there was none. `worth` is asked about others when there is a new one.
    pub(crate) fn entry(&mut self, key: K, worth: impl Fn(&V) -> Worth) -> &mut V {
        if !self.map.contains_key(&key) {
            self.make_room(worth);
            self.order.push_back(key.clone());
        }
        self.map.entry(key).or_default()
    }

    /// Lets go of what is worth nothing at the old end. When there is still no room, the oldest goes that is
    /// not worth much, as far as that is found soon.
    fn make_room(&mut self, worth: impl Fn(&V) -> Worth) {
        for look in 1..=LOOKS_MAX {
            let Some(key) = self.order.pop_front() else {
                return;
            };
            let is_full = self.map.len() >= self.most;
            match self.map.get(&key).map_or(Worth::Nothing, &worth) {
                Worth::Nothing => {
                    self.map.remove(&key);
                }
                Worth::Something if !is_full => return self.order.push_front(key),
                Worth::Much if !is_full || look < LOOKS_MAX => self.order.push_back(key),
                Worth::Something | Worth::Much => {
                    self.map.remove(&key);
                    return;
                }
            }
        }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    pub(crate) fn remove(&mut self, key: &K) -> bool {
        let is_found = self.map.remove(key).is_some();
        if is_found {
            // Rare, by hand. A key must not stand there twice when it comes again.
            self.order.retain(|other| other != key);
        }
        is_found
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }
}

impl<K, V> Table<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

#[cfg(test)]
mod tests;
