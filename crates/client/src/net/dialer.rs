//! How connections are opened, and the call that opens one for a caller who waits.

use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use midge_codec::Version;

use super::dial::{self, Resolving};
use super::server::{Proxy, Scheme, Server};
use super::{Connection, Link, connection, wrapping};
#[cfg(feature = "tls")]
use super::{TlsOptions, tls::TlsState};
use crate::error::{ConnectionError, OptionsError};
use crate::options::url;

/// How a broker is reached: proxy, TLS, WebSocket headers, time limit. See the [module](super).
///
/// It reads files and keeps TLS sessions for resumption once for all connections that it opens; clones
/// share that.
#[derive(Clone)]
pub struct Dialer {
    pub(crate) proxy: Option<Proxy>,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) tcp_keep_alive: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) version: Version,
    pub(crate) websocket_path: Option<String>,
    pub(crate) websocket_headers: Vec<(String, String)>,
    #[cfg(feature = "tls")]
    pub(crate) tls: std::sync::Arc<TlsState>,
}

impl Default for Dialer {
    fn default() -> Self {
        Self {
            proxy: None,
            bind_address: None,
            tcp_keep_alive: Some(Duration::from_secs(60)),
            timeout: Duration::from_secs(20),
            version: Version::V5,
            websocket_path: None,
            websocket_headers: Vec::new(),
            #[cfg(feature = "tls")]
            tls: std::sync::Arc::default(),
        }
    }
}

impl Dialer {
    /// No proxy, the platform's CAs, 20 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The proxy to go through: `socks5://` or `http://` with host and port (1080 and 8080 if it is
    /// left out), and user name and password where the proxy wants them. The broker's name is looked
    /// up by the proxy. Unix sockets need none.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn proxy(mut self, url: &str) -> Result<Self, OptionsError> {
        self.proxy = Some(url::proxy(url)?);
        Ok(self)
    }

    /// The address of this machine that connections begin at, where it has several.
    #[must_use]
    pub const fn bind_address(mut self, address: IpAddr) -> Self {
        self.bind_address = Some(address);
        self
    }

    /// After how much silence the system probes the connection by TCP keep-alive; 60 seconds if not
    /// set, `None` for never.
    #[must_use]
    pub const fn tcp_keep_alive(mut self, idle: Option<Duration>) -> Self {
        self.tcp_keep_alive = idle;
        self
    }

    /// How long [`Self::dial`] may take, from the look-up of the name to the end of the handshakes of TLS
    /// and WebSocket; 20 seconds if not set.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// The protocol version that will be spoken; 5.0 if not set. Only WebSocket servers are told: they
    /// know 3.1 by another name of the subprotocol.
    #[must_use]
    pub const fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// What TLS connections are made of, where the server is reached by TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = std::sync::Arc::new(TlsState::new(options));
        self
    }

    /// A header of the WebSocket request, such as `Authorization` or `Origin`. May be called again for
    /// more.
    #[must_use]
    pub fn websocket_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.websocket_headers.push((name.into(), value.into()));
        self
    }

    /// Opens a connection and waits until packets can be sent. For programs that have no asynchronous
    /// runtime and do their own waiting; it starts no thread.
    ///
    /// # Errors
    /// [`ConnectionError::is_permanent`] says whether it is worth to try again. Also fails when called in
    /// asynchronous code, which it would block.
    pub fn dial(&self, server: &Server) -> Result<Connection, ConnectionError> {
        if tokio::runtime::Handle::try_current().is_ok() {
            let text = "dial waits and cannot be called from asynchronous code; use Client";
            return Err(OptionsError(text.to_owned()).into());
        }
        server.check()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ConnectionError::io)?;
        runtime.block_on(async {
            let opening = self.open(server, Resolving::Here);
            let link = tokio::time::timeout(self.timeout, opening).await;
            let link = link.unwrap_or(Err(ConnectionError::TimedOut))?;
            link.into_blocking().map_err(ConnectionError::io)
        })
    }

    /// Puts the layers around a TCP connection that the caller has opened, or is about to open, and that
    /// never waits: for those who open thousands at a time. Proxy, time limit and addresses are then the
    /// caller's.
    ///
    /// The handshakes go on whenever the connection is read, written or flushed. Until they are over, a
    /// write fails with [`WouldBlock`](std::io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    /// What is wrong with the options; a unix socket has no layers.
    pub fn begin(&self, server: &Server, stream: TcpStream) -> Result<Connection, ConnectionError> {
        if server.scheme == Scheme::Unix {
            return Err(OptionsError("a unix socket is no TCP connection".to_owned()).into());
        }
        Ok(Connection {
            wrapped: wrapping::prepare_here(self, server)?.begin()?,
            socket: connection::Socket::Tcp(stream),
        })
    }

    /// Opens a connection.
    pub(crate) async fn open(
        &self,
        server: &Server,
        resolving: Resolving,
    ) -> Result<Link, ConnectionError> {
        dial::open(self, server, resolving).await
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Proxies and headers have passwords.
        f.debug_struct("Dialer")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
