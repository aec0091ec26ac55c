//! Commands about clients.

use serde_json::Value;

use super::super::json::{self, Object};
use super::super::state::{Account, PRIORITY_UNSET, Password, Ranked, State};
use super::{
    Answer, CLIENTS_MAX, DONE, Request, Surroundings, if_text, list, optional, rank, role_name,
    user_name,
};

const NOT_FOUND: &str = "Client not found";

impl Request<'_> {
    pub(super) fn create_client(&mut self, command: &Object) -> Answer {
        let name = match json::text(command, "username") {
            Ok(Some("")) => return Err("Empty username"),
            _ => user_name(command)?,
        };
        let password = optional(command, "password", "Invalid/missing password")?;
        let client_id = optional(command, "clientid", "Invalid/missing client id")?;
        if client_id.is_some_and(|id| !json::is_clean(id)) {
            return Err("Client ID not valid UTF-8");
        }
        let text_name = optional(command, "textname", "Invalid/missing textname")?;
        let description = optional(
            command,
            "textdescription",
            "Invalid/missing textdescription",
        )?;
        if self.state.clients.contains_key(name) {
            return Err("Client already exists");
        }
        if self.state.clients.len() >= CLIENTS_MAX {
            return Err("Too many clients");
        }
        let mut account = Account {
            client_id: client_id.filter(|id| !id.is_empty()).map(Into::into),
            ..Account::default()
        };
        account.text.name = text_name.map(Into::into);
        account.text.description = description.map(Into::into);
        account.roles = match roles(self.state, command) {
            Ok(roles) => roles.unwrap_or_default(),
            Err(RolesError::NotFound) => return Err("Role not found"),
            Err(RolesError::Invalid) => {
                return Err("'roles' not an array or missing/invalid rolename");
            }
        };
        let groups = named(command, "groups", "groupname");
        let groups: Vec<(&str, i32)> = groups
            .filter_map(|(name, rank)| Some((name?, rank)))
            .collect();
        for (place, (group, _)) in groups.iter().enumerate() {
            if !self.state.groups.contains_key(*group) {
                return Err("Group not found");
            }
            if groups.iter().take(place).any(|(other, _)| other == group) {
                return Err("Internal error");
            }
        }
        // An empty password is none: nobody may come in with it.
        let password = password.filter(|password| !password.is_empty());
        if let Some(password) = password {
            account.password = self.hash(password);
        }
        self.state.clients.insert(name.to_owned(), account);
        for (group, rank) in groups {
            // Client and group were looked up above.
            let _ = self.state.join(name, group, rank);
        }
        self.changed();
        // Another method may have let it in before.
        self.recompile_user(name);
        let shown = if password.is_some() {
            "*****"
        } else {
            "no password"
        };
        self.note(&format!(
            "createClient | username={name} | password={shown}"
        ));
        DONE
    }

    pub(super) fn delete_client(&mut self, command: &Object) -> Answer {
        let Ok(Some(name)) = json::text(command, "username") else {
            return Err("Invalid/missing username");
        };
        if !self.state.clients.contains_key(name) {
            return Err(NOT_FOUND);
        }
        self.state.leave_all(name);
        self.state.clients.remove(name);
        self.changed();
        self.disconnect_user(name);
        self.note(&format!("deleteClient | username={name}"));
        DONE
    }

    pub(super) fn disable_client(&mut self, command: &Object) -> Answer {
        let name = user_name(command)?;
        self.account(name)?.disabled = true;
        self.changed();
        self.disconnect_user(name);
        self.note(&format!("disableClient | username={name}"));
        DONE
    }

    pub(super) fn enable_client(&mut self, command: &Object) -> Answer {
        let name = user_name(command)?;
        self.account(name)?.disabled = false;
        self.changed();
        self.note(&format!("enableClient | username={name}"));
        DONE
    }

    pub(super) fn set_client_id(&mut self, command: &Object) -> Answer {
        let name = user_name(command)?;
        let client_id = optional(command, "clientid", "Invalid/missing client ID")?;
        if client_id.is_some_and(|id| !json::is_clean(id)) {
            return Err("Client ID not valid UTF-8");
        }
        let client_id = client_id.filter(|id| !id.is_empty());
        self.account(name)?.client_id = client_id.map(Into::into);
        self.changed();
        self.disconnect_user(name);
        let shown = client_id.unwrap_or("(none)");
        self.note(&format!("setClientId | username={name} | clientid={shown}"));
        DONE
    }

    pub(super) fn set_client_password(&mut self, command: &Object) -> Answer {
        let name = user_name(command)?;
        let password = match json::text(command, "password") {
            Ok(Some("")) => return Err("Empty password is not allowed"),
            Ok(Some(password)) => password,
            _ => return Err("Invalid/missing password"),
        };
        self.account(name)?;
        let password = self.hash(password);
        self.account(name)?.password = password;
        self.changed();
        self.disconnect_user(name);
        self.note(&format!(
            "setClientPassword | username={name} | password=******"
        ));
        DONE
    }

    pub(super) fn modify_client(&mut self, command: &Object) -> Answer {
        let name = user_name(command)?;
        self.account(name)?;
        let roles = match roles(self.state, command) {
            Ok(roles) => roles,
            Err(RolesError::NotFound) => return Err("Role not found"),
            Err(RolesError::Invalid) => {
                return Err("'roles' not an array or missing/invalid rolename");
            }
        };
        let mut groups = None;
        if let Some(Value::Array(_)) = json::member(command, "groups") {
            let mut found = Vec::new();
            for (group, rank) in named(command, "groups", "groupname") {
                let group =
                    group.ok_or("'groups' contains an object with an invalid 'groupname'")?;
                if !self.state.groups.contains_key(group) {
                    return Err(
                        "'groups' contains an object with a 'groupname' that does not exist",
                    );
                }
                found.push((group, rank));
            }
            groups = Some(found);
        }
        let client_id = if_text(command, "clientid");
        let password = if_text(command, "password").filter(|password| !password.is_empty());
        let password = password.map(|password| self.hash(&password));
        if let Some(groups) = groups {
            self.state.leave_all(name);
            for (group, rank) in groups {
                // The first of two for one group counts, as with Mosquitto.
                let _ = self.state.join(name, group, rank);
            }
        }
        let account = self.account(name)?;
        let mut reconnect = false;
        if let Some(password) = password {
            account.password = password;
            reconnect = true;
        }
        if let Some(client_id) = client_id {
            let client_id = (!client_id.is_empty()).then_some(client_id);
            reconnect |= account.client_id != client_id;
            account.client_id = client_id;
        }
        if let Some(text) = if_text(command, "textname") {
            account.text.name = Some(text);
        }
        if let Some(text) = if_text(command, "textdescription") {
            account.text.description = Some(text);
        }
        if let Some(roles) = roles {
            account.roles = roles;
        }
        self.changed();
        if reconnect {
            self.disconnect_user(name);
        } else {
            self.recompile_user(name);
        }
        self.note(&format!("modifyClient | username={name}"));
        DONE
    }

    pub(super) fn get_client(&mut self, command: &Object) -> Answer {
        let name = user_name(command)?;
        let account = self.state.clients.get(name).ok_or(NOT_FOUND)?;
        let client = whole(name, account, self.surroundings);
        self.note(&format!("getClient | username={name}"));
        Ok(Some(format!("{{\"client\":{client}}}")))
    }

    pub(super) fn list_clients(&mut self, command: &Object) -> Answer {
        let surroundings = &*self.surroundings;
        let (data, what) = list(
            command,
            "clients",
            self.room,
            &self.state.clients,
            |name, account| whole(name, account, surroundings),
        )?;
        self.note(&format!("listClients | {what}"));
        Ok(Some(data))
    }

    pub(super) fn add_client_role(&mut self, command: &Object) -> Answer {
        let (name, role) = (user_name(command)?, role_name(command)?);
        let rank = rank(command, PRIORITY_UNSET);
        let role_is_there = self.state.roles.contains_key(role);
        let account = self.account(name)?;
        if !role_is_there {
            return Err("Role not found");
        }
        if !account.roles.add(role, rank) {
            // Mosquitto's answer to a role that the client has already.
            return Err("Internal error");
        }
        self.changed();
        self.recompile_user(name);
        self.note(&format!(
            "addClientRole | username={name} | rolename={role} | priority={rank}"
        ));
        DONE
    }

    pub(super) fn remove_client_role(&mut self, command: &Object) -> Answer {
        let (name, role) = (user_name(command)?, role_name(command)?);
        let role_is_there = self.state.roles.contains_key(role);
        let account = self.account(name)?;
        if !role_is_there {
            return Err("Role not found");
        }
        account.roles.remove(role);
        self.changed();
        self.recompile_user(name);
        self.note(&format!(
            "removeClientRole | username={name} | rolename={role}"
        ));
        DONE
    }

    fn account(&mut self, name: &str) -> Result<&mut Account, &'static str> {
        self.state.clients.get_mut(name).ok_or(NOT_FOUND)
    }

    fn hash(&mut self, password: &str) -> Password {
        Password::Hash(self.surroundings.hash(password))
    }
}

