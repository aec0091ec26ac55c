//! What goes out to a connection beside messages, up to the word that ends it.

use std::fmt::Display;

use midge_codec::{Packet, ReasonCode, Version};
use midge_proto::{Answer, Fault, Phase};

use super::{Shard, Step};
use crate::connection::{ConnId, Origin};
use crate::events;
use crate::session_end::Cause;
use crate::slab::SlabKey;

impl Shard {
    /// The bytes that wait for a connection's socket.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> &[u8] {
        self.conns
            .get(conn.0)
            .filter(|conn| !conn.is_silent)
            .map_or(&[], |conn| conn.outbox.unsent())
    }

    /// Learns that the socket took the first `count` bytes of [`Self::output`]. What waited for room goes
    /// to the outbox, and the connection is listed anew in [`crate::Effects::dirty`] then; with bytes left, the
    /// worker knows itself that there is more to write.
    pub fn wrote(&mut self, step: &mut Step<'_>, conn: ConnId, count: usize) {
        let Some(state) = self.conns.get_mut(conn.0) else {
            return;
        };
        self.stats.bytes_sent += count as u64;
        state.outbox.consume(count, &mut self.pool);
        state.answers_unsent = state.answers_unsent.saturating_sub(count);
        if state.outbox.is_empty() {
            state.dirty = false;
            state.dropping = false;
        }
        if state.outbox_has_room() {
            let session = state.session;
            if !state.walks.is_empty() {
                self.resume_walk(conn.0);
            }
            if let Some(session) = session {
                self.pump(step, session);
            }
        }
    }

    /// Writes a packet that is not PUBLISH to a connection's outbox, if the client takes packets of
    /// that size `[MQTT5-3.1.2-24]`.
    pub(crate) fn send(&mut self, step: &mut Step<'_>, key: SlabKey, packet: &Packet<'_>) -> bool {
        let Some(conn) = self.conns.get_mut(key) else {
            return false;
        };
        let version = conn.version();
        let limit = conn.packet_size_max as usize;
        let mut length = 0;
        let written = conn.write(&mut self.pool, &mut step.effects.dirty, |buffer| {
            let before = buffer.len();
            // The broker builds no packet with a field that is too long.
            let is_encoded = packet.encode(version, buffer).is_ok();
            length = buffer.len() - before;
            is_encoded && (limit == 0 || length <= limit)
        });
        if written {
            conn.answers_unsent += length;
            self.stats.messages_sent += 1;
        }
        written
    }

    /// Answers a fault and ends the connection.
    pub(crate) fn fail(&mut self, step: &mut Step<'_>, key: SlabKey, fault: &Fault) {
        self.answer_fault(step, key, fault.answer);
        self.end(step, key, &Cause::Fault(fault));
    }

    /// Tells a peer why its connection ends.
    pub(crate) fn answer_fault(&mut self, step: &mut Step<'_>, key: SlabKey, answer: Answer) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let connected = conn.protocol.phase() == Phase::Connected;
        match answer {
            Answer::Disconnect(reason) if connected => self.send_disconnect(step, key, reason),
            Answer::ConnAck(version, reason) if !connected => {
                self.send_refusal(step, key, version, reason);
            }
            // [MQTT5-3.14.0-1]: no DISCONNECT before a successful CONNACK.
            Answer::Disconnect(_) | Answer::ConnAck(..) | Answer::Close => {}
        }
    }

    /// Sends DISCONNECT to a 5.0 client. Servers of 3.x have no such packet.
    pub(crate) fn send_disconnect(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        reason: ReasonCode,
    ) {
        let is_v5 = self
            .conns
            .get(key)
            .is_some_and(|conn| conn.session.is_some() && conn.version() == Version::V5);
        if !is_v5 {
            return;
        }
        // Mosquitto's form: the reason code and nothing behind it.
        self.send(
            step,
            key,
            &Packet::Disconnect(midge_codec::Disconnect::new(reason)),
        );
    }

    pub(crate) fn log_fault(
        &mut self,
        step: &mut Step<'_>,
        origin: &Origin,
        client_id: Option<&str>,
        reason: Option<&dyn Display>,
    ) {
        if self.settings.connection_messages {
            events::disconnected(step.effects, origin, client_id, reason);
        }
    }
}
