//! Which messages are live, and where the log keeps them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use midge_broker::persist::{KeptMessage, Kind, Records};
use midge_store::{Disk, Position, Reader};

#[cfg(test)]
mod tests;

/// Parts of the ledger, each under its own lock.
const PARTS: usize = 16;

/// The live messages of all shards: how many holders each has, and its place in the log.
///
/// A message's record is pinned while it has holders. Shards tell of changes when they hand in records
/// ([`Self::handed_in`]) and when those are safe ([`Self::committed`]) or refused.
#[derive(Debug)]
pub struct Ledger<D: Disk> {
    parts: [Mutex<Part>; PARTS],
    reader: Reader<D>,
}

/// Some of the live messages.
#[derive(Debug, Default)]
struct Part {
    kept: HashMap<u64, Kept, RandomState>,
    /// Messages that were replaced in the retained store before the shard that put them there has handed
    /// in the record which says so.
    replaced: HashSet<u64, RandomState>,
    /// Those from before the last sweep. What comes at all comes with the turn in which it was replaced.
    replaced_before: HashSet<u64, RandomState>,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Nobody holds it.
    Unknown,
    /// The log has it and has not said where.
    OnItsWay,
    /// Here.
    At(Position),
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    holders: u32,
    /// The retained store is one of them.
    retained: bool,
    /// Where it is, once it is safe.
    position: Option<Position>,
}

impl<D: Disk> Ledger<D> {
    /// A ledger of what was restored. The records have to be pinned.
    pub fn new(reader: Reader<D>, restored: impl IntoIterator<Item = KeptMessage>) -> Self {
        let ledger = Self {
            parts: Default::default(),
            reader,
        };
        for message in restored {
            let kept = Kept {
                holders: message.holders,
                retained: message.retained,
                position: Some(Position::from_bytes(message.place)),
            };
            ledger.part(message.id).kept.insert(message.id, kept);
        }
        ledger
    }

    /// Notes the holders that records bring, before anybody can be finished with them.
    pub fn handed_in(&self, records: &Records) {
        for record in records.iter().filter(|record| record.message != 0) {
            let mut part = self.part(record.message);
            // It is replaced already, so one of the holders is none.
            let is_over = record.retained && part.forget_replaced(record.message);
            let kept = part.kept.entry(record.message).or_insert(Kept {
                holders: 0,
                retained: false,
                position: None,
            });
            kept.holders = kept.holders.saturating_add(record.holders);
            kept.retained |= record.retained && !is_over;
            if is_over {
                self.finish_in(&mut part, record.message, 1);
            }
        }
    }

    /// Notes that records are safe, at these positions in their order.
    pub fn committed(&self, records: &Records, positions: impl Iterator<Item = Position>) {
        for (record, position) in records.iter().zip(positions) {
            if record.kind == Kind::Message {
                let mut part = self.part(record.message);
                match part.kept.get_mut(&record.message) {
                    Some(kept) => kept.position = Some(position),
                    // Finished with before it was safe: another core was quicker.
                    None => self.reader.unpin(position),
                }
            }
        }
        for message in records.finished() {
            self.finish(*message, 1);
        }
        for message in records.replaced() {
            let mut part = self.part(*message);
            match part.kept.get_mut(message) {
                Some(kept) if kept.retained => {
                    kept.retained = false;
                    self.finish_in(&mut part, *message, 1);
                }
                _ => {
                    part.replaced.insert(*message);
                }
            }
        }
    }

    /// Forgets of replaced messages those that have not come since the last time: the log refused them, or
    /// nobody kept them. To be called now and then, far apart beside the length of a turn.
    pub fn sweep(&self) {
        for part in &self.parts {
            let mut part = lock(part);
            part.replaced_before = std::mem::take(&mut part.replaced);
        }
    }

    /// Takes back what [`Self::handed_in`] noted: the log did not take the records. What is handed in again
    /// is noted again.
    pub fn refused(&self, records: &Records) {
        for record in records.iter().filter(|record| record.message != 0) {
            let mut part = self.part(record.message);
            let mut holders = record.holders;
            if record.retained {
                match part.kept.get_mut(&record.message) {
                    Some(kept) if kept.retained => kept.retained = false,
                    // Replaced since, and so taken back by that already.
                    _ => {
                        holders = holders.saturating_sub(1);
                        part.replaced.insert(record.message);
                    }
                }
            }
            self.finish_in(&mut part, record.message, holders);
        }
    }

    fn finish(&self, message: u64, holders: u32) {
        self.finish_in(&mut self.part(message), message, holders);
    }

    fn finish_in(&self, part: &mut Part, message: u64, holders: u32) {
        let Entry::Occupied(mut entry) = part.kept.entry(message) else {
            return;
        };
        let kept = entry.get_mut();
        kept.holders = kept.holders.saturating_sub(holders);
        if kept.holders == 0 {
            let kept = entry.remove();
            if let Some(position) = kept.position {
                self.reader.unpin(position);
            }
            // After long queues have gone, their table goes too.
            let (known, room) = (part.kept.len(), part.kept.capacity());
            if room > 1024 && known < room / 8 {
                part.kept.shrink_to(2 * known);
            }
        }
    }

    /// Where a message is.
    #[must_use]
    pub fn whereabouts(&self, message: u64) -> Whereabouts {
        match self.part(message).kept.get(&message) {
            None => Whereabouts::Unknown,
            Some(Kept { position: None, .. }) => Whereabouts::OnItsWay,
            Some(Kept {
                position: Some(position),
                ..
            }) => Whereabouts::At(*position),
        }
    }

    /// Where a message is; `None` when it is not safe yet, or nobody holds it any more.
    #[must_use]
    pub fn position(&self, message: u64) -> Option<Position> {
        self.part(message)
            .kept
            .get(&message)
            .and_then(|kept| kept.position)
    }

    /// Notes that a copy of a message's record was made further on in the log, pinned.
    pub fn moved(&self, message: u64, from: Position, to: Position) {
        let mut part = self.part(message);
        let unneeded = match part.kept.get_mut(&message) {
            Some(kept) if kept.position == Some(from) => {
                kept.position = Some(to);
                from
            }
            _ => to,
        };
        self.reader.unpin(unneeded);
    }

    /// How many messages are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).kept.len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, message: u64) -> MutexGuard<'_, Part> {
        // Names count up in steps, so the low bits alone would favour some parts.
        let mixed = message.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60;
        #[expect(
            clippy::indexing_slicing,
            reason = "four bits have as many values as there are parts"
        )]
        let part = &self.parts[mixed as usize];
        lock(part)
    }
}

impl Part {
    /// Whether a message was replaced before it came.
    fn forget_replaced(&mut self, message: u64) -> bool {
        [&mut self.replaced, &mut self.replaced_before]
            .into_iter()
            .any(|replaced| !replaced.is_empty() && replaced.remove(&message))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
