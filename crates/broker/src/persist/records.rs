//! The records: how each is written and read.

use std::fmt;
use std::num::NonZeroU16;

use midge_codec::QoS;
use smallvec::SmallVec;

use super::fields::{Fields, put_bytes, put_number, put_packet_id, put_session};
use crate::message::MessageView;
use crate::queue::SubscriptionIds;
use crate::route::{SessionRef, SubscriptionOptions};
use crate::session::Expiry;

/// What a record is about, as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message with its holders.
    Message = 1,
    /// More holders of a message that is there.
    Holders = 2,
    /// A session begins or goes on with a new connection.
    Session = 3,
    /// The connection of a session has ended.
    Left = 4,
    /// A session has ended, with all that it held.
    SessionEnd = 5,
    /// A subscription was made or changed.
    Subscribe = 6,
    /// A subscription has ended.
    Unsubscribe = 7,
    /// Small changes of one turn: see `Step`.
    Steps = 8,
    /// A restart has given sessions other addresses.
    Renamed = 9,
    /// Part of a snapshot of everything.
    Snapshot = 64,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Message,
            2 => Self::Holders,
            3 => Self::Session,
            4 => Self::Left,
            5 => Self::SessionEnd,
            6 => Self::Subscribe,
            7 => Self::Unsubscribe,
            8 => Self::Steps,
            9 => Self::Renamed,
            64 => Self::Snapshot,
            _ => return None,
        })
    }
}

/// A record that does not read as one of its kind. Its bytes are what was written, or the log would not
/// have shown it: another version of the program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record that this version does not understand")
    }
}

impl std::error::Error for Malformed {}

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

/// Who gets a copy, while a record is written.
#[derive(Clone, Debug)]
pub(crate) struct CopyTo {
    pub(crate) session: SessionRef,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
}

/// Who holds a message, while a record is written.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) copies: SmallVec<[CopyTo; 4]>,
    pub(crate) groups: SmallVec<[u64; 2]>,
    /// The retained store.
    pub(crate) retained: bool,
    /// The publisher's session, until it releases the message.
    pub(crate) incoming: Option<(SessionRef, NonZeroU16)>,
}

impl Holding {
    pub(crate) fn count(&self) -> u32 {
        let count = self.copies.len() + self.groups.len();
        let single = u32::from(self.retained) + u32::from(self.incoming.is_some());
        u32::try_from(count)
            .unwrap_or(u32::MAX)
            .saturating_add(single)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

/// What a session is, while a record is written or read.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord<'a> {
    pub(crate) session: SessionRef,
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) mount_point: Option<&'a str>,
    /// Level of the protocol.
    pub(crate) version: u8,
    pub(crate) expiry: Expiry,
    pub(crate) will: Option<WillRecord<'a>>,
}

/// A will, while a record is written or read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WillRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) properties: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
}

