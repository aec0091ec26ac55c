use super::*;

fn check(payload: &[u8], expected: Result<(Option<u16>, &str), Violation>) {
    let close = Close::read(payload);
    let seen = close
        .as_ref()
        .map(|close| (close.code.map(CloseCode::number), &*close.reason))
        .map_err(|violation| *violation);
    assert_eq!(seen, expected);
}

#[test]
fn a_close_frame_has_nothing_or_a_code_and_a_reason() {
    check(b"", Ok((None, "")));
    check(b"\x03\xE8", Ok((Some(1000), "")));
    check(b"\x03\xE9bye", Ok((Some(1001), "bye")));
    check(b"\x03", Err(Violation::CloseLength));
    check(b"\x03\xE8\xFF", Err(Violation::CloseReason));
}

#[test]
fn codes_that_may_not_be_sent_are_refused() {
    for number in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        check(&u16::to_be_bytes(number), Err(Violation::CloseCode(number)));
    }
    for number in [1003, 1007, 1014, 3000, 4999] {
        check(&u16::to_be_bytes(number), Ok((Some(number), "")));
    }
}

#[test]
fn what_a_peer_says_cannot_forge_a_log_line() {
    let close = Close::read(b"\x03\xE8bye\nroot logged in").unwrap();
    assert_eq!(
        close.to_string(),
        "closed with code 1000: bye\\nroot logged in"
    );
}
