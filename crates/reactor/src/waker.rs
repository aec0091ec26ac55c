//! Ending another core's sleep, at most once per sleep.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use mio::Registry;

use crate::Key;

/// Wakes the owner of a [`Poller`](crate::Poller); free of system calls while the owner is awake.
///
/// The contract has two halves. A producer first makes its work visible, then calls
/// [`Waker::wake`]. The owner, before it sleeps, first says that it sleeps, then looks for work once
/// more ([`Poller::wait`](crate::Poller::wait) does both). Either the owner sees the work, or the
/// producer sees that the owner sleeps and pays for one `eventfd` write; later producers see that it
/// is awake already.
///
/// # Memory ordering
/// This is a store followed by a load on both sides (Dekker's pattern), for which acquire and
/// release do not suffice: each side could still miss the other's store. So the flag here is read and
/// written sequentially consistent, and what the owner looks at before it sleeps must be, too
/// ([`Mailbox::is_empty`](crate::Mailbox::is_empty) is), or be looked at under a lock that the
/// producer also takes.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// True while the owner runs its turn, or has been woken and will.
    awake: AtomicBool,
    writes: AtomicU64,
    eventfd: mio::Waker,
}

impl Waker {
    pub(crate) fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                // The owner's first turn has begun; nobody needs to wake it before it first sleeps.
                awake: AtomicBool::new(true),
                writes: AtomicU64::new(0),
                eventfd: mio::Waker::new(registry, Key::WAKER.token())?,
            }),
        })
    }

    /// Makes the owner look for work: now if it sleeps, else before it sleeps next.
    ///
    /// # Errors
    /// Those of the system for a write to the `eventfd`; the next call tries again.
    pub fn wake(&self) -> io::Result<()> {
        // The plain load keeps the cache line shared while the owner is busy, which is when most
        // messages are sent.
        if self.shared.awake.load(SeqCst) || self.shared.awake.swap(true, SeqCst) {
            return Ok(());
        }
        self.shared.writes.fetch_add(1, Relaxed);
        self.shared
            .eventfd
            .wake()
            .inspect_err(|_| self.shared.awake.store(false, SeqCst))
    }

    /// How many wake-ups have cost a system call so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Relaxed)
    }

    /// Whether both wake the same owner.
    #[must_use]
    pub fn wakes_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Says that the owner sleeps unless it finds work after this.
    pub(crate) fn fall_asleep(&self) {
        self.shared.awake.store(false, SeqCst);
    }

    /// Says that the owner runs a turn, at the end of which it looks for work by itself.
    pub(crate) fn stay_awake(&self) {
        self.shared.awake.store(true, SeqCst);
    }
}
