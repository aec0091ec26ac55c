use super::*;

#[test]
fn what_is_missing_is_the_rest_of_the_last_record_or_its_header() {
    for (held, expected) in [
        (&[][..], 5),
        (&[22, 3], 3),
        (&[22, 3, 3, 0, 2], 2),
        (&[22, 3, 3, 0, 2, 9], 1),
        (&[22, 3, 3, 0, 2, 9, 9], 5),
        (&[22, 3, 3, 0, 0, 23, 3, 3, 1, 0, 7], 255),
    ] {
        assert_eq!(missing_bytes(held), expected, "{held:?}");
    }
}

#[test]
fn a_connection_may_move_to_another_thread_and_is_small_by_itself() {
    const fn moves<T: Send + 'static>() {}
    moves::<Tls>();
    assert!(size_of::<Tls>() <= 64, "{}", size_of::<Tls>());
}
