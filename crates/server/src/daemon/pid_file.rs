//! The file that tells the broker's process id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

/// A pid file: opened while there is a terminal to complain to, written once the process has its
/// last id, removed when it ends.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens the file, or gives the line for the log.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|error| fault(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes this process's id.
    pub(super) fn write(mut self) -> Result<Self, String> {
        self.file
            .set_len(0)
            .and_then(|()| write!(self.file, "{}", process::id()))
            .map_err(|error| fault(&self.path, &error))?;
        Ok(self)
    }

    /// Removes the file. In a directory that the broker's user may not write it stays, as it does
    /// with Mosquitto.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn fault(path: &Path, error: &io::Error) -> String {
    format!(
        "Error: Unable to write pid file {}: {error}.",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_id_alone_and_goes_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("midge.pid");
        fs::write(&path, "something longer than a number").unwrap();
        let pid_file = PidFile::open(&path).unwrap().write().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            process::id().to_string()
        );
        pid_file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_with_its_path() {
        let error = PidFile::open(Path::new("/nowhere/midge.pid")).unwrap_err();
        assert!(error.starts_with("Error: Unable to write pid file /nowhere/midge.pid: "));
    }
}
