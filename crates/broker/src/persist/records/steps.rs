//! Steps: the small changes of one turn, which stand in one record together.

use std::num::NonZeroU16;

use midge_codec::QoS;

use super::{put_form, read_form};
use crate::persist::fields::{Fields, put_bytes, put_number, put_packet_id, put_session};
use crate::queue::SubscriptionIds;
use crate::route::SessionRef;

/// A small change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A copy goes out with this packet identifier.
    Sent {
        session: SessionRef,
        message: u64,
        packet_id: NonZeroU16,
    },
    /// A message of a shared group belongs to this member from now on: it goes out with QoS 2.
    SentFromGroup {
        group: u64,
        session: SessionRef,
        message: u64,
        packet_id: NonZeroU16,
        retain: bool,
        ids: SubscriptionIds,
    },
    /// The delivery is over.
    Acknowledged {
        session: SessionRef,
        packet_id: NonZeroU16,
    },
    /// PUBREC has come.
    Received {
        session: SessionRef,
        packet_id: NonZeroU16,
    },
    /// A copy that was not sent is not wanted any more.
    Dropped {
        session: SessionRef,
        message: u64,
        /// The copy of QoS 0: overlapping subscriptions may have made others.
        at_most_once: bool,
    },
    /// A shared group has no more use for a message.
    GroupDone { group: u64, message: u64 },
    /// A message is the retained one of its topic, unless a later version is known.
    Retained {
        version: u64,
        message: u64,
        expires: Option<u64>,
    },
    /// A topic has no retained message, unless a later version is known.
    Unretained { version: u64, topic: &'a str },
    /// The publisher has released a message of QoS 2.
    Released {
        session: SessionRef,
        packet_id: NonZeroU16,
    },
    /// The delayed will has been published.
    WillDone { session: SessionRef },
    /// Nothing: what is held back for the log's sake has a record to wait for.
    Barrier,
}

const SENT: u8 = 1;
const SENT_FROM_GROUP: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const RECEIVED: u8 = 4;
const DROPPED: u8 = 5;
const GROUP_DONE: u8 = 6;
const RETAINED: u8 = 7;
const UNRETAINED: u8 = 8;
const RELEASED: u8 = 9;
const WILL_DONE: u8 = 10;
const BARRIER: u8 = 11;
const DROPPED_AT_MOST_ONCE: u8 = 12;

pub(super) fn put_step(bytes: &mut Vec<u8>, step: &Step<'_>) {
    match step {
        Step::Sent {
            session,
            message,
            packet_id,
        } => {
            bytes.push(SENT);
            put_session(bytes, *session);
            put_number(bytes, *message);
            put_packet_id(bytes, *packet_id);
        }
        Step::SentFromGroup {
            group,
            session,
            message,
            packet_id,
            retain,
            ids,
        } => {
            bytes.push(SENT_FROM_GROUP);
            bytes.extend_from_slice(&group.to_le_bytes());
            put_session(bytes, *session);
            put_number(bytes, *message);
            put_packet_id(bytes, *packet_id);
            put_form(bytes, QoS::ExactlyOnce, *retain, ids.as_slice());
        }
        Step::Acknowledged { session, packet_id } => {
            put_delivery(bytes, ACKNOWLEDGED, *session, *packet_id);
        }
        Step::Received { session, packet_id } => {
            put_delivery(bytes, RECEIVED, *session, *packet_id);
        }
        Step::Released { session, packet_id } => {
            put_delivery(bytes, RELEASED, *session, *packet_id);
        }
        Step::Dropped {
            session,
            message,
            at_most_once,
        } => {
            bytes.push(if *at_most_once {
                DROPPED_AT_MOST_ONCE
            } else {
                DROPPED
            });
            put_session(bytes, *session);
            put_number(bytes, *message);
        }
        Step::GroupDone { group, message } => {
            bytes.push(GROUP_DONE);
            bytes.extend_from_slice(&group.to_le_bytes());
            put_number(bytes, *message);
        }
        Step::Retained {
            version,
            message,
            expires,
        } => {
            bytes.push(RETAINED);
            put_number(bytes, *version);
            put_number(bytes, *message);
            put_number(bytes, expires.unwrap_or(0));
        }
        Step::Unretained { version, topic } => {
            bytes.push(UNRETAINED);
            put_number(bytes, *version);
            put_bytes(bytes, topic.as_bytes());
        }
        Step::WillDone { session } => {
            bytes.push(WILL_DONE);
            put_session(bytes, *session);
        }
        Step::Barrier => bytes.push(BARRIER),
    }
}

fn put_delivery(bytes: &mut Vec<u8>, tag: u8, session: SessionRef, packet_id: NonZeroU16) {
    bytes.push(tag);
    put_session(bytes, session);
    put_packet_id(bytes, packet_id);
}

pub(crate) fn read_step<'a>(fields: &mut Fields<'a>) -> Option<Step<'a>> {
    Some(match fields.byte()? {
        SENT => Step::Sent {
            session: fields.session()?,
            message: fields.number()?,
            packet_id: fields.packet_id()?,
        },
        SENT_FROM_GROUP => {
            let group = fields.fixed()?;
            let session = fields.session()?;
            let message = fields.number()?;
            let packet_id = fields.packet_id()?;
            let (_, retain, ids) = read_form(fields)?;
            Step::SentFromGroup {
                group,
                session,
                message,
                packet_id,
                retain,
                ids,
            }
        }
        ACKNOWLEDGED => Step::Acknowledged {
            session: fields.session()?,
            packet_id: fields.packet_id()?,
        },
        RECEIVED => Step::Received {
            session: fields.session()?,
            packet_id: fields.packet_id()?,
        },
        RELEASED => Step::Released {
            session: fields.session()?,
            packet_id: fields.packet_id()?,
        },
        tag @ (DROPPED | DROPPED_AT_MOST_ONCE) => Step::Dropped {
            session: fields.session()?,
            message: fields.number()?,
            at_most_once: tag == DROPPED_AT_MOST_ONCE,
        },
        GROUP_DONE => Step::GroupDone {
            group: fields.fixed()?,
            message: fields.number()?,
        },
        RETAINED => Step::Retained {
            version: fields.number()?,
            message: fields.number()?,
            expires: Some(fields.number()?).filter(|expires| *expires != 0),
        },
        UNRETAINED => Step::Unretained {
            version: fields.number()?,
            topic: fields.text()?,
        },
        WILL_DONE => Step::WillDone {
            session: fields.session()?,
        },
        BARRIER => Step::Barrier,
        _ => return None,
    })
}
