use serde_json::json;

use super::*;
use crate::dynsec::password::new_verifier;

fn load(file: &Value) -> Loaded {
    State::parse(file.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn check_error(file: &str, error: &str) {
    let found = State::parse(file.as_bytes()).unwrap_err();
    assert_eq!(found.to_string(), error, "{file}");
}

#[track_caller]
fn check_warning(file: &Value, warning: &str) {
    let warnings = load(file).warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, [warning], "{file}");
}

#[test]
fn a_file_of_mosquitto_2_0_is_read_and_written_for_both_versions() {
    let hash = new_verifier("secret", [7; 12], 101);
    let (password, salt, iterations) = password::members(&hash).unwrap();
    let state = load(&json!({
        "defaultACLAccess": {"publishClientSend": false, "publishClientReceive": true,
            "subscribe": false, "unsubscribe": true},
        "clients": [{"username": "ann", "textname": "Ann", "roles": [{"rolename": "r", "priority": 3}],
            "password": password, "salt": salt, "iterations": iterations}],
        "groups": [{"groupname": "g", "roles": [], "clients": [{"username": "ann"}]}],
        "roles": [{"rolename": "r", "textdescription": "a role",
            "acls": [{"acltype": "publishClientSend", "topic": "a/#", "priority": 0, "allow": true}]}],
        "anonymousGroup": "g",
    }))
    .state;
    let written: Value = serde_json::from_str(&state.to_json()).unwrap();
    assert_eq!(
        written,
        json!({
            "changeIndex": 0,
            "defaultACLAccess": {"publishClientSend": false, "publishClientReceive": true,
                "subscribe": false, "unsubscribe": true},
            "clients": [{"username": "ann", "textname": "Ann", "roles": [{"rolename": "r", "priority": 3}],
                "encoded_password": hash.to_string(),
                "password": password, "salt": salt, "iterations": iterations}],
            "groups": [{"groupname": "g", "roles": [], "clients": [{"username": "ann"}]}],
            "roles": [{"rolename": "r", "textdescription": "a role", "allowwildcardsubs": true,
                "acls": [{"acltype": "publishClientSend", "topic": "a/#", "priority": 0, "allow": true}]}],
            "anonymousGroup": "g",
        })
    );
}

#[test]
fn members_that_are_unknown_are_kept() {
    let file = json!({
        "changeIndex": 7,
        "defaultACLAccess": {"publishClientSend": false, "publishClientReceive": false,
            "subscribe": false, "unsubscribe": false},
        "clients": [{"username": "ann", "roles": [], "color": "red"}],
        "groups": [{"groupname": "g", "roles": [], "clients": [], "size": 3}],
        "roles": [{"rolename": "r", "allowwildcardsubs": false, "acls": [
            {"acltype": "publishClientSend", "topic": "a", "priority": 1, "allow": true, "note": [1]},
            {"acltype": "publishElsewhere", "topic": "b"}], "since": null}],
        "later": {"x": 1},
    });
    let written: Value = serde_json::from_str(&load(&file).state.to_json()).unwrap();
    assert_eq!(written, file);
}

#[test]
fn a_password_that_cannot_be_used_stays_in_the_file() {
    for client in [
        json!({"username": "ann", "roles": [], "encoded_password": "$8$later"}),
        json!({"username": "ann", "roles": [], "password": "x", "salt": "y", "iterations": 0}),
    ] {
        let loaded = load(&json!({ "clients": [client] }));
        assert_eq!(loaded.warnings.len(), 1);
        let written: Value = serde_json::from_str(&loaded.state.to_json()).unwrap();
        assert_eq!(written["clients"][0], client);
    }
}

#[test]
fn an_error_names_the_place() {
    for (file, error) in [
        ("[]", "it must hold a JSON object"),
        (
            "{",
            "it is not valid JSON: EOF while parsing an object at line 1 column 1",
        ),
        (r#"{"clients": 3}"#, "clients: it must be an array"),
        (
            r#"{"clients": [{"username": "a"}, 3]}"#,
            "clients[1]: it must be an object",
        ),
        (r#"{"clients": [{}]}"#, "clients[0].username: it is missing"),
        (
            r#"{"clients": [{"username": 1}]}"#,
            "clients[0].username: it must be a string",
        ),
        (
            r#"{"clients": [{"username": "a", "disabled": "no"}]}"#,
            "clients[0].disabled: it must be true or false",
        ),
        (
            r#"{"clients": [{"username": "a", "roles": [{"rolename": []}]}]}"#,
            "clients[0].roles[0].rolename: it must be a string",
        ),
        (
            r#"{"roles": [{"rolename": "r", "acls": [{"acltype": "publishClientSend", "topic": "a", "priority": "1"}]}]}"#,
            "roles[0].acls[0].priority: it must be a number",
        ),
        (
            r#"{"roles": [{"rolename": "r", "acls": [{"acltype": "publishClientSend"}]}]}"#,
            "roles[0].acls[0].topic: it is missing",
        ),
        (
            r#"{"defaultACLAccess": []}"#,
            "defaultACLAccess: it must be an object",
        ),
        (
            r#"{"defaultACLAccess": {"subscribe": 1}}"#,
            "defaultACLAccess.subscribe: it must be true or false",
        ),
        (
            r#"{"changeIndex": "x"}"#,
            "changeIndex: it must be a number",
        ),
    ] {
        check_error(file, error);
    }
}

#[test]
fn what_mosquitto_skips_is_skipped_with_a_warning() {
    let role = json!({"rolename": "r"});
    let ann = json!({"username": "ann"});
    for (file, warning) in [
        (
            json!({"clients": [ann, ann]}),
            "clients[1]: there is a client 'ann' already",
        ),
        (
            json!({"clients": [{"username": ""}]}),
            "clients[0].username: it is empty",
        ),
        (
            json!({"clients": [{"username": "ann", "roles": [{"rolename": "r"}]}]}),
            "clients[0].roles[0]: there is no role 'r'",
        ),
        (
            json!({"roles": [role], "clients": [{"username": "ann", "roles": [role, role]}]}),
            "clients[0].roles[1]: the role 'r' is listed already",
        ),
        (
            json!({"roles": [role, role]}),
            "roles[1]: there is a role 'r' already",
        ),
        (
            json!({"groups": [{"groupname": "g", "clients": [{"username": "x"}]}]}),
            "groups[0].clients[0]: there is no client 'x', or it is in the group already",
        ),
        (
            json!({"anonymousGroup": "g"}),
            "anonymousGroup: there is no group 'g'",
        ),
    ] {
        check_warning(&file, warning);
    }
}

#[test]
fn names_of_members_and_types_are_read_whatever_their_case() {
    let state = load(&json!({
        "Roles": [{"RoleName": "r", "ACLs": [{"aclType": "PUBLISHCLIENTSEND", "Topic": "a", "Allow": true}]}],
    }))
    .state;
    assert_eq!(state.roles["r"].acls(AclKind::PublishSend).len(), 1);
}

#[test]
fn an_empty_file_is_an_empty_state() {
    let loaded = State::parse(b"").unwrap();
    assert_eq!(loaded.state.client_count(), 0);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_hostile_file_ends_in_an_error() {
    let deep = "[".repeat(100_000);
    assert!(State::parse(deep.as_bytes()).is_err());
    let many = format!("{{\"x\":[{}0]}}", "0,".repeat(FILE_VALUES_MAX));
    check_error(&many, &format!("it has more than {FILE_VALUES_MAX} values"));
    assert!(State::parse(b"{\"clients\":[{\"username\":\"\xff\"}]}").is_err());
}

#[test]
fn warnings_are_bounded() {
    let clients: Vec<Value> = (0..1000).map(|_| json!({"username": ""})).collect();
    assert_eq!(
        load(&json!({ "clients": clients })).warnings.len(),
        WARNINGS_MAX
    );
}

#[test]
fn a_password_is_set_in_a_file_that_stays_as_it_is_otherwise() {
    let file = json!({
        "Clients": [{"username": "ann", "roles": [{"rolename": "gone"}], "password": "old", "salt": "s",
            "iterations": 3, "x": 1}, {"username": "bob"}],
        "later": [1, 2],
    });
    let hash = new_verifier("secret", [7; 12], 3);
    let text = set_password_in_file(file.to_string().as_bytes(), "ann", &hash).unwrap();
    let mut written: Value = serde_json::from_str(&text).unwrap();
    let (password, salt, iterations) = password::members(&hash).unwrap();
    let expected = json!({"username": "ann", "roles": [{"rolename": "gone"}], "x": 1,
        "encoded_password": hash.to_string(), "password": password, "salt": salt, "iterations": iterations});
    assert_eq!(written["Clients"][0], expected);
    written["Clients"][0] = file["Clients"][0].clone();
    assert_eq!(written, file);
    let error = set_password_in_file(file.to_string().as_bytes(), "zoe", &hash).unwrap_err();
    assert_eq!(error.to_string(), "Client zoe not found");
}
