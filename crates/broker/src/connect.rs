//! CONNECT: who comes in, on what terms, and with which session.

use std::sync::Arc;

use midge_codec::{
    ConnAck, Connect, ConnectFault, Packet, Properties, Property, QoS, ReasonCode, Version, Will,
    topic,
};
use midge_proto::{Answer, Fault, InboundAliases, KeepAlive, OutboundAliases, Why};
use smallvec::SmallVec;

use crate::Time;
use crate::access::{Action, Method};
use crate::connection::{PendingConnect, Stage};
use crate::effects::{Claim, DirectoryRequest};
use crate::events;
use crate::hold::{DISK_FULL, disk_full_connack};
use crate::limits::Limit;
use crate::persist::journal::HeldPacket;
use crate::route::PresenceState;
use crate::session::{Expiry, Session, SessionWill};
use crate::session_end::Cause;
use crate::shard::{Shard, Step, Timer};
use crate::slab::SlabKey;
use crate::{ConnId, ListenerSettings, Settings};

/// What the properties of a CONNECT ask for.
struct Asked {
    expiry: Expiry,
    receive_maximum: u16,
    topic_alias_maximum: u16,
    authenticates: bool,
}

impl Asked {
    fn new(connect: &Connect<'_>, settings: &Settings) -> Self {
        // In 3.x a session that is not clean lives for ever.
        let expiry = match (connect.version, connect.clean_start) {
            (Version::V5, _) | (_, true) => Expiry::WithConnection,
            (_, false) => Expiry::Never,
        };
        let window = match settings.max_inflight_messages {
            0 => u16::MAX,
            count => count,
        };
        let mut asked = Self {
            expiry,
            receive_maximum: window,
            topic_alias_maximum: 0,
            authenticates: false,
        };
        for property in connect.properties.iter() {
            match property {
                Property::SessionExpiryInterval(seconds) => {
                    asked.expiry = Expiry::from_interval(seconds);
                }
                Property::ReceiveMaximum(count) => asked.receive_maximum = count,
                Property::TopicAliasMaximum(count) => asked.topic_alias_maximum = count,
                Property::AuthenticationMethod(_) => asked.authenticates = true,
                _ => {}
            }
        }
        asked.expiry = asked.expiry.capped(settings.persistent_client_expiration);
        asked
    }
}

/// The largest packet that the client takes, from its CONNECT on `[MQTT5-3.1.2-24]`; 0 for any.
fn packet_size_max(connect: &Connect<'_>) -> u32 {
    let mut properties = connect.properties.iter();
    let maximum = properties.find_map(|property| match property {
        Property::MaximumPacketSize(bytes) => Some(bytes),
        _ => None,
    });
    maximum.unwrap_or(0)
}

fn refusal(version: Version, reason: ReasonCode, why: &'static str) -> Fault {
    Fault {
        answer: Answer::ConnAck(version, reason),
        why: Why::Text(why),
    }
}

/// A refusal that 3.x has no code for.
fn v5_refusal(version: Version, reason: ReasonCode, why: &'static str) -> Fault {
    match version {
        Version::V5 => refusal(version, reason, why),
        Version::V3_1 | Version::V3_1_1 => Fault::close(why),
    }
}

