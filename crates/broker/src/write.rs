//! PUBLISH into outboxes.

use std::num::NonZeroU16;

use midge_codec::{PacketType, Properties, Property, Publish, QoS, Version};
use midge_proto::AliasUse;
use smallvec::SmallVec;

use crate::Time;
use crate::connection::Conn;
use crate::deliver::Delivery;
use crate::message::{Message, MessageView, Raw};
use crate::outbox::BufferPool;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::stats::Stats;

/// How one copy of a message is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form<'a> {
    pub(crate) qos: QoS,
    pub(crate) packet_id: Option<NonZeroU16>,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) ids: &'a [u32],
}

impl Form<'_> {
    /// The first byte of a PUBLISH.
    #[inline]
    const fn first_byte(&self) -> u8 {
        let dup = self.dup && !matches!(self.qos, QoS::AtMostOnce);
        PacketType::Publish.first_byte()
            | (dup as u8) << 3
            | self.qos.bits() << 1
            | self.retain as u8
    }

    /// Appends an encoded PUBLISH, with this first byte, and this packet identifier at `id_at`.
    #[inline]
    fn append_as(&self, buffer: &mut Vec<u8>, packet: &[u8], id_at: usize) {
        let start = buffer.len();
        buffer.extend_from_slice(packet);
        if let Some(first) = buffer.get_mut(start) {
            *first = self.first_byte();
        }
        let id_at = start + id_at;
        if let Some(id) = self.packet_id
            && let Some(place) = buffer.get_mut(id_at..id_at + 2)
        {
            place.copy_from_slice(&id.get().to_be_bytes());
        }
    }
}

/// What became of a copy that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    /// It is larger than the client takes, and counts as delivered `[MQTT5-3.1.2-25]`.
    TooLarge,
}

/// The encoded forms that subscribers without extras share, by protocol and by whether they have a packet
/// identifier.
#[derive(Default)]
pub(crate) struct WireForms([WireForm; 4]);

/// An encoded PUBLISH, ready to be copied to many outboxes.
#[derive(Default)]
struct WireForm {
    bytes: Vec<u8>,
    /// Where the packet identifier stands.
    id_at: usize,
}

impl Shard {
    /// Writes a copy that may have the same form as others of the message.
    #[inline]
    pub(crate) fn write_shared(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        delivery: &mut Delivery<'_>,
        form: &Form<'_>,
    ) -> Written {
        let Some(conn) = self.conns.get_mut(key) else {
            return Written::Yes;
        };
        let dirty = &mut step.effects.dirty;
        let written = conn.write_shared(&mut self.pool, dirty, step.now, delivery, form);
        self.stats
            .count_written(written, delivery.view.payload.len())
    }

    /// Writes a PUBLISH to a connection's outbox.
    pub(crate) fn write_publish(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        view: &MessageView<'_>,
        form: &Form<'_>,
    ) -> Written {
        let Some(conn) = self.conns.get_mut(key) else {
            return Written::Yes;
        };
        let dirty = &mut step.effects.dirty;
        let written = conn.write_publish(&mut self.pool, dirty, step.now, view, form);
        self.stats.count_written(written, view.payload.len())
    }
}

impl Stats {
    #[inline]
    pub(crate) fn count_written(&mut self, written: Written, payload_bytes: usize) -> Written {
        match written {
            Written::Yes => {
                self.messages_sent += 1;
                self.publish_sent += 1;
                self.publish_bytes_sent += payload_bytes as u64;
            }
            Written::TooLarge => self.publish_dropped += 1,
        }
        written
    }
}

impl Conn {
    /// Writes a copy that may have the same form as others of the message.
    #[inline]
    pub(crate) fn write_shared(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        now: Time,
        delivery: &mut Delivery<'_>,
        form: &Form<'_>,
    ) -> Written {
        if let Some(raw) = &delivery.raw
            && self.takes_raw(raw, delivery.view.expires, form)
        {
            return self.write_raw(pool, dirty, raw, form);
        }
        match &mut delivery.forms {
            Some(forms) if form.ids.is_empty() && self.takes_shared_form(delivery.view.expires) => {
                self.write_form(pool, dirty, forms, &delivery.view, form)
            }
            _ => self.write_publish(pool, dirty, now, &delivery.view, form),
        }
    }

    /// Writes a message that was kept.
    #[inline]
    pub(crate) fn write_message(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        now: Time,
        message: &Message,
        form: &Form<'_>,
    ) -> Written {
        match message.raw() {
            Some(raw) if self.takes_raw(&raw, message.expires(), form) => {
                self.write_raw(pool, dirty, &raw, form)
            }
            _ => self.write_publish(pool, dirty, now, &message.view(), form),
        }
    }

    /// Whether the packet that a message came in is what this client gets, but for flags and packet
    /// identifier.
    #[inline]
    fn takes_raw(&self, raw: &Raw<'_>, expires: Option<Time>, form: &Form<'_>) -> bool {
        self.version().has_properties() == raw.has_properties
            && raw.has_packet_id() == form.packet_id.is_some()
            && form.ids.is_empty()
            && self.takes_shared_form(expires)
    }

