//! A message inside the broker: borrowed from a read buffer, or kept.

use std::sync::Arc;

use midge_codec::{Properties, Property, QoS};

use crate::Time;
use crate::route::SessionRef;

/// A message as seen by whoever forwards it. Borrowed: forwarding a QoS 0 message to a subscriber of the
/// same core allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The topic name, mount point included.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The publisher's properties as received, without message expiry and topic alias.
    pub properties: &'a [u8],
    /// QoS of the PUBLISH.
    pub qos: QoS,
    /// RETAIN of the PUBLISH.
    pub retain: bool,
    /// When the message is no longer worth sending.
    pub expires: Option<Time>,
    /// The session that published it; `None` for the broker itself.
    pub publisher: Option<SessionRef>,
    /// Its name on the disk; 0 when it is not kept there.
    pub id: u64,
}

impl MessageView<'_> {
    /// Bytes that count against limits of queues.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }

    /// Whether the message is past its expiry `[MQTT5-3.3.2-5]`.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Copies the message, to be queued, retained or sent to another core.
    #[must_use]
    pub fn keep(&self) -> Arc<Message> {
        self.keep_with_room(self.size())
    }

    /// The same, with room for `room` bytes, so that a later message fits in its place.
    pub(crate) fn keep_with_room(&self, room: usize) -> Arc<Message> {
        let mut message = Message {
            bytes: Vec::with_capacity(room),
            topic_length: 0,
            properties_length: 0,
            expires: None,
            publisher: None,
            id: 0,
            qos: QoS::AtMostOnce,
            retain: false,
        };
        message.replace(self);
        Arc::new(message)
    }
}

/// A message that is kept: one block of bytes, shared by reference.
#[derive(Debug)]
pub struct Message {
    /// Topic, properties and payload, one behind the other.
    bytes: Vec<u8>,
    topic_length: u32,
    properties_length: u32,
    expires: Option<Time>,
    publisher: Option<SessionRef>,
    id: u64,
    qos: QoS,
    retain: bool,
}

impl Message {
    /// Becomes another message.
    #[inline]
    pub(crate) fn replace(&mut self, view: &MessageView<'_>) {
        self.bytes.clear();
        self.bytes.reserve_exact(view.size());
        self.bytes.extend_from_slice(view.topic.as_bytes());
        self.bytes.extend_from_slice(view.properties);
        self.bytes.extend_from_slice(view.payload);
        self.topic_length = u32::try_from(view.topic.len()).unwrap_or(u32::MAX);
        self.properties_length = u32::try_from(view.properties.len()).unwrap_or(u32::MAX);
        self.expires = view.expires;
        self.publisher = view.publisher;
        self.id = view.id;
        self.qos = view.qos;
        self.retain = view.retain;
    }

    /// How many bytes it has room for.
    pub(crate) const fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// What it takes in memory, about.
    pub(crate) const fn block_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    /// The message's parts.
    #[must_use]
    pub fn view(&self) -> MessageView<'_> {
        let (topic, rest) = self.bytes.split_at(self.topic_length as usize);
        let (properties, payload) = rest.split_at(self.properties_length as usize);
        MessageView {
            // The bytes come from a `str`, so this cannot fail.
            topic: std::str::from_utf8(topic).unwrap_or_default(),
            payload,
            properties,
            qos: self.qos,
            retain: self.retain,
            expires: self.expires,
            publisher: self.publisher,
            id: self.id,
        }
    }

    /// Its name on the disk; 0 when it is not kept there.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// When it is no longer worth sending.
    pub(crate) const fn expires(&self) -> Option<Time> {
        self.expires
    }

    /// Bytes that count against limits of queues.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the message is past its expiry `[MQTT5-3.3.2-5]`.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a PUBLISH says in its properties, apart.
#[derive(Debug, Default)]
pub(crate) struct PublishProperties {
    pub(crate) alias: Option<u16>,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) payload_is_text: bool,
    pub(crate) has_subscription_id: bool,
}

impl PublishProperties {
    /// Reads what concerns the broker, and copies to `forwarded` what goes on to subscribers, in its
    /// order (`[MQTT5-3.3.2-4]`, `[MQTT5-3.3.2-15]` to `[MQTT5-3.3.2-20]`).
    pub(crate) fn split(properties: &Properties<'_>, forwarded: &mut Vec<u8>) -> Self {
        forwarded.clear();
        let mut found = Self::default();
        for (property, bytes) in properties.items() {
            match property {
                Property::TopicAlias(alias) => found.alias = Some(alias),
                Property::MessageExpiryInterval(seconds) => found.expiry_secs = Some(seconds),
                Property::SubscriptionIdentifier(_) => found.has_subscription_id = true,
                Property::PayloadFormatIndicator(flag) => {
                    found.payload_is_text = flag == 1;
                    forwarded.extend_from_slice(bytes);
                }
                _ => forwarded.extend_from_slice(bytes),
            }
        }
        found
    }
}
