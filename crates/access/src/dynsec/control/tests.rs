use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use crate::Action;
use crate::lockout::{Ban, Subject};

use super::super::{LoginVerdict, Verdict};
use super::*;

mod clients;
mod groups;
mod roles;

/// Salts that differ, and one connection of each user.
#[derive(Default)]
struct Quiet(u8);

impl Surroundings for Quiet {
    fn addresses(&self, user_name: &str, client_id: Option<&str>) -> Vec<String> {
        match client_id {
            Some(id) => vec![format!("address of {user_name}/{id}")],
            None => Vec::new(),
        }
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.fill(self.0);
    }

    fn iterations(&self) -> u32 {
        2
    }
}

const ADMIN: Client<'static> = Client {
    id: "ctl",
    user_name: Some("admin"),
};

fn run(state: &mut State, request: &Value) -> Outcome {
    state.control(request.to_string().as_bytes(), ADMIN, &mut Quiet::default())
}

/// Carries out one command, and gives its answer.
fn one(state: &mut State, command: &Value) -> (Value, Outcome) {
    let outcome = run(state, &json!({ "commands": [command] }));
    let response: Value = serde_json::from_str(&outcome.response).unwrap();
    let mut responses = response["responses"].as_array().unwrap().clone();
    assert_eq!(responses.len(), 1, "{response}");
    (responses.remove(0), outcome)
}

/// Two clients, two groups, two roles: `ann` has `r` herself, `bob` has `r` by group `g`.
fn state() -> State {
    let file = json!({
        "defaultACLAccess": {"publishClientSend": false, "publishClientReceive": true,
            "subscribe": false, "unsubscribe": true},
        "clients": [
            {"username": "ann", "clientid": "a1", "textname": "Ann", "roles": [{"rolename": "r", "priority": 2}]},
            {"username": "bob", "disabled": true},
            {"username": "cid"},
        ],
        "groups": [
            {"groupname": "g", "roles": [{"rolename": "r"}], "clients": [{"username": "bob", "priority": 4}]},
            {"groupname": "nobody", "textname": "None", "roles": [{"rolename": "q"}]},
        ],
        "anonymousGroup": "nobody",
        "roles": [
            {"rolename": "q", "allowwildcardsubs": false},
            {"rolename": "r", "textdescription": "R", "acls": [
                {"acltype": "publishClientSend", "topic": "a/#", "priority": 3, "allow": true}]},
        ],
    });
    State::parse(file.to_string().as_bytes()).unwrap().state
}

fn users(names: &[&str]) -> BTreeSet<Who> {
    let who = |name: &&str| match *name {
        "" => Who::Anonymous,
        name => Who::User(name.into()),
    };
    names.iter().map(who).collect()
}

/// A command that is carried out without data: who is disconnected by it and who gets other rules.
#[track_caller]
fn check_done(command: &Value, disconnect: &[&str], recompile: &[&str]) -> State {
    let mut state = state();
    let (answer, outcome) = one(&mut state, command);
    assert_eq!(answer, json!({"command": command["command"]}));
    assert!(outcome.save);
    assert_eq!(outcome.effects.disconnect, users(disconnect), "{command}");
    assert_eq!(outcome.effects.recompile, users(recompile), "{command}");
    assert_eq!(state.change_index, 1);
    assert_eq!(outcome.log.len(), 1);
    let start = format!(
        "dynsec: ctl/admin | {} |",
        command["command"].as_str().unwrap()
    );
    assert!(outcome.log[0].starts_with(&start), "{:?}", outcome.log);
    // What the file says is what the state is.
    let text = state.to_json();
    let loaded = State::parse(text.as_bytes()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.state.to_json(), text);
    state
}

/// A command that answers with data and changes nothing.
#[track_caller]
fn check_data(command: &Value, data: &Value) {
    let mut state = state();
    let (answer, outcome) = one(&mut state, command);
    assert_eq!(answer, json!({"command": command["command"], "data": data}));
    assert!(!outcome.save);
    assert!(outcome.effects.is_empty());
}

/// A command that fails and changes nothing.
#[track_caller]
fn check_error(command: &Value, error: &str) {
    let mut state = state();
    let before = state.to_json();
    let (answer, outcome) = one(&mut state, command);
    assert_eq!(
        answer,
        json!({"command": command["command"], "error": error}),
        "{command}"
    );
    assert!(!outcome.save);
    assert!(outcome.effects.is_empty());
    assert_eq!(state.to_json(), before);
}

