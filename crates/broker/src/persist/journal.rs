//! What one shard wants kept, and what it holds back until it is.
//!
//! Acknowledgements promise something, so they leave when the records that make the promise true are
//! safe: PUBACK, PUBREC and PUBCOMP, CONNACK, SUBACK and UNSUBACK of persistent sessions, PUBREL, and a
//! PUBLISH of QoS 2, whose packet identifier a crash must not forget. They wait here in the order in
//! which they were written, which is the order that the standard asks for (`[MQTT5-4.6.0-2]` to
//! `[MQTT5-4.6.0-4]`).

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{AckKind, ReasonCode};
use smallvec::SmallVec;

use super::records::{Records, Step};
use crate::Time;
use crate::slab::SlabKey;
use crate::tables::RetainedApplied;

/// A shard's records and what waits for them.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Whether anything is kept.
    pub(crate) on: bool,
    /// The disk takes no new work; nothing that was not kept before is promised.
    pub(crate) refuses: bool,
    pub(crate) records: Records,
    /// The last turn whose records are safe, or were refused.
    settled: u64,
    next_message: u64,
    message_step: u64,
    /// Milliseconds since 1970 at [`Time`] zero.
    unix_at_zero: u64,
    held: VecDeque<Held>,
}

/// A packet that waits.
#[derive(Debug)]
pub(crate) struct Held {
    /// For the records of this turn.
    pub(crate) number: u64,
    pub(crate) conn: SlabKey,
    pub(crate) packet: HeldPacket,
}

#[derive(Debug)]
pub(crate) enum HeldPacket {
    /// PUBACK, PUBREC or PUBCOMP, to the publisher.
    Ack {
        kind: AckKind,
        id: NonZeroU16,
        reason: ReasonCode,
        /// What it acknowledges has been kept before, or need not be: it cannot be refused.
        is_certain: bool,
    },
    /// The outbox of a connection whose session was not known before, if `is_new`.
    ConnAck { is_new: bool },
    /// To a subscriber; `added` are the filters that are new.
    SubAck(Box<HeldSubAck>),
    /// To a subscriber.
    UnsubAck(NonZeroU16, SmallVec<[u8; 8]>),
    /// PUBLISH with this packet identifier, of QoS 2 or behind one; `bytes` are counted at the connection.
    Publish {
        session: SlabKey,
        id: NonZeroU16,
        bytes: u32,
    },
    /// PUBREL.
    PubRel { id: NonZeroU16 },
    /// Not a packet: this client id stays at this shard until the end of its session is safe. Elsewhere a
    /// new session could be kept beside the old one, or be promised that there is none.
    ClientId(Arc<str>),
}

#[derive(Debug)]
pub(crate) struct HeldSubAck {
    pub(crate) packet_id: NonZeroU16,
    pub(crate) codes: SmallVec<[u8; 16]>,
    /// Filters by their place in the packet.
    pub(crate) added: Vec<(usize, Box<str>)>,
}

impl HeldPacket {
    /// Whether it is refused when its records are.
    const fn can_be_refused(&self) -> bool {
        match self {
            Self::Ack { is_certain, .. } => !*is_certain,
            Self::ConnAck { is_new } => *is_new,
            Self::SubAck(_) => true,
            Self::UnsubAck(..) | Self::Publish { .. } | Self::PubRel { .. } | Self::ClientId(_) => {
                false
            }
        }
    }
}

impl Journal {
    /// One that keeps nothing.
    pub(crate) fn off() -> Self {
        Self {
            on: false,
            refuses: false,
            records: Records::default(),
            settled: 0,
            next_message: 0,
            message_step: 1,
            unix_at_zero: 0,
            held: VecDeque::new(),
        }
    }

    /// Begins to keep. Messages are named from `first_message` on, in steps of `message_step`.
    pub(crate) fn start(&mut self, first_message: u64, message_step: u64, unix_at_zero: u64) {
        self.on = true;
        self.next_message = first_message.max(1);
        self.message_step = message_step.max(1);
        self.unix_at_zero = unix_at_zero;
        self.records.number = 1;
    }

