//! Messages to subscribers: matched, queued, written.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use midge_codec::{Ack, AckKind, Packet, Properties, Property, Publish, QoS, ReasonCode, Version};
use midge_proto::{Acked, AliasUse, Fault, Resend};
use smallvec::SmallVec;

use crate::effects::Mail;
use crate::events;
use crate::message::{Message, MessageView};
use crate::queue::{Queued, SubscriptionIds};
use crate::route::{GroupId, Matches, PresenceState, SessionRef, Target};
use crate::session::Session;
use crate::settings::QueueOverflow;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::tables::RetainedChange;

/// One message on its way to its subscribers. It is copied when first somebody has to keep it.
pub(crate) struct Delivery<'a> {
    pub(crate) view: MessageView<'a>,
    kept: Option<Arc<Message>>,
    /// The wire form that subscribers without extras share, by protocol and by whether it has a packet
    /// identifier. Made when the message has several targets.
    forms: [WireForm; 4],
    shares_forms: bool,
}

/// An encoded PUBLISH, ready to be copied to many outboxes.
#[derive(Default)]
struct WireForm {
    bytes: Vec<u8>,
    /// Where the packet identifier stands.
    id_at: usize,
}

/// How one copy of a message is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form<'a> {
    pub(crate) qos: QoS,
    pub(crate) packet_id: Option<NonZeroU16>,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) ids: &'a [u32],
}

/// What became of a copy that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    /// It is larger than the client takes, and counts as delivered `[MQTT5-3.1.2-25]`.
    TooLarge,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(view: MessageView<'a>) -> Self {
        Self {
            view,
            kept: None,
            forms: Default::default(),
            shares_forms: false,
        }
    }

    pub(crate) fn kept(message: &'a Arc<Message>) -> Self {
        Self {
            kept: Some(Arc::clone(message)),
            ..Self::new(message.view())
        }
    }

    /// The message as one that can be kept.
    pub(crate) fn keep(&mut self) -> Arc<Message> {
        Arc::clone(self.kept.get_or_insert_with(|| self.view.keep()))
    }
}

impl Shard {
    /// Sends a message to all that subscribe to its topic; whether anybody does.
    pub(crate) fn route(&mut self, step: &mut Step<'_>, delivery: &mut Delivery<'_>) -> bool {
        self.settle(step);
        if delivery.view.retain {
            self.retain(step, delivery);
        }
        let mut matches = std::mem::take(&mut self.scratch.matches);
        matches.clear();
        step.tables
            .routing()
            .route(delivery.view.topic, &mut matches);
        let found = !matches.targets.is_empty() || !matches.groups.is_empty();
        if delivery.view.is_expired(step.now) {
            // [MQTT5-3.3.2-5]: an interval of zero is over at once.
            self.stats.publish_dropped += matches.targets.len() as u64;
        } else if found {
            self.distribute(step, delivery, &matches);
        }
        self.scratch.matches = matches;
        found
    }

    /// Notes the change of a retained message, to be applied before the routing table that the message is
    /// matched with can change.
    fn retain(&mut self, step: &Step<'_>, delivery: &mut Delivery<'_>) {
        let view = &delivery.view;
        let topic: Box<str> = view.topic.into();
        if view.payload.is_empty() {
            // (`[MQTT5-3.3.1-6]`, `[MQTT5-3.3.1-7]`)
            self.retains.push((topic, RetainedChange::Remove));
            return;
        }
        let message = match (view.expires, self.settings.retain_expiry) {
            (None, Some(seconds)) => {
                let expires = Some(step.now.plus_secs(seconds));
                MessageView { expires, ..*view }.keep()
            }
            _ => delivery.keep(),
        };
        self.retains.push((topic, RetainedChange::Store(message)));
    }

    fn distribute(&mut self, step: &mut Step<'_>, delivery: &mut Delivery<'_>, matches: &Matches) {
        delivery.shares_forms = matches.targets.len() > 2;
        if self.shards == 1 {
            self.deliver_all(step, delivery, &matches.targets);
        } else {
            self.split_by_shard(step, delivery, &matches.targets);
        }
        for group in &matches.groups {
            self.route_to_group(step, delivery, group);
        }
    }

