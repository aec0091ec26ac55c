//! Messages of QoS 2 that were received and are not released.

use alloc::vec::Vec;
use core::num::NonZeroU16;

/// What the session has received with QoS 2 and answered with PUBREC, until PUBREL comes.
///
/// Survives the connection. Costs nothing while empty.
#[derive(Debug)]
pub struct Incoming<M> {
    /// Sorted by packet identifier.
    messages: Vec<(NonZeroU16, M)>,
}

impl<M> Default for Incoming<M> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
        }
    }
}

impl<M> Incoming<M> {
    /// How many messages are unfinished; the sender's use of the receive maximum.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether all are finished.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The unfinished message with this identifier. A PUBLISH that repeats it is answered with PUBREC
    /// and must not be delivered again (`[MQTT5-4.3.3-10]`, `[MQTT311-4.3.3-2]`).
    pub fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut M> {
        let index = self.position(id).ok()?;
        self.messages.get_mut(index).map(|(_, message)| message)
    }

    /// Keeps a message until its release; returns one that had the same identifier.
    pub fn insert(&mut self, id: NonZeroU16, message: M) -> Option<M> {
        match self.position(id) {
            Ok(index) => {
                let (_, slot) = self.messages.get_mut(index)?;
                Some(core::mem::replace(slot, message))
            }
            Err(index) => {
                self.messages.insert(index, (id, message));
                None
            }
        }
    }

    /// PUBREL: the message can be delivered and its identifier is free `[MQTT5-4.3.3-11]`. `None`: no
    /// such identifier is in use.
    pub fn release(&mut self, id: NonZeroU16) -> Option<M> {
        let index = self.position(id).ok()?;
        let (_, message) = self.messages.remove(index);
        if self.messages.is_empty() {
            self.messages = Vec::new();
        }
        Some(message)
    }

    /// The unfinished messages by identifier.
    pub fn iter(&self) -> impl Iterator<Item = (NonZeroU16, &M)> {
        self.messages.iter().map(|(id, message)| (*id, message))
    }

    fn position(&self, id: NonZeroU16) -> Result<usize, usize> {
        // Identifiers mostly rise.
        match self.messages.last() {
            None => Err(0),
            Some((last, _)) if *last < id => Err(self.messages.len()),
            Some(_) => self.messages.binary_search_by_key(&id, |(id, _)| *id),
        }
    }
}

#[cfg(test)]
mod tests;
