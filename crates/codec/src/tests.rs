//! What the tests of all packets share: one check that goes both ways, and packets put together.

use std::vec;
use std::vec::Vec;

use crate::{DecodeError, Header, Packet, ReasonCode, SliceSink, Version};

/// The versions before 5.0.
pub(crate) const V3: [Version; 2] = [Version::V3_1, Version::V3_1_1];

/// Puts a fixed header before the joined `parts` of a body.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![first];
    crate::Sink::put_variable_int(&mut bytes, u32::try_from(body.len()).unwrap());
    bytes.extend_from_slice(&body);
    bytes
}

/// A string with its length.
pub(crate) fn text(value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::Sink::put_string(&mut bytes, value);
    bytes
}

/// A property section with its length.
pub(crate) fn section(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::Sink::put_variable_int(&mut bytes, u32::try_from(content.len()).unwrap());
    bytes.extend_from_slice(content);
    bytes
}

/// Reads `bytes` as one whole packet.
pub(crate) fn read(version: Version, bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let (packet, length) = Packet::read(bytes, version)?.expect("the packet is whole");
    assert_eq!(length, bytes.len(), "{bytes:02x?} is one packet");
    Ok(packet)
}

/// Writes `packet` in both ways of writing, which must agree.
pub(crate) fn write(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    let mut space = vec![0; bytes.len()];
    let mut sink = SliceSink::new(&mut space);
    packet.encode(version, &mut sink).unwrap();
    assert_eq!(sink.finish(), Ok(bytes.len()));
    assert_eq!(space, bytes);
    bytes
}

/// `bytes` read as `expected`, and `expected` is written as `bytes`; no beginning of them is a packet.
pub(crate) fn check(version: Version, bytes: &[u8], expected: Result<Packet<'_>, DecodeError>) {
    assert_eq!(read(version, bytes), expected, "{version:?} {bytes:02x?}");
    if let Ok(packet) = expected {
        assert_eq!(write(version, &packet), bytes, "{version:?} {packet:?}");
    }
    for end in 0..bytes.len() {
        let part = Packet::read(&bytes[..end], version);
        assert_eq!(part, Ok(None), "{version:?} {:02x?}", &bytes[..end]);
    }
}

/// `bytes` are a longer form of `packet` than the one that is written.
pub(crate) fn check_long_form(version: Version, bytes: &[u8], packet: Packet<'_>) {
    assert_eq!(read(version, bytes), Ok(packet), "{version:?} {bytes:02x?}");
    let shortest = write(version, &packet);
    assert!(shortest.len() < bytes.len(), "{version:?} {bytes:02x?}");
    assert_eq!(read(version, &shortest), Ok(packet));
}

/// Cuts the body of a valid packet at every byte, with a Remaining Length to fit, and lists the
/// lengths at which it is a packet all the same.
pub(crate) fn whole_at(version: Version, bytes: &[u8]) -> Vec<usize> {
    let header = Header::peek(bytes).unwrap().unwrap();
    let body = header.body(bytes).unwrap();
    (0..=body.len())
        .filter(|end| Packet::decode(header.first, version, &body[..*end]).is_ok())
        .collect()
}

/// The reason codes for which `decodes` is true.
pub(crate) fn codes(decodes: impl Fn(u8) -> bool) -> Vec<u8> {
    (0..=u8::MAX).filter(|code| decodes(*code)).collect()
}

/// Bytes behind the last field of a packet are refused.
pub(crate) fn check_no_more(version: Version, bytes: &[u8]) {
    let header = Header::peek(bytes).unwrap().unwrap();
    let longer = packet(header.first, &[header.body(bytes).unwrap(), &[0]]);
    assert_eq!(
        read(version, &longer),
        Err(DecodeError::TrailingBytes),
        "{version:?} {longer:02x?}"
    );
}

#[test]
fn a_packet_of_every_kind_is_told_by_its_first_byte() {
    for version in Version::ALL {
        let empty = |kind: u8| Packet::decode(kind << 4, version, &[]);
        assert_eq!(empty(0), Err(DecodeError::PacketType));
        assert_eq!(empty(12), Ok(Packet::PingReq));
        assert_eq!(empty(13), Ok(Packet::PingResp));
    }
    assert_eq!(ReasonCode::default(), ReasonCode::SUCCESS);
}
