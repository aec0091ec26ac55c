//! Segment files that hold nothing yet: prepared ahead, so that the log never waits for them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Purpose;
use crate::disk::{Disk, DiskFile, write_zeros};
use crate::event::{Event, Refused};
use crate::format::DATA_START;
use crate::table::file_name;

/// Bytes that are prepared in one step.
pub(crate) const STEP_BYTES: u64 = 256 * 1024;
/// Prepared bytes that are synced in one go: whoever commits next waits for it.
const SYNC_BYTES: u64 = 4 * STEP_BYTES;
/// A disk with room for fewer segments than these is about to be full.
const SHORT_SEGMENTS: u64 = 4;
/// How long a full or failing disk is left alone: from the first time to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A file that may become a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) slot: u32,
    /// Bytes that are written.
    pub(crate) length: u64,
}

#[derive(Debug)]
pub(crate) struct Pool<D: Disk> {
    disk: Arc<D>,
    segment_size: u64,
    reserve: usize,
    ahead: usize,
    spares: VecDeque<Spare>,
    /// Files that hold nothing and are not wanted.
    surplus: Vec<u32>,
    /// What a checkpoint may take: ordinary work leaves room for it, or a full disk could never be
    /// made less full.
    snapshot_bytes: u64,
    /// Files that are needed again before the next checkpoint frees some.
    kept: usize,
    /// Ordinary work will soon find no room.
    short: bool,
    preparing: Option<(Spare, D::File)>,
    next_slot: u32,
    trouble: Option<Trouble>,
    events: Vec<Event>,
}

/// The disk refused, and has not shown since that it can do all that is wanted.
#[derive(Debug)]
struct Trouble {
    pause: Duration,
    retry_at: Duration,
    refused: Refused,
}

impl<D: Disk> Pool<D> {
    pub(crate) fn new(
        disk: Arc<D>,
        options: &crate::Options,
        spares: Vec<Spare>,
        next_slot: u32,
    ) -> Self {
        let segment_size = options.segment_size();
        let (fitting, others): (Vec<_>, Vec<_>) = spares
            .into_iter()
            .partition(|spare| spare.length == segment_size);
        Self {
            disk,
            segment_size,
            reserve: options.reserve_segments,
            ahead: options.ahead_segments,
            spares: fitting.into(),
            surplus: others.into_iter().map(|spare| spare.slot).collect(),
            snapshot_bytes: 0,
            kept: 0,
            short: false,
            preparing: None,
            next_slot,
            trouble: None,
            events: Vec::new(),
        }
    }

    /// Says what the next checkpoint may take, and how many bytes of log are written until then.
    pub(crate) fn expect(&mut self, snapshot_bytes: u64, log_bytes: u64) {
        self.snapshot_bytes = self.file_bytes(snapshot_bytes);
        let segments = log_bytes.div_ceil(self.segment_size);
        self.kept = usize::try_from(segments).unwrap_or(usize::MAX);
    }

    /// Bytes of the files that so many bytes of records may take.
    pub(crate) fn file_bytes(&self, bytes: u64) -> u64 {
        // One more, because they begin and end in the middle of one.
        let segments = bytes.div_ceil(self.segment_size - DATA_START) + 1;
        segments.saturating_mul(self.segment_size)
    }

