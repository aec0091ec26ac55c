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
/// How long a full or failing disk is left alone: from the first time to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

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
        let (fitting, others) = spares
            .into_iter()
            .partition(|spare| spare.length == segment_size);
        let pool = Self {
            disk,
            segment_size,
            reserve: options.reserve_segments,
            ahead: options.ahead_segments,
            spares: fitting,
            preparing: None,
            next_slot,
            trouble: None,
            events: Vec::new(),
        };
        for other in Vec::<Spare>::from(others) {
            pool.remove(other.slot);
        }
        pool
    }

    /// Takes a file for a segment of `length` bytes: a prepared one, or a new one.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        purpose: Purpose,
        length: u64,
    ) -> Result<Spare, Refused> {
        let kept = if purpose == Purpose::Ordinary {
            self.reserve
        } else {
            0
        };
        if length <= self.segment_size && self.spares.len() > kept {
            return self.spares.pop_front().ok_or(Refused::Closed);
        }
        if let Some(trouble) = self
            .trouble
            .as_ref()
            .filter(|trouble| now < trouble.retry_at)
        {
            return Err(trouble.refused.clone());
        }
        // Only the beginning is prepared here, since somebody is waiting.
        let first = length.min(DATA_START + STEP_BYTES);
        let wanted = if length > self.segment_size {
            length
        } else {
            first
        };
        match self.begin(wanted) {
            Ok((spare, _)) => Ok(spare),
            Err(error) => Err(self.failed(now, 0, length, &error)),
        }
    }

    /// Takes back a file that no longer holds anything; one that does not fit or is not wanted is
    /// removed.
    pub(crate) fn give_back(&mut self, spare: Spare) {
        // Two more than asked for: a little slack keeps files from coming and going.
        if spare.length == self.segment_size && self.spares.len() < self.target() + 2 {
            self.spares.push_back(spare);
        } else {
            self.remove(spare.slot);
        }
    }

    pub(crate) fn remove(&self, slot: u32) {
        // A file that stays is found at the next start and freed then.
        let _ = self.disk.remove(&file_name(slot));
    }

    /// Does a bounded piece of preparing; true when there is more.
    pub(crate) fn prepare(&mut self, now: Duration) -> bool {
        if self.spares.len() >= self.target() {
            if let Some((spare, _)) = self.preparing.take() {
                self.remove(spare.slot);
            }
            if !self.waits(now) && self.trouble.take().is_some() {
                self.events.push(Event::Recovered);
            }
            return false;
        }
        if self.waits(now) {
            return false;
        }
        let step = match self.preparing.take() {
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
            if to == self.segment_size {
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
