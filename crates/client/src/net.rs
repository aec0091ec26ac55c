//! Opening connections: TCP and unix sockets, through proxies, with TLS and WebSocket around the bytes.
//!
//! [`Client`](crate::Client) does this by itself. For programs that speak MQTT by other means, in one
//! thread and with their own waiting, [`Dialer::dial`] opens a [`Connection`] that is read, written and
//! polled like a socket:
//!
//! ```no_run
//! use std::io::{Read as _, Write as _};
//! use midge_client::net::{Dialer, Server};
//!
//! let dialer = Dialer::new().proxy("socks5://proxy.example")?;
//! let mut connection = dialer.dial(&Server::new("broker.example", 1883))?;
//! connection.write_all(&[0xC0, 0x00])?;
//! connection.flush()?;
//! let mut answer = [0; 2];
//! connection.read_exact(&mut answer)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod dial;
mod dialer;
pub(crate) mod failure;
mod link;
mod proxy;
mod raw;
mod server;
#[cfg(feature = "tls")]
mod tls;
#[cfg(any(feature = "tls", feature = "websocket"))]
mod wrapped;
#[cfg(not(any(feature = "tls", feature = "websocket")))]
#[path = "net/wrapped/absent.rs"]
mod wrapped;
#[cfg(any(feature = "tls", feature = "websocket"))]
mod wrapping;
#[cfg(not(any(feature = "tls", feature = "websocket")))]
#[path = "net/wrapping/absent.rs"]
mod wrapping;

pub use connection::Connection;
pub use dialer::Dialer;
pub use server::Server;
#[cfg(feature = "tls")]
pub use tls::{TlsInfo, TlsOptions};

#[cfg(feature = "tls")]
pub use midge_transport::tls::TlsVersion;

#[cfg(feature = "tls-psk")]
pub use midge_transport::tls::PreSharedKey;

pub(crate) use dial::Resolving;
pub(crate) use link::Link;
pub(crate) use server::{Proxy, ProxyKind, Scheme};
