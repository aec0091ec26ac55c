//! A connection's place at its shard, from its opening to its end, and the claim to its client id.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Shard, Step, Timer};
use crate::Time;
use crate::access::Identity;
use crate::connection::{Conn, ConnId, Origin, Stage};
use crate::effects::{ClaimAnswer, DirectoryRequest};
use crate::session_end::Cause;
use crate::slab::SlabKey;

/// What goes with a connection to another shard.
#[derive(Debug, Default)]
pub struct Moved {
    /// Bytes that were consumed and stand before those that were not.
    pub packet: Box<[u8]>,
    /// For [`Shard::vouch`].
    pub identity: Option<Box<Identity>>,
}

/// Why a socket came to its end outside of the protocol.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The peer closed it.
    ByPeer,
    /// The operating system reports this.
    Error(String),
}

impl Shard {
    /// Takes a connection that the worker calls `token`. It is to send CONNECT within the time that
    /// [`crate::Settings::connect_timeout`] says.
    pub fn open(&mut self, step: &mut Step<'_>, token: usize, origin: Origin) -> ConnId {
        let mut conn = Conn::new(token, origin, step.now);
        conn.protocol
            .set_packet_size_max(self.settings.max_packet_size);
        let due = step.now.plus_secs(self.settings.connect_timeout);
        conn.timer = due;
        let key = self.conns.insert(conn);
        self.timers.set(due, Timer::Conn(key));
        self.stats.sockets += 1;
        ConnId(key)
    }

    /// Learns who is at the other end of a proxy; before the first byte is given.
    pub fn set_address(&mut self, conn: ConnId, address: SocketAddr) {
        if let Some(conn) = self.conns.get_mut(conn.0) {
            conn.origin.address = Some(address);
        }
    }

    /// Gives up a connection without a word to anyone: it moves to another shard, which is to be given
    /// what is returned, and all that has not been consumed.
    pub fn forget(&mut self, conn: ConnId) -> Moved {
        let mut moved = Moved::default();
        if let Some(conn) = self.conns.remove(conn.0) {
            if let Some(pending) = conn.pending {
                if matches!(pending.stage, Stage::Claim | Stage::Granted) {
                    self.unclaim(&pending.client_id);
                }
                moved.packet = pending.packet.unwrap_or_default();
            }
            moved.identity = conn.access.map(|access| Box::new(access.identity));
            conn.outbox.take(&mut self.pool);
            // The other shard counts it.
            self.stats.sockets = self.stats.sockets.saturating_sub(1);
        }
        moved
    }

    /// Learns that a part of a packet has come, which is not shown before it is whole: who uploads a large
    /// message over a slow link is not silent.
    pub fn heard(&mut self, now: Time, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(conn.0) {
            conn.keep_alive.active(now);
        }
    }

    /// Learns that a connection's socket has come to its end.
    pub fn closed(&mut self, step: &mut Step<'_>, conn: ConnId, ended: &Ended) {
        self.end(step, conn.0, &Cause::Lost(ended));
    }

    /// What the worker calls a connection.
    #[must_use]
    pub fn token(&self, conn: ConnId) -> Option<usize> {
        self.conns.get(conn.0).map(|conn| conn.token)
    }

    /// Which client a connection belongs to, once it has one.
    #[must_use]
    pub fn client_id(&self, conn: ConnId) -> Option<&str> {
        let session = self.conns.get(conn.0)?.session?;
        self.sessions
            .get(session)
            .map(|session| &*session.client_id)
    }

    /// The connection and session of a packet.
    pub(crate) fn session_key(&self, key: SlabKey) -> Option<SlabKey> {
        self.conns.get(key).and_then(|conn| conn.session)
    }

    /// Takes the directory's answer to a claim. The connection's bytes are to be given again.
    pub fn claimed(
        &mut self,
        step: &mut Step<'_>,
        conn: ConnId,
        client_id: &Arc<str>,
        answer: ClaimAnswer,
    ) {
        let waits = self
            .conns
            .get_mut(conn.0)
            .and_then(|conn| conn.pending.as_mut());
        match (waits, answer) {
            (Some(pending), ClaimAnswer::Here) if pending.client_id == *client_id => {
                pending.stage = Stage::Granted;
            }
            (_, ClaimAnswer::Here) => {
                // The connection went while it waited; somebody must give the id back.
                self.release(step, Arc::clone(client_id));
            }
            (Some(_), ClaimAnswer::Full) => self.refuse_when_full(step, conn.0),
            (None, ClaimAnswer::Full) => {}
        }
    }

    /// Notes that a connection claims a client id.
    pub(crate) fn claim(&mut self, client_id: &Arc<str>) {
        *self.claims.entry(Arc::clone(client_id)).or_default() += 1;
    }

    /// Notes that a connection's claim has led to a session, or to nothing.
    pub(crate) fn unclaim(&mut self, client_id: &Arc<str>) {
        if let Some(count) = self.claims.get_mut(client_id) {
            *count -= 1;
            if *count == 0 {
                self.claims.remove(client_id);
            }
        }
    }

    /// Gives a client id back, unless a session or a connection here has a use for it.
    pub(crate) fn release(&mut self, step: &mut Step<'_>, client_id: Arc<str>) {
        if !self.by_client_id.contains_key(&client_id) && !self.claims.contains_key(&client_id) {
            step.effects
                .directory
                .push(DirectoryRequest::Release(client_id));
        }
    }
}