    /// Takes a file for a segment of `length` bytes: a prepared one, or a new one.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        purpose: Purpose,
        length: u64,
    ) -> Result<Spare, Refused> {
        let ordinary = purpose == Purpose::Ordinary;
        if let Some(trouble) = self.trouble.as_ref().filter(|t| now < t.retry_at)
            && (ordinary || !matches!(trouble.refused, Refused::Full { .. }))
        {
            return Err(trouble.refused.clone());
        }
        let fits = length <= self.segment_size;
        if ordinary {
            if let Err((needed, error)) = self.leaves_room(length) {
                return Err(self.failed(now, 0, needed, &error));
            }
            let soon = SHORT_SEGMENTS * self.segment_size + self.snapshot_bytes / 4;
            self.short = self.leaves_room(soon).is_err();
        }
        let kept = if ordinary { self.reserve } else { 0 };
        if fits
            && self.spares.len() > kept
            && let Some(spare) = self.spares.pop_front()
        {
            return Ok(spare);
        }
        // Only the beginning is prepared here, since somebody is waiting.
        let first = length.min(DATA_START + STEP_BYTES);
        let wanted = if fits { first } else { length };
        match self.begin(wanted) {
            Ok((spare, _)) => Ok(spare),
            Err(error) => Err(self.failed(now, 0, length, &error)),
        }
    }

    /// Whether a checkpoint still has room after a segment of `length` bytes was taken; otherwise
    /// says what would have to be free.
    fn leaves_room(&self, length: u64) -> Result<(), (u64, io::Error)> {
        let reserve = self.segment_size.saturating_mul(self.reserve as u64);
        let wanted = (reserve + length).saturating_add(self.snapshot_bytes);
        let needed = wanted.saturating_sub(self.bytes());
        match self.disk.free_bytes() {
            Some(free) if needed > free => Err((needed, io::ErrorKind::StorageFull.into())),
            _ => Ok(()),
        }
    }

    /// Takes back a file that no longer holds anything; one that does not fit or is not wanted will
    /// be removed.
    pub(crate) fn give_back(&mut self, spare: Spare) {
        if spare.length == self.segment_size && self.spares.len() < self.target() + self.kept {
            self.spares.push_back(spare);
        } else {
            self.surplus.push(spare.slot);
        }
        // There is more room now.
        if let Some(trouble) = &mut self.trouble
            && matches!(trouble.refused, Refused::Full { .. })
        {
            trouble.retry_at = Duration::ZERO;
        }
    }

    pub(crate) fn remove(&self, slot: u32) {
        // A file that stays is found at the next start and freed then.
        let _ = self.disk.remove(&file_name(slot));
    }

    /// Does a bounded piece of removing and preparing; true when there is more.
    pub(crate) fn prepare(&mut self, now: Duration) -> bool {
        if self.spares.len() > self.target() + self.kept
            && let Some(spare) = self.spares.pop_back()
        {
            self.surplus.push(spare.slot);
        }
        // One at a time: a file system may take long for a large file.
        if let Some(slot) = self.surplus.pop() {
            self.remove(slot);
            return true;
        }
        if self.waits(now) {
            return false;
        }
        if self.spares.len() >= self.target() {
            if let Some((spare, _)) = self.preparing.take() {
                self.remove(spare.slot);
            }
            if self.trouble.is_some() {
                // Room for one segment is not enough: it would be full again at once.
                match self.leaves_room(2 * self.segment_size) {
                    Ok(()) => {
                        self.trouble = None;
                        self.events.push(Event::Recovered);
                    }
                    Err((needed, error)) => {
                        self.failed(now, 0, needed, &error);
                    }
                }
            }
            return false;
        }
        let step = match self.preparing.take() {
            // A disk that has no room for all of it is not filled up to see that.
            None if self
                .disk
                .free_bytes()
                .is_some_and(|free| free < self.segment_size) =>
            {
                Err(io::ErrorKind::StorageFull.into())
            }
            None => self.begin(DATA_START),
            Some((spare, file)) => self.go_on(spare, file),
        };
        match step {
            Ok((spare, file)) => {
                if spare.length < self.segment_size {
                    self.preparing = Some((spare, file));
                } else {
                    self.spares.push_back(spare);
                }
                true
            }
            Err(error) => {
                self.failed(now, 0, self.segment_size, &error);
                false
            }
        }
    }

    /// Whether the disk refused a short while ago.
    pub(crate) fn waits(&self, now: Duration) -> bool {
        self.retry_at().is_some_and(|at| now < at)
    }

    /// When the disk may be asked again.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.trouble.as_ref().map(|trouble| trouble.retry_at)
    }

    /// Whether the disk was found full and has not recovered since.
    pub(crate) fn is_full(&self) -> bool {
        let refused = self.trouble.as_ref().map(|trouble| &trouble.refused);
        matches!(refused, Some(Refused::Full { .. }))
    }

    /// Whether the disk is about to be full.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    /// Bytes that can still be written.
    pub(crate) fn room(&self) -> u64 {
        self.bytes() + self.disk.free_bytes().unwrap_or(0)
    }

    /// Notes that the disk refused, and says how that is called. The event is told once, until the
    /// disk has shown that it can do all that is wanted.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        segment: u64,
        needed: u64,
        error: &io::Error,
    ) -> Refused {
        let free = self.disk.free_bytes();
        let refused = if is_full(error) {
            Refused::Full { needed, free }
        } else {
            Refused::Failing { kind: error.kind() }
        };
        if self.trouble.is_none() {
            self.events.push(if is_full(error) {
                Event::DiskFull { needed, free }
            } else {
                let error = error.to_string();
                Event::DiskFailed { segment, error }
            });
        }
        let before = self.trouble.as_ref().map_or(Duration::ZERO, |t| t.pause);
        let pause = (before * 2).clamp(PAUSE.0, PAUSE.1);
        self.trouble = Some(Trouble {
            pause,
            retry_at: now + pause,
            refused: refused.clone(),
        });
        refused
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Bytes of the prepared files.
    pub(crate) fn bytes(&self) -> u64 {
        let preparing = self.preparing.iter().map(|(spare, _)| spare.length);
        let ready = self.spares.iter().map(|spare| spare.length);
        ready.chain(preparing).sum()
    }

    fn target(&self) -> usize {
        self.reserve + self.ahead
    }

    fn begin(&mut self, length: u64) -> io::Result<(Spare, D::File)> {
        let slot = self.next_slot;
        let name = file_name(slot);
        let file = self.disk.create(&name)?;
        self.next_slot = slot.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
        let made = write_zeros(&file, 0, length).and_then(|()| self.disk.sync_directory());
        match made {
            Ok(()) => Ok((Spare { slot, length }, file)),
            Err(error) => {
                self.remove(slot);
                Err(error)
            }
        }
    }

    fn go_on(&self, mut spare: Spare, file: D::File) -> io::Result<(Spare, D::File)> {
        let to = self.segment_size.min(spare.length + STEP_BYTES);
        let made = write_zeros(&file, spare.length, to).and_then(|()| {
            spare.length = to;
            if to == self.segment_size || to.is_multiple_of(SYNC_BYTES) {
                file.sync()
            } else {
                Ok(())
            }
        });
        match made {
            Ok(()) => Ok((spare, file)),
            Err(error) => {
                self.remove(spare.slot);
                Err(error)
            }
        }
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
