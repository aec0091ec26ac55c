//! How to connect and how much to hold.

pub(crate) mod url;
mod will;

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use midge_codec::Version;

use crate::credentials::{
    Authenticator, AuthenticatorFactory, CredentialRequest, CredentialSource, Credentials,
    CredentialsError,
};
use crate::error::{ConnectionError, OptionsError};
#[cfg(feature = "tls")]
use crate::net::TlsOptions;
use crate::net::{Dialer, Server};

pub use will::Will;

/// Everything about a client that is settled before it connects.
///
/// ```
/// use std::time::Duration;
/// use midge_client::Options;
///
/// let options = Options::new("mqtt://sensor-17@broker.example?keep_alive=20")?
///     .client_id("sensor-17")
///     .password("secret")
///     .clean_start(false)
///     .session_expiry(Duration::from_secs(24 * 60 * 60));
/// # Ok::<(), midge_client::OptionsError>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) servers: Vec<Server>,
    pub(crate) version: Version,
    pub(crate) client_id: Option<String>,
    pub(crate) credentials: Credentials,
    pub(crate) credential_source: Option<Arc<dyn CredentialSource>>,
    pub(crate) authenticator: Option<Arc<dyn AuthenticatorFactory>>,
    pub(crate) keep_alive_secs: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_secs: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_size_max: u32,
    pub(crate) inbound_aliases_max: u16,
    pub(crate) outbound_aliases_max: u16,
    pub(crate) will: Option<Will>,
    pub(crate) user_properties: Vec<(String, String)>,
    pub(crate) response_topic: Option<String>,
    pub(crate) reconnect: bool,
    pub(crate) back_off: (Duration, Duration),
    pub(crate) queue_messages_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) queue_full: QueueFull,
    pub(crate) durable_queue: Option<PathBuf>,
    pub(crate) inflight_max: Option<u16>,
    pub(crate) inbound_bytes_max: usize,
    pub(crate) dialer: Dialer,
    pub(crate) linger: Duration,
}

/// What [`Client::publish`](crate::Client::publish) does while the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFull {
    /// It waits until there is room, or until its future is dropped.
    #[default]
    Wait,
    /// It fails with [`PublishError::QueueFull`](crate::PublishError::QueueFull).
    Refuse,
    /// The message that has waited longest and was not sent gives way, and its delivery fails with
    /// [`PublishError::Dropped`](crate::PublishError::Dropped).
    DropOldest,
}

impl Options {
    /// The options that a URL names; everything else is as the methods below say.
    ///
    /// `mqtt://`, `mqtts://`, `ws://`, `wss://` with host and port (1883, 8883, 80 and 443 if it is
    /// left out), or `unix:///path`; also by the names `tcp`, `ssl` and `tls`. A WebSocket's path is
    /// `/mqtt` if it is left out. User name and password go before the host, percent-encoded where they
    /// have to be. After `?` may stand
    ///
    /// - `client_id`, `version` (`5`, `3.1.1`, `3.1`), `keep_alive`, `session_expiry` and
    ///   `connect_timeout` in seconds, `clean_start` (`true`, `false`);
    /// - for TLS, as the methods of [`TlsOptions`] say: `ca_file`, `ca_directory`, `certificate_file`,
    ///   `key_file`, `server_name`, `alpn` (with commas between), `danger_accept_any_host_name` and
    ///   `danger_accept_any_certificate` (`true`, `false`).
    ///
    /// # Errors
    /// What is wrong with the URL. The text never repeats a password.
    pub fn new(url: &str) -> Result<Self, OptionsError> {
        let mut options = Self::for_server(Server::default());
        url::apply(url, &mut options)?;
        Ok(options)
    }

    fn for_server_list(servers: Vec<Server>) -> Self {
        Self {
            servers,
            version: Version::V5,
            client_id: None,
            credentials: Credentials {
                user_name: None,
                password: None,
            },
            credential_source: None,
            authenticator: None,
            keep_alive_secs: 30,
            clean_start: true,
            session_expiry_secs: None,
            receive_maximum: 1024,
            packet_size_max: 16 << 20,
            inbound_aliases_max: 32,
            outbound_aliases_max: 32,
            will: None,
            user_properties: Vec::new(),
            response_topic: None,
            reconnect: true,
            back_off: (Duration::from_secs(1), Duration::from_secs(60)),
            queue_messages_max: 10_000,
            queue_bytes_max: 64 << 20,
            queue_full: QueueFull::Wait,
            durable_queue: None,
            inflight_max: None,
            inbound_bytes_max: 64 << 20,
            dialer: Dialer::default(),
            linger: Duration::from_secs(5),
        }
    }

