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

/// The PUBLISH that a message came in, which is what most subscribers get, but for its flags and its packet
/// identifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// The whole packet.
    pub(crate) packet: &'a [u8],
    /// It has the properties of 5.0.
    pub(crate) has_properties: bool,
    /// Bytes in front of the topic.
    pub(crate) topic_at: usize,
    /// Where the packet identifier is; 0 with QoS 0.
    pub(crate) id_at: usize,
}

impl Raw<'_> {
    pub(crate) const fn has_packet_id(&self) -> bool {
        self.id_at > 0
    }
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
        self.keep_with_room(None, self.size())
    }

    /// The same, with room for `room` bytes, so that a later message fits in its place.
    pub(crate) fn keep_with_room(&self, raw: Option<&Raw<'_>>, room: usize) -> Arc<Message> {
        let mut message = Message {
            bytes: Vec::with_capacity(room),
            topic_at: 0,
            gap: 0,
            has_properties: false,
            topic_length: 0,
            properties_length: 0,
            expires: None,
            publisher: None,
            id: 0,
            qos: QoS::AtMostOnce,
            retain: false,
        };
        message.replace(self, raw);
        Arc::new(message)
    }
}

/// A message that is kept: one block of bytes, shared by reference.
///
/// The first fields are those that an acknowledgement needs: it comes long after the message, when nothing of
/// it is in a cache.
#[derive(Debug)]
#[repr(C)]
pub struct Message {
    id: u64,
    /// Topic, properties and payload, one behind the other; or a PUBLISH.
    bytes: Vec<u8>,
    /// Where the topic begins: not at the beginning of a PUBLISH.
    topic_at: u8,
    /// Bytes between topic and properties.
    gap: u8,
    /// The PUBLISH is one of 5.0.
    has_properties: bool,
    qos: QoS,
    retain: bool,
    topic_length: u32,
    properties_length: u32,
    expires: Option<Time>,
    publisher: Option<SessionRef>,
}

impl Message {
    /// Becomes another message.
    #[inline]
    pub(crate) fn replace(&mut self, view: &MessageView<'_>, raw: Option<&Raw<'_>>) {
        self.bytes.clear();
        (self.topic_at, self.gap, self.has_properties) = (0, 0, false);
        let gap = |raw: &Raw<'_>| {
            let rest = raw.packet.len().checked_sub(raw.topic_at + view.size())?;
            Some((u8::try_from(raw.topic_at).ok()?, u8::try_from(rest).ok()?))
        };
        if let Some(raw) = raw
            && let Some((topic_at, gap)) = gap(raw)
        {
            (self.topic_at, self.gap, self.has_properties) = (topic_at, gap, raw.has_properties);
            self.bytes.extend_from_slice(raw.packet);
        } else {
            self.bytes.reserve_exact(view.size());
            self.bytes.extend_from_slice(view.topic.as_bytes());
            self.bytes.extend_from_slice(view.properties);
            self.bytes.extend_from_slice(view.payload);
        }
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
        let (_, bytes) = self.bytes.split_at(usize::from(self.topic_at));
        let (topic, rest) = bytes.split_at(self.topic_length as usize);
        let (_, rest) = rest.split_at(usize::from(self.gap));
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

    /// The PUBLISH that it came in, if it is as subscribers get it.
    #[inline]
    pub(crate) fn raw(&self) -> Option<Raw<'_>> {
        (self.topic_at > 0).then_some(Raw {
            packet: &self.bytes,
            has_properties: self.has_properties,
            topic_at: usize::from(self.topic_at),
            id_at: match self.qos {
                QoS::AtMostOnce => 0,
                _ => usize::from(self.topic_at) + self.topic_length as usize,
            },
        })
    }

    /// Bytes of the payload.
    pub(crate) const fn payload_bytes(&self) -> usize {
        self.size() - self.topic_length as usize - self.properties_length as usize
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
        self.bytes.len() - self.topic_at as usize - self.gap as usize
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
