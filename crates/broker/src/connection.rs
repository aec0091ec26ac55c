//! One client's connection, as a shard keeps it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use midge_codec::{QoS, Version};
use midge_proto::{Connection, InboundAliases, KeepAlive, OutboundAliases};

use crate::Time;
use crate::access::Access;
use crate::outbox::{BufferPool, Outbox};
use crate::retained::Walk;
use crate::session::SubscriptionList;
use crate::settings::ListenerSettings;
use crate::slab::SlabKey;

/// The address of a connection at its shard. One that outlived its connection reaches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub(crate) SlabKey);

/// Where a connection came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The listener's place in [`crate::Settings::listeners`].
    pub listener: Arc<ListenerSettings>,
    /// The peer's address; `None` on a unix socket.
    pub address: Option<SocketAddr>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            // Mosquitto writes IPv6 addresses without brackets too.
            Some(address) => write!(f, "{}:{}", address.ip(), address.port()),
            None => f.write_str("unix-socket"),
        }
    }
}

/// A connection. Small, since most are idle: what only some need is boxed.
#[derive(Debug)]
pub(crate) struct Conn {
    /// What the worker calls this connection.
    pub(crate) token: usize,
    pub(crate) origin: Origin,
    pub(crate) protocol: Connection,
    pub(crate) session: Option<SlabKey>,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) outbox: Outbox,
    /// The worker knows that bytes wait.
    pub(crate) dirty: bool,
    /// Bytes of packets other than PUBLISH that were written, less all that the socket has taken since.
    pub(crate) answers_unsent: usize,
    /// The earliest timer that is set for this connection.
    pub(crate) timer: Time,
    /// QoS 0 messages are being dropped; the log has said so.
    pub(crate) dropping: bool,
    /// It has published where it may not; the log has said so.
    pub(crate) denied: bool,
    /// Messages of QoS 1 and 2 that may be unacknowledged towards the client.
    pub(crate) receive_maximum: u16,
    /// Largest packet that the client takes; 0 for no limit.
    pub(crate) packet_size_max: u32,
    pub(crate) aliases_in: Option<Box<InboundAliases>>,
    pub(crate) aliases_out: Option<Box<OutboundAliases>>,
    pub(crate) pending: Option<Box<PendingConnect>>,
    /// Who the client has shown to be; nothing if nobody was asked.
    pub(crate) access: Option<Box<Access>>,
    /// Retained messages that are still to be sent.
    pub(crate) walks: Walks,
    /// The shard's list of walking connections has this one.
    pub(crate) walking: bool,
    /// A bridge of the Mosquitto family.
    pub(crate) bridge: bool,
    /// Nothing leaves the outbox: CONNACK, its first packet, waits for the disk.
    pub(crate) is_silent: bool,
    /// Acknowledgements to this publisher that wait for the disk, and that none may overtake.
    pub(crate) held_acks: u32,
    /// Bytes of messages to this subscriber that wait for the disk and then go out together.
    pub(crate) held_bytes: u32,
}

/// A CONNECT that is not answered yet.
#[derive(Debug)]
pub(crate) struct PendingConnect {
    pub(crate) client_id: Arc<str>,
    pub(crate) version: Version,
    /// The broker chose the id.
    pub(crate) assigned: bool,
    pub(crate) stage: Stage,
    /// The packet, once AUTH has followed it; until then it stays with who reads.
    pub(crate) packet: Option<Box<[u8]>>,
    /// The method of the enhanced authentication that is under way.
    pub(crate) method: Option<Box<str>>,
}

/// What a CONNECT waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The answer to its login.
    Login,
    /// The client's AUTH.
    Auth,
    /// Nothing: the login was good.
    LoggedIn,
    /// The directory.
    Claim,
    /// Nothing: the session is to be made.
    Granted,
}

/// The way of a new subscription through the retained messages.
#[derive(Debug)]
pub(crate) struct RetainedWalk {
    pub(crate) walk: Walk,
    /// The most that the subscription takes.
    pub(crate) qos: QoS,
    pub(crate) subscription_id: u32,
}

/// The walks of a connection, in the order of their subscriptions. Costs a word while there are none, which
/// is nearly always.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "hardly ever there, and eight bytes in every connection"
)]
pub(crate) struct Walks(Option<Box<VecDeque<RetainedWalk>>>);

