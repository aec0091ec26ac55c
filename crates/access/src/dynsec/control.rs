//! `$CONTROL`: requests of administrators, what they change, and their answers.
//!
//! A request is `{"commands": [{"command": …, "correlationData": …, …}, …]}`, the answer
//! `{"responses": [{"command": …, "error" or "data": …, "correlationData": …}, …]}`. Commands are carried
//! out one after the other, and one that fails does not keep the next from being carried out.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Client;
use crate::passwords::Verifier;

use super::json::{self, Object};
use super::password::new_verifier;
use super::state::{Defaults, State};

pub use broker::{BROKER_TOPIC, BanBook, BrokerFacts, Listener, Plugin, broker_control};

mod broker;
mod clients;
mod groups;
mod roles;

/// Where requests are published; answers go to the topic with `/response` behind it.
pub const CONTROL_TOPIC: &str = "$CONTROL/dynamic-security/v1";

/// A request as large as the largest packet that the broker takes by default.
const REQUEST_BYTES_MAX: usize = 2_000_000;
const REQUEST_VALUES_MAX: usize = 200_000;
/// The answer to one request. `count` and `offset` cut a list into parts.
const RESPONSE_BYTES_MAX: usize = 32 * 1024 * 1024;
const CLIENTS_MAX: usize = 1_000_000;
const GROUPS_MAX: usize = 100_000;
const ROLES_MAX: usize = 100_000;
const ACLS_MAX: usize = 10_000;

/// How many rounds the hash of a new password gets, as with Mosquitto 2.1.
pub const ITERATIONS_DEFAULT: u32 = 1000;

/// What a request needs from outside.
pub trait Surroundings {
    /// The addresses of the connections with this user name, and with this client id if there is one, for
    /// `getClient`.
    fn addresses(&self, user_name: &str, client_id: Option<&str>) -> Vec<String>;

    /// Fills a slice with random bytes for a salt.
    fn random(&mut self, bytes: &mut [u8]);

    /// How many rounds the hash of a new password gets.
    fn iterations(&self) -> u32 {
        ITERATIONS_DEFAULT
    }

    /// Hashes a new password. Slow by design: who holds a lock meanwhile has done it before, for what
    /// [`needs`] tells, and gives what it has.
    fn hash(&mut self, password: &str) -> Verifier {
        let mut salt = [0; 12];
        self.random(&mut salt);
        new_verifier(password, salt, self.iterations())
    }
}

/// What carrying out a request takes that is slow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Passwords that are going to be hashed.
    pub passwords: BTreeSet<String>,
    /// Users whose connections are going to be told.
    pub connections: Connections,
}

/// Whose connections a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// Nobody's.
    #[default]
    None,
    /// Those of these users.
    Of(BTreeSet<String>),
    /// Everybody's.
    All,
}

/// Looks at a request to `$CONTROL/dynamic-security/v1` without carrying it out.
#[must_use]
pub fn needs(payload: &[u8]) -> Needs {
    let mut needs = Needs::default();
    let Ok(root) = json::read(
        without_zeros(payload),
        REQUEST_BYTES_MAX,
        REQUEST_VALUES_MAX,
    ) else {
        return needs;
    };
    let commands = root
        .as_object()
        .and_then(|root| json::member(root, "commands"))
        .and_then(Value::as_array);
    for command in commands.into_iter().flatten().filter_map(Value::as_object) {
        let text = |name| json::text(command, name).ok().flatten();
        let is = |name: &str| text("command").is_some_and(|known| known.eq_ignore_ascii_case(name));
        if is("createClient") || is("setClientPassword") || is("modifyClient") {
            needs.passwords.extend(text("password").map(str::to_owned));
        } else if is("listClients") {
            needs.connections = Connections::All;
        } else if is("getClient")
            && let Some(name) = text("username")
        {
            match &mut needs.connections {
                Connections::All => {}
                Connections::Of(names) => {
                    names.insert(name.to_owned());
                }
                Connections::None => {
                    needs.connections = Connections::Of(BTreeSet::from([name.to_owned()]));
                }
            }
        }
    }
    needs
}

/// Clients as a change concerns them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// All that have no user name.
    Anonymous,
    /// All that have this one.
    User(String),
}

/// What a change means for clients that are connected.
///
/// An administrator may be among them, and gets the answer first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// These are to be disconnected, since they could not log in again as they did: deleted or disabled
    /// clients, those with a new password or another client id. None of them is in `recompile`.
    pub disconnect: BTreeSet<Who>,
    /// These have other rules now: their [`Rules`](super::Rules) are to be asked for again, and
    /// subscriptions that are no longer allowed are to be ended. Mosquitto disconnects them.
    pub recompile: BTreeSet<Who>,
    /// The default access has changed, and with it the rules of everybody.
    pub recompile_all: bool,
}

