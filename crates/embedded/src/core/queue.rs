//! Messages and subscriptions on their way out.

use midge_codec::{
    Filters, Properties, Property, QoS, SliceSink, Subscribe, Subscription, Subscriptions,
    Unsubscribe, topic,
};

use super::Core;
use crate::aliases::Aliases as _;
use crate::extras::{Extras, Parts};
use crate::outbox::RESERVED;
use crate::session::Awaits;
use crate::{Message, PacketId, QueueError};

impl<X: Extras> Core<'_, '_, X> {
    /// Queues a message.
    pub(crate) fn publish(
        &mut self,
        message: &Message<'_>,
    ) -> Result<Option<PacketId>, QueueError> {
        let version = self.session.version();
        if !topic::is_name(message.topic) {
            return Err(QueueError::Invalid("the topic is empty or has a wildcard"));
        }
        if message.qos > self.accepted.maximum_qos {
            return Err(QueueError::Invalid("the broker does not take this QoS"));
        }
        if message.retain && !self.accepted.retain_available {
            return Err(QueueError::Invalid("the broker does not retain messages"));
        }
        let is_alias = |property| matches!(property, &Property::TopicAlias(_));
        if message.properties.iter().any(is_alias) {
            return Err(QueueError::Invalid("the client chooses topic aliases"));
        }
        let length_max = self.length_max();
        let encode =
            |packet_id, sink: &mut SliceSink<'_>| message.with(packet_id).encode(version, sink);
        let awaits = match message.qos {
            QoS::AtMostOnce => {
                if <X as Parts>::Aliases::IS_USED && self.queue_named(message) {
                    return Ok(None);
                }
                self.outbox
                    .queue(RESERVED, length_max, |sink| encode(None, sink))?;
                return Ok(None);
            }
            QoS::AtLeastOnce => Awaits::PubAck,
            QoS::ExactlyOnce => Awaits::PubRec,
        };
        let id = self
            .session
            .push(awaits, length_max, |id, sink| encode(Some(id), sink))?;
        Ok(Some(id))
    }

    /// Queues SUBSCRIBE.
    pub(crate) fn subscribe(
        &mut self,
        subscriptions: &[Subscription<'_>],
    ) -> Result<PacketId, QueueError> {
        let version = self.session.version();
        for subscription in subscriptions {
            check_filter(subscription.filter)?;
        }
        let length_max = self.length_max();
        self.session.push(Awaits::SubAck, length_max, |id, sink| {
            let subscribe = Subscribe {
                packet_id: id,
                properties: Properties::NONE,
                subscriptions: Subscriptions::from_list(subscriptions),
            };
            subscribe.encode(version, sink)
        })
    }

    /// Queues UNSUBSCRIBE.
    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> Result<PacketId, QueueError> {
        let version = self.session.version();
        for filter in filters {
            check_filter(filter)?;
        }
        let length_max = self.length_max();
        self.session.push(Awaits::UnsubAck, length_max, |id, sink| {
            let unsubscribe = Unsubscribe {
                packet_id: id,
                properties: Properties::NONE,
                filters: Filters::from_list(filters),
            };
            unsubscribe.encode(version, sink)
        })
    }
}

fn check_filter(filter: &str) -> Result<(), QueueError> {
    if topic::is_filter(filter) {
        Ok(())
    } else {
        Err(QueueError::Invalid("a topic filter is invalid"))
    }
}
