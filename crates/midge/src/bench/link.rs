//! A connection as a load thread keeps it: partial packets in, unsent bytes out.

use std::io::{self, Read as _, Write as _};

use midge_client::net::Connection;
use midge_codec::PacketType;

use crate::client::{Parts, of_link};
use crate::failure::Failure;

/// A connection.
pub(crate) struct Link {
    pub(crate) stream: Connection,
    /// The start of a packet whose end has not arrived.
    partial: Vec<u8>,
    /// What the socket did not take at once.
    pending: Vec<u8>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// The buffer begins with `length` bytes to be looked at; more wait at the socket if it is `full`.
    Bytes { length: usize, full: bool },
    /// Nothing more has arrived.
    Empty,
    /// The peer has closed.
    Closed,
}

impl Link {
    pub(crate) fn new(stream: Connection) -> Self {
        Self {
            stream,
            partial: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Takes over what is left of a client.
    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self {
            partial: parts.unread,
            ..Self::new(parts.link)
        }
    }

    /// Reads once, behind what an earlier read left over.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<Fill, Failure> {
        let kept = self.partial.len();
        let Some((front, space)) = buffer.split_at_mut_checked(kept) else {
            return Err(too_large());
        };
        if space.is_empty() {
            return Err(too_large());
        }
        let length = loop {
            match self.stream.read(space) {
                Ok(0) => return Ok(Fill::Closed),
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fill::Empty),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(of_link(error)),
            }
        };
        let full = length == space.len() || self.stream.has_read_ahead();
        front.copy_from_slice(&self.partial);
        self.partial.clear();
        Ok(Fill::Bytes {
            length: kept + length,
            full,
        })
    }

    /// Keeps the bytes of a read that were no whole packet.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.partial.extend_from_slice(rest);
    }

    /// Takes what [`Self::keep`] was given.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Whether the network has taken everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty() && !self.stream.wants_write()
    }

    /// Writes what waits; whether nothing is left.
    pub(crate) fn flush(&mut self) -> Result<bool, Failure> {
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.send(&pending)?;
        }
        if self.stream.wants_write() {
            match self.stream.flush() {
                Err(error) if !is_later(&error) => return Err(of_link(error)),
                _ => {}
            }
        }
        Ok(self.is_flushed())
    }

    /// Writes `bytes` behind what waits. What waits is bounded by what the callers have to say before
    /// the broker answers.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = if self.pending.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => written,
                Err(error) if is_later(&error) => 0,
                Err(error) => return Err(of_link(error)),
            }
        } else {
            0
        };
        self.pending
            .extend_from_slice(bytes.get(written..).unwrap_or_default());
        Ok(())
    }

    /// Says goodbye. The broker may be gone by now; the accounts are closed either way.
    pub(crate) fn part(mut self) {
        let _ = self.stream.write(&[PacketType::Disconnect.first_byte(), 0]);
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn too_large() -> Failure {
    Failure::Protocol("a packet is larger than any sent".to_owned())
}

/// Appends an acknowledgement.
pub(crate) fn put_ack(kind: PacketType, id: u16, acks: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    acks.extend_from_slice(&[kind.first_byte(), 2, high, low]);
}
