//! Ends: of connections, of sessions, and what they leave behind.

use std::fmt;
use std::sync::Arc;

use midge_codec::{Disconnect, Property, ReasonCode};
use midge_proto::{Answer, Fault, Phase};

use crate::Time;
use crate::connection::Stage;
use crate::deliver::{Asked, Delivery};
use crate::effects::Mail;
use crate::events;
use crate::message::{Message, MessageView};
use crate::persist;
use crate::persist::journal::HeldPacket;
use crate::route::{GroupId, PresenceState};
use crate::session::{Expiry, Session, SessionWill};
use crate::shard::{Ended, Shard, Step, Timer};
use crate::slab::SlabKey;
use crate::tables::Change;

/// Why a connection ends.
pub(crate) enum Cause<'a> {
    /// The client said so.
    Disconnect(ReasonCode),
    /// The socket came to its end.
    Lost(&'a Ended),
    /// The client broke the protocol, or is not let in.
    Fault(&'a Fault),
    /// It may not be here, and was told so.
    TurnedAway(Answer, &'a str),
    /// No CONNECT came in time.
    NoConnect,
    /// Nothing came for one and a half times the keep alive.
    KeepAlive,
    /// Another connection has the session now.
    TakenOver,
    /// The broker stops.
    ShuttingDown,
}

impl Cause<'_> {
    /// Only the normal DISCONNECT discards the will (`[MQTT5-3.14.4-3]`, `[MQTT311-3.14.4-3]`).
    const fn discards_will(&self) -> bool {
        matches!(self, Self::Disconnect(ReasonCode::SUCCESS))
    }
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnect(reason) => write!(f, "by the client, {reason}"),
            Self::Lost(Ended::ByPeer) => f.write_str("connection closed by client"),
            Self::Lost(Ended::Error(error)) => f.write_str(error),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::TurnedAway(Answer::Disconnect(reason) | Answer::ConnAck(_, reason), why) => {
                write!(f, "{}, {why}", reason.text())
            }
            Self::TurnedAway(Answer::Close, why) => f.write_str(why),
            Self::NoConnect => f.write_str("no CONNECT within connect_timeout"),
            Self::KeepAlive => f.write_str("exceeded timeout"),
            Self::TakenOver => f.write_str("session taken over"),
            Self::ShuttingDown => f.write_str("server shutting down"),
        }
    }
}

impl Shard {
    /// DISCONNECT from a client.
    pub(crate) fn disconnect_received(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), Fault> {
        let cap = self.settings.persistent_client_expiration;
        let session = self
            .session_key(key)
            .and_then(|session| self.sessions.get_mut(session));
        if let Some(session) = session {
            for property in disconnect.properties.iter() {
                let Property::SessionExpiryInterval(seconds) = property else {
                    continue;
                };
                if session.expiry == Expiry::WithConnection && seconds > 0 {
                    return Err(Fault::disconnect(
                        ReasonCode::PROTOCOL_ERROR,
                        "DISCONNECT gives a session expiry to a session that had none",
                    ));
                }
                session.expiry = Expiry::from_interval(seconds).capped(cap);
            }
        }
        self.end(step, key, &Cause::Disconnect(disconnect.reason));
        Ok(())
    }

    /// Ends a connection: the worker closes its socket, and its session goes on alone or ends too.
    pub(crate) fn end(&mut self, step: &mut Step<'_>, key: SlabKey, cause: &Cause<'_>) {
        let Some(conn) = self.conns.remove(key) else {
            return;
        };
        let is_silent = conn.is_silent;
        let mut rest = conn.outbox.take(&mut self.pool);
        if is_silent {
            // Its CONNACK is not true yet.
            rest.clear();
        }
        step.effects.closed.push((conn.token, rest));
        let session = conn
            .session
            .and_then(|session| self.sessions.get_mut(session));
        let client_id = session.map(|session| Arc::clone(&session.client_id));
        let quiet = matches!(cause, Cause::Disconnect(ReasonCode::SUCCESS));
        let reason = (!quiet).then_some(cause as &dyn fmt::Display);
        if let (None, Some(pending)) = (&client_id, &conn.pending) {
            match pending.stage {
                Stage::Claim => self.give_up_claim(step, &pending.client_id, false),
                Stage::Granted => self.give_up_claim(step, &pending.client_id, true),
                Stage::Login | Stage::Auth | Stage::LoggedIn => {}
            }
        }
        self.log_fault(step, &conn.origin, client_id.as_deref(), reason);
        if conn.protocol.phase() == Phase::Connected {
            self.stats.connected = self.stats.connected.saturating_sub(1);
        }
        if let Some(session) = conn.session {
            self.leave_alone(step, session, cause);
        }
    }

