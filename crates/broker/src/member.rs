//! Members of shared groups, at the shard of their session. Their group's home is in `group.rs`.

use std::sync::atomic::Ordering;

use midge_codec::QoS;

use crate::deliver::Delivery;
use crate::effects::Mail;
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
        let granted = QoS::from_bits(target.options.qos()).unwrap_or_default();
        let qos = self.effective_qos(delivery.view.qos, granted);
        if qos > QoS::AtMostOnce && !self.takes_shared(target.session) {
            let message = delivery.keep();
            self.count_backlog(step, group, 1);
            self.post(
                step,
                home,
                Mail::GroupReturn {
                    group,
                    messages: vec![message],
                },
            );
            return;
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
    }

    /// Whether a session can take a message of a shared group: it may have gone, or filled up, since it
    /// was chosen.
    fn takes_shared(&self, session: SessionRef) -> bool {
        self.local(session)
            .and_then(|key| self.sessions.get(key))
            .is_some_and(|session| session.conn.is_some() && session.queue.len() < SHARED_QUEUE_MAX)
    }

    /// Tells the other cores whether a member of shared groups has room, and asks for what its groups
    /// hold when it has.
    pub(crate) fn update_presence(&mut self, step: &mut Step<'_>, key: SlabKey) {
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
            self.pull_from_groups(step, key);
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
        if let Some(group) = step.tables.routing().group(group) {
            group
                .backlog()
                .fetch_add(u32::try_from(count).unwrap_or(u32::MAX), Ordering::SeqCst);
        }
    }
}

/// Messages of shared groups that may wait at a member beyond its window: some are under way when the
/// window fills.
const SHARED_QUEUE_MAX: usize = 256;
