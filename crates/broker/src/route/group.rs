//! Shared subscriptions: who of a group gets the next message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use smallvec::SmallVec;

use super::hashing::Hashing;
use super::index::{Index, Leaf, Scratch};
use super::looks::Looks;
use super::slab::Slab;
use super::split::{Split, shrink_vec};
use super::subscribers::{Put, TargetList};
use super::{SessionRef, Target};

/// What other cores may know of a session without asking its home.
///
/// Written by the session's home alone. It is a hint: a session can leave between the look and
/// the delivery, and its home then gives the message back to the group.
#[derive(Debug, Default)]
pub struct Presence(AtomicU8);

/// Whether a session can take a message of a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceState {
    /// It has no connection.
    Away,
    /// It is connected, but its window or its outbox is full.
    Busy,
    /// It is connected and has room.
    Ready,
}

impl Presence {
    /// Begins as [`PresenceState::Away`].
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU8::new(AWAY))
    }

    /// Tells the other cores how the session is.
    pub fn set(&self, state: PresenceState) {
        let value = match state {
            PresenceState::Away => AWAY,
            PresenceState::Busy => BUSY,
            PresenceState::Ready => READY,
        };
        // Sequentially consistent with the group's backlog: a home that queues a message and then finds
        // nobody ready, and a member that becomes ready and then finds no backlog, cannot both happen.
        self.0.store(value, Ordering::SeqCst);
    }

    /// How the session was a moment ago.
    #[must_use]
    pub fn state(&self) -> PresenceState {
        match self.0.load(Ordering::SeqCst) {
            READY => PresenceState::Ready,
            BUSY => PresenceState::Busy,
            _ => PresenceState::Away,
        }
    }
}

/// Which shared group: a slot and a generation that no later group of the slot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    slot: u32,
    generation: u32,
    name_hash: u64,
}

impl GroupId {
    /// The group's name in records, also when the group is gone: see [`crate::persist::group_name_hash`].
    #[must_use]
    pub const fn name_hash(self) -> u64 {
        self.name_hash
    }
}

/// A shared group that matches a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMatch {
    /// The group.
    pub group: GroupId,
    /// The shard that queues for the group.
    pub home: u16,
    /// Who gets the message, or nobody: then it is queued at the group's home.
    pub member: Option<Target>,
}

/// The members of one shared subscription, `$share/{name}/{filter}`; there is always at least one.
#[derive(Debug)]
pub struct Group {
    name: Box<str>,
    filter: Box<str>,
    members: TargetList,
    /// How each member is, in the members' order.
    presences: Vec<Arc<Presence>>,
    /// The member whose turn it is, counted on for ever.
    cursor: AtomicU32,
    /// How many more messages the last chosen member gets before the search goes on.
    lingers: AtomicU32,
    backlog: AtomicU32,
    generation: u32,
    /// Where this group stands among those of its filter.
    place: u32,
    home: u16,
    /// It has had a member whose session outlives its connections, so what it holds is kept.
    is_persistent: bool,
    name_hash: u64,
}

impl Group {
    /// The share name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The filter after the share name.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The shard that queues for the group: that of the session which made it.
    #[must_use]
    pub fn home(&self) -> u16 {
        self.home
    }

    const fn id(&self, slot: u32) -> GroupId {
        GroupId {
            slot,
            generation: self.generation,
            name_hash: self.name_hash,
        }
    }

