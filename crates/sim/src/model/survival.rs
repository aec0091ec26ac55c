//! What a crash of the broker takes back, and what it must not.
//!
//! Each core gathers records of what it does, and hands them to the log in batches. A [`Stamp`] names a
//! batch, from the first thing that it is to cover. What the model does under a stamp it can undo, as
//! long as the batch is not safe: after a crash, exactly what is in the log has happened. What a client
//! is told must be safe before: that is checked when the broker says it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use midge_codec::{AckKind, Packet, QoS};

use super::publication::PubId;
use super::session::{Expiry, Flight, Owed, Session, Sub, Will};
use super::{Answer, Model};
use crate::check::{Checked, broken};
use crate::world::{Millis, TICK};

/// Names a batch of records.
pub(crate) type Stamp = u64;

/// What has been done and is not safe.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsafe {
    /// What covers the things that are done now.
    now: Stamp,
    /// In the order in which they were done.
    changes: BTreeMap<Stamp, Vec<Undo>>,
    touched: BTreeSet<(Stamp, usize)>,
}

/// How a change is taken back.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    /// A session was like this.
    Session(usize, Box<Kept>),
    /// A session was not owed this.
    Owed(usize, usize),
    /// A message was not acknowledged by its receiver.
    Acknowledged(usize, Box<Flight>),
    /// The topic did not have this entry in its history.
    Retained(String, u64),
    /// A group had not got this.
    GroupMessage(usize),
    /// A holder had not acknowledged a group's message.
    Holder(usize, usize),
}

/// What of a session is kept on the disk, and changed by its own core alone.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    conn: Option<usize>,
    ended: bool,
    expiry: Expiry,
    ends_at: Millis,
    will: Option<Will>,
    will_due: Millis,
    subs: BTreeMap<String, (bool, Sub)>,
    incoming: BTreeMap<u16, (PubId, Option<Millis>)>,
}

/// What the broker promises when it sends a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    Answer(Answer),
    /// PUBREL: PUBREC has come.
    Release(u16),
}

impl Kept {
    fn of(session: &Session) -> Self {
        Self {
            conn: session.conn,
            ended: session.ended,
            expiry: session.expiry,
            ends_at: session.ends_at,
            will: session.will.clone(),
            will_due: session.will_due,
            subs: session.subs.clone(),
            incoming: session.incoming.clone(),
        }
    }

    fn restore(self, session: &mut Session) {
        session.conn = self.conn;
        session.ended = self.ended;
        session.expiry = self.expiry;
        session.ends_at = self.ends_at;
        session.will = self.will;
        session.will_due = self.will_due;
        session.subs = self.subs;
        session.incoming = self.incoming;
        session.incoming_stamps.clear();
    }
}

impl Model {
    /// What is done from now on is covered by `stamp`.
    pub(crate) fn gather(&mut self, stamp: Stamp) {
        self.unsafe_.now = stamp;
        self.unsafe_.changes.entry(stamp).or_default();
    }

    /// A batch is safe.
    pub(crate) fn committed(&mut self, stamp: Stamp) {
        self.unsafe_.changes.remove(&stamp);
        let later = self.unsafe_.touched.split_off(&(stamp + 1, 0));
        self.unsafe_.touched.split_off(&(stamp, 0));
        self.unsafe_.touched.extend(later);
    }

    fn is_safe(&self, stamp: Stamp) -> bool {
        !self.unsafe_.changes.contains_key(&stamp)
    }

    /// A session is about to change.
    pub(super) fn will_change(&mut self, sid: usize) {
        let session = &self.sessions[sid];
        if session.persistent && self.unsafe_.touched.insert((self.unsafe_.now, sid)) {
            let kept = Box::new(Kept::of(session));
            self.note(Undo::Session(sid, kept));
        }
    }

    /// A session has begun, and was not there before.
    pub(super) fn has_begun(&mut self, sid: usize) {
        let session = &self.sessions[sid];
        if session.persistent && self.unsafe_.touched.insert((self.unsafe_.now, sid)) {
            let mut kept = Box::new(Kept::of(session));
            kept.ended = true;
            self.note(Undo::Session(sid, kept));
        }
    }

    pub(super) fn note(&mut self, undo: Undo) {
        if self.rules.keeps {
            let now = self.unsafe_.now;
            self.unsafe_.changes.entry(now).or_default().push(undo);
        }
    }

    /// The broker must not say this before what was done now is safe.
    pub(super) fn promise(&mut self, link: usize, promise: Promise) {
        self.promise_of(link, promise, self.unsafe_.now);
    }

