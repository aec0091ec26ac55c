//! From the log to an image.

use midge_broker::persist::{Image, Kind, SnapshotPart, says_nothing};
use midge_store::{Disk, Entry, Event, OpenError, Options, Position, Recovery, Replayed};

/// A store that has been read.
#[derive(Debug)]
pub struct Recovered<D: Disk> {
    /// The store, to be started when everything that is needed has been pinned.
    pub recovery: Recovery<D>,
    /// What it holds.
    pub image: Image,
    /// Whether there had been nothing, or no more than the beginning of an import: the store is new.
    pub is_new: bool,
    /// Records of kinds that this version does not know.
    pub unknown: u64,
    /// How often sessions were given new addresses since the last checkpoint began: each start with a
    /// session does so once.
    pub starts: u32,
    /// What an operator should know.
    pub events: Vec<Event>,
}

/// Reads a store.
///
/// # Errors
/// [`OpenError`]; damage is none, and told as an event.
pub fn recover<D: Disk>(disk: D, options: Options) -> Result<Recovered<D>, OpenError> {
    let mut recovery = Recovery::open(disk, options)?;
    let mut replay = Replay::new(recovery.checkpoint_begin());
    recovery.replay(|replayed| replay.take(&replayed))?;
    let events = recovery.take_events();
    let is_damaged = events.iter().any(|event| {
        matches!(
            event,
            Event::Hole { .. } | Event::CheckpointLost | Event::Quarantined { .. }
        )
    });
    let is_new = recovery.is_empty() || replay.is_blank && !is_damaged;
    let (unknown, starts) = (replay.unknown, replay.starts);
    Ok(Recovered {
        recovery,
        image: replay.finish(),
        is_new,
        unknown,
        starts,
        events,
    })
}

/// Puts an image together from the records of the log, in their order.
///
/// A snapshot is written while other records come, and it says what held at the beginning of its
/// checkpoint. So what comes in between waits until the snapshot is whole.
#[derive(Debug)]
pub struct Replay {
    image: Image,
    /// The checkpoint whose snapshot is still to come or under way.
    snapshot_of: Option<u64>,
    waiting: Vec<Waiting>,
    unknown: u64,
    starts: u32,
    /// No record has said anything.
    is_blank: bool,
}

#[derive(Debug)]
struct Waiting {
    kind: Kind,
    payload: Box<[u8]>,
    position: Position,
    moved: bool,
}

/// Bytes of a message's record that are kept until its turn comes: all but very long topics and
/// properties fit, and the payload is not looked at.
const WAITING_BYTES_MAX: usize = 256 * 1024;

impl Replay {
    /// Begins. `checkpoint`: where the checkpoint begins that the log begins with, if it does.
    #[must_use]
    pub fn new(checkpoint: Option<u64>) -> Self {
        Self {
            image: Image::new(),
            snapshot_of: checkpoint,
            waiting: Vec::new(),
            unknown: 0,
            starts: 0,
            is_blank: checkpoint.is_none(),
        }
    }

    /// Takes the next step of a replay.
    pub fn take(&mut self, replayed: &Replayed<'_>) {
        let entry = match replayed {
            Replayed::Entry(entry) => entry,
            Replayed::Hole(_) => {
                self.image.hole();
                return;
            }
        };
        let Some(kind) = Kind::from_number(entry.kind) else {
            self.unknown += 1;
            self.is_blank = false;
            return;
        };
        self.is_blank = self.is_blank && says_nothing(kind, entry.payload);
        self.starts = self.starts.saturating_add(u32::from(kind == Kind::Renamed));
        match (kind, self.snapshot_of) {
            (Kind::Snapshot, Some(checkpoint)) => self.snapshot(entry, checkpoint),
            // Of a checkpoint that was not finished.
            (Kind::Snapshot, None) => {}
            (_, Some(_)) => {
                let end = if kind == Kind::Message {
                    entry.payload.len().min(WAITING_BYTES_MAX)
                } else {
                    entry.payload.len()
                };
                self.waiting.push(Waiting {
                    kind,
                    payload: entry.payload.get(..end).unwrap_or_default().into(),
                    position: entry.position,
                    moved: entry.moved,
                });
            }
            (_, None) => self.apply(kind, entry.payload, entry.position, entry.moved),
        }
    }

    fn snapshot(&mut self, entry: &Entry<'_>, checkpoint: u64) {
        if Image::snapshot_checkpoint(entry.payload) != Some(checkpoint) {
            return;
        }
        match self.image.apply_snapshot(entry.payload) {
            Ok(SnapshotPart::More) => {}
            Ok(SnapshotPart::Last) => self.end_snapshot(),
            Err(_) => self.unknown += 1,
        }
    }

    fn end_snapshot(&mut self) {
        self.snapshot_of = None;
        for record in std::mem::take(&mut self.waiting) {
            self.apply(record.kind, &record.payload, record.position, record.moved);
        }
    }

    fn apply(&mut self, kind: Kind, payload: &[u8], position: Position, moved: bool) {
        let applied = self
            .image
            .apply(kind, payload, position.to_bytes(), position.length, moved);
        self.unknown += u64::from(applied.is_err());
    }

    /// The image of all that was taken.
    #[must_use]
    pub fn finish(mut self) -> Image {
        // The end of the snapshot may be among what was lost.
        self.end_snapshot();
        self.image
    }
}
