//! Connections inside TLS or WebSocket, or behind a proxy: between the socket's bytes and the shard's.
//!
//! What the socket does not take of the wire's bytes waits here, and no more is taken from the outbox
//! meanwhile: so a slow reader has one chunk here, and the rest where the shard sees and bounds it.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use midge_broker::{ConnId, Ended, Limit, Shown};
use midge_reactor::{Key, Sent};
use midge_transport::websocket::{CloseCode, End};
use midge_transport::{Layers, LayersEnd, Unwrapped};

use super::read::words;
use super::sockets::Socket;
use super::{Shared, Worker};
use crate::log::Kind;
use crate::tables::TurnTables;
use crate::wrapping::Wrapping;

/// Bytes of the outbox that are wrapped at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks that one connection is sent before others have their turn.
const CHUNKS_MAX: usize = 4;

/// Reads of connections in their handshake that a turn has time for: each can cost a signature.
const HANDSHAKES_PER_TURN: usize = 8;

/// Connections of one worker that may be in their handshake. Whoever comes beyond is turned away at once.
const HANDSHAKES_MAX: usize = 8 * 1024;

/// Between two lines about those who were turned away.
const TURNED_AWAY_MS: u64 = 10_000;

/// What a worker wraps and unwraps with, and how many handshakes there are.
#[derive(Default)]
pub(super) struct Wrapper {
    /// Bytes from within TLS; kept for their memory.
    plain: Vec<u8>,
    /// Answers of the layers.
    reply: Vec<u8>,
    wire: Vec<u8>,
    scratch: Vec<u8>,
    handshakes: Arc<AtomicUsize>,
    /// Reads of connections in their handshake in this turn.
    pub(super) turn_handshakes: usize,
    turned_away: usize,
    turned_away_told: Option<u64>,
}

/// One of the handshakes that may be under way. Dropping it makes room for another.
struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The layers of a connection.
pub(crate) struct Layered {
    layers: Layers,
    wrapping: Arc<Wrapping>,
    /// Bytes for the wire that the socket has not taken.
    unsent: Vec<u8>,
    /// Answers of the layers are among them: nothing is read until they have gone.
    owes_answers: bool,
    /// There is something to be read then.
    read_waits: bool,
    handshake: Option<Handshake>,
    /// Nothing follows, once what has come before is dealt with.
    ended: Option<Ended>,
    /// The name in the certificate that the proxy has seen.
    proxied_name: Option<Box<str>>,
    authorization: Option<Box<str>>,
}

/// Whether a connection can be read now.
pub(super) enum Readable {
    Now,
    /// In the next turn.
    Later,
    /// When its answers have gone, or never.
    Not,
}

impl Wrapper {
    /// The layers of a new connection; nothing when there are too many handshakes already.
    fn accept(&self, wrapping: &Arc<Wrapping>) -> Result<Option<Box<Layered>>, Ended> {
        if self.handshakes.load(Relaxed) >= HANDSHAKES_MAX {
            return Ok(None);
        }
        self.handshakes.fetch_add(1, Relaxed);
        let handshake = Handshake(Arc::clone(&self.handshakes));
        let layers = Layers::accept(&wrapping.layers)
            .map_err(|error| Ended::Error(error.to_string()))?
            .ok_or_else(|| Ended::Error("the listener has no layers".to_owned()))?;
        Ok(Some(Box::new(Layered {
            layers,
            wrapping: Arc::clone(wrapping),
            unsent: Vec::new(),
            owes_answers: false,
            read_waits: false,
            handshake: Some(handshake),
            ended: None,
            proxied_name: None,
            authorization: None,
        })))
    }

    /// Whether there is time for a connection in this turn.
    pub(super) fn may_read(&mut self, layered: &mut Layered) -> Readable {
        if layered.ended.is_some() {
            return Readable::Not;
        }
        if layered.owes_answers {
            layered.read_waits = true;
            return Readable::Not;
        }
        if layered.handshake.is_some() {
            if self.turn_handshakes >= HANDSHAKES_PER_TURN {
                return Readable::Later;
            }
            self.turn_handshakes += 1;
        }
        Readable::Now
    }
}

impl Layered {
    /// Learns what the layers found; gives the client's address where it is another than the socket's.
    fn note(
        &mut self,
        found: &mut Unwrapped<'_>,
        address: Option<SocketAddr>,
    ) -> Result<Option<SocketAddr>, String> {
        let mut known = address;
        if let Some(header) = found.proxied.take() {
            known = self.wrapping.judge_proxied(&header)?.or(known);
            let name = header.tls.as_ref().and_then(|tls| tls.common_name());
            self.proxied_name = name.map(Into::into);
        }
        if let Some(request) = found.upgraded.take() {
            known = self.wrapping.forwarded(&request, known).or(known);
            self.authorization = request.authorization;
        }
        if self.layers.is_open() {
            self.handshake = None;
        }
        Ok(known.filter(|_| known != address))
    }

