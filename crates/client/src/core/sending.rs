//! Messages of the application on their way to the broker.

use std::borrow::Cow;
use std::mem;
use std::num::NonZeroU16;
use std::task::{Poll, Waker};

use bytes::Bytes;
use midge_codec::{
    Ack, AckKind, Packet, Properties, Property, Publish, QoS, ReasonCode, Version, topic,
};
use midge_proto::{Acked, AliasUse, OutboundAliases, Outgoing, Resend, Time};

use super::handshake::refusal;
use super::journal::{Journal, Kept, Record};
use super::tickets::Call;
use super::{Core, Outcome, State, Ticket};
use crate::Published;
use crate::error::PublishError;
use crate::message::MessageProperties;
use crate::options::QueueFull;

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
    topic: Box<str>,
    payload: Bytes,
    properties: Option<Box<MessageProperties>>,
    qos: QoS,
    retain: bool,
    expires: Time,
    ticket: Ticket,
    /// What it counts for in `held_bytes`.
    size: usize,
    /// Its name in the durable queue; 0 for none.
    key: u64,
}

/// A delivery of QoS 2 that awaits PUBCOMP.
#[derive(Debug)]
pub(super) struct Releasing {
    ticket: Ticket,
    published: Published,
    key: u64,
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

/// How a message was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It will be told by this ticket what becomes of it.
    Ticket(Ticket),
    /// The durable queue has to take it first, which `stored` tells; `delivery` tells the rest.
    Storing { stored: Ticket, delivery: Ticket },
    /// It is among the bytes for the connection, and its part is done when they are sent.
    Written(Written),
}

/// A place among the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    epoch: u32,
    position: u64,
}

/// Why a message was not accepted.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// There is no room now; the draft is as it was.
    Full,
    Error(PublishError),
}

impl From<PublishError> for Rejected {
    fn from(error: PublishError) -> Self {
        Self::Error(error)
    }
}

/// More bytes than this wait for the connection only when they are one message.
const OUTBOUND_HIGH: u64 = 128 * 1024;

/// The longest payload, so that topic and properties always fit beside it.
const PAYLOAD_MAX: usize = 200 << 20;

/// What a held message costs beside its bytes.
const OVERHEAD: usize = size_of::<Held>() + 32;