    /// A claim that was granted to a connection that ended before it made a session.
    fn give_up_claim(&mut self, step: &mut Step<'_>, client_id: &Arc<str>, granted: bool) {
        self.unclaim(client_id);
        // Otherwise the answer is still to come, and then nobody waits for it.
        if granted {
            self.release(step, Arc::clone(client_id));
        }
    }

    /// A session whose connection has just ended.
    fn leave_alone(&mut self, step: &mut Step<'_>, key: SlabKey, cause: &Cause<'_>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.conn = None;
        session.outgoing.disconnected();
        if let Some(presence) = &session.presence {
            presence.set(PresenceState::Away);
        }
        if cause.discards_will() {
            session.will = None;
        }
        if !session.expiry.outlives_connection() {
            self.end_session(step, key);
            return;
        }
        session.ends_at = match session.expiry {
            Expiry::After(seconds) => step.now.plus_secs(seconds),
            Expiry::WithConnection | Expiry::Never => Time::NEVER,
        };
        let mut due = None;
        match &mut session.will {
            Some(will) if will.delay_secs > 0 => {
                will.due = step.now.plus_secs(u64::from(will.delay_secs));
            }
            _ => due = session.will.take(),
        }
        self.record_left(key);
        self.set_session_timer(key);
        self.return_shared(step, key);
        if let Some(will) = due {
            self.publish_will(step, key, &will);
        }
    }

    /// Records since when a persistent session has been without a connection.
    fn record_left(&mut self, key: SlabKey) {
        let session_ref = self.session_ref(key);
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        if session.is_persistent {
            let ends_at = self.journal.unix_end(session.ends_at);
            let will = session.will.as_ref();
            let will_due = will.map(|will| self.journal.unix(will.due));
            self.journal.records.left(session_ref, ends_at, will_due);
        }
    }

    /// Ends a session: its will is published if it still waits `[MQTT5-3.1.2-8]`, its subscriptions and
    /// queues go, its client id is free. Retained messages stay `[MQTT311-3.1.2-7]`.
    pub(crate) fn end_session(&mut self, step: &mut Step<'_>, key: SlabKey) {
        self.return_shared(step, key);
        let Some(mut session) = self.sessions.remove(key) else {
            return;
        };
        self.by_client_id.remove(&session.client_id);
        // After a crowd has gone, its table goes too.
        let (known, room) = (self.by_client_id.len(), self.by_client_id.capacity());
        if room > 1024 && known < room / 8 {
            self.by_client_id.shrink_to(2 * known);
        }
        let session_ref = self.session_ref(key);
        let mount_point = session.mount_point.as_deref();
        for filter in session.subscriptions.filters() {
            self.changes.push(leave(filter, mount_point, session_ref));
        }
        for (_, queued) in session.outgoing.iter() {
            if let Some(queued) = queued {
                self.stats.queued_messages -= 1;
                self.stats.queued_bytes -= queued.message.size() as u64;
            }
        }
        self.stats.queued_messages -= (session.queue.len() + session.incoming.len()) as u64;
        self.stats.queued_bytes -= (session.queue.bytes() + session.incoming_bytes) as u64;
        if session.is_persistent {
            self.journal.records.session_end(session_ref);
            let sent = session.outgoing.iter().filter_map(|(_, queued)| queued);
            // What a shared group has given away with QoS 2 is the session's; the rest has gone back.
            for message in sent
                .map(|queued| queued.message.id())
                .chain(session.queue.names())
            {
                self.journal.records.finish(message);
            }
            for (_, message) in session.incoming.iter() {
                self.journal.records.finish(message.id());
            }
        }
        let will = session.will.take();
        if session.is_persistent {
            self.claim(&session.client_id);
            self.hold(key, HeldPacket::ClientId(session.client_id));
        } else {
            self.release(step, session.client_id);
        }
        if let Some(will) = will {
            self.publish_will(step, key, &will);
        }
    }

