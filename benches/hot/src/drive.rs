//! One shard and its clients, without sockets.

use std::num::NonZeroU16;
use std::sync::Arc;

use midge_broker::{
    Action, ClaimAnswer, ConnId, DirectoryRequest, Effects, Identity, ListenerSettings,
    LocalTables, Next, Origin, Rights, Settings, Shard, SharedTables, Step, Time,
};
use midge_codec::{
    Connect, EncodeError, Header, PacketType, Properties, QoS, Subscribe, Subscription,
    SubscriptionOptions, Subscriptions, Version,
};

/// Why a run ended early. The broker answers wrongly then, or this program asks wrongly.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Filters of one SUBSCRIBE.
const FILTERS_AT_ONCE: usize = 100;

/// A shard with connected clients.
pub(crate) struct Drive {
    version: Version,
    shard: Shard,
    tables: SharedTables,
    effects: Effects,
    listener: Arc<ListenerSettings>,
    now: Time,
    clients: Vec<Client>,
    /// What clients may do; nothing for everything.
    rights: Option<Arc<dyn Rights>>,
    /// What the broker has sent in PUBLISH packets since the start.
    pub(crate) delivered: u64,
}

/// Rules that allow everything, once they are asked.
#[derive(Debug)]
struct Everything;

impl Rights for Everything {
    fn allows(&self, _: Action, _: &str) -> bool {
        true
    }

    fn explain(&self, _: Action, _: &str) -> String {
        String::new()
    }
}

struct Client {
    conn: ConnId,
    /// Acknowledgements for its next turn.
    acks: Vec<u8>,
}

impl Drive {
    pub(crate) fn new(version: Version) -> Self {
        let settings = Settings {
            sys_interval: 0,
            max_inflight_messages: 0,
            ..Settings::default()
        };
        let now = Time(0);
        Self {
            version,
            shard: Shard::new(0, 1, Arc::new(settings), 1, now),
            tables: SharedTables::new(1),
            effects: Effects::default(),
            listener: Arc::new(ListenerSettings::default()),
            now,
            clients: Vec::new(),
            rights: None,
            delivered: 0,
        }
    }

    /// Lets clients that connect from now on have rights that are asked and allow everything.
    pub(crate) fn ask_rights(&mut self) {
        self.rights = Some(Arc::new(Everything));
    }

