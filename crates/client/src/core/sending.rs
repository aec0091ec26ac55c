//! Messages of the application on their way to the broker.

use std::num::NonZeroU16;

use midge_codec::{Ack, AckKind, Packet, Properties, Property, Publish, QoS, ReasonCode, Version};
use midge_proto::{Acked, Outgoing, Resend, Time};

use super::handshake::refusal;
use super::held::{Held, Outward, Releasing, put};
use super::journal::{Journal, Record};
use super::tickets::Call;
use super::{Core, Outcome};
use crate::Published;
use crate::error::PublishError;
use crate::event::Connected;

/// More bytes than this wait for the connection only when they are one message.
pub(super) const OUTBOUND_HIGH: u64 = 128 * 1024;

impl Core {
    /// What the broker said that it does not take.
    pub(super) fn check_terms(&self, qos: QoS, retain: bool) -> Result<(), PublishError> {
        check_terms(&self.terms, qos, retain)
    }

    /// How many messages may be unacknowledged.
    pub(super) fn window(&self) -> u16 {
        self.terms.receive_maximum.min(self.options.window())
    }

    pub(super) fn give_up(&mut self, held: Held, error: PublishError) {
        self.record(held.key, Record::Done);
        self.forget(held, error);
    }

    /// Gives up a message that is not in the durable queue.
    pub(super) fn forget(&mut self, held: Held, error: PublishError) {
        self.held_bytes -= held.size;
        self.complete(held.ticket, Outcome::Published(Err(error)));
    }

    /// Sends a message of QoS 1 or 2 for the first time; there is room in the window.
    pub(super) fn start(&mut self, now: Time, held: Held) {
        let message = held.outward(now, None, false);
        if let Err(error) = check(&self.terms, self.options.version, &message) {
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
        self.put_new(now, id, false);
    }

    /// Appends a message of QoS 1 or 2 for the first time: the last of the window, or one that was held until
    /// its packet identifier was safe.
    pub(super) fn put_new(&mut self, now: Time, id: NonZeroU16, was_held: bool) {
        let held = if was_held {
            self.outgoing.let_go(id)
        } else {
            self.outgoing.last()
        };
        let (Some(held), Some(link)) = (held, &mut self.link) else {
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
    pub(super) fn put(&mut self, message: &Outward<'_>) -> Result<(), PublishError> {
        check_size(&self.terms, self.options.version, message)?;
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

    /// Sends what waits, as far as window and connection take it.
    pub(super) fn pump(&mut self, now: Time) {
        if !self.is_connected() || self.journal.as_ref().is_some_and(Journal::waits) {
            return;
        }
        let window = self.window();
        let before = self.outbound.end();
        let version = self.options.version;
        let mut freed = false;
        while self.outbound.pending() < OUTBOUND_HIGH
            && let Some(link) = &mut self.link
            && let Some(resend) = self.outgoing.next_resend(window)
        {
            match resend {
                Resend::Publish(id, qos, held) => {
                    let message = held.outward(now, Some(id), true);
                    if let Err(error) = check(&self.terms, version, &message) {
                        self.withdraw(id, qos, error);
                        freed = true;
                        continue;
                    }
                    put(
                        &mut self.outbound.bytes,
                        &mut link.outbound_aliases,
                        version,
                        &message,
                    );
                }
                Resend::PubRel(id) => {
                    let ack = Ack::new(id, ReasonCode::SUCCESS);
                    let _ = ack.encode(AckKind::PubRel, version, &mut self.outbound.bytes);
                }
            }
        }
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

    /// Gives up a message that was sent to the broker before, and that it does not take any more.
    fn withdraw(&mut self, id: NonZeroU16, qos: QoS, error: PublishError) {
        if qos != QoS::ExactlyOnce {
            if let Some(held) = take_out(&mut self.outgoing, id, qos) {
                self.give_up(held, error);
            }
            return;
        }
        // The broker may have the first copy. Its identifier must not be used for another message before
        // the broker has let go of it, which PUBREL brings about.
        if let Acked::Release(Some(held)) = self.outgoing.acknowledge(AckKind::PubRec, id, false) {
            let key = held.key;
            self.forget(held, error);
            let nobodys = self.tickets.issue(Call::Publish);
            self.tickets.abandon(nobodys);
            let releasing = Releasing::new(nobodys, Published::default(), key);
            self.releasing.insert(id, releasing);
            self.release(id, key);
        }
    }

    /// Sends PUBREL, or has it sent once it is on the disk that this is due.
    fn release(&mut self, id: NonZeroU16, key: u64) {
        if !self.record_released(key, id) {
            let release = Ack::new(id, ReasonCode::SUCCESS);
            self.answer(Packet::Ack(AckKind::PubRel, release));
        }
    }

    /// Sends the message of QoS 0 at the head of the queue.
    fn put_queued(&mut self, now: Time) {
        let Some(held) = self.queue.pop_front() else {
            return;
        };
        let checked = self.check_terms(held.qos, held.retain);
        let sent = checked.and_then(|()| self.put(&held.outward(now, None, false)));
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
                self.release(id, key);
            }
            // The broker remembers a delivery that this session has not. It may forget it, too.
            Acked::Unknown if kind == AckKind::PubRec && !refused => {
                let release = Ack::new(id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
                self.answer(Packet::Ack(AckKind::PubRel, release));
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
}

fn check(terms: &Connected, version: Version, message: &Outward<'_>) -> Result<(), PublishError> {
    check_terms(terms, message.qos, message.retain)?;
    check_size(terms, version, message)
}

fn check_terms(terms: &Connected, qos: QoS, retain: bool) -> Result<(), PublishError> {
    if qos.bits() > terms.maximum_qos {
        let why = "the broker does not take this QoS [MQTT5-3.2.2-11]";
        return Err(PublishError::Invalid(why));
    }
    if retain && !terms.retain_available {
        let why = "the broker retains no messages [MQTT5-3.2.2-14]";
        return Err(PublishError::Invalid(why));
    }
    Ok(())
}

/// Whether the broker takes a packet as large as this message makes [MQTT5-3.1.2-24].
fn check_size(
    terms: &Connected,
    version: Version,
    message: &Outward<'_>,
) -> Result<(), PublishError> {
    let bytes_max = terms.packet_size_max as usize;
    if bytes_max == 0 {
        return Ok(());
    }
    let list = message.list();
    let publish = Publish {
        packet_id: Some(NonZeroU16::MAX),
        ..message.publish(message.topic, Properties::from_list(&list))
    };
    match publish.packet_length(version) {
        // An alias may come on top.
        Ok(bytes) if bytes + 5 <= bytes_max => Ok(()),
        Ok(bytes) => Err(PublishError::TooLarge { bytes, bytes_max }),
        Err(_) => Err(PublishError::Invalid("the packet would be too large")),
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
