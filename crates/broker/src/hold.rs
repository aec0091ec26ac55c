//! Letting go of what waited for the disk, or refusing it.

use std::num::NonZeroU16;

use midge_codec::{Ack, AckKind, Packet, Properties, ReasonCode, SubAck, UnsubAck, Version};
use midge_proto::{Answer, Fault, Why};

use crate::persist::Records;
use crate::persist::journal::{Held, HeldPacket, HeldSubAck};
use crate::session::Expiry;
use crate::session_end::{Cause, leave};
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::write::{Form, Written};

/// What clients are told when the disk takes no more.
pub(crate) const DISK_FULL: &str = "the disk is full or fails, and the message cannot be kept";

impl Shard {
    /// Begins to keep what persistent sessions, shared groups and the retained store hold. `first_message`
    /// is greater than the name of every message that is kept; `unix_at_zero` is what the wall clock
    /// says at time zero, in milliseconds since 1970.
    pub fn persist(&mut self, first_message: u64, unix_at_zero: u64) {
        // Each shard has names of its own.
        let shards = u64::from(self.shards.max(1));
        let first = (first_message / shards + 1) * shards + u64::from(self.id);
        self.journal.start(first, shards, unix_at_zero);
    }

    /// Notes what the wall clock says at time zero: it may have been set since.
    pub fn set_wall_clock(&mut self, unix_at_zero: u64) {
        self.journal.set_unix_at_zero(unix_at_zero);
    }

    /// The records that were gathered since the last time, to be handed to the log in this order before
    /// any mail of this shard leaves. `spare` lends its memory. `None`: nothing is to be kept.
    pub fn take_records(&mut self, spare: Records) -> Option<Records> {
        self.journal.take(spare)
    }

    /// Learns that the records of this number, and all before, are safe. What waited for them goes to
    /// the outboxes.
    pub fn records_committed(&mut self, step: &mut Step<'_>, number: u64) {
        self.journal.settle(number);
        while let Some(held) = self.journal.next_free() {
            self.let_go(step, held);
        }
    }

    /// Learns that the log did not take these records. New work among them is refused, as is what follows
    /// until [`Self::set_refuses_new_work`]; the others come again with the next records.
    pub fn records_refused(&mut self, step: &mut Step<'_>, refused: &Records) {
        self.journal.refuses = true;
        for held in self.journal.refuse(refused) {
            self.refuse_held(step, held);
        }
        while let Some(held) = self.journal.next_free() {
            self.let_go(step, held);
        }
    }

    /// Whether new work is refused, since the log took none.
    #[must_use]
    pub const fn refuses_new_work(&self) -> bool {
        self.journal.refuses
    }

    /// Refuses new work before it does anything, or no longer.
    pub fn set_refuses_new_work(&mut self, refuses: bool) {
        self.journal.refuses = refuses;
    }

    /// Keeps a packet back until what was gathered is safe.
    pub(crate) fn hold(&mut self, key: SlabKey, packet: HeldPacket) {
        if let HeldPacket::Ack { .. } = packet
            && let Some(conn) = self.conns.get_mut(key)
        {
            conn.held_acks += 1;
        }
        self.journal.hold(key, packet);
    }