impl Effects {
    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.disconnect.is_empty() && self.recompile.is_empty() && !self.recompile_all
    }
}

/// What a request led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The answer, for the response topic.
    pub response: String,
    /// Whether the state has changed and [`State::to_json`] has to be written.
    pub save: bool,
    /// What it means for clients that are connected.
    pub effects: Effects,
    /// Lines for the log: who did what.
    pub log: Vec<String>,
}

impl State {
    /// Carries out a request to `$CONTROL/dynamic-security/v1` that `admin` published.
    ///
    /// Whether `admin` may do that is the caller's to decide, by its rules for the topic. Passwords are
    /// hashed on the way, a millisecond each with the usual number of rounds, and a request may bring
    /// thousands: this is not for a thread that carries messages.
    pub fn control(
        &mut self,
        payload: &[u8],
        admin: Client<'_>,
        surroundings: &mut dyn Surroundings,
    ) -> Outcome {
        let mut request = Request {
            state: self,
            admin,
            surroundings,
            save: false,
            effects: Effects::default(),
            log: Vec::new(),
            room: RESPONSE_BYTES_MAX,
            changed_roles: BTreeSet::new(),
        };
        let response = answer(payload, RESPONSE_BYTES_MAX, |name, command, room| {
            request.room = room;
            request.carry_out(name, command)
        });
        for role in std::mem::take(&mut request.changed_roles) {
            request.recompile_role(&role);
        }
        let Request {
            save,
            mut effects,
            log,
            ..
        } = request;
        let gone = &effects.disconnect;
        effects.recompile.retain(|who| !gone.contains(who));
        Outcome {
            response,
            save,
            effects,
            log,
        }
    }
}

/// How a command ends: without data, with some as JSON, or with an error.
type Answer = Result<Option<String>, &'static str>;

const DONE: Answer = Ok(None);
const UNKNOWN: &str = "Unknown command";

/// One request while it is carried out.
struct Request<'a> {
    state: &'a mut State,
    admin: Client<'a>,
    surroundings: &'a mut dyn Surroundings,
    save: bool,
    effects: Effects,
    log: Vec<String>,
    /// How many bytes the answer may still grow.
    room: usize,
    /// Roles with other rules. Who has them is looked up once, at the end of the request: whoever loses one
    /// before gets other rules for that reason.
    changed_roles: BTreeSet<String>,
}

