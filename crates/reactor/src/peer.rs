//! Who is at the other end.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The address that a connection came from, as logs and access rules name it.
///
/// A system forgets it when the connection ends, so it is taken at the accept. `Display` gives
/// `ADDRESS:PORT`, IPv6 without brackets, as Mosquitto's log lines have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over TCP.
    Ip(SocketAddr),
    /// Over the unix socket with this path. What connects has no name of its own.
    Unix(Arc<Path>),
}

impl PeerAddress {
    /// The IP address, or the path of the unix socket, without a port.
    #[must_use]
    pub const fn host(&self) -> impl fmt::Display + '_ {
        Host(self)
    }

    /// The peer's port; 0 over a unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port())
    }
}

struct Host<'a>(&'a PeerAddress);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            PeerAddress::Ip(address) => address.ip().fmt(f),
            PeerAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_in_the_log_lines_that_tools_parse() {
        let check = |peer: PeerAddress, host: &str, line: &str| {
            assert_eq!(peer.host().to_string(), host);
            assert_eq!(peer.to_string(), line);
        };
        check(
            PeerAddress::Ip("192.0.2.7:4321".parse().unwrap()),
            "192.0.2.7",
            "192.0.2.7:4321",
        );
        check(PeerAddress::Ip("[::1]:9".parse().unwrap()), "::1", "::1:9");
        let path: Arc<Path> = Path::new("/run/midge.sock").into();
        check(
            PeerAddress::Unix(path),
            "/run/midge.sock",
            "/run/midge.sock:0",
        );
    }
}
