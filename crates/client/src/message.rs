//! Messages as they are received, and the properties that travel with them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use midge_codec::{Properties, Property, QoS};

use crate::shared::Receipt;

/// What a message says about itself beside topic and payload. MQTT 5.0 only: with 3.x nothing of it is
/// sent, and nothing is received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageProperties {
    /// The payload is UTF-8 text. A broker may check that.
    pub text: bool,
    /// How long the message is of use, in whole seconds. What waits longer, here or at the broker, is
    /// dropped.
    pub expiry: Option<Duration>,
    /// What the payload is, as sender and receiver agree; often a MIME type.
    pub content_type: Option<String>,
    /// Where a response is expected.
    pub response_topic: Option<String>,
    /// Which request a response belongs to.
    pub correlation_data: Option<Bytes>,
    /// Names and values of the application's own, in order; names may repeat.
    pub user_properties: Vec<(String, String)>,
}

impl MessageProperties {
    /// The first value of a user property.
    #[must_use]
    pub fn user_property(&self, name: &str) -> Option<&str> {
        let mut properties = self.user_properties.iter();
        properties
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// As the list that the encoder takes; `expiry_secs` is what is left of the message's life.
    pub(crate) fn list(&self, expiry_secs: Option<u32>) -> Vec<Property<'_>> {
        let mut list = Vec::with_capacity(6 + self.user_properties.len());
        if self.text {
            list.push(Property::PayloadFormatIndicator(1));
        }
        if let Some(seconds) = expiry_secs {
            list.push(Property::MessageExpiryInterval(seconds));
        }
        if let Some(content_type) = &self.content_type {
            list.push(Property::ContentType(content_type));
        }
        if let Some(topic) = &self.response_topic {
            list.push(Property::ResponseTopic(topic));
        }
        if let Some(data) = &self.correlation_data {
            list.push(Property::CorrelationData(data));
        }
        list.extend(user_properties(&self.user_properties));
        list
    }

    /// Those of a received packet; `None` when nothing in it is for the application.
    pub(crate) fn read(properties: Properties<'_>) -> Option<Box<Self>> {
        let mut read: Option<Box<Self>> = None;
        for property in properties.iter() {
            match property {
                Property::PayloadFormatIndicator(flag) => {
                    read.get_or_insert_default().text = flag == 1;
                }
                Property::MessageExpiryInterval(seconds) => {
                    let expiry = Duration::from_secs(u64::from(seconds));
                    read.get_or_insert_default().expiry = Some(expiry);
                }
                Property::ContentType(text) => {
                    read.get_or_insert_default().content_type = Some(text.to_owned());
                }
                Property::ResponseTopic(topic) => {
                    read.get_or_insert_default().response_topic = Some(topic.to_owned());
                }
                Property::CorrelationData(data) => {
                    read.get_or_insert_default().correlation_data =
                        Some(Bytes::copy_from_slice(data));
                }
                Property::UserProperty(name, value) => {
                    let properties = &mut read.get_or_insert_default().user_properties;
                    properties.push((name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        read
    }

    /// Roughly how many bytes these properties take.
    pub(crate) fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let users = self.user_properties.iter();
        text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + users
                .map(|(name, value)| name.len() + value.len() + 5)
                .sum::<usize>()
    }
}

/// User properties for the encoder.
pub(crate) fn user_properties(list: &[(String, String)]) -> impl Iterator<Item = Property<'_>> {
    list.iter()
        .map(|(name, value)| Property::UserProperty(name, value))
}

/// A message from the broker.
///
/// Cheap to clone: topic and payload are shared.
///
/// Payloads of up to 512 bytes that come one after the other on one topic share memory, at most 2 KiB of
/// it, which is there as long as any of them. Who keeps a few small payloads out of very many for long
/// may want to copy them: `Bytes::copy_from_slice(message.payload())`.
#[derive(Clone)]
pub struct Message {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) properties: Option<Box<MessageProperties>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// Set where the application acknowledges by itself.
    pub(crate) receipt: Option<Receipt>,
}

impl Message {
    /// The topic that it was published to.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The application's bytes.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The payload as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }

    /// The payload without a copy.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// How it was delivered: the lower of what it was published with and what was subscribed to.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether the broker had kept it from before. With
    /// [`retain_as_published`](crate::Filter::retain_as_published), whether it was published so.
    #[must_use]
    pub const fn is_retained(&self) -> bool {
        self.retain
    }

    /// Whether the broker may have sent it before. With QoS 2 it is handed out once all the same.
    #[must_use]
    pub const fn is_duplicate(&self) -> bool {
        self.dup
    }

    /// Its properties; empty when there are none, as always with 3.x.
    #[must_use]
    pub fn properties(&self) -> &MessageProperties {
        static NONE: MessageProperties = MessageProperties {
            text: false,
            expiry: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        self.properties.as_deref().unwrap_or(&NONE)
    }

    /// Tells the broker that the application is done with this message.
    ///
    /// Needed only on subscriptions with
    /// [`manual_acknowledgement`](crate::Subscribe::manual_acknowledgement), and without effect
    /// elsewhere, for QoS 0, and the second time. Acknowledgements leave in the order in which the
    /// messages came `[MQTT5-4.6.0-2]`: one that is missing holds up those behind it, and after as many
    /// as [`receive_maximum`](crate::Options::receive_maximum) the broker sends no more.
    pub fn acknowledge(&self) {
        if let Some(receipt) = &self.receipt {
            receipt.acknowledge();
        }
    }

    /// What it costs to hold, for limits.
    pub(crate) fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |list| list.size());
        size_of::<Self>() + self.topic.len() + self.payload.len() + properties
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("payload", &self.payload)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .field("properties", &self.properties)
            .finish()
    }
}
