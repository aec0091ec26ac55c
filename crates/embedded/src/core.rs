//! What a connection decides: bytes and the time in, bytes and events out. It waits for nothing, so the one
//! loop around it ([`Client`](crate::Client)) is the only code that is made for each transport.

use midge_codec::{
    Ack, AckKind, DecodeError, Disconnect, Header, PacketType, Publish, QoS, ReasonCode, Sink as _,
    SubAck, UnsubAck,
};
use midge_proto::{Answer, Fault, KeepAlive, Time};

use crate::aliases::Aliases as _;
use crate::authentication::Exchange as _;
use crate::extras::{Extras, Parts};
use crate::outbox::Outbox;
use crate::session::{Acked, Awaits, Entry};
use crate::{Accepted, Buffers, Options, PacketId, QueueError, Session};

mod aliases;
mod connect;
mod exchange;
mod inbox;
mod queue;

pub(crate) use inbox::Frame;
use inbox::Inbox;

/// The state of one connection.
pub(crate) struct Core<'a, 's, X> {
    pub(crate) session: &'a mut Session<'s>,
    pub(crate) extras: X,
    /// CONNACK said yes.
    is_accepted: bool,
    /// As the caller said last.
    now: Time,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) accepted: Accepted,
    receive_maximum: u16,
    inbox: Inbox<'a>,
    outbox: Outbox<'a>,
    /// The packet of the log that is being sent, and how many bytes of it have gone.
    sending: Option<(u16, usize)>,
    /// Bytes have gone into the transport since it was last flushed.
    pub(crate) is_unflushed: bool,
    /// What is acknowledged by the next call: the message that was handed over last, or its end.
    owed: Option<(AckKind, PacketId)>,
    /// A delivery that ended because of what this broker takes, to be told.
    given_up: Option<(PacketId, ReasonCode)>,
    failure: Option<Failure>,
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Closed,
    TimedOut,
    Refused(ReasonCode),
    Disconnected(ReasonCode),
    Protocol(Fault),
}

/// The connection is over; `Core::failure` says why. Passed in its place because it costs no code.
pub(crate) struct Failed;

/// What is handed to the application, as long as nothing is borrowed.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// PUBLISH, SUBACK or UNSUBACK; AUTH at the end of an exchange; PUBREC or PUBREL if the session has to be
    /// saved.
    Packet(Frame),
    Delivered(PacketId, ReasonCode),
    /// The goal is reached.
    Done,
}

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// CONNACK.
    Accepted,
    /// Something for the application.
    Event,
    /// That everything is sent that may be.
    Flushed,
}

/// What is to be done next.
pub(crate) enum Want {
    Write,
    Flush,
    Read,
    Found(Found),
    Fail(Failure),
}

impl<'a, 's, X: Extras> Core<'a, 's, X> {
    /// Begins with CONNECT.
    pub(crate) fn new(
        now: Time,
        session: &'a mut Session<'s>,
        buffers: Buffers<'a>,
        options: &Options<'_>,
        extras: X,
    ) -> Result<Self, QueueError> {
        session.begin();
        let receive_bytes = u32::try_from(buffers.receive.len()).unwrap_or(u32::MAX);
        let mut core = Self {
            session,
            extras,
            is_accepted: false,
            now,
            keep_alive: KeepAlive::new(options.keep_alive_secs, now),
            accepted: Accepted {
                session_present: false,
                keep_alive_secs: options.keep_alive_secs,
                maximum_qos: QoS::ExactlyOnce,
                retain_available: true,
                packet_size_max: u32::MAX,
            },
            receive_maximum: u16::MAX,
            inbox: Inbox {
                buffer: buffers.receive,
                start: 0,
                end: 0,
            },
            outbox: Outbox::new(buffers.send),
            sending: None,
            is_unflushed: false,
            owed: None,
            given_up: None,
            failure: None,
        };
        core.introduce(options, receive_bytes)?;
        Ok(core)
    }

    /// What has to happen for `goal`.
    pub(crate) fn want(&mut self, now: Time, goal: Goal) -> Want {
        self.now = now;
        loop {
            if goal == Goal::Event {
                self.look_at_the_clock();
                self.pay();
            }
            if self.has_outgoing(goal) {
                return Want::Write;
            }
            if let Some((id, reason)) = self.given_up.take() {
                return Want::Found(Found::Delivered(id, reason));
            }
            if self.is_unflushed {
                return Want::Flush;
            }
            if let Some(failure) = self.failure {
                return Want::Fail(failure);
            }
            if goal == Goal::Flushed {
                return Want::Found(Found::Done);
            }
            if self.owed.is_some() {
                // There was no room before; now there is.
                continue;
            }
            match self.take() {
                Ok(None) => return Want::Read,
                Ok(Some(Some(found))) => return Want::Found(found),
                Ok(Some(None)) => {}
                // Told by the next turn of the loop, after the broker has been.
                Err(Failed) => {}
            }
        }
    }

