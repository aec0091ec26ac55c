//! Passwords that were verified lately, so that a client that connects again costs no second hash.
//!
//! A hash is slow by design, and a thousand clients that lose their connection together would have to be
//! hashed one after another. So it is remembered for a time that a password was right: as a keyed hash over
//! user, password and what the password was verified against. The key is random and lives as long as the
//! process. What a user's line says enters into it, so that another line makes all of it worthless.

use std::time::Duration;

use super::Verifier;
use crate::tokens::HashKey;
use crate::tokens::cache::{Cache, Digest};

/// As many are remembered, with a hundred bytes or so each.
pub const VERIFIED_MAX: usize = 65_536;

/// A longer password is verified each time: it would cost too much on a thread that serves clients.
const PASSWORD_BYTES_MAX: usize = 512;

/// User, password and the stored hash, under the key of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(Digest);

/// Which passwords were verified lately.
#[derive(Debug)]
pub struct Verified {
    lifetime: Duration,
    marks: Cache<()>,
}

impl Mark {
    /// The mark of a password; nothing for one that is not remembered.
    #[must_use]
    pub fn of(key: &HashKey, user_name: &str, password: &[u8], stored: &Verifier) -> Option<Self> {
        if password.len() > PASSWORD_BYTES_MAX {
            return None;
        }
        let stored = stored.to_string();
        let fields = [user_name.as_bytes(), password, stored.as_bytes()];
        Some(Self(key.digest(fields.map(Some))))
    }
}

impl Verified {
    /// Remembers nothing longer than `lifetime`; nothing at all when that is zero.
    #[must_use]
    pub const fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            marks: Cache::new(VERIFIED_MAX),
        }
    }

    /// Takes another lifetime, for what is verified from now on. Another one forgets all.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        if self.lifetime != lifetime {
            *self = Self::new(lifetime);
        }
    }

    /// Forgets all: a file has changed.
    pub fn clear(&mut self) {
        *self = Self::new(self.lifetime);
    }

    /// Whether this password was verified lately.
    pub fn is_known(&mut self, mark: &Mark, now: Duration) -> bool {
        self.marks.find(&mark.0, now).is_some()
    }

    /// Remembers that this password is right.
    pub fn note(&mut self, mark: Mark, now: Duration) {
        if !self.lifetime.is_zero() {
            let until = now.saturating_add(self.lifetime);
            self.marks.keep(mark.0, (), until);
        }
    }
}

impl HashKey {
    /// Names what a user's login rests on, so that it can be seen later whether that has changed.
    #[must_use]
    pub fn seal(&self, user_name: &str, stored: &Verifier) -> u64 {
        let stored = stored.to_string();
        let digest = self.digest([user_name.as_bytes(), stored.as_bytes()].map(Some));
        // Zero stands for nothing.
        digest.short() | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passwords::Hashing;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn verifier(salt: u8) -> Verifier {
        let hashing = Hashing::Sha512Pbkdf2 { iterations: 1 };
        Verifier::create(hashing, b"pencil", &[salt; 16]).unwrap()
    }

    fn key() -> HashKey {
        HashKey::new(&[7; 32])
    }

    fn mark(user: &str, password: &str, salt: u8) -> Mark {
        Mark::of(&key(), user, password.as_bytes(), &verifier(salt)).unwrap()
    }

    #[test]
    fn a_password_is_known_for_its_time_to_its_user_and_line_alone() {
        let mut verified = Verified::new(secs(60));
        verified.note(mark("alice", "pencil", 1), secs(0));
        assert!(verified.is_known(&mark("alice", "pencil", 1), secs(59)));
        assert!(!verified.is_known(&mark("alice", "Pencil", 1), secs(1)));
        assert!(!verified.is_known(&mark("alic", "epencil", 1), secs(1)));
        assert!(!verified.is_known(&mark("alice", "pencil", 2), secs(1)));
        assert!(!verified.is_known(&mark("alice", "pencil", 1), secs(61)));
    }

    #[test]
    fn a_change_forgets_and_no_time_remembers_nothing() {
        let mark = mark("alice", "pencil", 1);
        let mut verified = Verified::new(secs(60));
        verified.note(mark, secs(0));
        verified.clear();
        assert!(!verified.is_known(&mark, secs(1)));
        verified.note(mark, secs(0));
        verified.set_lifetime(Duration::ZERO);
        assert!(!verified.is_known(&mark, secs(1)));
        verified.note(mark, secs(0));
        assert!(!verified.is_known(&mark, secs(0)));
    }

    #[test]
    fn memory_has_a_bound_and_long_passwords_are_not_remembered() {
        let long = [b'x'; PASSWORD_BYTES_MAX + 1];
        assert_eq!(Mark::of(&key(), "a", &long, &verifier(1)), None);
        let mut verified = Verified::new(secs(60));
        let first = mark("0", "x", 1);
        verified.note(first, secs(0));
        for number in 1..=VERIFIED_MAX {
            let digest = key().digest([Some(&number.to_be_bytes()[..])]);
            verified.note(Mark(digest), secs(0));
        }
        assert!(!verified.is_known(&first, secs(1)));
    }

    #[test]
    fn a_seal_is_another_for_each_line_and_user() {
        let key = key();
        let seal = key.seal("alice", &verifier(1));
        assert_eq!(seal, key.seal("alice", &verifier(1)));
        assert_ne!(seal, key.seal("alice", &verifier(2)));
        assert_ne!(seal, key.seal("bob", &verifier(1)));
        assert_ne!(seal, HashKey::new(&[8; 32]).seal("alice", &verifier(1)));
    }
}
