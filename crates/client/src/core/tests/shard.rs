// One shard of the broker and its ends of simulated links. The tests of midge-embedded include this file, so
// it has no inner docs.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::vec::Vec;

use midge_broker::{
    ClaimAnswer, ConnId, DirectoryRequest, Effects, Ended, LocalTables, Next, Origin, Settings,
    Shard, SharedTables, Step,
};
use midge_proto::Time;

/// One shard with nothing on the disk, and its ends of the links by the clients' numbers.
pub(crate) struct Broker {
    shard: Shard,
    tables: SharedTables,
    effects: Effects,
    pub(crate) links: BTreeMap<usize, End>,
    settings: Arc<Settings>,
}

pub(crate) struct End {
    conn: ConnId,
    unread: Vec<u8>,
    pub(crate) down: Vec<u8>,
    pub(crate) is_closed: bool,
}

impl Broker {
    pub(crate) fn new(now: Time) -> Self {
        let settings = Arc::new(Settings::default());
        Self {
            shard: Shard::new(0, 1, Arc::clone(&settings), 5, now),
            tables: SharedTables::new(0),
            effects: Effects::default(),
            links: BTreeMap::new(),
            settings,
        }
    }

    fn step<R>(&mut self, now: Time, call: impl FnOnce(&mut Shard, &mut Step<'_>) -> R) -> R {
        let mut tables = LocalTables::new(&mut self.tables);
        let mut step = Step {
            now,
            tables: &mut tables,
            effects: &mut self.effects,
        };
        call(&mut self.shard, &mut step)
    }

    pub(crate) fn open(&mut self, now: Time, link: usize) {
        let origin = Origin {
            listener: Arc::clone(&self.settings.listeners[0]),
            address: None,
        };
        let conn = self.step(now, |shard, step| shard.open(step, link, origin));
        self.links.insert(
            link,
            End {
                conn,
                unread: Vec::new(),
                down: Vec::new(),
                is_closed: false,
            },
        );
    }

    pub(crate) fn lose(&mut self, now: Time, link: usize) {
        if let Some(end) = self.links.remove(&link)
            && !end.is_closed
        {
            self.step(now, |shard, step| {
                shard.closed(step, end.conn, &Ended::ByPeer);
            });
        }
        self.turn(now);
    }

    pub(crate) fn receive(&mut self, now: Time, link: usize, bytes: &[u8]) {
        if let Some(end) = self.links.get_mut(&link) {
            end.unread.extend_from_slice(bytes);
        }
        self.feed(now, link);
        self.turn(now);
    }

    fn feed(&mut self, now: Time, link: usize) {
        let Some(end) = self.links.get_mut(&link).filter(|end| !end.is_closed) else {
            return;
        };
        let (conn, unread) = (end.conn, mem::take(&mut end.unread));
        let received = self.step(now, |shard, step| shard.receive(step, conn, &unread));
        if let Some(end) = self.links.get_mut(&link)
            && received.next != Next::Closed
        {
            end.unread = unread[received.consumed..].to_vec();
        }
    }

    /// The end of a turn, and everything that comes of it.
    pub(crate) fn turn(&mut self, now: Time) {
        loop {
            self.step(now, Shard::fire);
            self.step(now, Shard::end_turn);
            let requests = mem::take(&mut self.effects.directory);
            let is_quiet = requests.is_empty() && !self.shard.has_work();
            for request in requests {
                let DirectoryRequest::Claim(claim) = request else {
                    continue;
                };
                self.step(now, |shard, step| {
                    shard.claimed(step, claim.conn, &claim.client_id, ClaimAnswer::Here);
                });
                let link = self.links.iter().find(|(_, end)| end.conn == claim.conn);
                if let Some(link) = link.map(|(link, _)| *link) {
                    self.feed(now, link);
                }
            }
            for (link, bytes) in mem::take(&mut self.effects.closed) {
                if let Some(end) = self.links.get_mut(&link) {
                    end.down.extend_from_slice(&bytes);
                    end.is_closed = true;
                }
            }
            self.effects.dirty.clear();
            self.effects.log.clear();
            let links: Vec<usize> = self.links.keys().copied().collect();
            for link in links {
                self.flush(now, link);
            }
            if is_quiet {
                return;
            }
        }
    }

    fn flush(&mut self, now: Time, link: usize) {
        loop {
            let Some(end) = self.links.get_mut(&link).filter(|end| !end.is_closed) else {
                return;
            };
            let output = self.shard.output(end.conn);
            if output.is_empty() {
                return;
            }
            end.down.extend_from_slice(output);
            let (conn, count) = (end.conn, output.len());
            self.step(now, |shard, step| shard.wrote(step, conn, count));
        }
    }
}
