//! Where to connect to and as whom: the options that all client tools share.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use midge_codec::{Property, PropertyId, QoS, Version, topic};

use crate::failure::Failure;
use crate::oauth::OauthOptions;
use crate::options::{Id, UsageError, Value};
use crate::properties::PacketProperties;
use crate::srv;
use tls::TlsOptions;

pub(crate) mod tls;
mod url;

pub(crate) use url::needed;

/// The broker's address and the session asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    pub(crate) host: String,
    /// As given; see [`Self::port`].
    pub(crate) port: Option<u16>,
    /// A Unix socket takes the place of host and port.
    pub(crate) unix: Option<PathBuf>,
    /// The address of this machine to connect from.
    pub(crate) bind_address: Option<String>,
    pub(crate) websocket: bool,
    pub(crate) websocket_path: String,
    /// As given: the URL of a proxy.
    pub(crate) proxy: Option<String>,
    /// The host is a domain whose SRV records name brokers.
    pub(crate) by_srv: bool,
    /// Who is asked for these records; `None`: the machine's name servers.
    pub(crate) dns_server: Option<SocketAddr>,
    /// What the records said, where they have been looked up once for many connections.
    pub(crate) targets: Option<Vec<srv::Target>>,
    pub(crate) tls: TlsOptions,
    pub(crate) oauth: OauthOptions,
    pub(crate) version: Version,
    /// `None`: the broker chooses.
    pub(crate) client_id: Option<String>,
    pub(crate) client_id_prefix: Option<String>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_alive_secs: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_secs: Option<u32>,
    /// How many QoS 1 and 2 messages the broker may send unacknowledged (5.0); `None`: any number.
    pub(crate) receive_maximum: Option<u16>,
    /// How many messages of ours may be unacknowledged.
    pub(crate) max_inflight: u16,
    pub(crate) will: Will,
    pub(crate) properties: PacketProperties,
    /// Print packets.
    pub(crate) debug: bool,
    /// Print no errors.
    pub(crate) quiet: bool,
    pub(crate) qos_report: bool,
}

/// What the broker is to publish when the connection is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Will {
    /// `None`: nothing.
    pub(crate) topic: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: None,
            unix: None,
            bind_address: None,
            websocket: false,
            websocket_path: "/mqtt".to_owned(),
            proxy: None,
            by_srv: false,
            dns_server: None,
            targets: None,
            tls: TlsOptions::default(),
            oauth: OauthOptions::default(),
            version: Version::V3_1_1,
            client_id: None,
            client_id_prefix: None,
            user_name: None,
            password: None,
            keep_alive_secs: 60,
            clean_start: true,
            session_expiry_secs: None,
            receive_maximum: None,
            max_inflight: 20,
            will: Will::default(),
            properties: PacketProperties::default(),
            debug: false,
            quiet: false,
            qos_report: false,
        }
    }
}