    /// What covers the things that are done now.
    pub(super) const fn stamp(&self) -> Stamp {
        self.unsafe_.now
    }

    /// The broker must not say this before this batch is safe.
    pub(super) fn promise_of(&mut self, link: usize, promise: Promise, stamp: Stamp) {
        if self.rules.keeps {
            self.past(link).promises.push_back((promise, stamp));
        }
    }

    /// The broker sends a packet: is what it promises safe?
    pub(crate) fn said(&mut self, link: usize, packet: &Packet<'_>) -> Checked {
        let is_it = |promise: &Promise| match (packet, promise) {
            (Packet::ConnAck(_), Promise::Answer(Answer::ConnAck { .. })) => true,
            (Packet::Ack(AckKind::PubRel, ack), Promise::Release(id)) => ack.packet_id.get() == *id,
            (Packet::Ack(kind, ack), Promise::Answer(Answer::Ack(promised, id, _))) => {
                kind == promised && ack.packet_id.get() == *id
            }
            (Packet::SubAck(ack), Promise::Answer(Answer::SubAck(id, _))) => {
                ack.packet_id.get() == *id
            }
            (Packet::UnsubAck(ack), Promise::Answer(Answer::UnsubAck(id, _))) => {
                ack.packet_id.get() == *id
            }
            _ => false,
        };
        let promises = &mut self.past(link).promises;
        let Some(at) = promises.iter().position(|(promise, _)| is_it(promise)) else {
            return Ok(());
        };
        let Some((promise, stamp)) = promises.remove(at) else {
            return Ok(());
        };
        let is_refusal = matches!(packet, Packet::Ack(_, ack) if ack.reason.is_failure())
            || matches!(packet, Packet::ConnAck(ack) if ack.reason.is_failure());
        if self.is_safe(stamp) || is_refusal {
            return Ok(());
        }
        broken(
            "nothing is promised before it is safe",
            format!("{promise:?} on link {link}, covered by {stamp}"),
        )
    }

    /// The broker has crashed: what is not safe and not among `survivors` has not happened.
    pub(crate) fn crash(&mut self, survivors: &BTreeSet<Stamp>) {
        let not_safe = std::mem::take(&mut self.unsafe_);
        for (stamp, changes) in not_safe.changes.into_iter().rev() {
            if !survivors.contains(&stamp) {
                for undo in changes.into_iter().rev() {
                    self.undo(undo);
                }
            }
        }
        self.closing.clear();
        for link in std::mem::take(&mut self.conns).into_keys() {
            self.past(link).over = true;
        }
        self.by_client.clear();
        for sid in 0..self.sessions.len() {
            self.end_walks(sid, None);
            let session = &mut self.sessions[sid];
            let ends = session.conn.is_some() && session.expiry == Expiry::WithConnection;
            if !session.ended && (ends || !session.persistent) {
                session.ended = true;
                session.will = None;
                session.subs.clear();
                self.lose_member(sid);
            }
            let session = &mut self.sessions[sid];
            if !session.ended {
                self.by_client.insert(session.client.clone(), sid);
                session.forget_progress(self.rules.queues_qos0);
            }
        }
        self.regroup();
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Session(sid, kept) => kept.restore(&mut self.sessions[sid]),
            Undo::Owed(sid, at) => {
                self.sessions[sid].cancel(at);
                self.sessions[sid].owed[at].undone = true;
            }
            Undo::Acknowledged(sid, flight) => self.sessions[sid].unacknowledge(*flight),
            Undo::Retained(topic, seq) => {
                if let Some(history) = self.retained.get_mut(&topic) {
                    history.retain(|entry| entry.seq != seq);
                }
            }
            Undo::GroupMessage(at) => self.group_messages[at].lost = true,
            Undo::Holder(message, holder) => {
                if let Some(holder) = self.group_messages[message].holders.get_mut(holder) {
                    holder.acknowledged = false;
                }
            }
        }
    }

    /// The end of the broker is noted as the end of all connections.
    pub(crate) fn disconnect_all(&mut self, now: Millis) {
        for sid in self.by_client.values() {
            let session = &mut self.sessions[*sid];
            if session.conn.take().is_some() {
                session.ends_at = match session.expiry {
                    Expiry::After(seconds) => now + seconds * 1000,
                    Expiry::WithConnection | Expiry::Never => Millis::MAX,
                };
                session.will_due = match &session.will {
                    Some(will) => now + will.delay * 1000,
                    None => Millis::MAX,
                };
            }
        }
    }

    /// The broker is back, with its sessions at these places.
    pub(crate) fn restarted(&mut self, now: Millis, places: &BTreeMap<String, usize>) -> Checked {
        self.disconnect_all(now);
        for client in self.by_client.keys() {
            if !places.contains_key(client) {
                return broken("sessions survive", format!("{client}'s is gone"));
            }
        }
        for (client, place) in places {
            let Some(sid) = self.by_client.get(client) else {
                return broken("only sessions survive that should", client.clone());
            };
            let session = &mut self.sessions[*sid];
            session.place = *place;
            // What is overdue happens at the next tick of the broker's clock.
            session.ends_at = session.ends_at.max(now + TICK);
            session.will_due = session.will_due.max(now + TICK);
        }
        Ok(())
    }

    /// How many subscriptions there are: ordinary ones and shared ones.
    pub(crate) fn subscriptions_count(&self) -> (usize, usize) {
        let all = || {
            let sessions = self.by_client.values().map(|sid| &self.sessions[*sid]);
            sessions.flat_map(|session| session.subs.values())
        };
        let shared = all().filter(|(shared, _)| *shared).count();
        (all().count() - shared, shared)
    }
}

