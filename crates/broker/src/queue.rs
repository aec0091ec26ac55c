//! Messages that wait for a session.

use std::collections::VecDeque;
use std::sync::Arc;

use midge_codec::QoS;

use crate::message::Message;
use crate::route::GroupId;

/// A message with what the session's subscription makes of it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    /// RETAIN as it will be sent.
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
    /// The shared group that the message returns to, with its home, when the session is lost.
    pub(crate) group: Option<(GroupId, u16)>,
}

/// The identifiers of the subscriptions that a copy is for `[MQTT5-3.3.4-3]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SubscriptionIds {
    #[default]
    None,
    One(u32),
    Many(Box<[u32]>),
}

impl SubscriptionIds {
    #[inline]
    pub(crate) const fn from_id(id: u32) -> Self {
        if id == 0 { Self::None } else { Self::One(id) }
    }

    pub(crate) fn from_slice(ids: &[u32]) -> Self {
        match ids {
            [] => Self::None,
            [id] => Self::One(*id),
            ids => Self::Many(ids.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// Buffers of emptied queues, for the next that fill: a busy session's queue fills and empties in every
/// turn, and an idle one's costs nothing.
#[derive(Debug, Default)]
pub(crate) struct SpareQueues(Vec<VecDeque<Queued>>);

/// Buffers kept, and the messages that one may have room for.
const SPARES_MAX: usize = 256;
const SPARE_CAPACITY_MAX: usize = 256;

/// The queue of one session, oldest first. Costs nothing while empty.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of the messages, each counted fully.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.messages.iter()
    }

    pub(crate) fn push(&mut self, message: Queued, spare: &mut SpareQueues) {
        if self.messages.capacity() == 0 {
            self.messages = spare.0.pop().unwrap_or_default();
        }
        self.bytes += message.message.size();
        self.messages.push_back(message);
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub(crate) fn pop(&mut self, spare: &mut SpareQueues) -> Option<Queued> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.message.size();
        if self.messages.is_empty() {
            let emptied = std::mem::take(&mut self.messages);
            if emptied.capacity() <= SPARE_CAPACITY_MAX && spare.0.len() < SPARES_MAX {
                spare.0.push(emptied);
            }
        }
        Some(message)
    }

    /// Takes out what belongs to shared groups.
    pub(crate) fn take_shared(&mut self) -> Vec<Queued> {
        if !self.messages.iter().any(|queued| queued.group.is_some()) {
            return Vec::new();
        }
        let mut shared = Vec::new();
        for queued in std::mem::take(&mut self.messages) {
            if queued.group.is_some() {
                shared.push(queued);
            } else {
                self.messages.push_back(queued);
            }
        }
        self.bytes = self
            .messages
            .iter()
            .map(|queued| queued.message.size())
            .sum();
        shared
    }
}
