use super::*;
use crate::config::options::find;

fn args(name: &str, rest: &'static str) -> Args<'static> {
    Args::new(find(name).expect("a known option"), rest)
}

#[test]
fn numbers_are_read_as_strtol_reads_them() {
    let check = |word, expected| assert_eq!(parse_number(word), expected, "{word}");
    check("0", Ok(0));
    check("1883", Ok(1883));
    check("-1", Ok(-1));
    check("+7", Ok(7));
    check("0x75B", Ok(1883));
    check("0X10", Ok(16));
    check("-0x10", Ok(-16));
    check("010", Ok(8));
    check("00", Ok(0));
    check("9223372036854775807", Ok(i64::MAX));
    check("-9223372036854775808", Ok(i64::MIN));
    check("9223372036854775808", Err(NumberFault::Range));
    check("99999999999999999999999999999999", Err(NumberFault::Range));
    for word in [
        "", "-", "+", "0x", "08", "12a", "1.5", "1e3", "--1", "+-1", "- 1", "٣",
    ] {
        check(word, Err(NumberFault::Digits));
    }
}

#[test]
fn a_flag_is_one_of_four_words() {
    for (word, expected) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(args("retain_available", word).flag(), Ok(expected));
    }
    for word in ["TRUE", "yes", "on", "2", "truefalse"] {
        assert!(args("retain_available", word).flag().is_err(), "{word}");
    }
}

#[test]
fn a_limit_of_nothing_is_no_limit() {
    let limit = |rest| args("max_queued_messages", rest).limit::<std::num::NonZeroU32>();
    assert_eq!(limit("0"), Ok(None));
    assert_eq!(limit("-5"), Ok(None));
    assert_eq!(limit("5"), Ok(std::num::NonZeroU32::new(5)));
    assert!(limit("2147483648").is_err());
}

#[test]
fn a_text_runs_to_the_end_of_the_line() {
    assert_eq!(args("user", "  a b # c \t").text(), Ok("a b # c"));
    assert!(args("user", "  \t").text().is_err());
    assert!(args("user", "a\u{7f}b").text().is_err());
}

#[test]
fn what_follows_a_word_is_known() {
    let mut flag = args("retain_available", " true  false # c");
    assert_eq!(flag.flag(), Ok(true));
    assert_eq!(flag.unread(), Some("false # c"));
    let mut commented = args("retain_available", "true # c");
    assert_eq!(commented.flag(), Ok(true));
    assert_eq!(commented.unread(), None);
}

#[test]
fn a_long_faulty_value_is_shown_in_part() {
    assert_eq!(shown("short"), "short");
    assert_eq!(shown(&"ä".repeat(1000)), format!("{}...", "ä".repeat(100)));
}