    /// Gives back to shared groups what the session has not finished. QoS 2 messages in flight stay
    /// with the session (`[MQTT5-4.8.2-4]`, `[MQTT5-4.8.2-5]`).
    fn return_shared(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.presence.is_none() {
            return;
        }
        let sent = session
            .outgoing
            .take_unacknowledged(|queued| queued.group.is_some());
        let sent_bytes: usize = sent.iter().map(|queued| queued.message.size()).sum();
        session.outgoing_bytes -= sent_bytes;
        let waiting = session.queue.take_shared();
        let mut returns: Vec<(GroupId, u16, Vec<Arc<Message>>)> = Vec::new();
        for queued in sent.into_iter().chain(waiting) {
            self.stats.queued_messages -= 1;
            self.stats.queued_bytes -= queued.message.size() as u64;
            let Some((group, home)) = queued.group else {
                continue;
            };
            match returns.iter_mut().find(|(known, ..)| *known == group) {
                Some((_, _, messages)) => messages.push(queued.message),
                None => returns.push((group, home, vec![queued.message])),
            }
        }
        for (group, home, messages) in returns {
            self.count_backlog(step, group, messages.len());
            self.post(step, home, Mail::GroupReturn { group, messages });
        }
    }

    pub(crate) fn publish_will(&mut self, step: &mut Step<'_>, from: SlabKey, will: &SessionWill) {
        if crate::publish::denied(&will.topic).is_some() {
            return;
        }
        let mut view = MessageView {
            topic: &will.topic,
            payload: &will.payload,
            properties: &will.properties,
            qos: will.qos,
            retain: will.retain,
            expires: will
                .expiry_secs
                .map(|seconds| step.now.plus_secs(u64::from(seconds))),
            publisher: Some(self.session_ref(from)),
            id: 0,
        };
        // Nobody could be told that it is refused, so it is delivered at least.
        if let Some(limit) = self.exceeds_retained(step, &view) {
            self.settings.limits.reached(limit, step.now);
            view.retain = false;
        }
        self.route(step, &mut Delivery::new(view), Asked::Unasked);
    }

    fn set_session_timer(&mut self, key: SlabKey) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // A later deadline than the timer's is set when that one fires: so a client that comes and goes
        // does not pile up timers.
        let deadline = session.deadline();
        if deadline < session.timer {
            session.timer = deadline;
            self.timers.set(deadline, Timer::Session(key));
        }
    }

    pub(crate) fn session_timer(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.timer > step.now {
            return;
        }
        session.timer = Time::NEVER;
        if session.conn.is_some() {
            return;
        }
        if session.ends_at <= step.now {
            self.stats.clients_expired += 1;
            if self.settings.connection_messages {
                events::session_expired(step.effects, &session.client_id);
            }
            self.end_session(step, key);
            return;
        }
        let is_due = session
            .will
            .as_ref()
            .is_some_and(|will| will.due <= step.now);
        let will = if is_due { session.will.take() } else { None };
        if is_due {
            self.record_will_done(key);
        }
        self.set_session_timer(key);
        if let Some(will) = will {
            self.publish_will(step, key, &will);
        }
    }

    /// Records that the will of a persistent session has been published.
    fn record_will_done(&mut self, key: SlabKey) {
        let is_persistent = |session: &Session| session.is_persistent;
        if self.sessions.get(key).is_some_and(is_persistent) {
            let session = self.session_ref(key);
            self.journal
                .step(&persist::records::Step::WillDone { session });
        }
    }

    /// Publishes all wills because the broker stops, while their readers are still connected.
    pub(crate) fn publish_all_wills(&mut self, step: &mut Step<'_>) {
        let keys: Vec<_> = self.sessions.keys().collect();
        for key in keys {
            let will = self
                .sessions
                .get_mut(key)
                .and_then(|session| session.will.take());
            if let Some(will) = will {
                self.record_will_done(key);
                self.publish_will(step, key, &will);
            }
        }
    }
}

/// The change that ends a subscription.
pub(crate) fn leave(
    filter: &str,
    mount_point: Option<&str>,
    session: crate::route::SessionRef,
) -> Change {
    let mount_point = mount_point.unwrap_or_default();
    match filter
        .strip_prefix("$share/")
        .and_then(|shared| shared.split_once('/'))
    {
        Some((group, filter)) => Change::Leave {
            group: group.into(),
            filter: format!("{mount_point}{filter}").into(),
            session,
        },
        None => Change::Unsubscribe {
            filter: format!("{mount_point}{filter}").into(),
            session,
        },
    }
}
