//! A configuration while its files are read.
//!
//! The file is positional: what an option means depends on the listener, bridge or plugin before
//! it. That place is kept for each file of its own, so that a file in `include_dir` begins afresh;
//! what is set is kept in the draft, and every fault is collected with its file and line.

use std::path::{Path, PathBuf};

use super::error::{ConfigError, EXIT_CONFIG};
use super::include::{Files, Level, Unreadable};
use super::lines::{Line, NotText, TextFault, lines};
use super::logins::{AuthMethod, HttpLogin, OAuth};
use super::options::{OptionDef, Scope, Status, ValueType, find};
use super::persistence::{PersistenceDraft, Placed};
use super::plugin::{Configured, Loaded, plugin_option};
use super::settings::{DynamicSecurity, General, ListenerSettings};
use super::suggest::closest;
use super::value::{Args, Fault, malformed_utf8, shown};
use super::{DEFAULT_PORT, Endpoint, Note, NoteLevel};
use crate::log::{Destinations, Kinds};

/// Faults after which reading ends: enough to put right at once.
const ERRORS_MAX: usize = 100;

/// Notes that are kept, so that a file cannot fill the memory with them.
const NOTES_MAX: usize = 1_000;

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) general: General,
    pub(super) listeners: Vec<ListenerDraft>,
    /// The listener that `port` and its like describe, if there is one.
    pub(super) default_listener: Option<usize>,
    /// Whether the default listener has its port from the file.
    pub(super) port_is_set: bool,
    /// Whether nothing has said where to listen.
    pub(super) local_only: bool,
    pub(super) per_listener_settings: bool,
    /// Whether an option came that `per_listener_settings` would have given another meaning.
    pub(super) security_seen: bool,
    pub(super) persistence: PersistenceDraft,
    pub(super) log_timestamp: bool,
    pub(super) log_timestamp_format: Option<String>,
    pub(super) log_destinations: Option<Destinations>,
    pub(super) log_kinds: Option<Kinds>,
    /// Directories whose files are to be read before the next line.
    pub(super) include: Option<String>,
    /// Options that would be those of a listener with `per_listener_settings`.
    pub(super) general_security: Security,
    /// Plugins by name.
    pub(super) plugins: Loaded,
    place: Place,
    pub(super) notes: Vec<Note>,
    pub(super) errors: Vec<ConfigError>,
}

/// A listener that has been read so far.
#[derive(Debug)]
pub(super) struct ListenerDraft {
    pub(super) endpoint: Endpoint,
    pub(super) settings: ListenerSettings,
    pub(super) security: Security,
    /// The file and line that began it.
    pub(super) place: (String, u32),
}

/// Options that are general or for one listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    pub(super) allow_anonymous: Option<bool>,
    pub(super) allow_zero_length_clientid: Option<bool>,
    pub(super) auto_id_prefix: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) acl_file: Option<PathBuf>,
    pub(super) psk_file: Option<PathBuf>,
    pub(super) dynamic_security: Option<DynamicSecurity>,
    pub(super) auth_order: Option<Vec<AuthMethod>>,
    pub(super) oauth: Option<OAuth>,
    /// The file and line that began with tokens.
    pub(super) oauth_place: Option<(String, u32)>,
    pub(super) http_login: Option<HttpLogin>,
    /// The file and line that began with the HTTP back end.
    pub(super) http_login_place: Option<(String, u32)>,
}

/// Where in which file reading has come to.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    line: u32,
    level: Level,
    /// The listener that options now describe.
    listener: Option<usize>,
    /// Whether options of bridges may stand here.
    bridge: bool,
    /// The plugin that options may be for.
    plugin: Option<Configured>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            general: General::default(),
            listeners: Vec::new(),
            default_listener: None,
            port_is_set: false,
            local_only: true,
            per_listener_settings: false,
            security_seen: false,
            persistence: PersistenceDraft::default(),
            log_timestamp: true,
            log_timestamp_format: None,
            log_destinations: None,
            log_kinds: None,
            include: None,
            general_security: Security::default(),
            plugins: Loaded::default(),
            place: Place::start(String::new(), Level::Top),
            notes: Vec::new(),
            errors: Vec::new(),
        }
    }
}

impl Place {
    fn start(file: String, level: Level) -> Self {
        Self {
            file,
            line: 0,
            level,
            listener: None,
            bridge: false,
            plugin: None,
        }
    }
}

/// Reading.
impl Draft {
    /// Reads the file at `path`.
    pub(super) fn read_file(&mut self, path: &Path, level: Level, files: &dyn Files) {
        let file = path.display().to_string();
        match files.read(path) {
            Ok(bytes) => self.read_bytes(&bytes, &file, level, files),
            Err(unreadable) => {
                let (message, hint) = match unreadable {
                    Unreadable::Directory => (
                        format!("Error: Config file '{file}' is a directory."),
                        "give the file itself; include_dir reads a directory".to_owned(),
                    ),
                    Unreadable::Failed(reason) => (
                        format!("Error: Unable to open config file '{file}'."),
                        reason,
                    ),
                };
                let outer = std::mem::replace(&mut self.place, Place::start(file, level));
                self.fail(Fault::new(message, hint));
                self.place = outer;
            }
        }
    }

