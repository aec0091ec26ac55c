use super::*;

const HEADER: SegmentHeader = SegmentHeader {
    generation: 0x0102_0304_0506_0708,
    salt: 0x1112_1314_1516_1718,
    first: 0x21,
    batch_start: 0x20,
    checkpoint: Some(Checkpoint {
        generation: 0x31,
        offset: 0x32,
        begin: 0x33,
        end: 0x34,
    }),
};

/// A change of these bytes is a change of the format, and needs a new version.
#[test]
fn a_segment_header_has_the_bytes_that_the_format_says() {
    let bytes = HEADER.encode();
    let mut expected = b"MIDGELOG\x01\0\0\0".to_vec();
    expected.extend(crc32c(&expected).to_le_bytes());
    for field in [
        HEADER.generation,
        HEADER.salt,
        0x21,
        0x20,
        0x31,
        0x32,
        0x33,
        0x34,
    ] {
        expected.extend(u64::to_le_bytes(field));
    }
    expected.extend(crc32c(&expected).to_le_bytes());
    assert_eq!(bytes[..], expected);
    assert_eq!(SegmentHeader::decode(&bytes), HeaderCopy::Valid(HEADER));
}

#[test]
fn a_record_header_has_the_bytes_that_the_format_says() {
    let header = RecordHeader {
        payload_crc: 0x0102_0304,
        sequence: 1000,
        length: 77,
        synced: 990,
        kind: 5,
        class: Class::CheckpointEnd,
        last_of_batch: true,
        moved: false,
    };
    let seed = HEADER.seed();
    let bytes = header.encode(seed, 8192);
    let mut covered = Vec::new();
    covered.extend(8192_u32.to_le_bytes());
    covered.extend([4, 3, 2, 1]);
    covered.extend(1000_u64.to_le_bytes());
    covered.extend(77_u32.to_le_bytes());
    covered.extend(10_u32.to_le_bytes());
    covered.extend([5, 0x21, 0, 0]);
    let mut salted = HEADER.salt.to_le_bytes().to_vec();
    salted.extend(HEADER.generation.to_le_bytes());
    salted.extend(&covered);
    assert_eq!(bytes[..4], crc32c(&salted).to_le_bytes());
    assert_eq!(bytes[4..], covered[4..]);
    assert_eq!(RecordHeader::decode(&bytes, seed, 8192), Some(header));
}

#[test]
fn a_record_is_none_at_another_offset_or_in_another_segment() {
    let header = RecordHeader {
        payload_crc: 0,
        sequence: 1,
        length: 0,
        synced: 0,
        kind: 0,
        class: Class::Owner,
        last_of_batch: true,
        moved: true,
    };
    let seed = HEADER.seed();
    let bytes = header.encode(seed, 8192);
    assert_eq!(RecordHeader::decode(&bytes, seed, 8196), None);
    let other = SegmentHeader { salt: 1, ..HEADER };
    assert_eq!(RecordHeader::decode(&bytes, other.seed(), 8192), None);
    assert_eq!(RecordHeader::decode(&bytes[..27], seed, 8192), None);
}

#[test]
fn no_bytes_make_decoding_panic_and_every_flipped_bit_of_a_header_shows() {
    let bytes = HEADER.encode();
    for length in 0..bytes.len() {
        let decoded = SegmentHeader::decode(&bytes[..length]);
        assert!(!matches!(decoded, HeaderCopy::Valid(_)), "{length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            SegmentHeader::decode(&damaged),
            HeaderCopy::Damaged,
            "{bit}"
        );
    }
    assert_eq!(
        SegmentHeader::decode(&[0; SEGMENT_HEADER]),
        HeaderCopy::Blank
    );
    assert_eq!(SegmentHeader::decode(&[]), HeaderCopy::Blank);
}

#[test]
fn a_position_survives_its_bytes() {
    let position = Position {
        segment: u64::MAX - 1,
        offset: 8192,
        length: 77,
    };
    assert_eq!(Position::from_bytes(position.to_bytes()), position);
    let checkpoint = decode_begin(&encode_begin(position, 9), 12).unwrap();
    assert_eq!(checkpoint.generation, position.segment);
    assert_eq!(
        (checkpoint.offset, checkpoint.begin, checkpoint.end),
        (8192, 9, 12)
    );
    assert_eq!(decode_begin(&[0; 23], 1), None);
    assert_eq!(decode_begin(&[0; 25], 1), None);
}
