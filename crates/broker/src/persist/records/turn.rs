//! The records of one turn, from the changes that a shard makes to the bytes that the log is given.

use super::steps::put_step;
use super::{
    Holding, Kind, SessionRecord, Step, put_holding, put_session_record, put_subscription,
};
use crate::message::MessageView;
use crate::persist::fields::{put_bytes, put_number, put_session};
use crate::route::{SessionRef, SubscriptionOptions};

/// Records of one turn, which belong into the log together.
#[derive(Debug, Default)]
pub struct Records {
    pub(crate) number: u64,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    steps: Vec<u8>,
    finished: Vec<u64>,
    replaced: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: Kind,
    start: usize,
    /// It asks for more room, and for a promise that can still be refused.
    is_new_work: bool,
    message: u64,
    holders: u32,
    retained: bool,
}

/// One record on its way to the log.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Its bytes.
    pub payload: &'a [u8],
    /// The message that gets holders by it, or 0.
    pub message: u64,
    /// How many holders it adds.
    pub holders: u32,
    /// Whether the retained store is one of them.
    pub retained: bool,
}

impl Records {
    /// Whether nothing is to be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.steps.is_empty()
    }

    /// Bytes of all records.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.steps.len()
    }

    /// Which turn's they are; counts up from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Messages that lose one holder by these records, once for each.
    #[must_use]
    pub fn finished(&self) -> &[u64] {
        &self.finished
    }

    /// Messages that the retained store holds no longer. Other than with those that are finished, the record
    /// which says that it does may still be on its way: the shard that stored them may be in the middle of
    /// its turn.
    #[must_use]
    pub fn replaced(&self) -> &[u64] {
        &self.replaced
    }

    /// Whether any of them is new work, which a full disk refuses. The others free more than they take.
    #[must_use]
    pub fn has_new_work(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_new_work)
    }

    /// The records in the order in which they belong into the log.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        let ends = self.entries.iter().skip(1).map(|entry| entry.start);
        let ends = ends.chain([self.bytes.len()]);
        let steps = (!self.steps.is_empty()).then_some(RecordRef {
            kind: Kind::Steps,
            payload: &self.steps,
            message: 0,
            holders: 0,
            retained: false,
        });
        let main = self.entries.iter().zip(ends).map(|(entry, end)| RecordRef {
            kind: entry.kind,
            payload: self.bytes.get(entry.start..end).unwrap_or_default(),
            message: entry.message,
            holders: entry.holders,
            retained: entry.retained,
        });
        main.chain(steps)
    }

    /// Empties it for another use and keeps its memory, unless that is much.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.steps.clear();
        self.finished.clear();
        self.replaced.clear();
        if self.bytes.capacity() > 1024 * 1024 {
            *self = Self::default();
        }
    }

    /// Puts what is not new work of `refused` in front.
    pub(crate) fn prepend_rest_of(&mut self, refused: &Self) {
        let mut merged = Self {
            number: self.number,
            ..Self::default()
        };
        let (kept, later) = (
            refused.iter().zip(&refused.entries),
            self.iter().zip(&self.entries),
        );
        for (record, entry) in kept.filter(|(_, entry)| !entry.is_new_work).chain(later) {
            let start = merged.bytes.len();
            merged.bytes.extend_from_slice(record.payload);
            merged.entries.push(Entry { start, ..*entry });
        }
        merged.steps.extend_from_slice(&refused.steps);
        merged.steps.extend_from_slice(&self.steps);
        merged.finished.extend_from_slice(&refused.finished);
        merged.finished.extend_from_slice(&self.finished);
        merged.replaced.extend_from_slice(&refused.replaced);
        merged.replaced.extend_from_slice(&self.replaced);
        *self = merged;
    }

    /// Notes that a message has one holder fewer.
    pub(crate) fn finish(&mut self, message: u64) {
        if message != 0 {
            self.finished.push(message);
        }
    }

    /// Notes that the retained store does not hold a message any more.
    pub(crate) fn replace(&mut self, message: u64) {
        if message != 0 {
            self.replaced.push(message);
        }
    }

    fn begin(&mut self, kind: Kind, is_new_work: bool) -> &mut Vec<u8> {
        self.entries.push(Entry {
            kind,
            start: self.bytes.len(),
            is_new_work,
            message: 0,
            holders: 0,
            retained: false,
        });
        &mut self.bytes
    }

    fn note_holders(&mut self, message: u64, holding: &Holding) {
        if let Some(entry) = self.entries.last_mut() {
            entry.message = message;
            entry.holders = holding.count();
            entry.retained = holding.retained;
        }
    }

    /// A message with its holders. `expires`: in milliseconds since 1970.
    pub(crate) fn message(
        &mut self,
        id: u64,
        view: &MessageView<'_>,
        expires: Option<u64>,
        holding: &Holding,
        is_new_work: bool,
    ) {
        let bytes = self.begin(Kind::Message, is_new_work);
        put_number(bytes, id);
        let flags = view.qos.bits() | u8::from(view.retain) << 2 | u8::from(expires.is_some()) << 3;
        bytes.push(flags);
        if let Some(expires) = expires {
            put_number(bytes, expires);
        }
        put_holding(bytes, holding);
        put_bytes(bytes, view.topic.as_bytes());
        put_bytes(bytes, view.properties);
        bytes.extend_from_slice(view.payload);
        self.note_holders(id, holding);
    }

    /// More holders of a message. Its topic is said again where it may become the retained one.
    pub(crate) fn holders(&mut self, id: u64, topic: &str, holding: &Holding) {
        let bytes = self.begin(Kind::Holders, false);
        put_number(bytes, id);
        put_holding(bytes, holding);
        if holding.retained {
            put_bytes(bytes, topic.as_bytes());
        }
        self.note_holders(id, holding);
    }

    pub(crate) fn session(&mut self, record: &SessionRecord<'_>, is_new_work: bool) {
        let bytes = self.begin(Kind::Session, is_new_work);
        put_session_record(bytes, record);
    }

    /// `will_due`: when the will that waits is to be published; without it there is no will any more.
    pub(crate) fn left(
        &mut self,
        session: SessionRef,
        ends_at: Option<u64>,
        will_due: Option<u64>,
    ) {
        let bytes = self.begin(Kind::Left, false);
        put_session(bytes, session);
        // Zero stands for never.
        put_number(bytes, ends_at.unwrap_or(0));
        put_number(bytes, will_due.map_or(0, |due| due.max(1)));
    }

    pub(crate) fn session_end(&mut self, session: SessionRef) {
        let bytes = self.begin(Kind::SessionEnd, false);
        put_session(bytes, session);
    }

    pub(crate) fn subscribe(
        &mut self,
        session: SessionRef,
        filter: &str,
        options: SubscriptionOptions,
        id: u32,
        is_new_work: bool,
    ) {
        let bytes = self.begin(Kind::Subscribe, is_new_work);
        put_session(bytes, session);
        put_subscription(bytes, filter, options, id);
    }

    pub(crate) fn unsubscribe(&mut self, session: SessionRef, filter: &str) {
        let bytes = self.begin(Kind::Unsubscribe, false);
        put_session(bytes, session);
        put_bytes(bytes, filter.as_bytes());
    }

    /// Sessions by the addresses that they had and have.
    pub(crate) fn renamed(&mut self, pairs: &[(SessionRef, SessionRef)]) {
        let bytes = self.begin(Kind::Renamed, false);
        for (old, new) in pairs {
            put_session(bytes, *old);
            put_session(bytes, *new);
        }
    }

    pub(crate) fn step(&mut self, step: &Step<'_>) {
        put_step(&mut self.steps, step);
    }
}