impl Request<'_> {
    /// Carries out a command; its name comes back as it is properly written.
    fn carry_out(&mut self, name: &str, command: &Object) -> (&'static str, Answer) {
        type Handler<'a> = fn(&mut Request<'a>, &Object) -> Answer;
        let handlers: [(&str, Handler<'_>); 32] = [
            ("setDefaultACLAccess", Request::set_default_acl_access),
            ("getDefaultACLAccess", Request::get_default_acl_access),
            ("getDetails", Request::get_details),
            ("createClient", Request::create_client),
            ("deleteClient", Request::delete_client),
            ("getClient", Request::get_client),
            ("listClients", Request::list_clients),
            ("modifyClient", Request::modify_client),
            ("setClientPassword", Request::set_client_password),
            ("setClientId", Request::set_client_id),
            ("addClientRole", Request::add_client_role),
            ("removeClientRole", Request::remove_client_role),
            ("enableClient", Request::enable_client),
            ("disableClient", Request::disable_client),
            ("addGroupClient", Request::add_group_client),
            ("createGroup", Request::create_group),
            ("deleteGroup", Request::delete_group),
            ("getGroup", Request::get_group),
            ("listGroups", Request::list_groups),
            ("modifyGroup", Request::modify_group),
            ("removeGroupClient", Request::remove_group_client),
            ("addGroupRole", Request::add_group_role),
            ("removeGroupRole", Request::remove_group_role),
            ("setAnonymousGroup", Request::set_anonymous_group),
            ("getAnonymousGroup", Request::get_anonymous_group),
            ("createRole", Request::create_role),
            ("getRole", Request::get_role),
            ("listRoles", Request::list_roles),
            ("modifyRole", Request::modify_role),
            ("deleteRole", Request::delete_role),
            ("addRoleACL", Request::add_role_acl),
            ("removeRoleACL", Request::remove_role_acl),
        ];
        let handler = handlers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match handler {
            Some((name, handle)) => (name, handle(self, command)),
            None => (UNKNOWN, Err(UNKNOWN)),
        }
    }

    /// Notes that the state has changed.
    fn changed(&mut self) {
        self.save = true;
        self.state.change_index = self.state.change_index.saturating_add(1);
    }

    fn note(&mut self, what: &str) {
        let line = log_line("dynsec", self.admin, what);
        self.log.push(line);
    }

    fn set_default_acl_access(&mut self, command: &Object) -> Answer {
        let Some(Value::Array(actions)) = json::member(command, "acls") else {
            return Err("Missing/invalid actions array");
        };
        for action in actions.iter().filter_map(Value::as_object) {
            if let (Ok(Some(kind)), Ok(Some(allow))) = (
                json::text(action, "acltype"),
                json::boolean(action, "allow"),
            ) {
                self.state.defaults.set(kind, allow);
                self.note(&format!(
                    "setDefaultACLAccess | acltype={kind} | allow={allow}"
                ));
            }
        }
        self.changed();
        self.effects.recompile_all = true;
        DONE
    }

    fn get_default_acl_access(&mut self, _: &Object) -> Answer {
        self.note("getDefaultACLAccess");
        let values = self.state.defaults.values();
        let acls = Defaults::NAMES.into_iter().zip(values);
        let acls: Value = acls
            .map(|(kind, allow)| serde_json::json!({"acltype": kind, "allow": allow}))
            .collect();
        Ok(Some(serde_json::json!({ "acls": acls }).to_string()))
    }

    fn get_details(&mut self, _: &Object) -> Answer {
        self.note("getDetails");
        let details = serde_json::json!({
            "clientCount": self.state.clients.len(),
            "groupCount": self.state.groups.len(),
            "roleCount": self.state.roles.len(),
            "changeIndex": self.state.change_index,
        });
        Ok(Some(details.to_string()))
    }

    fn rules_changed(&mut self, role: &str) {
        self.changed_roles.insert(role.to_owned());
    }

    /// Notes who has a role.
    fn recompile_role(&mut self, role: &str) {
        let users = self.state.clients.iter();
        let direct = users.filter(|(_, account)| account.roles.contains(role));
        let direct: Vec<Who> = direct.map(|(name, _)| Who::User(name.clone())).collect();
        self.effects.recompile.extend(direct);
        let groups = self.state.groups.iter();
        let groups = groups.filter(|(_, group)| group.roles.contains(role));
        let groups: Vec<String> = groups.map(|(name, _)| name.clone()).collect();
        for group in groups {
            self.recompile_group(&group);
        }
    }

    /// Notes who is in a group.
    fn recompile_group(&mut self, name: &str) {
        let Some(group) = self.state.groups.get(name) else {
            return;
        };
        let members = group.clients.keys().cloned().map(Who::User);
        self.effects.recompile.extend(members);
        if self.state.anonymous_group.as_deref() == Some(name) {
            self.effects.recompile.insert(Who::Anonymous);
        }
    }

    fn recompile_user(&mut self, name: &str) {
        self.effects.recompile.insert(Who::User(name.to_owned()));
    }

    fn disconnect_user(&mut self, name: &str) {
        self.effects.disconnect.insert(Who::User(name.to_owned()));
    }
}

fn log_line(source: &str, admin: Client<'_>, what: &str) -> String {
    let user = admin.user_name.unwrap_or("(none)");
    format!("{source}: {}/{user} | {what}", admin.id)
}

/// The name that a command is about: there, not empty where `empty` says how that is answered, and clean.
fn name<'a>(
    command: &'a Object,
    member: &str,
    missing: &'static str,
    unclean: &'static str,
) -> Result<&'a str, &'static str> {
    match json::text(command, member) {
        Ok(Some(name)) if json::is_clean(name) => Ok(name),
        Ok(Some(_)) => Err(unclean),
        _ => Err(missing),
    }
}

fn user_name(command: &Object) -> Result<&str, &'static str> {
    name(
        command,
        "username",
        "Invalid/missing username",
        "Username not valid UTF-8",
    )
}

fn group_name(command: &Object) -> Result<&str, &'static str> {
    name(
        command,
        "groupname",
        "Invalid/missing groupname",
        "Group name not valid UTF-8",
    )
}

fn role_name(command: &Object) -> Result<&str, &'static str> {
    name(
        command,
        "rolename",
        "Invalid/missing rolename",
        "Role name not valid UTF-8",
    )
}

/// A text that may be left out.
fn optional<'a>(
    command: &'a Object,
    member: &str,
    wrong: &'static str,
) -> Result<Option<&'a str>, &'static str> {
    json::text(command, member).map_err(|_| wrong)
}

/// A text that is ignored when it is of another type, as Mosquitto's `modify…` commands do.
fn if_text(command: &Object, member: &str) -> Option<String> {
    json::text(command, member).ok()?.map(ToOwned::to_owned)
}

/// A priority; one of another type counts as not stated, as with Mosquitto.
fn rank(command: &Object, unset: i32) -> i32 {
    super::state::priority(json::integer(command, "priority").ok().flatten(), unset)
}

