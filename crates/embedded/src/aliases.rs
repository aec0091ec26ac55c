//! Topic aliases: numbers in the place of topics, for one connection (MQTT5 3.3.2.3.4).

use crate::outbox::move_down;

/// The bytes before each topic that the broker has given a number: the number, and the topic's length.
const HEAD: usize = 4;

/// Topics that are sent, and received, as numbers (5.0). A number of two bytes, which costs five with its
/// property, takes the place of the topic in each message after the first; what is not possible for want of
/// memory or because of the broker's limit goes by its topic.
///
/// Of messages of QoS 1 and 2 the session keeps the whole topic, so that they can be sent again on a later
/// connection, where the numbers mean nothing.
#[derive(Debug, Default)]
pub struct TopicAliases<'x> {
    outgoing: &'x [&'x str],
    /// How many numbers the broker takes.
    allowed: u16,
    /// A bit for each of `outgoing` that the broker knows, from the lowest.
    assigned: u32,
    incoming_max: u16,
    /// Topics that the broker has given numbers, each behind its head.
    incoming: &'x mut [u8],
    used: usize,
}

/// How a message names its topic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Topic,
    /// Both; the broker learns the number.
    Both(u16),
    Alias(u16),
}

impl Name {
    /// The topic as it is sent.
    pub(crate) const fn of(self, topic: &str) -> &str {
        match self {
            Self::Alias(_) => "",
            Self::Topic | Self::Both(_) => topic,
        }
    }
}

impl<'x> TopicAliases<'x> {
    /// None in either direction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends these topics as numbers: the first of them, as many as the broker takes, and 32 at most.
    #[must_use]
    pub const fn outgoing(mut self, topics: &'x [&'x str]) -> Self {
        self.outgoing = topics;
        self
    }

    /// Lets the broker use the numbers up to `maximum`. The memory holds the topics that they stand for, each
    /// with 4 bytes beside. Make it large enough for as many of the longest topics that are subscribed: a
    /// number whose topic found no room ends the connection when it is used.
    #[must_use]
    pub const fn incoming(mut self, maximum: u16, memory: &'x mut [u8]) -> Self {
        self.incoming_max = maximum;
        self.incoming = memory;
        self
    }

    /// Where the topic of an incoming number has its head, and how long it is.
    fn find(&self, alias: u16) -> Option<(usize, usize)> {
        let mut at = 0;
        while at < self.used {
            let head = self.incoming.get(at..)?;
            let [a, b, c, d, ..] = *head else {
                return None;
            };
            let length = usize::from(u16::from_be_bytes([c, d]));
            if u16::from_be_bytes([a, b]) == alias {
                return Some((at, length));
            }
            at += HEAD + length;
        }
        None
    }
}

/// Implemented by `()`, without code, and by [`TopicAliases`].
pub trait Aliases {
    const IS_USED: bool = true;

    /// How many numbers the broker may use.
    fn incoming_max(&self) -> u16;

    /// The broker takes numbers up to this.
    fn allow(&mut self, maximum: u16);

    /// How the next message is to name its topic.
    fn choose(&self, topic: &str) -> Name;

    /// A message with this number and its topic was queued.
    fn assigned(&mut self, alias: u16);

    /// The broker gives a topic a number, which is in range.
    fn learn(&mut self, alias: u16, topic: &str);

    /// The topic that the broker means.
    fn topic(&self, alias: u16) -> Option<&str>;
}

impl Aliases for () {
    const IS_USED: bool = false;

    fn incoming_max(&self) -> u16 {
        0
    }

    fn allow(&mut self, _maximum: u16) {}

    fn choose(&self, _topic: &str) -> Name {
        Name::Topic
    }

    fn assigned(&mut self, _alias: u16) {}

    fn learn(&mut self, _alias: u16, _topic: &str) {}

    fn topic(&self, _alias: u16) -> Option<&str> {
        None
    }
}

impl Aliases for TopicAliases<'_> {
    fn incoming_max(&self) -> u16 {
        self.incoming_max
    }

    fn allow(&mut self, maximum: u16) {
        // As many as there are bits.
        self.allowed = maximum.min(32);
    }

    fn choose(&self, topic: &str) -> Name {
        let mut aliases = (1..=self.allowed).zip(self.outgoing);
        match aliases.find(|(_, of)| **of == topic) {
            Some((alias, _)) if self.assigned >> (alias - 1) & 1 == 1 => Name::Alias(alias),
            Some((alias, _)) => Name::Both(alias),
            None => Name::Topic,
        }
    }

    fn assigned(&mut self, alias: u16) {
        self.assigned |= 1 << (alias - 1);
    }

    fn learn(&mut self, alias: u16, topic: &str) {
        if self.topic(alias) == Some(topic) {
            return;
        }
        if let Some((at, length)) = self.find(alias) {
            move_down(self.incoming, at + HEAD + length, self.used, at);
            self.used -= HEAD + length;
        }
        let space = self.incoming.get_mut(self.used..).unwrap_or_default();
        if let Some((head, space)) = space.split_first_chunk_mut::<HEAD>()
            && let Some(space) = space.get_mut(..topic.len())
            && let Ok(length) = u16::try_from(topic.len())
        {
            let ([a, b], [c, d]) = (alias.to_be_bytes(), length.to_be_bytes());
            *head = [a, b, c, d];
            space.copy_from_slice(topic.as_bytes());
            self.used += HEAD + topic.len();
        }
    }

    fn topic(&self, alias: u16) -> Option<&str> {
        let (at, length) = self.find(alias)?;
        let bytes = self.incoming.get(at + HEAD..at + HEAD + length)?;
        core::str::from_utf8(bytes).ok()
    }
}
