//! Members of shared groups, at the shard of their session. Their group's home is in `group.rs`.

use std::sync::Arc;

use midge_codec::QoS;

use crate::deliver::Delivery;
use crate::effects::Mail;
use crate::message::Message;
use crate::persist;
use crate::queue::SubscriptionIds;
use crate::route::{GroupId, PresenceState, SessionRef, Target};
use crate::session::Session;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;

impl Shard {
    /// A message of a shared group for a session of this shard.
    pub(crate) fn deliver_shared(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        target: &Target,
        group: GroupId,
        home: u16,
    ) {
        if !self.take_shared(step, delivery, target, group, home) {
            let messages = vec![delivery.keep(&mut self.messages)];
            self.give_back(step, group, home, messages);
        }
    }

    /// What a group's home has given to a session of this shard, oldest first. What it cannot take goes
    /// back in one piece, so that it keeps its order.
    pub(crate) fn take_grant(
        &mut self,
        step: &mut Step<'_>,
        target: &Target,
        group: GroupId,
        home: u16,
        messages: Vec<Arc<Message>>,
    ) {
        let is_empty = messages.is_empty();
        let mut rest = messages.into_iter();
        let mut refused = Vec::new();
        for message in rest.by_ref() {
            if !self.take_shared(step, &mut Delivery::kept(&message), target, group, home) {
                refused.push(message);
                break;
            }
        }
        refused.extend(rest);
        if !refused.is_empty() {
            self.give_back(step, group, home, refused);
        }
        let Some(key) = self.local(target.session) else {
            return;
        };
        let mut again = false;
        if let Some(session) = self.sessions.get_mut(key) {
            session.pulling = false;
            again = std::mem::take(&mut session.pull_again);
        }
        // When the home has nothing, its backlog is still on its way there. It will find this member
        // ready then; asking again before would go in a circle.
        let after = (is_empty && !again).then_some(group);
        self.update_presence_after(step, key, after);
    }

    fn give_back(
        &mut self,
        step: &mut Step<'_>,
        group: GroupId,
        home: u16,
        messages: Vec<Arc<Message>>,
    ) {
        self.count_backlog(step, group, messages.len());
        self.post(step, home, Mail::GroupReturn { group, messages });
    }

    /// Delivers a message of a shared group, unless the session cannot take it.
    fn take_shared(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        target: &Target,
        group: GroupId,
        home: u16,
    ) -> bool {
        if delivery.view.is_expired(step.now) {
            // [MQTT5-3.3.2-5]
            self.stats.publish_dropped += 1;
            self.record_group_done(group, delivery.view.id);
            return true;
        }
        let granted = QoS::from_bits(target.options.qos()).unwrap_or_default();
        let qos = self.effective_qos(delivery.view.qos, granted);
        if qos > QoS::AtMostOnce && !self.has_place(target.session, delivery.view.size()) {
            return false;
        }
        if qos == QoS::AtMostOnce {
            self.record_group_done(group, delivery.view.id);
        }
        let ids = SubscriptionIds::from_id(target.subscription_id);
        let as_published = target.options.retain_as_published();
        self.deliver_copy(
            step,
            delivery,
            target,
            ids,
            as_published,
            Some((group, home)),
        );
        true
    }

    /// Records that a shared group has no more use for a message.
    pub(crate) fn record_group_done(&mut self, group: GroupId, message: u64) {
        if message == 0 {
            return;
        }
        let group = group.name_hash();
        self.journal
            .step(&persist::records::Step::GroupDone { group, message });
        self.journal.records.finish(message);
    }

    /// Whether a session can take a message of `size` bytes of a shared group: it may have gone, or
    /// filled up, since it was chosen. The group's queue is the better place for what its own would
    /// drop.
    fn has_place(&self, session: SessionRef, size: usize) -> bool {
        let session = self
            .local(session)
            .and_then(|key| self.sessions.get(key))
            .filter(|session| session.conn.is_some());
        let Some(session) = session else {
            return false;
        };
        let (most, bytes_max) = (
            self.settings.max_queued_messages,
            self.settings.max_queued_bytes,
        );
        let waiting = session.queue.len();
        waiting == 0
            || waiting < SHARED_QUEUE_MAX
                && (most == 0 || waiting < most)
                && (bytes_max == 0 || session.queue.bytes() + size <= bytes_max)
    }

    /// Tells the other cores whether a member of shared groups has room, and asks for what its groups
    /// hold when it has.
    pub(crate) fn update_presence(&mut self, step: &mut Step<'_>, key: SlabKey) {
        self.update_presence_after(step, key, None);
    }

    /// The same, but only groups behind `after` are asked.
    fn update_presence_after(&mut self, step: &mut Step<'_>, key: SlabKey, after: Option<GroupId>) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some(presence) = &session.presence else {
            return;
        };
        let state = self.presence_of(session);
        if presence.state() != state {
            presence.set(state);
        }
        if state == PresenceState::Ready {
            self.pull_from_groups(step, key, after);
        }
    }

    fn presence_of(&self, session: &Session) -> PresenceState {
        let conn = session.conn.and_then(|conn| self.conns.get(conn));
        let Some(conn) = conn else {
            return PresenceState::Away;
        };
        let room = session.queue.is_empty()
            && conn.outbox_has_room()
            && session.window_has_room(conn.receive_maximum, self.settings.max_inflight_bytes);
        if room {
            PresenceState::Ready
        } else {
            PresenceState::Busy
        }
    }

    /// Counts messages that are on their way to a group's home.
    pub(crate) fn count_backlog(&self, step: &Step<'_>, group: GroupId, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        step.tables.routing().count_waiting(group, count);
    }
}

/// Messages of shared groups that may wait at a member beyond its window: some are under way when the
/// window fills.
const SHARED_QUEUE_MAX: usize = 256;
