use serde_json::json;

use crate::Action;

use super::super::{LoginVerdict, Verdict};
use super::*;

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
fn a_client_is_created_with_all_that_is_said_about_it() {
    let state = check_done(
        &json!({"command": "createClient", "username": "new", "password": "pw", "clientid": "n1",
            "textname": "N", "textdescription": "D", "roles": [{"rolename": "r", "priority": 200_000}],
            "groups": [{"groupname": "g", "priority": 7}, {}, 3]}),
        &[],
        &["new"],
    );
    let account = &state.clients["new"];
    assert_eq!(account.client_id.as_deref(), Some("n1"));
    assert_eq!(account.roles.iter().collect::<Vec<_>>(), [("r", 100_000)]);
    assert_eq!(account.groups.iter().collect::<Vec<_>>(), [("g", 7)]);
    let check = state.login(Some("new"), "n1", true).unwrap();
    assert_eq!(check.verify(b"pw"), LoginVerdict::Accepted);
}

#[test]
fn a_client_without_a_password_cannot_log_in() {
    for password in [json!({}), json!({"password": ""})] {
        let mut command = json!({"command": "createClient", "username": "new"});
        let members = password.as_object().unwrap().clone();
        command.as_object_mut().unwrap().extend(members);
        let state = check_done(&command, &[], &["new"]);
        let check = state.login(Some("new"), "x", true).unwrap();
        assert!(matches!(check.verify(b""), LoginVerdict::Refused(_)));
    }
}

#[test]
fn faults_of_commands_about_clients() {
    for (command, error) in [
        (
            json!({"command": "createClient"}),
            "Invalid/missing username",
        ),
        (
            json!({"command": "createClient", "username": 3}),
            "Invalid/missing username",
        ),
        (
            json!({"command": "createClient", "username": ""}),
            "Empty username",
        ),
        (
            json!({"command": "createClient", "username": "a\u{1}"}),
            "Username not valid UTF-8",
        ),
        (
            json!({"command": "createClient", "username": "ann"}),
            "Client already exists",
        ),
        (
            json!({"command": "createClient", "username": "x", "password": 1}),
            "Invalid/missing password",
        ),
        (
            json!({"command": "createClient", "username": "x", "clientid": 1}),
            "Invalid/missing client id",
        ),
        (
            json!({"command": "createClient", "username": "x", "clientid": "\u{7f}"}),
            "Client ID not valid UTF-8",
        ),
        (
            json!({"command": "createClient", "username": "x", "textname": 1}),
            "Invalid/missing textname",
        ),
        (
            json!({"command": "createClient", "username": "x", "textdescription": 1}),
            "Invalid/missing textdescription",
        ),
        (
            json!({"command": "createClient", "username": "x", "roles": [{"rolename": "no"}]}),
            "Role not found",
        ),
        (
            json!({"command": "createClient", "username": "x", "roles": "r"}),
            "'roles' not an array or missing/invalid rolename",
        ),
        (
            json!({"command": "createClient", "username": "x", "roles": [{}]}),
            "'roles' not an array or missing/invalid rolename",
        ),
        (
            json!({"command": "createClient", "username": "x", "groups": [{"groupname": "no"}]}),
            "Group not found",
        ),
        (
            json!({"command": "deleteClient"}),
            "Invalid/missing username",
        ),
        (
            json!({"command": "deleteClient", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "getClient", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "enableClient", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "disableClient", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "setClientId", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "setClientId", "username": "ann", "clientid": 1}),
            "Invalid/missing client ID",
        ),
        (
            json!({"command": "setClientPassword", "username": "ann"}),
            "Invalid/missing password",
        ),
        (
            json!({"command": "setClientPassword", "username": "ann", "password": ""}),
            "Empty password is not allowed",
        ),
        (
            json!({"command": "setClientPassword", "username": "no", "password": "x"}),
            "Client not found",
        ),
        (
            json!({"command": "modifyClient", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "modifyClient", "username": "ann", "roles": [{"rolename": "no"}]}),
            "Role not found",
        ),
        (
            json!({"command": "modifyClient", "username": "ann", "roles": 3}),
            "'roles' not an array or missing/invalid rolename",
        ),
        (
            json!({"command": "modifyClient", "username": "ann", "groups": [{"groupname": "no"}]}),
            "'groups' contains an object with a 'groupname' that does not exist",
        ),
        (
            json!({"command": "modifyClient", "username": "ann", "groups": [{}]}),
            "'groups' contains an object with an invalid 'groupname'",
        ),
        (
            json!({"command": "addClientRole", "username": "ann"}),
            "Invalid/missing rolename",
        ),
        (
            json!({"command": "addClientRole", "username": "no", "rolename": "r"}),
            "Client not found",
        ),
        (
            json!({"command": "addClientRole", "username": "ann", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "addClientRole", "username": "ann", "rolename": "r"}),
            "Internal error",
        ),
        (
            json!({"command": "removeClientRole", "username": "no", "rolename": "r"}),
            "Client not found",
        ),
        (
            json!({"command": "removeClientRole", "username": "ann", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "removeClientRole", "username": "ann", "rolename": "\n"}),
            "Role name not valid UTF-8",
        ),
    ] {
        check_error(&command, error);
    }
}

