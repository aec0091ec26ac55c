//! Sessions, groups and retained messages from an image, before the broker serves anybody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use midge_codec::Version;

use super::group_name_hash;
use super::image::{Copy, Image, ImageSession, Place};
use super::records::{MessageRecord, Records, Step};
use crate::Time;
use crate::message::{Message, MessageView};
use crate::queue::{Queued, Stored};
use crate::route::SessionRef;
use crate::session::{Expiry, Session, SessionWill};
use crate::shard::{Shard, Step as ShardStep, Timer};
use crate::tables::{Change, RetainedMessages};

/// What is restored from an image, piece by piece.
#[derive(Debug)]
pub struct Restoration {
    image: Image,
    read_back: ReadBack,
    renamed: Vec<(SessionRef, SessionRef)>,
    /// What the wall clock says at time zero.
    unix_at_zero: u64,
    /// What waits in queues is read when it is needed.
    leaves_on_disk: bool,
    /// Messages that the retained store has got.
    retained: HashSet<u64>,
}

/// A message that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its name.
    pub id: u64,
    /// Where the log has it.
    pub place: Place,
    /// How many hold it.
    pub holders: u32,
    /// Whether the retained store is one of them.
    pub retained: bool,
}

/// Messages that were read.
#[derive(Debug, Default)]
struct ReadBack {
    /// Those with more than one holder, so that all of them share one.
    shared: HashMap<u64, Arc<Message>>,
    /// How many could not be.
    lost: u64,
    /// Sessions that lost their connection with the broker's end: when they end, and when their will is
    /// due.
    left: Vec<(SessionRef, Option<u64>, Option<u64>)>,
}

/// The sessions of one shard, which can be restored beside those of the others.
#[derive(Debug, Default)]
pub struct Part {
    sessions: Vec<(SessionRef, Box<ImageSession>)>,
    read_back: ReadBack,
    renamed: Vec<(SessionRef, SessionRef)>,
    /// Those that ended with their connection.
    ended: Vec<(SessionRef, Box<ImageSession>)>,
}

/// Sessions that are restored between two changes of the tables.
const CHANGES_EVERY: usize = 1024;

/// Reads the record at a place of the log.
pub type ReadRecord<'a> = dyn FnMut(Place) -> Option<Vec<u8>> + 'a;

impl Restoration {
    /// Begins with all that the log says. `unix_at_zero`: what the wall clock says at time zero, in
    /// milliseconds since 1970.
    #[must_use]
    pub fn new(image: Image, unix_at_zero: u64) -> Self {
        Self {
            image,
            read_back: ReadBack::default(),
            renamed: Vec::new(),
            unix_at_zero,
            leaves_on_disk: false,
            retained: HashSet::new(),
        }
    }

    /// Leaves on the disk what waits in queues; shards ask for it ([`crate::Effects::loads`]) when their
    /// sessions come back.
    pub fn leave_on_disk(&mut self) {
        self.leaves_on_disk = true;
    }

    /// Greater than the name of every message; for [`Shard::persist`].
    #[must_use]
    pub const fn next_message(&self) -> u64 {
        self.image.next_message
    }

