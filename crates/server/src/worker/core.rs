//! The shard with what it asks for.

use midge_broker::{Effects, Shard, Step, Time};

use crate::tables::TurnTables;

/// A shard, its effects, and the time of this turn.
pub(super) struct Core {
    pub(super) shard: Shard,
    pub(super) effects: Effects,
    pub(super) now: Time,
}

impl Core {
    pub(super) fn new(shard: Shard, now: Time) -> Self {
        Self {
            shard,
            effects: Effects::default(),
            now,
        }
    }

    /// The shard, and a step to call it with.
    #[inline]
    pub(super) fn step<'a>(
        &'a mut self,
        tables: &'a mut TurnTables<'_>,
    ) -> (&'a mut Shard, Step<'a>) {
        let step = Step {
            now: self.now,
            tables,
            effects: &mut self.effects,
        };
        (&mut self.shard, step)
    }

    /// Lets the shard deal with the deadlines that have passed.
    pub(super) fn fire(&mut self, tables: &mut TurnTables<'_>) {
        let due = self.shard.next_deadline();
        if due.is_some_and(|due| due <= self.now) {
            let (shard, mut step) = self.step(tables);
            shard.fire(&mut step);
        }
    }

    /// Whether the next turn has something to do that no event will tell.
    pub(super) fn has_work(&self) -> bool {
        let effects = &self.effects;
        !effects.dirty.is_empty()
            || !effects.closed.is_empty()
            || !effects.mail.is_empty()
            || self.shard.has_work()
    }
}