#[test]
fn a_request_that_is_none_is_answered() {
    for (payload, error) in [
        ("", "Payload not valid JSON"),
        ("{\"commands\":[}", "Payload not valid JSON"),
        ("3", "Invalid/missing commands"),
        ("{}", "Invalid/missing commands"),
        ("{\"commands\":{}}", "Invalid/missing commands"),
        ("{\"commands\":[3]}", "Command not an object"),
        ("{\"commands\":[{}]}", "Missing command"),
        ("{\"commands\":[{\"command\":3}]}", "Missing command"),
    ] {
        let outcome = state().control(payload.as_bytes(), ADMIN, &mut Quiet::default());
        let answer = json!({"responses": [{"command": "Unknown command", "error": error}]});
        assert_eq!(outcome.response, answer.to_string());
    }
}

#[test]
fn no_commands_have_no_responses_and_a_zero_at_the_end_is_no_fault() {
    let outcome = state().control(b"{\"commands\":[]}\0", ADMIN, &mut Quiet::default());
    assert_eq!(outcome.response, r#"{"responses":[]}"#);
    assert!(!outcome.save);
}

#[test]
fn commands_are_answered_in_turn_each_with_its_correlation_data() {
    let mut state = state();
    let outcome = run(
        &mut state,
        &json!({"commands": [
            {"command": "createRole", "rolename": "new", "correlationData": "1"},
            {"command": "createRole", "rolename": "new", "correlationData": "2"},
            {"command": "nonsense"},
            {"command": "GETROLE", "rolename": "new", "correlationData": ""},
        ]}),
    );
    assert_eq!(
        outcome.response,
        concat!(
            r#"{"responses":[{"command":"createRole","correlationData":"1"},"#,
            r#"{"command":"createRole","error":"Role already exists","correlationData":"2"},"#,
            r#"{"command":"nonsense","error":"Unknown command"},"#,
            r#"{"command":"getRole","data":{"role":{"rolename":"new","allowwildcardsubs":true,"acls":[]}},"#,
            r#""correlationData":""}]}"#
        )
    );
    assert!(outcome.save);
}

#[test]
fn what_is_no_command_ends_the_request() {
    let mut state = state();
    for bad in [
        json!(1),
        json!({"command": "getDetails", "correlationData": 1}),
    ] {
        let commands = json!([{"command": "getAnonymousGroup"}, bad, {"command": "deleteRole", "rolename": "r"}]);
        let outcome = run(&mut state, &json!({ "commands": commands }));
        let response: Value = serde_json::from_str(&outcome.response).unwrap();
        assert_eq!(response["responses"].as_array().unwrap().len(), 2);
        assert!(response["responses"][1]["error"].is_string());
        assert!(!outcome.save);
    }
}

#[test]
fn default_access_and_details() {
    check_data(
        &json!({"command": "getDefaultACLAccess"}),
        &json!({"acls": [
            {"acltype": "publishClientSend", "allow": false},
            {"acltype": "publishClientReceive", "allow": true},
            {"acltype": "subscribe", "allow": false},
            {"acltype": "unsubscribe", "allow": true},
        ]}),
    );
    check_data(
        &json!({"command": "getDetails"}),
        &json!({"clientCount": 3, "groupCount": 2, "roleCount": 2, "changeIndex": 0}),
    );
    let set = json!({"command": "setDefaultACLAccess", "acls": [
        {"acltype": "publishClientSend", "allow": true}, {"acltype": "SUBSCRIBE", "allow": true},
        {"acltype": "unsubscribe", "allow": "no"}, {"acltype": "other", "allow": true}, 3]});
    let mut state = state();
    let (answer, outcome) = one(&mut state, &set);
    assert_eq!(answer, json!({"command": "setDefaultACLAccess"}));
    assert!(outcome.save && outcome.effects.recompile_all);
    assert_eq!(state.defaults.values(), [true, true, true, true]);
    check_error(
        &json!({"command": "setDefaultACLAccess", "acls": {}}),
        "Missing/invalid actions array",
    );
}

#[test]
fn who_is_disconnected_gets_no_other_rules_first() {
    let mut state = state();
    let outcome = run(
        &mut state,
        &json!({"commands": [
            {"command": "addClientRole", "username": "ann", "rolename": "q"},
            {"command": "deleteClient", "username": "ann"},
        ]}),
    );
    assert_eq!(outcome.effects.disconnect, users(&["ann"]));
    assert_eq!(outcome.effects.recompile, users(&[]));
}

#[test]
fn a_request_or_an_answer_out_of_bounds_is_refused() {
    let payload = vec![b' '; REQUEST_BYTES_MAX + 1];
    let mut payload = payload;
    payload.push(b'{');
    let outcome = state().control(&payload, ADMIN, &mut Quiet::default());
    assert!(outcome.response.contains("Payload too large"));
    let many = format!("{{\"commands\":[{}0]}}", "0,".repeat(REQUEST_VALUES_MAX));
    let outcome = state().control(many.as_bytes(), ADMIN, &mut Quiet::default());
    assert!(outcome.response.contains("Payload too large"));
}

#[test]
fn an_answer_stops_growing_at_its_limit() {
    let entries: std::collections::BTreeMap<String, ()> =
        (0..100).map(|name| (format!("name {name}"), ())).collect();
    let commands = vec![json!({"command": "list"}); 100];
    let request = json!({ "commands": commands }).to_string();
    let response = answer(request.as_bytes(), 3000, |_, command, room| {
        let list = list(command, "names", room, &entries, |_, ()| Value::Null);
        ("list", list.map(|(data, _)| Some(data)))
    });
    let response: Value = serde_json::from_str(&response).unwrap();
    let responses = response["responses"].as_array().unwrap();
    assert!(responses.first().unwrap()["data"].is_object());
    let errors: Vec<_> = responses
        .iter()
        .filter_map(|response| response["error"].as_str())
        .collect();
    assert_eq!(errors[0], "Response too large, use count and offset");
    // Short answers still fit, and at last nothing does.
    assert_eq!(errors.last(), Some(&"Response too large"));
    assert!(responses.len() < 40, "{}", responses.len());
}

#[test]
fn the_broker_tells_its_plugins_and_listeners() {
    let facts = BrokerFacts {
        plugins: vec![Plugin {
            name: "dynamic-security".into(),
            control_endpoints: vec![CONTROL_TOPIC.into()],
            ..Plugin::default()
        }],
        listeners: vec![
            Listener {
                port: 1883,
                protocol: Some("mqtt".into()),
                bind_address: Some("::1".into()),
                ..Listener::default()
            },
            Listener {
                socket_path: Some("/run/m".into()),
                tls: true,
                ..Listener::default()
            },
        ],
    };
    let request = json!({"commands": [{"command": "listPlugins", "correlationData": "c"},
        {"command": "LISTLISTENERS"}, {"command": "other"}]});
    let outcome = broker_control(request.to_string().as_bytes(), ADMIN, &facts, None);
    assert_eq!(
        outcome.response,
        concat!(
            r#"{"responses":[{"command":"listPlugins","data":{"plugins":[{"name":"dynamic-security","#,
            r#""control-endpoints":["$CONTROL/dynamic-security/v1"]}]},"correlationData":"c"},"#,
            r#"{"command":"listListeners","data":{"listeners":["#,
            r#"{"port":1883,"protocol":"mqtt","bind-address":"::1","tls":false},"#,
            r#"{"port":0,"socket-path":"/run/m","tls":true}]}},"#,
            r#"{"command":"other","error":"Unknown command"}]}"#
        )
    );
    assert_eq!(
        outcome.log,
        [
            "Broker: ctl/admin | listPlugins",
            "Broker: ctl/admin | listListeners"
        ]
    );
    assert!(!outcome.save);
}

/// What Debian's mosquitto 2.0.11 was asked and has answered, in this order; `tests/debian/dynsec.py` asks
/// it again.
const EXCHANGES: &str = include_str!("../../../../../tests/debian/dynsec_exchanges.json");

/// Takes out what Mosquitto 2.1 has added to answers.
fn remove_additions(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(remove_additions),
        Value::Object(object) => {
            object.remove("connections");
            object.remove("allowwildcardsubs");
            object.values_mut().for_each(remove_additions);
        }
        _ => {}
    }
}

