//! The file, read, with what is wrong in it.

use std::fmt;

use serde_json::Value;

use super::json::{self, Object, ReadError, take_member};
use crate::passwords::Verifier;

use super::password;
use super::state::{
    Account, Acl, AclKind, AclLists, Defaults, Group, PRIORITY_UNSET, Password, Ranked, Role,
    State, Texts, priority,
};
use super::write::add_hash;

/// The largest file that is read: some hundred thousand clients.
pub const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
const FILE_VALUES_MAX: usize = 8_000_000;
/// How many warnings are worth a line in the log.
const WARNINGS_MAX: usize = 100;

/// Why a file was not read. Its text says where in the JSON; the caller knows the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// Where: `clients[3].roles[0].rolename`; empty when it is about the file as a whole.
    pub at: String,
    /// What is wrong there.
    pub fault: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.fault)
        } else {
            write!(f, "{}: {}", self.at, self.fault)
        }
    }
}

impl std::error::Error for LoadError {}

/// Something in a file that has no effect, as in Mosquitto, which does not say so.
pub type Warning = LoadError;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub state: State,
    /// What in it has no effect; at most 100.
    pub warnings: Vec<Warning>,
}

/// The place in the JSON that is being read.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Member(&'a Self, &'a str),
    Element(&'a Self, usize),
}

impl<'a> Path<'a> {
    const fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    const fn element(&'a self, index: usize) -> Self {
        Self::Element(self, index)
    }