/// A part of a list: all of it, or what `count` and `offset` ask for; names alone, or with `verbose` whole
/// entries.
fn list<'a, T: 'a>(
    command: &Object,
    key: &str,
    room: usize,
    entries: &'a std::collections::BTreeMap<String, T>,
    entry: impl Fn(&str, &'a T) -> Value,
) -> Result<(String, String), &'static str> {
    let verbose = json::boolean(command, "verbose").ok().flatten() == Some(true);
    let count = json::integer(command, "count").ok().flatten().unwrap_or(-1);
    let offset = json::integer(command, "offset").ok().flatten().unwrap_or(0);
    let skip = usize::try_from(offset).unwrap_or(0);
    // Mosquitto lists one entry for a count of zero.
    let take = usize::try_from(count).map_or(usize::MAX, |count| count.max(1));
    let total = entries.len();
    let mut data = format!("{{\"totalCount\":{total},\"{key}\":[");
    for (index, (name, value)) in entries.iter().skip(skip).take(take).enumerate() {
        if index > 0 {
            data.push(',');
        }
        let value = if verbose {
            entry(name, value)
        } else {
            name.as_str().into()
        };
        data.push_str(&value.to_string());
        if data.len() > room {
            return Err("Response too large, use count and offset");
        }
    }
    data.push_str("]}");
    let what = format!("verbose={verbose} | count={count} | offset={offset}");
    Ok((data, what))
}

/// Takes a request apart, hands each command with its name and the room that is left to `handle`, and puts
/// the answer together.
fn answer(
    payload: &[u8],
    bytes_max: usize,
    mut handle: impl FnMut(&str, &Object, usize) -> (&'static str, Answer),
) -> String {
    let mut responses = String::from("{\"responses\":[");
    match json::read(
        without_zeros(payload),
        REQUEST_BYTES_MAX,
        REQUEST_VALUES_MAX,
    ) {
        Err(json::ReadError::Syntax(_)) => {
            push(&mut responses, UNKNOWN, Err("Payload not valid JSON"), None);
        }
        Err(json::ReadError::TooLarge { .. }) => {
            push(&mut responses, UNKNOWN, Err("Payload too large"), None);
        }
        Ok(root) => match root
            .as_object()
            .and_then(|root| json::member(root, "commands"))
        {
            Some(Value::Array(commands)) => {
                for command in commands {
                    if !one(&mut responses, bytes_max, command, &mut handle) {
                        break;
                    }
                }
            }
            _ => push(
                &mut responses,
                UNKNOWN,
                Err("Invalid/missing commands"),
                None,
            ),
        },
    }
    responses.push_str("]}");
    responses
}

/// Clients in C now and then send the zero at the end of a string.
fn without_zeros(payload: &[u8]) -> &[u8] {
    payload
        .iter()
        .rposition(|&byte| byte != 0)
        .and_then(|last| payload.get(..=last))
        .unwrap_or_default()
}

/// Answers one command; whether the next one is looked at.
fn one(
    responses: &mut String,
    bytes_max: usize,
    command: &Value,
    handle: &mut impl FnMut(&str, &Object, usize) -> (&'static str, Answer),
) -> bool {
    let Value::Object(command) = command else {
        push(responses, UNKNOWN, Err("Command not an object"), None);
        return false;
    };
    let Ok(Some(name)) = json::text(command, "command") else {
        push(responses, UNKNOWN, Err("Missing command"), None);
        return false;
    };
    let Ok(correlation) = json::text(command, "correlationData") else {
        let error = Err("Invalid correlationData data type.");
        push(responses, name, error, None);
        return false;
    };
    let room = bytes_max.saturating_sub(responses.len());
    if room == 0 {
        push(responses, name, Err("Response too large"), correlation);
        return false;
    }
    let (proper, answer) = handle(name, command, room);
    // As with Mosquitto: data come under the command's own name, all else under the name that was used.
    let name = if matches!(answer, Ok(Some(_))) {
        proper
    } else {
        name
    };
    push(responses, name, answer, correlation);
    true
}

fn push(responses: &mut String, name: &str, answer: Answer, correlation: Option<&str>) {
    if !responses.ends_with('[') {
        responses.push(',');
    }
    let quoted = |text: &str| Value::from(text).to_string();
    responses.push_str("{\"command\":");
    responses.push_str(&quoted(name));
    match answer {
        Ok(None) => {}
        Ok(Some(data)) => {
            responses.push_str(",\"data\":");
            responses.push_str(&data);
        }
        Err(error) => {
            responses.push_str(",\"error\":");
            responses.push_str(&quoted(error));
        }
    }
    if let Some(correlation) = correlation {
        responses.push_str(",\"correlationData\":");
        responses.push_str(&quoted(correlation));
    }
    responses.push('}');
}

#[cfg(test)]
mod tests;
