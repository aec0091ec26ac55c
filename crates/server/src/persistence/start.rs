//! The start: reading the store and giving its sessions to the shards.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::persist::{Place, Records, Restoration};
use midge_broker::{Effects, Shard, Step, Time};
use midge_persistence::import::Terms;
use midge_persistence::{Ledger, Recovered, batch_of, recover};
use midge_reactor::Clock;
use midge_store::{
    Disk, Event, FileDisk, Options, Position, Reader, Store, SyncPolicy, Work, Writer,
};

use super::import::import_if_new;
use super::{Persistence, QUEUE_BYTES};
use crate::config::{self, PersistenceSync};
use crate::crew::random;
use crate::log::{Kind, Logger};
use crate::worker::Shared;

/// What is needed to go on with the state of the last run.
pub(crate) struct Restored {
    /// The open store.
    pub(crate) persistence: Persistence,
    /// Greater than the name of every message.
    pub(crate) next_message: u64,
    /// What the wall clock says at time zero, in milliseconds since 1970.
    pub(crate) unix_at_zero: u64,
    /// How often the broker was started since the last checkpoint began.
    pub(crate) starts: u32,
}

/// What the wall clock says at time zero of `clock`, in milliseconds since 1970.
pub(crate) fn unix_at_zero(clock: Clock) -> u64 {
    clock.unix_ms().saturating_sub(clock.now_ms())
}

/// Opens the store, restores what it holds to `shards` and the shared tables, and starts its thread. A new
/// store first gets what Mosquitto left; `session_secs_max` is `persistent_client_expiration`.
///
/// # Errors
/// What is to be told the operator.
pub(crate) fn restore(
    settings: &config::Persistence,
    session_secs_max: Option<u64>,
    shards: &mut [Shard],
    shared: &Shared,
    clock: Clock,
    logger: &Logger,
) -> Result<Restored, String> {
    let began = Instant::now();
    let directory = settings.store_directory();
    let fail = |what: &dyn std::fmt::Display| {
        format!(
            "Error: Unable to keep the state in {}: {what}.",
            directory.display()
        )
    };
    let open = || {
        let disk = FileDisk::open(&directory).map_err(|error| {
            let hint =
                "Name another directory with 'persistence_location', or set 'persistence false'";
            format!("Error: Unable to keep the state: {error}. {hint}.")
        })?;
        let recovered = recover(disk, options(settings)).map_err(|error| fail(&error))?;
        tell_recovery(&recovered, &directory, logger);
        Ok(recovered)
    };
    let terms = Terms {
        now: clock.unix_ms(),
        session_secs_max,
    };
    let recovered = import_if_new(open()?, settings, terms, logger, open)?;
    let Recovered {
        recovery,
        image,
        starts,
        ..
    } = recovered;
    let counts = image.counts();
    let unix_at_zero = unix_at_zero(clock);
    let mut restoration = Restoration::new(image, unix_at_zero);
    restoration.leave_on_disk();
    shared.directory.reserve(counts.sessions);
    let next_message = restoration.next_message();
    let reader = recovery.reader();
    let now = Time(clock.now_ms());
    give_out(&mut restoration, shards, shared, now, &reader);
    let lost = restoration.lost();
    let renamed = restoration.renamed();
    let mut kept = Vec::new();
    for message in restoration.finish() {
        if reader.pin(Position::from_bytes(message.place)) {
            kept.push(message);
        }
    }
    let ledger = Arc::new(Ledger::new(reader, kept));
    let disk_works = Arc::new(AtomicBool::new(true));
    let on_event = telling(logger.clone(), directory.clone(), Arc::clone(&disk_works));
    let store = Store::start(recovery, QUEUE_BYTES, on_event)
        .map_err(|error| fail(&format_args!("no thread for it: {error}")))?;
    if !renamed.is_empty() {
        commit(&store, &renamed).map_err(|error| fail(&error))?;
    }
    if lost > 0 {
        let text = format!(
            "{lost} messages in {} cannot be read back.",
            directory.display()
        );
        logger.log(Kind::Error, format!("Error: {text}"));
    }
    let text = format!(
        "The state is kept in {settings}: {} sessions with {} subscriptions, {} messages and {} \
         retained messages restored in {} ms.",
        counts.sessions,
        counts.subscriptions,
        counts.messages,
        counts.retained,
        began.elapsed().as_millis(),
    );
    logger.log(Kind::Information, text);
    Ok(Restored {
        persistence: Persistence {
            store: Arc::new(store),
            ledger,
            disk_works,
        },
        next_message,
        unix_at_zero,
        starts,
    })
}