impl Session {
    /// A copy that was owed is not owed any more.
    fn cancel(&mut self, at: usize) {
        self.owed[at].received = true;
        self.owed[at].cancelled = true;
        for awaited in self.awaited.values_mut() {
            awaited.retain(|other| *other != at);
        }
    }

    /// The broker does not know that a message was received.
    fn unacknowledge(&mut self, flight: Flight) {
        match self.flights.get_mut(&flight.id) {
            Some(same) if same.number == flight.number => same.acknowledged = false,
            _ => self.unfinished.push(flight),
        }
    }

    /// After a crash, what was sent with QoS 1 and not acknowledged may come again, as if for the first
    /// time; QoS 0 does not come any more unless it was queued.
    fn forget_progress(&mut self, queues_qos0: bool) {
        self.last.clear();
        self.reopened = true;
        let owed = &self.owed;
        // Which of several without payload it was is not certain.
        self.flights
            .retain(|_, flight| flight.is_empty || flight.owed.is_none_or(|at| !owed[at].undone));
        let flights = self.flights.values_mut();
        let before: Vec<usize> = flights
            .flat_map(|flight| std::mem::take(&mut flight.again))
            .collect();
        for at in before {
            self.cancel(at);
        }
        let unfinished = std::mem::take(&mut self.unfinished);
        let flights = self.flights.values().filter(|flight| !flight.acknowledged);
        let again: Vec<Flight> = flights.cloned().chain(unfinished).collect();
        for flight in again {
            if flight.key.qos == QoS::AtLeastOnce && flight.shared.is_none() {
                self.owe_again(&flight);
            }
        }
        for at in 0..self.owed.len() {
            let owed = &self.owed[at];
            // Whether one with RETAIN has come is not known of it alone.
            if owed.received || owed.key.retain && !owed.cancelled {
                if owed.key.qos == QoS::AtMostOnce && queues_qos0 {
                    // That it has gone out need not have been noted.
                    let again = Owed {
                        received: false,
                        optional: true,
                        ..owed.clone()
                    };
                    self.owe(again);
                }
                continue;
            }
            if owed.key.qos == QoS::AtMostOnce && !queues_qos0 {
                self.cancel(at);
            }
        }
    }

    /// A message came again under its packet identifier, so it will not come as another one.
    pub(super) fn came_again(&mut self, id: Option<NonZeroU16>) {
        let flight = id.and_then(|id| self.flights.get_mut(&id.get()));
        for at in flight
            .map(|flight| std::mem::take(&mut flight.again))
            .unwrap_or_default()
        {
            self.cancel(at);
        }
    }

    fn owe_again(&mut self, flight: &Flight) {
        let before = self.owed.len();
        self.owe_copies(flight);
        if let Some(same) = self.flights.get_mut(&flight.id)
            && same.number == flight.number
        {
            same.again = (before..self.owed.len()).collect();
        }
    }

    fn owe_copies(&mut self, flight: &Flight) {
        let known = flight.owed.map(|at| self.owed[at].clone());
        let owed = Owed {
            received: false,
            optional: true,
            ..known.unwrap_or_else(|| Owed {
                publication: flight.publication,
                key: flight.key.clone(),
                seq: 0,
                publisher: None,
                published_qos: flight.key.qos,
                expires: flight.expires,
                conn: None,
                received: false,
                optional: true,
                cancelled: false,
                undone: false,
                is_empty: flight.is_empty,
            })
        };
        if !owed.cancelled {
            self.owe(owed);
        }
    }
}
