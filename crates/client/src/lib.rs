//! MQTT client library: asynchronous and blocking, for MQTT 5.0, 3.1.1 and 3.1.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use midge_client::{Client, QoS};
//!
//! let client = Client::connect("mqtt://localhost").await?;
//! let mut garden = client.subscribe("garden/#").qos(QoS::AtLeastOnce).await?;
//! client.publish("garden/temperature", "21.5").qos(QoS::AtLeastOnce).retain().await?;
//! if let Some(message) = garden.next().await {
//!     println!("{}: {:?}", message.topic(), message.payload());
//! }
//! client.disconnect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! - A call completes when what its QoS promises has happened, and returns the broker's reason. Dropping
//!   its future takes back a message that was not accepted yet, and nothing else.
//! - The client connects again by itself, resumes its session, subscribes again where the broker forgot,
//!   and sends again what was not acknowledged. It gives up only where trying cannot help.
//! - Every queue has a limit with a name in [`Options`]; what is full makes callers wait, unless the
//!   options say otherwise.
//!
//! The [`guide`] goes through all of it.

#![forbid(unsafe_code)]

#[expect(clippy::disallowed_methods, reason = "a front waits and keeps time")]
pub mod blocking;
mod client;
mod core;
mod credentials;
mod driver;
mod error;
mod event;
pub mod guide;
mod message;
#[expect(
    clippy::disallowed_methods,
    reason = "connections are tried one after the other, and files are read for TLS"
)]
pub mod net;
mod options;
mod publish;
#[expect(
    clippy::disallowed_methods,
    reason = "the disk, and the clock that messages expire by"
)]
mod queue;
mod request;
#[expect(clippy::disallowed_methods, reason = "a front waits and keeps time")]
mod shared;
mod subscribe;

pub use crate::core::Overflow;
pub use bytes::Bytes;
pub use client::{Client, DisconnectCall, Events};
pub use credentials::{
    Authenticator, BoxFuture, CredentialRequest, Credentials, CredentialsError, Occasion,
};
pub use error::{
    ConnectionError, OptionsError, PublishError, Refusal, RequestError, SubscribeError, TlsFailure,
    TlsFailureKind, Unfinished, WebSocketFailure,
};
pub use event::{Connected, Event};
pub use message::{Message, MessageProperties};
pub use midge_codec::{QoS, ReasonCode, RetainHandling, Version};
#[cfg(feature = "tls")]
pub use net::{TlsInfo, TlsOptions, TlsVersion};
pub use options::{Options, QueueFull, Will};
pub use publish::{Delivery, Enqueue, Publish, PublishFuture, Published};
pub use request::{Request, RequestFuture};
pub use subscribe::{Filter, Filters, Subscribe, SubscribeFuture, Subscription};
