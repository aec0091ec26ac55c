//! What a reload has to change.

use super::options::{Reload, find};
use super::{Config, Endpoint, General, ListenerConfig, ListenerSettings, Note, NoteLevel};

/// The difference between the configuration that runs and a new one.
///
/// Listeners that were removed must be closed before new ones are opened: the two may want the same
/// port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Listeners to open.
    pub added: Vec<ListenerConfig>,
    /// Listeners to close; their connections may stay.
    pub removed: Vec<Endpoint>,
    /// Listeners that stay open with other settings.
    pub changed: Vec<ListenerChange>,
    /// General options that take effect at once.
    pub general: Vec<&'static str>,
    /// General options that take effect after a restart only, with a line for the log each.
    pub notes: Vec<Note>,
}

/// A listener that stays open with other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerChange {
    /// The listener.
    pub endpoint: Endpoint,
    /// Its new settings.
    pub settings: ListenerSettings,
    /// The options that differ.
    pub options: Vec<&'static str>,
}

impl Changes {
    /// Whether nothing is to be done; there may still be notes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.general.is_empty()
    }

    /// Whether the logging settings are among the changes.
    #[must_use]
    pub fn touches_log(&self) -> bool {
        self.general.iter().any(|option| option.starts_with("log_"))
    }
}

impl Config {
    /// Tells what has to change so that `new` holds instead of `self`.
    #[must_use]
    pub fn diff(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        self.diff_general(new, &mut changes);
        for listener in &new.listeners {
            match self.listener(&listener.endpoint) {
                None => changes.added.push(listener.clone()),
                Some(old) => {
                    let options = old.settings.changed_options(&listener.settings);
                    if !options.is_empty() {
                        changes.changed.push(ListenerChange {
                            endpoint: listener.endpoint.clone(),
                            settings: listener.settings.clone(),
                            options,
                        });
                    }
                }
            }
        }
        changes.removed = self
            .listeners
            .iter()
            .filter(|listener| new.listener(&listener.endpoint).is_none())
            .map(|listener| listener.endpoint.clone())
            .collect();
        changes
    }

    /// Takes over from `running` what cannot change without a restart.
    ///
    /// What then runs is what `self` says, so that the next reload is compared with the truth.
    pub fn keep_fixed(&mut self, running: &Self) {
        let General {
            user,
            pid_file,
            persistence,
            worker_threads,
            listen_backlog,
            ..
        } = &running.general;
        self.general.user.clone_from(user);
        self.general.pid_file.clone_from(pid_file);
        self.general.persistence.clone_from(persistence);
        self.general.worker_threads = *worker_threads;
        self.general.listen_backlog = *listen_backlog;
    }

    fn diff_general(&self, new: &Self, changes: &mut Changes) {
        for option in self.general.changed_general(&new.general) {
            if find(option).is_some_and(|option| option.reload == Reload::Restart) {
                changes.notes.push(Note {
                    place: None,
                    level: NoteLevel::Warning,
                    text: format!("Warning: '{option}' changes with the next restart only."),
                });
            } else {
                changes.general.push(option);
            }
        }
    }

    fn listener(&self, endpoint: &Endpoint) -> Option<&ListenerConfig> {
        self.listeners
            .iter()
            .find(|listener| listener.endpoint == *endpoint)
    }
}

impl General {
    /// Names the options that differ, also those within a group.
    fn changed_general(&self, new: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        for option in self.changed_options(new) {
            match (option, &self.persistence, &new.persistence) {
                ("log", _, _) => changed.extend(self.log.changed_options(&new.log)),
                ("persistence", Some(old), Some(new)) => changed.extend(old.changed_options(new)),
                _ => changed.push(option),
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests;
