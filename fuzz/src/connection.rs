//! Two clients do as they like with a broker of one shard, and it keeps its promises to both.
//!
//! An input is a script: two bytes choose how bytes are cut, the settings and who connects how; then
//! come steps of one byte, of which those that send are followed by what they send.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use midge_broker::{
    Claim, ClaimAnswer, ConnId, DirectoryRequest, Effects, Ended, ListenerSettings, LocalTables,
    Next, Origin, QueueOverflow, Settings, Shard, SharedTables, Step, Time,
};
use midge_codec::{
    Ack, AckKind, Connect, ConnectFault, Header, Packet, Properties, Property, QoS, ReasonCode,
    Version,
};
use midge_proto::{Connection, InboundAliases, Phase};

/// Plays the script `input` to its end, closes all connections, and waits until all sessions have
/// expired.
///
/// # Panics
/// When the broker breaks a promise.
pub fn check(input: &[u8]) {
    play(input);
}

/// What a script made happen, for a test that asks whether scripts reach everything.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The names of the packets that the broker sent, with the version.
    pub packets: BTreeSet<(Version, &'static str)>,
    /// The reason codes of its CONNACKs and DISCONNECTs.
    pub reasons: BTreeSet<u8>,
    /// A PUBLISH with DUP, RETAIN, an alias instead of its topic, a subscription identifier.
    pub publishes: BTreeSet<&'static str>,
}

/// Does what [`check`] does, and tells what was seen.
pub fn play(input: &[u8]) -> Seen {
    let [how, who, script @ ..] = input else {
        return Seen::default();
    };
    let mut world = World::new(*how);
    world.open(0, Entry::from_bits(who & 7));
    world.open(1, Entry::from_bits((who >> 3) & 7));
    let mut script = script;
    while let Some((&step, rest)) = script.split_first() {
        script = world.step(step, rest);
        world.turn();
    }
    world.end();
    world.seen
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// With whatever the script sends.
    Raw,
    Clean(Version),
    Lasting(Version),
}

impl Entry {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Clean(Version::V3_1),
            2 => Self::Clean(Version::V3_1_1),
            3 => Self::Clean(Version::V5),
            4 => Self::Lasting(Version::V3_1),
            5 => Self::Lasting(Version::V3_1_1),
            6 => Self::Lasting(Version::V5),
            _ => Self::Raw,
        }
    }

    /// The CONNECT, unless the script brings its own.
    fn connect(self, client_id: &str) -> Vec<u8> {
        let (version, clean_start) = match self {
            Self::Raw => return Vec::new(),
            Self::Clean(version) => (version, true),
            Self::Lasting(version) => (version, false),
        };
        let properties = [
            Property::SessionExpiryInterval(60),
            Property::ReceiveMaximum(2),
            Property::MaximumPacketSize(200),
            Property::TopicAliasMaximum(2),
        ];
        let asks = version == Version::V5 && !clean_start;
        let connect = Connect {
            version,
            bridge: false,
            clean_start,
            keep_alive: 20,
            properties: Properties::from_list(if asks { &properties } else { &[] }),
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        let mut bytes = Vec::new();
        assert_eq!(connect.encode(&mut bytes), Ok(()));
        bytes
    }
}

/// The broker and its two clients.
struct World {
    shard: Shard,
    tables: SharedTables,
    effects: Effects,
    now: Time,
    settings: Arc<Settings>,
    /// Bytes given to the broker at a time.
    cut: usize,
    clients: [Client; 2],
    next_token: usize,
    /// Client ids that the directory has given away.
    taken: BTreeSet<Arc<str>>,
    /// Claims that the directory has not answered.
    claims: VecDeque<Claim>,
    directory: Directory,
    sent: usize,
    received: usize,
    seen: Seen,
}

/// How the directory answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directory {
    AtOnce,
    Later,
    Full,
}

/// One end of a connection, as the client sees it.
#[derive(Default)]
struct Client {
    conn: Option<ConnId>,
    token: usize,
    /// All that was sent until the first packet was whole.
    head: Vec<u8>,
    /// Sent and not taken by the broker.
    unread: Vec<u8>,
    /// The broker wants no less than this.
    wanted: usize,
    waits_for_claim: bool,
    stalled: bool,
    /// The end of what arrived, when that is no whole packet.
    arrived: Vec<u8>,
    end: Option<PeerEnd>,
    /// Answers that the client owes.
    owed: VecDeque<Vec<u8>>,
}

