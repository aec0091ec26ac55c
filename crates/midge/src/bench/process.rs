//! What a process has used, from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// A process's use so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all threads that it had, user and system, in hundredths of a second.
    cpu: Duration,
    /// The same of the threads that it has, exactly.
    exact: Option<Duration>,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

/// Linux counts in hundredths of a second here, whatever its timer does.
const TICK: Duration = Duration::from_millis(10);

/// User and system time are rounded each by itself, at both ends of a span.
const ROUNDING: Duration = Duration::from_millis(40);

impl Usage {
    /// Looks at process `pid` (`self` for this one); `None` where it or `/proc` is missing.
    pub(crate) fn of(pid: &str) -> Option<Self> {
        let folder = Path::new("/proc").join(pid);
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        Some(Self {
            cpu: cpu(&stat)?,
            exact: exact(&folder.join("task")),
            resident: resident(&status)?,
        })
    }

    /// Processor time since an earlier look. It is exact unless a thread has ended in between, whose
    /// exact time is gone with it.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        let exact = self.exact.zip(earlier.exact);
        exact
            .and_then(|(now, before)| now.checked_sub(before))
            .filter(|exact| exact.abs_diff(cpu) <= ROUNDING)
            .unwrap_or(cpu)
    }
}

/// The sum over the threads of a process.
fn exact(tasks: &Path) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir(tasks).ok()? {
        // A thread may end while we look.
        if let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) {
            sum = sum.checked_add(on_cpu(&text)?)?;
        }
    }
    (!sum.is_zero()).then_some(sum)
}

/// The first number of a thread's `schedstat`: nanoseconds on a processor.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    let nanos = schedstat.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
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

    #[test]
    fn processor_time_is_exact_unless_a_thread_has_ended() {
        let usage = |cpu, exact| Usage {
            cpu: Duration::from_millis(cpu),
            exact: Some(Duration::from_micros(exact)),
            resident: 0,
        };
        let before = usage(100, 112_345);
        let span = usage(230, 243_400).cpu_since(&before);
        assert_eq!(span, Duration::from_micros(131_055));
        let span = usage(230, 50_000).cpu_since(&before);
        assert_eq!(span, Duration::from_millis(130));
        let span = usage(230, 150_000).cpu_since(&before);
        assert_eq!(span, Duration::from_millis(130));
        assert_eq!(on_cpu("1500 7 3\n"), Some(Duration::from_nanos(1500)));
    }
}
