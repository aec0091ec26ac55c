//! Reading messages of long queues back, on a thread of its own: a worker never waits for the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender as ToThread, unbounded};
use midge_broker::persist::read_message;
use midge_broker::{Load, Message};
use midge_persistence::{Ledger, Whereabouts};
use midge_reactor::{Clock, Sender, spawn};
use midge_store::{FileDisk, Position, Reader};

use super::{Persistence, unix_at_zero};
use crate::log::{Kind, Logger};
use crate::mail::WorkerMail;

/// How long a message is given to reach the disk until it is looked for again.
const COMMIT_PATIENCE: Duration = Duration::from_millis(1);

/// What one worker wants to be read.
pub(crate) struct Request {
    worker: u16,
    load: Load,
}

/// A worker's way to the thread. There is one request for each session at most.
#[derive(Clone)]
pub(crate) struct Loader {
    worker: u16,
    requests: ToThread<Request>,
}

/// The thread that reads. It ends when all [`Loader`]s have gone.
pub(crate) struct Loads {
    requests: Option<ToThread<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    pub(crate) fn request(&self, load: Load) {
        let request = Request {
            worker: self.worker,
            load,
        };
        // Without the thread the broker is at its end.
        let _ = self.requests.send(request);
    }
}

impl Loads {
    pub(crate) fn start(
        persistence: &Persistence,
        workers: Vec<Sender<WorkerMail>>,
        clock: Clock,
        logger: Logger,
    ) -> std::io::Result<Self> {
        let (requests, receiver) = unbounded();
        let reading = Reading {
            reader: persistence.store.reader(),
            ledger: Arc::clone(&persistence.ledger),
            workers,
            clock,
            logger,
            scratch: Vec::new(),
        };
        let thread = spawn("loads", move || reading.run(&receiver))?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    pub(crate) fn loader(&self, worker: u16) -> Option<Loader> {
        let requests = self.requests.clone()?;
        Some(Loader { worker, requests })
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
    }
}

struct Reading {
    reader: Reader<FileDisk>,
    ledger: Arc<Ledger<FileDisk>>,
    workers: Vec<Sender<WorkerMail>>,
    clock: Clock,
    logger: Logger,
    scratch: Vec<u8>,
}

impl Reading {
    fn run(mut self, requests: &Receiver<Request>) {
        // Those with a message that is on its way to the disk.
        let mut early: VecDeque<Request> = VecDeque::new();
        loop {
            let request = if early.is_empty() {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(COMMIT_PATIENCE)
            };
            match request {
                Ok(request) => early.push_back(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for _ in 0..early.len() {
                if let Some(request) = early.pop_front()
                    && let Some(later) = self.answer(request)
                {
                    early.push_back(later);
                }
            }
        }
    }

    /// Reads what is asked for; gives the request back if it is too early.
    fn answer(&mut self, request: Request) -> Option<Request> {
        let names = &request.load.messages;
        let mut places = Vec::with_capacity(names.len());
        let mut positions: Vec<Position> = Vec::with_capacity(names.len());
        for name in names {
            match self.ledger.whereabouts(*name) {
                Whereabouts::OnItsWay => return Some(request),
                Whereabouts::Unknown => places.push(None),
                Whereabouts::At(position) => {
                    places.push(Some(positions.len()));
                    positions.push(position);
                }
            }
        }
        let unix_at_zero = unix_at_zero(self.clock);
        let mut read: Vec<Option<Arc<Message>>> = vec![None; positions.len()];
        let mut fault = None;
        self.reader
            .read_many(&positions, &mut self.scratch, |index, record| {
                match (record, read.get_mut(index)) {
                    (Ok(record), Some(slot)) => *slot = read_message(record.payload, unix_at_zero),
                    (Err(error), _) => fault = Some(error.to_string()),
                    (Ok(_), None) => {}
                }
            });
        if let Some(error) = fault {
            let text = format!("Error: Messages of a queue cannot be read back: {error}.");
            self.logger.log(Kind::Error, text);
        }
        let messages = names
            .iter()
            .zip(places)
            .map(|(name, place)| (*name, place.and_then(|place| read.get_mut(place)?.take())))
            .collect();
        let mail = WorkerMail::Loaded {
            session: request.load.session,
            messages,
        };
        if let Some(worker) = self.workers.get(usize::from(request.worker)) {
            let size = mail.size();
            let _ = worker.push_batch(&mut vec![mail], size);
        }
        None
    }
}
