//! How much memory this process has, and how much it can have.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Tells how many bytes of this process are in memory. It holds one descriptor, so that it can tell when
/// there are no others.
#[derive(Debug)]
pub struct Resident(File);

impl Resident {
    /// Opens the system's account of the calling process; after a fork it still is that of the parent.
    ///
    /// # Errors
    /// Those of the system for opening a file; [`io::ErrorKind::NotFound`] where it has no such account.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/status").map(Self)
    }

    /// Bytes of the process that are in memory; `None` if the system does not say.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        // Its line comes within the first 1,000 bytes.
        let mut status = [0; 4096];
        let length = self.0.read_at(&mut status, 0).ok()?;
        let status = String::from_utf8_lossy(status.get(..length)?);
        kibibytes(&status, "VmRSS:")
    }
}

/// Bytes that this process can have: those of the machine, or of its control group if that has fewer; `None`
/// where the system does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| kibibytes(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_limit(&groups, &|path| fs::read_to_string(path).ok());
    [machine, group].into_iter().flatten().min()
}

/// Has the allocator give back to the system what it keeps without need. It takes a while with much memory.
#[expect(
    unsafe_code,
    reason = "the C library has no other way to it, and without it memory that was freed in small pieces \
              stays with the process: a limit that was reached once would hold for ever"
)]
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes a number, may be called at any time from any thread, and touches no memory
    // that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The value behind a name in a table of the proc file system.
fn kibibytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of the control groups (version 2, or the memory controller of version 1) that a process
/// is in, by its table of them.
fn group_limit(groups: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut folder = PathBuf::from(format!("{root}{path}"));
        // A container may see its own group as the root, whatever its path says.
        while folder.starts_with(root) {
            let limit = read(&folder.join(file)).and_then(|text| text.trim().parse::<u64>().ok());
            limits.extend(limit);
            folder.pop();
        }
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, setrlimit};

    use super::*;
    use crate::testing::in_own_process;

    #[test]
    fn this_process_has_memory_and_less_than_there_is() {
        let resident = Resident::open().unwrap();
        let before = resident.bytes().unwrap();
        assert!(before > 100_000 && before < available().unwrap());
        let more = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(
            resident.bytes().unwrap() > before + (32 << 20),
            "it is read anew"
        );
        drop(more);
        give_back();
    }

    #[test]
    fn memory_is_told_when_there_are_no_descriptors() {
        if !in_own_process("memory::tests::memory_is_told_when_there_are_no_descriptors") {
            return;
        }
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        let resident = Resident::open().unwrap();
        let mut hoard = Vec::new();
        hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        assert!(Resident::open().is_err());
        assert!(resident.bytes().is_some());
    }

    #[test]
    fn a_table_gives_bytes() {
        let table = "Name:\tx\nVmRSS:\t    2048 kB\nVmSize: x kB\n";
        assert_eq!(kibibytes(table, "VmRSS:"), Some(2_097_152));
        assert_eq!(kibibytes(table, "VmSize:"), None);
        assert_eq!(kibibytes(table, "Absent:"), None);
    }

    #[test]
    fn the_lowest_limit_of_all_groups_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("4096\n".to_owned()),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes" => Some("1024\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_limit("0::/a/b\n", &read), Some(4096));
        assert_eq!(group_limit("0::/elsewhere\n", &read), None);
        assert_eq!(group_limit("5:cpu,memory:/x/y\n", &read), Some(1024));
        assert_eq!(group_limit("nonsense\n", &read), None);
    }
}
