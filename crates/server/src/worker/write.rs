//! Finishing a turn: what the shard asked for is carried out, and each connection with output gets
//! one write.

use std::collections::VecDeque;
use std::mem;
use std::net::Shutdown;

use midge_broker::{LogKind, Time};
use midge_reactor::{Key, Received, Sent, Stream};
use midge_transport::websocket::CloseCode;

use super::Worker;
use super::sockets::Socket;
use crate::log::Kind;
use crate::mail::WorkerMail;
use crate::tables::TurnTables;

/// Writes per connection and turn: what was sent makes room for more, and a slow one does not hold up
/// the others for ever.
const PASSES_MAX: usize = 4;

/// How long a connection that is over may take for its last bytes.
const LINGER_MS: u64 = 5_000;

/// Connections that may do so at once.
const LINGERING_MAX: usize = 1_024;

/// Bytes that are read and thrown away when a socket is closed. With any left, the system would reset
/// the connection, and the peer might never see the last packet.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;

/// Connections that are over but for their last bytes.
#[derive(Default)]
pub(super) struct Closing {
    /// What is still to be sent, by deadline.
    lingering: VecDeque<Lingering>,
    /// Those of them that can be written again.
    pub(super) writable: Vec<Key>,
}

struct Lingering {
    deadline: Time,
    key: Key,
    rest: Vec<u8>,
}

impl Closing {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.lingering.front().map(|first| first.deadline)
    }
}

impl Worker {
    /// Ends what this turn has gathered and carries out what it asks for.
    ///
    /// The order matters. The shard's changes are in the shared tables before an acknowledgement
    /// leaves, and mail to other workers is on its way before a client hears anything.
    pub(super) fn finish(&mut self, tables: &mut TurnTables<'_>) {
        let (shard, mut step) = self.core.step(tables);
        shard.end_turn(&mut step);
        self.settle_directory(tables);
        self.hand_in();
        self.send_mail();
        for _ in 0..PASSES_MAX {
            if self.core.effects.dirty.is_empty() {
                break;
            }
            self.write_dirty(tables);
        }
        self.settle_directory(tables);
        self.hand_in();
        self.send_mail();
        self.close_finished();
        self.send_rests();
        self.write_log();
        self.core.written();
    }

