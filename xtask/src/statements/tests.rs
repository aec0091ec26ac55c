use super::*;

// Ids that do not exist are put together here, so that tidy does not find them in this file.
fn written(standard: Standard, rest: &str) -> String {
    format!("{}-{rest}", standard.prefix())
}

#[test]
fn ids_are_found_with_their_version() {
    let first = written(Standard::V5, "3.1.2-8");
    let second = written(Standard::V311, "4.2-1");
    let text =
        format!("see ({first}), [{second}] and X{first}, MQTT5 3.3.2.3.4, MQTT5-3, MQTT5-3.1");
    let found: Vec<String> = ids_in(&text).iter().map(|(_, id)| id.to_string()).collect();
    assert_eq!(found, [first, second]);
}

#[test]
fn ids_sort_by_number_and_not_by_letter() {
    let early = Id::parse(&written(Standard::V5, "3.9.3-2")).unwrap();
    let late = Id::parse(&written(Standard::V5, "3.10.1-1")).unwrap();
    assert!(early < late);
}

#[test]
fn names_of_tests_are_ids_if_they_hold_four_numbers() {
    let id = |name| Id::from_test_name(name).map(|id| id.to_string());
    assert_eq!(
        id("mqtt5_3_1_2_8_will_after_close"),
        Some(written(Standard::V5, "3.1.2-8"))
    );
    assert_eq!(
        id("mqtt311_3_1_2_24_silence"),
        Some(written(Standard::V311, "3.1.2-24"))
    );
    assert_eq!(id("mqtt5_3_3_2_3_4_a_section"), None);
    assert_eq!(id("mqtt5_4_2_1_three"), None);
    assert_eq!(id("a_will_is_sent"), None);
    assert_eq!(id("mqtt5_3_1_2_99999_too_large"), None);
}

#[test]
fn an_id_without_version_is_noticed() {
    let bare = ["MQTT", "-3.1.2-8"].concat();
    assert_eq!(ids_without_version(&format!("a {bare}")), [2]);
    assert!(ids_without_version("MQTT-SN and MQTT5").is_empty());
}

#[test]
fn a_faulty_row_is_an_error_that_names_it() {
    let check = |rest: &str, words: &str| {
        let text = format!("\"{}\" = {rest}", written(Standard::V5, "9.9.9-9"));
        let error = parse(&text, Standard::V5).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    check(
        "{ who = \"nobody\", gist = \"x\" }",
        "not server, client or both",
    );
    check("{ who = \"both\" }", "who and gist");
    check("{ gist = \"x\" }", "who and gist");
    check(
        "{ who = \"both\", gist = \"x\", not_tested = \" \" }",
        "words in it",
    );
    check(
        "{ who = \"both\", gist = \"x\", colour = \"red\" }",
        "unknown key",
    );
    check("7", "not a table");
    let wrong = format!("\"{}\" = {{}}", written(Standard::V311, "1.1-1"));
    assert!(
        parse(&wrong, Standard::V5)
            .unwrap_err()
            .contains("not an id of MQTT 5.0")
    );
}

#[test]
fn the_committed_lists_are_complete() {
    let statements = read(&Workspace::open().unwrap()).unwrap();
    let count = |standard| {
        statements
            .keys()
            .filter(|id| id.standard == standard)
            .count()
    };
    assert_eq!(count(Standard::V311), 141);
    assert_eq!(count(Standard::V5), 251);
}
