//! Packets of MQTT 3.1, 3.1.1 and 5.0 as borrowed views: no allocation, no unsafe, no std.
//!
//! One set of types serves all versions: a 3.x packet is a 5.0 packet whose properties are empty and
//! whose reason code is success. The version is an argument of decoding and encoding.
//!
//! Reading a packet from a stream takes two steps. [`Header::peek`] looks at the first bytes and says
//! how long the packet is (so that a limit can be applied before it has arrived), then
//! [`Packet::decode`] reads the body, whose every length is checked before use. Decoded packets borrow
//! from the buffer; strings are checked UTF-8.
//!
//! Writing counts the length with the same function that writes the bytes, so the two cannot disagree.

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod error;
mod header;
pub mod packet;
mod property;
mod qos;
mod reader;
mod reason;
mod scan;
mod sink;
pub mod topic;
mod version;

pub use error::{DecodeError, EncodeError};
pub use header::{Header, PacketType, REMAINING_LENGTH_MAX};
pub use packet::Packet;
pub use packet::ack::{Ack, AckKind};
pub use packet::auth::Auth;
pub use packet::connack::ConnAck;
pub use packet::connect::{Connect, ConnectFault, Will};
pub use packet::disconnect::Disconnect;
pub use packet::publish::Publish;
pub use packet::suback::{SubAck, UnsubAck};
pub use packet::subscribe::{
    Filters, RetainHandling, Subscribe, Subscription, SubscriptionOptions, Subscriptions,
    Unsubscribe,
};
pub use property::{Properties, Property, PropertyId, Scope};
pub use qos::QoS;
pub use reader::Reader;
pub use reason::ReasonCode;
pub use sink::{Counter, LengthCounter, Sink, SliceSink};
pub use version::Version;

#[cfg(test)]
mod tests;
