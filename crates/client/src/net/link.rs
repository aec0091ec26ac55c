//! An open connection for the driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::Connection;
use super::connection;
use super::raw::Raw;
use super::wrapped::Wrapped;

/// A connection that carries packets: plain bytes on this side.
pub(crate) struct Link {
    socket: Socket,
    wrapped: Option<Box<Wrapped>>,
}

pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A socket that says `WouldBlock` where it has noted whom to wake.
struct Polled<'a, 'b> {
    socket: &'a mut Socket,
    context: &'a mut Context<'b>,
}

impl Raw for Polled<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ready_or_would_block(self.socket.poll_read(self.context, buffer))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ready_or_would_block(self.socket.poll_write(self.context, bytes))
    }
}

fn ready_or_would_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn pending_if_would_block<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

impl Link {
    pub(super) const fn new(socket: Socket, wrapped: Option<Box<Wrapped>>) -> Self {
        Self { socket, wrapped }
    }

    #[cfg(test)]
    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reads plain bytes; 0 at the end.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, wrapped } = self;
        match wrapped {
            None => socket.poll_read(context, buffer),
            Some(wrapped) => {
                pending_if_would_block(wrapped.read(&mut Polled { socket, context }, buffer))
            }
        }
    }

    /// Writes plain bytes; gives how many were taken, some of which may still be inside:
    /// [`Self::poll_flush`].
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, wrapped } = self;
        match wrapped {
            None => socket.poll_write(context, bytes),
            Some(wrapped) => {
                pending_if_would_block(wrapped.write(&mut Polled { socket, context }, bytes))
            }
        }
    }

    /// Sends what is still inside.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, wrapped } = self;
        match wrapped {
            None => Poll::Ready(Ok(())),
            Some(wrapped) => pending_if_would_block(wrapped.flush(&mut Polled { socket, context })),
        }
    }

    /// What TLS agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn tls_info(&self) -> Option<super::TlsInfo> {
        self.wrapped.as_deref().and_then(Wrapped::tls_info)
    }

    /// Waits until all layers are open.
    pub(super) fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, wrapped } = self;
        match wrapped {
            None => Poll::Ready(Ok(())),
            Some(wrapped) => {
                pending_if_would_block(wrapped.shake_hands(&mut Polled { socket, context }))
            }
        }
    }

    /// Says goodbye in every layer and that nothing more will be written, as far as that goes without
    /// waiting.
    pub(crate) fn close(&mut self, context: &mut Context<'_>) {
        let _ = self.poll_close(context);
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(wrapped) = &mut self.wrapped {
            wrapped.close();
        }
        ready!(self.poll_flush(context))?;
        self.socket.poll_shutdown(context)
    }

    /// The same connection without a runtime.
    pub(super) fn into_blocking(self) -> io::Result<Connection> {
        let socket = match self.socket {
            Socket::Tcp(stream) => connection::Socket::Tcp(stream.into_std()?),
            #[cfg(unix)]
            Socket::Unix(stream) => connection::Socket::Unix(stream.into_std()?),
        };
        let connection = Connection {
            socket,
            wrapped: self.wrapped,
        };
        connection.set_nonblocking(false)?;
        Ok(connection)
    }
}
