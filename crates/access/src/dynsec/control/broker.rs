//! `$CONTROL/broker/v1`: what the broker is made of, and who is banned.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::Client;
use crate::lockout::{Ban, Subject};

use super::super::json::Object;
use super::{Answer, DONE, Outcome, RESPONSE_BYTES_MAX, UNKNOWN, answer, json, log_line};

/// Where requests about the broker are published; answers go to the topic with `/response` behind it.
pub const BROKER_TOPIC: &str = "$CONTROL/broker/v1";

/// The longest ban that can be asked for in seconds: ten years.
const BAN_SECS_MAX: u64 = 315_360_000;

/// What `listPlugins` and `listListeners` tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerFacts {
    /// The plugins that the configuration names.
    pub plugins: Vec<Plugin>,
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<Listener>,
}

/// A plugin, which here is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    /// `dynamic-security`.
    pub name: String,
    /// Its version, if it has one of its own.
    pub version: Option<String>,
    /// The port of the listener that it is for; `None` for a plugin of all.
    pub port: Option<u16>,
    /// The topics at which it takes requests.
    pub control_endpoints: Vec<String>,
}

/// A listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// Its port; 0 for a Unix socket.
    pub port: u16,
    /// `mqtt` or `mqtt+websockets`; `None` for another protocol.
    pub protocol: Option<String>,
    /// The address that the configuration binds it to.
    pub bind_address: Option<String>,
    /// The path of a Unix socket.
    pub socket_path: Option<String>,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Who is banned, as administrators look at it and change it.
pub trait BanBook {
    /// The bans that hold, with the seconds that each still lasts.
    fn list(&self) -> Vec<(Ban, u64)>;

    /// Bans somebody; for the usual time if none is given.
    fn ban(&mut self, subject: &Subject, length: Option<Duration>) -> Ban;

    /// Whether no ban holds for an address.
    fn is_exempt(&self, address: IpAddr) -> bool;

    /// Lifts a ban; whether there was one, or failures on the way to one.
    fn lift(&mut self, subject: &Subject) -> bool;
}

/// Carries out a request to `$CONTROL/broker/v1` that `admin` published.
///
/// Bans are Midge's own: `listBans`, `banAddress` and `unbanAddress` with `address`, `banUser` and
/// `unbanUser` with `username`, the first of each with `seconds` if wished. Without `bans` they are
/// refused.
#[must_use]
pub fn broker_control(
    payload: &[u8],
    admin: Client<'_>,
    facts: &BrokerFacts,
    mut bans: Option<&mut dyn BanBook>,
) -> Outcome {
    let mut log = Vec::new();
    let response = answer(payload, RESPONSE_BYTES_MAX, |name, command, _| {
        let known = ["listPlugins", "listListeners"];
        let known = known.iter().chain(BAN_COMMANDS);
        let Some(name) = known
            .copied()
            .find(|known| known.eq_ignore_ascii_case(name))
        else {
            return (UNKNOWN, Err(UNKNOWN));
        };
        let mut what = name.to_owned();
        let done = match (name, &mut bans) {
            ("listPlugins", _) => Ok(Some(plugins(facts).to_string())),
            ("listListeners", _) => Ok(Some(listeners(facts).to_string())),
            (_, None) => Err(NOT_ALLOWED),
            (_, Some(bans)) => change_bans(name, command, &mut **bans, &mut what),
        };
        if done.is_ok() {
            log.push(log_line("Broker", admin, &what));
        }
        (name, done)
    });
    Outcome {
        response,
        log,
        ..Outcome::default()
    }
}

const BAN_COMMANDS: &[&str] = &[
    "listBans",
    "banAddress",
    "banUser",
    "unbanAddress",
    "unbanUser",
];

const NOT_ALLOWED: &str = "Not allowed: who looks at bans needs rules that name this topic";

const EXEMPT: &str = "The address is never banned (auth_fail_exempt)";

fn change_bans(name: &str, command: &Object, bans: &mut dyn BanBook, what: &mut String) -> Answer {
    if name == "listBans" {
        return Ok(Some(listed(&bans.list()).to_string()));
    }
    let subject = match name {
        "banAddress" | "unbanAddress" => {
            let text = json::text(command, "address");
            let text = text.ok().flatten().ok_or("Invalid/missing address")?;
            let address: IpAddr = text.parse().map_err(|_| "Invalid/missing address")?;
            if name == "banAddress" && bans.is_exempt(address) {
                return Err(EXEMPT);
            }
            Subject::of_address(address)
        }
        _ => Subject::User(super::user_name(command)?.into()),
    };
    *what = format!("{name} | {subject}");
    if name.starts_with("unban") {
        return if bans.lift(&subject) {
            DONE
        } else {
            Err("Not banned")
        };
    }
    let ban = bans.ban(&subject, seconds(command)?);
    *what = format!("{name} | {subject} | seconds={}", ban.length.as_secs());
    DONE
}

/// How long a ban is to be: a number, or a text with one.
fn seconds(command: &Object) -> Result<Option<Duration>, &'static str> {
    const INVALID: &str = "Invalid seconds";
    let seconds = match json::member(command, "seconds") {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse().map_err(|_| INVALID)?,
        Some(value) => value.as_u64().ok_or(INVALID)?,
    };
    if !(1..=BAN_SECS_MAX).contains(&seconds) {
        return Err(INVALID);
    }
    Ok(Some(Duration::from_secs(seconds)))
}

fn listed(bans: &[(Ban, u64)]) -> Value {
    let bans = bans.iter().map(|(ban, left)| {
        let (key, name) = match &ban.subject {
            Subject::Address(network) => ("address", network.to_string()),
            Subject::User(name) => ("username", name.to_string()),
        };
        serde_json::json!({ key: name, "seconds": left, "failures": ban.failures })
    });
    serde_json::json!({ "bans": bans.collect::<Value>() })
}

fn plugins(facts: &BrokerFacts) -> Value {
    let plugins = facts.plugins.iter().map(|plugin| {
        let mut object = Object::new();
        object.insert("name".into(), plugin.name.as_str().into());
        if let Some(version) = &plugin.version {
            object.insert("version".into(), version.as_str().into());
        }
        if let Some(port) = plugin.port {
            object.insert("port".into(), port.into());
        }
        let endpoints = plugin.control_endpoints.clone();
        object.insert("control-endpoints".into(), endpoints.into());
        Value::Object(object)
    });
    serde_json::json!({ "plugins": plugins.collect::<Value>() })
}

fn listeners(facts: &BrokerFacts) -> Value {
    let listeners = facts.listeners.iter().map(|listener| {
        let mut object = Object::new();
        object.insert("port".into(), listener.port.into());
        for (name, text) in [
            ("protocol", &listener.protocol),
            ("bind-address", &listener.bind_address),
            ("socket-path", &listener.socket_path),
        ] {
            if let Some(text) = text {
                object.insert(name.into(), text.as_str().into());
            }
        }
        object.insert("tls".into(), listener.tls.into());
        Value::Object(object)
    });
    serde_json::json!({ "listeners": listeners.collect::<Value>() })
}
