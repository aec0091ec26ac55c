//! What the durable queue has to know, so that deliveries of QoS 1 and 2 survive the program.
//!
//! The core hands out records in order and is told what is safe. It holds back whatever would be wrong
//! if a record were lost: a message counts as accepted when its record is safe, a message of QoS 2 leaves
//! when its packet identifier is, and PUBREL when it is known that PUBREC came.
//!
//! Of received messages of QoS 2 it keeps the packet identifiers, from when the application is done with a
//! message until the broker has released it: if PUBREC does not arrive, a later run gets the message again
//! and knows it. PUBCOMP waits for the second, or a later run would take the next message with that
//! identifier for the old one.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use midge_codec::{Ack, AckKind, Packet, QoS, ReasonCode};
use midge_proto::Time;

use super::accepting::{Accepted, Rejected};
use super::held::{Draft, Held, Releasing};
use super::receiving::Received;
use super::tickets::Call;
use super::{Core, Outcome, State, Ticket};
use crate::Published;
use crate::error::PublishError;
use crate::message::MessageProperties;

/// One change of the durable queue. A key names a message for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A message is in the queue.
    Message(u64, Box<Kept>),
    /// A message of QoS 2 has this packet identifier.
    Sent(u64, NonZeroU16),
    /// The broker owns the message; PUBREL is due.
    Released(u64, NonZeroU16),
    /// The broker has lost the session: the message waits to be sent anew.
    Queued(u64),
    /// The message is delivered or given up.
    Done(u64),
    /// The application is done with the received message of QoS 2 that has this packet identifier.
    Received(NonZeroU16),
    /// The broker has released that message.
    Gone(NonZeroU16),
    /// The broker has lost the session, and all received messages with it.
    NoneReceived,
}

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Bytes,
    pub(crate) properties: Option<Box<MessageProperties>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// What is left of its life.
    pub(crate) expires_in: Option<Duration>,
}

/// A delivery that an earlier run of the program has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) key: u64,
    pub(crate) message: Option<Kept>,
    pub(crate) step: Step,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Queued,
    Sent(NonZeroU16),
    Released(NonZeroU16),
    /// A received message that must not be handed out again.
    Received(NonZeroU16),
}

#[derive(Default)]
pub(super) struct Journal {
    records: Vec<Record>,
    /// Counts records.
    appended: u64,
    committed: u64,
    /// Nothing is sent again before this many records are safe.
    barrier: u64,
    last_key: u64,
    /// Messages whose record is not safe, each with the ticket of that.
    storing: VecDeque<(u64, Held, Ticket)>,
    /// Messages of QoS 2 whose packet identifier is not safe.
    starting: VecDeque<(u64, NonZeroU16)>,
    /// PUBRELs that wait.
    releasing: VecDeque<(u64, NonZeroU16)>,
    /// PUBCOMPs that wait.
    completing: VecDeque<(u64, NonZeroU16)>,
    /// Until this many records are safe, nothing is read: the broker may use packet identifiers again that
    /// a later run would know as received.
    forgetting: u64,
    keeper: Option<Waker>,
    /// The end of the client, to be told once the files are closed.
    farewell: Option<(Ticket, Outcome)>,
    is_closed: bool,
}

impl Journal {
    fn append(&mut self, record: Record) -> u64 {
        self.records.push(record);
        self.appended += 1;
        self.appended
    }

    pub(super) fn storing(&self) -> usize {
        self.storing.len()
    }

    /// Whether what was recorded before this connection is not safe yet.
    pub(super) const fn waits(&self) -> bool {
        self.committed < self.barrier
    }

    pub(super) fn disconnected(&mut self) {
        self.barrier = self.appended;
        self.starting.clear();
        self.releasing.clear();
        if !self.completing.is_empty() {
            // The broker will send PUBREL again, and it would be answered at once.
            self.forgetting = self.appended;
            self.completing.clear();
        }
    }

    /// Whether packets of the broker's have to wait.
    pub(super) const fn is_forgetting(&self) -> bool {
        self.committed < self.forgetting
    }

    fn is_releasing(&self, id: NonZeroU16) -> bool {
        self.releasing.iter().any(|(_, known)| *known == id)
    }
}

