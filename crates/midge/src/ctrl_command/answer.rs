//! Answers, as they are printed.

use std::fmt::Write as _;

use serde_json::Value;

use super::request::Object;

/// The answer to one command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Carried out; the text is what there is to print, often nothing.
    Done(String),
    /// Not carried out, and why.
    Error(String),
    /// The payload is no answer.
    Invalid(&'static str),
}

const INVALID: &str = "Invalid response from server.";
const MISSING: &str = "Payload missing data.";

/// Reads the payload of a response topic.
pub(super) fn read(payload: &[u8]) -> Answer {
    let Ok(root) = serde_json::from_slice::<Value>(payload) else {
        return Answer::Invalid("Payload not JSON.");
    };
    if let Some(error) = root.get("error").and_then(Value::as_str) {
        return Answer::Error(format!("The broker does not offer this module: {error}."));
    }
    let first = root.get("responses").and_then(|responses| responses.get(0));
    let Some(command) = first.and_then(|first| first.get("command")?.as_str()) else {
        return Answer::Invalid(MISSING);
    };
    let first = first.unwrap_or(&Value::Null);
    if let Some(error) = first.get("error").and_then(Value::as_str) {
        return Answer::Error(format!("{command}: Error: {error}."));
    }
    match print(command, first.get("data")) {
        Some(text) => Answer::Done(text),
        None => Answer::Invalid(INVALID),
    }
}

/// The text for a command's data; `None` when the data are not what they should be.
fn print(command: &str, data: Option<&Value>) -> Option<String> {
    let kind = |name: &str| command.eq_ignore_ascii_case(name);
    let member = |name: &str| data?.get(name);
    let object = |name: &str| member(name)?.as_object();
    Some(match command {
        _ if kind("listClients") => names(member("clients")?, "username")?,
        _ if kind("listGroups") => names(member("groups")?, "groupname")?,
        _ if kind("listRoles") => names(member("roles")?, "rolename")?,
        _ if kind("getClient") => client(object("client")?)?,
        _ if kind("getGroup") => group(object("group")?)?,
        _ if kind("getRole") => role(object("role")?)?,
        _ if kind("getDefaultACLAccess") => default_access(member("acls")?)?,
        _ if kind("getAnonymousGroup") => format!("{}\n", text(object("group")?, "groupname")?),
        _ if kind("getDetails") => details(data?),
        _ if kind("listPlugins") => plugins(member("plugins")?)?,
        _ if kind("listListeners") => listeners(member("listeners")?)?,
        _ if kind("listBans") => bans(member("bans")?)?,
        _ => String::new(),
    })
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn names(list: &Value, key: &str) -> Option<String> {
    let mut out = String::new();
    for entry in list.as_array()? {
        // Whole entries, or names alone.
        if let Some(name) = entry.as_str().or_else(|| entry.get(key)?.as_str()) {
            let _ = writeln!(out, "{name}");
        }
    }
    Some(out)
}

/// A label, and beside it the names of an array under each other, each with its priority if it has one to show.
fn array(
    out: &mut String,
    width: usize,
    label: &str,
    list: Option<&Value>,
    key: &str,
    priority: bool,
) {
    let Some(Value::Array(list)) = list else {
        let _ = writeln!(out, "{label}");
        return;
    };
    let mut label = label;
    for entry in list {
        let Some(name) = entry.as_str().or_else(|| entry.get(key)?.as_str()) else {
            continue;
        };
        let _ = write!(out, "{label:<width$} {name}");
        if priority {
            let rank = entry
                .get("priority")
                .map_or_else(|| "-1".to_owned(), Value::to_string);
            let _ = write!(out, " (priority: {rank})");
        }
        out.push('\n');
        label = "";
    }
}

fn client(client: &Object) -> Option<String> {
    let width = "Connections:".len();
    let mut out = String::new();
    let _ = writeln!(out, "{:<width$} {}", "Username:", text(client, "username")?);
    match text(client, "clientid") {
        Some(id) => {
            let _ = writeln!(out, "{:<width$} {id}", "Clientid:");
        }
        None => out.push_str("Clientid:\n"),
    }
    if let Some(Value::Bool(disabled)) = client.get("disabled") {
        let _ = writeln!(out, "{:<width$} {disabled}", "Disabled:");
    }
    array(
        &mut out,
        width,
        "Roles:",
        client.get("roles"),
        "rolename",
        true,
    );
    array(
        &mut out,
        width,
        "Groups:",
        client.get("groups"),
        "groupname",
        true,
    );
    array(
        &mut out,
        width,
        "Connections:",
        client.get("connections"),
        "address",
        false,
    );
    Some(out)
}

fn group(group: &Object) -> Option<String> {
    let width = "Groupname:".len();
    let mut out = String::new();
    let _ = writeln!(out, "Groupname: {}", text(group, "groupname")?);
    array(
        &mut out,
        width,
        "Roles:",
        group.get("roles"),
        "rolename",
        true,
    );
    array(
        &mut out,
        width,
        "Clients:",
        group.get("clients"),
        "username",
        false,
    );
    Some(out)
}

fn role(role: &Object) -> Option<String> {
    let mut out = String::new();
    let _ = writeln!(out, "Rolename: {}", text(role, "rolename")?);
    let acls = role.get("acls").and_then(Value::as_array);
    let mut label = "ACLs:";
    for acl in acls.into_iter().flatten().filter_map(Value::as_object) {
        let Some(kind) = text(acl, "acltype") else {
            continue;
        };
        let _ = write!(out, "{label:<9} {kind:<20}");
        label = "";
        if let Some(Value::Bool(allow)) = acl.get("allow") {
            out.push_str(if *allow { " : allow" } else { " : deny " });
        }
        if let Some(topic) = text(acl, "topic") {
            let _ = write!(out, " : {topic}");
        }
        let rank = acl.get("priority").and_then(Value::as_i64).unwrap_or(-1);
        let _ = writeln!(out, " (priority: {rank})");
    }
    Some(out)
}

fn default_access(acls: &Value) -> Option<String> {
    let mut out = String::new();
    for acl in acls.as_array()? {
        let acl = acl.as_object()?;
        let access = if acl.get("allow")?.as_bool()? {
            "allow"
        } else {
            "deny"
        };
        let _ = writeln!(out, "{:<20} : {access}", text(acl, "acltype")?);
    }
    Some(out)
}

fn details(data: &Value) -> String {
    let mut out = String::new();
    for (label, key) in [
        ("Client count:", "clientCount"),
        ("Group count:", "groupCount"),
        ("Role count:", "roleCount"),
        ("Change index:", "changeIndex"),
    ] {
        let number = data.get(key).and_then(Value::as_i64).unwrap_or(0);
        let _ = writeln!(out, "{label:<13} {number}");
    }
    out
}

fn plugins(list: &Value) -> Option<String> {
    let mut out = String::new();
    for plugin in list.as_array()? {
        let plugin = plugin.as_object()?;
        let _ = writeln!(out, "Plugin:            {}", text(plugin, "name")?);
        if let Some(version) = text(plugin, "version") {
            let _ = writeln!(out, "Version:           {version}");
        }
        let endpoints = plugin.get("control-endpoints").and_then(Value::as_array);
        let mut label = "Control endpoints:";
        for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(out, "{label:<18} {endpoint}");
            label = "";
        }
    }
    Some(out)
}

