//! The segment that is written, and going over to the next.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Log, Settled};
use crate::batch::Purpose;
use crate::disk::{Disk, DiskFile, write_all, write_zeros};
use crate::event::Refused;
use crate::format::{DATA_START, SECOND_COPY, SegmentHeader};
use crate::pool::{STEP_BYTES, Spare};
use crate::table::{Segment, file_name};

/// Bytes of the current segment that are kept prepared ahead of the records.
const LOOK_AHEAD_BYTES: u64 = 4 * STEP_BYTES;

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active<F> {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<F>,
    pub(super) header: SegmentHeader,
    /// Where the next record goes; the buffer holds the bytes before it.
    pub(super) offset: u64,
    /// Bytes of the file that are written, so that records there change no size.
    pub(super) prepared: u64,
    /// Bytes that the file may get.
    pub(super) capacity: u64,
    /// Whether anything waits for a sync.
    pub(super) unsynced: bool,
}

impl<F: DiskFile> Active<F> {
    /// Writes zeros ahead of the records.
    fn prepare(&mut self, to: u64) -> io::Result<()> {
        write_zeros(&*self.file, self.prepared, to)?;
        self.prepared = to;
        self.unsynced = true;
        self.segment.length.fetch_max(to, Relaxed);
        Ok(())
    }
}

impl<D: Disk> Log<D> {
    /// Whether a record of this size fits into the current segment, in bytes that are prepared or
    /// can be: a write there cannot find the disk full.
    pub(super) fn has_room(&mut self, now: Duration, size: u64) -> bool {
        let Some(active) = &mut self.active else {
            return false;
        };
        let end = active.offset + size;
        if end <= active.prepared {
            return true;
        }
        if end > active.capacity || self.pool.waits(now) {
            return false;
        }
        let to = active.capacity.min(end.next_multiple_of(STEP_BYTES));
        match active.prepare(to) {
            Ok(()) => true,
            Err(error) => {
                self.pool.failed(now, 0, to - active.prepared, &error);
                false
            }
        }
    }

    /// Goes over to another segment, once there is one. Everything before it is settled first.
    pub(super) fn rotate(
        &mut self,
        now: Duration,
        purpose: Purpose,
        record: u64,
        batch_start: u64,
        settled: &mut Vec<Settled>,
    ) -> Result<(), Refused> {
        let capacity = self.options.segment_size().max(DATA_START + record);
        self.expect();
        let spare = self.pool.take(now, purpose, capacity)?;
        // The records of the batch in hand stay unsettled: they are not in `pending` yet.
        let result = self
            .write_buffer(now, settled)
            .and_then(|()| self.sync(now, settled));
        if let Err(refused) = result {
            self.pool.give_back(spare);
            return Err(refused);
        }
        self.settle_pending(settled);
        self.synced = self.settled;
        if let Some(sealed) = &self.active {
            // The rest of the file is taken as well, until a checkpoint frees it.
            let rest = sealed.prepared.saturating_sub(sealed.offset);
            self.figures.since_checkpoint += DATA_START + rest;
        }
        // Also when the next one cannot be opened: what this batch has left here must never be
        // followed by other records.
        self.active = None;
        self.open_segment(now, spare, capacity, batch_start)
    }

    /// Opens a segment when there is none, and makes its header durable: that shows whether the
    /// disk works.
    pub(super) fn reopen(&mut self, now: Duration) -> Result<(), Refused> {
        let capacity = self.options.segment_size();
        let spare = self.pool.take(now, Purpose::Ordinary, capacity)?;
        self.open_segment(now, spare, capacity, self.next)?;
        self.sync(now, &mut Vec::new())
    }

    fn open_segment(
        &mut self,
        now: Duration,
        spare: Spare,
        capacity: u64,
        batch_start: u64,
    ) -> Result<(), Refused> {
        // Also when this fails: the file may come back with the power, and must be nobody's twin.
        self.generation += 1;
        let generation = self.generation;
        let header = SegmentHeader {
            generation,
            salt: self.options.salt(generation),
            first: self.next,
            batch_start,
            checkpoint: self.checkpoint,
        };
        let opened = self.disk.open(&file_name(spare.slot)).and_then(|file| {
            write_all(&file, 0, &header.encode())?;
            write_all(&file, SECOND_COPY, &header.encode())?;
            Ok(file)
        });
        let file = match opened {
            Ok(file) => Arc::new(file),
            Err(error) => {
                self.pool.remove(spare.slot);
                return Err(self.pool.failed(now, generation, 0, &error));
            }
        };
        let segment = Arc::new(Segment::new(
            generation,
            spare.slot,
            header.seed(),
            self.next,
            spare.length,
        ));
        self.table.insert(Arc::clone(&segment));
        self.active = Some(Active {
            segment,
            file,
            header,
            offset: DATA_START,
            prepared: spare.length,
            capacity,
            unsynced: true,
        });
        Ok(())
    }

    pub(super) fn look_ahead(&mut self, now: Duration) -> bool {
        let waits = self.pool.waits(now);
        let Some(active) = &mut self.active else {
            return false;
        };
        let wanted = active.capacity.min(active.offset + LOOK_AHEAD_BYTES);
        if active.prepared >= wanted || waits {
            return false;
        }
        let to = active.capacity.min(active.prepared + STEP_BYTES);
        match active.prepare(to) {
            Ok(()) => true,
            Err(error) => {
                self.pool.failed(now, 0, to - active.prepared, &error);
                false
            }
        }
    }

    /// Leaves the current segment. It is kept when somebody was told of a record in it.
    pub(super) fn drop_active(&mut self) {
        self.buffer.clear();
        let Some(active) = self.active.take() else {
            return;
        };
        if active.segment.first > self.settled {
            self.table.remove(active.segment.generation);
            // Not used again: what failed may fail again, and a new file costs little.
            self.pool.remove(active.segment.slot);
        }
    }
}
