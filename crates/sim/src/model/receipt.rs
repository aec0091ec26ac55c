//! What clients receive, held against what they are owed.

use std::fmt;

use midge_codec::{Ack, AckKind, Packet, Publish, QoS, ReasonCode};

use super::publication::PubId;
use super::session::{Flight, Key};
use super::survival::{Promise, Undo};
use super::{Answer, Model};
use crate::check::{Checked, broken};
use crate::world::Millis;

/// A PUBLISH as a client understood it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt<'a> {
    pub(crate) link: usize,
    /// Its topic, or what its alias stands for.
    pub(crate) topic: &'a str,
    pub(crate) publish: &'a Publish<'a>,
    /// The client has the packet identifier of a QoS 2 message in use: it has the message already.
    pub(crate) repeated: bool,
    /// The client speaks 5.0.
    pub(crate) has_properties: bool,
    pub(crate) now: Millis,
}

impl fmt::Display for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = crate::broker_side::show(&Packet::Publish(*self.publish));
        write!(
            f,
            "{packet} on {} by link {} at {}",
            self.topic, self.link, self.now
        )
    }
}

/// What a received message was owed for.
struct Settled {
    publication: PubId,
    expires: Option<Millis>,
    owed: Option<usize>,
    /// A message of a shared group and which holder.
    shared: Option<(usize, usize)>,
}

/// Milliseconds by which a broker may round an expiry.
const SECOND: Millis = 1000;

impl Model {
    /// A client received a PUBLISH.
    pub(crate) fn received(&mut self, receipt: &Receipt<'_>) -> Checked {
        let Some(sid) = self.past(receipt.link).session else {
            return broken("order of packets", "PUBLISH before CONNACK");
        };
        let key = Key {
            qos: receipt.publish.qos,
            retain: receipt.publish.retain,
            ids: crate::wire::subscription_ids(&receipt.publish.properties),
        };
        if self.is_again(sid, receipt, &key)? {
            self.sessions[sid].came_again(receipt.publish.packet_id);
            return Ok(());
        }
        if receipt.repeated {
            let what = format!("{} got {receipt}", self.sessions[sid].client);
            return broken("exactly once", what);
        }
        let Settled {
            publication,
            expires,
            owed,
            shared,
        } = self.settle(sid, receipt, &key)?;
        self.check_content(publication, expires, receipt)?;
        if receipt.publish.dup {
            self.check_dup(sid, receipt)?;
        }
        if let Some(id) = receipt.publish.packet_id {
            self.received += 1;
            let flight = Flight {
                id: id.get(),
                number: self.received,
                owed,
                expires,
                is_empty: receipt.publish.payload.is_empty(),
                again: Vec::new(),
                publication,
                topic: receipt.topic.to_owned(),
                key,
                link: receipt.link,
                acknowledged: false,
                shared,
            };
            let old = self.sessions[sid].flights.insert(id.get(), flight);
            if let Some(old) = old
                && old.link == receipt.link
                && !old.acknowledged
                && !self.past(receipt.link).over
            {
                let what = format!("{id} is in use for message {}: {receipt}", old.publication);
                return broken("unique packet identifiers", what);
            }
        }
        Ok(())
    }

    /// Whether this is a message that the client has had under the same packet identifier, sent again as
    /// it may be: with DUP, on another connection, before its acknowledgement arrived.
    fn is_again(&self, sid: usize, receipt: &Receipt<'_>, key: &Key) -> Checked<bool> {
        let publish = receipt.publish;
        let Some(id) = publish.packet_id.filter(|_| publish.dup) else {
            return Ok(false);
        };
        let Some(flight) = self.sessions[sid].flights.get(&id.get()) else {
            return Ok(false);
        };
        if flight.key != *key
            || flight.topic != receipt.topic
            || self.publications[flight.publication].payload != publish.payload
        {
            return Ok(false);
        }
        let client = &self.sessions[sid].client;
        if flight.link == receipt.link {
            return broken(
                "no resend on the same connection",
                format!("{client}: {receipt}"),
            );
        }
        // Once its acknowledgement has arrived, the identifier is free: this can only be another copy that
        // the client is owed, and whose first sending was lost.
        Ok(!flight.acknowledged)
    }