impl ConnectOptions {
    /// Takes an option that is about the connection; hands any other back.
    pub(crate) fn take(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        match id {
            Id::Host => self.host = value.into_text("host")?,
            Id::Port => self.port = Some(value.number(1, u16::MAX, "Invalid port given: {}")?),
            Id::Unix => self.unix = Some(value.into_os_string().into()),
            Id::BindAddress => self.bind_address = Some(value.into_text("-A")?),
            Id::WebSocket => self.websocket = true,
            Id::WebSocketPath => {
                self.websocket = true;
                self.websocket_path = value.into_text("--ws-path")?;
            }
            Id::Proxy => self.proxy = Some(url::proxy(&value.into_text("--proxy")?)?),
            Id::Srv => self.by_srv = true,
            Id::DnsServer => {
                let text = value.into_text("--dns-server")?;
                let server = srv::server(&text).ok_or_else(|| {
                    UsageError(format!(
                        "Invalid name server '{text}'. It has to be an address, or address:port."
                    ))
                })?;
                self.dns_server = Some(server);
            }
            Id::UserName => self.user_name = Some(value.into_text("username")?),
            Id::Password => self.password = Some(value.into_bytes()),
            Id::ProtocolVersion => self.version = version(&value)?,
            Id::SessionName => self.client_id = Some(value.into_text("id")?),
            Id::SessionNamePrefix => self.client_id_prefix = Some(value.into_text("id prefix")?),
            Id::KeepAlive => {
                self.keep_alive_secs = value.number(
                    5,
                    u16::MAX,
                    "Invalid keepalive given, it must be between 5 and 65535 inclusive.",
                )?;
            }
            Id::CleanSessionOff => self.clean_start = false,
            Id::SessionExpiry => {
                self.session_expiry_secs = Some(session_expiry(&value)?);
                self.version = Version::V5;
            }
            Id::MaxInflight => {
                let fault = "Maximum inflight messages must be greater than 0.";
                let count: u32 = value.number(1, u32::MAX, fault)?;
                self.max_inflight = u16::try_from(count).unwrap_or(u16::MAX);
            }
            Id::Property => {
                self.properties.take(value)?;
                self.version = Version::V5;
            }
            Id::NoDelay => {}
            Id::Debug => self.debug = true,
            Id::Quiet => self.quiet = true,
            Id::QosReport => self.qos_report = true,
            _ => return self.take_other(id, value),
        }
        if self.client_id.is_some() && self.client_id_prefix.is_some() {
            return Err("-i and -I argument cannot be used together.".into());
        }
        Ok(None)
    }

