//! Messages to subscribers: matched on the publisher's core, split by shard, handed to each session.

use std::sync::Arc;

use midge_codec::QoS;
use smallvec::SmallVec;

use crate::access::Action;
use crate::effects::Mail;
use crate::events;
use crate::known_topics::Reach;
use crate::message::{Message, MessageView, Raw};
use crate::message_pool::MessagePool;
use crate::persist;
use crate::persist::records::{CopyTo, Holding};
use crate::queue::{Queued, SubscriptionIds};
use crate::route::{GroupId, Matches, Target};
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::tables::RetainedChange;
use crate::write::{Form, WireForms};

/// How a message came to be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A client waits for its acknowledgement, which can still be a refusal.
    New,
    /// It was accepted before.
    Before,
    /// Nobody waits.
    Unasked,
}

/// What became of a message that was routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    /// Nobody is subscribed.
    Nobody,
    /// Somebody is, and nothing has to be kept.
    Somebody,
    /// There is a record of it, which an acknowledgement has to wait for. Is anybody subscribed?
    Recorded(bool),
    /// The disk does not take what would have to be kept; nobody gets it.
    Refused,
}

/// Whether a message has left a record.
enum Recorded {
    Nothing,
    Something,
    /// It would have to, and may not.
    Refused,
}

/// One message on its way to its subscribers. It is copied when first somebody has to keep it.
pub(crate) struct Delivery<'a> {
    pub(crate) view: MessageView<'a>,
    /// The packet that it came in, if that is what subscribers get.
    pub(crate) raw: Option<Raw<'a>>,
    kept: Kept<'a>,
    /// It has one target, so whoever keeps it need not leave it for others.
    pub(crate) is_single: bool,
    /// Made when the message has several targets.
    pub(crate) forms: Option<Box<WireForms>>,
    /// By which rights remember the topic; 0 until they are asked.
    pub(crate) topic_hash: u64,
}

/// A message as one that can be kept, if there is one.
enum Kept<'a> {
    No,
    Borrowed(&'a Arc<Message>),
    Owned(Arc<Message>),
}

impl<'a> Delivery<'a> {
    #[inline]
    pub(crate) fn new(view: MessageView<'a>) -> Self {
        Self {
            view,
            raw: None,
            kept: Kept::No,
            is_single: false,
            forms: None,
            topic_hash: 0,
        }
    }

    pub(crate) fn kept(message: &'a Arc<Message>) -> Self {
        Self {
            raw: message.raw(),
            kept: Kept::Borrowed(message),
            ..Self::new(message.view())
        }
    }

    /// Names the message on the disk. What was kept of it before has another name.
    fn rename(&mut self, id: u64) {
        self.view.id = id;
        self.kept = Kept::No;
    }

    /// The message as one that can be kept, in no more memory than it needs.
    fn keep_for_long(&mut self) -> Arc<Message> {
        match &self.kept {
            Kept::Borrowed(message) => Arc::clone(message),
            Kept::Owned(message) => Arc::clone(message),
            Kept::No => {
                let message = self.view.keep();
                self.kept = Kept::Owned(Arc::clone(&message));
                message
            }
        }
    }

    /// The message as one that can be kept until it is acknowledged.
    #[inline]
    pub(crate) fn keep(&mut self, pool: &mut MessagePool) -> Arc<Message> {
        match &self.kept {
            Kept::Borrowed(message) => Arc::clone(message),
            Kept::Owned(message) => Arc::clone(message),
            Kept::No => {
                let message = pool.keep(&self.view, self.raw.as_ref());
                if !self.is_single {
                    self.kept = Kept::Owned(Arc::clone(&message));
                }
                message
            }
        }
    }
}

impl Shard {
    /// Sends a message to all that subscribe to its topic; whether anybody does.
    pub(crate) fn route(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        asked: Asked,
    ) -> Routed {
        self.route_known(step, delivery, None, asked)
    }

