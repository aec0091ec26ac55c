//! Commands about roles and their rules.

use serde_json::Value;

use super::super::json::{self, Object};
use super::super::state::{Acl, AclKind, AclLists, Role};
use super::super::topics::is_rule_topic;
use super::{ACLS_MAX, Answer, DONE, ROLES_MAX, Request, if_text, list, optional, rank, role_name};

const NOT_FOUND: &str = "Role not found";
const INVALID_TOPIC: &str = "Invalid ACL topic";
const TOO_MANY: &str = "Too many ACLs";

impl Request<'_> {
    pub(super) fn create_role(&mut self, command: &Object) -> Answer {
        let name = match json::text(command, "rolename") {
            Ok(Some("")) => return Err("Empty rolename"),
            _ => role_name(command)?,
        };
        let text_name = optional(command, "textname", "Invalid/missing textname")?;
        let description = optional(
            command,
            "textdescription",
            "Invalid/missing textdescription",
        )?;
        let allow_wildcard_subs = json::boolean(command, "allowwildcardsubs")
            .map_err(|_| "Invalid allowwildcardsubs")?
            .unwrap_or(true);
        if self.state.roles.contains_key(name) {
            return Err("Role already exists");
        }
        if self.state.roles.len() >= ROLES_MAX {
            return Err("Too many roles");
        }
        let mut role = Role::new();
        role.text.name = text_name.map(Into::into);
        role.text.description = description.map(Into::into);
        role.allow_wildcard_subs = allow_wildcard_subs;
        if let Some(acls) = acls(command)? {
            role.set_acls(acls);
        }
        self.state.roles.insert(name.to_owned(), role);
        self.changed();
        self.note(&format!("createRole | rolename={name}"));
        DONE
    }

    pub(super) fn delete_role(&mut self, command: &Object) -> Answer {
        let name = role_name(command)?;
        if !self.state.roles.contains_key(name) {
            return Err(NOT_FOUND);
        }
        self.recompile_role(name);
        for account in self.state.clients.values_mut() {
            account.roles.remove(name);
        }
        for group in self.state.groups.values_mut() {
            group.roles.remove(name);
        }
        self.state.roles.remove(name);
        self.changed();
        self.note(&format!("deleteRole | rolename={name}"));
        DONE
    }

    pub(super) fn modify_role(&mut self, command: &Object) -> Answer {
        let name = role_name(command)?;
        let role = self
            .state
            .roles
            .get_mut(name)
            .ok_or("Role does not exist")?;
        let acls = acls(command)?;
        if let Some(text) = if_text(command, "textname") {
            role.text.name = Some(text);
        }
        if let Some(text) = if_text(command, "textdescription") {
            role.text.description = Some(text);
        }
        let mut other_rules = false;
        if let Ok(Some(allow)) = json::boolean(command, "allowwildcardsubs")
            && allow != role.allow_wildcard_subs
        {
            role.set_allow_wildcard_subs(allow);
            other_rules = true;
        }
        if let Some(acls) = acls {
            role.set_acls(acls);
            other_rules = true;
        }
        if other_rules {
            self.rules_changed(name);
        }
        self.changed();
        self.note(&format!("modifyRole | rolename={name}"));
        DONE
    }

    pub(super) fn get_role(&mut self, command: &Object) -> Answer {
        let name = role_name(command)?;
        let role = whole(name, self.state.roles.get(name).ok_or(NOT_FOUND)?);
        self.note(&format!("getRole | rolename={name}"));
        Ok(Some(format!("{{\"role\":{role}}}")))
    }

    pub(super) fn list_roles(&mut self, command: &Object) -> Answer {
        let (data, what) = list(command, "roles", self.room, &self.state.roles, whole)?;
        self.note(&format!("listRoles | {what}"));
        Ok(Some(data))
    }

    pub(super) fn add_role_acl(&mut self, command: &Object) -> Answer {
        let name = role_name(command)?;
        let role = self.state.roles.get_mut(name).ok_or(NOT_FOUND)?;
        let (kind, topic) = rule(command)?;
        if role.acl_count() >= ACLS_MAX {
            return Err(TOO_MANY);
        }
        let acl = acl(topic, command);
        let (priority, allow) = (acl.priority, acl.allow);
        if !role.add_acl(kind, acl) {
            return Err("ACL with this topic already exists");
        }
        self.changed();
        self.rules_changed(name);
        let kind = kind.name();
        self.note(&format!(
            "addRoleACL | rolename={name} | acltype={kind} | topic={topic} | priority={priority} | allow={allow}"
        ));
        DONE
    }

    pub(super) fn remove_role_acl(&mut self, command: &Object) -> Answer {
        let name = role_name(command)?;
        let role = self.state.roles.get_mut(name).ok_or(NOT_FOUND)?;
        let (kind, topic) = rule(command)?;
        if !role.remove_acl(kind, topic) {
            return Err("ACL not found");
        }
        self.changed();
        self.rules_changed(name);
        let kind = kind.name();
        self.note(&format!(
            "removeRoleACL | rolename={name} | acltype={kind} | topic={topic}"
        ));
        DONE
    }
}

fn whole(name: &str, role: &Role) -> Value {
    role.to_object(name).into()
}

/// The type and topic of the rule that a command is about.
fn rule(command: &Object) -> Result<(AclKind, &str), &'static str> {
    let Ok(Some(kind)) = json::text(command, "acltype") else {
        return Err("Invalid/missing acltype");
    };
    let kind = AclKind::from_name(kind).ok_or("Unknown acltype")?;
    let Ok(Some(topic)) = json::text(command, "topic") else {
        return Err("Invalid/missing topic");
    };
    if !json::is_clean(topic) {
        return Err("Topic not valid UTF-8");
    }
    if !is_rule_topic(topic) {
        return Err(INVALID_TOPIC);
    }
    Ok((kind, topic))
}

fn acl(topic: &str, object: &Object) -> Acl {
    Acl {
        topic: topic.to_owned(),
        priority: rank(object, 0),
        allow: json::boolean(object, "allow").ok().flatten() == Some(true),
        extra: None,
    }
}

/// The rules that a command states; `None` when it states none. What has no type or no topic is skipped, as
/// by Mosquitto. A topic that is none is refused here, where Mosquitto takes it and then denies by it.
fn acls(command: &Object) -> Result<Option<AclLists>, &'static str> {
    let Some(Value::Array(entries)) = json::member(command, "acls") else {
        return Ok(None);
    };
    let mut lists = AclLists::default();
    for entry in entries.iter().filter_map(Value::as_object) {
        let Ok(Some(kind)) = json::text(entry, "acltype") else {
            continue;
        };
        let Some(kind) = AclKind::from_name(kind) else {
            continue;
        };
        let topic = match json::text(entry, "topic") {
            Ok(Some(topic)) if !topic.is_empty() => topic,
            _ => continue,
        };
        if !is_rule_topic(topic) {
            return Err(INVALID_TOPIC);
        }
        if lists.len() >= ACLS_MAX {
            return Err(TOO_MANY);
        }
        lists.add(kind, acl(topic, entry));
    }
    Ok(Some(lists))
}
