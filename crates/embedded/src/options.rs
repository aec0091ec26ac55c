//! What a client says of itself, and of a message.

use midge_codec::{Properties, Property, Publish, QoS, Will};

use crate::PacketId;

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    pub(crate) keep_alive_secs: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_secs: u32,
    pub(crate) will: Option<Will<'a>>,
}

impl<'a> Options<'a> {
    /// A client with this id, a keep alive of a minute, and a session that ends with its connection.
    #[must_use]
    pub const fn new(client_id: &'a str) -> Self {
        Self {
            client_id,
            user_name: None,
            password: None,
            keep_alive_secs: 60,
            clean_start: false,
            session_expiry_secs: 0,
            will: None,
        }
    }

    /// User name and password.
    #[must_use]
    pub const fn credentials(mut self, user_name: &'a str, password: &'a [u8]) -> Self {
        self.user_name = Some(user_name);
        self.password = Some(password);
        self
    }

    /// How long the connection may be silent; 0 for ever.
    #[must_use]
    pub const fn keep_alive_secs(mut self, seconds: u16) -> Self {
        self.keep_alive_secs = seconds;
        self
    }

    /// Has the broker discard what it keeps for the client id. With 3.1.1, also at the end of the
    /// connection.
    #[must_use]
    pub const fn clean_start(mut self) -> Self {
        self.clean_start = true;
        self
    }

    /// How long the broker keeps the session after the connection (5.0); `u32::MAX` is for ever. 3.1.1
    /// brokers keep it, unless [`Self::clean_start`] is set.
    #[must_use]
    pub const fn session_expiry_secs(mut self, seconds: u32) -> Self {
        self.session_expiry_secs = seconds;
        self
    }

    /// What the broker publishes when it loses this client.
    #[must_use]
    pub const fn will(mut self, will: Will<'a>) -> Self {
        self.will = Some(will);
        self
    }
}

/// A message to be published.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: &'a [Property<'a>],
}

impl<'a> Message<'a> {
    /// A message of QoS 0 that is not retained.
    #[must_use]
    pub const fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: &[],
        }
    }

    /// The packet.
    pub(crate) fn with(&self, packet_id: Option<PacketId>) -> Publish<'a> {
        Publish {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id,
            properties: Properties::from_list(self.properties),
            payload: self.payload,
        }
    }

    /// The QoS.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// To be retained.
    #[must_use]
    pub const fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Its properties (5.0), of those that a PUBLISH may have.
    #[must_use]
    pub const fn properties(mut self, properties: &'a [Property<'a>]) -> Self {
        self.properties = properties;
        self
    }
}