    /// How many messages could not be read back, so that somebody misses them.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.read_back.lost
    }

    /// Shares the sessions out among so many shards.
    pub fn share_out(&mut self, shards: usize) -> Vec<Part> {
        let mut parts: Vec<Part> = std::iter::repeat_with(Part::default).take(shards).collect();
        let sessions = std::mem::take(&mut self.image.sessions);
        let mut sessions: Vec<_> = sessions.into_iter().collect();
        // About the order in which they were read, and so in memory: a table's own is by chance, and a
        // million walks through it find nothing in a cache.
        sessions.sort_unstable_by_key(|(key, _)| *key);
        let each = sessions.len().div_ceil(shards.max(1));
        let mut sessions = sessions.into_iter();
        for part in &mut parts {
            part.sessions = sessions.by_ref().take(each).collect();
        }
        parts
    }

    /// Restores the sessions of a part at its shard. `apply` gets the changes of the routing table in
    /// larger pieces, `each` the client id of each session that is there.
    pub fn part(
        &self,
        now: Time,
        shard: &mut Shard,
        part: &mut Part,
        read: &mut ReadRecord<'_>,
        apply: &mut dyn FnMut(&mut Vec<Change>),
        each: &mut dyn FnMut(&Arc<str>),
    ) {
        part.renamed.reserve(part.sessions.len());
        // A table that grows hashes all client ids again.
        shard.by_client_id.reserve(part.sessions.len());
        for (key, image) in std::mem::take(&mut part.sessions) {
            if has_ended(&image) {
                part.ended.push((key, image));
                continue;
            }
            let (restored, client_id) = self.build(now, shard, *image, &mut part.read_back, read);
            part.renamed.push((key, restored));
            each(&client_id);
            if part.renamed.len().is_multiple_of(CHANGES_EVERY) {
                apply(&mut shard.changes);
            }
        }
        apply(&mut shard.changes);
    }

    /// Takes a part back that has been restored.
    pub fn join(&mut self, part: Part) {
        self.renamed.extend(part.renamed);
        self.read_back.lost += part.read_back.lost;
        self.read_back.left.extend(part.read_back.left);
        for (key, image) in part.ended.into_iter().chain(part.sessions) {
            self.image.sessions.insert(key, image);
            self.image.end_session(key);
        }
    }

    /// The client ids of all sessions, to be shared out among the shards.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionRef, &str)> {
        self.image
            .sessions
            .iter()
            .map(|(key, session)| (*key, &*session.client_id))
    }

    /// Restores a session at `shard`, unless it ended with the connection that the broker's end cut.
    /// Gives the client id of one that is there now.
    pub fn session(
        &mut self,
        step: &mut ShardStep<'_>,
        shard: &mut Shard,
        key: SessionRef,
        read: &mut ReadRecord<'_>,
    ) -> Option<Arc<str>> {
        let image = self.image.sessions.remove(&key)?;
        if has_ended(&image) {
            self.image.sessions.insert(key, image);
            self.image.end_session(key);
            return None;
        }
        let mut back = std::mem::take(&mut self.read_back);
        let (restored, client_id) = self.build(step.now, shard, *image, &mut back, read);
        self.read_back = back;
        shard.settle_tables(step);
        self.renamed.push((key, restored));
        Some(client_id)
    }

    fn build(
        &self,
        now: Time,
        shard: &mut Shard,
        image: ImageSession,
        back: &mut ReadBack,
        read: &mut ReadRecord<'_>,
    ) -> (SessionRef, Arc<str>) {
        let version = match image.version & 0x7F {
            3 => Version::V3_1,
            4 => Version::V3_1_1,
            _ => Version::V5,
        };
        let mut session = Session::new(Arc::from(image.client_id), version);
        session.user_name = image.user_name;
        session.mount_point = image.mount_point;
        let cap = shard.settings.persistent_client_expiration;
        session.expiry = image.expiry.capped(cap);
        session.is_persistent = true;
        session.subscriptions = image.subscriptions;
        // Who was connected lost the connection just now.
        session.ends_at = match (image.left, session.expiry) {
            (Some(left), _) => left.ends_at.map_or(Time::NEVER, |at| self.time(at)),
            (None, Expiry::After(seconds)) => now.plus_secs(seconds),
            (None, _) => Time::NEVER,
        };
        if let Some(seconds) = cap {
            // The operator may have chosen it since.
            session.ends_at = session.ends_at.min(now.plus_secs(seconds));
        }
        session.will = image.will.map(|will| {
            let due = match image.left.and_then(|left| left.will_due) {
                Some(due) => self.time(due),
                None => now.plus_secs(u64::from(will.delay_secs)),
            };
            Box::new(SessionWill {
                topic: will.topic,
                payload: will.payload,
                properties: will.properties,
                qos: will.qos,
                retain: will.retain,
                expiry_secs: will.expiry_secs,
                delay_secs: will.delay_secs,
                due,
            })
        });
        let mut sent: Vec<_> = image.sent.into_iter().collect();
        sent.sort_unstable_by_key(|(_, sent)| sent.order);
        for (packet_id, sent) in sent {
            let queued = if sent.received {
                None
            } else {
                match self.queued(&sent.copy, back, read) {
                    Some(queued) => Some(queued),
                    None => continue,
                }
            };
            let size = queued.as_ref().map(|queued| queued.message.size());
            let restored =
                session
                    .outgoing
                    .restore(packet_id, sent.copy.qos, sent.received, queued);
            if let (Ok(()), Some(size)) = (restored, size) {
                session.outgoing_bytes += size;
                shard.stats.queued_messages += 1;
                shard.stats.queued_bytes += size as u64;
            }
        }
        for copy in image.waiting {
            if self.leaves_on_disk {
                let Some(known) = self.image.messages.get(&copy.message) else {
                    continue;
                };
                let stored = Stored::new(copy.message, copy.qos, copy.retain, copy.ids, known.size);
                shard.stats.queued_messages += 1;
                shard.stats.queued_bytes += stored.size() as u64;
                session.queue.push_stored(stored);
            } else if let Some(queued) = self.queued(&copy, back, read) {
                shard.stats.queued_messages += 1;
                shard.stats.queued_bytes += queued.message.size() as u64;
                session.queue.push(queued, &mut shard.spare_queues);
            }
        }
        for (packet_id, message) in image.incoming {
            if let Some(message) = self.message(message, back, read) {
                session.incoming_bytes += message.size();
                shard.stats.queued_messages += 1;
                shard.stats.queued_bytes += message.size() as u64;
                session.incoming.insert(packet_id, message);
            }
        }
        let client_id = Arc::clone(&session.client_id);
        let unix = |time: Time| self.unix_at_zero.saturating_add(time.0).max(1);
        let ends_at = (session.ends_at != Time::NEVER).then(|| unix(session.ends_at));
        let will_due = session.will.as_ref().map(|will| unix(will.due));
        let restored = shard.adopt(session);
        if image.left.is_none() {
            back.left.push((restored, ends_at, will_due));
        }
        (restored, client_id)
    }

    fn time(&self, unix: u64) -> Time {
        Time(unix.saturating_sub(self.unix_at_zero))
    }

    fn queued(
        &self,
        copy: &Copy,
        back: &mut ReadBack,
        read: &mut ReadRecord<'_>,
    ) -> Option<Queued> {
        Some(Queued {
            message: self.message(copy.message, back, read)?,
            qos: copy.qos,
            retain: copy.retain,
            ids: copy.ids.clone(),
            group: None,
        })
    }

    /// A message with its contents.
    fn message(
        &self,
        id: u64,
        back: &mut ReadBack,
        read: &mut ReadRecord<'_>,
    ) -> Option<Arc<Message>> {
        if let Some(message) = back.shared.get(&id) {
            return Some(Arc::clone(message));
        }
        let known = *self.image.messages.get(&id)?;
        let record = read(known.place);
        let message = record
            .as_deref()
            .and_then(MessageRecord::read)
            .filter(|record| record.id == id)
            .map(|record| keep(&record, self.unix_at_zero));
        if message.is_none() {
            back.lost += 1;
        }
        let message = message?;
        if known.holders > 1 {
            back.shared.insert(id, Arc::clone(&message));
        }
        Some(message)
    }

    /// Gives the retained messages to their store.
    pub fn retained(&mut self, store: &mut RetainedMessages, read: &mut ReadRecord<'_>) {
        let mut back = std::mem::take(&mut self.read_back);
        for (topic, retained) in std::mem::take(&mut self.image.retained) {
            if retained.message == 0 {
                continue;
            }
            let Some(message) = self.message(retained.message, &mut back, read) else {
                continue;
            };
            let message = match retained.expires {
                None => message,
                Some(expires) => MessageView {
                    expires: Some(self.time(expires)),
                    ..message.view()
                }
                .keep(),
            };
            self.retained.insert(retained.message);
            store.set(&topic, message);
        }
        self.read_back = back;
        store.begin_versions_after(self.image.next_version);
    }

    /// Gives what shared groups hold to their homes. To be called when all sessions are restored and
    /// their subscriptions are in the routing table. Groups without a member are gone.
    pub fn groups(
        &mut self,
        step: &mut ShardStep<'_>,
        shard: &mut Shard,
        read: &mut ReadRecord<'_>,
    ) {
        if self.image.groups.is_empty() {
            return;
        }
        let names: Vec<(Box<str>, Box<str>)> = shard.shared_subscriptions();
        let mut back = std::mem::take(&mut self.read_back);
        for (share_name, filter) in names {
            let hash = group_name_hash(&share_name, &filter);
            let routing = step.tables.routing();
            let Some(id) = routing.find_group(&share_name, &filter) else {
                continue;
            };
            if routing
                .group(id)
                .is_none_or(|group| group.home() != shard.id)
            {
                continue;
            }
            let Some(group) = self.image.groups.remove(&hash) else {
                continue;
            };
            let messages: Vec<_> = group
                .messages
                .into_values()
                .filter_map(|message| self.message(message, &mut back, read))
                .collect();
            shard.restore_group(step, id, messages);
        }
        self.read_back = back;
    }

    /// The record of the addresses that sessions have now. It has to be in the log before anything else
    /// of this run is.
    #[must_use]
    pub fn renamed(&self) -> Records {
        let mut records = Records::default();
        records.renamed(&self.renamed);
        // Or another end of the broker would give them their time once more.
        for (session, ends_at, will_due) in &self.read_back.left {
            records.left(*session, *ends_at, *will_due);
        }
        for (group, held) in &self.image.groups {
            for message in held.messages.values().copied() {
                let group = *group;
                records.step(&Step::GroupDone { group, message });
            }
        }
        records
    }

    /// Ends the restoration; gives the messages that have holders.
    #[must_use]
    pub fn finish(mut self) -> Vec<KeptMessage> {
        for group in std::mem::take(&mut self.image.groups).into_values() {
            for message in group.messages.into_values() {
                self.image.unhold(message);
            }
        }
        let retained = &self.retained;
        let kept = |(id, place, holders)| KeptMessage {
            id,
            place,
            holders,
            retained: retained.contains(&id),
        };
        self.image.places().map(kept).collect()
    }
}

