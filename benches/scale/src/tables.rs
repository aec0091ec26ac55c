//! The tables that all shards share, behind locks as the server has them, which are counted.

use std::cell::Cell;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use midge_broker::route::RoutingTable;
use midge_broker::{
    Change, RetainedApplied, RetainedChanges, RetainedMessages, SharedTables, Tables,
    apply_changes, apply_retained,
};

/// The routing table and the retained messages, each behind its lock.
pub(crate) struct SharedLocks {
    routing: RwLock<RoutingTable>,
    retained: RwLock<RetainedMessages>,
}

/// How often locks were taken, and how often somebody else held them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LockCounts {
    pub(crate) taken: u64,
    pub(crate) contended: u64,
}

impl LockCounts {
    /// Counts one more.
    pub(crate) const fn add(&mut self, contended: bool) {
        self.taken += 1;
        self.contended += contended as u64;
    }
}

impl std::ops::AddAssign for LockCounts {
    fn add_assign(&mut self, other: Self) {
        self.taken += other.taken;
        self.contended += other.contended;
    }
}

impl SharedLocks {
    pub(crate) fn new(seed: u64) -> Self {
        let SharedTables { routing, retained } = SharedTables::new(seed);
        Self {
            routing: RwLock::new(routing),
            retained: RwLock::new(retained),
        }
    }

    /// Takes the routing table for reading, for the length of a turn.
    pub(crate) fn turn(&self) -> TurnTables<'_> {
        let counts = Cell::default();
        let routing = Some(read(&self.routing, &counts));
        TurnTables {
            locks: self,
            routing,
            counts,
        }
    }
}

/// A core's view of the tables during one turn.
pub(crate) struct TurnTables<'a> {
    locks: &'a SharedLocks,
    /// Absent within [`Tables::change`] only.
    routing: Option<RwLockReadGuard<'a, RoutingTable>>,
    counts: Cell<LockCounts>,
}

impl TurnTables<'_> {
    /// What this turn has taken so far.
    pub(crate) fn counts(&self) -> LockCounts {
        self.counts.get()
    }
}

fn note(counts: &Cell<LockCounts>, contended: bool) {
    let mut counted = counts.get();
    counted.add(contended);
    counts.set(counted);
}

fn read<'a, T>(lock: &'a RwLock<T>, counts: &Cell<LockCounts>) -> RwLockReadGuard<'a, T> {
    let first = lock.try_read();
    note(counts, matches!(first, Err(TryLockError::WouldBlock)));
    match first {
        Ok(guard) => guard,
        Err(_) => lock.read().unwrap_or_else(PoisonError::into_inner),
    }
}

fn write<'a, T>(lock: &'a RwLock<T>, counts: &Cell<LockCounts>) -> RwLockWriteGuard<'a, T> {
    let first = lock.try_write();
    note(counts, matches!(first, Err(TryLockError::WouldBlock)));
    match first {
        Ok(guard) => guard,
        Err(_) => lock.write().unwrap_or_else(PoisonError::into_inner),
    }
}

impl Tables for TurnTables<'_> {
    fn routing(&self) -> &RoutingTable {
        #[expect(
            clippy::expect_used,
            reason = "only `change` takes it out, and puts it back"
        )]
        self.routing
            .as_deref()
            .expect("the turn holds the routing table")
    }

    fn change(&mut self, changes: &mut Vec<Change>) {
        // Readers cannot become writers in place: two that tried would wait for each other.
        self.routing = None;
        let mut guard = write(&self.locks.routing, &self.counts);
        apply_changes(&mut guard, changes);
        self.routing = Some(RwLockWriteGuard::downgrade(guard));
    }

    fn read_retained(&self, reader: &mut dyn FnMut(&RetainedMessages)) {
        reader(&read(&self.locks.retained, &self.counts));
    }

    fn retain(&self, changes: &mut RetainedChanges, applied: &mut dyn FnMut(RetainedApplied<'_>)) {
        let mut guard = write(&self.locks.retained, &self.counts);
        apply_retained(&mut guard, changes, applied);
    }
}
