//! Logins: a CONNECT, and each AUTH, leaves to be judged and waits for the answer.

use std::sync::Arc;

use midge_codec::{Auth, Connect, Packet, Properties, Property, ReasonCode};
use midge_proto::{Answer, Fault, Phase};
use smallvec::SmallVec;

use crate::access::{
    Access, Action, Identity, Login, LoginAnswer, Method, Review, Reviewed, Says, Shown, topic_hash,
};
use crate::connection::Stage;
use crate::events;
use crate::session_end::{Cause, leave};
use crate::shard::{Next, Shard, Step};
use crate::slab::SlabKey;
use crate::{ConnId, Time};

/// AUTH: what follows (MQTT 5.0, table 3-11).
const CONTINUE: ReasonCode = ReasonCode(0x18);
const AGAIN: ReasonCode = ReasonCode(0x19);

/// Method and data among the properties of CONNECT or AUTH.
fn method_of(properties: &Properties<'_>) -> (Option<Box<str>>, Option<Box<[u8]>>) {
    let (mut name, mut data) = (None, None);
    for property in properties.iter() {
        match property {
            Property::AuthenticationMethod(text) => name = Some(text.into()),
            Property::AuthenticationData(bytes) => data = Some(bytes.into()),
            _ => {}
        }
    }
    (name, data)
}

impl Shard {
    /// Asks who the sender of a CONNECT is. Its bytes stay where they are.
    pub(crate) fn ask_login(&mut self, step: &mut Step<'_>, key: SlabKey, connect: &Connect<'_>) {
        let (name, data) = method_of(&connect.properties);
        if let Some(pending) = self.conns.get_mut(key).and_then(|c| c.pending.as_mut()) {
            pending.method.clone_from(&name);
        }
        let says = Says::Connect {
            user_name: connect.user_name.map(Into::into),
            password: connect.password.map(Into::into),
            method: name.map(|name| Method { name, data }),
        };
        self.push_login(step, key, says);
    }

