//! The seeded hash of filters, levels and sessions.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use super::SessionRef;
use super::shapes::Shape;

/// The hash functions of one routing table.
///
/// Filters are chosen by clients, so the hash must not be guessable: with foldhash's fixed
/// constants, strings can be made that collide whatever the table's own seed. Its constants are
/// therefore drawn too, from the seed of the first table of the process (they must be static).
/// What a table answers never depends on a hash, only how long it takes.
pub(super) struct Hashing {
    state: SeedableRandomState,
}

static CONSTANTS: OnceLock<SharedSeed> = OnceLock::new();

impl Hashing {
    pub(super) fn new(seed: u64) -> Self {
        let constants = CONSTANTS.get_or_init(|| SharedSeed::from_u64(seed));
        Self {
            state: SeedableRandomState::with_seed(seed, constants),
        }
    }

    /// The hash of a whole filter, a topic or one level.
    pub(super) fn text(&self, text: &str) -> u64 {
        self.bytes(text.as_bytes())
    }

    /// [`Self::text`] of text that is kept as bytes.
    pub(super) fn bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// The hash of the edge that leads from the node `parent` along a level, given [`Self::text`]
    /// of that level: a level is read once however many nodes it is looked up from.
    pub(super) fn edge(&self, parent: u32, level_hash: u64) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(level_hash);
        hasher.write_u32(parent);
        hasher.finish()
    }

    /// The hash of a shared group's two names.
    pub(super) fn group(&self, name: &str, filter: &str) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(self.text(name));
        hasher.write_u64(self.text(filter));
        hasher.finish()
    }

    pub(super) fn shape(&self, shape: Shape) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(shape.bits());
        hasher.finish()
    }

    pub(super) fn session(&self, session: SessionRef) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(session.bits());
        hasher.finish()
    }
}
