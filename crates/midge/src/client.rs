//! A small blocking client: one connection, driven by the thread that owns it.
//!
//! The protocol is in [`flows`], which knows no socket. Here are the socket, the waiting, a [`Waker`]
//! with which another thread (one that reads the standard input) ends a wait, and the signals that do.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_client::ConnectionError;
use midge_client::net::Connection;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook_mio::v1_0::Signals;

use crate::connect_options::ConnectOptions;
use crate::failure::Failure;
use crate::properties::Section;
use flows::{Event, Flows};
use inbound::Inbound;
pub(crate) use link::{Dial, targets};

pub(crate) mod flows;
pub(crate) mod inbound;
mod link;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// How many bytes may wait for the socket before who makes more has to pause.
pub(crate) const OUTBOUND_MAX: usize = 1024 * 1024;

const SIGNALS: Token = Token(2);
const INPUT: Token = Token(3);
const OUTPUT: Token = Token(4);

/// A connection to a broker.
pub(crate) struct Client {
    poll: Poll,
    events: Events,
    dial: Dial,
    link: Connection,
    waker: Arc<Waker>,
    signals: Option<Signals>,
    /// Packet work: bytes in and out, and what they mean.
    pub(crate) flows: Flows,
    /// What has arrived.
    pub(crate) inbound: Inbound,
    /// The token that was last connected with.
    token: Option<Vec<u8>>,
    /// The broker has closed its side; what it sent before is still in `inbound`.
    closed: bool,
}

/// What is left of a [`Client`] when its socket is used otherwise.
pub(crate) struct Parts {
    pub(crate) link: Connection,
    /// Bytes received and not yet looked at.
    pub(crate) unread: Vec<u8>,
    /// How many unacknowledged messages the broker takes.
    pub(crate) receive_maximum: u16,
}

impl Client {
    /// Connects and sends CONNECT; the CONNACK is [`Event::Connected`]. Stops at `deadline`.
    pub(crate) fn connect(
        options: &ConnectOptions,
        deadline: Option<Instant>,
    ) -> Result<Self, Failure> {
        let dial = Dial::new(options)?;
        let link = dial
            .open(deadline)
            .map_err(|failure| first_failure(failure, options))?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut client = Self {
            poll,
            events: Events::with_capacity(8),
            dial,
            link,
            waker,
            signals: None,
            flows: Flows::new(options, Instant::now()),
            inbound: Inbound::default(),
            token: None,
            closed: false,
        };
        client.begin(options)?;
        Ok(client)
    }

    /// Connects again, after the connection was lost; what was not acknowledged is sent again.
    pub(crate) fn reconnect(
        &mut self,
        options: &ConnectOptions,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        // It may be gone from the poll already.
        let _ = self
            .poll
            .registry()
            .deregister(&mut SourceFd(&self.link.as_raw_fd()));
        self.link = self.dial.open(deadline)?;
        self.closed = false;
        self.inbound.clear();
        self.flows.begin_again(Instant::now());
        self.begin(options)
    }

