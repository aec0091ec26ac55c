//! Signals as events of a poller.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{fmt, io};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0 as hook;

/// A signal that means something to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: end gracefully.
    Interrupt,
    /// SIGTERM: end gracefully.
    Terminate,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGRTMIN: close the log file and open it again, after a rotation. Linux only.
    Rotate,
}

/// The signals sent to this process, as a source for one poller.
///
/// From its creation on they no longer end the process, and SIGPIPE does nothing: writing to a
/// connection that the peer has closed is an error like any other. Programs that this process starts
/// are not affected. A signal that comes twice before it is read is told once.
pub struct Signals {
    hook: hook::Signals,
}

impl Signals {
    /// Takes over the signals of this process; a library in a foreign process leaves this alone.
    ///
    /// # Errors
    /// Those of the system for `sigaction` or for a pair of sockets.
    pub fn new() -> io::Result<Self> {
        // A handler that does nothing, since one that ignores would be inherited by programs that
        // this one starts. The flag is what a handler needs to have, and nobody asks for it.
        signal_hook::flag::register(SIGPIPE, Arc::new(AtomicBool::new(false)))?;
        let mut watched = vec![SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
        watched.extend(rotate_number());
        Ok(Self {
            hook: hook::Signals::new(watched)?,
        })
    }

    /// The signals that have come since the last call, in no order, without waiting.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> {
        self.hook.pending().filter_map(Signal::from_number)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

impl Signal {
    fn from_number(number: i32) -> Option<Self> {
        match number {
            SIGINT => Some(Self::Interrupt),
            SIGTERM => Some(Self::Terminate),
            SIGHUP => Some(Self::Hangup),
            SIGUSR1 => Some(Self::User1),
            SIGUSR2 => Some(Self::User2),
            _ if rotate_number() == Some(number) => Some(Self::Rotate),
            _ => None,
        }
    }
}

/// The number depends on the C library, which keeps the first few to itself.
#[cfg(target_os = "linux")]
fn rotate_number() -> Option<i32> {
    Some(libc::SIGRTMIN())
}

#[cfg(not(target_os = "linux"))]
const fn rotate_number() -> Option<i32> {
    None
}

impl Source for Signals {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.hook.register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.hook.reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        self.hook.deregister(poll)
    }
}

#[cfg(test)]
mod tests;
