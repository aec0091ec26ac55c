use serde_json::json;

use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn read(style: Style, module: Module, line: &str) -> Result<Prepared, Fault> {
    let words = words(line);
    prepare(module, style, &words[0], &words[1..])
}

/// A command line and the command that it becomes.
#[track_caller]
fn check(style: Style, line: &str, command: Value) {
    let request = json!({ "commands": [command] }).to_string();
    assert_eq!(
        read(style, Module::Dynsec, line),
        Ok(Prepared::Request(request)),
        "{line}"
    );
}

#[track_caller]
fn check_fault(style: Style, line: &str, why: Option<&str>) {
    let Err(Fault::Arguments { usage, why: found }) = read(style, Module::Dynsec, line) else {
        panic!("{line} is taken");
    };
    assert_eq!(found.as_deref(), why, "{line}");
    let name = line.split(' ').next().unwrap();
    assert!(usage.starts_with(name), "{usage}");
}

#[test]
fn command_lines_become_the_requests_of_mosquitto_ctrl() {
    use Style::CommandLine as Line;
    for (line, command) in [
        (
            "getDefaultACLAccess",
            json!({"command": "getDefaultACLAccess"}),
        ),
        (
            "SETDEFAULTACLACCESS Subscribe Allow",
            json!({"command": "setDefaultACLAccess", "acls": [{"acltype": "subscribe", "allow": true}]}),
        ),
        (
            "setAnonymousGroup g",
            json!({"command": "setAnonymousGroup", "groupname": "g"}),
        ),
        (
            "createClient u -i c -p p",
            json!({"command": "createClient", "username": "u", "clientid": "c", "password": "p"}),
        ),
        (
            "deleteClient u",
            json!({"command": "deleteClient", "username": "u"}),
        ),
        (
            "setClientId u",
            json!({"command": "setClientId", "username": "u"}),
        ),
        (
            "setClientId u c",
            json!({"command": "setClientId", "username": "u", "clientid": "c"}),
        ),
        (
            "setClientPassword u p",
            json!({"command": "setClientPassword", "username": "u", "password": "p"}),
        ),
        (
            "addClientRole u r",
            json!({"command": "addClientRole", "username": "u", "rolename": "r"}),
        ),
        (
            "addClientRole u r -5",
            json!({"command": "addClientRole", "username": "u", "rolename": "r", "priority": -5}),
        ),
        (
            "addGroupClient g u 3",
            json!({"command": "addGroupClient", "groupname": "g", "username": "u", "priority": 3}),
        ),
        (
            "removeGroupRole g r",
            json!({"command": "removeGroupRole", "groupname": "g", "rolename": "r"}),
        ),
        ("listClients", json!({"command": "listClients"})),
        ("listRoles 5 0", json!({"command": "listRoles", "count": 5})),
        (
            "listGroups 5 2",
            json!({"command": "listGroups", "count": 5, "offset": 2}),
        ),
        (
            "addRoleACL r publishclientsend a/# deny 9",
            json!({"command": "addRoleACL", "rolename": "r", "acltype": "publishClientSend",
                "topic": "a/#", "allow": false, "priority": 9}),
        ),
        (
            "removeRoleACL r subscribeLiteral a/#",
            json!({"command": "removeRoleACL", "rolename": "r", "acltype": "subscribeLiteral", "topic": "a/#"}),
        ),
    ] {
        check(Line, line, command);
    }
}

#[test]
fn the_shell_has_an_order_of_its_own_for_some() {
    use Style::Shell;
    check(
        Shell,
        "addRoleACL r subscribePattern allow a/#",
        json!({"command": "addRoleACL", "rolename": "r", "acltype": "subscribePattern",
            "topic": "a/#", "allow": true}),
    );
    check(
        Shell,
        "addRoleACL r subscribePattern allow 5 a/#",
        json!({"command": "addRoleACL", "rolename": "r", "acltype": "subscribePattern",
            "topic": "a/#", "allow": true, "priority": 5}),
    );
    check(
        Shell,
        "createClient u p c",
        json!({"command": "createClient", "username": "u", "password": "p", "clientid": "c"}),
    );
    check(
        Shell,
        "modifyRole r allowWildcardSubs FALSE",
        json!({"command": "modifyRole", "rolename": "r", "allowwildcardsubs": false}),
    );
    check(
        Shell,
        "modifyClient u textName a long name",
        json!({"command": "modifyClient", "username": "u", "textname": "a long name"}),
    );
}

#[test]
fn a_password_that_is_left_out_is_asked_for() {
    let asked = |style, line| match read(style, Module::Dynsec, line) {
        Ok(Prepared::Password {
            user_name,
            optional,
            ..
        }) => (user_name, optional),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        asked(Style::CommandLine, "createClient u -i c"),
        ("u".into(), true)
    );
    assert_eq!(asked(Style::Shell, "createClient u"), ("u".into(), true));
    assert_eq!(
        asked(Style::CommandLine, "setClientPassword u"),
        ("u".into(), false)
    );
}

#[test]
fn arguments_that_are_wrong_are_told() {
    use Style::CommandLine as Line;
    for (line, why) in [
        ("deleteClient", None),
        ("deleteClient a b", None),
        ("listClients 1 2 3", None),
        ("createClient", None),
        (
            "createClient u -i",
            Some("-i argument given, but no clientid provided."),
        ),
        (
            "createClient u -p",
            Some("-p argument given, but no password provided."),
        ),
        ("createClient u x", Some("Unknown argument: x")),
        (
            "addClientRole u r high",
            Some("'high' is no number for the priority."),
        ),
        (
            "addRoleACL r publish a allow",
            Some("Invalid acltype 'publish'."),
        ),
        (
            "addRoleACL r publishClientSend a maybe",
            Some("Invalid access 'maybe', it must be one of: allow, deny."),
        ),
        (
            "setDefaultACLAccess publish allow",
            Some(
                "Invalid acltype 'publish', it must be one of: publishClientSend, publishClientReceive, subscribe, unsubscribe.",
            ),
        ),
        ("modifyClient u textName", None),
        (
            "modifyClient u color red",
            Some("Invalid property 'color', it must be one of: textName, textDescription."),
        ),
    ] {
        check_fault(Line, line, why);
    }
    assert_eq!(
        read(Line, Module::Dynsec, "listPlugins"),
        Err(Fault::Unknown)
    );
    assert_eq!(
        read(Line, Module::Broker, "listClients"),
        Err(Fault::Unknown)
    );
}

#[test]
fn help_names_every_command() {
    for module in [Module::Broker, Module::Dynsec] {
        let help = module.help();
        for spec in module.specs() {
            assert!(help.contains(spec.name), "{}", spec.name);
        }
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
