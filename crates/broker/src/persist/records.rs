//! The records: what each kind says, and how its parts are written and read.

mod steps;
mod turn;

use std::fmt;
use std::num::NonZeroU16;

use midge_codec::QoS;
use smallvec::SmallVec;

use super::fields::{Fields, put_bytes, put_number, put_packet_id, put_session};
use crate::queue::SubscriptionIds;
use crate::route::{SessionRef, SubscriptionOptions};
use crate::session::Expiry;

pub(crate) use steps::{Step, read_step};
pub use turn::{RecordRef, Records};

/// What a record is about, as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message with its holders.
    Message = 1,
    /// More holders of a message that is there.
    Holders = 2,
    /// A session begins or goes on with a new connection.
    Session = 3,
    /// The connection of a session has ended.
    Left = 4,
    /// A session has ended, with all that it held.
    SessionEnd = 5,
    /// A subscription was made or changed.
    Subscribe = 6,
    /// A subscription has ended.
    Unsubscribe = 7,
    /// Small changes of one turn: see `Step`.
    Steps = 8,
    /// A restart has given sessions other addresses.
    Renamed = 9,
    /// Part of a snapshot of everything.
    Snapshot = 64,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Message,
            2 => Self::Holders,
            3 => Self::Session,
            4 => Self::Left,
            5 => Self::SessionEnd,
            6 => Self::Subscribe,
            7 => Self::Unsubscribe,
            8 => Self::Steps,
            9 => Self::Renamed,
            64 => Self::Snapshot,
            _ => return None,
        })
    }
}

/// A record that does not read as one of its kind. Its bytes are what was written, or the log would not
/// have shown it: another version of the program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record that this version does not understand")
    }
}

impl std::error::Error for Malformed {}

/// Who gets a copy, while a record is written.
#[derive(Clone, Debug)]
pub(crate) struct CopyTo {
    pub(crate) session: SessionRef,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
}

/// Who holds a message, while a record is written.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) copies: SmallVec<[CopyTo; 4]>,
    pub(crate) groups: SmallVec<[u64; 2]>,
    /// The retained store.
    pub(crate) retained: bool,
    /// The publisher's session, until it releases the message.
    pub(crate) incoming: Option<(SessionRef, NonZeroU16)>,
}

impl Holding {
    pub(crate) fn count(&self) -> u32 {
        let count = self.copies.len() + self.groups.len();
        let single = u32::from(self.retained) + u32::from(self.incoming.is_some());
        u32::try_from(count)
            .unwrap_or(u32::MAX)
            .saturating_add(single)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

/// What a session is, while a record is written or read.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord<'a> {
    pub(crate) session: SessionRef,
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) mount_point: Option<&'a str>,
    /// Level of the protocol.
    pub(crate) version: u8,
    pub(crate) expiry: Expiry,
    pub(crate) will: Option<WillRecord<'a>>,
}

/// A will, while a record is written or read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WillRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) properties: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
}

pub(crate) fn put_subscription(
    bytes: &mut Vec<u8>,
    filter: &str,
    options: SubscriptionOptions,
    id: u32,
) {
    bytes.push(options.bits());
    put_number(bytes, u64::from(id));
    put_bytes(bytes, filter.as_bytes());
}

pub(crate) fn put_session_record(bytes: &mut Vec<u8>, record: &SessionRecord<'_>) {
    put_session(bytes, record.session);
    let (expiry, seconds) = match record.expiry {
        Expiry::WithConnection => (0, 0),
        Expiry::After(seconds) => (1, seconds),
        Expiry::Never => (2, 0),
    };
    let flags = expiry
        | u8::from(record.user_name.is_some()) << 2
        | u8::from(record.mount_point.is_some()) << 3
        | u8::from(record.will.is_some()) << 4;
    bytes.push(flags);
    bytes.push(record.version);
    put_number(bytes, seconds);
    put_bytes(bytes, record.client_id.as_bytes());
    for text in [record.user_name, record.mount_point].into_iter().flatten() {
        put_bytes(bytes, text.as_bytes());
    }
    if let Some(will) = &record.will {
        let flags = will.qos.bits()
            | u8::from(will.retain) << 2
            | u8::from(will.expiry_secs.is_some()) << 3;
        bytes.push(flags);
        put_number(bytes, u64::from(will.delay_secs));
        if let Some(seconds) = will.expiry_secs {
            put_number(bytes, u64::from(seconds));
        }
        put_bytes(bytes, will.topic.as_bytes());
        put_bytes(bytes, will.properties);
        put_bytes(bytes, will.payload);
    }
}

