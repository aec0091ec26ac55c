//! MQTT for microcontrollers: 5.0 and 3.1.1, QoS 0 to 2, over any transport of `embedded-io-async`.
//!
//! No std, no allocator, no unsafe: every byte that is kept is in a buffer of the caller's. There is no
//! task and no timer either; the application asks for the next [`Event`] and says what time it is.
//!
//! ```
//! # use midge_embedded::embedded_io_async::{Read, Write};
//! use midge_embedded::{Buffers, Client, Event, Message, Options, QoS, Session, Subscription, Time, Version};
//!
//! # async fn run<T: Read + Write>(socket: T, clock: impl Fn() -> Time) -> Result<(), midge_embedded::Error<T::Error>> {
//! // What outlives connections: messages that are not acknowledged, and identifiers of QoS 2.
//! let (mut unacknowledged, mut received) = ([0; 1024], [0; 8]);
//! let mut session = Session::new(Version::V5, &mut unacknowledged, &mut received);
//!
//! let (mut receive, mut send) = ([0; 512], [0; 256]);
//! let buffers = Buffers { receive: &mut receive, send: &mut send };
//! let options = Options::new("sensor-17").keep_alive_secs(60).session_expiry_secs(3600);
//! let (mut client, accepted) = Client::connect(socket, clock, &mut session, buffers, &options).await?;
//! if !accepted.session_present {
//!     client.subscribe(&[Subscription { filter: "light/set", options: QoS::AtLeastOnce.into() }]).await?;
//! }
//! client.publish(&Message::new("light/state", b"on").qos(QoS::AtLeastOnce)).await?;
//! loop {
//!     // Beside a timer that ends at `client.deadline()`: see there.
//!     match client.next().await? {
//!         Event::Message(message) => { /* message.topic, message.payload */ }
//!         Event::Delivered { id, reason } => { /* the broker has it */ }
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # Time
//!
//! [`Client::next`] waits for the broker. Somebody has to wake it for the keep alive: it can be dropped
//! at any moment and called again, so a timer beside it does that, with whatever select the platform has.
//!
//! ```ignore
//! match select(client.next(), Timer::at(instant(client.deadline()))).await {
//!     Either::First(event) => handle(event?),
//!     Either::Second(()) => {} // `next` looks at the clock, sends PINGREQ, or says that nobody answers
//! }
//! ```
//!
//! # Cancellation
//!
//! Every future here may be dropped. Packets are put into a buffer whole before the first byte is sent,
//! and what has been sent or received is counted after every transfer, so the next call goes on where
//! the dropped one was. That holds as far as the transport's own `read` and `write` do nothing when they
//! are dropped, as those of embassy-net do.
//!
//! # Sessions
//!
//! A message of QoS 1 or 2 stays in the [`Session`]'s buffer until the broker has acknowledged it. Lose
//! the connection, drop the client, connect again with the same session: what was not acknowledged is
//! sent again. Received messages are acknowledged when the application asks for the event after them;
//! one of QoS 2 is handed over once, also when the connection is lost in between.
//!
//! # Loss of power
//!
//! A session can outlive the power: [`Session::saved`] gives it as bytes, [`Session::restore`] takes them
//! back. What the memory is, and how it is spared, is the application's affair; a write that the end of the
//! power cuts short is found by the checksum, so write to two places in turn, with a number of your own, and
//! take the newer one that can be restored.
//!
//! With [`With::session_saved`] the client says when its session has to be saved, and waits until then with
//! what must not be sent before. Save it
//!
//! - after [`Client::try_publish`] of QoS 1 or 2, and before the next `flush` or `next` ([`Client::publish`]
//!   sends at once, so it does not take QoS 2);
//! - after an [`Event::Message`] of QoS 2, before the next call of `next`;
//! - after an [`Event::SessionChanged`], before the next call;
//! - after connecting, if the broker has no session.
//!
//! Then it holds, wherever the power ends and as long as the broker keeps its side: **of QoS 1**, what is
//! saved reaches the broker at least once; what the broker sends comes until it is acknowledged, which
//! needs no saving. **Of QoS 2**, what is saved reaches the broker once. What the broker sends is handed
//! over once for each session that was saved: the application that saves what it makes of a message in the
//! same write as the session has dealt with it once. Nobody need save at [`Event::Delivered`]; until the
//! next time a restored session asks for that delivery again, which the broker takes for what it is, and
//! with QoS 1 for another message.
//!
//! With 3.1.1 the broker's side of a session that begins clean ends with its connection, so the first time
//! disconnect at once, and connect again without [`Options::clean_start`]. `examples/cortex-m` is a whole program:
//! firmware for a Cortex-M4 that loses no reading and counts no command twice.
//!
//! ```
//! # use midge_embedded::embedded_io_async::{Read, Write};
//! # use midge_embedded::{Buffers, Client, Error, Event, Message, Options, QoS, Session, Time, Version, With};
//! # trait Flash { fn read(&mut self, to: &mut [u8]); fn write(&mut self, bytes: impl Iterator<Item = u8>); }
//! # async fn run<T: Read + Write>(socket: T, clock: impl Fn() -> Time, flash: &mut impl Flash) -> Result<(), Error<T::Error>> {
//! let mut saved = [0; Session::saved_length_max(1024, 8)];
//! flash.read(&mut saved);
//! let (mut unacknowledged, mut received) = ([0; 1024], [0; 8]);
//! let mut options = Options::new("sensor-17").session_expiry_secs(u32::MAX);
//! let mut session = match Session::restore(&saved, &mut unacknowledged, &mut received) {
//!     Ok(session) => session,
//!     Err(_) => {
//!         // The first time; or all is lost. Then the broker must not go on with its half.
//!         options = options.clean_start();
//!         Session::new(Version::V5, &mut unacknowledged, &mut received)
//!     }
//! };
//! # let (mut receive, mut send) = ([0; 512], [0; 256]);
//! # let buffers = Buffers { receive: &mut receive, send: &mut send };
//! let with = With::new().session_saved();
//! let connecting = Client::connect_with(socket, clock, &mut session, buffers, &options, with);
//! let (mut client, accepted) = connecting.await?;
//! if !accepted.session_present {
//!     flash.write(client.session().saved());
//! }
//! client.try_publish(&Message::new("meter/17", b"4711").qos(QoS::ExactlyOnce))?;
//! flash.write(client.session().saved());
//! loop {
//!     match client.next().await? {
//!         Event::Message(message) => {
//!             // Use it, and save with it what came of it.
//!             flash.write(client.session().saved());
//!         }
//!         Event::SessionChanged => flash.write(client.session().saved()),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # Topic aliases and authentication
//!
//! [`With::topic_aliases`] sends and takes numbers in the place of topics (5.0): [`TopicAliases`].
//! [`With::authenticator`] speaks an authentication method such as SCRAM (5.0): [`Authenticator`]. Without one
//! an AUTH of the broker ends the connection. A program that has neither has no code for them.
//!
//! # Memory
//!
//! The client itself is at most 168 bytes on a 32-bit machine, plus the transport and the caller's buffers;
//! nothing is static. The code of connecting, publishing, subscribing and pinging, with both versions and
//! QoS 0 to 2, is below 16 KiB on a Cortex-M4 (`benches/embedded/size.sh`). Sessions that are saved and
//! restored add 2.2 KiB, topic aliases 2.0 KiB, and authentication 1.2 KiB beside the method's own; aliases
//! take 28 bytes of the client's memory and what they are given.
//!
//! | buffer | at least |
//! |---|---|
//! | [`Buffers::receive`] | the largest packet that comes; a 5.0 broker is told and keeps to it |
//! | [`Buffers::send`] | CONNECT (client id, user name, password, will and some 20 bytes), and the largest message of QoS 0 and 16 bytes |
//! | unacknowledged | for each message of QoS 1 and 2 on the way, its packet and 5 bytes |
//! | received | two bytes for each message of QoS 2 on the way |

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[cfg(test)]
extern crate std;

mod aliases;
mod authentication;
mod client;
mod core;
mod error;
mod event;
mod extras;
mod options;
mod outbox;
mod session;

pub use aliases::TopicAliases;
pub use authentication::{Authentication, Authenticator, Unconvinced};
pub use client::{Accepted, Buffers, Client};
pub use error::{Error, QueueError};
pub use event::Event;
pub use extras::{Extras, With};
pub use options::{Message, Options};
pub use session::{RestoreError, Session};

pub use embedded_io_async;
pub use midge_codec::{
    DecodeError, Properties, Property, Publish, QoS, ReasonCode, RetainHandling, Subscription,
    SubscriptionOptions, Version, Will,
};
pub use midge_proto::{Fault, Time};

/// The number of a message, subscription or its end until the broker has answered it.
pub type PacketId = ::core::num::NonZeroU16;

#[cfg(test)]
mod tests;