    #[inline]
    fn write_raw(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        raw: &Raw<'_>,
        form: &Form<'_>,
    ) -> Written {
        self.write(pool, dirty, |buffer| {
            form.append_as(buffer, raw.packet, raw.id_at);
            true
        });
        Written::Yes
    }

    /// Whether a message looks to this client as it looks to others.
    #[inline]
    fn takes_shared_form(&self, expires: Option<Time>) -> bool {
        expires.is_none()
            && self.aliases_out.is_none()
            && self.packet_size_max == 0
            && self.origin.listener.mount_point.is_none()
    }

    fn write_form(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        forms: &mut WireForms,
        view: &MessageView<'_>,
        form: &Form<'_>,
    ) -> Written {
        let version = self.version();
        let kind =
            usize::from(version.has_properties()) * 2 + usize::from(form.packet_id.is_some());
        let Some(shared) = forms.0.get_mut(kind) else {
            return Written::Yes;
        };
        if shared.bytes.is_empty() {
            let publish = publish_of(view, view.topic, &[], form);
            if publish.encode(version, &mut shared.bytes).is_err() {
                return Written::TooLarge;
            }
            let length_bytes = 1 + shared
                .bytes
                .iter()
                .skip(1)
                .take_while(|byte| **byte >= 0x80)
                .count();
            shared.id_at = 1 + length_bytes + 2 + view.topic.len();
        }
        self.write(pool, dirty, |buffer| {
            form.append_as(buffer, &shared.bytes, shared.id_at);
            true
        });
        Written::Yes
    }

    #[inline]
    pub(crate) fn write_publish(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        now: Time,
        view: &MessageView<'_>,
        form: &Form<'_>,
    ) -> Written {
        let version = self.version();
        let plain = form.ids.is_empty() && view.expires.is_none();
        if version == Version::V5
            && !(plain && self.aliases_out.is_none() && self.packet_size_max == 0)
        {
            return self.write_publish_with_extras(pool, dirty, now, view, form);
        }
        let publish = publish_of(view, self.visible(view.topic), &[], form);
        if self.write(pool, dirty, |buffer| {
            publish.encode(version, buffer).is_ok()
        }) {
            Written::Yes
        } else {
            Written::TooLarge
        }
    }

    /// For 5.0: with expiry, topic alias and subscription identifiers, within the client's maximum packet
    /// size.
    fn write_publish_with_extras(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        now: Time,
        view: &MessageView<'_>,
        form: &Form<'_>,
    ) -> Written {
        let version = Version::V5;
        let topic = self.visible(view.topic);
        let mut alias = match &self.aliases_out {
            Some(known) => known.choose(topic),
            None => AliasUse::Topic,
        };
        let mut extra: SmallVec<[Property<'_>; 4]> = SmallVec::new();
        if let Some(seconds) = seconds_left(view, now) {
            // [MQTT5-3.3.2-6]
            extra.push(Property::MessageExpiryInterval(seconds));
        }
        if let AliasUse::Assign(alias) | AliasUse::Alias(alias) = alias {
            extra.push(Property::TopicAlias(alias));
        }
        extra.extend(
            form.ids
                .iter()
                .map(|id| Property::SubscriptionIdentifier(*id)),
        );
        let limit = self.packet_size_max as usize;
        let too_large = |publish: &Publish<'_>| {
            limit > 0
                && publish
                    .packet_length(version)
                    .is_ok_and(|size| size > limit)
        };
        let name = if matches!(alias, AliasUse::Alias(_)) {
            ""
        } else {
            topic
        };
        if matches!(alias, AliasUse::Assign(_)) && too_large(&publish_of(view, name, &extra, form))
        {
            // Without the alias it may just fit.
            extra.retain(|property| !matches!(property, Property::TopicAlias(_)));
            alias = AliasUse::Topic;
        }
        let publish = publish_of(view, name, &extra, form);
        if too_large(&publish) {
            return Written::TooLarge;
        }
        if !self.write(pool, dirty, |buffer| {
            publish.encode(version, buffer).is_ok()
        }) {
            return Written::TooLarge;
        }
        if let AliasUse::Assign(_) = alias {
            let topic = self.visible(view.topic);
            if let Some(aliases) = &mut self.aliases_out {
                aliases.sent(topic, alias);
            }
        }
        Written::Yes
    }
}

#[inline]
fn publish_of<'a>(
    view: &MessageView<'a>,
    topic: &'a str,
    extra: &'a [Property<'a>],
    form: &Form<'_>,
) -> Publish<'a> {
    Publish {
        dup: form.dup,
        qos: form.qos,
        retain: form.retain,
        topic,
        packet_id: form.packet_id,
        properties: Properties::from_encoded(view.properties, extra),
        payload: view.payload,
    }
}

/// The rest of a message's life in seconds, begun ones included.
fn seconds_left(view: &MessageView<'_>, now: Time) -> Option<u32> {
    let expires = view.expires?;
    let millis = expires.0.saturating_sub(now.0);
    Some(u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
}
