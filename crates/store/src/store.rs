//! The log on a thread of its own.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::{Disk, FileDisk};
use crate::event::{Event, Refused};
use crate::log::{Figures, Log, Settled, Submission, Tag, Work};
use crate::reader::Reader;
use crate::recovery::Recovery;
use crate::table::Usage;

/// The commit thread's wish: a commit that waits for its turn on a busy machine delays everybody.
const NICENESS: i32 = -10;
/// Bytes of background work in one commit.
const BACKGROUND_BYTES: usize = 64 * 1024;
/// What a piece of work weighs in the queue beside its bytes.
const WORK_OVERHEAD: usize = 128;

/// A store whose commits are made by a thread of its own.
///
/// While a sync is under way, what is handed in gathers; the next sync serves all of it. So the batch
/// grows with the load, and an idle store commits at once.
#[derive(Debug)]
pub struct Store<D: Disk = FileDisk> {
    shared: Arc<Shared>,
    reader: Reader<D>,
    thread: Option<JoinHandle<()>>,
}

/// One producer's way into the store, and where it hears of its commits.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    id: u32,
    urgency: Urgency,
    outbox: Arc<Outbox>,
    next_ticket: u64,
}

/// Which queue a writer's work goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Foreground,
    Background,
}

/// The receipt for a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a full queue asks to hand in less"]
pub struct Submitted {
    /// Comes back in [`Settled::tag`]; a writer's tickets count up from 1 and are settled in order.
    pub ticket: u64,
    /// Whether the queue is full: hand in nothing more until the waker has been called.
    pub full: bool,
}

/// The queue is at twice its bound, so the work was not taken.
#[derive(Debug)]
pub struct Busy(
    /// What was to be handed in.
    pub Work,
);

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store's queue is full")
    }
}

impl std::error::Error for Busy {}

/// How the store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Counts since the start.
    pub figures: Figures,
    /// What is kept on the disk.
    pub usage: Usage,
    /// Bytes of prepared files.
    pub spare_bytes: u64,
    /// Whether a checkpoint is worth its while.
    pub checkpoint_due: bool,
    /// Bytes that wait for a commit.
    pub queued_bytes: usize,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    writers: Mutex<HashMap<u32, Arc<Outbox>>>,
    next_writer: AtomicU32,
    status: Mutex<Status>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    foreground: Lane,
    background: Lane,
    /// The thread takes nothing more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Lane {
    work: VecDeque<Submission>,
    bytes: usize,
    /// Writers that heard that the queue is full.
    waiting: Vec<u32>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.foreground.work.is_empty() && self.background.work.is_empty()
    }

    fn lane(&mut self, urgency: Urgency) -> &mut Lane {
        match urgency {
            Urgency::Foreground => &mut self.foreground,
            Urgency::Background => &mut self.background,
        }
    }
}

impl Lane {
    /// Moves pieces to `work` until they are `bytes` or more; says whom to call back.
    fn take(
        &mut self,
        bytes: usize,
        bytes_max: usize,
        work: &mut VecDeque<Submission>,
    ) -> Vec<u32> {
        if bytes >= self.bytes && work.is_empty() {
            std::mem::swap(&mut self.work, work);
            self.bytes = 0;
        }
        let mut taken = 0;
        while taken < bytes
            && let Some(submission) = self.work.pop_front()
        {
            let weight = weight(&submission.work);
            taken += weight;
            self.bytes = self.bytes.saturating_sub(weight);
            work.push_back(submission);
        }
        if self.bytes < bytes_max {
            std::mem::take(&mut self.waiting)
        } else {
            Vec::new()
        }
    }
}