impl Core {
    /// Goes on with what an earlier run has left, and records what changes from now on. Called before
    /// anything else.
    pub(crate) fn restore(&mut self, now: Time, left: Vec<Restored>) {
        let mut journal = Journal::default();
        for restored in left {
            let Restored { key, message, step } = restored;
            journal.last_key = journal.last_key.max(key);
            let ticket = self.tickets.issue(Call::Publish);
            self.tickets.abandon(ticket);
            let held = message.map(|kept| Held::restored(now, key, kept, ticket));
            if let Some(held) = &held {
                self.held_bytes += held.size();
            }
            let (id, is_released) = match step {
                Step::Queued => {
                    self.queue.extend(held);
                    continue;
                }
                Step::Sent(id) => (id, false),
                Step::Released(id) => (id, true),
                Step::Received(id) => {
                    self.tickets.abandon(ticket);
                    self.incoming.insert(id, Received::Recorded);
                    continue;
                }
            };
            match self
                .outgoing
                .restore(id, QoS::ExactlyOnce, is_released, held)
            {
                Ok(()) if is_released => {
                    let published = Published::default();
                    self.releasing
                        .insert(id, Releasing::new(ticket, published, key));
                }
                Ok(()) => {}
                Err(held) => self.queue.extend(held),
            }
        }
        self.outgoing.disconnected();
        self.journal = Some(journal);
    }

    /// Accepts a message once its record is safe.
    pub(super) fn store(&mut self, now: Time, draft: &mut Draft<'_>) -> Result<Accepted, Rejected> {
        self.make_room(draft.size())?;
        let mut held = self.hold(now, draft);
        let delivery = held.ticket();
        let stored = self.tickets.issue(Call::Publish);
        let Some(journal) = &mut self.journal else {
            return Ok(Accepted::Ticket(delivery));
        };
        journal.last_key += 1;
        held.set_key(journal.last_key);
        let record = Record::Message(journal.last_key, Box::new(held.kept(now)));
        let sequence = journal.append(record);
        journal.storing.push_back((sequence, held, stored));
        self.wakers.extend(journal.keeper.take());
        Ok(Accepted::Storing { stored, delivery })
    }

    /// Records a change of a message with a key; 0 is none.
    pub(super) fn record(&mut self, key: u64, record: impl FnOnce(u64) -> Record) -> Option<u64> {
        let journal = self.journal.as_mut().filter(|_| key > 0)?;
        let sequence = journal.append(record(key));
        self.wakers.extend(journal.keeper.take());
        Some(sequence)
    }

    /// A message of QoS 2 was given this identifier; whether it has to wait for that to be safe.
    pub(super) fn record_sent(&mut self, key: u64, id: NonZeroU16) -> bool {
        let Some(sequence) = self.record(key, |key| Record::Sent(key, id)) else {
            return false;
        };
        if let Some(journal) = &mut self.journal {
            journal.starting.push_back((sequence, id));
        }
        true
    }

    /// PUBREC came; whether PUBREL has to wait for that to be safe.
    pub(super) fn record_released(&mut self, key: u64, id: NonZeroU16) -> bool {
        if key == 0 {
            // PUBREC again: one PUBREL is enough.
            return self
                .journal
                .as_ref()
                .is_some_and(|journal| journal.is_releasing(id));
        }
        let Some(sequence) = self.record(key, |key| Record::Released(key, id)) else {
            return false;
        };
        if let Some(journal) = &mut self.journal {
            journal.releasing.push_back((sequence, id));
        }
        true
    }

    /// The application is done with a received message of QoS 2.
    pub(super) fn record_received(&mut self, id: NonZeroU16) {
        if let Some(journal) = &mut self.journal {
            journal.append(Record::Received(id));
            self.wakers.extend(journal.keeper.take());
        }
    }

    /// The broker has released a received message; whether PUBCOMP has to wait for that to be safe.
    pub(super) fn record_gone(&mut self, id: NonZeroU16) -> bool {
        let Some(journal) = &mut self.journal else {
            return false;
        };
        let sequence = journal.append(Record::Gone(id));
        journal.completing.push_back((sequence, id));
        self.wakers.extend(journal.keeper.take());
        true
    }

    /// The broker has lost the session: no packet identifier of its is known any more.
    pub(super) fn record_none_received(&mut self) {
        let is_empty = self.incoming.is_empty();
        if let Some(journal) = self.journal.as_mut().filter(|_| !is_empty) {
            journal.forgetting = journal.append(Record::NoneReceived);
            self.wakers.extend(journal.keeper.take());
        }
    }