/// What a client knows of its connection.
struct PeerEnd {
    protocol: Connection,
    refused: bool,
    aliases: InboundAliases,
    alias_max: u16,
    packet_size_max: usize,
}

impl World {
    fn new(how: u8) -> Self {
        let settings = Arc::new(settings(how >> 2));
        let now = Time(1_000_000);
        Self {
            shard: Shard::new(0, 1, Arc::clone(&settings), 7, now),
            tables: SharedTables::new(7),
            effects: Effects::default(),
            now,
            settings,
            cut: [1, 5, 64, usize::MAX][usize::from(how & 3)],
            clients: Default::default(),
            next_token: 0,
            taken: BTreeSet::new(),
            claims: VecDeque::new(),
            directory: Directory::AtOnce,
            sent: 0,
            received: 0,
            seen: Seen::default(),
        }
    }

    /// Calls the shard.
    fn call<R>(&mut self, action: impl FnOnce(&mut Shard, &mut Step<'_>) -> R) -> R {
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: self.now,
            tables: &mut tables,
            effects: &mut self.effects,
        };
        action(&mut self.shard, &mut step)
    }

    /// Carries out one step of the script and returns the rest.
    fn step<'a>(&mut self, step: u8, rest: &'a [u8]) -> &'a [u8] {
        let low = usize::from(step & 0x3F);
        match step >> 6 {
            client @ (0 | 1) => {
                let (length, rest) = match (low, rest.split_first()) {
                    (0x3F, Some((more, rest))) => (low + usize::from(*more), rest),
                    _ => (low, rest),
                };
                let (bytes, rest) = rest.split_at(length.min(rest.len()));
                self.send(usize::from(client), bytes);
                return rest;
            }
            2 => {
                let millis = [1, 500, 1000, 1500, 10_000, 30_000, 60_000, 3_600_000];
                self.now = self.now.plus_millis(millis[low % 8]);
                self.call(|shard, step| shard.fire(step));
            }
            _ => self.control(usize::from(step >> 5 & 1), step & 0x1F),
        }
        rest
    }

    fn control(&mut self, client: usize, what: u8) {
        match what {
            0 => self.close(client, &Ended::ByPeer),
            1 => self.close(client, &Ended::Error("connection reset".into())),
            2..=8 => {
                self.close(client, &Ended::ByPeer);
                self.open(client, Entry::from_bits(what - 2));
            }
            9 => self.clients[client].stalled = true,
            10 => {
                self.clients[client].stalled = false;
                self.take_output(client, usize::MAX);
            }
            11 => self.take_output(client, 3),
            12 => {
                let owed: Vec<_> = self.clients[client].owed.drain(..).flatten().collect();
                self.send(client, &owed);
            }
            13 => {
                let newest = self.clients[client].owed.pop_back();
                self.send(client, &newest.unwrap_or_default());
            }
            14 => self.call(|shard, step| shard.shut_down(step)),
            15..=18 => {
                self.settings = Arc::new(settings(what - 15));
                let settings = Arc::clone(&self.settings);
                self.call(|shard, step| shard.reconfigure(step, settings));
            }
            19 => self.directory = Directory::AtOnce,
            20 => self.directory = Directory::Later,
            21 => self.directory = Directory::Full,
            _ => {}
        }
    }

    fn open(&mut self, client: usize, entry: Entry) {
        let token = self.next_token;
        self.next_token += 1;
        let origin = Origin {
            listener: Arc::clone(&self.settings.listeners[0]),
            address: None,
        };
        let conn = self.call(|shard, step| shard.open(step, token, origin));
        self.clients[client] = Client {
            conn: Some(conn),
            token,
            ..Client::default()
        };
        self.send(client, &entry.connect(["a", "b"][client]));
    }

    fn close(&mut self, client: usize, ended: &Ended) {
        if let Some(conn) = self.clients[client].conn {
            self.call(|shard, step| shard.closed(step, conn, ended));
            self.turn();
            assert!(
                self.clients[client].conn.is_none(),
                "a lost connection is over"
            );
        }
    }

    /// Sends bytes, cut as the script wants it.
    fn send(&mut self, client: usize, bytes: &[u8]) {
        for part in bytes.chunks(self.cut) {
            let state = &mut self.clients[client];
            if state.conn.is_none() {
                return;
            }
            self.sent += part.len();
            if state.end.is_none() {
                state.head.extend_from_slice(part);
            }
            state.unread.extend_from_slice(part);
            self.give(client);
        }
    }

    /// Gives the broker what it has not taken, if that is enough.
    fn give(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let Some(conn) = state.conn else {
            return;
        };
        if state.waits_for_claim || state.unread.len() < state.wanted {
            return;
        }
        let bytes = std::mem::take(&mut state.unread);
        let received = self.call(|shard, step| shard.receive(step, conn, &bytes));
        let rest = bytes.get(received.consumed..);
        let rest = rest.expect("no more is consumed than was given");
        let state = &mut self.clients[client];
        state.unread = rest.to_vec();
        match received.next {
            Next::Bytes(wanted) => {
                assert!(wanted > rest.len(), "what has arrived is dealt with");
                state.wanted = wanted;
            }
            Next::Login | Next::Claim => state.waits_for_claim = true,
            Next::Closed => {}
        }
        self.turn();
        if received.next == Next::Closed {
            assert!(self.clients[client].conn.is_none(), "the end is said once");
        }
    }

    /// Ends the turn and carries out what the shard wants, until it wants nothing.
    fn turn(&mut self) {
        loop {
            self.call(|shard, step| shard.end_turn(step));
            for (token, bytes) in std::mem::take(&mut self.effects.closed) {
                self.closed(token, &bytes);
            }
            for token in std::mem::take(&mut self.effects.dirty) {
                let owner = self.clients.iter().position(|client| client.token == token);
                if let Some(client) = owner.filter(|client| !self.clients[*client].stalled) {
                    self.take_output(client, usize::MAX);
                }
            }
            assert!(self.effects.mail.is_empty(), "there is no other shard");
            self.effects.log.clear();
            for request in std::mem::take(&mut self.effects.directory) {
                self.request(request);
            }
            if self.directory != Directory::Later && !self.claims.is_empty() {
                self.answer_claim();
                continue;
            }
            if self.effects.dirty.is_empty()
                && self.effects.closed.is_empty()
                && self.effects.directory.is_empty()
                && !self.shard.has_work()
            {
                break;
            }
        }
        for client in &self.clients {
            if let Some(conn) = client.conn.filter(|_| !client.stalled) {
                assert!(self.shard.output(conn).is_empty(), "output is announced");
            }
        }
    }

    fn request(&mut self, request: DirectoryRequest) {
        match request {
            DirectoryRequest::Claim(claim) => self.claims.push_back(claim),
            DirectoryRequest::Release(client_id) => {
                assert!(
                    self.taken.remove(&client_id),
                    "only what is held is released"
                );
            }
        }
    }

    /// Answers the oldest claim. What follows from it is carried out before the next is answered.
    fn answer_claim(&mut self) {
        let Some(Claim { conn, client_id }) = self.claims.pop_front() else {
            return;
        };
        let answer = if self.directory == Directory::Full && !self.taken.contains(&client_id) {
            ClaimAnswer::Full
        } else {
            self.taken.insert(Arc::clone(&client_id));
            ClaimAnswer::Here
        };
        self.call(|shard, step| shard.claimed(step, conn, &client_id, answer));
        let waiting = self
            .clients
            .iter()
            .position(|client| client.conn == Some(conn));
        if let Some(client) = waiting {
            self.clients[client].waits_for_claim = false;
            self.clients[client].wanted = 0;
            self.give(client);
        }
    }

    fn closed(&mut self, token: usize, bytes: &[u8]) {
        let Some(client) = self.clients.iter().position(|client| client.token == token) else {
            return;
        };
        assert!(self.clients[client].conn.take().is_some(), "it ends once");
        self.arrive(client, bytes);
        assert!(
            self.clients[client].arrived.is_empty(),
            "whole packets are sent"
        );
    }

    /// Lets a client read at most `most` bytes.
    fn take_output(&mut self, client: usize, most: usize) {
        while let Some(conn) = self.clients[client].conn {
            let output = self.shard.output(conn);
            let bytes = output[..output.len().min(most)].to_vec();
            let is_all = bytes.len() == output.len();
            self.arrive(client, &bytes);
            self.call(|shard, step| shard.wrote(step, conn, bytes.len()));
            if most < usize::MAX || bytes.is_empty() {
                break;
            }
            assert!(
                !is_all || self.clients[client].arrived.is_empty(),
                "whole packets are written"
            );
        }
    }

    /// Bytes have come to a client.
    fn arrive(&mut self, client: usize, bytes: &[u8]) {
        self.received += bytes.len();
        let client = &mut self.clients[client];
        client.arrived.extend_from_slice(bytes);
        if client.arrived.is_empty() {
            return;
        }
        let end = client.end.get_or_insert_with(|| PeerEnd::new(&client.head));
        let mut at = 0;
        while let Some(length) = end.read(&client.arrived[at..], &mut client.owed, &mut self.seen) {
            at += length;
        }
        client.arrived.drain(..at);
    }

    /// Everybody leaves, and time passes.
    fn end(&mut self) {
        self.directory = Directory::AtOnce;
        for client in 0..2 {
            self.clients[client].stalled = false;
            self.take_output(client, usize::MAX);
            self.turn();
        }
        for client in 0..2 {
            self.close(client, &Ended::ByPeer);
        }
        for _ in 0..4 {
            self.now = self.now.plus_secs(SESSION_SECS);
            self.call(|shard, step| shard.fire(step));
            self.turn();
        }
        let stats = self.shard.stats();
        assert_eq!(stats.sessions, 0, "sessions expire");
        assert_eq!(stats.connected, 0);
        assert_eq!(stats.sockets_open, 0);
        assert_eq!(stats.queued_messages, 0, "queues go with their sessions");
        assert_eq!(stats.queued_bytes, 0);
        let counts = self.tables.routing.counts();
        assert_eq!(counts.subscriptions, 0, "subscriptions go too");
        assert_eq!(counts.shared_subscriptions, 0);
        assert!(self.taken.is_empty(), "client ids are given back");
        assert!(self.claims.is_empty());
        if self.settings.sys_interval == 0 {
            // Each message goes to each subscription that a client had room to ask for.
            let most = (self.sent + 256).saturating_pow(2);
            assert!(self.received <= most, "output follows input");
        }
    }
}