#[test]
fn a_client_that_could_not_log_in_again_as_it_did_is_disconnected() {
    let state = check_done(
        &json!({"command": "deleteClient", "username": "bob"}),
        &["bob"],
        &[],
    );
    assert!(!state.has_client("bob"));
    assert!(state.groups["g"].clients.is_empty());
    let state = check_done(
        &json!({"command": "disableClient", "username": "ann"}),
        &["ann"],
        &[],
    );
    assert!(state.clients["ann"].disabled);
    let state = check_done(
        &json!({"command": "enableClient", "username": "bob"}),
        &[],
        &[],
    );
    assert!(!state.clients["bob"].disabled);
    let command = json!({"command": "setClientId", "username": "ann", "clientid": ""});
    let state = check_done(&command, &["ann"], &[]);
    assert_eq!(state.clients["ann"].client_id, None);
    let command = json!({"command": "setClientPassword", "username": "cid", "password": "pw"});
    let state = check_done(&command, &["cid"], &[]);
    let check = state.login(Some("cid"), "x", true).unwrap();
    assert_eq!(check.verify(b"pw"), LoginVerdict::Accepted);
}

#[test]
fn modify_client_changes_what_is_stated_and_nothing_else() {
    let state = check_done(
        &json!({"command": "modifyClient", "username": "ann", "textdescription": "D",
            "groups": [{"groupname": "g"}, {"groupname": "nobody", "priority": 9}], "roles": [{"rolename": "q"}]}),
        &[],
        &["ann"],
    );
    let account = &state.clients["ann"];
    assert_eq!(account.text.name.as_deref(), Some("Ann"));
    assert_eq!(account.text.description.as_deref(), Some("D"));
    assert_eq!(account.client_id.as_deref(), Some("a1"));
    assert_eq!(
        account.groups.iter().collect::<Vec<_>>(),
        [("nobody", 9), ("g", -1)]
    );
    assert_eq!(account.roles.iter().collect::<Vec<_>>(), [("q", -1)]);

    let command =
        json!({"command": "modifyClient", "username": "ann", "clientid": "", "textname": 3});
    let state = check_done(&command, &["ann"], &[]);
    assert_eq!(state.clients["ann"].client_id, None);
    assert_eq!(state.clients["ann"].text.name.as_deref(), Some("Ann"));

    let command = json!({"command": "modifyClient", "username": "ann", "password": "pw"});
    check_done(&command, &["ann"], &[]);
    let command =
        json!({"command": "modifyClient", "username": "ann", "password": "", "clientid": "a1"});
    check_done(&command, &[], &["ann"]);
    let command = json!({"command": "modifyClient", "username": "bob", "groups": []});
    let state = check_done(&command, &[], &["bob"]);
    assert!(state.groups["g"].clients.is_empty());
}

#[test]
fn clients_are_shown_one_by_one_and_as_a_list() {
    let ann = json!({"username": "ann", "clientid": "a1", "textname": "Ann",
        "roles": [{"rolename": "r", "priority": 2}], "groups": [],
        "connections": [{"address": "address of ann/a1"}]});
    let bob = json!({"username": "bob", "disabled": true, "roles": [],
        "groups": [{"groupname": "g", "priority": 4}], "connections": []});
    check_data(
        &json!({"command": "getClient", "username": "ann"}),
        &json!({ "client": ann }),
    );
    check_data(
        &json!({"command": "listClients"}),
        &json!({"totalCount": 3, "clients": ["ann", "bob", "cid"]}),
    );
    check_data(
        &json!({"command": "listClients", "verbose": true, "count": 1, "offset": 1}),
        &json!({"totalCount": 3, "clients": [bob]}),
    );
    for (count, offset, shown) in [
        (0, 0, json!(["ann"])),
        (-1, 2, json!(["cid"])),
        (9, -5, json!(["ann", "bob", "cid"])),
        (1, 9, json!([])),
    ] {
        check_data(
            &json!({"command": "listClients", "count": count, "offset": offset}),
            &json!({"totalCount": 3, "clients": shown}),
        );
    }
}

