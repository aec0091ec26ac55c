//! Where to connect to and as whom: the options that all client tools share.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use midge_codec::{QoS, Version};

use crate::options::{Id, UsageError, Value};

/// The broker's address and the session asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: Version,
    pub(crate) client_id: Option<String>,
    pub(crate) client_id_prefix: Option<String>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_alive_secs: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_secs: Option<u32>,
    /// How many QoS 1 and 2 messages the broker may send unacknowledged (5.0); `None`: any number.
    pub(crate) receive_maximum: Option<u16>,
    /// Print packets.
    pub(crate) debug: bool,
    /// Print no errors.
    pub(crate) quiet: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 1883,
            version: Version::V3_1_1,
            client_id: None,
            client_id_prefix: None,
            user_name: None,
            password: None,
            keep_alive_secs: 60,
            clean_start: true,
            session_expiry_secs: None,
            receive_maximum: None,
            debug: false,
            quiet: false,
        }
    }
}

impl ConnectOptions {
    /// Takes an option that is about the connection; hands any other back.
    pub(crate) fn take(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        match id {
            Id::Host => self.host = value.into_text("host")?,
            Id::Port => self.port = value.number(1, u16::MAX, "Invalid port given: {}")?,
            Id::UserName => self.user_name = Some(value.into_text("username")?),
            Id::Password => self.password = Some(value.into_bytes()),
            Id::ProtocolVersion => self.version = version(&value)?,
            Id::SessionName => self.client_id = Some(client_id(value)?),
            Id::SessionNamePrefix => self.client_id_prefix = Some(value.into_text("id prefix")?),
            Id::KeepAlive => {
                self.keep_alive_secs = value.number(
                    5,
                    u16::MAX,
                    "Invalid keepalive given, it must be between 5 and 65535 inclusive.",
                )?;
            }
            Id::CleanSessionOff => self.clean_start = false,
            Id::SessionExpiry => self.session_expiry_secs = Some(session_expiry(&value)?),
            Id::NoDelay => {}
            Id::Debug => self.debug = true,
            Id::Quiet => self.quiet = true,
            _ => return Ok(Some(value)),
        }
        if self.client_id.is_some() && self.client_id_prefix.is_some() {
            return Err("-i and -I argument cannot be used together.".into());
        }
        Ok(None)
    }

    /// Checks what only the whole command line can show, and settles the client id.
    pub(crate) fn finish(mut self) -> Result<Self, UsageError> {
        if !self.clean_start && self.client_id.is_none() && self.client_id_prefix.is_none() {
            return Err("You must provide a client id if you are using the -c option.".into());
        }
        if self.password.is_some() && self.user_name.is_none() && self.version != Version::V5 {
            // Only 5.0 has passwords without user names [MQTT311-3.1.2-22].
            return Err("Problem setting username and/or password.".into());
        }
        if let Some(prefix) = self.client_id_prefix.take() {
            self.client_id = Some(format!("{prefix}{}", std::process::id()));
        }
        if self.client_id.is_none() {
            self.client_id = Some(random_client_id());
        }
        Ok(self)
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

fn client_id(value: Value) -> Result<String, UsageError> {
    let id = value.into_text("id")?;
    if id.is_empty() {
        return Err("Invalid id.".into());
    }
    Ok(id)
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
    match value.lossy().as_str() {
        "-1" | "∞" => Ok(u32::MAX),
        _ => value.number(0, u32::MAX, "session-expiry-interval not a number."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_client_id_fits_mqtt_3_1() {
        let id = random_client_id();
        assert_eq!(id.len(), 22);
        assert_ne!(id, random_client_id());
    }

    #[test]
    fn a_kept_session_never_expires_unless_told() {
        let mut options = ConnectOptions::default();
        assert_eq!(options.session_expiry_secs(), 0);
        options.clean_start = false;
        assert_eq!(options.session_expiry_secs(), u32::MAX);
        options.session_expiry_secs = Some(5);
        assert_eq!(options.session_expiry_secs(), 5);
    }
}
