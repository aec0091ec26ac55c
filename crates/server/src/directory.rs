//! Which worker holds the session of which client id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// Parts of the directory, each under its own lock: clients that connect at the same moment rarely
/// meet at one.
const PARTS: usize = 64;

type HomesById = HashMap<Arc<str>, u16, RandomState>;

/// The home of every session, by client id. Asked once per CONNECT.
pub(crate) struct Directory {
    parts: Vec<Mutex<HomesById>>,
    hasher: RandomState,
    clients: AtomicUsize,
    clients_max: AtomicUsize,
}

/// What the directory says to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The session is, or shall be, at the worker that asked.
    Here,
    /// The session is at this worker.
    Elsewhere(u16),
    /// There are as many client ids as the operator allows, and this one is not among them.
    Full,
}

impl Directory {
    /// An empty directory of at most `clients_max` client ids.
    pub(crate) fn new(clients_max: Option<usize>) -> Self {
        let directory = Self {
            parts: std::iter::repeat_with(Mutex::default).take(PARTS).collect(),
            hasher: RandomState::default(),
            clients: AtomicUsize::new(0),
            clients_max: AtomicUsize::new(0),
        };
        directory.set_clients_max(clients_max);
        directory
    }

    /// Changes how many client ids there may be; those that are there stay.
    pub(crate) fn set_clients_max(&self, clients_max: Option<usize>) {
        self.clients_max
            .store(clients_max.unwrap_or(usize::MAX), Relaxed);
    }

    /// How many client ids are known.
    pub(crate) fn len(&self) -> usize {
        self.clients.load(Relaxed)
    }

    /// Tells where the session of `client_id` is; one that is nowhere is at `worker` from now on.
    pub(crate) fn claim(&self, client_id: &Arc<str>, worker: u16) -> Home {
        match self.part(client_id).entry(Arc::clone(client_id)) {
            Entry::Occupied(known) if *known.get() == worker => Home::Here,
            Entry::Occupied(known) => Home::Elsewhere(*known.get()),
            Entry::Vacant(free) => {
                if !self.count_one_more() {
                    return Home::Full;
                }
                free.insert(worker);
                Home::Here
            }
        }
    }

    /// Makes room for so many more client ids: a table that grows hashes all of them again.
    pub(crate) fn reserve(&self, clients: usize) {
        let each = clients / PARTS + clients / PARTS / 16;
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.reserve(each);
        }
    }

    /// Enters a session that the store knows, whatever the limit.
    pub(crate) fn restore(&self, client_id: &Arc<str>, worker: u16) {
        if self
            .part(client_id)
            .insert(Arc::clone(client_id), worker)
            .is_none()
        {
            self.clients.fetch_add(1, Relaxed);
        }
    }

    /// Forgets `client_id`, if its session was at `worker`.
    pub(crate) fn release(&self, client_id: &Arc<str>, worker: u16) {
        let mut part = self.part(client_id);
        if part.get(client_id) == Some(&worker) {
            part.remove(client_id);
            self.clients.fetch_sub(1, Relaxed);
            // After a crowd has gone, its table goes too.
            if part.capacity() > 1024 && part.len() < part.capacity() / 8 {
                let kept = part.len() * 2;
                part.shrink_to(kept);
            }
        }
    }

    fn count_one_more(&self) -> bool {
        let max = self.clients_max.load(Relaxed);
        let add = |clients: usize| (clients < max).then_some(clients + 1);
        self.clients.fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    fn part(&self, client_id: &str) -> MutexGuard<'_, HomesById> {
        let hash = self.hasher.hash_one(client_id) as usize;
        #[expect(clippy::indexing_slicing, reason = "there are always PARTS parts")]
        let part = &self.parts[hash % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn a_session_stays_where_it_was_first_claimed() {
        let directory = Directory::new(None);
        assert_eq!(directory.claim(&id("a"), 1), Home::Here);
        assert_eq!(directory.claim(&id("a"), 1), Home::Here);
        assert_eq!(directory.claim(&id("a"), 0), Home::Elsewhere(1));
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn only_the_worker_that_holds_a_session_gives_its_id_free() {
        let directory = Directory::new(None);
        directory.claim(&id("a"), 1);
        directory.release(&id("a"), 0);
        assert_eq!(directory.claim(&id("a"), 0), Home::Elsewhere(1));
        directory.release(&id("a"), 1);
        directory.release(&id("a"), 1);
        assert_eq!(directory.len(), 0);
        assert_eq!(directory.claim(&id("a"), 0), Home::Here);
    }

    #[test]
    fn the_limit_counts_ids_and_not_claims() {
        let directory = Directory::new(Some(2));
        assert_eq!(directory.claim(&id("a"), 0), Home::Here);
        assert_eq!(directory.claim(&id("b"), 0), Home::Here);
        assert_eq!(directory.claim(&id("c"), 0), Home::Full);
        assert_eq!(directory.claim(&id("a"), 0), Home::Here);
        assert_eq!(directory.claim(&id("b"), 1), Home::Elsewhere(0));
        directory.release(&id("a"), 0);
        assert_eq!(directory.claim(&id("c"), 0), Home::Here);
        directory.set_clients_max(None);
        assert_eq!(directory.claim(&id("d"), 0), Home::Here);
    }

    #[test]
    fn the_tables_give_memory_back_when_a_crowd_has_gone() {
        let directory = Directory::new(None);
        let ids: Vec<_> = (0..200_000).map(|n| id(&n.to_string())).collect();
        for id in &ids {
            assert_eq!(directory.claim(id, 0), Home::Here);
        }
        for id in &ids {
            directory.release(id, 0);
        }
        assert_eq!(directory.len(), 0);
        for part in &directory.parts {
            assert!(part.lock().unwrap().capacity() <= 1024);
        }
    }
}