impl PeerEnd {
    /// From the bytes of the client's CONNECT.
    fn new(head: &[u8]) -> Self {
        let header = Header::peek(head).ok().flatten();
        let header = header.expect("nothing is said to who said nothing");
        let body = header
            .body(head)
            .expect("nothing is said before CONNECT is whole");
        let mut alias_max = 0;
        let mut packet_size_max = usize::MAX;
        let version = match Connect::decode(header.first, body) {
            Ok(connect) => {
                for property in connect.properties.iter() {
                    match property {
                        Property::TopicAliasMaximum(maximum) => alias_max = maximum,
                        Property::MaximumPacketSize(bytes) => packet_size_max = bytes as usize,
                        _ => {}
                    }
                }
                connect.version
            }
            Err(ConnectFault::ConnAck { version, .. }) => version,
            Err(ConnectFault::Close(why)) => panic!("CONNECT is answered although {why}"),
        };
        Self {
            protocol: Connection::client(version, false),
            refused: false,
            aliases: InboundAliases::default(),
            alias_max,
            packet_size_max,
        }
    }

    /// Reads a packet as a strict client does, and returns its length.
    fn read(
        &mut self,
        bytes: &[u8],
        owed: &mut VecDeque<Vec<u8>>,
        seen: &mut Seen,
    ) -> Option<usize> {
        let header = Header::peek(bytes).expect("lengths are well-formed")?;
        let body = header.body(bytes)?;
        let kind = self
            .protocol
            .admit(&header)
            .expect("the packet may come now");
        let packet = self.protocol.decode(kind, &header, body);
        let packet = packet.expect("the packet is well-formed");
        let length = header.packet_length();
        let version = self.protocol.version();
        assert!(!self.refused, "nothing follows a refusal");
        seen.packets.insert((version, kind.name()));
        match packet {
            Packet::ConnAck(connack) => {
                seen.reasons.insert(connack.reason.0);
                self.refused = connack.reason != ReasonCode::SUCCESS;
                assert!(!(self.refused && connack.session_present));
                if !self.refused {
                    assert_eq!(self.protocol.phase(), Phase::Connecting);
                    self.protocol.connected(version, false);
                }
            }
            Packet::Publish(publish) => self.read_publish(&publish, owed, seen),
            Packet::Ack(AckKind::PubRec, ack) => {
                owe(owed, version, AckKind::PubRel, ack);
            }
            Packet::Ack(AckKind::PubRel, ack) => {
                owe(owed, version, AckKind::PubComp, ack);
            }
            Packet::Disconnect(disconnect) => {
                seen.reasons.insert(disconnect.reason.0);
                self.refused = true;
            }
            _ => {}
        }
        // A refusal says why even so.
        assert!(
            self.refused || length <= self.packet_size_max,
            "no packet is larger than the client takes"
        );
        Some(length)
    }