fn listeners(list: &Value) -> Option<String> {
    let mut out = String::new();
    for (number, listener) in (1..).zip(list.as_array()?) {
        let listener = listener.as_object()?;
        let _ = writeln!(out, "Listener {number}:");
        if let Some(port) = listener.get("port").and_then(Value::as_i64) {
            let _ = writeln!(out, "  Port:              {port}");
        }
        for (label, key) in [
            ("Protocol:", "protocol"),
            ("Socket path:", "socket-path"),
            ("Bind address:", "bind-address"),
        ] {
            if let Some(value) = text(listener, key) {
                let _ = writeln!(out, "  {label:<18} {value}");
            }
        }
        let tls = listener.get("tls").and_then(Value::as_bool) == Some(true);
        let _ = writeln!(out, "  TLS:               {tls}\n");
    }
    Some(out)
}

fn bans(list: &Value) -> Option<String> {
    let mut out = String::new();
    for ban in list.as_array()? {
        let ban = ban.as_object()?;
        let (kind, name) = match text(ban, "address") {
            Some(address) => ("address", address),
            None => ("user", text(ban, "username")?),
        };
        let number = |key: &str| ban.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (seconds, failures) = (number("seconds"), number("failures"));
        let _ = writeln!(
            out,
            "{kind:<7} {name} ({seconds} s, {failures} failed logins)"
        );
    }
    Some(out)
}

#[cfg(test)]
mod tests;