    /// The options for this server, with everything else as the methods below say.
    pub fn for_server(server: Server) -> Self {
        Self::for_server_list(vec![server])
    }

    /// Another broker to try, e.g. the second of a pair, by a URL without user name or parameters.
    /// Attempts to connect go round. All must share sessions, or subscriptions are made anew.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn or_server(mut self, url: &str) -> Result<Self, OptionsError> {
        self.servers.push(url::server_only(url)?);
        Ok(self)
    }

    /// The protocol version; 5.0 if not set. What a version lacks is not sent, or refused where it
    /// would change the meaning.
    #[must_use]
    pub const fn version(mut self, version: Version) -> Self {
        self.version = version;
        self.dialer.version = version;
        self
    }

    /// The client id. If not set, the broker chooses with 5.0, and one is made up for 3.x.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// The user name.
    #[must_use]
    pub fn user_name(mut self, name: impl Into<String>) -> Self {
        self.credentials.user_name = Some(name.into());
        self
    }

    /// The password. 3.x sends it only with a user name.
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Self {
        self.credentials.password = Some(password.into());
        self
    }

    /// Where user name and password come from, asked before every attempt to connect: for tokens that
    /// expire, such as those of OAuth.
    ///
    /// When the broker has refused what was given last, [`CredentialRequest::refused`] says why. After
    /// two refusals in a row the client gives up.
    ///
    /// ```
    /// # use midge_client::{Credentials, CredentialsError, Options};
    /// # async fn fetch_token() -> Result<String, CredentialsError> { Ok(String::new()) }
    /// let options = Options::new("mqtt://broker.example")?.credentials_from(|_request| async {
    ///     let token = fetch_token().await?;
    ///     Ok(Credentials::new("oauth", token))
    /// });
    /// # Ok::<(), midge_client::OptionsError>(())
    /// ```
    #[must_use]
    pub fn credentials_from<S, F>(mut self, source: S) -> Self
    where
        S: Fn(CredentialRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Credentials, CredentialsError>> + Send + 'static,
    {
        self.credential_source = Some(Arc::new(source));
        self
    }

    /// Enhanced authentication (5.0): `make` is called once for this client, and the authenticator is
    /// asked at every connection, and by
    /// [`Client::reauthenticate`](crate::Client::reauthenticate). One that still works on an answer when its
    /// connection is gone is dropped, and `make` is called again. After two refusals in a row the client
    /// gives up.
    #[must_use]
    pub fn authenticator<M, A>(mut self, make: M) -> Self
    where
        M: Fn() -> A + Send + Sync + 'static,
        A: Authenticator + 'static,
    {
        self.authenticator = Some(Arc::new(move || -> Box<dyn Authenticator> {
            Box::new(make())
        }));
        self
    }

    /// How long the connection may be silent, in whole seconds; 30 if not set, zero for ever. A broker
    /// that stays silent for twice as long is given up.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive_secs = u16::try_from(interval.as_secs()).unwrap_or(u16::MAX);
        self
    }

    /// Whether the first connection discards what the broker has kept for the client id; it does, if
    /// not set.
    ///
    /// With 5.0, later connections resume the session while it lives. In 3.x this is the clean session
    /// flag and concerns every connection.
    #[must_use]
    pub const fn clean_start(mut self, clean: bool) -> Self {
        self.clean_start = clean;
        self
    }

    /// How long the broker keeps the session after the connection (5.0), in whole seconds;
    /// [`Duration::MAX`] is for ever.
    ///
    /// If not set, two minutes, so that a short outage loses nothing, and
    /// [`Client::disconnect`](crate::Client::disconnect) ends the session at once.
    #[must_use]
    pub fn session_expiry(mut self, expiry: Duration) -> Self {
        self.session_expiry_secs = Some(seconds(expiry));
        self
    }

    /// How many messages of QoS 1 and 2 the broker may send before they are acknowledged (5.0); 1,024
    /// if not set, at least 1. With 3.x, reading stops at as many.
    #[must_use]
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        self.receive_maximum = messages.max(1);
        self
    }

    /// The largest packet in bytes that is accepted, 16 MiB if not set. A 5.0 broker is told and leaves
    /// out larger messages; a larger packet ends the connection.
    #[must_use]
    pub fn packet_size_max(mut self, bytes: u32) -> Self {
        self.packet_size_max = bytes.max(1);
        self
    }

    /// How many topic aliases may be in use (5.0): those that the broker may assign, and those that
    /// this client assigns by itself to the topics that it publishes to. 32 each, if not set; 0 for
    /// none.
    #[must_use]
    pub const fn topic_aliases_max(mut self, inbound: u16, outbound: u16) -> Self {
        self.inbound_aliases_max = inbound;
        self.outbound_aliases_max = outbound;
        self
    }

    /// What the broker publishes when it loses this client.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// A user property of CONNECT (5.0). May be called again for more.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push((name.into(), value.into()));
        self
    }

    /// The topic that responses to [`Client::request`](crate::Client::request) are expected on. If not
    /// set, one that begins as the broker asks, or with `response/`, and ends with a random number.
    #[must_use]
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.response_topic = Some(topic.into());
        self
    }

    /// How long an attempt to connect may take, from the look-up of the name to CONNACK; 20 seconds if
    /// not set.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.dialer.timeout = timeout;
        self
    }

    /// Ends the client with its connection, instead of connecting again.
    #[must_use]
    pub const fn without_reconnect(mut self) -> Self {
        self.reconnect = false;
        self
    }

    /// How long to wait between attempts to connect: up to `first` after the first failure, twice as
    /// long after each, never more than `most`. One second and one minute, if not set. Each wait is a
    /// random part of that, half of it at least, so that many clients do not come back at once.
    #[must_use]
    pub fn back_off(mut self, first: Duration, most: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        self.back_off = (first, most.max(first));
        self
    }

    /// How many messages, and how many bytes of them, are held because they have not been delivered,
    /// sent or not; 10,000 and 64 MiB if not set. One message always fits.
    #[must_use]
    pub fn queue_max(mut self, messages: usize, bytes: usize) -> Self {
        self.queue_messages_max = messages.max(1);
        self.queue_bytes_max = bytes;
        self
    }

    /// What happens while the queue is full; if not set, publishers wait.
    #[must_use]
    pub const fn queue_full(mut self, policy: QueueFull) -> Self {
        self.queue_full = policy;
        self
    }

    /// Keeps messages of QoS 1 and 2 in this directory until they are delivered, so that they survive the
    /// program: what a call has accepted is delivered by this run or by a later one that names the same
    /// directory, QoS 2 once. One client at a time can use a directory.
    ///
    /// Needs a [`client_id`](Self::client_id), and [`clean_start(false)`](Self::clean_start), since the
    /// broker has to know the session again. If no [`session_expiry`](Self::session_expiry) is set, it
    /// is a day; a message of QoS 2 that was on its way can arrive twice when the session has expired
    /// meanwhile. The files are opened by the call that connects, which reads what is in them.
    ///
    /// Of received messages of QoS 2 it is kept which of them the application is done with, so that a later
    /// run is not given them again. One that it was not done with when it fell, or only milliseconds before,
    /// comes again: nobody else can know what it did with it.
    #[must_use]
    pub fn durable_queue(mut self, directory: impl Into<PathBuf>) -> Self {
        self.durable_queue = Some(directory.into());
        self
    }

    /// How many messages of QoS 1 and 2 are on their way at once, if the broker takes as many; at most
    /// 60,000. If not set, 1,000 with 5.0, where the broker says how many it takes, and 20 with 3.x, where
    /// it cannot: Mosquitto as it is installed closes the connection of who has more of QoS 2 on the way.
    #[must_use]
    pub fn inflight_max(mut self, messages: u16) -> Self {
        self.inflight_max = Some(messages.clamp(1, 60_000));
        self
    }

    /// How many bytes of received messages wait for the application before reading stops; 64 MiB if not
    /// set. While this client waits for an answer of the broker's, reading goes on up to twice as many, and
    /// further messages of QoS 0 are dropped, as [`Overflow`](crate::Overflow) says of a full stream.
    #[must_use]
    pub const fn inbound_bytes_max(mut self, bytes: usize) -> Self {
        self.inbound_bytes_max = bytes;
        self
    }

    /// The proxy to go through: `socks5://` or `http://` with host and port (1080 and 8080 if it is
    /// left out), and user name and password where the proxy wants them. The broker's name is looked
    /// up by the proxy.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn proxy(mut self, url: &str) -> Result<Self, OptionsError> {
        self.dialer = self.dialer.proxy(url)?;
        Ok(self)
    }

    /// After how much silence the system probes the connection by TCP keep-alive; 60 seconds if not
    /// set, `None` for never.
    #[must_use]
    pub const fn tcp_keep_alive(mut self, idle: Option<Duration>) -> Self {
        self.dialer.tcp_keep_alive = idle;
        self
    }

    /// The address of this machine that connections begin at, where it has several.
    #[must_use]
    pub const fn bind_address(mut self, address: IpAddr) -> Self {
        self.dialer.bind_address = Some(address);
        self
    }

    /// What TLS connections are made of (`mqtts://`, `wss://`). If not set, the platform's CAs are
    /// trusted and no certificate is shown.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.dialer = self.dialer.tls(options);
        self
    }

    /// A header of the WebSocket request (`ws://`, `wss://`), such as `Authorization` or `Origin`. May be
    /// called again for more.
    #[must_use]
    pub fn websocket_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.dialer = self.dialer.websocket_header(name, value);
        self
    }

    /// The path of the WebSocket request in place of the URL's, with a query where the server wants one.
    /// It is sent as it is.
    #[must_use]
    pub fn websocket_path(mut self, path: impl Into<String>) -> Self {
        self.dialer.websocket_path = Some(path.into());
        self
    }

    /// How long messages that were accepted are still delivered after the last handle is dropped; 5
    /// seconds if not set. Also the time limit of
    /// [`Client::disconnect`](crate::Client::disconnect), unless that call names one.
    #[must_use]
    pub const fn linger(mut self, limit: Duration) -> Self {
        self.linger = limit;
        self
    }

    /// How many messages may be unacknowledged.
    pub(crate) fn window(&self) -> u16 {
        let default = if self.version.has_properties() {
            INFLIGHT_DEFAULT
        } else {
            INFLIGHT_3X
        };
        self.inflight_max.unwrap_or(default)
    }

    /// The session expiry of CONNECT in seconds.
    pub(crate) fn session_secs(&self) -> u32 {
        let default = if self.durable_queue.is_some() {
            SESSION_EXPIRY_DURABLE
        } else {
            SESSION_EXPIRY_DEFAULT
        };
        self.session_expiry_secs.unwrap_or(default)
    }

    /// Checks what only all options together can show.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let text = |what: &str, text: &str| {
            if text.len() > usize::from(u16::MAX) || text.contains('\0') {
                return Err(OptionsError(format!(
                    "the {what} is longer than 65,535 bytes or has a zero byte"
                )));
            }
            Ok(())
        };
        text("client id", self.client_id.as_deref().unwrap_or_default())?;
        let name = self.credentials.user_name.as_deref();
        text("user name", name.unwrap_or_default())?;
        if let Some(will) = &self.will {
            text("will's topic", &will.topic)?;
            if !midge_codec::topic::is_name(&will.topic) {
                return Err(OptionsError(
                    "the will's topic is empty or has a wildcard".to_owned(),
                ));
            }
            if will.payload.len() > usize::from(u16::MAX) {
                return Err(OptionsError(
                    "the will is longer than 65,535 bytes".to_owned(),
                ));
            }
        }
        if let Some(topic) = &self.response_topic
            && !midge_codec::topic::is_name(topic)
        {
            return Err(OptionsError(
                "the response topic is empty or has a wildcard".to_owned(),
            ));
        }
        if !self.version.has_properties() && self.authenticator.is_some() {
            return Err(OptionsError(
                "an authenticator needs version 5.0".to_owned(),
            ));
        }
        if self.version == Version::V3_1_1
            && !self.clean_start
            && self.client_id.as_deref().is_none_or(str::is_empty)
        {
            return Err(OptionsError(
                "a session that is kept needs a client id".to_owned(),
            ));
        }
        if self.durable_queue.is_some()
            && (self.clean_start || self.client_id.as_deref().is_none_or(str::is_empty))
        {
            return Err(OptionsError(
                "a durable queue needs a client id and clean_start(false)".to_owned(),
            ));
        }
        for server in &self.servers {
            server.check()?;
        }
        Ok(())
    }
}

/// How many messages are on their way with 5.0, if nobody says otherwise.
const INFLIGHT_DEFAULT: u16 = 1000;

/// The same with 3.x: what Mosquitto takes as it is installed, and what other clients begin with.
const INFLIGHT_3X: u16 = 20;

/// The session expiry of a client that names none: short outages lose nothing.
const SESSION_EXPIRY_DEFAULT: u32 = 120;

/// The same with a durable queue.
const SESSION_EXPIRY_DURABLE: u32 = 24 * 60 * 60;

/// Whole seconds, with everything too large as "for ever".
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl TryFrom<&str> for Options {
    type Error = OptionsError;

    fn try_from(url: &str) -> Result<Self, OptionsError> {
        Self::new(url)
    }
}

impl TryFrom<&String> for Options {
    type Error = OptionsError;

    fn try_from(url: &String) -> Result<Self, OptionsError> {
        Self::new(url)
    }
}

impl TryFrom<String> for Options {
    type Error = OptionsError;

    fn try_from(url: String) -> Result<Self, OptionsError> {
        Self::new(&url)
    }
}

impl From<Infallible> for ConnectionError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("servers", &self.servers)
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user_name", &self.credentials.user_name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