/// A small change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A copy goes out with this packet identifier.
    Sent {
        session: SessionRef,
        message: u64,
        packet_id: NonZeroU16,
    },
    /// A message of a shared group belongs to this member from now on: it goes out with QoS 2.
    SentFromGroup {
        group: u64,
        session: SessionRef,
        message: u64,
        packet_id: NonZeroU16,
        retain: bool,
        ids: SubscriptionIds,
    },
    /// The delivery is over.
    Acknowledged {
        session: SessionRef,
        packet_id: NonZeroU16,
    },
    /// PUBREC has come.
    Received {
        session: SessionRef,
        packet_id: NonZeroU16,
    },
    /// A copy that was not sent is not wanted any more.
    Dropped {
        session: SessionRef,
        message: u64,
        /// The copy of QoS 0: overlapping subscriptions may have made others.
        at_most_once: bool,
    },
    /// A shared group has no more use for a message.
    GroupDone { group: u64, message: u64 },
    /// A message is the retained one of its topic, unless a later version is known.
    Retained {
        version: u64,
        message: u64,
        expires: Option<u64>,
    },
    /// A topic has no retained message, unless a later version is known.
    Unretained { version: u64, topic: &'a str },
    /// The publisher has released a message of QoS 2.
    Released {
        session: SessionRef,
        packet_id: NonZeroU16,
    },
    /// The delayed will has been published.
    WillDone { session: SessionRef },
    /// Nothing: what is held back for the log's sake has a record to wait for.
    Barrier,
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

pub(crate) fn put_subscription(
    bytes: &mut Vec<u8>,
    filter: &str,
    options: SubscriptionOptions,
    id: u32,
) {
    bytes.push(options.bits());
    put_number(bytes, u64::from(id));
    put_bytes(bytes, filter.as_bytes());
}

pub(crate) fn put_session_record(bytes: &mut Vec<u8>, record: &SessionRecord<'_>) {
    put_session(bytes, record.session);
    let (expiry, seconds) = match record.expiry {
        Expiry::WithConnection => (0, 0),
        Expiry::After(seconds) => (1, seconds),
        Expiry::Never => (2, 0),
    };
    let flags = expiry
        | u8::from(record.user_name.is_some()) << 2
        | u8::from(record.mount_point.is_some()) << 3
        | u8::from(record.will.is_some()) << 4;
    bytes.push(flags);
    bytes.push(record.version);
    put_number(bytes, seconds);
    put_bytes(bytes, record.client_id.as_bytes());
    for text in [record.user_name, record.mount_point].into_iter().flatten() {
        put_bytes(bytes, text.as_bytes());
    }
    if let Some(will) = &record.will {
        let flags = will.qos.bits()
            | u8::from(will.retain) << 2
            | u8::from(will.expiry_secs.is_some()) << 3;
        bytes.push(flags);
        put_number(bytes, u64::from(will.delay_secs));
        if let Some(seconds) = will.expiry_secs {
            put_number(bytes, u64::from(seconds));
        }
        put_bytes(bytes, will.topic.as_bytes());
        put_bytes(bytes, will.properties);
        put_bytes(bytes, will.payload);
    }
}

fn put_holding(bytes: &mut Vec<u8>, holding: &Holding) {
    bytes.push(u8::from(holding.retained) | u8::from(holding.incoming.is_some()) << 1);
    if let Some((session, packet_id)) = holding.incoming {
        put_session(bytes, session);
        put_packet_id(bytes, packet_id);
    }
    put_number(bytes, holding.copies.len() as u64);
    for copy in &holding.copies {
        put_session(bytes, copy.session);
        put_form(bytes, copy.qos, copy.retain, copy.ids.as_slice());
    }
    put_number(bytes, holding.groups.len() as u64);
    for group in &holding.groups {
        bytes.extend_from_slice(&group.to_le_bytes());
    }
}

/// How a copy goes out: QoS, RETAIN and subscription identifiers.
pub(crate) fn put_form(bytes: &mut Vec<u8>, qos: QoS, retain: bool, ids: &[u32]) {
    bytes.push(qos.bits() | u8::from(retain) << 2 | u8::from(!ids.is_empty()) << 3);
    if !ids.is_empty() {
        put_number(bytes, ids.len() as u64);
        for id in ids {
            put_number(bytes, u64::from(*id));
        }
    }
}

const SENT: u8 = 1;
const SENT_FROM_GROUP: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const RECEIVED: u8 = 4;
const DROPPED: u8 = 5;
const GROUP_DONE: u8 = 6;
const RETAINED: u8 = 7;
const UNRETAINED: u8 = 8;
const RELEASED: u8 = 9;
const WILL_DONE: u8 = 10;
const BARRIER: u8 = 11;
const DROPPED_AT_MOST_ONCE: u8 = 12;

fn put_step(bytes: &mut Vec<u8>, step: &Step<'_>) {
    match step {
        Step::Sent {
            session,
            message,
            packet_id,
        } => {
            bytes.push(SENT);
            put_session(bytes, *session);
            put_number(bytes, *message);
            put_packet_id(bytes, *packet_id);
        }
        Step::SentFromGroup {
            group,
            session,
            message,
            packet_id,
            retain,
            ids,
        } => {
            bytes.push(SENT_FROM_GROUP);
            bytes.extend_from_slice(&group.to_le_bytes());
            put_session(bytes, *session);
            put_number(bytes, *message);
            put_packet_id(bytes, *packet_id);
            put_form(bytes, QoS::ExactlyOnce, *retain, ids.as_slice());
        }
        Step::Acknowledged { session, packet_id } => {
            put_delivery(bytes, ACKNOWLEDGED, *session, *packet_id);
        }
        Step::Received { session, packet_id } => {
            put_delivery(bytes, RECEIVED, *session, *packet_id);
        }
        Step::Released { session, packet_id } => {
            put_delivery(bytes, RELEASED, *session, *packet_id);
        }
        Step::Dropped {
            session,
            message,
            at_most_once,
        } => {
            bytes.push(if *at_most_once {
                DROPPED_AT_MOST_ONCE
            } else {
                DROPPED
            });
            put_session(bytes, *session);
            put_number(bytes, *message);
        }
        Step::GroupDone { group, message } => {
            bytes.push(GROUP_DONE);
            bytes.extend_from_slice(&group.to_le_bytes());
            put_number(bytes, *message);
        }
        Step::Retained {
            version,
            message,
            expires,
        } => {
            bytes.push(RETAINED);
            put_number(bytes, *version);
            put_number(bytes, *message);
            put_number(bytes, expires.unwrap_or(0));
        }
        Step::Unretained { version, topic } => {
            bytes.push(UNRETAINED);
            put_number(bytes, *version);
            put_bytes(bytes, topic.as_bytes());
        }
        Step::WillDone { session } => {
            bytes.push(WILL_DONE);
            put_session(bytes, *session);
        }
        Step::Barrier => bytes.push(BARRIER),
    }
}

fn put_delivery(bytes: &mut Vec<u8>, tag: u8, session: SessionRef, packet_id: NonZeroU16) {
    bytes.push(tag);
    put_session(bytes, session);
    put_packet_id(bytes, packet_id);
}

/// A message as its record says.
#[derive(Debug)]
pub(crate) struct MessageRecord<'a> {
    pub(crate) id: u64,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Option<u64>,
    pub(crate) holding: Holding,
    pub(crate) topic: &'a str,
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let id = fields.number()?;
        let flags = fields.byte()?;
        let expires = if flags & 8 == 0 {
            None
        } else {
            Some(fields.number()?)
        };
        let holding = read_holding(&mut fields)?;
        Some(Self {
            id,
            qos: QoS::from_bits(flags & 3)?,
            retain: flags & 4 != 0,
            expires,
            holding,
            topic: fields.text()?,
            properties: fields.bytes()?,
            payload: fields.0,
        })
    }
}

