//! A directory of the file system.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile};

/// The file whose lock keeps a second process out; it names the process that holds it.
const LOCK_NAME: &str = "lock";

/// Why a directory could not be taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Another process works in it.
    Held {
        /// The directory.
        directory: PathBuf,
        /// The process, when it could be read.
        pid: Option<u32>,
    },
    /// The directory cannot be made, read or written.
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held {
                directory,
                pid: Some(pid),
            } => write!(
                f,
                "{} is in use by another process (pid {pid})",
                directory.display()
            ),
            Self::Held {
                directory,
                pid: None,
            } => write!(f, "{} is in use by another process", directory.display()),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Io { error, .. } => Some(error),
        }
    }
}

/// A directory of the file system, locked against other processes unless it is only read.
#[derive(Debug)]
pub struct FileDisk {
    directory: PathBuf,
    /// Held for its lock; none when the directory is only read.
    lock: Option<File>,
}

impl FileDisk {
    /// Makes the directory where it is missing (for the owner alone) and locks it.
    ///
    /// The lock goes with the process, however that ends.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it, [`LockError::Io`] when it cannot be made or
    /// written.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, LockError> {
        let directory = directory.into();
        make_directory(&directory).map_err(|error| LockError::Io {
            path: directory.clone(),
            error,
        })?;
        let path = directory.join(LOCK_NAME);
        let lock = lock(&path).map_err(|error| match error {
            TryLockError::WouldBlock => LockError::Held {
                pid: fs::read_to_string(&path)
                    .ok()
                    .and_then(|text| text.trim().parse().ok()),
                directory: directory.clone(),
            },
            TryLockError::Error(error) => LockError::Io { path, error },
        })?;
        Ok(Self {
            directory,
            lock: Some(lock),
        })
    }

    /// Opens a directory to look at it, with no lock and without changing anything.
    ///
    /// What a running process appends meanwhile may be seen or not, and the end of the log may look
    /// torn. When it takes files for new records while they are read, opening or replaying says
    /// [`crate::OpenError::Changed`]: begin again.
    #[must_use]
    pub fn read_only(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            lock: None,
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn may_write(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    let mut before = String::new();
    // Without a readable pid the lock still holds; only the message of the other process suffers.
    let _ = file.read_to_string(&mut before);
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

impl Disk for FileDisk {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.may_write()?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(self.lock.is_some())
            .open(self.directory.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.may_write()?;
        File::open(&self.directory)?.sync_all()
    }

    fn free_bytes(&self) -> Option<u64> {
        let figures = rustix::fs::statvfs(&self.directory).ok()?;
        figures.f_bavail.checked_mul(figures.f_frsize)
    }

    fn is_exclusive(&self) -> bool {
        self.lock.is_some()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
