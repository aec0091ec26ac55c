use super::*;

fn check(text: &str, expected: &[(Kind, &str)]) {
    let source = Source::split(text);
    let parts: Vec<_> = source
        .spans
        .iter()
        .map(|(kind, range)| (*kind, &text[range.clone()]))
        .collect();
    assert_eq!(parts, expected);
}

#[test]
fn comments_strings_and_characters_are_told_from_code() {
    use Kind::{Code, Comment, Literal};
    check(
        "a // b\nc",
        &[(Code, "a "), (Comment, "// b"), (Code, "\nc")],
    );
    check(
        "/* a /* b */ c */d",
        &[(Comment, "/* a /* b */ c */"), (Code, "d")],
    );
    check(
        r#"f("a\"//b")"#,
        &[(Code, "f("), (Literal, r#""a\"//b""#), (Code, ")")],
    );
    check("'{' 'a", &[(Literal, "'{'"), (Code, " 'a")]);
    check(r"'\'' x", &[(Literal, r"'\''"), (Code, " x")]);
    check("r#\"a\"b\"#;", &[(Literal, "r#\"a\"b\"#"), (Code, ";")]);
    check("br\"a\\\";", &[(Literal, "br\"a\\\""), (Code, ";")]);
    check("b'x' bar", &[(Literal, "b'x'"), (Code, " bar")]);
    check("r#type", &[(Code, "r#type")]);
    check("\"ö", &[(Literal, "\"ö")]);
}

#[test]
fn blanking_keeps_offsets_and_lines() {
    let text = "let ö = \"{ü\n}\"; // ß {\nx";
    let code = Source::split(text).only(Kind::Code);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches('\n').count(), 2);
    assert!(!code.contains('{'));
    assert!(code.contains("let ö ="));
}

#[test]
fn test_regions_are_bodies_and_not_declarations() {
    let text =
        "#[cfg(test)]\nmod tests;\nfn a() {}\n#[cfg(test)]\nmod t { fn b() { '}'; } }\nfn c() {}";
    let regions = Source::split(text).test_regions();
    assert_eq!(regions.len(), 1);
    assert_eq!(
        &text[regions[0].clone()],
        "#[cfg(test)]\nmod t { fn b() { '}'; } }"
    );
}

#[test]
fn functions_are_measured_with_their_bodies() {
    let text = "trait T { fn no_body(&self, a: [u8; 4]); }\nfn one() -> [u8; 2] {\n  \"}\";\n}\nconst fn two() {}\n";
    let functions = Source::split(text).functions();
    let expected = [
        Function {
            name: "one",
            line: 2,
            lines: 3,
        },
        Function {
            name: "two",
            line: 5,
            lines: 1,
        },
    ];
    assert_eq!(functions, expected);
}