    /// The same for a topic of which something may be known.
    pub(crate) fn route_known(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        known: Option<&mut Reach>,
        asked: Asked,
    ) -> Routed {
        self.settle(step);
        let mut matches = std::mem::take(&mut self.scratch.matches);
        matches.clear();
        let routing = step.tables.routing();
        match known {
            Some(known) => {
                if !known.recall(routing, &mut matches) {
                    routing.route(delivery.view.topic, &mut matches);
                    known.learn(routing.version(), &matches);
                }
            }
            None => {
                routing.route(delivery.view.topic, &mut matches);
                self.topics
                    .learn(delivery.view.topic, routing.version(), &matches);
            }
        }
        let found = !matches.targets.is_empty() || !matches.groups.is_empty();
        let mut routed = if found {
            Routed::Somebody
        } else {
            Routed::Nobody
        };
        if self.journal.on {
            match self.record_message(step, delivery, &matches, asked) {
                Recorded::Nothing => {}
                Recorded::Refused => {
                    self.scratch.matches = matches;
                    return Routed::Refused;
                }
                Recorded::Something => routed = Routed::Recorded(found),
            }
        }
        if delivery.view.retain {
            self.retain(step, delivery);
            if self.journal.on {
                // So that the record of it is there before the acknowledgement asks what to wait for.
                self.settle_tables(step);
            }
        }
        if delivery.view.is_expired(step.now) {
            // [MQTT5-3.3.2-5]: an interval of zero is over at once.
            self.stats.publish_dropped += matches.targets.len() as u64;
        } else if found {
            self.distribute(step, delivery, &matches);
        }
        self.scratch.matches = matches;
        routed
    }

    /// Records a message with all who hold it, if anybody does that is kept.
    fn record_message(
        &mut self,
        step: &Step<'_>,
        delivery: &mut Delivery<'_>,
        matches: &Matches,
        asked: Asked,
    ) -> Recorded {
        let view = &delivery.view;
        let is_sys = view.topic.starts_with("$SYS");
        let clears = view.retain && view.payload.is_empty();
        let mut holding = Holding {
            retained: view.retain && !clears && !is_sys,
            ..Holding::default()
        };
        if !view.is_expired(step.now) {
            self.hold_for_all(view, &matches.targets, &mut holding);
            let is_queued = view.qos > QoS::AtMostOnce || self.settings.upgrade_outgoing_qos;
            if is_queued {
                let groups = matches.groups.iter();
                let groups = groups.filter_map(|found| step.tables.routing().group(found.group));
                let groups = groups.filter(|group| group.is_persistent());
                holding.groups.extend(groups.map(|group| group.name_hash()));
            }
        }
        if holding.is_empty() {
            return if clears {
                Recorded::Something
            } else {
                Recorded::Nothing
            };
        }
        if self.journal.refuses && asked != Asked::Before {
            // What nobody waits for is passed on, and not kept.
            return if asked == Asked::New {
                Recorded::Refused
            } else {
                Recorded::Nothing
            };
        }
        if view.id == 0 {
            let id = self.journal.next_message();
            delivery.rename(id);
            let expires = delivery.view.expires.map(|time| self.journal.unix(time));
            let is_new_work = asked != Asked::Before;
            let records = &mut self.journal.records;
            records.message(id, &delivery.view, expires, &holding, is_new_work);
        } else {
            self.journal.records.holders(view.id, view.topic, &holding);
        }
        Recorded::Something
    }