    /// What it has shown of its client.
    pub(super) fn shown(&self) -> Shown {
        Shown {
            certificate_name: self
                .wrapping
                .user_name(self.layers.tls(), self.proxied_name.as_deref()),
            authorization: self.authorization.clone(),
        }
    }

    #[cfg(test)]
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Whether all that is left to do is to pass bytes on.
    fn is_done(&self) -> bool {
        self.layers.is_transparent()
            && self.unsent.is_empty()
            && self.ended.is_none()
            && self.proxied_name.is_none()
    }

    /// Everything that is still to be sent, `rest` of the outbox and the words of parting included.
    pub(super) fn into_rest(mut self, rest: &[u8], code: CloseCode) -> Vec<u8> {
        let mut wire = self.unsent;
        if !rest.is_empty() {
            // Without an open connection nobody could read it.
            let _ = self.layers.send(rest, &mut Vec::new(), &mut wire);
        }
        self.layers.close(code, &mut wire);
        wire
    }
}

impl Socket {
    /// Sends bytes of the wire; what the socket does not take waits.
    fn send_wire(&mut self, wire: &[u8]) {
        let Some(layered) = &mut self.layers else {
            return;
        };
        if !layered.unsent.is_empty() || self.blocked {
            layered.unsent.extend_from_slice(wire);
            return;
        }
        match self.stream.write(wire) {
            Ok(Sent::Bytes(count)) => {
                let rest = wire.get(count..).unwrap_or_default();
                self.blocked = !rest.is_empty();
                layered.unsent.extend_from_slice(rest);
            }
            Ok(Sent::Blocked) => {
                self.blocked = true;
                layered.unsent.extend_from_slice(wire);
            }
            Err(error) => self.fail_wire(error.kind()),
        }
    }

    /// Sends what waits; tells whether all of it has gone.
    fn flush_wire(&mut self) -> bool {
        let Some(layered) = &mut self.layers else {
            return true;
        };
        let waiting = mem::take(&mut layered.unsent);
        if !waiting.is_empty() {
            self.send_wire(&waiting);
        }
        self.failed.is_none()
            && self
                .layers
                .as_ref()
                .is_none_or(|layered| layered.unsent.is_empty())
    }

    /// Nothing can be sent any more. What can still be read is.
    fn fail_wire(&mut self, kind: io::ErrorKind) {
        self.failed = Some(kind);
        if let Some(layered) = &mut self.layers {
            layered.unsent = Vec::new();
            layered.owes_answers = false;
        }
    }
}

impl Worker {
    /// Makes the layers of a new connection; `false` when it is turned away.
    pub(super) fn wrap(&mut self, socket: &mut Socket, wrapping: &Arc<Wrapping>) -> bool {
        let address = socket.origin.as_ref().and_then(|origin| origin.address);
        if let Some(address) = address
            && let Some(why) = ban_of(&self.shared, wrapping, address)
        {
            let line = || format!("Client connection from {address} denied: {why}.");
            self.logger.log_with(Kind::Notice, line);
            return false;
        }
        match self.wrapper.accept(wrapping) {
            Ok(Some(layered)) => {
                socket.layers = Some(layered);
                return true;
            }
            Ok(None) => self.wrapper.turned_away += 1,
            Err(Ended::Error(why)) => self.logger.log(Kind::Error, format!("Error: {why}.")),
            Err(Ended::ByPeer) => {}
        }
        let now = self.core.now.0;
        let wrapper = &mut self.wrapper;
        let is_soon = |told: u64| now < told + TURNED_AWAY_MS;
        if wrapper.turned_away > 0 && !wrapper.turned_away_told.is_some_and(is_soon) {
            let text = format!(
                "Warning: {} connections were turned away, since {HANDSHAKES_MAX} are in their handshake \
                 already. max_connect_rate limits how many come.",
                mem::take(&mut wrapper.turned_away)
            );
            wrapper.turned_away_told = Some(now);
            self.logger.log(Kind::Warning, text);
        }
        false
    }

