//! Having enough descriptors, and some in reserve for when there are not.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many descriptors this process may have open, and so about how many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The limit that holds now.
    pub soft: u64,
    /// What it could be raised to without a privilege; the same unless the system refused.
    pub hard: u64,
}

/// Raises the soft limit on descriptors to the hard one, as far as the system lets it.
///
/// `None` when the system does not even say what the limit is. Nothing else fails: a limit that
/// could not be raised shows as [`soft`](DescriptorLimit::soft) below
/// [`hard`](DescriptorLimit::hard).
#[must_use]
pub fn raise_descriptor_limit() -> Option<DescriptorLimit> {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if before < hard {
        // What the limit is now tells whether this worked.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(DescriptorLimit { soft, hard })
}

/// Descriptors that connections do not get, as far as that is an eighth of all at most: files have to be
/// opened while clients would take whatever there is.
const KEPT_BACK: u64 = 16;

/// Descriptors kept back from connections: the last of those that this process may have, for its files, and
/// one so that a connection can still be accepted, and closed, when all others are in use.
#[derive(Debug)]
pub struct DescriptorReserve {
    spare: Option<UnixDatagram>,
    /// Descriptors from this number on are not for connections.
    first_kept: u64,
}

impl DescriptorReserve {
    /// Takes one descriptor. Make it at the start, before there are clients.
    ///
    /// # Errors
    /// Those of the system for opening a socket.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            spare: Some(UnixDatagram::unbound()?),
            first_kept: first_kept(),
        })
    }

    /// Whether a connection got one of the descriptors that are kept back: the system gives the lowest that
    /// is free.
    pub(crate) fn keeps_back(&mut self, connection: &impl AsFd) -> bool {
        let number = u64::try_from(connection.as_fd().as_raw_fd()).unwrap_or(0);
        if number < self.first_kept {
            return false;
        }
        // The limit may have been raised since.
        self.first_kept = first_kept();
        number >= self.first_kept
    }

    /// Runs `step` with one more descriptor free, and takes it back after.
    ///
    /// `None` when there is none to lend, since another thread took the last one; the next call
    /// tries to get one first.
    pub(crate) fn lend<T>(&mut self, step: impl FnOnce() -> T) -> Option<T> {
        if self.spare.is_none() {
            self.spare = UnixDatagram::unbound().ok();
        }
        drop(self.spare.take()?);
        let result = step();
        self.spare = UnixDatagram::unbound().ok();
        Some(result)
    }
}

/// The lowest descriptor that is kept back under the limit that holds now.
fn first_kept() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft - KEPT_BACK.min(soft / 8))
}

#[cfg(test)]
mod tests;
