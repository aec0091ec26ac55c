//! The name under which a socket is registered.

use mio::Token;

// On 64 bits both halves have 32; on 32 bits four million slots leave ten bits of generation, which
// is ample: a stale event lives for one batch, and a slot is not reused 1024 times in one batch.
const SLOT_BITS: u32 = if usize::BITS >= 64 { 32 } else { 22 };
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;
const GENERATION_MASK: usize = usize::MAX >> SLOT_BITS;

/// The slots at the top of the range, which no connection ever gets.
const RESERVED: usize = 1024;

/// Names a registered socket: a slot, and which of the slot's successive users is meant.
///
/// Events gathered before a socket was closed carry the old generation, so they do not reach the
/// connection that took over the slot in the same turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(usize);

impl Key {
    /// How many slots connections can have.
    pub const SLOTS_MAX: usize = SLOT_MASK + 1 - RESERVED;

    /// How many keys [`Key::reserved`] has.
    pub const RESERVED_MAX: usize = RESERVED - 1;

    /// The poller's own waker.
    pub(crate) const WAKER: Self = Self(SLOT_MASK);

    pub(crate) const fn new(slot: usize, generation: usize) -> Self {
        Self((slot & SLOT_MASK) | ((generation & GENERATION_MASK) << SLOT_BITS))
    }

    /// Names something that lives as long as its poller, such as a listener or the signals.
    ///
    /// `index` counts from 0; above [`Key::RESERVED_MAX`] there is none.
    #[must_use]
    pub const fn reserved(index: usize) -> Option<Self> {
        if index < Self::RESERVED_MAX {
            Some(Self(Self::SLOTS_MAX + index))
        } else {
            None
        }
    }

    /// The index that was given to [`Key::reserved`], for a key made there.
    #[must_use]
    pub const fn reserved_index(self) -> Option<usize> {
        let index = self.slot().wrapping_sub(Self::SLOTS_MAX);
        if index < Self::RESERVED_MAX {
            Some(index)
        } else {
            None
        }
    }

    /// The slot alone: unique among what is registered now, reused later.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0 & SLOT_MASK
    }

    pub(crate) const fn generation(self) -> usize {
        self.0 >> SLOT_BITS
    }

    pub(crate) const fn next_generation(generation: usize) -> usize {
        generation.wrapping_add(1) & GENERATION_MASK
    }

    pub(crate) const fn token(self) -> Token {
        Token(self.0)
    }

    pub(crate) const fn from_token(token: Token) -> Self {
        Self(token.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_and_generation_survive_the_way_through_the_poller() {
        for (slot, generation) in [(0, 0), (7, 3), (Key::SLOTS_MAX - 1, GENERATION_MASK)] {
            let key = Key::from_token(Key::new(slot, generation).token());
            assert_eq!((key.slot(), key.generation()), (slot, generation));
            assert_eq!(key.reserved_index(), None);
        }
    }

    #[test]
    fn reserved_keys_meet_neither_connections_nor_the_waker() {
        for index in [0, 1, Key::RESERVED_MAX - 1] {
            let key = Key::reserved(index).unwrap();
            assert_eq!(key.reserved_index(), Some(index));
            assert!(key.slot() >= Key::SLOTS_MAX);
            assert_ne!(key, Key::WAKER);
        }
        assert_eq!(Key::reserved(Key::RESERVED_MAX), None);
        assert_eq!(Key::WAKER.reserved_index(), None);
    }

    #[test]
    fn generations_wrap_instead_of_running_into_the_slot() {
        assert_eq!(Key::next_generation(GENERATION_MASK), 0);
    }
}
