//! The core behind its lock, and who holds it.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use midge_proto::Time;

use crate::core::{Core, Farewell};

/// What all handles of one client share. Every call takes the lock for a short while; nothing waits
/// under it.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Time zero of the core's clock.
    start: Instant,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Arc<Self> {
        Arc::new(Self {
            core: Mutex::new(core),
            start: Instant::now(),
        })
    }

    /// Lets `call` change the core, then wakes whom that concerns.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Core, Time) -> R) -> R {
        let now = self.now();
        self.enter(|core| call(core, now))
    }

    /// As [`Self::with`], for what has nothing to do with time: a clock is not free.
    pub(crate) fn enter<R>(&self, call: impl FnOnce(&mut Core) -> R) -> R {
        // A panic under the lock would be ours; the core is still whole enough to end in order.
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let result = call(&mut core);
        let wakers = core.wakers();
        if wakers.len() <= 1 {
            let waker = wakers.pop();
            drop(core);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else {
            let wakers = mem::take(wakers);
            drop(core);
            for waker in wakers {
                waker.wake();
            }
        }
        result
    }

    pub(crate) fn now(&self) -> Time {
        let millis = self.start.elapsed().as_millis();
        Time(u64::try_from(millis).unwrap_or(u64::MAX - 1))
    }

    /// A moment of the core's clock on the system's.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        // Far away is far enough.
        let millis = time.0.min(self.now().0 + 86_400_000);
        self.start + Duration::from_millis(millis)
    }
}

/// Does something when it is dropped, e.g. with the future that it is in.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Kept by everything that keeps a client going. The last one to go begins an orderly end.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.with(|core, now| {
            let deadline = now + core.options().linger;
            if core.ending().is_none() && !core.is_shutting_down() {
                core.shut_down(now, deadline, Farewell::default(), None);
            }
        });
    }
}

/// With which the application acknowledges a message by itself.
#[derive(Clone)]
pub(crate) struct Receipt(Arc<Owed>);

struct Owed {
    shared: Arc<Shared>,
    sequence: u64,
    is_done: AtomicBool,
}

impl Receipt {
    pub(crate) fn new(shared: &Arc<Shared>, sequence: u64) -> Self {
        Self(Arc::new(Owed {
            shared: Arc::clone(shared),
            sequence,
            is_done: AtomicBool::new(false),
        }))
    }

    pub(crate) fn acknowledge(&self) {
        if !self.0.is_done.swap(true, Ordering::Relaxed) {
            let sequence = self.0.sequence;
            self.0.shared.enter(|core| core.acknowledge(sequence));
        }
    }
}
