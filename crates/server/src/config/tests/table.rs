//! The option table against itself and against what the parser does.

use std::collections::HashSet;

use super::super::options::{Origin, Repeat, Scope, Status, ValueType, find};
use super::*;

/// A value that the option takes, if it is implemented.
fn sample(option: &options::OptionDef) -> String {
    match option.name {
        "listener" => return "1883".to_owned(),
        "accept_protocol_versions" => return "5".to_owned(),
        "persistent_client_expiration" => return "1d".to_owned(),
        "log_dest" => return "stdout".to_owned(),
        "auth_fail_exempt" => return "192.0.2.0/24".to_owned(),
        "auth_order" => return "password_file anonymous".to_owned(),
        "persistence_sync" => return "1000".to_owned(),
        "log_timestamp_format" => return "%Y".to_owned(),
        "additional_certificate" => return "cert.pem key.pem".to_owned(),
        "websockets_trusted_proxy" => return "192.0.2.0/24".to_owned(),
        _ => {}
    }
    match option.value {
        ValueType::Flag => "true".to_owned(),
        ValueType::Number { max, .. } => max.to_string(),
        ValueType::Word(words) => words[0].to_owned(),
        ValueType::Text | ValueType::Form(_) => "text".to_owned(),
    }
}

/// What must stand before the option.
fn before(option: &options::OptionDef) -> &'static str {
    match option.name {
        "certfile" | "keyfile" => return "listener 1884\ncertfile c\nkeyfile k\n",
        "require_certificate"
        | "use_identity_as_username"
        | "use_subject_as_username"
        | "use_san_as_username" => return "listener 1884\ncafile a\ncertfile c\nkeyfile k\n",
        "proxy_protocol_v2_require_tls" => return "listener 1884\nenable_proxy_protocol 2\n",
        "websockets_forwarded_header" | "websockets_trusted_proxy" => {
            return "listener 1884\nwebsockets_trusted_proxy ::1\n\
                    websockets_forwarded_header forwarded\n";
        }
        _ => {}
    }
    match option.scope {
        Scope::General | Scope::GeneralOrListener | Scope::ListenerOrDefault => "",
        Scope::Listener | Scope::NamedListener => "listener 1884\n",
        Scope::Bridge => "connection b\n",
        Scope::Plugin => "plugin p\n",
    }
}

fn usable() -> impl Iterator<Item = &'static options::OptionDef> {
    reference().filter(|option| !matches!(option.status, Status::Later(_)))
}

/// Options that say nothing without others; they have tests of their own.
fn needs_others(name: &str) -> bool {
    name.starts_with("oauth_") || name.starts_with("http_login_") || name == "psk_hint"
}

/// Those that take whatever has the right form. What names plugins has tests of its own.
fn plain() -> impl Iterator<Item = &'static options::OptionDef> {
    usable().filter(|option| !option.name.contains("plugin") && !needs_others(option.name))
}

#[test]
fn every_name_is_listed_once() {
    let mut seen = HashSet::new();
    for name in reference().flat_map(|option| option.names()) {
        assert!(seen.insert(name), "{name}");
    }
    let mosquitto = reference().filter(|option| option.origin == Origin::Mosquitto);
    assert_eq!(mosquitto.count(), 132);
    assert_eq!(
        reference()
            .filter(|option| option.origin == Origin::Midge)
            .count(),
        51
    );
}

#[test]
fn every_option_is_described() {
    for option in reference() {
        assert!(
            option.doc.ends_with('.') && option.doc.len() > 10,
            "{}",
            option.name
        );
        assert!(
            option.doc.starts_with(char::is_uppercase),
            "{}",
            option.name
        );
        assert!(!option.value.to_string().is_empty());
        assert!(!option.scope.to_string().is_empty());
        let is_read = option.set.is_some();
        match option.status {
            Status::Implemented => assert!(is_read, "{}", option.name),
            Status::Later(_) => assert!(!is_read, "{}", option.name),
            Status::Accepted(_) => {}
        }
    }
}

