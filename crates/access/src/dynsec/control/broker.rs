//! `$CONTROL/broker/v1`: what the broker is made of.

use serde_json::Value;

use crate::Client;

use super::super::json::Object;
use super::{Outcome, RESPONSE_BYTES_MAX, UNKNOWN, answer, log_line};

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

/// Carries out a request to `$CONTROL/broker/v1` that `admin` published; nothing is changed by it.
#[must_use]
pub fn broker_control(payload: &[u8], admin: Client<'_>, facts: &BrokerFacts) -> Outcome {
    let mut log = Vec::new();
    let response = answer(payload, RESPONSE_BYTES_MAX, |name, _, _| {
        let (name, data) = match name {
            _ if name.eq_ignore_ascii_case("listPlugins") => ("listPlugins", plugins(facts)),
            _ if name.eq_ignore_ascii_case("listListeners") => ("listListeners", listeners(facts)),
            _ => return (UNKNOWN, Err(UNKNOWN)),
        };
        log.push(log_line("Broker", admin, name));
        (name, Ok(Some(data.to_string())))
    });
    Outcome {
        response,
        log,
        ..Outcome::default()
    }
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