#[test]
fn roles_of_clients_come_and_go() {
    let command =
        json!({"command": "addClientRole", "username": "cid", "rolename": "r", "priority": 5});
    let state = check_done(&command, &[], &["cid"]);
    assert_eq!(
        state.clients["cid"].roles.iter().collect::<Vec<_>>(),
        [("r", 5)]
    );
    let command = json!({"command": "removeClientRole", "username": "ann", "rolename": "r"});
    let state = check_done(&command, &[], &["ann"]);
    assert_eq!(state.clients["ann"].roles.iter().count(), 0);
    // Nothing to take away is no fault.
    let command = json!({"command": "removeClientRole", "username": "ann", "rolename": "q"});
    check_done(&command, &[], &["ann"]);
}

#[test]
fn groups_are_created_changed_and_deleted() {
    let command = json!({"command": "createGroup", "groupname": "new", "textname": "N",
        "textdescription": "D", "roles": [{"rolename": "r", "priority": 1}]});
    let state = check_done(&command, &[], &[]);
    assert_eq!(
        state.groups["new"].roles.iter().collect::<Vec<_>>(),
        [("r", 1)]
    );

    let command = json!({"command": "modifyGroup", "groupname": "g", "textname": "G",
        "clients": [{"username": "ann", "priority": 3}, {"username": "cid"}], "roles": []});
    let state = check_done(&command, &[], &["ann", "bob", "cid"]);
    assert_eq!(state.clients["bob"].groups.iter().count(), 0);
    assert_eq!(
        state.clients["ann"].groups.iter().collect::<Vec<_>>(),
        [("g", 3)]
    );
    assert_eq!(state.groups["g"].roles.iter().count(), 0);

    let command = json!({"command": "modifyGroup", "groupname": "nobody", "textname": 3});
    let state = check_done(&command, &[], &[""]);
    assert_eq!(state.groups["nobody"].text.name.as_deref(), Some("None"));

    let state = check_done(
        &json!({"command": "deleteGroup", "groupname": "g"}),
        &[],
        &["bob"],
    );
    assert_eq!(state.clients["bob"].groups.iter().count(), 0);

    let command = json!({"command": "addGroupClient", "groupname": "g", "username": "ann"});
    let state = check_done(&command, &[], &["ann"]);
    assert_eq!(state.groups["g"].clients["ann"], -1);
    let command = json!({"command": "removeGroupClient", "groupname": "g", "username": "bob"});
    let state = check_done(&command, &[], &["bob"]);
    assert!(state.groups["g"].clients.is_empty());

    let command =
        json!({"command": "addGroupRole", "groupname": "g", "rolename": "q", "priority": 3});
    let state = check_done(&command, &[], &["bob"]);
    assert_eq!(
        state.groups["g"].roles.iter().collect::<Vec<_>>(),
        [("q", 3), ("r", -1)]
    );
    let command = json!({"command": "removeGroupRole", "groupname": "nobody", "rolename": "q"});
    check_done(&command, &[], &[""]);
    let command = json!({"command": "setAnonymousGroup", "groupname": "g"});
    let state = check_done(&command, &[], &[""]);
    assert_eq!(state.anonymous_group.as_deref(), Some("g"));
}

#[test]
fn groups_are_shown_one_by_one_and_as_a_list() {
    let group =
        json!({"groupname": "g", "clients": [{"username": "bob"}], "roles": [{"rolename": "r"}]});
    check_data(
        &json!({"command": "getGroup", "groupname": "g"}),
        &json!({ "group": group }),
    );
    check_data(
        &json!({"command": "listGroups", "offset": 1}),
        &json!({"totalCount": 2, "groups": ["nobody"]}),
    );
    check_data(
        &json!({"command": "listGroups", "verbose": true, "count": 1}),
        &json!({"totalCount": 2, "groups": [group]}),
    );
    check_data(
        &json!({"command": "getAnonymousGroup"}),
        &json!({"group": {"groupname": "nobody"}}),
    );
    let (answer, _) = one(
        &mut State::default(),
        &json!({"command": "getAnonymousGroup"}),
    );
    assert_eq!(answer["data"], json!({"group": {"groupname": ""}}));
}

