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
///
/// A long queue of messages that are on the disk is in memory only in part: its beginning is, and of
/// the rest no more than what each is called there.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    /// Bytes of all.
    bytes: usize,
    on_disk: Option<Box<OnDisk>>,
}

/// The rest of a long queue.
#[derive(Debug, Default)]
struct OnDisk {
    copies: VecDeque<Stored>,
    /// Its beginning is being read.
    is_loading: bool,
}

/// A message whose contents are on the disk only.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) message: u64,
    ids: SubscriptionIds,
    size: u32,
    qos: QoS,
    retain: bool,
}

/// What was first in a queue.
pub(crate) enum Oldest {
    Queued(Queued),
    Stored(Stored),
}

/// What became of a message that was read from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// It has its place in the queue; its size was taken for the first and is the second.
    Queued(usize, usize),
    /// It could not be read; this was its size.
    Lost(usize),
    /// It has left the queue meanwhile.
    Unwanted,
}

/// Messages of one queue that stay in memory, and their bytes: for a session without a connection, and
/// for one that only has to catch up.
const AWAY_MAX: (usize, usize) = (64, 64 * 1024);
const CONNECTED_MAX: (usize, usize) = (1024, 1024 * 1024);
/// When fewer are left in memory, more are read; this many, or this many bytes, at once.
const LOAD_BELOW: usize = 128;
const LOAD_MAX: usize = 256;
const LOAD_BYTES: usize = 256 * 1024;

impl Stored {
    pub(crate) fn new(
        message: u64,
        qos: QoS,
        retain: bool,
        ids: SubscriptionIds,
        size: u32,
    ) -> Self {
        Self {
            message,
            ids,
            size,
            qos,
            retain,
        }
    }

    pub(crate) const fn size(&self) -> usize {
        self.size as usize
    }

    pub(crate) fn is_at_most_once(&self) -> bool {
        self.qos == QoS::AtMostOnce
    }
}

impl Queue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.on_disk.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        let on_disk = self.on_disk.as_ref();
        self.messages.len() + on_disk.map_or(0, |on_disk| on_disk.copies.len())
    }

    /// Bytes of the messages, each counted fully.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages' names on the disk.
    pub(crate) fn names(&self) -> impl Iterator<Item = u64> {
        let on_disk = self.on_disk.iter().flat_map(|on_disk| &on_disk.copies);
        let queued = self.messages.iter().map(|queued| queued.message.id());
        queued.chain(on_disk.map(|stored| stored.message))
    }

    /// Whether the next message that is on the disk should be there only.
    pub(crate) fn is_long(&self, is_connected: bool) -> bool {
        let (messages, bytes) = if is_connected {
            CONNECTED_MAX
        } else {
            AWAY_MAX
        };
        self.on_disk.is_some() || self.messages.len() >= messages || self.bytes >= bytes
    }

    /// Appends a message that is on the disk.
    pub(crate) fn push_stored(&mut self, stored: Stored) {
        self.bytes += stored.size();
        let on_disk = self.on_disk.get_or_insert_default();
        on_disk.copies.push_back(stored);
    }

    /// The messages to be read next, if it is time.
    pub(crate) fn next_load(&mut self) -> Option<Vec<u64>> {
        if self.messages.len() >= LOAD_BELOW {
            return None;
        }
        let on_disk = self
            .on_disk
            .as_mut()
            .filter(|on_disk| !on_disk.is_loading)?;
        on_disk.is_loading = true;
        let mut bytes = 0;
        let first = on_disk.copies.iter().take(LOAD_MAX);
        let names = first.take_while(|stored| {
            let fits = bytes < LOAD_BYTES;
            bytes += stored.size();
            fits
        });
        Some(names.map(|stored| stored.message).collect())
    }

    /// Notes that the reading is over.
    pub(crate) fn end_load(&mut self) {
        if let Some(on_disk) = &mut self.on_disk {
            on_disk.is_loading = false;
        }
    }

    /// Takes a message that was read: the first of those that are only on the disk, or one that is
    /// wanted no longer.
    pub(crate) fn loaded(
        &mut self,
        name: u64,
        message: Option<Arc<Message>>,
        spare: &mut SpareQueues,
    ) -> Loaded {
        let Some(on_disk) = &mut self.on_disk else {
            return Loaded::Unwanted;
        };
        let Some(stored) = on_disk.copies.pop_front_if(|stored| stored.message == name) else {
            return Loaded::Unwanted;
        };
        if on_disk.copies.is_empty() {
            self.on_disk = None;
        }
        self.bytes -= stored.size();
        let Some(message) = message else {
            return Loaded::Lost(stored.size());
        };
        let size = message.size();
        self.push(
            Queued {
                message,
                qos: stored.qos,
                retain: stored.retain,
                ids: stored.ids,
                group: None,
            },
            spare,
        );
        Loaded::Queued(stored.size as usize, size)
    }

    /// Takes the first of all.
    pub(crate) fn pop_oldest(&mut self, spare: &mut SpareQueues) -> Option<Oldest> {
        if let Some(queued) = self.pop(spare) {
            return Some(Oldest::Queued(queued));
        }
        let on_disk = self.on_disk.as_mut()?;
        let stored = on_disk.copies.pop_front()?;
        if on_disk.copies.is_empty() {
            self.on_disk = None;
        }
        self.bytes -= stored.size();
        Some(Oldest::Stored(stored))
    }

    pub(crate) fn push(&mut self, message: Queued, spare: &mut SpareQueues) {
        if self.messages.capacity() == 0 {
            self.messages = spare.0.pop().unwrap_or_default();
        }
        self.bytes += message.message.size();
        self.messages.push_back(message);
    }

    /// The first, unless it has to be read first.
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
                self.bytes -= queued.message.size();
                shared.push(queued);
            } else {
                self.messages.push_back(queued);
            }
        }
        shared
    }
}
