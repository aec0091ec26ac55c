//! Any bytes are read as a packet or refused, and what was read survives being written.

use midge_codec::{
    Connect, DecodeError, Header, Packet, PacketType, Properties, ReasonCode, SliceSink, Version,
};

/// Takes the version from the first byte of `input` and a packet from the others.
///
/// # Panics
/// When the codec breaks a promise.
pub fn check(input: &[u8]) {
    let Some((version, bytes)) = split(input) else {
        return;
    };
    match Packet::read(bytes, version) {
        Ok(Some((packet, length))) => check_packet(version, bytes, &packet, length),
        Ok(None) => check_unfinished(bytes),
        Err(error) => check_error(bytes, error),
    }
}

/// The version and the bytes of the packet.
pub fn split(input: &[u8]) -> Option<(Version, &[u8])> {
    let (selector, bytes) = input.split_first()?;
    let version = match selector % 3 {
        0 => Version::V3_1,
        1 => Version::V3_1_1,
        _ => Version::V5,
    };
    Some((version, bytes))
}

fn check_packet(version: Version, bytes: &[u8], packet: &Packet<'_>, length: usize) {
    let header = Header::peek(bytes).ok().flatten();
    assert_eq!(header.map(|header| header.packet_length()), Some(length));
    let kind = header.and_then(|header| header.packet_type());
    assert_eq!(kind, Some(packet.packet_type()));
    assert_eq!(
        bytes
            .get(..length - 1)
            .map(|part| Packet::read(part, version)),
        Some(Ok(None)),
        "a packet without its last byte is awaited"
    );
    walk_properties(packet);

    let mut written = Vec::new();
    let result = packet.encode(version, &mut written);
    assert_eq!(result, Ok(()), "what was read can be written");
    // An AUTH may arrive without the length of its properties, but is not sent so.
    let longest = length + usize::from(matches!(packet, Packet::Auth(_)));
    assert!(written.len() <= longest, "the shortest form is written");
    let again = Packet::read(&written, version);
    assert_eq!(
        again,
        Ok(Some((expected_again(version, *packet), written.len())))
    );
    if let Packet::Publish(publish) = packet {
        assert_eq!(publish.packet_length(version), Ok(written.len()));
    }

    check_slice(version, packet, &written);
}

/// The packet as it is read the second time: return codes that 3.x does not know are written as
/// not authorised, and all others stay what they are.
fn expected_again(version: Version, packet: Packet<'_>) -> Packet<'_> {
    match packet {
        Packet::ConnAck(mut connack)
            if !version.has_properties() && connack.reason == ReasonCode::UNSPECIFIED_ERROR =>
        {
            connack.reason = ReasonCode::NOT_AUTHORIZED;
            Packet::ConnAck(connack)
        }
        other => other,
    }
}

/// A slice takes the same bytes as a vector, or says that it is too small.
fn check_slice(version: Version, packet: &Packet<'_>, written: &[u8]) {
    let mut space = vec![0; written.len()];
    let mut sink = SliceSink::new(&mut space);
    assert_eq!(packet.encode(version, &mut sink), Ok(()));
    assert_eq!(sink.finish(), Ok(written.len()));
    assert_eq!(space, written);
    space.pop();
    let mut sink = SliceSink::new(&mut space);
    assert_eq!(packet.encode(version, &mut sink), Ok(()));
    assert!(sink.finish().is_err(), "a byte is missing");
}

/// The items of a checked section are its bytes, none lost.
fn walk_properties(packet: &Packet<'_>) {
    let mut sections = [Properties::NONE; 2];
    match packet {
        Packet::Connect(connect) => {
            sections = [
                connect.properties,
                connect
                    .will
                    .map_or(Properties::NONE, |will| will.properties),
            ];
        }
        Packet::ConnAck(connack) => sections[0] = connack.properties,
        Packet::Publish(publish) => sections[0] = publish.properties,
        Packet::Ack(_, ack) => sections[0] = ack.properties,
        Packet::Subscribe(subscribe) => sections[0] = subscribe.properties,
        Packet::SubAck(suback) => sections[0] = suback.properties,
        Packet::Unsubscribe(unsubscribe) => sections[0] = unsubscribe.properties,
        Packet::UnsubAck(unsuback) => sections[0] = unsuback.properties,
        Packet::Disconnect(disconnect) => sections[0] = disconnect.properties,
        Packet::Auth(auth) => sections[0] = auth.properties,
        Packet::PingReq | Packet::PingResp => {}
    }
    for section in sections {
        let joined: Vec<u8> = section
            .items()
            .flat_map(|(_, bytes)| bytes.to_vec())
            .collect();
        assert_eq!(joined, section.encoded());
        assert_eq!(section.items().count(), section.iter().count());
    }
}

/// Only what has not arrived whole is awaited.
fn check_unfinished(bytes: &[u8]) {
    let header = Header::peek(bytes);
    assert!(header.is_ok(), "a fault of the header is not overlooked");
    match header.ok().flatten() {
        Some(header) => assert!(header.packet_length() > bytes.len()),
        None => assert!(bytes.len() < 5),
    }
}

/// A fault has a reason to answer with and words to log.
fn check_error(bytes: &[u8], error: DecodeError) {
    assert!(error.reason().is_failure());
    assert!(!error.to_string().is_empty());
    if let Ok(Some(header)) = Header::peek(bytes)
        && header.packet_type() == Some(PacketType::Connect)
    {
        assert_eq!(error, DecodeError::Connect);
        let fault = header
            .body(bytes)
            .map(|body| Connect::decode(header.first, body));
        let why = fault.and_then(Result::err).map(|fault| fault.why());
        assert!(why.is_some_and(|why| !why.is_empty()));
    }
}
