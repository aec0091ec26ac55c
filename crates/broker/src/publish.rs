//! PUBLISH and PUBREL from clients: whether a message is taken, and how that is answered.

use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{AckKind, Header, PacketType, Publish, QoS, ReasonCode, Version};
use midge_proto::Fault;
use smallvec::SmallVec;

use crate::ConnId;
use crate::access::{self, Action, ControlRequest};
use crate::deliver::{Asked, Delivery, Routed};
use crate::events;
use crate::known_topics::Reach;
use crate::limits::Limit;
use crate::message::{MessageView, PublishProperties, Raw};
use crate::persist;
use crate::persist::journal::HeldPacket;
use crate::persist::records::Holding;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;

/// Levels of a topic that the broker takes, as Mosquitto does: 200 slashes.
pub(crate) const LEVELS_MAX: usize = 201;
/// Bytes of unfinished QoS 2 messages that a client may have when no receive maximum bounds their number.
/// One message is never too many.
const UNFINISHED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Messages for which the routing table is prepared at once: enough to wait for memory in parallel.
const LOOK_AHEAD: usize = 8;

/// Topics of requests to the broker itself.
const CONTROL: &str = "$CONTROL/";

/// Why nobody but the broker may publish to `topic`.
pub(crate) fn denied(topic: &str) -> Option<&'static str> {
    if !topic.starts_with('$') {
        return None;
    }
    let is_bridge_state = |rest: &str| {
        rest.strip_suffix("/state")
            .is_some_and(|name| !name.is_empty() && !name.contains('/'))
    };
    match topic.strip_prefix("$SYS/broker/connection/") {
        Some(rest) if is_bridge_state(rest) => None,
        _ if topic == "$SYS" || topic.starts_with("$SYS/") => Some("$SYS is the broker's"),
        _ if topic == "$share" || topic.starts_with("$share/") => Some("$share is no topic"),
        _ => None,
    }
}

/// What becomes of a message that is well-formed.
enum Verdict {
    Take,
    /// Dropped, with this code to a publisher of 5.0. Clients of 3.x are acknowledged as ever, since
    /// they have no way to be told (`[MQTT311-3.3.5-2]`).
    Drop(ReasonCode),
    /// Not taken on: clients of 3.x are closed, so that they try again.
    Refuse,
}

/// Whether an acknowledgement waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    No,
    /// And turns into a refusal if the disk is full.
    Refusable,
    /// However long it takes: what it acknowledges was accepted before.
    Certain,
}

/// What first acknowledges a message of QoS 1 or 2.
pub(crate) const fn first_ack(qos: QoS) -> AckKind {
    match qos {
        QoS::ExactlyOnce => AckKind::PubRec,
        QoS::AtMostOnce | QoS::AtLeastOnce => AckKind::PubAck,
    }
}

impl Shard {
    /// A whole PUBLISH, at the beginning of `bytes`.
    #[inline]
    pub(crate) fn publish_packet(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        header: &Header,
        bytes: &[u8],
        body: &[u8],
    ) -> Result<(), Fault> {
        let version = self
            .conns
            .get(key)
            .map_or(Version::V5, |conn| conn.version());
        let topic = Publish::topic_bytes(body).unwrap_or_default();
        let mut known = self.topics.take(topic);
        if known.is_none() {
            self.look_ahead(step, bytes);
        }
        let (known_topic, reach) = known.as_mut().map(|known| known.parts()).unzip();
        let result = match Publish::decode_known(header.first, version, body, known_topic) {
            Ok(publish) => {
                let topic_at = usize::from(header.length) + 2;
                let id_at = match publish.packet_id {
                    None => 0,
                    Some(_) => topic_at + topic.len(),
                };
                let raw = bytes.get(..header.packet_length()).map(|packet| Raw {
                    packet,
                    has_properties: version.has_properties(),
                    topic_at,
                    id_at,
                });
                let raw = raw.filter(|_| header.is_minimal());
                self.publish_received(step, key, &publish, raw, reach)
            }
            Err(error) => Err(Fault::decode(PacketType::Publish, error)),
        };
        if let Some(known) = known {
            self.topics.give_back(known);
        }
        result
    }

