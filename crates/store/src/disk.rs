//! What the log asks of a disk.

use std::fmt::Debug;
use std::io;
use std::ops::Range;

mod file;

pub use file::{FileDisk, LockError};

/// A directory that holds the files of one store.
///
/// Names are plain file names without a path. All methods may be called from several threads.
pub trait Disk: Debug + Send + Sync + 'static {
    /// One open file.
    type File: DiskFile;

    /// Names every file of the directory, in any order.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file for reading and writing; fails when there is one of that name.
    ///
    /// # Errors
    /// Whatever the system says; [`io::ErrorKind::StorageFull`] when there is no room.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// Whatever the system says.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, replacing a file that has it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; what has it open can still use it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that this process may still write, where that can be known.
    fn free_bytes(&self) -> Option<u64>;

    /// Whether nobody else changes the files. Otherwise this process only looks at them.
    fn is_exclusive(&self) -> bool {
        true
    }
}

/// One open file of a [`Disk`].
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// The size in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads at a position into `into`; 0 means the end of the file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes at a position, perhaps less than all; grows the file where necessary.
    ///
    /// # Errors
    /// Whatever the system says; [`io::ErrorKind::StorageFull`] when there is no room.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes durable what has been written to this file, and its size.
    ///
    /// # Errors
    /// Whatever the system says. After an error nothing can be said about what was written since
    /// the last success, also when a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of `bytes`.
pub(crate) fn write_all<F: DiskFile>(
    file: &F,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes zeros from `from` to `to`.
pub(crate) fn write_zeros<F: DiskFile>(file: &F, mut from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while from < to {
        let part = usize::try_from(to - from).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        write_all(file, from, ZEROS.get(..part).unwrap_or(&ZEROS))?;
        from += part as u64;
    }
    Ok(())
}

/// Writes what is there once more.
pub(crate) fn rewrite<F: DiskFile>(file: &F, range: Range<u64>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut at = range.start;
    while at < range.end {
        let part = usize::try_from(range.end - at).map_or(buffer.len(), |n| n.min(buffer.len()));
        let bytes = buffer.get_mut(..part).unwrap_or_default();
        let read = read_full(file, at, bytes)?;
        if read == 0 {
            break;
        }
        write_all(file, at, bytes.get(..read).unwrap_or_default())?;
        at += read as u64;
    }
    Ok(())
}

/// Reads until `into` is full or the file ends; says how much was read.
pub(crate) fn read_full<F: DiskFile>(file: &F, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + filled as u64, rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads like [`read_full`], with zeros for the blocks that the disk cannot give, which then do not
/// verify: a bad block costs the records on it, not the whole store.
pub(crate) fn read_what_can_be<F: DiskFile>(file: &F, offset: u64, into: &mut [u8]) -> usize {
    const BLOCK: usize = 4096;
    if let Ok(read) = read_full(file, offset, into) {
        return read;
    }
    let mut filled = 0;
    for block in into.chunks_mut(BLOCK) {
        let wanted = block.len();
        match read_full(file, offset + filled as u64, block) {
            Ok(read) if read < wanted => return filled + read,
            Ok(_) => {}
            Err(_) => block.fill(0),
        }
        filled += wanted;
    }
    filled
}
