//! Clients: careful ones, which keep to the standard and look closely at what they get.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::rc::Rc;

use midge_codec::{
    Ack, AckKind, ConnAck, Connect, Disconnect, Packet, Properties, Property, Publish, QoS,
    ReasonCode, Version, Will,
};
use midge_proto::{
    Acked, AliasUse, InboundAliases, Incoming, KeepAlive, OutboundAliases, Resend, Time,
};

use crate::broker_side::show;
use crate::check::{Checked, broken};
use crate::link::{Link, Quality};
use crate::model::{Answer, PubId, Receipt};
use crate::run::Run;
use crate::wire::Wire;
use crate::world::{Event, Millis};

/// A message on its way to the broker.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Encoded, without expiry and alias.
    pub(crate) properties: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry: Option<u32>,
}

/// A client: what it remembers from connection to connection, and the connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Empty: the broker gives one at each connection.
    pub(crate) id: String,
    pub(crate) version: Version,
    /// A client of 3.x either shares or subscribes for itself: its copies would look the same.
    pub(crate) shares: bool,
    pub(crate) conn: Option<Attachment>,
    /// Connections that it has abandoned for another one.
    pub(crate) abandoned: Vec<Wire>,
    pub(crate) outgoing: Outgoing,
    incoming: Incoming<()>,
    /// The session at the broker that this state belongs to, as the model numbers them.
    session: Option<usize>,
    next_request: u16,
}

type Outgoing = midge_proto::Outgoing<Rc<Message>>;

/// Packet identifiers from here on are for SUBSCRIBE and UNSUBSCRIBE, those below for messages.
const REQUESTS_FROM: u16 = 60_000;

/// What a client asks for in its CONNECT.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) expiry: u32,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) packet_size_max: Option<u32>,
    pub(crate) alias_max: u16,
    pub(crate) will: Option<LastWill>,
}

#[derive(Clone, Debug)]
pub(crate) struct LastWill {
    pub(crate) publication: PubId,
    pub(crate) delay: u32,
    pub(crate) expiry: Option<u32>,
}

/// A client's present connection.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) wire: Wire,
    /// CONNACK has come.
    pub(crate) connected: bool,
    pub(crate) wishes: Wishes,
    server_receive_maximum: u16,
    keep_alive: KeepAlive,
    aliases_in: InboundAliases,
    aliases_out: OutboundAliases,
    /// Messages of this connection that are not acknowledged.
    unacknowledged: BTreeSet<u16>,
    /// Acknowledgements that are held back, with the message that each finishes.
    held: VecDeque<(Vec<u8>, Option<u16>)>,
    held_until: Millis,
    /// Nothing is read before this time.
    pub(crate) reads_from: Millis,
    /// It has broken the protocol.
    pub(crate) misbehaved: bool,
}

impl Client {
    pub(crate) fn new(id: String, version: Version, shares: bool) -> Self {
        Self {
            id,
            version,
            shares,
            conn: None,
            abandoned: Vec::new(),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            session: None,
            next_request: REQUESTS_FROM,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.connected)
    }

    /// Whether it waits for nothing: connected, everything acknowledged.
    pub(crate) fn is_content(&self) -> bool {
        self.abandoned.is_empty()
            && self.outgoing.is_empty()
            && self
                .conn
                .as_ref()
                .is_none_or(|conn| conn.connected && conn.held.is_empty())
    }

    /// An identifier for a SUBSCRIBE or UNSUBSCRIBE.
    pub(crate) fn request_id(&mut self) -> NonZeroU16 {
        self.next_request = self.next_request.checked_add(1).unwrap_or(REQUESTS_FROM);
        NonZeroU16::new(self.next_request).unwrap_or(NonZeroU16::MIN)
    }

    /// Forgets the connection; what it has left unfinished is due again on the next one.
    pub(crate) fn detach(&mut self) -> Option<Attachment> {
        self.outgoing.disconnected();
        self.conn.take()
    }
}

impl Run {
    /// Opens a link and sends CONNECT.
    pub(crate) fn connect(&mut self, client: usize, wishes: Wishes) {
        let link = self.links.len();
        let quality = if self.stage_is_script() {
            self.profile.quality(&mut self.world.random)
        } else {
            Quality::WHOLE
        };
        self.links.push(Link::new(client, quality));
        if self.broker.is_up() {
            self.broker.accept(&mut self.world, link);
        } else {
            self.lose_link(link, 100);
        }
        let version = self.clients[client].version;
        let wire = Wire::new(link, version, wishes.packet_size_max.unwrap_or(0));
        let now = Time(self.world.now);
        self.clients[client].conn = Some(Attachment {
            wire,
            connected: false,
            server_receive_maximum: 10,
            keep_alive: KeepAlive::new(wishes.keep_alive, now),
            aliases_in: InboundAliases::default(),
            aliases_out: OutboundAliases::new(0),
            unacknowledged: BTreeSet::new(),
            held: VecDeque::new(),
            held_until: 0,
            reads_from: 0,
            misbehaved: false,
            wishes: wishes.clone(),
        });
        self.send_connect(client, version, &wishes);
    }

