//! What workers read from sockets and write to them.

use std::sync::Arc;

use midge_broker::{Ended, Next, Origin};
use midge_codec::{Connect, Header, Packet, Version};

use super::show::show;
use super::{BrokerSide, Socket};
use crate::check::{Checked, broken};
use crate::link::{End, Link};
use crate::model::{Cause, Model, Terms};
use crate::world::{Event, Millis, World};

impl BrokerSide {
    pub(super) fn open(
        &mut self,
        model: &mut Model,
        at: usize,
        link: usize,
        bytes: Vec<u8>,
        now: Millis,
    ) {
        let origin = Origin {
            listener: Arc::clone(&self.settings.listeners[0]),
            address: None,
        };
        let conn = self.step(at, now, |shard, step| shard.open(step, link, origin));
        model.opened(link, at, now);
        let socket = Socket {
            conn,
            pending: bytes,
            needed: 0,
            claims: false,
            version: Version::V5,
            spoken: Vec::new(),
        };
        self.workers[at].sockets.insert(link, socket);
    }

    /// Reads from the sockets; whether there is more to read.
    pub(super) fn take_bytes(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        now: Millis,
    ) -> Checked<bool> {
        let mut sockets: Vec<usize> = self.workers[at].sockets.keys().copied().collect();
        world.random.shuffle(&mut sockets);
        let mut left = false;
        for link in sockets {
            links[link].up.arrive(world.now);
            let readable = links[link].up.readable();
            let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
                continue;
            };
            if readable > 0 {
                let most = if self.pace.lazy && world.random.chance(20) {
                    world.random.size(1, readable)
                } else {
                    readable
                };
                left |= most < readable;
                links[link].up.read(most, &mut socket.pending);
                self.feed(world, links, model, at, link, now)?;
            }
            let Some(socket) = self.workers[at].sockets.get(&link) else {
                continue;
            };
            if let Some(end) = links[link].up.ended() {
                let conn = socket.conn;
                world.trace(|| format!("shard {at} learns that link {link} is {end:?}"));
                let ended = match end {
                    End::Closed => Ended::ByPeer,
                    End::Reset => Ended::Error("connection reset".to_owned()),
                };
                self.step(at, now, |shard, step| shard.closed(step, conn, &ended));
                model.ended(link, Cause::Lost, now);
                self.compare(world, links, model, at)?;
            }
        }
        Ok(left)
    }

    /// Gives a connection's bytes to the shard, and what it took of them to the model.
    pub(super) fn feed(
        &mut self,
        world: &World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        link: usize,
        now: Millis,
    ) -> Checked {
        let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
            return Ok(());
        };
        if socket.claims || socket.pending.is_empty() || socket.pending.len() < socket.needed {
            return Ok(());
        }
        let (conn, bytes) = (socket.conn, std::mem::take(&mut socket.pending));
        let received = self.step(at, now, |shard, step| shard.receive(step, conn, &bytes));
        let taken = bytes.get(..received.consumed).unwrap_or_default();
        self.tell(world, model, at, link, taken, now)?;
        let rest = bytes.get(received.consumed..).unwrap_or_default();
        if received.next == Next::Closed && rest.first() == Some(&0) {
            // A client that breaks the protocol sends a packet of the reserved kind.
            model.ended(link, Cause::Fault, now);
        }
        if let Some(socket) = self.workers[at].sockets.get_mut(&link) {
            socket.pending = rest.to_vec();
            match received.next {
                Next::Bytes(count) => socket.needed = count,
                Next::Claim => socket.claims = true,
                // Nobody has to log in here.
                Next::Login | Next::Closed => {}
            }
        }
        self.compare(world, links, model, at)
    }

    /// Tells the model which packets the shard has taken.
    fn tell(
        &mut self,
        world: &World,
        model: &mut Model,
        at: usize,
        link: usize,
        mut bytes: &[u8],
        now: Millis,
    ) -> Checked {
        while let Ok(Some(header)) = Header::peek(bytes)
            && let Some(body) = header.body(bytes)
        {
            bytes = bytes.get(header.packet_length()..).unwrap_or_default();
            let Some(socket) = self.workers[at].sockets.get_mut(&link) else {
                break;
            };
            if header.first >> 4 == 1 {
                let Ok(connect) = Connect::decode(header.first, body) else {
                    return broken("faulty packets are refused", format!("{body:?}"));
                };
                socket.version = connect.version;
                let conn = socket.conn;
                let shard = &self.workers[at].shard;
                // The broker gives an id to a client that brings none.
                let known = match connect.client_id {
                    "" => shard.client_id(conn).unwrap_or_default().to_owned(),
                    id => id.to_owned(),
                };
                world.trace(|| format!("shard {at} took from link {link} {connect:?}"));
                model.connected(link, &known, Terms::new(&connect)?, now);
            } else {
                let packet = Packet::decode(header.first, socket.version, body);
                let Ok(packet) = packet else {
                    return broken("faulty packets are refused", format!("{body:?}"));
                };
                world.trace(|| format!("shard {at} took from link {link} {}", show(&packet)));
                model.packet(link, &packet, now)?;
                model.active(link, now);
            }
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        world: &mut World,
        links: &mut [Link],
        model: &mut Model,
        at: usize,
        link: usize,
        now: Millis,
    ) -> Checked {
        let Some(conn) = self.workers[at]
            .sockets
            .get(&link)
            .map(|socket| socket.conn)
        else {
            return Ok(());
        };
        loop {
            let output = self.workers[at].shard.output(conn);
            self.outbox_peak = self.outbox_peak.max(output.len());
            if output.is_empty() {
                return Ok(());
            }
            let (count, arrivals) = links[link].down.write(world.now, &mut world.random, output);
            let said = match self.keeper {
                Some(_) => output.get(..count).unwrap_or_default().to_vec(),
                None => Vec::new(),
            };
            for time in arrivals {
                world.at(time, Event::Arrival(link));
            }
            if count == 0 {
                self.workers[at].blocked.insert(link);
                return Ok(());
            }
            self.listen(model, at, link, &said)?;
            self.step(at, now, |shard, step| shard.wrote(step, conn, count));
        }
    }
}