    fn begin(&mut self, options: &ConnectOptions) -> Result<(), Failure> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut SourceFd(&self.link.as_raw_fd()), SOCKET, interest)?;
        if options.oauth.is_used() && (self.token.is_none() || !options.oauth.asks_a_person()) {
            self.token = Some(options.oauth.token()?);
        }
        let password = self.token.as_deref().or(options.password.as_deref());
        self.flows.connect(options, password)?;
        self.flush()?;
        Ok(())
    }

    /// From now on SIGINT and SIGTERM end a wait, by [`Failure::Signal`], and not the process.
    pub(crate) fn watch_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        self.poll
            .registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// From now on what is typed, and another size of the terminal, end a wait.
    pub(crate) fn watch_input(&mut self) -> io::Result<()> {
        // A file has no end to wait for; then there is nothing to watch.
        let _ = self.poll.registry().register(
            &mut SourceFd(&io::stdin().as_raw_fd()),
            INPUT,
            Interest::READABLE,
        );
        if let Some(signals) = &self.signals {
            signals.add_signal(SIGWINCH)?;
        }
        Ok(())
    }

    /// From now on a wait fails with a broken pipe when nobody reads the standard output any more, even if
    /// there is nothing to write.
    pub(crate) fn watch_output(&mut self) {
        let output = io::stdout();
        let is_pipe = output
            .as_fd()
            .try_clone_to_owned()
            .and_then(|copy| File::from(copy).metadata())
            .is_ok_and(|data| data.file_type().is_fifo());
        if is_pipe {
            // Errors are told whatever the interest. Without it, the next write tells.
            let _ = self.poll.registry().register(
                &mut SourceFd(&output.as_raw_fd()),
                OUTPUT,
                Interest::READABLE,
            );
        }
    }

    /// Ends a wait from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The next event among the bytes that have arrived.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event<'_>>, Failure> {
        self.flows.next_event(&mut self.inbound)
    }

    /// Sends what is due, then waits until bytes arrive, there is room for more than [`OUTBOUND_MAX`] or
    /// for the rest, the waker is used, or `deadline`.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] at the deadline, [`Failure::Lost`] at the end of the connection,
    /// [`Failure::Signal`] when the process is to end.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        let waited_for_room = self.flows.outbound().len() > OUTBOUND_MAX;
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
        if waited_for_room && self.flows.outbound().len() <= OUTBOUND_MAX {
            // Nothing else may ever happen: a socket that has taken everything says nothing.
            return Ok(());
        }
        let until = match deadline {
            Some(deadline) => deadline.min(self.flows.next_deadline()),
            None => self.flows.next_deadline(),
        };
        self.sleep(until.saturating_duration_since(now))
    }

    /// Waits without looking at the connection, after it was lost.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.sleep(left)?;
        }
    }

    fn sleep(&mut self, timeout: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let is_output_closed =
            |event: &mio::event::Event| event.token() == OUTPUT && event.is_error();
        if self.events.iter().any(is_output_closed) {
            return Err(Failure::Io(io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(signals) = &mut self.signals
            && signals.pending().any(|number| number != SIGWINCH)
        {
            return Err(Failure::Signal);
        }
        Ok(())
    }

    /// Waits for an event that `pick` makes something of, and drops others. For set-ups without
    /// messages.
    pub(crate) fn wait_for<T>(
        &mut self,
        deadline: Instant,
        mut pick: impl FnMut(&Event<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let version = self.flows.version();
        loop {
            if let Some(event) = self.next_event()? {
                if let Event::Connected { reason } = event
                    && reason.is_failure()
                {
                    return Err(Failure::Refused(version, reason));
                }
                if let Some(picked) = pick(&event) {
                    return Ok(picked);
                }
            } else {
                self.wait(Some(deadline))?;
            }
        }
    }

    /// Waits for the CONNACK.
    pub(crate) fn wait_connected(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.wait_for(deadline, |event| {
            matches!(event, Event::Connected { .. }).then_some(())
        })
    }

    /// Sends DISCONNECT and closes.
    pub(crate) fn disconnect(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.disconnect_with(
            midge_codec::ReasonCode::SUCCESS,
            &Section::default(),
            deadline,
        )
    }

    /// Sends DISCONNECT with a reason and properties, and closes.
    pub(crate) fn disconnect_with(
        &mut self,
        reason: midge_codec::ReasonCode,
        properties: &Section,
        deadline: Instant,
    ) -> Result<(), Failure> {
        self.flows.disconnect(reason, properties)?;
        while self.flush()? && Instant::now() < deadline {
            let timeout = deadline.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        // TLS and WebSocket have words of their own; how the connection ends changes nothing.
        let _ = self.link.close();
        Ok(())
    }

    /// Gives up the socket, without a DISCONNECT.
    pub(crate) fn into_parts(mut self) -> Result<Parts, Failure> {
        self.poll
            .registry()
            .deregister(&mut SourceFd(&self.link.as_raw_fd()))?;
        Ok(Parts {
            unread: self.inbound.take_unread(),
            receive_maximum: self.flows.receive_maximum(),
            link: self.link,
        })
    }

    /// Writes what the socket takes; whether something is left.
    fn flush(&mut self) -> Result<bool, Failure> {
        while !self.flows.outbound().is_empty() {
            match self.link.write(self.flows.outbound()) {
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
                Err(error) => return Err(of_link(error)),
            }
        }
        while self.link.wants_write() {
            match self.link.flush() {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_closed(&error) => {
                    self.closed = true;
                    return Ok(false);
                }
                Err(error) => return Err(of_link(error)),
            }
        }
        Ok(false)
    }

    /// Reads once; whether bytes came.
    fn read_available(&mut self) -> Result<bool, Failure> {
        loop {
            match self.link.read(self.inbound.space()) {
                Ok(0) => {
                    self.closed = true;
                    return Ok(false);
                }
                Ok(length) => {
                    self.inbound.filled(length);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_closed(&error) => {
                    self.closed = true;
                    return Ok(false);
                }
                Err(error) => return Err(of_link(error)),
            }
        }
    }
}

/// A broker that breaks off the first handshake may not speak TLS at all.
fn first_failure(failure: Failure, options: &ConnectOptions) -> Failure {
    match failure {
        Failure::Io(error)
            if options.uses_tls() && error.kind() == io::ErrorKind::ConnectionReset =>
        {
            Failure::Tls(format!(
                "{} closed the connection instead of answering; another port may be the port for TLS",
                options.place()
            ))
        }
        failure => failure,
    }
}

/// What a layer of the connection says, or the system.
pub(crate) fn of_link(error: io::Error) -> Failure {
    ConnectionError::from(error).into()
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
