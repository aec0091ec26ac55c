//! Handing batches of messages to another core.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Waker;

/// A buffer above this many messages is given back when it turned out far too large.
const KEPT_CAPACITY: usize = 1024;

/// When a mailbox asks its producers to pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages waiting.
    pub messages: usize,
    /// Bytes waiting, as counted by the producers.
    pub bytes: usize,
}

/// What a mailbox says to a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a full mailbox asks to pause reading from the publishers concerned"]
pub enum Pressure {
    /// There is room.
    Free,
    /// A bound has been reached: pause reading from those whose messages go here. The producer's
    /// waker is called when there is room again.
    Full,
}

/// The owner's end of a mailbox of one core.
///
/// Producers add whole batches; the owner takes all that waits once per turn. The bounds lose
/// nothing: what was accepted from a publisher can always be pushed, so a mailbox holds at most the
/// bound and one batch per producer that has not heard [`Pressure::Full`] yet; as much again is with
/// the owner, who has taken it. Batches of one producer arrive in their order.
///
/// When the mailbox is dropped, waiting producers are woken, and what is pushed later is dropped.
#[derive(Debug)]
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
}

/// One producer's end of a mailbox.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    /// Called when there is room again.
    producer: Option<Waker>,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    // Both are written under the lock only, and are read without it.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Set under the lock when the owner has gone.
    closed: AtomicBool,
    bounds: Bounds,
    owner: Waker,
}

#[derive(Debug)]
struct Queue<T> {
    messages: Vec<T>,
    /// Producers that heard [`Pressure::Full`] and wait for room.
    waiting: Vec<Waker>,
}

impl<T> Mailbox<T> {
    /// Makes the mailbox of the core that `owner` wakes.
    ///
    /// Bounds of 0 count as 1: a mailbox that is never free would pause its producers for ever.
    #[must_use]
    pub fn new(bounds: Bounds, owner: Waker) -> Self {
        let bounds = Bounds {
            messages: bounds.messages.max(1),
            bytes: bounds.bytes.max(1),
        };
        let queue = Queue {
            messages: Vec::new(),
            waiting: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::new(queue),
                messages: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                closed: AtomicBool::new(false),
                bounds,
                owner,
            }),
        }
    }

    /// Makes an end for the producer that `producer` wakes.
    ///
    /// A producer without a poller gives none, and must ask [`Sender::is_full`] from time to time
    /// if it pauses.
    #[must_use]
    pub fn sender(&self, producer: Option<Waker>) -> Sender<T> {
        Sender {
            shared: Arc::clone(&self.shared),
            producer,
        }
    }

    /// Whether nothing waits. Sequentially consistent, as [`Waker`] asks of what is looked at before
    /// sleeping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.messages.load(SeqCst) == 0
    }

    /// Takes all that waits into `into`, oldest first, and lets waiting producers go on.
    ///
    /// `into` is emptied first; pass the same vector each turn, so that two buffers go back and forth
    /// and nothing is allocated.
    ///
    /// # Errors
    /// Those of [`Waker::wake`] for a waiting producer; the messages have been taken nevertheless.
    pub fn take(&self, into: &mut Vec<T>) -> io::Result<()> {
        into.clear();
        // After a burst, two large empty buffers per core would stay for ever.
        if into.capacity() > KEPT_CAPACITY
            && self.shared.messages.load(Relaxed) < into.capacity() / 16
        {
            *into = Vec::new();
        }
        if self.is_empty() {
            return Ok(());
        }
        let mut queue = self.shared.lock();
        mem::swap(&mut queue.messages, into);
        let waiting = mem::take(&mut queue.waiting);
        self.shared.messages.store(0, SeqCst);
        self.shared.bytes.store(0, Relaxed);
        drop(queue);
        // All are woken even if one cannot be.
        waiting.iter().map(Waker::wake).fold(Ok(()), Result::and)
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        self.shared.closed.store(true, Relaxed);
        let messages = mem::take(&mut queue.messages);
        let waiting = mem::take(&mut queue.waiting);
        self.shared.messages.store(0, SeqCst);
        self.shared.bytes.store(0, Relaxed);
        drop(queue);
        drop(messages);
        for producer in waiting {
            // A producer that cannot be woken has gone as well.
            let _ = producer.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Adds all of `batch`, which is left empty with its capacity, and wakes the owner.
    ///
    /// `bytes` is what the batch holds in memory, by the producer's own count. After
    /// [`Pressure::Full`] the producer's waker is called once there is room.
    ///
    /// # Errors
    /// Those of [`Waker::wake`] for the owner; the batch has been added nevertheless.
    pub fn push_batch(&self, batch: &mut Vec<T>, bytes: usize) -> io::Result<Pressure> {
        if batch.is_empty() {
            return Ok(self.pressure());
        }
        let mut queue = self.shared.lock();
        if self.shared.closed.load(Relaxed) {
            drop(queue);
            batch.clear();
            return Ok(Pressure::Free);
        }
        queue.messages.append(batch);
        self.shared.messages.store(queue.messages.len(), SeqCst);
        let bytes_before = self.shared.bytes.load(Relaxed);
        self.shared
            .bytes
            .store(bytes_before.saturating_add(bytes), Relaxed);
        let pressure = self.pressure_under_lock(&mut queue);
        drop(queue);
        self.shared.owner.wake()?;
        Ok(pressure)
    }

    /// Asks for room without pushing; after [`Pressure::Full`] the producer's waker is called once
    /// there is. Takes the lock only when the mailbox is full.
    pub fn pressure(&self) -> Pressure {
        if self.is_full() {
            self.pressure_under_lock(&mut self.shared.lock())
        } else {
            Pressure::Free
        }
    }

    /// Whether a bound has been reached, without a lock and without asking to be woken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.messages.load(Relaxed) >= self.shared.bounds.messages
            || self.shared.bytes.load(Relaxed) >= self.shared.bounds.bytes
    }

    /// The number of messages waiting, without a lock.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.messages.load(Relaxed)
    }

    /// Whether no message waits, without a lock.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides under the lock, so that the owner cannot empty the mailbox between the look and the
    /// entry in the waiting list.
    fn pressure_under_lock(&self, queue: &mut Queue<T>) -> Pressure {
        if self.shared.closed.load(Relaxed) || !self.is_full() {
            return Pressure::Free;
        }
        if let Some(producer) = &self.producer
            && !queue
                .waiting
                .iter()
                .any(|waiting| waiting.wakes_same(producer))
        {
            queue.waiting.push(producer.clone());
        }
        Pressure::Full
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            producer: self.producer.clone(),
        }
    }
}

impl<T> Shared<T> {
    /// A producer that panicked (out of memory while appending) leaves a valid vector behind.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
