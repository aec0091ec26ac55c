//! Retained messages in the model: the history of each topic, and what subscriptions may see of it.

use std::collections::BTreeMap;

use midge_codec::{QoS, topic};

use super::matching::Matching;
use super::publication::PubId;
use super::receipt::said_number;
use super::session::{Key, Sub};
use super::survival::Undo;
use super::{Model, Receipt};
use crate::world::Millis;

/// What a topic's retained message became at a point of the order of things.
#[derive(Clone, Debug)]
pub(super) struct RetainedValue {
    pub(super) seq: u64,
    /// The message and when it expires; nothing when it was removed.
    pub(super) value: Option<(PubId, Option<Millis>)>,
}

/// A subscription that is sent retained messages. The broker may take its time, so any value that a
/// topic has had since is right; one that was replaced before is not.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    filter: String,
    granted: QoS,
    ids: Vec<u32>,
    seq: u64,
    at: Millis,
    /// It ended here, because of a later SUBSCRIBE or UNSUBSCRIBE or the end of its connection.
    ended_seq: Option<u64>,
}

/// From when until when a message was a topic's retained message.
struct Span {
    publication: PubId,
    expires: Option<Millis>,
    from: u64,
    until: u64,
}

impl Walk {
    pub(super) fn new(sub: &Sub, seq: u64, at: Millis) -> Self {
        Self {
            filter: sub.filter.clone(),
            granted: sub.qos,
            ids: sub.ids(),
            seq,
            at,
            ended_seq: None,
        }
    }
}

impl Model {
    /// Ends walks of a session: those of a filter, or all.
    pub(super) fn end_walks(&mut self, sid: usize, filter: Option<&str>) {
        let seq = self.seq;
        for walk in &mut self.sessions[sid].walks {
            if walk.ended_seq.is_none() && filter.is_none_or(|filter| filter == walk.filter) {
                walk.ended_seq = Some(seq);
            }
        }
    }

    /// A message becomes the retained one of its topic, or clears it; whether that has to be kept.
    pub(super) fn retain(&mut self, publication: PubId, expires: Option<Millis>) -> bool {
        let message = &self.publications[publication];
        let value = (!message.payload.is_empty()).then_some((publication, expires));
        let seq = self.seq;
        let topic = message.topic.clone();
        let history = self.retained.entry(topic.clone()).or_default();
        // What has expired may have gone by itself.
        let was_there = history
            .last()
            .is_some_and(|entry| matches!(entry.value, Some((_, None))));
        history.push(RetainedValue { seq, value });
        self.note(Undo::Retained(topic, seq));
        value.is_some() || was_there
    }

    /// How many topics have a retained message that has not expired.
    pub(crate) fn retained_count(&self, now: Millis) -> usize {
        self.retained
            .values()
            .filter_map(|history| history.last()?.value)
            .filter(|(_, expires)| expires.is_none_or(|at| at > now))
            .count()
    }

    /// Finds what a message with RETAIN can be: a copy that is owed to a subscription which takes it as
    /// published, or what a new subscription gets. The two cannot be told apart one by one, but there
    /// must not be more than both allow. Tells the publication and its expiry.
    pub(super) fn take_retained(
        &mut self,
        sid: usize,
        receipt: &Receipt<'_>,
        key: &Key,
    ) -> Option<(PubId, Option<Millis>)> {
        let mut found = Vec::new();
        let mut places = self.walk_places(sid, receipt, key, &mut found);
        let session = &self.sessions[sid];
        let awaited = session.awaited.get(&said_number(receipt));
        for at in awaited.into_iter().flatten().copied() {
            let owed = &session.owed[at];
            if owed.key == *key && self.is_publication(owed.publication, receipt) {
                places.push(owed_place(at));
                found.push((owed.publication, owed.expires));
            }
        }
        let fits = |expires: Option<Millis>| self.check_expiry(expires, receipt).is_ok();
        let best = found.iter().copied().find(|(_, expires)| fits(*expires));
        let best = best.or(found.first().copied());
        let topic = receipt.topic.to_owned();
        let shown = self.sessions[sid].shown.entry(topic).or_default();
        if shown.add(places) { best } else { None }
    }

    /// The walks that can have come upon a message, and as what.
    fn walk_places(
        &self,
        sid: usize,
        receipt: &Receipt<'_>,
        key: &Key,
        found: &mut Vec<(PubId, Option<Millis>)>,
    ) -> Vec<usize> {
        let spans = self.spans(receipt);
        let mut places = Vec::new();
        for (at, walk) in self.sessions[sid].walks.iter().enumerate() {
            if walk.ids != key.ids || !topic::matches(&walk.filter, receipt.topic) {
                continue;
            }
            let before = found.len();
            for span in &spans {
                let qos = self.effective(self.publications[span.publication].qos, walk.granted);
                if span.until > walk.seq
                    && walk.ended_seq.is_none_or(|ended| span.from <= ended)
                    && span.expires.is_none_or(|time| time > walk.at)
                    && qos == key.qos
                {
                    found.push((span.publication, span.expires));
                }
            }
            if found.len() > before {
                places.push(walk_place(at));
            }
        }
        places
    }

    /// The times in which what a client received was the topic's retained message.
    fn spans(&self, receipt: &Receipt<'_>) -> Vec<Span> {
        let Some(history) = self.retained.get(receipt.topic) else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for (place, entry) in history.iter().enumerate() {
            if let Some((publication, expires)) = entry.value
                && self.is_publication(publication, receipt)
            {
                let until = history.get(place + 1).map_or(u64::MAX, |next| next.seq);
                spans.push(Span {
                    publication,
                    expires,
                    from: entry.seq,
                    until,
                });
            }
        }
        spans
    }

    /// A message with RETAIN that a session should have got and has not. `owed`: the copies that it should
    /// have, by topic.
    pub(super) fn missing_retained<'a>(
        &'a self,
        sid: usize,
        mut owed: BTreeMap<&'a str, Vec<usize>>,
    ) -> Option<String> {
        let session = &self.sessions[sid];
        for (name, history) in &self.retained {
            let Some(last) = history.last() else { continue };
            let Some((publication, None)) = last.value else {
                continue;
            };
            if self.publications[publication].size_max() > session.packet_max {
                continue;
            }
            for (at, walk) in session.walks.iter().enumerate() {
                if walk.ended_seq.is_none()
                    && last.seq < walk.seq
                    && topic::matches(&walk.filter, name)
                {
                    owed.entry(name).or_default().push(walk_place(at));
                }
            }
        }
        for (name, places) in owed {
            let nothing = Matching::default();
            let shown = session.shown.get(name).unwrap_or(&nothing);
            if let Some(place) = shown.empty_among(&places) {
                let what = match place_of(place) {
                    Place::Owed(at) => format!("{:?}", session.owed[at]),
                    Place::Walk(at) => format!("{:?}", session.walks[at]),
                };
                return Some(format!("{} did not get {name} for {what}", session.client));
            }
        }
        None
    }
}

/// What a message with RETAIN was for.
enum Place {
    Owed(usize),
    Walk(usize),
}

pub(super) const fn owed_place(at: usize) -> usize {
    at * 2
}

const fn walk_place(at: usize) -> usize {
    at * 2 + 1
}

const fn place_of(place: usize) -> Place {
    if place.is_multiple_of(2) {
        Place::Owed(place / 2)
    } else {
        Place::Walk(place / 2)
    }
}
