//! Messages that name their topics by numbers.

use midge_codec::{Header, PacketType, Properties, Property, PropertyId, Publish, ReasonCode};

use super::{Core, Failed, Frame};
use crate::Message;
use crate::aliases::{Aliases as _, Name};
use crate::extras::Extras;
use crate::outbox::RESERVED;
use crate::session::Entry;

impl<X: Extras> Core<'_, '_, X> {
    /// Gives a message that came without topic the one that its number stands for.
    pub(crate) fn name<'m>(&'m self, message: &mut Publish<'m>) {
        if message.topic.is_empty() {
            let topic = message
                .topic_alias()
                .and_then(|alias| self.extras.aliases().topic(alias));
            message.topic = topic.unwrap_or_default();
        }
    }

    /// Looks at the number of a message that has come: whether it may be, and what it means from now on.
    pub(super) fn take_alias(&mut self, frame: &Frame) -> Result<(), Failed> {
        let version = self.session.version();
        let message = Publish::decode(frame.header.first, version, self.inbox.body(frame));
        let message = message.map_err(|_| Failed)?;
        let aliases = self.extras.aliases_mut();
        let (reason, why) = match (message.topic_alias(), message.topic) {
            (None, "") => (
                ReasonCode::PROTOCOL_ERROR,
                "a message with neither topic nor alias",
            ),
            (None, _) => return Ok(()),
            (Some(alias), _) if alias == 0 || alias > aliases.incoming_max() => (
                ReasonCode::TOPIC_ALIAS_INVALID,
                "the topic alias is out of range",
            ),
            (Some(alias), "") if aliases.topic(alias).is_none() => (
                ReasonCode::TOPIC_ALIAS_INVALID,
                "the topic alias stands for no topic, or there was no memory for it",
            ),
            (Some(_), "") => return Ok(()),
            (Some(alias), topic) => {
                aliases.learn(alias, topic);
                return Ok(());
            }
        };
        Err(self.misbehaved(reason, why))
    }

    /// Queues a message of QoS 0 by a number, if its topic has one.
    pub(super) fn queue_named(&mut self, message: &Message<'_>) -> bool {
        let (version, length_max) = (self.session.version(), self.length_max());
        let name = self.extras.aliases().choose(message.topic);
        let (Name::Both(alias) | Name::Alias(alias)) = name else {
            return false;
        };
        let [high, low] = alias.to_be_bytes();
        let property = [PropertyId::TopicAlias as u8, high, low];
        let named = Publish {
            topic: name.of(message.topic),
            properties: Properties::from_encoded(&property, message.properties),
            ..message.with(None)
        };
        let queued = self
            .outbox
            .queue(RESERVED, length_max, |sink| named.encode(version, sink));
        if queued.is_ok() {
            self.extras.aliases_mut().assigned(alias);
        }
        queued.is_ok()
    }

    /// Queues a message of the log by a number, if its topic has one and there is room to: it is shorter than
    /// what the log has.
    pub(super) fn queue_by_alias(&mut self, entry: &Entry) -> bool {
        let (version, length_max) = (self.session.version(), self.length_max());
        let packet = self.session.packet(entry.id);
        let Ok(Some(header)) = Header::peek(packet) else {
            return false;
        };
        if header.packet_type() != Some(PacketType::Publish) {
            return false;
        }
        let body = header.body(packet).unwrap_or_default();
        let Ok(publish) = Publish::decode(header.first, version, body) else {
            return false;
        };
        let name = self.extras.aliases().choose(publish.topic);
        let (Name::Both(alias) | Name::Alias(alias)) = name else {
            return false;
        };
        let property = [Property::TopicAlias(alias)];
        let named = Publish {
            topic: name.of(publish.topic),
            properties: Properties::from_encoded(publish.properties.encoded(), &property),
            ..publish
        };
        let queued = self
            .outbox
            .queue(RESERVED, length_max, |sink| named.encode(version, sink));
        if queued.is_ok() {
            self.extras.aliases_mut().assigned(alias);
            self.session.sent(entry.id);
        }
        queued.is_ok()
    }
}
