//! Who a client has shown to be, and what it may do.
//!
//! Whoever checks passwords and tokens lives outside: a CONNECT to a listener with
//! [`crate::ListenerSettings::login`] leaves as a [`Login`] and waits for its [`LoginAnswer`]. What the
//! answer allows is asked here, on the way of each message, and never waits for anybody.

use std::any::Any;
use std::fmt;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;

use midge_codec::{ReasonCode, Version};

use crate::{ConnId, ListenerSettings, Time};

/// Something that a client wants to do with a topic or a topic filter, or that is to be done for it.
/// Topics and filters are meant with the mount point of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It publishes to a topic.
    Publish,
    /// A message of a topic is to be delivered to it.
    Deliver,
    /// It subscribes to a topic filter; of a shared subscription, all of it.
    Subscribe,
    /// It unsubscribes from a topic filter.
    Unsubscribe,
}

/// What one client may do, compiled for it at its login.
///
/// Whoever made it can know it again, in a [`Reviewed`], as the [`Any`] that it is.
pub trait Rights: Any + fmt::Debug + Send + Sync {
    /// Whether the client may do this. Asked once for each topic that a client uses, then remembered for a
    /// while.
    fn allows(&self, action: Action, topic: &str) -> bool;

    /// Which rule decides, for the log.
    fn explain(&self, action: Action, topic: &str) -> String;
}

/// What a login has shown.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The user name that the client has from now on; `None` for none.
    pub user_name: Option<Arc<str>>,
    /// The client id that it has whatever its CONNECT says.
    pub client_id: Option<Arc<str>>,
    /// What it may do; `None` for everything.
    pub rights: Option<Arc<dyn Rights>>,
    /// When it has to have authenticated again.
    pub expires: Option<Time>,
    /// Names what the login rests on, for whoever judged it; 0 for nothing.
    pub seal: u64,
    /// Method and data for the CONNACK or AUTH that ends an enhanced authentication.
    pub method: Option<Method>,
}

/// A step of an enhanced authentication (MQTT 5.0, section 4.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// The authentication method.
    pub name: Box<str>,
    /// Authentication data; `None` for none.
    pub data: Option<Box<[u8]>>,
}

/// A client wants to be let in, or to be known again.
#[derive(Debug)]
pub struct Login {
    /// Who waits. Later steps of one authentication come from the same connection.
    pub conn: ConnId,
    /// Where it connected.
    pub listener: Arc<ListenerSettings>,
    /// From where; `None` on a unix socket.
    pub address: Option<SocketAddr>,
    /// The client id, or the one that the broker chose.
    pub client_id: Arc<str>,
    /// The broker chose the client id.
    pub client_id_is_assigned: bool,
    /// The protocol version.
    pub version: Version,
    /// What it says.
    pub says: Says,
    /// What its connection has shown of it; filled in by whoever has the connection.
    pub shown: Shown,
}

/// What a connection has shown of its client beneath MQTT.
#[derive(Clone, Default)]
pub struct Shown {
    /// The name in the client's certificate, where the listener takes user names from there.
    pub certificate_name: Option<Arc<str>>,
    /// The `Authorization` header of a WebSocket upgrade.
    pub authorization: Option<Box<str>>,
}

// The header is a secret.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("certificate_name", &self.certificate_name)
            .field("authorization", &self.authorization.is_some())
            .finish()
    }
}

/// What a client says of itself.
pub enum Says {
    /// CONNECT.
    Connect {
        /// User name.
        user_name: Option<Box<str>>,
        /// Password.
        password: Option<Box<[u8]>>,
        /// Enhanced authentication, if the client asks for one.
        method: Option<Method>,
    },
    /// AUTH that goes on with what the last answer asked.
    Auth(Method),
    /// AUTH that begins again on a connection that was let in.
    Again(Method),
}

// Passwords and tokens belong into no log.
impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { user_name, .. } => write!(f, "Connect({user_name:?})"),
            Self::Auth(method) => write!(f, "Auth({:?})", method.name),
            Self::Again(method) => write!(f, "Again({:?})", method.name),
        }
    }
}

/// What is said to a [`Login`].
#[derive(Debug)]
pub enum LoginAnswer {
    /// It may come in, or stay.
    Accepted(Box<Identity>),
    /// It may not; the text is for the log alone.
    Refused(ReasonCode, String),
    /// AUTH with this is to be sent and answered.
    Challenged(Method),
}

/// What is to become of a client whose rights may have changed.
#[derive(Debug)]
pub enum Review {
    /// Nothing has changed.
    Stays,
    /// It has these rights now; `None` for all.
    Has(Option<Arc<dyn Rights>>),
    /// It has to go.
    Goes(ReasonCode, String),
}

/// A client whose rights may have changed.
#[derive(Clone, Copy, Debug)]
pub struct Reviewed<'a> {
    /// Its connection.
    pub conn: ConnId,
    /// Where it connected.
    pub listener: &'a Arc<ListenerSettings>,
    /// From where; `None` on a unix socket.
    pub address: Option<SocketAddr>,
    /// Its client id.
    pub client_id: &'a str,
    /// Its user name.
    pub user_name: Option<&'a str>,
    /// What its login rests on, as [`Identity::seal`] says.
    pub seal: u64,
    /// What it may do so far; `None` for everything.
    pub rights: Option<&'a Arc<dyn Rights>>,
}