#[test]
fn requests_are_answered_as_by_mosquitto() {
    let file: Value = serde_json::from_str(EXCHANGES).unwrap();
    let mut state = State::parse(file["state"].to_string().as_bytes())
        .unwrap()
        .state;
    let exchanges = file["exchanges"].as_array().unwrap();
    assert!(exchanges.len() > 140);
    for exchange in exchanges {
        let request = exchange["request"].as_str().unwrap();
        let outcome = state.control(request.as_bytes(), ADMIN, &mut Quiet::default());
        let mut response = serde_json::from_str(&outcome.response).unwrap();
        remove_additions(&mut response);
        assert_eq!(response, exchange["response"], "{request}");
    }
}

#[test]
fn who_has_a_role_at_the_end_of_a_request_gets_its_new_rules() {
    let mut state = state();
    let outcome = run(
        &mut state,
        &json!({"commands": [
            {"command": "addRoleACL", "rolename": "q", "acltype": "subscribeLiteral", "topic": "a"},
            {"command": "addClientRole", "username": "cid", "rolename": "q"},
            {"command": "removeClientRole", "username": "ann", "rolename": "r"},
        ]}),
    );
    assert_eq!(outcome.effects.recompile, users(&["", "ann", "cid"]));
}

#[derive(Default)]
struct Book(Vec<(Ban, u64)>);

