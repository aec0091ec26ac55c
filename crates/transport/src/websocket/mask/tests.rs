use std::collections::HashSet;

use super::*;

#[test]
fn masking_in_any_parts_is_masking_byte_by_byte() {
    let key = [0x11, 0x22, 0x33, 0x44];
    let expected: Vec<u8> = (0..40_u8)
        .map(|index| index ^ key[usize::from(index) % 4])
        .collect();
    for first in 0..40 {
        for second in first..40 {
            let mut bytes: Vec<u8> = (0..40).collect();
            let mut mask = Mask::new(key);
            mask.apply(&mut bytes[..first]);
            mask.apply(&mut bytes[first..second]);
            mask.apply(&mut bytes[second..]);
            assert_eq!(bytes, expected, "{first} {second}");
        }
    }
}

#[test]
fn keys_do_not_repeat_and_depend_on_the_seed() {
    let mut keys = Keys::new([7; 16]);
    let first: Vec<[u8; 4]> = (0..1000).map(|_| keys.next()).collect();
    let different: HashSet<_> = first.iter().collect();
    assert!(different.len() >= 999, "{}", different.len());
    let mut same = Keys::new([7; 16]);
    assert!(first.iter().all(|key| *key == same.next()));
    let mut other = Keys::new([8; 16]);
    assert_ne!(first[0], other.next());
}