    /// Prepares the routing table for the next messages that a client has sent, once for several of them.
    ///
    /// `bytes` begin with a message whose topic is not known. It and those after it are judged later, one by
    /// one; nothing is decided here.
    fn look_ahead(&mut self, step: &Step<'_>, bytes: &[u8]) {
        if let Some(left) = self.looked_ahead.checked_sub(1) {
            self.looked_ahead = left;
            return;
        }
        let routing = step.tables.routing();
        if !routing.is_large() {
            return;
        }
        let mut topics: SmallVec<[&str; LOOK_AHEAD]> = SmallVec::new();
        let mut rest = bytes;
        while topics.len() < LOOK_AHEAD
            && let Ok(Some(header)) = Header::peek(rest)
            && header.packet_type() == Some(PacketType::Publish)
            && let Some(topic) = header.body(rest).and_then(Publish::topic_bytes)
            && let Ok(topic) = std::str::from_utf8(topic)
        {
            topics.push(topic);
            rest = rest.get(header.packet_length()..).unwrap_or_default();
        }
        self.looked_ahead = topics.len().saturating_sub(1);
        if topics.len() > 1 {
            routing.prepare(&topics, &mut self.scratch.matches);
        }
    }

    pub(crate) fn publish_received(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        publish: &Publish<'_>,
        raw: Option<Raw<'_>>,
        known: Option<&mut Reach>,
    ) -> Result<(), Fault> {
        self.stats.publish_received += 1;
        self.stats.publish_bytes_received += publish.payload.len() as u64;
        let mut forwarded = std::mem::take(&mut self.scratch.properties);
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let result = self.publish_taken(step, key, publish, raw, known, &mut forwarded, &mut topic);
        self.scratch.properties = forwarded;
        self.scratch.topic = topic;
        result
    }