    /// Whether what the group holds is kept across the broker's end: it has had a member whose session
    /// outlives its connections.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.is_persistent
    }

    /// The group's name in records: see [`crate::persist::group_name_hash`].
    #[must_use]
    pub fn name_hash(&self) -> u64 {
        self.name_hash
    }

    /// The members, in no particular order.
    #[must_use]
    pub fn members(&self) -> &[Target] {
        self.members.as_slice()
    }

    /// Counts the messages that the group's home holds queued for it, or that are on their way
    /// there.
    ///
    /// While it is not zero the router chooses no member, so that the queue drains first and the
    /// order stays. For that the publisher's core adds one for a message that it sends to the
    /// home, before it routes the next one; the home takes one off for each that has left it
    /// ([`RoutingTable::count_waiting`](super::RoutingTable::count_waiting) and its counterpart).
    #[must_use]
    pub fn backlog(&self) -> u32 {
        self.backlog.load(Ordering::SeqCst)
    }

    /// Takes the next member that is ready, in rotation, whatever the backlog: for the group's
    /// home, which drains it.
    ///
    /// Members that are not ready are passed over. Where most are ready, that is a look or two.
    /// A search that had to pass many gives whom it found one more message for every 16 passed,
    /// so that the cost per message stays the same however many are away; the rotation is exact
    /// while gaps are shorter than that. Only when nobody is ready are all members looked at.
    #[must_use]
    pub fn next_ready(&self) -> Option<Target> {
        let count = self.presences.len();
        if let Some(target) = self.linger(count) {
            return Some(target);
        }
        let start = self.cursor.fetch_add(1, Ordering::Relaxed) as usize;
        for passed in 0..count {
            let place = start.wrapping_add(passed) % count;
            if let Some(target) = self.ready_at(place) {
                if passed > 0 {
                    self.cursor.fetch_add(passed as u32, Ordering::Relaxed);
                }
                if passed >= GAP_PER_MESSAGE {
                    let more = (passed / GAP_PER_MESSAGE) as u32;
                    self.lingers.store(more, Ordering::Relaxed);
                }
                return Some(target);
            }
        }
        None
    }

    /// The member that was chosen last, while it is to be chosen again. Cores that do this at the
    /// same time may count one choice between them, which harms nobody.
    fn linger(&self, count: usize) -> Option<Target> {
        let lingers = self.lingers.load(Ordering::Relaxed);
        if lingers == 0 {
            return None;
        }
        let last = self.cursor.load(Ordering::Relaxed).wrapping_sub(1) as usize;
        let target = self.ready_at(last.checked_rem(count)?);
        let left = if target.is_some() { lingers - 1 } else { 0 };
        self.lingers.store(left, Ordering::Relaxed);
        target
    }

    fn ready_at(&self, place: usize) -> Option<Target> {
        match self.presences.get(place)?.state() {
            PresenceState::Ready => self.members().get(place).copied(),
            PresenceState::Away | PresenceState::Busy => None,
        }
    }

    /// Adds a member or replaces its target, and tells whether it is new.
    fn put(&mut self, target: Target, presence: Arc<Presence>, hashing: &Hashing) -> bool {
        self.is_persistent |= target.options.is_persistent();
        match self.members.put(target, hashing) {
            Put::Added => {
                self.presences.push(presence);
                true
            }
            Put::Replaced(place) => {
                self.presences[place] = presence;
                false
            }
        }
    }

    fn remove(&mut self, session: SessionRef, hashing: &Hashing) -> bool {
        let Some(place) = self.members.remove(session, hashing) else {
            return false;
        };
        self.presences.swap_remove(place);
        shrink_vec(&mut self.presences);
        true
    }
}

/// All shared groups.
pub(super) struct Groups {
    slab: Slab<Group>,
    by_name: Split<u32>,
    by_filter: Index<Slots>,
    next_generation: u32,
    members_count: usize,
    /// The backlogs of all groups together.
    waiting: AtomicU64,
}

/// The groups of one filter, each of which knows its place here.
#[derive(Default)]
pub(super) struct Slots(SmallVec<[u32; 4]>);

