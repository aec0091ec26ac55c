//! Which shard holds the session of which client id, in parts behind locks as the server has it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PARTS: usize = 64;

/// The home of every session, by client id.
pub(crate) struct Directory {
    parts: Vec<Mutex<HashMap<Arc<str>, u16>>>,
    hasher: RandomState,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            parts: std::iter::repeat_with(Mutex::default).take(PARTS).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Whether the session of `client_id` is, or shall be, at `shard`.
    pub(crate) fn claim(&self, client_id: &Arc<str>, shard: u16) -> bool {
        *self
            .part(client_id)
            .entry(Arc::clone(client_id))
            .or_insert(shard)
            == shard
    }

    /// Forgets `client_id`, if its session was at `shard`.
    pub(crate) fn release(&self, client_id: &Arc<str>, shard: u16) {
        let mut part = self.part(client_id);
        if part.get(client_id) == Some(&shard) {
            part.remove(client_id);
            if part.capacity() > 1024 && part.len() < part.capacity() / 8 {
                let kept = part.len() * 2;
                part.shrink_to(kept);
            }
        }
    }

    fn part(&self, client_id: &str) -> MutexGuard<'_, HashMap<Arc<str>, u16>> {
        let hash = self.hasher.hash_one(client_id) as usize;
        #[expect(clippy::indexing_slicing, reason = "there are always PARTS parts")]
        let part = &self.parts[hash % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
