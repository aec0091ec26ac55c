use std::vec;
use std::vec::Vec;

use super::*;
use crate::Reader;

fn check(put: impl Fn(&mut dyn FnMut(&[u8])), expected: &[u8]) {
    let mut seen = Vec::new();
    put(&mut |bytes| seen.extend_from_slice(bytes));
    assert_eq!(seen, expected);
}

/// Writes through the trait's own methods alone, none of them overridden.
struct Plain<'a>(&'a mut dyn FnMut(&[u8]));

impl Sink for Plain<'_> {
    type Counter = LengthCounter;

    fn put(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }
}

#[test]
fn integers_are_big_endian_and_strings_have_their_length() {
    check(|put| Plain(put).put_u8(7), &[7]);
    check(|put| Plain(put).put_u16(0x0102), &[1, 2]);
    check(|put| Plain(put).put_u32(0x0102_0304), &[1, 2, 3, 4]);
    check(|put| Plain(put).put_binary(&[9, 8]), &[0, 2, 9, 8]);
    check(|put| Plain(put).put_string("ä"), &[0, 2, 0xC3, 0xA4]);
    check(|put| Plain(put).put_string(""), &[0, 0]);
}

/// `[MQTT5-1.5.5-1]`: the minimum number of bytes.
#[test]
fn a_variable_int_is_written_in_its_shortest_form() {
    for (value, length) in [
        (0, 1),
        (1, 1),
        (127, 1),
        (128, 2),
        (16_383, 2),
        (16_384, 3),
        (2_097_151, 3),
        (2_097_152, 4),
        (crate::REMAINING_LENGTH_MAX, 4),
    ] {
        let mut bytes = Vec::new();
        bytes.put_variable_int(value);
        assert_eq!(bytes.len(), length, "{value}");
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.variable_int(), Ok(value));
        assert!(reader.is_empty());
    }
}

#[test]
fn the_counter_refuses_what_has_no_length_on_the_wire() {
    let count = |put: &dyn Fn(&mut LengthCounter)| {
        let mut counter = LengthCounter::default();
        put(&mut counter);
        counter.count()
    };
    let long = vec![b'a'; 65_536];
    assert_eq!(count(&|sink| sink.put_binary(&long[1..])), Ok(65_537));
    let refused = count(&|sink| sink.put_binary(&long));
    assert_eq!(refused, Err(EncodeError::FieldTooLong));
    let refused = count(&|sink| sink.put_variable_int(crate::REMAINING_LENGTH_MAX + 1));
    assert_eq!(refused, Err(EncodeError::PacketTooLong));
    let first_of_two = count(&|sink| {
        sink.put_binary(&long);
        sink.put_variable_int(u32::MAX);
    });
    assert_eq!(first_of_two, Err(EncodeError::FieldTooLong));
}

#[test]
fn a_slice_that_is_too_small_is_reported_and_never_overrun() {
    for space in 0..6 {
        let mut buffer = [0xEE; 8];
        let mut sink = SliceSink::new(&mut buffer[..space]);
        sink.put(&[1, 2, 3]);
        sink.put(&[4, 5, 6]);
        // What would fit again is not written behind a gap.
        sink.put(&[]);
        assert_eq!(sink.finish(), Err(EncodeError::BufferTooSmall));
        assert!(buffer[space..].iter().all(|byte| *byte == 0xEE));
    }
    let mut buffer = [0; 6];
    let mut sink = SliceSink::new(&mut buffer);
    sink.put(&[1, 2, 3]);
    sink.put(&[4, 5, 6]);
    assert_eq!(sink.finish(), Ok(6));
    assert_eq!(buffer, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn nothing_is_written_after_a_slice_overflowed() {
    let mut buffer = [0; 4];
    let mut sink = SliceSink::new(&mut buffer);
    sink.put(&[1, 2, 3]);
    sink.put(&[4, 5]);
    sink.put(&[6]);
    assert_eq!(sink.finish(), Err(EncodeError::BufferTooSmall));
    assert_eq!(buffer, [1, 2, 3, 0]);
}