    fn read_publish(
        &mut self,
        publish: &midge_codec::Publish<'_>,
        owed: &mut VecDeque<Vec<u8>>,
        seen: &mut Seen,
    ) {
        let mut alias = None;
        for property in publish.properties.iter() {
            match property {
                Property::TopicAlias(number) => alias = Some(number),
                Property::SubscriptionIdentifier(_) => {
                    seen.publishes.insert("subscription identifier");
                }
                _ => {}
            }
        }
        let topic = self.aliases.resolve(publish.topic, alias, self.alias_max);
        assert!(topic.is_ok(), "an alias is announced before it is used");
        for (is, what) in [
            (publish.dup, "DUP"),
            (publish.retain, "RETAIN"),
            (publish.topic.is_empty(), "alias"),
        ] {
            if is {
                seen.publishes.insert(what);
            }
        }
        let Some(id) = publish.packet_id else {
            return;
        };
        let kind = match publish.qos {
            QoS::ExactlyOnce => AckKind::PubRec,
            QoS::AtMostOnce | QoS::AtLeastOnce => AckKind::PubAck,
        };
        let ack = Ack::new(id, ReasonCode::SUCCESS);
        owe(owed, self.protocol.version(), kind, ack);
    }
}

/// Notes an answer to a packet.
fn owe(owed: &mut VecDeque<Vec<u8>>, version: Version, kind: AckKind, ack: Ack<'_>) {
    let mut bytes = Vec::new();
    let ack = Ack::new(ack.packet_id, ReasonCode::SUCCESS);
    assert_eq!(ack.encode(kind, version, &mut bytes), Ok(()));
    owed.push_back(bytes);
}