    /// Sends PINGREQ when it is time to, or gives the broker up.
    fn look_at_the_clock(&mut self) {
        let now = self.now;
        if self.failure.is_some() || now < self.keep_alive.client_deadline() {
            return;
        }
        if self.keep_alive.awaits_pong() {
            self.end(Failure::TimedOut);
            return;
        }
        // There is room for it, see `RESERVED`.
        let _ = self.outbox.queue(0, usize::MAX, |sink| {
            sink.put(&[PacketType::PingReq.first_byte(), 0]);
            Ok(())
        });
        self.keep_alive.ping_sent(now);
    }

    /// Acknowledges the message that was handed over last, if there is room to.
    fn pay(&mut self) {
        if let Some((kind, id)) = self.owed
            && self.answer(kind, id, ReasonCode::SUCCESS).is_ok()
        {
            self.owed = None;
        }
    }

    /// Why the broker would not take what is due next. A message is in the session from an earlier connection,
    /// and this broker may take less.
    #[inline(never)]
    fn objection(&self, entry: &Entry) -> Option<ReasonCode> {
        if !matches!(entry.awaits, Awaits::PubAck | Awaits::PubRec) {
            return None;
        }
        let packet = self.session.packet(entry.id);
        let first = packet.first().copied().unwrap_or_default();
        if packet.len() > self.length_max() {
            // [MQTT5-3.2.2-15]
            Some(ReasonCode::PACKET_TOO_LARGE)
        } else if first & 1 != 0 && !self.accepted.retain_available {
            // [MQTT5-3.2.2-14]
            Some(ReasonCode::RETAIN_NOT_SUPPORTED)
        } else if first >> 1 & 3 > self.accepted.maximum_qos.bits() {
            // [MQTT5-3.2.2-11]
            Some(ReasonCode::QOS_NOT_SUPPORTED)
        } else {
            None
        }
    }

    /// Whether bytes are to be sent: then [`Self::outgoing`] has them.
    fn has_outgoing(&mut self, goal: Goal) -> bool {
        if self.sending.is_some() || !self.outbox.bytes().is_empty() {
            return true;
        }
        if self.failure.is_none()
            && goal != Goal::Accepted
            && let Some(entry) = self.session.due(self.receive_maximum)
        {
            if let Some(reason) = self.objection(&entry) {
                // Else the connection would end over it again and again.
                if goal == Goal::Event {
                    self.session.remove(&entry);
                    self.given_up = PacketId::new(entry.id).map(|id| (id, reason));
                }
                return false;
            }
            if <X as Parts>::Aliases::IS_USED && self.queue_by_alias(&entry) {
                return true;
            }
            self.sending = Some((entry.id, 0));
        }
        self.sending.is_some()
    }

    /// The bytes to send next.
    pub(crate) fn outgoing(&self) -> &[u8] {
        let Some((id, sent)) = self.sending else {
            return self.outbox.bytes();
        };
        let packet = self.session.packet(id);
        packet.get(sent..).unwrap_or_default()
    }

    /// As many of [`Self::outgoing`] have gone.
    pub(crate) fn wrote(&mut self, count: usize) {
        if count == 0 {
            self.end(Failure::Closed);
            return;
        }
        self.is_unflushed = true;
        self.keep_alive.active(self.now);
        let Some((id, sent)) = self.sending else {
            self.outbox.advance(count);
            return;
        };
        let sent = sent + count;
        self.sending = Some((id, sent));
        // The packet stays in the log until it is sent whole.
        if sent >= self.session.packet(id).len() {
            self.session.sent(id);
            self.sending = None;
        }
    }

