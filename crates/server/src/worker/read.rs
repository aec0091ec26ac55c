//! Reading: from the sockets into the buffer that all connections share, and on to the shard.

use std::collections::VecDeque;
use std::mem;

use midge_broker::{ConnId, Ended, Next};
use midge_reactor::{Key, Ready, Received};

use super::Worker;
use super::arrive::Claimed;
use super::layered::Readable;
use super::sockets::Partial;
use crate::tables::TurnTables;

/// What one read takes at most, and so what one connection gets done per turn.
const BUFFER_BYTES: usize = 256 * 1024;

/// Bytes read after which the other sockets wait for the next turn: so outboxes stay small enough for
/// the caches, and what other workers want is not kept waiting.
const TURN_BYTES: usize = 256 * 1024;

/// How many bytes the shard is given before its output is looked at: few where each message goes to
/// very many.
const CHUNK_BYTES_MIN: usize = 512;
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Bytes of an incomplete packet above which they stay where they are; below, they are copied in front
/// of what follows, which costs less than a buffer of the connection's own.
const COPIED_BYTES_MAX: usize = BUFFER_BYTES / 2;

/// What one read takes at most from a connection that is no client's yet, and so what it can have waiting
/// here while its login is judged, beside its CONNECT.
const UNPROVEN_BYTES: usize = 16 * 1024;

/// Buffers of incomplete packets that are kept for the next one, and their size.
const POOL_MAX: usize = 256;
const POOLED_BYTES_MAX: usize = 4 * 1024;

/// What a worker reads with.
pub(super) struct Input {
    buffer: Box<[u8]>,
    /// Sockets that may have bytes.
    readable: VecDeque<Key>,
    /// Bytes read in this turn.
    turn_bytes: usize,
    /// How many bytes the shard is given at once.
    chunk_bytes: usize,
    #[expect(clippy::vec_box, reason = "the boxes are what is used again")]
    pool: Vec<Box<Partial>>,
}

impl Input {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            readable: VecDeque::new(),
            turn_bytes: 0,
            chunk_bytes: CHUNK_BYTES_MAX,
            pool: Vec::new(),
        }
    }

    pub(super) fn has_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    /// Lets a socket be read in this turn or the next.
    pub(super) fn add_readable(&mut self, key: Key) {
        self.readable.push_back(key);
    }

    pub(super) fn give_back(&mut self, mut partial: Box<Partial>) {
        if partial.bytes.capacity() <= POOLED_BYTES_MAX && self.pool.len() < POOL_MAX {
            partial.bytes.clear();
            self.pool.push(partial);
        }
    }
}

/// Whether a socket is to be read again without being reported anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

impl Worker {
    /// Notes what the poller says about a socket.
    pub(super) fn note_ready(&mut self, event: &Ready) {
        let key = event.key;
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if event.writable && socket.blocked {
            socket.blocked = false;
            match socket.conn {
                Some(_) => self.core.effects.dirty.push(key.slot()),
                None => self.closing.writable.push(key),
            }
        }
        if event.closed {
            socket.hung_up = true;
        }
        if event.readable && socket.conn.is_some() && !socket.queued && !socket.is_held() {
            socket.queued = true;
            self.input.readable.push_back(key);
        }
    }

