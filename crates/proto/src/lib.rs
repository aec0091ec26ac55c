//! One MQTT connection as a pure state machine, for either role.
//!
//! Nothing here reads a clock, owns a buffer or sends a byte. Each part owns one concern, and the
//! broker, the client library and the simulator put them together:
//!
//! - [`Connection`]: which packet may come now, how large it may be, and what to answer when it is at
//!   fault;
//! - [`Outgoing`]: messages of QoS 1 and 2 that were sent and are not finished, their packet
//!   identifiers and the peer's receive maximum;
//! - [`Incoming`]: messages of QoS 2 that were received and are not released;
//! - [`InboundAliases`] and [`OutboundAliases`]: topic aliases of one direction;
//! - [`KeepAlive`]: when silence is too long, and when a client has to break it.
//!
//! `Outgoing` and `Incoming` belong to a session and survive its connections; the others end with one.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
mod alias;
mod connection;
mod fault;
#[cfg(feature = "alloc")]
mod incoming;
mod keep_alive;
#[cfg(feature = "alloc")]
mod outgoing;
mod time;

#[cfg(feature = "alloc")]
pub use alias::{AliasUse, InboundAliases, OutboundAliases};
pub use connection::{Connection, Phase, Role};
pub use fault::{Answer, Fault, Why};
#[cfg(feature = "alloc")]
pub use incoming::Incoming;
pub use keep_alive::KeepAlive;
#[cfg(feature = "alloc")]
pub use outgoing::{Acked, Outgoing, Resend};
pub use time::Time;