    /// Where to read into. There is room, as no packet is larger than the whole.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.inbox.room()
    }

    /// So many bytes have come; 0 is the end.
    pub(crate) fn read(&mut self, count: usize) {
        if count == 0 {
            self.end(Failure::Closed);
        }
        self.inbox.end += count;
    }

    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        self.inbox.body(frame)
    }

    /// Takes the next packet and deals with it: none has arrived whole, or there is nothing to tell of it,
    /// or there is.
    // Not inlined into the loop of every transport: 166 bytes less on thumbv7em.
    #[inline(never)]
    fn take(&mut self) -> Result<Option<Option<Found>>, Failed> {
        let bytes = self.inbox.bytes();
        let header = match Header::peek(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.malformed(PacketType::Publish, error)),
        };
        let length = header.packet_length();
        let Some(kind) = header.packet_type().filter(|kind| self.admits(*kind)) else {
            return Err(
                self.misbehaved(ReasonCode::PROTOCOL_ERROR, "a packet that may not come now")
            );
        };
        if kind
            .flags()
            .is_some_and(|flags| header.first & 0x0F != flags)
        {
            return Err(self.malformed(kind, DecodeError::HeaderFlags));
        }
        if length > self.inbox.buffer.len() {
            let reason = ReasonCode::PACKET_TOO_LARGE;
            return Err(self.misbehaved(reason, "the packet is larger than the receive buffer"));
        }
        if header.body(bytes).is_none() {
            return Ok(None);
        }
        let at = self.inbox.start;
        self.inbox.start += length;
        let frame = Frame { header, kind, at };
        self.deal(&frame).map(Some)
    }

    /// Whether a broker may send such a packet now. `midge_proto::Connection` knows that for both roles and
    /// in the words of a server's log, which is half a kilobyte more.
    const fn admits(&self, kind: PacketType) -> bool {
        match kind {
            PacketType::ConnAck => !self.is_accepted,
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp => self.is_accepted,
            PacketType::Disconnect => self.is_accepted && self.session.version().has_properties(),
            PacketType::Auth => <X as Parts>::Exchange::IS_USED,
            _ => false,
        }
    }

    fn deal(&mut self, frame: &Frame) -> Result<Option<Found>, Failed> {
        let kind = frame.kind;
        let version = self.session.version();
        if <X as Parts>::Exchange::IS_USED && kind == PacketType::Auth {
            return self.take_auth(frame);
        }
        let body = self.inbox.body(frame);
        let (awaits, id) = match kind {
            PacketType::ConnAck => return self.accept(frame),
            PacketType::Publish => return self.take_message(frame),
            PacketType::PubAck => return self.take_ack(AckKind::PubAck, frame),
            PacketType::PubRec => return self.take_ack(AckKind::PubRec, frame),
            PacketType::PubRel => return self.take_ack(AckKind::PubRel, frame),
            PacketType::PubComp => return self.take_ack(AckKind::PubComp, frame),
            PacketType::SubAck => {
                let answer = match SubAck::decode(version, body) {
                    Ok(answer) => answer,
                    Err(error) => return Err(self.malformed(kind, error)),
                };
                (Awaits::SubAck, answer.packet_id)
            }
            PacketType::UnsubAck => {
                let answer = match UnsubAck::decode(version, body) {
                    Ok(answer) => answer,
                    Err(error) => return Err(self.malformed(kind, error)),
                };
                (Awaits::UnsubAck, answer.packet_id)
            }
            PacketType::Disconnect => {
                return Err(match Disconnect::decode(version, body) {
                    Ok(disconnect) => self.fail(Failure::Disconnected(disconnect.reason)),
                    Err(error) => self.malformed(kind, error),
                });
            }
            // PINGRESP: no other kind is admitted.
            _ if !body.is_empty() => {
                return Err(self.malformed(kind, DecodeError::TrailingBytes));
            }
            _ => {
                self.keep_alive.pong_received();
                return Ok(None);
            }
        };
        let is_awaited = self.session.answered(awaits, id);
        Ok(is_awaited.then_some(Found::Packet(*frame)))
    }

    fn take_message(&mut self, frame: &Frame) -> Result<Option<Found>, Failed> {
        let decoded = Publish::decode(
            frame.header.first,
            self.session.version(),
            self.inbox.body(frame),
        );
        let message = match decoded {
            Ok(message) => message,
            Err(error) => return Err(self.malformed(frame.kind, error)),
        };
        let (qos, id) = (message.qos, message.packet_id);
        if <X as Parts>::Aliases::IS_USED {
            self.take_alias(frame)?;
        } else if message.topic.is_empty() {
            // No alias was offered, so the topic is there [MQTT5-3.1.2-26].
            return Err(self.misbehaved(ReasonCode::TOPIC_ALIAS_INVALID, "a topic alias"));
        }
        match (qos, id) {
            (QoS::AtLeastOnce, Some(id)) => self.owed = Some((AckKind::PubAck, id)),
            (QoS::ExactlyOnce, Some(id)) => {
                self.owed = Some((AckKind::PubRec, id));
                // [MQTT5-4.3.3-10]
                if self.session.has_received(id) {
                    return Ok(None);
                }
                if !self.session.receive(id) {
                    self.owed = None;
                    let reason = ReasonCode::RECEIVE_MAXIMUM_EXCEEDED;
                    return Err(self.misbehaved(reason, "too many of QoS 2"));
                }
            }
            _ => {}
        }
        Ok(Some(Found::Packet(*frame)))
    }

    fn take_ack(&mut self, kind: AckKind, frame: &Frame) -> Result<Option<Found>, Failed> {
        // A refusal is one whatever its reason: Mosquitto refuses messages that are too large with one that the
        // standard does not list here, and would be sent them for ever.
        let decoded = Ack::decode_any_reason(self.session.version(), self.inbox.body(frame));
        let ack = match decoded {
            Ok(ack) => ack,
            Err(error) => return Err(self.malformed(frame.kind, error)),
        };
        let (id, reason) = (ack.packet_id, ack.reason);
        if kind == AckKind::PubRel {
            if X::SAVED && self.session.release_received(id) {
                // Were it answered first and then forgotten that it was released, a new message with this
                // identifier would be taken for the old one.
                self.owed = Some((AckKind::PubComp, id));
                return Ok(Some(Found::Packet(*frame)));
            }
            let reason = if self.session.release_received(id) {
                ReasonCode::SUCCESS
            } else {
                ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
            };
            self.owe(AckKind::PubComp, id, reason);
            return Ok(None);
        }
        match self.session.acknowledge(kind, id, reason.is_failure()) {
            // PUBREC had said yes. That the broker knows the identifier no more only says that an earlier
            // connection took its PUBCOMP along.
            Acked::Finished if kind == AckKind::PubComp => {
                Ok(Some(Found::Delivered(id, ReasonCode::SUCCESS)))
            }
            Acked::Finished => Ok(Some(Found::Delivered(id, reason))),
            Acked::Unknown if kind == AckKind::PubRec && !reason.is_failure() => {
                // The broker waits for the end of something that this session knows nothing of.
                let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                self.owe(AckKind::PubRel, id, reason);
                Ok(None)
            }
            // Were PUBREL sent first and then forgotten, the message would be published again.
            Acked::Released if X::SAVED => Ok(Some(Found::Packet(*frame))),
            Acked::Released | Acked::Unknown => Ok(None),
        }
    }

    /// Queues an acknowledgement. There is room, see `RESERVED`, after what was queued has gone.
    fn answer(
        &mut self,
        kind: AckKind,
        id: PacketId,
        reason: ReasonCode,
    ) -> Result<(), QueueError> {
        let version = self.session.version();
        self.outbox.queue(0, usize::MAX, |sink| {
            Ack::new(id, reason).encode(kind, version, sink)
        })
    }

    /// Queues an acknowledgement that nobody has to wait for. Whatever was queued before has gone, so there is
    /// room.
    fn owe(&mut self, kind: AckKind, id: PacketId, reason: ReasonCode) {
        let _ = self.answer(kind, id, reason);
    }

    fn malformed(&mut self, kind: PacketType, error: DecodeError) -> Failed {
        self.fail(Failure::Protocol(Fault::decode(kind, error)))
    }

    fn misbehaved(&mut self, reason: ReasonCode, why: &'static str) -> Failed {
        self.fail(Failure::Protocol(Fault::disconnect(reason, why)))
    }

    /// Ends the connection because of a fault, which a 5.0 broker is told.
    fn fail(&mut self, failure: Failure) -> Failed {
        if let Failure::Protocol(fault) = failure
            && let Answer::Disconnect(reason) = fault.answer
            && self.session.version().has_properties()
        {
            let _ = self.say_goodbye(reason);
        }
        self.failure.get_or_insert(failure);
        Failed
    }

    /// Ends the connection without a word.
    fn end(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.sending = None;
        self.outbox.clear();
        self.is_unflushed = false;
    }

    /// Queues DISCONNECT.
    pub(crate) fn say_goodbye(&mut self, reason: ReasonCode) -> Result<(), QueueError> {
        let version = self.session.version();
        self.outbox.queue(0, usize::MAX, |sink| {
            Disconnect::new(reason).encode(version, sink)
        })
    }

    fn length_max(&self) -> usize {
        usize::try_from(self.accepted.packet_size_max).unwrap_or(usize::MAX)
    }
}