    fn send_connect(&mut self, client: usize, version: Version, wishes: &Wishes) {
        let mut properties = Vec::new();
        let mut will_properties = Vec::new();
        let mut will_bytes = Vec::new();
        if version.has_properties() {
            if wishes.expiry > 0 {
                properties.push(Property::SessionExpiryInterval(wishes.expiry));
            }
            properties.extend(wishes.receive_maximum.map(Property::ReceiveMaximum));
            properties.extend(wishes.packet_size_max.map(Property::MaximumPacketSize));
            if wishes.alias_max > 0 {
                properties.push(Property::TopicAliasMaximum(wishes.alias_max));
            }
        }
        let mut sent_will = None;
        if let Some(will) = &wishes.will {
            let message = self.model.publications[will.publication].clone();
            if version.has_properties() {
                if will.delay > 0 {
                    will_properties.push(Property::WillDelayInterval(will.delay));
                }
                will_properties.extend(will.expiry.map(Property::MessageExpiryInterval));
                will_bytes.clone_from(&message.properties);
            }
            sent_will = Some(message);
        }
        let id = self.clients[client].id.clone();
        let connect = Connect {
            version,
            bridge: false,
            clean_start: wishes.clean_start,
            keep_alive: wishes.keep_alive,
            properties: Properties::from_list(&properties),
            client_id: &id,
            will: sent_will.as_ref().map(|message| Will {
                qos: message.qos,
                retain: message.retain,
                properties: Properties::from_encoded(&will_bytes, &will_properties),
                topic: &message.topic,
                payload: &message.payload,
            }),
            user_name: None,
            password: None,
        };
        self.send(client, &Packet::Connect(connect));
    }

    /// Sends a packet, if there is a connection.
    pub(crate) fn send(&mut self, client: usize, packet: &Packet<'_>) {
        let version = self.clients[client].version;
        let mut bytes = Vec::new();
        if packet.encode(version, &mut bytes).is_ok() {
            self.world
                .trace(|| format!("{} sends {}", self.clients[client].id, show(packet)));
            self.send_bytes(client, &bytes);
        }
    }

