use super::*;

#[test]
fn the_end_is_found_wherever_the_parts_are_cut() {
    for (text, end) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\nrest", 27),
        ("GET / HTTP/1.1\nHost: x\n\nrest", 24),
        ("GET / HTTP/1.1\nHost: x\n\r\nrest", 25),
        ("\r\n\r\n\r\n", 4),
    ] {
        for cut in 0..text.len() {
            let mut head = Head::default();
            let (first, second) = text.as_bytes().split_at(cut);
            let mut consumed = head.take(first, 100).unwrap();
            if consumed.is_none() {
                consumed = head.take(second, 100).unwrap().map(|more| cut + more);
            }
            assert_eq!(consumed, Some(end), "{text:?} cut at {cut}");
            assert_eq!(head.bytes(), &text.as_bytes()[..end]);
        }
    }
}

#[test]
fn no_more_is_kept_than_allowed() {
    let mut head = Head::default();
    assert_eq!(head.take(&[b'x'; 30], 64), Ok(None));
    assert_eq!(head.take(&[b'x'; 1000], 64), Err(TooLong));
    assert_eq!(head.bytes().len(), 64);
}

#[test]
fn a_head_may_be_as_long_as_allowed() {
    let text = b"GET / HTTP/1.1\r\n\r\n";
    assert_eq!(Head::default().take(text, text.len()), Ok(Some(text.len())));
    assert_eq!(Head::default().take(text, text.len() - 1), Err(TooLong));
}