impl Shard {
    /// Handles a CONNECT. It comes twice: first it is judged and its client id claimed; when the claim
    /// is granted, the same bytes make the session.
    pub(crate) fn connect(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        first: u8,
        body: &[u8],
    ) -> Result<(), Fault> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Ok(());
        };
        let connect = Connect::decode(first, body).map_err(|fault| match fault {
            ConnectFault::Close(why) => Fault::close(why),
            ConnectFault::ConnAck {
                version,
                reason,
                why,
            } => refusal(version, reason, why),
        })?;
        let listener = Arc::clone(&conn.origin.listener);
        match conn.pending.as_ref().map(|pending| pending.stage) {
            None => {}
            Some(Stage::LoggedIn) => {
                self.claim_client_id(step, key);
                return Ok(());
            }
            Some(Stage::Granted) => return self.accept(step, key, &connect, &listener),
            Some(Stage::Login | Stage::Auth | Stage::Claim) => return Ok(()),
        }
        conn.packet_size_max = packet_size_max(&connect);
        judge(&connect, &self.settings, &listener)?;
        let assigned = connect.client_id.is_empty();
        let client_id: Arc<str> = if assigned {
            self.assign_client_id(&listener).into()
        } else {
            connect.client_id.into()
        };
        let Some(conn) = self.conns.get_mut(key) else {
            return Ok(());
        };
        let known = conn.access.as_ref().map(|access| &access.identity);
        let given = known.and_then(|identity| identity.client_id.clone());
        let must_log_in = listener.login && known.is_none();
        let assigned = assigned && given.is_none();
        conn.pending = Some(Box::new(PendingConnect {
            client_id: given.unwrap_or(client_id),
            version: connect.version,
            assigned,
            stage: if must_log_in {
                Stage::Login
            } else {
                Stage::LoggedIn
            },
            packet: None,
            method: None,
        }));
        if must_log_in {
            self.ask_login(step, key, &connect);
        } else {
            self.claim_client_id(step, key);
        }
        Ok(())
    }

    /// Asks the directory which shard is to hold the session.
    fn claim_client_id(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(pending) = self
            .conns
            .get_mut(key)
            .and_then(|conn| conn.pending.as_mut())
        else {
            return;
        };
        pending.stage = Stage::Claim;
        let client_id = Arc::clone(&pending.client_id);
        self.claim(&client_id);
        let claim = Claim {
            conn: ConnId(key),
            client_id,
        };
        step.effects.directory.push(DirectoryRequest::Claim(claim));
    }

    /// An id in Mosquitto's form: the prefix and 32 hexadecimal digits in groups.
    fn assign_client_id(&mut self, listener: &ListenerSettings) -> String {
        let (high, low) = (self.random.next(), self.random.next());
        format!(
            "{}{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
            listener.auto_id_prefix,
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFFF,
            low >> 48,
            low & 0xFFFF_FFFF_FFFF,
        )
    }

    /// Answers a CONNECT that may not become one more client (global_max_clients).
    pub(crate) fn refuse_when_full(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let pending = self.conns.get(key).and_then(|conn| conn.pending.as_ref());
        if let Some(version) = pending.map(|pending| pending.version) {
            let why = "there are as many clients as global_max_clients allows";
            self.count_limit(step, Limit::GlobalClients, key);
            self.fail(
                step,
                key,
                &v5_refusal(version, ReasonCode::SERVER_BUSY, why),
            );
        }
    }

    fn accept(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        connect: &Connect<'_>,
        listener: &ListenerSettings,
    ) -> Result<(), Fault> {
        let asked = Asked::new(connect, &self.settings);
        if self.journal.refuses && asked.expiry.outlives_connection() {
            let pending = self.conns.get(key).and_then(|conn| conn.pending.as_ref());
            let client_id = pending.map(|pending| Arc::clone(&pending.client_id));
            if client_id.is_some_and(|id| !self.has_session(&id, connect, listener)) {
                let reason = disk_full_connack(connect.version);
                return Err(refusal(connect.version, reason, DISK_FULL));
            }
        }
        if self.settings.limits.is_pressed() {
            // Who has a session comes to take what waits for it.
            let pending = self.conns.get(key).and_then(|conn| conn.pending.as_ref());
            let client_id = pending.map(|pending| Arc::clone(&pending.client_id));
            if client_id.is_some_and(|id| !self.has_session(&id, connect, listener)) {
                self.count_limit(step, Limit::Memory, key);
                let why = "memory is short (memory_limit)";
                return Err(refusal(connect.version, ReasonCode::SERVER_BUSY, why));
            }
        }
        if let Some(will) = &connect.will {
            let topic = crate::login::mounted(listener.mount_point.as_deref(), will.topic);
            if !self.is_allowed(step, key, Action::Publish, &topic) {
                let why = "the will may not be published";
                return Err(refusal(connect.version, ReasonCode::NOT_AUTHORIZED, why));
            }
        }
        let Some(pending) = self.conns.get_mut(key).and_then(|conn| conn.pending.take()) else {
            return Ok(());
        };
        let client_id = pending.client_id;
        let access = self.conns.get(key).and_then(|conn| conn.access.as_ref());
        let user_name: Option<Arc<str>> = match access {
            Some(access) => access.identity.user_name.clone(),
            None => connect.user_name.map(Into::into),
        };
        let method = access.and_then(|access| access.identity.method.clone());
        let expires = access.and_then(|access| access.identity.expires);
        let keep_alive = self.keep_alive(connect.keep_alive);
        let records_before = self.journal.records.size();
        let (session, present) = self.take_session(step, &client_id, connect, listener);
        self.unclaim(&client_id);
        self.fill_connection(step, key, session, connect, listener, &asked, keep_alive);
        if let Some(session) = self.sessions.get_mut(session)
            && !present
        {
            session.is_persistent = self.journal.on && asked.expiry.outlives_connection();
        }
        self.fill_session(
            key,
            session,
            connect,
            user_name.as_deref(),
            listener,
            &asked,
        );
        self.note_rights(key);
        self.set_login_timer(key, expires);
        if present {
            // They may have been another user's.
            self.review_subscriptions(step, key);
        }
        self.record_session(session, !present);
        let is_recorded = self.journal.records.size() != records_before;
        // The end of the session before this one may not be safe yet, and CONNACK says that it is over.
        let follows =
            !present && self.claims.contains_key(&client_id) && !self.journal.is_settled();
        // A session that is kept already comes back whatever the disk says.
        if (is_recorded || follows) && !self.journal.refuses {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.is_silent = true;
            }
            let is_new = !present && asked.expiry.outlives_connection();
            self.hold(key, HeldPacket::ConnAck { is_new });
        }
        if self.settings.connection_messages
            && let Some(conn) = self.conns.get(key)
        {
            events::connected(
                step.effects,
                &conn.origin,
                &client_id,
                user_name.as_deref(),
                connect.version,
                connect.clean_start,
                connect.keep_alive,
            );
        }
        let assigned = pending.assigned.then_some(&*client_id);
        let forced = (keep_alive != connect.keep_alive).then_some(keep_alive);
        let mut properties: SmallVec<[Property<'_>; 8]> = SmallVec::new();
        self.offer(listener, assigned, method.as_ref(), forced, &mut properties);
        let connack = Packet::ConnAck(ConnAck {
            session_present: present,
            reason: ReasonCode::SUCCESS,
            properties: Properties::from_list(&properties),
        });
        self.stats.connections += 1;
        self.stats.connected += 1;
        if !self.send(step, key, &connack) {
            return Err(Fault::close(
                "CONNACK is larger than the client's maximum packet size",
            ));
        }
        self.pump(step, session);
        Ok(())
    }

    /// Whether CONNECT resumes a session.
    fn has_session(
        &self,
        client_id: &Arc<str>,
        connect: &Connect<'_>,
        listener: &ListenerSettings,
    ) -> bool {
        let known = self
            .by_client_id
            .get(client_id)
            .and_then(|key| self.sessions.get(*key));
        known.is_some_and(|session| {
            session.expiry.outlives_connection()
                && !connect.clean_start
                && session.mount_point == listener.mount_point
        })
    }

    /// Records what a persistent session is now that it has a connection.
    fn record_session(&mut self, key: SlabKey, is_new: bool) {
        let session_ref = self.session_ref(key);
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        if session.is_persistent {
            self.journal
                .records
                .session(&session.record(session_ref), is_new);
        }
    }

    fn keep_alive(&self, asked: u16) -> u16 {
        match (self.settings.max_keepalive, asked) {
            (0, asked) => asked,
            (most, 0) => most,
            (most, asked) => asked.min(most),
        }
    }

    /// The session that CONNECT resumes, or a new one; and whether it was there.
    fn take_session(
        &mut self,
        step: &mut Step<'_>,
        client_id: &Arc<str>,
        connect: &Connect<'_>,
        listener: &ListenerSettings,
    ) -> (SlabKey, bool) {
        if let Some(old) = self.by_client_id.get(client_id).copied() {
            if let Some(conn) = self.sessions.get(old).and_then(|session| session.conn) {
                // [MQTT5-3.1.4-3], [MQTT311-3.1.4-2]
                self.send_disconnect(step, conn, ReasonCode::SESSION_TAKEN_OVER);
                self.end(step, conn, &Cause::TakenOver);
            }
            // Without a connection, only a session that outlives connections is still there.
            if let Some(session) = self.sessions.get(old) {
                // What it is subscribed to and has queued lies below its mount point, so it cannot go on
                // below another one.
                if !connect.clean_start && session.mount_point == listener.mount_point {
                    return (old, true);
                }
                self.end_session(step, old);
            }
        }
        let session = Session::new(Arc::clone(client_id), connect.version);
        let key = self.sessions.insert(session);
        self.by_client_id.insert(Arc::clone(client_id), key);
        (key, false)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place fills the whole connection"
    )]
    fn fill_connection(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        session: SlabKey,
        connect: &Connect<'_>,
        listener: &ListenerSettings,
        asked: &Asked,
        keep_alive: u16,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.session = Some(session);
        conn.protocol
            .connected(connect.version, asked.authenticates);
        conn.bridge = connect.bridge;
        conn.receive_maximum = asked.receive_maximum;
        conn.keep_alive = KeepAlive::new(keep_alive, step.now);
        let deadline = conn.keep_alive.server_deadline();
        // A timer that is set already looks at the deadline when it fires.
        let is_first = deadline < conn.timer;
        if is_first {
            conn.timer = deadline;
        }
        if listener.max_topic_alias > 0 && connect.version == Version::V5 {
            conn.aliases_in = Some(Box::new(InboundAliases::default()));
        }
        let aliases = asked
            .topic_alias_maximum
            .min(listener.max_topic_alias_broker);
        if aliases > 0 {
            conn.aliases_out = Some(Box::new(OutboundAliases::new(aliases)));
        }
        if is_first {
            self.timers.set(deadline, Timer::Conn(key));
        }
    }

    fn fill_session(
        &mut self,
        conn: SlabKey,
        session: SlabKey,
        connect: &Connect<'_>,
        user_name: Option<&str>,
        listener: &ListenerSettings,
        asked: &Asked,
    ) {
        let Some(session) = self.sessions.get_mut(session) else {
            return;
        };
        session.conn = Some(conn);
        session.version = connect.version;
        session.user_name = user_name.map(Into::into);
        session.expiry = asked.expiry;
        session.ends_at = Time::NEVER;
        session.mount_point.clone_from(&listener.mount_point);
        // A will of the last connection that still waits is cancelled `[MQTT5-3.1.3-9]`.
        session.will = connect
            .will
            .as_ref()
            .map(|will| Box::new(SessionWill::new(will, listener)));
        if let Some(presence) = &session.presence {
            presence.set(PresenceState::Busy);
        }
    }

    /// The properties of a successful CONNACK, in Mosquitto's order.
    fn offer<'a>(
        &self,
        listener: &ListenerSettings,
        assigned: Option<&'a str>,
        method: Option<&'a Method>,
        forced_keep_alive: Option<u16>,
        properties: &mut SmallVec<[Property<'a>; 8]>,
    ) {
        properties.extend(forced_keep_alive.map(Property::ServerKeepAlive));
        if listener.max_topic_alias > 0 {
            properties.push(Property::TopicAliasMaximum(listener.max_topic_alias));
        }
        properties.extend(assigned.map(Property::AssignedClientIdentifier));
        if let Some(method) = method {
            // [MQTT5-4.12.0-2]
            properties.push(Property::AuthenticationMethod(&method.name));
            let data = method.data.as_deref();
            properties.extend(data.map(Property::AuthenticationData));
        }
        if !self.settings.retain_available {
            properties.push(Property::RetainAvailable(0));
        }
        if self.settings.max_packet_size > 0 {
            properties.push(Property::MaximumPacketSize(self.settings.max_packet_size));
        }
        if self.settings.max_inflight_messages > 0 {
            properties.push(Property::ReceiveMaximum(
                self.settings.max_inflight_messages,
            ));
        }
        if listener.max_qos < QoS::ExactlyOnce {
            properties.push(Property::MaximumQos(listener.max_qos.bits()));
        }
    }

    /// Sends a CONNACK that refuses, in the form of `version`.
    pub(crate) fn send_refusal(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        version: Version,
        reason: ReasonCode,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if version != Version::V5 && reason.connack_v3().is_none() {
            // [MQTT311-3.2.2-6]
            return;
        }
        let max_qos = conn.origin.listener.max_qos;
        let limited = [Property::MaximumQos(max_qos.bits())];
        let properties: &[Property<'_>] = if max_qos < QoS::ExactlyOnce {
            &limited
        } else {
            &[]
        };
        let connack = ConnAck {
            session_present: false,
            reason,
            properties: Properties::from_list(properties),
        };
        let limit = conn.packet_size_max as usize;
        if conn.write(&mut self.pool, &mut step.effects.dirty, |buffer| {
            let before = buffer.len();
            let is_encoded = connack.encode(version, buffer).is_ok();
            is_encoded && (limit == 0 || buffer.len() - before <= limit)
        }) {
            self.stats.messages_sent += 1;
        }
    }
}

