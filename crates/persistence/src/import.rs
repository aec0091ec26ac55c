//! Takes over what Mosquitto left in its database.
//!
//! The file is read once, in the memory of the state that it holds without the messages' contents.
//! Messages go to the log as they are read, and what they are for in the end, as one checkpoint. So an
//! import that is cut short leaves a store that is still new ([`crate::Recovered::is_new`]), and the next
//! start begins it again.
//!
//! What is left out: messages and sessions whose time has passed, `$SYS`, and the names of users, which
//! Mosquitto 2.0 mixes up.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::num::NonZeroU16;
use std::time::Instant;

use midge_broker::persist::{
    ContentsView, Image, ImageCounts, Import, ImportedCopy, ImportedMessage, ImportedSession,
    Records,
};
use midge_codec::QoS;
use midge_store::{
    Batch, Committed, Disk, Log, Position, ReadError, Reader, Recovery, Refused, Settled,
    Submission, Tag, TooLong, Work,
};

use crate::batch::batch_of;
use crate::checkpoint::Snapshot;
use crate::mosquitto_db::{
    self, BaseMessage, Client, ClientMessage, Damage, Database, Direction, MessageState, Reason,
    Record, Retained, Stop, Subscription,
};

/// Bytes of messages that are handed to the log together; fewer in tests, which cut in between.
const BATCH_BYTES: usize = if cfg!(test) { 40_000 } else { 1024 * 1024 };

/// How many damaged chunks are told one by one.
const DAMAGE_MAX: usize = 20;

/// What an import goes by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The time, in milliseconds since 1970.
    pub now: u64,
    /// For how many seconds a session may be without its client, if that is limited.
    pub session_secs_max: Option<u64>,
}

/// What was imported and what was not.
#[derive(Debug)]
pub struct Imported {
    /// Version of the file's format.
    pub version: u32,
    /// What the store holds now.
    pub counts: ImageCounts,
    /// Copies and retained messages whose time had passed.
    pub expired_messages: u64,
    /// Sessions whose time had passed.
    pub expired_sessions: u64,
    /// Retained messages of `$SYS`, and what makes no sense beside the rest of the file.
    pub left_out: u64,
    /// The first damaged chunks.
    pub damage: Vec<Damage>,
    /// How many chunks were damaged.
    pub damaged: u64,
    /// Where the reading ended, if that was before the end of the file.
    pub stop: Option<Stop>,
}

/// Why nothing was imported. The store is as new as before.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// Nothing of the file can be read, or reading it failed on the way.
    Read(Stop),
    /// There is nothing in the file but damage.
    Damaged {
        /// The first of it.
        first: Damage,
        /// How many chunks there are.
        count: u64,
    },
    /// The log refused to take it.
    Refused(Refused),
    /// The log cannot be read back.
    ReadBack(ReadError),
    /// A message is longer than any record.
    TooLong(TooLong),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(stop) => stop.fmt(f),
            Self::Damaged { first, count } => {
                write!(f, "all of its {count} chunks are damaged: {first}")
            }
            Self::Refused(refused) => refused.fmt(f),
            Self::ReadBack(error) => error.fmt(f),
            Self::TooLong(too_long) => too_long.fmt(f),
        }
    }
}

impl std::error::Error for ImportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(stop) => Some(stop),
            Self::Refused(refused) => Some(refused),
            Self::ReadBack(error) => Some(error),
            Self::TooLong(too_long) => Some(too_long),
            Self::Damaged { .. } => None,
        }
    }
}

impl From<Refused> for ImportError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<TooLong> for ImportError {
    fn from(too_long: TooLong) -> Self {
        Self::TooLong(too_long)
    }
}

