//! Many connections that one thread serves as their packets come.

use std::io;
use std::time::{Duration, Instant};

use midge_codec::{Header, PacketType};
use std::os::fd::AsRawFd as _;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::link::{Fill, Link, put_ack};
use crate::failure::Failure;

const READ_BUFFER: usize = 2 * 1024 * 1024;

/// How long a phase waits for a broker that has fallen silent.
const SILENCE: Duration = Duration::from_secs(5);

/// Connections by their number; a number is given anew when its connection has ended.
pub(crate) struct Party {
    poll: Poll,
    events: Events,
    links: Vec<Option<Link>>,
    free: Vec<usize>,
    /// Connections that came with bytes that nobody has looked at.
    unread: Vec<usize>,
    buffer: Vec<u8>,
    /// What one read is answered with, before it is written.
    answers: Vec<u8>,
    last_arrival: Instant,
}

/// What a connection brought.
pub(crate) enum Incoming<'a> {
    Packet(Received<'a>),
    /// The broker has closed it. Its number is free.
    End,
}

/// Takes what a connection, by its number, brought, and appends what it answers.
pub(crate) type Take<'a> = dyn FnMut(usize, Incoming<'_>, &mut Vec<u8>) -> Result<(), Failure> + 'a;

/// A packet.
#[derive(Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: PacketType,
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
}

impl Received<'_> {
    /// The packet id of an acknowledgement.
    pub(crate) fn id(&self) -> u16 {
        self.body
            .first_chunk()
            .map_or(0, |id| u16::from_be_bytes(*id))
    }

    /// Whether an acknowledgement says that something failed.
    pub(crate) fn is_failure(&self) -> bool {
        self.body.get(2).is_some_and(|reason| *reason >= 0x80)
    }

    /// The fault of a packet that has no business here.
    pub(crate) fn unexpected(&self) -> Failure {
        Failure::Protocol(format!("unexpected {}", self.kind.name()))
    }

    /// Does a receiver's part in the delivery of a message.
    pub(crate) fn acknowledge(&self, packet_id: u16, answers: &mut Vec<u8>) {
        match (self.kind, self.first & 0x06) {
            (PacketType::Publish, 0x02) => put_ack(PacketType::PubAck, packet_id, answers),
            (PacketType::Publish, 0x04) => put_ack(PacketType::PubRec, packet_id, answers),
            (PacketType::PubRel, _) => put_ack(PacketType::PubComp, self.id(), answers),
            _ => {}
        }
    }
}

impl Party {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            links: Vec::new(),
            free: Vec::new(),
            unread: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            answers: Vec::new(),
            last_arrival: Instant::now(),
        })
    }

    /// Takes a connection in; its number.
    pub(crate) fn add(&mut self, link: Link) -> io::Result<usize> {
        let index = self.free.pop().unwrap_or(self.links.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(
            &mut SourceFd(&link.stream.as_raw_fd()),
            Token(index),
            interest,
        )?;
        match self.links.get_mut(index) {
            Some(place) => *place = Some(link),
            None => self.links.push(Some(link)),
        }
        self.unread.push(index);
        self.last_arrival = Instant::now();
        Ok(index)
    }

    /// A connection.
    pub(crate) fn link(&mut self, index: usize) -> Option<&mut Link> {
        self.links.get_mut(index)?.as_mut()
    }

    /// Ends all connections with DISCONNECT.
    pub(crate) fn part(self) {
        self.links.into_iter().flatten().for_each(Link::part);
    }

    /// Whether nothing has arrived for so long that what is missing counts as lost.
    pub(crate) fn is_silent(&self) -> bool {
        self.last_arrival.elapsed() > SILENCE
    }

    /// Waits for at most `timeout`, and gives each packet that came to `take`, which may answer.
    pub(crate) fn serve(&mut self, timeout: Duration, take: &mut Take<'_>) -> Result<(), Failure> {
        for index in std::mem::take(&mut self.unread) {
            self.look(index, take)?;
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let index = event.token().0;
            if event.is_writable()
                && let Some(link) = self.link(index)
                && let Err(error) = link.flush()
            {
                self.lost(index, error, take)?;
                continue;
            }
            if event.is_readable() {
                self.read(index, take)?;
            }
        }
        self.events = events;
        Ok(())
    }

    /// Looks at bytes that a connection came with.
    fn look(&mut self, index: usize, take: &mut Take<'_>) -> Result<(), Failure> {
        let Some(Some(link)) = self.links.get_mut(index) else {
            return Ok(());
        };
        let kept = link.take_kept();
        deal(index, link, &kept, &mut self.answers, take)
    }

    fn ended(&mut self, index: usize, take: &mut Take<'_>) -> Result<(), Failure> {
        if let Some(place) = self.links.get_mut(index) {
            *place = None;
        }
        self.free.push(index);
        take(index, Incoming::End, &mut self.answers)
    }

    fn lost(&mut self, index: usize, failure: Failure, take: &mut Take<'_>) -> Result<(), Failure> {
        if is_lost(&failure) {
            self.ended(index, take)
        } else {
            Err(failure)
        }
    }

    fn read(&mut self, index: usize, take: &mut Take<'_>) -> Result<(), Failure> {
        let Some(Some(link)) = self.links.get_mut(index) else {
            return Ok(());
        };
        loop {
            let filled = match link.fill(&mut self.buffer) {
                Ok(filled) => filled,
                Err(error) => return self.lost(index, error, take),
            };
            match filled {
                Fill::Empty => return self.go_on(index, take),
                Fill::Closed => return self.ended(index, take),
                Fill::Bytes { length, full } => {
                    self.last_arrival = Instant::now();
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    deal(index, link, bytes, &mut self.answers, take)?;
                    if !full {
                        return self.go_on(index, take);
                    }
                }
            }
        }
    }

    /// Sends what waited for the end of a handshake.
    fn go_on(&mut self, index: usize, take: &mut Take<'_>) -> Result<(), Failure> {
        match self.link(index).filter(|link| !link.is_flushed()) {
            None => Ok(()),
            Some(link) => match link.flush() {
                Ok(_) => Ok(()),
                Err(error) => self.lost(index, error, take),
            },
        }
    }
}

/// Whether this is a broker that does not want a connection, or not any more: not a fault of ours.
fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
    ))
}

/// Gives the whole packets of `bytes` to `take`, keeps the rest, and sends the answers.
fn deal(
    index: usize,
    link: &mut Link,
    bytes: &[u8],
    answers: &mut Vec<u8>,
    take: &mut Take<'_>,
) -> Result<(), Failure> {
    let mut rest = bytes;
    while let Some(header) = Header::peek(rest)? {
        let Some(body) = header.body(rest) else {
            break;
        };
        let Some(kind) = header.packet_type() else {
            return Err(Failure::Protocol("packet type 0".to_owned()));
        };
        let received = Received {
            kind,
            first: header.first,
            body,
        };
        take(index, Incoming::Packet(received), answers)?;
        rest = rest.get(header.packet_length()..).unwrap_or_default();
    }
    link.keep(rest);
    if !answers.is_empty() {
        let sent = link.send(answers);
        answers.clear();
        // That it is lost shows at the next read as well.
        if let Err(failure) = sent
            && !is_lost(&failure)
        {
            return Err(failure);
        }
    }
    Ok(())
}
