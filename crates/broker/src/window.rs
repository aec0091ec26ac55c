//! The way of QoS 1 and 2 messages through a session: its queue, its window, and acknowledgements.

use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{Ack, AckKind, Packet, QoS, ReasonCode};
use midge_proto::{Acked, Fault, Resend};

use crate::deliver::Delivery;
use crate::events;
use crate::queue::Queued;
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

    /// Puts a message into the window and writes it.
    fn send_next(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        conn_key: SlabKey,
        queued: Queued,
        delivery: Option<&mut Delivery<'_>>,
    ) {
        let (Some(session), Some(conn)) =
            (self.sessions.get_mut(key), self.conns.get_mut(conn_key))
        else {
            return;
        };
        let size = queued.message.size();
        let qos = queued.qos;
        let packet_id = match session.outgoing.push(qos, queued) {
            Ok(id) => id,
            // All identifiers are in use: it waits until one is free.
            Err(queued) => return session.queue.push(queued, &mut self.spare_queues),
        };
        session.outgoing_bytes += size;
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
                self.stats.count_written(written, &delivery.view)
            }
            None => {
                let view = queued.message.view();
                let written = conn.write_publish(pool, dirty, step.now, &view, &form);
                self.stats.count_written(written, &view)
            }
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
        loop {
            let (waiting, bytes) = (session.queue.len() + sent, session.queue.bytes());
            if !limits.are_met(waiting, bytes, size, self.stats.queued_bytes) {
                session.queue.push(queued, &mut self.spare_queues);
                break;
            }
            overflows = true;
            let oldest = match limits.overflow {
                QueueOverflow::DropOldest => session.queue.pop(&mut self.spare_queues),
                QueueOverflow::DropNewest => None,
            };
            // The message itself is the oldest when no other is left to be dropped.
            let dropped = oldest.as_ref().map_or(size, |oldest| oldest.message.size());
            self.stats.queued_messages -= 1;
            self.stats.queued_bytes -= dropped as u64;
            self.stats.publish_dropped += 1;
            if oldest.is_none() {
                break;
            }
        }
        if overflows {
            self.log_overflow(step, key);
        }
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
            let Some(queued) = session.queue.pop(&mut self.spare_queues) else {
                break;
            };
            if session.queue.is_empty() {
                session.overflowing = false;
            }
            let size = queued.message.size();
            if queued.message.is_expired(step.now) {
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
}