#[test]
fn faults_of_commands_about_groups() {
    for (command, error) in [
        (
            json!({"command": "createGroup"}),
            "Invalid/missing groupname",
        ),
        (
            json!({"command": "createGroup", "groupname": ""}),
            "Empty groupname",
        ),
        (
            json!({"command": "createGroup", "groupname": "\t"}),
            "Group name not valid UTF-8",
        ),
        (
            json!({"command": "createGroup", "groupname": "g"}),
            "Group already exists",
        ),
        (
            json!({"command": "createGroup", "groupname": "x", "textname": 1}),
            "Invalid/missing textname",
        ),
        (
            json!({"command": "createGroup", "groupname": "x", "textdescription": 1}),
            "Invalid/missing textdescription",
        ),
        (
            json!({"command": "createGroup", "groupname": "x", "roles": [{"rolename": "no"}]}),
            "Role not found",
        ),
        (
            json!({"command": "createGroup", "groupname": "x", "roles": 1}),
            "Internal error",
        ),
        (
            json!({"command": "deleteGroup", "groupname": "no"}),
            "Group not found",
        ),
        (
            json!({"command": "deleteGroup", "groupname": "nobody"}),
            "Deleting the anonymous group is forbidden",
        ),
        (
            json!({"command": "getGroup", "groupname": "no"}),
            "Group not found",
        ),
        (
            json!({"command": "modifyGroup", "groupname": "no"}),
            "Group not found",
        ),
        (
            json!({"command": "modifyGroup", "groupname": "g", "roles": [{"rolename": "no"}]}),
            "Role not found",
        ),
        (
            json!({"command": "modifyGroup", "groupname": "g", "roles": [{}]}),
            "'roles' not an array or missing/invalid rolename",
        ),
        (
            json!({"command": "modifyGroup", "groupname": "g", "clients": [{"username": "no"}]}),
            "'clients' contains an object with a 'username' that does not exist",
        ),
        (
            json!({"command": "modifyGroup", "groupname": "g", "clients": [{}]}),
            "'clients' contains an object with an invalid 'username'",
        ),
        (
            json!({"command": "addGroupClient", "groupname": "g"}),
            "Invalid/missing username",
        ),
        (
            json!({"command": "addGroupClient", "username": "ann"}),
            "Invalid/missing groupname",
        ),
        (
            json!({"command": "addGroupClient", "groupname": "g", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "addGroupClient", "groupname": "no", "username": "ann"}),
            "Group not found",
        ),
        (
            json!({"command": "addGroupClient", "groupname": "g", "username": "bob"}),
            "Client is already in this group",
        ),
        (
            json!({"command": "removeGroupClient", "groupname": "no", "username": "bob"}),
            "Group not found",
        ),
        (
            json!({"command": "removeGroupClient", "groupname": "g", "username": "no"}),
            "Client not found",
        ),
        (
            json!({"command": "addGroupRole", "groupname": "no", "rolename": "r"}),
            "Group not found",
        ),
        (
            json!({"command": "addGroupRole", "groupname": "g", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "addGroupRole", "groupname": "g", "rolename": "r"}),
            "Group is already in this role",
        ),
        (
            json!({"command": "removeGroupRole", "groupname": "no", "rolename": "r"}),
            "Group not found",
        ),
        (
            json!({"command": "removeGroupRole", "groupname": "g", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "setAnonymousGroup", "groupname": "no"}),
            "Group not found",
        ),
    ] {
        check_error(&command, error);
    }
}

#[test]
fn roles_are_created_changed_and_deleted() {
    let acls = json!([
        {"acltype": "subscribePattern", "topic": "a/#", "priority": 1, "allow": true},
        {"acltype": "subscribePattern", "topic": "b/#", "priority": 2},
        {"acltype": "subscribePattern", "topic": "a/#", "priority": 3},
        {"acltype": "unheardOf", "topic": "a"}, {"topic": "a"}, {"acltype": "subscribeLiteral"}, 3]);
    let command = json!({"command": "createRole", "rolename": "new", "textname": "N",
        "allowwildcardsubs": false, "acls": acls});
    let state = check_done(&command, &[], &[]);
    let patterns = state.roles["new"].acls(super::super::AclKind::SubscribePattern);
    let topics: Vec<_> = patterns
        .iter()
        .map(|acl| (acl.topic.as_str(), acl.allow))
        .collect();
    assert_eq!(topics, [("b/#", false), ("a/#", true)]);

    let command = json!({"command": "modifyRole", "rolename": "r", "acls": acls});
    let state = check_done(&command, &[], &["ann", "bob"]);
    assert_eq!(state.roles["r"].acl_count(), 2);
    let command = json!({"command": "modifyRole", "rolename": "q", "allowwildcardsubs": true});
    let state = check_done(&command, &[], &[""]);
    assert!(state.roles["q"].allow_wildcard_subs);
    // Texts change nobody's rules.
    let command = json!({"command": "modifyRole", "rolename": "r", "textname": "T", "allowwildcardsubs": true});
    check_done(&command, &[], &[]);

    let state = check_done(
        &json!({"command": "deleteRole", "rolename": "r"}),
        &[],
        &["ann", "bob"],
    );
    assert_eq!(state.clients["ann"].roles.iter().count(), 0);
    assert_eq!(state.groups["g"].roles.iter().count(), 0);
}