    /// Adds the copies that are to be kept, as [`Self::deliver_all`] makes them.
    fn hold_for_all(&self, view: &MessageView<'_>, targets: &[Target], holding: &mut Holding) {
        if self.settings.allow_duplicate_messages || targets.len() < 2 {
            for target in targets {
                self.hold_for(view, target, holding);
            }
            return;
        }
        let mut sorted: SmallVec<[Target; 8]> = SmallVec::from_slice(targets);
        sorted.sort_by_key(|target| target.session);
        for same in sorted.chunk_by(|a, b| a.session == b.session) {
            let wanted = || {
                same.iter()
                    .filter(|t| !(t.options.no_local() && Some(t.session) == view.publisher))
            };
            let mut one = Holding::default();
            if let Some(best) = wanted().max_by_key(|target| target.options.qos()) {
                self.hold_for(view, best, &mut one);
            }
            let ids = wanted().map(|target| target.subscription_id);
            let ids: SmallVec<[u32; 8]> = ids.filter(|id| *id > 0).collect();
            let as_published = wanted().any(|target| target.options.retain_as_published());
            holding
                .copies
                .extend(one.copies.into_iter().map(|copy| CopyTo {
                    retain: as_published && view.retain,
                    ids: SubscriptionIds::from_slice(&ids),
                    ..copy
                }));
        }
    }

    /// Adds the copy for one subscription, if it is to be kept.
    #[inline]
    fn hold_for(&self, view: &MessageView<'_>, target: &Target, holding: &mut Holding) {
        let options = target.options;
        if !options.is_persistent() || options.no_local() && Some(target.session) == view.publisher
        {
            return;
        }
        let granted = QoS::from_bits(options.qos()).unwrap_or_default();
        let qos = self.effective_qos(view.qos, granted);
        if qos > QoS::AtMostOnce {
            holding.copies.push(CopyTo {
                session: target.session,
                qos,
                retain: options.retain_as_published() && view.retain,
                ids: SubscriptionIds::from_id(target.subscription_id),
            });
        }
    }

    /// Notes the change of a retained message, to be applied before the routing table that the message is
    /// matched with can change.
    fn retain(&mut self, step: &Step<'_>, delivery: &mut Delivery<'_>) {
        let view = &delivery.view;
        let topic: Box<str> = view.topic.into();
        if view.payload.is_empty() {
            // (`[MQTT5-3.3.1-6]`, `[MQTT5-3.3.1-7]`)
            self.retains.push((topic, RetainedChange::Remove));
            return;
        }
        let message = match (view.expires, self.settings.retain_expiry) {
            (None, Some(seconds)) => {
                let expires = Some(step.now.plus_secs(seconds));
                MessageView { expires, ..*view }.keep()
            }
            _ => delivery.keep_for_long(),
        };
        self.retains.push((topic, RetainedChange::Store(message)));
    }

    fn distribute(&mut self, step: &mut Step<'_>, delivery: &mut Delivery<'_>, matches: &Matches) {
        if let ([target], []) = (&*matches.targets, &*matches.groups) {
            delivery.is_single = true;
            if target.session.shard == self.id {
                return self.deliver(step, delivery, target);
            }
        }
        delivery.is_single = matches.targets.len() + matches.groups.len() == 1;
        if matches.targets.len() > 2 {
            delivery.forms = Some(Box::default());
        }
        if self.shards == 1 {
            self.deliver_all(step, delivery, &matches.targets);
        } else {
            self.split_by_shard(step, delivery, &matches.targets);
        }
        for group in &matches.groups {
            self.route_to_group(step, delivery, group);
        }
    }

    /// Delivers to the targets of this shard, and mails the others' to them, an item for each shard.
    fn split_by_shard(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        targets: &[Target],
    ) {
        let merges = !self.settings.allow_duplicate_messages && targets.len() > 1;
        let publisher = delivery.view.publisher;
        for target in targets {
            let shard = target.session.shard;
            if shard == self.id && !merges {
                self.deliver(step, delivery, target);
                continue;
            }
            if target.options.no_local() && Some(target.session) == publisher {
                continue;
            }
            let Some(list) = self.scratch.remote.get_mut(usize::from(shard)) else {
                continue;
            };
            if list.is_empty() {
                self.scratch.remote_shards.push(shard);
            }
            list.push(*target);
        }
        while let Some(shard) = self.scratch.remote_shards.pop() {
            let Some(list) = self.scratch.remote.get_mut(usize::from(shard)) else {
                continue;
            };
            let targets = std::mem::take(list);
            if shard == self.id {
                self.deliver_all(step, delivery, &targets);
            } else {
                let message = delivery.keep(&mut self.messages);
                step.effects
                    .mail
                    .push((shard, Mail::Deliver { message, targets }));
            }
        }
    }

