//! The way of QoS 1 and 2 messages through a session: its queue, its window, and acknowledgements.

use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{Ack, AckKind, Packet, QoS, ReasonCode};
use midge_proto::{Acked, Fault, Resend};

use crate::access::Action;
use crate::deliver::Delivery;
use crate::effects::Load;
use crate::events;
use crate::message::{Message, MessageView};
use crate::persist;
use crate::persist::journal::HeldPacket;
use crate::persist::records::{CopyTo, Holding};
use crate::publish::first_ack;
use crate::queue::{Loaded, Oldest, Queued, Stored, SubscriptionIds};
use crate::route::{GroupId, SessionRef};
use crate::session::Session;
use crate::settings::QueueOverflow;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::write::{Form, Written};

/// What bounds a queue.
pub(crate) struct QueueLimits {
    messages: usize,
    bytes: usize,
    /// For all queues of the shard.
    pub(crate) bytes_total: u64,
    pub(crate) overflow: QueueOverflow,
}

impl QueueLimits {
    /// Whether a queue with so many messages and bytes has no place for another of `size` bytes.
    /// `total`: bytes in all queues, the message's included.
    pub(crate) const fn are_met(
        &self,
        messages: usize,
        bytes: usize,
        size: usize,
        total: u64,
    ) -> bool {
        self.messages > 0 && messages >= self.messages
            || self.bytes > 0 && bytes + size > self.bytes
            || total > self.bytes_total
    }
}

impl Shard {
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

    /// A QoS 1 message whose copy need not be recorded: if nothing is special about its session, it goes to
    /// the window and the outbox at once. `false`: nothing has happened, and [`Self::deliver_queued`] is
    /// to look at it.
    #[inline]
    pub(crate) fn deliver_at_least_once(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        delivery: &mut Delivery<'_>,
        retain: bool,
        ids: &SubscriptionIds,
        group: Option<(GroupId, u16)>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(conn) = session.conn.and_then(|conn| self.conns.get_mut(conn)) else {
            return false;
        };
        if delivery.view.id != 0
            || !session.queue.is_empty()
            || session.outgoing.has_held()
            || !conn.outbox_has_room()
            || !session.window_has_room(conn.receive_maximum, self.settings.max_inflight_bytes)
        {
            return false;
        }
        let message = delivery.keep(&mut self.messages);
        let size = message.size();
        let queued = Queued {
            message,
            qos: QoS::AtLeastOnce,
            retain,
            ids: ids.clone(),
            group,
        };
        let Ok(packet_id) = session.outgoing.push(QoS::AtLeastOnce, queued) else {
            // All identifiers are in use.
            return false;
        };
        session.outgoing_bytes += size;
        let is_member = session.presence.is_some();
        self.stats.queued_messages += 1;
        self.stats.queued_bytes += size as u64;
        let form = Form {
            qos: QoS::AtLeastOnce,
            packet_id: Some(packet_id),
            dup: false,
            retain,
            ids: ids.as_slice(),
        };
        let (pool, dirty) = (&mut self.pool, &mut step.effects.dirty);
        let written = conn.write_shared(pool, dirty, step.now, delivery, &form);
        let payload_bytes = delivery.view.payload.len();
        if self.stats.count_written(written, payload_bytes) == Written::TooLarge {
            self.abandon(key, packet_id, QoS::AtLeastOnce);
        }
        if is_member {
            self.update_presence(step, key);
        }
        true
    }

    /// Puts a message into the window and writes it.
    fn send_next(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        conn_key: SlabKey,
        queued: Queued,
        delivery: Option<&mut Delivery<'_>>,
    ) {
        let queued = self.record_late(key, queued);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let size = queued.message.size();
        let qos = queued.qos;
        let kept = queued.message.id() != 0;
        // A client that has a QoS 2 message must be asked about the same identifier after a crash.
        // What comes behind such a message does not overtake it.
        let waits = kept && qos == QoS::ExactlyOnce || session.outgoing.has_held();
        let pushed = if waits {
            session.outgoing.push_held(qos, queued)
        } else {
            session.outgoing.push(qos, queued)
        };
        let packet_id = match pushed {
            Ok(id) => id,
            // All identifiers are in use: it waits until one is free.
            Err(queued) => return session.queue.push(queued, &mut self.spare_queues),
        };
        session.outgoing_bytes += size;
        if kept {
            self.record_sent(key, packet_id);
        }
        if waits {
            let bytes = u32::try_from(size).unwrap_or(u32::MAX);
            if let Some(conn) = self.conns.get_mut(conn_key) {
                conn.held_bytes = conn.held_bytes.saturating_add(bytes);
            }
            let held = HeldPacket::Publish {
                session: key,
                id: packet_id,
                bytes,
            };
            self.hold(conn_key, held);
            return;
        }
        let (Some(session), Some(conn)) =
            (self.sessions.get_mut(key), self.conns.get_mut(conn_key))
        else {
            return;
        };
        let Some(queued) = session.outgoing.last() else {
            return;
        };
        let form = Form {
            qos,
            packet_id: Some(packet_id),
            dup: false,
            retain: queued.retain,
            ids: queued.ids.as_slice(),
        };
        let (pool, dirty) = (&mut self.pool, &mut step.effects.dirty);
        let written = match delivery {
            Some(delivery) => {
                let written = conn.write_shared(pool, dirty, step.now, delivery, &form);
                self.stats
                    .count_written(written, delivery.view.payload.len())
            }
            None => {
                let message = &queued.message;
                let written = conn.write_message(pool, dirty, step.now, message, &form);
                self.stats
                    .count_written(written, queued.message.payload_bytes())
            }
        };
        if written == Written::TooLarge {
            self.abandon(key, packet_id, qos);
        }
    }