/// Whether a client may come in at all, as far as its CONNECT says.
fn judge(
    connect: &Connect<'_>,
    settings: &Settings,
    listener: &ListenerSettings,
) -> Result<(), Fault> {
    let version = connect.version;
    if !listener.versions.contains(version) {
        let why = "the listener does not accept this protocol version";
        return Err(refusal(
            version,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            why,
        ));
    }
    if let Some(will) = &connect.will {
        judge_will(will, version, settings, listener)?;
    }
    judge_client_id(connect, settings, listener)?;
    let method = |property| matches!(property, Property::AuthenticationMethod(_));
    if !listener.login && connect.properties.iter().any(method) {
        // [MQTT5-4.12.0-1]
        let why = "unknown authentication method";
        return Err(refusal(version, ReasonCode::BAD_AUTHENTICATION_METHOD, why));
    }
    if !listener.login && !listener.allow_anonymous {
        return Err(refusal(
            version,
            ReasonCode::NOT_AUTHORIZED,
            "not authorised",
        ));
    }
    if settings.max_keepalive > 0
        && version != Version::V5
        && (connect.keep_alive == 0 || connect.keep_alive > settings.max_keepalive)
    {
        // 3.x has no way to tell the client another value.
        let why = "keep alive is over max_keepalive";
        return Err(refusal(
            version,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            why,
        ));
    }
    Ok(())
}

