//! The Midge broker as a daemon and as an embeddable library.
//!
//! [`Server::start`] runs a broker inside a program, [`daemon::run`] is what the `midge` binary does.
//! Around the pure logic of `midge-broker` there is one worker thread per core, which owns its
//! sockets and its shard of sessions, and one control thread, which accepts connections, takes
//! signals and reloads the configuration. What they share is the routing table, the retained messages
//! and the directory of client ids; everything else goes from mailbox to mailbox.

mod access;
pub mod auth_fetch;
pub mod config;
mod control;
mod crew;
pub mod daemon;
mod directory;
mod host;
pub mod log;
mod mail;
mod persistence;
mod rates;
mod seats;
mod server;
mod settings;
mod tables;
mod worker;
mod wrapping;

pub use control::{ConfigSource, Ending};
pub use midge_reactor::{BindAddress, Signals};
pub use server::{Bound, Extras, Log, ReloadError, Server, ServerHandle, StartError};
pub use settings::VERSION;
