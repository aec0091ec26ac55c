//! A run from the first connection to the outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use midge_codec::SubscriptionOptions;

use super::plan::Plan;
use super::process::Usage;
use super::tally::{Seen, Tally};
use super::worker::{Findings, Progress, Shared, Worker};
use crate::client::flows::Event;
use crate::client::{Client, Parts};
use crate::failure::Failure;
use crate::properties::Section;
use crate::terminal;

/// What a process used in the measured time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    /// Bytes of memory before the first connection, when all stood, and after the measured time.
    pub(crate) resident: [u64; 3],
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Deliveries within the measured time, and how long that was.
    pub(crate) measured: u64,
    pub(crate) span: Duration,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) connections: u64,
    /// How long connecting and subscribing took.
    pub(crate) connecting: Duration,
    pub(crate) broker: Option<Cost>,
    pub(crate) own: Option<Cost>,
}

const SETUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Filters of one SUBSCRIBE.
const FILTERS_AT_ONCE: usize = 500;

/// Runs `plan`; `when_connected` is called, and may wait, before the first message.
pub(crate) fn run(
    plan: &Plan,
    when_connected: impl FnOnce() -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let broker = plan.pid.map(|pid| pid.to_string());
    if let Some(pid) = &broker
        && Usage::of(pid).is_none()
    {
        return Err(Failure::Other(format!("Process {pid} cannot be observed.")));
    }
    let look = || [broker.as_deref(), Some("self")].map(|pid| pid.and_then(Usage::of));
    let before = look();
    let began = Instant::now();
    let (subscribers, publishers) = connect_all(plan)?;
    let connecting = began.elapsed();
    let connected = look();
    when_connected()?;

    let shared = Arc::new(shared(plan));
    let workers = deal(&shared, subscribers, publishers)?;
    let mut threads = Vec::new();
    for worker in workers {
        let thread = std::thread::Builder::new().name("load".to_owned());
        threads.push(thread.spawn(move || worker.run())?);
    }
    watch(&shared, &threads, shared.measure_from);
    let (from, at_start) = (Instant::now(), look());
    watch(&shared, &threads, shared.measure_to);
    let (span, at_end) = (from.elapsed(), look());
    let findings = join(threads)?;

    let costs: Vec<Option<Cost>> = (0..2)
        .map(|index| {
            let usage = |usages: &[Option<Usage>; 2]| usages.get(index).copied().flatten();
            let (start, end) = (usage(&at_start)?, usage(&at_end)?);
            Some(Cost {
                cpu: end.cpu_since(&start),
                resident: [
                    usage(&before)?.resident,
                    usage(&connected)?.resident,
                    end.resident,
                ],
            })
        })
        .collect();
    let mut outcome = Outcome {
        tally: Tally::default(),
        measured: 0,
        span,
        latency: Histogram::new_from(&findings.first),
        connections: u64::from(plan.publishers()) + u64::from(plan.subscribers()),
        connecting,
        broker: costs.first().copied().flatten(),
        own: costs.get(1).copied().flatten(),
    };
    outcome.sum_up(&shared, findings.all)?;
    Ok(outcome)
}

/// Connects subscribers first, so that no message comes before its subscriber.
fn connect_all(plan: &Plan) -> Result<(Vec<Parts>, Vec<Parts>), Failure> {
    let mut subscribers = Vec::new();
    for index in 0..plan.subscribers() {
        let mut client = connect(plan, 's', index)?;
        subscribe(plan, &mut client, &plan.filters(index))?;
        subscribers.push(client.into_parts()?);
    }
    let mut publishers = Vec::new();
    for index in 0..plan.publishers() {
        publishers.push(connect(plan, 'p', index)?.into_parts()?);
    }
    Ok((subscribers, publishers))
}

/// Connects a client of this run.
pub(crate) fn connect(plan: &Plan, role: char, index: u32) -> Result<Client, Failure> {
    let mut options = plan.connect.clone();
    options.client_id = Some(client_id(plan, role, index));
    let deadline = Instant::now() + SETUP_TIMEOUT;
    let mut client = Client::connect(&options, Some(deadline))?;
    client.wait_connected(deadline)?;
    Ok(client)
}

/// A client id of 16 bytes.
pub(crate) fn client_id(plan: &Plan, role: char, index: u32) -> String {
    format!("b{:08x}{role}{index:06}", plan.run)
}

/// Queues a SUBSCRIBE.
pub(crate) fn request(plan: &Plan, client: &mut Client, filters: &[String]) -> Result<(), Failure> {
    let options = SubscriptionOptions {
        qos: plan.qos,
        ..SubscriptionOptions::default()
    };
    client
        .flows
        .subscribe(filters, options, &Section::default())
}