    /// Connects one more client; its number.
    pub(crate) fn connect(&mut self) -> Result<usize, Error> {
        let token = self.clients.len();
        let name = format!("client-{token:06}");
        let mut bytes = Vec::new();
        Connect {
            version: self.version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::NONE,
            client_id: &name,
            will: None,
            user_name: None,
            password: None,
        }
        .encode(&mut bytes)?;
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: self.now,
            tables: &mut tables,
            effects: &mut self.effects,
        };
        let origin = Origin {
            listener: Arc::clone(&self.listener),
            address: None,
        };
        let conn = self.shard.open(&mut step, token, origin);
        if let Some(rights) = &self.rights {
            let identity = Identity {
                rights: Some(Arc::clone(rights)),
                ..Identity::default()
            };
            self.shard.vouch(conn, identity);
        }
        let waiting = self.shard.receive(&mut step, conn, &bytes);
        for request in std::mem::take(&mut step.effects.directory) {
            if let DirectoryRequest::Claim(claim) = request {
                self.shard
                    .claimed(&mut step, claim.conn, &claim.client_id, ClaimAnswer::Here);
            }
        }
        let rest = bytes.get(waiting.consumed..).unwrap_or_default();
        self.shard.receive(&mut step, conn, rest);
        self.clients.push(Client {
            conn,
            acks: Vec::new(),
        });
        self.finish_turn()?;
        if self.shard.client_id(conn).is_none() {
            return Err("a client was refused".into());
        }
        Ok(token)
    }

    /// Subscribes a client to `filters`.
    pub(crate) fn subscribe(
        &mut self,
        client: usize,
        filters: &[String],
        qos: QoS,
    ) -> Result<(), Error> {
        for filters in filters.chunks(FILTERS_AT_ONCE) {
            let options = SubscriptionOptions {
                qos,
                ..SubscriptionOptions::default()
            };
            let list: Vec<_> = filters
                .iter()
                .map(|filter| Subscription { filter, options })
                .collect();
            let mut bytes = Vec::new();
            Subscribe {
                packet_id: NonZeroU16::MIN,
                properties: Properties::NONE,
                subscriptions: Subscriptions::from_list(&list),
            }
            .encode(self.version, &mut bytes)?;
            self.turn([(client, bytes.as_slice())])?;
        }
        Ok(())
    }

    /// A turn: clients send, the broker answers, and clients acknowledge in the next turn.
    pub(crate) fn turn<'a>(
        &mut self,
        input: impl IntoIterator<Item = (usize, &'a [u8])>,
    ) -> Result<(), Error> {
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: self.now,
            tables: &mut tables,
            effects: &mut self.effects,
        };
        for (client, bytes) in input {
            if let Some(client) = self.clients.get(client) {
                receive(&mut self.shard, &mut step, client.conn, bytes)?;
            }
        }
        for client in &mut self.clients {
            if !client.acks.is_empty() {
                receive(&mut self.shard, &mut step, client.conn, &client.acks)?;
                client.acks.clear();
            }
        }
        self.finish_turn()
    }

    /// Whether clients have acknowledgements to send.
    pub(crate) fn owes(&self) -> bool {
        self.clients.iter().any(|client| !client.acks.is_empty())
    }

    fn finish_turn(&mut self) -> Result<(), Error> {
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now: self.now,
            tables: &mut tables,
            effects: &mut self.effects,
        };
        self.shard.end_turn(&mut step);
        let mut dirty = std::mem::take(&mut step.effects.dirty);
        while !dirty.is_empty() {
            for token in dirty.drain(..) {
                let Some(client) = self.clients.get_mut(token) else {
                    continue;
                };
                let output = self.shard.output(client.conn);
                self.delivered += acknowledge(output, &mut client.acks)?;
                let count = output.len();
                self.shard.wrote(&mut step, client.conn, count);
            }
            std::mem::swap(&mut dirty, &mut step.effects.dirty);
        }
        step.effects.dirty = dirty;
        step.effects.log.clear();
        match step.effects.closed.pop() {
            None => Ok(()),
            Some(_) => Err("a connection was closed".into()),
        }
    }
}

fn receive(
    shard: &mut Shard,
    step: &mut Step<'_>,
    conn: ConnId,
    bytes: &[u8],
) -> Result<(), Error> {
    let received = shard.receive(step, conn, bytes);
    if received.consumed == bytes.len() && received.next != Next::Closed {
        Ok(())
    } else {
        Err(format!("the broker took {received:?} of {} bytes", bytes.len()).into())
    }
}

/// Counts the PUBLISH packets of `output`, and writes the PUBACKs that they ask for.
fn acknowledge(output: &[u8], acks: &mut Vec<u8>) -> Result<u64, Error> {
    let mut count = 0;
    let mut rest = output;
    while let Some(header) = Header::peek(rest).map_err(|_| "a length is malformed")? {
        if header.packet_type() == Some(PacketType::Publish) {
            count += 1;
            if header.first & 0x06 == 0x02 {
                let id = packet_id(header.body(rest).unwrap_or_default());
                let [high, low] = id.ok_or("a PUBLISH is too short")?;
                acks.extend_from_slice(&[PacketType::PubAck.first_byte(), 2, high, low]);
            }
        }
        rest = rest.get(header.packet_length()..).unwrap_or_default();
    }
    Ok(count)
}

fn packet_id(body: &[u8]) -> Option<[u8; 2]> {
    let (length, rest) = body.split_first_chunk()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    rest.first_chunk().copied()
}

/// Encodes `count` messages, one after the other, with packet ids from 1 on.
pub(crate) fn messages<'a>(
    version: Version,
    qos: QoS,
    topics: impl Iterator<Item = &'a str>,
) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    for (id, topic) in (1_u16..).zip(topics) {
        midge_codec::Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: NonZeroU16::new(id).filter(|_| qos != QoS::AtMostOnce),
            properties: Properties::NONE,
            payload: &[b'.'; 128],
        }
        .encode(version, &mut bytes)?;
    }
    Ok(bytes)
}
