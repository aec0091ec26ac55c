//! Clients, groups and roles, and what connects them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::passwords::Verifier;

use super::json::Object;
use super::rules::CompiledRole;

/// The priority of a role or group for which none is stated.
pub(super) const PRIORITY_UNSET: i32 = -1;
const PRIORITY_MAX: i32 = 100_000;

/// Brings a priority into the range that Mosquitto keeps to.
pub(super) fn priority(value: Option<i32>, unset: i32) -> i32 {
    value.unwrap_or(unset).clamp(-PRIORITY_MAX, PRIORITY_MAX)
}

/// What a dynamic-security file says: who there is, and who may do what.
///
/// Everything that a change needs is in here, and no change is made by anything but
/// [`control`](Self::control). The value belongs to one thread; what other threads need is given out as
/// [`Check`](super::Check) and [`Rules`](super::Rules).
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) change_index: i64,
    pub(super) defaults: Defaults,
    pub(super) clients: BTreeMap<String, Account>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) anonymous_group: Option<String>,
    pub(super) roles: BTreeMap<String, Role>,
    /// Members of the file that this version does not know.
    pub(super) extra: Object,
}

/// What is allowed where no rule fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) publish_send: bool,
    pub(super) publish_receive: bool,
    pub(super) subscribe: bool,
    pub(super) unsubscribe: bool,
}

impl Defaults {
    pub(super) const NAMES: [&'static str; 4] = [
        "publishClientSend",
        "publishClientReceive",
        "subscribe",
        "unsubscribe",
    ];

    /// The four in the order of [`Self::NAMES`].
    pub(super) const fn values(self) -> [bool; 4] {
        [
            self.publish_send,
            self.publish_receive,
            self.subscribe,
            self.unsubscribe,
        ]
    }

    /// Sets one by its name, whatever the case; whether there is such a one.
    pub(super) fn set(&mut self, name: &str, allow: bool) -> bool {
        let place = Self::NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name));
        match place {
            Some(0) => self.publish_send = allow,
            Some(1) => self.publish_receive = allow,
            Some(2) => self.subscribe = allow,
            Some(3) => self.unsubscribe = allow,
            _ => return false,
        }
        true
    }
}

/// A client that can log in.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// The only client id that it may come with.
    pub(super) client_id: Option<String>,
    pub(super) text: Texts,
    pub(super) disabled: bool,
    pub(super) password: Password,
    pub(super) roles: Ranked,
    pub(super) groups: Ranked,
    pub(super) extra: Object,
}

/// The password of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Password {
    /// There is none, and the client cannot log in.
    #[default]
    None,
    Hash(Verifier),
    /// What is in the file cannot be used; it stays there as it is.
    Unusable(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) text: Texts,
    pub(super) roles: Ranked,
    /// The clients in it, each with the priority that the group has among those of the client.
    pub(super) clients: BTreeMap<String, i32>,
    pub(super) extra: Object,
}

#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) text: Texts,
    /// Whether a topic filter with wildcards may be subscribed to at all.
    pub(super) allow_wildcard_subs: bool,
    acls: [Vec<Acl>; AclKind::ALL.len()],
    /// Rules of types that this version does not know.
    pub(super) unknown_acls: Vec<Value>,
    pub(super) extra: Object,
    compiled: OnceLock<Arc<CompiledRole>>,
}

/// What a rule of a role is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclKind {
    /// `publishClientSend`: the client publishes.
    PublishSend,
    /// `publishClientReceive`: a message is delivered to the client.
    PublishReceive,
    /// `subscribeLiteral`: exactly this topic filter is subscribed to.
    SubscribeLiteral,
    /// `subscribePattern`: a topic filter that asks for nothing beyond this one is subscribed to.
    SubscribePattern,
    /// `unsubscribeLiteral`: exactly this topic filter is unsubscribed from.
    UnsubscribeLiteral,
    /// `unsubscribePattern`: a topic filter that this one covers is unsubscribed from.
    UnsubscribePattern,
}

impl AclKind {
    /// All six, in the order in which files and answers have them.
    pub const ALL: [Self; 6] = [
        Self::PublishSend,
        Self::PublishReceive,
        Self::SubscribeLiteral,
        Self::SubscribePattern,
        Self::UnsubscribeLiteral,
        Self::UnsubscribePattern,
    ];

    /// The name in files and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PublishSend => "publishClientSend",
            Self::PublishReceive => "publishClientReceive",
            Self::SubscribeLiteral => "subscribeLiteral",
            Self::SubscribePattern => "subscribePattern",
            Self::UnsubscribeLiteral => "unsubscribeLiteral",
            Self::UnsubscribePattern => "unsubscribePattern",
        }
    }

    /// The type of that name, whatever the case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// One rule of a role.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Acl {
    pub(super) topic: String,
    pub(super) priority: i32,
    pub(super) allow: bool,
    pub(super) extra: Option<Box<Object>>,
}

impl Role {
    pub(super) fn new() -> Self {
        Self {
            text: Texts::default(),
            allow_wildcard_subs: true,
            acls: Default::default(),
            unknown_acls: Vec::new(),
            extra: Object::new(),
            compiled: OnceLock::new(),
        }
    }

    /// The rules of one type, highest priority first.
    pub(super) fn acls(&self, kind: AclKind) -> &[Acl] {
        // The array has a place for each type.
        self.acls.get(kind as usize).map_or(&[], Vec::as_slice)
    }

