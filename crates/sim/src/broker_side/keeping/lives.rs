//! How the broker ends, and starts again from what is on its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use midge_broker::persist::{Place, Records, Restoration};
use midge_broker::{Shard, SharedTables, Stats};
use midge_persistence::{Ledger, recover};
use midge_store::{Event as StoreEvent, Position};

use super::super::{BrokerSide, Worker};
use super::{Fall, UNIX_AT_START};
use crate::check::{Checked, broken};
use crate::link::Link;
use crate::model::Model;
use crate::storage::{self, Storage};
use crate::world::{Millis, TICK, World};

impl BrokerSide {
    /// Everything that is not on the disk is gone.
    pub(crate) fn fall(&mut self, world: &mut World, how: Fall) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let Some(mut storage) = keeper.storage.take() else {
            return;
        };
        if how == Fall::InCommit {
            storage.disk.die_after(world.random.below(8));
            // Whatever it says, nobody hears it.
            storage.commit_unheard(world.now);
        }
        let disk = storage.after_crash(how != Fall::Kill);
        keeper.fallen = Some((disk, Some(storage)));
        self.forget_workers();
    }

    fn forget_workers(&mut self) {
        let stats = self.stats();
        self.past_stats = Stats {
            publish_received: stats.publish_received,
            publish_sent: stats.publish_sent,
            publish_dropped: stats.publish_dropped,
            ..Stats::default()
        };
        self.workers.clear();
        self.directory.clear();
        if let Some(keeper) = &mut self.keeper {
            keeper.loads.clear();
            keeper.loading = false;
        }
    }

    /// Stops as an operator does it: everybody is told, everything is kept.
    pub(crate) fn stop(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
    ) -> Checked {
        let now = world.now / TICK * TICK;
        for at in 0..self.workers.len() {
            self.gather(model, at);
            self.carry_out(world, links, model, at, now)?;
        }
        for at in 0..self.workers.len() {
            self.gather(model, at);
            self.step(at, now, Shard::shut_down);
            model.shut_down(at, now);
            self.compare(world, links, model, at)?;
            self.carry_out(world, links, model, at, now)?;
        }
        if let Some(mut storage) = self.keeper.as_mut().and_then(|k| k.storage.take()) {
            let answers = storage.commit(world.now, usize::MAX);
            for answer in answers {
                if answer.positions.is_some() {
                    model.committed(answer.stamp);
                }
            }
            storage.close(world.now);
            let disk = storage.after_crash(world.random.chance(50));
            if let Some(keeper) = &mut self.keeper {
                keeper.fallen = Some((disk, Some(storage)));
            }
        }
        self.forget_workers();
        Ok(())
    }

    /// Starts from what is on the disk, with so many shards. False when the power was lost again before
    /// it was ready.
    pub(crate) fn start(
        &mut self,
        world: &mut World,
        model: &mut Model,
        shards: u16,
        dies: bool,
    ) -> Checked<bool> {
        let Some((disk, fallen)) = self.keeper.as_mut().and_then(|k| k.fallen.take()) else {
            return Ok(true);
        };
        let now = world.now / TICK * TICK;
        self.base = now.saturating_sub(world.random.below(50) * TICK);
        let unix_at_zero = UNIX_AT_START + self.base;
        let segment_bytes = self.keeper.as_ref().map_or(0, |k| k.settings.segment_bytes);
        let options = storage::options(segment_bytes, world.random.next());
        let mut recovered = match recover(disk.clone(), options) {
            Ok(recovered) => recovered,
            Err(error) => return broken("a store can be opened after a crash", error.to_string()),
        };
        if recovered.unknown > 0 {
            let what = format!("{} are not", recovered.unknown);
            return broken("records are understood", what);
        }
        // A segment that was being begun may be neither blank nor begun.
        let harmless = |event: &&StoreEvent| {
            matches!(
                event,
                StoreEvent::TornTail { .. } | StoreEvent::SegmentUnreadable { .. }
            )
        };
        if let Some(event) = recovered.events.iter().find(|event| !harmless(event)) {
            return broken("a crash damages nothing", event.to_string());
        }
        let (survivors, last) = match &fallen {
            Some(storage) => storage.survivors(&mut recovered.recovery)?,
            None => (BTreeSet::new(), None),
        };
        world.trace(|| {
            format!(
                "start with {:?}, also {survivors:?}",
                recovered.image.counts()
            )
        });
        model.crash(&survivors);
        if let Some((then, is_safe)) = self.keeper.as_mut().and_then(|k| k.cut_off.take())
            && (is_safe || survivors.contains(&0))
        {
            model.disconnect_all(then);
        }
        self.employ(world, shards, now);
        let reader = recovered.recovery.reader();
        let mut restoration = Restoration::new(recovered.image, unix_at_zero);
        if world.random.chance(60) {
            restoration.leave_on_disk();
        }
        let mut scratch = Vec::new();
        let mut read = |place: Place| {
            let record = reader.read(Position::from_bytes(place), &mut scratch);
            record.ok().map(|record| record.payload.to_vec())
        };
        let mut sessions: Vec<_> = restoration
            .sessions()
            .map(|(key, client)| (client.to_owned(), key))
            .collect();
        sessions.sort_by(|one, other| one.0.cmp(&other.0));
        let mut places = BTreeMap::new();
        for (client, key) in sessions {
            let at = world.random.index(self.workers.len());
            let restored = self.step(at, now, |shard, step| {
                restoration.session(step, shard, key, &mut read)
            });
            if let Some(id) = restored {
                places.insert(client, at);
                self.directory.insert(Arc::clone(&id), at);
            }
        }
        restoration.retained(&mut self.tables.retained, &mut read);
        for at in 0..self.workers.len() {
            self.step(at, now, |shard, step| {
                restoration.groups(step, shard, &mut read);
            });
        }
        if restoration.lost() > 0 {
            let what = format!("{} cannot", restoration.lost());
            return broken("messages can be read back", what);
        }
        let renamed = restoration.renamed();
        let next_message = restoration.next_message();
        let mut kept = Vec::new();
        for message in restoration.finish() {
            if !reader.pin(Position::from_bytes(message.place)) {
                return broken("messages can be pinned", format!("{message:?}"));
            }
            kept.push(message);
        }
        let ledger = Ledger::new(reader, kept);
        let mut storage = Storage::new(disk, recovered.recovery, ledger, last);
        if dies {
            storage.disk.die_after(world.random.below(10));
        }
        let begun = storage.begin(world.now, renamed)?;
        if !begun || dies {
            let disk = storage.after_crash(true);
            if let Some(keeper) = &mut self.keeper {
                keeper.fallen = Some((disk, Some(storage)));
                keeper.cut_off = Some((now, begun));
            }
            self.forget_workers();
            return Ok(false);
        }
        model.restarted(now, &places)?;
        self.check_restored(model, now)?;
        for at in 0..self.workers.len() {
            self.workers[at].shard.persist(next_message, unix_at_zero);
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.storage = Some(storage);
            keeper.commits = false;
            for at in 0..self.workers.len() {
                self.workers[at].stamp = keeper.next_stamp();
                model.gather(self.workers[at].stamp);
            }
        }
        self.maintain(world);
        Ok(true)
    }

    /// Fresh workers and tables.
    pub(in crate::broker_side) fn employ(&mut self, world: &mut World, shards: u16, now: Millis) {
        let senders = usize::from(shards) + 1 + usize::from(self.keeper.is_some());
        self.workers = (0..shards)
            .map(|id| {
                let seed = world.random.next();
                let time = midge_broker::Time(now - self.base);
                let shard = Shard::new(id, shards, Arc::clone(&self.settings), seed, time);
                Worker::new(shard, senders)
            })
            .collect();
        self.tables = SharedTables::new(world.random.next());
        for at in 0..usize::from(shards) {
            self.wake(world, at, world.now);
        }
    }

    fn check_restored(&self, model: &Model, now: Millis) -> Checked {
        let counts = self.tables.routing.counts();
        let seen = (counts.subscriptions, counts.shared_subscriptions);
        let expected = model.subscriptions_count();
        if seen.0 != expected.0 {
            let what = format!("{seen:?} instead of {expected:?}");
            return broken("subscriptions survive", what);
        }
        let (least, most) = model.retained_range(now);
        let stored = self.tables.retained.len();
        if stored < least || stored > most {
            let what = format!("{stored}, expected {least} to {most}");
            return broken("retained messages survive", what);
        }
        Ok(())
    }
}

impl Storage {
    /// Commits the first records of a run, before all others. False when the disk does not take them.
    fn begin(&mut self, now: Millis, renamed: Records) -> Checked<bool> {
        self.hand_in(0, 0, renamed)?;
        let answers = self.commit(now, usize::MAX);
        Ok(answers.iter().all(|answer| answer.positions.is_some()))
    }
}
