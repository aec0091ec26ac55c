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
use midge_store::{FileDisk, Position, ReadError, Reader};

use super::{Persistence, unix_at_zero};
use crate::log::{Kind, Logger};
use crate::mail::WorkerMail;

/// How long a message is given to reach the disk until it is looked for again.
const COMMIT_PATIENCE: Duration = Duration::from_millis(1);

/// How long a disk that does not give what it should is left alone.
const FAULT_PATIENCE: Duration = Duration::from_millis(100);

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
            fails: false,
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
    /// The disk does not give what it should; the log has said so.
    fails: bool,
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
            if self.fails {
                std::thread::sleep(FAULT_PATIENCE);
            }
        }
    }

    /// Reads what is asked for; gives the request back if it is too early, or if the disk does not give
    /// now what it should have.
    fn answer(&mut self, request: Request) -> Option<Request> {
        let names = &request.load.messages;
        let mut messages: Vec<(u64, Option<Arc<Message>>)> = Vec::with_capacity(names.len());
        let mut wanted: Vec<(usize, Position)> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            messages.push((*name, None));
            match self.ledger.whereabouts(*name) {
                Whereabouts::OnItsWay => return Some(request),
                // Refused by a full disk, and so promised to nobody.
                Whereabouts::Unknown => {}
                Whereabouts::At(position) => wanted.push((index, position)),
            }
        }
        while !wanted.is_empty() {
            match self.read(wanted, &mut messages) {
                Ok(again) => wanted = again,
                Err(error) => {
                    if !std::mem::replace(&mut self.fails, true) {
                        let text = format!(
                            "Error: Messages of a queue cannot be read from the disk: {error}. It is \
                             tried again."
                        );
                        self.logger.log(Kind::Error, text);
                    }
                    return Some(request);
                }
            }
        }
        self.fails = false;
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

    /// Reads records; gives those back that have been moved meanwhile.
    fn read(
        &mut self,
        wanted: Vec<(usize, Position)>,
        messages: &mut [(u64, Option<Arc<Message>>)],
    ) -> Result<Vec<(usize, Position)>, String> {
        let unix_at_zero = unix_at_zero(self.clock);
        let positions: Vec<Position> = wanted.iter().map(|(_, position)| *position).collect();
        let mut again = Vec::new();
        let mut fault = None;
        let (ledger, logger) = (&self.ledger, &self.logger);
        self.reader
            .read_many(&positions, &mut self.scratch, |place, record| {
                let Some((index, position)) = wanted.get(place) else {
                    return;
                };
                let Some((name, message)) = messages.get_mut(*index) else {
                    return;
                };
                let error = match record {
                    Ok(record) => {
                        *message = read_message(record.payload, unix_at_zero);
                        return;
                    }
                    Err(ReadError::Io(error)) => {
                        fault = Some(error.to_string());
                        return;
                    }
                    Err(error) => error,
                };
                match ledger.whereabouts(*name) {
                    // A checkpoint has moved it.
                    Whereabouts::At(now) if now != *position => again.push((*index, now)),
                    Whereabouts::Unknown => {}
                    Whereabouts::At(_) | Whereabouts::OnItsWay => {
                        let text = format!("Error: A message of a queue is lost: {error}.");
                        logger.log(Kind::Error, text);
                    }
                }
            });
        fault.map_or(Ok(again), Err)
    }
}
