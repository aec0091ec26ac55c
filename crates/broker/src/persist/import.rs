//! A state that comes from elsewhere, such as another broker's file.
//!
//! Messages come first, as records that nobody holds; what the log says of where they are is told to the
//! [`Import`], and sessions and the retained store get them there. In the end there is an [`Image`],
//! which goes into the log as the snapshot of a checkpoint. Until that is whole the log says nothing:
//! records of messages without holders mean nothing, and neither does half a snapshot. So an import is
//! there as a whole, or not at all.

use std::collections::HashMap;
use std::num::NonZeroU16;

use midge_codec::{Properties, QoS, SubscriptionOptions as AskedOptions, Version, topic};

use super::image::{Copy, Image, ImageMessage, ImageSession, Left, Place, Sent};
use super::records::{Holding, Kind, MessageRecord, Records};
use crate::message::{MessageView, PublishProperties};
use crate::publish::LEVELS_MAX;
use crate::queue::SubscriptionIds;
use crate::route::{SessionRef, SubscriptionOptions};
use crate::session::{Expiry, Subscribed, SubscriptionList};

/// Whether a record says nothing, wherever it is in the log but behind a whole snapshot: what an import
/// that was not finished leaves consists of such records alone, and nothing else does.
#[must_use]
pub fn says_nothing(kind: Kind, record: &[u8]) -> bool {
    match kind {
        Kind::Snapshot => true,
        Kind::Message => {
            MessageRecord::read(record).is_some_and(|message| message.holding.is_empty())
        }
        _ => false,
    }
}

/// Builds an [`Image`] from plain values.
///
/// Whatever does not fit together is left out, and told by a result of `false`.
#[derive(Debug)]
pub struct Import {
    image: Image,
    sessions: HashMap<Box<str>, SessionRef>,
    /// Sessions that have been there, for their names.
    named: u64,
    properties: Vec<u8>,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct ImportedMessage<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// Properties of a PUBLISH, encoded, without their length; those that concern one connection alone
    /// are left out.
    pub properties: &'a [u8],
    /// As it was published.
    pub qos: QoS,
    /// As it was published.
    pub retain: bool,
    /// When it is no longer worth sending, in milliseconds since 1970.
    pub expires: Option<u64>,
}

/// A session without a connection, without a will and without a user.
#[derive(Clone, Copy, Debug)]
pub struct ImportedSession<'a> {
    /// Client identifier.
    pub client_id: &'a str,
    /// Session expiry interval in seconds; `None` for never. Until the client says another one.
    pub expiry_secs: Option<u64>,
    /// When it ends unless the client comes back, in milliseconds since 1970; `None` for never.
    pub ends_at: Option<u64>,
}

/// How a session gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedCopy {
    /// The message, by the name that [`Import::message`] gave.
    pub message: u64,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// The subscription identifier that goes with it.
    pub subscription_id: Option<u32>,
}

impl Import {
    /// Begins. `image` is what the log holds so far, which is nothing but names that were used.
    #[must_use]
    pub fn new(image: &Image) -> Self {
        let mut empty = Image::new();
        empty.next_message = image.next_message.max(1);
        empty.next_version = image.next_version.max(1);
        Self {
            image: empty,
            sessions: HashMap::new(),
            named: 0,
            properties: Vec::new(),
        }
    }

    /// Adds the record of a message to `records`, and gives its name. `None` if its topic has more levels
    /// than a broker takes.
    pub fn message(&mut self, message: &ImportedMessage<'_>, records: &mut Records) -> Option<u64> {
        if topic::levels(message.topic) > LEVELS_MAX {
            return None;
        }
        let encoded = Properties::from_encoded(message.properties, &[]);
        PublishProperties::split(&encoded, &mut self.properties);
        let id = self.image.next_message;
        self.image.next_message += 1;
        let view = MessageView {
            topic: message.topic,
            payload: message.payload,
            properties: &self.properties,
            qos: message.qos,
            retain: message.retain,
            expires: None,
            publisher: None,
            id,
        };
        records.message(id, &view, message.expires, &Holding::default(), true);
        Some(id)
    }

    /// Notes where a message's record is, and how long it was written. Before that nobody can get it.
    pub fn placed(&mut self, message: u64, expires: Option<u64>, place: Place, length: u32) {
        let placed = ImageMessage {
            place,
            holders: 0,
            size: length,
            expires: expires.unwrap_or(0),
        };
        self.image.messages.insert(message, placed);
    }

    /// Where a message is.
    #[must_use]
    pub fn place(&self, message: u64) -> Option<Place> {
        self.image
            .messages
            .get(&message)
            .map(|message| message.place)
    }

    /// Whether there is a session of this client.
    #[must_use]
    pub fn has_session(&self, client_id: &str) -> bool {
        self.sessions.contains_key(client_id)
    }

