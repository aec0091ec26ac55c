//! Looks at strings eight bytes at a time: every topic of every message passes here.

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7F * ONES;
const HIGH: u64 = 0x80 * ONES;

/// The bytes as words; the last one is filled up with a letter, which nothing here looks for.
#[inline]
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let last = (!rest.is_empty()).then(|| {
        let mut filled = [b'a'; 8];
        for (to, from) in filled.iter_mut().zip(rest) {
            *to = *from;
        }
        filled
    });
    chunks.iter().copied().chain(last).map(u64::from_le_bytes)
}

/// The top bit of each byte that equals `wanted`.
#[inline]
const fn equal(word: u64, wanted: u8) -> u64 {
    let differs = word ^ (ONES * wanted as u64);
    !(((differs & LOW) + LOW) | differs | LOW)
}

/// Whether all bytes are printable ASCII.
#[inline]
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let other = words(bytes).fold(0, |other, word| {
        let low = word & LOW;
        let is_control = !(low + 0x60 * ONES);
        let is_delete = low + ONES;
        other | word | is_control | is_delete
    });
    other & HIGH == 0
}

/// Whether all bytes are printable ASCII and none is `+` or `#`: what nearly every topic name is.
#[inline]
pub(crate) fn is_plain_name(bytes: &[u8]) -> bool {
    let other = words(bytes).fold(0, |other, word| {
        let low = word & LOW;
        let is_control = !(low + 0x60 * ONES);
        let is_delete = low + ONES;
        let is_wildcard = equal(word, b'+') | equal(word, b'#');
        other | word | is_control | is_delete | is_wildcard
    });
    other & HIGH == 0
}

/// Whether any byte is `+` or `#`.
#[inline]
pub(crate) fn has_wildcard(bytes: &[u8]) -> bool {
    words(bytes).fold(0, |found, word| {
        found | equal(word, b'+') | equal(word, b'#')
    }) != 0
}

/// How many bytes are `/`.
#[inline]
pub(crate) fn slashes(bytes: &[u8]) -> usize {
    words(bytes)
        .map(|word| equal(word, b'/').count_ones() as usize)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            0x1E_u8..0x30,
            Just(0x7E),
            Just(0x7F),
            Just(0x80)
        ];
        proptest::collection::vec(byte, 0..40)
    }

    proptest! {
        #[test]
        fn words_find_what_single_bytes_find(bytes in bytes()) {
            let plain = bytes.iter().all(|byte| (0x20..0x7F).contains(byte));
            prop_assert_eq!(is_plain(&bytes), plain);
            let wild = bytes.iter().any(|byte| matches!(byte, b'+' | b'#'));
            prop_assert_eq!(is_plain_name(&bytes), plain && !wild);
            prop_assert_eq!(has_wildcard(&bytes), wild);
            prop_assert_eq!(slashes(&bytes), bytes.iter().filter(|byte| **byte == b'/').count());
        }
    }
}
