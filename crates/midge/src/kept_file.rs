//! A file that is replaced in one step, as what it was: its owner, its mode, and where a link leads to it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::failure::plain;
use crate::terminal;

/// What a new file may be read by until it has the mode of the old one: its owner.
const NEW_MODE: u32 = 0o600;

/// Creates a file that does not exist, with the whole text or not at all.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when there is something of that name.
pub(crate) fn create(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let (temporary, mut file) = temporary(path, mode)?;
    let temporary = Temporary {
        path: Some(temporary),
    };
    file.write_all(text)?;
    file.sync_all()?;
    // A link fails where a file is; to rename would replace it.
    let linked = match &temporary.path {
        Some(temporary) => fs::hard_link(temporary, path),
        None => Ok(()),
    };
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            // Not every file system has links.
            create_in_place(path, text, mode)?;
        }
        linked => linked?,
    }
    sync_folder(path);
    Ok(())
}

fn create_in_place(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// A file that exists, and is to be changed.
#[derive(Debug)]
pub(crate) struct KeptFile {
    /// What it is, for messages: `password file`.
    what: &'static str,
    /// As it was given, for messages.
    given: PathBuf,
    /// Behind all links.
    real: PathBuf,
    /// One byte more than this is read of it at most.
    bytes_max: usize,
}

impl KeptFile {
    /// Finds the file and sees that it can be read.
    ///
    /// # Errors
    /// In words, with the path.
    pub(crate) fn open(what: &'static str, path: &Path, bytes_max: usize) -> Result<Self, String> {
        let real = fs::canonicalize(path).map_err(|error| {
            format!(
                "Unable to open {what} {}. {}.",
                path.display(),
                plain(&error)
            )
        })?;
        let this = Self {
            what,
            given: path.to_owned(),
            real,
            bytes_max,
        };
        this.read_locked()?;
        Ok(this)
    }

    /// Writes what `change` makes of the text; when that is done, says so with `said`. Other processes with
    /// this program wait meanwhile; if somebody else has changed the file, nothing is written.
    ///
    /// # Errors
    /// That of `change`, or what went wrong with the file, in words and with its path.
    pub(crate) fn change<T, E: From<String>>(
        &self,
        said: impl FnOnce(&T),
        change: impl FnOnce(&[u8]) -> Result<(Vec<u8>, T), E>,
    ) -> Result<(), E> {
        let (file, text) = self.read_locked()?;
        let (changed, done) = change(&text)?;
        self.replace(&file, &changed).map_err(|error| {
            format!(
                "Unable to write {} {}. {error}.",
                self.what,
                self.given.display()
            )
        })?;
        said(&done);
        Ok(())
    }

    /// The file with a lock on it, and its text.
    fn read_locked(&self) -> Result<(File, Vec<u8>), String> {
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
                let most = u64::try_from(self.bytes_max).unwrap_or(u64::MAX);
                (&file)
                    .take(most.saturating_add(1))
                    .read_to_end(&mut text)?;
                return Ok((file, text));
            }
        };
        read().map_err(|error| {
            format!(
                "Unable to open {} {}. {}.",
                self.what,
                self.given.display(),
                plain(&error)
            )
        })
    }

    fn replace(&self, old: &File, text: &[u8]) -> Result<(), String> {
        let says = |error: io::Error| format!("{}. It is as it was", plain(&error));
        let before = old.metadata().map_err(says)?;
        let (path, new) = match temporary(&self.real, NEW_MODE) {
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

/// A new file beside `path`.
fn temporary(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let number = u64::from_le_bytes(random);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{number:016x}"));
    let temporary = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let file = options.open(&temporary)?;
    Ok((temporary, file))
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
