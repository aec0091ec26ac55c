use super::*;

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