struct Outbox {
    settled: Mutex<Vec<Settled>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl<D: Disk> Store<D> {
    /// Starts the thread on a recovered store. `queue_bytes` is the bound at which writers are asked
    /// to pause; `on_event` is called on the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        recovery: Recovery<D>,
        queue_bytes: usize,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let log = Log::start(recovery);
        let reader = log.reader();
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            writers: Mutex::default(),
            next_writer: AtomicU32::new(1),
            status: Mutex::default(),
            bytes_max: queue_bytes.max(1),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                Committer {
                    log,
                    shared: for_thread,
                    on_event,
                    began: Instant::now(),
                    last_had_background: false,
                }
                .run();
            })?;
        Ok(Self {
            shared,
            reader,
            thread: Some(thread),
        })
    }

    /// Makes a way in for one producer. `wake` is called on the store's thread, at most once per
    /// commit, when something of this writer is settled or when a full queue has room again. It must
    /// not block.
    pub fn writer(&self, wake: impl Fn() + Send + Sync + 'static) -> Writer {
        self.writer_of(Urgency::Foreground, wake)
    }

    /// Makes a way in for work that may wait, such as a checkpoint that is made from the log
    /// ([`Reader::replay`]): what others have handed in goes first, every second commit at least has
    /// nothing of it while they hand in more, and none goes on after 64 KiB of it. Batches of about
    /// that size disturb others least.
    ///
    /// Its order among itself holds; work of other writers that was handed in later may be committed
    /// before it.
    pub fn background_writer(&self, wake: impl Fn() + Send + Sync + 'static) -> Writer {
        self.writer_of(Urgency::Background, wake)
    }

    fn writer_of(&self, urgency: Urgency, wake: impl Fn() + Send + Sync + 'static) -> Writer {
        let id = self.shared.next_writer.fetch_add(1, Relaxed);
        let outbox = Arc::new(Outbox {
            settled: Mutex::default(),
            wake: Box::new(wake),
        });
        lock(&self.shared.writers).insert(id, Arc::clone(&outbox));
        Writer {
            shared: Arc::clone(&self.shared),
            id,
            urgency,
            outbox,
            next_ticket: 1,
        }
    }

    /// Reads, pins and relocates records, from any thread.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        self.reader.clone()
    }

    /// How the store is doing, as of the last commit.
    #[must_use]
    pub fn status(&self) -> Status {
        let queued_bytes = {
            let queue = lock(&self.shared.queue);
            queue.foreground.bytes + queue.background.bytes
        };
        Status {
            usage: self.reader.usage(),
            queued_bytes,
            ..*lock(&self.shared.status)
        }
    }

    /// Commits what waits, syncs and ends the thread. Dropping the store does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl<D: Disk> Drop for Store<D> {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook, and every waiter was told.
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// Hands in a piece of work, without waiting.
    ///
    /// # Errors
    /// [`Busy`] when the queue is at twice its bound, which a writer meets only when it goes on in
    /// spite of [`Submitted::full`].
    pub fn submit(&mut self, work: Work) -> Result<Submitted, Busy> {
        let bytes = weight(&work);
        let bytes_max = self.shared.bytes_max;
        let mut queue = lock(&self.shared.queue);
        let lane = queue.lane(self.urgency);
        // A batch larger than the bound must still be possible: it goes in alone.
        if lane.bytes > 0 && lane.bytes + bytes > bytes_max.saturating_mul(2) {
            if !lane.waiting.contains(&self.id) {
                lane.waiting.push(self.id);
            }
            return Err(Busy(work));
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let tag = Tag {
            writer: self.id,
            ticket,
        };
        if queue.closed {
            drop(queue);
            lock(&self.outbox.settled).push(closed(Submission { tag, work }));
            (self.outbox.wake)();
            return Ok(Submitted {
                ticket,
                full: false,
            });
        }
        let first = queue.is_empty();
        let lane = queue.lane(self.urgency);
        lane.work.push_back(Submission { tag, work });
        lane.bytes += bytes;
        let full = lane.bytes >= bytes_max;
        if full && !lane.waiting.contains(&self.id) {
            lane.waiting.push(self.id);
        }
        drop(queue);
        // When there was work already, the thread is about to look by itself.
        if first {
            self.shared.arrived.notify_one();
        }
        Ok(Submitted { ticket, full })
    }

    /// Appends what has been settled since the last time, in the order of the tickets.
    pub fn take_settled(&mut self, into: &mut Vec<Settled>) {
        into.append(&mut lock(&self.outbox.settled));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared.writers).remove(&self.id);
    }
}

/// What the thread runs.
struct Committer<D: Disk, E> {
    log: Log<D>,
    shared: Arc<Shared>,
    on_event: E,
    began: Instant,
    last_had_background: bool,
}

