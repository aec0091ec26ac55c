//! The state that records add up to, without the messages' contents.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;

use foldhash::fast::RandomState;
use hashbrown::hash_map::Entry;
use midge_codec::QoS;

use super::fields::Fields;
use super::records::{
    Holding, Kind, Malformed, MessageRecord, SessionRecord, Step, read_holding, read_session,
    read_step, read_subscription,
};
use crate::queue::SubscriptionIds;
use crate::route::SessionRef;
use crate::session::{Expiry, Subscribed, SubscriptionList};

/// Where the log keeps a record, in the log's own form.
pub type Place = [u8; 16];

/// Tables here are large, and their keys come from our own records.
type HashMap<K, V> = hashbrown::HashMap<K, V, RandomState>;

/// Everything that is kept, as of some point of the log.
///
/// Records may speak of sessions and messages that are unknown here: of sessions that ended while a
/// message was on its way to them, or of messages that were refused by a full disk. They mean nothing
/// then.
#[derive(Debug, Default)]
pub struct Image {
    /// Boxed, so that the table stays small and can be renamed and grow at little cost.
    pub(crate) sessions: HashMap<SessionRef, Box<ImageSession>>,
    pub(crate) messages: HashMap<u64, ImageMessage>,
    pub(crate) groups: HashMap<u64, ImageGroup>,
    pub(crate) retained: HashMap<Box<str>, ImageRetained>,
    /// Topics of messages that may become retained by the step that follows.
    pub(crate) topics: HashMap<u64, Box<str>>,
    pub(crate) next_message: u64,
    pub(crate) next_version: u64,
    /// Counts what is sent and what groups get, for the order.
    pub(crate) order: u64,
}

/// One session.
#[derive(Debug)]
pub(crate) struct ImageSession {
    pub(crate) client_id: Box<str>,
    pub(crate) user_name: Option<Box<str>>,
    pub(crate) mount_point: Option<Box<str>>,
    pub(crate) version: u8,
    pub(crate) expiry: Expiry,
    pub(crate) will: Option<Box<ImageWill>>,
    /// Since when it has no connection: when it ends, and when its will is due.
    pub(crate) left: Option<Left>,
    pub(crate) subscriptions: SubscriptionList,
    pub(crate) waiting: VecDeque<Copy>,
    pub(crate) sent: BTreeMap<NonZeroU16, Sent>,
    pub(crate) incoming: BTreeMap<NonZeroU16, u64>,
}

/// A session without a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) ends_at: Option<u64>,
    pub(crate) will_due: Option<u64>,
}

/// The will of a session.
#[derive(Debug)]
pub(crate) struct ImageWill {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Box<[u8]>,
    pub(crate) properties: Box<[u8]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
}

/// A copy of a message for a session.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) message: u64,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
}

/// A copy that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) order: u64,
    pub(crate) copy: Copy,
    /// PUBREC has come; the message is needed no longer.
    pub(crate) received: bool,
}

/// A message, without its contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageMessage {
    pub(crate) place: Place,
    pub(crate) holders: u32,
    /// Bytes of its record.
    pub(crate) size: u32,
    /// Milliseconds since 1970; 0 for never.
    pub(crate) expires: u64,
}

/// What a shared group holds, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct ImageGroup {
    pub(crate) messages: BTreeMap<u64, u64>,
    orders: HashMap<u64, u64>,
}

/// What is retained for a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageRetained {
    pub(crate) version: u64,
    /// 0: nothing, and what came before this version counts no longer.
    pub(crate) message: u64,
    pub(crate) expires: Option<u64>,
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageCounts {
    /// Sessions.
    pub sessions: usize,
    /// Subscriptions of all of them.
    pub subscriptions: usize,
    /// Messages, each counted once however many have to get it.
    pub messages: usize,
    /// Copies that sessions wait for or have not acknowledged.
    pub copies: usize,
    /// Topics with a retained message.
    pub retained: usize,
}

