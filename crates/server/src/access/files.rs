//! Files that decide about access: reading them, noticing that they change, and writing one safely.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::ListenerSettings;
use crate::log::{Kind, Logger};

/// The largest file that is read.
const BYTES_MAX: u64 = 64 << 20;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The stamp of a file; `None` for one that is not there.
    pub(crate) fn look(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of)
    }
}

/// Reads a file, with the stamp of what was read.
///
/// # Errors
/// What is to be told about it, with the file's name.
pub(crate) fn read(what: &str, path: &Path) -> Result<(Vec<u8>, Stamp), String> {
    let fail = |error: &dyn std::fmt::Display| {
        format!(
            "Error: Unable to open {what} \"{}\": {error}.",
            path.display()
        )
    };
    let file = File::open(path).map_err(|error| fail(&error))?;
    let metadata = file.metadata().map_err(|error| fail(&error))?;
    if metadata.is_dir() {
        return Err(fail(&"it is a directory"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(&error))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(fail(&"it is too large"));
    }
    Ok((bytes, Stamp::of(&metadata)))
}

/// Password and access files that were read before the broker gave up the rights of root.
#[derive(Default)]
pub(crate) struct ReadAhead(HashMap<PathBuf, (Vec<u8>, Stamp)>);

impl ReadAhead {
    /// Reads what can be read of the files of these listeners; faults are told when they are needed.
    pub(crate) fn of<'a>(listeners: impl Iterator<Item = &'a ListenerSettings>) -> Self {
        let paths = listeners.flat_map(|settings| [&settings.password_file, &settings.acl_file]);
        let mut files = HashMap::new();
        for path in paths.flatten() {
            if let Ok(content) = read("file", path) {
                files.insert(path.clone(), content);
            }
        }
        Self(files)
    }

    /// Reads a file, or gives what was read before if this process may not read it any more.
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn read(
        &self,
        what: &str,
        path: &Path,
        logger: &Logger,
    ) -> Result<(Vec<u8>, Stamp), String> {
        let fault = match read(what, path) {
            Ok(content) => return Ok(content),
            Err(fault) => fault,
        };
        let content = self.0.get(path).ok_or(fault)?;
        let text = format!(
            "Warning: {} can be read by root alone. It holds until the broker ends, but cannot be read \
             again: let the user that the broker runs as read it.",
            path.display()
        );
        logger.log(Kind::Warning, text);
        Ok(content.clone())
    }
}

/// Replaces a file as a whole: after a crash there is the old one or the new one. A new file is for its
/// owner alone, another keeps its mode.
///
/// # Errors
/// Those of the system.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a link points to is replaced, not the link.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = fs::metadata(&real).map_or(0o600, |metadata| metadata.mode() & 0o777);
    let mut name = real.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new: PathBuf = real.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &real)
    })();
    if written.is_err() {
        // It is of no use to anybody; that it may stay behind changes nothing.
        let _ = fs::remove_file(&new);
    }
    written?;
    if let Some(folder) = real
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dynsec.json");
        replace(&path, b"first").unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = Stamp::look(&path);
        replace(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(mode(), 0o640);
        assert_ne!(Stamp::look(&path), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read("pwfile", &folder.path().join("nobody")).unwrap_err();
        assert!(missing.contains("Unable to open pwfile"), "{missing}");
        assert!(missing.contains("nobody"), "{missing}");
        let directory = read("acl_file", folder.path()).unwrap_err();
        assert!(directory.contains("directory"), "{directory}");
    }

    #[test]
    fn a_file_that_can_be_read_no_more_holds_as_it_was_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        fs::write(&path, b"alice:x").unwrap();
        let settings = ListenerSettings {
            password_file: Some(path.clone()),
            ..ListenerSettings::default()
        };
        let ahead = ReadAhead::of([&settings].into_iter());
        fs::remove_file(&path).unwrap();
        let logger = Logger::disabled();
        let (bytes, _) = ahead.read("pwfile", &path, &logger).unwrap();
        assert_eq!(bytes, b"alice:x");
        assert!(ReadAhead::default().read("pwfile", &path, &logger).is_err());
    }
}