fn options(settings: &config::Persistence) -> Options {
    Options {
        sync: match settings.sync {
            PersistenceSync::Always => SyncPolicy::Always,
            PersistenceSync::Os => SyncPolicy::Os,
            PersistenceSync::Interval(millis) => {
                SyncPolicy::Interval(Duration::from_millis(u64::from(millis.get())))
            }
        },
        ..Options::new(random())
    }
}

fn tell_recovery<D: Disk>(recovered: &Recovered<D>, directory: &Path, logger: &Logger) {
    for event in &recovered.events {
        let text = format!("Warning: In {}, {event}.", directory.display());
        logger.log(Kind::Warning, text);
    }
    if recovered.unknown > 0 {
        let text = format!(
            "Warning: In {}, {} records have a form that this version does not know; a later version \
             wrote them, and what they say is not restored.",
            directory.display(),
            recovered.unknown
        );
        logger.log(Kind::Warning, text);
    }
}

/// Reads records by their place.
fn reading<D: Disk>(reader: &Reader<D>) -> impl FnMut(Place) -> Option<Vec<u8>> + '_ {
    let mut scratch = Vec::new();
    move |place| {
        let record = reader.read(Position::from_bytes(place), &mut scratch);
        record.ok().map(|record| record.payload.to_vec())
    }
}

/// Gives the sessions to the shards, each shard on a thread of its own, and their client ids to the
/// directory; then what all of them share.
fn give_out<D: Disk>(
    restoration: &mut Restoration,
    shards: &mut [Shard],
    shared: &Shared,
    now: Time,
    reader: &Reader<D>,
) {
    let mut parts = restoration.share_out(shards.len());
    thread::scope(|scope| {
        let restoration = &*restoration;
        for ((home, shard), part) in (0..).zip(&mut *shards).zip(&mut parts) {
            scope.spawn(move || {
                restoration.part(
                    now,
                    shard,
                    part,
                    &mut reading(reader),
                    &mut |changes| shared.tables.apply(changes),
                    &mut |client_id| shared.directory.restore(client_id, home),
                );
            });
        }
    });
    for part in parts {
        restoration.join(part);
    }
    let read = &mut reading(reader);
    let mut effects = Effects::default();
    let mut tables = shared.tables.turn();
    let mut step = Step {
        now,
        tables: &mut tables,
        effects: &mut effects,
    };
    for shard in shards {
        restoration.groups(&mut step, shard, read);
    }
    drop(tables);
    shared
        .tables
        .restore_retained(&mut |retained| restoration.retained(retained, read));
}

/// Commits records and waits for that.
fn commit(store: &Store<FileDisk>, records: &Records) -> Result<(), String> {
    let batch = batch_of(records).map_err(|error| error.to_string())?;
    let waiter = thread::current();
    let mut writer: Writer = store.writer(move || waiter.unpark());
    if writer.submit(Work::Append(batch)).is_err() {
        return Err("the store takes nothing".to_owned());
    }
    let mut settled = Vec::new();
    loop {
        writer.take_settled(&mut settled);
        if let Some(settled) = settled.pop() {
            return settled
                .outcome
                .map(drop)
                .map_err(|refused| refused.to_string());
        }
        thread::park();
    }
}

/// What the store's thread does with events.
fn telling(
    logger: Logger,
    directory: std::path::PathBuf,
    disk_works: Arc<AtomicBool>,
) -> impl FnMut(Event) + Send + 'static {
    move |event| {
        let place = directory.display();
        let (kind, text) = match &event {
            Event::DiskFull { .. } | Event::DiskFailed { .. } => {
                disk_works.store(false, Relaxed);
                let text = format!(
                    "Error: Unable to keep more in {place}: {event}. What would have to be kept is \
                     refused until that changes; the rest goes on."
                );
                (Kind::Error, text)
            }
            Event::Recovered => {
                disk_works.store(true, Relaxed);
                (Kind::Notice, format!("In {place}, {event}."))
            }
            _ => (Kind::Warning, format!("Warning: In {place}, {event}.")),
        };
        logger.log(kind, text);
    }
}
