//! Which thread runs which workers.
//!
//! There are as many threads as workers. With little to do, one thread runs them all: a message from one
//! worker to another then costs no wake-up, and nothing sleeps and wakes on other cores. When a thread has
//! much to do, the workers spread over twice as many threads, up to one for each; when all together have
//! little to do, they gather on half as many. A worker is a value, so that it can be handed over between
//! two turns; its sockets stay with its poller.
//!
//! With `k` threads at work, worker `w` is at thread `w % k`. So a thread that is at work always has the
//! worker of its own number.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, unbounded};
use midge_broker::Time;
use midge_reactor::{Clock, Key, Ready, Waker, thread_cpu_time};

use crate::mail::WorkerMail;
use crate::worker::{EVENTS_MAX, Worker};

/// How often a thread looks at how much it has to do, in microseconds.
const LOOK_US: u64 = 10_000;
/// How long it has to be quiet before workers gather, in microseconds.
const QUIET_US: u64 = 200_000;

/// Thousandths of a core. A thread spreads its workers when it takes this much processor time at two looks
/// in a row;
const SPREAD_CPU: u64 = 500;
const BUSY_LOOKS: u32 = 2;
/// or when it hardly sleeps at ten: others may take the core from it, but then not all the time.
const SPREAD_AWAKE: u64 = 950;
const AWAKE_LOOKS: u32 = 10;
/// All gather on half as many threads when each of those would take less than this.
const GATHER_CPU: u64 = 400;

/// What all threads share.
pub(crate) struct Hosts {
    /// How many threads are at work.
    active: AtomicU16,
    /// Workers that have not ended.
    live: AtomicUsize,
    threads: Vec<Thread>,
    /// By number of worker.
    wakers: Vec<Waker>,
}

/// What a thread is told.
enum Order {
    /// It runs this worker from now on.
    Run(Box<Worker>),
    /// There are no workers any more.
    End,
}

struct Thread {
    orders: Sender<Order>,
    /// Thousandths of a core that it took when it last looked, and until when that counts, in
    /// microseconds.
    cpu: AtomicU64,
    counts_until_us: AtomicU64,
}

/// One thread with the workers that it runs.
pub(crate) struct Host {
    number: u16,
    hosts: Arc<Hosts>,
    orders: Receiver<Order>,
    clock: Clock,
    /// The first is the one whose poller the thread sleeps at, which watches the others'.
    workers: Vec<Hosted>,
    mail: Vec<WorkerMail>,
    load: Load,
    /// How many threads were at work when it last looked where its workers belong.
    arranged_for: u16,
    current: Arc<AtomicU16>,
}

struct Hosted {
    worker: Box<Worker>,
    ready: Vec<Ready>,
    /// Its poller may have something to tell.
    is_reported: bool,
}

/// How much a thread has to do.
#[derive(Default)]
struct Load {
    since_us: u64,
    /// How long it has slept since then.
    slept_us: u64,
    cpu: Duration,
    /// Looks in a row that found it busy, and awake.
    busy_looks: u32,
    awake_looks: u32,
    quiet_since_us: u64,
}

impl Hosts {
    /// Hosts for as many workers as there are wakers. All begin at the first.
    pub(crate) fn prepare(wakers: Vec<Waker>, clock: Clock) -> Vec<Host> {
        let (orders, receivers): (Vec<_>, Vec<_>) = wakers.iter().map(|_| unbounded()).unzip();
        let threads = orders.into_iter().map(|orders| Thread {
            orders,
            cpu: AtomicU64::new(0),
            counts_until_us: AtomicU64::new(0),
        });
        let hosts = Arc::new(Self {
            active: AtomicU16::new(1),
            live: AtomicUsize::new(wakers.len()),
            threads: threads.collect(),
            wakers,
        });
        let host = |(number, orders)| Host {
            number,
            hosts: Arc::clone(&hosts),
            orders,
            clock,
            workers: Vec::new(),
            mail: Vec::new(),
            load: Load::default(),
            arranged_for: 1,
            current: Arc::new(AtomicU16::new(number)),
        };
        (0..).zip(receivers).map(host).collect()
    }

    /// The thread that a worker belongs to, when `active` are at work.
    const fn thread_of(worker: u16, active: u16) -> u16 {
        worker % if active == 0 { 1 } else { active }
    }

    fn send(&self, thread: u16, order: Order) {
        if let Some(thread) = self.threads.get(usize::from(thread)) {
            // A thread that has gone has panicked, and the broker ends.
            let sent = thread.orders.send(order);
            if let Err(SendError(Order::Run(_))) = sent {
                self.end(1);
            }
        }
    }

    /// Makes all threads look at where the workers belong.
    fn wake_all(&self) {
        for waker in &self.wakers {
            // One that cannot be woken looks when it next runs.
            let _ = waker.wake();
        }
    }

    /// Changes how many threads are at work, unless somebody else just has.
    fn set_active(&self, before: u16, after: u16) {
        if self
            .active
            .compare_exchange(before, after, SeqCst, SeqCst)
            .is_ok()
        {
            self.wake_all();
        }
    }

