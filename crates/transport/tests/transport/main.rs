//! The layers against other people's: certificates from rcgen, rustls' buffered connections as TLS
//! peers, tungstenite as WebSocket peer; and streams that are cut anywhere.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![expect(clippy::panic, reason = "a test ends at what it did not expect")]

mod corpus;
mod layers;
mod pki;
#[cfg(feature = "tls-psk")]
mod pre_shared_key_client;
#[cfg(feature = "tls-psk")]
mod pre_shared_keys;
mod splits;
mod tls_client;
mod tls_peer;
mod tls_server;
mod version1;
mod websocket_peer;