    /// Reads the content of a file.
    pub(super) fn read_bytes(&mut self, bytes: &[u8], file: &str, level: Level, files: &dyn Files) {
        let outer = std::mem::replace(&mut self.place, Place::start(file.to_owned(), level));
        for line in lines(bytes) {
            if self.errors.len() >= ERRORS_MAX {
                break;
            }
            match line {
                Ok(line) => self.read_line(line),
                Err(NotText { number, fault }) => {
                    self.place.line = number;
                    self.fail(malformed_utf8(match fault {
                        TextFault::Nul => "the line contains a NUL byte; is this a text file?",
                        TextFault::Utf8 => "save the file as UTF-8",
                    }));
                }
            }
            if let Some(directory) = self.include.take() {
                self.read_directory(&directory, files);
            }
        }
        self.place = outer;
    }

    fn read_directory(&mut self, directory: &str, files: &dyn Files) {
        match files.list(Path::new(directory)) {
            Ok(paths) => {
                for path in paths {
                    let text = format!("Loading config file '{}'", path.display());
                    self.note(NoteLevel::Information, text);
                    self.read_file(&path, Level::Included, files);
                }
            }
            Err(reason) => self.fail(Fault::new(
                format!("Error: Unable to open include_dir '{}'.", shown(directory)),
                reason,
            )),
        }
    }

    fn read_line(&mut self, line: Line<'_>) {
        self.place.line = line.number;
        let read = match find(line.name) {
            Some(option) => self.read_option(option, line),
            None => Err(unknown(line.name)),
        };
        if let Err(fault) = read {
            self.fail(fault);
        }
    }

    fn read_option(&mut self, option: &'static OptionDef, line: Line<'_>) -> Result<(), Fault> {
        self.check_scope(option, line.name)?;
        let mut args = Args::new(option, line.rest);
        if let Status::Later(feature) = option.status {
            return self.refuse_later(&mut args, line.name, feature);
        }
        if let Some(advice) = option.deprecated {
            let text = format!("The '{}' option is deprecated. {advice}", line.name);
            self.note(NoteLevel::Notice, text);
        }
        match option.set {
            _ if option.name == "plugin_opt_*" => plugin_option(self, line.name, &mut args)?,
            Some(set) => set(self, &mut args)?,
            None => check_value(&mut args)?,
        }
        if let Some(unread) = args.unread() {
            self.warn(&format!(
                "Warning: '{}' after the value of '{}' is ignored.",
                shown(unread),
                line.name
            ));
        }
        if let Status::Accepted(reason) = option.status {
            let text = format!("The '{}' option is ignored: {reason}.", line.name);
            self.note(NoteLevel::Notice, text);
        }
        Ok(())
    }