#[test]
fn a_rule_that_comes_or_goes_changes_what_is_decided() {
    let rules = |state: &State| {
        state.rules(Client {
            id: "a1",
            user_name: Some("ann"),
        })
    };
    let old = rules(&state());
    assert_eq!(old.decide(Action::Publish, "a/b"), Verdict::Allow);
    let command = json!({"command": "addRoleACL", "rolename": "r", "acltype": "PublishClientSend",
        "topic": "a/b", "priority": 9, "allow": false});
    let state = check_done(&command, &[], &["ann", "bob"]);
    assert_eq!(rules(&state).decide(Action::Publish, "a/b"), Verdict::Deny);
    let command = json!({"command": "removeRoleACL", "rolename": "r", "acltype": "publishClientSend", "topic": "a/#"});
    let state = check_done(&command, &[], &["ann", "bob"]);
    assert_eq!(rules(&state).decide(Action::Publish, "a/b"), Verdict::Defer);
}

#[test]
fn roles_are_shown_one_by_one_and_as_a_list() {
    let role = json!({"rolename": "r", "textdescription": "R", "allowwildcardsubs": true, "acls": [
        {"acltype": "publishClientSend", "topic": "a/#", "priority": 3, "allow": true}]});
    check_data(
        &json!({"command": "getRole", "rolename": "r"}),
        &json!({ "role": role }),
    );
    check_data(
        &json!({"command": "listRoles"}),
        &json!({"totalCount": 2, "roles": ["q", "r"]}),
    );
    check_data(
        &json!({"command": "listRoles", "verbose": true, "offset": 1}),
        &json!({"totalCount": 2, "roles": [role]}),
    );
}

#[test]
fn faults_of_commands_about_roles() {
    let rule = |acltype: &str, topic: &str| json!({"command": "addRoleACL", "rolename": "r", "acltype": acltype, "topic": topic});
    for (command, error) in [
        (json!({"command": "createRole"}), "Invalid/missing rolename"),
        (
            json!({"command": "createRole", "rolename": ""}),
            "Empty rolename",
        ),
        (
            json!({"command": "createRole", "rolename": "\r"}),
            "Role name not valid UTF-8",
        ),
        (
            json!({"command": "createRole", "rolename": "r"}),
            "Role already exists",
        ),
        (
            json!({"command": "createRole", "rolename": "x", "textname": 1}),
            "Invalid/missing textname",
        ),
        (
            json!({"command": "createRole", "rolename": "x", "textdescription": 1}),
            "Invalid/missing textdescription",
        ),
        (
            json!({"command": "createRole", "rolename": "x", "allowwildcardsubs": 1}),
            "Invalid allowwildcardsubs",
        ),
        (
            json!({"command": "createRole", "rolename": "x", "acls": [
                {"acltype": "subscribeLiteral", "topic": "a#"}]}),
            "Invalid ACL topic",
        ),
        (
            json!({"command": "getRole", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "deleteRole", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "modifyRole", "rolename": "no"}),
            "Role does not exist",
        ),
        (
            json!({"command": "addRoleACL", "rolename": "no"}),
            "Role not found",
        ),
        (
            json!({"command": "addRoleACL", "rolename": "r"}),
            "Invalid/missing acltype",
        ),
        (rule("publish", "a"), "Unknown acltype"),
        (
            json!({"command": "addRoleACL", "rolename": "r", "acltype": "subscribeLiteral"}),
            "Invalid/missing topic",
        ),
        (rule("subscribeLiteral", "a\u{0}"), "Topic not valid UTF-8"),
        (rule("subscribeLiteral", "a#"), "Invalid ACL topic"),
        (rule("subscribeLiteral", ""), "Invalid ACL topic"),
        (
            rule("subscribeLiteral", &"/".repeat(201)),
            "Invalid ACL topic",
        ),
        (
            rule("publishClientSend", "a/#"),
            "ACL with this topic already exists",
        ),
        (
            json!({"command": "removeRoleACL", "rolename": "r", "acltype": "subscribeLiteral", "topic": "a/#"}),
            "ACL not found",
        ),
    ] {
        check_error(&command, error);
    }
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
    let outcome = broker_control(request.to_string().as_bytes(), ADMIN, &facts);
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
