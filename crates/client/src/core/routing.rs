//! Which streams a message is for.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use midge_codec::{SubscriptionOptions, topic};

/// Names a stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamKey(pub(super) usize);

/// What happens to messages of a stream that nobody reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Nothing more is read from the broker until there is room; its own limits apply then. While this
    /// client waits for an answer of the broker's, reading goes on, and further messages of QoS 0 are
    /// dropped, so that a loop that reads and publishes cannot block itself.
    #[default]
    Wait,
    /// Messages of QoS 0 that find the stream full are dropped.
    DropNewest,
    /// The oldest message gives way, whatever its QoS; it counts as acknowledged.
    DropOldest,
}

/// How a stream wants its messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamTerms {
    /// How many messages wait before the overflow policy applies.
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) manual: bool,
}

/// A filter that somebody has subscribed to.
pub(super) struct Entry {
    /// What topic names are compared with begins here, behind `$share/…/`.
    pub(super) skip: usize,
    pub(super) options: SubscriptionOptions,
    /// The subscription identifier of the last SUBSCRIBE.
    pub(super) identifier: u32,
    pub(super) streams: Vec<StreamKey>,
    /// Whether the broker has it, as far as is known.
    pub(super) granted: bool,
    pub(super) user_properties: Arc<Vec<(String, String)>>,
}

/// All filters, and the way of the last message.
#[derive(Default)]
pub(super) struct Routes {
    entries: HashMap<Arc<str>, Entry>,
    /// Those that are no plain topic names.
    wild: Vec<(Arc<str>, usize)>,
    /// Gets what nobody else gets.
    pub(super) fallback: Option<StreamKey>,
    last_identifier: u32,
    /// Messages often come on the topic of the one before.
    last_topic: Option<Arc<str>>,
    last_identifiers: Vec<u32>,
    last_route: Vec<StreamKey>,
    is_last_valid: bool,
}

impl Routes {
    /// The topic of the last message, if it is this one.
    pub(super) fn last_topic(&self, topic: &[u8]) -> Option<Arc<str>> {
        let last = self.last_topic.as_ref();
        last.filter(|last| last.as_bytes() == topic).map(Arc::clone)
    }

    /// A topic as it is shared by messages, and whether the last message had it.
    pub(super) fn intern(&mut self, topic: &str) -> (Arc<str>, bool) {
        match self.last_topic(topic.as_bytes()) {
            Some(last) => (last, true),
            None => {
                let topic: Arc<str> = topic.into();
                self.last_topic = Some(Arc::clone(&topic));
                self.is_last_valid = false;
                (topic, false)
            }
        }
    }

    /// The streams for a topic, which [`Self::intern`] was called for last. The list is given back.
    pub(super) fn find(&mut self, topic: &str, identifiers: &[u32]) -> Vec<StreamKey> {
        // Compared only where there are some: looking at no bytes at an address of nowhere is slow on
        // processors with masked loads.
        let is_same = identifiers.is_empty() && self.last_identifiers.is_empty()
            || self.last_identifiers == identifiers;
        if !self.is_last_valid || !is_same {
            self.look_up(topic, identifiers);
        }
        mem::take(&mut self.last_route)
    }

    pub(super) fn give_back(&mut self, route: Vec<StreamKey>) {
        self.last_route = route;
    }

    fn look_up(&mut self, name: &str, identifiers: &[u32]) {
        self.last_route.clear();
        self.collect(name, Some(identifiers));
        // Identifiers of an earlier run mean nothing here.
        if self.last_route.is_empty() {
            self.collect(name, None);
        }
        self.last_route.sort_unstable_by_key(|key| key.0);
        self.last_route.dedup();
        self.last_identifiers.clear();
        self.last_identifiers.extend_from_slice(identifiers);
        self.is_last_valid = true;
    }

    fn collect(&mut self, name: &str, identifiers: Option<&[u32]>) {
        let wanted = |entry: &Entry| match identifiers {
            None | Some([]) => true,
            Some(identifiers) => identifiers.contains(&entry.identifier),
        };
        if let Some(entry) = self.entries.get(name)
            && entry.skip == 0
            && wanted(entry)
        {
            self.last_route.extend_from_slice(&entry.streams);
        }
        for (filter, skip) in &self.wild {
            let pattern = filter.get(*skip..).unwrap_or_default();
            if topic::matches(pattern, name)
                && let Some(entry) = self.entries.get(filter)
                && wanted(entry)
            {
                self.last_route.extend_from_slice(&entry.streams);
            }
        }
    }

    pub(super) const fn next_identifier(&mut self) -> u32 {
        // At most 268,435,455.
        self.last_identifier = self.last_identifier % 0x0FFF_FFFF + 1;
        self.last_identifier
    }

    /// Adds a stream to a filter, whose options become what is given.
    pub(super) fn add(
        &mut self,
        filter: &Arc<str>,
        options: SubscriptionOptions,
        identifier: u32,
        user_properties: &Arc<Vec<(String, String)>>,
        stream: StreamKey,
    ) {
        self.is_last_valid = false;
        if let Some(entry) = self.entries.get_mut(filter) {
            // The broker knows one subscription for each filter: it has to serve all of its streams.
            let qos = options.qos.max(entry.options.qos);
            entry.options = SubscriptionOptions { qos, ..options };
            entry.identifier = identifier;
            entry.user_properties = Arc::clone(user_properties);
            if !entry.streams.contains(&stream) {
                entry.streams.push(stream);
            }
            return;
        }
        let skip = match filter
            .strip_prefix("$share/")
            .and_then(|rest| rest.find('/'))
        {
            Some(slash) => "$share/".len() + slash + 1,
            None => 0,
        };
        if skip > 0 || topic::has_wildcard(filter) {
            self.wild.push((Arc::clone(filter), skip));
        }
        let entry = Entry {
            skip,
            options,
            identifier,
            streams: vec![stream],
            granted: false,
            user_properties: Arc::clone(user_properties),
        };
        self.entries.insert(Arc::clone(filter), entry);
    }

    /// One SUBSCRIBE asks for these filters, and it has one identifier.
    pub(super) fn identify(&mut self, filters: &[Arc<str>], identifier: u32) {
        self.is_last_valid = false;
        for filter in filters {
            if let Some(entry) = self.entries.get_mut(filter) {
                entry.identifier = identifier;
            }
        }
    }

    /// Takes a stream off its filters; gives those that nobody wants any more.
    pub(super) fn remove(&mut self, stream: StreamKey, filters: &[Arc<str>]) -> Vec<Arc<str>> {
        self.is_last_valid = false;
        let mut unwanted = Vec::new();
        for filter in filters {
            let Some(entry) = self.entries.get_mut(filter) else {
                continue;
            };
            entry.streams.retain(|known| *known != stream);
            if entry.streams.is_empty() {
                self.entries.remove(filter);
                self.wild.retain(|(known, _)| known != filter);
                unwanted.push(Arc::clone(filter));
            }
        }
        unwanted
    }

    pub(super) fn get(&self, filter: &str) -> Option<&Entry> {
        self.entries.get(filter)
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut Entry> {
        self.entries.get_mut(filter)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Entry)> {
        self.entries.iter_mut()
    }
}
