//! A session in the model.

use std::collections::{BTreeMap, BTreeSet};

use midge_codec::{Connect, Publish, QoS, Version};

use super::matching::Matching;
use super::publication::PubId;
use super::retained::Walk;
use super::survival::Stamp;
use crate::check::{Checked, broken};
use crate::world::Millis;

/// How long a session lives without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    WithConnection,
    After(u64),
    Never,
}

impl Expiry {
    pub(crate) const fn from_interval(seconds: u32) -> Self {
        match seconds {
            0 => Self::WithConnection,
            u32::MAX => Self::Never,
            _ => Self::After(seconds as u64),
        }
    }
}

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) version: Version,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) expiry: Expiry,
    /// Largest packet; `usize::MAX` for no limit.
    pub(crate) packet_max: usize,
    pub(super) will: Option<Will>,
}

#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) publication: PubId,
    pub(super) delay: u64,
    pub(super) expiry: Option<u64>,
}

impl Terms {
    pub(crate) fn new(connect: &Connect<'_>) -> Checked<Self> {
        let expiry = match connect.version {
            Version::V5 => {
                Expiry::from_interval(crate::wire::session_expiry(&connect.properties).unwrap_or(0))
            }
            Version::V3_1 | Version::V3_1_1 if connect.clean_start => Expiry::WithConnection,
            Version::V3_1 | Version::V3_1_1 => Expiry::Never,
        };
        let mut will = None;
        if let Some(sent) = &connect.will {
            let Some(publication) = crate::wire::publication_number(sent.payload) else {
                return broken(
                    "intact messages",
                    format!("the broker took the will {sent:?}"),
                );
            };
            will = Some(Will {
                publication,
                delay: u64::from(crate::wire::will_delay(&sent.properties)),
                expiry: crate::wire::message_expiry(&sent.properties).map(u64::from),
            });
        }
        Ok(Self {
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            expiry,
            packet_max: crate::wire::packet_size_max(&connect.properties),
            will,
        })
    }
}

/// A subscription.
#[derive(Clone, Debug)]
pub(super) struct Sub {
    /// Without share name.
    pub(super) filter: String,
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) as_published: bool,
    pub(super) id: u32,
}

impl Sub {
    pub(super) fn ids(&self) -> Vec<u32> {
        if self.id == 0 {
            Vec::new()
        } else {
            vec![self.id]
        }
    }
}

/// What distinguishes copies of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Subscription identifiers, sorted.
    pub(super) ids: Vec<u32>,
}

impl Key {
    /// The one copy for several subscriptions.
    pub(super) fn merged(keys: Vec<Self>) -> Option<Self> {
        keys.into_iter().reduce(|mut all, one| {
            all.qos = all.qos.max(one.qos);
            all.retain |= one.retain;
            all.ids.extend(one.ids);
            all.ids.sort_unstable();
            all
        })
    }
}

/// A copy of a message that a session has to get.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) publication: PubId,
    pub(super) key: Key,
    pub(super) seq: u64,
    pub(super) publisher: Option<usize>,
    pub(super) published_qos: QoS,
    pub(super) expires: Option<Millis>,
    /// The session's connection when the message was routed.
    pub(super) conn: Option<usize>,
    pub(super) received: bool,
    /// It need not come.
    pub(super) optional: bool,
    /// It does not come, whatever was said before.
    pub(super) cancelled: bool,
    /// A crash has made that the message was never routed.
    pub(super) undone: bool,
    /// The message has no payload.
    pub(super) is_empty: bool,
}

impl Owed {
    pub(super) fn order(&self, topic: &str) -> OrderKey {
        (
            self.publisher,
            topic.to_owned(),
            self.published_qos,
            self.key.qos,
        )
    }
}

/// A message of QoS 1 or 2 that the client has received, by its packet identifier.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) id: u16,
    /// Which of all that were received.
    pub(super) number: u64,
    /// What it was owed for, if that is known.
    pub(super) owed: Option<usize>,
    pub(super) expires: Option<Millis>,
    pub(super) is_empty: bool,
    /// What is owed in case that it comes as another one after a crash.
    pub(super) again: Vec<usize>,
    pub(super) publication: PubId,
    pub(super) topic: String,
    pub(super) key: Key,
    /// The connection it last came by.
    pub(super) link: usize,
    /// PUBACK or PUBREC has reached the broker: it may not come again.
    pub(super) acknowledged: bool,
    /// The message and the holder of a shared group.
    pub(super) shared: Option<(usize, usize)>,
}