/// How long a session or a retained message lives at most.
const SESSION_SECS: u64 = 7200;

/// Settings that differ in what they let happen.
fn settings(variant: u8) -> Settings {
    let mut listener = ListenerSettings::default();
    let mut settings = Settings {
        persistent_client_expiration: Some(SESSION_SECS - 1),
        sys_interval: 0,
        ..Settings::default()
    };
    match variant % 4 {
        0 => {}
        1 => {
            settings.allow_duplicate_messages = false;
            settings.queue_qos0_messages = true;
            settings.upgrade_outgoing_qos = true;
            settings.retain_expiry = Some(60);
            settings.log_subscriptions = true;
            listener.mount_point = Some("m/".into());
        }
        2 => {
            settings.max_inflight_messages = 1;
            settings.max_inflight_bytes = 40;
            settings.max_queued_messages = 3;
            settings.max_queued_bytes = 100;
            settings.max_queued_bytes_total = 1000;
            settings.queue_overflow = QueueOverflow::DropOldest;
            settings.outbox_bytes_max = 100;
            settings.max_packet_size = 300;
            settings.max_keepalive = 30;
            settings.max_subscriptions_per_client = 3;
        }
        _ => {
            settings.sys_interval = 10;
            settings.validate_payload_format = true;
            settings.message_size_limit = 20;
            settings.max_queued_messages = 0;
            settings.connection_messages = false;
            settings.clientid_prefixes = vec!["a".into(), "b".into()];
            listener.max_qos = QoS::AtLeastOnce;
            listener.max_topic_alias = 0;
            listener.allow_zero_length_clientid = false;
        }
    }
    settings.listeners = vec![Arc::new(listener)];
    settings
}
