use super::super::{Hashing, Verifier};
use super::*;

fn text(result: Result<(Vec<u8>, Set), EditError>) -> (String, Set) {
    let (text, set) = result.unwrap();
    (String::from_utf8(text).unwrap(), set)
}

#[test]
fn a_new_user_is_added_at_the_end() {
    assert_eq!(text(set(b"", "a", "$h")), ("a:$h\n".into(), Set::Added));
    assert_eq!(
        text(set(b"b:x", "a", "$h")),
        ("b:x\na:$h\n".into(), Set::Added)
    );
    let windows = text(set(b"b:x\r\n", "a", "$h"));
    assert_eq!(windows, ("b:x\r\na:$h\r\n".into(), Set::Added));
}

#[test]
fn a_known_user_keeps_its_place_and_its_second_line_goes() {
    let before = "\u{FEFF}# people\r\n\r\n a : old \r\nb:x\na:older\n#a:y\n";
    let (after, done) = text(set(before.as_bytes(), "a", "$h"));
    assert_eq!(done, Set::Updated);
    assert_eq!(after, "\u{FEFF}# people\r\n\r\n a :$h\r\nb:x\n#a:y\n");
}

#[test]
fn a_user_is_removed_with_all_its_lines() {
    let removed = remove(b"a:x\n#c\nb:y\na:z", "a").unwrap();
    assert_eq!(removed.unwrap(), b"#c\nb:y\n");
    assert_eq!(remove(b"a:x\n", "b"), Ok(None));
}

#[test]
fn plain_passwords_are_hashed_and_hashes_are_not_hashed_again() {
    let hash = Verifier::create(Hashing::Sha512, b"a", b"0123456789ab").unwrap();
    let before = format!("a:{hash}\n# c\nb:$ecret\nc: x y :rest\n");
    let after = hash_plain(before.as_bytes(), |password| format!("<{password}>")).unwrap();
    let expected = format!("a:{hash}\n# c\nb:<$ecret>\nc:<x y>\n");
    assert_eq!(String::from_utf8(after.text).unwrap(), expected);
    assert_eq!((after.hashed, after.kept), (2, 1));
}

#[test]
fn a_text_with_a_line_that_is_no_user_is_not_changed() {
    for (text, line) in [
        (&b"a:x\nb\n"[..], 2),
        (b"a:\n", 1),
        (b"a:x\n\n:y\n", 3),
        (b"\xFF:x\n", 1),
    ] {
        let EditError::Line(fault) = set(text, "z", "$h").unwrap_err() else {
            panic!("a line");
        };
        assert_eq!(fault.line, line);
        assert!(remove(text, "a").is_err());
        assert!(hash_plain(text, str::to_owned).is_err());
    }
}

#[test]
fn names_that_the_file_would_change_are_refused() {
    let check = |name: &str, fault| assert_eq!(check_name(name), Err(fault), "{name:?}");
    check("", NameFault::Empty);
    check("  ", NameFault::Empty);
    check("a:b", NameFault::Colon);
    check("a\nb", NameFault::Control);
    check("\u{85}", NameFault::Empty);
    check("a\u{85}b", NameFault::Control);
    check("\u{FEFF}a", NameFault::Control);
    check("#a", NameFault::Comment);
    check(" a", NameFault::Spaces);
    check(&"x".repeat(65_536), NameFault::TooLong);
    for name in ["a", "a b", "ä€", "a#", "$SYS", "a/b+"] {
        assert_eq!(check_name(name), Ok(()), "{name:?}");
    }
}

#[test]
fn a_name_does_not_become_a_byte_order_mark() {
    let hashed = hash_plain(" \u{FEFF}:x\n".as_bytes(), |_| "$h".to_owned()).unwrap();
    assert_eq!(String::from_utf8(hashed.text).unwrap(), " \u{FEFF}:$h\n");
}
