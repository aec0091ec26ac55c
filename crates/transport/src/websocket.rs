//! WebSocket (RFC 6455) as MQTT uses it: a stream of bytes in binary frames.
//!
//! MQTT packets may be split over frames and share them [MQTT5-6.0.0-2], so messages are not put
//! together: payload is passed on as it arrives, in the caller's buffer. What a connection keeps is a
//! few dozen bytes ([`WebSocket`]), whatever the size of its frames.
//!
//! A server reads the request with [`Upgrade`], answers with [`Accepted::answer`] or
//! [`Refused::answer`], and goes on with [`WebSocket::server`]. A client sends
//! [`Handshake::request`], waits for the answer, and goes on with [`WebSocket::client`].

mod close;
mod forwarded;
mod frame;
mod handshake;
mod head;
mod key;
mod mask;
mod open;
mod refused;
mod request;
mod upgrade;

pub use close::{Close, CloseCode, Violation};
pub use forwarded::ForwardedHeader;
pub use frame::FRAME_BYTES_MAX;
pub use handshake::{Handshake, HandshakeError, HandshakeRequest};
pub use open::{End, Received, WebSocket};
pub use refused::Refused;
pub use request::{Request, Subprotocol};
pub use upgrade::{Accepted, Upgrade, UpgradeOptions};