    /// Finds what the message is owed for.
    fn settle(&mut self, sid: usize, receipt: &Receipt<'_>, key: &Key) -> Checked<Settled> {
        let found = if key.retain {
            let found = self.take_retained(sid, receipt, key);
            found.map(|(publication, expires)| (publication, expires, None))
        } else {
            let found = self.take_owed(sid, receipt, key)?;
            found.map(|(at, publication, expires)| (publication, expires, Some(at)))
        };
        if let Some((publication, expires, owed)) = found {
            return Ok(Settled {
                publication,
                expires,
                owed,
                shared: None,
            });
        }
        if let Some((place, publication, expires)) = self.take_shared(sid, receipt, key)? {
            return Ok(Settled {
                publication,
                expires,
                owed: None,
                shared: Some(place),
            });
        }
        let session = &self.sessions[sid];
        let had = session.owed.iter().any(|owed| {
            owed.received && owed.key == *key && self.is_publication(owed.publication, receipt)
        });
        let what = format!("{} got {receipt}", session.client);
        if receipt.publish.dup && had {
            return broken("not again after the acknowledgement", what);
        }
        match (had, key.qos) {
            (true, QoS::AtMostOnce) => broken("at most once", what),
            (true, QoS::AtLeastOnce) => broken("no duplicate without DUP", what),
            (true, QoS::ExactlyOnce) => broken("exactly once", what),
            (false, _) => broken("only what was subscribed", what),
        }
    }

    fn take_owed(
        &mut self,
        sid: usize,
        receipt: &Receipt<'_>,
        key: &Key,
    ) -> Checked<Option<(usize, PubId, Option<Millis>)>> {
        let session = &self.sessions[sid];
        // The same message may be owed several times over, if its publisher sent it again, and what is
        // before may have been lost: the first that raises the fewest doubts.
        let doubts = |at: &usize| {
            let owed = &session.owed[*at];
            let last = session.last.get(&owed.order(receipt.topic)).copied();
            (
                owed.seq < last.unwrap_or(0),
                self.check_expiry(owed.expires, receipt).is_err(),
                key.qos == QoS::AtMostOnce
                    && !self.rules.queues_qos0
                    && owed.conn != Some(receipt.link),
                owed.seq,
            )
        };
        let said = said_number(receipt);
        let candidates = session.awaited.get(&said).into_iter().flatten().copied();
        let at = candidates
            .filter(|at| {
                let owed = &session.owed[*at];
                owed.key == *key && self.is_publication(owed.publication, receipt)
            })
            .min_by_key(doubts);
        let Some(at) = at else {
            return Ok(None);
        };
        let session = &mut self.sessions[sid];
        if let Some(awaited) = session.awaited.get_mut(&said) {
            awaited.retain(|other| *other != at);
        }
        session.owed[at].received = true;
        let owed = session.owed[at].clone();
        let several = self.publications[owed.publication].routed > 1;
        if receipt.publish.payload.is_empty() || several && key.qos == QoS::AtMostOnce {
            // Which of several it was nobody can say for sure.
            return Ok(Some((at, owed.publication, owed.expires)));
        }
        let last = session.last.entry(owed.order(receipt.topic)).or_default();
        if owed.seq < *last {
            let what = format!(
                "{} got by link {} message {} (routed as number {}) after number {last} of its publisher on {}",
                session.client, receipt.link, owed.publication, owed.seq, receipt.topic
            );
            return broken("order", what);
        }
        *last = owed.seq;
        Ok(Some((at, owed.publication, owed.expires)))
    }

    fn check_content(
        &self,
        publication: PubId,
        expires: Option<Millis>,
        receipt: &Receipt<'_>,
    ) -> Checked {
        let published = &self.publications[publication];
        if receipt.has_properties
            && crate::wire::forwarded(&receipt.publish.properties) != published.properties
        {
            return broken("intact properties", format!("{receipt}"));
        }
        self.check_expiry(expires, receipt)
    }

