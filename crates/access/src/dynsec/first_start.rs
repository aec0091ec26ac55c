//! The content of a file that does not exist yet.

use std::fmt;

use super::control::ITERATIONS_DEFAULT;
use super::password::new_verifier;
use super::state::{
    Account, Acl, AclKind, AclLists, Defaults, Group, PRIORITY_UNSET, Password, Role, State,
};

/// Shorter ones are refused for MOSQUITTO_DYNSEC_PASSWORD, as by Mosquitto.
const PASSWORD_CHARS_MIN: usize = 12;
const RANDOM_CHARS: usize = 20;
const ALPHABET: &[u8; 79] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-=_+[]{}@#~,./<>?";

/// Where the password of the first admin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPassword<'a> {
    /// The first line of `plugin_opt_password_init_file`.
    File(&'a str),
    /// The environment variable MOSQUITTO_DYNSEC_PASSWORD.
    Environment(&'a str),
    /// Nowhere: one is made up, for the admin and for a client to try things with.
    Random,
}

/// What the first start makes.
#[derive(Clone, Debug)]
pub struct FirstStart {
    /// The new state.
    pub state: State,
    /// The made up passwords, a user name and a password to a line, for a file `….pw` that only the owner
    /// may read. `None` when no password was made up.
    pub passwords: Option<String>,
}

/// Why there is no first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStartError {
    /// MOSQUITTO_DYNSEC_PASSWORD has fewer than 12 characters.
    Short,
    /// The password file has no password in its first line.
    Empty,
}

impl fmt::Display for FirstStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "MOSQUITTO_DYNSEC_PASSWORD must be at least 12 characters",
            Self::Empty => "the initial password is empty",
        })
    }
}

impl std::error::Error for FirstStartError {}

impl State {
    /// Makes what Mosquitto 2.1 makes when its file does not exist: the user `admin`, the roles `client`,
    /// `broker-admin`, `dynsec-admin`, `super-admin`, `sys-notify`, `sys-observe` and `topic-observe`, the
    /// group `unauthenticated` for clients without a user name, and, with made up passwords, the user
    /// `democlient`.
    ///
    /// `random` fills a slice with random bytes, for salts and passwords.
    ///
    /// # Errors
    /// The password that was given is too short.
    pub fn first_start(
        password: FirstPassword<'_>,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<FirstStart, FirstStartError> {
        let (admin, made_up) = match password {
            FirstPassword::File(line) => {
                let line = line.lines().next().unwrap_or_default().trim_end();
                if line.is_empty() {
                    return Err(FirstStartError::Empty);
                }
                (line.to_owned(), false)
            }
            FirstPassword::Environment(text) if text.len() < PASSWORD_CHARS_MIN => {
                return Err(FirstStartError::Short);
            }
            FirstPassword::Environment(text) => (text.to_owned(), false),
            FirstPassword::Random => (password_from_bytes(random), true),
        };
        let mut state = Self {
            defaults: closed(),
            ..Self::default()
        };
        add_first_roles(&mut state);
        let roles = ["super-admin", "sys-observe", "topic-observe"];
        add_client(&mut state, "admin", "Admin user", &admin, &roles, random);
        let mut passwords = made_up.then(|| format!("admin {admin}\n"));
        if let Some(passwords) = &mut passwords {
            let demo = password_from_bytes(random);
            let text =
                "Demonstration client with full read/write access to the '#' topic hierarchy.";
            add_client(&mut state, "democlient", text, &demo, &["client"], random);
            passwords.push_str(&format!("democlient {demo}\n"));
        }
        let mut group = Group::default();
        group.text.name = Some("Unauthenticated group".into());
        group.text.description = Some(
            "If unauthenticated access is allowed, this group can be used to define roles for clients that connect without a password."
                .into(),
        );
        state.groups.insert("unauthenticated".into(), group);
        state.anonymous_group = Some("unauthenticated".into());
        Ok(FirstStart { state, passwords })
    }
}