    /// Delivers to the targets of this shard, and mails the others' to them, an item for each shard.
    fn split_by_shard(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        targets: &[Target],
    ) {
        let merges = !self.settings.allow_duplicate_messages && targets.len() > 1;
        let publisher = delivery.view.publisher;
        for target in targets {
            let shard = target.session.shard;
            if shard == self.id && !merges {
                self.deliver(step, delivery, target);
                continue;
            }
            if target.options.no_local() && Some(target.session) == publisher {
                continue;
            }
            let Some(list) = self.scratch.remote.get_mut(usize::from(shard)) else {
                continue;
            };
            if list.is_empty() {
                self.scratch.remote_shards.push(shard);
            }
            list.push(*target);
        }
        while let Some(shard) = self.scratch.remote_shards.pop() {
            let Some(list) = self.scratch.remote.get_mut(usize::from(shard)) else {
                continue;
            };
            let targets = std::mem::take(list);
            if shard == self.id {
                self.deliver_all(step, delivery, &targets);
            } else {
                let message = delivery.keep();
                step.effects
                    .mail
                    .push((shard, Mail::Deliver { message, targets }));
            }
        }
    }

    /// Delivers to targets that are all of this shard.
    pub(crate) fn deliver_all(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        targets: &[Target],
    ) {
        if self.settings.allow_duplicate_messages || targets.len() < 2 {
            for target in targets {
                self.deliver(step, delivery, target);
            }
            return;
        }
        // One copy for each session, with the highest QoS and all identifiers
        // (`[MQTT5-3.3.4-2]`, `[MQTT5-3.3.4-4]`, `[MQTT311-3.3.5-1]`).
        let mut sorted: SmallVec<[Target; 8]> = SmallVec::from_slice(targets);
        sorted.sort_by_key(|target| target.session);
        for same in sorted.chunk_by(|a, b| a.session == b.session) {
            let publisher = delivery.view.publisher;
            let wanted = |target: &&Target| {
                !(target.options.no_local() && Some(target.session) == publisher)
            };
            let Some(best) = same
                .iter()
                .filter(wanted)
                .max_by_key(|target| target.options.qos())
            else {
                continue;
            };
            let ids: SmallVec<[u32; 8]> = same
                .iter()
                .filter(wanted)
                .map(|target| target.subscription_id)
                .filter(|id| *id > 0)
                .collect();
            let ids = match &*ids {
                [] => SubscriptionIds::None,
                [id] => SubscriptionIds::One(*id),
                ids => SubscriptionIds::Many(ids.into()),
            };
            let as_published = same
                .iter()
                .filter(wanted)
                .any(|t| t.options.retain_as_published());
            self.deliver_copy(step, delivery, best, ids, as_published, None);
        }
    }

    #[inline]
    fn deliver(&mut self, step: &mut Step<'_>, delivery: &mut Delivery<'_>, target: &Target) {
        // [MQTT5-3.8.3-3]
        if target.options.no_local() && Some(target.session) == delivery.view.publisher {
            return;
        }
        let ids = SubscriptionIds::from_id(target.subscription_id);
        let as_published = target.options.retain_as_published();
        self.deliver_copy(step, delivery, target, ids, as_published, None);
    }

    fn deliver_copy(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        target: &Target,
        ids: SubscriptionIds,
        as_published: bool,
        group: Option<(GroupId, u16)>,
    ) {
        let Some(key) = self.local(target.session) else {
            return;
        };
        let granted = QoS::from_bits(target.options.qos()).unwrap_or_default();
        let qos = self.effective_qos(delivery.view.qos, granted);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // [MQTT5-3.3.1-12], [MQTT5-3.3.1-13]
        let retain = as_published && delivery.view.retain;
        match (qos, session.conn) {
            (QoS::AtMostOnce, Some(conn)) => {
                let form = Form {
                    retain,
                    ids: ids.as_slice(),
                    ..Form::default()
                };
                self.deliver_at_most_once(step, conn, delivery, &form);
            }
            (QoS::AtMostOnce, None) if !self.settings.queue_qos0_messages => {}
            _ => {
                let message = delivery.keep();
                let queued = Queued {
                    message,
                    qos,
                    retain,
                    ids,
                    group,
                };
                self.deliver_queued(step, key, queued, Some(delivery));
            }
        }
    }