    /// What has to be kept next, in order. `Ready(None)`: nothing will follow. While there is nothing,
    /// `waker` is kept.
    pub(crate) fn next_records(&mut self, waker: &Waker) -> Poll<Option<Vec<Record>>> {
        let is_closed = matches!(self.state, State::Closed(_));
        let Some(journal) = &mut self.journal else {
            return Poll::Ready(None);
        };
        if !journal.records.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut journal.records)));
        }
        if is_closed {
            return Poll::Ready(None);
        }
        journal.keeper = Some(waker.clone());
        Poll::Pending
    }

    /// The records that [`Self::next_records`] gave last are safe, but for messages if `refused` says
    /// why.
    pub(crate) fn committed(&mut self, now: Time, count: usize, refused: Option<&str>) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        journal.committed += count as u64;
        let committed = journal.committed;
        while let Some(journal) = &mut self.journal
            && let Some((_, held, stored)) = journal
                .storing
                .pop_front_if(|(sequence, ..)| *sequence <= committed)
        {
            match refused {
                None => {
                    self.queue.push_back(held);
                    let stored_now = Outcome::Published(Ok(Published::default()));
                    self.complete(stored, stored_now);
                }
                Some(why) => {
                    let error = PublishError::Queue(why.to_owned());
                    self.complete(stored, Outcome::Published(Err(error.clone())));
                    self.forget(held, error);
                }
            }
        }
        while let Some(journal) = &mut self.journal
            && let Some((_, id)) = journal
                .starting
                .pop_front_if(|(sequence, _)| *sequence <= committed)
        {
            self.put_new(now, id, true);
        }
        while let Some(journal) = &mut self.journal
            && let Some((_, id)) = journal
                .releasing
                .pop_front_if(|(sequence, _)| *sequence <= committed)
        {
            let release = Ack::new(id, ReasonCode::SUCCESS);
            self.answer(Packet::Ack(AckKind::PubRel, release));
        }
        while let Some(journal) = &mut self.journal
            && let Some((_, id)) = journal
                .completing
                .pop_front_if(|(sequence, _)| *sequence <= committed)
        {
            let complete = Ack::new(id, ReasonCode::SUCCESS);
            self.answer(Packet::Ack(AckKind::PubComp, complete));
        }
        self.pump(now);
        self.resume(now);
        self.room_made();
        self.check_shutdown(now);
    }

    /// Everything that is live, as records that replace all before them. `None` while records wait.
    pub(crate) fn snapshot(&self, now: Time) -> Option<Vec<Record>> {
        let journal = self.journal.as_ref()?;
        if !journal.records.is_empty()
            || !journal.storing.is_empty()
            || matches!(self.state, State::Closed(_))
        {
            return None;
        }
        let mut records = Vec::new();
        for (id, held) in self.outgoing.iter() {
            match held {
                Some(held) if held.key() > 0 => {
                    records.push(Record::Message(held.key(), Box::new(held.kept(now))));
                    if held.kept(now).qos == QoS::ExactlyOnce {
                        records.push(Record::Sent(held.key(), id));
                    }
                }
                Some(_) => {}
                None => {
                    let key = self.releasing.get(&id).map_or(0, Releasing::key);
                    if key > 0 {
                        records.push(Record::Released(key, id));
                    }
                }
            }
        }
        for held in self.queue.iter().filter(|held| held.key() > 0) {
            records.push(Record::Message(held.key(), Box::new(held.kept(now))));
        }
        let received = self.incoming.iter();
        let recorded = received.filter(|(_, state)| **state == Received::Recorded);
        records.extend(recorded.map(|(id, _)| Record::Received(id)));
        Some(records)
    }

    /// The client has ended; its caller is told when the files are closed.
    pub(super) fn bid_farewell(&mut self, ticket: Ticket, outcome: Outcome) {
        let keeper = match &mut self.journal {
            Some(journal) if !journal.is_closed => {
                journal.farewell = Some((ticket, outcome));
                journal.keeper.take()
            }
            _ => {
                self.complete(ticket, outcome);
                None
            }
        };
        self.wakers.extend(keeper);
    }

    /// A ticket for the moment at which the files of a client that has ended are closed.
    pub(crate) fn await_queue_closed(&mut self) -> Ticket {
        let ticket = self.tickets.issue(Call::Disconnect);
        self.bid_farewell(ticket, Outcome::Disconnected(Ok(())));
        ticket
    }

    /// The files are closed.
    pub(crate) fn queue_closed(&mut self) {
        let farewell = self.journal.as_mut().and_then(|journal| {
            journal.is_closed = true;
            journal.farewell.take()
        });
        if let Some((ticket, outcome)) = farewell {
            self.complete(ticket, outcome);
        }
    }

    /// The disk takes nothing, for this reason; it is tried again.
    pub(crate) fn queue_failing(&mut self, why: String) {
        self.tell(crate::Event::QueueFailing(why));
    }

    pub(super) fn wake_keeper(&mut self) {
        let keeper = self
            .journal
            .as_mut()
            .and_then(|journal| journal.keeper.take());
        self.wakers.extend(keeper);
    }
}
