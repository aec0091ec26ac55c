//! The broker and its disk: what workers hand to the log, crashes, and starts from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use midge_broker::persist::{Place, Records, Restoration};
use midge_broker::{Load, Shard, SharedTables, Stats};
use midge_codec::{Header, Packet};
use midge_persistence::{Ledger, recover};
use midge_store::sim::SimDisk;
use midge_store::{Event as StoreEvent, Position};

use super::{BrokerSide, Post, Worker};
use crate::check::{Checked, broken};
use crate::link::Link;
use crate::model::{Model, Stamp};
use crate::script::Keeping;
use crate::storage::{self, Answered, Storage};
use crate::world::{Event, Millis, TICK, World};

/// What the wall clock says when the run begins, in milliseconds since 1970.
const UNIX_AT_START: Millis = 1_700_000_000_000;

/// What the broker has of its disk.
pub(crate) struct Keeper {
    pub(super) settings: Keeping,
    /// While it runs.
    pub(super) storage: Option<Storage>,
    /// While it does not: the disk, and what was under way at the end.
    fallen: Option<(SimDisk, Option<Storage>)>,
    /// When a start began that was cut off, and whether its first records are known to be safe.
    cut_off: Option<(Millis, bool)>,
    stamps: Stamp,
    /// A commit has been scheduled.
    commits: bool,
    /// No checkpoint begins before this time.
    next_checkpoint: Millis,
    /// What workers want to be read.
    loads: Vec<(usize, Load)>,
    /// A look at them has been scheduled.
    loading: bool,
    /// Bytes on the disk after the last complete checkpoint.
    pub(crate) checkpoints: u64,
}

/// How the broker comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fall {
    /// Its process is killed.
    Kill,
    /// The power is lost.
    Power,
    /// The power is lost in the middle of a commit.
    InCommit,
}

impl Keeper {
    pub(super) fn new(settings: Keeping, seed: u64) -> Self {
        Self {
            settings,
            storage: None,
            fallen: Some((SimDisk::new(seed), None)),
            cut_off: None,
            stamps: 0,
            commits: false,
            next_checkpoint: 0,
            loads: Vec::new(),
            loading: false,
            checkpoints: 0,
        }
    }

    /// From now on the disk is quick.
    pub(super) fn hurry(&mut self) {
        self.settings.commit_max = self.settings.commit_max.min(5);
        // There is little to write, and each reads the whole log.
        self.settings.checkpoint_max = self.settings.checkpoint_max.max(10_000);
    }

    pub(super) fn next_stamp(&mut self) -> Stamp {
        self.stamps += 1;
        self.stamps
    }
}

impl BrokerSide {
    /// Whether it runs.
    pub(crate) const fn is_up(&self) -> bool {
        !self.workers.is_empty()
    }

    /// What a worker does from now on is covered by its next batch.
    pub(super) fn gather(&self, model: &mut Model, at: usize) {
        if self.keeper.is_some() {
            model.gather(self.workers[at].stamp);
        }
    }

    /// Hands a worker's records to the log.
    pub(super) fn hand_in(&mut self, world: &mut World, model: &mut Model, at: usize) -> Checked {
        let Some(keeper) = &mut self.keeper else {
            return Ok(());
        };
        let Some(storage) = &mut keeper.storage else {
            return Ok(());
        };
        let worker = &mut self.workers[at];
        for load in std::mem::take(&mut worker.effects.loads) {
            keeper.loads.push((at, load));
            if !std::mem::replace(&mut keeper.loading, true) {
                world.at(world.now, Event::Load);
            }
        }
        let Some(records) = worker.shard.take_records(Records::default()) else {
            return Ok(());
        };
        world.trace(|| {
            let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
            format!("shard {at} hands in {} {kinds:?}", worker.stamp)
        });
        storage.hand_in(at, worker.stamp, records)?;
        worker.stamp = keeper.next_stamp();
        model.gather(worker.stamp);
        self.schedule_commit(world);
        Ok(())
    }

