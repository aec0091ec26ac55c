//! What a process has used, from `/proc`.

use std::fs;
use std::time::Duration;

/// A process's use so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all its threads, user and system.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

/// Linux counts in hundredths of a second here, whatever its timer does.
const TICK: Duration = Duration::from_millis(10);

impl Usage {
    /// Looks at process `pid` (`self` for this one); `None` where it or `/proc` is missing.
    pub(crate) fn of(pid: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self {
            cpu: cpu(&stat)?,
            resident: resident(&status)?,
        })
    }
}

fn cpu(stat: &str) -> Option<Duration> {
    // The name, in brackets, may hold anything; the numbers follow its last bracket.
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut numbers = numbers.split_ascii_whitespace().skip(11);
    let user: u32 = numbers.next()?.parse().ok()?;
    let system: u32 = numbers.next()?.parse().ok()?;
    TICK.checked_mul(user.checked_add(system)?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_numbers() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 5 0 0 0 12 30 0 0 20 0 1 0 9 9 9";
        assert_eq!(cpu(stat), Some(Duration::from_millis(420)));
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
