//! What a shard wants to happen outside of it.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::access::{ControlRequest, Login};
use crate::connection::ConnId;
use crate::message::Message;
use crate::route::{GroupId, SessionRef, Target};
use crate::stats::Stats;

/// What one turn of a shard asks for. The worker carries it out in the order of the fields and clears
/// it; the vectors are kept for their memory.
#[derive(Debug, Default)]
pub struct Effects {
    /// Requests to the directory of client ids, in order. Each [`DirectoryRequest::Claim`] is answered by
    /// [`crate::Shard::claimed`], at once or later.
    pub directory: Vec<DirectoryRequest>,
    /// Clients that want to be let in; [`crate::Shard::logged_in`] takes the answers.
    pub logins: Vec<Login>,
    /// Requests to the broker itself; [`crate::Shard::control_answered`] takes the answers.
    pub controls: Vec<ControlRequest>,
    /// Tokens of connections that have bytes in their outbox. Each is listed once until its bytes have
    /// been taken.
    pub dirty: Vec<usize>,
    /// Tokens of connections that are over, with the bytes that are still to be sent. The shard has
    /// forgotten them; the worker sends what it can within a short time and closes the socket.
    pub closed: Vec<(usize, Vec<u8>)>,
    /// Batches for other shards: `(shard, mail)` in the order of sending.
    pub mail: Vec<(u16, Mail)>,
    /// Messages to be read from the disk; [`crate::Shard::loaded`] is to be told what they are.
    pub loads: Vec<Load>,
    /// Lines for the log.
    pub log: Vec<LogLine>,
}

/// A session's next messages, whose contents are only on the disk.
#[derive(Debug)]
pub struct Load {
    /// Who waits for them.
    pub session: SessionRef,
    /// Their names, as records have them. One that is not in the log yet is about to be.
    pub messages: Vec<u64>,
}

/// A request to the directory, which knows the home of every client id.
#[derive(Debug)]
pub enum DirectoryRequest {
    /// Which shard is to hold the session of this client id?
    Claim(Claim),
    /// The session has ended; the client id is free.
    Release(Arc<str>),
}

/// A connection waits to know where its session lives.
#[derive(Debug)]
pub struct Claim {
    /// Who waits.
    pub conn: ConnId,
    /// The client id of its CONNECT, or the one that the broker chose.
    pub client_id: Arc<str>,
}

/// What the directory says to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The session is, or shall be, at this shard.
    Here,
    /// There are as many client ids as the operator allows.
    Full,
}

/// What one shard tells another. The order from one shard to another is kept.
#[derive(Debug)]
pub enum Mail {
    /// A message for subscriptions of the receiver's sessions.
    Deliver {
        /// The message.
        message: Arc<Message>,
        /// Where it goes.
        targets: SmallVec<[Target; 2]>,
    },
    /// A message of a shared group for one of the receiver's sessions.
    DeliverShared {
        /// The group, to which the message returns if the session cannot finish it.
        group: GroupId,
        /// The group's home.
        home: u16,
        /// The message.
        message: Arc<Message>,
        /// The chosen member.
        target: Target,
    },
    /// A message of a shared group that no member could take: the receiver is the group's home.
    GroupQueue {
        /// The group.
        group: GroupId,
        /// The message. The sender has counted it in the group's backlog.
        message: Arc<Message>,
    },
    /// Messages that a lost member had not finished: the receiver is the group's home.
    GroupReturn {
        /// The group.
        group: GroupId,
        /// The messages, oldest first. The sender has counted them in the group's backlog.
        messages: Vec<Arc<Message>>,
    },
    /// A member has room, and its group a backlog: the receiver is the group's home.
    GroupPull {
        /// The group.
        group: GroupId,
        /// The member.
        target: Target,
        /// How many messages it has room for.
        room: usize,
    },
    /// What a group's home gives a member that has room.
    GroupGrant {
        /// The group.
        group: GroupId,
        /// The group's home.
        home: u16,
        /// The member.
        target: Target,
        /// The messages, oldest first; maybe none.
        messages: Vec<Arc<Message>>,
    },
    /// Asks for the receiver's counters.
    StatsRequest {
        /// Who asks.
        from: u16,
    },
    /// Answers [`Mail::StatsRequest`].
    Stats {
        /// Who answers.
        from: u16,
        /// Its counters.
        stats: Box<Stats>,
    },
}

/// A line for the log, worded as Mosquitto words it where other programs read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Which `log_type` it belongs to.
    pub kind: LogKind,
    /// The text, without time.
    pub text: String,
}

/// The kinds of log line that a shard writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the log_type option")]
pub enum LogKind {
    Error,
    Warning,
    Notice,
    Information,
    Subscribe,
    Unsubscribe,
}
