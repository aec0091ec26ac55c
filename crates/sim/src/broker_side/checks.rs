//! The broker held against the model, its limits, and nothing at the end.

use std::collections::BTreeSet;

use midge_broker::DirectoryRequest;

use super::BrokerSide;
use crate::check::{Checked, broken};
use crate::link::Link;
use crate::model::Model;
use crate::world::World;

/// Unsent bytes above which the broker lets messages wait in their queue, as its documentation says.
const OUTBOX_PAUSE: usize = 128 * 1024;

impl BrokerSide {
    /// Holds the connections that the shard has just given up, and the client ids that it gives back,
    /// against what the model expects; lets the connections go.
    pub(super) fn compare(
        &mut self,
        world: &World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
    ) -> Checked {
        let closed = std::mem::take(&mut self.workers[at].effects.closed);
        let expected = std::mem::take(&mut model.closing);
        let seen: BTreeSet<usize> = closed.iter().map(|(link, _)| *link).collect();
        if let Some(link) = seen.difference(&expected).next() {
            let log = &self.workers[at].effects.log;
            let last = log.last().map_or("", |line| &line.text);
            return broken(
                "no needless end of a connection",
                format!("link {link}: {last}"),
            );
        }
        if let Some(link) = expected.difference(&seen).next() {
            return broken("connections end when they must", format!("link {link}"));
        }
        for (link, words) in closed {
            world.trace(|| format!("shard {at} gives link {link} up"));
            self.listen(model, at, link, &words)?;
            self.workers[at].sockets.remove(&link);
            self.workers[at].blocked.remove(&link);
            links[link].up.forget();
            if links[link].client_open {
                links[link].last_words = Some(words.into());
                self.parting.push(link);
            }
        }
        let sessions = self.workers[at].shard.stats().sessions;
        let expected = model.sessions_at(at);
        if sessions > expected {
            let what = format!("at shard {at}: {}", model.describe_sessions(at));
            return broken("sessions end when they must", what);
        }
        if sessions < expected {
            return broken(
                "sessions do not end before their time",
                format!("at shard {at}"),
            );
        }
        for request in &self.workers[at].effects.directory {
            if let DirectoryRequest::Release(client) = request
                && model.has_session_at(client, at)
            {
                return broken("the ids of sessions are kept", &**client);
            }
        }
        for line in self.workers[at].effects.log.drain(..) {
            world.trace(|| format!("shard {at} logs {}", line.text));
        }
        Ok(())
    }

    pub(super) fn check_limits(&mut self, at: usize) -> Checked {
        // What a turn may add: answers, and one packet that was begun below the limit.
        let one_turn = 64 * 1024;
        let most = self.settings.outbox_bytes_max.max(OUTBOX_PAUSE) + one_turn;
        if self.outbox_peak > most {
            let what = format!("{} bytes, at most {most}", self.outbox_peak);
            return broken("outboxes are bounded", what);
        }
        let worker = &self.workers[at];
        let stats = worker.shard.stats();
        let limit = self.settings.max_queued_messages as u64;
        if limit > 0 && self.settings.max_inflight_messages > 0 {
            // What is in flight counts too, either way.
            let window = u64::from(self.settings.max_inflight_messages.max(100));
            let counts = self.tables.routing.counts();
            let groups = counts.shared_subscriptions as u64;
            // Shared messages that were under way when a member's queue filled may exceed it a little.
            let most = (stats.sessions + groups + 2) * (limit + 2 * window) + 512;
            if stats.queued_messages > most {
                let what = format!("{} messages, at most {most}", stats.queued_messages);
                return broken("queues are bounded", what);
            }
        }
        Ok(())
    }

    /// Checks that nothing is left of anybody, once all have gone for good.
    pub(crate) fn check_empty(&mut self, world: &World, retained: usize) -> Checked {
        let stats = self.stats();
        let counts = self.tables.routing.counts();
        let left = [
            ("sessions", stats.sessions),
            ("connected clients", stats.connected),
            ("sockets", stats.sockets_open),
            ("queued messages", stats.queued_messages),
            ("queued bytes", stats.queued_bytes),
            ("subscriptions", counts.subscriptions as u64),
            ("shared subscriptions", counts.shared_subscriptions as u64),
            ("client ids in the directory", self.directory.len() as u64),
        ];
        for (what, count) in left {
            if count > 0 {
                return broken("nothing is left behind", format!("{count} {what}"));
            }
        }
        let stored = self.tables.retained.len();
        self.check_disk(world, retained)?;
        if self.settings.sys_interval == 0 && stored != retained {
            let what = format!("{stored} are stored, {retained} should be");
            return broken("retained messages are counted", what);
        }
        Ok(())
    }
}
