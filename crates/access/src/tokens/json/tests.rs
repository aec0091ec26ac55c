use super::*;

const LIMITS: Limits = Limits {
    bytes_max: 200,
    depth_max: 3,
    values_max: 8,
};

fn check(text: &str, expected: Result<&str, &str>) {
    match (parse_object(text.as_bytes(), LIMITS), expected) {
        (Ok(map), Ok(expected)) => assert_eq!(Value::Object(map).to_string(), expected),
        (Err(fault), Err(words)) => assert!(fault.to_string().contains(words), "{fault}"),
        (found, _) => panic!("{text}: {found:?}"),
    }
}

#[test]
fn an_object_is_read_with_all_kinds_of_values() {
    check(
        r#" {"a":[1,-2,0.5],"b":null,"c":true} "#,
        Ok(r#"{"a":[1,-2,0.5],"b":null,"c":true}"#),
    );
    check(r#"{"a":{"b":["é\n"]}}"#, Ok(r#"{"a":{"b":["é\n"]}}"#));
}

#[test]
fn a_member_that_stands_twice_is_refused_at_any_depth() {
    check(r#"{"a":1,"a":1}"#, Err("\"a\" stands twice"));
    check(r#"{"x":[{"a":1,"\u0061":2}]}"#, Err("\"a\" stands twice"));
}

#[test]
fn bounds_hold_before_memory_is_spent() {
    check(r#"{"a":[[1]]}"#, Ok(r#"{"a":[[1]]}"#));
    check(r#"{"a":[[[1]]]}"#, Err("nested too deeply"));
    check(r#"{"a":[1,2,3,4,5,6]}"#, Ok(r#"{"a":[1,2,3,4,5,6]}"#));
    check(r#"{"a":[1,2,3,4,5,6,7]}"#, Err("too many values"));
    check(
        &format!("{{\"a\":\"{}\"}}", "x".repeat(200)),
        Err("208 bytes"),
    );
    check(&"[".repeat(200), Err("nested too deeply"));
}

#[test]
fn only_one_object_is_json_here() {
    check("[1]", Err("an array, not an object"));
    check("", Err("EOF"));
    check("{} x", Err("trailing"));
    check("{\"a\":01}", Err("number"));
    check("{\"a\":1e999}", Err("out of range"));
    check("{\"\u{0}\":1,}", Err("control character"));
}