    fn let_go(&mut self, step: &mut Step<'_>, held: Held) {
        let key = held.conn;
        match held.packet {
            HeldPacket::Ack {
                kind, id, reason, ..
            } => {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.held_acks -= 1;
                    self.write_ack(step, key, kind, id, reason);
                }
            }
            HeldPacket::ConnAck { .. } => self.speak(step, key),
            HeldPacket::SubAck(suback) => self.send_suback(step, key, &suback),
            HeldPacket::UnsubAck(packet_id, codes) => {
                let unsuback = UnsubAck {
                    packet_id,
                    properties: Properties::NONE,
                    codes: &codes,
                };
                self.send(step, key, &Packet::UnsubAck(unsuback));
            }
            HeldPacket::Publish { session, id, bytes } => {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.held_bytes = conn.held_bytes.saturating_sub(bytes);
                }
                self.send_held(step, session, id);
            }
            HeldPacket::PubRel { id } => {
                let ack = Ack::new(id, ReasonCode::SUCCESS);
                self.send(step, key, &Packet::Ack(AckKind::PubRel, ack));
            }
            HeldPacket::ClientId(client_id) => {
                self.unclaim(&client_id);
                self.release(step, client_id);
            }
        }
    }

    /// Lets out what a connection's outbox has held.
    fn speak(&mut self, step: &mut Step<'_>, key: SlabKey) {
        if let Some(conn) = self.conns.get_mut(key)
            && std::mem::take(&mut conn.is_silent)
            && !conn.outbox.is_empty()
        {
            step.effects.dirty.push(conn.token);
        }
    }

    fn send_suback(&mut self, step: &mut Step<'_>, key: SlabKey, held: &HeldSubAck) {
        let suback = SubAck {
            packet_id: held.packet_id,
            properties: Properties::NONE,
            codes: &held.codes,
        };
        self.send(step, key, &Packet::SubAck(suback));
    }

    /// Sends a message for the first time, now that its packet identifier is safe.
    fn send_held(&mut self, step: &mut Step<'_>, key: SlabKey, id: NonZeroU16) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(conn_key) = session.conn else {
            session.outgoing.let_go(id);
            // It is due on the next connection.
            session.outgoing.disconnected();
            return;
        };
        let Some(queued) = session.outgoing.let_go(id) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(conn_key) else {
            return;
        };
        let qos = queued.qos;
        let form = Form {
            qos,
            packet_id: Some(id),
            dup: false,
            retain: queued.retain,
            ids: queued.ids.as_slice(),
        };
        let (pool, dirty) = (&mut self.pool, &mut step.effects.dirty);
        let message = &queued.message;
        let written = conn.write_message(pool, dirty, step.now, message, &form);
        let payload_bytes = message.payload_bytes();
        if self.stats.count_written(written, payload_bytes) == Written::TooLarge {
            self.abandon(key, id, qos);
            self.pump(step, key);
        }
    }

    fn refuse_held(&mut self, step: &mut Step<'_>, held: Held) {
        let key = held.conn;
        match held.packet {
            HeldPacket::Ack { kind, id, .. } => {
                let Some(conn) = self.conns.get_mut(key) else {
                    return;
                };
                conn.held_acks -= 1;
                let is_v5 = conn.version() == Version::V5;
                if kind == AckKind::PubRec {
                    self.forget_incoming(key, id);
                }
                if is_v5 {
                    self.write_ack(step, key, kind, id, ReasonCode::QUOTA_EXCEEDED);
                } else {
                    // 3.x has no code; the client sends the message again when it comes back.
                    self.fail(step, key, &Fault::close(DISK_FULL));
                }
            }
            HeldPacket::ConnAck { .. } => self.refuse_session(step, key),
            HeldPacket::SubAck(mut suback) => {
                let code = self.refused_subscription_code(key);
                for (place, filter) in &suback.added {
                    if let Some(old) = suback.codes.get_mut(*place) {
                        *old = code;
                    }
                    self.take_back_subscription(key, filter);
                }
                self.send_suback(step, key, &suback);
            }
            // They cannot be refused.
            HeldPacket::UnsubAck(..)
            | HeldPacket::Publish { .. }
            | HeldPacket::PubRel { .. }
            | HeldPacket::ClientId(_) => {}
        }
    }

    /// The code for a filter that cannot be kept.
    pub(crate) fn refused_subscription_code(&self, key: SlabKey) -> u8 {
        match self.conns.get(key).map(|conn| conn.version()) {
            Some(Version::V5) => ReasonCode::QUOTA_EXCEEDED.0,
            _ => 0x80,
        }
    }

    fn take_back_subscription(&mut self, key: SlabKey, filter: &str) {
        let Some(session_key) = self.session_key(key) else {
            return;
        };
        let session_ref = self.session_ref(session_key);
        if let Some(session) = self.sessions.get_mut(session_key)
            && session.subscriptions.remove(filter)
        {
            let mount_point = session.mount_point.as_deref();
            self.changes.push(leave(filter, mount_point, session_ref));
            self.journal.records.unsubscribe(session_ref, filter);
        }
    }

    /// A message of QoS 2 whose PUBREC is refused was never received.
    fn forget_incoming(&mut self, key: SlabKey, id: NonZeroU16) {
        let session = self
            .session_key(key)
            .and_then(|session| self.sessions.get_mut(session));
        if let Some(session) = session
            && let Some(message) = session.incoming.release(id)
        {
            session.incoming_bytes -= message.size();
            self.stats.queued_messages -= 1;
            self.stats.queued_bytes -= message.size() as u64;
        }
    }

    /// Refuses a CONNECT whose session cannot be kept; what it has been sent so far never leaves.
    fn refuse_session(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let (version, session) = (conn.version(), conn.session.take());
        conn.outbox.empty(&mut self.pool);
        conn.is_silent = false;
        if conn.dirty {
            step.effects.dirty.push(conn.token);
        }
        self.send_refusal(step, key, version, disk_full_connack(version));
        if let Some(session) = session {
            if let Some(session) = self.sessions.get_mut(session) {
                session.will = None;
                session.expiry = Expiry::WithConnection;
                session.conn = None;
            }
            self.end_session(step, session);
        }
        let fault = Fault {
            answer: Answer::Close,
            why: Why::Text(DISK_FULL),
        };
        self.end(step, key, &Cause::Fault(&fault));
    }

    /// Writes PUBACK, PUBREC or PUBCOMP.
    #[inline]
    pub(crate) fn write_ack(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        kind: AckKind,
        id: NonZeroU16,
        reason: ReasonCode,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let is_short = reason == ReasonCode::SUCCESS || conn.version() != Version::V5;
        let [high, low] = id.get().to_be_bytes();
        let bytes = [kind.packet_type().first_byte(), 2, high, low];
        // A smaller maximum packet size is absurd, but `send` obeys it [MQTT5-3.1.2-24].
        let fits = conn.packet_size_max == 0 || conn.packet_size_max as usize >= bytes.len();
        if is_short && fits {
            // The short form is the same in all versions.
            conn.write(&mut self.pool, &mut step.effects.dirty, |buffer| {
                buffer.extend_from_slice(&bytes);
                true
            });
            conn.answers_unsent += bytes.len();
            self.stats.messages_sent += 1;
            return;
        }
        self.send(step, key, &Packet::Ack(kind, Ack::new(id, reason)));
    }
}

/// What CONNACK says when a session cannot be kept.
pub(crate) const fn disk_full_connack(version: Version) -> ReasonCode {
    match version {
        Version::V5 => ReasonCode::QUOTA_EXCEEDED,
        Version::V3_1 | Version::V3_1_1 => ReasonCode::SERVER_UNAVAILABLE,
    }
}