/// What order binds: messages of one publisher on one topic with one QoS.
pub(super) type OrderKey = (Option<usize>, String, QoS, QoS);

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: String,
    pub(super) place: usize,
    /// It outlives the broker.
    pub(super) persistent: bool,
    pub(super) conn: Option<usize>,
    pub(super) ended: bool,
    pub(super) expiry: Expiry,
    pub(super) ends_at: Millis,
    pub(super) will: Option<Will>,
    pub(super) will_due: Millis,
    /// By the filter as the client wrote it; whether it is shared.
    pub(super) subs: BTreeMap<String, (bool, Sub)>,
    pub(super) incoming: BTreeMap<u16, (PubId, Option<Millis>)>,
    /// What covers them.
    pub(super) incoming_stamps: BTreeMap<u16, Stamp>,
    pub(super) owed: Vec<Owed>,
    /// The places in `owed` of what has not been received, by publication; nothing stands for those
    /// without payload.
    pub(super) awaited: BTreeMap<Option<PubId>, Vec<usize>>,
    pub(super) walks: Vec<Walk>,
    /// By topic, the retained messages that came, and the walks that they may be of.
    pub(super) shown: BTreeMap<String, Matching>,
    pub(super) flights: BTreeMap<u16, Flight>,
    /// Those whose acknowledgement was lost in a crash and whose identifier others have.
    pub(super) unfinished: Vec<Flight>,
    pub(super) last: BTreeMap<OrderKey, u64>,
    /// The smallest of its connections' largest packets.
    pub(super) packet_max: usize,
    /// Topic aliases of the present connection.
    aliases: BTreeMap<u16, String>,
    /// The broker has crashed since the session began.
    pub(super) reopened: bool,
    /// Groups that it has ever been a member of.
    pub(super) groups: BTreeSet<usize>,
}

impl Session {
    pub(super) fn new(client: &str, place: usize, persistent: bool) -> Self {
        Self {
            client: client.to_owned(),
            place,
            persistent,
            conn: None,
            ended: false,
            expiry: Expiry::WithConnection,
            ends_at: Millis::MAX,
            will: None,
            will_due: Millis::MAX,
            subs: BTreeMap::new(),
            incoming: BTreeMap::new(),
            incoming_stamps: BTreeMap::new(),
            owed: Vec::new(),
            awaited: BTreeMap::new(),
            walks: Vec::new(),
            shown: BTreeMap::new(),
            flights: BTreeMap::new(),
            unfinished: Vec::new(),
            last: BTreeMap::new(),
            packet_max: usize::MAX,
            aliases: BTreeMap::new(),
            reopened: false,
            groups: BTreeSet::new(),
        }
    }

    pub(super) fn connect(&mut self, link: usize, terms: Terms) {
        self.conn = Some(link);
        self.expiry = terms.expiry;
        self.ends_at = Millis::MAX;
        self.will = terms.will;
        self.will_due = Millis::MAX;
        self.packet_max = self.packet_max.min(terms.packet_max);
        self.aliases.clear();
    }

    /// Adds a copy that is owed; tells its place.
    pub(super) fn owe(&mut self, owed: Owed) -> usize {
        let said = (!owed.is_empty).then_some(owed.publication);
        self.awaited.entry(said).or_default().push(self.owed.len());
        self.owed.push(owed);
        self.owed.len() - 1
    }

    /// Whether what came may have been this rather than what a crash had let come once more: the publisher
    /// has sent it several times.
    pub(super) fn had_again(&self, owed: &Owed, routed: u32) -> bool {
        routed > 1
            && self.owed.iter().any(|other| {
                other.optional
                    && other.received
                    && !other.cancelled
                    && other.publication == owed.publication
                    && other.key == owed.key
            })
    }

    /// The topic that a client's PUBLISH means.
    pub(super) fn resolve_alias(&mut self, publish: &Publish<'_>) -> Checked<String> {
        match crate::wire::topic_alias(&publish.properties) {
            None => Ok(publish.topic.to_owned()),
            Some(alias) if publish.topic.is_empty() => match self.aliases.get(&alias) {
                Some(topic) => Ok(topic.clone()),
                None => broken("topic aliases", format!("the broker took alias {alias}")),
            },
            Some(alias) => {
                self.aliases.insert(alias, publish.topic.to_owned());
                Ok(publish.topic.to_owned())
            }
        }
    }
}
