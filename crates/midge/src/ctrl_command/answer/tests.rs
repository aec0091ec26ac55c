use serde_json::json;

use super::*;

/// What is printed for the data of a command.
#[track_caller]
fn check(command: &str, data: Value, text: &str) {
    let payload = json!({"responses": [{"command": command, "data": data}]});
    assert_eq!(
        read(payload.to_string().as_bytes()),
        Answer::Done(text.into())
    );
}

#[test]
fn clients_groups_and_roles_are_printed_as_mosquitto_ctrl_does() {
    check(
        "getClient",
        json!({"client": {"username": "ann", "clientid": "a1", "disabled": true,
            "roles": [{"rolename": "r", "priority": 3}, {"rolename": "q"}], "groups": [{"groupname": "g"}],
            "connections": [{"address": "::1"}]}}),
        "\
Username:    ann
Clientid:    a1
Disabled:    true
Roles:       r (priority: 3)
             q (priority: -1)
Groups:      g (priority: -1)
Connections: ::1
",
    );
    check(
        "getClient",
        json!({"client": {"username": "ann", "roles": [], "groups": []}}),
        "Username:    ann\nClientid:\nConnections:\n",
    );
    check(
        "getGroup",
        json!({"group": {"groupname": "g", "roles": [{"rolename": "r"}],
            "clients": [{"username": "ann"}, {"username": "bob"}]}}),
        "\
Groupname: g
Roles:     r (priority: -1)
Clients:   ann
           bob
",
    );
    check(
        "getRole",
        json!({"role": {"rolename": "r", "acls": [
            {"acltype": "publishClientSend", "topic": "a/#", "priority": 3, "allow": true},
            {"acltype": "publishClientReceive", "topic": "b", "allow": false}]}}),
        "\
Rolename: r
ACLs:     publishClientSend    : allow : a/# (priority: 3)
          publishClientReceive : deny  : b (priority: -1)
",
    );
}

#[test]
fn lists_and_the_rest_are_printed() {
    check(
        "listClients",
        json!({"totalCount": 2, "clients": ["a", "b"]}),
        "a\nb\n",
    );
    check("listGroups", json!({"groups": [{"groupname": "g"}]}), "g\n");
    check("listRoles", json!({"roles": []}), "");
    check(
        "getAnonymousGroup",
        json!({"group": {"groupname": "g"}}),
        "g\n",
    );
    check(
        "getDefaultACLAccess",
        json!({"acls": [{"acltype": "publishClientSend", "allow": true},
            {"acltype": "subscribe", "allow": false}]}),
        "publishClientSend    : allow\nsubscribe            : deny\n",
    );
    check(
        "getDetails",
        json!({"clientCount": 1, "groupCount": 2, "roleCount": 3, "changeIndex": 4}),
        "Client count: 1\nGroup count:  2\nRole count:   3\nChange index: 4\n",
    );
    check(
        "listPlugins",
        json!({"plugins": [{"name": "dynamic-security", "version": "2",
            "control-endpoints": ["$CONTROL/a/v1", "$CONTROL/b/v1"]}]}),
        "\
Plugin:            dynamic-security
Version:           2
Control endpoints: $CONTROL/a/v1
                   $CONTROL/b/v1
",
    );
    check(
        "listListeners",
        json!({"listeners": [{"port": 1883, "protocol": "mqtt", "bind-address": "::1", "tls": true}]}),
        "\
Listener 1:
  Port:              1883
  Protocol:          mqtt
  Bind address:      ::1
  TLS:               true

",
    );
}

#[test]
fn errors_are_told_and_what_is_no_answer_as_well() {
    let error = br#"{"responses":[{"command":"getClient","error":"Client not found"}]}"#;
    assert_eq!(
        read(error),
        Answer::Error("getClient: Error: Client not found.".into())
    );
    let error = br#"{"error": "endpoint not available"}"#;
    assert_eq!(
        read(error),
        Answer::Error("The broker does not offer this module: endpoint not available.".into())
    );
    assert_eq!(
        read(br#"{"responses":[{"command":"createRole"}]}"#),
        Answer::Done(String::new())
    );
    for payload in [
        "{}",
        "[]",
        "3",
        r#"{"responses":[]}"#,
        r#"{"responses":[{"data":{}}]}"#,
    ] {
        assert_eq!(
            read(payload.as_bytes()),
            Answer::Invalid(MISSING),
            "{payload}"
        );
    }
    assert_eq!(read(b"\xff"), Answer::Invalid("Payload not JSON."));
    for command in [
        "getClient",
        "listRoles",
        "getDefaultACLAccess",
        "listListeners",
        "getDetails",
    ] {
        let payload = json!({"responses": [{"command": command}]}).to_string();
        assert_eq!(
            read(payload.as_bytes()),
            Answer::Invalid(INVALID),
            "{command}"
        );
    }
}