    fn error(&self, fault: impl Into<String>) -> LoadError {
        LoadError {
            at: self.to_string(),
            fault: fault.into(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Path::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl State {
    /// Reads a file of Mosquitto's plugin, of 2.0 or 2.1, or of ours.
    ///
    /// Members that are unknown are kept. What Mosquitto skips without a word is skipped with a warning:
    /// a second client, group, role or rule of one name, a role, client or group that does not exist, a
    /// password in no known form. An empty file is an empty state.
    ///
    /// # Errors
    /// No JSON, a value of a wrong type, more than [`FILE_BYTES_MAX`] bytes. Mosquitto goes on without
    /// such a value, and a rule that denies is then gone; here the file is refused.
    pub fn parse(bytes: &[u8]) -> Result<Loaded, LoadError> {
        let mut reader = Reader {
            state: Self::default(),
            warnings: Vec::new(),
        };
        if !bytes.is_empty() {
            let root = json::read(bytes, FILE_BYTES_MAX, FILE_VALUES_MAX).map_err(|error| {
                Path::Root.error(match error {
                    ReadError::TooLarge { what, limit } => {
                        format!("it has more than {limit} {what}")
                    }
                    ReadError::Syntax(text) => format!("it is not valid JSON: {text}"),
                })
            })?;
            let Value::Object(root) = root else {
                return Err(Path::Root.error("it must hold a JSON object"));
            };
            reader.root(root)?;
        }
        Ok(Loaded {
            state: reader.state,
            warnings: reader.warnings,
        })
    }
}

/// The text of a file in which a client has another password, and all else is as it was.
///
/// # Errors
/// The file cannot be read (see [`State::parse`]), or has no such client.
pub fn set_password_in_file(
    bytes: &[u8],
    user_name: &str,
    verifier: &Verifier,
) -> Result<String, LoadError> {
    let not_found = || Path::Root.error(format!("Client {user_name} not found"));
    let loaded = State::parse(bytes)?;
    if !loaded.state.clients.contains_key(user_name) {
        return Err(not_found());
    }
    // What has no effect has to stay as well, so the JSON itself is changed.
    let mut root: Value = serde_json::from_slice(bytes)
        .map_err(|error| Path::Root.error(format!("it is not valid JSON: {error}")))?;
    let client = root
        .as_object_mut()
        .and_then(|root| json::member_mut(root, "clients"))
        .and_then(Value::as_array_mut)
        .and_then(|clients| {
            let mut clients = clients.iter_mut().filter_map(Value::as_object_mut);
            clients.find(|client| json::text(client, "username") == Ok(Some(user_name)))
        })
        .ok_or_else(not_found)?;
    for name in ["encoded_password", "password", "salt", "iterations"] {
        take_member(client, name);
    }
    add_hash(client, verifier);
    Ok(format!("{root:#}\n"))
}

struct Reader {
    state: State,
    warnings: Vec<Warning>,
}

impl Reader {
    fn warn(&mut self, path: &Path<'_>, fault: impl Into<String>) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(path.error(fault));
        }
    }

    fn root(&mut self, mut root: Object) -> Result<(), LoadError> {
        let path = &Path::Root;
        self.state.change_index = json::long(&root, "changeIndex")
            .map_err(|_| path.member("changeIndex").error("it must be a number"))?
            .unwrap_or(0);
        take_member(&mut root, "changeIndex");
        if let Some(defaults) = take_member(&mut root, "defaultACLAccess") {
            self.defaults(&path.member("defaultACLAccess"), defaults)?;
        }
        // Roles first, then clients: the others refer to them.
        for (name, read) in [
            ("roles", Self::role as fn(&mut Self, &Path<'_>, Object) -> _),
            ("clients", Self::client),
            ("groups", Self::group),
        ] {
            let path = &path.member(name);
            for (index, object) in objects(path, take_member(&mut root, name))?
                .into_iter()
                .enumerate()
            {
                read(self, &path.element(index), object)?;
            }
        }
        let path = &path.member("anonymousGroup");
        if let Some(name) = text(path, take_member(&mut root, "anonymousGroup"))? {
            if self.state.groups.contains_key(&name) {
                self.state.anonymous_group = Some(name);
            } else if !name.is_empty() {
                self.warn(path, format!("there is no group '{name}'"));
            }
        }
        self.state.extra = root;
        Ok(())
    }

    fn defaults(&mut self, path: &Path<'_>, value: Value) -> Result<(), LoadError> {
        let Value::Object(object) = value else {
            return Err(path.error("it must be an object"));
        };
        for name in Defaults::NAMES {
            let allow = json::boolean(&object, name)
                .map_err(|_| path.member(name).error("it must be true or false"))?;
            self.state.defaults.set(name, allow.unwrap_or(false));
        }
        Ok(())
    }

    fn role(&mut self, path: &Path<'_>, mut object: Object) -> Result<(), LoadError> {
        let Some(name) = self.name(path, &mut object, "rolename")? else {
            return Ok(());
        };
        if self.state.roles.contains_key(&name) {
            self.warn(path, format!("there is a role '{name}' already"));
            return Ok(());
        }
        let mut role = Role::new();
        role.text = texts(path, &mut object)?;
        role.allow_wildcard_subs = boolean(path, &mut object, "allowwildcardsubs")?.unwrap_or(true);
        let mut lists = AclLists::default();
        let acls_path = &path.member("acls");
        let acls = objects(acls_path, take_member(&mut object, "acls"))?;
        for (index, acl) in acls.into_iter().enumerate() {
            self.acl(&acls_path.element(index), acl, &mut role, &mut lists)?;
        }
        role.set_acls(lists);
        role.extra = object;
        self.state.roles.insert(name, role);
        Ok(())
    }

    fn acl(
        &mut self,
        path: &Path<'_>,
        mut object: Object,
        role: &mut Role,
        lists: &mut AclLists,
    ) -> Result<(), LoadError> {
        let kind_path = &path.member("acltype");
        let Some(kind) = text(kind_path, json::member(&object, "acltype").cloned())? else {
            return Err(kind_path.error("it is missing"));
        };
        let Some(kind) = AclKind::from_name(&kind) else {
            self.warn(kind_path, format!("there is no ACL type '{kind}'"));
            role.unknown_acls.push(Value::Object(object));
            return Ok(());
        };
        take_member(&mut object, "acltype");
        let topic_path = &path.member("topic");
        let Some(topic) = text(topic_path, take_member(&mut object, "topic"))? else {
            return Err(topic_path.error("it is missing"));
        };
        if topic.is_empty() {
            self.warn(topic_path, "it is empty");
            return Ok(());
        }
        if !super::topics::is_rule_topic(&topic) {
            self.warn(
                topic_path,
                format!("'{topic}' is no topic filter; the rule denies what begins like it"),
            );
        }
        let rank = rank(path, &mut object, 0)?;
        let allow = boolean(path, &mut object, "allow")?.unwrap_or(false);
        let acl = Acl {
            topic,
            priority: rank,
            allow,
            extra: (!object.is_empty()).then(|| Box::new(object)),
        };
        if !lists.add(kind, acl) {
            self.warn(path, "the role has a rule for this type and topic already");
        }
        Ok(())
    }

    fn client(&mut self, path: &Path<'_>, mut object: Object) -> Result<(), LoadError> {
        let Some(name) = self.name(path, &mut object, "username")? else {
            return Ok(());
        };
        if self.state.clients.contains_key(&name) {
            self.warn(path, format!("there is a client '{name}' already"));
            return Ok(());
        }
        let account = Account {
            client_id: text(
                &path.member("clientid"),
                take_member(&mut object, "clientid"),
            )?,
            text: texts(path, &mut object)?,
            disabled: boolean(path, &mut object, "disabled")?.unwrap_or(false),
            password: self.password(path, &mut object)?,
            roles: self.role_names(path, &mut object)?,
            groups: Ranked::default(),
            extra: object,
        };
        self.state.clients.insert(name, account);
        Ok(())
    }

    fn password(&mut self, path: &Path<'_>, object: &mut Object) -> Result<Password, LoadError> {
        let encoded_path = &path.member("encoded_password");
        let encoded = text(encoded_path, take_member(object, "encoded_password"))?;
        let password = text(
            &path.member("password"),
            json::member(object, "password").cloned(),
        )?;
        let salt = text(&path.member("salt"), json::member(object, "salt").cloned())?;
        let iterations = json::integer(object, "iterations")
            .map_err(|_| path.member("iterations").error("it must be a number"))?;
        if let Some(encoded) = encoded {
            for name in ["password", "salt", "iterations"] {
                take_member(object, name);
            }
            return Ok(match Verifier::parse(&encoded) {
                Ok(verifier) => Password::Hash(verifier),
                Err(error) => {
                    self.warn(encoded_path, format!("{error}; the client cannot log in"));
                    Password::Unusable(encoded)
                }
            });
        }
        let (Some(password), Some(salt), Some(iterations)) = (password, salt, iterations) else {
            return Ok(Password::None);
        };
        let verifier = match password::from_members(&password, &salt, iterations) {
            Ok(verifier) => verifier,
            Err(error) => {
                // The three members stay where they are, among those that are kept.
                let path = &path.member("password");
                self.warn(path, format!("{error}; the client cannot log in"));
                return Ok(Password::None);
            }
        };
        for name in ["password", "salt", "iterations"] {
            take_member(object, name);
        }
        Ok(Password::Hash(verifier))
    }

    fn group(&mut self, path: &Path<'_>, mut object: Object) -> Result<(), LoadError> {
        let Some(name) = self.name(path, &mut object, "groupname")? else {
            return Ok(());
        };
        if self.state.groups.contains_key(&name) {
            self.warn(path, format!("there is a group '{name}' already"));
            return Ok(());
        }
        let clients_path = &path.member("clients");
        let clients = objects(clients_path, take_member(&mut object, "clients"))?;
        let group = Group {
            text: texts(path, &mut object)?,
            roles: self.role_names(path, &mut object)?,
            clients: std::collections::BTreeMap::new(),
            extra: object,
        };
        self.state.groups.insert(name.clone(), group);
        for (index, mut client) in clients.into_iter().enumerate() {
            let path = &clients_path.element(index);
            let Some(user_name) = self.name(path, &mut client, "username")? else {
                continue;
            };
            let rank = rank(path, &mut client, PRIORITY_UNSET)?;
            if self.state.join(&user_name, &name, rank).is_err() {
                let fault =
                    format!("there is no client '{user_name}', or it is in the group already");
                self.warn(path, fault);
            }
        }
        Ok(())
    }

    /// The roles that a client or a group has.
    fn role_names(&mut self, path: &Path<'_>, object: &mut Object) -> Result<Ranked, LoadError> {
        let path = &path.member("roles");
        let mut roles = Ranked::default();
        for (index, mut role) in objects(path, take_member(object, "roles"))?
            .into_iter()
            .enumerate()
        {
            let path = &path.element(index);
            let Some(name) = self.name(path, &mut role, "rolename")? else {
                continue;
            };
            let rank = rank(path, &mut role, PRIORITY_UNSET)?;
            if !self.state.roles.contains_key(&name) {
                self.warn(path, format!("there is no role '{name}'"));
            } else if !roles.add(&name, rank) {
                self.warn(path, format!("the role '{name}' is listed already"));
            }
        }
        Ok(roles)
    }

    /// The name of a client, group or role; `None`, with a warning, for an empty one.
    fn name(
        &mut self,
        path: &Path<'_>,
        object: &mut Object,
        member: &str,
    ) -> Result<Option<String>, LoadError> {
        let path = &path.member(member);
        let Some(name) = text(path, take_member(object, member))? else {
            return Err(path.error("it is missing"));
        };
        if name.is_empty() {
            self.warn(path, "it is empty");
            return Ok(None);
        }
        Ok(Some(name))
    }
}

fn text(path: &Path<'_>, value: Option<Value>) -> Result<Option<String>, LoadError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(path.error("it must be a string")),
    }
}

fn texts(path: &Path<'_>, object: &mut Object) -> Result<Texts, LoadError> {
    Ok(Texts {
        name: text(&path.member("textname"), take_member(object, "textname"))?,
        description: text(
            &path.member("textdescription"),
            take_member(object, "textdescription"),
        )?,
    })
}

fn boolean(path: &Path<'_>, object: &mut Object, name: &str) -> Result<Option<bool>, LoadError> {
    match take_member(object, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(path.member(name).error("it must be true or false")),
    }
}

fn rank(path: &Path<'_>, object: &mut Object, unset: i32) -> Result<i32, LoadError> {
    let rank = json::integer(object, "priority")
        .map_err(|_| path.member("priority").error("it must be a number"))?;
    take_member(object, "priority");
    Ok(priority(rank, unset))
}

fn objects(path: &Path<'_>, value: Option<Value>) -> Result<Vec<Object>, LoadError> {
    let values = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => return Err(path.error("it must be an array")),
    };
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| match value {
            Value::Object(object) => Ok(object),
            _ => Err(path.element(index).error("it must be an object")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
