//! One thread per core.

use std::io;
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How many cores this process may use, by affinity and by what a container grants; at least 1.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The processor time of the calling thread since it started; `None` where the system does not tell.
#[must_use]
pub fn thread_cpu_time() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeValLike;

        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        Some(Duration::from_micros(u64::try_from(micros).ok()?))
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Starts a thread that debuggers and `top -H` show as `name`, of which Linux keeps 15 bytes.
///
/// # Errors
/// Those of the system for a new thread, and a `name` that contains a zero byte.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    if name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_at_least_one_core() {
        assert!(cores() >= 1);
    }

    #[test]
    fn the_time_of_a_thread_is_its_own() {
        let Some(before) = thread_cpu_time() else {
            return;
        };
        let other = thread::spawn(|| {
            let mut sum = 0_u64;
            for number in 0..20_000_000 {
                sum = std::hint::black_box(sum.wrapping_add(number));
            }
            thread_cpu_time()
        });
        let other = other.join().unwrap().unwrap();
        let own = thread_cpu_time().unwrap() - before;
        assert!(own < other, "{own:?} {other:?}");
    }

    #[test]
    fn a_thread_has_the_name_it_was_given() {
        let thread = spawn("worker 3", || thread::current().name().map(str::to_owned)).unwrap();
        assert_eq!(thread.join().unwrap().as_deref(), Some("worker 3"));
        assert_eq!(
            spawn("a\0b", || ()).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