    /// Notes that so many workers have ended; after the last, so do the threads.
    fn end(&self, count: usize) {
        if count > 0 && self.live.fetch_sub(count, SeqCst) == count {
            for thread in 0..self.threads.len() {
                self.send(u16::try_from(thread).unwrap_or(u16::MAX), Order::End);
            }
        }
    }

    /// Thousandths of a core that all threads take.
    fn cpu(&self, now_us: u64) -> u64 {
        let counts = |thread: &&Thread| thread.counts_until_us.load(Relaxed) >= now_us;
        let threads = self.threads.iter().filter(counts);
        threads.map(|thread| thread.cpu.load(Relaxed)).sum()
    }
}

impl Host {
    /// Takes a worker before the thread runs, wherever it belongs.
    pub(crate) fn take(&mut self, worker: Worker) {
        self.workers.push(Hosted {
            worker: Box::new(worker),
            ready: Vec::with_capacity(EVENTS_MAX),
            is_reported: true,
        });
    }

    /// The worker whose turn it is, for whoever reports that the thread has panicked.
    pub(crate) fn current(&self) -> Arc<AtomicU16> {
        Arc::clone(&self.current)
    }

    /// Runs workers until none is left anywhere.
    ///
    /// # Errors
    /// Those of a poller, after which its worker cannot go on.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.load.begin(self.clock.now_us());
        self.arrange()?;
        loop {
            if self.workers.is_empty() {
                match self.orders.recv() {
                    Ok(Order::Run(worker)) => {
                        self.take(*worker);
                        self.load.begin(self.clock.now_us());
                        self.rearrange()?;
                        continue;
                    }
                    Ok(Order::End) | Err(_) => return Ok(()),
                }
            }
            self.cycle()?;
        }
    }

    /// Sleeps until one of the workers has something to do, and lets those do it that have.
    fn cycle(&mut self) -> io::Result<()> {
        let now_us = self.clock.now_us();
        if self.load.is_due(now_us) {
            self.look(now_us);
        }
        if self.has_orders() {
            self.rearrange()?;
        }
        let timeout = self.timeout(now_us);
        let awake_us = self.wait(timeout)?;
        self.load.slept_us += awake_us - now_us;
        let now = Time(awake_us / 1_000);
        let mut ended = 0;
        for place in 0..self.workers.len() {
            let Some(hosted) = self.workers.get_mut(place) else {
                break;
            };
            if !hosted.has_work(now) {
                continue;
            }
            self.current.store(hosted.worker.id(), Relaxed);
            let ready = &hosted.ready;
            hosted.worker.turn_at(now, ready, &mut self.mail);
            hosted.ready.clear();
            ended += usize::from(hosted.worker.is_done());
        }
        if ended > 0 {
            self.end_workers()?;
        }
        Ok(())
    }

    /// How long to sleep at most.
    fn timeout(&self, now_us: u64) -> Option<Duration> {
        let now = Time(now_us / 1_000);
        if self.workers.iter().any(|hosted| hosted.is_reported) {
            return Some(Duration::ZERO);
        }
        let sleeps = self
            .workers
            .iter()
            .filter_map(|hosted| hosted.worker.sleeps_until());
        sleeps.min().map(|until| until.since(now))
    }

    /// Sleeps, and has all told what is ready; gives the time after it.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<u64> {
        let (hosts, orders, arranged_for) = (&self.hosts, &self.orders, self.arranged_for);
        let has_orders = || hosts.active.load(SeqCst) != arranged_for || !orders.is_empty();
        let Some((lead, others)) = self.workers.split_first_mut() else {
            return Ok(self.clock.now_us());
        };
        for other in &*others {
            other.worker.poller().fall_asleep();
        }
        lead.is_reported = false;
        lead.worker.wait(timeout, &mut lead.ready, || {
            has_orders() || others.iter().any(|other| other.worker.is_woken())
        })?;
        let awake_us = self.clock.now_us();
        for other in &*others {
            other.worker.poller().stay_awake();
        }
        // The others' reports come first among the keys that no socket has.
        let reports = lead
            .ready
            .iter()
            .filter_map(|event| event.key.reserved_index());
        for report in reports {
            if let Some(other) = others.get_mut(report) {
                other.is_reported = true;
            }
        }
        for other in others.iter_mut().filter(|other| other.is_reported) {
            let (worker, ready) = (&mut other.worker, &mut other.ready);
            worker.wait(Some(Duration::ZERO), ready, || true)?;
            other.is_reported = worker.poller().is_full();
        }
        Ok(awake_us)
    }

    /// Whether a worker is to come or to go.
    fn has_orders(&self) -> bool {
        self.hosts.active.load(SeqCst) != self.arranged_for || !self.orders.is_empty()
    }

    /// Takes workers that were sent here, and sends away those that belong elsewhere.
    fn rearrange(&mut self) -> io::Result<()> {
        self.part()?;
        while let Ok(Order::Run(worker)) = self.orders.try_recv() {
            self.take(*worker);
        }
        let active = self.hosts.active.load(SeqCst);
        self.arranged_for = active;
        let mut moves = false;
        for hosted in std::mem::take(&mut self.workers) {
            let thread = Hosts::thread_of(hosted.worker.id(), active);
            if thread == self.number {
                self.workers.push(hosted);
            } else {
                self.hosts.send(thread, Order::Run(hosted.worker));
                moves = true;
            }
        }
        if moves {
            self.hosts.wake_all();
        }
        self.arrange()
    }

    /// Lets each poller be its own again.
    fn part(&self) -> io::Result<()> {
        if let Some((lead, others)) = self.workers.split_first() {
            for other in others {
                lead.worker.poller().unwatch(other.worker.poller())?;
            }
        }
        Ok(())
    }

    /// Lets the first worker's poller report for all.
    fn arrange(&mut self) -> io::Result<()> {
        self.workers.sort_by_key(|hosted| hosted.worker.id());
        if let Some((lead, others)) = self.workers.split_first() {
            for (place, other) in others.iter().enumerate() {
                let key = Key::reserved(place)
                    .ok_or_else(|| io::Error::other("there are too many workers"))?;
                lead.worker.poller().watch(other.worker.poller(), key)?;
            }
        }
        for hosted in &mut self.workers {
            hosted.is_reported = true;
            hosted.ready.clear();
        }
        Ok(())
    }

    /// Lets go of workers that have ended.
    fn end_workers(&mut self) -> io::Result<()> {
        self.part()?;
        let before = self.workers.len();
        self.workers.retain(|hosted| !hosted.worker.is_done());
        self.hosts.end(before - self.workers.len());
        self.arrange()
    }

    /// Looks at how much there is to do, and changes the number of threads at work.
    fn look(&mut self, now_us: u64) {
        let cpu = self.load.take(now_us);
        let hosts = &self.hosts;
        if let Some(thread) = hosts.threads.get(usize::from(self.number)) {
            thread.cpu.store(cpu, Relaxed);
            thread.counts_until_us.store(now_us + QUIET_US, Relaxed);
        }
        let active = hosts.active.load(SeqCst);
        let count = u16::try_from(hosts.threads.len()).unwrap_or(u16::MAX);
        if self.workers.len() > 1 && self.load.is_much() {
            let more = active.saturating_mul(2).min(count);
            self.load.quiet_since_us = now_us;
            self.load.forget();
            hosts.set_active(active, more);
            return;
        }
        let fewer = active.div_ceil(2);
        if fewer == active || hosts.cpu(now_us) >= GATHER_CPU * u64::from(fewer) {
            self.load.quiet_since_us = now_us;
        } else if now_us - self.load.quiet_since_us >= QUIET_US {
            self.load.quiet_since_us = now_us;
            hosts.set_active(active, fewer);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // After a panic or an error, these end with it.
        let sent = self.orders.try_iter();
        let sent = sent.filter(|order| matches!(order, Order::Run(_))).count();
        self.hosts.end(self.workers.len() + sent);
    }
}

