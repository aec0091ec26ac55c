//! Where the state is kept: what the file says, what the environment adds, and what holds without
//! a file.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

use midge_reactor::running_as_root;

use super::draft::Draft;
use super::error::{ConfigError, EXIT_CONFIG};
use super::settings::{Persistence, PersistenceSync};
use super::value::shown;
use super::{Note, NoteLevel};

impl Persistence {
    /// Keeps the state below `location`; the rest is as by default.
    #[must_use]
    pub fn below(location: impl Into<PathBuf>) -> Self {
        Self {
            location: location.into(),
            ..Self::default()
        }
    }

    /// Returns the directory that belongs to Midge alone: `midge` in the location.
    ///
    /// Relative when the location is.
    #[must_use]
    pub fn store_directory(&self) -> PathBuf {
        self.location.join(STORE_DIRECTORY)
    }

    /// Returns the path at which a database of Mosquitto is looked for.
    ///
    /// It is Mosquitto's own: location, slash, file. Relative when the location is.
    #[must_use]
    pub fn mosquitto_file(&self) -> PathBuf {
        // To Mosquitto a slash at the start means nothing here, to a path everything.
        self.location.join(self.file.trim_start_matches('/'))
    }
}

/// Says for the log where the state is kept, in full, and what is promised about it.
impl fmt::Display for Persistence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.store_directory();
        // Without a working directory the relative path is all that is known.
        let directory = path::absolute(&directory).unwrap_or(directory);
        write!(out, "{} ({})", directory.display(), self.sync)
    }
}

impl fmt::Display for PersistenceSync {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => out.write_str("on disk before it is acknowledged"),
            Self::Os => out.write_str("on disk when the system decides"),
            Self::Interval(milliseconds) => {
                write!(out, "on disk after {milliseconds} ms at the latest")
            }
        }
    }
}

/// What surrounds the process, as far as it decides where the state is kept.
pub(super) struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    is_root: bool,
}

impl<'a> Environment<'a> {
    /// An environment of these variables.
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<OsString>, is_root: bool) -> Self {
        Self { variable, is_root }
    }

    /// The environment of this process.
    pub(super) fn of_process() -> Environment<'static> {
        Environment::new(&|name| env::var_os(name), running_as_root())
    }

    /// An environment without variables, for what must not depend on one.
    pub(super) fn empty() -> Environment<'static> {
        Environment::new(&|_| None, false)
    }

    /// The location for a file that names none.
    fn location(&self) -> Option<PathBuf> {
        let location = (self.variable)("MOSQUITTO_PERSISTENCE_LOCATION")?;
        (!location.is_empty()).then(|| PathBuf::from(location))
    }

    /// The location when there is no file: the directory for state of the user who runs the broker.
    fn state_directory(&self) -> Option<PathBuf> {
        if let Some(location) = self.location() {
            return Some(location);
        }
        // systemd lists every directory that a unit asks for.
        if let Some(directories) = (self.variable)("STATE_DIRECTORY") {
            let first = directories.as_bytes().split(|byte| *byte == b':').next();
            let first = Path::new(OsStr::from_bytes(first.unwrap_or_default()));
            if first.is_absolute() {
                return Some(first.to_owned());
            }
        }
        if self.is_root {
            return Some(PathBuf::from("/var/lib/midge"));
        }
        let base = self.directory("XDG_STATE_HOME").or_else(|| {
            let home = self.directory("HOME")?;
            Some(home.join(".local/state"))
        })?;
        Some(base.join("midge"))
    }

    /// A directory from a variable; a relative one does not count, as the XDG specification has it.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        let directory = PathBuf::from((self.variable)(name)?);
        directory.is_absolute().then_some(directory)
    }
}

/// What has been read about persistence so far.
#[derive(Debug, Default)]
pub(super) struct PersistenceDraft {
    pub(super) is_wanted: bool,
    pub(super) location: Option<Placed<PathBuf>>,
    pub(super) file: Option<Placed<String>>,
    pub(super) sync: Option<Placed<PersistenceSync>>,
}

/// A value with the file and line that set it.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: (String, u32),
}

impl Draft {
    /// Refuses a file to look for that is no file, or whose name is taken.
    pub(super) fn check_persistence(&mut self) {
        let PersistenceDraft {
            is_wanted: true,
            file: Some(file),
            ..
        } = &self.persistence
        else {
            return;
        };
        let looked_for = Persistence {
            file: file.value.clone(),
            ..Persistence::default()
        };
        let hint = if Path::new(&file.value).file_name().is_none() {
            "it is the name of a file in persistence_location"
        } else if looked_for.mosquitto_file() == looked_for.store_directory() {
            "the directory in which Midge keeps its state has that name; give the file another one"
        } else {
            return;
        };
        let (path, line) = &file.place;
        self.errors.push(ConfigError {
            file: path.clone(),
            line: *line,
            message: format!(
                "Error: Invalid 'persistence_file' value ({}).",
                shown(&file.value)
            ),
            hint: hint.to_owned(),
            exit_code: EXIT_CONFIG,
        });
    }

    /// Settles where the state is kept, or notes what stands in the file for nothing.
    pub(super) fn finish_persistence(&mut self, environment: &Environment<'_>) {
        let PersistenceDraft {
            is_wanted,
            location,
            file,
            sync,
        } = std::mem::take(&mut self.persistence);
        if is_wanted {
            let default = Persistence::default();
            self.general.persistence = Some(Persistence {
                location: location
                    .map(|location| location.value)
                    .or_else(|| environment.location())
                    .unwrap_or(default.location),
                file: file.map_or(default.file, |file| file.value),
                sync: sync.map_or(default.sync, |sync| sync.value),
            });
            return;
        }
        for (option, place) in [
            ("persistence_location", location.map(|set| set.place)),
            ("persistence_file", file.map(|set| set.place)),
            ("persistence_sync", sync.map(|set| set.place)),
        ] {
            if let Some(place) = place {
                let text = format!(
                    "The '{option}' option is ignored: it has no effect while persistence is off."
                );
                self.note_at(place, NoteLevel::Notice, text);
            }
        }
    }

    /// Switches persistence on where there is no file to do so.
    pub(super) fn persist_without_file(&mut self, environment: &Environment<'_>) {
        let Some(location) = environment.state_directory() else {
            self.notes.push(Note {
                place: None,
                level: NoteLevel::Warning,
                text: "Warning: Persistence is off, since neither STATE_DIRECTORY nor \
                       XDG_STATE_HOME nor HOME tells where to keep the state. Set one of them, or \
                       put the lines 'persistence true' and 'persistence_location DIRECTORY' into \
                       a file, and start with '-c FILE'."
                    .to_owned(),
            });
            return;
        };
        self.persistence.is_wanted = true;
        self.persistence.location = Some(Placed {
            value: location,
            place: (String::new(), 0),
        });
    }
}

/// What the store's directory is called.
const STORE_DIRECTORY: &str = "midge";

#[cfg(test)]
mod tests;
