//! The last will.

use std::time::Duration;

use bytes::Bytes;
use midge_codec::QoS;

use super::seconds;
use crate::message::MessageProperties;

/// What the broker publishes when it loses the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay_secs: u32,
    pub(crate) properties: MessageProperties,
}

impl Will {
    /// A will of QoS 0 that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_secs: 0,
            properties: MessageProperties::default(),
        }
    }

    /// The QoS to publish it with.
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

    /// How long after the connection it is published, unless the client is back by then (5.0). Whole
    /// seconds.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_secs = seconds(delay);
        self
    }

    /// The message's properties (5.0).
    #[must_use]
    pub fn properties(mut self, properties: MessageProperties) -> Self {
        self.properties = properties;
        self
    }
}
