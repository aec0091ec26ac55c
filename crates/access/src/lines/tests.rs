use super::*;

fn lines(file: &[u8]) -> Vec<Result<&str, String>> {
    numbered(file).unwrap().map(|(_, line)| line).collect()
}

#[test]
fn lines_end_with_lf_or_crlf_and_a_byte_order_mark_is_no_text() {
    assert_eq!(lines(b"\xEF\xBB\xBFa\r\n\nb"), [Ok("a"), Ok(""), Ok("b")]);
    // Only at the beginning is it a mark.
    assert_eq!(lines("a\u{FEFF}".as_bytes()), [Ok("a\u{FEFF}")]);
}

#[test]
fn a_line_that_is_no_text_says_so_and_the_others_remain() {
    let long = vec![b'x'; LINE_BYTES_MAX + 1];
    let mut file = b"a\n\xFFb\nc\0d\n".to_vec();
    file.extend(long);
    let found = lines(&file);
    assert_eq!(found[0], Ok("a"));
    let [utf8, nul, long] = [1, 2, 3].map(|at: usize| found[at].clone().unwrap_err());
    assert!(utf8.contains("byte 1"), "{utf8}");
    assert!(nul.contains("NUL"), "{nul}");
    assert!(long.contains("70001 bytes"), "{long}");
}

#[test]
fn a_line_of_the_largest_length_is_read() {
    let line = vec![b'x'; LINE_BYTES_MAX];
    assert_eq!(lines(&line)[0].as_ref().unwrap().len(), LINE_BYTES_MAX);
}

#[test]
fn a_file_beyond_the_limit_is_refused_with_its_size() {
    let file = vec![b'\n'; FILE_BYTES_MAX + 1];
    let Err(error) = numbered(&file) else {
        panic!("it was taken");
    };
    assert!(error.to_string().contains("67108865"), "{error}");
}

#[test]
fn further_faults_are_counted() {
    let mut faults = LineFaults::default();
    for line in 1..=FAULTS_MAX + 3 {
        faults.push(line, "no");
    }
    assert_eq!((faults.list.len(), faults.more), (FAULTS_MAX, 3));
    assert!(faults.to_string().ends_with("and 3 lines more"));
}

#[test]
fn names_in_messages_are_short_and_harmless() {
    assert_eq!(shown("ä b"), "ä b");
    assert_eq!(shown("a\u{1b}[2J\nb"), "a\u{FFFD}[2J\u{FFFD}b");
    assert_eq!(shown(&"x".repeat(200)), format!("{}…", "x".repeat(100)));
}