impl Draft<'_> {
    fn check(&self, version: Version) -> Result<(), PublishError> {
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

impl Core {
    /// Accepts a message. After [`Rejected::Full`] the draft is unchanged.
    pub(crate) fn publish(
        &mut self,
        now: Time,
        draft: &mut Draft<'_>,
    ) -> Result<Accepted, Rejected> {
        if let State::Closed(error) = &self.state {
            return Err(PublishError::Closed(Box::new(error.clone())).into());
        }
        if self.shutdown.is_some() {
            let closed = Box::new(crate::ConnectionError::Closed);
            return Err(PublishError::Closed(closed).into());
        }
        draft.check(self.options.version)?;
        if self.journal.is_some() && draft.qos != QoS::AtMostOnce {
            if self.is_connected() {
                self.check_terms(draft.qos, draft.retain)?;
            }
            return self.store(now, draft);
        }
        if !self.is_connected() {
            return self.enqueue(now, draft);
        }
        self.check_terms(draft.qos, draft.retain)?;
        let at_once = self.queue.is_empty() && self.outbound.pending() < OUTBOUND_HIGH;
        if draft.qos != QoS::AtMostOnce {
            if !at_once || !self.outgoing.has_room(self.window()) {
                return self.enqueue(now, draft);
            }
            self.make_room(draft.size())?;
            let held = self.hold(now, draft);
            let ticket = held.ticket;
            self.start(now, held);
            return Ok(Accepted::Ticket(ticket));
        }
        if !at_once {
            return self.enqueue(now, draft);
        }
        let message = Outward {
            topic: &draft.topic,
            payload: &draft.payload,
            properties: draft.properties.as_deref(),
            qos: draft.qos,
            retain: draft.retain,
            dup: false,
            packet_id: None,
            expiry_secs: draft
                .properties
                .as_ref()
                .and_then(|list| list.expiry.map(crate::options::seconds)),
        };
        self.put(&message)?;
        Ok(Accepted::Written(Written {
            epoch: self.outbound.epoch,
            position: self.outbound.end(),
        }))
    }

    /// What the broker said that it does not take.
    fn check_terms(&self, qos: QoS, retain: bool) -> Result<(), PublishError> {
        if qos.bits() > self.terms.maximum_qos {
            let why = "the broker does not take this QoS [MQTT5-3.2.2-11]";
            return Err(PublishError::Invalid(why));
        }
        if retain && !self.terms.retain_available {
            let why = "the broker retains no messages [MQTT5-3.2.2-14]";
            return Err(PublishError::Invalid(why));
        }
        Ok(())
    }

    /// How many messages may be unacknowledged.
    fn window(&self) -> u16 {
        self.terms.receive_maximum.min(self.options.window())
    }

    fn enqueue(&mut self, now: Time, draft: &mut Draft<'_>) -> Result<Accepted, Rejected> {
        self.make_room(draft.size())?;
        let held = self.hold(now, draft);
        let ticket = held.ticket;
        self.queue.push_back(held);
        Ok(Accepted::Ticket(ticket))
    }

    /// Sees to it that a message of this size may be held.
    pub(super) fn make_room(&mut self, size: usize) -> Result<(), Rejected> {
        while !self.fits(size) {
            match self.options.queue_full {
                QueueFull::Wait => return Err(Rejected::Full),
                QueueFull::Refuse => return Err(PublishError::QueueFull.into()),
                QueueFull::DropOldest => {
                    let Some(oldest) = self.queue.pop_front() else {
                        return Err(PublishError::QueueFull.into());
                    };
                    self.give_up(oldest, PublishError::Dropped);
                }
            }
        }
        Ok(())
    }

    fn fits(&self, size: usize) -> bool {
        let held = self.unfinished();
        held == 0
            || held < self.options.queue_messages_max
                && self.held_bytes + size <= self.options.queue_bytes_max
    }

    pub(super) fn hold(&mut self, now: Time, draft: &mut Draft<'_>) -> Held {
        let size = draft.size();
        self.held_bytes += size;
        let properties = draft.properties.take();
        let expiry = properties.as_ref().and_then(|list| list.expiry);
        Held {
            topic: mem::take(&mut draft.topic).into(),
            payload: mem::take(&mut draft.payload),
            qos: draft.qos,
            retain: draft.retain,
            expires: match expiry {
                Some(expiry) if self.options.version.has_properties() => now + expiry,
                _ => Time::NEVER,
            },
            ticket: self.tickets.issue(Call::Publish),
            size,
            key: 0,
            properties,
        }
    }

    fn give_up(&mut self, held: Held, error: PublishError) {
        self.record(held.key, Record::Done);
        self.forget(held, error);
    }

    /// Gives up a message that is not in the durable queue.
    pub(super) fn forget(&mut self, held: Held, error: PublishError) {
        self.held_bytes -= held.size;
        self.complete(held.ticket, Outcome::Published(Err(error)));
    }

    /// Sends a message of QoS 1 or 2 for the first time; there is room in the window.
    fn start(&mut self, now: Time, held: Held) {
        if let Err(error) = self.check_terms(held.qos, held.retain) {
            self.give_up(held, error);
            return;
        }
        if let Err(error) = self.check_size(&held.outward(now, None, false)) {
            self.give_up(held, error);
            return;
        }
        let qos = held.qos;
        let mut held = held;
        // SUBSCRIBE and UNSUBSCRIBE take from the same identifiers [MQTT5-2.2.1-3].
        let key = held.key;
        let waits = key > 0 && qos == QoS::ExactlyOnce;
        let id = loop {
            let pushed = if waits {
                self.outgoing.push_held(qos, held)
            } else {
                self.outgoing.push(qos, held)
            };
            match pushed {
                Ok(id) if !self.operations.contains_key(&id) => break id,
                Ok(id) => match take_out(&mut self.outgoing, id, qos) {
                    Some(message) => held = message,
                    None => return,
                },
                Err(message) => {
                    // The window is smaller than the number of identifiers.
                    self.queue.push_front(message);
                    return;
                }
            }
        };
        if waits && self.record_sent(key, id) {
            return;
        }
        let (Some(held), Some(link)) = (self.outgoing.last(), &mut self.link) else {
            return;
        };
        put(
            &mut self.outbound.bytes,
            &mut link.outbound_aliases,
            self.options.version,
            &held.outward(now, Some(id), false),
        );
        self.rouse();
    }

    /// Sends a message of QoS 2 whose packet identifier is safe.
    pub(super) fn let_go(&mut self, now: Time, id: NonZeroU16) {
        let (Some(held), Some(link)) = (self.outgoing.let_go(id), &mut self.link) else {
            return;
        };
        put(
            &mut self.outbound.bytes,
            &mut link.outbound_aliases,
            self.options.version,
            &held.outward(now, Some(id), false),
        );
        self.rouse();
    }

    /// Appends a message of QoS 0.
    fn put(&mut self, message: &Outward<'_>) -> Result<(), PublishError> {
        self.check_size(message)?;
        if let Some(link) = &mut self.link {
            put(
                &mut self.outbound.bytes,
                &mut link.outbound_aliases,
                self.options.version,
                message,
            );
        }
        self.rouse();
        Ok(())
    }

    /// Whether the broker takes a packet as large as this message makes [MQTT5-3.1.2-24].
    fn check_size(&self, message: &Outward<'_>) -> Result<(), PublishError> {
        let bytes_max = self.terms.packet_size_max as usize;
        if bytes_max == 0 {
            return Ok(());
        }
        let list = message.list();
        let publish = Publish {
            packet_id: Some(NonZeroU16::MAX),
            ..message.publish(message.topic, Properties::from_list(&list))
        };
        match publish.packet_length(self.options.version) {
            // An alias may come on top.
            Ok(bytes) if bytes + 5 <= bytes_max => Ok(()),
            Ok(bytes) => Err(PublishError::TooLarge { bytes, bytes_max }),
            Err(_) => Err(PublishError::Invalid("the packet would be too large")),
        }
    }

    /// Sends what waits, as far as window and connection take it.
    pub(super) fn pump(&mut self, now: Time) {
        if !self.is_connected() || self.journal.as_ref().is_some_and(Journal::waits) {
            return;
        }
        let window = self.window();
        let before = self.outbound.end();
        let version = self.options.version;
        while self.outbound.pending() < OUTBOUND_HIGH
            && let Some(link) = &mut self.link
            && let Some(resend) = self.outgoing.next_resend(window)
        {
            match resend {
                Resend::Publish(id, _, held) => put(
                    &mut self.outbound.bytes,
                    &mut link.outbound_aliases,
                    version,
                    &held.outward(now, Some(id), true),
                ),
                Resend::PubRel(id) => {
                    let ack = Ack::new(id, ReasonCode::SUCCESS);
                    let _ = ack.encode(AckKind::PubRel, version, &mut self.outbound.bytes);
                }
            }
        }
        let mut freed = false;
        while self.outbound.pending() < OUTBOUND_HIGH
            && let Some(next) = self.queue.front()
        {
            if next.expires <= now {
                if let Some(held) = self.queue.pop_front() {
                    self.give_up(held, PublishError::Expired);
                    freed = true;
                }
            } else if next.qos == QoS::AtMostOnce {
                self.put_queued(now);
                freed = true;
            } else if self.outgoing.has_room(window)
                && let Some(held) = self.queue.pop_front()
            {
                self.start(now, held);
            } else {
                break;
            }
        }
        if freed {
            self.room_made();
        }
        if self.outbound.end() > before {
            self.rouse();
        }
    }

    /// Sends the message of QoS 0 at the head of the queue.
    fn put_queued(&mut self, now: Time) {
        let Some(held) = self.queue.pop_front() else {
            return;
        };
        let sent = match self.check_terms(held.qos, held.retain) {
            Ok(()) => self.put(&held.outward(now, None, false)),
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => {
                self.held_bytes -= held.size;
                let position = self.outbound.end();
                self.outbound.awaited.push_back((position, held.ticket));
            }
            Err(error) => self.give_up(held, error),
        }
    }

    /// PUBACK, PUBREC or PUBCOMP.
    pub(super) fn on_ack(&mut self, now: Time, kind: AckKind, ack: &Ack<'_>) {
        let id = ack.packet_id;
        let refused = ack.reason.is_failure();
        let acked = self.outgoing.acknowledge(kind, id, refused);
        match acked {
            Acked::Finished(Some(held)) => {
                self.record(held.key, Record::Done);
                self.held_bytes -= held.size;
                let result = if refused {
                    Err(PublishError::Refused(refusal(ack.reason, ack.properties)))
                } else {
                    Ok(published(ack))
                };
                self.complete(held.ticket, Outcome::Published(result));
                self.finished(now);
            }
            Acked::Finished(None) => {
                if let Some(releasing) = self.releasing.remove(&id) {
                    self.record(releasing.key, Record::Done);
                    let outcome = Outcome::Published(Ok(releasing.published));
                    self.complete(releasing.ticket, outcome);
                }
                self.finished(now);
            }
            Acked::Release(message) => {
                let mut key = 0;
                if let Some(held) = message {
                    self.held_bytes -= held.size;
                    key = held.key;
                    let releasing = Releasing::new(held.ticket, published(ack), key);
                    self.releasing.insert(id, releasing);
                }
                if self.record_released(key, id) {
                    return;
                }
                let release = Ack::new(id, ReasonCode::SUCCESS);
                self.send(Packet::Ack(AckKind::PubRel, release));
            }
            // The broker remembers a delivery that this session has not. It may forget it, too.
            Acked::Unknown if kind == AckKind::PubRec && !refused => {
                let release = Ack::new(id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
                self.send(Packet::Ack(AckKind::PubRel, release));
            }
            Acked::Unknown => {}
            Acked::Mismatch => {
                self.protocol_error("an acknowledgement of the wrong kind for its message");
            }
        }
    }

    fn finished(&mut self, now: Time) {
        if !self.queue.is_empty() || !self.outgoing.is_all_sent() {
            self.pump(now);
        }
        self.room_made();
        if self.shutdown.is_some() {
            self.check_shutdown(now);
        }
    }

    /// The broker has no session: what it has not taken is sent anew [MQTT5-3.2.2-5].
    pub(super) fn requeue(&mut self) {
        let unfinished: Vec<(NonZeroU16, Option<QoS>)> = self
            .outgoing
            .iter()
            .map(|(id, held)| (id, held.map(|held| held.qos)))
            .collect();
        for (id, qos) in unfinished.into_iter().rev() {
            if let Some(qos) = qos {
                if let Some(held) = take_out(&mut self.outgoing, id, qos) {
                    self.record(held.key, Record::Queued);
                    self.queue.push_front(held);
                }
            } else if let Some(releasing) = self.releasing.remove(&id) {
                // PUBREC said that the broker owns the message.
                self.record(releasing.key, Record::Done);
                let outcome = Outcome::Published(Ok(releasing.published));
                self.complete(releasing.ticket, outcome);
            }
        }
        self.outgoing = Outgoing::default();
        self.releasing.clear();
    }

    /// Waits for room in the queue; `id` names the waiter from its first call on.
    pub(crate) fn wait_for_room(&mut self, id: &mut Option<u64>, waker: &Waker) {
        let id = *id.get_or_insert_with(|| {
            self.last_waiter += 1;
            self.last_waiter
        });
        match self.room_waiters.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.room_waiters.push_back((id, waker.clone())),
        }
    }

    /// The waiter gives up, or was woken and has no use for the room: the next one is woken.
    pub(crate) fn stop_waiting_for_room(&mut self, id: u64) {
        self.room_waiters.retain(|(known, _)| *known != id);
        self.room_made();
    }

    /// Wakes as many waiters as there is room for.
    pub(super) fn room_made(&mut self) {
        if self.room_waiters.is_empty() || !self.fits(0) {
            return;
        }
        let free = self
            .options
            .queue_messages_max
            .saturating_sub(self.unfinished());
        let count = free.clamp(1, 64).min(self.room_waiters.len());
        let woken = self.room_waiters.drain(..count);
        self.wakers.extend(woken.map(|(_, waker)| waker));
    }

    /// Whether bytes have gone; until then `ticket` is set to what tells of it.
    pub(crate) fn poll_written(
        &mut self,
        written: Written,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<Published, PublishError>> {
        if written.epoch != self.outbound.epoch {
            return Poll::Ready(Err(PublishError::Lost));
        }
        if written.position <= self.outbound.written {
            return Poll::Ready(Ok(Published::default()));
        }
        if let State::Closed(error) = &self.state {
            let closed = Box::new(error.clone());
            return Poll::Ready(Err(PublishError::Closed(closed)));
        }
        let issued = self.tickets.issue(Call::Publish);
        *ticket = Some(issued);
        let awaited = &mut self.outbound.awaited;
        let at = awaited.partition_point(|(position, _)| *position <= written.position);
        awaited.insert(at, (written.position, issued));
        Poll::Pending
    }
}

/// Takes a delivery out of the window, whichever step it is at before PUBREC.
fn take_out(outgoing: &mut Outgoing<Held>, id: NonZeroU16, qos: QoS) -> Option<Held> {
    let kind = match qos {
        QoS::ExactlyOnce => AckKind::PubRec,
        QoS::AtMostOnce | QoS::AtLeastOnce => AckKind::PubAck,
    };
    match outgoing.acknowledge(kind, id, true) {
        Acked::Finished(held) => held,
        Acked::Release(_) | Acked::Unknown | Acked::Mismatch => None,
    }
}

fn published(ack: &Ack<'_>) -> Published {
    let reason_string = ack.properties.iter().find_map(|property| match property {
        Property::ReasonString(text) => Some(text.to_owned()),
        _ => None,
    });
    Published {
        reason: ack.reason,
        reason_string,
    }
}

/// A message as it is to be written.
struct Outward<'a> {
    topic: &'a str,
    payload: &'a [u8],
    properties: Option<&'a MessageProperties>,
    qos: QoS,
    retain: bool,
    dup: bool,
    packet_id: Option<NonZeroU16>,
    expiry_secs: Option<u32>,
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

    fn outward(&self, now: Time, packet_id: Option<NonZeroU16>, dup: bool) -> Outward<'_> {
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
    fn list(&self) -> Vec<Property<'a>> {
        self.properties
            .map_or_else(Vec::new, |list| list.list(self.expiry_secs))
    }

    const fn publish<'b>(&'b self, topic: &'b str, properties: Properties<'b>) -> Publish<'b> {
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
fn put(
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
