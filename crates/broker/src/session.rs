//! One client's session: what outlives its connections.

use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{QoS, Version};
use midge_proto::{Incoming, Outgoing};

use crate::Time;
use crate::message::Message;
use crate::persist::records::{SessionRecord, WillRecord};
use crate::queue::{Queue, Queued};
use crate::route::{Presence, SessionRef, SubscriptionOptions};
use crate::slab::SlabKey;

/// A session. Small, since most are idle.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    pub(crate) user_name: Option<Box<str>>,
    /// Its connection, if it has one.
    pub(crate) conn: Option<SlabKey>,
    pub(crate) version: Version,
    /// How long it lives without a connection.
    pub(crate) expiry: Expiry,
    /// When it ends; set while it has no connection.
    pub(crate) ends_at: Time,
    pub(crate) will: Option<Box<SessionWill>>,
    /// The earliest timer that is set for this session.
    pub(crate) timer: Time,
    pub(crate) subscriptions: SubscriptionList,
    /// The mount point of the listener that it subscribed through.
    pub(crate) mount_point: Option<Box<str>>,
    pub(crate) queue: Queue,
    pub(crate) outgoing: Outgoing<Queued>,
    pub(crate) outgoing_bytes: usize,
    pub(crate) incoming: Incoming<Arc<Message>>,
    pub(crate) incoming_bytes: usize,
    /// Exists while the session is a member of a shared group.
    pub(crate) presence: Option<Arc<Presence>>,
    /// A group's home has been asked for what it holds, and has not answered.
    pub(crate) pulling: bool,
    /// Since then there was reason to ask again: what was found empty before may hold something now.
    pub(crate) pull_again: bool,
    /// The queue is full; the log has said so.
    pub(crate) overflowing: bool,
    /// It is kept across the broker's end. Never changes: a session that ends with its connection ends
    /// before anything could make it last.
    pub(crate) is_persistent: bool,
    /// Its client has rights that are asked before it gets a message.
    pub(crate) is_guarded: bool,
}

/// How long a session lives without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// It ends with the connection.
    WithConnection,
    /// Seconds.
    After(u64),
    /// For ever.
    Never,
}

impl Expiry {
    /// The Session Expiry Interval of 5.0 (MQTT5 3.1.2.11.2).
    pub(crate) const fn from_interval(seconds: u32) -> Self {
        match seconds {
            0 => Self::WithConnection,
            u32::MAX => Self::Never,
            _ => Self::After(seconds as u64),
        }
    }

    /// Shortened to what the operator allows.
    pub(crate) fn capped(self, seconds_max: Option<u64>) -> Self {
        match (self, seconds_max) {
            (Self::WithConnection, _) | (_, None) => self,
            (Self::Never, Some(most)) => Self::After(most),
            (Self::After(seconds), Some(most)) => Self::After(seconds.min(most)),
        }
    }

    pub(crate) const fn outlives_connection(self) -> bool {
        !matches!(self, Self::WithConnection)
    }
}

/// A will that the server holds `[MQTT5-3.1.2-7]`.
#[derive(Debug)]
pub(crate) struct SessionWill {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Box<[u8]>,
    /// Encoded as they are to be forwarded.
    pub(crate) properties: Box<[u8]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
    /// When it is to be published; set while it is delayed.
    pub(crate) due: Time,
}

impl Session {
    pub(crate) fn new(client_id: Arc<str>, version: Version) -> Self {
        Self {
            client_id,
            user_name: None,
            conn: None,
            version,
            expiry: Expiry::WithConnection,
            ends_at: Time::NEVER,
            will: None,
            timer: Time::NEVER,
            subscriptions: SubscriptionList::default(),
            mount_point: None,
            queue: Queue::default(),
            outgoing: Outgoing::default(),
            outgoing_bytes: 0,
            incoming: Incoming::default(),
            incoming_bytes: 0,
            presence: None,
            pulling: false,
            pull_again: false,
            overflowing: false,
            is_persistent: false,
            is_guarded: false,
        }
    }

    /// Whether another QoS 1 or 2 message may be sent now.
    #[inline]
    pub(crate) fn window_has_room(&self, receive_maximum: u16, bytes_max: usize) -> bool {
        self.outgoing.has_room(receive_maximum)
            && (bytes_max == 0 || self.outgoing_bytes < bytes_max)
    }

    /// What is kept of it, but for what it is subscribed to and holds.
    pub(crate) fn record(&self, session: SessionRef) -> SessionRecord<'_> {
        SessionRecord {
            session,
            client_id: &self.client_id,
            user_name: self.user_name.as_deref(),
            mount_point: self.mount_point.as_deref(),
            version: self.version.level(),
            expiry: self.expiry,
            will: self.will.as_deref().map(|will| WillRecord {
                topic: &will.topic,
                payload: &will.payload,
                properties: &will.properties,
                qos: will.qos,
                retain: will.retain,
                expiry_secs: will.expiry_secs,
                delay_secs: will.delay_secs,
            }),
        }
    }

    /// When the session next needs attention while it has no connection.
    pub(crate) fn deadline(&self) -> Time {
        let will = self.will.as_ref().map_or(Time::NEVER, |will| will.due);
        self.ends_at.min(will)
    }
}

