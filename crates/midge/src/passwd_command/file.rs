//! A file that is replaced in one step, as what it was: its owner, its mode, and where a link leads to it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use midge_access::lines::FILE_BYTES_MAX;

use super::Failure;
use crate::failure::plain;
use crate::terminal;

/// What a new file may be read by: its owner.
const NEW_MODE: u32 = 0o600;

/// Fails when there is a file already.
pub(super) fn check_is_new(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(unable_to_create(path, "File exists")),
        Err(_) => Ok(()),
    }
}

/// Creates a file that does not exist.
pub(super) fn create(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let fail = |error: io::Error| unable_to_create(path, &plain(&error));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(NEW_MODE);
    let mut file = options.open(path).map_err(fail)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(fail(error));
    }
    sync_folder(path);
    Ok(())
}

fn unable_to_create(path: &Path, why: &str) -> Failure {
    let hint = if why == "File exists" {
        " Leave -c out to change it, or remove it first."
    } else {
        ""
    };
    Failure::new(format!(
        "Unable to open file {} for writing. {why}.{hint}",
        path.display()
    ))
}

/// A password file that exists.
#[derive(Debug)]
pub(super) struct PasswordPath {
    /// As it was given, for messages.
    given: PathBuf,
    /// Behind all links.
    real: PathBuf,
}

impl PasswordPath {
    /// Finds the file and sees that it can be read.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let fail = |why: &str| {
            Failure::new(format!(
                "Unable to open password file {}. {why}.",
                path.display()
            ))
        };
        let real = fs::canonicalize(path).map_err(|error| fail(&plain(&error)))?;
        let this = Self {
            given: path.to_owned(),
            real,
        };
        this.read_locked()?;
        Ok(this)
    }

    /// Writes what `change` makes of the text; when that is done, says so with `said`. Other processes with
    /// this program wait meanwhile; if somebody else has changed the file, nothing is written.
    pub(super) fn change<T>(
        &self,
        said: impl FnOnce(&T),
        change: impl FnOnce(&[u8]) -> Result<(Vec<u8>, T), Failure>,
    ) -> Result<(), Failure> {
        let (file, text) = self.read_locked()?;
        let (changed, done) = change(&text)?;
        self.replace(&file, &changed).map_err(|error| {
            Failure::new(format!(
                "Unable to write password file {}. {error}.",
                self.given.display()
            ))
        })?;
        said(&done);
        Ok(())
    }

    /// The file with a lock on it, and its text.
    fn read_locked(&self) -> Result<(File, Vec<u8>), Failure> {
        let fail = |why: &str| {
            Failure::new(format!(
                "Unable to open password file {}. {why}.",
                self.given.display()
            ))
        };
        let read = || -> io::Result<(File, Vec<u8>)> {
            loop {
                let file = File::open(&self.real)?;
                if !file.metadata()?.is_file() {
                    return Err(io::Error::other("It is not a file"));
                }
                file.lock()?;
                // Who held the lock before may have put another file in its place.
                if !is_same(&file.metadata()?, &fs::metadata(&self.real)?) {
                    continue;
                }
                let mut text = Vec::new();
                let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
                (&file)
                    .take(most.saturating_add(1))
                    .read_to_end(&mut text)?;
                return Ok((file, text));
            }
        };
        read().map_err(|error| fail(&plain(&error)))
    }

    fn replace(&self, old: &File, text: &[u8]) -> Result<(), String> {
        let says = |error: io::Error| format!("{}. It is as it was", plain(&error));
        let before = old.metadata().map_err(says)?;
        let (path, new) = match self.temporary() {
            Ok(made) => made,
            Err(error) if cannot_replace(&error) => return self.write_in_place(text),
            Err(error) => return Err(says(error)),
        };
        let mut temporary = Temporary { path: Some(path) };
        keep_owner_and_mode(&new, &before)?;
        (&new)
            .write_all(text)
            .and_then(|()| new.sync_all())
            .map_err(says)?;
        let now = fs::metadata(&self.real).map_err(says)?;
        let is_unchanged = is_same(&before, &now)
            && before.len() == now.len()
            && (before.mtime(), before.mtime_nsec()) == (now.mtime(), now.mtime_nsec());
        if !is_unchanged {
            return Err("Somebody else has changed it just now; try again".into());
        }
        let Some(path) = temporary.path.as_deref() else {
            return Ok(());
        };
        match fs::rename(path, &self.real) {
            Ok(()) => {
                temporary.path = None;
                sync_folder(&self.real);
                Ok(())
            }
            Err(error) if cannot_replace(&error) => self.write_in_place(text),
            Err(error) => Err(says(error)),
        }
    }

    /// A new file beside the old one.
    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let number = u64::from_le_bytes(random);
        let name = self.real.file_name().unwrap_or_default();
        let mut name = name.to_owned();
        name.push(format!(".new-{number:016x}"));
        let path = self.real.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(NEW_MODE);
        let file = options.open(&path)?;
        Ok((path, file))
    }

    /// For a file whose name is not ours to replace: a container's mount, or a folder of somebody else.
    fn write_in_place(&self, text: &[u8]) -> Result<(), String> {
        let write = || {
            let mut file = OpenOptions::new().write(true).open(&self.real)?;
            file.write_all(text)?;
            file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
            file.sync_all()
        };
        write().map_err(|error| {
            format!(
                "{}. It could only be written in place and may be damaged now: look at it, and restore it \
                 from a backup if need be",
                plain(&error)
            )
        })?;
        terminal::complain(&format!(
            "Note: {} was written in place, since its folder does not let it be replaced. Do not reload the \
             broker meanwhile.",
            self.given.display()
        ));
        Ok(())
    }
}

/// Whether the file can be written, but nothing be put in its place.
fn cannot_replace(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ResourceBusy
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::CrossesDevices
    )
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Gives `new` the owner, group and mode of the old file. A broker that could no longer read its passwords
/// would let nobody in.
fn keep_owner_and_mode(new: &File, old: &Metadata) -> Result<(), String> {
    let now = new.metadata().map_err(|error| plain(&error))?;
    if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid())).map_err(|error| {
            format!(
                "It belongs to user {} and group {}, which cannot be kept ({}); run this as that user or as \
                 root",
                old.uid(),
                old.gid(),
                plain(&error)
            )
        })?;
    }
    let mode = fs::Permissions::from_mode(old.mode() & 0o7777);
    new.set_permissions(mode).map_err(|error| plain(&error))
}

/// Makes a new name durable, as far as the file system can.
fn sync_folder(path: &Path) {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// A file that is removed unless it has got another name.
struct Temporary {
    path: Option<PathBuf>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
