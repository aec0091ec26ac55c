//! Taking another configuration while the broker runs.

use std::sync::Arc;

use super::listeners::{Opening, limit, open};
use super::{Control, OpenListener};
use crate::access::broker_facts;
use crate::config::{
    Changes, Config, ListenerChange, ListenerConfig, ListenerSettings, Note, NoteLevel,
};
use crate::log::Kind;
use crate::mail::WorkerMail;
use crate::server::ReloadError;
use crate::settings::broker_settings;
use crate::wrapping::Loaded;

/// The name that the system log is told.
pub(crate) const PROGRAM: &str = "midge";

impl Control {
    /// Reads the configuration again, as SIGHUP asks. A faulty one changes nothing.
    pub(super) fn reload_from_source(&mut self) {
        self.logger.log(Kind::Information, "Reloading config.");
        let Some(source) = &mut self.source else {
            self.reopen_log();
            return;
        };
        match source() {
            Ok(config) => {
                for note in &config.notes {
                    self.log_note(note);
                }
                // The log has been told why it failed, if it did. Either way it may have been rotated.
                if self.reload(config).is_err() {
                    self.reopen_log();
                }
            }
            Err(errors) => {
                for line in errors.lines() {
                    self.logger.log(Kind::Error, line);
                }
                self.logger.log(
                    Kind::Error,
                    "Error: The configuration has not been changed, since the new one is faulty.",
                );
                self.reopen_log();
            }
        }
    }