    fn push_login(&mut self, step: &mut Step<'_>, key: SlabKey, says: Says) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let (client_id, version, client_id_is_assigned) = match &conn.pending {
            Some(pending) => (
                Arc::clone(&pending.client_id),
                pending.version,
                pending.assigned,
            ),
            None => {
                let session = conn.session.and_then(|session| self.sessions.get(session));
                let Some(session) = session else { return };
                (Arc::clone(&session.client_id), conn.version(), false)
            }
        };
        step.effects.logins.push(Login {
            conn: ConnId(key),
            listener: Arc::clone(&conn.origin.listener),
            address: conn.origin.address,
            client_id,
            client_id_is_assigned,
            version,
            says,
            shown: Shown::default(),
        });
    }

    /// AUTH from a client: a step of what its CONNECT began, or a new beginning.
    pub(crate) fn auth_received(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        auth: &Auth<'_>,
    ) -> Result<(), Fault> {
        let fault = |why| Err(Fault::disconnect(ReasonCode::PROTOCOL_ERROR, why));
        let (name, data) = method_of(&auth.properties);
        let Some(conn) = self.conns.get_mut(key) else {
            return Ok(());
        };
        let connects = conn.pending.is_some();
        let expected = match (&conn.pending, &conn.access) {
            (Some(pending), _) => pending.method.as_deref(),
            (None, Some(access)) => access.identity.method.as_ref().map(|m| &*m.name),
            (None, None) => None,
        };
        let (Some(name), Some(expected)) = (name, expected) else {
            return fault("AUTH without an authentication method");
        };
        if *name != *expected {
            // [MQTT5-4.12.0-5], [MQTT5-4.12.1-1]
            return fault("AUTH with another method than CONNECT");
        }
        let method = Method { name, data };
        let says = match (connects, auth.reason) {
            (true, CONTINUE) => Says::Auth(method),
            (false, CONTINUE) if conn.access.as_ref().is_some_and(|a| a.is_challenged) => {
                Says::Auth(method)
            }
            (false, AGAIN) => Says::Again(method),
            // [MQTT5-4.12.0-3], [MQTT5-4.12.0-4]
            _ => return fault("AUTH with a reason code that does not belong here"),
        };
        if let Some(pending) = &mut conn.pending {
            pending.stage = Stage::Login;
        }
        if let Some(access) = &mut conn.access {
            access.is_challenged = false;
        }
        self.push_login(step, key, says);
        Ok(())
    }

    /// Takes the answer to a login. The connection's bytes are to be given again, and those that
    /// arrived meanwhile, even if there are none.
    pub fn logged_in(&mut self, step: &mut Step<'_>, conn: ConnId, answer: LoginAnswer) {
        let key = conn.0;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match conn.pending.as_ref().map(|pending| pending.stage) {
            Some(Stage::Login) => self.login_answered(step, key, answer),
            None if conn.protocol.phase() == Phase::Connected => {
                self.login_again_answered(step, key, answer);
            }
            _ => {}
        }
    }

    fn login_answered(&mut self, step: &mut Step<'_>, key: SlabKey, answer: LoginAnswer) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(pending) = &mut conn.pending else {
            return;
        };
        match answer {
            LoginAnswer::Accepted(identity) => {
                if let Some(client_id) = &identity.client_id {
                    pending.client_id = Arc::clone(client_id);
                    pending.assigned = false;
                }
                pending.stage = Stage::LoggedIn;
                conn.access = Some(Box::new(Access::new(*identity)));
            }
            LoginAnswer::Refused(reason, why) => {
                let answer = Answer::ConnAck(pending.version, reason);
                self.turn_away(step, key, answer, &why);
            }
            LoginAnswer::Challenged(method) => {
                // The CONNECT is kept by now.
                pending.stage = Stage::Auth;
                conn.protocol.challenged(pending.version);
                self.send_auth(step, key, CONTINUE, &method);
            }
        }
    }

    fn login_again_answered(&mut self, step: &mut Step<'_>, key: SlabKey, answer: LoginAnswer) {
        match answer {
            LoginAnswer::Accepted(identity) => {
                let method = identity.method.clone();
                let Some(conn) = self.conns.get_mut(key) else {
                    return;
                };
                let expires = identity.expires;
                conn.access = Some(Box::new(Access::new(*identity)));
                self.review_subscriptions(step, key);
                self.set_login_timer(key, expires);
                if let Some(method) = method {
                    self.send_auth(step, key, ReasonCode::SUCCESS, &method);
                }
            }
            LoginAnswer::Refused(reason, why) => {
                // [MQTT5-4.12.1-2]
                self.turn_away(step, key, Answer::Disconnect(reason), &why);
            }
            LoginAnswer::Challenged(method) => {
                if let Some(access) = self.conns.get_mut(key).and_then(|c| c.access.as_mut()) {
                    access.is_challenged = true;
                }
                self.send_auth(step, key, CONTINUE, &method);
            }
        }
    }

    /// Sends AUTH. Method and data stand in it whatever it says `[MQTT5-4.12.0-2]`.
    fn send_auth(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        reason: ReasonCode,
        method: &Method,
    ) {
        let mut properties: SmallVec<[Property<'_>; 2]> = SmallVec::new();
        properties.push(Property::AuthenticationMethod(&method.name));
        properties.extend(method.data.as_deref().map(Property::AuthenticationData));
        let auth = Auth {
            reason,
            properties: Properties::from_list(&properties),
        };
        if self.send(step, key, &Packet::Auth(auth)) {
            return;
        }
        // The client would wait for ever.
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let answer = match &conn.pending {
            Some(pending) => Answer::ConnAck(pending.version, ReasonCode::PACKET_TOO_LARGE),
            None => Answer::Disconnect(ReasonCode::PACKET_TOO_LARGE),
        };
        let why = "AUTH is larger than the client's maximum packet size";
        self.turn_away(step, key, answer, why);
    }

    /// What a connection that is not let in yet waits for, so that its bytes have to wait too.
    pub(crate) fn waits_for(&self, key: SlabKey) -> Option<Next> {
        let pending = self.conns.get(key)?.pending.as_ref()?;
        match pending.stage {
            Stage::Login => Some(Next::Login),
            Stage::Claim => Some(Next::Claim),
            Stage::Auth | Stage::LoggedIn | Stage::Granted => None,
        }
    }

    /// Lets a connection that comes from another shard be who it was found to be there.
    pub fn vouch(&mut self, conn: ConnId, identity: Identity) {
        if let Some(conn) = self.conns.get_mut(conn.0) {
            conn.access = Some(Box::new(Access::new(identity)));
        }
    }

    /// Whether the client of a connection may do this. `hash` is the topic's seeded hash, by which is
    /// remembered what was decided about it, or 0 as long as nobody has computed it: a message whose topic
    /// was published to before, or that goes to many, is not hashed again.
    #[inline]
    pub(crate) fn may(
        &mut self,
        key: SlabKey,
        action: Action,
        topic: &str,
        hash: &mut u64,
    ) -> bool {
        let conn = self.conns.get_mut(key);
        let Some(access) = conn.and_then(|conn| conn.access.as_mut()) else {
            return true;
        };
        if *hash == 0 {
            *hash = topic_hash(self.by_client_id.hasher(), topic);
        }
        access.may(*hash, action, topic)
    }

    /// Whether the client of a connection may do this; if not, the log says why.
    pub(crate) fn is_allowed(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        action: Action,
        topic: &str,
    ) -> bool {
        let is_allowed = self.may(key, action, topic, &mut 0);
        if !is_allowed {
            self.tell_denied(step, key, action, topic);
        }
        is_allowed
    }

    /// Lets the log say why something is denied, now and then.
    #[cold]
    pub(crate) fn tell_denied(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        action: Action,
        topic: &str,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(access) = &mut conn.access else {
            return;
        };
        let Some(why) = access.why_denied(step.now, action, topic) else {
            return;
        };
        let user_name = access.identity.user_name.clone();
        let client_id = match &conn.pending {
            Some(pending) => &*pending.client_id,
            None => self.client_id(ConnId(key)).unwrap_or_default(),
        };
        events::denied(
            step.effects,
            action,
            client_id,
            user_name.as_deref(),
            topic,
            &why,
        );
    }

    /// Lets `judge` say what becomes of each client whose login was judged.
    pub fn review(&mut self, step: &mut Step<'_>, judge: &mut dyn FnMut(&Reviewed<'_>) -> Review) {
        let keys: Vec<SlabKey> = self
            .conns
            .keys()
            .filter(|key| {
                self.conns
                    .get(*key)
                    .is_some_and(|conn| conn.access.is_some())
            })
            .collect();
        for key in keys {
            let Some(conn) = self.conns.get(key) else {
                continue;
            };
            let (Some(access), Some(client_id)) = (&conn.access, self.client_id(ConnId(key)))
            else {
                continue;
            };
            let reviewed = Reviewed {
                conn: ConnId(key),
                listener: &conn.origin.listener,
                address: conn.origin.address,
                client_id,
                user_name: access.identity.user_name.as_deref(),
                seal: access.identity.seal,
                rights: access.identity.rights.as_ref(),
            };
            match judge(&reviewed) {
                Review::Stays => {}
                Review::Has(rights) => {
                    if let Some(access) = self.conns.get_mut(key).and_then(|c| c.access.as_mut()) {
                        access.change(rights);
                    }
                    self.review_subscriptions(step, key);
                }
                Review::Goes(reason, why) => {
                    self.turn_away(step, key, Answer::Disconnect(reason), &why);
                }
            }
        }
    }

    /// Lets the session know whether its client has rights to be asked.
    pub(crate) fn note_rights(&mut self, key: SlabKey) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let access = conn.access.as_ref();
        let is_guarded = access.is_some_and(|access| access.identity.rights.is_some());
        let session = conn.session.and_then(|key| self.sessions.get_mut(key));
        if let Some(session) = session {
            session.is_guarded = is_guarded;
        }
    }

    /// Removes the subscriptions that a client may not have any more.
    pub(crate) fn review_subscriptions(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(session_key) = self.session_key(key) else {
            return;
        };
        self.note_rights(key);
        let Some(session) = self.sessions.get(session_key) else {
            return;
        };
        let mount_point = session.mount_point.clone();
        let filters: Vec<Box<str>> = session.subscriptions.filters().map(Into::into).collect();
        let session_ref = self.session_ref(session_key);
        for filter in filters {
            let mounted = mounted(mount_point.as_deref(), &filter);
            if self.may(key, Action::Subscribe, &mounted, &mut 0) {
                continue;
            }
            let Some(session) = self.sessions.get_mut(session_key) else {
                return;
            };
            session.subscriptions.remove(&filter);
            if session.is_persistent {
                self.journal.records.unsubscribe(session_ref, &filter);
            }
            let client_id = Arc::clone(&session.client_id);
            self.changes
                .push(leave(&filter, mount_point.as_deref(), session_ref));
            events::subscription_removed(step.effects, &client_id, &filter);
        }
    }

    /// Ends a connection whose client may not be here; the reason is for the log.
    fn turn_away(&mut self, step: &mut Step<'_>, key: SlabKey, answer: Answer, why: &str) {
        self.answer_fault(step, key, answer);
        self.end(step, key, &Cause::TurnedAway(answer, why));
    }

    /// Has the connection looked at when its login is over.
    pub(crate) fn set_login_timer(&mut self, key: SlabKey, expires: Option<Time>) {
        let Some(expires) = expires else { return };
        if let Some(conn) = self.conns.get_mut(key)
            && expires < conn.timer
        {
            conn.timer = expires;
            self.timers.set(expires, crate::shard::Timer::Conn(key));
        }
    }
}

/// A filter as rules see it: below the mount point, also behind `$share/name/`.
pub(crate) fn mounted<'a>(mount_point: Option<&str>, filter: &'a str) -> std::borrow::Cow<'a, str> {
    let Some(mount_point) = mount_point else {
        return filter.into();
    };
    match filter
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((group, filter)) => format!("$share/{group}/{mount_point}{filter}").into(),
        None => format!("{mount_point}{filter}").into(),
    }
}
