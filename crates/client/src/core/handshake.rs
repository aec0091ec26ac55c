//! CONNECT to CONNACK, and enhanced authentication.

use std::mem;

use midge_codec::{
    Auth, ConnAck, Connect, Packet, Properties, Property, ReasonCode, Version, Will,
};
use midge_proto::{Connection, InboundAliases, KeepAlive, OutboundAliases, Time};

use super::tickets::Call;
use super::{Core, Link, Outcome, State, Ticket};
use crate::credentials::Credentials;
use crate::error::{ConnectionError, Refusal};
use crate::event::{Connected, Event};
use crate::message::user_properties;

/// What the authenticator is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// The broker's next question.
    Answer(Vec<u8>),
    /// The broker's last word.
    Finish(Vec<u8>),
    /// A new exchange on this connection is to begin.
    Reauthenticate,
}

impl Core {
    /// What TLS agreed on for the connection that was just opened.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(&mut self, tls: Option<crate::TlsInfo>) {
        if let Some(link) = &mut self.link {
            link.tls = tls;
        }
    }

    /// A connection is open: CONNECT goes out. `authentication`: method and first data.
    pub(crate) fn opened(
        &mut self,
        now: Time,
        credentials: &Credentials,
        authentication: Option<(String, Vec<u8>)>,
    ) {
        let version = self.options.version;
        self.state = State::Linked;
        self.outbound.clear();
        let mut connection = Connection::client(version, authentication.is_some());
        connection.set_packet_size_max(self.options.packet_size_max);
        // Later connections of this client resume what the first one began.
        let clean_start =
            self.options.clean_start && !(version == Version::V5 && self.was_connected);
        self.link = Some(Link {
            connection,
            clean_start,
            keep_alive: KeepAlive::new(0, now),
            last_sent: now,
            last_heard: now,
            opened: now,
            handshake_until: now + self.options.dialer.timeout,
            inbound_aliases: InboundAliases::default(),
            outbound_aliases: OutboundAliases::new(0),
            unread: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
            judged: None,
            closing: None,
        });
        let connect = self.put_connect(clean_start, credentials, authentication);
        if connect.is_err() {
            let why = "a field of CONNECT is longer than 65,535 bytes";
            self.end_link(ConnectionError::Options(crate::OptionsError(
                why.to_owned(),
            )));
        }
        self.rouse();
    }

    fn put_connect(
        &mut self,
        clean_start: bool,
        credentials: &Credentials,
        authentication: Option<(String, Vec<u8>)>,
    ) -> Result<(), midge_codec::EncodeError> {
        let options = &self.options;
        let version = options.version;
        let mut properties = Vec::new();
        let mut will_properties = Vec::new();
        if version.has_properties() {
            let expiry = options.session_secs();
            properties.push(Property::SessionExpiryInterval(expiry));
            properties.push(Property::ReceiveMaximum(options.receive_maximum));
            properties.push(Property::MaximumPacketSize(options.packet_size_max));
            if options.inbound_aliases_max > 0 {
                properties.push(Property::TopicAliasMaximum(options.inbound_aliases_max));
            }
            if options.response_topic.is_none() {
                properties.push(Property::RequestResponseInformation(1));
            }
            if let Some((method, data)) = &authentication {
                properties.push(Property::AuthenticationMethod(method));
                properties.push(Property::AuthenticationData(data));
            }
            properties.extend(user_properties(&options.user_properties));
            if let Some(will) = &options.will {
                if will.delay_secs > 0 {
                    will_properties.push(Property::WillDelayInterval(will.delay_secs));
                }
                let expiry = will.properties.expiry.map(crate::options::seconds);
                will_properties.extend(will.properties.list(expiry));
            }
        }
        let will = options.will.as_ref().map(|will| Will {
            qos: will.qos,
            retain: will.retain,
            properties: Properties::from_list(&will_properties),
            topic: &will.topic,
            payload: &will.payload,
        });
        let user_name = credentials.user_name.as_deref();
        let password = credentials.password.as_deref();
        Connect {
            version,
            bridge: false,
            clean_start,
            keep_alive: options.keep_alive_secs,
            properties: Properties::from_list(&properties),
            client_id: &self.client_id,
            will,
            user_name,
            password: password.filter(|_| version == Version::V5 || user_name.is_some()),
        }
        .encode(&mut self.outbound.bytes)
    }

    pub(super) fn on_connack(&mut self, now: Time, connack: &ConnAck<'_>) {
        if connack.reason.is_failure() {
            let refusal = refusal(connack.reason, connack.properties);
            self.end_link(ConnectionError::Refused(refusal));
            return;
        }
        let (connected, proof) = self.read_connack(connack);
        let Some(link) = &mut self.link else {
            return;
        };
        if connack.session_present && link.clean_start {
            self.protocol_error("a session where a new one was asked for [MQTT5-3.2.2-4]");
            return;
        }
        if link.connection.authenticates() {
            link.judged = Some(connected);
            self.challenge = Some(Challenge::Finish(proof.unwrap_or_default()));
            self.rouse();
        } else {
            self.enter(now, connected);
        }
    }

    /// What CONNACK says, with the standard's word for what it leaves out; and its authentication
    /// data.
    fn read_connack(&self, connack: &ConnAck<'_>) -> (Connected, Option<Vec<u8>>) {
        let options = &self.options;
        let mut connected = Connected {
            session_present: connack.session_present,
            client_id: self.client_id.clone(),
            keep_alive_secs: options.keep_alive_secs,
            session_expiry_secs: match options.version {
                Version::V5 => options.session_secs(),
                _ if options.clean_start => 0,
                _ => u32::MAX,
            },
            receive_maximum: u16::MAX,
            maximum_qos: 2,
            retain_available: true,
            wildcards_available: true,
            shared_available: true,
            subscription_identifiers_available: options.version.has_properties(),
            #[cfg(feature = "tls")]
            tls: self.link.as_ref().and_then(|link| link.tls.clone()),
            ..Connected::default()
        };
        let mut proof = None;
        for property in connack.properties.iter() {
            match property {
                Property::SessionExpiryInterval(secs) => connected.session_expiry_secs = secs,
                Property::ReceiveMaximum(maximum) => connected.receive_maximum = maximum,
                Property::MaximumQos(qos) => connected.maximum_qos = qos,
                Property::RetainAvailable(flag) => connected.retain_available = flag == 1,
                Property::MaximumPacketSize(bytes) => connected.packet_size_max = bytes,
                Property::AssignedClientIdentifier(id) => connected.client_id = id.to_owned(),
                Property::TopicAliasMaximum(maximum) => connected.topic_alias_maximum = maximum,
                Property::ReasonString(text) => connected.reason_string = Some(text.to_owned()),
                Property::UserProperty(name, value) => {
                    let pair = (name.to_owned(), value.to_owned());
                    connected.user_properties.push(pair);
                }
                Property::WildcardSubscriptionAvailable(flag) => {
                    connected.wildcards_available = flag == 1;
                }
                Property::SubscriptionIdentifierAvailable(flag) => {
                    connected.subscription_identifiers_available = flag == 1;
                }
                Property::SharedSubscriptionAvailable(flag) => {
                    connected.shared_available = flag == 1;
                }
                Property::ServerKeepAlive(seconds) => connected.keep_alive_secs = seconds,
                Property::ResponseInformation(text) => {
                    connected.response_information = Some(text.to_owned());
                }
                Property::AuthenticationData(data) => proof = Some(data.to_vec()),
                _ => {}
            }
        }
        (connected, proof)
    }

    /// The connection is accepted: whatever waited goes out.
    fn enter(&mut self, now: Time, connected: Connected) {
        let version = self.options.version;
        let Some(link) = &mut self.link else {
            return;
        };
        let authenticates = link.connection.authenticates();
        link.connection.connected(version, authenticates);
        link.keep_alive = KeepAlive::new(connected.keep_alive_secs, now);
        let aliases = connected
            .topic_alias_maximum
            .min(self.options.outbound_aliases_max);
        link.outbound_aliases = OutboundAliases::new(aliases);
        let session_present = connected.session_present;
        self.client_id.clone_from(&connected.client_id);
        self.terms = connected.clone();
        self.refused = None;
        self.was_connected = true;
        self.fail_fast = false;
        self.tell(Event::Connected(connected.clone()));
        self.tickets.first_connected(&connected, &mut self.wakers);
        // 3.1 does not say whether there was a session; then both sides are asked to go on as if.
        let unknown = version == Version::V3_1 && !self.options.clean_start;
        let doubts = mem::take(&mut self.doubts_session) && session_present;
        if !session_present && !unknown {
            self.session_lost();
        }
        if !session_present || doubts {
            self.resubscribe(session_present);
        }
        self.send_operations();
        self.pump(now);
        self.check_shutdown(now);
    }

    pub(super) fn on_auth(&mut self, auth: &Auth<'_>) {
        let mut data = Vec::new();
        for property in auth.properties.iter() {
            if let Property::AuthenticationData(bytes) = property {
                data = bytes.to_vec();
            }
        }
        let is_under_way = !self.is_connected() || self.reauthentication.is_some();
        self.challenge = match auth.reason {
            ReasonCode::CONTINUE_AUTHENTICATION if is_under_way => Some(Challenge::Answer(data)),
            ReasonCode::SUCCESS if self.reauthentication.is_some() => Some(Challenge::Finish(data)),
            _ => {
                self.protocol_error("AUTH was not expected");
                return;
            }
        };
        self.rouse();
    }

    /// What the authenticator is to be asked next, once.
    pub(crate) const fn take_challenge(&mut self) -> Option<Challenge> {
        self.challenge.take()
    }

    /// The authenticator has answered with data for AUTH.
    pub(crate) fn authenticated(&mut self, challenge: &Challenge, method: &str, data: &[u8]) {
        let reason = match challenge {
            Challenge::Reauthenticate => ReasonCode::RE_AUTHENTICATE,
            Challenge::Answer(_) | Challenge::Finish(_) => ReasonCode::CONTINUE_AUTHENTICATION,
        };
        if self.link.is_none() {
            return;
        }
        let list = [
            Property::AuthenticationMethod(method),
            Property::AuthenticationData(data),
        ];
        self.answer(Packet::Auth(Auth {
            reason,
            properties: Properties::from_list(&list),
        }));
    }

    /// The authenticator is content with the broker's last word.
    pub(crate) fn authentication_finished(&mut self, now: Time) {
        if let Some(ticket) = self.reauthentication.take() {
            self.complete(ticket, Outcome::Reauthenticated(Ok(())));
        }
        let judged = self.link.as_mut().and_then(|link| link.judged.take());
        if let Some(connected) = judged {
            self.enter(now, connected);
        }
        self.resume(now);
    }

    /// The authenticator cannot go on.
    pub(crate) fn authentication_failed(&mut self, why: String) {
        if self.is_connected() {
            self.send_disconnect(super::Farewell {
                reason: ReasonCode::NOT_AUTHORIZED,
                session_expiry_secs: None,
            });
        }
        self.end_link(ConnectionError::Authentication(why));
    }

    /// Begins a new authentication on the present connection, or says why that cannot be.
    pub(crate) fn reauthenticate(&mut self) -> Result<Ticket, ConnectionError> {
        if let State::Closed(error) = &self.state {
            return Err(error.clone());
        }
        let why = if self.options.authenticator.is_none() {
            "the options name no authenticator"
        } else if !self.is_connected() {
            "there is no connection; the next one authenticates anyway"
        } else if self.reauthentication.is_some() {
            "a new authentication is under way already"
        } else {
            let ticket = self.tickets.issue(Call::Reauthenticate);
            self.reauthentication = Some(ticket);
            self.challenge = Some(Challenge::Reauthenticate);
            self.rouse();
            return Ok(ticket);
        };
        Err(ConnectionError::Authentication(why.to_owned()))
    }

    /// A ticket for the first CONNACK of this client.
    pub(crate) fn await_connection(&mut self) -> Ticket {
        self.tickets.issue(Call::Connect)
    }

    /// A DISCONNECT of the broker's.
    pub(super) fn on_disconnect(&mut self, reason: ReasonCode, properties: Properties<'_>) {
        let error = ConnectionError::Disconnected(refusal(reason, properties));
        // Nothing may be sent any more [MQTT5-3.14.4-1].
        self.outbound.bytes.clear();
        self.outbound.taken = self.outbound.written;
        self.end_link(error);
    }

    /// The broker broke the protocol: it is told, and the connection ends.
    pub(super) fn protocol_error(&mut self, why: &str) {
        self.fault(Some(ReasonCode::PROTOCOL_ERROR), why.to_owned());
    }

    pub(super) fn fault(&mut self, answer: Option<ReasonCode>, why: String) {
        if let Some(reason) = answer
            && self.options.version.has_properties()
            && self.is_connected()
        {
            self.send(Packet::Disconnect(midge_codec::Disconnect::new(reason)));
        }
        if let Some(link) = &mut self.link {
            let _ = mem::take(&mut link.unread);
        }
        self.end_link(ConnectionError::Protocol(why));
    }
}

/// A refusal with what its properties say.
pub(super) fn refusal(reason: ReasonCode, properties: Properties<'_>) -> Refusal {
    let mut refusal = Refusal::new(reason);
    for property in properties.iter() {
        match property {
            Property::ReasonString(text) => refusal.reason_string = Some(text.to_owned()),
            Property::ServerReference(name) => refusal.server_reference = Some(name.to_owned()),
            _ => {}
        }
    }
    refusal
}
