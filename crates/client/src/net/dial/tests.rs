use super::*;

#[test]
fn addresses_of_both_families_take_turns() {
    let of = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    assert_eq!(
        interleave(of(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"])),
        of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
    );
    assert_eq!(
        interleave(of(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])),
        of(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])
    );
}
