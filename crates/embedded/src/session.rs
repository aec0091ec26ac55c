//! What outlives connections, in the caller's memory.

use ::core::num::NonZeroU16;

use midge_codec::{AckKind, EncodeError, PacketType, SliceSink, Version};

use crate::outbox::{move_down, written};
use crate::{PacketId, QueueError};

mod saved;

pub use saved::RestoreError;

/// The bytes before each packet: its length, its identifier, its state.
const HEAD: usize = 5;

/// In the state: the packet was sent whole on this connection.
const SENT: u8 = 0x80;

/// In the first byte of a PUBLISH.
const DUP: u8 = 0x08;

/// What a packet waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Awaits {
    PubAck,
    PubRec,
    /// PUBREL has taken the place of the PUBLISH.
    PubComp,
    SubAck,
    UnsubAck,
}

impl Awaits {
    const fn from_bits(bits: u8) -> Self {
        match bits & !SENT {
            0 => Self::PubAck,
            1 => Self::PubRec,
            2 => Self::PubComp,
            3 => Self::SubAck,
            _ => Self::UnsubAck,
        }
    }

    const fn is_delivery(self) -> bool {
        matches!(self, Self::PubAck | Self::PubRec | Self::PubComp)
    }
}

/// A session: messages of QoS 1 and 2 that the broker has not acknowledged, and the identifiers of
/// messages of QoS 2 that it has not released. A static of the application's, or a local of whatever
/// connects again.
pub struct Session<'s> {
    version: Version,
    /// Packets in the order of sending, each behind its head.
    log: &'s mut [u8],
    used: usize,
    /// Zero is a free place.
    received: &'s mut [u16],
    last_id: u16,
}

/// A packet in the log.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Where its head begins.
    at: usize,
    length: usize,
    pub(crate) id: u16,
    pub(crate) awaits: Awaits,
    pub(crate) is_sent: bool,
}

impl Entry {
    const fn end(&self) -> usize {
        self.at + HEAD + self.length
    }
}

/// What an acknowledgement meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acked {
    /// The delivery is over.
    Finished,
    /// PUBREL is due, and in the log.
    Released,
    /// No delivery waits for it.
    Unknown,
}

impl<'s> Session<'s> {
    /// An empty session. See [Memory](crate#memory) for the sizes: `unacknowledged` may be empty if only
    /// QoS 0 is published and nothing subscribed; `received` may be empty if nothing is subscribed with
    /// QoS 2. Where the broker may have kept more of QoS 2 than this one knows, as after a loss of power,
    /// begin with [`Options::clean_start`](crate::Options::clean_start). Brokers of 3.1.1 are not told how many places it has: 20 is what most send at once.
    #[must_use]
    pub const fn new(
        version: Version,
        unacknowledged: &'s mut [u8],
        received: &'s mut [u16],
    ) -> Self {
        Self {
            version,
            log: unacknowledged,
            used: 0,
            received,
            last_id: 0,
        }
    }

