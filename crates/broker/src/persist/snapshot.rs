//! An image as records, so that the log before them is needed no longer.
//!
//! A snapshot is a sequence of items packed into records. Messages come first, then who holds them; the
//! last item says that the snapshot is whole.

use std::num::NonZeroU16;

use super::fields::{Fields, put_bytes, put_number, put_packet_id, put_session};
use super::image::{Copy, Image, ImageMessage, ImageSession, Left, Place, Sent};
use super::records::{
    Malformed, SessionRecord, WillRecord, put_form, put_session_record, put_subscription,
    read_form, read_session, read_subscription,
};
use crate::route::SessionRef;
use crate::session::Subscribed;

/// Bytes of items in one record, about.
const RECORD_BYTES: usize = 64 * 1024;

/// Changes of retained messages that may reach the log later than one that was made after them: as many
/// as are made in one turn of all cores.
const OVERTAKES_MAX: u64 = 100_000;

const MESSAGE: u8 = 1;
const SESSION: u8 = 2;
const SUBSCRIPTION: u8 = 3;
const WAITING: u8 = 4;
const SENT: u8 = 5;
const INCOMING: u8 = 6;
const GROUP: u8 = 7;
const RETAINED: u8 = 8;
const END: u8 = 9;

/// Whether a snapshot is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotPart {
    /// More is to come.
    More,
    /// That was the last of it.
    Last,
}

impl Image {
    /// Writes everything as snapshot records of the checkpoint `checkpoint`, a record at a time, until
    /// `each` says that it wants no more.
    pub fn snapshot(&self, checkpoint: u64, each: &mut dyn FnMut(&[u8]) -> bool) {
        let mut writer = Writer {
            checkpoint,
            items: Vec::new(),
            each,
            stopped: false,
        };
        writer.messages(self);
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        // The next start takes them in the order of their addresses, and finds them side by side then.
        sessions.sort_unstable_by_key(|(session, _)| **session);
        for (session, state) in sessions {
            writer.session(*session, state);
        }
        for (group, state) in &self.groups {
            for message in state.messages.values() {
                let item = writer.item(GROUP);
                item.extend_from_slice(&group.to_le_bytes());
                put_number(item, *message);
            }
        }
        for (topic, retained) in &self.retained {
            // That nothing is retained matters only while a change that it overtook may still come.
            if retained.message == 0 && retained.version + OVERTAKES_MAX < self.next_version {
                continue;
            }
            let item = writer.item(RETAINED);
            put_number(item, retained.version);
            put_number(item, retained.message);
            put_number(item, retained.expires.unwrap_or(0));
            put_bytes(item, topic.as_bytes());
        }
        let item = writer.item(END);
        put_number(item, self.next_message);
        put_number(item, self.next_version);
        writer.flush();
    }

    /// Which checkpoint a snapshot record belongs to.
    #[must_use]
    pub fn snapshot_checkpoint(payload: &[u8]) -> Option<u64> {
        Fields(payload).fixed()
    }

    /// Applies a snapshot record. Snapshots are applied to an image that has nothing yet.
    ///
    /// # Errors
    /// [`Malformed`]; what could be read has been applied.
    pub fn apply_snapshot(&mut self, payload: &[u8]) -> Result<SnapshotPart, Malformed> {
        let mut fields = Fields(payload);
        let mut part = SnapshotPart::More;
        fields.fixed().ok_or(Malformed)?;
        while !fields.is_empty() {
            if self.item(&mut fields).ok_or(Malformed)? == SnapshotPart::Last {
                part = SnapshotPart::Last;
            }
        }
        Ok(part)
    }

    fn item(&mut self, fields: &mut Fields<'_>) -> Option<SnapshotPart> {
        match fields.byte()? {
            MESSAGE => {
                let id = fields.number()?;
                let place: Place = fields.take(16)?.try_into().ok()?;
                let message = ImageMessage {
                    place,
                    holders: 0,
                    size: fields.number_u32()?,
                    expires: fields.number()?,
                };
                self.messages.insert(id, message);
            }
            SESSION => {
                let record = read_session(fields)?;
                let has_left = fields.byte()? != 0;
                let some = |number: u64| (number != 0).then_some(number);
                let left = Left {
                    ends_at: some(fields.number()?),
                    will_due: some(fields.number()?),
                };
                self.session(&record);
                if let Some(session) = self.sessions.get_mut(&record.session) {
                    session.left = has_left.then_some(left);
                }
            }
            SUBSCRIPTION => {
                let session = fields.session()?;
                let (filter, options, id) = read_subscription(fields)?;
                if let Some(session) = self.sessions.get_mut(&session) {
                    session
                        .subscriptions
                        .insert(filter, Subscribed { options, id });
                }
            }
            WAITING => {
                let session = fields.session()?;
                let copy = read_copy(fields)?;
                if self.count_holder(session, copy.message)
                    && let Some(session) = self.sessions.get_mut(&session)
                {
                    session.waiting.push_back(copy);
                }
            }
            SENT => {
                let session = fields.session()?;
                let packet_id = fields.packet_id()?;
                let received = fields.byte()? != 0;
                let copy = read_copy(fields)?;
                self.order += 1;
                let sent = Sent {
                    order: self.order,
                    copy,
                    received,
                };
                if (received || self.count_holder(session, sent.copy.message))
                    && let Some(session) = self.sessions.get_mut(&session)
                {
                    session.sent.insert(packet_id, sent);
                }
            }
            INCOMING => {
                let session = fields.session()?;
                let packet_id = fields.packet_id()?;
                let message = fields.number()?;
                if self.count_holder(session, message)
                    && let Some(session) = self.sessions.get_mut(&session)
                {
                    session.incoming.insert(packet_id, message);
                }
            }
            GROUP => {
                let group = fields.fixed()?;
                let id = fields.number()?;
                if let Some(message) = self.messages.get_mut(&id) {
                    self.order += 1;
                    let added = self.groups.entry(group).or_default().add(id, self.order);
                    message.holders += u32::from(added);
                }
            }
            RETAINED => {
                let version = fields.number()?;
                let id = fields.number()?;
                let expires = Some(fields.number()?).filter(|expires| *expires != 0);
                let topic = fields.text()?;
                match self.messages.get_mut(&id) {
                    Some(message) => message.holders += 1,
                    None if id != 0 => return Some(SnapshotPart::More),
                    None => {}
                }
                self.retain(topic.into(), version, id, expires);
            }
            END => {
                self.next_message = self.next_message.max(fields.number()?);
                self.next_version = self.next_version.max(fields.number()?);
                // A message that nobody holds is there only if the snapshot was made by mistake.
                self.messages.retain(|_, message| message.holders > 0);
                return Some(SnapshotPart::Last);
            }
            _ => return None,
        }
        Some(SnapshotPart::More)
    }