impl BanBook for Book {
    fn list(&self) -> Vec<(Ban, u64)> {
        self.0.clone()
    }

    fn ban(&mut self, subject: &Subject, length: Option<Duration>) -> Ban {
        let length = length.unwrap_or(Duration::from_secs(300));
        let ban = Ban {
            subject: subject.clone(),
            until: length,
            length,
            failures: 0,
        };
        self.0.push((ban.clone(), length.as_secs()));
        ban
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }

    fn lift(&mut self, subject: &Subject) -> bool {
        let before = self.0.len();
        self.0.retain(|(ban, _)| ban.subject != *subject);
        self.0.len() < before
    }
}

#[test]
fn bans_are_listed_made_and_lifted() {
    let mut book = Book::default();
    let request = json!({"commands": [
        {"command": "banAddress", "address": "192.0.2.7"},
        {"command": "banAddress", "address": "2001:db8::1", "seconds": "60"},
        {"command": "banUser", "username": "bob", "seconds": 10},
        {"command": "banUser", "username": "eve", "seconds": 0},
        {"command": "banAddress", "address": "192.0.2.0/24"},
        {"command": "unbanAddress", "address": "192.0.2.7"},
        {"command": "unbanUser", "username": "nobody"},
        {"command": "listBans"},
    ]});
    let request = request.to_string();
    let facts = BrokerFacts::default();
    let outcome = broker_control(request.as_bytes(), ADMIN, &facts, Some(&mut book));
    assert_eq!(
        outcome.response,
        concat!(
            r#"{"responses":[{"command":"banAddress"},{"command":"banAddress"},{"command":"banUser"},"#,
            r#"{"command":"banUser","error":"Invalid seconds"},"#,
            r#"{"command":"banAddress","error":"Invalid/missing address"},{"command":"unbanAddress"},"#,
            r#"{"command":"unbanUser","error":"Not banned"},{"command":"listBans","data":{"bans":["#,
            r#"{"address":"2001:db8::/64","seconds":60,"failures":0},"#,
            r#"{"username":"bob","seconds":10,"failures":0}]}}]}"#
        )
    );
    assert_eq!(
        outcome.log[2],
        "Broker: ctl/admin | banUser | user 'bob' | seconds=10"
    );
    assert_eq!(outcome.log.len(), 5);
    let outcome = broker_control(request.as_bytes(), ADMIN, &facts, None);
    assert_eq!(outcome.response.matches("Not allowed").count(), 8);
    assert!(outcome.log.is_empty());
}

#[test]
fn a_ban_that_could_not_hold_is_refused() {
    let mut book = Book::default();
    let request = json!({"commands": [
        {"command": "banAddress", "address": "127.0.0.1"},
        {"command": "unbanAddress", "address": "127.0.0.1"},
    ]});
    let facts = BrokerFacts::default();
    let request = request.to_string();
    let outcome = broker_control(request.as_bytes(), ADMIN, &facts, Some(&mut book));
    assert_eq!(
        outcome.response,
        concat!(
            r#"{"responses":[{"command":"banAddress","#,
            r#""error":"The address is never banned (auth_fail_exempt)"},"#,
            r#"{"command":"unbanAddress","error":"Not banned"}]}"#
        )
    );
    assert!(outcome.log.is_empty() && book.0.is_empty());
}

#[test]
fn what_a_request_takes_that_is_slow_is_known_before() {
    let request = json!({"commands": [
        {"command": "createClient", "username": "a", "password": "p"},
        {"command": "SETCLIENTPASSWORD", "username": "a", "password": "q"},
        {"command": "deleteClient", "username": "a", "password": "r"},
        {"command": "getClient", "username": "b"},
        {"command": "getClient", "username": "c"},
    ]});
    let found = needs(format!("{request}\0").as_bytes());
    let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found.passwords, of(&["p", "q"]));
    assert_eq!(found.connections, Connections::Of(of(&["b", "c"])));
    let request = json!({"commands": [{"command": "listClients"}, {"command": "getClient", "username": "b"}]});
    assert_eq!(
        needs(request.to_string().as_bytes()).connections,
        Connections::All
    );
    assert_eq!(needs(b"no json"), Needs::default());
}
