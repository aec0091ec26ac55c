//! Everything between the operating system and the broker's workers that knows no MQTT.
//!
//! One worker owns one [`Poller`], one [`Mailbox`] and the [`Slots`] of its connections. Its turn is:
//! [`Poller::wait`], then all that is ready, then what the mailbox holds, then one write per
//! connection. System calls and wake-ups are per turn, never per message:
//!
//! - a socket is registered once, edge-triggered, for reading and writing ([`Poller::register`]);
//! - a batch for another core costs one lock, and an `eventfd` write only when that core sleeps
//!   ([`Waker::wake`]);
//! - an idle connection costs a slot and a descriptor, and no buffer.
//!
//! Around that: listening sockets ([`Endpoint`], [`Listener`], [`AcceptGate`],
//! [`DescriptorReserve`]), [`Signals`], the [`Clock`], and what a daemon does once at its start
//! ([`raise_descriptor_limit`], [`drop_privileges`], [`cores`]).

mod clock;
mod descriptors;
mod endpoint;
mod gate;
mod key;
mod listen_error;
mod listener;
mod mailbox;
pub mod memory;
mod peer;
mod poller;
mod privileges;
mod signals;
mod slots;
mod stream;
mod threads;
mod waker;

pub use clock::Clock;
pub use descriptors::{DescriptorLimit, DescriptorReserve, raise_descriptor_limit};
pub use endpoint::{BindAddress, Endpoint, Family};
pub use gate::AcceptGate;
pub use key::Key;
pub use listen_error::ListenError;
pub use listener::{
    AcceptReport, AcceptState, Accepted, BindOptions, LISTEN_BACKLOG, Listener, Listening, listen,
};
pub use mailbox::{Bounds, Mailbox, Pressure, Sender};
pub use mio::event::Source;
pub use peer::PeerAddress;
pub use poller::{Poller, Ready};
pub use privileges::{
    Identity, PrivilegeError, drop_privileges, drop_privileges_to_ids, running_as_root,
};
pub use signals::{Signal, Signals};
pub use slots::Slots;
pub use stream::{Received, Sent, Stream};
pub use threads::{cores, spawn, thread_cpu_time};
pub use waker::Waker;

#[cfg(test)]
mod testing;
