//! What a load thread reads from and writes to.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use midge_client::net::Connection;
use socket2::{Domain, Socket as RawSocket, Type};

/// A connection that never waits.
pub(crate) enum Socket {
    /// One that is open, in whatever layers.
    Open(Connection),
    /// A plain one that opens when the broker accepts it.
    Begun(TcpStream),
}

impl Socket {
    /// Begins a plain connection, from `source` if that is given; it is open when it can be written to.
    pub(crate) fn begin(address: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<Self> {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
            _ => Ok(Self::Begun(socket.into())),
        }
    }

    /// Whether bytes are there that the system does not know of any more.
    pub(crate) fn has_read_ahead(&self) -> bool {
        match self {
            Self::Open(connection) => connection.has_read_ahead(),
            Self::Begun(_) => false,
        }
    }

    /// Whether bytes that were written wait for their way to the network.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Open(connection) => connection.wants_write(),
            Self::Begun(_) => false,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Open(connection) => connection.read(buffer),
            Self::Begun(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(connection) => connection.write(bytes),
            Self::Begun(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(connection) => connection.flush(),
            Self::Begun(stream) => stream.flush(),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Open(connection) => connection.as_raw_fd(),
            Self::Begun(stream) => stream.as_raw_fd(),
        }
    }
}
