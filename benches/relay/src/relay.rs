//! The relay itself: turns of reading all that is ready, then writing each outbox once.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::outbox::{Outbox, Pool};
use crate::wire::{self, Cut, PACKET_MAX, Packet};

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;

/// A client that leaves more than this unread is cut off.
const OUTBOX_MAX: usize = 64 * 1024 * 1024;

/// Filters of one client.
const FILTERS_MAX: usize = 1024;

const PINGRESP: [u8; 2] = [0xD0, 0];
const SUBACK_FAILURE: u8 = 0x80;

/// One client.
struct Conn {
    stream: TcpStream,
    /// The start of a packet whose end has not come.
    partial: Vec<u8>,
    outbox: Outbox,
    /// It stands in [`Relay::dirty`].
    is_dirty: bool,
    is_v5: bool,
    /// The packet id of the last message of QoS 1 that was sent to it.
    last_id: u16,
    filters: Vec<Box<[u8]>>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Ends,
}

/// A relay with its clients.
pub(crate) struct Relay {
    poll: Poll,
    listener: TcpListener,
    /// By token; a place is used again.
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    /// Who subscribed to a topic.
    topics: HashMap<Box<[u8]>, Vec<usize>, FixedState>,
    /// Who has something to be sent.
    dirty: Vec<usize>,
    pool: Pool,
    /// What all reads go through.
    buffer: Box<[u8]>,
    events: Option<Events>,
}

