//! The segments that are kept, shared by the log and its readers.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::Disk;
use crate::format::Position;
use crate::replay::Start;

/// Files that readers keep open; a long queue may lie in more segments than a process may open.
const OPEN_FILES: usize = 32;

/// A segment that is kept: the one that is written, or one that may hold something live.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) generation: u64,
    pub(crate) slot: u32,
    /// What its records' checksums begin with.
    pub(crate) seed: u32,
    /// Sequence of its first record.
    pub(crate) first: u64,
    /// Bytes of the file.
    pub(crate) length: AtomicU64,
    pinned: AtomicU64,
    pinned_bytes: AtomicU64,
}

impl Segment {
    pub(crate) fn new(generation: u64, slot: u32, seed: u32, first: u64, length: u64) -> Self {
        Self {
            generation,
            slot,
            seed,
            first,
            length: AtomicU64::new(length),
            pinned: AtomicU64::new(0),
            pinned_bytes: AtomicU64::new(0),
        }
    }
}

/// A segment that holds little that is live, so that copying it forward frees a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// The generation.
    pub segment: u64,
    /// Records that are pinned.
    pub pinned: u64,
    /// Their bytes in the log.
    pub pinned_bytes: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Figures of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Segments that are kept, without the prepared ones.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of pinned records.
    pub pinned_bytes: u64,
}

/// Opened files, most recently used last.
type OpenFiles<F> = VecDeque<(u64, Arc<F>)>;

#[derive(Debug)]
pub(crate) struct Table<D: Disk> {
    pub(crate) disk: Arc<D>,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    open: Mutex<OpenFiles<D::File>>,
    /// Where a replay would begin.
    start: Mutex<Start>,
    /// Segments below this generation are needed for pinned records only.
    floor: AtomicU64,
    /// A segment below the floor may have become free.
    dirty: AtomicBool,
}

pub(crate) fn file_name(slot: u32) -> String {
    format!("{slot:08}.seg")
}

/// The number in a segment's file name.
pub(crate) fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let slot = digits.parse().ok()?;
    (file_name(slot) == name).then_some(slot)
}

impl<D: Disk> Table<D> {
    pub(crate) fn new(disk: Arc<D>) -> Self {
        Self {
            disk,
            segments: RwLock::default(),
            open: Mutex::default(),
            start: Mutex::default(),
            floor: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
        }
    }

    pub(crate) fn insert(&self, segment: Arc<Segment>) {
        self.write().insert(segment.generation, segment);
    }

    pub(crate) fn remove(&self, generation: u64) {
        self.write().remove(&generation);
        self.files().retain(|(open, _)| *open != generation);
    }

    pub(crate) fn segment(&self, generation: u64) -> Option<Arc<Segment>> {
        self.read().get(&generation).cloned()
    }

    pub(crate) fn newest(&self) -> Option<Arc<Segment>> {
        self.read().values().next_back().cloned()
    }

    /// The segments from this generation on, the oldest first.
    pub(crate) fn segments_from(&self, generation: u64) -> Vec<Arc<Segment>> {
        self.read()
            .range(generation..)
            .map(|(_, s)| Arc::clone(s))
            .collect()
    }

    /// The file of a segment; none when the segment is gone.
    pub(crate) fn file(&self, segment: &Segment) -> io::Result<Arc<D::File>> {
        {
            let mut files = self.files();
            let found = files
                .iter()
                .position(|(generation, _)| *generation == segment.generation);
            if let Some(entry) = found.and_then(|index| files.remove(index)) {
                let file = Arc::clone(&entry.1);
                files.push_back(entry);
                return Ok(file);
            }
        }
        let file = Arc::new(self.disk.open(&file_name(segment.slot))?);
        // Under the table's lock, so that a segment which has just been removed leaves no file here.
        let segments = self.read();
        if segments.contains_key(&segment.generation) {
            let mut files = self.files();
            files.push_back((segment.generation, Arc::clone(&file)));
            if files.len() > OPEN_FILES {
                files.pop_front();
            }
        }
        Ok(file)
    }

    pub(crate) fn pin(&self, position: Position) -> bool {
        let segments = self.read();
        let Some(segment) = segments.get(&position.segment) else {
            return false;
        };
        segment.pinned.fetch_add(1, SeqCst);
        segment.pinned_bytes.fetch_add(position.size(), Relaxed);
        true
    }

    pub(crate) fn unpin(&self, position: Position) {
        let segments = self.read();
        let Some(segment) = segments.get(&position.segment) else {
            return;
        };
        let take = |by: u64| move |value: u64| value.checked_sub(by);
        // An owner that unpins too often must not free what others have pinned by wrapping around.
        let _ = segment
            .pinned_bytes
            .fetch_update(Relaxed, Relaxed, take(position.size()));
        let before = segment.pinned.fetch_update(SeqCst, SeqCst, take(1));
        if before == Ok(1) && segment.generation < self.floor.load(SeqCst) {
            self.dirty.store(true, SeqCst);
        }
    }

    /// Where a replay would begin now.
    pub(crate) fn start(&self) -> Start {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_start(&self, start: Start) {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = start;
    }

    /// Says below which generation only pinned records matter.
    pub(crate) fn set_floor(&self, generation: u64) {
        if self.floor.swap(generation, SeqCst) != generation {
            self.dirty.store(true, SeqCst);
        }
    }

    /// Takes out the segments that nobody needs any more; cheap when none can have become free.
    pub(crate) fn take_free(&self) -> Vec<Arc<Segment>> {
        let mut free = Vec::new();
        if !self.dirty.swap(false, SeqCst) {
            return free;
        }
        let floor = self.floor.load(SeqCst);
        let mut segments = self.write();
        segments.retain(|&generation, segment| {
            let kept = generation >= floor || segment.pinned.load(SeqCst) > 0;
            if !kept {
                free.push(Arc::clone(segment));
            }
            kept
        });
        drop(segments);
        if !free.is_empty() {
            self.files()
                .retain(|(open, _)| free.iter().all(|segment| segment.generation != *open));
        }
        free
    }

    pub(crate) fn sparse(&self, share_percent: u64) -> Vec<Sparse> {
        let floor = self.floor.load(SeqCst);
        self.read()
            .range(..floor)
            .map(|(&generation, segment)| Sparse {
                segment: generation,
                pinned: segment.pinned.load(SeqCst),
                pinned_bytes: segment.pinned_bytes.load(Relaxed),
                bytes: segment.length.load(Relaxed),
            })
            .filter(|sparse| {
                sparse.pinned > 0
                    && sparse.pinned_bytes.saturating_mul(100)
                        < sparse.bytes.saturating_mul(share_percent)
            })
            .collect()
    }

    pub(crate) fn usage(&self) -> Usage {
        self.read()
            .values()
            .fold(Usage::default(), |sum, segment| Usage {
                segments: sum.segments + 1,
                bytes: sum.bytes + segment.length.load(Relaxed),
                pinned_bytes: sum.pinned_bytes + segment.pinned_bytes.load(Relaxed),
            })
    }

    /// Bytes of the segments that a replay goes through.
    pub(crate) fn bytes_since_start(&self) -> u64 {
        self.segments_from(self.start().generation)
            .iter()
            .map(|segment| segment.length.load(Relaxed))
            .sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, OpenFiles<D::File>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