/// Whether a session was to end with its connection, which the broker's end has cut.
fn has_ended(image: &ImageSession) -> bool {
    image.left.is_none() && !image.expiry.outlives_connection()
}

/// Makes a message of its record. `unix_at_zero`: what the wall clock says at time zero. `None` if the
/// record does not read as one.
#[must_use]
pub fn read_message(record: &[u8], unix_at_zero: u64) -> Option<Arc<Message>> {
    MessageRecord::read(record).map(|record| keep(&record, unix_at_zero))
}

fn keep(record: &MessageRecord<'_>, unix_at_zero: u64) -> Arc<Message> {
    MessageView {
        topic: record.topic,
        payload: record.payload,
        properties: record.properties,
        qos: record.qos,
        retain: record.retain,
        expires: record
            .expires
            .map(|unix| Time(unix.saturating_sub(unix_at_zero))),
        publisher: None,
        id: record.id,
    }
    .keep()
}

impl Shard {
    /// Takes a session that was restored.
    fn adopt(&mut self, mut session: Session) -> SessionRef {
        let client_id = Arc::clone(&session.client_id);
        let deadline = session.deadline();
        session.timer = deadline;
        let key = self.sessions.insert(session);
        self.by_client_id.insert(client_id, key);
        if deadline != Time::NEVER {
            self.timers.set(deadline, Timer::Session(key));
        }
        self.rejoin(key);
        self.session_ref(key)
    }
}