    /// A persistent client that has a QoS 2 message must be asked about its identifier after a crash, so
    /// the message is kept from now on even if it was not before: it comes from a shared group that had
    /// no persistent member when it came.
    fn record_late(&mut self, key: SlabKey, queued: Queued) -> Queued {
        let is_persistent = |session: &Session| session.is_persistent;
        if queued.qos != QoS::ExactlyOnce
            || queued.message.id() != 0
            || self.journal.refuses
            || !self.sessions.get(key).is_some_and(is_persistent)
        {
            return queued;
        }
        let id = self.journal.next_message();
        let view = MessageView {
            id,
            ..queued.message.view()
        };
        let mut holding = Holding::default();
        holding.copies.push(CopyTo {
            session: self.session_ref(key),
            qos: queued.qos,
            retain: queued.retain,
            ids: queued.ids.clone(),
        });
        let expires = view.expires.map(|time| self.journal.unix(time));
        let records = &mut self.journal.records;
        records.message(id, &view, expires, &holding, true);
        Queued {
            message: view.keep(),
            // It is this session's alone.
            group: None,
            ..queued
        }
    }

    /// Records that the message that went into the window last has this packet identifier.
    fn record_sent(&mut self, key: SlabKey, packet_id: NonZeroU16) {
        let session_ref = self.session_ref(key);
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some(queued) = session.outgoing.last() else {
            return;
        };
        let message = queued.message.id();
        let is_persistent = session.is_persistent;
        match (queued.group, queued.qos) {
            (Some((group, _)), QoS::ExactlyOnce) => {
                // From now on it is this member's alone (`[MQTT5-4.8.2-4]`, `[MQTT5-4.8.2-5]`).
                let group = group.name_hash();
                if is_persistent {
                    let ids = queued.ids.clone();
                    let retain = queued.retain;
                    self.journal.step(&persist::records::Step::SentFromGroup {
                        group,
                        session: session_ref,
                        message,
                        packet_id,
                        retain,
                        ids,
                    });
                } else {
                    self.journal
                        .step(&persist::records::Step::GroupDone { group, message });
                    self.journal.records.finish(message);
                }
            }
            // Until its acknowledgement it is the group's.
            (Some(_), _) => {}
            (None, _) if is_persistent => {
                let session = session_ref;
                self.journal.step(&persist::records::Step::Sent {
                    session,
                    message,
                    packet_id,
                });
            }
            (None, QoS::ExactlyOnce) => self.journal.step(&persist::records::Step::Barrier),
            (None, _) => {}
        }
    }

    /// Records that a copy is not wanted any more: `packet_id` if it was sent.
    pub(crate) fn record_done(
        &mut self,
        key: SlabKey,
        queued: &Queued,
        packet_id: Option<NonZeroU16>,
    ) {
        let message = queued.message.id();
        if message == 0 {
            return;
        }
        let session = self.session_ref(key);
        let is_persistent = self
            .sessions
            .get(key)
            .is_some_and(|session| session.is_persistent);
        let is_groups = queued.qos < QoS::ExactlyOnce || packet_id.is_none();
        match (queued.group, packet_id) {
            (Some((group, _)), _) if is_groups => {
                let group = group.name_hash();
                self.journal
                    .step(&persist::records::Step::GroupDone { group, message });
            }
            _ if !is_persistent => return,
            (_, Some(packet_id)) => {
                self.journal
                    .step(&persist::records::Step::Acknowledged { session, packet_id });
            }
            (_, None) => self.journal.step(&persist::records::Step::Dropped {
                session,
                message,
                at_most_once: queued.qos == QoS::AtMostOnce,
            }),
        }
        self.journal.records.finish(message);
    }