impl Image {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the next record of the log. `place` says where it is, `length` how long it was written:
    /// the end of a message's record, its payload, need not be in `payload`. `moved`: the record is a
    /// copy of an older one.
    ///
    /// # Errors
    /// [`Malformed`]; what could be read of the record has been applied.
    pub fn apply(
        &mut self,
        kind: Kind,
        payload: &[u8],
        place: Place,
        length: u32,
        moved: bool,
    ) -> Result<(), Malformed> {
        self.apply_some(kind, payload, place, length, moved)
            .ok_or(Malformed)
    }

    fn apply_some(
        &mut self,
        kind: Kind,
        payload: &[u8],
        place: Place,
        length: u32,
        moved: bool,
    ) -> Option<()> {
        let mut fields = Fields(payload);
        match kind {
            Kind::Message => {
                let record = MessageRecord::read(payload)?;
                if moved {
                    if let Some(message) = self.messages.get_mut(&record.id) {
                        message.place = place;
                    }
                } else {
                    self.message(&record, place, length);
                }
            }
            Kind::Holders => {
                let message = fields.number()?;
                let holding = read_holding(&mut fields)?;
                if self.messages.contains_key(&message) {
                    if holding.retained {
                        self.topics.insert(message, fields.text()?.into());
                    }
                    self.hold(message, &holding);
                }
            }
            Kind::Session => self.session(&read_session(&mut fields)?),
            Kind::Left => {
                let session = fields.session()?;
                let some = |number: u64| (number != 0).then_some(number);
                let left = Left {
                    ends_at: some(fields.number()?),
                    will_due: some(fields.number()?),
                };
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.left = Some(left);
                    if left.will_due.is_none() {
                        session.will = None;
                    }
                }
            }
            Kind::SessionEnd => {
                let session = fields.session()?;
                self.end_session(session);
            }
            Kind::Subscribe => {
                let session = fields.session()?;
                let (filter, options, id) = read_subscription(&mut fields)?;
                if let Some(session) = self.sessions.get_mut(&session) {
                    session
                        .subscriptions
                        .insert(filter, Subscribed { options, id });
                }
            }
            Kind::Unsubscribe => {
                let session = fields.session()?;
                let filter = fields.text()?;
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.subscriptions.remove(filter);
                }
            }
            Kind::Steps => {
                while !fields.is_empty() {
                    let step = read_step(&mut fields)?;
                    self.step(step);
                }
                self.topics.clear();
            }
            Kind::Renamed => self.rename(&mut fields)?,
            Kind::Snapshot => return None,
        }
        Some(())
    }

    fn message(&mut self, record: &MessageRecord<'_>, place: Place, length: u32) {
        self.next_message = self.next_message.max(record.id.saturating_add(1));
        let message = ImageMessage {
            place,
            holders: 0,
            size: length,
            expires: record.expires.unwrap_or(0),
        };
        self.messages.insert(record.id, message);
        if record.holding.retained {
            self.topics.insert(record.id, record.topic.into());
        }
        self.hold(record.id, &record.holding);
        self.unhold_if_none(record.id);
    }

    fn hold(&mut self, id: u64, holding: &Holding) {
        let mut holders = u32::from(holding.retained);
        for copy in &holding.copies {
            if let Some(session) = self.sessions.get_mut(&copy.session) {
                session.waiting.push_back(Copy {
                    message: id,
                    qos: copy.qos,
                    retain: copy.retain,
                    ids: copy.ids.clone(),
                });
                holders += 1;
            }
        }
        for group in &holding.groups {
            self.order += 1;
            holders += u32::from(self.groups.entry(*group).or_default().add(id, self.order));
        }
        if let Some((session, packet_id)) = holding.incoming
            && let Some(session) = self.sessions.get_mut(&session)
        {
            holders += 1;
            if let Some(old) = session.incoming.insert(packet_id, id) {
                self.unhold(old);
            }
        }
        if let Some(message) = self.messages.get_mut(&id) {
            message.holders += holders;
        }
    }

    /// One holder fewer.
    pub(crate) fn unhold(&mut self, id: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.holders = message.holders.saturating_sub(1);
        }
        self.unhold_if_none(id);
    }

    fn unhold_if_none(&mut self, id: u64) {
        if self
            .messages
            .get(&id)
            .is_some_and(|message| message.holders == 0)
        {
            self.messages.remove(&id);
            self.topics.remove(&id);
        }
    }

    pub(crate) fn session(&mut self, record: &SessionRecord<'_>) {
        let will = record.will.as_ref().map(|will| {
            Box::new(ImageWill {
                topic: will.topic.into(),
                payload: will.payload.into(),
                properties: will.properties.into(),
                qos: will.qos,
                retain: will.retain,
                expiry_secs: will.expiry_secs,
                delay_secs: will.delay_secs,
            })
        });
        let user_name = record.user_name.map(Into::into);
        let mount_point = record.mount_point.map(Into::into);
        match self.sessions.entry(record.session) {
            Entry::Occupied(mut known) => {
                let session = known.get_mut();
                session.user_name = user_name;
                session.mount_point = mount_point;
                session.version = record.version;
                session.expiry = record.expiry;
                session.will = will;
                session.left = None;
            }
            Entry::Vacant(new) => {
                new.insert(Box::new(ImageSession {
                    client_id: record.client_id.into(),
                    user_name,
                    mount_point,
                    version: record.version,
                    expiry: record.expiry,
                    will,
                    left: None,
                    subscriptions: SubscriptionList::default(),
                    waiting: VecDeque::new(),
                    sent: BTreeMap::new(),
                    incoming: BTreeMap::new(),
                }));
            }
        }
    }

    pub(crate) fn end_session(&mut self, session: SessionRef) {
        let Some(session) = self.sessions.remove(&session) else {
            return;
        };
        let sent = session.sent.values().filter(|sent| !sent.received);
        let copies = session.waiting.iter().chain(sent.map(|sent| &sent.copy));
        let messages = copies.map(|copy| copy.message);
        for message in messages.chain(session.incoming.values().copied()) {
            self.unhold(message);
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Sent {
                session,
                message,
                packet_id,
            } => {
                self.order += 1;
                let order = self.order;
                if let Some(session) = self.sessions.get_mut(&session)
                    && let Some(copy) = session.take_first(message)
                {
                    let sent = Sent {
                        order,
                        copy,
                        received: false,
                    };
                    self.sent(session_ref(&step), packet_id, sent);
                }
            }
            Step::SentFromGroup {
                group,
                session,
                message,
                packet_id,
                retain,
                ref ids,
            } => {
                let taken = self
                    .groups
                    .get_mut(&group)
                    .is_some_and(|group| group.remove(message));
                if !taken {
                    return;
                }
                if !self.sessions.contains_key(&session) {
                    self.unhold(message);
                    return;
                }
                self.order += 1;
                let sent = Sent {
                    order: self.order,
                    copy: Copy {
                        message,
                        qos: QoS::ExactlyOnce,
                        retain,
                        ids: ids.clone(),
                    },
                    received: false,
                };
                self.sent(Some(session), packet_id, sent);
            }
            Step::Acknowledged { session, packet_id } => {
                let sent = self
                    .sessions
                    .get_mut(&session)
                    .and_then(|session| session.sent.remove(&packet_id));
                if let Some(sent) = sent
                    && !sent.received
                {
                    self.unhold(sent.copy.message);
                }
            }
            Step::Received { session, packet_id } => {
                let sent = self
                    .sessions
                    .get_mut(&session)
                    .and_then(|session| session.sent.get_mut(&packet_id));
                if let Some(sent) = sent
                    && !std::mem::replace(&mut sent.received, true)
                {
                    let message = sent.copy.message;
                    self.unhold(message);
                }
            }
            Step::Dropped {
                session,
                message,
                at_most_once,
            } => {
                let copy = self
                    .sessions
                    .get_mut(&session)
                    .and_then(|session| session.take_waiting(message, at_most_once));
                if copy.is_some() {
                    self.unhold(message);
                }
            }
            Step::GroupDone { group, message } => {
                if self
                    .groups
                    .get_mut(&group)
                    .is_some_and(|group| group.remove(message))
                {
                    self.unhold(message);
                }
            }
            Step::Retained {
                version,
                message,
                expires,
            } => {
                if let Some(topic) = self.topics.remove(&message) {
                    self.retain(topic, version, message, expires);
                }
            }
            Step::Unretained { version, topic } => self.retain(topic.into(), version, 0, None),
            Step::Released { session, packet_id } => {
                let message = self
                    .sessions
                    .get_mut(&session)
                    .and_then(|session| session.incoming.remove(&packet_id));
                if let Some(message) = message {
                    self.unhold(message);
                }
            }
            Step::WillDone { session } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.will = None;
                }
            }
            Step::Barrier => {}
        }
    }

    fn sent(&mut self, session: Option<SessionRef>, packet_id: NonZeroU16, sent: Sent) {
        let replaced = session
            .and_then(|session| self.sessions.get_mut(&session))
            .and_then(|session| session.sent.insert(packet_id, sent));
        // The identifier was free, or its acknowledgement was lost with a part of the log.
        if let Some(replaced) = replaced
            && !replaced.received
        {
            self.unhold(replaced.copy.message);
        }
    }

    /// Takes a change of a retained message, unless a later one is known.
    pub(crate) fn retain(
        &mut self,
        topic: Box<str>,
        version: u64,
        message: u64,
        expires: Option<u64>,
    ) {
        self.next_version = self.next_version.max(version.saturating_add(1));
        let new = ImageRetained {
            version,
            message,
            expires,
        };
        let gone = match self.retained.get_mut(&topic) {
            Some(known) if known.version > version => message,
            Some(known) => std::mem::replace(known, new).message,
            None => {
                self.retained.insert(topic, new);
                0
            }
        };
        if gone != 0 {
            self.unhold(gone);
        }
    }

    fn rename(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let hasher = RandomState::default();
        let mut renamed = HashMap::with_capacity_and_hasher(self.sessions.len(), hasher);
        while !fields.is_empty() {
            let (old, new) = (fields.session()?, fields.session()?);
            if let Some(session) = self.sessions.remove(&old) {
                renamed.insert(new, session);
            }
        }
        let left: Vec<SessionRef> = self.sessions.keys().copied().collect();
        for session in left {
            self.end_session(session);
        }
        self.sessions = renamed;
        Some(())
    }

    /// Notes that records are missing here. What is left is taken as it is: a copy whose acknowledgement
    /// is missing is delivered once more, one whose message is missing is not there.
    pub fn hole(&mut self) {
        self.topics.clear();
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> ImageCounts {
        let mut counts = ImageCounts {
            sessions: self.sessions.len(),
            messages: self.messages.len(),
            retained: self.retained.values().filter(|r| r.message != 0).count(),
            ..ImageCounts::default()
        };
        for session in self.sessions.values() {
            counts.subscriptions += session.subscriptions.len();
            counts.copies += session.waiting.len() + session.sent.len();
        }
        counts
    }

    /// Where the messages are that have holders.
    pub fn places(&self) -> impl Iterator<Item = (u64, Place, u32)> + '_ {
        self.messages
            .iter()
            .map(|(id, message)| (*id, message.place, message.holders))
    }
}

