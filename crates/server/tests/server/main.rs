//! The broker over real sockets: what its threads, mailboxes and sockets do to messages.

#[cfg(test)]
mod bytes;
#[cfg(test)]
mod client;
#[cfg(test)]
mod enhanced;
#[cfg(test)]
mod import;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod log;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod methods;
#[cfg(all(test, feature = "tls-psk"))]
mod pre_shared_keys;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod transports;
#[cfg(test)]
mod websockets;