/// Subscribes, in several packets if the filters are many.
pub(crate) fn subscribe(
    plan: &Plan,
    client: &mut Client,
    filters: &[String],
) -> Result<(), Failure> {
    for filters in filters.chunks(FILTERS_AT_ONCE) {
        let deadline = Instant::now() + SETUP_TIMEOUT;
        request(plan, client, filters)?;
        let is_refused = client.wait_for(deadline, |event| match event {
            Event::Subscribed { codes, .. } => Some(codes.iter().any(|code| *code >= 0x80)),
            _ => None,
        })?;
        if is_refused {
            return Err(Failure::Other(
                "The broker refused a subscription.".to_owned(),
            ));
        }
    }
    Ok(())
}

fn shared(plan: &Plan) -> Shared {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let measure_from = nanos(plan.warm_up);
    Shared {
        plan: plan.clone(),
        start: Instant::now(),
        measure_from,
        measure_to: measure_from.saturating_add(nanos(plan.measure)),
        progress: (0..plan.publishers())
            .map(|_| Progress::default())
            .collect(),
        topics: plan.topics(),
        received: AtomicU64::new(0),
        draining: AtomicU32::new(0),
        stop: AtomicBool::new(false),
    }
}

/// Deals the connections to the threads; a pair stays together.
fn deal(
    shared: &Arc<Shared>,
    subscribers: Vec<Parts>,
    publishers: Vec<Parts>,
) -> Result<Vec<Worker>, Failure> {
    let mut workers = Vec::new();
    for _ in 0..shared.plan.threads {
        workers.push(Worker::new(Arc::clone(shared))?);
    }
    let count = workers.len();
    for (index, parts) in (0_u32..).zip(subscribers) {
        if let Some(worker) = workers.get_mut(index as usize % count) {
            worker.add_subscriber(parts, index)?;
        }
    }
    for (index, parts) in (0_u32..).zip(publishers) {
        if let Some(worker) = workers.get_mut(index as usize % count) {
            worker.add_publisher(parts, index)?;
        }
    }
    Ok(workers)
}

/// Waits until `until` (nanoseconds since the start), and says each second how it goes. Ends early
/// when a thread does, and then stops the others.
fn watch(shared: &Shared, threads: &[JoinHandle<Result<Findings, Failure>>], until: u64) {
    const TICK: u64 = 1_000_000_000;
    let mut received = shared.received.load(Ordering::Relaxed);
    loop {
        let now = shared.nanos();
        if now >= until {
            return;
        }
        if threads.iter().any(JoinHandle::is_finished) {
            shared.stop.store(true, Ordering::Relaxed);
            return;
        }
        std::thread::sleep(Duration::from_nanos(TICK.min(until - now)));
        let total = shared.received.load(Ordering::Relaxed);
        if !shared.plan.quiet {
            let rate = (total - received) as f64 * 1e9 / (shared.nanos() - now).max(1) as f64;
            let seconds = shared.nanos() as f64 / 1e9;
            terminal::complain(&format!("{seconds:6.1} s  {rate:.0} messages/s"));
        }
        received = total;
    }
}

struct Joined {
    first: Histogram<u64>,
    all: Vec<Findings>,
}

fn join(threads: Vec<JoinHandle<Result<Findings, Failure>>>) -> Result<Joined, Failure> {
    let mut all = Vec::new();
    let mut failure = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(findings)) => all.push(findings),
            Ok(Err(error)) => failure = Some(error),
            Err(_) => failure = Some(Failure::Other("A thread has failed.".to_owned())),
        }
    }
    match (failure, all.first()) {
        (Some(failure), _) => Err(failure),
        (None, Some(findings)) => Ok(Joined {
            first: findings.latency.clone(),
            all,
        }),
        (None, None) => Err(Failure::Other("There was nothing to do.".to_owned())),
    }
}

impl Outcome {
    fn sum_up(&mut self, shared: &Shared, findings: Vec<Findings>) -> Result<(), Failure> {
        let sent = |publisher: usize| {
            let progress = shared.progress.get(publisher);
            progress.map_or(0, |progress| progress.sent.load(Ordering::Acquire))
        };
        let mut seen = vec![Seen::default(); shared.progress.len()];
        for findings in findings {
            self.tally.add(&findings.tally);
            self.measured += findings.measured;
            self.latency
                .add(&findings.latency)
                .map_err(|error| Failure::Other(error.to_string()))?;
            for (all, one) in seen.iter_mut().zip(&findings.seen) {
                self.tally.duplicates += all.join(one);
            }
            for (first, flows) in &findings.flows {
                for (publisher, flow) in (*first as usize..).zip(flows) {
                    self.tally.lost += flow.lost(sent(publisher));
                }
            }
        }
        if shared.plan.is_shared() {
            for (publisher, seen) in seen.iter().enumerate() {
                self.tally.lost += sent(publisher).saturating_sub(seen.count());
            }
        }
        Ok(())
    }
}