    /// The protocol version of all its connections.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How many messages of QoS 1 and 2 are not acknowledged.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let deliveries = self.entries().filter(|entry| entry.awaits.is_delivery());
        deliveries.count()
    }

    /// Gives up everything, e.g. before another client id is used.
    pub fn forget(&mut self) {
        self.used = 0;
        self.forget_received();
    }

    pub(crate) fn forget_received(&mut self) {
        self.received.fill(0);
    }

    pub(crate) const fn received_max(&self) -> usize {
        self.received.len()
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let head = self.log.get(..self.used)?.get(at..)?;
        let [high, low, id_high, id_low, state, ..] = *head else {
            return None;
        };
        Some(Entry {
            at,
            length: usize::from(u16::from_be_bytes([high, low])),
            id: u16::from_be_bytes([id_high, id_low]),
            awaits: Awaits::from_bits(state),
            is_sent: state & SENT != 0,
        })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let mut at = 0;
        ::core::iter::from_fn(move || {
            let entry = self.entry(at)?;
            at = entry.end();
            Some(entry)
        })
    }

    pub(crate) fn find(&self, id: u16) -> Option<Entry> {
        self.entries().find(|entry| entry.id == id)
    }

    /// The packet with this identifier, which is in the log.
    pub(crate) fn packet(&self, id: u16) -> &[u8] {
        let packet = self
            .find(id)
            .and_then(|entry| self.log.get(entry.at + HEAD..entry.end()));
        packet.unwrap_or_default()
    }

    /// An identifier that nothing in the log has.
    fn free_id(&mut self) -> PacketId {
        // The log holds fewer packets than there are identifiers, or the loop would not end: each takes
        // nine bytes at least, and 590,000 bytes of them are beyond any of these machines, but not beyond
        // what somebody could pass.
        for _ in 0..u16::MAX {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.find(self.last_id).is_none() {
                break;
            }
        }
        NonZeroU16::new(self.last_id).unwrap_or(NonZeroU16::MIN)
    }

    /// Takes in a packet that `encode` writes, unless it is longer than `length_max`.
    pub(crate) fn push(
        &mut self,
        awaits: Awaits,
        length_max: usize,
        encode: impl FnOnce(PacketId, &mut SliceSink<'_>) -> Result<(), EncodeError>,
    ) -> Result<PacketId, QueueError> {
        let id = self.free_id();
        let length_max = length_max.min(usize::from(u16::MAX));
        let space = self.log.get_mut(self.used..).unwrap_or_default();
        let Some((head, space)) = space.split_first_chunk_mut::<HEAD>() else {
            return Err(self.no_room());
        };
        let Some(length) = written(space, |sink| encode(id, sink))? else {
            return Err(self.no_room());
        };
        let Ok(bytes) = u16::try_from(length) else {
            return Err(QueueError::TooLarge);
        };
        if length > length_max {
            return Err(QueueError::TooLarge);
        }
        let ([a, b], [c, d]) = (bytes.to_be_bytes(), id.get().to_be_bytes());
        *head = [a, b, c, d, awaits as u8];
        self.used += HEAD + length;
        Ok(id)
    }

    const fn no_room(&self) -> QueueError {
        if self.used == 0 {
            QueueError::TooLarge
        } else {
            QueueError::Full
        }
    }

    fn set_state(&mut self, entry: &Entry, awaits: Awaits, is_sent: bool) {
        if let Some(state) = self.log.get_mut(entry.at + HEAD - 1) {
            *state = awaits as u8 | if is_sent { SENT } else { 0 };
        }
    }

    pub(crate) fn sent(&mut self, id: u16) {
        if let Some(entry) = self.find(id) {
            self.set_state(&entry, entry.awaits, true);
        }
    }

    pub(crate) fn remove(&mut self, entry: &Entry) {
        move_down(self.log, entry.end(), self.used, entry.at);
        self.used -= HEAD + entry.length;
    }

    /// Takes an acknowledgement of a delivery. `refused`: PUBREC says no, which is the end.
    pub(crate) fn acknowledge(&mut self, kind: AckKind, id: PacketId, refused: bool) -> Acked {
        let Some(entry) = self.find(id.get()).filter(|entry| entry.is_sent) else {
            return Acked::Unknown;
        };
        match (kind, entry.awaits) {
            (AckKind::PubRec, Awaits::PubRec) if !refused => {
                self.release(&entry);
                Acked::Released
            }
            (AckKind::PubAck, Awaits::PubAck)
            | (AckKind::PubRec, Awaits::PubRec)
            | (AckKind::PubComp, Awaits::PubComp) => {
                self.remove(&entry);
                Acked::Finished
            }
            _ => Acked::Unknown,
        }
    }

    /// Puts PUBREL into the place of the PUBLISH, which is longer.
    fn release(&mut self, entry: &Entry) {
        let [high, low] = entry.id.to_be_bytes();
        let pubrel = [PacketType::PubRel.first_byte(), 2, high, low];
        let kept = entry.at + HEAD + pubrel.len();
        if let Some(space) = self.log.get_mut(entry.at + HEAD..kept) {
            space.copy_from_slice(&pubrel);
            move_down(self.log, entry.end(), self.used, kept);
            self.used -= entry.end() - kept;
        }
        if let Some(length) = self.log.get_mut(entry.at..entry.at + 2) {
            length.copy_from_slice(&[0, 4]);
        }
        self.set_state(entry, Awaits::PubComp, false);
    }

    /// Takes the answer to a SUBSCRIBE or UNSUBSCRIBE; whether one with this identifier waits.
    pub(crate) fn answered(&mut self, awaits: Awaits, id: PacketId) -> bool {
        let entry = self.find(id.get());
        match entry.filter(|entry| entry.is_sent && entry.awaits == awaits) {
            Some(entry) => {
                self.remove(&entry);
                true
            }
            None => false,
        }
    }

    /// A connection begins: all deliveries are due again, and nobody answers what else was asked.
    pub(crate) fn begin(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.entry(at) {
            if !entry.awaits.is_delivery() {
                self.remove(&entry);
                continue;
            }
            if entry.is_sent
                && entry.awaits != Awaits::PubComp
                && let Some(first) = self.log.get_mut(entry.at + HEAD)
            {
                // [MQTT5-3.3.1-1]
                *first |= DUP;
            }
            self.set_state(&entry, entry.awaits, false);
            at = entry.end();
        }
    }

    /// What to send next: the first packet that is not sent. A message waits while the broker has as many as it takes at once.
    pub(crate) fn due(&self, receive_maximum: u16) -> Option<Entry> {
        let mut on_the_way = 0_u16;
        let mut is_full = false;
        for entry in self.entries() {
            let is_delivery = entry.awaits.is_delivery();
            if !entry.is_sent {
                let is_new = matches!(entry.awaits, Awaits::PubAck | Awaits::PubRec);
                if !(is_new && (is_full || on_the_way >= receive_maximum)) {
                    return Some(entry);
                }
                // None may overtake it.
                is_full = true;
            } else if is_delivery {
                on_the_way = on_the_way.saturating_add(1);
            }
        }
        None
    }

    /// Whether a message of QoS 2 has been handed over and not released.
    pub(crate) fn has_received(&self, id: PacketId) -> bool {
        self.received.contains(&id.get())
    }

    /// Notes that a message of QoS 2 is handed over; `false` if there is no room to.
    pub(crate) fn receive(&mut self, id: PacketId) -> bool {
        let free = self.received.iter_mut().find(|place| **place == 0);
        free.map(|place| *place = id.get()).is_some()
    }

    /// PUBREL; whether there was such a message.
    pub(crate) fn release_received(&mut self, id: PacketId) -> bool {
        let mut places = self.received.iter_mut();
        let found = places.find(|place| **place == id.get());
        found.map(|place| *place = 0).is_some()
    }
}