/// A request to the broker itself, by a message to a topic below `$CONTROL/`.
#[derive(Debug)]
pub struct ControlRequest {
    /// Who asks; [`crate::Shard::control_answered`] takes the answer.
    pub conn: ConnId,
    /// Where it connected.
    pub listener: Arc<ListenerSettings>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its user name.
    pub user_name: Option<Arc<str>>,
    /// Whether its rules were asked whether it may do that; without rules nobody was.
    pub has_rights: bool,
    /// The topic.
    pub topic: Box<str>,
    /// The request.
    pub payload: Box<[u8]>,
}

/// The client of one connection, as far as there is anything to ask about it.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) identity: Identity,
    decisions: Decisions,
    /// The client was sent an AUTH that it has to answer.
    pub(crate) is_challenged: bool,
    /// When a denial was last logged, so that nobody fills the log.
    told_at: Option<Time>,
}

impl Access {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            decisions: Decisions::default(),
            is_challenged: false,
            told_at: None,
        }
    }

    /// Whether the client may do this. `hash` is that of the topic, seeded.
    #[inline]
    pub(crate) fn may(&mut self, hash: u64, action: Action, topic: &str) -> bool {
        if self.identity.rights.is_none() {
            return true;
        }
        let hash = hash ^ SALTS[action as usize];
        match self.decisions.find(hash) {
            Some(known) => known,
            None => self.decide(hash, action, topic),
        }
    }

    #[cold]
    fn decide(&mut self, hash: u64, action: Action, topic: &str) -> bool {
        let Some(rights) = &self.identity.rights else {
            return true;
        };
        let allowed = rights.allows(action, topic);
        self.decisions.note(hash, allowed);
        allowed
    }

    /// The client has other rights from now on.
    pub(crate) fn change(&mut self, rights: Option<Arc<dyn Rights>>) {
        self.identity.rights = rights;
        self.decisions = Decisions::default();
    }

    /// Why this is denied, if it is time to say so.
    pub(crate) fn why_denied(&mut self, now: Time, action: Action, topic: &str) -> Option<String> {
        let is_soon = |told: Time| now < told.plus_millis(DENIALS_MS);
        if self.told_at.is_some_and(is_soon) {
            return None;
        }
        self.told_at = Some(now);
        let rights = self.identity.rights.as_ref()?;
        Some(rights.explain(action, topic))
    }
}

/// The seeded hash of a topic, by which rights remember what they said about it; never 0.
pub(crate) fn topic_hash(hasher: &impl BuildHasher, topic: &str) -> u64 {
    hasher.hash_one(topic) | 1
}

/// Between two lines about what one client was denied.
const DENIALS_MS: u64 = 1_000;

/// Tells the actions apart; the hash of a topic is seeded, so nobody can choose topics for it.
const SALTS: [u64; 4] = [
    0x9E37_79B9_7F4A_7C15,
    0xBF58_476D_1CE4_E5B9,
    0x94D0_49BB_1331_11EB,
    0xD6E8_FEB8_6659_FD93,
];

/// What rights said lately. Costs nothing until somebody asks, and grows with what is asked about.
///
/// A topic stands for itself by its hash. That two topics of one client have the same 62 bits of a seeded
/// hash is taken for impossible.
#[derive(Debug, Default)]
struct Decisions {
    slots: Box<[u64]>,
    /// Decisions that had to give way since the last growth.
    evictions: usize,
}

const SLOTS_MIN: usize = 8;
const SLOTS_MAX: usize = 1024;
const FILLED: u64 = 2;
const ALLOWED: u64 = 1;

impl Decisions {
    #[inline]
    fn find(&self, hash: u64) -> Option<bool> {
        let slot = *self.slots.get(self.place(hash))?;
        let is_it = (slot ^ hash) & !(FILLED | ALLOWED) == 0 && slot & FILLED != 0;
        is_it.then_some(slot & ALLOWED != 0)
    }

    fn note(&mut self, hash: u64, allowed: bool) {
        if self.slots.is_empty() || self.evictions > self.slots.len() {
            self.grow();
        }
        let place = self.place(hash);
        if let Some(slot) = self.slots.get_mut(place) {
            self.evictions += usize::from(*slot & FILLED != 0);
            *slot = hash & !(FILLED | ALLOWED) | FILLED | u64::from(allowed);
        }
    }

    fn grow(&mut self) {
        self.evictions = 0;
        let size = (self.slots.len() * 2).clamp(SLOTS_MIN, SLOTS_MAX);
        if size == self.slots.len() {
            return;
        }
        let old = std::mem::replace(&mut self.slots, vec![0; size].into_boxed_slice());
        for slot in old.iter().filter(|slot| **slot & FILLED != 0) {
            let place = self.place(*slot);
            if let Some(new) = self.slots.get_mut(place) {
                *new = *slot;
            }
        }
    }

    /// Sizes are powers of two; the low bits say something else.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash >> 8) as usize & self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests;