    /// A message that is too large for its client counts as sent and finished `[MQTT5-3.1.2-25]`.
    pub(crate) fn abandon(&mut self, key: SlabKey, id: NonZeroU16, qos: QoS) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let kind = first_ack(qos);
        if let Acked::Finished(Some(queued)) = session.outgoing.acknowledge(kind, id, true) {
            let size = queued.message.size();
            session.outgoing_bytes -= size;
            self.uncount(size);
            self.record_done(key, &queued, Some(id));
        }
    }

    /// Lets a message wait, within the limits of its session and of the broker.
    fn enqueue(&mut self, step: &mut Step<'_>, key: SlabKey, queued: Queued) {
        let size = queued.message.size();
        let limits = self.queue_limits();
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // Offline, what was sent and not acknowledged counts as waiting too.
        let sent = match session.conn {
            Some(_) => 0,
            None => session.outgoing.len(),
        };
        let mut overflows = false;
        let mut newest = Some(queued);
        while newest.is_some() {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            let (waiting, bytes) = (session.queue.len() + sent, session.queue.bytes());
            if !limits.are_met(waiting, bytes, size, self.stats.queued_bytes) {
                let Some(queued) = newest.take() else { break };
                let message = queued.message.id();
                let is_kept = session.is_persistent && message != 0 && queued.group.is_none();
                match u32::try_from(size) {
                    Ok(size) if is_kept && session.queue.is_long(session.conn.is_some()) => {
                        let Queued {
                            qos, retain, ids, ..
                        } = queued;
                        let stored = Stored::new(message, qos, retain, ids, size);
                        session.queue.push_stored(stored);
                    }
                    _ => session.queue.push(queued, &mut self.spare_queues),
                }
                break;
            }
            overflows = true;
            let oldest = match limits.overflow {
                QueueOverflow::DropOldest => session.queue.pop_oldest(&mut self.spare_queues),
                QueueOverflow::DropNewest => None,
            };
            // The message itself is the oldest when no other is left to be dropped.
            match oldest.or_else(|| newest.take().map(Oldest::Queued)) {
                Some(Oldest::Queued(dropped)) => {
                    self.uncount(dropped.message.size());
                    self.stats.publish_dropped += 1;
                    self.record_done(key, &dropped, None);
                }
                Some(Oldest::Stored(dropped)) => {
                    self.stats.publish_dropped += 1;
                    self.drop_stored(
                        key,
                        dropped.message,
                        dropped.size(),
                        dropped.is_at_most_once(),
                    );
                }
                None => {}
            }
        }
        if overflows {
            self.log_overflow(step, key);
        }
    }

    /// A copy that is only on the disk is not wanted any more.
    fn drop_stored(&mut self, key: SlabKey, message: u64, size: usize, at_most_once: bool) {
        self.uncount(size);
        let session = self.session_ref(key);
        self.journal.step(&persist::records::Step::Dropped {
            session,
            message,
            at_most_once,
        });
        self.journal.records.finish(message);
    }

    /// Asks for the next of a session's messages that are only on the disk.
    fn load_more(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let session_ref = self.session_ref(key);
        let session = self.sessions.get_mut(key);
        if let Some(messages) = session.and_then(|session| session.queue.next_load()) {
            step.effects.loads.push(Load {
                session: session_ref,
                messages,
            });
        }
    }

    /// Takes messages that were read from the disk, in the order in which [`Load`] asked for them. Those
    /// that could not be read are `None`: nobody will get them.
    pub fn loaded(
        &mut self,
        step: &mut Step<'_>,
        session: SessionRef,
        messages: Vec<(u64, Option<Arc<Message>>)>,
    ) {
        let Some(key) = self.local(session) else {
            return;
        };
        for (name, message) in messages {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            match session.queue.loaded(name, message, &mut self.spare_queues) {
                Loaded::Queued(before, now) => {
                    let bytes = self.stats.queued_bytes.saturating_sub(before as u64);
                    self.stats.queued_bytes = bytes + now as u64;
                }
                Loaded::Lost(size) => {
                    self.stats.publish_dropped += 1;
                    self.drop_stored(key, name, size, false);
                }
                Loaded::Unwanted => {}
            }
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.queue.end_load();
        }
        self.pump(step, key);
    }

    /// What bounds each queue of this shard.
    pub(crate) fn queue_limits(&self) -> QueueLimits {
        let settings = &self.settings;
        let share = settings.max_queued_bytes_total / usize::from(self.shards.max(1));
        QueueLimits {
            messages: settings.max_queued_messages,
            bytes: settings.max_queued_bytes,
            // A limit of fewer bytes than shards is a limit nonetheless.
            bytes_total: match settings.max_queued_bytes_total {
                0 => u64::MAX,
                _ => (share as u64).max(1),
            },
            overflow: settings.queue_overflow,
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

    /// PUBACK for the oldest unacknowledged message of a connection, as nearly all are. `false`: nothing has
    /// happened, and [`Self::acknowledged`] is to look at it.
    #[inline]
    pub(crate) fn delivered_at_least_once(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        id: NonZeroU16,
    ) -> bool {
        let Some(conn) = self.conns.get(key) else {
            return false;
        };
        let Some(session_key) = conn.session else {
            return false;
        };
        let has_walks = !conn.walks.is_empty();
        let Some(session) = self.sessions.get_mut(session_key) else {
            return false;
        };
        let Some(freed) = session.outgoing.finish_oldest(id) else {
            return false;
        };
        let size = freed.message.size();
        session.outgoing_bytes -= size;
        let goes_on = has_walks || session.presence.is_some() || !session.queue.is_empty();
        self.uncount(size);
        self.record_done(session_key, &freed, Some(id));
        if goes_on {
            self.pump(step, session_key);
        }
        self.messages.give(freed.message);
        true
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
        let is_persistent = session.is_persistent;
        self.uncount(size);
        match &acked {
            Acked::Release(_) => {
                if is_persistent && freed.message.id() != 0 {
                    let (message, packet_id) = (freed.message.id(), id);
                    let session = self.session_ref(session_key);
                    self.journal
                        .step(&persist::records::Step::Received { session, packet_id });
                    self.journal.records.finish(message);
                }
                self.send_release(step, key, session_key, id);
            }
            _ => {
                self.record_done(session_key, freed, Some(id));
                self.pump(step, session_key);
            }
        }
        if let Acked::Finished(Some(freed)) | Acked::Release(Some(freed)) = acked {
            self.messages.give(freed.message);
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
        match (acked, kind) {
            (Acked::Release(_), _) => self.send_release(step, key, session, id),
            (Acked::Finished(_), _) => {
                let session_ref = self.session_ref(session);
                let is_persistent = self
                    .sessions
                    .get(session)
                    .is_some_and(|session| session.is_persistent);
                if is_persistent {
                    self.journal.step(&persist::records::Step::Acknowledged {
                        session: session_ref,
                        packet_id: id,
                    });
                }
                self.pump(step, session);
            }
            (Acked::Unknown, AckKind::PubRec) if !refused => {
                let release = Ack::new(id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
                self.send(step, key, &Packet::Ack(AckKind::PubRel, release));
            }
            (Acked::Unknown, _) => {}
            (Acked::Mismatch, _) => {
                let why = "an acknowledgement does not fit its message";
                return Err(Fault::disconnect(ReasonCode::PROTOCOL_ERROR, why));
            }
        }
        Ok(())
    }

    /// Sends PUBREL, once it is safe that PUBREC has come: the client forgets the identifier with it.
    fn send_release(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        session: SlabKey,
        id: NonZeroU16,
    ) {
        let is_persistent = self
            .sessions
            .get(session)
            .is_some_and(|session| session.is_persistent);
        if is_persistent && !self.journal.is_settled() {
            self.hold(key, HeldPacket::PubRel { id });
            return;
        }
        let ack = Ack::new(id, ReasonCode::SUCCESS);
        self.send(step, key, &Packet::Ack(AckKind::PubRel, ack));
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
        // After nearly every acknowledgement nothing else waits.
        if session.queue.is_empty() && session.outgoing.is_all_sent() {
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
            let Some(queued) = session.queue.pop(&mut self.spare_queues) else {
                break;
            };
            if session.queue.is_empty() {
                session.overflowing = false;
            }
            let size = queued.message.size();
            let is_guarded = session.is_guarded;
            let is_expired = queued.message.is_expired(step.now);
            if is_expired
                || is_guarded
                    && !self.is_allowed(
                        step,
                        conn_key,
                        Action::Deliver,
                        queued.message.view().topic,
                    )
            {
                // [MQTT5-3.3.2-5]
                self.uncount(size);
                self.stats.publish_dropped += 1;
                self.record_done(key, &queued, None);
            } else if queued.qos == QoS::AtMostOnce {
                self.uncount(size);
                self.record_done(key, &queued, None);
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
        self.load_more(step, key);
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
}
