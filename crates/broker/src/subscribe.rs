//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use midge_codec::topic::{self, Filter};
use midge_codec::{
    Packet, Properties, Property, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, Subscription,
    UnsubAck, Unsubscribe, Version,
};
use midge_proto::Fault;
use smallvec::SmallVec;

use crate::access::Action;
use crate::connection::RetainedWalk;
use crate::events;
use crate::limits::Limit;
use crate::login::mounted;
use crate::persist::journal::{HeldPacket, HeldSubAck};
use crate::publish::LEVELS_MAX;
use crate::retained::Walk;
use crate::route::{Presence, SubscriptionOptions, Target};
use crate::session::Subscribed;
use crate::session_end::leave;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::tables::Change;

/// One code for each filter of a packet.
type Codes = SmallVec<[u8; 16]>;

impl Shard {
    pub(crate) fn subscribe(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Fault> {
        let too_deep =
            |subscription: Subscription<'_>| topic::levels(subscription.filter) > LEVELS_MAX;
        if subscribe.subscriptions.iter().any(too_deep) {
            let why = "a topic filter has too many levels";
            return Err(Fault::disconnect(ReasonCode::MALFORMED_PACKET, why));
        }
        let mut id = 0;
        for property in subscribe.properties.iter() {
            if let Property::SubscriptionIdentifier(value) = property {
                id = value;
            }
        }
        let mut codes = Codes::new();
        let mut added = Vec::new();
        for (place, subscription) in subscribe.subscriptions.iter().enumerate() {
            let is_new = &mut false;
            codes.push(self.subscribe_one(step, key, &subscription, id, is_new).0);
            if *is_new {
                added.push((place, subscription.filter.into()));
            }
        }
        let version = self
            .conns
            .get(key)
            .map_or(Version::V5, |conn| conn.version());
        if !version.has_properties() {
            // 3.x has one code for every failure (`[MQTT311-3.9.3-2]`).
            for code in codes.iter_mut().filter(|code| **code >= 0x80) {
                *code = 0x80;
            }
        }
        if self.must_wait(key) {
            let suback = HeldSubAck {
                packet_id: subscribe.packet_id,
                codes,
                added,
            };
            self.hold(key, HeldPacket::SubAck(Box::new(suback)));
            return Ok(());
        }
        let suback = SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::NONE,
            codes: &codes,
        };
        self.send(step, key, &Packet::SubAck(suback));
        Ok(())
    }

    /// Whether an answer about subscriptions has to wait for the disk. With a disk that takes nothing,
    /// what is answered concerns what is kept already.
    fn must_wait(&self, key: SlabKey) -> bool {
        let session = self
            .session_key(key)
            .and_then(|session| self.sessions.get(session));
        session.is_some_and(|session| session.is_persistent)
            && !self.journal.refuses
            && !self.journal.is_settled()
    }

