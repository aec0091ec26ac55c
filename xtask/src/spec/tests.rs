use super::*;
use crate::statements::{Statement, Who};

fn id(standard: &str, rest: &str) -> Id {
    Id::parse(&[standard, rest].join("-")).unwrap()
}

#[test]
fn only_tests_are_evidence() {
    let cited = ["MQTT5", "1.5.4-1"].join("-");
    let inside = format!(
        "/// {cited}\nfn code() {{}}\n#[cfg(test)]\nmod tests {{ fn mqtt5_3_1_2_8_x() {{}} }}"
    );
    assert_eq!(
        ids_of_tests("crates/a/src/lib.rs", &inside),
        [id("MQTT5", "3.1.2-8")]
    );
    let own = format!("/// {cited}\nfn test() {{}}");
    for path in [
        "crates/a/src/b/tests.rs",
        "crates/a/tests/c/d.rs",
        "crates/a/src/tests/e.rs",
    ] {
        assert_eq!(ids_of_tests(path, &own), [id("MQTT5", "1.5.4-1")], "{path}");
    }
    assert!(ids_of_tests("crates/a/src/latests.rs", &own).is_empty());
}

#[test]
fn tests_of_a_client_prove_nothing_for_a_server() {
    assert!(may_prove("crates/server/tests/server/enhanced.rs"));
    assert!(may_prove("crates/proto/src/connection.rs"));
    assert!(!may_prove("crates/client/src/core/tests.rs"));
    assert!(!may_prove("crates/embedded/tests/scram.rs"));
    assert!(!may_prove("xtask/src/spec/tests.rs"));
}

#[test]
fn each_statement_for_servers_is_proven_excepted_or_missing() {
    let statement = |who, not_tested: Option<&str>| Statement {
        who,
        gist: "x".to_owned(),
        not_tested: not_tested.map(str::to_owned),
    };
    let ids: Vec<Id> = (1..=5)
        .map(|number| id("MQTT5", &format!("1.5.4-{number}")))
        .collect();
    let statements = Statements::from([
        (ids[0].clone(), statement(Who::Server, None)),
        (ids[1].clone(), statement(Who::Both, None)),
        (ids[2].clone(), statement(Who::Both, Some("no"))),
        (ids[3].clone(), statement(Who::Client, None)),
        (ids[4].clone(), statement(Who::Server, Some("no"))),
        (id("MQTT311", "1.5.3-1"), statement(Who::Server, None)),
    ]);
    let cited = BTreeSet::from([ids[0].clone(), ids[4].clone()]);
    let tally = Tally::count(Standard::V5, &statements, &cited);
    assert_eq!(
        (tally.total, tally.binding, tally.proven, tally.excepted),
        (5, 4, 2, 1)
    );
    assert_eq!(tally.missing, [ids[1].clone()]);
    assert_eq!(tally.needless, [ids[4].clone()]);
}

#[test]
fn the_floor_is_raised_in_place() {
    let text = "# kept\nmqtt311 = 3\nmqtt5 = 4\n";
    assert_eq!(floor_of(text, Standard::V5), Ok(4));
    assert_eq!(
        with_floor(text, Standard::V311, 70),
        "# kept\nmqtt311 = 70\nmqtt5 = 4\n"
    );
    assert!(floor_of("mqtt5 = -1", Standard::V5).is_err());
    assert!(floor_of("mqtt5 = 1", Standard::V311).is_err());
}
