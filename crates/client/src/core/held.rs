//! Messages of the application: as they are handed in, kept and written.

use std::borrow::Cow;
use std::num::NonZeroU16;

use bytes::Bytes;
use midge_codec::{Properties, Property, Publish, QoS, Version, topic};
use midge_proto::{AliasUse, OutboundAliases, Time};

use super::Ticket;
use super::journal::Kept;
use crate::Published;
use crate::error::PublishError;
use crate::message::MessageProperties;

/// A message as the application hands it in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft<'a> {
    pub(crate) topic: Cow<'a, str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Box<MessageProperties>>,
}

/// A message that waits, or that is not acknowledged.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
    pub(super) properties: Option<Box<MessageProperties>>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires: Time,
    pub(super) ticket: Ticket,
    /// What it counts for in `held_bytes`.
    pub(super) size: usize,
    /// Its name in the durable queue; 0 for none.
    pub(super) key: u64,
}

/// A delivery of QoS 2 that awaits PUBCOMP.
#[derive(Debug)]
pub(super) struct Releasing {
    pub(super) ticket: Ticket,
    pub(super) published: Published,
    pub(super) key: u64,
}

impl Releasing {
    pub(super) const fn new(ticket: Ticket, published: Published, key: u64) -> Self {
        Self {
            ticket,
            published,
            key,
        }
    }

    pub(super) const fn key(&self) -> u64 {
        self.key
    }
}

/// The longest payload, so that topic and properties always fit beside it.
const PAYLOAD_MAX: usize = 200 << 20;

/// What a held message costs beside its bytes.
const OVERHEAD: usize = size_of::<Held>() + 32;

impl Draft<'_> {
    pub(super) fn check(&self, version: Version) -> Result<(), PublishError> {
        if !topic::is_name(&self.topic) || self.topic.contains('\0') {
            let why = "the topic is empty, too long, or has a wildcard or a zero byte";
            return Err(PublishError::Invalid(why));
        }
        if self.payload.len() > PAYLOAD_MAX {
            return Err(PublishError::Invalid("the payload exceeds 200 MiB"));
        }
        let Some(properties) = &self.properties else {
            return Ok(());
        };
        if version.has_properties() {
            check_properties(properties)
        } else {
            Ok(())
        }
    }

    pub(super) fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |list| list.size());
        self.topic.len() + self.payload.len() + properties + OVERHEAD
    }
}

fn check_properties(properties: &MessageProperties) -> Result<(), PublishError> {
    let fits = |text: &str| text.len() <= usize::from(u16::MAX) && !text.contains('\0');
    let users = &properties.user_properties;
    let all = properties
        .content_type
        .iter()
        .chain(users.iter().flat_map(|(name, value)| [name, value]))
        .all(|text| fits(text));
    let data = properties.correlation_data.as_ref().map_or(0, Bytes::len);
    if !all || data > usize::from(u16::MAX) || properties.size() > PAYLOAD_MAX / 8 {
        let why = "a property is longer than 65,535 bytes or has a zero byte";
        return Err(PublishError::Invalid(why));
    }
    match &properties.response_topic {
        Some(topic) if !topic::is_name(topic) || !fits(topic) => {
            let why = "the response topic is empty or has a wildcard";
            Err(PublishError::Invalid(why))
        }
        _ => Ok(()),
    }
}

/// A message as it is to be written.
pub(super) struct Outward<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) properties: Option<&'a MessageProperties>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) packet_id: Option<NonZeroU16>,
    pub(super) expiry_secs: Option<u32>,
}

impl Held {
    /// A message of an earlier run.
    pub(super) fn restored(now: Time, key: u64, kept: Kept, ticket: Ticket) -> Self {
        let properties = kept.properties.as_ref().map_or(0, |list| list.size());
        Self {
            size: kept.topic.len() + kept.payload.len() + properties + OVERHEAD,
            topic: kept.topic,
            payload: kept.payload,
            properties: kept.properties,
            qos: kept.qos,
            retain: kept.retain,
            expires: kept.expires_in.map_or(Time::NEVER, |left| now + left),
            ticket,
            key,
        }
    }

    /// As it goes into the durable queue.
    pub(super) fn kept(&self, now: Time) -> Kept {
        Kept {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            properties: self.properties.clone(),
            qos: self.qos,
            retain: self.retain,
            expires_in: (self.expires != Time::NEVER).then(|| self.expires.since(now)),
        }
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) const fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) const fn key(&self) -> u64 {
        self.key
    }

    pub(super) const fn set_key(&mut self, key: u64) {
        self.key = key;
    }

    pub(super) fn outward(
        &self,
        now: Time,
        packet_id: Option<NonZeroU16>,
        dup: bool,
    ) -> Outward<'_> {
        let expiry_secs = (self.expires != Time::NEVER).then(|| {
            // A message that was sent in time is sent again with what is left, and a second at least.
            let left = self.expires.since(now).as_millis().div_ceil(1000);
            u32::try_from(left).unwrap_or(u32::MAX).max(1)
        });
        Outward {
            topic: &self.topic,
            payload: &self.payload,
            properties: self.properties.as_deref(),
            qos: self.qos,
            retain: self.retain,
            dup,
            packet_id,
            expiry_secs,
        }
    }
}

impl<'a> Outward<'a> {
    pub(super) fn list(&self) -> Vec<Property<'a>> {
        self.properties
            .map_or_else(Vec::new, |list| list.list(self.expiry_secs))
    }

    pub(super) const fn publish<'b>(
        &'b self,
        topic: &'b str,
        properties: Properties<'b>,
    ) -> Publish<'b> {
        Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic,
            packet_id: self.packet_id,
            properties,
            payload: self.payload,
        }
    }
}

/// Appends a message, by its alias where it has one.
pub(super) fn put(
    bytes: &mut Vec<u8>,
    aliases: &mut OutboundAliases,
    version: Version,
    message: &Outward<'_>,
) {
    let alias = if version.has_properties() {
        aliases.choose(message.topic)
    } else {
        AliasUse::Topic
    };
    let (topic, number) = match alias {
        AliasUse::Topic => (message.topic, None),
        AliasUse::Assign(number) => (message.topic, Some(number)),
        AliasUse::Alias(number) => ("", Some(number)),
    };
    let encoded = match (number, message.properties) {
        (None, None) => message
            .publish(topic, Properties::NONE)
            .encode(version, bytes),
        (Some(number), None) => {
            let list = [Property::TopicAlias(number)];
            message
                .publish(topic, Properties::from_list(&list))
                .encode(version, bytes)
        }
        (number, Some(_)) => {
            let mut list = message.list();
            list.extend(number.map(Property::TopicAlias));
            message
                .publish(topic, Properties::from_list(&list))
                .encode(version, bytes)
        }
    };
    if encoded.is_ok() {
        aliases.sent(message.topic, alias);
    }
}