    fn subscribe_one(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        subscription: &Subscription<'_>,
        id: u32,
        added: &mut bool,
    ) -> ReasonCode {
        let Some(conn) = self.conns.get(key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        if conn.access.is_some() {
            let listener = Arc::clone(&conn.origin.listener);
            let name = mounted(listener.mount_point.as_deref(), subscription.filter);
            if !self.is_allowed(step, key, Action::Subscribe, &name) {
                return ReasonCode::NOT_AUTHORIZED;
            }
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        let Some(session_key) = conn.session else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        let session_ref = crate::route::SessionRef {
            shard: self.id,
            generation: session_key.generation,
            slot: session_key.slot,
        };
        let Some(session) = self.sessions.get_mut(session_key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        // The decoder has checked the filter.
        let Ok(filter) = Filter::parse(subscription.filter) else {
            return ReasonCode::TOPIC_FILTER_INVALID;
        };
        let most = self.settings.max_subscriptions_per_client;
        let is_new = !session.subscriptions.contains(subscription.filter);
        if most > 0 && is_new && session.subscriptions.len() >= most {
            self.count_limit(step, Limit::Subscriptions, key);
            return ReasonCode::QUOTA_EXCEEDED;
        }
        let levels_max = self.settings.max_topic_levels;
        if levels_max < LEVELS_MAX && topic::levels(filter.filter) > levels_max {
            self.count_limit(step, Limit::TopicLevels, key);
            return ReasonCode::TOPIC_FILTER_INVALID;
        }
        if is_new && self.settings.limits.is_pressed() {
            self.count_limit(step, Limit::Memory, key);
            return ReasonCode::QUOTA_EXCEEDED;
        }
        if is_new && session.is_persistent && self.journal.refuses {
            // The disk takes nothing new.
            return ReasonCode::QUOTA_EXCEEDED;
        }
        *added = is_new;
        let asked = subscription.options;
        let qos = asked.qos.min(conn.origin.listener.max_qos);
        let mut options = SubscriptionOptions::new(
            qos.bits(),
            asked.no_local || conn.bridge,
            asked.retain_as_published || conn.bridge,
        );
        if session.is_persistent {
            options = options.persistent();
            self.journal
                .records
                .subscribe(session_ref, subscription.filter, options, id, is_new);
        }
        session
            .subscriptions
            .insert(subscription.filter, Subscribed { options, id });
        let mount_point = session.mount_point.as_deref().unwrap_or_default();
        let mounted: Box<str> = format!("{mount_point}{}", filter.filter).into();
        let target = Target {
            session: session_ref,
            options,
            subscription_id: id,
        };
        if let Some(group) = filter.share_name {
            let presence = session
                .presence
                .get_or_insert_with(|| Arc::new(Presence::new()));
            let presence = Arc::clone(presence);
            let group = group.into();
            self.changes.push(Change::Join {
                group,
                filter: mounted,
                target,
                presence,
            });
            // A group that this turn has emptied is over, and its queue with it: it must not be asked for
            // what it holds.
            if self
                .changes
                .iter()
                .any(|change| matches!(change, Change::Leave { .. }))
            {
                self.settle_tables(step);
            }
            self.update_presence(step, session_key);
        } else {
            let wants_retained = match asked.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            if wants_retained && self.settings.retain_available {
                if !is_new {
                    // [MQTT5-3.8.4-4]: from the beginning.
                    conn.drop_walk(&mounted);
                }
                let walk = RetainedWalk {
                    walk: Walk::new(&mounted),
                    qos,
                    subscription_id: id,
                };
                conn.add_walk(walk, &session.subscriptions);
                self.walk_starts.push(key);
            }
            self.changes.push(Change::Subscribe {
                filter: mounted,
                target,
            });
        }
        self.log_subscription(step, session_key, qos, subscription.filter);
        ReasonCode(qos.bits())
    }

    /// Enters the subscriptions of a restored session into the tables.
    pub(crate) fn rejoin(&mut self, key: SlabKey) {
        let session_ref = self.session_ref(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let mount_point = session.mount_point.as_deref().unwrap_or_default();
        let mut presence = None;
        for (filter, subscribed) in session.subscriptions.iter() {
            let target = Target {
                session: session_ref,
                options: subscribed.options.persistent(),
                subscription_id: subscribed.id,
            };
            // The decoder had checked the filter.
            let shared = filter.strip_prefix("$share/");
            self.changes
                .push(match shared.and_then(|rest| rest.split_once('/')) {
                    None if mount_point.is_empty() => Change::Subscribe {
                        filter: filter.into(),
                        target,
                    },
                    None => Change::Subscribe {
                        filter: format!("{mount_point}{filter}").into(),
                        target,
                    },
                    Some((group, filter)) => Change::Join {
                        group: group.into(),
                        filter: format!("{mount_point}{filter}").into(),
                        target,
                        presence: Arc::clone(presence.get_or_insert_with(Arc::default)),
                    },
                });
        }
        session.presence = presence;
    }

    fn log_subscription(&self, step: &mut Step<'_>, key: SlabKey, qos: QoS, filter: &str) {
        if self.settings.log_subscriptions
            && let Some(session) = self.sessions.get(key)
        {
            events::subscribed(step.effects, &session.client_id, qos.bits(), filter);
        }
    }

    pub(crate) fn unsubscribe(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), Fault> {
        let mut codes = Codes::new();
        for filter in unsubscribe.filters.iter() {
            codes.push(self.unsubscribe_one(step, key, filter).0);
        }
        if self.must_wait(key) {
            let codes = SmallVec::from_slice(&codes);
            self.hold(key, HeldPacket::UnsubAck(unsubscribe.packet_id, codes));
            return Ok(());
        }
        let unsuback = UnsubAck {
            packet_id: unsubscribe.packet_id,
            properties: Properties::NONE,
            codes: &codes,
        };
        self.send(step, key, &Packet::UnsubAck(unsuback));
        Ok(())
    }

    fn unsubscribe_one(&mut self, step: &mut Step<'_>, key: SlabKey, filter: &str) -> ReasonCode {
        let Some(conn) = self.conns.get(key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        if conn.access.is_some() {
            let listener = Arc::clone(&conn.origin.listener);
            let name = mounted(listener.mount_point.as_deref(), filter);
            if !self.is_allowed(step, key, Action::Unsubscribe, &name) {
                return ReasonCode::NOT_AUTHORIZED;
            }
        }
        let Some(session_key) = self.session_key(key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        let session_ref = self.session_ref(session_key);
        let Some(session) = self.sessions.get_mut(session_key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        if self.settings.log_subscriptions {
            events::unsubscribed(step.effects, &session.client_id, filter);
        }
        if !session.subscriptions.remove(filter) {
            return ReasonCode::NO_SUBSCRIPTION_EXISTED;
        }
        if session.is_persistent {
            self.journal.records.unsubscribe(session_ref, filter);
        }
        let mount_point = session.mount_point.as_deref();
        self.changes.push(leave(filter, mount_point, session_ref));
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.walks.is_empty()
        {
            // [MQTT5-3.10.4-2]
            conn.drop_walk(&format!("{}{filter}", mount_point.unwrap_or_default()));
        }
        ReasonCode::SUCCESS
    }
}