/// Tells everybody that nothing more is committed, however the thread ends.
struct Farewell(Arc<Shared>);

impl<D: Disk, E: FnMut(Event)> Committer<D, E> {
    fn run(mut self) {
        let _farewell = Farewell(Arc::clone(&self.shared));
        // Only a privileged process may; the others go on as they are.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        let mut work = VecDeque::new();
        let mut settled = Vec::new();
        let mut more = true;
        loop {
            let (waiting, closed) = self.take(&mut work, more);
            let idle = work.is_empty();
            if !idle {
                self.log
                    .commit(self.began.elapsed(), &mut work, &mut settled);
                self.tell_status();
            }
            self.shared.deliver(&mut settled, waiting);
            if closed && idle {
                break;
            }
            // Outside of the commit that somebody waits for.
            more = self.log.maintain(self.began.elapsed());
            self.tell_events();
        }
        self.log.close(self.began.elapsed());
        self.tell_status();
        self.tell_events();
    }

    /// Takes all that waits; sleeps when there is nothing to do.
    fn take(&mut self, work: &mut VecDeque<Submission>, more: bool) -> (Vec<u32>, bool) {
        let due = self.log.next_due();
        let mut queue = lock(&self.shared.queue);
        while queue.is_empty() && !queue.closed && !more {
            let timeout = due.map(|due| due.saturating_sub(self.began.elapsed()));
            match timeout {
                Some(Duration::ZERO) => break,
                Some(timeout) => {
                    queue = self
                        .shared
                        .arrived
                        .wait_timeout(queue, timeout)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                None => {
                    queue = self
                        .shared
                        .arrived
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let bytes_max = self.shared.bytes_max;
        let mut waiting = queue.foreground.take(usize::MAX, bytes_max, work);
        self.last_had_background = work.is_empty() || !self.last_had_background;
        if self.last_had_background {
            waiting.append(&mut queue.background.take(BACKGROUND_BYTES, bytes_max, work));
        }
        (waiting, queue.closed)
    }

    fn tell_status(&self) {
        let mut status = lock(&self.shared.status);
        status.figures = self.log.figures();
        status.spare_bytes = self.log.spare_bytes();
        status.checkpoint_due = self.log.checkpoint_due();
    }

    fn tell_events(&mut self) {
        for event in self.log.take_events() {
            (self.on_event)(event);
        }
    }
}

impl Shared {
    /// Gives each writer its answers and wakes it once.
    fn deliver(&self, settled: &mut Vec<Settled>, waiting: Vec<u32>) {
        let mut wake = waiting;
        {
            let writers = lock(&self.writers);
            for answer in settled.drain(..) {
                let id = answer.tag.writer;
                // A writer that is gone does not want to know.
                if let Some(outbox) = writers.get(&id) {
                    lock(&outbox.settled).push(answer);
                    wake.push(id);
                }
            }
        }
        wake.sort_unstable();
        wake.dedup();
        for id in wake {
            let outbox = lock(&self.writers).get(&id).cloned();
            if let Some(outbox) = outbox {
                (outbox.wake)();
            }
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.closed = true;
        let mut left = VecDeque::new();
        let mut waiting = queue.foreground.take(usize::MAX, usize::MAX, &mut left);
        waiting.append(&mut queue.background.take(usize::MAX, usize::MAX, &mut left));
        drop(queue);
        let mut settled = left.into_iter().map(closed).collect();
        self.0.deliver(&mut settled, waiting);
    }
}

fn closed(submission: Submission) -> Settled {
    Settled {
        tag: submission.tag,
        outcome: Err(Refused::Closed),
        batch: match submission.work {
            Work::Append(batch) => Some(batch),
            Work::BeginCheckpoint | Work::FinishCheckpoint(_) => None,
        },
    }
}

fn weight(work: &Work) -> usize {
    let bytes = match work {
        Work::Append(batch) => batch.bytes() + batch.len() * size_of::<crate::batch::Slot>(),
        Work::BeginCheckpoint | Work::FinishCheckpoint(_) => 0,
    };
    bytes + WORK_OVERHEAD
}

/// A panic elsewhere leaves nothing half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