    fn schedule_commit(&mut self, world: &mut World) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if !keeper.commits {
            keeper.commits = true;
            let delay = world.random.below(keeper.settings.commit_max + 1);
            world.at(world.now + delay, Event::Commit);
        }
    }

    /// The log commits some of what waits.
    pub(crate) fn commit(&mut self, world: &mut World, model: &mut Model) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        keeper.commits = false;
        let Some(storage) = &mut keeper.storage else {
            return;
        };
        let most = if world.random.chance(60) {
            usize::MAX
        } else {
            world.random.size(1, 4)
        };
        let answers = storage.commit(world.now, most);
        let more = storage.has_work();
        self.tell_committed(world, model, answers);
        if more {
            self.schedule_commit(world);
        }
        self.maintain(world);
    }

    fn tell_committed(&mut self, world: &mut World, model: &mut Model, answers: Vec<Answered>) {
        for answer in answers {
            if answer.positions.is_some() {
                model.committed(answer.stamp);
            }
            let to = answer.worker;
            world.trace(|| {
                let word = answer.positions.as_ref().map_or("refuses", |_| "has");
                format!("the log {word} batch {} of shard {to}", answer.stamp)
            });
            let log = self.workers.len() + 1;
            self.post(world, log, to, Post::Settled(answer));
        }
    }

    /// Reads what workers want to be read.
    pub(crate) fn load(&mut self, world: &mut World) -> Checked {
        let Some(keeper) = &mut self.keeper else {
            return Ok(());
        };
        let Some(storage) = &keeper.storage else {
            return Ok(());
        };
        let unix_at_zero = UNIX_AT_START + self.base;
        keeper.loading = false;
        let mut ready = Vec::new();
        for (to, load) in std::mem::take(&mut keeper.loads) {
            match storage.load(&load.messages, unix_at_zero)? {
                Some(messages) => ready.push((to, Post::Loaded(load.session, messages))),
                // Something of it is on its way to the disk.
                None => {
                    keeper.loads.push((to, load));
                    if !std::mem::replace(&mut keeper.loading, true) {
                        world.at(world.now + 1, Event::Load);
                    }
                }
            }
        }
        let log = self.workers.len() + 1;
        for (to, post) in ready {
            self.post(world, log, to, post);
        }
        Ok(())
    }

    /// The log does what keeps it quick.
    pub(crate) fn maintain(&mut self, world: &mut World) {
        let Some(storage) = self.keeper.as_mut().and_then(|k| k.storage.as_mut()) else {
            return;
        };
        let recovered = storage.maintain(world.now);
        if let Some(due) = storage.next_due() {
            world.at(due.max(world.now + 1), Event::Maintain);
        }
        if recovered {
            world.trace(|| "the disk takes work again".to_owned());
            let log = self.workers.len() + 1;
            for to in 0..self.workers.len() {
                self.post(world, log, to, Post::Recovered);
            }
        }
    }

    /// The next step of a checkpoint; tells when to go on.
    pub(crate) fn checkpoint(&mut self, world: &mut World) -> Checked<Millis> {
        let Some(keeper) = &mut self.keeper else {
            return Ok(Millis::MAX);
        };
        let Some(storage) = &mut keeper.storage else {
            return Ok(world.now + 1000);
        };
        if !storage.is_checkpointing() {
            if world.now < keeper.next_checkpoint {
                return Ok(keeper.next_checkpoint);
            }
            let pause = world.random.below(keeper.settings.checkpoint_max + 1);
            keeper.next_checkpoint = world.now + pause;
        }
        storage.checkpoint_step(world)?;
        let pause = keeper.settings.commit_max * 2;
        let commits = storage.has_work();
        if commits {
            self.schedule_commit(world);
        }
        Ok(world.now + 1 + world.random.below(pause + 1))
    }

    /// What the log said to a worker.
    pub(super) fn settled(&mut self, at: usize, now: Millis, answer: &Answered) {
        let Some(storage) = self.keeper.as_mut().and_then(|k| k.storage.as_mut()) else {
            return;
        };
        match &answer.positions {
            Some(positions) => {
                let positions = positions.iter().copied();
                storage.ledger.committed(&answer.records, positions);
                let number = answer.records.number();
                self.step(at, now, |shard, step| shard.records_committed(step, number));
            }
            None => {
                storage.ledger.refused(&answer.records);
                let records = &answer.records;
                self.step(at, now, |shard, step| shard.records_refused(step, records));
            }
        }
    }

    /// Holds what a connection is told against what is safe.
    pub(super) fn listen(
        &mut self,
        model: &mut Model,
        at: usize,
        link: usize,
        bytes: &[u8],
    ) -> Checked {
        let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
            return Ok(());
        };
        socket.spoken.extend_from_slice(bytes);
        let mut rest = &*socket.spoken;
        while let Ok(Some(header)) = Header::peek(rest)
            && let Some(body) = header.body(rest)
        {
            let packet = Packet::decode(header.first, socket.version, body);
            rest = rest.get(header.packet_length()..).unwrap_or_default();
            if let Ok(packet) = packet {
                model.said(link, &packet)?;
            }
        }
        socket.spoken = rest.to_vec();
        Ok(())
    }

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
        keeper.checkpoints += storage.checkpoints;
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
                keeper.checkpoints += storage.checkpoints;
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
    pub(super) fn employ(&mut self, world: &mut World, shards: u16, now: Millis) {
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

    /// When only what is retained is left: that nothing else is on the disk.
    pub(super) fn check_disk(&mut self, world: &World, retained: usize) -> Checked {
        let Some(keeper) = &mut self.keeper else {
            return Ok(());
        };
        let Some(storage) = &mut keeper.storage else {
            return Ok(());
        };
        let live = storage.ledger.len();
        if live != retained {
            let what = format!("{live} messages are, {retained} are retained");
            return broken("nothing is kept for nobody", what);
        }
        let bytes = storage.tidy(world)?;
        let most = u64::from(keeper.settings.segment_bytes) * SEGMENTS_MAX + RETAINED_BYTES_MAX;
        if bytes > most {
            let what = format!("{bytes} bytes, at most {most}");
            return broken("checkpoints free the disk", what);
        }
        Ok(())
    }
}

/// Segments that a log without contents has: the one in use, the reserve, those ahead, and as many again
/// for the last checkpoint.
const SEGMENTS_MAX: u64 = 8;
/// Bytes of what the topics of a run retain, in segments of their own at worst.
const RETAINED_BYTES_MAX: u64 = 1024 * 1024;

impl Storage {
    /// Commits the first records of a run, before all others. False when the disk does not take them.
    fn begin(&mut self, now: Millis, renamed: Records) -> Checked<bool> {
        self.hand_in(0, 0, renamed)?;
        let answers = self.commit(now, usize::MAX);
        Ok(answers.iter().all(|answer| answer.positions.is_some()))
    }
}
