//! The sockets of one worker.

use std::io;

use midge_broker::{ConnId, Origin};
use midge_reactor::{Key, Slots, Stream};

use super::layered::Layered;
use crate::rates::Meter;
use crate::seats::Seat;

/// A connection, as far as it is a socket. Most are idle, so what only some need is boxed.
pub(super) struct Socket {
    pub(super) stream: Stream,
    /// Its name at the shard; `None` once that has forgotten it and only bytes are still to be sent.
    pub(super) conn: Option<ConnId>,
    pub(super) seat: Seat,
    /// Needed as long as the connection may move to another worker: until its CONNECT is accepted.
    pub(super) origin: Option<Box<Origin>>,
    /// What is between the socket's bytes and the shard's; nothing for plain MQTT.
    pub(super) layers: Option<Box<Layered>>,
    /// The beginning of a packet.
    pub(super) partial: Option<Box<Partial>>,
    /// Why nothing can be written any more; what can still be read is read.
    pub(super) failed: Option<io::ErrorKind>,
    /// It is in the list of those to be read.
    pub(super) queued: bool,
    /// The peer has hung up, so a short read does not mean that nothing more waits.
    pub(super) hung_up: bool,
    /// The peer has ended its side, and all that it sent has been read.
    pub(super) ended: bool,
    /// The peer has said that it goes, so it sends nothing more.
    pub(super) said_farewell: bool,
    /// The last write found no room; the poller tells when there is.
    pub(super) blocked: bool,
    /// It is not read until its login has been answered.
    pub(super) logs_in: bool,
    /// It is not read until its turn has come.
    pub(super) throttled: bool,
    /// What it has sent of what its rates allow, where there are any.
    pub(super) meter: Option<Box<Meter>>,
}

/// Bytes of a packet that is not complete.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) bytes: Vec<u8>,
    /// How many there must be before the shard wants to see them again.
    pub(super) needed: usize,
}

/// All sockets of a worker, by key for the poller and by token for the shard.
///
/// The token is the slot. A slot is free for another connection only after the effects that name it
/// have been carried out, so a token is never taken for another connection's.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Slots<Socket>,
    /// The last key of each slot.
    keys: Vec<Key>,
}

impl Socket {
    pub(super) fn new(stream: Stream, seat: Seat, origin: Origin) -> Self {
        Self {
            stream,
            conn: None,
            seat,
            origin: Some(Box::new(origin)),
            layers: None,
            partial: None,
            failed: None,
            queued: false,
            hung_up: false,
            ended: false,
            said_farewell: false,
            blocked: false,
            logs_in: false,
            throttled: false,
            meter: None,
        }
    }

    /// Whether it is not to be read for now, whatever comes.
    pub(super) fn is_held(&self) -> bool {
        self.logs_in || self.throttled
    }
}

impl Sockets {
    /// Adds a socket, or gives it back when there are as many as can be.
    pub(super) fn insert(&mut self, socket: Socket) -> Result<Key, Socket> {
        let key = self.slots.insert(socket)?;
        match self.keys.get_mut(key.slot()) {
            Some(known) => *known = key,
            // Slots are numbered as they are first used, so this one is the next.
            None => self.keys.push(key),
        }
        Ok(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Socket> {
        self.slots.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Socket> {
        self.slots.remove(key)
    }

    /// The socket that the shard calls `token`.
    pub(super) fn by_token(&mut self, token: usize) -> Option<(Key, &mut Socket)> {
        let key = *self.keys.get(token)?;
        self.slots.get_mut(key).map(|socket| (key, socket))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The connections that came through a listener.
    pub(super) fn of_listener(&self, listener: u64) -> Vec<ConnId> {
        self.slots
            .iter()
            .filter(|(_, socket)| socket.seat.listener() == listener)
            .filter_map(|(_, socket)| socket.conn)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_little() {
        // Twice that at times, since debug builds remember more of a stream.
        assert!(size_of::<Socket>() <= 96, "{}", size_of::<Socket>());
    }
}
