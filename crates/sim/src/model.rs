//! The reference: what a broker owes its clients, in the simplest terms.
//!
//! It is told, in order, which packets the broker has taken, which connections ended and how time went
//! on, and follows the standard's rules one session at a time. It knows nothing of shards, mail between
//! them, windows or outboxes: a message is owed to a subscription from the moment that it was taken, and
//! some day it has to arrive there. What clients then receive is held against what is owed.

mod ending;
mod matching;
mod publication;
mod receipt;
mod retained;
mod session;
mod shared;
mod survival;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use midge_codec::topic::Filter;
use midge_codec::{
    Ack, AckKind, Packet, QoS, ReasonCode, RetainHandling, Subscription, Version, topic,
};

pub(crate) use publication::{Draft, PubId, Publication};
pub(crate) use receipt::Receipt;
use retained::{RetainedValue, Walk};
pub(crate) use session::{Expiry, Terms};
use session::{Key, Owed, Session, Sub};
use shared::{Group, GroupMessage};
pub(crate) use survival::Stamp;
use survival::{Promise, Undo, Unsafe};

use crate::check::{Checked, broken};
use crate::world::Millis;

/// What the rules depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Messages go out with the subscription's QoS.
    pub(crate) upgrade_qos: bool,
    /// A copy for each overlapping subscription.
    pub(crate) allow_duplicates: bool,
    /// QoS 0 waits for sessions that are away.
    pub(crate) queues_qos0: bool,
    /// Queues are so small that messages may be dropped.
    pub(crate) small_queues: bool,
    /// Seconds that a connection has for its CONNECT.
    pub(crate) connect_timeout: u64,
    /// The broker keeps its state on a disk.
    pub(crate) keeps: bool,
}

/// What the broker has to send in answer to a packet, in this order on each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    ConnAck { present: bool },
    Ack(AckKind, u16, ReasonCode),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
    PingResp,
}

impl Answer {
    /// Answers of one kind come in their order.
    const fn kind(&self) -> u8 {
        match self {
            Self::ConnAck { .. } => 0,
            Self::Ack(..) => 1,
            Self::SubAck(..) | Self::UnsubAck(..) => 2,
            Self::PingResp => 3,
        }
    }
}

/// A connection at the broker.
#[derive(Debug)]
struct Conn {
    /// An opaque name of where the broker keeps it: things of one place see time pass together.
    place: usize,
    session: Option<usize>,
    version: Version,
    keep_alive: u64,
    deadline: Millis,
}

/// What is known of a connection after its end too.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) session: Option<usize>,
    /// The session was there before.
    pub(crate) resumed: bool,
    connected_at: Millis,
    /// The broker has given it up.
    pub(crate) over: bool,
    pub(crate) taken_over: bool,
    /// Answers that are still to come.
    pub(crate) answers: VecDeque<Answer>,
    /// PUBREL packets that PUBRECs have earned.
    releases: BTreeMap<u16, u32>,
    /// What it may be told only when it is safe, and what covers that.
    promises: VecDeque<(Promise, Stamp)>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A normal DISCONNECT.
    Normal,
    /// DISCONNECT with will.
    WithWill,
    /// The socket came to its end.
    Lost,
    /// A fault in the protocol.
    Fault,
    /// Silence.
    KeepAlive,
    TakenOver,
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
struct Routed {
    /// Somebody is subscribed.
    matched: bool,
    /// It has to be there after a crash.
    kept: bool,
}

