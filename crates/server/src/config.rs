//! The configuration: `mosquitto.conf` in, typed settings out.
//!
//! [`Config::load`] reads a file, [`Config::parse`] a text, [`Config::without_file`] gives what
//! runs when there is neither. [`Config::diff`] tells what a reload has to change. Every option is
//! a row of the table in [`options`], which the manual is printed from as well.

mod diff;
mod draft;
mod error;
mod finish;
mod forms;
mod include;
mod lines;
mod logins;
pub mod options;
mod persistence;
mod plugin;
mod settings;
mod suggest;
mod transport;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

pub use diff::{Changes, ListenerChange};
pub use error::{ConfigError, ConfigErrors};
pub use logins::{AuthMethod, HttpLogin, OAuth};
pub use midge_access::lockout::Network;
pub use options::reference;
pub use settings::{
    CertificateName, DynamicSecurity, General, ListenerSettings, MemoryLimit, Persistence,
    PersistenceSync, Protocol, ProtocolVersions, QueueOverflow,
};

use draft::Draft;
use include::{Disk, NoFiles};
use persistence::Environment;

/// The port that MQTT has without TLS.
pub const DEFAULT_PORT: u16 = 1883;

/// Everything that the operator decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What holds for the whole broker.
    pub general: General,
    /// Where clients can connect, in the order of the file. Never empty.
    pub listeners: Vec<ListenerConfig>,
    /// Whether no listener was defined, so that only this machine can connect.
    pub local_only: bool,
    /// Where the secrets of TLS connections are written, to look into them with Wireshark
    /// (`--tls-keylog`).
    pub tls_keylog: Option<PathBuf>,
    /// What the operator should be told: deprecated options, options without effect.
    pub notes: Vec<Note>,
}

/// One place where clients can connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where it is; what identifies the listener across reloads.
    pub endpoint: Endpoint,
    /// What holds for its clients; can be changed while it runs.
    pub settings: ListenerSettings,
}

/// Where a listener is. Two listeners with the same endpoint are the same listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP.
    Tcp {
        /// The port; 0 lets the system choose one (not possible in a file).
        port: u16,
        /// Address or host name to bind to; every address when absent.
        host: Option<String>,
        /// Network interface to bind to.
        interface: Option<String>,
        /// Which address families to open.
        domain: SocketDomain,
    },
    /// A unix stream socket.
    Unix {
        /// The path of the socket.
        path: PathBuf,
    },
}

/// Which address families a TCP listener opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SocketDomain {
    /// IPv4 and IPv6.
    #[default]
    Both,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// Something in a configuration that works, but that the operator should know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it is said: file and line, when there is one.
    pub place: Option<(String, u32)>,
    /// How much it matters; decides the kind of the log line.
    pub level: NoteLevel,
    /// One line for the log, place included.
    pub text: String,
}

/// How much a [`Note`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteLevel {
    /// Good to know, as a file that was included.
    Information,
    /// Should be changed one day, as a deprecated option.
    Notice,
    /// Probably not what was meant, as an option without effect.
    Warning,
}

/// What the command line says beside the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Ports of `-p`. They count only where the file defines no listener.
    pub ports: Vec<u16>,
    /// `-v`: every kind of log line, whatever the file says.
    pub verbose: bool,
    /// `--tls-keylog`: where the secrets of TLS connections are written.
    pub tls_keylog: Option<PathBuf>,
    /// `-q`: no log line at all; stronger than `verbose`.
    pub quiet: bool,
}

impl Config {
    /// Port 1883 on 127.0.0.1 and ::1, for anonymous clients, and nothing on disk: what a broker
    /// within another program starts from.
    #[must_use]
    pub fn default_local() -> Self {
        Draft::default().finish(&CommandLine::default(), &Environment::empty())
    }

    /// What runs with a command line alone: as [`Config::default_local`], and the state is kept in
    /// the directory for state of the user who runs it.
    ///
    /// That is the first that there is of `$MOSQUITTO_PERSISTENCE_LOCATION`, the first directory in
    /// `$STATE_DIRECTORY`, `/var/lib/midge` for root, `$XDG_STATE_HOME/midge` and
    /// `$HOME/.local/state/midge`. Without any of them persistence is off, and a note says so.
    #[must_use]
    pub fn without_file(command_line: &CommandLine) -> Self {
        Self::without_file_in(&Environment::of_process(), command_line)
    }

    /// Reads `path` and what it includes.
    ///
    /// `$MOSQUITTO_PERSISTENCE_LOCATION` stands in for `persistence_location`.
    ///
    /// # Errors
    /// Every fault that was found, in the order of the file.
    pub fn load(path: &Path, command_line: &CommandLine) -> Result<Self, ConfigErrors> {
        Self::load_in(&Environment::of_process(), path, command_line)
    }

    /// Reads a text as if it stood in a file named `file`; `include_dir` is refused, and the
    /// environment does not count.
    ///
    /// # Errors
    /// Every fault that was found, in the order of the text.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        Self::parse_bytes(text.as_bytes(), file)
    }

    /// Reads bytes as [`Config::parse`] reads a text.
    ///
    /// # Errors
    /// Every fault that was found, in the order of the bytes.
    pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Self, ConfigErrors> {
        let mut draft = Draft::default();
        draft.read_bytes(bytes, file, include::Level::Top, &NoFiles);
        draft.into_config(&CommandLine::default(), &Environment::empty())
    }

    fn without_file_in(environment: &Environment<'_>, command_line: &CommandLine) -> Self {
        let mut draft = Draft::default();
        draft.persist_without_file(environment);
        draft.finish(command_line, environment)
    }

    fn load_in(
        environment: &Environment<'_>,
        path: &Path,
        command_line: &CommandLine,
    ) -> Result<Self, ConfigErrors> {
        let mut draft = Draft::default();
        draft.read_file(path, include::Level::Top, &Disk);
        draft.into_config(command_line, environment)
    }
}

impl Endpoint {
    /// A TCP endpoint on `port` of `host`.
    #[must_use]
    pub fn tcp(host: Option<&str>, port: u16) -> Self {
        Self::Tcp {
            port,
            host: host.map(str::to_owned),
            interface: None,
            domain: SocketDomain::Both,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(out, "unix socket {}", path.display()),
            Self::Tcp {
                port,
                host,
                interface,
                domain,
            } => {
                write!(out, "port {port}")?;
                if let Some(host) = host {
                    write!(out, " on {host}")?;
                }
                if let Some(interface) = interface {
                    write!(out, " of interface {interface}")?;
                }
                match domain {
                    SocketDomain::Both => Ok(()),
                    SocketDomain::Ipv4 => out.write_str(" (IPv4)"),
                    SocketDomain::Ipv6 => out.write_str(" (IPv6)"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
