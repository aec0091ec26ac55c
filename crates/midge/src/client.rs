//! A small blocking client: one connection, driven by the thread that owns it.
//!
//! The protocol is in [`flows`], which knows no socket. Here are the socket, the waiting, and a
//! [`Waker`] with which another thread (one that reads the standard input) ends a wait.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::connect_options::ConnectOptions;
use crate::failure::Failure;
use flows::{Event, Flows};

pub(crate) mod flows;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// How long a broker may take to accept a connection or to answer CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const READ_BUFFER: usize = 64 * 1024;

/// A connection to a broker.
pub(crate) struct Client {
    poll: Poll,
    events: Events,
    stream: mio::net::TcpStream,
    waker: Arc<Waker>,
    /// Packet work: bytes in and out, and what they mean.
    pub(crate) flows: Flows,
    read_buffer: Box<[u8]>,
    /// The broker has closed its side; what it sent before is still in `flows`.
    closed: bool,
}

/// What is left of a [`Client`] when its socket is used otherwise.
pub(crate) struct Parts {
    pub(crate) stream: mio::net::TcpStream,
    /// Bytes received and not yet looked at.
    pub(crate) unread: Vec<u8>,
    /// How many unacknowledged messages the broker takes.
    pub(crate) receive_maximum: u16,
}

impl Client {
    /// Connects to each address of the host in turn and sends CONNECT; the CONNACK is
    /// [`Event::Connected`]. Stops at `deadline`.
    pub(crate) fn connect(
        options: &ConnectOptions,
        deadline: Option<Instant>,
    ) -> Result<Self, Failure> {
        let stream = open(options, deadline)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let poll = Poll::new()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, SOCKET, interest)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut client = Self {
            poll,
            events: Events::with_capacity(8),
            stream,
            waker,
            flows: Flows::new(options, Instant::now()),
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            closed: false,
        };
        client.flows.connect(options)?;
        client.flush()?;
        Ok(client)
    }

    /// Ends a wait from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The next event among the bytes that have arrived.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Failure> {
        self.flows.next_event()
    }

    /// Sends what is due, then waits until bytes arrive, the waker is used, or `deadline`.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] at the deadline, [`Failure::Lost`] at the end of the connection.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        self.flush()?;
        if self.read_available()? {
            return Ok(());
        }
        if self.closed {
            return Err(Failure::Lost);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Failure::TimedOut);
        }
        if !self.flows.tend(now)? {
            return Err(Failure::Lost);
        }
        self.flush()?;
        let until = match deadline {
            Some(deadline) => deadline.min(self.flows.next_deadline()),
            None => self.flows.next_deadline(),
        };
        let timeout = until.saturating_duration_since(now);
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits for the event that `wanted` picks, and drops others. For set-ups without messages.
    pub(crate) fn wait_for(
        &mut self,
        deadline: Instant,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.next_event()? {
                if let Event::Connected { reason } = event
                    && reason.is_failure()
                {
                    return Err(Failure::Refused(self.flows.version(), reason));
                }
                if wanted(&event) {
                    return Ok(event);
                }
            } else {
                self.wait(Some(deadline))?;
            }
        }
    }

    /// Sends DISCONNECT and closes.
    pub(crate) fn disconnect(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.flows.disconnect()?;
        while self.flush()? && Instant::now() < deadline {
            let timeout = deadline.saturating_duration_since(Instant::now());
            self.poll.poll(&mut self.events, Some(timeout))?;
        }
        Ok(())
    }

    /// Gives up the socket, without a DISCONNECT.
    pub(crate) fn into_parts(mut self) -> Result<Parts, Failure> {
        self.poll.registry().deregister(&mut self.stream)?;
        Ok(Parts {
            unread: self.flows.take_unread(),
            receive_maximum: self.flows.receive_maximum(),
            stream: self.stream,
        })
    }

    /// Writes what the socket takes; whether something is left.
    fn flush(&mut self) -> Result<bool, Failure> {
        while !self.flows.outbound().is_empty() {
            match self.stream.write(self.flows.outbound()) {
                Ok(0) => return Err(Failure::Lost),
                Ok(written) => self.flows.sent(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The broker may have said why before it closed: read that first.
                Err(error) if is_closed(&error) && !self.closed => {
                    self.closed = true;
                    self.flows.sent(self.flows.outbound().len());
                    self.read_available()?;
                    return Ok(false);
                }
                Err(error) if is_closed(&error) => return Err(Failure::Lost),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Reads once; whether bytes came.
    fn read_available(&mut self) -> Result<bool, Failure> {
        loop {
            match self.stream.read(&mut self.read_buffer) {
                Ok(0) => {
                    self.closed = true;
                    return Ok(false);
                }
                Ok(length) => {
                    self.flows
                        .received(self.read_buffer.get(..length).unwrap_or_default());
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_closed(&error) => {
                    self.closed = true;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    )
}

/// Tries the host's addresses in the resolver's order; the last failure is reported.
fn open(
    options: &ConnectOptions,
    deadline: Option<Instant>,
) -> Result<std::net::TcpStream, Failure> {
    let addresses: Vec<SocketAddr> = (options.host.as_str(), options.port)
        .to_socket_addrs()
        .map_err(|_| Failure::Lookup)?
        .collect();
    let mut failure = Failure::Lookup;
    for address in addresses {
        let timeout = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => CONNECT_TIMEOUT,
        };
        if timeout.is_zero() {
            return Err(Failure::TimedOut);
        }
        match std::net::TcpStream::connect_timeout(&address, timeout.min(CONNECT_TIMEOUT)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}
