//! The tables that all workers share, behind locks.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use midge_broker::route::RoutingTable;
use midge_broker::{
    Change, RetainedApplied, RetainedChanges, RetainedMessages, SharedTables, Tables,
    apply_changes, apply_retained,
};

/// The routing table and the retained messages, each behind its lock.
///
/// The routing lock is the outer one: whoever holds both took it first. A panic elsewhere poisons
/// nothing that matters here, since the broker ends with it; until then readers go on.
pub(crate) struct SharedLocks {
    routing: RwLock<RoutingTable>,
    retained: RwLock<RetainedMessages>,
}

/// What the shared tables hold, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableCounts {
    pub(crate) subscriptions: usize,
    pub(crate) shared_subscriptions: usize,
    pub(crate) retained: usize,
}

impl SharedLocks {
    /// Empty tables. The seed is to be random.
    pub(crate) fn new(seed: u64) -> Self {
        let SharedTables { routing, retained } = SharedTables::new(seed);
        Self {
            routing: RwLock::new(routing),
            retained: RwLock::new(retained),
        }
    }

    /// Takes the routing table for reading, for the length of a turn.
    pub(crate) fn turn(&self) -> TurnTables<'_> {
        TurnTables {
            locks: self,
            routing: Some(self.read_routing()),
        }
    }

    /// Counts what is there. To be called outside of turns only.
    pub(crate) fn counts(&self) -> TableCounts {
        let routing = self.read_routing().counts();
        TableCounts {
            subscriptions: routing.subscriptions,
            shared_subscriptions: routing.shared_subscriptions,
            retained: self.read_retained().len(),
        }
    }

    /// Applies changes of subscriptions outside of turns.
    pub(crate) fn apply(&self, changes: &mut Vec<Change>) {
        let mut routing = self.routing.write().unwrap_or_else(PoisonError::into_inner);
        apply_changes(&mut routing, changes);
    }

    /// Changes the retained messages before anybody is served.
    pub(crate) fn restore_retained(&self, fill: &mut dyn FnMut(&mut RetainedMessages)) {
        fill(
            &mut self
                .retained
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn read_routing(&self) -> RwLockReadGuard<'_, RoutingTable> {
        self.routing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_retained(&self) -> RwLockReadGuard<'_, RetainedMessages> {
        self.retained.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's view of the tables during one turn.
///
/// It must not live while the worker sleeps: a writer waits for all readers, and then all readers
/// for it.
pub(crate) struct TurnTables<'a> {
    locks: &'a SharedLocks,
    /// Absent within [`Tables::change`] only.
    routing: Option<RwLockReadGuard<'a, RoutingTable>>,
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
        let routing = &self.locks.routing;
        let mut guard = routing.write().unwrap_or_else(PoisonError::into_inner);
        apply_changes(&mut guard, changes);
        self.routing = Some(RwLockWriteGuard::downgrade(guard));
    }

    fn read_retained(&self, read: &mut dyn FnMut(&RetainedMessages)) {
        read(&self.locks.read_retained());
    }

    fn retain(&self, changes: &mut RetainedChanges, applied: &mut dyn FnMut(RetainedApplied<'_>)) {
        let retained = &self.locks.retained;
        let mut guard = retained.write().unwrap_or_else(PoisonError::into_inner);
        apply_retained(&mut guard, changes, applied);
    }
}

#[cfg(test)]
mod tests;