    /// QoS 0 to a connected client: written now or dropped.
    #[inline]
    fn deliver_at_most_once(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        delivery: &mut Delivery<'_>,
        form: &Form<'_>,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.outbox.len() >= self.settings.outbox_bytes_max {
            self.stats.publish_dropped += 1;
            if !conn.dropping {
                conn.dropping = true;
                let bytes = conn.outbox.len();
                let client_id = self
                    .client_id(crate::ConnId(key))
                    .unwrap_or_default()
                    .to_owned();
                events::outbox_full(step.effects, &client_id, bytes);
            }
            return;
        }
        self.write_shared(step, key, delivery, form);
    }

    /// A message that its session may have to keep: sent when the window and the socket have room and
    /// nothing waits before it, else queued.
    pub(crate) fn deliver_queued(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        queued: Queued,
        delivery: Option<&mut Delivery<'_>>,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        self.stats.queued_messages += 1;
        self.stats.queued_bytes += queued.message.size() as u64;
        if session.queue.is_empty()
            && queued.qos > QoS::AtMostOnce
            && let Some(conn_key) = session.conn
            && let Some(conn) = self.conns.get(conn_key)
            && conn.outbox_has_room()
            && session.window_has_room(conn.receive_maximum, self.settings.max_inflight_bytes)
        {
            self.send_next(step, key, conn_key, queued, delivery);
        } else {
            self.enqueue(step, key, queued);
        }
        if self
            .sessions
            .get(key)
            .is_some_and(|session| session.presence.is_some())
        {
            self.update_presence(step, key);
        }
    }

    /// Puts a message into the window and writes it.
    fn send_next(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        conn: SlabKey,
        queued: Queued,
        delivery: Option<&mut Delivery<'_>>,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let size = queued.message.size();
        let (message, qos, retain, ids) = (
            Arc::clone(&queued.message),
            queued.qos,
            queued.retain,
            queued.ids.clone(),
        );
        let packet_id = match session.outgoing.push(qos, queued) {
            Ok(id) => id,
            // All identifiers are in use: it waits until one is free.
            Err(queued) => return session.queue.push(queued),
        };
        session.outgoing_bytes += size;
        let form = Form {
            qos,
            packet_id: Some(packet_id),
            dup: false,
            retain,
            ids: ids.as_slice(),
        };
        let written = match delivery {
            Some(delivery) => self.write_shared(step, conn, delivery, &form),
            None => self.write_publish(step, conn, &message.view(), &form),
        };
        if written == Written::TooLarge {
            self.abandon(key, packet_id, qos);
        }
    }

    /// A message that is too large for its client counts as sent and finished `[MQTT5-3.1.2-25]`.
    fn abandon(&mut self, key: SlabKey, id: NonZeroU16, qos: QoS) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let kind = if qos == QoS::ExactlyOnce {
            AckKind::PubRec
        } else {
            AckKind::PubAck
        };
        if let Acked::Finished(Some(queued)) = session.outgoing.acknowledge(kind, id, true) {
            let size = queued.message.size();
            session.outgoing_bytes -= size;
            self.uncount(size);
        }
    }

    /// Lets a message wait, within the limits of its session and of the broker.
    fn enqueue(&mut self, step: &mut Step<'_>, key: SlabKey, queued: Queued) {
        let size = queued.message.size();
        let settings = Arc::clone(&self.settings);
        let share = settings.max_queued_bytes_total / usize::from(self.shards.max(1));
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // Offline, what was sent and not acknowledged counts as waiting too.
        let waiting = match session.conn {
            Some(_) => session.queue.len(),
            None => session.queue.len() + session.outgoing.len(),
        };
        let over = |most: usize, now: usize| most > 0 && now > most;
        let mut full = over(settings.max_queued_messages, waiting + 1)
            || over(settings.max_queued_bytes, session.queue.bytes() + size)
            || over(
                share,
                usize::try_from(self.stats.queued_bytes).unwrap_or(usize::MAX),
            );
        if full && settings.queue_overflow == QueueOverflow::DropOldest {
            while full && let Some(oldest) = session.queue.pop() {
                self.stats.queued_messages -= 1;
                self.stats.queued_bytes -= oldest.message.size() as u64;
                self.stats.publish_dropped += 1;
                full = over(settings.max_queued_bytes, session.queue.bytes() + size)
                    || over(
                        share,
                        usize::try_from(self.stats.queued_bytes).unwrap_or(usize::MAX),
                    );
            }
            self.log_overflow(step, key);
        } else if full {
            self.uncount(size);
            self.stats.publish_dropped += 1;
            self.log_overflow(step, key);
            return;
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.queue.push(queued);
        }
    }

    /// Says once for each time that a queue fills.
    fn log_overflow(&mut self, step: &mut Step<'_>, key: SlabKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && !session.overflowing
        {
            session.overflowing = true;
            let (messages, bytes) = (session.queue.len(), session.queue.bytes());
            events::queue_full(step.effects, &session.client_id, messages, bytes);
        }
    }

    fn uncount(&mut self, size: usize) {
        self.stats.queued_messages -= 1;
        self.stats.queued_bytes -= size as u64;
    }

    /// PUBACK, PUBREC or PUBCOMP from a client.
    pub(crate) fn acknowledged(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        kind: AckKind,
        ack: &Ack<'_>,
    ) -> Result<(), Fault> {
        let Some(session_key) = self.session_key(key) else {
            return Ok(());
        };
        let Some(session) = self.sessions.get_mut(session_key) else {
            return Ok(());
        };
        let id = ack.packet_id;
        let refused = ack.reason.is_failure();
        let acked = session.outgoing.acknowledge(kind, id, refused);
        let (Acked::Finished(Some(freed)) | Acked::Release(Some(freed))) = &acked else {
            return self.acknowledged_without_message(
                step,
                key,
                session_key,
                kind,
                id,
                refused,
                &acked,
            );
        };
        let size = freed.message.size();
        session.outgoing_bytes -= size;
        self.uncount(size);
        if matches!(acked, Acked::Release(_)) {
            self.send(
                step,
                key,
                &Packet::Ack(AckKind::PubRel, Ack::new(id, ReasonCode::SUCCESS)),
            );
        } else {
            self.pump(step, session_key);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the rest of one decision")]
    fn acknowledged_without_message(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        session: SlabKey,
        kind: AckKind,
        id: NonZeroU16,
        refused: bool,
        acked: &Acked<Queued>,
    ) -> Result<(), Fault> {
        let release = |reason| Packet::Ack(AckKind::PubRel, Ack::new(id, reason));
        match (acked, kind) {
            (Acked::Release(_), _) => {
                self.send(step, key, &release(ReasonCode::SUCCESS));
            }
            (Acked::Finished(_), _) => self.pump(step, session),
            (Acked::Unknown, AckKind::PubRec) if !refused => {
                self.send(step, key, &release(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND));
            }
            (Acked::Unknown, _) => {}
            (Acked::Mismatch, _) => {
                let why = "an acknowledgement does not fit its message";
                return Err(Fault::disconnect(ReasonCode::PROTOCOL_ERROR, why));
            }
        }
        Ok(())
    }

    /// Moves what waits for a session to its connection, as far as window and outbox have room: first
    /// what is due again, then the queue.
    pub(crate) fn pump(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(conn_key) = session.conn else {
            return;
        };
        if session.outgoing.is_empty() && session.queue.is_empty() {
            if session.presence.is_some() {
                self.update_presence(step, key);
            }
            self.resume_walk(conn_key);
            return;
        }
        self.pump_resends(step, key, conn_key);
        while let Some(conn) = self.conns.get(conn_key)
            && conn.outbox_has_room()
            && let Some(session) = self.sessions.get_mut(key)
            && let Some(front) = session.queue.front()
        {
            let room =
                session.window_has_room(conn.receive_maximum, self.settings.max_inflight_bytes);
            if front.qos > QoS::AtMostOnce && !room {
                break;
            }
            let Some(queued) = session.queue.pop() else {
                break;
            };
            session.overflowing = false;
            let size = queued.message.size();
            if queued.message.view().is_expired(step.now) {
                // [MQTT5-3.3.2-5]
                self.uncount(size);
                self.stats.publish_dropped += 1;
            } else if queued.qos == QoS::AtMostOnce {
                self.uncount(size);
                let form = Form {
                    retain: queued.retain,
                    ids: queued.ids.as_slice(),
                    ..Form::default()
                };
                self.write_publish(step, conn_key, &queued.message.view(), &form);
            } else {
                self.send_next(step, key, conn_key, queued, None);
            }
        }
        if self
            .sessions
            .get(key)
            .is_some_and(|session| session.presence.is_some())
        {
            self.update_presence(step, key);
        }
        self.resume_walk(conn_key);
    }

    /// Sends again what an earlier connection left unfinished (`[MQTT5-4.4.0-1]`).
    fn pump_resends(&mut self, step: &mut Step<'_>, key: SlabKey, conn_key: SlabKey) {
        while let Some(conn) = self.conns.get(conn_key)
            && conn.outbox_has_room()
            && let Some(session) = self.sessions.get_mut(key)
            && let Some(resend) = session.outgoing.next_resend(conn.receive_maximum)
        {
            match resend {
                Resend::PubRel(id) => {
                    let ack = Ack::new(id, ReasonCode::SUCCESS);
                    self.send(step, conn_key, &Packet::Ack(AckKind::PubRel, ack));
                }
                Resend::Publish(id, qos, queued) => {
                    let message = Arc::clone(&queued.message);
                    let (retain, ids) = (queued.retain, queued.ids.clone());
                    let form = Form {
                        qos,
                        packet_id: Some(id),
                        dup: true,
                        retain,
                        ids: ids.as_slice(),
                    };
                    if self.write_publish(step, conn_key, &message.view(), &form)
                        == Written::TooLarge
                    {
                        self.abandon(key, id, qos);
                    }
                }
            }
        }
    }

    /// Writes a copy that may have the same form as others of the message.
    #[inline]
    fn write_shared(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        delivery: &mut Delivery<'_>,
        form: &Form<'_>,
    ) -> Written {
        if !delivery.shares_forms || !form.ids.is_empty() || delivery.view.expires.is_some() {
            return self.write_publish(step, key, &delivery.view, form);
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return Written::Yes;
        };
        if conn.aliases_out.is_some()
            || conn.packet_size_max > 0
            || conn.origin.listener.mount_point.is_some()
        {
            return self.write_publish(step, key, &delivery.view, form);
        }
        let version = conn.version();
        let kind =
            usize::from(version.has_properties()) * 2 + usize::from(form.packet_id.is_some());
        let Some(shared) = delivery.forms.get_mut(kind) else {
            return Written::Yes;
        };
        if shared.bytes.is_empty() {
            let publish = publish_of(&delivery.view, delivery.view.topic, &[], form);
            if publish.encode(version, &mut shared.bytes).is_err() {
                return Written::TooLarge;
            }
            let header = publish.packet_length(version).unwrap_or_default();
            debug_assert_eq!(header, shared.bytes.len());
            let length_bytes = shared
                .bytes
                .iter()
                .skip(1)
                .take_while(|byte| **byte >= 0x80)
                .count();
            shared.id_at = 2 + length_bytes + 2 + delivery.view.topic.len();
        }
        let buffer = conn.buffer(&mut self.pool, &mut step.effects.dirty);
        let start = buffer.len();
        buffer.extend_from_slice(&shared.bytes);
        if let Some(first) = buffer.get_mut(start) {
            *first = publish_of(&delivery.view, "", &[], form).first_byte();
        }
        if let Some(id) = form.packet_id
            && let Some(place) = buffer.get_mut(start + shared.id_at..start + shared.id_at + 2)
        {
            place.copy_from_slice(&id.get().to_be_bytes());
        }
        self.count_publish_sent(delivery.view.payload.len());
        Written::Yes
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
        let version = conn.version();
        let topic = conn.visible(view.topic);
        if version != Version::V5 {
            let publish = publish_of(view, topic, &[], form);
            let buffer = conn.buffer(&mut self.pool, &mut step.effects.dirty);
            if publish.encode(version, buffer).is_err() {
                return Written::TooLarge;
            }
            self.count_publish_sent(view.payload.len());
            return Written::Yes;
        }
        let mut alias = conn
            .aliases_out
            .as_ref()
            .map_or(AliasUse::Topic, |known| known.choose(topic));
        let mut extra: SmallVec<[Property<'_>; 4]> = SmallVec::new();
        if let Some(seconds) = seconds_left(view, step) {
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
        let limit = conn.packet_size_max as usize;
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
            self.stats.publish_dropped += 1;
            return Written::TooLarge;
        }
        let buffer = conn.buffer(&mut self.pool, &mut step.effects.dirty);
        if publish.encode(version, buffer).is_err() {
            return Written::TooLarge;
        }
        if let Some(aliases) = &mut conn.aliases_out {
            aliases.sent(topic, alias);
        }
        self.count_publish_sent(view.payload.len());
        Written::Yes
    }

    #[inline]
    fn count_publish_sent(&mut self, payload: usize) {
        self.stats.messages_sent += 1;
        self.stats.publish_sent += 1;
        self.stats.publish_bytes_sent += payload as u64;
    }

    /// A message of a shared group for a session of this shard.
    pub(crate) fn deliver_shared(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        target: &Target,
        group: GroupId,
        home: u16,
    ) {
        let granted = QoS::from_bits(target.options.qos()).unwrap_or_default();
        let qos = self.effective_qos(delivery.view.qos, granted);
        if qos > QoS::AtMostOnce && !self.takes_shared(target.session) {
            let message = delivery.keep();
            self.count_backlog(step, group, 1);
            self.post(
                step,
                home,
                Mail::GroupReturn {
                    group,
                    messages: vec![message],
                },
            );
            return;
        }
        let ids = SubscriptionIds::from_id(target.subscription_id);
        let as_published = target.options.retain_as_published();
        self.deliver_copy(
            step,
            delivery,
            target,
            ids,
            as_published,
            Some((group, home)),
        );
    }

    /// Whether a session can take a message of a shared group: it may have gone, or filled up, since it
    /// was chosen.
    fn takes_shared(&self, session: SessionRef) -> bool {
        self.local(session)
            .and_then(|key| self.sessions.get(key))
            .is_some_and(|session| session.conn.is_some() && session.queue.len() < SHARED_QUEUE_MAX)
    }

    /// Tells the other cores whether a member of shared groups has room, and asks for what its groups
    /// hold when it has.
    pub(crate) fn update_presence(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some(presence) = &session.presence else {
            return;
        };
        let state = self.presence_of(session);
        if presence.state() != state {
            presence.set(state);
        }
        if state == PresenceState::Ready {
            self.pull_from_groups(step, key);
        }
    }

    fn presence_of(&self, session: &Session) -> PresenceState {
        let conn = session.conn.and_then(|conn| self.conns.get(conn));
        let Some(conn) = conn else {
            return PresenceState::Away;
        };
        let room = session.queue.is_empty()
            && conn.outbox_has_room()
            && session.window_has_room(conn.receive_maximum, self.settings.max_inflight_bytes);
        if room {
            PresenceState::Ready
        } else {
            PresenceState::Busy
        }
    }

    /// Counts messages that are on their way to a group's home.
    pub(crate) fn count_backlog(&self, step: &Step<'_>, group: GroupId, count: usize) {
        if let Some(group) = step.tables.routing().group(group) {
            group
                .backlog()
                .fetch_add(u32::try_from(count).unwrap_or(u32::MAX), Ordering::SeqCst);
        }
    }
}

/// Messages of shared groups that may wait at a member beyond its window: some are under way when the
/// window fills.
const SHARED_QUEUE_MAX: usize = 256;

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
fn seconds_left(view: &MessageView<'_>, step: &Step<'_>) -> Option<u32> {
    let expires = view.expires?;
    let millis = expires.0.saturating_sub(step.now.0);
    Some(u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
}
