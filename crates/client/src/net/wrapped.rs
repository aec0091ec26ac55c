//! The layers around a connection's bytes, between a socket and whoever reads and writes.

use std::cell::RefCell;
use std::io;
use std::mem;

use midge_transport::Layers;
use midge_transport::websocket::CloseCode;

use super::failure;
use super::raw::Raw;
use crate::error::ConnectionError;

/// What is read from the wire at once.
const WIRE_BUFFER: usize = 32 * 1024;

/// What is wrapped at once.
const PLAIN_BYTES_MAX: usize = 64 * 1024;

/// Above this, what is on its way has to go before more is taken in, of the caller or of the peer.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// Buffers that grew larger are given back when they are empty.
const IDLE_CAPACITY: usize = 4 * 1024;

thread_local! {
    // What is read and what TLS has decrypted: connections that idle have no buffer.
    static BUFFERS: RefCell<(Box<[u8]>, Vec<u8>)> =
        RefCell::new((vec![0; WIRE_BUFFER].into_boxed_slice(), Vec::new()));
}

pub(super) struct Wrapped {
    layers: Layers,
    /// As the certificate should name it, for failures.
    host: Box<str>,
    /// On its way to the socket; `sent` bytes of it have gone.
    wire: Vec<u8>,
    sent: usize,
    /// Plain bytes that did not fit into the caller's buffer; `taken` of them have been given.
    plain: Vec<u8>,
    taken: usize,
    ending: Option<Ending>,
}

#[derive(Clone)]
enum Ending {
    /// The peer is done, in good order.
    Over,
    Failed(ConnectionError),
}

impl Wrapped {
    /// `wire` is what the layers say first.
    pub(super) fn new(layers: Layers, host: &str, wire: Vec<u8>) -> Self {
        Self {
            layers,
            host: host.into(),
            wire,
            sent: 0,
            plain: Vec::new(),
            taken: 0,
            ending: None,
        }
    }

    /// Goes on until all layers are open.
    pub(super) fn shake_hands(&mut self, raw: &mut impl Raw) -> io::Result<()> {
        loop {
            self.flush(raw)?;
            if self.layers.is_open() {
                return Ok(());
            }
            self.fail_if_ended()?;
            if let Some(Ending::Over) = self.ending {
                return Err(io::Error::other(failure::closed_in_handshake(
                    &self.layers,
                    &self.host,
                )));
            }
            self.read_wire(raw, &mut [])?;
        }
    }

    /// Reads plain bytes; 0 at the end.
    pub(super) fn read(&mut self, raw: &mut impl Raw, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.plain.get(self.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                let (now, _) = rest.split_at(count);
                if let Some(target) = buffer.get_mut(..count) {
                    target.copy_from_slice(now);
                }
                self.taken += count;
                if self.taken == self.plain.len() {
                    self.plain.clear();
                    self.plain.shrink_to(IDLE_CAPACITY);
                    self.taken = 0;
                }
                return Ok(count);
            }
            self.fail_if_ended()?;
            if self.ending.is_some() || buffer.is_empty() {
                return Ok(0);
            }
            // Answers to the peer go out first. Where they cannot, reading on tells why.
            if let Err(error) = self.flush(raw)
                && error.kind() == io::ErrorKind::WouldBlock
                && self.unsent() > UNSENT_BYTES_MAX
            {
                return Err(error);
            }
            let count = self.read_wire(raw, buffer)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Reads once, and gives how many plain bytes came into `buffer`; what did not fit waits.
    fn read_wire(&mut self, raw: &mut impl Raw, buffer: &mut [u8]) -> io::Result<usize> {
        BUFFERS.with_borrow_mut(|(wire, scratch)| {
            let count = raw.read(wire)?;
            if count == 0 {
                self.ending = Some(Ending::Over);
                return Ok(0);
            }
            let wire = wire.get_mut(..count).unwrap_or_default();
            let found = self.layers.receive(wire, scratch, &mut self.wire);
            let count = found.plain.len().min(buffer.len());
            let (now, later) = found.plain.split_at(count);
            if let Some(target) = buffer.get_mut(..count) {
                target.copy_from_slice(now);
            }
            self.plain.extend_from_slice(later);
            if let Some(end) = found.ended {
                self.ending = Some(match failure::of_end(end, &self.host) {
                    Some(error) => Ending::Failed(error),
                    None => Ending::Over,
                });
                // The peer should hear why; whether it does changes nothing.
                let _ = self.flush(raw);
            }
            Ok(count)
        })
    }

    fn fail_if_ended(&self) -> io::Result<()> {
        match &self.ending {
            Some(Ending::Failed(error)) => Err(io::Error::other(error.clone())),
            Some(Ending::Over) | None => Ok(()),
        }
    }

    /// Takes plain bytes, some of which may stay inside: [`Self::wants_write`].
    pub(super) fn write(&mut self, raw: &mut impl Raw, bytes: &[u8]) -> io::Result<usize> {
        if !self.layers.is_open() && self.ending.is_none() {
            self.shake_hands(raw)?;
        }
        if self.unsent() > UNSENT_BYTES_MAX {
            self.flush(raw)?;
        }
        let bytes = bytes.get(..PLAIN_BYTES_MAX).unwrap_or(bytes);
        BUFFERS.with_borrow_mut(|(_, scratch)| {
            let sent = self.layers.send(bytes, scratch, &mut self.wire);
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
        })?;
        match self.flush(raw) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    /// Sends what is inside.
    pub(super) fn flush(&mut self, raw: &mut impl Raw) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.wire.get(self.sent..) {
            match raw.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.wire.drain(..mem::take(&mut self.sent));
                    return Err(error);
                }
            }
        }
        self.wire.clear();
        self.wire.shrink_to(IDLE_CAPACITY);
        self.sent = 0;
        Ok(())
    }

    /// Has each layer say its last word, once.
    pub(super) fn close(&mut self) {
        self.layers.close(CloseCode::NORMAL, &mut self.wire);
    }

    fn unsent(&self) -> usize {
        self.wire.len() - self.sent
    }

    pub(super) const fn has_read_ahead(&self) -> bool {
        !self.plain.is_empty() || self.ending.is_some()
    }

    pub(super) fn wants_write(&self) -> bool {
        self.unsent() > 0
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls_info(&self) -> Option<super::TlsInfo> {
        let tls = self.layers.tls()?;
        let info = tls.info()?;
        // One that nobody looks at may be anything.
        let certificate = tls.peer_certificate().and_then(Result::ok);
        Some(super::TlsInfo {
            peer_not_after: certificate.as_ref().and_then(super::tls::end_of),
            peer_subject: certificate.map(|certificate| certificate.subject),
            version: info.version,
            cipher: info.cipher,
            protocol: info.protocol,
            is_resumed: info.resumed,
        })
    }
}