impl Hosted {
    fn has_work(&self, now: Time) -> bool {
        !self.ready.is_empty()
            || self.worker.is_woken()
            || self.worker.sleeps_until().is_some_and(|until| until <= now)
    }
}

impl Load {
    fn begin(&mut self, now_us: u64) {
        self.since_us = now_us;
        self.slept_us = 0;
        self.cpu = thread_cpu_time().unwrap_or_default();
        self.quiet_since_us = now_us;
        self.forget();
    }

    fn forget(&mut self) {
        self.busy_looks = 0;
        self.awake_looks = 0;
    }

    const fn is_much(&self) -> bool {
        self.busy_looks >= BUSY_LOOKS || self.awake_looks >= AWAKE_LOOKS
    }

    fn is_due(&self, now_us: u64) -> bool {
        now_us - self.since_us >= LOOK_US
    }

    /// Takes a look; gives the thousandths of a core that were taken since the last one.
    fn take(&mut self, now_us: u64) -> u64 {
        let cpu_now = thread_cpu_time();
        let taken_us = cpu_now.map(|now| {
            let taken = now.saturating_sub(self.cpu);
            u64::try_from(taken.as_micros()).unwrap_or(u64::MAX)
        });
        self.cpu = cpu_now.unwrap_or_default();
        self.count(now_us, taken_us)
    }

    fn count(&mut self, now_us: u64, taken_us: Option<u64>) -> u64 {
        let passed_us = (now_us - self.since_us).max(1);
        let awake_us = passed_us.saturating_sub(self.slept_us);
        let awake = awake_us * 1000 / passed_us;
        let cpu = taken_us.map_or(awake, |taken| taken.saturating_mul(1000) / passed_us);
        let count = |looks: &mut u32, more: bool| *looks = if more { *looks + 1 } else { 0 };
        count(&mut self.busy_looks, cpu >= SPREAD_CPU);
        count(&mut self.awake_looks, awake >= SPREAD_AWAKE);
        self.since_us = now_us;
        self.slept_us = 0;
        cpu
    }
}

#[cfg(test)]
mod tests;