    /// Lets a socket that cannot be written any more be read to its end.
    pub(super) fn read_to_end(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.hung_up = true;
            if !socket.queued && !socket.is_held() {
                socket.queued = true;
                self.input.readable.push_back(key);
            }
        }
    }

    /// Goes on with a connection whose login has been answered.
    pub(super) fn read_on(&mut self, conn: ConnId, tables: &mut TurnTables<'_>) {
        let token = self.core.shard.token(conn);
        let Some((key, socket)) = token.and_then(|token| self.sockets.by_token(token)) else {
            return;
        };
        if mem::take(&mut socket.logs_in) {
            self.feed_partial(key, conn, tables);
        }
    }

    /// Gives the shard again what it has not dealt with, and lets the connection be read again.
    pub(super) fn feed_partial(&mut self, key: Key, conn: ConnId, tables: &mut TurnTables<'_>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let partial = socket.partial.take();
        let bytes = partial.as_ref().map_or(&[][..], |partial| &partial.bytes);
        self.feed(key, conn, bytes, tables);
        if let Some(partial) = partial {
            self.input.give_back(partial);
        }
        self.end_layers(key, tables);
        // What has come meanwhile has been reported already.
        self.make_readable(key);
    }

    /// Lets a connection be read again.
    pub(super) fn make_readable(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key)
            && socket.conn.is_some()
            && !socket.queued
            && !socket.is_held()
        {
            socket.queued = true;
            self.input.readable.push_back(key);
        }
    }

    /// Reads once from each socket that may have bytes, as far as they fit into this turn.
    pub(super) fn read_ready(&mut self, tables: &mut TurnTables<'_>) {
        if self.paused {
            return;
        }
        let mut buffer = mem::take(&mut self.input.buffer);
        self.input.turn_bytes = 0;
        self.wrapper.turn_handshakes = 0;
        for _ in 0..self.input.readable.len() {
            if self.input.turn_bytes >= TURN_BYTES {
                break;
            }
            let Some(key) = self.input.readable.pop_front() else {
                break;
            };
            let again = self.read_socket(key, &mut buffer, tables);
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.queued = again == Again::Yes;
                if socket.queued {
                    self.input.readable.push_back(key);
                }
            }
            self.gather_mail();
            if self.core.has_much_output() {
                self.finish(tables);
            }
        }
        self.input.buffer = buffer;
    }

    fn read_socket(&mut self, key: Key, buffer: &mut [u8], tables: &mut TurnTables<'_>) -> Again {
        let Some(socket) = self.sockets.get_mut(key) else {
            return Again::No;
        };
        let Some(conn) = socket.conn else {
            return Again::No;
        };
        if socket.is_held() {
            return Again::No;
        }
        let mut bytes_max = usize::MAX;
        if socket.origin.is_some() {
            bytes_max = UNPROVEN_BYTES;
        } else if self.has_rates() {
            match self.bytes_allowed(key, conn, tables) {
                Some(bytes) => bytes_max = bytes,
                None => return Again::No,
            }
        }
        let Some(socket) = self.sockets.get_mut(key) else {
            return Again::No;
        };
        let is_layered = socket.layers.is_some();
        if let Some(layered) = &mut socket.layers {
            match self.wrapper.may_read(layered) {
                Readable::Now => {}
                Readable::Later => return Again::Yes,
                Readable::Not => return Again::No,
            }
        }
        let waiting = socket
            .partial
            .as_ref()
            .map_or(0, |partial| partial.bytes.len());
        let start = if is_layered || waiting > COPIED_BYTES_MAX {
            0
        } else {
            waiting
        };
        let Some(space) = buffer.get_mut(start..) else {
            return Again::No;
        };
        let space_bytes = space.len().min(bytes_max);
        let space = space.get_mut(..space_bytes).unwrap_or_default();
        let received = socket.stream.read(space);
        if self.has_rates() {
            let count = match received {
                Ok(Received::Bytes(count)) => count,
                _ => 0,
            };
            self.bytes_read(key, count);
        }
        let Some(socket) = self.sockets.get_mut(key) else {
            return Again::No;
        };
        match received {
            Ok(Received::Bytes(count)) => {
                let mut more = count == space_bytes || socket.hung_up;
                self.input.turn_bytes += count;
                if is_layered {
                    let wire = buffer.get_mut(..count).unwrap_or_default();
                    self.take_wire(key, conn, wire, tables);
                    // What can still be read of a connection that cannot be answered is.
                    more |= self
                        .sockets
                        .get_mut(key)
                        .is_some_and(|socket| socket.failed.is_some());
                } else if let Some(bytes) = buffer.get_mut(..start + count) {
                    self.take_bytes(key, conn, bytes, start, tables);
                }
                if more { Again::Yes } else { Again::No }
            }
            Ok(Received::Blocked) => {
                if let Some(kind) = socket.failed {
                    self.lose(conn, &Ended::Error(kind.to_string()), tables);
                }
                Again::No
            }
            Ok(Received::Ended) => {
                socket.ended = true;
                self.lose(conn, &Ended::ByPeer, tables);
                Again::No
            }
            Err(error) => {
                socket.failed = Some(error.kind());
                self.lose(conn, &Ended::Error(words(&error.to_string())), tables);
                Again::No
            }
        }
    }

    /// Deals with what was read into `bytes`, behind the first `start` that the connection's
    /// incomplete packet is to be copied to.
    fn take_bytes(
        &mut self,
        key: Key,
        conn: ConnId,
        bytes: &mut [u8],
        start: usize,
        tables: &mut TurnTables<'_>,
    ) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(mut partial) = socket.partial.take() else {
            self.feed(key, conn, bytes, tables);
            return;
        };
        let (front, new) = bytes.split_at_mut(start);
        if partial.bytes.len() + new.len() < partial.needed {
            // Grows with what arrives, whatever the packet says it will be.
            partial.bytes.extend_from_slice(new);
            socket.partial = Some(partial);
            self.core.shard.heard(self.core.now, conn);
        } else if partial.bytes.len() == start {
            front.copy_from_slice(&partial.bytes);
            self.input.give_back(partial);
            self.feed(key, conn, bytes, tables);
        } else {
            partial.bytes.extend_from_slice(new);
            self.feed(key, conn, &partial.bytes, tables);
        }
    }

    /// Gives `bytes` to the shard and keeps what it has not consumed.
    pub(super) fn feed(
        &mut self,
        key: Key,
        conn: ConnId,
        bytes: &[u8],
        tables: &mut TurnTables<'_>,
    ) {
        let mut rest = bytes;
        let mut shown = self.input.chunk_bytes;
        let has_rates = self.has_rates();
        loop {
            if has_rates {
                match self.publishes_allowed(key, conn, rest, shown, tables) {
                    Some(allowed) => shown = allowed,
                    None => return self.keep(key, rest, usize::MAX),
                }
            }
            let (shard, mut step) = self.core.step(tables);
            let received = shard.receive(&mut step, conn, rest.get(..shown).unwrap_or(rest));
            rest = rest.get(received.consumed..).unwrap_or_default();
            let claimed = if self.core.effects.directory.is_empty() {
                Claimed::None
            } else {
                self.claim(Some(conn), tables)
            };
            self.settle_directory(tables);
            match (received.next, claimed) {
                (Next::Bytes(needed), _) if needed > rest.len() => {
                    self.keep(key, rest, needed);
                    return;
                }
                (Next::Bytes(needed), _) => {
                    // There is more than was shown.
                    self.limit_output(tables);
                    shown = self.input.chunk_bytes.max(needed);
                }
                (Next::Login, _) => {
                    self.keep(key, rest, usize::MAX);
                    if let Some(socket) = self.sockets.get_mut(key) {
                        socket.logs_in = true;
                    }
                    return;
                }
                (Next::Closed, _) => {
                    // A packet that is dealt with and ends the connection is a DISCONNECT; one with a
                    // fault is left.
                    if rest.is_empty()
                        && let Some(socket) = self.sockets.get_mut(key)
                    {
                        socket.said_farewell = true;
                    }
                    return;
                }
                (Next::Claim, Claimed::Answered) => {
                    // From here on the connection stays.
                    if let Some(socket) = self.sockets.get_mut(key) {
                        socket.origin = None;
                    }
                }
                (Next::Claim, Claimed::Elsewhere(worker)) => {
                    self.move_to(worker, key, conn, rest);
                    return;
                }
                (Next::Claim, Claimed::None) => {
                    unreachable!("a connection that waits for its claim has made one")
                }
            }
        }
    }

    /// Finishes early if much output has gathered, and gives the shard less at once from then on.
    fn limit_output(&mut self, tables: &mut TurnTables<'_>) {
        let input = &mut self.input;
        if self.core.has_much_output() {
            input.chunk_bytes = (input.chunk_bytes / 4).max(CHUNK_BYTES_MIN);
            self.finish(tables);
        } else {
            input.chunk_bytes = (input.chunk_bytes * 2).min(CHUNK_BYTES_MAX);
        }
    }

    fn keep(&mut self, key: Key, rest: &[u8], needed: usize) {
        if rest.is_empty() {
            return;
        }
        if let Some(socket) = self.sockets.get_mut(key) {
            let mut partial = self.input.pool.pop().unwrap_or_default();
            partial.bytes.extend_from_slice(rest);
            partial.needed = needed;
            socket.partial = Some(partial);
        }
    }

    pub(super) fn lose(&mut self, conn: ConnId, ended: &Ended, tables: &mut TurnTables<'_>) {
        let (shard, mut step) = self.core.step(tables);
        shard.closed(&mut step, conn, ended);
        self.settle_directory(tables);
    }
}

/// What the system says, without the number that `io::Error` adds.
pub(super) fn words(error: &str) -> String {
    let mut text = error.to_owned();
    if let Some(number) = text.find(" (os error") {
        text.truncate(number);
    }
    text
}