/// The content of a file that `mosquitto_ctrl dynsec init` writes: one admin with the role `admin`.
#[must_use]
pub fn init_file(user_name: &str, password: &str, random: &mut dyn FnMut(&mut [u8])) -> State {
    let mut state = State {
        defaults: closed(),
        ..State::default()
    };
    let control = "$CONTROL/dynamic-security/#";
    let role = role(
        None,
        &[
            (AclKind::PublishSend, control),
            (AclKind::PublishReceive, control),
            (AclKind::PublishReceive, "$SYS/#"),
            (AclKind::PublishReceive, "#"),
            (AclKind::SubscribePattern, control),
            (AclKind::SubscribePattern, "$SYS/#"),
            (AclKind::SubscribePattern, "#"),
            (AclKind::UnsubscribePattern, "#"),
        ],
    );
    state.roles.insert("admin".into(), role);
    add_client(
        &mut state,
        user_name,
        "Dynsec admin user",
        password,
        &["admin"],
        random,
    );
    state
}

/// Clients receive and unsubscribe; to publish and to subscribe they need a rule.
const fn closed() -> Defaults {
    Defaults {
        publish_send: false,
        publish_receive: true,
        subscribe: false,
        unsubscribe: true,
    }
}

fn add_client(
    state: &mut State,
    name: &str,
    text: &str,
    password: &str,
    roles: &[&str],
    random: &mut dyn FnMut(&mut [u8]),
) {
    let mut salt = [0; 12];
    random(&mut salt);
    let verifier = new_verifier(password, salt, ITERATIONS_DEFAULT);
    let mut account = Account {
        password: Password::Hash(verifier),
        ..Account::default()
    };
    account.text.name = Some(text.into());
    for role in roles {
        account.roles.add(role, PRIORITY_UNSET);
    }
    state.clients.insert(name.into(), account);
}

fn add_first_roles(state: &mut State) {
    let mut add = |name: &str, text: &str, acls: &[(AclKind, &str)]| {
        state.roles.insert(name.into(), role(Some(text), acls));
    };
    for (name, text, topic) in [
        (
            "client",
            "Read/write access to the full application topic hierarchy.",
            "#",
        ),
        (
            "broker-admin",
            "Grants access to administer general broker configuration.",
            "$CONTROL/broker/#",
        ),
        (
            "dynsec-admin",
            "Grants access to administer clients/groups/roles.",
            "$CONTROL/dynamic-security/#",
        ),
        (
            "super-admin",
            "Grants access to administer all kind of broker controls",
            "$CONTROL/#",
        ),
    ] {
        let full = [
            (AclKind::PublishSend, topic),
            (AclKind::PublishReceive, topic),
            (AclKind::SubscribePattern, topic),
            (AclKind::UnsubscribePattern, topic),
        ];
        add(name, text, &full);
    }
    add(
        "sys-notify",
        "Allow bridges to publish connection state messages.",
        &[(AclKind::PublishSend, "$SYS/broker/connection/%c/state")],
    );
    add(
        "sys-observe",
        "Observe the $SYS topic hierarchy.",
        &[
            (AclKind::PublishReceive, "$SYS/#"),
            (AclKind::SubscribePattern, "$SYS/#"),
        ],
    );
    add(
        "topic-observe",
        "Read only access to the full application topic hierarchy.",
        &[
            (AclKind::PublishReceive, "#"),
            (AclKind::SubscribePattern, "#"),
            (AclKind::UnsubscribePattern, "#"),
        ],
    );
}

fn role(text: Option<&str>, acls: &[(AclKind, &str)]) -> Role {
    let mut role = Role::new();
    role.text.description = text.map(Into::into);
    let mut lists = AclLists::default();
    for &(kind, topic) in acls {
        lists.add(
            kind,
            Acl {
                topic: topic.into(),
                priority: 0,
                allow: true,
                extra: None,
            },
        );
    }
    role.set_acls(lists);
    role
}

/// A password of 20 characters from random bytes; about 126 bits.
pub fn password_from_bytes(random: &mut dyn FnMut(&mut [u8])) -> String {
    let fair = 256 - 256 % ALPHABET.len();
    let mut password = String::with_capacity(RANDOM_CHARS);
    while password.len() < RANDOM_CHARS {
        let mut byte = [0];
        random(&mut byte);
        let [byte] = byte.map(usize::from);
        // A byte at the end of the range would make some characters likelier than others.
        if byte < fair
            && let Some(&char) = ALPHABET.get(byte % ALPHABET.len())
        {
            password.push(char::from(char));
        }
    }
    password
}

#[cfg(test)]
mod tests;
