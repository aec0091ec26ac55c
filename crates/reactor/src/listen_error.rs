//! Why a listener could not be opened, and what an operator can do.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use nix::errno::Errno;

use crate::{BindAddress, Family};

/// Why a place to listen could not be opened.
///
/// `Display` is the whole log line: it starts with `Error`, then gives Mosquitto's words where it has
/// some, then the place and the way out.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// The host name could not be turned into an address.
    Resolve {
        /// As the operator wrote it.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The host has addresses, but none of the family asked for.
    NoAddress {
        /// As the operator wrote it.
        host: String,
        /// What was asked for.
        family: Family,
    },
    /// Somebody else listens there.
    InUse(BindAddress),
    /// This process may not listen there.
    Denied(BindAddress),
    /// This machine does not have that address, or no such family at all.
    NotAvailable(BindAddress, io::Error),
    /// There is no such network interface.
    NoInterface(String),
    /// This process may not bind to an interface, or this system cannot.
    Interface(String, io::Error),
    /// A unix socket's path is longer than the system takes (about 100 bytes).
    PathTooLong(PathBuf),
    /// The path is taken by something that is not a socket, which therefore stays.
    NotASocket(PathBuf),
    /// Anything else that the system says.
    System(BindAddress, io::Error),
}

impl ListenError {
    /// Whether another address of the same host may do instead: this one is not there at all.
    pub(crate) const fn is_not_available(&self) -> bool {
        matches!(self, Self::NotAvailable(..))
    }

    pub(crate) fn from_system(address: &BindAddress, error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => Self::InUse(address.clone()),
            Some(Errno::EACCES | Errno::EPERM) => Self::Denied(address.clone()),
            Some(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) => {
                Self::NotAvailable(address.clone(), error)
            }
            _ => Self::System(address.clone(), error),
        }
    }

    pub(crate) fn from_interface(interface: &str, error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENODEV) => Self::NoInterface(interface.to_owned()),
            _ => Self::Interface(interface.to_owned(), error),
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source } => write!(
                f,
                "Error creating listener: {source} (host '{host}'). Check the name, or give an \
                 address."
            ),
            Self::NoAddress { host, family } => write!(
                f,
                "Error creating listener: '{host}' has no {family} address. Check socket_domain and \
                 the host."
            ),
            Self::InUse(address) => write!(
                f,
                "Error: Address already in use ({address}). Another program listens there, perhaps \
                 a broker that still runs: stop it, or choose another {}.",
                if address.port().is_some() {
                    "port"
                } else {
                    "path"
                }
            ),
            Self::Denied(address) if address.port().is_some_and(|port| port < 1024) => write!(
                f,
                "Error: Permission denied ({address}). Ports below 1024 need a privilege: give the \
                 program the capability CAP_NET_BIND_SERVICE (with setcap or in its service unit), \
                 or choose a higher port."
            ),
            Self::Denied(address) => write!(
                f,
                "Error: Permission denied ({address}). Check who may listen there, and the user \
                 that the broker runs as."
            ),
            Self::NotAvailable(address, error) => write!(
                f,
                "Error: {} ({address}). This machine does not have that address: check the host, or \
                 whether the system has IPv6 switched off.",
                words(error)
            ),
            Self::NoInterface(interface) => write!(
                f,
                "Error: Interface {interface} does not exist. `ip link` lists those that do."
            ),
            Self::Interface(interface, error) => write!(
                f,
                "Error: {} (interface {interface}). Binding to an interface may need the capability \
                 CAP_NET_RAW; the host of the listener can name the interface's address instead.",
                words(error)
            ),
            Self::PathTooLong(path) => write!(
                f,
                "Error: Path to unix socket is too long \"{}\". Choose one below 100 bytes.",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "Error: Address already in use (unix socket {}). Something that is not a socket has \
                 this path: remove it, or choose another path.",
                path.display()
            ),
            Self::System(address, error) => write!(f, "Error: {} ({address}).", words(error)),
        }
    }
}

impl Error for ListenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve { source: error, .. }
            | Self::NotAvailable(_, error)
            | Self::Interface(_, error)
            | Self::System(_, error) => Some(error),
            Self::NoAddress { .. }
            | Self::InUse(_)
            | Self::Denied(_)
            | Self::NoInterface(_)
            | Self::PathTooLong(_)
            | Self::NotASocket(_) => None,
        }
    }
}

/// What the system says, without the number that `io::Error` adds.
fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |code| Errno::from_raw(code).desc().into(),
    )
}