    /// Delivers to targets that are all of this shard.
    pub(crate) fn deliver_all(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        targets: &[Target],
    ) {
        if self.settings.allow_duplicate_messages || targets.len() < 2 {
            for target in targets {
                self.deliver(step, delivery, target);
            }
            return;
        }
        // One copy for each session, with the highest QoS and all identifiers
        // (`[MQTT5-3.3.4-2]`, `[MQTT5-3.3.4-4]`, `[MQTT311-3.3.5-1]`).
        let mut sorted: SmallVec<[Target; 8]> = SmallVec::from_slice(targets);
        sorted.sort_by_key(|target| target.session);
        for same in sorted.chunk_by(|a, b| a.session == b.session) {
            let publisher = delivery.view.publisher;
            let wanted = |target: &&Target| {
                !(target.options.no_local() && Some(target.session) == publisher)
            };
            let Some(best) = same
                .iter()
                .filter(wanted)
                .max_by_key(|target| target.options.qos())
            else {
                continue;
            };
            let ids: SmallVec<[u32; 8]> = same
                .iter()
                .filter(wanted)
                .map(|target| target.subscription_id)
                .filter(|id| *id > 0)
                .collect();
            let ids = SubscriptionIds::from_slice(&ids);
            let as_published = same
                .iter()
                .filter(wanted)
                .any(|t| t.options.retain_as_published());
            self.deliver_copy(step, delivery, best, ids, as_published, None);
        }
    }

    /// A message whose time was over when it came from another shard.
    pub(crate) fn drop_expired(&mut self, message: &Message, targets: &[Target]) {
        if message.id() == 0 {
            return;
        }
        let mut holding = Holding::default();
        self.hold_for_all(&message.view(), targets, &mut holding);
        for copy in holding.copies {
            let (session, message) = (copy.session, message.id());
            self.journal.step(&persist::records::Step::Dropped {
                session,
                message,
                at_most_once: false,
            });
            self.journal.records.finish(message);
        }
    }

    #[inline]
    fn deliver(&mut self, step: &mut Step<'_>, delivery: &mut Delivery<'_>, target: &Target) {
        // [MQTT5-3.8.3-3]
        if target.options.no_local() && Some(target.session) == delivery.view.publisher {
            return;
        }
        let ids = SubscriptionIds::from_id(target.subscription_id);
        let as_published = target.options.retain_as_published();
        self.deliver_copy(step, delivery, target, ids, as_published, None);
    }

    pub(crate) fn deliver_copy(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        target: &Target,
        ids: SubscriptionIds,
        as_published: bool,
        group: Option<(GroupId, u16)>,
    ) {
        let Some(key) = self.local(target.session) else {
            return;
        };
        let granted = QoS::from_bits(target.options.qos()).unwrap_or_default();
        let qos = self.effective_qos(delivery.view.qos, granted);
        let Some(session) = self.sessions.get_mut(key) else {
            if qos > QoS::AtMostOnce && target.options.is_persistent() && group.is_none() {
                // Its session has ended since it was routed.
                self.journal.records.finish(delivery.view.id);
            }
            return;
        };
        // [MQTT5-3.3.1-12], [MQTT5-3.3.1-13]
        let retain = as_published && delivery.view.retain;
        // QoS 0 that waited while the client was away goes first [MQTT5-4.6.0-6].
        let is_behind = self.settings.queue_qos0_messages && !session.queue.is_empty();
        let is_persistent = session.is_persistent;
        let conn = session.conn;
        if session.is_guarded
            && let Some(conn) = conn
            && !self.may(
                conn,
                Action::Deliver,
                delivery.view.topic,
                &mut delivery.topic_hash,
            )
        {
            self.deny_delivery(step, key, conn, delivery, qos, group);
            return;
        }
        match (qos, conn) {
            (QoS::AtMostOnce, Some(conn)) if !is_behind => {
                let form = Form {
                    retain,
                    ids: ids.as_slice(),
                    ..Form::default()
                };
                self.deliver_at_most_once(step, conn, delivery, &form);
            }
            (QoS::AtMostOnce, None) if !self.settings.queue_qos0_messages => {}
            (QoS::AtLeastOnce, _)
                if self.deliver_at_least_once(step, key, delivery, retain, &ids, group) => {}
            _ => {
                let message = if qos == QoS::AtMostOnce {
                    let is_kept = is_persistent && group.is_none();
                    self.record_at_most_once(delivery, target, retain, &ids, is_kept)
                } else {
                    delivery.keep(&mut self.messages)
                };
                let queued = Queued {
                    message,
                    qos,
                    retain,
                    ids,
                    group,
                };
                self.deliver_queued(step, key, queued, Some(delivery));
            }
        }
    }

