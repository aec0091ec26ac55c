//! What holds for all packets and all bytes, tried on random ones.

use midge_codec::{DecodeError, EncodeError, Header, Packet, SliceSink, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::owned::OwnedPacket;

mod owned;
mod strategies;

/// The packet's bytes.
fn write(packet: &OwnedPacket) -> Result<Vec<u8>, EncodeError> {
    packet.with(|packet_ref| {
        let mut bytes = Vec::new();
        packet_ref.encode(packet.version, &mut bytes)?;
        Ok(bytes)
    })
}

/// Reading needs no more than the bytes: it ends, without a panic, in one of three ways.
fn read_in_every_version(bytes: &[u8]) {
    for version in Version::ALL {
        if let Ok(Some((packet, length))) = Packet::read(bytes, version) {
            assert!(length <= bytes.len());
            let mut written = Vec::new();
            assert_eq!(packet.encode(version, &mut written), Ok(()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_packet_is_read_as_it_was_written(packet in strategies::packet()) {
        let bytes = write(&packet)?;
        packet.with(|sent| {
            let received = Packet::read(&bytes, packet.version);
            prop_assert_eq!(received, Ok(Some((*sent, bytes.len()))));
            Ok(())
        })?;
    }

    #[test]
    fn what_was_read_is_written_with_the_same_bytes(packet in strategies::packet()) {
        let bytes = write(&packet)?;
        let received = Packet::read(&bytes, packet.version)?.map(|(received, _)| received);
        let mut again = Vec::new();
        if let Some(received) = received {
            received.encode(packet.version, &mut again)?;
        }
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn the_length_written_is_the_length_counted(packet in strategies::packet()) {
        let bytes = write(&packet)?;
        let header = Header::peek(&bytes)?;
        prop_assert_eq!(header.map(|header| header.packet_length()), Some(bytes.len()));
        packet.with(|sent| {
            if let Packet::Publish(publish) = sent {
                prop_assert_eq!(publish.packet_length(packet.version), Ok(bytes.len()));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_slice_takes_the_same_bytes_or_says_that_it_is_too_small(
        packet in strategies::packet(),
        space in any::<Index>(),
    ) {
        let bytes = write(&packet)?;
        let write_into = |buffer: &mut [u8]| {
            packet.with(|sent| {
                let mut sink = SliceSink::new(buffer);
                sent.encode(packet.version, &mut sink)?;
                sink.finish()
            })
        };
        let mut larger = vec![0xEE; bytes.len() + 1];
        prop_assert_eq!(write_into(&mut larger), Ok(bytes.len()));
        prop_assert_eq!(&larger[..bytes.len()], &bytes);
        prop_assert_eq!(larger[bytes.len()], 0xEE);
        let mut smaller = vec![0; space.index(bytes.len())];
        prop_assert_eq!(write_into(&mut smaller), Err(EncodeError::BufferTooSmall));
    }

    #[test]
    fn a_beginning_of_a_packet_is_awaited(packet in strategies::packet(), end in any::<Index>()) {
        let bytes = write(&packet)?;
        let part = &bytes[..end.index(bytes.len())];
        prop_assert_eq!(Packet::read(part, packet.version), Ok(None));
    }

    #[test]
    fn what_follows_a_packet_does_not_change_it(
        packet in strategies::packet(),
        next in vec(any::<u8>(), 0..20),
    ) {
        let bytes = write(&packet)?;
        let stream = [&bytes[..], &next].concat();
        let alone = Packet::read(&bytes, packet.version);
        prop_assert_eq!(Packet::read(&stream, packet.version), alone);
    }

    #[test]
    fn a_changed_byte_makes_another_packet_or_an_error(
        packet in strategies::packet(),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = write(&packet)?;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_in_every_version(&bytes);
    }

    #[test]
    fn a_packet_cut_out_and_joined_never_panics(
        packet in strategies::packet(),
        (from, to) in any::<(Index, Index)>(),
    ) {
        let bytes = write(&packet)?;
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let joined = [&bytes[..from.min(to)], &bytes[from.max(to)..]].concat();
        read_in_every_version(&joined);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..80)) {
        read_in_every_version(&bytes);
    }

    #[test]
    fn an_arbitrary_body_of_any_kind_never_panics(
        first in any::<u8>(),
        body in vec(prop_oneof![any::<u8>(), 0..8_u8, Just(0x26), Just(b'a')], 0..80),
        version in strategies::version(),
    ) {
        match Packet::decode(first, version, &body) {
            Ok(packet) => {
                let mut written = Vec::new();
                prop_assert_eq!(packet.encode(version, &mut written), Ok(()));
            }
            Err(DecodeError::RemainingLength) => prop_assert!(false, "there is no header"),
            Err(error) => prop_assert!(error.reason().is_failure()),
        }
    }
}