impl Walks {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |walks| walks.len())
    }

    pub(crate) fn front(&self) -> Option<&RetainedWalk> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn pop_front(&mut self) -> Option<RetainedWalk> {
        let walk = self.0.as_mut()?.pop_front();
        self.give_back();
        walk
    }

    pub(crate) fn push_front(&mut self, walk: RetainedWalk) {
        self.0.get_or_insert_default().push_front(walk);
    }

    fn push_back(&mut self, walk: RetainedWalk) {
        self.0.get_or_insert_default().push_back(walk);
    }

    fn retain(&mut self, keep: impl FnMut(&RetainedWalk) -> bool) {
        if let Some(walks) = &mut self.0 {
            walks.retain(keep);
        }
        self.give_back();
    }

    fn take(&mut self) -> VecDeque<RetainedWalk> {
        self.0.take().map_or_else(VecDeque::new, |walks| *walks)
    }

    fn give_back(&mut self) {
        self.0.take_if(|walks| walks.is_empty());
    }
}

impl Conn {
    pub(crate) fn new(token: usize, origin: Origin, now: Time) -> Self {
        Self {
            token,
            origin,
            protocol: Connection::server(),
            session: None,
            keep_alive: KeepAlive::new(0, now),
            outbox: Outbox::default(),
            dirty: false,
            answers_unsent: 0,
            timer: Time::NEVER,
            dropping: false,
            denied: false,
            receive_maximum: u16::MAX,
            packet_size_max: 0,
            aliases_in: None,
            aliases_out: None,
            pending: None,
            access: None,
            walks: Walks::default(),
            walking: false,
            bridge: false,
            is_silent: false,
            held_acks: 0,
            held_bytes: 0,
        }
    }

    /// When the client has to have shown again who it is.
    pub(crate) fn login_expires(&self) -> Time {
        let expires = self
            .access
            .as_ref()
            .and_then(|access| access.identity.expires);
        expires.unwrap_or(Time::NEVER)
    }

    #[inline]
    pub(crate) fn version(&self) -> Version {
        self.protocol.version()
    }

    /// Writes a packet to the outbox, and notes that the worker has to take it. When `fill` fails,
    /// nothing has happened: a connection that is listed without having bytes would never be listed
    /// again.
    #[inline]
    pub(crate) fn write(
        &mut self,
        pool: &mut BufferPool,
        dirty: &mut Vec<usize>,
        fill: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        if !self.outbox.write(pool, fill) {
            return false;
        }
        if !self.dirty {
            self.dirty = true;
            if !self.is_silent {
                dirty.push(self.token);
            }
        }
        true
    }

    /// Ends the walks of `filter`, mount point included.
    pub(crate) fn drop_walk(&mut self, filter: &str) {
        // With many of them under way, a walk that has lost its meaning is found when it goes on: a client
        // must not make its unsubscribing dear.
        if self.walks.len() <= WALKS_SEARCHED_MAX {
            self.walks.retain(|walk| walk.walk.filter() != filter);
        }
    }

    /// Adds a walk. A client that subscribes and never takes its retained messages has not many more of
    /// them than subscriptions.
    pub(crate) fn add_walk(&mut self, walk: RetainedWalk, subscriptions: &SubscriptionList) {
        self.walks.push_back(walk);
        if self.walks.len() <= 2 * subscriptions.len() + WALKS_SEARCHED_MAX {
            return;
        }
        let walks = self.walks.take();
        let mut newest: HashMap<&str, usize> = HashMap::new();
        for (place, walk) in walks.iter().enumerate() {
            if subscriptions.contains(self.visible(walk.walk.filter())) {
                newest.insert(walk.walk.filter(), place);
            }
        }
        let mut places: Vec<usize> = newest.into_values().collect();
        places.sort_unstable();
        let mut places = places.into_iter().peekable();
        let mut is_newest = |place: &usize| places.next_if_eq(place).is_some();
        for (place, walk) in walks.into_iter().enumerate() {
            if is_newest(&place) {
                self.walks.push_back(walk);
            }
        }
    }

    /// Whether a QoS 1 or 2 message may be written now. It stays in its queue otherwise, where it costs
    /// less than in the outbox.
    #[inline]
    pub(crate) fn outbox_has_room(&self) -> bool {
        self.outbox.len() + (self.held_bytes as usize) < OUTBOX_PAUSE
    }

    /// The part of `topic` that this client knows.
    #[inline]
    pub(crate) fn visible<'a>(&self, topic: &'a str) -> &'a str {
        match &self.origin.listener.mount_point {
            None => topic,
            Some(mount_point) => topic.strip_prefix(&**mount_point).unwrap_or(topic),
        }
    }
}

/// Walks that are searched for one that has lost its meaning.
const WALKS_SEARCHED_MAX: usize = 256;

/// Unsent bytes above which queued messages wait for the socket.
const OUTBOX_PAUSE: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A million of them are to fit where others have half as many.
    #[test]
    fn an_idle_connection_costs_little() {
        assert!(size_of::<Conn>() <= 168, "{}", size_of::<Conn>());
    }
}
