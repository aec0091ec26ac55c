//! The packets, a file for each body.

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod publish;
pub mod suback;
pub mod subscribe;

use crate::{
    Ack, AckKind, Auth, ConnAck, Connect, Counter, DecodeError, Disconnect, EncodeError, Header,
    PacketType, Publish, REMAINING_LENGTH_MAX, Sink, SubAck, Subscribe, UnsubAck, Unsubscribe,
    Version,
};

/// Any packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is documented by its type")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(AckKind, Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Reads the packet whose first byte is `first` and whose body is `body`.
    ///
    /// `version` is what the connection's CONNECT said; a CONNECT itself says its own.
    ///
    /// # Errors
    /// What is wrong with it. A faulty CONNECT is just [`DecodeError::Connect`]: a server calls
    /// [`Connect::decode`], which says what to answer.
    pub fn decode(first: u8, version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = PacketType::from_first_byte(first).ok_or(DecodeError::PacketType)?;
        if let Some(flags) = kind.flags()
            && first & 0x0F != flags
            && !tolerates_flags(kind, version)
        {
            return Err(DecodeError::HeaderFlags);
        }
        Ok(match kind {
            PacketType::Connect => {
                Self::Connect(Connect::decode(first, body).map_err(|_| DecodeError::Connect)?)
            }
            PacketType::ConnAck => Self::ConnAck(ConnAck::decode(version, body)?),
            PacketType::Publish => Self::Publish(Publish::decode(first, version, body)?),
            PacketType::PubAck => ack(AckKind::PubAck, version, body)?,
            PacketType::PubRec => ack(AckKind::PubRec, version, body)?,
            PacketType::PubRel => ack(AckKind::PubRel, version, body)?,
            PacketType::PubComp => ack(AckKind::PubComp, version, body)?,
            PacketType::Subscribe => Self::Subscribe(Subscribe::decode(version, body)?),
            PacketType::SubAck => Self::SubAck(SubAck::decode(version, body)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(version, body)?),
            PacketType::UnsubAck => Self::UnsubAck(UnsubAck::decode(version, body)?),
            PacketType::PingReq => empty(Self::PingReq, body)?,
            PacketType::PingResp => empty(Self::PingResp, body)?,
            PacketType::Disconnect => Self::Disconnect(Disconnect::decode(version, body)?),
            PacketType::Auth => Self::Auth(Auth::decode(version, body)?),
        })
    }

    /// Reads the first packet of `bytes` and its length; `None` when it has not arrived whole.
    ///
    /// # Errors
    /// As [`Self::decode`] and [`Header::peek`].
    pub fn read(bytes: &'a [u8], version: Version) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(header) = Header::peek(bytes)? else {
            return Ok(None);
        };
        let Some(body) = header.body(bytes) else {
            return Ok(None);
        };
        Ok(Some((
            Self::decode(header.first, version, body)?,
            header.packet_length(),
        )))
    }

    /// Appends the whole packet to `sink`; in case of an error, nothing.
    ///
    /// # Errors
    /// [`EncodeError::FieldTooLong`], [`EncodeError::PacketTooLong`].
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(sink),
            Self::ConnAck(connack) => connack.encode(version, sink),
            Self::Publish(publish) => publish.encode(version, sink),
            Self::Ack(kind, ack) => ack.encode(*kind, version, sink),
            Self::Subscribe(subscribe) => subscribe.encode(version, sink),
            Self::SubAck(suback) => suback.encode(version, sink),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, sink),
            Self::UnsubAck(unsuback) => unsuback.encode(version, sink),
            Self::PingReq => put_empty(PacketType::PingReq, sink),
            Self::PingResp => put_empty(PacketType::PingResp, sink),
            Self::Disconnect(disconnect) => disconnect.encode(version, sink),
            Self::Auth(auth) => auth.encode(version, sink),
        }
    }

    /// Which kind of packet it is.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::Ack(kind, _) => kind.packet_type(),
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// MQTT 3.1 left the flags of some packets undefined, and clients of that age set them.
const fn tolerates_flags(kind: PacketType, version: Version) -> bool {
    matches!(version, Version::V3_1)
        && matches!(
            kind,
            PacketType::PubRel | PacketType::Disconnect | PacketType::Connect
        )
        || matches!(kind, PacketType::Connect)
}

fn ack(kind: AckKind, version: Version, body: &[u8]) -> Result<Packet<'_>, DecodeError> {
    Ok(Packet::Ack(kind, Ack::decode(kind, version, body)?))
}

const fn empty<'a>(packet: Packet<'a>, body: &[u8]) -> Result<Packet<'a>, DecodeError> {
    if body.is_empty() {
        Ok(packet)
    } else {
        Err(DecodeError::TrailingBytes)
    }
}

fn put_empty(kind: PacketType, sink: &mut impl Sink) -> Result<(), EncodeError> {
    sink.put(&[kind.first_byte(), 0]);
    Ok(())
}

/// The part of a packet behind its fixed header.
pub(crate) trait Body {
    /// Writes the body; called once to count and once to write.
    fn write(&self, version: Version, sink: &mut impl Sink);
}

/// The Remaining Length of `body`.
pub(crate) fn remaining_length<C: Counter>(
    body: &impl Body,
    version: Version,
) -> Result<u32, EncodeError> {
    let mut counter = C::default();
    body.write(version, &mut counter);
    match u32::try_from(counter.count()?) {
        Ok(remaining) if remaining <= REMAINING_LENGTH_MAX => Ok(remaining),
        _ => Err(EncodeError::PacketTooLong),
    }
}

/// Writes fixed header and body.
pub(crate) fn put_packet<S: Sink>(
    first: u8,
    body: &impl Body,
    version: Version,
    sink: &mut S,
) -> Result<(), EncodeError> {
    let remaining = remaining_length::<S::Counter>(body, version)?;
    sink.reserve(5 + remaining as usize);
    sink.put_u8(first);
    sink.put_variable_int(remaining);
    body.write(version, sink);
    Ok(())
}

#[cfg(test)]
mod tests;
