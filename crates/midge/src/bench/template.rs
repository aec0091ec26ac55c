//! PUBLISH packets that are encoded once and then only patched, and their reading.

use std::num::NonZeroU16;

use midge_codec::{Header, Properties, Publish, QoS, Reader, Version};

use super::plan::Plan;
use crate::failure::Failure;

/// What each payload begins with: which run, which publisher, which message, sent when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) run: u32,
    pub(crate) publisher: u32,
    pub(crate) sequence: u64,
    /// Nanoseconds since the run's start.
    pub(crate) sent_nanos: u64,
}

/// The size of a stamp in bytes.
pub(crate) const STAMP_SIZE: usize = 24;

impl Stamp {
    /// The stamp as it stands in a payload.
    pub(crate) fn bytes(&self) -> [u8; STAMP_SIZE] {
        let mut bytes = [0; STAMP_SIZE];
        let parts: [&[u8]; 4] = [
            &self.run.to_be_bytes(),
            &self.publisher.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.sent_nanos.to_be_bytes(),
        ];
        for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        bytes
    }

    /// Reads the stamp at the start of a payload.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (sent_nanos, _) = rest.split_first_chunk()?;
        Some(Self {
            run: u32::from_be_bytes(*run),
            publisher: u32::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
            sent_nanos: u64::from_be_bytes(*sent_nanos),
        })
    }
}

/// A block of equal packets; before a part of it is sent, each packet gets its own few bytes.
pub(crate) struct Template {
    block: Vec<u8>,
    packet: usize,
    topic: usize,
    /// Where the packet id stands; none at QoS 0.
    packet_id: Option<usize>,
    stamp: usize,
}

/// A write of about this size is not made cheaper by more bytes.
const BLOCK_SIZE: usize = 64 * 1024;

impl Template {
    /// Encodes the packets of `plan`.
    pub(crate) fn new(plan: &Plan) -> Result<Self, Failure> {
        let topic = plan.topic(0);
        let payload = vec![b'.'; plan.payload];
        let packet_id = (plan.qos != QoS::AtMostOnce).then_some(NonZeroU16::MIN);
        let mut bytes = Vec::new();
        Publish {
            dup: false,
            qos: plan.qos,
            retain: false,
            topic: &topic,
            packet_id,
            properties: Properties::NONE,
            payload: &payload,
        }
        .encode(plan.connect.version, &mut bytes)?;
        let header = Header::peek(&bytes)?.map_or(0, |header| usize::from(header.length));
        let topic_at = header + 2;
        Ok(Self {
            packet: bytes.len(),
            topic: topic_at,
            packet_id: packet_id.map(|_| topic_at + topic.len()),
            stamp: bytes.len() - plan.payload,
            block: bytes.repeat((BLOCK_SIZE / bytes.len()).max(1)),
        })
    }

    /// How many packets a block holds.
    pub(crate) fn capacity(&self) -> usize {
        self.block.len() / self.packet
    }

    /// The size of a packet in bytes.
    pub(crate) const fn packet_size(&self) -> usize {
        self.packet
    }

    /// A block of `count` packets (at most [`Self::capacity`]) to `topics` in turn, from `first` on;
    /// `times` gives each message's time.
    pub(crate) fn fill(
        &mut self,
        topics: &[Vec<u8>],
        first: Stamp,
        count: usize,
        times: impl Fn(u64) -> u64,
    ) -> &[u8] {
        let mut stamp = first;
        for packet in self.block.chunks_exact_mut(self.packet).take(count) {
            stamp.sent_nanos = times(stamp.sequence);
            put(
                packet,
                self.topic,
                cycled(topics, stamp.sequence).unwrap_or_default(),
            );
            if let Some(at) = self.packet_id {
                put(packet, at, &packet_id(stamp.sequence).to_be_bytes());
            }
            put(packet, self.stamp, &stamp.bytes());
            stamp.sequence += 1;
        }
        self.block.get(..count * self.packet).unwrap_or_default()
    }
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(space) = packet.get_mut(at..at + bytes.len()) {
        space.copy_from_slice(bytes);
    }
}

/// The topic of a message, when its publisher takes `topics` in turn.
#[inline]
pub(crate) fn cycled(topics: &[Vec<u8>], sequence: u64) -> Option<&[u8]> {
    match topics {
        [topic] => Some(topic),
        _ => {
            let place = sequence.checked_rem(topics.len() as u64)?;
            Some(topics.get(usize::try_from(place).ok()?)?)
        }
    }
}

/// The packet id of a message: they go round from 1 to 65,535.
pub(crate) fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence % 65_535).unwrap_or_default() + 1
}

/// A received PUBLISH, read as far as accounting needs it.
pub(crate) struct Delivery<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) qos: u8,
    /// Zero at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Delivery<'a> {
    /// Reads the body; the topic is compared with what was sent, so its text needs no check.
    pub(crate) fn read(first: u8, version: Version, body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let topic = reader.binary().ok()?;
        let qos = (first >> 1) & 3;
        let packet_id = if qos == 0 {
            0
        } else {
            reader.packet_id().ok()?.get()
        };
        if version.has_properties() {
            reader.section().ok()?;
        }
        Some(Self {
            topic,
            qos,
            packet_id,
            payload: reader.rest(),
        })
    }
}

#[cfg(test)]
mod tests;
