//! Retained messages to new subscriptions, in bounded steps: a subscription to a million of them holds up
//! nobody, and copies no more than its client takes.

use std::ops::ControlFlow;
use std::sync::Arc;

use midge_codec::QoS;

use crate::access::Action;
use crate::message::{Message, MessageView};
use crate::persist::records::{CopyTo, Holding};
use crate::queue::{Queued, SubscriptionIds};
use crate::retained::WalkState;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;
use crate::write::Form;

/// Stored topics that one step looks at.
const VISITS_MAX: usize = 256;
/// Messages that one step sends.
const BATCH_MAX: usize = 64;
/// Bytes of messages after which a step ends.
const BATCH_BYTES: usize = 64 * 1024;
/// Steps that are made at the end of one turn.
const STEPS_MAX: usize = 16;

impl Shard {
    /// Makes the first step of each new walk. What is stored now comes with the subscription, whatever
    /// the same client publishes next.
    pub(crate) fn start_walks(&mut self, step: &mut Step<'_>) {
        let starts = std::mem::take(&mut self.walk_starts);
        for key in starts {
            self.walk_step(step, key);
            self.resume_walk(key);
        }
    }

    /// Goes on with some walks.
    pub(crate) fn go_on_walking(&mut self, step: &mut Step<'_>) {
        for _ in 0..STEPS_MAX.min(self.walking.len()) {
            let Some(key) = self.walking.pop_front() else {
                break;
            };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.walking = false;
            }
            self.walk_step(step, key);
            self.resume_walk(key);
        }
    }

    /// Lists a connection for the next steps, if it has something to send and room for it.
    pub(crate) fn resume_walk(&mut self, key: SlabKey) {
        if self.walk_room(key) == 0 {
            return;
        }
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.walking
            && !conn.walks.is_empty()
        {
            conn.walking = true;
            self.walking.push_back(key);
        }
    }

    /// How many messages the next step may send.
    fn walk_room(&self, key: SlabKey) -> usize {
        let Some(conn) = self.conns.get(key) else {
            return 0;
        };
        let Some(walk) = conn.walks.front() else {
            return 0;
        };
        if !conn.outbox_has_room() {
            return 0;
        }
        if walk.qos == QoS::AtMostOnce {
            return BATCH_MAX;
        }
        let session = conn.session.and_then(|session| self.sessions.get(session));
        let Some(session) = session else {
            return 0;
        };
        if !session.queue.is_empty() {
            return 0;
        }
        let window = usize::from(conn.receive_maximum);
        window.saturating_sub(session.outgoing.len()).min(BATCH_MAX)
    }

    fn walk_step(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let room = self.walk_room(key);
        if room == 0 {
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(mut walk) = conn.walks.pop_front() else {
            return;
        };
        let session = conn.session.and_then(|session| self.sessions.get(session));
        let filter = conn.visible(walk.walk.filter());
        if session.is_none_or(|session| !session.subscriptions.contains(filter)) {
            // The client has unsubscribed [MQTT5-3.10.4-2].
            return;
        }
        let mut batch: Vec<Arc<Message>> = Vec::new();
        let mut bytes = 0;
        let mut state = WalkState::Done;
        step.tables.read_retained(&mut |retained| {
            state = retained.walk(&mut walk.walk, VISITS_MAX, &mut |_, message| {
                batch.push(Arc::clone(message));
                bytes += message.size();
                if batch.len() >= room || bytes >= BATCH_BYTES {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        });
        for message in batch {
            self.send_retained(step, key, &message, walk.qos, walk.subscription_id);
        }
        if state == WalkState::More
            && let Some(conn) = self.conns.get_mut(key)
        {
            conn.walks.push_front(walk);
        }
    }

    /// The message as a session is to hold it: a persistent one has a record of its own, since the
    /// retained message may be replaced at any time.
    fn record_retained_copy(
        &mut self,
        key: SlabKey,
        message: &Arc<Message>,
        qos: QoS,
        ids: &SubscriptionIds,
    ) -> Option<Arc<Message>> {
        let session = self.session_ref(key);
        if !self.sessions.get(key)?.is_persistent || self.journal.refuses {
            let view = MessageView {
                id: 0,
                ..message.view()
            };
            return Some(if message.id() == 0 {
                Arc::clone(message)
            } else {
                view.keep()
            });
        }
        let id = self.journal.next_message();
        let view = MessageView {
            id,
            ..message.view()
        };
        let mut holding = Holding::default();
        holding.copies.push(CopyTo {
            session,
            qos,
            retain: true,
            ids: ids.clone(),
        });
        let expires = view.expires.map(|time| self.journal.unix(time));
        // Nobody is promised anything: the client can ask again.
        self.journal
            .records
            .message(id, &view, expires, &holding, true);
        Some(view.keep())
    }

    fn send_retained(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        message: &Arc<Message>,
        granted: QoS,
        subscription_id: u32,
    ) {
        let view = message.view();
        if view.is_expired(step.now) || !self.may(key, Action::Deliver, view.topic, &mut 0) {
            return;
        }
        let qos = self.effective_qos(view.qos, granted);
        let ids = SubscriptionIds::from_id(subscription_id);
        if qos == QoS::AtMostOnce {
            // [MQTT311-3.3.1-8]
            let form = Form {
                retain: true,
                ids: ids.as_slice(),
                ..Form::default()
            };
            self.write_publish(step, key, &view, &form);
            return;
        }
        if let Some(session) = self.session_key(key) {
            let Some(message) = self.record_retained_copy(session, message, qos, &ids) else {
                return;
            };
            let queued = Queued {
                message,
                qos,
                retain: true,
                ids,
                group: None,
            };
            self.deliver_queued(step, session, queued, None);
        }
    }
}
