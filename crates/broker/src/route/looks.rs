//! Topics with the texts of filters that would match them: what to look for in tables.
//!
//! That is found out once for each topic, mostly ahead of its message, for several topics at once.

use std::ops::Range;

use super::hashing::Hashing;

/// Topics, and what to look for.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Of the routing table; zero is none's.
    version: u64,
    topics: Vec<Topic>,
    /// The first that nobody has asked for.
    next: usize,
    looks: Vec<Look>,
    /// Topics and filters, one after the other.
    text: Vec<u8>,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    name: Range<usize>,
    /// [`Hashing::text`] of it.
    pub(super) hash: u64,
    /// What to look for: filters of subscriptions, and filters of shared ones.
    pub(super) plain: Range<usize>,
    pub(super) shared: Range<usize>,
}

/// One filter in one table.
#[derive(Debug)]
pub(super) struct Look {
    /// The number of the table for its shape.
    pub(super) table: usize,
    pub(super) hash: u64,
    text: Range<usize>,
}

/// What to look for, for one topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks<'a> {
    looks: &'a [Look],
    text: &'a [u8],
}

impl Prepared {
    /// Forgets all topics; those that are added from now on are for this version of the table.
    pub(super) fn begin(&mut self, version: u64) {
        self.version = version;
        self.next = 0;
        self.topics.clear();
        self.looks.clear();
        self.text.clear();
    }

    /// Adds a topic. `plain` and `shared` write what to look for.
    pub(super) fn add(
        &mut self,
        name: &str,
        hashing: &Hashing,
        plain: impl FnOnce(&mut Writer<'_>),
        shared: impl FnOnce(&mut Writer<'_>),
    ) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        let name_range = start..self.text.len();
        let first = self.looks.len();
        let mut writer = Writer {
            looks: &mut self.looks,
            text: &mut self.text,
            hashing,
        };
        plain(&mut writer);
        let middle = writer.looks.len();
        shared(&mut writer);
        let end = writer.looks.len();
        self.topics.push(Topic {
            name: name_range,
            hash: hashing.text(name),
            plain: first..middle,
            shared: middle..end,
        });
    }

    /// The hash of this topic and what to look for, plain and shared, if it was added for this version and
    /// neither it nor one after it was asked for since.
    #[inline]
    pub(super) fn take(&mut self, name: &str, version: u64) -> Option<(u64, Looks<'_>, Looks<'_>)> {
        if self.next >= self.topics.len() || self.version != version {
            return None;
        }
        self.find(name)
    }

    fn find(&mut self, name: &str) -> Option<(u64, Looks<'_>, Looks<'_>)> {
        let waiting = self.topics.get(self.next..)?;
        let is_it = |topic: &Topic| self.text.get(topic.name.clone()) == Some(name.as_bytes());
        let at = self.next + waiting.iter().position(is_it)?;
        self.next = at + 1;
        let topic = self.topics.get(at)?;
        Some((
            topic.hash,
            self.looks(&topic.plain),
            self.looks(&topic.shared),
        ))
    }

    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    pub(super) fn looks(&self, range: &Range<usize>) -> Looks<'_> {
        Looks {
            looks: self.looks.get(range.clone()).unwrap_or_default(),
            text: &self.text,
        }
    }
}

/// Takes down what to look for.
pub(super) struct Writer<'a> {
    looks: &'a mut Vec<Look>,
    text: &'a mut Vec<u8>,
    hashing: &'a Hashing,
}

impl Writer<'_> {
    /// Adds the filter that `write` appends.
    pub(super) fn add(&mut self, table: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(self.text);
        let text = self.text.get(start..).unwrap_or_default();
        self.looks.push(Look {
            table,
            hash: self.hashing.bytes(text),
            text: start..self.text.len(),
        });
    }
}

impl<'a> Looks<'a> {
    /// All, each with the filter's text.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a Look, &'a [u8])> {
        self.looks
            .iter()
            .map(move |look| (look, self.text.get(look.text.clone()).unwrap_or_default()))
    }
}
