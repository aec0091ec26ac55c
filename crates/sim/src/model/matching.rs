//! Who got what, when several could have: things that must be told apart only as far as they can be.

use std::collections::BTreeMap;

/// An assignment of things that came to places that they may be for, at most one for each place. It is
/// changed as long as that makes room for one more, so a thing that finds no place never had one.
#[derive(Clone, Debug, Default)]
pub(super) struct Matching {
    /// The places of each thing.
    things: Vec<Vec<usize>>,
    /// The thing at each place.
    taken: BTreeMap<usize, usize>,
}

impl Matching {
    /// Adds a thing that may be for any of `places`; whether there is room for it.
    pub(super) fn add(&mut self, places: Vec<usize>) -> bool {
        self.things.push(places);
        let thing = self.things.len() - 1;
        let found = self.place(thing, &mut Vec::new());
        if !found {
            self.things.pop();
        }
        found
    }

    /// Finds a place for `thing`, moving others if need be.
    fn place(&mut self, thing: usize, tried: &mut Vec<usize>) -> bool {
        for at in 0..self.things[thing].len() {
            let place = self.things[thing][at];
            if tried.contains(&place) {
                continue;
            }
            tried.push(place);
            let free = match self.taken.get(&place).copied() {
                None => true,
                Some(other) => self.place(other, tried),
            };
            if free {
                self.taken.insert(place, thing);
                return true;
            }
        }
        false
    }

    /// One of `places` that stays empty however the things are assigned, if there is one.
    ///
    /// A matching that covers all things and one that covers all these places can be joined into one that
    /// covers both, so the places may be looked at for themselves.
    pub(super) fn empty_among(&self, places: &[usize]) -> Option<usize> {
        let mut reversed = Self::default();
        places.iter().copied().find(|place| {
            let things = (0..self.things.len())
                .filter(|thing| self.things[*thing].contains(place))
                .collect();
            !reversed.add(things)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_moves_to_make_room() {
        let mut matching = Matching::default();
        assert!(matching.add(vec![1, 2]));
        assert!(matching.add(vec![1]));
        assert!(!matching.add(vec![1, 2]));
    }

    #[test]
    fn a_place_is_empty_when_nothing_can_fill_it() {
        let mut matching = Matching::default();
        matching.add(vec![1, 2]);
        assert_eq!(matching.empty_among(&[1]), None);
        assert_eq!(matching.empty_among(&[2]), None);
        assert_eq!(matching.empty_among(&[1, 2]), Some(2));
        assert_eq!(matching.empty_among(&[3]), Some(3));
    }
}
