//! The broker over real sockets: what its threads, mailboxes and sockets do to messages.

mod bytes;
mod client;
mod limits;
mod log;
mod messages;
mod reload;
mod sessions;
mod shutdown;