    fn check_scope(&mut self, option: &OptionDef, name: &str) -> Result<(), Fault> {
        let needs_listener = || {
            Fault::new(
                format!("Error: The '{name}' option requires a listener to be defined first."),
                format!("put '{name}' below the 'listener' line that it is for"),
            )
        };
        match option.scope {
            Scope::General => {}
            Scope::GeneralOrListener => {
                if self.per_listener_settings && self.place.listener.is_none() {
                    return Err(needs_listener());
                }
                self.security_seen = true;
            }
            Scope::Listener => {
                if self.place.listener.is_none() {
                    return Err(needs_listener());
                }
            }
            Scope::NamedListener => {
                let listener = self.place.listener;
                if listener.is_none() || listener == self.default_listener {
                    return Err(needs_listener());
                }
            }
            Scope::ListenerOrDefault => {
                // An option that is going to be refused opens no listener.
                if self.place.listener.is_none() && !matches!(option.status, Status::Later(_)) {
                    self.describe_default_listener(name);
                }
            }
            Scope::Bridge => {
                if !self.place.bridge {
                    return Err(Fault::new(
                        format!(
                            "Error: The '{name}' option requires a bridge to be defined first."
                        ),
                        format!("put '{name}' below the 'connection' line that it is for"),
                    ));
                }
            }
            Scope::Plugin => {
                if self.place.plugin.is_none() {
                    return Err(Fault::new(
                        format!(
                            "Error: The '{name}' option requires plugin/global_plugin/plugin_load \
                             to be defined first."
                        ),
                        format!("put '{name}' below the 'plugin' line that it is for"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Refuses an option that a later version brings, once for all options that go with it.
    fn refuse_later(
        &mut self,
        args: &mut Args<'_>,
        name: &str,
        feature: &str,
    ) -> Result<(), Fault> {
        // The line that begins the bridge or the plugin has been refused already.
        if matches!(args.option.scope, Scope::Bridge | Scope::Plugin) {
            return Ok(());
        }
        if name == "connection" {
            self.place.bridge = true;
        }
        if args.option.value == ValueType::Flag {
            let value = args.flag()?;
            if value == (args.option.default == "true") {
                return Ok(());
            }
        }
        Err(not_yet(name, feature))
    }
}

/// What the setters of the option table use.
impl Draft {
    /// The listener that options now describe.
    pub(super) fn listener(&mut self) -> Result<&mut ListenerDraft, Fault> {
        self.place
            .listener
            .and_then(|index| self.listeners.get_mut(index))
            .ok_or_else(|| {
                Fault::new(
                    "Error: This option requires a listener to be defined first.",
                    "put it below the 'listener' line that it is for",
                )
            })
    }

    /// The options that are general or, with `per_listener_settings`, those of the listener.
    pub(super) fn security(&mut self) -> &mut Security {
        if self.per_listener_settings
            && let Some(index) = self.place.listener
            && let Some(listener) = self.listeners.get_mut(index)
        {
            return &mut listener.security;
        }
        &mut self.general_security
    }

    /// The plugin that options are for.
    pub(super) fn plugin(&self) -> Option<Configured> {
        self.place.plugin.clone()
    }

    /// Lets options be for a plugin.
    pub(super) fn set_plugin(&mut self, plugin: Configured) {
        self.place.plugin = Some(plugin);
    }

    /// Lets options be general again.
    pub(super) fn leave_listener(&mut self) {
        self.place.listener = None;
    }

    /// Notes something about the configuration as a whole.
    pub(super) fn note_here(&mut self, level: NoteLevel, text: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(Note {
                text: text.to_owned(),
                place: None,
                level,
            });
        }
    }

    /// Begins a listener, which the options that follow describe.
    pub(super) fn begin_listener(&mut self, endpoint: Endpoint) {
        self.local_only = false;
        self.place.listener = Some(self.listeners.len());
        self.listeners.push(ListenerDraft {
            endpoint,
            settings: ListenerSettings::default(),
            security: Security::default(),
            place: (self.place.file.clone(), self.place.line),
        });
    }

    /// Lets the options that follow describe the default listener, which `name` may be the first
    /// to need.
    pub(super) fn describe_default_listener(&mut self, name: &str) {
        if let Some(index) = self.default_listener {
            self.place.listener = Some(index);
            return;
        }
        let local_only = self.local_only;
        self.begin_listener(Endpoint::tcp(None, DEFAULT_PORT));
        self.local_only = local_only;
        self.default_listener = self.place.listener;
        if !matches!(name, "port" | "bind_address") {
            self.note(
                NoteLevel::Notice,
                format!(
                    "Creating default listener due to '{name}' option. It is best practice to \
                     define a 'listener' first."
                ),
            );
        }
    }

    /// Whether the file that is being read was included by another one.
    pub(super) fn is_included(&self) -> bool {
        self.place.level == Level::Included
    }

    /// Notes that the line is probably not what was meant.
    pub(super) fn warn(&mut self, text: &str) {
        self.note(NoteLevel::Warning, text.to_owned());
    }

    /// Binds a value to the line that is being read.
    pub(super) fn placed<T>(&self, value: T) -> Placed<T> {
        Placed {
            value,
            place: (self.place.file.clone(), self.place.line),
        }
    }

    fn note(&mut self, level: NoteLevel, text: String) {
        let place = (self.place.file.clone(), self.place.line);
        self.note_at(place, level, text);
    }

    /// Notes something about a line that was read before.
    pub(super) fn note_at(&mut self, place: (String, u32), level: NoteLevel, text: String) {
        if self.notes.len() >= NOTES_MAX {
            return;
        }
        let (file, line) = &place;
        self.notes.push(Note {
            text: format!("{text} ({file}:{line})"),
            place: Some(place),
            level,
        });
    }

    fn fail(&mut self, fault: Fault) {
        self.errors.push(ConfigError {
            file: self.place.file.clone(),
            line: self.place.line,
            message: fault.message,
            hint: fault.hint,
            exit_code: EXIT_CONFIG,
        });
    }
}

/// The fault of an option that a later version brings.
pub(super) fn not_yet(what: &str, feature: &str) -> Fault {
    Fault::new(
        format!(
            "Error: '{what}' is known but not supported by this version of Midge yet ({feature})."
        ),
        "remove the line, or wait for a version that has it",
    )
}

fn unknown(name: &str) -> Fault {
    let hint = if name.starts_with('#') {
        "a comment must begin in the first column of its line".to_owned()
    } else {
        match closest(name) {
            Some(known) => format!("did you mean '{known}'?"),
            None => "no option has a name like it; see the manual for the list".to_owned(),
        }
    };
    let name = shown(name);
    Fault::new(
        format!("Error: Unknown configuration variable '{name}'."),
        hint,
    )
}

/// Checks the value of an option that changes nothing.
fn check_value(args: &mut Args<'_>) -> Result<(), Fault> {
    match args.option.value {
        ValueType::Flag => args.flag().map(drop),
        ValueType::Number { .. } => args.number().map(drop),
        ValueType::Text | ValueType::Word(_) => args.text().map(drop),
        ValueType::Form(_) => {
            while args.next_word().is_some() {}
            Ok(())
        }
    }
}