pub(crate) fn read_holding(fields: &mut Fields<'_>) -> Option<Holding> {
    let flags = fields.byte()?;
    let incoming = if flags & 2 == 0 {
        None
    } else {
        Some((fields.session()?, fields.packet_id()?))
    };
    let mut holding = Holding {
        retained: flags & 1 != 0,
        incoming,
        ..Holding::default()
    };
    for _ in 0..fields.number()? {
        let session = fields.session()?;
        let (qos, retain, ids) = read_form(fields)?;
        holding.copies.push(CopyTo {
            session,
            qos,
            retain,
            ids,
        });
    }
    for _ in 0..fields.number()? {
        holding.groups.push(fields.fixed()?);
    }
    Some(holding)
}

pub(crate) fn read_form(fields: &mut Fields<'_>) -> Option<(QoS, bool, SubscriptionIds)> {
    let flags = fields.byte()?;
    let ids = if flags & 8 == 0 {
        SubscriptionIds::None
    } else {
        let mut ids: SmallVec<[u32; 8]> = SmallVec::new();
        for _ in 0..fields.number()? {
            ids.push(fields.number_u32()?);
        }
        SubscriptionIds::from_slice(&ids)
    };
    Some((QoS::from_bits(flags & 3)?, flags & 4 != 0, ids))
}