#[test]
fn every_alias_means_its_option() {
    for option in reference() {
        for name in option.names() {
            let found = find(&name.replace('*', "anything")).expect("found");
            assert_eq!(found.name, option.name);
        }
    }
}

#[test]
fn every_usable_option_takes_what_it_says() {
    for option in plain().filter(|option| option.name != "include_dir") {
        for name in option.names() {
            let text = format!("{}{name} {}", before(option), sample(option));
            assert!(Config::parse(&text, "t").is_ok(), "{text}");
        }
    }
}

#[test]
fn every_usable_option_refuses_to_be_empty() {
    for option in plain().filter(|option| !matches!(option.value, ValueType::Form("anything"))) {
        let text = format!("{}{}", before(option), option.name);
        let errors = Config::parse(&text, "t").expect_err(option.name);
        let message = &errors.errors()[0].message;
        assert!(message.starts_with("Error: Empty '"), "{text}: {message}");
    }
}

#[test]
fn every_usable_option_may_be_repeated_as_it_says() {
    for option in plain().filter(|option| option.name != "include_dir") {
        // A listener twice is a duplicate of its own kind, and an ignored option keeps no value.
        if option.name == "listener" || option.set.is_none() {
            continue;
        }
        let line = format!("{} {}\n", option.name, sample(option));
        let text = format!("{}{line}{line}", before(option));
        let parsed = Config::parse(&text, "t");
        assert_eq!(parsed.is_err(), option.repeat == Repeat::Refused, "{text}");
    }
}

#[test]
fn every_later_option_is_refused_with_the_feature_that_it_belongs_to() {
    for option in reference() {
        let Status::Later(feature) = option.status else {
            continue;
        };
        let value = match (option.value, option.default) {
            (ValueType::Flag, "true") => "false",
            (ValueType::Flag, _) => "true",
            _ => "1",
        };
        let text = format!("{}{} {value}", before(option), option.name);
        let errors = Config::parse(&text, "t").expect_err(option.name);
        let message = &errors.errors()[0].message;
        assert!(
            message.contains(&format!("yet ({feature}).")),
            "{text}: {message}"
        );
    }
}

#[test]
fn every_default_that_can_be_written_is_the_default() {
    let unset = parse("listener 1884");
    for option in plain() {
        let is_plain = matches!(
            option.value,
            ValueType::Flag | ValueType::Number { .. } | ValueType::Word(_)
        );
        // The default listener is another one, and these defaults are words about others.
        if !is_plain || option.default.contains(' ') || matches!(option.name, "port") {
            continue;
        }
        if option.default.is_empty() || option.name == "socket_domain" {
            continue;
        }
        let set = parse(&format!(
            "listener 1884\n{} {}",
            option.name, option.default
        ));
        assert_eq!(set.general, unset.general, "{}", option.name);
        assert_eq!(set.listeners, unset.listeners, "{}", option.name);
    }
}

#[test]
fn every_changed_option_is_in_the_table() {
    let general = General {
        max_packet_size: 21,
        ..General::default()
    };
    assert_eq!(
        General::default().changed_options(&general),
        ["max_packet_size"]
    );
    // Naming one field wrongly would make a reload say nonsense about it.
    for option in usable().filter(|option| option.set.is_some()) {
        let text = format!("{}{} {}", before(option), option.name, sample(option));
        let Ok(config) = Config::parse(&text, "t") else {
            continue;
        };
        let changes = parse(before(option)).diff(&config);
        for name in changes
            .general
            .iter()
            .chain(changes.changed.iter().flat_map(|c| &c.options))
        {
            let known = find(name).expect("a known name");
            let same = known.name == option.name
                || (known.name, option.name) == ("listener_auto_id_prefix", "auto_id_prefix")
                || (known.name, option.name) == ("allow_anonymous", "listener_allow_anonymous")
                || (known.name, option.name) == ("log_timestamp", "log_timestamp_format");
            assert!(same, "{text} changes {name}");
        }
    }
}
