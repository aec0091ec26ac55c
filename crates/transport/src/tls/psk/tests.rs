use super::{KEY_BYTES_MAX, PskKeys};

#[test]
fn a_file_of_mosquitto_is_read() {
    let text =
        b"\xEF\xBB\xBF# devices\n\nsensor:00ffAB\r\n gate 7 : 0a0b \nodd:abc\nmore:01:ignored\n";
    let (keys, faults) = PskKeys::parse(text);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(keys.len(), 4);
    assert_eq!(keys.get("sensor"), Some(&[0, 0xff, 0xab][..]));
    assert_eq!(keys.get("gate 7"), Some(&[0x0a, 0x0b][..]));
    assert_eq!(keys.get("odd"), Some(&[0x0a, 0xbc][..]));
    assert_eq!(keys.get("more"), Some(&[1][..]));
    assert_eq!(keys.get("# devices"), None);
}

#[test]
fn a_bad_line_is_told_by_its_number_and_costs_nobody_else() {
    for (line, words) in [
        ("nokey", "no colon"),
        ("nokey:", "no key"),
        (":aa", "no identity"),
        ("a:xyz", "hexadecimal"),
        ("a:0x12", "hexadecimal"),
        ("a\0b:12", "NUL"),
    ] {
        let text = format!("good:01\n{line}\nbetter:02\n");
        let (keys, faults) = PskKeys::parse(text.as_bytes());
        assert_eq!(keys.len(), 2, "{line}");
        let [(2, fault)] = &faults.list[..] else {
            panic!("{line}: {faults:?}")
        };
        assert!(fault.contains(words), "{line}: {fault}");
    }
    let (keys, faults) = PskKeys::parse(b"\xff:01\n");
    assert!(keys.is_empty());
    assert!(faults.list[0].1.contains("UTF-8"));
}

#[test]
fn of_two_lines_for_one_identity_the_last_counts() {
    let (keys, faults) = PskKeys::parse(b"a:01\nb:02\na:03\n");
    assert_eq!(keys.get("a"), Some(&[3][..]));
    assert_eq!(faults.list[0].0, 1);
    assert!(faults.list[0].1.contains("line 3"));
}

#[test]
fn lengths_have_limits_and_so_has_what_is_told() {
    let key = "ab".repeat(KEY_BYTES_MAX);
    let (keys, faults) = PskKeys::parse(format!("{}:{key}", "i".repeat(256)).as_bytes());
    assert!(faults.is_empty() && keys.len() == 1);
    let (keys, faults) = PskKeys::parse(format!("a:{key}1\n{}:01", "i".repeat(257)).as_bytes());
    assert!(keys.is_empty());
    assert_eq!(faults.list.len(), 2);
    let (_, faults) = PskKeys::parse("x\n".repeat(500).as_bytes());
    assert_eq!((faults.list.len(), faults.more), (100, 400));
}
