//! Where to listen, as an operator writes it and as the system takes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use crate::ListenError;

/// Which of a host name's addresses to listen on (`socket_domain`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6, each with a socket of its own.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A place to listen, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP.
    Tcp {
        /// A host name or address; all addresses of this machine when absent.
        host: Option<String>,
        /// 0 lets the system choose: one port for all addresses.
        port: u16,
        /// Which addresses of `host` count.
        family: Family,
        /// Takes only what arrives through this network interface (`bind_interface`).
        interface: Option<String>,
    },
    /// A unix socket at this path.
    Unix {
        /// A file that does not exist, or the socket of a program that has ended.
        path: PathBuf,
    },
}

/// A place to listen, as the system takes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// TCP. IPv6 does not take IPv4 along.
    Ip(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// TCP on all addresses of `host`, or of this machine.
    #[must_use]
    pub fn tcp(host: Option<&str>, port: u16) -> Self {
        Self::Tcp {
            host: host.map(str::to_owned),
            port,
            family: Family::Any,
            interface: None,
        }
    }

    /// All addresses to bind, each once, in the resolver's order. May ask the name service and wait
    /// for it.
    ///
    /// # Errors
    /// [`ListenError::Resolve`] and [`ListenError::NoAddress`].
    pub fn addresses(&self) -> Result<Vec<BindAddress>, ListenError> {
        match self {
            Self::Unix { path } => Ok(vec![BindAddress::Unix(path.clone())]),
            Self::Tcp {
                host, port, family, ..
            } => resolve(host.as_deref(), *port, *family),
        }
    }
}

fn resolve(host: Option<&str>, port: u16, family: Family) -> Result<Vec<BindAddress>, ListenError> {
    let all: Vec<SocketAddr> = match host {
        None => vec![
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into(),
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into(),
        ],
        Some(host) => (host, port)
            .to_socket_addrs()
            .map_err(|source| ListenError::Resolve {
                host: host.to_owned(),
                source,
            })?
            .collect(),
    };
    let mut addresses = Vec::new();
    for address in all {
        let wanted = match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let address = BindAddress::Ip(address);
        if wanted && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(ListenError::NoAddress {
            host: host.unwrap_or_default().to_owned(),
            family,
        });
    }
    Ok(addresses)
}

impl BindAddress {
    pub(crate) const fn set_port(&mut self, port: u16) {
        if let Self::Ip(address) = self {
            address.set_port(port);
        }
    }

    /// The TCP port; `None` for a unix socket.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "port {}, address {}", address.port(), address.ip()),
            Self::Unix(path) => write!(f, "unix socket {}", path.display()),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

#[cfg(test)]
mod tests;
