//! The shard with what it asks for.

use std::sync::Arc;

use midge_broker::{Effects, Settings, Shard, Step, Time};

use crate::tables::TurnTables;

/// Output after which a turn is finished early: so a message to very many subscribers costs bounded
/// memory.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// A shard, its effects, and the time of this turn.
pub(super) struct Core {
    pub(super) shard: Shard,
    pub(super) effects: Effects,
    pub(super) now: Time,
    /// What was in the outboxes when a turn was last finished.
    old_output_bytes: u64,
    /// What may be added to them until it is finished early.
    pub(super) new_output_bytes_max: u64,
}

impl Core {
    pub(super) fn new(shard: Shard, settings: &Settings, now: Time) -> Self {
        Self {
            shard,
            effects: Effects::default(),
            now,
            old_output_bytes: 0,
            new_output_bytes_max: output_bytes_max(settings),
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

    /// Takes other settings.
    pub(super) fn reconfigure(&mut self, settings: Arc<Settings>, tables: &mut TurnTables<'_>) {
        self.new_output_bytes_max = output_bytes_max(&settings);
        let (shard, mut step) = self.step(tables);
        shard.reconfigure(&mut step, settings);
    }

    /// Whether the outboxes have grown by so much that they should be written before more is read.
    pub(super) fn has_much_output(&self) -> bool {
        let bytes = self.shard.stats().outbox_bytes;
        bytes.saturating_sub(self.old_output_bytes) >= self.new_output_bytes_max
    }

    /// Notes that what was to be written has been, as far as there was room.
    pub(super) fn written(&mut self) {
        self.old_output_bytes = self.shard.stats().outbox_bytes;
    }

    /// Whether the next turn has something to do that no event will tell.
    pub(super) fn has_work(&self) -> bool {
        let effects = &self.effects;
        !effects.dirty.is_empty()
            || !effects.closed.is_empty()
            || !effects.mail.is_empty()
            || !effects.logins.is_empty()
            || self.shard.has_work()
    }
}

/// Far below what makes the shard drop QoS 0 messages: a subscriber that reads should not lose any.
fn output_bytes_max(settings: &Settings) -> u64 {
    let bytes = (settings.outbox_bytes_max / 2).clamp(1, OUTPUT_BYTES_MAX);
    bytes as u64
}
