//! Where a run happens, and the programs that it uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::broker::{Broker, Kind};
use crate::Outcome;

/// What all parts are given.
pub(super) struct Place<'a> {
    /// The disk that is measured.
    pub(super) directory: &'a Path,
    pub(super) programs: &'a Path,
    pub(super) rounds: u32,
    pub(super) quick: bool,
}

/// A new folder, which goes with this value.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is found by who looks for room.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Place<'_> {
    /// Makes a folder that nobody has used.
    pub(super) fn folder(&self) -> Outcome<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("store-{}-{number}", std::process::id());
        let path = self.directory.join(name);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }

    pub(super) fn size<N>(&self, full: N, quick: N) -> N {
        if self.quick { quick } else { full }
    }

    /// Runs `midge bench` against a broker and gives its report; a run that loses, repeats or disorders
    /// messages is an error.
    pub(super) fn bench(&self, broker: &Broker, arguments: &[&str]) -> Outcome<String> {
        let mut command = self.command("midge");
        command
            .arg("bench")
            .args(arguments)
            .args(["-h", "127.0.0.1", "-p", &broker.port.to_string()])
            .args(["--pid", &broker.pid().to_string(), "--json", "--quiet"]);
        output(&mut command)
    }

    /// The bare loop over as many records, in a new folder: its report.
    pub(super) fn bare_log(&self, of: &Bare) -> Outcome<String> {
        let folder = self.folder()?;
        let mut command = self.command("midge-bare-log");
        command
            .arg(folder.path().join("log"))
            .args(["--bytes", &of.bytes.to_string()])
            .args(["--records", &of.records.to_string()])
            .args(["--batch", &of.batch.to_string()]);
        if of.overwrite {
            command.arg("--overwrite");
        }
        output(&mut command)
    }

    /// Fills a folder with a store; the report.
    pub(super) fn fill(&self, folder: &Folder, arguments: &[&str]) -> Outcome<String> {
        let mut command = self.command("midge-scale");
        command
            .args(["store", "--json", "--directory"])
            .arg(folder.path())
            .args(arguments);
        output(&mut command)
    }

    /// Starts a broker with its state in `folder`.
    pub(super) fn start(&self, kind: Kind, folder: &Folder) -> Outcome<Broker> {
        Broker::start(kind, &self.programs.join("midge"), folder.path())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.stdin(Stdio::null());
        command
    }
}

/// A run of the bare loop.
#[derive(Clone, Copy)]
pub(super) struct Bare {
    pub(super) bytes: u64,
    pub(super) records: u64,
    pub(super) batch: u64,
    pub(super) overwrite: bool,
}

fn output(command: &mut Command) -> Outcome<String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(report);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{command:?}: {} {} {}",
        output.status,
        errors.trim(),
        report.trim()
    ))
}

/// Bytes that the files of a folder and of those in it take on the disk.
pub(super) fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It went meanwhile.
        Err(_) => 0,
    });
    bytes.sum()
}

/// The number of the row `name` in a report of `midge-scale`.
pub(super) fn row(report: &str, name: &str) -> Option<f64> {
    let (_, rest) = report.split_once(&format!("\"name\":\"{name}\",\"value\":"))?;
    rest.split([',', '}']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_name() {
        let report = "{\"scenario\":\"store\",\"rows\":[{\"name\":\"sessions\",\"value\":5,\
                      \"unit\":\"\"},{\"name\":\"files\",\"value\":1.5,\"unit\":\"MB\"}]}";
        assert_eq!(row(report, "files"), Some(1.5));
        assert_eq!(row(report, "sessions"), Some(5.0));
        assert_eq!(row(report, "shards"), None);
    }

    #[test]
    fn a_folder_goes_with_its_value() {
        let place = Place {
            directory: &std::env::temp_dir(),
            programs: Path::new(""),
            rounds: 1,
            quick: true,
        };
        let folder = place.folder().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("file"), [1; 5000]).unwrap();
        assert!(disk_bytes(&path) >= 4096);
        drop(folder);
        assert!(!path.exists());
    }
}
