//! What a record of the durable queue looks like.
//!
//! All integers are big-endian. Every record begins with the message's key, which is 0 for what is about
//! received messages. A message goes on with
//! flags, the moment of its expiry, its topic, its properties as MQTT 5.0 writes them, each behind its
//! length, and its payload to the end.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use midge_codec::{Properties, QoS, Scope, topic};
use midge_store::{Batch, TooLong};

use crate::core::{Kept, Record, Step};
use crate::message::MessageProperties;

/// A record that was read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Message(u64, Kept),
    Step(u64, Step),
    Done(u64),
    Received(NonZeroU16),
    Gone(NonZeroU16),
    NoneReceived,
}

const MESSAGE: u8 = 1;
const SENT: u8 = 2;
const RELEASED: u8 = 3;
const QUEUED: u8 = 4;
const DONE: u8 = 5;
const RECEIVED: u8 = 6;
const GONE: u8 = 7;
const NONE_RECEIVED: u8 = 8;

const RETAIN: u8 = 4;
const QOS: u8 = 3;

/// Adds a record to a batch; `wall_clock` is in milliseconds since 1970.
pub(super) fn put(record: &Record, batch: &mut Batch, wall_clock: u64) -> Result<(), TooLong> {
    let step = |bytes: &mut Vec<u8>, key: u64, id: Option<NonZeroU16>| {
        bytes.extend_from_slice(&key.to_be_bytes());
        if let Some(id) = id {
            bytes.extend_from_slice(&id.get().to_be_bytes());
        }
    };
    match record {
        Record::Message(key, kept) => batch.push_with(MESSAGE, |bytes| {
            step(bytes, *key, None);
            put_message(kept, bytes, wall_clock);
        }),
        Record::Sent(key, id) => batch.push_with(SENT, |bytes| step(bytes, *key, Some(*id))),
        Record::Released(key, id) => {
            batch.push_with(RELEASED, |bytes| step(bytes, *key, Some(*id)))
        }
        Record::Queued(key) => batch.push_with(QUEUED, |bytes| step(bytes, *key, None)),
        Record::Done(key) => batch.push_with(DONE, |bytes| step(bytes, *key, None)),
        Record::Received(id) => batch.push_with(RECEIVED, |bytes| step(bytes, 0, Some(*id))),
        Record::Gone(id) => batch.push_with(GONE, |bytes| step(bytes, 0, Some(*id))),
        Record::NoneReceived => batch.push_with(NONE_RECEIVED, |bytes| step(bytes, 0, None)),
    }
}

fn put_message(kept: &Kept, bytes: &mut Vec<u8>, wall_clock: u64) {
    bytes.push(kept.qos.bits() | if kept.retain { RETAIN } else { 0 });
    let expires = kept.expires_in.map_or(u64::MAX, |left| {
        wall_clock.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    });
    bytes.extend_from_slice(&expires.to_be_bytes());
    let mut properties = Vec::new();
    if let Some(list) = &kept.properties {
        let expiry = list.expiry.map(crate::options::seconds);
        for property in list.list(expiry) {
            property.write(&mut properties);
        }
    }
    for field in [kept.topic.as_bytes(), &properties] {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes.extend_from_slice(&kept.payload);
}

/// Reads a record back. Its checksum was right, so what cannot be read was written by another program,
/// or by a newer one.
pub(super) fn read(kind: u8, payload: &[u8], wall_clock: u64) -> Result<Entry, String> {
    let mut reader = Reader(payload);
    parse(kind, &mut reader, wall_clock).ok_or_else(|| {
        format!("a record of kind {kind} is none that this version knows; was it written by a newer one?")
    })
}

fn parse(kind: u8, reader: &mut Reader<'_>, wall_clock: u64) -> Option<Entry> {
    let key = u64::from_be_bytes(reader.take()?);
    let entry = match kind {
        MESSAGE => Entry::Message(key, message(reader, wall_clock)?),
        SENT => Entry::Step(key, Step::Sent(reader.id()?)),
        RELEASED => Entry::Step(key, Step::Released(reader.id()?)),
        QUEUED => Entry::Step(key, Step::Queued),
        DONE => Entry::Done(key),
        RECEIVED => Entry::Received(reader.id()?),
        GONE => Entry::Gone(reader.id()?),
        NONE_RECEIVED => Entry::NoneReceived,
        _ => return None,
    };
    reader.0.is_empty().then_some(entry)
}

fn message(reader: &mut Reader<'_>, wall_clock: u64) -> Option<Kept> {
    let [flags] = reader.take()?;
    let expires = u64::from_be_bytes(reader.take()?);
    let name = std::str::from_utf8(reader.field()?).ok()?;
    let properties = Properties::decode(reader.field()?, Scope::PUBLISH).ok()?;
    let payload = Bytes::copy_from_slice(std::mem::take(&mut reader.0));
    if !topic::is_name(name) {
        return None;
    }
    let properties = MessageProperties::read(properties);
    let life = properties.as_ref().and_then(|list| list.expiry);
    let expires_in = (expires != u64::MAX).then(|| {
        let left = Duration::from_millis(expires.saturating_sub(wall_clock));
        // A clock that was set back must not make a message live longer than it was given.
        left.min(life.unwrap_or(left))
    });
    Some(Kept {
        topic: name.into(),
        payload,
        properties,
        qos: QoS::from_bits(flags & QOS)?,
        retain: flags & RETAIN != 0,
        expires_in,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.take()?);
        let (field, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(field)
    }

    fn id(&mut self) -> Option<NonZeroU16> {
        NonZeroU16::new(u16::from_be_bytes(self.take()?))
    }
}