impl Relay {
    /// Listens on the loopback; port 0 for a free one.
    pub(crate) fn listen(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let mut listener = TcpListener::bind(address)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            conns: Vec::new(),
            free: Vec::new(),
            topics: HashMap::with_hasher(FixedState::with_seed(0)),
            dirty: Vec::new(),
            pool: Pool::default(),
            buffer: vec![0; 2 * PACKET_MAX].into_boxed_slice(),
            events: Some(Events::with_capacity(EVENTS)),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits, reads all that is ready, and writes what that made.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = self
            .events
            .take()
            .unwrap_or_else(|| Events::with_capacity(EVENTS));
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let index = event.token().0;
            if event.is_writable() {
                self.mark(index);
            }
            if event.is_readable() && self.read(index) == Fate::Ends {
                self.end(index);
            }
        }
        self.events = Some(events);
        self.flush();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.conns.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(index), interest)?;
            let conn = Some(Conn {
                stream,
                partial: Vec::new(),
                outbox: Outbox::default(),
                is_dirty: false,
                is_v5: false,
                last_id: 0,
                filters: Vec::new(),
            });
            match self.conns.get_mut(index) {
                Some(place) => *place = conn,
                None => self.conns.push(conn),
            }
        }
    }

    /// Lists a connection that has bytes to send for the end of the turn.
    fn mark(&mut self, index: usize) {
        if let Some(Some(conn)) = self.conns.get_mut(index)
            && conn.outbox.len() > 0
        {
            list(&mut self.dirty, conn, index);
        }
    }

    fn read(&mut self, index: usize) -> Fate {
        let mut buffer = std::mem::take(&mut self.buffer);
        let fate = self.read_into(index, &mut buffer);
        self.buffer = buffer;
        fate
    }

    fn read_into(&mut self, index: usize, buffer: &mut [u8]) -> Fate {
        loop {
            let Some(Some(conn)) = self.conns.get_mut(index) else {
                return Fate::Stays;
            };
            // A partial packet is shorter than PACKET_MAX, and the buffer twice that.
            let Some((front, space)) = buffer.split_at_mut_checked(conn.partial.len()) else {
                return Fate::Ends;
            };
            let count = match conn.stream.read(space) {
                Ok(0) => return Fate::Ends,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Stays,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Fate::Ends,
            };
            let all_read = count < space.len();
            front.copy_from_slice(&conn.partial);
            conn.partial.clear();
            let filled = front.len() + count;
            let mut rest = buffer.get(..filled).unwrap_or_default();
            loop {
                match wire::cut(rest) {
                    Cut::Packet(packet) => {
                        rest = rest.get(packet.whole.len()..).unwrap_or_default();
                        if self.packet(index, &packet).is_none() {
                            return Fate::Ends;
                        }
                    }
                    Cut::Partial => break,
                    Cut::Malformed => return Fate::Ends,
                }
            }
            if let Some(Some(conn)) = self.conns.get_mut(index) {
                conn.partial.extend_from_slice(rest);
            }
            if all_read {
                return Fate::Stays;
            }
        }
    }

    /// Deals with a packet; `None` ends the connection.
    #[inline]
    fn packet(&mut self, index: usize, packet: &Packet<'_>) -> Option<()> {
        match packet.first >> 4 {
            3 => self.publish(index, packet),
            1 => {
                let is_v5 = wire::connect_is_v5(packet.body)?;
                self.conns.get_mut(index)?.as_mut()?.is_v5 = is_v5;
                let connack: &[u8] = if is_v5 {
                    &[0x20, 3, 0, 0, 0]
                } else {
                    &[0x20, 2, 0, 0]
                };
                self.answer(index, connack)
            }
            8 => self.subscribe(index, packet.body),
            // PUBACK, and nobody waits for it.
            4 => Some(()),
            12 => self.answer(index, &PINGRESP),
            _ => None,
        }
    }

    fn publish(&mut self, index: usize, packet: &Packet<'_>) -> Option<()> {
        let publish = wire::publish(packet)?;
        if let Some(subscribers) = self.topics.get(publish.topic) {
            for subscriber in subscribers {
                let Some(Some(conn)) = self.conns.get_mut(*subscriber) else {
                    continue;
                };
                if conn.outbox.len() > OUTBOX_MAX {
                    continue;
                }
                let at = conn.outbox.put(packet.whole, &mut self.pool);
                if let Some((_, offset)) = publish.id {
                    conn.last_id = conn.last_id.checked_add(1).unwrap_or(1);
                    conn.outbox.patch(at + offset, conn.last_id.to_be_bytes());
                }
                list(&mut self.dirty, conn, *subscriber);
            }
        }
        let Some(([high, low], _)) = publish.id else {
            return Some(());
        };
        self.answer(index, &[0x40, 2, high, low])
    }

    fn subscribe(&mut self, index: usize, body: &[u8]) -> Option<()> {
        let conn = self.conns.get_mut(index)?.as_mut()?;
        let subscribe = wire::subscribe(body, conn.is_v5)?;
        let mut suback = subscribe.id.to_vec();
        if conn.is_v5 {
            suback.push(0);
        }
        for (filter, qos) in subscribe.filters() {
            let is_exact = !filter.iter().any(|byte| matches!(byte, b'+' | b'#'));
            if !is_exact || filter.starts_with(b"$share/") || conn.filters.len() >= FILTERS_MAX {
                suback.push(SUBACK_FAILURE);
                continue;
            }
            let subscribers = self.topics.entry(filter.into()).or_default();
            if !subscribers.contains(&index) {
                subscribers.push(index);
                conn.filters.push(filter.into());
            }
            suback.push(qos);
        }
        let length = u8::try_from(suback.len()).ok().filter(|size| *size < 128)?;
        suback.splice(0..0, [0x90, length]);
        self.answer(index, &suback)
    }

    fn answer(&mut self, index: usize, bytes: &[u8]) -> Option<()> {
        let conn = self.conns.get_mut(index)?.as_mut()?;
        if conn.outbox.len() > OUTBOX_MAX {
            return None;
        }
        conn.outbox.put(bytes, &mut self.pool);
        list(&mut self.dirty, conn, index);
        Some(())
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(Some(conn)) = self.conns.get_mut(index) else {
                continue;
            };
            conn.is_dirty = false;
            let Conn { outbox, stream, .. } = conn;
            if outbox.flush(stream, &mut self.pool).is_err() {
                self.end(index);
            }
        }
        self.dirty = dirty;
    }

    fn end(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index).and_then(Option::take) else {
            return;
        };
        for filter in conn.filters {
            if let Some(subscribers) = self.topics.get_mut(&filter) {
                subscribers.retain(|subscriber| *subscriber != index);
                if subscribers.is_empty() {
                    self.topics.remove(&filter);
                }
            }
        }
        self.free.push(index);
    }
}

#[inline]
fn list(dirty: &mut Vec<usize>, conn: &mut Conn, index: usize) {
    if !conn.is_dirty {
        conn.is_dirty = true;
        dirty.push(index);
    }
}

#[cfg(test)]
mod tests;