    /// Takes `new` in place of the configuration that runs.
    ///
    /// # Errors
    /// A listener that cannot be opened; nothing has been changed then.
    pub(super) fn reload(&mut self, mut new: Config) -> Result<(), ReloadError> {
        let changes = self.config.diff(&new);
        for note in &changes.notes {
            self.log_note(note);
        }
        let loaded = self.load_again(&new).and_then(|loaded| {
            let gates = self.gates_of(&new);
            self.shared.guard.set_listeners(&gates).map(|()| loaded)
        });
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            Err(text) => {
                self.logger.log(Kind::Error, text.clone());
                self.logger.log(
                    Kind::Error,
                    "Error: The configuration has not been changed, since a file of the new one \
                     cannot be used.",
                );
                return Err(ReloadError(text));
            }
        };
        if let Err(error) = self.reload_listeners(&changes, &new) {
            self.logger.log(Kind::Error, error.to_string());
            self.logger.log(
                Kind::Error,
                "Error: The configuration has not been changed, since a listener of the new one \
                 cannot be opened.",
            );
            if let Err(text) = self
                .shared
                .guard
                .set_listeners(&self.gates_of(&self.config))
            {
                self.logger.log(Kind::Error, text);
            }
            return Err(error);
        }
        for change in &changes.changed {
            self.change_listener(change);
        }
        for (listener, loaded) in new.listeners.iter().zip(&mut loaded) {
            if let Some(loaded) = loaded.take() {
                self.wrap_listener(&listener.endpoint, loaded);
            }
        }
        new.keep_fixed(&self.config);
        self.config = new;
        self.reopen_log();
        // Listeners that are new have their numbers by now, and those that have gone need no gate.
        if let Err(text) = self
            .shared
            .guard
            .set_listeners(&self.gates_of(&self.config))
        {
            self.logger.log(Kind::Error, text);
        }
        self.apply_general();
        self.shared.guard.review_all();
        Ok(())
    }

    /// What decides about the clients of each listener that is open, by number.
    fn gates_of(&self, config: &Config) -> Vec<(u64, ListenerSettings)> {
        let mut gates = Vec::new();
        for listener in &config.listeners {
            let open = self
                .listeners
                .iter()
                .find(|open| open.endpoint == listener.endpoint);
            // A new one is looked at under a number that nobody has.
            let number = open.map_or(u64::MAX, |open| open.seats.listener);
            gates.push((number, listener.settings.clone()));
        }
        gates
    }

    /// Closes and opens listeners; if one cannot be opened, those that were closed open again.
    fn reload_listeners(&mut self, changes: &Changes, new: &Config) -> Result<(), ReloadError> {
        // The old ones go first: the new ones may want the same port.
        for endpoint in &changes.removed {
            if let Some(name) = self.remove_listener(endpoint) {
                self.logger
                    .log(Kind::Information, format!("Closing listen socket: {name}."));
            }
        }
        let mut opened: Vec<OpenListener> = Vec::new();
        for listener in &changes.added {
            match self.open_listener(listener, new) {
                Ok(listener) => opened.push(listener),
                Err(error) => {
                    drop(opened);
                    self.open_again(changes);
                    return Err(ReloadError(error));
                }
            }
        }
        for listener in opened {
            if let Err(error) = self.add_listener(listener) {
                self.logger.log(
                    Kind::Error,
                    format!("Error: A listener is not served: {error}."),
                );
            }
        }
        self.tell_addresses();
        Ok(())
    }

    fn open_again(&mut self, changes: &Changes) {
        let config = self.config.clone();
        for listener in &config.listeners {
            if changes.removed.contains(&listener.endpoint) {
                let opened = self.open_listener(listener, &config);
                match opened.and_then(|listener| {
                    self.add_listener(listener)
                        .map_err(|error| error.to_string())
                }) {
                    Ok(()) => {}
                    Err(error) => self.logger.log(Kind::Error, error),
                }
            }
        }
        self.tell_addresses();
    }

    fn open_listener(
        &mut self,
        listener: &ListenerConfig,
        config: &Config,
    ) -> Result<OpenListener, String> {
        let number = self.next_listener;
        self.next_listener += 1;
        let loaded = Loaded::load(&listener.settings, &config.general, &self.tls.shared)?;
        let logger = &self.logger;
        let mut opening = Opening {
            general: &config.general,
            seats: &self.seats,
            clock: self.clock,
            say: &mut |kind, text| logger.log(kind, text),
        };
        open(listener, number, loaded, &mut opening).map_err(|error| error.to_string())
    }

    fn change_listener(&mut self, change: &ListenerChange) {
        let place = self
            .listeners
            .iter_mut()
            .find(|listener| listener.endpoint == change.endpoint);
        let Some(listener) = place else { return };
        let was_open_to_all = !listener.settings.login;
        listener.set(&change.settings);
        // Nobody was asked who they are.
        if was_open_to_all && (!listener.settings.allow_anonymous || listener.settings.login) {
            let number = listener.seats.listener;
            self.tell_workers(|| WorkerMail::Expel(number));
        }
    }

    /// Lets the general options of the configuration hold.
    fn apply_general(&mut self) {
        self.shared.guard.set_facts(broker_facts(&self.config));
        let general = &self.config.general;
        self.seats
            .set_max(general.global_max_connections.map(limit));
        let clients_max = general.global_max_clients.map(limit);
        self.shared.directory.set_clients_max(clients_max);
        self.shared.guard.set_lockout(general.lockout());
        self.shared.guard.set_patience(general.connect_timeout());
        self.shared.guard.set_cache(general.auth_cache());
        self.set_accept_rate(self.config.general.max_connect_rate);
        self.apply_limits();
        let listeners = self
            .listeners
            .iter()
            .map(|listener| Arc::clone(&listener.settings))
            .collect();
        let settings = Arc::new(broker_settings(
            &self.config.general,
            listeners,
            self.shared.guard.controls(),
            Arc::clone(&self.shared.limits),
        ));
        self.tell_workers(|| WorkerMail::Settings(Arc::clone(&settings)));
    }

    /// Opens the log anew, with the settings that hold now.
    pub(super) fn reopen_log(&self) {
        if self.log_is_own {
            return;
        }
        if let Err(error) = self.logger.apply(&self.config.general.log, PROGRAM) {
            self.logger.log(Kind::Error, error.to_string());
        }
    }

    fn log_note(&self, note: &Note) {
        self.logger.log(note_kind(note.level), note.text.clone());
    }
}

/// The kind of log line for a note of the configuration.
pub(crate) fn note_kind(level: NoteLevel) -> Kind {
    match level {
        NoteLevel::Information => Kind::Information,
        NoteLevel::Notice => Kind::Notice,
        NoteLevel::Warning => Kind::Warning,
    }
}
