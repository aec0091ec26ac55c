//! TLS, WebSocket and the PROXY protocol as transformers of bytes, without sockets.
//!
//! Each layer is a value that is given what was read from the wire and hands out plain bytes, and the
//! other way round. None has a socket, a clock, a thread or a buffer that outlives a call, except for
//! what arrived incomplete, which is bounded. A value may move to another thread between two calls.
//!
//! [`Layers`] stacks them as a connection needs them. A server makes them from [`ServerLayers`], a
//! client from [`ClientLayers`]; a plain TCP connection has none and costs nothing.

mod layers;
mod looks;
pub mod proxy;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
mod tls;
pub mod websocket;

pub use layers::{
    ClientLayers, ClientWebSocket, Layers, LayersEnd, LayersError, ServerLayers, Unwrapped,
};
pub use looks::Looks;
