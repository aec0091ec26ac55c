//! As much of MQTT's bytes as a relay has to understand.

/// A packet at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// Type and flags.
    pub(crate) first: u8,
    /// Header and body.
    pub(crate) whole: &'a [u8],
    /// What follows the fixed header.
    pub(crate) body: &'a [u8],
}

/// What the bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut<'a> {
    Packet(Packet<'a>),
    /// The packet's end has not come.
    Partial,
    /// No packet begins like this, or it is larger than [`PACKET_MAX`].
    Malformed,
}

/// Largest packet that is relayed, in bytes.
pub(crate) const PACKET_MAX: usize = 1024 * 1024 + 1024;

/// Cuts the first packet off `bytes`.
pub(crate) fn cut(bytes: &[u8]) -> Cut<'_> {
    let Some((first, rest)) = bytes.split_first() else {
        return Cut::Partial;
    };
    let (length, rest) = match variable(rest) {
        Variable::Value(length, rest) => (length, rest),
        Variable::Partial => return Cut::Partial,
        Variable::Malformed => return Cut::Malformed,
    };
    let total = bytes.len() - rest.len() + length;
    if total > PACKET_MAX {
        return Cut::Malformed;
    }
    match (bytes.get(..total), rest.get(..length)) {
        (Some(whole), Some(body)) => Cut::Packet(Packet {
            first: *first,
            whole,
            body,
        }),
        _ => Cut::Partial,
    }
}

enum Variable<'a> {
    Value(usize, &'a [u8]),
    Partial,
    Malformed,
}

/// Reads a variable byte integer.
fn variable(bytes: &[u8]) -> Variable<'_> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Variable::Value(value, bytes.get(index + 1..).unwrap_or_default());
        }
    }
    if bytes.len() < 4 {
        Variable::Partial
    } else {
        Variable::Malformed
    }
}

/// Splits a field with a length of two bytes off `bytes`.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Whether a CONNECT asks for 5.0, which answers with properties.
pub(crate) fn connect_is_v5(body: &[u8]) -> Option<bool> {
    let (_, rest) = field(body)?;
    Some(*rest.first()? == 5)
}

/// What counts of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a [u8],
    /// The packet id with QoS 1, and where it stands in the whole packet.
    pub(crate) id: Option<([u8; 2], usize)>,
}

/// Reads a PUBLISH of QoS 0 or 1.
#[inline]
pub(crate) fn publish<'a>(packet: &Packet<'a>) -> Option<Publish<'a>> {
    let (topic, rest) = field(packet.body)?;
    let id = match packet.first & 0x06 {
        0x00 => None,
        0x02 => Some((*rest.first_chunk()?, packet.whole.len() - rest.len())),
        _ => return None,
    };
    Some(Publish { topic, id })
}

/// A SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscribe<'a> {
    pub(crate) id: [u8; 2],
    filters: &'a [u8],
}

/// Reads a SUBSCRIBE.
pub(crate) fn subscribe(body: &[u8], is_v5: bool) -> Option<Subscribe<'_>> {
    let (id, mut filters) = body.split_first_chunk()?;
    if is_v5 {
        let Variable::Value(length, properties) = variable(filters) else {
            return None;
        };
        filters = properties.get(length..)?;
    }
    Some(Subscribe { id: *id, filters })
}

impl<'a> Subscribe<'a> {
    /// The filters, with the QoS that each asks for.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (&'a [u8], u8)> {
        let mut rest = self.filters;
        std::iter::from_fn(move || {
            let (filter, behind) = field(rest)?;
            let (options, behind) = behind.split_first()?;
            rest = behind;
            Some((filter, options & 3))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_cut_when_its_last_byte_is_there() {
        let bytes = [0xC0, 0, 0x30, 3, 0, 1, b'a'];
        let Cut::Packet(ping) = cut(&bytes) else {
            panic!("no packet");
        };
        assert_eq!((ping.whole, ping.body), (&bytes[..2], &[][..]));
        assert_eq!(cut(&bytes[2..6]), Cut::Partial);
        let Cut::Packet(message) = cut(&bytes[2..]) else {
            panic!("no packet");
        };
        let expected = Publish {
            topic: b"a",
            id: None,
        };
        assert_eq!(publish(&message), Some(expected));
    }

    #[test]
    fn lengths_that_cannot_be_are_malformed() {
        assert_eq!(cut(&[0x30, 0xFF, 0xFF, 0xFF]), Cut::Partial);
        assert_eq!(cut(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Cut::Malformed);
        assert_eq!(cut(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]), Cut::Malformed);
    }

    #[test]
    fn the_packet_id_is_found_behind_the_topic() {
        let bytes = [0x32, 6, 0, 1, b'a', 7, 8, b'x'];
        let Cut::Packet(packet) = cut(&bytes) else {
            panic!("no packet");
        };
        assert_eq!(publish(&packet).unwrap().id, Some(([7, 8], 5)));
        let exactly_once = Packet {
            first: 0x34,
            ..packet
        };
        assert_eq!(publish(&exactly_once), None);
    }

    #[test]
    fn filters_are_read_in_both_versions() {
        let v3 = [0, 9, 0, 1, b'a', 1, 0, 2, b'b', b'c', 0];
        let packet = subscribe(&v3, false).unwrap();
        let filters: Vec<_> = packet.filters().collect();
        assert_eq!(packet.id, [0, 9]);
        assert_eq!(filters, [(&b"a"[..], 1), (&b"bc"[..], 0)]);
        let v5 = [0, 9, 2, 11, 1, 0, 1, b'a', 0x2D];
        let packet = subscribe(&v5, true).unwrap();
        assert_eq!(packet.filters().collect::<Vec<_>>(), [(&b"a"[..], 1)]);
    }

    #[test]
    fn cut_off_bodies_are_refused() {
        let publish_body = Packet {
            first: 0x30,
            whole: &[0x30, 2, 0, 9],
            body: &[0, 9],
        };
        assert_eq!(publish(&publish_body), None);
        assert!(subscribe(&[0], false).is_none());
        assert!(subscribe(&[0, 1, 9], true).is_none());
        assert_eq!(connect_is_v5(&[0, 4, b'M']), None);
    }
}
