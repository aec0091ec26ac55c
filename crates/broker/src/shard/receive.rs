//! Bytes of a connection become packets, and each packet goes to who deals with it.

use std::num::NonZeroU16;

use midge_codec::{AckKind, Auth, Header, Packet, PacketType, ReasonCode};
use midge_proto::{Answer, Fault, Phase};

use super::{Shard, Step};
use crate::connection::{ConnId, Stage};
use crate::limits::Limit;
use crate::slab::SlabKey;

/// How far [`Shard::receive`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that have been dealt with; the rest is to be given again.
    pub consumed: usize,
    /// What for.
    pub next: Next,
}

/// When the rest of the bytes is to be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When there are at least this many from the first that was not consumed.
    Bytes(usize),
    /// When the connection's login has been answered, with [`Shard::logged_in`].
    Login,
    /// When the connection's claim has been answered, with [`Shard::claimed`].
    Claim,
    /// Never: the connection is over.
    Closed,
}

/// What the start of a connection's bytes was.
enum One {
    /// A packet of this length, dealt with.
    Packet(usize),
    /// Nothing yet.
    Wait(Next),
}

/// Bytes of answers that a client may leave unread while it sends on. Whoever takes what it is sent stays
/// far below: an answer is shorter than what it answers.
const ANSWERS_UNSENT_MAX: usize = 1024 * 1024;

impl Shard {
    /// Takes bytes from a connection: those that an earlier call did not consume, and what came after.
    pub fn receive(&mut self, step: &mut Step<'_>, conn: ConnId, bytes: &[u8]) -> Received {
        let key = conn.0;
        let mut consumed = 0;
        let mut packets = 0;
        self.looked_ahead = 0;
        let next = loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            match self.receive_one(step, key, rest) {
                Ok(One::Packet(length)) => {
                    consumed += length;
                    packets += 1;
                }
                Ok(One::Wait(next)) => break next,
                Err(fault) => {
                    if fault.answer == Answer::Disconnect(ReasonCode::PACKET_TOO_LARGE) {
                        self.count_limit(step, Limit::PacketSize, key);
                    }
                    self.fail(step, key, &fault);
                    break Next::Closed;
                }
            }
        };
        if packets > 0 {
            self.stats.messages_received += packets;
            self.stats.bytes_received += consumed as u64;
            if let Some(conn) = self.conns.get_mut(key) {
                conn.keep_alive.active(step.now);
            }
        }
        Received { consumed, next }
    }

    #[inline]
    fn receive_one(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        bytes: &[u8],
    ) -> Result<One, Fault> {
        let Some(mut conn) = self.conns.get(key) else {
            return Ok(One::Wait(Next::Closed));
        };
        if conn.pending.is_some() {
            if let Some(one) = self.go_on_connecting(step, key)? {
                return Ok(one);
            }
            let Some(same) = self.conns.get(key) else {
                return Ok(One::Wait(Next::Closed));
            };
            conn = same;
        }
        if conn.answers_unsent > ANSWERS_UNSENT_MAX {
            return Err(Fault::close("the client does not read its answers"));
        }
        // Where a packet ends is unknown if its length is malformed, so nothing more can be said.
        let header =
            Header::peek(bytes).map_err(|_| Fault::close("the remaining length is malformed"))?;
        let Some(header) = header else {
            return Ok(One::Wait(Next::Bytes(bytes.len() + 1)));
        };
        let kind = conn.protocol.admit(&header)?;
        let Some(body) = header.body(bytes) else {
            return Ok(One::Wait(Next::Bytes(header.packet_length())));
        };
        if conn.protocol.phase() == Phase::Connected {
            if kind == PacketType::Publish {
                // Nearly all packets are these; they spare themselves the detour.
                self.publish_packet(step, key, &header, bytes, body)?;
            } else if kind == PacketType::PubAck
                && header.first == PacketType::PubAck.first_byte()
                && let [high, low] = *body
                && let Some(id) = NonZeroU16::new(u16::from_be_bytes([high, low]))
                && self.delivered_at_least_once(step, key, id)
            {
                // The short form is a success in all versions.
            } else {
                let Some(conn) = self.conns.get(key) else {
                    return Ok(One::Wait(Next::Closed));
                };
                let packet = conn.protocol.decode(kind, &header, body)?;
                self.packet(step, key, packet)?;
            }
        } else if kind == PacketType::Connect {
            if conn
                .pending
                .as_ref()
                .is_some_and(|p| p.stage == Stage::Auth)
            {
                return Err(Fault::close("second CONNECT"));
            }
            self.connect(step, key, header.first, body)?;
            // AUTH may follow, so the packet cannot wait in front of it.
            if let Some(pending) = self.conns.get_mut(key).and_then(|c| c.pending.as_mut())
                && pending.method.is_some()
                && pending.stage == Stage::Login
            {
                let length = header.packet_length();
                pending.packet = bytes.get(..length).map(Into::into);
                return Ok(One::Packet(length));
            }
            if let Some(next) = self.waits_for(key) {
                return Ok(One::Wait(next));
            }
        } else if kind == PacketType::Auth && conn.pending.is_some() {
            let auth =
                Auth::decode(conn.version(), body).map_err(|error| Fault::decode(kind, error))?;
            self.auth_received(step, key, &auth)?;
        } else {
            return Err(Fault::close("the first packet is not CONNECT"));
        }
        Ok(One::Packet(header.packet_length()))
    }

    /// What a connection does that is not let in yet: it waits, or its CONNECT, which AUTH has followed, is
    /// taken up again.
    #[cold]
    fn go_on_connecting(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
    ) -> Result<Option<One>, Fault> {
        if let Some(next) = self.waits_for(key) {
            return Ok(Some(One::Wait(next)));
        }
        let pending = self.conns.get(key).and_then(|conn| conn.pending.as_ref());
        let Some(packet) = pending.and_then(|pending| pending.packet.clone()) else {
            return Ok(None);
        };
        if pending.is_some_and(|pending| pending.stage == Stage::Auth) {
            return Ok(None);
        }
        // It has been read before.
        if let Ok(Some(header)) = Header::peek(&packet)
            && let Some(body) = header.body(&packet)
        {
            self.connect(step, key, header.first, body)?;
        }
        Ok(match self.waits_for(key) {
            Some(next) => Some(One::Wait(next)),
            None => Some(One::Packet(0)),
        })
    }

    fn packet(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        packet: Packet<'_>,
    ) -> Result<(), Fault> {
        match packet {
            Packet::Publish(publish) => self.publish_received(step, key, &publish, None, None),
            Packet::Ack(AckKind::PubRel, ack) => self.released(step, key, ack.packet_id),
            Packet::Ack(kind, ack) => self.acknowledged(step, key, kind, &ack),
            Packet::Subscribe(subscribe) => self.subscribe(step, key, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(step, key, &unsubscribe),
            Packet::PingReq => {
                self.send(step, key, &Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.disconnect_received(step, key, &disconnect),
            Packet::Auth(auth) => self.auth_received(step, key, &auth),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => Err(Fault::disconnect(
                ReasonCode::PROTOCOL_ERROR,
                "the packet is not allowed here",
            )),
        }
    }
}