    fn take_other(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        let Some(value) = self.tls.take(id, value)? else {
            return Ok(None);
        };
        let Some(value) = self.oauth.take(id, value)? else {
            return Ok(None);
        };
        match id {
            Id::WillTopic => {
                let name = value.into_text("--will-topic")?;
                if !topic::is_name(&name) {
                    return Err(UsageError(format!(
                        "Invalid will topic '{name}', does it contain '+' or '#'?"
                    )));
                }
                self.will.topic = Some(name);
            }
            Id::WillPayload => self.will.payload = Some(value.into_bytes()),
            Id::WillQoS => {
                let bits = value.number(0, 2, "Invalid will QoS {}.")?;
                self.will.qos = QoS::from_bits(bits).unwrap_or_default();
            }
            Id::WillRetain => self.will.retain = true,
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }

    /// Checks what only the whole command line can show, and settles the client id.
    pub(crate) fn finish(mut self) -> Result<Self, UsageError> {
        if self.will.topic.is_none() {
            if self.will.payload.is_some() {
                return Err("Will payload given, but no will topic given.".into());
            }
            if self.will.retain {
                return Err("Will retain given, but no will topic given.".into());
            }
        }
        self.check_srv()?;
        self.tls.check()?;
        self.oauth.check()?;
        let is_named = self.client_id.as_deref().is_some_and(|id| !id.is_empty());
        if self.version == Version::V5 {
            if self.session_expiry_secs() == u32::MAX && !is_named {
                return Err(
                    "You must provide a client id if you are using an infinite session expiry \
                     interval."
                        .into(),
                );
            }
        } else if !self.clean_start && !is_named {
            return Err("You must provide a client id if you are using the -c option.".into());
        }
        if self.version != Version::V5 && self.user_name.is_none() {
            if self.oauth.is_used() {
                // Who the client is stands in the token.
                self.user_name = Some(String::new());
            } else if self.password.is_some() {
                // Only 5.0 has passwords without user names [MQTT311-3.1.2-22].
                return Err(
                    "Problem setting username and/or password. A password needs a user name: \
                     add -u, or -V 5."
                        .into(),
                );
            }
        }
        if let Some(prefix) = self.client_id_prefix.take() {
            self.client_id = Some(format!("{prefix}{}", std::process::id()));
        }
        if self.client_id.is_none() && self.version == Version::V3_1 {
            self.client_id = Some(random_client_id());
        }
        let is_expiry =
            |property: &Property<'_>| property.id() == PropertyId::SessionExpiryInterval;
        if self.session_expiry_secs() > 0
            && self
                .properties
                .connect
                .iter()
                .any(|property| is_expiry(&property))
        {
            return Err(
                "The session expiry interval is given twice: leave out -x, or -c, or the \
                 property."
                    .into(),
            );
        }
        Ok(self)
    }

    fn check_srv(&self) -> Result<(), UsageError> {
        if self.dns_server.is_some() && !self.by_srv {
            return Err("--dns-server given, but no -S.".into());
        }
        if self.by_srv && self.unix.is_some() {
            return Err("-S and --unix cannot be used together.".into());
        }
        if self.by_srv && (self.host == "localhost" || self.host.parse::<IpAddr>().is_ok()) {
            return Err("-S needs a domain: give it by -h.".into());
        }
        Ok(())
    }

    /// Gets a token, where that is the password, once for many connections.
    pub(crate) fn use_token(&mut self) -> Result<(), Failure> {
        if self.oauth.is_used() {
            self.password = Some(self.oauth.token()?);
            self.oauth = OauthOptions::default();
        }
        Ok(())
    }

    /// Takes a URL for host, port, user and what carries the connection; gives its topic.
    pub(crate) fn take_url(&mut self, value: Value) -> Result<Option<String>, UsageError> {
        url::take(self, &value.into_text("-L")?)
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        let default = if self.tls.moves_port() { 8883 } else { 1883 };
        self.port.unwrap_or(default)
    }

    /// Host and port of the broker, or of the first of those that have been looked up.
    pub(crate) fn first_place(&self) -> (&str, u16) {
        let target = self.targets.as_ref().and_then(|targets| targets.first());
        match target {
            Some(target) => (&target.host, target.port),
            None => (&self.host, self.port()),
        }
    }

    /// Where the broker is, for people.
    pub(crate) fn place(&self) -> String {
        match &self.unix {
            Some(path) => path.display().to_string(),
            None if self.by_srv => self.host.clone(),
            None => format!("{}:{}", self.host, self.port()),
        }
    }

    /// Whether TLS is wanted.
    pub(crate) fn uses_tls(&self) -> bool {
        self.tls.is_wanted(self.port()) && self.unix.is_none()
    }

    /// The session expiry interval for a CONNECT of 5.0; zero needs no property.
    pub(crate) fn session_expiry_secs(&self) -> u32 {
        let default = if self.clean_start { 0 } else { u32::MAX };
        self.session_expiry_secs.unwrap_or(default)
    }
}

/// A client id that no other client has: short enough for 3.1's limit of 23 bytes.
fn random_client_id() -> String {
    format!("midge-{:016x}", random())
}

/// A number that differs from call to call and from process to process; not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

fn version(value: &Value) -> Result<Version, UsageError> {
    match value.lossy().as_str() {
        "mqttv31" | "31" => Ok(Version::V3_1),
        "mqttv311" | "311" => Ok(Version::V3_1_1),
        "mqttv5" | "5" => Ok(Version::V5),
        _ => Err("Invalid protocol version argument given.".into()),
    }
}

/// Reads the value of `-q`.
pub(crate) fn qos(value: &Value) -> Result<QoS, UsageError> {
    let bits = value.number(0, 2, "Invalid QoS given: {}")?;
    QoS::from_bits(bits).ok_or_else(|| UsageError(format!("Invalid QoS given: {bits}")))
}

fn session_expiry(value: &Value) -> Result<u32, UsageError> {
    let text = value.lossy();
    if text == "\u{221e}" {
        return Ok(u32::MAX);
    }
    let Ok(seconds) = text.parse::<i64>() else {
        return Err("session-expiry-interval not a number.".into());
    };
    match u32::try_from(seconds) {
        Ok(seconds) => Ok(seconds),
        Err(_) if seconds == -1 => Ok(u32::MAX),
        Err(_) => Err("session-expiry-interval out of range.".into()),
    }
}

#[cfg(test)]
mod tests;