fn put_holding(bytes: &mut Vec<u8>, holding: &Holding) {
    bytes.push(u8::from(holding.retained) | u8::from(holding.incoming.is_some()) << 1);
    if let Some((session, packet_id)) = holding.incoming {
        put_session(bytes, session);
        put_packet_id(bytes, packet_id);
    }
    put_number(bytes, holding.copies.len() as u64);
    for copy in &holding.copies {
        put_session(bytes, copy.session);
        put_form(bytes, copy.qos, copy.retain, copy.ids.as_slice());
    }
    put_number(bytes, holding.groups.len() as u64);
    for group in &holding.groups {
        bytes.extend_from_slice(&group.to_le_bytes());
    }
}

/// How a copy goes out: QoS, RETAIN and subscription identifiers.
pub(crate) fn put_form(bytes: &mut Vec<u8>, qos: QoS, retain: bool, ids: &[u32]) {
    bytes.push(qos.bits() | u8::from(retain) << 2 | u8::from(!ids.is_empty()) << 3);
    if !ids.is_empty() {
        put_number(bytes, ids.len() as u64);
        for id in ids {
            put_number(bytes, u64::from(*id));
        }
    }
}

/// A message as its record says.
#[derive(Debug)]
pub(crate) struct MessageRecord<'a> {
    pub(crate) id: u64,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Option<u64>,
    pub(crate) holding: Holding,
    pub(crate) topic: &'a str,
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let id = fields.number()?;
        let flags = fields.byte()?;
        let expires = if flags & 8 == 0 {
            None
        } else {
            Some(fields.number()?)
        };
        let holding = read_holding(&mut fields)?;
        Some(Self {
            id,
            qos: QoS::from_bits(flags & 3)?,
            retain: flags & 4 != 0,
            expires,
            holding,
            topic: fields.text()?,
            properties: fields.bytes()?,
            payload: fields.0,
        })
    }
}

pub(crate) fn read_holding(fields: &mut Fields<'_>) -> Option<Holding> {
    let flags = fields.byte()?;
    let incoming = if flags & 2 == 0 {
        None
    } else {
        Some((fields.session()?, fields.packet_id()?))
    };
    let mut holding = Holding {
        retained: flags & 1 != 0,
        incoming,
        ..Holding::default()
    };
    for _ in 0..fields.number()? {
        let session = fields.session()?;
        let (qos, retain, ids) = read_form(fields)?;
        holding.copies.push(CopyTo {
            session,
            qos,
            retain,
            ids,
        });
    }
    for _ in 0..fields.number()? {
        holding.groups.push(fields.fixed()?);
    }
    Some(holding)
}

pub(crate) fn read_form(fields: &mut Fields<'_>) -> Option<(QoS, bool, SubscriptionIds)> {
    let flags = fields.byte()?;
    let ids = if flags & 8 == 0 {
        SubscriptionIds::None
    } else {
        let mut ids: SmallVec<[u32; 8]> = SmallVec::new();
        for _ in 0..fields.number()? {
            ids.push(fields.number_u32()?);
        }
        SubscriptionIds::from_slice(&ids)
    };
    Some((QoS::from_bits(flags & 3)?, flags & 4 != 0, ids))
}

pub(crate) fn read_subscription<'a>(
    fields: &mut Fields<'a>,
) -> Option<(&'a str, SubscriptionOptions, u32)> {
    let options = SubscriptionOptions::from_bits(fields.byte()?);
    let id = fields.number_u32()?;
    Some((fields.text()?, options, id))
}

pub(crate) fn read_session<'a>(fields: &mut Fields<'a>) -> Option<SessionRecord<'a>> {
    let session = fields.session()?;
    let flags = fields.byte()?;
    let version = fields.byte()?;
    let seconds = fields.number()?;
    let client_id = fields.text()?;
    let user_name = match flags & 4 {
        0 => None,
        _ => Some(fields.text()?),
    };
    let mount_point = match flags & 8 {
        0 => None,
        _ => Some(fields.text()?),
    };
    let will = match flags & 16 {
        0 => None,
        _ => Some(read_will(fields)?),
    };
    let expiry = match flags & 3 {
        0 => Expiry::WithConnection,
        1 => Expiry::After(seconds),
        _ => Expiry::Never,
    };
    Some(SessionRecord {
        session,
        client_id,
        user_name,
        mount_point,
        version,
        expiry,
        will,
    })
}

fn read_will<'a>(fields: &mut Fields<'a>) -> Option<WillRecord<'a>> {
    let flags = fields.byte()?;
    let delay_secs = fields.number_u32()?;
    let expiry_secs = match flags & 8 {
        0 => None,
        _ => Some(fields.number_u32()?),
    };
    Some(WillRecord {
        topic: fields.text()?,
        properties: fields.bytes()?,
        payload: fields.bytes()?,
        qos: QoS::from_bits(flags & 3)?,
        retain: flags & 4 != 0,
        expiry_secs,
        delay_secs,
    })
}
