//! The guide: from the first message to programs that run for years.
//!
//! - [`connect`]: addresses, options, the first connection
//! - [`publish`]: what a completed call means, many at once, the queue
//! - [`subscribe`]: streams, limits, acknowledgement
//! - [`errors`]: what each error means and what to do
//! - [`reconnecting`]: what the client does by itself, and how to watch it
//! - [`sessions`]: what the broker keeps, and the queue on the disk
//! - [`tls`]: certificates, WebSocket, proxies
//! - [`oauth`]: tokens that end, and methods with several steps
//! - [`embedded`]: small devices, and microcontrollers without an operating system
//! - [`coming_from`]: for people who know rumqttc or paho
//!
//! The examples run against a broker whenever the tests do.

#[doc = include_str!("guide/connect.md")]
pub mod connect {}
#[doc = include_str!("guide/publish.md")]
pub mod publish {}
#[doc = include_str!("guide/subscribe.md")]
pub mod subscribe {}
#[doc = include_str!("guide/errors.md")]
pub mod errors {}
#[doc = include_str!("guide/reconnecting.md")]
pub mod reconnecting {}
#[doc = include_str!("guide/sessions.md")]
pub mod sessions {}
#[cfg(feature = "tls")]
#[doc = include_str!("guide/tls.md")]
pub mod tls {}
#[doc = include_str!("guide/oauth.md")]
pub mod oauth {}
#[doc = include_str!("guide/embedded.md")]
pub mod embedded {}
#[doc = include_str!("guide/coming_from.md")]
pub mod coming_from {}
