//! Having enough descriptors, and one in reserve for when there are not.

use std::io;
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

/// One descriptor kept back, so that a connection can still be accepted, and closed, when all others
/// are in use.
#[derive(Debug)]
pub struct DescriptorReserve {
    spare: Option<UnixDatagram>,
}

impl DescriptorReserve {
    /// Takes one descriptor. Make it at the start, before there are clients.
    ///
    /// # Errors
    /// Those of the system for opening a socket.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            spare: Some(UnixDatagram::unbound()?),
        })
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

#[cfg(test)]
mod tests;
