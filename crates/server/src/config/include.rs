//! The files that a configuration is read from.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest configuration file in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Whether a file may include others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The file that the operator named.
    Top,
    /// A file of `include_dir`.
    Included,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is a directory.
    Directory,
    /// For this reason.
    Failed(String),
}

/// Where files come from.
pub(super) trait Files {
    /// Reads a file.
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable>;

    /// Lists the configuration files of a directory in the order in which they are read, or says
    /// why it cannot.
    fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, String>;
}

/// The file system; relative paths start in the working directory, as in Mosquitto.
pub(super) struct Disk;

/// No files: for a text that did not come from one.
pub(super) struct NoFiles;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        let failed = |error: std::io::Error| Unreadable::Failed(error.to_string());
        if path.is_dir() {
            return Err(Unreadable::Directory);
        }
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(failed)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX) {
            Ok(bytes)
        } else {
            let reason = format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20);
            Err(Unreadable::Failed(reason))
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| error.to_string())? {
            let name = entry.map_err(|error| error.to_string())?.file_name();
            if is_config_name(&name) {
                names.push(name);
            }
        }
        names.sort_by(|left, right| order(left.as_encoded_bytes(), right.as_encoded_bytes()));
        Ok(names.iter().map(|name| directory.join(name)).collect())
    }
}

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<Vec<u8>, Unreadable> {
        Err(Unreadable::Failed("there are no files here".to_owned()))
    }

    fn list(&self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Err("this text did not come from a file, so it cannot include others".to_owned())
    }
}

fn is_config_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() > b".conf".len() && name.ends_with(b".conf")
}

/// Orders file names as Mosquitto does: by letter, the capital before the small one.
fn order(left: &[u8], right: &[u8]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        let by_letter = left
            .to_ascii_uppercase()
            .cmp(&right.to_ascii_uppercase())
            .then(left.cmp(right));
        if by_letter != Ordering::Equal {
            return by_letter;
        }
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_mosquittos_order() {
        let mut names = vec![
            "b.conf", "aa.conf", "B.conf", "a.conf", "Ab.conf", "10.conf", "2.conf",
        ];
        names.sort_by(|left, right| order(left.as_bytes(), right.as_bytes()));
        let expected = [
            "10.conf", "2.conf", "Ab.conf", "a.conf", "aa.conf", "B.conf", "b.conf",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn only_names_that_end_in_conf_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.conf", ".conf", "b.CONF", "c.conf~", "d.conf", "conf"] {
            fs::write(directory.path().join(name), "").expect("written");
        }
        let files = Disk.list(directory.path()).expect("listed");
        let expected = ["a.conf", "d.conf"].map(|name| directory.path().join(name));
        assert_eq!(files, expected);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Disk.read(directory.path()), Err(Unreadable::Directory));
        let missing = directory.path().join("missing");
        assert!(matches!(Disk.read(&missing), Err(Unreadable::Failed(_))));
        assert!(Disk.list(&missing).is_err());
        let large = directory.path().join("large");
        let file = File::create(&large).expect("created");
        file.set_len(FILE_BYTES_MAX + 1).expect("grown");
        assert!(matches!(Disk.read(&large), Err(Unreadable::Failed(_))));
    }
}