fn judge_will(
    will: &Will<'_>,
    version: Version,
    settings: &Settings,
    listener: &ListenerSettings,
) -> Result<(), Fault> {
    if will.retain && !settings.retain_available {
        let why = "the will is retained, which is not available";
        return Err(v5_refusal(version, ReasonCode::RETAIN_NOT_SUPPORTED, why));
    }
    if will.qos > listener.max_qos {
        let why = "the will's QoS is over max_qos";
        return Err(v5_refusal(version, ReasonCode::QOS_NOT_SUPPORTED, why));
    }
    let levels = topic::levels(will.topic);
    if levels > settings.max_topic_levels && levels <= crate::publish::LEVELS_MAX {
        let why = "the will topic has more levels than max_topic_levels allows";
        return Err(v5_refusal(version, ReasonCode::TOPIC_NAME_INVALID, why));
    }
    if levels > crate::publish::LEVELS_MAX || will.topic.starts_with("$CONTROL/") {
        return Err(Fault::close("the will topic is not allowed"));
    }
    if settings.message_size_limit > 0 && will.payload.len() > settings.message_size_limit {
        let why = "the will is larger than message_size_limit";
        return Err(match version {
            Version::V5 => refusal(version, ReasonCode::PACKET_TOO_LARGE, why),
            Version::V3_1 | Version::V3_1_1 => refusal(version, ReasonCode::NOT_AUTHORIZED, why),
        });
    }
    Ok(())
}