    #[expect(clippy::too_many_arguments, reason = "memory that is used again")]
    #[inline]
    fn publish_taken(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        publish: &Publish<'_>,
        raw: Option<Raw<'_>>,
        known: Option<&mut Reach>,
        forwarded: &mut Vec<u8>,
        topic: &mut String,
    ) -> Result<(), Fault> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Ok(());
        };
        let listener = &conn.origin.listener;
        if publish.qos > listener.max_qos {
            return Err(Fault::disconnect(
                ReasonCode::QOS_NOT_SUPPORTED,
                "QoS is over max_qos",
            ));
        }
        if publish.retain && !self.settings.retain_available {
            let why = "retained messages are not available";
            return Err(Fault::disconnect(ReasonCode::RETAIN_NOT_SUPPORTED, why));
        }
        let mut said = PublishProperties::default();
        forwarded.clear();
        if !publish.properties.is_empty() {
            said = PublishProperties::split(&publish.properties, forwarded);
            if said.has_subscription_id {
                let why = "PUBLISH with a subscription identifier";
                return Err(Fault::disconnect(ReasonCode::PROTOCOL_ERROR, why));
            }
        }
        // The topic is the packet's own unless an alias or a mount point makes it another.
        let own = publish.topic;
        let mount_point = listener.mount_point.as_deref();
        let is_own = said.alias.is_none() && mount_point.is_none() && !own.is_empty();
        let mut known = known.filter(|_| is_own);
        let raw = raw.filter(|_| is_own && said.expiry_secs.is_none());
        let name = if is_own {
            own
        } else {
            topic.clear();
            topic.push_str(mount_point.unwrap_or_default());
            let mut none = midge_proto::InboundAliases::default();
            let aliases = conn.aliases_in.as_deref_mut().unwrap_or(&mut none);
            let maximum = conn.origin.listener.max_topic_alias;
            topic.push_str(aliases.resolve(own, said.alias, maximum)?);
            &**topic
        };
        // A short name cannot have too many; counting costs as much as all other checks.
        if name.len() >= LEVELS_MAX && midge_codec::topic::levels(name) > LEVELS_MAX {
            let why = "the topic has too many levels";
            return Err(Fault::disconnect(ReasonCode::MALFORMED_PACKET, why));
        }
        let mut topic_hash = 0;
        let may_publish = match &mut conn.access {
            None => true,
            Some(access) => {
                topic_hash = match &mut known {
                    Some(reach) if reach.topic_hash > 0 => reach.topic_hash,
                    known => {
                        let hash = access::topic_hash(self.by_client_id.hasher(), name);
                        if let Some(reach) = known {
                            reach.topic_hash = hash;
                        }
                        hash
                    }
                };
                access.may(topic_hash, Action::Publish, name)
            }
        };
        let publisher = conn.session.map(|session| self.session_ref(session));
        let view = MessageView {
            topic: name,
            payload: publish.payload,
            properties: forwarded,
            qos: publish.qos,
            retain: publish.retain,
            expires: said
                .expiry_secs
                .map(|seconds| step.now.plus_secs(u64::from(seconds))),
            publisher,
            id: 0,
        };
        let verdict = self.judge_publish(step, key, &view, said.payload_is_text, may_publish);
        match (publish.packet_id, verdict) {
            (None, Verdict::Drop(_) | Verdict::Refuse) => {}
            (Some(id), Verdict::Refuse) => {
                let kind = first_ack(publish.qos);
                return self.refuse_publish(step, key, kind, id);
            }
            (None, Verdict::Take) => {
                let mut delivery = Delivery::new(view);
                delivery.raw = raw;
                delivery.topic_hash = topic_hash;
                self.route_known(step, &mut delivery, known, Asked::Unasked);
            }
            (Some(id), Verdict::Drop(reason)) => {
                let kind = first_ack(publish.qos);
                self.acknowledge(step, key, kind, id, reason, Waits::No);
            }
            (Some(id), Verdict::Take) if publish.qos == QoS::ExactlyOnce => {
                self.take_exactly_once(step, key, id, &view)?;
            }
            (Some(id), Verdict::Take) => {
                let mut delivery = Delivery::new(view);
                delivery.raw = raw;
                delivery.topic_hash = topic_hash;
                let routed = self.route_known(step, &mut delivery, known, Asked::New);
                let (reason, waits) = match routed {
                    Routed::Nobody => (ReasonCode::NO_MATCHING_SUBSCRIBERS, Waits::No),
                    Routed::Somebody => (ReasonCode::SUCCESS, Waits::No),
                    Routed::Recorded(true) => (ReasonCode::SUCCESS, Waits::Refusable),
                    Routed::Recorded(false) => {
                        (ReasonCode::NO_MATCHING_SUBSCRIBERS, Waits::Refusable)
                    }
                    Routed::Refused => return self.refuse_publish(step, key, AckKind::PubAck, id),
                };
                self.acknowledge(step, key, AckKind::PubAck, id, reason, waits);
            }
        }
        Ok(())
    }

    fn judge_publish(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        view: &MessageView<'_>,
        payload_is_text: bool,
        may_publish: bool,
    ) -> Verdict {
        let limit = self.settings.message_size_limit;
        if limit > 0 && view.payload.len() > limit {
            self.stats.publish_dropped += 1;
            self.count_limit(step, Limit::MessageSize, key);
            return Verdict::Drop(ReasonCode::QUOTA_EXCEEDED);
        }
        if payload_is_text
            && self.settings.validate_payload_format
            && std::str::from_utf8(view.payload).is_err()
        {
            self.stats.publish_dropped += 1;
            return Verdict::Drop(ReasonCode::PAYLOAD_FORMAT_INVALID);
        }
        if !may_publish {
            self.tell_denied(step, key, Action::Publish, view.topic);
            self.stats.publish_dropped += 1;
            return Verdict::Drop(ReasonCode::NOT_AUTHORIZED);
        }
        if self.settings.limits.is_strict()
            && let Some(verdict) = self.judge_limits(step, key, view)
        {
            return verdict;
        }
        if !view.topic.starts_with('$') {
            return Verdict::Take;
        }
        if view.topic.starts_with(CONTROL) {
            if view.qos == QoS::ExactlyOnce {
                return Verdict::Take;
            }
            self.control_received(step, key, view.topic, view.payload);
            return Verdict::Drop(ReasonCode::SUCCESS);
        }
        match denied(view.topic) {
            None => Verdict::Take,
            Some(why) => {
                // Once for each connection, so that nobody fills the log.
                let is_first = self
                    .conns
                    .get_mut(key)
                    .is_some_and(|conn| !std::mem::replace(&mut conn.denied, true));
                if is_first {
                    let client_id = self.client_id(ConnId(key)).unwrap_or_default();
                    events::publish_denied(step.effects, client_id, view.topic, why);
                }
                Verdict::Drop(ReasonCode::NOT_AUTHORIZED)
            }
        }
    }

    /// Judges a message by limits that are seldom set. What makes room is always taken, and so are requests
    /// of administrators.
    #[cold]
    fn judge_limits(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        view: &MessageView<'_>,
    ) -> Option<Verdict> {
        let levels_max = self.settings.max_topic_levels;
        if levels_max < LEVELS_MAX && midge_codec::topic::levels(view.topic) > levels_max {
            self.stats.publish_dropped += 1;
            self.count_limit(step, Limit::TopicLevels, key);
            return Some(Verdict::Drop(ReasonCode::TOPIC_NAME_INVALID));
        }
        if view.topic.starts_with(CONTROL) || (view.retain && view.payload.is_empty()) {
            return None;
        }
        if self.settings.limits.is_pressed() {
            self.count_limit(step, Limit::Memory, key);
            if view.qos == QoS::AtMostOnce {
                self.stats.publish_dropped += 1;
            }
            return Some(Verdict::Refuse);
        }
        let limit = self.exceeds_retained(step, view)?;
        self.stats.publish_dropped += 1;
        self.count_limit(step, limit, key);
        Some(Verdict::Drop(ReasonCode::QUOTA_EXCEEDED))
    }

    /// Which limit forbids that a message is retained, if it is to be.
    pub(crate) fn exceeds_retained(
        &mut self,
        step: &mut Step<'_>,
        view: &MessageView<'_>,
    ) -> Option<Limit> {
        let (most, bytes_max) = (
            self.settings.max_retained_messages,
            self.settings.max_retained_bytes,
        );
        if !view.retain || view.payload.is_empty() || (most == 0 && bytes_max == 0) {
            return None;
        }
        self.settle_tables(step);
        let (mut count, mut bytes, mut old) = (0, 0, None);
        step.tables.read_retained(&mut |retained| {
            count = retained.len();
            bytes = retained.bytes();
            old = retained.get(view.topic).map(|old| old.size());
        });
        let grown = (bytes + view.size()).saturating_sub(old.unwrap_or(0));
        if most > 0 && old.is_none() && count >= most {
            Some(Limit::RetainedMessages)
        } else if bytes_max > 0 && grown > bytes_max && view.size() > old.unwrap_or(0) {
            Some(Limit::RetainedBytes)
        } else {
            None
        }
    }

    /// A request to the broker itself leaves for who answers it. If nobody does, the client that asks is told
    /// so, and nobody else hears of it.
    fn control_received(&mut self, step: &mut Step<'_>, key: SlabKey, topic: &str, payload: &[u8]) {
        let is_served = self.settings.controls.iter().any(|known| **known == *topic);
        if !is_served {
            let answer = br#"{"error": "endpoint not available"}"#;
            self.control_answered(step, ConnId(key), topic, answer);
            return;
        }
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let Some(session) = conn.session.and_then(|key| self.sessions.get(key)) else {
            return;
        };
        step.effects.controls.push(ControlRequest {
            conn: ConnId(key),
            listener: Arc::clone(&conn.origin.listener),
            client_id: Arc::clone(&session.client_id),
            user_name: session.user_name.as_deref().map(Into::into),
            has_rights: conn
                .access
                .as_ref()
                .is_some_and(|access| access.identity.rights.is_some()),
            topic: topic.into(),
            payload: payload.into(),
        });
    }

    /// Answers a request to the broker itself: to the client that asked alone, on the topic of the request
    /// with `/response` behind it.
    pub fn control_answered(
        &mut self,
        step: &mut Step<'_>,
        conn: ConnId,
        topic: &str,
        answer: &[u8],
    ) {
        let key = conn.0;
        let unsent = self.conns.get(key).map_or(0, |conn| conn.outbox.len());
        if unsent >= self.settings.outbox_bytes_max {
            self.stats.publish_dropped += 1;
            return;
        }
        let topic = format!("{topic}/response");
        let view = MessageView {
            topic: &topic,
            payload: answer,
            properties: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            expires: None,
            publisher: None,
            id: 0,
        };
        self.write_publish(step, key, &view, &crate::write::Form::default());
    }

    /// QoS 2, first half: the message is kept until its release, so that it is passed on once however
    /// often it comes (`[MQTT5-4.3.3-10]`, `[MQTT311-4.3.3-2]`).
    fn take_exactly_once(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        id: NonZeroU16,
        view: &MessageView<'_>,
    ) -> Result<(), Fault> {
        let version = self
            .conns
            .get(key)
            .map_or(Version::V5, |conn| conn.version());
        let receive_maximum = match (version, self.settings.max_inflight_messages) {
            (Version::V5, 1..) => usize::from(self.settings.max_inflight_messages),
            _ => usize::from(u16::MAX),
        };
        let total_max = self.queue_limits().bytes_total;
        let publisher = view.publisher;
        let session = self
            .session_key(key)
            .and_then(|session| self.sessions.get_mut(session));
        let Some(session) = session else {
            return Ok(());
        };
        let is_persistent = session.is_persistent;
        let known = session.incoming.get_mut(id);
        let is_repeat = known.as_ref().is_some_and(|message| {
            let known = message.view();
            known.topic == view.topic && known.payload == view.payload
        });
        if !is_repeat {
            // The same identifier with another content: the client has lost its state and begins anew,
            // so what it says now counts.
            if known.is_none() && session.incoming.len() >= receive_maximum {
                return Err(Fault::disconnect(
                    ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
                    "more unfinished QoS 2 messages than the receive maximum",
                ));
            }
            if self.stats.queued_bytes + view.size() as u64 > total_max {
                self.count_limit(step, Limit::QueuedBytesTotal, key);
                return self.refuse_publish(step, key, AckKind::PubRec, id);
            }
            let mut view = *view;
            if is_persistent {
                if self.journal.refuses {
                    return self.refuse_publish(step, key, AckKind::PubRec, id);
                }
                view.id = self.journal.next_message();
                let expires = view.expires.map(|time| self.journal.unix(time));
                let holding = Holding {
                    incoming: publisher.map(|session| (session, id)),
                    ..Holding::default()
                };
                let records = &mut self.journal.records;
                records.message(view.id, &view, expires, &holding, true);
            }
            self.stats.queued_messages += 1;
            self.stats.queued_bytes += view.size() as u64;
            session.incoming_bytes += view.size();
            if let Some(old) = session.incoming.insert(id, view.keep()) {
                self.journal.records.finish(old.id());
                session.incoming_bytes -= old.size();
                self.stats.queued_messages -= 1;
                self.stats.queued_bytes -= old.size() as u64;
            }
            if receive_maximum == usize::from(u16::MAX)
                && session.incoming_bytes > UNFINISHED_BYTES_MAX
                && session.incoming.len() > 1
            {
                return Err(Fault::disconnect(
                    ReasonCode::QUOTA_EXCEEDED,
                    "too many bytes of unfinished QoS 2 messages",
                ));
            }
            if view.topic.starts_with(CONTROL) {
                self.control_received(step, key, view.topic, view.payload);
            }
        }
        // A repetition may come before the first is safe.
        let waits = if is_persistent && !self.journal.is_settled() {
            Waits::Refusable
        } else {
            Waits::No
        };
        self.acknowledge(step, key, AckKind::PubRec, id, ReasonCode::SUCCESS, waits);
        Ok(())
    }

    /// The broker's queues hold as much as max_queued_bytes_total allows, or memory or disk are full. 5.0 has
    /// a code for that; a client of 3.x is closed, and sends the message again when it comes back.
    fn refuse_publish(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        kind: AckKind,
        id: NonZeroU16,
    ) -> Result<(), Fault> {
        self.stats.publish_dropped += 1;
        let version = self.conns.get(key).map(|conn| conn.version());
        if version != Some(Version::V5) {
            return Err(Fault::close(
                "the broker cannot keep the message: its queues, its memory or its disk are full",
            ));
        }
        let reason = ReasonCode::QUOTA_EXCEEDED;
        self.acknowledge(step, key, kind, id, reason, Waits::No);
        Ok(())
    }

    /// PUBREL: QoS 2, second half. The message goes to its subscribers.
    pub(crate) fn released(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        id: NonZeroU16,
    ) -> Result<(), Fault> {
        let session_key = self.session_key(key);
        let session_ref = session_key.map(|session| self.session_ref(session));
        let session = session_key.and_then(|session| self.sessions.get_mut(session));
        let message = session.and_then(|session| {
            let message = session.incoming.release(id)?;
            session.incoming_bytes -= message.size();
            self.stats.queued_messages -= 1;
            self.stats.queued_bytes -= message.size() as u64;
            Some(message)
        });
        let mut waits = Waits::No;
        let reason = match message {
            Some(message) => {
                let delivery = &mut Delivery::kept(&message);
                // A restart has not kept it.
                delivery.view.publisher = session_ref;
                if !delivery.view.topic.starts_with(CONTROL)
                    && let Routed::Recorded(_) = self.route(step, delivery, Asked::Before)
                {
                    waits = Waits::Certain;
                }
                if let (Some(session), 1..) = (session_ref, message.id()) {
                    let packet_id = id;
                    self.journal
                        .step(&persist::records::Step::Released { session, packet_id });
                    self.journal.records.finish(message.id());
                    waits = Waits::Certain;
                }
                ReasonCode::SUCCESS
            }
            None => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        self.acknowledge(step, key, AckKind::PubComp, id, reason, waits);
        Ok(())
    }

    /// Answers a publisher, when what the answer promises is safe and earlier answers have gone.
    #[inline]
    fn acknowledge(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        kind: AckKind,
        id: NonZeroU16,
        reason: ReasonCode,
        waits: Waits,
    ) {
        let is_behind = self.conns.get(key).is_some_and(|conn| conn.held_acks > 0);
        if (waits == Waits::No || self.journal.is_settled()) && !is_behind {
            self.write_ack(step, key, kind, id, reason);
            return;
        }
        let is_certain = waits != Waits::Refusable;
        let packet = HeldPacket::Ack {
            kind,
            id,
            reason,
            is_certain,
        };
        self.hold(key, packet);
    }

    /// Publishes a message of the broker's own, such as `$SYS`.
    pub fn publish(&mut self, step: &mut Step<'_>, message: &MessageView<'_>) {
        self.route(step, &mut Delivery::new(*message), Asked::Unasked);
    }
}
