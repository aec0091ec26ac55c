//! Waiting for sockets and for other cores.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::{Event, Source};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use crate::{Key, Waker};

/// What has happened to one registered socket since it was last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The key it was registered with; may be of a connection that has gone since.
    pub key: Key,
    /// There may be bytes, a connection to accept, or the end of the stream.
    pub readable: bool,
    /// There may be room to write again.
    pub writable: bool,
    /// The peer has ended its side, or the socket has failed. Read until the stream says so: bytes
    /// may wait before its end.
    pub closed: bool,
}

/// Waits for events of the sockets, listeners and signals that are registered with it.
///
/// Registration is edge-triggered, for both directions, and happens once: a socket that was not read
/// until it blocked, or whose write did not block, is not reported again by itself. A read that
/// fills less than its buffer has emptied the socket, unless the event said
/// [`closed`](Ready::closed); whatever arrives after it is a new event.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
    waker: Waker,
    /// The last wait reported as many as it could.
    is_full: bool,
}

impl Poller {
    /// Makes a poller that reports up to `events_max` sockets per wait (at least 1).
    ///
    /// # Errors
    /// Those of the system for `epoll_create1` and `eventfd`, such as being out of descriptors.
    pub fn new(events_max: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry())?;
        Ok(Self {
            poll,
            events: Events::with_capacity(events_max.max(1)),
            waker,
            is_full: false,
        })
    }

    /// A waker that other threads use to end this poller's wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Registers a connection; what is ready already is reported by the next wait.
    ///
    /// # Errors
    /// Those of the system for `epoll_ctl`, such as the limit of watches or out of memory.
    pub fn register(&self, source: &mut impl Source, key: Key) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(source, key.token(), both)
    }

    /// Registers what is only ever read: a listener or the signals.
    ///
    /// # Errors
    /// As [`Poller::register`].
    pub fn register_readable(&self, source: &mut impl Source, key: Key) -> io::Result<()> {
        self.poll
            .registry()
            .register(source, key.token(), Interest::READABLE)
    }

    /// Ends a registration, so that the source can be given to another poller.
    ///
    /// Dropping a source ends it, too. Events gathered already may still carry its key.
    ///
    /// # Errors
    /// Those of the system for `epoll_ctl`, which come only from a source that is not registered.
    pub fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.poll.registry().deregister(source)
    }

    /// Reports `key` when `other` has something to report that it had not before, so that one thread can
    /// sleep for both. Then `other` is to be waited for without a timeout, until it has told all.
    ///
    /// Whoever sleeps here says so at the other as well: [`Self::fall_asleep`].
    ///
    /// # Errors
    /// Those of the system for `epoll_ctl`.
    pub fn watch(&self, other: &Self, key: Key) -> io::Result<()> {
        let fd = other.poll.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), key.token(), Interest::READABLE)
    }

    /// Ends [`Self::watch`].
    ///
    /// # Errors
    /// Those of the system for `epoll_ctl`, which come only when the other is not watched.
    pub fn unwatch(&self, other: &Self) -> io::Result<()> {
        let fd = other.poll.as_raw_fd();
        self.poll.registry().deregister(&mut SourceFd(&fd))
    }

    /// Lets others wake this poller although its thread waits at another, which watches it. Look for work
    /// once more after this, as [`Self::wait`] does with `pending`.
    pub fn fall_asleep(&self) {
        self.waker.fall_asleep();
    }

    /// Ends [`Self::fall_asleep`].
    pub fn stay_awake(&self) {
        self.waker.stay_awake();
    }

    /// Whether the last [`Self::wait`] may have left something untold.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Waits until something is ready, [`Waker::wake`] is called, or `timeout` has passed, and
    /// replaces the content of `ready` by what is.
    ///
    /// Without a timeout it waits as long as it takes. `pending` is asked once, after other threads
    /// have been told to wake this one from now on: when it says that work waits (in the mailbox,
    /// say), the sockets are looked at without waiting. A signal handler that ran ends the wait with
    /// nothing ready, so callers take their deadlines anew after each wait.
    ///
    /// # Errors
    /// Those of the system for `epoll_wait`, of which none is expected.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
        pending: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        ready.clear();
        let mut timeout = timeout;
        if timeout != Some(Duration::ZERO) {
            self.waker.fall_asleep();
            if pending() {
                timeout = Some(Duration::ZERO);
                self.waker.stay_awake();
            }
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        self.waker.stay_awake();
        match polled {
            Ok(()) => {
                let mut told = 0;
                let sockets = self.events.iter().map(Ready::from_event);
                let sockets = sockets.inspect(|_| told += 1);
                ready.extend(sockets.filter(|event| event.key != Key::WAKER));
                self.is_full = told >= self.events.capacity();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Ready {
    fn from_event(event: &Event) -> Self {
        let closed = event.is_read_closed() || event.is_write_closed() || event.is_error();
        Self {
            key: Key::from_token(event.token()),
            readable: event.is_readable() || closed,
            writable: event.is_writable(),
            closed,
        }
    }
}

#[cfg(test)]
mod tests;
