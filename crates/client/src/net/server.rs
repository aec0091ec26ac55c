//! Where a broker is, and a proxy.

use std::fmt;

use crate::credentials::Credentials;
use crate::error::OptionsError;
use crate::options::url;

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
    Unix,
}

impl Scheme {
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
            Self::Unix => 0,
        }
    }

    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Where a broker is, and whether TLS and WebSocket lead to it.
///
/// ```
/// use midge_client::net::Server;
///
/// assert_eq!(Server::new("broker.example", 8883).tls(), "mqtts://broker.example".parse()?);
/// assert_eq!(Server::new("::1", 80).websocket("/mqtt"), "ws://[::1]/mqtt".parse()?);
/// # Ok::<(), midge_client::OptionsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub(crate) scheme: Scheme,
    /// Without the brackets of an IPv6 address; empty for a unix socket.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Of the unix socket, or of the WebSocket's request.
    pub(crate) path: String,
}

impl Default for Server {
    fn default() -> Self {
        Self::new("localhost", Scheme::Mqtt.port())
    }
}

impl Server {
    /// A host, which may be an address (IPv6 without brackets), and a port. Plain TCP.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Mqtt,
            host: host.into(),
            port,
            path: "/mqtt".to_owned(),
        }
    }

    /// A unix socket.
    pub fn unix(path: impl Into<String>) -> Self {
        Self {
            scheme: Scheme::Unix,
            host: String::new(),
            port: 0,
            path: path.into(),
        }
    }

    /// Reached by TLS. Means nothing for a unix socket.
    #[must_use]
    pub const fn tls(mut self) -> Self {
        self.scheme = match self.scheme {
            Scheme::Mqtt | Scheme::Mqtts => Scheme::Mqtts,
            Scheme::Ws | Scheme::Wss => Scheme::Wss,
            Scheme::Unix => Scheme::Unix,
        };
        self
    }

    /// Reached by WebSocket, at this path, which begins with a slash, may have a query and is sent as it
    /// is. Means nothing for a unix socket.
    #[must_use]
    pub fn websocket(mut self, path: impl Into<String>) -> Self {
        self.scheme = match self.scheme {
            Scheme::Mqtt | Scheme::Ws => Scheme::Ws,
            Scheme::Mqtts | Scheme::Wss => Scheme::Wss,
            Scheme::Unix => return self,
        };
        self.path = path.into();
        self
    }

    /// Whether this build can reach it.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let missing = |what: &str| Err(OptionsError(what.to_owned()));
        if self.scheme == Scheme::Unix && !cfg!(unix) {
            return missing("unix sockets do not exist on this system");
        }
        if self.scheme.is_tls() && !cfg!(feature = "tls") {
            return missing("this program was built without TLS (the feature tls of midge-client)");
        }
        if self.scheme.is_websocket() && !cfg!(feature = "websocket") {
            return missing(
                "this program was built without WebSocket (the feature websocket of midge-client)",
            );
        }
        Ok(())
    }

    /// What stands in the header `Host`: the port unless it is the scheme's own.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    pub(crate) fn host_header(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == self.scheme.port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// From a URL without user name and parameters, as in [`Options::new`](crate::Options::new).
impl std::str::FromStr for Server {
    type Err = OptionsError;

    fn from_str(url: &str) -> Result<Self, OptionsError> {
        url::server_only(url)
    }
}

/// Host and port, or the path of the unix socket.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Unix => f.write_str(&self.path),
            _ if self.host.contains(':') => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Who passes the connection on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Credentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Socks5,
    Http,
}