/// The session of a step that has one.
const fn session_ref(step: &Step<'_>) -> Option<SessionRef> {
    match step {
        Step::Sent { session, .. } => Some(*session),
        _ => None,
    }
}

impl ImageSession {
    /// Takes out the first copy of a message that waits: several subscriptions' are sent in their order.
    fn take_first(&mut self, message: u64) -> Option<Copy> {
        let place = self
            .waiting
            .iter()
            .position(|copy| copy.message == message && copy.qos > QoS::AtMostOnce)?;
        self.waiting.remove(place)
    }

    /// Takes out a copy that waits: nearly always the first, or the last when there was no room for it.
    fn take_waiting(&mut self, message: u64, at_most_once: bool) -> Option<Copy> {
        let is_it =
            |copy: &Copy| copy.message == message && (copy.qos == QoS::AtMostOnce) == at_most_once;
        if self.waiting.front().is_some_and(is_it) {
            return self.waiting.pop_front();
        }
        let place = self.waiting.iter().rposition(is_it)?;
        self.waiting.remove(place)
    }
}

impl ImageGroup {
    pub(crate) fn add(&mut self, message: u64, order: u64) -> bool {
        if self.orders.contains_key(&message) {
            return false;
        }
        self.orders.insert(message, order);
        self.messages.insert(order, message);
        true
    }

    fn remove(&mut self, message: u64) -> bool {
        let Some(order) = self.orders.remove(&message) else {
            return false;
        };
        self.messages.remove(&order);
        true
    }
}