pub(crate) fn read_subscription<'a>(
    fields: &mut Fields<'a>,
) -> Option<(&'a str, SubscriptionOptions, u32)> {
    let options = SubscriptionOptions::from_bits(fields.byte()?);
    let id = fields.number_u32()?;
    Some((fields.text()?, options, id))
}

pub(crate) fn read_session<'a>(fields: &mut Fields<'a>) -> Option<SessionRecord<'a>> {
    let session = fields.session()?;
    let flags = fields.byte()?;
    let version = fields.byte()?;
    let seconds = fields.number()?;
    let client_id = fields.text()?;
    let user_name = match flags & 4 {
        0 => None,
        _ => Some(fields.text()?),
    };
    let mount_point = match flags & 8 {
        0 => None,
        _ => Some(fields.text()?),
    };
    let will = match flags & 16 {
        0 => None,
        _ => Some(read_will(fields)?),
    };
    let expiry = match flags & 3 {
        0 => Expiry::WithConnection,
        1 => Expiry::After(seconds),
        _ => Expiry::Never,
    };
    Some(SessionRecord {
        session,
        client_id,
        user_name,
        mount_point,
        version,
        expiry,
        will,
    })
}

fn read_will<'a>(fields: &mut Fields<'a>) -> Option<WillRecord<'a>> {
    let flags = fields.byte()?;
    let delay_secs = fields.number_u32()?;
    let expiry_secs = match flags & 8 {
        0 => None,
        _ => Some(fields.number_u32()?),
    };
    Some(WillRecord {
        topic: fields.text()?,
        properties: fields.bytes()?,
        payload: fields.bytes()?,
        qos: QoS::from_bits(flags & 3)?,
        retain: flags & 4 != 0,
        expiry_secs,
        delay_secs,
    })
}

pub(crate) fn read_step<'a>(fields: &mut Fields<'a>) -> Option<Step<'a>> {
    Some(match fields.byte()? {
        SENT => Step::Sent {
            session: fields.session()?,
            message: fields.number()?,
            packet_id: fields.packet_id()?,
        },
        SENT_FROM_GROUP => {
            let group = fields.fixed()?;
            let session = fields.session()?;
            let message = fields.number()?;
            let packet_id = fields.packet_id()?;
            let (_, retain, ids) = read_form(fields)?;
            Step::SentFromGroup {
                group,
                session,
                message,
                packet_id,
                retain,
                ids,
            }
        }
        ACKNOWLEDGED => Step::Acknowledged {
            session: fields.session()?,
            packet_id: fields.packet_id()?,
        },
        RECEIVED => Step::Received {
            session: fields.session()?,
            packet_id: fields.packet_id()?,
        },
        RELEASED => Step::Released {
            session: fields.session()?,
            packet_id: fields.packet_id()?,
        },
        tag @ (DROPPED | DROPPED_AT_MOST_ONCE) => Step::Dropped {
            session: fields.session()?,
            message: fields.number()?,
            at_most_once: tag == DROPPED_AT_MOST_ONCE,
        },
        GROUP_DONE => Step::GroupDone {
            group: fields.fixed()?,
            message: fields.number()?,
        },
        RETAINED => Step::Retained {
            version: fields.number()?,
            message: fields.number()?,
            expires: Some(fields.number()?).filter(|expires| *expires != 0),
        },
        UNRETAINED => Step::Unretained {
            version: fields.number()?,
            topic: fields.text()?,
        },
        WILL_DONE => Step::WillDone {
            session: fields.session()?,
        },
        BARRIER => Step::Barrier,
        _ => return None,
    })
}
