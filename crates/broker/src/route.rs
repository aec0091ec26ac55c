//! The routing table: which sessions a topic reaches.
//!
//! All cores share it under one lock. Its cost per publish follows the topic's depth and the
//! number of matches, never the number of subscriptions; its choice of a shared group's member
//! uses atomics, since it happens under the read lock.

mod filter_table;
mod group;
mod hashing;
mod index;
mod looks;
mod shapes;
mod slab;
mod split;
mod subscribers;
mod target;

use std::hint::black_box;
use std::sync::Arc;

pub use group::{Group, GroupId, GroupMatch, Presence, PresenceState};
pub use target::{SessionRef, SubscriptionOptions, Target};

use group::Groups;
use hashing::Hashing;
use index::{Index, Scratch};
use looks::Prepared;
use shapes::LevelEnds;
use subscribers::Subscribers;

/// All subscriptions of all sessions.
///
/// Topics and filters are taken as valid; a filter is compared as it is, byte by byte, without
/// normalisation [MQTT5-4.7.3-4] [MQTT5-3.10.4-1]. Tables give memory back as subscriptions go.
pub struct RoutingTable {
    hashing: Hashing,
    subscriptions: Index<Subscribers>,
    subscriptions_count: usize,
    groups: Groups,
    /// Counts changes; begins with one.
    version: u64,
}

/// How many subscriptions a routing table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Subscriptions that are not shared.
    pub subscriptions: usize,
    /// Memberships of shared groups.
    pub shared_subscriptions: usize,
}

/// What [`RoutingTable::route`] found; kept and cleared between messages, so that routing
/// allocates nothing in the long run.
#[derive(Debug, Default)]
pub struct Matches {
    /// A target per matching subscription, in the order in which an overlapping session gets its
    /// copies.
    pub targets: Vec<Target>,
    /// The matching shared groups.
    pub groups: Vec<GroupMatch>,
    /// Apart, since matches are taken out of their place and put back for each message.
    work: Option<Box<Work>>,
}

/// Memory that look-ups use again.
#[derive(Debug, Default)]
struct Work {
    scratch: Scratch,
    /// Topics that are about to be routed.
    ahead: Prepared,
    /// The topic that is routed, if it is none of those.
    alone: Prepared,
}

impl Matches {
    /// Nothing found yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was found and keeps the memory.
    pub fn clear(&mut self) {
        self.targets.clear();
        self.groups.clear();
    }
}

