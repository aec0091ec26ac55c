//! Packets and their properties, as far as the run looks into them.

use midge_codec::{Header, Packet, Properties, Property, Version};
use midge_proto::Connection;

use crate::check::{Checked, broken};

/// The number that a payload begins with.
pub(crate) fn publication_number(payload: &[u8]) -> Option<usize> {
    let end = payload.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(payload.get(..end)?).ok()?.parse().ok()
}

/// A PUBLISH's properties that go on to subscribers, encoded.
pub(crate) fn forwarded(properties: &Properties<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (property, encoded) in properties.items() {
        if !matches!(
            property,
            Property::MessageExpiryInterval(_)
                | Property::TopicAlias(_)
                | Property::SubscriptionIdentifier(_)
        ) {
            bytes.extend_from_slice(encoded);
        }
    }
    bytes
}

fn find<T>(properties: &Properties<'_>, choose: impl Fn(Property<'_>) -> Option<T>) -> Option<T> {
    properties.iter().find_map(choose)
}

pub(crate) fn message_expiry(properties: &Properties<'_>) -> Option<u32> {
    find(properties, |property| match property {
        Property::MessageExpiryInterval(seconds) => Some(seconds),
        _ => None,
    })
}

pub(crate) fn topic_alias(properties: &Properties<'_>) -> Option<u16> {
    find(properties, |property| match property {
        Property::TopicAlias(alias) => Some(alias),
        _ => None,
    })
}

pub(crate) fn session_expiry(properties: &Properties<'_>) -> Option<u32> {
    find(properties, |property| match property {
        Property::SessionExpiryInterval(seconds) => Some(seconds),
        _ => None,
    })
}

pub(crate) fn will_delay(properties: &Properties<'_>) -> u32 {
    find(properties, |property| match property {
        Property::WillDelayInterval(seconds) => Some(seconds),
        _ => None,
    })
    .unwrap_or(0)
}

/// The largest packet that a CONNECT allows; `usize::MAX` when it does not say.
pub(crate) fn packet_size_max(properties: &Properties<'_>) -> usize {
    find(properties, |property| match property {
        Property::MaximumPacketSize(bytes) => usize::try_from(bytes).ok(),
        _ => None,
    })
    .unwrap_or(usize::MAX)
}

/// The identifier in a SUBSCRIBE; 0 for none.
pub(crate) fn subscription_id(properties: &Properties<'_>) -> u32 {
    subscription_ids(properties).first().copied().unwrap_or(0)
}

/// The identifiers in a PUBLISH, sorted.
pub(crate) fn subscription_ids(properties: &Properties<'_>) -> Vec<u32> {
    let mut ids: Vec<u32> = properties
        .iter()
        .filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids
}

/// A client's end of a connection: its bytes become packets.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: usize,
    pub(crate) version: Version,
    pub(crate) protocol: Connection,
    /// What has been read and is not a whole packet.
    pub(crate) buffer: Vec<u8>,
    /// The broker has sent DISCONNECT.
    pub(crate) dismissed: bool,
}

impl Wire {
    pub(crate) const fn new(link: usize, version: Version, packet_size_max: u32) -> Self {
        let mut protocol = Connection::client(version, false);
        protocol.set_packet_size_max(packet_size_max);
        Self {
            link,
            version,
            protocol,
            buffer: Vec::new(),
            dismissed: false,
        }
    }

    /// The first packet of `bytes`, judged as strictly as the standard allows, and its length.
    pub(crate) fn packet<'a>(&self, bytes: &'a [u8]) -> Checked<Option<(Packet<'a>, usize)>> {
        let header = match Header::peek(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => return broken("packets are well-formed", error.to_string()),
        };
        if self.dismissed {
            return broken("nothing after DISCONNECT", format!("{header:?}"));
        }
        let admitted = self.protocol.admit(&header);
        let Some(body) = header.body(bytes) else {
            return Ok(None);
        };
        let packet = admitted.and_then(|kind| self.protocol.decode(kind, &header, body));
        match packet {
            Ok(packet) => Ok(Some((packet, header.packet_length()))),
            Err(fault) => broken(
                "packets are well-formed",
                format!("link {}: {fault} ({bytes:02x?})", self.link),
            ),
        }
    }
}
