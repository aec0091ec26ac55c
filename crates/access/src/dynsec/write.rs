//! The file, written; and what its objects have in common with answers.

use serde_json::Value;

use super::json::Object;
use crate::passwords::Verifier;

use super::password;
use super::state::{
    Account, Acl, AclKind, Defaults, Group, PRIORITY_UNSET, Password, Ranked, Role, State, Texts,
};

impl State {
    /// The file's text, members that were unknown at the end of their objects.
    ///
    /// A password is written in the form of Mosquitto 2.1, and beside it in that of 2.0 where that can
    /// hold it, so that both read the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut root = Object::new();
        root.insert("changeIndex".into(), self.change_index.into());
        let defaults: Object = Defaults::NAMES
            .into_iter()
            .zip(self.defaults.values())
            .map(|(name, allow)| (name.into(), allow.into()))
            .collect();
        root.insert("defaultACLAccess".into(), defaults.into());
        let clients = self
            .clients
            .iter()
            .map(|(name, client)| client.to_file(name));
        root.insert("clients".into(), clients.collect());
        let groups = self.groups.iter().map(|(name, group)| group.to_file(name));
        root.insert("groups".into(), groups.collect());
        if let Some(group) = &self.anonymous_group {
            root.insert("anonymousGroup".into(), group.as_str().into());
        }
        let roles = self.roles.iter().map(|(name, role)| role.to_file(name));
        root.insert("roles".into(), roles.collect());
        add_extra(&mut root, &self.extra);
        let mut text = format!("{:#}", Value::Object(root));
        text.push('\n');
        text
    }
}

fn add_extra(object: &mut Object, extra: &Object) {
    for (name, value) in extra {
        if !object.contains_key(name) {
            object.insert(name.clone(), value.clone());
        }
    }
}

/// Adds a hash for Mosquitto 2.1, and for 2.0 where that can hold it.
pub(super) fn add_hash(client: &mut Object, verifier: &Verifier) {
    client.insert("encoded_password".into(), verifier.to_string().into());
    if let Some((password, salt, iterations)) = password::members(verifier) {
        client.insert("password".into(), password.into());
        client.insert("salt".into(), salt.into());
        client.insert("iterations".into(), iterations.into());
    }
}

impl Texts {
    pub(super) fn add_to(&self, object: &mut Object) {
        if let Some(name) = &self.name {
            object.insert("textname".into(), name.as_str().into());
        }
        if let Some(description) = &self.description {
            object.insert("textdescription".into(), description.as_str().into());
        }
    }
}

impl Ranked {
    /// The array of names under `key`, each with its priority unless that was not stated.
    pub(super) fn to_value(&self, key: &str) -> Value {
        self.iter()
            .map(|(name, priority)| ranked(key, name, priority))
            .collect()
    }
}

fn ranked(key: &str, name: &str, priority: i32) -> Value {
    let mut object = Object::new();
    object.insert(key.into(), name.into());
    if priority != PRIORITY_UNSET {
        object.insert("priority".into(), priority.into());
    }
    object.into()
}

impl Account {
    /// What files and answers have in common.
    pub(super) fn to_object(&self, name: &str) -> Object {
        let mut object = Object::new();
        object.insert("username".into(), name.into());
        if let Some(id) = &self.client_id {
            object.insert("clientid".into(), id.as_str().into());
        }
        self.text.add_to(&mut object);
        if self.disabled {
            object.insert("disabled".into(), true.into());
        }
        object.insert("roles".into(), self.roles.to_value("rolename"));
        object
    }

    fn to_file(&self, name: &str) -> Value {
        let mut object = self.to_object(name);
        match &self.password {
            Password::None => {}
            Password::Unusable(text) => {
                object.insert("encoded_password".into(), text.as_str().into());
            }
            Password::Hash(verifier) => add_hash(&mut object, verifier),
        }
        add_extra(&mut object, &self.extra);
        object.into()
    }
}

impl Group {
    fn to_file(&self, name: &str) -> Value {
        let mut object = Object::new();
        object.insert("groupname".into(), name.into());
        self.text.add_to(&mut object);
        object.insert("roles".into(), self.roles.to_value("rolename"));
        let clients = self.clients.iter();
        let clients = clients.map(|(name, priority)| ranked("username", name, *priority));
        object.insert("clients".into(), clients.collect());
        add_extra(&mut object, &self.extra);
        object.into()
    }
}

impl Role {
    /// What files and answers have in common: all but what is unknown.
    pub(super) fn to_object(&self, name: &str) -> Object {
        let mut object = Object::new();
        object.insert("rolename".into(), name.into());
        self.text.add_to(&mut object);
        object.insert("allowwildcardsubs".into(), self.allow_wildcard_subs.into());
        let acls = AclKind::ALL.into_iter().flat_map(|kind| {
            let acls = self.acls(kind).iter();
            acls.map(move |acl| Value::Object(acl.to_object(kind)))
        });
        object.insert("acls".into(), acls.collect());
        object
    }

    fn to_file(&self, name: &str) -> Value {
        let mut object = self.to_object(name);
        if let Some(Value::Array(acls)) = object.get_mut("acls") {
            let known = AclKind::ALL.into_iter().flat_map(|kind| self.acls(kind));
            for (written, acl) in acls.iter_mut().zip(known) {
                if let (Value::Object(written), Some(extra)) = (written, &acl.extra) {
                    add_extra(written, extra);
                }
            }
            acls.extend(self.unknown_acls.iter().cloned());
        }
        add_extra(&mut object, &self.extra);
        object.into()
    }
}

impl Acl {
    fn to_object(&self, kind: AclKind) -> Object {
        let mut object = Object::new();
        object.insert("acltype".into(), kind.name().into());
        object.insert("topic".into(), self.topic.as_str().into());
        object.insert("priority".into(), self.priority.into());
        object.insert("allow".into(), self.allow.into());
        object
    }
}