/// Imports `database` into a store that is new, `image` being what its log says so far, and closes the
/// store. It is to be recovered again then.
///
/// # Errors
/// [`ImportError`]; nothing has been imported then.
pub fn import<D: Disk>(
    recovery: Recovery<D>,
    image: &Image,
    database: Database<impl Read>,
    terms: Terms,
) -> Result<Imported, ImportError> {
    let version = database.version();
    let mut records = mosquitto_db::Records::new(database);
    let mut importer = Importer::new(recovery, image, terms);
    let stop = loop {
        match records.next() {
            Ok(None) => break None,
            Ok(Some(Ok(record))) => importer.take(record)?,
            Ok(Some(Err(damage))) => importer.damaged(damage),
            Err(stop) => break Some(stop),
        }
    };
    let read = records.counts();
    let has_content = read.messages > 0
        || read.clients > 0
        || read.client_messages > 0
        || read.subscriptions > 0
        || read.retained > 0;
    match stop {
        // What failed now may work the next time.
        Some(stop) if !has_content || matches!(stop.reason, Reason::Io(_)) => {
            Err(ImportError::Read(stop))
        }
        stop => match importer.damage.first() {
            Some(first) if !has_content => Err(ImportError::Damaged {
                first: *first,
                count: importer.damaged,
            }),
            _ => importer.finish(version, stop),
        },
    }
}

/// An import under way.
struct Importer<D: Disk> {
    log: LogEnd<D>,
    import: Import,
    terms: Terms,
    /// Messages that the log has not taken yet, with the time when each ends.
    records: Records,
    unplaced: Vec<(u64, Option<u64>)>,
    /// Messages by their names in the file.
    messages: HashMap<u64, Known>,
    /// Clients whose sessions have ended.
    ended: HashSet<String>,
    /// Messages that were retained, by their names here.
    retained: HashSet<u64>,
    scratch: Vec<u8>,
    expired_messages: u64,
    left_out: u64,
    damage: Vec<Damage>,
    damaged: u64,
}

/// A message of the file.
#[derive(Clone, Copy)]
struct Known {
    name: u64,
    is_expired: bool,
}

impl<D: Disk> Importer<D> {
    fn new(recovery: Recovery<D>, image: &Image, terms: Terms) -> Self {
        Self {
            log: LogEnd::new(recovery),
            import: Import::new(image),
            terms,
            records: Records::default(),
            unplaced: Vec::new(),
            messages: HashMap::new(),
            ended: HashSet::new(),
            retained: HashSet::new(),
            scratch: Vec::new(),
            expired_messages: 0,
            left_out: 0,
            damage: Vec::new(),
            damaged: 0,
        }
    }

