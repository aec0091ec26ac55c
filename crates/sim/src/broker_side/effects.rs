//! What shards want done, and the directory that answers their claims.

use std::collections::BTreeSet;
use std::sync::Arc;

use midge_broker::{Claim, ClaimAnswer, DirectoryRequest, Shard};

use super::{BrokerSide, Home, Post};
use crate::check::Checked;
use crate::link::Link;
use crate::model::Model;
use crate::world::{Millis, World};

impl BrokerSide {
    /// Does what the shard wants done, until it wants nothing more.
    pub(super) fn carry_out(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        now: Millis,
    ) -> Checked {
        let mut retries = std::mem::take(&mut self.workers[at].blocked);
        loop {
            let requests = std::mem::take(&mut self.workers[at].effects.directory);
            let asked = !requests.is_empty();
            for request in requests {
                self.ask(world, links, model, at, request, now)?;
            }
            if asked {
                // What the claims let in has to be finished before it is told.
                self.step(at, now, Shard::end_turn);
                continue;
            }
            self.compare(world, links, model, at)?;
            self.hand_in(world, model, at)?;
            for (to, mail) in std::mem::take(&mut self.workers[at].effects.mail) {
                self.post(world, at, usize::from(to), Post::Mail(mail));
            }
            let mut dirty: BTreeSet<usize> = std::mem::take(&mut self.workers[at].effects.dirty)
                .into_iter()
                .collect();
            dirty.append(&mut retries);
            if dirty.is_empty() {
                break;
            }
            for link in dirty {
                self.write(world, links, model, at, link, now)?;
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        request: DirectoryRequest,
        now: Millis,
    ) -> Checked {
        match request {
            DirectoryRequest::Release(client) => {
                if self.directory.get(&client) == Some(&at) {
                    self.directory.remove(&client);
                }
                Ok(())
            }
            DirectoryRequest::Claim(claim) => {
                let home = *self
                    .directory
                    .entry(Arc::clone(&claim.client_id))
                    .or_insert(at);
                let home = if home == at {
                    Home::Here
                } else {
                    Home::Elsewhere(home)
                };
                if self.pace.claim_max == 0 {
                    return self.answered(world, links, model, at, &claim, home, now);
                }
                let delay = world.random.below(self.pace.claim_max + 1);
                let directory = self.workers.len();
                let inbox = &mut self.workers[at].inbox[directory];
                let after = inbox.back().map_or(0, |(time, _)| *time);
                let time = after.max(world.now + delay);
                inbox.push_back((time, Post::Answer(claim, home)));
                self.wake(world, at, time);
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the whole scene of one answer")]
    pub(super) fn answered(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        claim: &Claim,
        home: Home,
        now: Millis,
    ) -> Checked {
        let sockets = &mut self.workers[at].sockets;
        let link = sockets
            .iter()
            .find(|(_, socket)| socket.conn == claim.conn)
            .map(|(link, _)| *link);
        match (home, link) {
            (Home::Here, _) => {
                self.step(at, now, |shard, step| {
                    shard.claimed(step, claim.conn, &claim.client_id, ClaimAnswer::Here);
                });
                if let Some(link) = link {
                    if let Some(socket) = self.workers[at].sockets.get_mut(&link) {
                        socket.claims = false;
                        socket.needed = 0;
                    }
                    self.feed(world, links, model, at, link, now)?;
                }
            }
            (Home::Elsewhere(_), None) => {}
            (Home::Elsewhere(other), Some(link)) => {
                world.trace(|| format!("link {link} moves from shard {at} to {other}"));
                self.workers[at].shard.forget(claim.conn);
                if let Some(socket) = self.workers[at].sockets.remove(&link) {
                    model.moved(link);
                    self.post(world, at, other, Post::Connection(link, socket.pending));
                }
            }
        }
        Ok(())
    }
}