fn judge_client_id(
    connect: &Connect<'_>,
    settings: &Settings,
    listener: &ListenerSettings,
) -> Result<(), Fault> {
    let version = connect.version;
    if !connect.client_id.is_empty() {
        let prefixes = &settings.clientid_prefixes;
        let fits = |prefix: &String| connect.client_id.starts_with(prefix.as_str());
        if prefixes.is_empty() || prefixes.iter().any(fits) {
            return Ok(());
        }
        let why = "the client id has none of clientid_prefixes";
        return Err(refusal(version, ReasonCode::NOT_AUTHORIZED, why));
    }
    let invalid = ReasonCode::CLIENT_IDENTIFIER_NOT_VALID;
    match version {
        Version::V3_1 => Err(refusal(version, invalid, "the client id is empty")),
        // [MQTT311-3.1.3-8]
        Version::V3_1_1 if !connect.clean_start => Err(refusal(
            version,
            invalid,
            "the client id is empty without clean session",
        )),
        Version::V3_1_1 if !listener.allow_zero_length_clientid => {
            Err(refusal(version, invalid, "the client id is empty"))
        }
        Version::V5 if !listener.allow_zero_length_clientid => Err(refusal(
            version,
            ReasonCode::UNSPECIFIED_ERROR,
            "the client id is empty",
        )),
        Version::V3_1_1 | Version::V5 => Ok(()),
    }
}

impl SessionWill {
    fn new(will: &Will<'_>, listener: &ListenerSettings) -> Self {
        let mut forwarded = Vec::new();
        let mut delay_secs = 0;
        let mut expiry_secs = None;
        for (property, bytes) in will.properties.items() {
            match property {
                Property::WillDelayInterval(seconds) => delay_secs = seconds,
                Property::MessageExpiryInterval(seconds) => expiry_secs = Some(seconds),
                _ => forwarded.extend_from_slice(bytes),
            }
        }
        let mount_point = listener.mount_point.as_deref().unwrap_or_default();
        Self {
            topic: format!("{mount_point}{}", will.topic).into(),
            payload: will.payload.into(),
            properties: forwarded.into(),
            qos: will.qos,
            retain: will.retain,
            expiry_secs,
            delay_secs,
            due: Time::NEVER,
        }
    }
}