    fn damaged(&mut self, damage: Damage) {
        self.damaged += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        }
    }

    fn take(&mut self, record: Record) -> Result<(), ImportError> {
        match record {
            Record::Config(_) => Ok(()),
            Record::BaseMessage(message) => self.base_message(&message),
            Record::Client(client) => {
                self.client(client);
                Ok(())
            }
            Record::ClientMessage(message) => self.client_message(&message),
            Record::Subscription(subscription) => {
                self.subscription(&subscription);
                Ok(())
            }
            Record::Retained(retained) => self.retain(retained),
        }
    }

    fn base_message(&mut self, message: &BaseMessage) -> Result<(), ImportError> {
        let expires = message.expires_at.map(|at| at.saturating_mul(1000));
        let imported = ImportedMessage {
            topic: &message.topic,
            payload: &message.payload,
            properties: &message.properties,
            qos: message.qos,
            retain: message.retain,
            expires,
        };
        let Some(name) = self.import.message(&imported, &mut self.records) else {
            self.left_out += 1;
            return Ok(());
        };
        self.unplaced.push((name, expires));
        let known = Known {
            name,
            is_expired: expires.is_some_and(|at| at <= self.terms.now),
        };
        self.messages.insert(message.id, known);
        if self.records.size() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Gives the log what has been gathered, and notes where it is.
    fn flush(&mut self) -> Result<(), ImportError> {
        if self.unplaced.is_empty() {
            return Ok(());
        }
        let settled = self.log.settle(Work::Append(batch_of(&self.records)?))?;
        let batch = settled.batch.unwrap_or_default();
        for ((name, expires), position) in self.unplaced.drain(..).zip(batch.positions()) {
            self.import
                .placed(name, expires, position.to_bytes(), position.length);
        }
        self.records.clear();
        Ok(())
    }

    fn client(&mut self, client: Client) {
        let now = self.terms.now;
        let most = self.terms.session_secs_max;
        let after = |from: u64, seconds: u64| from.saturating_add(seconds.saturating_mul(1000));
        // 0 without a time is what Mosquitto 2.0 makes of a session of versions 2 to 4, which never end.
        let asked = match (client.expiry_interval, client.expires_at) {
            (u32::MAX, _) | (0, None) => None,
            (0, Some(at)) => Some((at.saturating_mul(1000).saturating_sub(now) / 1000).max(1)),
            (seconds, _) => Some(u64::from(seconds)),
        };
        let expiry_secs = match (asked, most) {
            (Some(seconds), Some(most)) => Some(seconds.min(most)),
            (seconds, most) => seconds.or(most),
        };
        let left = client
            .disconnected_at
            .map_or(now, |at| at.saturating_mul(1000).min(now));
        let by_interval = expiry_secs.map(|seconds| after(left, seconds));
        let said = client.expires_at.map(|at| at.saturating_mul(1000));
        let ends_at = match (said, by_interval) {
            (Some(said), Some(interval)) if most.is_some() => Some(said.min(interval)),
            (said, interval) => said.or(interval),
        };
        if ends_at.is_some_and(|at| at <= now) {
            self.import.end_session(&client.id);
            self.ended.insert(client.id);
            return;
        }
        self.ended.remove(&client.id);
        self.import.session(&ImportedSession {
            client_id: &client.id,
            expiry_secs,
            ends_at,
        });
    }

    /// Sees that a client has a session, as Mosquitto does where the file has none; false if its session
    /// has ended.
    fn has_session(&mut self, client_id: &str) -> bool {
        if self.ended.contains(client_id) {
            return false;
        }
        if !self.import.has_session(client_id) {
            let expiry_secs = self.terms.session_secs_max;
            self.import.session(&ImportedSession {
                client_id,
                expiry_secs,
                ends_at: expiry_secs.map(|secs| {
                    let millis = secs.saturating_mul(1000);
                    self.terms.now.saturating_add(millis)
                }),
            });
        }
        true
    }

    fn subscription(&mut self, subscription: &Subscription) {
        if !self.has_session(&subscription.client_id) {
            return;
        }
        let is_taken = self.import.subscribe(
            &subscription.client_id,
            &subscription.filter,
            subscription.options,
            subscription.identifier,
        );
        self.left_out += u64::from(!is_taken);
    }

    fn client_message(&mut self, message: &ClientMessage) -> Result<(), ImportError> {
        let client_id = &*message.client_id;
        // A message whose topic no broker takes was left out before.
        let Some(known) = self.messages.get(&message.message_id).copied() else {
            return Ok(());
        };
        if !self.has_session(client_id) {
            return Ok(());
        }
        // It has to be in the log before somebody can get it.
        if self.import.place(known.name).is_none() {
            self.flush()?;
        }
        let copy = ImportedCopy {
            message: known.name,
            qos: message.qos,
            retain: message.retain,
            subscription_id: message.subscription_identifier,
        };
        let with_qos = |qos| ImportedCopy { qos, ..copy };
        let packet_id = NonZeroU16::new(message.packet_id);
        let is_taken = match (Delivery::of(message), packet_id) {
            (Delivery::Over, _) => true,
            // A delivery that has begun is finished, or its identifier would mean two messages.
            (Delivery::Sent(qos), Some(id)) => {
                self.import.sent(client_id, id, with_qos(qos), false)
            }
            (Delivery::Received, Some(id)) => {
                let copy = with_qos(QoS::ExactlyOnce);
                self.import.sent(client_id, id, copy, true)
            }
            (Delivery::Incoming, Some(id)) if !known.is_expired => {
                self.import.incoming(client_id, id, known.name)
            }
            (Delivery::Waiting | Delivery::Sent(_), _) if !known.is_expired => {
                self.import.wait(client_id, copy)
            }
            (Delivery::Waiting | Delivery::Sent(_) | Delivery::Incoming, _) if known.is_expired => {
                self.expired_messages += 1;
                true
            }
            _ => false,
        };
        self.left_out += u64::from(!is_taken);
        Ok(())
    }

    fn retain(&mut self, retained: Retained) -> Result<(), ImportError> {
        let Some(known) = self.messages.get(&retained.message_id).copied() else {
            return Ok(());
        };
        if known.is_expired {
            self.expired_messages += 1;
            return Ok(());
        }
        // Once for each message, however often a faulty file says it: each time it is read back.
        if !self.retained.insert(known.name) {
            return Ok(());
        }
        if self.import.place(known.name).is_none() {
            self.flush()?;
        }
        let place = self.import.place(known.name).unwrap_or_default();
        let record = self
            .log
            .reader
            .read(Position::from_bytes(place), &mut self.scratch)
            .map_err(ImportError::ReadBack)?;
        // The broker makes its own.
        let is_system = ContentsView::read(record.payload)
            .is_none_or(|contents| contents.topic.starts_with("$SYS/"));
        if is_system || !self.import.retain(record.payload) {
            self.left_out += 1;
        }
        Ok(())
    }

    fn finish(mut self, version: u32, stop: Option<Stop>) -> Result<Imported, ImportError> {
        self.flush()?;
        let Ok(Committed::Begun(checkpoint)) = self.log.settle(Work::BeginCheckpoint)?.outcome
        else {
            return Err(Refused::CheckpointVoid.into());
        };
        let snapshot = Snapshot::of(self.import.finish(), checkpoint);
        let counts = snapshot.counts();
        let mut refused = None;
        let log = &mut self.log;
        let is_written =
            snapshot.write(&mut |batch: Batch| match log.settle(Work::Append(batch)) {
                Ok(_) => true,
                Err(why) => {
                    refused = Some(why);
                    false
                }
            });
        if !is_written {
            return Err(refused.unwrap_or(Refused::CheckpointVoid).into());
        }
        self.log.settle(Work::FinishCheckpoint(checkpoint))?;
        self.log.close();
        Ok(Imported {
            version,
            counts,
            expired_messages: self.expired_messages,
            expired_sessions: self.ended.len() as u64,
            left_out: self.left_out,
            damage: self.damage,
            damaged: self.damaged,
            stop,
        })
    }
}