impl Leaf for Slots {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            by_name: Split::new(),
            by_filter: Index::new(),
            next_generation: 0,
            members_count: 0,
            waiting: AtomicU64::new(0),
        }
    }

    /// Sequentially consistent as the backlogs are, and for the same reason.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn count_waiting(&self, id: GroupId, count: u32) {
        if let Some(group) = self.get(id) {
            self.waiting.fetch_add(u64::from(count), Ordering::SeqCst);
            group.backlog.fetch_add(count, Ordering::SeqCst);
        }
    }

    pub(super) fn uncount_waiting(&self, id: GroupId, count: u32) {
        if let Some(group) = self.get(id) {
            group.backlog.fetch_sub(count, Ordering::SeqCst);
            self.waiting.fetch_sub(u64::from(count), Ordering::SeqCst);
        }
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.slab
            .get(id.slot)
            .filter(|group| group.generation == id.generation)
    }

    pub(super) fn find(&self, name: &str, filter: &str, hashing: &Hashing) -> Option<GroupId> {
        let is_it = |&slot: &u32| is_named(&self.slab, slot, name, filter);
        let slot = *self.by_name.find(hashing.group(name, filter), is_it)?;
        Some(self.slab.get(slot)?.id(slot))
    }

    pub(super) fn members_count(&self) -> usize {
        self.members_count
    }

    /// Adds or replaces a member of the group, which is made if it is missing.
    pub(super) fn subscribe(
        &mut self,
        name: &str,
        filter: &str,
        target: Target,
        presence: Arc<Presence>,
        hashing: &Hashing,
    ) -> bool {
        let slot = match self.find(name, filter, hashing) {
            Some(id) => id.slot,
            None => self.make(name, filter, target.session.shard, hashing),
        };
        let group = self.slab.get_mut(slot);
        let is_new = group.is_some_and(|group| group.put(target, presence, hashing));
        self.members_count += usize::from(is_new);
        is_new
    }

    pub(super) fn unsubscribe(
        &mut self,
        name: &str,
        filter: &str,
        session: SessionRef,
        hashing: &Hashing,
    ) -> bool {
        let Some(id) = self.find(name, filter, hashing) else {
            return false;
        };
        let Some(group) = self.slab.get_mut(id.slot) else {
            return false;
        };
        if !group.remove(session, hashing) {
            return false;
        }
        self.members_count -= 1;
        if group.members().is_empty() {
            self.forget(id.slot, hashing);
        }
        true
    }

    /// The filters of all groups.
    pub(super) const fn filters(&self) -> &Index<Slots> {
        &self.by_filter
    }

    /// Appends the groups whose filter matches `topic`, with the member that each chooses. `looks`, if
    /// there are tables for shapes anywhere.
    pub(super) fn route(
        &self,
        topic: &str,
        topic_hash: u64,
        looks: Option<Looks<'_>>,
        hashing: &Hashing,
        scratch: &mut Scratch,
        matches: &mut Vec<GroupMatch>,
    ) {
        if self.members_count == 0 {
            return;
        }
        let mut each = |slots: &Slots| {
            matches.extend(slots.0.iter().filter_map(|&slot| self.choose(slot)));
        };
        let index = &self.by_filter;
        match looks {
            None => index.visit(topic, topic_hash, hashing, scratch, &mut each),
            Some(looks) => {
                index.visit_looks(topic, topic_hash, looks, hashing, scratch, &mut each);
            }
        }
    }

    /// Lets a group choose.
    pub(super) fn choose_of(&self, id: GroupId) -> Option<GroupMatch> {
        self.get(id)?;
        self.choose(id.slot)
    }

    /// Lets the group at `slot` choose, which a group with a backlog does not.
    fn choose(&self, slot: u32) -> Option<GroupMatch> {
        let group = self.slab.get(slot)?;
        let has_backlog = group.backlog.load(Ordering::Acquire) > 0;
        Some(GroupMatch {
            group: group.id(slot),
            home: group.home,
            member: if has_backlog {
                None
            } else {
                group.next_ready()
            },
        })
    }

    /// Makes an empty group and returns its slot.
    fn make(&mut self, name: &str, filter: &str, home: u16, hashing: &Hashing) -> u32 {
        self.next_generation = self.next_generation.wrapping_add(1);
        let slot = self.slab.insert(Group {
            name: name.into(),
            filter: filter.into(),
            members: TargetList::default(),
            presences: Vec::new(),
            cursor: AtomicU32::new(0),
            lingers: AtomicU32::new(0),
            backlog: AtomicU32::new(0),
            generation: self.next_generation,
            place: 0,
            home,
            is_persistent: false,
            name_hash: crate::persist::group_name_hash(name, filter),
        });
        let place = self.by_filter.add(filter, hashing, |slots| {
            slots.0.push(slot);
            slots.0.len() - 1
        });
        if let Some(group) = self.slab.get_mut(slot) {
            group.place = place as u32;
        }
        let slab = &self.slab;
        let hash = hashing.group(name, filter);
        self.by_name
            .insert(hash, slot, |&slot| name_hash(slab, slot, hashing));
        slot
    }

    /// Takes out the group at `slot`, and lets the last group of its filter take its place there.
    fn forget(&mut self, slot: u32, hashing: &Hashing) {
        let slab = &self.slab;
        let hash = name_hash(slab, slot, hashing);
        self.by_name
            .remove(hash, |&at| at == slot, |&at| name_hash(slab, at, hashing));
        let Some(mut group) = self.slab.remove(slot) else {
            return;
        };
        // Nobody gets it any more.
        let waiting = self.waiting.get_mut();
        *waiting = waiting.saturating_sub(u64::from(*group.backlog.get_mut()));
        let place = group.place as usize;
        let moved = self.by_filter.edit(&group.filter, hashing, |slots| {
            slots.0.swap_remove(place);
            if slots.0.len() < slots.0.capacity() / 4 {
                slots.0.shrink_to_fit();
            }
            slots.0.get(place).copied()
        });
        if let Some(Some(moved)) = moved
            && let Some(other) = self.slab.get_mut(moved)
        {
            other.place = group.place;
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty() && self.by_name.is_empty() && self.by_filter.is_empty()
    }

    /// Bytes on the heap, without what the groups own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        let tables = self.by_name.allocated_bytes() + self.by_filter.allocated_bytes();
        tables + self.slab.allocated_bytes()
    }
}

fn is_named(slab: &Slab<Group>, slot: u32, name: &str, filter: &str) -> bool {
    slab.get(slot)
        .is_some_and(|group| *group.name == *name && *group.filter == *filter)
}

fn name_hash(slab: &Slab<Group>, slot: u32, hashing: &Hashing) -> u64 {
    slab.get(slot)
        .map_or(0, |group| hashing.group(&group.name, &group.filter))
}

/// How many members may be passed over before whom the search found gets a message more.
const GAP_PER_MESSAGE: usize = 16;

const AWAY: u8 = 0;
const BUSY: u8 = 1;
const READY: u8 = 2;
