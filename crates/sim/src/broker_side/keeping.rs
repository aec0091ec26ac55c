//! The broker and its disk while it runs: what workers hand to the log, what it tells them, and checkpoints.

mod lives;

use midge_broker::Load;
use midge_broker::persist::Records;
use midge_codec::{Header, Packet};
use midge_store::sim::SimDisk;

use super::{BrokerSide, Post};
use crate::check::{Checked, broken};
use crate::model::{Model, Stamp};
use crate::script::Keeping;
use crate::storage::{Answered, Storage};
use crate::world::{Event, Millis, World};

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