    /// Adds a session, or changes when the one of this client ends.
    pub fn session(&mut self, session: &ImportedSession<'_>) {
        let expiry = session.expiry_secs.map_or(Expiry::Never, Expiry::After);
        let left = Some(Left {
            ends_at: session.ends_at,
            will_due: None,
        });
        if let Some(known) = self.session_of(session.client_id) {
            known.expiry = expiry;
            known.left = left;
            return;
        }
        // Sessions of shards have lower addresses, and a restart gives all of them others.
        let key = SessionRef::from_bits(u64::MAX - self.named);
        self.named += 1;
        self.sessions.insert(session.client_id.into(), key);
        let new = ImageSession {
            client_id: session.client_id.into(),
            user_name: None,
            mount_point: None,
            // What the client speaks it says when it comes back.
            version: Version::V3_1_1.level(),
            expiry,
            will: None,
            left,
            subscriptions: SubscriptionList::default(),
            waiting: Default::default(),
            sent: Default::default(),
            incoming: Default::default(),
        };
        self.image.sessions.insert(key, Box::new(new));
    }

    /// Removes a session with all that it holds.
    pub fn end_session(&mut self, client_id: &str) {
        if let Some(key) = self.sessions.remove(client_id) {
            // Nothing is unheld for good before the end: more may come.
            self.image.sessions.remove(&key);
        }
    }

    /// Adds a subscription, or replaces that of the same filter. False without the session, and for a
    /// filter with more levels than a broker takes.
    pub fn subscribe(
        &mut self,
        client_id: &str,
        filter: &str,
        options: AskedOptions,
        identifier: Option<u32>,
    ) -> bool {
        let is_shared = filter.starts_with("$share/");
        let Some(session) = self.session_of(client_id) else {
            return false;
        };
        if topic::levels(filter) > LEVELS_MAX {
            return false;
        }
        // A shared subscription has no No Local `[MQTT5-3.8.3-4]`.
        let no_local = options.no_local && !is_shared;
        let bits = options.qos.bits();
        let options = SubscriptionOptions::new(bits, no_local, options.retain_as_published);
        let subscribed = Subscribed {
            options: options.persistent(),
            id: identifier.unwrap_or(0),
        };
        session.subscriptions.insert(filter, subscribed);
        true
    }

    /// Puts a message behind what waits for a client. False without the session or the message.
    pub fn wait(&mut self, client_id: &str, copy: ImportedCopy) -> bool {
        if !self.image.messages.contains_key(&copy.message) {
            return false;
        }
        let Some(session) = self.session_of(client_id) else {
            return false;
        };
        session.waiting.push_back(copy.into());
        true
    }

    /// Adds a delivery that is under way, behind those that are. `received`: PUBREC has come. False
    /// without the session, without the message if it may have to be sent again, and for an identifier
    /// that is taken.
    pub fn sent(
        &mut self,
        client_id: &str,
        packet_id: NonZeroU16,
        copy: ImportedCopy,
        received: bool,
    ) -> bool {
        if !received && !self.image.messages.contains_key(&copy.message) {
            return false;
        }
        self.image.order += 1;
        let order = self.image.order;
        let Some(session) = self.session_of(client_id) else {
            return false;
        };
        if session.sent.contains_key(&packet_id) {
            return false;
        }
        let sent = Sent {
            order,
            copy: copy.into(),
            received,
        };
        session.sent.insert(packet_id, sent);
        true
    }

    /// Adds a message of QoS 2 that the client has not released. False without the session or the
    /// message, and for an identifier that is taken.
    pub fn incoming(&mut self, client_id: &str, packet_id: NonZeroU16, message: u64) -> bool {
        if !self.image.messages.contains_key(&message) {
            return false;
        }
        let Some(session) = self.session_of(client_id) else {
            return false;
        };
        if session.incoming.contains_key(&packet_id) {
            return false;
        }
        session.incoming.insert(packet_id, message);
        true
    }

    /// Retains the message that `record` is the record of, for its topic. False for one that is not here,
    /// and for one without payload, which nobody retains.
    pub fn retain(&mut self, record: &[u8]) -> bool {
        let Some(message) = MessageRecord::read(record) else {
            return false;
        };
        if message.payload.is_empty() || !self.image.messages.contains_key(&message.id) {
            return false;
        }
        let version = self.image.next_version;
        self.image.next_version += 1;
        let retained = super::image::ImageRetained {
            version,
            message: message.id,
            expires: message.expires,
        };
        self.image.retained.insert(message.topic.into(), retained);
        true
    }

    /// Ends the import. Messages that nobody got are not in the image.
    #[must_use]
    pub fn finish(mut self) -> Image {
        let mut holders = Vec::new();
        for session in self.image.sessions.values() {
            let sent = session.sent.values().filter(|sent| !sent.received);
            let copies = session.waiting.iter().chain(sent.map(|sent| &sent.copy));
            holders.extend(copies.map(|copy| copy.message));
            holders.extend(session.incoming.values().copied());
        }
        holders.extend(self.image.retained.values().map(|kept| kept.message));
        for holder in holders {
            if let Some(message) = self.image.messages.get_mut(&holder) {
                message.holders = message.holders.saturating_add(1);
            }
        }
        self.image.messages.retain(|_, message| message.holders > 0);
        self.image
    }

    fn session_of(&mut self, client_id: &str) -> Option<&mut ImageSession> {
        let key = self.sessions.get(client_id)?;
        self.image
            .sessions
            .get_mut(key)
            .map(|session| &mut **session)
    }
}

impl From<ImportedCopy> for Copy {
    fn from(copy: ImportedCopy) -> Self {
        Self {
            message: copy.message,
            qos: copy.qos,
            retain: copy.retain,
            ids: SubscriptionIds::from_id(copy.subscription_id.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests;