    /// What is said of the expiry of a message that expires at `expires`.
    pub(super) fn check_expiry(&self, expires: Option<Millis>, receipt: &Receipt<'_>) -> Checked {
        let properties = &receipt.publish.properties;
        let began = self
            .past
            .get(&receipt.link)
            .map_or(0, |past| past.connected_at);
        let Some(expires) = expires else {
            return match crate::wire::message_expiry(properties) {
                None => Ok(()),
                Some(_) => broken(
                    "intact properties",
                    format!("an expiry of its own: {receipt}"),
                ),
            };
        };
        if !receipt.publish.dup && expires <= began {
            return broken("no expired messages", format!("{receipt}"));
        }
        if !receipt.has_properties {
            return Ok(());
        }
        let Some(left) = crate::wire::message_expiry(properties) else {
            return broken("expiry is forwarded", format!("{receipt}"));
        };
        let left = u64::from(left) * 1000;
        let most = expires.saturating_sub(began) + SECOND;
        if left > most || left < expires.saturating_sub(receipt.now) {
            let what = format!("{left} ms left of at most {most}: {receipt}");
            return broken("expiry is counted down", what);
        }
        Ok(())
    }

    /// A first receipt with DUP: the message was lost on an earlier connection.
    fn check_dup(&mut self, sid: usize, receipt: &Receipt<'_>) -> Checked {
        if self.past(receipt.link).resumed {
            return Ok(());
        }
        let client = &self.sessions[sid].client;
        broken(
            "DUP only for what is sent again",
            format!("{client}: {receipt}"),
        )
    }

    /// The broker took an acknowledgement.
    pub(super) fn acknowledged(&mut self, link: usize, sid: usize, kind: AckKind, ack: &Ack<'_>) {
        let id = ack.packet_id.get();
        if kind == AckKind::PubRec && !ack.reason.is_failure() {
            *self.past(link).releases.entry(id).or_default() += 1;
        }
        let session = &mut self.sessions[sid];
        let persistent = session.persistent;
        let Some(flight) = session.flights.get_mut(&id) else {
            return;
        };
        if !matches!(kind, AckKind::PubAck | AckKind::PubRec) {
            return;
        }
        let is_new = !std::mem::replace(&mut flight.acknowledged, true);
        let flight = flight.clone();
        if let Some(shared) = flight.shared {
            self.shared_acknowledged(shared);
        }
        if is_new && persistent {
            let mut undone = Box::new(flight);
            undone.acknowledged = false;
            self.note(Undo::Acknowledged(sid, undone));
            if kind == AckKind::PubRec && !ack.reason.is_failure() {
                self.promise(link, Promise::Release(id));
            }
        }
    }

    /// A client received an answer to a packet of its own.
    pub(crate) fn answered(&mut self, link: usize, answer: &Answer) -> Checked {
        let keeps = self.rules.keeps;
        let answers = &mut self.past(link).answers;
        // What waits for the disk is passed by what need not.
        let at = if keeps {
            let same = |owed: &Answer| owed.kind() == answer.kind();
            answers.iter().position(same).unwrap_or(0)
        } else {
            0
        };
        match answers.remove(at) {
            Some(owed) if owed == *answer => Ok(()),
            owed => broken(
                "answers in order",
                format!("{answer:?} came instead of {owed:?}"),
            ),
        }
    }

    /// A client received PUBREL. `known`: it has the message and has not been released from it.
    pub(crate) fn release_received(
        &mut self,
        link: usize,
        id: u16,
        reason: ReasonCode,
        known: bool,
    ) -> Checked {
        let past = self.past(link);
        let earned = past.releases.get_mut(&id).filter(|count| **count > 0);
        let resumed = past.resumed;
        match earned {
            Some(count) => *count -= 1,
            None if resumed => {}
            None => return broken("PUBREL answers PUBREC", format!("{id} on link {link}")),
        }
        if !known && !resumed || reason.is_failure() {
            return broken(
                "PUBREL for what was sent",
                format!("{id} ({reason}) on link {link}"),
            );
        }
        Ok(())
    }
}

/// The publication that a message says it is; one without payload says nothing.
pub(super) fn said_number(receipt: &Receipt<'_>) -> Option<PubId> {
    crate::wire::publication_number(receipt.publish.payload)
}
