//! Commands about groups.

use serde_json::Value;

use super::super::json::{self, Object};
use super::super::state::{Group, JoinError, PRIORITY_UNSET};
use super::clients::{RolesError, named, roles};
use super::{
    Answer, DONE, GROUPS_MAX, Request, Who, group_name, if_text, list, optional, rank, role_name,
    user_name,
};

const NOT_FOUND: &str = "Group not found";

impl Request<'_> {
    pub(super) fn create_group(&mut self, command: &Object) -> Answer {
        let name = match json::text(command, "groupname") {
            Ok(Some("")) => return Err("Empty groupname"),
            _ => group_name(command)?,
        };
        let text_name = optional(command, "textname", "Invalid/missing textname")?;
        let description = optional(
            command,
            "textdescription",
            "Invalid/missing textdescription",
        )?;
        if self.state.groups.contains_key(name) {
            return Err("Group already exists");
        }
        if self.state.groups.len() >= GROUPS_MAX {
            return Err("Too many groups");
        }
        let mut group = Group::default();
        group.text.name = text_name.map(Into::into);
        group.text.description = description.map(Into::into);
        group.roles = match roles(self.state, command) {
            Ok(roles) => roles.unwrap_or_default(),
            Err(RolesError::NotFound) => return Err("Role not found"),
            Err(RolesError::Invalid) => return Err("Internal error"),
        };
        self.state.groups.insert(name.to_owned(), group);
        self.changed();
        self.note(&format!("createGroup | groupname={name}"));
        DONE
    }

    pub(super) fn delete_group(&mut self, command: &Object) -> Answer {
        let name = group_name(command)?;
        if !self.state.groups.contains_key(name) {
            return Err(NOT_FOUND);
        }
        if self.state.anonymous_group.as_deref() == Some(name) {
            return Err("Deleting the anonymous group is forbidden");
        }
        self.recompile_group(name);
        self.state.empty_group(name);
        self.state.groups.remove(name);
        self.changed();
        self.note(&format!("deleteGroup | groupname={name}"));
        DONE
    }

    pub(super) fn modify_group(&mut self, command: &Object) -> Answer {
        let name = group_name(command)?;
        self.group(name)?;
        let roles = match roles(self.state, command) {
            Ok(roles) => roles,
            Err(RolesError::NotFound) => return Err("Role not found"),
            Err(RolesError::Invalid) => {
                return Err("'roles' not an array or missing/invalid rolename");
            }
        };
        if let Some(Value::Array(_)) = json::member(command, "clients") {
            let mut found = Vec::new();
            for (client, rank) in named(command, "clients", "username") {
                let client =
                    client.ok_or("'clients' contains an object with an invalid 'username'")?;
                if !self.state.clients.contains_key(client) {
                    return Err(
                        "'clients' contains an object with a 'username' that does not exist",
                    );
                }
                found.push((client, rank));
            }
            // Those who leave, and below those who come.
            self.recompile_group(name);
            self.state.empty_group(name);
            for (client, rank) in found {
                // The first of two for one client counts, as with Mosquitto.
                let _ = self.state.join(client, name, rank);
            }
        }
        let group = self.group(name)?;
        if let Some(text) = if_text(command, "textname") {
            group.text.name = Some(text);
        }
        if let Some(text) = if_text(command, "textdescription") {
            group.text.description = Some(text);
        }
        if let Some(roles) = roles {
            group.roles = roles;
        }
        self.changed();
        self.recompile_group(name);
        self.note(&format!("modifyGroup | groupname={name}"));
        DONE
    }

    pub(super) fn get_group(&mut self, command: &Object) -> Answer {
        let name = group_name(command)?;
        let group = whole(name, self.state.groups.get(name).ok_or(NOT_FOUND)?);
        self.note(&format!("getGroup | groupname={name}"));
        Ok(Some(format!("{{\"group\":{group}}}")))
    }

    pub(super) fn list_groups(&mut self, command: &Object) -> Answer {
        let (data, what) = list(command, "groups", self.room, &self.state.groups, whole)?;
        self.note(&format!("listGroups | {what}"));
        Ok(Some(data))
    }

    pub(super) fn add_group_client(&mut self, command: &Object) -> Answer {
        let (user, group) = (user_name(command)?, group_name(command)?);
        let rank = rank(command, PRIORITY_UNSET);
        self.state.join(user, group, rank).map_err(join_error)?;
        self.changed();
        self.recompile_user(user);
        self.note(&format!(
            "addGroupClient | groupname={group} | username={user} | priority={rank}"
        ));
        DONE
    }

    pub(super) fn remove_group_client(&mut self, command: &Object) -> Answer {
        let (user, group) = (user_name(command)?, group_name(command)?);
        self.state.leave(user, group).map_err(join_error)?;
        self.changed();
        self.recompile_user(user);
        self.note(&format!(
            "removeGroupClient | groupname={group} | username={user}"
        ));
        DONE
    }

    pub(super) fn add_group_role(&mut self, command: &Object) -> Answer {
        let (name, role) = (group_name(command)?, role_name(command)?);
        let rank = rank(command, PRIORITY_UNSET);
        let role_is_there = self.state.roles.contains_key(role);
        let group = self.group(name)?;
        if !role_is_there {
            return Err("Role not found");
        }
        if !group.roles.add(role, rank) {
            return Err("Group is already in this role");
        }
        self.changed();
        self.recompile_group(name);
        self.note(&format!(
            "addGroupRole | groupname={name} | rolename={role} | priority={rank}"
        ));
        DONE
    }

    pub(super) fn remove_group_role(&mut self, command: &Object) -> Answer {
        let (name, role) = (group_name(command)?, role_name(command)?);
        let role_is_there = self.state.roles.contains_key(role);
        let group = self.group(name)?;
        if !role_is_there {
            return Err("Role not found");
        }
        group.roles.remove(role);
        self.changed();
        self.recompile_group(name);
        self.note(&format!(
            "removeGroupRole | groupname={name} | rolename={role}"
        ));
        DONE
    }

    pub(super) fn set_anonymous_group(&mut self, command: &Object) -> Answer {
        let name = group_name(command)?;
        self.group(name)?;
        self.state.anonymous_group = Some(name.to_owned());
        self.changed();
        self.effects.recompile.insert(Who::Anonymous);
        self.note(&format!("setAnonymousGroup | groupname={name}"));
        DONE
    }

    pub(super) fn get_anonymous_group(&mut self, _: &Object) -> Answer {
        let name = self.state.anonymous_group.as_deref().unwrap_or_default();
        let data = serde_json::json!({"group": {"groupname": name}});
        self.note("getAnonymousGroup");
        Ok(Some(data.to_string()))
    }

    fn group(&mut self, name: &str) -> Result<&mut Group, &'static str> {
        self.state.groups.get_mut(name).ok_or(NOT_FOUND)
    }
}

const fn join_error(error: JoinError) -> &'static str {
    match error {
        JoinError::NoClient => "Client not found",
        JoinError::NoGroup => NOT_FOUND,
        JoinError::AlreadyThere => "Client is already in this group",
    }
}

fn whole(name: &str, group: &Group) -> Value {
    let mut object = Object::new();
    object.insert("groupname".into(), name.into());
    group.text.add_to(&mut object);
    let clients = group.clients.keys();
    let clients = clients.map(|name| serde_json::json!({ "username": name }));
    object.insert("clients".into(), clients.collect());
    object.insert("roles".into(), group.roles.to_value("rolename"));
    object.into()
}
