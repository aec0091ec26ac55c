//! One connection's bytes.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::{Interest, Registry, Token};

/// A connected socket that never blocks: TCP or unix.
///
/// It holds a descriptor and nothing else. To move it to another core, deregister it at one
/// [`Poller`](crate::Poller), send it, register it at the other: bytes that already wait are
/// reported there.
#[derive(Debug)]
pub enum Stream {
    /// Over IPv4 or IPv6.
    Tcp(mio::net::TcpStream),
    /// Over a unix socket.
    Unix(mio::net::UnixStream),
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now; the poller tells when to read again.
    Blocked,
    /// The peer has ended its side, and all before that has been read.
    Ended,
}

/// What a write achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes, perhaps fewer than were given.
    Bytes(usize),
    /// Nothing now; the poller tells when there is room.
    Blocked,
}

impl Stream {
    /// Takes over a connected TCP stream, such as one that another part of the process opened.
    ///
    /// # Errors
    /// Those of the system for making it non-blocking.
    pub fn from_tcp(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::Tcp(mio::net::TcpStream::from_std(stream)))
    }

    /// Takes over a connected unix stream.
    ///
    /// # Errors
    /// Those of the system for making it non-blocking.
    pub fn from_unix(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::Unix(mio::net::UnixStream::from_std(stream)))
    }

    /// Reads into `buffer`, which must not be empty.
    ///
    /// Fewer bytes than `buffer` holds mean that no more wait, unless the peer has closed.
    ///
    /// # Errors
    /// Those of the system, which end the connection: it was reset, timed out, or the like.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        assert!(
            !buffer.is_empty(),
            "an empty read cannot be told from the end of the stream"
        );
        let read = uninterrupted(|| match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        })?;
        Ok(match read {
            None => Received::Blocked,
            Some(0) => Received::Ended,
            Some(length) => Received::Bytes(length),
        })
    }

    /// Writes as much of `bytes` as there is room for.
    ///
    /// # Errors
    /// Those of the system, which end the connection.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        self.write_with(bytes.is_empty(), |stream| match stream {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        })
    }

    /// Writes as much of all `parts`, one after the other, as there is room for.
    ///
    /// The system takes 1024 parts at a time on Linux; what is beyond is not written.
    ///
    /// # Errors
    /// Those of the system, which end the connection.
    pub fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<Sent> {
        self.write_with(
            parts.iter().all(|part| part.is_empty()),
            |stream| match stream {
                Self::Tcp(stream) => stream.write_vectored(parts),
                Self::Unix(stream) => stream.write_vectored(parts),
            },
        )
    }

    /// Ends one side or both; what was written before still goes out.
    ///
    /// # Errors
    /// Those of the system, such as that the peer has closed already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Sends small packets at once (`set_tcp_nodelay`); means nothing to a unix socket.
    ///
    /// # Errors
    /// Those of the system, such as that the connection has been reset.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(nodelay),
            Self::Unix(_) => Ok(()),
        }
    }

    fn write_with(
        &mut self,
        nothing_given: bool,
        mut write: impl FnMut(&mut Self) -> io::Result<usize>,
    ) -> io::Result<Sent> {
        if nothing_given {
            return Ok(Sent::Bytes(0));
        }
        match uninterrupted(|| write(self))? {
            None => Ok(Sent::Blocked),
            // Counted as progress it would be tried for ever.
            Some(0) => Err(io::ErrorKind::WriteZero.into()),
            Some(length) => Ok(Sent::Bytes(length)),
        }
    }
}

/// Repeats what a signal interrupted; `None` when it would block.
fn uninterrupted(mut step: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match step() {
            Ok(length) => return Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Source for Stream {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(poll, token, interest),
            Self::Unix(stream) => stream.register(poll, token, interest),
        }
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(poll, token, interest),
            Self::Unix(stream) => stream.reregister(poll, token, interest),
        }
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(poll),
            Self::Unix(stream) => stream.deregister(poll),
        }
    }
}

#[cfg(test)]
mod tests;
