//! Checkpoints: the state as snapshot records, so that the log before them can go.
//!
//! The state is read from the log, not from the shards: nobody has to stop, and a checkpoint proves each
//! time that the log can be read.

use std::collections::HashSet;
use std::ops::ControlFlow;

use midge_broker::persist::{Image, Kind};
use midge_store::{Batch, CheckpointId, Disk, Event, Position, Purpose, ReadError, Reader};

use crate::ledger::Ledger;
use crate::recover::Replay;

/// Bytes of snapshot records in one batch. What clients wait for comes in between.
const BATCH_BYTES: usize = 64 * 1024;

/// The state at the beginning of a checkpoint.
#[derive(Debug)]
pub struct Snapshot {
    image: Image,
    checkpoint: CheckpointId,
    /// What an operator should know.
    pub events: Vec<Event>,
}

/// Reads the state at the beginning of `checkpoint` from the log.
///
/// # Errors
/// [`ReadError`] when the log cannot be read; the checkpoint is void then. `stop` is asked now and then
/// and gives up like a log that has gone.
pub fn snapshot<D: Disk>(
    reader: &Reader<D>,
    checkpoint: CheckpointId,
    stop: &dyn Fn() -> bool,
) -> Result<Snapshot, ReadError> {
    let mut replay = Replay::new(reader.checkpoint_begin());
    let mut count = 0_u32;
    let mut stopped = false;
    let events = reader.replay(checkpoint, |replayed| {
        replay.take(&replayed);
        count = count.wrapping_add(1);
        if count.is_multiple_of(1024) && stop() {
            stopped = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if stopped {
        return Err(ReadError::Gone);
    }
    Ok(Snapshot {
        image: replay.finish(),
        checkpoint,
        events,
    })
}

impl Snapshot {
    /// The snapshot of a state that does not come from the log.
    pub(crate) const fn of(image: Image, checkpoint: CheckpointId) -> Self {
        Self {
            image,
            checkpoint,
            events: Vec::new(),
        }
    }

    /// Gives the batches that are to be appended, one after the other, until `append` says that one was
    /// refused. True when all were taken.
    pub fn write(&self, append: &mut dyn FnMut(Batch) -> bool) -> bool {
        let mut batch = Batch::new(Purpose::Checkpoint);
        let mut taken = true;
        self.image
            .snapshot(self.checkpoint.sequence(), &mut |record| {
                // A snapshot record is far shorter than the longest.
                taken = batch.push(Kind::Snapshot as u8, record).is_ok();
                if taken && batch.bytes() >= BATCH_BYTES {
                    let full = std::mem::replace(&mut batch, Batch::new(Purpose::Checkpoint));
                    taken = append(full);
                }
                taken
            });
        taken && append(batch)
    }

    /// The live messages and where they are, by the state at the beginning of the checkpoint.
    pub fn messages(&self) -> impl Iterator<Item = (u64, Position)> + '_ {
        self.image
            .places()
            .map(|(id, place, _)| (id, Position::from_bytes(place)))
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> midge_broker::persist::ImageCounts {
        self.image.counts()
    }
}

/// Makes copies of the live messages of segments that hold little else, so that these can go: those of
/// `messages` that lie in a segment with less than `share_percent` of live bytes. At most `bytes_max`
/// are copied; `append` writes a batch and gives it back with its positions, or nothing if it was refused.
pub fn relocate<D: Disk>(
    reader: &Reader<D>,
    ledger: &Ledger<D>,
    messages: impl Iterator<Item = (u64, Position)>,
    share_percent: u64,
    bytes_max: u64,
    append: &mut dyn FnMut(Batch) -> Option<Batch>,
) -> u64 {
    let mut budget = bytes_max;
    let mut sparse = HashSet::new();
    for segment in reader.sparse_segments(share_percent) {
        if segment.pinned_bytes > budget {
            break;
        }
        budget -= segment.pinned_bytes;
        sparse.insert(segment.segment);
    }
    if sparse.is_empty() {
        return 0;
    }
    let mut wanted: Vec<(u64, Position)> = messages
        .filter(|(id, position)| {
            sparse.contains(&position.segment) && ledger.position(*id) == Some(*position)
        })
        .collect();
    wanted.sort_unstable_by_key(|(_, position)| *position);
    let mut scratch = Vec::new();
    let mut copied = 0;
    let mut rest = wanted.as_slice();
    while !rest.is_empty() {
        let mut batch = Batch::new(Purpose::Checkpoint);
        let mut sources = Vec::new();
        while let Some(((id, position), later)) = rest.split_first() {
            if batch.bytes() >= BATCH_BYTES {
                break;
            }
            rest = later;
            // What cannot be read stays where it is; its segment is kept.
            if reader.relocate(*position, &mut batch, &mut scratch).is_ok() {
                sources.push((*id, *position));
            }
        }
        copied += batch.bytes() as u64;
        let Some(batch) = append(batch) else {
            return copied;
        };
        for ((id, from), to) in sources.into_iter().zip(batch.positions()) {
            ledger.moved(id, from, to);
        }
    }
    copied
}