    pub(crate) fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        let now = Time(self.world.now);
        let Some(conn) = &mut self.clients[client].conn else {
            return;
        };
        conn.keep_alive.active(now);
        let link = conn.wire.link;
        let deadline = conn.keep_alive.client_deadline();
        if deadline != Time::NEVER {
            self.world.at(deadline.0, Event::Wake(client));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let up = &mut self.links[link].up;
            let (count, arrivals) = up.write(self.world.now, &mut self.world.random, rest);
            rest = rest.get(count..).unwrap_or_default();
            for at in arrivals {
                self.world.at(at, Event::Arrival(link));
            }
        }
    }

    /// Publishes, unless the window is full; whether it did.
    pub(crate) fn publish(&mut self, client: usize, message: Message) -> bool {
        let message = Rc::new(message);
        let Some(conn) = &self.clients[client].conn else {
            return false;
        };
        let maximum = conn.server_receive_maximum;
        let mut id = None;
        if message.qos > QoS::AtMostOnce {
            let outgoing = &mut self.clients[client].outgoing;
            if !outgoing.has_room(maximum) {
                return false;
            }
            let Ok(free) = outgoing.push(message.qos, Rc::clone(&message)) else {
                return false;
            };
            id = Some(free);
        }
        self.send_publish(client, &message, id, false);
        true
    }

    fn send_publish(
        &mut self,
        client: usize,
        message: &Message,
        packet_id: Option<NonZeroU16>,
        dup: bool,
    ) {
        let is_v5 = self.clients[client].version.has_properties();
        let Some(conn) = &mut self.clients[client].conn else {
            return;
        };
        let mut extra = Vec::new();
        let mut topic = &*message.topic;
        if is_v5 {
            extra.extend(message.expiry.map(Property::MessageExpiryInterval));
            let alias = conn.aliases_out.choose(topic);
            conn.aliases_out.sent(topic, alias);
            match alias {
                AliasUse::Topic => {}
                AliasUse::Assign(alias) => extra.push(Property::TopicAlias(alias)),
                AliasUse::Alias(alias) => {
                    extra.push(Property::TopicAlias(alias));
                    topic = "";
                }
            }
        }
        let properties = if is_v5 {
            Properties::from_encoded(&message.properties, &extra)
        } else {
            Properties::NONE
        };
        let publish = Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic,
            packet_id,
            properties,
            payload: &message.payload,
        };
        self.send(client, &Packet::Publish(publish));
    }

    /// Sends again what an earlier connection left unfinished, as far as the broker's window has room.
    fn resend(&mut self, client: usize) {
        while let Some(conn) = &self.clients[client].conn {
            let maximum = conn.server_receive_maximum;
            match self.clients[client].outgoing.next_resend(maximum) {
                None => return,
                Some(Resend::Publish(id, _, message)) => {
                    let message = Rc::clone(message);
                    self.send_publish(client, &message, Some(id), true);
                }
                Some(Resend::PubRel(id)) => {
                    let ack = Ack::new(id, ReasonCode::SUCCESS);
                    self.send(client, &Packet::Ack(AckKind::PubRel, ack));
                }
            }
        }
    }

    /// Says good-bye and closes the connection.
    pub(crate) fn disconnect(&mut self, client: usize, reason: ReasonCode, expiry: Option<u32>) {
        let list: Vec<_> = expiry
            .map(Property::SessionExpiryInterval)
            .into_iter()
            .collect();
        let disconnect = Disconnect {
            reason,
            properties: Properties::from_list(&list),
        };
        self.send(client, &Packet::Disconnect(disconnect));
        self.close(client);
    }

    /// Closes the connection without a word.
    pub(crate) fn close(&mut self, client: usize) {
        if let Some(conn) = self.clients[client].detach() {
            self.close_link(conn.wire.link);
        }
    }

    pub(crate) fn close_link(&mut self, link: usize) {
        self.world
            .trace(|| format!("link {link} is closed by its client"));
        let end = &mut self.links[link];
        if end.client_open {
            end.client_open = false;
            let at = end.up.close(self.world.now, &mut self.world.random);
            end.down.forget();
            end.last_words = None;
            self.world.at(at, Event::Arrival(link));
            // What the broker could not write, it can write now: nobody hears it.
            self.broker.wake_for(&mut self.world, link);
        }
    }

    /// Reads what has arrived at the client's end of a link.
    pub(crate) fn read(&mut self, link: usize) -> Checked {
        let client = self.links[link].client;
        self.links[link].down.arrive(self.world.now);
        if !self.links[link].client_open {
            return Ok(());
        }
        let own = &mut self.clients[client];
        let Some(mut conn) = own.conn.take_if(|conn| conn.wire.link == link) else {
            return self.read_abandoned(client, link);
        };
        if self.world.now < conn.reads_from {
            own.conn = Some(conn);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut conn.wire.buffer);
        self.links[link].down.read(usize::MAX, &mut bytes);
        own.conn = Some(conn);
        let mut rest = &*bytes;
        while let Some(conn) = &self.clients[client].conn {
            let Some((packet, length)) = conn.wire.packet(rest)? else {
                break;
            };
            rest = rest.get(length..).unwrap_or_default();
            self.world.trace(|| {
                format!(
                    "{} gets by link {link} {}",
                    self.clients[client].id,
                    show(&packet)
                )
            });
            self.take(client, link, &packet)?;
        }
        if let Some(conn) = &mut self.clients[client].conn {
            conn.wire.buffer = rest.to_vec();
        }
        self.after_reading(link);
        if self.links[link].down.ended().is_some() {
            self.close(client);
        }
        Ok(())
    }

    /// Of a connection that was abandoned only the form is looked at.
    fn read_abandoned(&mut self, client: usize, link: usize) -> Checked {
        let wires = &mut self.clients[client].abandoned;
        let Some(wire) = wires.iter_mut().find(|wire| wire.link == link) else {
            return Ok(());
        };
        let mut bytes = std::mem::take(&mut wire.buffer);
        self.links[link].down.read(usize::MAX, &mut bytes);
        let mut rest = &*bytes;
        while let Some((packet, length)) = wire.packet(rest)? {
            rest = rest.get(length..).unwrap_or_default();
            match packet {
                Packet::ConnAck(_) => wire.protocol.connected(wire.version, false),
                Packet::Disconnect(disconnect) => {
                    wire.dismissed = true;
                    let stops = disconnect.reason == ReasonCode::SERVER_SHUTTING_DOWN
                        && self.model.past(link).over;
                    if disconnect.reason != ReasonCode::SESSION_TAKEN_OVER && !stops {
                        return broken("reasons of DISCONNECT", format!("{disconnect:?}"));
                    }
                }
                _ => {}
            }
        }
        wire.buffer = rest.to_vec();
        self.after_reading(link);
        if self.links[link].down.ended().is_some() {
            self.clients[client]
                .abandoned
                .retain(|wire| wire.link != link);
            self.close_link(link);
        }
        Ok(())
    }

    fn after_reading(&mut self, link: usize) {
        self.broker.wake_for(&mut self.world, link);
        self.flush_last_words(link);
    }

    /// A packet from the broker.
    fn take(&mut self, client: usize, link: usize, packet: &Packet<'_>) -> Checked {
        match packet {
            Packet::ConnAck(connack) => self.take_connack(client, link, connack),
            Packet::Publish(publish) => self.take_publish(client, link, publish),
            Packet::Ack(AckKind::PubRel, ack) => self.take_release(client, link, ack),
            Packet::Ack(kind, ack) => self.take_ack(client, link, *kind, ack),
            Packet::SubAck(suback) => {
                let answer = Answer::SubAck(suback.packet_id.get(), suback.codes.to_vec());
                self.model.answered(link, &answer)
            }
            Packet::UnsubAck(unsuback) => {
                let answer = Answer::UnsubAck(unsuback.packet_id.get(), unsuback.codes.to_vec());
                self.model.answered(link, &answer)
            }
            Packet::PingResp => {
                if let Some(conn) = &mut self.clients[client].conn {
                    conn.keep_alive.pong_received();
                }
                self.model.answered(link, &Answer::PingResp)
            }
            Packet::Disconnect(disconnect) => {
                let Some(conn) = &mut self.clients[client].conn else {
                    return Ok(());
                };
                conn.wire.dismissed = true;
                let right = match disconnect.reason {
                    ReasonCode::SESSION_TAKEN_OVER => self.model.past(link).taken_over,
                    ReasonCode::PROTOCOL_ERROR => conn.misbehaved,
                    ReasonCode::SERVER_SHUTTING_DOWN => self.model.past(link).over,
                    _ => false,
                };
                if right {
                    return Ok(());
                }
                broken(
                    "reasons of DISCONNECT",
                    format!("{disconnect:?} on link {link}"),
                )
            }
            other => broken("packets of a server", format!("{other:?}")),
        }
    }

    fn take_connack(&mut self, client: usize, link: usize, connack: &ConnAck<'_>) -> Checked {
        if connack.reason != ReasonCode::SUCCESS {
            return broken("CONNECT is accepted", format!("{connack:?}"));
        }
        let present = connack.session_present;
        self.model.answered(link, &Answer::ConnAck { present })?;
        // 3.1 does not say, and where a CONNACK was lost, the session that is present may be a younger
        // one than the client remembers. No client can know that, so the run tells it.
        let session = self.model.past(link).session;
        let resumed = session == self.clients[client].session;
        let aliases_wanted = self.world.random.pick(&[0, 0, 2, 10]);
        let own = &mut self.clients[client];
        let Some(conn) = &mut own.conn else {
            return Ok(());
        };
        conn.connected = true;
        conn.wire.protocol.connected(own.version, false);
        let mut assigned = false;
        if own.version.has_properties() {
            conn.server_receive_maximum = u16::MAX;
            for property in connack.properties.iter() {
                match property {
                    Property::ReceiveMaximum(count) => conn.server_receive_maximum = count,
                    Property::TopicAliasMaximum(count) => {
                        conn.aliases_out = OutboundAliases::new(count.min(aliases_wanted));
                    }
                    Property::AssignedClientIdentifier(id) => assigned = !id.is_empty(),
                    _ => {}
                }
            }
            if assigned != own.id.is_empty() {
                return broken("client ids are assigned", format!("{connack:?}"));
            }
        }
        if !resumed {
            own.session = session;
            own.outgoing = Outgoing::default();
            own.incoming = Incoming::default();
        }
        self.resend(client);
        Ok(())
    }

    fn take_publish(&mut self, client: usize, link: usize, publish: &Publish<'_>) -> Checked {
        let now = self.world.now;
        let own = &mut self.clients[client];
        let Some(conn) = &mut own.conn else {
            return Ok(());
        };
        let alias = crate::wire::topic_alias(&publish.properties);
        let topic = conn
            .aliases_in
            .resolve(publish.topic, alias, conn.wishes.alias_max);
        let topic = match topic {
            Ok(topic) => topic.to_owned(),
            Err(fault) => return broken("topic aliases", format!("{fault}: {publish:?}")),
        };
        let id = publish.packet_id;
        let repeated = publish.qos == QoS::ExactlyOnce
            && id.is_some_and(|id| own.incoming.get_mut(id).is_some());
        if let Some(id) = id {
            conn.unacknowledged.insert(id.get());
            let most = usize::from(conn.wishes.receive_maximum.unwrap_or(u16::MAX));
            if conn.unacknowledged.len() > most {
                return broken(
                    "receive maximum",
                    format!("{most} on link {link}: {publish:?}"),
                );
            }
        }
        let receipt = Receipt {
            link,
            topic: &topic,
            publish,
            repeated,
            has_properties: self.clients[client].version.has_properties(),
            now,
        };
        self.model.received(&receipt)?;
        let Some(id) = id else {
            return Ok(());
        };
        if publish.qos == QoS::ExactlyOnce {
            self.clients[client].incoming.insert(id, ());
            self.acknowledge(client, AckKind::PubRec, id, None);
        } else {
            self.acknowledge(client, AckKind::PubAck, id, Some(id.get()));
        }
        Ok(())
    }

    fn take_release(&mut self, client: usize, link: usize, ack: &Ack<'_>) -> Checked {
        let id = ack.packet_id;
        let known = self.clients[client].incoming.release(id).is_some();
        self.model
            .release_received(link, id.get(), ack.reason, known)?;
        self.acknowledge(client, AckKind::PubComp, id, Some(id.get()));
        Ok(())
    }

    fn take_ack(&mut self, client: usize, link: usize, kind: AckKind, ack: &Ack<'_>) -> Checked {
        let id = ack.packet_id;
        self.model
            .answered(link, &Answer::Ack(kind, id.get(), ack.reason))?;
        let refused = ack.reason.is_failure();
        let outgoing = &mut self.clients[client].outgoing;
        match outgoing.acknowledge(kind, id, refused && kind == AckKind::PubRec) {
            Acked::Finished(_) => {}
            Acked::Release(_) => {
                let ack = Ack::new(id, ReasonCode::SUCCESS);
                self.send(client, &Packet::Ack(AckKind::PubRel, ack));
            }
            Acked::Unknown | Acked::Mismatch => {
                return broken(
                    "acknowledgements fit",
                    format!("{kind:?} {ack:?} on link {link}"),
                );
            }
        }
        self.resend(client);
        Ok(())
    }

    /// Sends an acknowledgement, now or later, but in order.
    fn acknowledge(&mut self, client: usize, kind: AckKind, id: NonZeroU16, finished: Option<u16>) {
        let is_patient = self.stage_is_script() && self.world.random.chance(15);
        let until = self.world.now + self.world.random.between(1, 3000);
        let version = self.clients[client].version;
        let Some(conn) = &mut self.clients[client].conn else {
            return;
        };
        let mut bytes = Vec::new();
        if Ack::new(id, ReasonCode::SUCCESS)
            .encode(kind, version, &mut bytes)
            .is_err()
        {
            return;
        }
        if conn.held.is_empty() && is_patient {
            conn.held_until = until;
            self.world.at(until, Event::Wake(client));
        }
        conn.held.push_back((bytes, finished));
        self.send_held(client);
    }

    fn send_held(&mut self, client: usize) {
        while let Some(conn) = &mut self.clients[client].conn
            && conn.held_until <= self.world.now
            && let Some((bytes, finished)) = conn.held.pop_front()
        {
            if let Some(id) = finished {
                conn.unacknowledged.remove(&id);
            }
            self.send_bytes(client, &bytes);
        }
    }

    /// The client looks at its clock.
    pub(crate) fn wake_client(&mut self, client: usize) -> Checked {
        self.send_held(client);
        let Some(conn) = &mut self.clients[client].conn else {
            return Ok(());
        };
        let (link, now) = (conn.wire.link, Time(self.world.now));
        if conn.connected && conn.keep_alive.client_deadline() <= now {
            if conn.keep_alive.awaits_pong() {
                self.world.trace(|| format!("link {link} is silent"));
                self.close(client);
                return Ok(());
            }
            self.send(client, &Packet::PingReq);
            if let Some(conn) = &mut self.clients[client].conn {
                conn.keep_alive.ping_sent(now);
                self.world
                    .at(conn.keep_alive.client_deadline().0, Event::Wake(client));
            }
        }
        self.read(link)
    }

    /// The client stops being patient with what is held back.
    pub(crate) fn hurry(&mut self, client: usize) {
        if let Some(conn) = &mut self.clients[client].conn {
            conn.held_until = 0;
            conn.reads_from = 0;
        }
    }
}