/// What a session is subscribed to, by topic filter as the client wrote it.
#[derive(Debug, Default)]
pub(crate) enum SubscriptionList {
    #[default]
    None,
    /// Many sessions have one, which costs no list.
    One((Box<str>, Subscribed)),
    /// Most others have few. In a box, so that the whole is no larger than the one.
    #[expect(clippy::box_collection, reason = "eight bytes less in every session")]
    Few(Box<Vec<(Box<str>, Subscribed)>>),
    Many(Box<HashMap<Box<str>, Subscribed, foldhash::fast::RandomState>>),
}

/// How it is subscribed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscribed {
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: u32,
}

/// Above this many a list is searched by hash.
const FEW: usize = 16;

impl SubscriptionList {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Many(map) => map.len(),
            Self::None | Self::One(_) | Self::Few(_) => self.listed().len(),
        }
    }

    /// Adds or replaces; whether it is new.
    pub(crate) fn insert(&mut self, filter: &str, subscribed: Subscribed) -> bool {
        if let Some(old) = self.listed_mut(filter) {
            *old = subscribed;
            return false;
        }
        let entry = (filter.into(), subscribed);
        match self {
            Self::None => *self = Self::One(entry),
            Self::Few(list) if list.len() < FEW => list.push(entry),
            Self::Few(list) => {
                let mut map: HashMap<_, _, _> = list.drain(..).collect();
                map.insert(entry.0, entry.1);
                *self = Self::Many(Box::new(map));
            }
            Self::One(_) => {
                if let Self::One(first) = std::mem::take(self) {
                    *self = Self::Few(Box::new(vec![first, entry]));
                }
            }
            Self::Many(map) => return map.insert(entry.0, subscribed).is_none(),
        }
        true
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        match self {
            Self::Many(map) => map.contains_key(filter),
            Self::None | Self::One(_) | Self::Few(_) => {
                self.listed().iter().any(|(known, _)| &**known == filter)
            }
        }
    }

    /// Removes; whether it was there.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        match self {
            Self::None => false,
            Self::One((known, _)) => {
                let found = &**known == filter;
                if found {
                    *self = Self::default();
                }
                found
            }
            Self::Few(list) => {
                let found = list.iter().position(|(known, _)| &**known == filter);
                if let Some(index) = found {
                    list.remove(index);
                }
                if list.len() == 1
                    && let Some(last) = list.pop()
                {
                    *self = Self::One(last);
                }
                found.is_some()
            }
            Self::Many(map) => {
                let found = map.remove(filter).is_some();
                if map.is_empty() {
                    *self = Self::default();
                }
                found
            }
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (&str, &Subscribed)> + '_> {
        match self {
            Self::Many(map) => Box::new(map.iter().map(|(filter, how)| (&**filter, how))),
            Self::None | Self::One(_) | Self::Few(_) => {
                let list = self.listed().iter();
                Box::new(list.map(|(filter, how)| (&**filter, how)))
            }
        }
    }

    /// The filters.
    pub(crate) fn filters(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.iter().map(|(filter, _)| filter))
    }

    /// The shared ones.
    pub(crate) fn shared(&self) -> Box<dyn Iterator<Item = (&str, Subscribed)> + '_> {
        let is_shared = |(filter, _): &(&str, _)| filter.starts_with("$share/");
        let shared = self.iter().filter(is_shared);
        Box::new(shared.map(|(filter, subscribed)| (filter, *subscribed)))
    }

    /// Those of a list; none of a map.
    fn listed(&self) -> &[(Box<str>, Subscribed)] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Few(list) => list,
            Self::None | Self::Many(_) => &[],
        }
    }

    fn listed_mut(&mut self, filter: &str) -> Option<&mut Subscribed> {
        let list = match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Few(list) => list.as_mut_slice(),
            Self::None | Self::Many(_) => &mut [],
        };
        let known = list.iter_mut().find(|(known, _)| &**known == filter);
        known.map(|(_, subscribed)| subscribed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million of them are to fit where others have half as many.
    #[test]
    fn an_idle_session_costs_little() {
        assert!(size_of::<Session>() <= 224, "{}", size_of::<Session>());
        assert!(size_of::<SubscriptionList>() <= 24);
    }

    #[test]
    fn a_list_of_any_length_knows_what_it_holds() {
        let subscribed = |id| Subscribed {
            options: SubscriptionOptions::new(0, false, false),
            id,
        };
        let mut list = SubscriptionList::default();
        let names: Vec<String> = (0..40).map(|number| format!("a/{number}")).collect();
        for (count, name) in names.iter().enumerate() {
            assert!(!list.contains(name));
            assert!(list.insert(name, subscribed(1)));
            assert!(!list.insert(name, subscribed(2)), "it is replaced");
            assert_eq!(list.len(), count + 1);
        }
        assert!(list.iter().all(|(_, subscribed)| subscribed.id == 2));
        for (gone, name) in names.iter().enumerate() {
            assert_eq!(list.filters().count(), 40 - gone);
            assert!(list.remove(name));
            assert!(!list.remove(name) && !list.contains(name));
        }
        assert_eq!(list.len(), 0);
        let mut list = SubscriptionList::default();
        for name in ["a", "$share/g/a", "b"] {
            list.insert(name, subscribed(3));
        }
        assert_eq!(list.shared().count(), 1);
        assert!(list.remove("a") && list.remove("b"));
        assert!(matches!(list, SubscriptionList::One(_)));
        assert_eq!(list.shared().count(), 1);
    }
}