    /// Adds a rule behind those of its priority; `false` when there is one for this topic already.
    pub(super) fn add_acl(&mut self, kind: AclKind, acl: Acl) -> bool {
        self.compiled = OnceLock::new();
        let Some(acls) = self.acls.get_mut(kind as usize) else {
            return false;
        };
        if acls.iter().any(|other| other.topic == acl.topic) {
            return false;
        }
        let place = acls.partition_point(|other| other.priority >= acl.priority);
        acls.insert(place, acl);
        true
    }

    /// Takes away the rule for a topic; whether there was one.
    pub(super) fn remove_acl(&mut self, kind: AclKind, topic: &str) -> bool {
        self.compiled = OnceLock::new();
        let Some(acls) = self.acls.get_mut(kind as usize) else {
            return false;
        };
        let before = acls.len();
        acls.retain(|acl| acl.topic != topic);
        acls.len() < before
    }

    /// Puts all rules of all types into one's place.
    pub(super) fn set_acls(&mut self, acls: AclLists) {
        self.compiled = OnceLock::new();
        self.acls = acls.sorted();
    }

    pub(super) fn set_allow_wildcard_subs(&mut self, allow: bool) {
        self.compiled = OnceLock::new();
        self.allow_wildcard_subs = allow;
    }

    pub(super) fn acl_count(&self) -> usize {
        self.acls.iter().map(Vec::len).sum()
    }

    /// The rules in the form that decides; made once for each state of the role.
    pub(super) fn compiled(&self, name: &str) -> Arc<CompiledRole> {
        Arc::clone(
            self.compiled
                .get_or_init(|| Arc::new(CompiledRole::new(name, self))),
        )
    }
}

/// Rules that are gathered before they become those of a role.
#[derive(Debug, Default)]
pub(super) struct AclLists {
    lists: [Vec<Acl>; AclKind::ALL.len()],
    seen: std::collections::BTreeSet<(usize, String)>,
}

impl AclLists {
    /// Adds a rule; `false` when there is one for this topic already, which then stays.
    pub(super) fn add(&mut self, kind: AclKind, acl: Acl) -> bool {
        let place = kind as usize;
        if !self.seen.insert((place, acl.topic.clone())) {
            return false;
        }
        if let Some(list) = self.lists.get_mut(place) {
            list.push(acl);
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    fn sorted(mut self) -> [Vec<Acl>; AclKind::ALL.len()] {
        for list in &mut self.lists {
            // Stable: rules of one priority stay in the order in which they came.
            list.sort_by_key(|acl| std::cmp::Reverse(acl.priority));
        }
        self.lists
    }
}

/// Names with priorities: highest first, then by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranked {
    entries: Vec<(String, i32)>,
}

impl Ranked {
    /// Adds a name; `false` when it is there already, with whatever priority.
    pub(super) fn add(&mut self, name: &str, priority: i32) -> bool {
        if self.contains(name) {
            return false;
        }
        let place = self.entries.partition_point(|(other, rank)| {
            (std::cmp::Reverse(*rank), other.as_str()) < (std::cmp::Reverse(priority), name)
        });
        self.entries.insert(place, (name.to_owned(), priority));
        true
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.iter().any(|(other, _)| other == name)
    }

    /// Takes a name away; whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(other, _)| other != name);
        self.entries.len() < before
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.entries
            .iter()
            .map(|(name, priority)| (name.as_str(), *priority))
    }
}

/// Why a client was not put into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinError {
    NoClient,
    NoGroup,
    AlreadyThere,
}

impl State {
    /// Whether there is a client of this user name.
    #[must_use]
    pub fn has_client(&self, user_name: &str) -> bool {
        self.clients.contains_key(user_name)
    }

    /// How many clients there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Puts a client into a group, with the priority that the group has for it.
    pub(super) fn join(
        &mut self,
        user_name: &str,
        group_name: &str,
        priority: i32,
    ) -> Result<(), JoinError> {
        let account = self.clients.get_mut(user_name).ok_or(JoinError::NoClient)?;
        let group = self.groups.get_mut(group_name).ok_or(JoinError::NoGroup)?;
        if group.clients.contains_key(user_name) {
            return Err(JoinError::AlreadyThere);
        }
        group.clients.insert(user_name.to_owned(), priority);
        account.groups.add(group_name, priority);
        Ok(())
    }

    /// Takes a client out of a group that it may be in.
    pub(super) fn leave(&mut self, user_name: &str, group_name: &str) -> Result<(), JoinError> {
        let account = self.clients.get_mut(user_name).ok_or(JoinError::NoClient)?;
        let group = self.groups.get_mut(group_name).ok_or(JoinError::NoGroup)?;
        group.clients.remove(user_name);
        account.groups.remove(group_name);
        Ok(())
    }

    /// Takes a client out of all its groups.
    pub(super) fn leave_all(&mut self, user_name: &str) {
        let Some(account) = self.clients.get_mut(user_name) else {
            return;
        };
        let groups = std::mem::take(&mut account.groups);
        for (name, _) in groups.iter() {
            if let Some(group) = self.groups.get_mut(name) {
                group.clients.remove(user_name);
            }
        }
    }

    /// Takes all clients out of a group.
    pub(super) fn empty_group(&mut self, group_name: &str) {
        let Some(group) = self.groups.get_mut(group_name) else {
            return;
        };
        let clients = std::mem::take(&mut group.clients);
        for user_name in clients.keys() {
            if let Some(account) = self.clients.get_mut(user_name) {
                account.groups.remove(group_name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
