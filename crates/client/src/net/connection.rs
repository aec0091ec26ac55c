//! An open connection for callers who wait by themselves.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::raw::Raw;
use super::wrapped::Wrapped;

/// A connection to a broker: plain bytes on this side, whatever the [`Dialer`](super::Dialer) was told on
/// the other. It blocks, until [`Self::set_nonblocking`].
///
/// TLS and WebSocket hold bytes of their own, so a caller who waits with `poll` looks at two things
/// beside the socket: after a read, [`Self::has_read_ahead`] says that another read gives bytes at once;
/// after a write, [`Self::wants_write`] says that bytes are still inside, for
/// [`flush`](Write::flush) when the socket takes more. For plain TCP and unix sockets both are always
/// false, and reads and writes are those of the socket.
///
/// What went wrong in a layer comes as an [`io::Error`]; the conversion into
/// [`ConnectionError`](crate::ConnectionError) finds the reason in it.
pub struct Connection {
    pub(super) socket: Socket,
    pub(super) wrapped: Option<Box<Wrapped>>,
}

pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

macro_rules! each {
    ($socket:expr, $stream:ident => $body:expr) => {
        match $socket {
            Socket::Tcp($stream) => $body,
            #[cfg(unix)]
            Socket::Unix($stream) => $body,
        }
    };
}

impl Raw for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(buffer))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(bytes))
    }
}

impl Connection {
    /// Whether a read gives bytes, or the end, without asking the socket.
    pub fn has_read_ahead(&self) -> bool {
        self.wrapped.as_deref().is_some_and(Wrapped::has_read_ahead)
    }

    /// Whether written bytes are still inside: [`flush`](Write::flush) when the socket takes more.
    pub fn wants_write(&self) -> bool {
        self.wrapped.as_deref().is_some_and(Wrapped::wants_write)
    }

    /// Whether reads and writes fail with [`io::ErrorKind::WouldBlock`] instead of waiting.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        each!(&self.socket, stream => stream.set_nonblocking(nonblocking))
    }

    /// How long a blocking read waits before it fails with [`io::ErrorKind::WouldBlock`] or
    /// [`io::ErrorKind::TimedOut`]; `None` for ever.
    ///
    /// # Errors
    /// Those of the socket; zero is refused.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        each!(&self.socket, stream => stream.set_read_timeout(limit))
    }

    /// How long a blocking write waits before it fails with [`io::ErrorKind::WouldBlock`] or
    /// [`io::ErrorKind::TimedOut`]; `None` for ever.
    ///
    /// # Errors
    /// Those of the socket; zero is refused.
    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        each!(&self.socket, stream => stream.set_write_timeout(limit))
    }

    /// This end's address; `None` for a unix socket.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(stream) => stream.local_addr().map(Some),
            #[cfg(unix)]
            Socket::Unix(_) => Ok(None),
        }
    }

    /// The other end's address, which is the proxy's where there is one; `None` for a unix socket.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn peer_address(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(stream) => stream.peer_addr().map(Some),
            #[cfg(unix)]
            Socket::Unix(_) => Ok(None),
        }
    }

    /// What TLS agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    pub fn tls_info(&self) -> Option<super::TlsInfo> {
        self.wrapped.as_deref().and_then(Wrapped::tls_info)
    }

    /// Says goodbye in every layer and that nothing more will be written, as far as that goes without
    /// waiting long. The broker's last words can still be read.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn close(&mut self) -> io::Result<()> {
        let flushed = match &mut self.wrapped {
            None => Ok(()),
            Some(wrapped) => {
                wrapped.close();
                wrapped.flush(&mut self.socket)
            }
        };
        each!(&self.socket, stream => stream.shutdown(Shutdown::Write))?;
        flushed
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.wrapped {
            None => Raw::read(&mut self.socket, buffer),
            Some(wrapped) => wrapped.read(&mut self.socket, buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wrapped {
            None => Raw::write(&mut self.socket, bytes),
            Some(wrapped) => wrapped.write(&mut self.socket, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.wrapped {
            None => Ok(()),
            Some(wrapped) => wrapped.flush(&mut self.socket),
        }
    }
}

#[cfg(unix)]
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(&self.socket, stream => stream.as_fd())
    }
}

#[cfg(unix)]
impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        each!(&self.socket, stream => stream.as_raw_fd())
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Connection {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        each!(&self.socket, stream => stream.as_socket())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer_address().ok().flatten())
            .finish_non_exhaustive()
    }
}