    /// Deals with what was read from the wire.
    pub(super) fn take_wire(
        &mut self,
        key: Key,
        conn: ConnId,
        wire: &mut [u8],
        tables: &mut TurnTables<'_>,
    ) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(layered) = &mut socket.layers else {
            return;
        };
        let mut inner = mem::take(&mut self.wrapper.plain);
        let reply = &mut self.wrapper.reply;
        reply.clear();
        let mut found = layered.layers.receive(wire, &mut inner, reply);
        let address = socket.origin.as_ref().and_then(|origin| origin.address);
        let shared = &self.shared;
        let noted = layered.note(&mut found, address).and_then(|address| {
            let Some(known) = address else {
                return Ok(None);
            };
            if !shared.admits(known.ip(), self.core.now.0) {
                let limit = Limit::AddressConnectRate;
                shared.limits.reached(limit, self.core.now);
                let why = "there are too many from its address (max_connect_rate_per_address)";
                return Err(why.to_owned());
            }
            match ban_of(shared, &layered.wrapping, known) {
                Some(why) => Err(why),
                None => Ok(address),
            }
        });
        layered.ended = match &noted {
            Err(why) => Some(Ended::Error(why.clone())),
            Ok(_) => found.ended.as_ref().map(ended),
        };
        if !reply.is_empty() {
            socket.send_wire(reply);
            if let Some(layered) = &mut socket.layers {
                layered.owes_answers = !layered.unsent.is_empty();
            }
        }
        if let Some(origin) = &mut socket.origin
            && let Ok(Some(address)) = noted
        {
            origin.address = Some(address);
            self.core.shard.set_address(conn, address);
        }
        if let (Some(LayersEnd::Tls(error)), Some(origin)) = (&found.ended, &socket.origin)
            && noted.is_ok()
        {
            shared.guard.note_handshake(self.id, conn, origin, error);
        }
        socket.layers.take_if(|layered| layered.is_done());
        if !found.plain.is_empty() && noted.is_ok() {
            self.take_plain(key, conn, found.plain, tables);
        }
        self.wrapper.plain = inner;
        self.end_layers(key, tables);
    }

    /// Gives plain bytes to the shard, behind those of an incomplete packet.
    fn take_plain(&mut self, key: Key, conn: ConnId, bytes: &[u8], tables: &mut TurnTables<'_>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(mut partial) = socket.partial.take() else {
            self.feed(key, conn, bytes, tables);
            return;
        };
        partial.bytes.extend_from_slice(bytes);
        if partial.bytes.len() < partial.needed {
            socket.partial = Some(partial);
            self.core.shard.heard(self.core.now, conn);
        } else {
            self.feed(key, conn, &partial.bytes, tables);
            self.input.give_back(partial);
        }
    }

    /// Ends a connection whose layers have come to their end, unless what it has sent before still waits.
    pub(super) fn end_layers(&mut self, key: Key, tables: &mut TurnTables<'_>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if socket.is_held() {
            return;
        }
        let conn = socket.conn;
        let ended = socket
            .layers
            .as_mut()
            .and_then(|layered| layered.ended.take());
        if let (Some(ended), Some(conn)) = (ended, conn) {
            self.lose(conn, &ended, tables);
        }
    }

    /// Writes what waits for the wire, and then from the outbox as long as the socket takes it.
    pub(super) fn write_layered(&mut self, token: usize, tables: &mut TurnTables<'_>) {
        let Some((key, socket)) = self.sockets.by_token(token) else {
            return;
        };
        let Some(conn) = socket.conn else { return };
        if socket.flush_wire()
            && let Some(layered) = &mut socket.layers
        {
            layered.owes_answers = false;
            if mem::take(&mut layered.read_waits) && !socket.queued && !socket.is_held() {
                socket.queued = true;
                self.input.add_readable(key);
            }
        }
        let Wrapper { wire, scratch, .. } = &mut self.wrapper;
        let mut is_over = false;
        for _ in 0..CHUNKS_MAX {
            if socket.blocked || socket.failed.is_some() {
                is_over = true;
                break;
            }
            let output = self.core.shard.output(conn);
            let chunk = output.get(..CHUNK_BYTES).unwrap_or(output);
            let Some(layered) = socket.layers.as_mut().filter(|_| !chunk.is_empty()) else {
                is_over = true;
                break;
            };
            wire.clear();
            if layered.layers.send(chunk, scratch, wire).is_err() {
                // The peer has been told that nothing follows, or there is no connection yet.
                is_over = true;
                break;
            }
            let count = chunk.len();
            socket.send_wire(wire);
            if socket.failed.is_none() {
                let (shard, mut step) = self.core.step(tables);
                shard.wrote(&mut step, conn, count);
            }
        }
        let failed = socket.failed.is_some();
        if failed {
            // The client may have sent its last words before it closed.
            self.read_to_end(key);
        } else if !is_over && !self.core.shard.output(conn).is_empty() {
            self.core.effects.dirty.push(token);
        }
    }

    /// What the connection of a login has shown of its client.
    pub(super) fn shown(&mut self, conn: ConnId) -> Shown {
        let token = self.core.shard.token(conn);
        let socket = token.and_then(|token| self.sockets.by_token(token));
        socket
            .and_then(|(_, socket)| socket.layers.as_ref().map(|layered| layered.shown()))
            .unwrap_or_default()
    }
}

/// Why an address may not begin a handshake that judges its key.
fn ban_of(shared: &Shared, wrapping: &Wrapping, address: SocketAddr) -> Option<String> {
    let judges = wrapping.uses_keys();
    judges.then(|| shared.guard.ban_of(address.ip())).flatten()
}

/// How the log is to tell of an end.
fn ended(end: &LayersEnd) -> Ended {
    match end {
        LayersEnd::TlsClosed => Ended::ByPeer,
        LayersEnd::WebSocket(End::Closed(close))
            if close
                .code
                .is_none_or(|code| code == CloseCode::NORMAL || code == CloseCode::GOING_AWAY) =>
        {
            Ended::ByPeer
        }
        other => Ended::Error(words(&other.to_string())),
    }
}