    /// A client that is connected may not have a message that it is subscribed to.
    #[cold]
    fn deny_delivery(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        conn: SlabKey,
        delivery: &mut Delivery<'_>,
        qos: QoS,
        group: Option<(GroupId, u16)>,
    ) {
        // The log tells it once in a while, and not for each message.
        self.is_allowed(step, conn, Action::Deliver, delivery.view.topic);
        self.stats.publish_dropped += 1;
        if qos > QoS::AtMostOnce && delivery.view.id != 0 {
            let queued = Queued {
                message: delivery.keep(&mut self.messages),
                qos,
                retain: false,
                ids: SubscriptionIds::default(),
                group,
            };
            self.record_done(key, &queued, None);
        }
    }

    /// A QoS 0 message that waits for its session (queue_qos0_messages), recorded if it is kept. It has a
    /// name of its own: all who are promised the message may be done with it already.
    fn record_at_most_once(
        &mut self,
        delivery: &mut Delivery<'_>,
        target: &Target,
        retain: bool,
        ids: &SubscriptionIds,
        is_kept: bool,
    ) -> Arc<Message> {
        let is_kept = is_kept && !self.journal.refuses;
        if !is_kept && delivery.view.id == 0 {
            return delivery.keep(&mut self.messages);
        }
        let id = if is_kept {
            self.journal.next_message()
        } else {
            0
        };
        let view = MessageView {
            id,
            ..delivery.view
        };
        if is_kept {
            let mut holding = Holding::default();
            holding.copies.push(CopyTo {
                session: target.session,
                qos: QoS::AtMostOnce,
                retain,
                ids: ids.clone(),
            });
            let expires = view.expires.map(|time| self.journal.unix(time));
            let records = &mut self.journal.records;
            records.message(id, &view, expires, &holding, true);
        }
        view.keep()
    }

    /// QoS 0 to a connected client: written now or dropped.
    #[inline]
    fn deliver_at_most_once(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        delivery: &mut Delivery<'_>,
        form: &Form<'_>,
    ) {
        let outbox_bytes_max = self.settings.outbox_bytes_max;
        if self
            .conns
            .get(key)
            .is_some_and(|conn| conn.outbox.backlog() >= outbox_bytes_max)
        {
            self.drop_for_slow_reader(step, key);
        } else {
            self.write_shared(step, key, delivery, form);
        }
    }

    #[cold]
    fn drop_for_slow_reader(&mut self, step: &mut Step<'_>, key: SlabKey) {
        self.stats.publish_dropped += 1;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if !conn.dropping {
            conn.dropping = true;
            let bytes = conn.outbox.len();
            let client_id = self
                .client_id(crate::ConnId(key))
                .unwrap_or_default()
                .to_owned();
            events::outbox_full(step.effects, &client_id, bytes);
        }
    }
}
