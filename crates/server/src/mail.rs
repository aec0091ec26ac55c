//! What workers tell each other, and what the control thread tells them.

use std::sync::Arc;

use midge_broker::route::SessionRef;
use midge_broker::{
    ConnId, Identity, LoginAnswer, Mail, Message, Origin, Review, Reviewed, Settings,
};
use midge_reactor::{Bounds, Pressure, Sender, Stream};

use crate::seats::Seat;
use crate::worker::Layered;
use crate::wrapping::Wrapping;

/// When a worker's mailbox asks the others to pause.
pub(crate) const MAILBOX: Bounds = Bounds {
    messages: 16 * 1024,
    bytes: 16 * 1024 * 1024,
};

/// What a worker finds in its mailbox.
pub(crate) enum WorkerMail {
    /// From another worker's shard.
    Shard(Mail),
    /// A connection, new or from another worker.
    Arrival(Box<Arrival>),
    /// Messages of a session's queue, read from the disk.
    Loaded {
        /// Whose.
        session: SessionRef,
        /// By the names that were asked for.
        messages: Vec<(u64, Option<Arc<Message>>)>,
    },
    /// The settings have changed.
    Settings(Arc<Settings>),
    /// A login has been judged.
    LoggedIn {
        /// Whose.
        conn: ConnId,
        /// How.
        answer: LoginAnswer,
    },
    /// A request to `$CONTROL/…` has been carried out.
    ControlAnswered {
        /// Who asked.
        conn: ConnId,
        /// On which topic.
        topic: Box<str>,
        /// The answer.
        answer: Box<[u8]>,
    },
    /// What clients may do may have changed.
    Review(Arc<Reviewer>),
    /// The clients of this listener may not stay.
    Expel(u64),
    /// A line of the log that is to be published.
    LogLine {
        /// The topic.
        topic: &'static str,
        /// The line.
        line: Box<str>,
    },
    /// A value of `$SYS` that the workers do not know; nothing takes it away.
    SysValue {
        /// The topic.
        topic: Box<str>,
        /// The value.
        value: Box<str>,
    },
    /// The broker ends.
    ShutDown,
}

/// Says what becomes of a client whose rights may have changed.
pub(crate) type Reviewer = dyn Fn(&Reviewed<'_>) -> Review + Send + Sync;

/// A connection that comes to a worker.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) origin: Origin,
    pub(crate) seat: Seat,
    /// What has been read from it and not been dealt with: at another worker, a whole CONNECT.
    pub(crate) bytes: Vec<u8>,
    /// What a new connection is to be wrapped in.
    pub(crate) wrapping: Option<Arc<Wrapping>>,
    /// What one from another worker is wrapped in.
    pub(crate) layers: Option<Box<Layered>>,
    /// Who the client was found to be, at another worker.
    pub(crate) identity: Option<Box<Identity>>,
}

impl Arrival {
    /// A connection of which nothing is known yet, without layers.
    pub(crate) const fn new(stream: Stream, origin: Origin, seat: Seat) -> Self {
        Self {
            stream,
            origin,
            seat,
            bytes: Vec::new(),
            wrapping: None,
            layers: None,
            identity: None,
        }
    }
}

impl WorkerMail {
    /// What it holds in memory, roughly, in bytes.
    pub(crate) fn size(&self) -> usize {
        let content = match self {
            Self::Shard(Mail::Deliver { message, .. })
            | Self::Shard(Mail::DeliverShared { message, .. })
            | Self::Shard(Mail::GroupQueue { message, .. }) => message.size(),
            Self::Shard(Mail::GroupReturn { messages, .. } | Mail::GroupGrant { messages, .. }) => {
                messages.iter().map(|message| message.size()).sum()
            }
            Self::Shard(
                Mail::GroupPull { .. } | Mail::StatsRequest { .. } | Mail::Stats { .. },
            )
            | Self::Settings(_)
            | Self::LoggedIn { .. }
            | Self::Review(_)
            | Self::Expel(_)
            | Self::ShutDown => 0,
            Self::Loaded { messages, .. } => messages
                .iter()
                .filter_map(|(_, message)| message.as_ref())
                .map(|message| message.size())
                .sum(),
            Self::ControlAnswered { answer, .. } => answer.len(),
            Self::Arrival(arrival) => arrival.bytes.len(),
            Self::LogLine { line, .. } => line.len(),
            Self::SysValue { value, .. } => value.len(),
        };
        content + size_of::<Self>()
    }

    /// About how many bytes for clients it leads to.
    pub(crate) fn output_bytes(&self) -> u64 {
        let bytes = match self {
            Self::Shard(Mail::Deliver { message, targets }) => {
                message.size().saturating_mul(targets.len())
            }
            other => other.size(),
        };
        bytes as u64
    }
}

/// A worker's mail to the others, gathered and sent once per turn.
pub(crate) struct Post {
    /// By number of worker. The worker's own is never used.
    boxes: Vec<OutBox>,
}

struct OutBox {
    sender: Sender<WorkerMail>,
    batch: Vec<WorkerMail>,
    bytes: usize,
}

impl Post {
    pub(crate) fn new(senders: Vec<Sender<WorkerMail>>) -> Self {
        let boxes = senders
            .into_iter()
            .map(|sender| OutBox {
                sender,
                batch: Vec::new(),
                bytes: 0,
            })
            .collect();
        Self { boxes }
    }

    pub(crate) fn add(&mut self, worker: u16, mail: WorkerMail) {
        if let Some(outbox) = self.boxes.get_mut(usize::from(worker)) {
            outbox.bytes += mail.size();
            outbox.batch.push(mail);
        }
    }

    /// Sends all that was added; one lock for each worker that gets something.
    pub(crate) fn send(&mut self) {
        for outbox in &mut self.boxes {
            if outbox.batch.is_empty() {
                continue;
            }
            // Whether somebody is full is asked before reading, with `is_free`. A wake-up that fails
            // has nevertheless delivered; the next one wakes.
            let _ = outbox.sender.push_batch(&mut outbox.batch, outbox.bytes);
            outbox.bytes = 0;
        }
    }

    /// Whether every mailbox has room. If not, this worker is woken when there is again.
    pub(crate) fn is_free(&self) -> bool {
        self.boxes
            .iter()
            .all(|outbox| outbox.sender.pressure() == Pressure::Free)
    }
}
