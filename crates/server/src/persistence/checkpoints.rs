//! Checkpoints, made by a thread of their own from the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use midge_persistence::{Ledger, relocate, snapshot};
use midge_reactor::spawn;
use midge_store::{Batch, Committed, FileDisk, Settled, Store, Work, Writer};

use super::Persistence;
use crate::log::{Kind, Logger};

#[cfg(test)]
mod tests;

/// How often is looked whether a checkpoint is due.
const LOOK: Duration = Duration::from_secs(1);

/// How often the ledger forgets replaced messages that did not come: no worker's turn takes so long.
const SWEEP: Duration = Duration::from_secs(60);

/// Live messages are moved out of segments of which they take less than this share.
const SPARSE_PERCENT: u64 = 40;

/// Bytes that are moved after one checkpoint at most.
const MOVED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Lives of the broker without a checkpoint, after which one is made before anybody is served. A broker
/// that is killed again and again before a checkpoint is complete would fill the disk otherwise, and take
/// longer to start each time.
const STARTS_MAX: u32 = 8;

/// The thread that makes checkpoints. Dropping it ends the thread.
pub(crate) struct Checkpoints {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread. `starts`: how often the broker was started since the last checkpoint; after
    /// several times one is made before this returns.
    pub(crate) fn start(
        persistence: &Persistence,
        starts: u32,
        directory: PathBuf,
        logger: Logger,
    ) -> std::io::Result<Self> {
        let stops = Arc::new(AtomicBool::new(false));
        let maker = Maker {
            store: Arc::clone(&persistence.store),
            ledger: Arc::clone(&persistence.ledger),
            stops: Arc::clone(&stops),
            directory,
            logger,
        };
        if starts >= STARTS_MAX {
            let text = format!(
                "In {}, {starts} starts had no checkpoint after them: one is made first.",
                maker.directory.display()
            );
            maker.logger.log(Kind::Notice, text);
            let waiter = thread::current();
            let mut writer = maker.store.background_writer(move || waiter.unpark());
            maker.try_to_make(&mut writer);
        }
        let thread = spawn("checkpoints", move || maker.run())?;
        Ok(Self {
            stops,
            thread: Some(thread),
        })
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stops.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been reported; the log is as it was.
            let _ = thread.join();
        }
    }
}

struct Maker {
    store: Arc<Store<FileDisk>>,
    ledger: Arc<Ledger<FileDisk>>,
    stops: Arc<AtomicBool>,
    directory: PathBuf,
    logger: Logger,
}

/// A checkpoint that came to nothing; the next one is made when it is due again.
struct Void(String);

impl Maker {
    fn run(self) {
        let waiter = thread::current();
        // What clients wait for goes first.
        let mut writer = self.store.background_writer(move || waiter.unpark());
        // Looks at once: every start leaves a segment behind, and short lives must not pile them up.
        let mut swept = Instant::now();
        while !self.stops() {
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.ledger.sweep();
            }
            if !self.store.status().checkpoint_due {
                thread::park_timeout(LOOK);
                continue;
            }
            if !self.try_to_make(&mut writer) {
                thread::park_timeout(10 * LOOK);
            }
        }
    }

    /// Makes a checkpoint, or says why it came to nothing. False if it did, unless the broker ends.
    fn try_to_make(&self, writer: &mut Writer) -> bool {
        let Err(Void(why)) = self.make(writer) else {
            return true;
        };
        if self.stops() {
            return true;
        }
        let text = format!(
            "Warning: No checkpoint was made in {}: {why}. It is tried again.",
            self.directory.display()
        );
        self.logger.log(Kind::Warning, text);
        false
    }

    fn stops(&self) -> bool {
        self.stops.load(Relaxed)
    }

    fn make(&self, writer: &mut Writer) -> Result<(), Void> {
        let began = Instant::now();
        let settled = self.wait_for(writer, Work::BeginCheckpoint)?;
        let Ok(Committed::Begun(checkpoint)) = settled.outcome else {
            return Err(Void("it could not be begun".to_owned()));
        };
        let reader = self.store.reader();
        let state = snapshot(&reader, checkpoint, &|| self.stops())
            .map_err(|error| Void(error.to_string()))?;
        for event in &state.events {
            let text = format!("Warning: In {}, {event}.", self.directory.display());
            self.logger.log(Kind::Warning, text);
        }
        let mut failed = None;
        let written = state.write(&mut |batch| match self.append(writer, batch) {
            Ok(_) => !self.stops(),
            Err(void) => {
                failed = Some(void);
                false
            }
        });
        if let Some(void) = failed {
            return Err(void);
        }
        if !written {
            return Err(Void("the broker ends".to_owned()));
        }
        let settled = self.wait_for(writer, Work::FinishCheckpoint(checkpoint))?;
        settled
            .outcome
            .map_err(|refused| Void(refused.to_string()))?;
        let moved = relocate(
            &reader,
            &self.ledger,
            state.messages(),
            SPARSE_PERCENT,
            MOVED_BYTES_MAX,
            &mut |batch| {
                let batch = self.append(writer, batch).ok()?;
                (!self.stops()).then_some(batch)
            },
        );
        let (counts, usage) = (state.counts(), reader.usage());
        let text = format!(
            "Checkpoint in {}: {} sessions, {} messages, {} retained in {} ms; {} bytes moved, {} \
             bytes on the disk.",
            self.directory.display(),
            counts.sessions,
            counts.messages,
            counts.retained,
            began.elapsed().as_millis(),
            moved,
            usage.bytes,
        );
        self.logger.log(Kind::Information, text);
        Ok(())
    }

    fn append(&self, writer: &mut Writer, batch: Batch) -> Result<Batch, Void> {
        let settled = self.wait_for(writer, Work::Append(batch))?;
        settled
            .outcome
            .map_err(|refused| Void(refused.to_string()))?;
        settled
            .batch
            .ok_or_else(|| Void("the store kept a batch".to_owned()))
    }

    /// Hands in one piece of work and waits until it is settled: what clients wait for comes first.
    fn wait_for(&self, writer: &mut Writer, work: Work) -> Result<Settled, Void> {
        let mut work = work;
        loop {
            match writer.submit(work) {
                Ok(_) => break,
                Err(busy) if self.stops() => {
                    drop(busy);
                    return Err(Void("the broker ends".to_owned()));
                }
                Err(busy) => {
                    work = busy.0;
                    thread::park_timeout(LOOK);
                }
            }
        }
        let mut settled = Vec::new();
        loop {
            writer.take_settled(&mut settled);
            if let Some(settled) = settled.pop() {
                return Ok(settled);
            }
            thread::park_timeout(LOOK);
        }
    }
}