    /// Hands what is to be kept to the store: before the mail that others may answer with records of
    /// their own, and long before an acknowledgement, which waits for the answer.
    fn hand_in(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.hand_in(&mut self.core.shard);
            for load in self.core.effects.loads.drain(..) {
                keeper.load(load);
            }
        }
    }

    fn send_mail(&mut self) {
        self.gather_mail();
        self.post.send();
    }

    /// Makes the shard's mail ready to be sent. Its size is counted here, so early, while the messages are
    /// in a cache.
    pub(super) fn gather_mail(&mut self) {
        for (worker, mail) in self.core.effects.mail.drain(..) {
            self.post.add(worker, WorkerMail::Shard(mail));
        }
    }

    /// Writes once to each connection that has output.
    fn write_dirty(&mut self, tables: &mut TurnTables<'_>) {
        mem::swap(&mut self.writing, &mut self.core.effects.dirty);
        let mut writing = mem::take(&mut self.writing);
        for token in writing.drain(..) {
            let Some((key, socket)) = self.sockets.by_token(token) else {
                continue;
            };
            let Some(conn) = socket.conn else { continue };
            if socket.blocked || socket.failed.is_some() {
                continue;
            }
            if socket.layers.is_some() {
                self.write_layered(token, tables);
                continue;
            }
            let output = self.core.shard.output(conn);
            if output.is_empty() {
                continue;
            }
            match socket.stream.write(output) {
                Ok(Sent::Bytes(count)) => {
                    // After a short write the poller tells when there is room again.
                    socket.blocked = count < output.len();
                    let (shard, mut step) = self.core.step(tables);
                    shard.wrote(&mut step, conn, count);
                }
                Ok(Sent::Blocked) => socket.blocked = true,
                Err(error) => {
                    // The client may have sent its last words, DISCONNECT even, before it closed.
                    socket.failed = Some(error.kind());
                    self.read_to_end(key);
                }
            }
        }
        self.writing = writing;
    }

    /// Closes the sockets of connections that are over.
    fn close_finished(&mut self) {
        let mut closed = mem::take(&mut self.core.effects.closed);
        let code = if self.stops_at.is_some() {
            CloseCode::GOING_AWAY
        } else {
            CloseCode::NORMAL
        };
        for (token, rest) in closed.drain(..) {
            let Some((key, socket)) = self.sockets.by_token(token) else {
                continue;
            };
            socket.conn = None;
            socket.partial = None;
            let rest = match socket.layers.take() {
                Some(layered) => layered.into_rest(&rest, code),
                None => rest,
            };
            self.send_rest(key, rest);
        }
        self.core.effects.closed = closed;
    }

    /// Sends the last bytes of a connection, and closes it when they have gone or cannot go.
    fn send_rest(&mut self, key: Key, mut rest: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let waits = socket.write_rest(&mut rest);
        if waits && self.closing.lingering.len() < LINGERING_MAX {
            let deadline = self.core.now.plus_millis(LINGER_MS);
            let lingering = Lingering {
                deadline,
                key,
                rest,
            };
            self.closing.lingering.push_back(lingering);
        } else {
            self.hang_up(key);
        }
    }

    /// Goes on with last bytes that there is room for again.
    fn send_rests(&mut self) {
        while let Some(key) = self.closing.writable.pop() {
            let lingering = &mut self.closing.lingering;
            let place = lingering.iter().position(|entry| entry.key == key);
            let Some(place) = place else { continue };
            let Some(entry) = lingering.get_mut(place) else {
                continue;
            };
            let socket = self.sockets.get_mut(key);
            if !socket.is_some_and(|socket| socket.write_rest(&mut entry.rest)) {
                lingering.remove(place);
                self.hang_up(key);
            }
        }
    }

    /// Closes connections whose last bytes could not be sent in time.
    pub(super) fn give_up_lingering(&mut self) {
        let now = self.core.now;
        while let Some(late) = self
            .closing
            .lingering
            .pop_front_if(|first| first.deadline <= now)
        {
            self.drop_socket(late.key);
        }
    }

    /// Closes a socket so that the peer can read what was sent.
    fn hang_up(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key)
            && socket.failed.is_none()
            && !socket.ended
            && !socket.said_farewell
        {
            farewell(&mut socket.stream);
        }
        self.drop_socket(key);
    }

    pub(super) fn drop_socket(&mut self, key: Key) {
        if self.sockets.remove(key).is_some() {
            self.discount_load();
        }
    }

    fn write_log(&mut self) {
        for line in self.core.effects.log.drain(..) {
            let kind = match line.kind {
                LogKind::Error => Kind::Error,
                LogKind::Warning => Kind::Warning,
                LogKind::Notice => Kind::Notice,
                LogKind::Information => Kind::Information,
                LogKind::Subscribe => Kind::Subscribe,
                LogKind::Unsubscribe => Kind::Unsubscribe,
            };
            self.logger.log(kind, line.text);
        }
    }
}

impl Socket {
    /// Writes some of `rest`; tells whether there is more that can be written later.
    fn write_rest(&mut self, rest: &mut Vec<u8>) -> bool {
        if self.failed.is_none() && !self.blocked && !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(Sent::Bytes(count)) => {
                    rest.drain(..count);
                    self.blocked = !rest.is_empty();
                }
                Ok(Sent::Blocked) => self.blocked = true,
                Err(error) => self.failed = Some(error.kind()),
            }
        }
        self.failed.is_none() && !rest.is_empty()
    }
}

/// Ends our side and empties the socket, so that closing it does not reset the connection.
fn farewell(stream: &mut Stream) {
    // A peer that has gone already needs none.
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut discarded = [0; 4096];
    for _ in 0..DISCARDED_BYTES_MAX / discarded.len() {
        match stream.read(&mut discarded) {
            Ok(Received::Bytes(count)) if count == discarded.len() => {}
            Ok(Received::Bytes(_) | Received::Blocked | Received::Ended) | Err(_) => return,
        }
    }
}
