//! Topic aliases, one direction each (MQTT5 3.3.2.3.4). They end with their connection
//! `[MQTT5-3.3.2-7]`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use midge_codec::ReasonCode;

use crate::Fault;

/// The aliases that the peer assigns.
#[derive(Debug, Default)]
pub struct InboundAliases {
    /// Index 0 is alias 1. Grows with the aliases in use, up to the maximum that was announced.
    topics: Vec<Option<Box<str>>>,
}

impl InboundAliases {
    /// The topic that a PUBLISH means: its own, or the one its alias stands for.
    ///
    /// # Errors
    /// An alias of 0 or above `maximum` (0x94); an empty topic without alias or with one that nothing
    /// was assigned to (0x82).
    pub fn resolve<'a>(
        &'a mut self,
        topic: &'a str,
        alias: Option<u16>,
        maximum: u16,
    ) -> Result<&'a str, Fault> {
        let Some(alias) = alias else {
            return if topic.is_empty() {
                Err(EMPTY_TOPIC)
            } else {
                Ok(topic)
            };
        };
        if alias == 0 || alias > maximum {
            return Err(ALIAS_TOO_HIGH);
        }
        let index = usize::from(alias) - 1;
        if topic.is_empty() {
            return self
                .topics
                .get(index)
                .and_then(|slot| slot.as_deref())
                .ok_or(ALIAS_UNKNOWN);
        }
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        // Publishers that repeat the topic with its alias are common; spare them the allocation.
        if let Some(slot) = self.topics.get_mut(index)
            && slot.as_deref() != Some(topic)
        {
            *slot = Some(topic.into());
        }
        Ok(topic)
    }
}

const EMPTY_TOPIC: Fault = Fault::disconnect(
    ReasonCode::PROTOCOL_ERROR,
    "PUBLISH with neither topic nor alias",
);
const ALIAS_TOO_HIGH: Fault = Fault::disconnect(
    ReasonCode::TOPIC_ALIAS_INVALID,
    "the topic alias is out of range",
);
const ALIAS_UNKNOWN: Fault = Fault::disconnect(
    ReasonCode::PROTOCOL_ERROR,
    "the topic alias was never assigned",
);

/// How a PUBLISH is to name its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasUse {
    /// By its topic alone.
    Topic,
    /// By topic and alias: the peer learns the alias.
    Assign(u16),
    /// By the alias alone.
    Alias(u16),
}

/// The aliases that this end assigns: 1, 2, 3 … to the first topics it sends, never changed after.
#[derive(Debug)]
pub struct OutboundAliases {
    topics: Vec<Box<str>>,
    maximum: u16,
}

impl OutboundAliases {
    /// At most `maximum` aliases: what the peer accepts `[MQTT5-3.1.2-26]` and this end affords.
    #[must_use]
    pub const fn new(maximum: u16) -> Self {
        Self {
            topics: Vec::new(),
            maximum,
        }
    }

    /// How the next PUBLISH on `topic` should name it. Assigns nothing yet: the packet may turn out too
    /// large to be sent, and then the peer would not know the alias.
    #[must_use]
    pub fn choose(&self, topic: &str) -> AliasUse {
        if self.maximum == 0 {
            return AliasUse::Topic;
        }
        let known = self.topics.iter().position(|known| &**known == topic);
        let number = |index: usize| u16::try_from(index + 1).unwrap_or(u16::MAX);
        match known {
            Some(index) => AliasUse::Alias(number(index)),
            None if self.topics.len() < usize::from(self.maximum) => {
                AliasUse::Assign(number(self.topics.len()))
            }
            None => AliasUse::Topic,
        }
    }

    /// Notes that a PUBLISH on `topic` went out as [`Self::choose`] said.
    pub fn sent(&mut self, topic: &str, alias: AliasUse) {
        if let AliasUse::Assign(_) = alias {
            self.topics.push(topic.into());
        }
    }
}

#[cfg(test)]
mod tests;
