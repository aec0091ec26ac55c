//! Answers that are kept for a while, found by a keyed hash of what was asked.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use aws_lc_rs::hmac;

/// A secret of this process, under which tokens and passwords are hashed before they are kept.
///
/// Whoever reads the broker's memory later finds no token and no password in a cache, and cannot try a list
/// of passwords against it without this key.
#[derive(Clone)]
pub struct HashKey(Box<hmac::Key>);

impl HashKey {
    /// Takes 32 random bytes, drawn at the start of the process.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Hashes fields so that no two lists of fields give the same bytes.
    pub(crate) fn digest<'a>(&self, fields: impl IntoIterator<Item = Option<&'a [u8]>>) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for field in fields {
            match field {
                None => context.update(&[0]),
                Some(bytes) => {
                    context.update(&[1]);
                    context.update(&(bytes.len() as u64).to_be_bytes());
                    context.update(bytes);
                }
            }
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Digest(digest)
    }
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Its first bytes as a number.
    pub(crate) fn short(&self) -> u64 {
        self.0
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// At most so many answers; the oldest goes first.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    entries: BTreeMap<Digest, Entry<V>>,
    /// In the order of their coming; an entry that was replaced or removed leaves its old place behind.
    order: VecDeque<(Digest, u64)>,
    next_number: u64,
    entries_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Duration,
    number: u64,
}

impl<V> Cache<V> {
    pub(crate) const fn new(entries_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            next_number: 0,
            entries_max,
        }
    }

    /// The answer, while its time lasts.
    pub(crate) fn find(&mut self, digest: &Digest, now: Duration) -> Option<&V> {
        if self
            .entries
            .get(digest)
            .is_some_and(|entry| entry.until <= now)
        {
            self.entries.remove(digest);
        }
        self.entries.get(digest).map(|entry| &entry.value)
    }

    /// Keeps an answer until `until`.
    pub(crate) fn keep(&mut self, digest: Digest, value: V, until: Duration) {
        if self.entries_max == 0 {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let entry = Entry {
            value,
            until,
            number,
        };
        self.entries.insert(digest, entry);
        self.order.push_back((digest, number));
        while self.entries.len() > self.entries_max {
            self.remove_oldest();
        }
        // Places that were left behind are swept before they are as many as the entries may be.
        if self.order.len() > 2 * self.entries_max {
            let entries = &self.entries;
            self.order.retain(|(digest, number)| {
                entries
                    .get(digest)
                    .is_some_and(|entry| entry.number == *number)
            });
        }
    }

    fn remove_oldest(&mut self) {
        let Some((digest, number)) = self.order.pop_front() else {
            return;
        };
        if self
            .entries
            .get(&digest)
            .is_some_and(|entry| entry.number == number)
        {
            self.entries.remove(&digest);
        }
    }

    /// Forgets one answer.
    pub(crate) fn remove(&mut self, digest: &Digest) {
        self.entries.remove(digest);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn digest(text: &str) -> Digest {
        HashKey::new(&[1; 32]).digest([Some(text.as_bytes())])
    }

    #[test]
    fn an_answer_is_kept_until_its_time_and_then_gone() {
        let mut cache = Cache::new(10);
        cache.keep(digest("a"), 1, secs(5));
        assert_eq!(cache.find(&digest("a"), secs(4)), Some(&1));
        assert_eq!(cache.find(&digest("b"), secs(4)), None);
        assert_eq!(cache.find(&digest("a"), secs(5)), None);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn the_oldest_answer_gives_way() {
        let mut cache = Cache::new(2);
        for (at, name) in ["a", "b", "a", "c"].iter().enumerate() {
            cache.keep(digest(name), at, secs(100));
        }
        // `a` was renewed after `b` had come.
        assert_eq!(cache.find(&digest("a"), secs(0)), Some(&2));
        assert_eq!(cache.find(&digest("b"), secs(0)), None);
        assert_eq!(cache.find(&digest("c"), secs(0)), Some(&3));
    }

    #[test]
    fn memory_stays_bounded_however_often_answers_are_renewed() {
        let mut cache = Cache::new(4);
        for round in 0..1000 {
            cache.keep(digest("same"), round, secs(100));
            cache.keep(digest(&round.to_string()), round, secs(round));
            let _ = cache.find(&digest(&round.to_string()), secs(5000));
            assert!(cache.order.len() <= 9 && cache.entries.len() <= 4);
        }
        assert_eq!(cache.find(&digest("same"), secs(0)), Some(&999));
        let mut none = Cache::new(0);
        none.keep(digest("a"), 1, secs(100));
        assert_eq!(none.find(&digest("a"), secs(0)), None);
    }

    #[test]
    fn fields_are_told_apart_and_the_key_counts() {
        let key = HashKey::new(&[1; 32]);
        let digest = |fields: &[Option<&[u8]>]| key.digest(fields.iter().copied());
        let one = digest(&[Some(b"ab"), Some(b"c")]);
        assert_eq!(one, digest(&[Some(b"ab"), Some(b"c")]));
        assert_ne!(one, digest(&[Some(b"a"), Some(b"bc")]));
        assert_ne!(digest(&[None]), digest(&[Some(b"")]));
        assert_ne!(
            one,
            HashKey::new(&[2; 32]).digest([Some(&b"ab"[..]), Some(b"c")])
        );
        assert_eq!(format!("{key:?}"), "HashKey");
    }
}