/// A client with everything about it but its password.
fn whole(name: &str, account: &Account, surroundings: &dyn Surroundings) -> Value {
    let mut object = account.to_object(name);
    object.insert("groups".into(), account.groups.to_value("groupname"));
    let addresses = surroundings.addresses(name, account.client_id.as_deref());
    let connections = addresses
        .into_iter()
        .map(|address| serde_json::json!({ "address": address }));
    object.insert("connections".into(), connections.collect());
    object.into()
}

pub(super) enum RolesError {
    NotFound,
    Invalid,
}

/// The roles that a command states; `None` when it states none.
pub(super) fn roles(state: &State, command: &Object) -> Result<Option<Ranked>, RolesError> {
    let entries = match json::member(command, "roles") {
        None => return Ok(None),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(RolesError::Invalid),
    };
    let mut roles = Ranked::default();
    for entry in entries {
        let entry = entry.as_object().ok_or(RolesError::Invalid)?;
        let Ok(Some(name)) = json::text(entry, "rolename") else {
            return Err(RolesError::Invalid);
        };
        if !state.roles.contains_key(name) {
            return Err(RolesError::NotFound);
        }
        roles.add(name, rank(entry, PRIORITY_UNSET));
    }
    Ok(Some(roles))
}

/// The objects of an array, each with its name if it has one, and its priority.
pub(super) fn named<'a>(
    command: &'a Object,
    array: &str,
    key: &'a str,
) -> impl Iterator<Item = (Option<&'a str>, i32)> {
    let entries = match json::member(command, array) {
        Some(Value::Array(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries
        .iter()
        .filter_map(Value::as_object)
        .map(move |entry| {
            let name = json::text(entry, key).ok().flatten();
            (name, rank(entry, PRIORITY_UNSET))
        })
}
