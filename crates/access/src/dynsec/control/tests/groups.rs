use super::*;

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
