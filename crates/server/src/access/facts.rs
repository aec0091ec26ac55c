//! What the broker tells of itself at `$CONTROL/broker/v1`.

use midge_access::dynsec::{BrokerFacts, CONTROL_TOPIC, Listener, Plugin};

use crate::config::{Config, Endpoint, Protocol};

/// The facts of a configuration; nothing if it does not want them told.
pub(crate) fn broker_facts(config: &Config) -> Option<BrokerFacts> {
    if !config.general.enable_control_api {
        return None;
    }
    let mut facts = BrokerFacts::default();
    for listener in &config.listeners {
        let settings = &listener.settings;
        let protocol = match settings.protocol {
            Protocol::Mqtt => "mqtt",
            Protocol::WebSockets => "mqtt+websockets",
        };
        let mut told = Listener {
            protocol: Some(protocol.to_owned()),
            tls: settings.has_tls(),
            ..Listener::default()
        };
        match &listener.endpoint {
            Endpoint::Tcp { port, host, .. } => {
                told.port = *port;
                told.bind_address.clone_from(host);
            }
            Endpoint::Unix { path } => told.socket_path = Some(path.display().to_string()),
        }
        facts.listeners.push(told);
    }
    let mut listeners = config.listeners.iter();
    if listeners.any(|listener| listener.settings.dynamic_security.is_some()) {
        facts.plugins.push(Plugin {
            name: "dynamic-security".to_owned(),
            control_endpoints: vec![CONTROL_TOPIC.to_owned()],
            ..Plugin::default()
        });
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_plugins_are_told_if_that_is_wanted() {
        let text = "listener 1884 127.0.0.1\nprotocol websockets\nlistener 0 /run/m\nplugin x/mosquitto_dynamic_security.so\n";
        let config = Config::parse(text, "test.conf").unwrap();
        assert_eq!(broker_facts(&config), None);
        let text = format!("enable_control_api true\n{text}");
        let facts = broker_facts(&Config::parse(&text, "test.conf").unwrap()).unwrap();
        assert_eq!(facts.plugins[0].name, "dynamic-security");
        assert_eq!(facts.listeners[0].port, 1884);
        assert_eq!(
            facts.listeners[0].bind_address.as_deref(),
            Some("127.0.0.1")
        );
        assert_eq!(
            facts.listeners[0].protocol.as_deref(),
            Some("mqtt+websockets")
        );
        assert_eq!(facts.listeners[1].socket_path.as_deref(), Some("/run/m"));
    }
}
