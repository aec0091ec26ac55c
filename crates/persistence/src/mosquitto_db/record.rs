//! What the chunks of a database say.

use std::fmt;

use midge_codec::{QoS, SubscriptionOptions};

/// The kinds of chunks, by the numbers that stand for them in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Kind {
    /// Settings of the whole file.
    Config = 1,
    /// A message, kept once however many clients wait for it.
    BaseMessage = 2,
    /// A message in the queue or window of one client.
    ClientMessage = 3,
    /// A base message is a retained message.
    Retained = 4,
    /// A subscription of one client.
    Subscription = 5,
    /// A client with a session.
    Client = 6,
}

impl Kind {
    /// The kind for its number in the file.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Config),
            2 => Some(Self::BaseMessage),
            3 => Some(Self::ClientMessage),
            4 => Some(Self::Retained),
            5 => Some(Self::Subscription),
            6 => Some(Self::Client),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "settings",
            Self::BaseMessage => "stored message",
            Self::ClientMessage => "client message",
            Self::Retained => "retained message",
            Self::Subscription => "subscription",
            Self::Client => "client",
        })
    }
}

/// One chunk's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Settings of the whole file; the first chunk, if it is there.
    Config(Config),
    /// A stored message.
    BaseMessage(BaseMessage),
    /// A place in a client's queue or window. Mosquitto writes them behind their client, in order.
    ClientMessage(ClientMessage),
    /// A retained message.
    Retained(Retained),
    /// A subscription.
    Subscription(Subscription),
    /// A client's session.
    Client(Client),
}

impl Record {
    /// Which kind of chunk it was.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Config(_) => Kind::Config,
            Self::BaseMessage(_) => Kind::BaseMessage,
            Self::ClientMessage(_) => Kind::ClientMessage,
            Self::Retained(_) => Kind::Retained,
            Self::Subscription(_) => Kind::Subscription,
            Self::Client(_) => Kind::Client,
        }
    }
}

/// Settings of the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Written when the broker ended, not while it ran.
    pub shutdown: bool,
    /// Size of a record id in bytes; 8, as a file with another size is not read.
    pub id_size: u8,
    /// The id that was given last.
    pub last_id: u64,
}

/// A client's session.
///
/// A message or subscription may name a client that has no such chunk; Mosquitto then makes a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Client identifier, not empty.
    pub id: String,
    /// The user that the client was last authenticated as (version 6).
    ///
    /// Not to be trusted with rights: Mosquitto 2.0 gives a client without user name the name of a
    /// client before it. Where it wrote that name with memory behind it, the name is left out here.
    pub username: Option<String>,
    /// The port of the client's listener (version 6); 0 when not known.
    pub listener_port: u16,
    /// The packet identifier that was used last.
    pub last_packet_id: u16,
    /// When the session ends, in seconds since 1970 (versions 5 and 6).
    pub expires_at: Option<u64>,
    /// Session expiry interval in seconds; `u32::MAX`: never. Versions 2 to 4 know no other.
    ///
    /// 0 without `expires_at` can be such an old session, too: Mosquitto 2.0 gives it 0 when it saves
    /// what it has read from versions 2 to 4.
    pub expiry_interval: u32,
    /// When the connection ended, in seconds since 1970 (versions 3 and 4).
    pub disconnected_at: Option<u64>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Client identifier, not empty.
    pub client_id: String,
    /// A valid topic filter, with `$share` when it is shared. (Mosquitto 2.0 does not save those.)
    pub filter: String,
    /// QoS, and from version 5 the options of MQTT 5.0.
    pub options: SubscriptionOptions,
    /// Subscription identifier, 1 to 268,435,455.
    pub identifier: Option<u32>,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseMessage {
    /// What client messages and retained messages call it by.
    pub id: u64,
    /// The client that published it; none for the broker's own.
    pub source_id: Option<String>,
    /// The user that published it (from version 4).
    pub source_username: Option<String>,
    /// The port of the listener that it came by (from version 4); 0 when not known.
    pub source_port: u16,
    /// The packet identifier that it came with; 0 for QoS 0.
    pub source_packet_id: u16,
    /// A valid topic name.
    pub topic: String,
    /// At most 268,435,455 bytes.
    pub payload: Vec<u8>,
    /// As published.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
    /// When the message ends, in seconds since 1970 (versions 5 and 6).
    pub expires_at: Option<u64>,
    /// Properties in MQTT's encoding without their length, checked for PUBLISH.
    pub properties: Vec<u8>,
}

/// A message in the queue or window of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMessage {
    /// Client identifier, not empty.
    pub client_id: String,
    /// The stored message.
    pub message_id: u64,
    /// Packet identifier; 0 while it has none.
    pub packet_id: u16,
    /// As it is delivered to this client.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// It was sent before.
    pub dup: bool,
    /// From or to the client.
    pub direction: Direction,
    /// Which step is next.
    pub state: MessageState,
    /// Of the subscription that it matched.
    pub subscription_identifier: Option<u32>,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client.
    Incoming = 0,
    /// To the client.
    Outgoing = 1,
}

impl Direction {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Incoming),
            1 => Some(Self::Outgoing),
            _ => None,
        }
    }
}

/// How far a delivery is, as Mosquitto counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageState {
    /// Not to be met in a file.
    Invalid = 0,
    /// To be sent with QoS 0.
    PublishQos0 = 1,
    /// To be sent with QoS 1.
    PublishQos1 = 2,
    /// Sent with QoS 1.
    WaitForPuback = 3,
    /// To be sent with QoS 2.
    PublishQos2 = 4,
    /// Sent with QoS 2.
    WaitForPubrec = 5,
    /// PUBREC came; PUBREL is to be sent again.
    ResendPubrel = 6,
    /// From the client: PUBREC was sent, the message is not passed on yet.
    WaitForPubrel = 7,
    /// From the client: PUBREL came; PUBCOMP is to be sent again.
    ResendPubcomp = 8,
    /// PUBREL was sent.
    WaitForPubcomp = 9,
    /// From the client: PUBREC is to be sent.
    SendPubrec = 10,
    /// Waits for a place in the window.
    Queued = 11,
}

impl MessageState {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Invalid,
            1 => Self::PublishQos0,
            2 => Self::PublishQos1,
            3 => Self::WaitForPuback,
            4 => Self::PublishQos2,
            5 => Self::WaitForPubrec,
            6 => Self::ResendPubrel,
            7 => Self::WaitForPubrel,
            8 => Self::ResendPubcomp,
            9 => Self::WaitForPubcomp,
            10 => Self::SendPubrec,
            11 => Self::Queued,
            _ => return None,
        })
    }
}

/// A stored message is the retained message of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The stored message.
    pub message_id: u64,
}
