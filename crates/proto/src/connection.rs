//! Which packet may come now.

use midge_codec::{DecodeError, Header, Packet, PacketType, ReasonCode, Version};

use crate::fault::Why;
use crate::{Answer, Fault};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that connected.
    Client,
    /// The end that accepts clients.
    Server,
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A server waits for CONNECT, or has it and has not answered; a client waits for CONNACK.
    Connecting,
    /// CONNACK said success.
    Connected,
}

/// The largest CONNECT and AUTH that is read, as Mosquitto has it: nobody has proven anything yet.
const UNPROVEN_PACKET_MAX: usize = 100_000;
/// The largest SUBSCRIBE and UNSUBSCRIBE of a 5.0 client.
const SUBSCRIBE_PACKET_MAX: usize = 100_000;
/// The largest acknowledgement or DISCONNECT of a 5.0 client.
const ACK_PACKET_MAX: usize = 10_000;

/// One connection's state of protocol.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    role: Role,
    phase: Phase,
    version: Version,
    /// CONNECT named an authentication method, so AUTH may come.
    authenticates: bool,
    packet_size_max: u32,
}

impl Connection {
    /// The server's end of a connection that was just accepted.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            role: Role::Server,
            phase: Phase::Connecting,
            version: Version::V5,
            authenticates: false,
            packet_size_max: 0,
        }
    }

    /// The client's end, after CONNECT was sent. `authenticates`: CONNECT named a method.
    #[must_use]
    pub const fn client(version: Version, authenticates: bool) -> Self {
        Self {
            role: Role::Client,
            phase: Phase::Connecting,
            version,
            authenticates,
            packet_size_max: 0,
        }
    }

    /// Notes the success of the handshake: a server has sent its CONNACK, a client has received it.
    pub const fn connected(&mut self, version: Version, authenticates: bool) {
        self.phase = Phase::Connected;
        self.version = version;
        self.authenticates = authenticates;
    }

    /// Notes that a server answers a CONNECT of this version with AUTH, so that AUTH may come back.
    pub const fn challenged(&mut self, version: Version) {
        self.version = version;
        self.authenticates = true;
    }

    /// Sets the largest packet in bytes that this end accepts; 0 for no limit but the protocol's.
    pub const fn set_packet_size_max(&mut self, bytes: u32) {
        self.packet_size_max = bytes;
    }

    /// How far the connection has come.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The version that CONNECT chose; 5.0 until then.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether CONNECT named an authentication method.
    #[must_use]
    pub const fn authenticates(&self) -> bool {
        self.authenticates
    }

    /// Judges a packet by its fixed header, before its body has arrived: may it come now, and is it
    /// small enough?
    ///
    /// # Errors
    /// The fault; nothing after it may be read.
    pub fn admit(&self, header: &Header) -> Result<PacketType, Fault> {
        let length = header.packet_length();
        let Some(kind) = header.packet_type() else {
            return Err(match self.phase {
                Phase::Connecting => Fault::close("the first packet is not CONNECT"),
                Phase::Connected => Fault {
                    answer: Answer::Disconnect(ReasonCode::PROTOCOL_ERROR),
                    why: Why::Malformed(None, DecodeError::PacketType),
                },
            });
        };
        match self.phase {
            Phase::Connecting => self.admit_first(kind, length)?,
            Phase::Connected => self.admit_later(kind, header)?,
        }
        if self.packet_size_max > 0 && length > self.packet_size_max as usize {
            return Err(match self.phase {
                Phase::Connecting => Fault::close("CONNECT is too large"),
                Phase::Connected => {
                    Fault::disconnect(ReasonCode::PACKET_TOO_LARGE, "the packet is too large")
                }
            });
        }
        Ok(kind)
    }

    fn admit_first(&self, kind: PacketType, length: usize) -> Result<(), Fault> {
        match (self.role, kind) {
            (Role::Server, PacketType::Connect) if length > UNPROVEN_PACKET_MAX => {
                Err(Fault::close("CONNECT is too large"))
            }
            (Role::Server, PacketType::Connect) | (Role::Client, PacketType::ConnAck) => Ok(()),
            (_, PacketType::Auth) if self.authenticates => Ok(()),
            (Role::Server, _) => Err(Fault::close("the first packet is not CONNECT")),
            (Role::Client, _) => Err(Fault::close("the first packet is not CONNACK")),
        }
    }

    fn admit_later(&self, kind: PacketType, header: &Header) -> Result<(), Fault> {
        let length = header.packet_length();
        if self.role == Role::Server && length > self.limit(kind) {
            return Err(Fault::close("the packet is too large for its kind"));
        }
        if matches!(kind, PacketType::PingReq | PacketType::PingResp) && header.remaining > 0 {
            return Err(Fault::decode(kind, DecodeError::TrailingBytes));
        }
        let allowed = match kind {
            // A server closes without an answer, as Mosquitto does [MQTT5-3.1.0-2].
            PacketType::Connect => return Err(Fault::close("second CONNECT")),
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp => true,
            PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq => {
                self.role == Role::Server
            }
            PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
                self.role == Role::Client
            }
            PacketType::ConnAck => false,
            PacketType::Disconnect => self.role == Role::Server || self.version.has_properties(),
            // [MQTT5-4.12.0-7]
            PacketType::Auth => self.version.has_properties() && self.authenticates,
        };
        if allowed {
            return Ok(());
        }
        // The flags are judged before the sense of the packet.
        let flagged = matches!(
            kind,
            PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp | PacketType::Auth
        ) && header.first & 0x0F != 0;
        Err(if flagged {
            Fault::decode(kind, DecodeError::HeaderFlags)
        } else {
            Fault::disconnect(ReasonCode::PROTOCOL_ERROR, not_allowed(kind))
        })
    }

    /// The largest packet of a kind from a client, whatever is configured.
    const fn limit(&self, kind: PacketType) -> usize {
        match kind {
            PacketType::Auth => UNPROVEN_PACKET_MAX,
            _ if !self.version.has_properties() => usize::MAX,
            PacketType::Subscribe | PacketType::Unsubscribe => SUBSCRIBE_PACKET_MAX,
            PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::Disconnect => ACK_PACKET_MAX,
            _ => usize::MAX,
        }
    }

    /// Reads an admitted packet that has arrived whole.
    ///
    /// # Errors
    /// The fault; nothing after it may be read.
    pub fn decode<'a>(
        &self,
        kind: PacketType,
        header: &Header,
        body: &'a [u8],
    ) -> Result<Packet<'a>, Fault> {
        Packet::decode(header.first, self.version, body).map_err(|error| Fault::decode(kind, error))
    }
}

const fn not_allowed(kind: PacketType) -> &'static str {
    match kind {
        PacketType::ConnAck => "CONNACK is not allowed here",
        PacketType::SubAck => "SUBACK is not allowed here",
        PacketType::UnsubAck => "UNSUBACK is not allowed here",
        PacketType::PingResp => "PINGRESP is not allowed here",
        PacketType::Auth => "AUTH without an authentication method",
        PacketType::Subscribe => "SUBSCRIBE is not allowed here",
        PacketType::Unsubscribe => "UNSUBSCRIBE is not allowed here",
        PacketType::PingReq => "PINGREQ is not allowed here",
        _ => "the packet is not allowed here",
    }
}

#[cfg(test)]
mod tests;
