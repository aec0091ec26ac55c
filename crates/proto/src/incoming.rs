//! Messages of QoS 2 that were received and are not released.

use alloc::collections::BTreeMap;
use core::num::NonZeroU16;

/// What the session has received with QoS 2 and answered with PUBREC, until PUBREL comes.
///
/// Survives the connection. Costs nothing while empty.
#[derive(Debug)]
pub struct Incoming<M> {
    /// By packet identifier: the peer chooses them, so no order of theirs may be dear.
    messages: BTreeMap<NonZeroU16, M>,
}

impl<M> Default for Incoming<M> {
    fn default() -> Self {
        Self {
            messages: BTreeMap::new(),
        }
    }
}

impl<M> Incoming<M> {
    /// How many messages are unfinished; the sender's use of the receive maximum.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether all are finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The unfinished message with this identifier. A PUBLISH that repeats it is answered with PUBREC
    /// and must not be delivered again (`[MQTT5-4.3.3-10]`, `[MQTT311-4.3.3-2]`).
    pub fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut M> {
        self.messages.get_mut(&id)
    }

    /// Keeps a message until its release; returns one that had the same identifier.
    pub fn insert(&mut self, id: NonZeroU16, message: M) -> Option<M> {
        self.messages.insert(id, message)
    }

    /// PUBREL: the message can be delivered and its identifier is free `[MQTT5-4.3.3-11]`. `None`: no
    /// such identifier is in use.
    pub fn release(&mut self, id: NonZeroU16) -> Option<M> {
        self.messages.remove(&id)
    }

    /// The unfinished messages by identifier.
    pub fn iter(&self) -> impl Iterator<Item = (NonZeroU16, &M)> {
        self.messages.iter().map(|(id, message)| (*id, message))
    }
}

#[cfg(test)]
mod tests;
