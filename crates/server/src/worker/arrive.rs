//! Connections that come, and those that go on to another worker.

use midge_broker::{Claim, ClaimAnswer, ConnId, DirectoryRequest};
use midge_reactor::Key;

use super::Worker;
use super::sockets::Socket;
use crate::directory::Home;
use crate::log::Kind;
use crate::mail::{Arrival, WorkerMail};
use crate::tables::TurnTables;

/// How a connection's claim was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// None was made.
    None,
    /// The shard knows the answer.
    Answered,
    /// The session is at this worker, and so must the connection be.
    Elsewhere(u16),
}

impl Worker {
    /// Takes a connection, new or from another worker.
    pub(super) fn arrive(&mut self, arrival: Arrival, tables: &mut TurnTables<'_>) {
        let Arrival {
            stream,
            origin,
            seat,
            bytes,
            wrapping,
            layers,
            identity,
        } = arrival;
        if self.stops_at.is_some() {
            self.discount_load();
            return;
        }
        let mut socket = Socket::new(stream, seat, origin.clone());
        socket.layers = layers;
        if let Some(wrapping) = wrapping
            && !self.wrap(&mut socket, &wrapping)
        {
            self.discount_load();
            return;
        }
        let Ok(key) = self.sockets.insert(socket) else {
            self.discount_load();
            return;
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if let Err(error) = self.poller.register(&mut socket.stream, key) {
            self.logger.log(
                Kind::Error,
                format!("Error: Unable to serve the connection from {origin}: {error}."),
            );
            self.drop_socket(key);
            return;
        }
        let (shard, mut step) = self.core.step(tables);
        let conn = shard.open(&mut step, key.slot(), origin);
        if let Some(identity) = identity {
            shard.vouch(conn, *identity);
        }
        socket.conn = Some(conn);
        let is_layered = socket.layers.is_some();
        if !bytes.is_empty() {
            self.feed(key, conn, &bytes, tables);
        }
        if is_layered {
            // What another worker could not send, and an end that it knew of.
            self.core.effects.dirty.push(key.slot());
            self.end_layers(key, tables);
        }
    }

    /// Hands a connection whose session lives at `worker` over, with what it has sent.
    pub(super) fn move_to(&mut self, worker: u16, key: Key, conn: ConnId, unread: &[u8]) {
        let moved = self.core.shard.forget(conn);
        let Some(mut socket) = self.sockets.remove(key) else {
            return;
        };
        // Should it fail, the other worker's registration fails as well, and closes the socket.
        let _ = self.poller.deregister(&mut socket.stream);
        self.discount_load();
        let Some(origin) = socket.origin else {
            return;
        };
        self.count_load(worker);
        let arrival = Arrival {
            stream: socket.stream,
            origin: *origin,
            seat: socket.seat,
            bytes: [&*moved.packet, unread].concat(),
            wrapping: None,
            layers: socket.layers,
            identity: moved.identity,
        };
        self.post
            .add(worker, WorkerMail::Arrival(Box::new(arrival)));
    }

    /// Carries out what a call of the shard asks of the directory.
    pub(super) fn settle_directory(&mut self, tables: &mut TurnTables<'_>) {
        if !self.core.effects.directory.is_empty() {
            let claimed = self.claim(None, tables);
            assert_eq!(claimed, Claimed::None, "only received bytes make a claim");
        }
    }

    /// Carries out what the shard asks of the directory, right after the call that asked; answers
    /// the claim of `claimant`.
    pub(super) fn claim(
        &mut self,
        claimant: Option<ConnId>,
        tables: &mut TurnTables<'_>,
    ) -> Claimed {
        let mut claimed = Claimed::None;
        let mut requests = std::mem::take(&mut self.core.effects.directory);
        for request in requests.drain(..) {
            match request {
                DirectoryRequest::Release(client_id) => {
                    self.shared.directory.release(&client_id, self.id);
                }
                DirectoryRequest::Claim(Claim { conn, client_id }) => {
                    assert_eq!(
                        Some(conn),
                        claimant,
                        "a claim is answered before the next call"
                    );
                    let answer = match self.shared.directory.claim(&client_id, self.id) {
                        Home::Here => ClaimAnswer::Here,
                        Home::Full => ClaimAnswer::Full,
                        Home::Elsewhere(worker) => {
                            claimed = Claimed::Elsewhere(worker);
                            continue;
                        }
                    };
                    let (shard, mut step) = self.core.step(tables);
                    shard.claimed(&mut step, conn, &client_id, answer);
                    claimed = Claimed::Answered;
                }
            }
        }
        // The vector keeps its memory, unless the answers have asked for more.
        if self.core.effects.directory.is_empty() {
            self.core.effects.directory = requests;
        }
        claimed
    }
}
