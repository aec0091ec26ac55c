//! An image for people: what there is, in plain values.

use std::num::NonZeroU16;

use midge_codec::QoS;

use super::group_name_hash;
use super::image::{Copy, Image, ImageSession, ImageWill, Place};
use super::records::MessageRecord;
use crate::route::SubscriptionOptions;
use crate::session::Expiry;

/// A session.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a>(&'a ImageSession);

/// A message's place and holders, without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredView {
    /// Its name.
    pub id: u64,
    /// Where its record is.
    pub place: Place,
    /// Bytes of its record.
    pub size: u32,
    /// How many hold it.
    pub holders: u32,
}

/// A message's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentsView<'a> {
    /// Its name.
    pub id: u64,
    /// Topic name, mount point included.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// Properties that go on to subscribers, encoded.
    pub properties: &'a [u8],
    /// As published.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
    /// When it ends, in milliseconds since 1970.
    pub expires: Option<u64>,
}

/// What a session is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionView<'a> {
    /// Topic filter as the client wrote it.
    pub filter: &'a str,
    /// QoS and options.
    pub options: SubscriptionOptions,
    /// Subscription identifier.
    pub identifier: Option<u32>,
}

/// A copy of a message for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyView<'a> {
    /// The message.
    pub message: u64,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription identifiers that go with it.
    pub ids: &'a [u32],
}

/// A copy that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentView<'a> {
    /// Packet identifier.
    pub packet_id: NonZeroU16,
    /// PUBREC has come; the message is needed no longer.
    pub received: bool,
    /// What was sent.
    pub copy: CopyView<'a>,
}

/// The will of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillView<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// Properties, encoded.
    pub properties: &'a [u8],
    /// As it will be published.
    pub qos: QoS,
    /// As it will be published.
    pub retain: bool,
    /// Message expiry interval in seconds.
    pub expiry_secs: Option<u32>,
    /// Will delay interval in seconds.
    pub delay_secs: u32,
    /// When it is due, in milliseconds since 1970, if the connection has ended.
    pub due: Option<u64>,
}

/// What is retained for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedView<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// The message.
    pub message: u64,
}

/// What a shared group holds until a member has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Share name and filter with the mount point; `None` if no session is a member.
    pub name: Option<(String, String)>,
    /// Its messages, oldest first.
    pub messages: Vec<u64>,
}

impl Image {
    /// The sessions, by client identifier.
    #[must_use]
    pub fn show_sessions(&self) -> Vec<SessionView<'_>> {
        let mut sessions: Vec<_> = self
            .sessions
            .values()
            .map(|session| SessionView(session))
            .collect();
        sessions.sort_unstable_by_key(|session| session.client_id());
        sessions
    }

    /// The messages, in no order.
    pub fn show_messages(&self) -> impl Iterator<Item = StoredView> {
        self.messages.iter().map(|(id, message)| StoredView {
            id: *id,
            place: message.place,
            size: message.size,
            holders: message.holders,
        })
    }

    /// A message's place and holders.
    #[must_use]
    pub fn show_message(&self, id: u64) -> Option<StoredView> {
        let message = self.messages.get(&id)?;
        Some(StoredView {
            id,
            place: message.place,
            size: message.size,
            holders: message.holders,
        })
    }

    /// The retained messages, by topic.
    #[must_use]
    pub fn show_retained(&self) -> Vec<RetainedView<'_>> {
        let kept = self.retained.iter().filter(|(_, kept)| kept.message != 0);
        let mut retained: Vec<_> = kept
            .map(|(topic, kept)| RetainedView {
                topic,
                message: kept.message,
            })
            .collect();
        retained.sort_unstable_by_key(|retained| retained.topic);
        retained
    }

    /// The shared groups that hold something, by name.
    #[must_use]
    pub fn show_groups(&self) -> Vec<GroupView> {
        let mut names = std::collections::HashMap::new();
        for session in self.sessions.values() {
            let mount_point = session.mount_point.as_deref().unwrap_or_default();
            for (filter, _) in session.subscriptions.shared() {
                let shared = filter.strip_prefix("$share/");
                if let Some((name, filter)) = shared.and_then(|shared| shared.split_once('/')) {
                    let filter = format!("{mount_point}{filter}");
                    names.insert(group_name_hash(name, &filter), (name.to_owned(), filter));
                }
            }
        }
        let held = self.groups.iter().map(|(hash, group)| GroupView {
            name: names.get(hash).cloned(),
            messages: group.messages.values().copied().collect(),
        });
        let mut groups: Vec<_> = held.filter(|group| !group.messages.is_empty()).collect();
        groups.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        groups
    }
}

