//! Messages of QoS 2 that were received and are not released.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::num::NonZeroU16;

/// What the session has received with QoS 2 and answered with PUBREC, until PUBREL comes.
///
/// Survives the connection. Costs a word until the first message.
#[derive(Debug)]
pub struct Incoming<M> {
    /// By packet identifier: the peer chooses them, so no order of theirs may be dear.
    #[expect(
        clippy::box_collection,
        reason = "most sessions never have one, and it is eight bytes in each"
    )]
    messages: Option<Box<BTreeMap<NonZeroU16, M>>>,
}

impl<M> Default for Incoming<M> {
    fn default() -> Self {
        Self { messages: None }
    }
}

impl<M> Incoming<M> {
    /// How many messages are unfinished; the sender's use of the receive maximum.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| messages.len())
    }

    /// Whether all are finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unfinished message with this identifier. A PUBLISH that repeats it is answered with PUBREC
    /// and must not be delivered again (`[MQTT5-4.3.3-10]`, `[MQTT311-4.3.3-2]`).
    pub fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut M> {
        self.messages.as_mut()?.get_mut(&id)
    }

    /// Keeps a message until its release; returns one that had the same identifier.
    pub fn insert(&mut self, id: NonZeroU16, message: M) -> Option<M> {
        let messages = self.messages.get_or_insert_default();
        messages.insert(id, message)
    }

    /// PUBREL: the message can be delivered and its identifier is free `[MQTT5-4.3.3-11]`. `None`: no
    /// such identifier is in use.
    pub fn release(&mut self, id: NonZeroU16) -> Option<M> {
        self.messages.as_mut()?.remove(&id)
    }

    /// The unfinished messages by identifier.
    pub fn iter(&self) -> impl Iterator<Item = (NonZeroU16, &M)> {
        let messages = self.messages.iter().flat_map(|messages| messages.iter());
        messages.map(|(id, message)| (*id, message))
    }
}

#[cfg(test)]
mod tests;
