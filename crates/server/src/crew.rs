//! The workers' threads.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread::JoinHandle;

use midge_broker::{Settings, Shard};
use midge_reactor::{Clock, Mailbox, Poller, Sender, spawn};

use crate::control::Command;
use crate::host::Hosts;
use crate::log::Logger;
use crate::mail::{MAILBOX, Post, WorkerMail};
use crate::persistence::{Keeper, Loads, Persistence};
use crate::worker::{EVENTS_MAX, Parts, Shared, Worker};

/// Threads of workers that run.
pub(crate) type Threads = Vec<JoinHandle<()>>;

/// The workers before their threads run.
pub(crate) struct Crew {
    pollers: Vec<Poller>,
    mailboxes: Vec<Mailbox<WorkerMail>>,
}

impl Crew {
    pub(crate) fn prepare(count: u16) -> io::Result<Self> {
        let mut crew = Self {
            pollers: Vec::new(),
            mailboxes: Vec::new(),
        };
        for _ in 0..count {
            let poller = Poller::new(EVENTS_MAX)?;
            crew.mailboxes.push(Mailbox::new(MAILBOX, poller.waker()));
            crew.pollers.push(poller);
        }
        Ok(crew)
    }

    /// Ways to all workers, for somebody who never waits for room.
    pub(crate) fn senders(&self) -> Vec<Sender<WorkerMail>> {
        self.mailboxes
            .iter()
            .map(|mailbox| mailbox.sender(None))
            .collect()
    }

    #[expect(clippy::too_many_arguments, reason = "what all workers are made of")]
    /// Starts the threads; gives those that run if one cannot be.
    pub(crate) fn start(
        self,
        shared: &Arc<Shared>,
        settings: &Arc<Settings>,
        shards: Vec<Shard>,
        persistence: Option<(&Persistence, &Loads)>,
        clock: Clock,
        logger: &Logger,
        commands: &Sender<Command>,
    ) -> Result<Threads, (io::Error, Threads)> {
        let posts: Vec<Post> = self
            .pollers
            .iter()
            .map(|poller| {
                let waker = poller.waker();
                let senders = self.mailboxes.iter();
                Post::new(
                    senders
                        .map(|mailbox| mailbox.sender(Some(waker.clone())))
                        .collect(),
                )
            })
            .collect();
        let wakers = self.pollers.iter().map(Poller::waker).collect();
        let mut hosts = Hosts::prepare(wakers, clock);
        let mut threads = Vec::new();
        let parts = self.pollers.into_iter().zip(self.mailboxes);
        let parts = parts.zip(posts).zip(shards);
        for (id, (((poller, mailbox), post), shard)) in (0..).zip(parts) {
            let keeper = persistence.map(|(persistence, loads)| {
                Keeper::new(persistence, loads.loader(id), poller.waker())
            });
            let parts = Parts {
                id,
                shared: Arc::clone(shared),
                clock,
                logger: logger.clone(),
                poller,
                mailbox,
                post,
                settings: Arc::clone(settings),
                shard,
                keeper,
            };
            if let Some(first) = hosts.first_mut() {
                first.take(Worker::new(parts));
            }
        }
        for (number, mut host) in hosts.into_iter().enumerate() {
            let commands = commands.clone();
            let body = move || {
                let mut watch = Watch {
                    worker: host.current(),
                    commands,
                    reason: None,
                    well: false,
                };
                match host.run() {
                    Ok(()) => watch.well = true,
                    Err(error) => watch.reason = Some(error.to_string()),
                }
            };
            match spawn(&format!("worker {number}"), body) {
                Ok(thread) => threads.push(thread),
                Err(error) => return Err((error, threads)),
            }
        }
        Ok(threads)
    }
}

/// Tells the control thread when a worker ends of itself, by a panic even.
struct Watch {
    /// The worker that the thread runs just now.
    worker: Arc<AtomicU16>,
    commands: Sender<Command>,
    reason: Option<String>,
    well: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.well {
            let ended = Command::WorkerEnded {
                worker: self.worker.load(Relaxed),
                reason: self.reason.take(),
            };
            let _ = self.commands.push_batch(&mut vec![ended], 0);
        }
    }
}

/// Lets `log_dest topic` publish through the first worker.
pub(crate) fn publish_log(logger: &Logger, worker: Sender<WorkerMail>) {
    let sink = move |topic: &'static str, line: &str| {
        // Lines are not worth waiting for.
        if !worker.is_full() {
            let line = WorkerMail::LogLine {
                topic,
                line: line.into(),
            };
            let _ = worker.push_batch(&mut vec![line], 0);
        }
    };
    // A log that is stuck from the start shows itself soon enough.
    let _ = logger.set_topic_sink(Some(Box::new(sink)));
}

/// A number that nobody can guess, from the standard library's own source of hash seeds.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// A secret for this life of the broker.
pub(crate) fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    for part in secret.chunks_mut(8) {
        part.copy_from_slice(&random().to_ne_bytes());
    }
    secret
}

pub(crate) fn join(threads: Threads) {
    for thread in threads {
        // A worker that panicked has said so.
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midge_reactor::Bounds;

    #[test]
    fn a_worker_that_panics_is_reported_to_the_control_thread() {
        let poller = Poller::new(1).unwrap();
        let bounds = Bounds {
            messages: 1,
            bytes: 1,
        };
        let mailbox = Mailbox::new(bounds, poller.waker());
        let commands = mailbox.sender(None);
        let worker = std::thread::spawn(move || {
            let _watch = Watch {
                worker: Arc::new(AtomicU16::new(3)),
                commands,
                reason: None,
                well: false,
            };
            panic!("on purpose");
        });
        assert!(worker.join().is_err());
        let mut taken = Vec::new();
        mailbox.take(&mut taken).unwrap();
        let told = taken.pop();
        assert!(matches!(
            told,
            Some(Command::WorkerEnded {
                worker: 3,
                reason: None,
            })
        ));
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(random(), random());
    }
}