impl<'a> ContentsView<'a> {
    /// Reads the record of a message; `None` if it does not read as one.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let record = MessageRecord::read(record)?;
        Some(Self {
            id: record.id,
            topic: record.topic,
            payload: record.payload,
            properties: record.properties,
            qos: record.qos,
            retain: record.retain,
            expires: record.expires,
        })
    }
}

impl<'a> SessionView<'a> {
    /// Client identifier.
    #[must_use]
    pub fn client_id(&self) -> &'a str {
        &self.0.client_id
    }

    /// The user that the client was last authenticated as.
    #[must_use]
    pub fn user_name(&self) -> Option<&'a str> {
        self.0.user_name.as_deref()
    }

    /// What its listener puts before topics.
    #[must_use]
    pub fn mount_point(&self) -> Option<&'a str> {
        self.0.mount_point.as_deref()
    }

    /// Level of the protocol: 3, 4 or 5.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.0.version & 0x7F
    }

    /// Session expiry interval in seconds; `None` for never.
    #[must_use]
    pub const fn expiry_secs(&self) -> Option<u64> {
        match self.0.expiry {
            Expiry::WithConnection => Some(0),
            Expiry::After(seconds) => Some(seconds),
            Expiry::Never => None,
        }
    }

    /// Whether the client was connected when the log ended.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.0.left.is_none()
    }

    /// When it ends unless the client comes back, in milliseconds since 1970; `None` for never, and
    /// while the client is connected.
    #[must_use]
    pub fn ends_at(&self) -> Option<u64> {
        self.0.left.and_then(|left| left.ends_at)
    }

    /// Its will.
    #[must_use]
    pub fn will(&self) -> Option<WillView<'a>> {
        let will: &ImageWill = self.0.will.as_deref()?;
        Some(WillView {
            topic: &will.topic,
            payload: &will.payload,
            properties: &will.properties,
            qos: will.qos,
            retain: will.retain,
            expiry_secs: will.expiry_secs,
            delay_secs: will.delay_secs,
            due: self.0.left.and_then(|left| left.will_due),
        })
    }

    /// Its subscriptions, by filter.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionView<'a>> {
        let list = self.0.subscriptions.iter();
        let mut subscriptions: Vec<_> = list
            .map(|(filter, subscribed)| SubscriptionView {
                filter,
                options: subscribed.options,
                identifier: (subscribed.id != 0).then_some(subscribed.id),
            })
            .collect();
        subscriptions.sort_unstable_by_key(|subscription| subscription.filter);
        subscriptions
    }

    /// What waits to be sent, oldest first.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = CopyView<'a>> + use<'a> {
        self.0.waiting.iter().map(CopyView::of)
    }

    /// What was sent and is not acknowledged, in the order of sending.
    #[must_use]
    pub fn sent(&self) -> Vec<SentView<'a>> {
        let mut sent: Vec<_> = self.0.sent.iter().collect();
        sent.sort_unstable_by_key(|(_, sent)| sent.order);
        sent.into_iter()
            .map(|(packet_id, sent)| SentView {
                packet_id: *packet_id,
                received: sent.received,
                copy: CopyView::of(&sent.copy),
            })
            .collect()
    }

    /// Messages of QoS 2 that the client has not released: packet identifier and message.
    pub fn incoming(&self) -> impl ExactSizeIterator<Item = (NonZeroU16, u64)> + use<'a> {
        let incoming = self.0.incoming.iter();
        incoming.map(|(packet_id, message)| (*packet_id, *message))
    }
}

impl<'a> CopyView<'a> {
    fn of(copy: &'a Copy) -> Self {
        Self {
            message: copy.message,
            qos: copy.qos,
            retain: copy.retain,
            ids: copy.ids.as_slice(),
        }
    }
}