impl RoutingTable {
    /// Makes an empty table. The seed is to be random, so that no client can choose filters that
    /// slow the table down; it changes nothing else.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hashing: Hashing::new(seed),
            subscriptions: Index::new(),
            subscriptions_count: 0,
            groups: Groups::new(),
            version: 1,
        }
    }

    /// Adds a subscription, or replaces that of the same filter and session [MQTT5-3.8.4-3], and
    /// tells whether it is new.
    pub fn subscribe(&mut self, filter: &str, target: Target) -> bool {
        let hashing = &self.hashing;
        let is_new = self
            .subscriptions
            .add(filter, hashing, |list| list.put(target, hashing));
        self.subscriptions_count += usize::from(is_new);
        self.version += 1;
        is_new
    }

    /// Removes a subscription and tells whether there was one.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionRef) -> bool {
        let hashing = &self.hashing;
        let removed = self
            .subscriptions
            .edit(filter, hashing, |list| list.remove(session, hashing))
            .unwrap_or(false);
        self.subscriptions_count -= usize::from(removed);
        self.version += u64::from(removed);
        removed
    }

    /// Adds a member to the shared group of this name and filter, or replaces its options, and
    /// tells whether it is new. The group's home is the shard of its first member.
    pub fn subscribe_shared(
        &mut self,
        group: &str,
        filter: &str,
        target: Target,
        presence: Arc<Presence>,
    ) -> bool {
        self.version += 1;
        self.groups
            .subscribe(group, filter, target, presence, &self.hashing)
    }

    /// Removes a member from a shared group and tells whether it was one. The group goes with
    /// its last member; what its home holds queued for it is the home's to drop.
    pub fn unsubscribe_shared(&mut self, group: &str, filter: &str, session: SessionRef) -> bool {
        self.version += 1;
        self.groups
            .unsubscribe(group, filter, session, &self.hashing)
    }

    /// Appends to `matches` all that `topic` matches, a member chosen for each shared group.
    ///
    /// No Local is left to the caller, and does not apply to shared groups.
    pub fn route(&self, topic: &str, matches: &mut Matches) {
        if self.has_shapes() {
            self.route_with_shapes(topic, matches);
            return;
        }
        let Matches {
            targets,
            groups,
            work,
        } = matches;
        let scratch = &mut work.get_or_insert_default().scratch;
        let hashing = &self.hashing;
        let hash = hashing.text(topic);
        let mut each = |list: &Subscribers| targets.extend_from_slice(list.as_slice());
        self.subscriptions
            .visit(topic, hash, hashing, scratch, &mut each);
        self.groups
            .route(topic, hash, None, hashing, scratch, groups);
    }

    /// The same where there are very many filters with wildcards.
    fn route_with_shapes(&self, topic: &str, matches: &mut Matches) {
        let Matches {
            targets,
            groups,
            work,
        } = matches;
        let Work {
            scratch,
            ahead,
            alone,
        } = &mut **work.get_or_insert_default();
        let prepared = match ahead.take(topic, self.version) {
            Some(prepared) => Some(prepared),
            None => {
                alone.begin(self.version);
                self.take_down(topic, alone);
                alone.take(topic, self.version)
            }
        };
        let Some((hash, plain, shared)) = prepared else {
            return;
        };
        let hashing = &self.hashing;
        let mut each = |list: &Subscribers| targets.extend_from_slice(list.as_slice());
        self.subscriptions
            .visit_looks(topic, hash, plain, hashing, scratch, &mut each);
        self.groups
            .route(topic, hash, Some(shared), hashing, scratch, groups);
    }

    fn has_shapes(&self) -> bool {
        self.subscriptions.has_shapes() || self.groups.filters().has_shapes()
    }

    fn take_down(&self, topic: &str, prepared: &mut Prepared) {
        let ends = LevelEnds::of(topic);
        prepared.add(
            topic,
            &self.hashing,
            |writer| self.subscriptions.looks(topic, &ends, writer),
            |writer| self.groups.filters().looks(topic, &ends, writer),
        );
    }

    /// Whether it is so large that looking for a topic waits for memory.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.subscriptions_count + self.groups.members_count() > LARGE_FROM
    }

    /// Makes [`Self::route`] of these topics faster, if that happens soon and in their order.
    ///
    /// A look-up waits for one part of the memory after the other. Here all that those of several topics
    /// will read is read at once, and none waits for another. (What is read is given to `black_box`, so
    /// that the compiler leaves the reading in.)
    pub fn prepare(&self, topics: &[&str], matches: &mut Matches) {
        let shared = self.groups.filters();
        let mut read = 0;
        if !self.has_shapes() {
            for topic in topics {
                let hash = self.hashing.text(topic);
                read ^= self.subscriptions.touch_exact(hash) ^ shared.touch_exact(hash);
            }
            black_box(read);
            return;
        }
        let ahead = &mut matches.work.get_or_insert_default().ahead;
        ahead.begin(self.version);
        for topic in topics {
            self.take_down(topic, ahead);
        }
        for topic in ahead.topics() {
            read ^= self.subscriptions.touch_exact(topic.hash) ^ shared.touch_exact(topic.hash);
        }
        for topic in ahead.topics() {
            read ^= self.subscriptions.touch(ahead.looks(&topic.plain));
            read ^= shared.touch(ahead.looks(&topic.shared));
        }
        black_box(read);
    }

    /// Another number after every change: while it stays, a topic matches what it matched.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Lets a group that a topic is known to match choose a member, as [`Self::route`] does.
    #[must_use]
    pub fn choose(&self, group: GroupId) -> Option<GroupMatch> {
        self.groups.choose_of(group)
    }

    /// How many messages wait for members of any group: see [`Group::backlog`].
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.groups.waiting()
    }

    /// Counts messages that are on their way to a group's home.
    pub fn count_waiting(&self, group: GroupId, count: u32) {
        self.groups.count_waiting(group, count);
    }

    /// Counts messages that have left a group's home.
    pub fn uncount_waiting(&self, group: GroupId, count: u32) {
        self.groups.uncount_waiting(group, count);
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            subscriptions: self.subscriptions_count,
            shared_subscriptions: self.groups.members_count(),
        }
    }

    /// The group, unless it has gone.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// The group of this share name and filter, if it has members.
    #[must_use]
    pub fn find_group(&self, name: &str, filter: &str) -> Option<GroupId> {
        self.groups.find(name, filter, &self.hashing)
    }

    /// Bytes on the heap, without what subscriber lists and groups own.
    #[cfg(test)]
    fn allocated_bytes(&self) -> usize {
        self.subscriptions.allocated_bytes() + self.groups.allocated_bytes()
    }
}

/// Below so many subscriptions the table is in a processor's cache.
const LARGE_FROM: usize = 10_000;

#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod tests;
