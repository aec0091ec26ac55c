//! From what was read to what holds.

use std::collections::HashMap;

use super::draft::{Draft, ListenerDraft, Security};
use super::error::{ConfigError, ConfigErrors, EXIT_CONFIG};
use super::persistence::Environment;
use super::settings::ListenerSettings;
use super::{
    CommandLine, Config, DEFAULT_PORT, Endpoint, ListenerConfig, Note, NoteLevel, SocketDomain,
};
use crate::log::{Kinds, Timestamp};

impl Draft {
    /// The configuration, if everything that was read is sound.
    pub(super) fn into_config(
        mut self,
        command_line: &CommandLine,
        environment: &Environment<'_>,
    ) -> Result<Config, ConfigErrors> {
        self.check_duplicate_listeners();
        self.check_persistence();
        self.check_transports();
        self.check_logins();
        match ConfigErrors::gather(std::mem::take(&mut self.errors)) {
            Some(errors) => Err(errors),
            None => Ok(self.finish(command_line, environment)),
        }
    }

    /// The configuration, whatever was wrong with it.
    pub(super) fn finish(
        mut self,
        command_line: &CommandLine,
        environment: &Environment<'_>,
    ) -> Config {
        if self.local_only {
            self.listen_locally(&command_line.ports);
        }
        self.finish_log(command_line);
        self.check_plugins();
        self.finish_persistence(environment);
        let listeners = self
            .listeners
            .iter()
            .map(|listener| self.finish_listener(listener))
            .collect();
        Config {
            general: self.general,
            listeners,
            local_only: self.local_only,
            tls_keylog: command_line.tls_keylog.clone(),
            notes: self.notes,
        }
    }

    /// Replaces what the file says about a listener without naming one by the local addresses.
    fn listen_locally(&mut self, ports: &[u16]) {
        let model = self
            .default_listener
            .and_then(|index| (index < self.listeners.len()).then(|| self.listeners.remove(index)))
            .unwrap_or_else(|| ListenerDraft {
                endpoint: Endpoint::tcp(None, DEFAULT_PORT),
                settings: ListenerSettings::default(),
                security: Security::default(),
                place: (String::new(), 0),
            });
        let wanted = match &model.endpoint {
            Endpoint::Tcp { domain, .. } => *domain,
            Endpoint::Unix { .. } => SocketDomain::Both,
        };
        if let Endpoint::Tcp { interface, .. } = &model.endpoint
            && interface.is_some()
        {
            self.notes.push(Note {
                place: Some(model.place.clone()),
                level: NoteLevel::Warning,
                text: "Warning: 'bind_interface' has no effect without a listener.".to_owned(),
            });
        }
        let mut ports = ports.to_vec();
        if ports.is_empty() {
            ports.push(DEFAULT_PORT);
        }
        self.listeners.clear();
        for port in ports {
            for (host, domain) in [
                ("127.0.0.1", SocketDomain::Ipv4),
                ("::1", SocketDomain::Ipv6),
            ] {
                let endpoint = Endpoint::tcp(Some(host), port);
                let is_new = self
                    .listeners
                    .iter()
                    .all(|known| known.endpoint != endpoint);
                if is_new && (wanted == SocketDomain::Both || wanted == domain) {
                    self.listeners.push(ListenerDraft {
                        endpoint,
                        settings: model.settings.clone(),
                        security: model.security.clone(),
                        place: model.place.clone(),
                    });
                }
            }
        }
    }

    fn finish_log(&mut self, command_line: &CommandLine) {
        let log = &mut self.general.log;
        if let Some(destinations) = self.log_destinations.take() {
            log.destinations = destinations;
        }
        if let Some(kinds) = self.log_kinds {
            log.kinds = kinds;
        }
        if command_line.verbose {
            log.kinds = Kinds::ALL;
        }
        if command_line.quiet {
            log.kinds = Kinds::NONE;
        }
        log.timestamp = match (self.log_timestamp, self.log_timestamp_format.take()) {
            (false, _) => Timestamp::None,
            (true, None) => Timestamp::UnixSeconds,
            (true, Some(format)) => Timestamp::Format(format),
        };
    }

    fn finish_listener(&self, listener: &ListenerDraft) -> ListenerConfig {
        let own = &listener.security;
        let general = &self.general_security;
        let mut settings = listener.settings.clone();
        settings.allow_anonymous = own
            .allow_anonymous
            .or(general.allow_anonymous)
            .unwrap_or(self.local_only);
        settings.allow_zero_length_clientid = own
            .allow_zero_length_clientid
            .or(general.allow_zero_length_clientid)
            .unwrap_or(true);
        if let Some(prefix) = own
            .auto_id_prefix
            .as_ref()
            .or(general.auto_id_prefix.as_ref())
        {
            settings.auto_id_prefix.clone_from(prefix);
        }
        settings.password_file = own
            .password_file
            .clone()
            .or_else(|| general.password_file.clone());
        settings.acl_file = own.acl_file.clone().or_else(|| general.acl_file.clone());
        settings.psk_file = own.psk_file.clone().or_else(|| general.psk_file.clone());
        settings.dynamic_security = own
            .dynamic_security
            .clone()
            .or_else(|| general.dynamic_security.clone());
        settings.auth_order = own
            .auth_order
            .clone()
            .or_else(|| general.auth_order.clone());
        settings.oauth = own.oauth.clone().or_else(|| general.oauth.clone());
        settings.http_login = own
            .http_login
            .clone()
            .or_else(|| general.http_login.clone());
        ListenerConfig {
            endpoint: listener.endpoint.clone(),
            settings,
        }
    }

    fn check_duplicate_listeners(&mut self) {
        let mut known: HashMap<&Endpoint, &ListenerDraft> = HashMap::new();
        for listener in &self.listeners {
            let Some(first) = known.insert(&listener.endpoint, listener) else {
                continue;
            };
            let (file, line) = &listener.place;
            let (first_file, first_line) = &first.place;
            self.errors.push(ConfigError {
                file: file.clone(),
                line: *line,
                message: "Error: Duplicate 'listener' value in configuration.".to_owned(),
                hint: format!(
                    "{} is defined at {first_file}:{first_line} already",
                    listener.endpoint
                ),
                exit_code: EXIT_CONFIG,
            });
        }
    }
}