/// The model's state.
#[derive(Debug)]
pub(crate) struct Model {
    rules: Rules,
    pub(crate) publications: Vec<Publication>,
    sessions: Vec<Session>,
    by_client: BTreeMap<String, usize>,
    conns: BTreeMap<usize, Conn>,
    past: BTreeMap<usize, Past>,
    groups: Vec<Group>,
    live_groups: BTreeMap<(String, String), usize>,
    group_messages: Vec<GroupMessage>,
    /// Their places, by publication.
    grouped: BTreeMap<PubId, Vec<usize>>,
    retained: BTreeMap<String, Vec<RetainedValue>>,
    /// Counts messages routed and subscriptions made: the order of things.
    seq: u64,
    /// Connections that the broker has to close because of what it was just told.
    pub(crate) closing: BTreeSet<usize>,
    unsafe_: Unsafe,
    /// Counts messages that clients received.
    received: u64,
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            publications: Vec::new(),
            sessions: Vec::new(),
            by_client: BTreeMap::new(),
            conns: BTreeMap::new(),
            past: BTreeMap::new(),
            groups: Vec::new(),
            live_groups: BTreeMap::new(),
            group_messages: Vec::new(),
            grouped: BTreeMap::new(),
            retained: BTreeMap::new(),
            seq: 0,
            closing: BTreeSet::new(),
            unsafe_: Unsafe::default(),
            received: 0,
        }
    }

    /// A connection was opened, or moved to another place before its CONNECT.
    pub(crate) fn opened(&mut self, link: usize, place: usize, now: Millis) {
        self.past.entry(link).or_default();
        let conn = Conn {
            place,
            session: None,
            version: Version::V5,
            keep_alive: 0,
            deadline: now + self.rules.connect_timeout * 1000,
        };
        self.conns.insert(link, conn);
    }

    /// A connection leaves its place without CONNECT; it will be opened at another.
    pub(crate) fn moved(&mut self, link: usize) {
        self.conns.remove(&link);
    }

    /// What is known of a connection.
    pub(crate) fn past(&mut self, link: usize) -> &mut Past {
        self.past.entry(link).or_default()
    }

    /// Whether a session of this client id exists.
    pub(crate) fn has_session(&self, client: &str) -> bool {
        self.by_client.contains_key(client)
    }

    /// Whether a session of this client id exists at a place of the broker.
    pub(crate) fn has_session_at(&self, client: &str, place: usize) -> bool {
        self.by_client
            .get(client)
            .is_some_and(|sid| self.sessions[*sid].place == place)
    }

    /// How many topics have a retained message at least, and at most: what has expired may be there.
    pub(crate) fn retained_range(&self, now: Millis) -> (usize, usize) {
        let all = self.retained.values();
        let most = all.filter(|h| h.last().is_some_and(|entry| entry.value.is_some()));
        (self.retained_count(now), most.count())
    }

    /// How many sessions are at a place of the broker.
    pub(crate) fn sessions_at(&self, place: usize) -> u64 {
        let here = |sid: &&usize| self.sessions[**sid].place == place;
        self.by_client.values().filter(here).count() as u64
    }

    /// Which sessions are, or were, at a place of the broker.
    pub(crate) fn describe_sessions(&self, place: usize) -> String {
        let here = self
            .sessions
            .iter()
            .filter(|session| session.place == place);
        let all: Vec<String> = here
            .map(|session| {
                let (client, ended, at) = (&session.client, session.ended, session.ends_at);
                format!("{client} ended {ended} at {at}")
            })
            .collect();
        all.join(", ")
    }

    pub(crate) fn sessions_count(&self) -> usize {
        self.by_client.len()
    }

    /// A CONNECT was accepted.
    pub(crate) fn connected(&mut self, link: usize, client: &str, terms: Terms, now: Millis) {
        let Some(place) = self.conns.get(&link).map(|conn| conn.place) else {
            return;
        };
        if let Some(sid) = self.by_client.get(client).copied()
            && let Some(old) = self.sessions[sid].conn
        {
            self.past(old).taken_over = true;
            self.ended(old, Cause::TakenOver, now);
        }
        let old = self.by_client.get(client).copied();
        let sid = match old {
            Some(sid) if !terms.clean_start => {
                self.will_change(sid);
                sid
            }
            _ => {
                if let Some(sid) = old {
                    self.end_session(sid, now);
                }
                let persistent = self.rules.keeps && terms.expiry != Expiry::WithConnection;
                self.sessions.push(Session::new(client, place, persistent));
                let sid = self.sessions.len() - 1;
                self.has_begun(sid);
                self.by_client.insert(client.to_owned(), sid);
                sid
            }
        };
        let resumed = old == Some(sid);
        let past = Past {
            session: Some(sid),
            resumed,
            connected_at: now,
            answers: VecDeque::from([Answer::ConnAck {
                present: resumed && terms.version != Version::V3_1,
            }]),
            ..Past::default()
        };
        self.past.insert(link, past);
        if self.sessions[sid].persistent {
            let answer = Answer::ConnAck { present: resumed };
            self.promise(link, Promise::Answer(answer));
        }
        if let Some(conn) = self.conns.get_mut(&link) {
            conn.session = Some(sid);
            conn.version = terms.version;
            conn.keep_alive = u64::from(terms.keep_alive);
        }
        self.sessions[sid].connect(link, terms);
        self.active(link, now);
    }

    /// Whole packets came on a connection.
    pub(crate) fn active(&mut self, link: usize, now: Millis) {
        if let Some(conn) = self.conns.get_mut(&link)
            && conn.session.is_some()
        {
            conn.deadline = match conn.keep_alive {
                0 => Millis::MAX,
                seconds => now + seconds * 1500,
            };
        }
    }

    /// A connection came to its end at the broker.
    pub(crate) fn ended(&mut self, link: usize, cause: Cause, now: Millis) {
        let Some(conn) = self.conns.remove(&link) else {
            return;
        };
        self.closing.insert(link);
        self.past(link).over = true;
        let Some(sid) = conn.session else {
            return;
        };
        self.end_walks(sid, None);
        self.will_change(sid);
        let session = &mut self.sessions[sid];
        session.conn = None;
        if cause == Cause::Normal {
            session.will = None;
        }
        match session.expiry {
            Expiry::WithConnection => return self.end_session(sid, now),
            Expiry::After(seconds) => session.ends_at = now + seconds * 1000,
            Expiry::Never => session.ends_at = Millis::MAX,
        }
        match &session.will {
            Some(will) if will.delay > 0 => session.will_due = now + will.delay * 1000,
            Some(_) => self.publish_will(sid, now),
            None => {}
        }
    }

    fn end_session(&mut self, sid: usize, now: Millis) {
        self.will_change(sid);
        let session = &mut self.sessions[sid];
        session.ended = true;
        let client = session.client.clone();
        session.subs.clear();
        self.by_client.remove(&client);
        self.leave_groups(sid, None);
        self.publish_will(sid, now);
    }

    fn publish_will(&mut self, sid: usize, now: Millis) {
        self.will_change(sid);
        self.sessions[sid].will_due = Millis::MAX;
        if let Some(will) = self.sessions[sid].will.take() {
            let expires = will.expiry.map(|seconds| now + seconds * 1000);
            self.route(will.publication, Some(sid), expires, now);
        }
    }

    /// The broker looked at its clock for one place: whatever is due there has to happen.
    pub(crate) fn time_passed(&mut self, place: usize, now: Millis) {
        let overdue: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.place == place && conn.deadline <= now)
            .map(|(link, _)| *link)
            .collect();
        for link in overdue {
            self.ended(link, Cause::KeepAlive, now);
        }
        let away: Vec<_> = self
            .by_client
            .values()
            .copied()
            .filter(|sid| {
                let session = &self.sessions[*sid];
                session.place == place && session.conn.is_none()
            })
            .collect();
        for sid in away {
            let session = &self.sessions[sid];
            if session.ends_at <= now {
                self.end_session(sid, now);
            } else if session.will_due <= now {
                self.publish_will(sid, now);
            }
        }
    }

    /// One place of the broker stops: wills are published, connections end.
    pub(crate) fn shut_down(&mut self, place: usize, now: Millis) {
        let here: Vec<usize> = self.by_client.values().copied().collect();
        for sid in here {
            if self.sessions[sid].place == place {
                self.publish_will(sid, now);
            }
        }
        let conns = self.conns.iter();
        let links: Vec<usize> = conns
            .filter(|(_, conn)| conn.place == place)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.ended(link, Cause::WithWill, now);
        }
    }

    /// The broker took a packet that is not CONNECT.
    pub(crate) fn packet(&mut self, link: usize, packet: &Packet<'_>, now: Millis) -> Checked {
        let Some((sid, version)) = self
            .conns
            .get(&link)
            .and_then(|conn| Some((conn.session?, conn.version)))
        else {
            return broken("order of packets", format!("{packet:?} without a session"));
        };
        match packet {
            Packet::Publish(publish) => self.published(link, sid, publish, now)?,
            Packet::Ack(AckKind::PubRel, ack) => self.released(link, sid, ack, now),
            Packet::Ack(kind, ack) => self.acknowledged(link, sid, *kind, ack),
            Packet::Subscribe(subscribe) => {
                let id = crate::wire::subscription_id(&subscribe.properties);
                let codes = subscribe
                    .subscriptions
                    .iter()
                    .map(|subscription| self.subscribed(sid, &subscription, id, now))
                    .collect();
                let answer = Answer::SubAck(subscribe.packet_id.get(), codes);
                self.answer_if_safe(link, answer, self.sessions[sid].persistent);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let codes: Vec<u8> = unsubscribe
                    .filters
                    .iter()
                    .map(|filter| self.unsubscribed(sid, filter))
                    .collect();
                let changed = codes.contains(&ReasonCode::SUCCESS.0);
                let codes = if version.has_properties() {
                    codes
                } else {
                    Vec::new()
                };
                let answer = Answer::UnsubAck(unsubscribe.packet_id.get(), codes);
                self.answer_if_safe(link, answer, changed && self.sessions[sid].persistent);
            }
            Packet::PingReq => self.answer(link, Answer::PingResp),
            Packet::Disconnect(disconnect) => {
                if let Some(seconds) = crate::wire::session_expiry(&disconnect.properties) {
                    self.will_change(sid);
                    self.sessions[sid].expiry = Expiry::from_interval(seconds);
                }
                let cause = match disconnect.reason {
                    ReasonCode::SUCCESS => Cause::Normal,
                    _ => Cause::WithWill,
                };
                self.ended(link, cause, now);
            }
            _ => return broken("order of packets", format!("the broker took {packet:?}")),
        }
        Ok(())
    }

    fn answer(&mut self, link: usize, answer: Answer) {
        self.past(link).answers.push_back(answer);
    }

    /// The same, and the answer is true only when what was done now is safe, if `needs` says so.
    fn answer_if_safe(&mut self, link: usize, answer: Answer, needs: bool) {
        if needs {
            self.promise(link, Promise::Answer(answer.clone()));
        }
        self.answer(link, answer);
    }

    fn published(
        &mut self,
        link: usize,
        sid: usize,
        publish: &midge_codec::Publish<'_>,
        now: Millis,
    ) -> Checked {
        let topic = self.sessions[sid].resolve_alias(publish)?;
        let publication = self.identify(sid, publish, &topic)?;
        let expires = crate::wire::message_expiry(&publish.properties)
            .map(|secs| now + u64::from(secs) * 1000);
        let Some(id) = publish.packet_id else {
            self.route(publication, Some(sid), expires, now);
            return Ok(());
        };
        let id = id.get();
        if publish.qos == QoS::ExactlyOnce {
            // The first one counts, however often it comes.
            self.will_change(sid);
            let stamp = self.stamp();
            let session = &mut self.sessions[sid];
            let is_new = !session.incoming.contains_key(&id);
            session.incoming.entry(id).or_insert((publication, expires));
            if is_new {
                session.incoming_stamps.insert(id, stamp);
            }
            let persistent = session.persistent;
            let covered = session.incoming_stamps.get(&id).copied();
            let answer = Answer::Ack(AckKind::PubRec, id, ReasonCode::SUCCESS);
            if let (true, Some(stamp)) = (persistent, covered) {
                self.promise_of(link, Promise::Answer(answer.clone()), stamp);
            }
            self.answer(link, answer);
            return Ok(());
        }
        let routed = self.route(publication, Some(sid), expires, now);
        let reason = if routed.matched
            || !self
                .conns
                .get(&link)
                .is_some_and(|c| c.version.has_properties())
        {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        };
        let answer = Answer::Ack(AckKind::PubAck, id, reason);
        self.answer_if_safe(link, answer, routed.kept);
        Ok(())
    }

    fn released(&mut self, link: usize, sid: usize, ack: &Ack<'_>, now: Millis) {
        let id = ack.packet_id.get();
        let mut reason = ReasonCode::SUCCESS;
        let mut needs = false;
        self.will_change(sid);
        if let Some((publication, expires)) = self.sessions[sid].incoming.remove(&id) {
            let routed = self.route(publication, Some(sid), expires, now);
            needs = routed.kept || self.sessions[sid].persistent;
        } else if self
            .conns
            .get(&link)
            .is_some_and(|c| c.version.has_properties())
        {
            reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
        }
        let answer = Answer::Ack(AckKind::PubComp, id, reason);
        self.answer_if_safe(link, answer, needs);
    }

    fn subscribed(
        &mut self,
        sid: usize,
        subscription: &Subscription<'_>,
        id: u32,
        now: Millis,
    ) -> u8 {
        self.seq += 1;
        self.will_change(sid);
        let options = subscription.options;
        let Ok(filter) = Filter::parse(subscription.filter) else {
            return ReasonCode::TOPIC_FILTER_INVALID.0;
        };
        let sub = Sub {
            filter: filter.filter.to_owned(),
            qos: options.qos,
            no_local: options.no_local,
            as_published: options.retain_as_published,
            id,
        };
        let is_new = !self.sessions[sid].subs.contains_key(subscription.filter);
        if let Some(name) = filter.share_name {
            self.join_group(sid, name, &sub);
        } else {
            let wants = match options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            if wants {
                self.end_walks(sid, Some(&sub.filter));
                let walk = Walk::new(&sub, self.seq, now);
                self.sessions[sid].walks.push(walk);
            }
        }
        let shared = filter.share_name.is_some();
        self.sessions[sid]
            .subs
            .insert(subscription.filter.to_owned(), (shared, sub));
        options.qos.bits()
    }

    fn unsubscribed(&mut self, sid: usize, filter: &str) -> u8 {
        self.will_change(sid);
        match self.sessions[sid].subs.remove(filter) {
            None => ReasonCode::NO_SUBSCRIPTION_EXISTED.0,
            Some((shared, _)) => {
                if shared {
                    self.leave_groups(sid, Some(filter));
                } else {
                    self.end_walks(sid, Some(filter));
                }
                ReasonCode::SUCCESS.0
            }
        }
    }

    /// The QoS of a copy.
    fn effective(&self, published: QoS, granted: QoS) -> QoS {
        if self.rules.upgrade_qos {
            granted
        } else {
            published.min(granted)
        }
    }

    /// A message goes to all that subscribe to it.
    fn route(
        &mut self,
        publication: PubId,
        publisher: Option<usize>,
        expires: Option<Millis>,
        now: Millis,
    ) -> Routed {
        self.seq += 1;
        let message = &mut self.publications[publication];
        message.routed += 1;
        let (name, qos, retain) = (message.topic.clone(), message.qos, message.retain);
        let is_empty = message.payload.is_empty();
        let mut kept = false;
        if retain {
            kept = self.retain(publication, expires);
        }
        let expired = expires.is_some_and(|at| at <= now);
        let live: Vec<usize> = self.by_client.values().copied().collect();
        let mut matched = false;
        for sid in live {
            let own = publisher
                .is_some_and(|from| self.sessions[from].client == self.sessions[sid].client);
            let subs: Vec<Sub> = self.sessions[sid]
                .subs
                .values()
                .filter(|(shared, sub)| !shared && topic::matches(&sub.filter, &name))
                .map(|(_, sub)| sub.clone())
                .collect();
            matched |= !subs.is_empty();
            if expired {
                continue;
            }
            let wanted: Vec<&Sub> = subs.iter().filter(|sub| !(own && sub.no_local)).collect();
            let mut keys: Vec<Key> = wanted
                .iter()
                .map(|sub| Key {
                    qos: self.effective(qos, sub.qos),
                    retain: retain && sub.as_published,
                    ids: sub.ids(),
                })
                .collect();
            if !self.rules.allow_duplicates {
                keys = Key::merged(keys).into_iter().collect();
            }
            let conn = self.sessions[sid].conn;
            for key in keys {
                let session = &mut self.sessions[sid];
                let persistent = session.persistent;
                kept |= persistent && key.qos > QoS::AtMostOnce;
                let at = session.owe(Owed {
                    publication,
                    key,
                    seq: self.seq,
                    publisher,
                    published_qos: qos,
                    expires,
                    conn,
                    received: false,
                    optional: false,
                    cancelled: false,
                    undone: false,
                    is_empty,
                });
                if persistent {
                    self.note(Undo::Owed(sid, at));
                }
            }
        }
        let groups = self.route_to_groups(publication, &name, expires, expired);
        Routed {
            matched: matched | groups.matched,
            kept: kept | groups.kept,
        }
    }
}