    fn count_holder(&mut self, session: SessionRef, message: u64) -> bool {
        let known = self.sessions.contains_key(&session);
        match self.messages.get_mut(&message) {
            Some(message) if known => {
                message.holders += 1;
                true
            }
            _ => false,
        }
    }
}

/// Packs items into records.
struct Writer<'a> {
    checkpoint: u64,
    items: Vec<u8>,
    each: &'a mut dyn FnMut(&[u8]) -> bool,
    stopped: bool,
}

impl Writer<'_> {
    /// Begins an item.
    fn item(&mut self, tag: u8) -> &mut Vec<u8> {
        if self.items.len() >= RECORD_BYTES {
            self.flush();
        }
        if self.items.is_empty() {
            self.items.extend_from_slice(&self.checkpoint.to_le_bytes());
        }
        self.items.push(tag);
        &mut self.items
    }

    fn flush(&mut self) {
        if !self.stopped {
            self.stopped = !(self.each)(&self.items);
        }
        self.items.clear();
    }

    fn messages(&mut self, image: &Image) {
        for (id, message) in &image.messages {
            let item = self.item(MESSAGE);
            put_number(item, *id);
            item.extend_from_slice(&message.place);
            put_number(item, u64::from(message.size));
            put_number(item, message.expires);
        }
    }

    fn session(&mut self, session: SessionRef, state: &ImageSession) {
        let item = self.item(SESSION);
        put_session_record(item, &state.record(session));
        item.push(u8::from(state.left.is_some()));
        let left = state.left.unwrap_or(Left {
            ends_at: None,
            will_due: None,
        });
        put_number(item, left.ends_at.unwrap_or(0));
        put_number(item, left.will_due.unwrap_or(0));
        for (filter, subscribed) in state.subscriptions.iter() {
            let item = self.item(SUBSCRIPTION);
            put_session(item, session);
            put_subscription(item, filter, subscribed.options, subscribed.id);
        }
        let mut sent: Vec<(&NonZeroU16, &Sent)> = state.sent.iter().collect();
        sent.sort_unstable_by_key(|(_, sent)| sent.order);
        for (packet_id, sent) in sent {
            let item = self.item(SENT);
            put_session(item, session);
            put_packet_id(item, *packet_id);
            item.push(u8::from(sent.received));
            put_copy(item, &sent.copy);
        }
        for copy in &state.waiting {
            let item = self.item(WAITING);
            put_session(item, session);
            put_copy(item, copy);
        }
        for (packet_id, message) in &state.incoming {
            let item = self.item(INCOMING);
            put_session(item, session);
            put_packet_id(item, *packet_id);
            put_number(item, *message);
        }
    }
}

impl ImageSession {
    fn record(&self, session: SessionRef) -> SessionRecord<'_> {
        SessionRecord {
            session,
            client_id: &self.client_id,
            user_name: self.user_name.as_deref(),
            mount_point: self.mount_point.as_deref(),
            version: self.version,
            expiry: self.expiry,
            will: self.will.as_deref().map(|will| WillRecord {
                topic: &will.topic,
                payload: &will.payload,
                properties: &will.properties,
                qos: will.qos,
                retain: will.retain,
                expiry_secs: will.expiry_secs,
                delay_secs: will.delay_secs,
            }),
        }
    }
}

fn put_copy(bytes: &mut Vec<u8>, copy: &Copy) {
    put_number(bytes, copy.message);
    put_form(bytes, copy.qos, copy.retain, copy.ids.as_slice());
}

fn read_copy(fields: &mut Fields<'_>) -> Option<Copy> {
    let message = fields.number()?;
    let (qos, retain, ids) = read_form(fields)?;
    Some(Copy {
        message,
        qos,
        retain,
        ids,
    })
}