    pub(crate) fn next_message(&mut self) -> u64 {
        let id = self.next_message;
        self.next_message += self.message_step;
        id
    }

    /// Notes what the wall clock says at [`Time`] zero: it may have been set.
    pub(crate) fn set_unix_at_zero(&mut self, millis: u64) {
        self.unix_at_zero = millis;
    }

    /// A time as records have it: milliseconds since 1970, never 0.
    pub(crate) fn unix(&self, time: Time) -> u64 {
        self.unix_at_zero.saturating_add(time.0).max(1)
    }

    /// A time that has an end.
    pub(crate) fn unix_end(&self, time: Time) -> Option<u64> {
        (time != Time::NEVER).then(|| self.unix(time))
    }

    /// Notes what the retained store holds now for a topic.
    pub(crate) fn note_retained(&mut self, applied: RetainedApplied<'_>) {
        if !self.on {
            return;
        }
        let RetainedApplied {
            version,
            topic,
            stored,
            replaced,
        } = applied;
        let replaced = replaced.map_or(0, |message| message.id());
        match stored {
            Some(message) if message.id() != 0 => {
                let expires = message.expires().map(|time| self.unix(time));
                self.step(&Step::Retained {
                    version,
                    message: message.id(),
                    expires,
                });
            }
            // Also when what is stored now is not kept, or the old one would come back.
            _ if replaced != 0 => self.step(&Step::Unretained { version, topic }),
            _ => {}
        }
        self.records.replace(replaced);
    }

    pub(crate) fn step(&mut self, step: &Step<'_>) {
        self.records.step(step);
    }

    /// The turn whose records cover all that was gathered until now.
    fn gate(&self) -> u64 {
        if self.records.is_empty() {
            self.records.number.saturating_sub(1)
        } else {
            self.records.number
        }
    }

    /// Whether all that was gathered is safe.
    pub(crate) fn is_settled(&self) -> bool {
        self.gate() <= self.settled
    }

    /// Keeps a packet back until all that was gathered is safe.
    pub(crate) fn hold(&mut self, conn: SlabKey, packet: HeldPacket) {
        let number = self.gate();
        self.held.push_back(Held {
            number,
            conn,
            packet,
        });
    }

    /// Takes this turn's records, if there are any.
    pub(crate) fn take(&mut self, spare: Records) -> Option<Records> {
        let records = &self.records;
        if records.is_empty() && records.finished().is_empty() && records.replaced().is_empty() {
            return None;
        }
        let mut next = spare;
        next.clear();
        next.number = self.records.number + 1;
        Some(std::mem::replace(&mut self.records, next))
    }

    /// Notes that the records of a turn are safe.
    pub(crate) fn settle(&mut self, number: u64) {
        self.settled = self.settled.max(number);
    }

    /// The next packet that waits no longer.
    pub(crate) fn next_free(&mut self) -> Option<Held> {
        let settled = self.settled;
        self.held.pop_front_if(|held| held.number <= settled)
    }

    /// Notes that records were refused, and takes what waited for them and is refused with them. What is
    /// not new work among the records goes along with those that are being gathered.
    pub(crate) fn refuse(&mut self, refused: &Records) -> Vec<Held> {
        self.records.prepend_rest_of(refused);
        self.settle(refused.number);
        let number = self.gate();
        let mut lost = Vec::new();
        let mut later = VecDeque::new();
        while let Some(mut held) = self.held.pop_front_if(|held| held.number <= refused.number) {
            if held.packet.can_be_refused() {
                lost.push(held);
            } else {
                held.number = number;
                later.push_back(held);
            }
        }
        // Behind what was written later, which is of another kind for each connection, or of a later
        // turn's.
        self.held.append(&mut later);
        lost
    }
}
