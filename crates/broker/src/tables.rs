//! The two tables that all shards share, and how a shard reads and changes them.

use std::sync::Arc;

use crate::message::Message;
use crate::retained::Retained;
use crate::route::{Presence, RoutingTable, SessionRef, Target};

/// The retained messages by topic.
pub type RetainedMessages = Retained<Arc<Message>>;

/// What becomes of a topic's retained message.
#[derive(Debug)]
pub enum RetainedChange {
    /// It is this one now.
    Store(Arc<Message>),
    /// There is none any more.
    Remove,
    /// There is none any more, if it is still this one, which has expired.
    Expire(Arc<Message>),
}

/// A change of a retained message that has been applied.
#[derive(Debug)]
pub struct RetainedApplied<'a> {
    /// Counts such changes, in the order in which they were applied.
    pub version: u64,
    /// The topic.
    pub topic: &'a str,
    /// What is stored for the topic now.
    pub stored: Option<&'a Arc<Message>>,
    /// What was stored before.
    pub replaced: Option<Arc<Message>>,
}

/// Changes of retained messages by topic.
pub type RetainedChanges = Vec<(Box<str>, RetainedChange)>;

/// A change of the shared tables. Shards gather changes and apply them together.
#[derive(Debug)]
pub enum Change {
    /// A subscription is added or replaced.
    Subscribe {
        /// The filter, mount point included.
        filter: Box<str>,
        /// Who subscribes, and how.
        target: Target,
    },
    /// A subscription goes.
    Unsubscribe {
        /// The filter, mount point included.
        filter: Box<str>,
        /// Whose.
        session: SessionRef,
    },
    /// A member joins a shared group, or changes its options.
    Join {
        /// The share name.
        group: Box<str>,
        /// The filter, mount point included.
        filter: Box<str>,
        /// Who joins, and how.
        target: Target,
        /// How others see whether it has room.
        presence: Arc<Presence>,
    },
    /// A member leaves a shared group.
    Leave {
        /// The share name.
        group: Box<str>,
        /// The filter, mount point included.
        filter: Box<str>,
        /// Who leaves.
        session: SessionRef,
    },
}

impl Change {
    fn apply(self, routing: &mut RoutingTable) {
        match self {
            Self::Subscribe { filter, target } => {
                routing.subscribe(&filter, target);
            }
            Self::Unsubscribe { filter, session } => {
                routing.unsubscribe(&filter, session);
            }
            Self::Join {
                group,
                filter,
                target,
                presence,
            } => {
                routing.subscribe_shared(&group, &filter, target, presence);
            }
            Self::Leave {
                group,
                filter,
                session,
            } => {
                routing.unsubscribe_shared(&group, &filter, session);
            }
        }
    }
}

/// A shard's way to the shared tables.
///
/// A worker holds the routing table for reading for a whole turn, so that its lock is paid once per turn
/// and not per message. The retained store's lock is always the inner one, and held briefly.
///
/// A retained message is stored before the routing lock that it was matched under is given up. So a
/// subscription that enters the table later finds it in the store: nobody gets neither of the two.
pub trait Tables {
    /// The routing table, for reading.
    fn routing(&self) -> &RoutingTable;

    /// Applies `changes` and leaves the vector empty.
    fn change(&mut self, changes: &mut Vec<Change>);

    /// Reads the retained messages; `read` must be brief.
    fn read_retained(&self, read: &mut dyn FnMut(&RetainedMessages));

    /// Applies changes of retained messages, tells `applied` of each, and leaves the vector empty.
    fn retain(&self, changes: &mut RetainedChanges, applied: &mut dyn FnMut(RetainedApplied<'_>));
}

/// The tables themselves.
pub struct SharedTables {
    /// All subscriptions.
    pub routing: RoutingTable,
    /// All retained messages.
    pub retained: RetainedMessages,
}

impl SharedTables {
    /// Empty tables.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            routing: RoutingTable::new(seed),
            retained: Retained::weighing(|message: &Arc<Message>| message.size()),
        }
    }
}

/// Applies changes of subscriptions: what every implementation of [`Tables::change`] does under its
/// lock.
pub fn apply_changes(routing: &mut RoutingTable, changes: &mut Vec<Change>) {
    for change in changes.drain(..) {
        change.apply(routing);
    }
    if changes.capacity() > 1024 {
        *changes = Vec::new();
    }
}

/// Applies changes of retained messages: what every implementation of [`Tables::retain`] does under its
/// lock.
pub fn apply_retained(
    retained: &mut RetainedMessages,
    changes: &mut RetainedChanges,
    applied: &mut dyn FnMut(RetainedApplied<'_>),
) {
    for (topic, change) in changes.drain(..) {
        let (stored, replaced) = match change {
            RetainedChange::Store(message) => {
                let replaced = retained.set(&topic, Arc::clone(&message));
                (Some(message), replaced)
            }
            RetainedChange::Remove => (None, retained.remove(&topic)),
            RetainedChange::Expire(message) => {
                let is_it = |stored: &Arc<Message>| Arc::ptr_eq(stored, &message);
                if !retained.get(&topic).is_some_and(is_it) {
                    continue;
                }
                (None, retained.remove(&topic))
            }
        };
        applied(RetainedApplied {
            version: retained.next_version(),
            topic: &topic,
            stored: stored.as_ref(),
            replaced,
        });
    }
}

/// Tables for one thread, without locks: for tests, the simulator and single-core embedding.
pub struct LocalTables<'a> {
    routing: &'a mut RoutingTable,
    retained: std::cell::RefCell<&'a mut RetainedMessages>,
}

impl<'a> LocalTables<'a> {
    /// Borrows `tables` for a turn.
    pub fn new(tables: &'a mut SharedTables) -> Self {
        Self {
            routing: &mut tables.routing,
            retained: std::cell::RefCell::new(&mut tables.retained),
        }
    }
}

impl Tables for LocalTables<'_> {
    fn routing(&self) -> &RoutingTable {
        self.routing
    }

    fn change(&mut self, changes: &mut Vec<Change>) {
        apply_changes(self.routing, changes);
    }

    fn read_retained(&self, read: &mut dyn FnMut(&RetainedMessages)) {
        read(&self.retained.borrow());
    }

    fn retain(&self, changes: &mut RetainedChanges, applied: &mut dyn FnMut(RetainedApplied<'_>)) {
        apply_retained(&mut self.retained.borrow_mut(), changes, applied);
    }
}
