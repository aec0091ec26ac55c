//! Keeping what does not verify, for whoever wants to look at it.

use std::io;
use std::ops::Range;

use crate::disk::{Disk, DiskFile, read_what_can_be, write_all};
use crate::event::Event;

/// A store in ruins must not become a directory of a million files.
const FILES_MAX: usize = 64;

/// The quarantine files of one recovery.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    files: usize,
}

impl Quarantine {
    /// Copies bytes of a segment to a file named for the segment and the offset.
    pub(crate) fn keep<D: Disk>(
        &mut self,
        disk: &D,
        from: &D::File,
        segment: u64,
        range: Range<u64>,
    ) -> Event {
        let name = format!("quarantine-{segment}-{}.bin", range.start);
        let kept = self.files < FILES_MAX
            && match disk.create(&name) {
                Ok(into) => copy(from, &into, range.clone())
                    .and_then(|()| disk.sync_directory())
                    .inspect_err(|_| {
                        // Half a copy helps nobody, and the disk may be full.
                        let _ = disk.remove(&name);
                    })
                    .is_ok(),
                // The same damage was met at an earlier start.
                Err(error) => error.kind() == io::ErrorKind::AlreadyExists,
            };
        self.files += 1;
        Event::Quarantined {
            segment,
            offset: range.start,
            bytes: range.end.saturating_sub(range.start),
            kept_in: kept.then_some(name),
        }
    }
}

fn copy<F: DiskFile>(from: &F, into: &F, range: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = range.start;
    while at < range.end {
        let part = usize::try_from(range.end - at).map_or(buffer.len(), |n| n.min(buffer.len()));
        let wanted = buffer.get_mut(..part).unwrap_or_default();
        let read = read_what_can_be(from, at, wanted);
        if read == 0 {
            break;
        }
        write_all(
            into,
            at - range.start,
            wanted.get(..read).unwrap_or_default(),
        )?;
        at += read as u64;
    }
    into.sync()
}