/// What a client's message asks for here.
enum Delivery {
    /// To be sent.
    Waiting,
    /// Sent with this QoS.
    Sent(QoS),
    /// PUBREC has come.
    Received,
    /// From the client, not released.
    Incoming,
    /// Nothing is left to do.
    Over,
}

impl Delivery {
    fn of(message: &ClientMessage) -> Self {
        let again = |qos| {
            if message.dup {
                Self::Sent(qos)
            } else {
                Self::Waiting
            }
        };
        match (message.direction, message.state) {
            // It was passed on, and a PUBREL that comes again is answered.
            (Direction::Incoming, MessageState::ResendPubcomp) => Self::Over,
            (Direction::Incoming, _) => Self::Incoming,
            (Direction::Outgoing, state) => match state {
                MessageState::PublishQos1 => again(QoS::AtLeastOnce),
                MessageState::PublishQos2 => again(QoS::ExactlyOnce),
                MessageState::WaitForPuback => Self::Sent(QoS::AtLeastOnce),
                MessageState::WaitForPubrec => Self::Sent(QoS::ExactlyOnce),
                MessageState::ResendPubrel | MessageState::WaitForPubcomp => Self::Received,
                MessageState::Invalid
                | MessageState::PublishQos0
                | MessageState::WaitForPubrel
                | MessageState::ResendPubcomp
                | MessageState::SendPubrec
                | MessageState::Queued => Self::Waiting,
            },
        }
    }
}

/// The log, with one piece of work at a time.
struct LogEnd<D: Disk> {
    log: Log<D>,
    reader: Reader<D>,
    began: Instant,
}

impl<D: Disk> LogEnd<D> {
    fn new(recovery: Recovery<D>) -> Self {
        let log = Log::start(recovery);
        Self {
            reader: log.reader(),
            log,
            began: Instant::now(),
        }
    }

    fn settle(&mut self, work: Work) -> Result<Settled, Refused> {
        let now = self.began.elapsed();
        let tag = Tag {
            writer: 0,
            ticket: 0,
        };
        let mut settled = Vec::new();
        let mut work = [Submission { tag, work }].into();
        self.log.commit(now, &mut work, &mut settled);
        while self.log.maintain(now) {}
        let settled = settled.pop().ok_or(Refused::Closed)?;
        match settled.outcome {
            Err(refused) => Err(refused),
            Ok(_) => Ok(settled),
        }
    }

    fn close(mut self) {
        self.log.close(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests;
