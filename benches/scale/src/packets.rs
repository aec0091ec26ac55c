//! What clients send, and what they make of what they are sent.

use std::num::NonZeroU16;

use midge_codec::{
    Connect, EncodeError, Filters, Header, PacketType, Properties, Property, Publish, QoS,
    Subscribe, Subscription, SubscriptionOptions, Subscriptions, Unsubscribe, Version,
};

use crate::Error;

/// The first byte of CONNECT.
pub(crate) const CONNECT: u8 = 0x10;

/// PINGREQ and DISCONNECT, of every version.
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Appends a CONNECT for a new session that ends with its connection.
pub(crate) fn connect(
    version: Version,
    client_id: &str,
    keep_alive: u16,
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive,
        properties: Properties::NONE,
        client_id,
        will: None,
        user_name: None,
        password: None,
    }
    .encode(bytes)
}

/// Appends a CONNECT for a session that has no end.
pub(crate) fn connect_persistent(
    version: Version,
    client_id: &str,
    user_name: Option<&str>,
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let endless = [Property::SessionExpiryInterval(u32::MAX)];
    Connect {
        version,
        bridge: false,
        clean_start: false,
        keep_alive: 0,
        properties: match version {
            Version::V5 => Properties::from_list(&endless),
            Version::V3_1 | Version::V3_1_1 => Properties::NONE,
        },
        client_id,
        will: None,
        user_name,
        password: None,
    }
    .encode(bytes)
}

/// Appends a SUBSCRIBE to one filter.
pub(crate) fn subscribe(
    version: Version,
    filter: &str,
    qos: QoS,
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let options = SubscriptionOptions {
        qos,
        ..SubscriptionOptions::default()
    };
    let list = [Subscription { filter, options }];
    Subscribe {
        packet_id: NonZeroU16::MIN,
        properties: Properties::NONE,
        subscriptions: Subscriptions::from_list(&list),
    }
    .encode(version, bytes)
}

/// Appends an UNSUBSCRIBE of one filter.
pub(crate) fn unsubscribe(
    version: Version,
    filter: &str,
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    Unsubscribe {
        packet_id: NonZeroU16::MIN,
        properties: Properties::NONE,
        filters: Filters::from_list(&[filter]),
    }
    .encode(version, bytes)
}

/// Appends a PUBLISH; with QoS 1 under packet identifier `id`.
pub(crate) fn publish(
    version: Version,
    qos: QoS,
    id: u16,
    retain: bool,
    topic: &str,
    payload: &[u8],
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    Publish {
        dup: false,
        qos,
        retain,
        topic,
        packet_id: NonZeroU16::new(id).filter(|_| qos != QoS::AtMostOnce),
        properties: Properties::NONE,
        payload,
    }
    .encode(version, bytes)
}

/// Counts the PUBLISH packets of `output`, and writes the PUBACKs that they ask for.
pub(crate) fn take(output: &[u8], acks: &mut Vec<u8>) -> Result<u64, Error> {
    let mut count = 0;
    let mut rest = output;
    while let Some(header) = Header::peek(rest).map_err(|_| "a length is malformed")? {
        match header.packet_type() {
            Some(PacketType::Publish) => {
                count += 1;
                if header.first & 0x06 == 0x02 {
                    let id = packet_id(header.body(rest).unwrap_or_default());
                    let [high, low] = id.ok_or("a PUBLISH is too short")?;
                    acks.extend_from_slice(&[PacketType::PubAck.first_byte(), 2, high, low]);
                }
            }
            Some(PacketType::ConnAck)
                if header.body(rest).and_then(|body| body.get(1)) != Some(&0) =>
            {
                return Err("a client was refused".into());
            }
            Some(PacketType::SubAck) if header.body(rest).and_then(<[u8]>::last) >= Some(&0x80) => {
                return Err("a subscription was refused".into());
            }
            _ => {}
        }
        rest = rest.get(header.packet_length()..).unwrap_or_default();
    }
    Ok(count)
}

fn packet_id(body: &[u8]) -> Option<[u8; 2]> {
    let (length, rest) = body.split_first_chunk()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    rest.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_acknowledged() {
        let mut bytes = Vec::new();
        publish(
            Version::V5,
            QoS::AtLeastOnce,
            7,
            false,
            "a/b",
            b"x",
            &mut bytes,
        )
        .unwrap();
        bytes.extend_from_slice(&[0xD0, 0]);
        publish(
            Version::V5,
            QoS::AtMostOnce,
            0,
            false,
            "a/b",
            b"x",
            &mut bytes,
        )
        .unwrap();
        let mut acks = Vec::new();
        assert_eq!(take(&bytes, &mut acks).unwrap(), 2);
        assert_eq!(acks, [0x40, 2, 0, 7]);
    }

    #[test]
    fn refusals_end_the_run() {
        assert!(take(&[0x20, 2, 0, 5], &mut Vec::new()).is_err());
        assert!(take(&[0x90, 3, 0, 1, 0x80], &mut Vec::new()).is_err());
        assert_eq!(take(&[0x20, 2, 0, 0], &mut Vec::new()).unwrap(), 0);
    }
}
