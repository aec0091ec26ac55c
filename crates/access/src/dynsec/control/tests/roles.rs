use super::*;

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
    let patterns = state.roles["new"].acls(crate::dynsec::AclKind::SubscribePattern);
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
