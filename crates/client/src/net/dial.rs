//! From a broker's address to an open connection.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use super::server::{Scheme, Server};
use super::{Dialer, Link, link, proxy, wrapping};
use crate::error::ConnectionError;

/// How long an address has before the next one is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// More addresses of one name are not tried.
const ADDRESSES_MAX: usize = 16;

/// Where host names are looked up, and files read, which blocks a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolving {
    /// On a thread of the runtime's pool.
    Elsewhere,
    /// On the present thread, which has nothing else to do.
    Here,
}

/// Opens a connection, with all layers.
pub(super) async fn open(
    dialer: &Dialer,
    server: &Server,
    resolving: Resolving,
) -> Result<Link, ConnectionError> {
    if server.scheme == Scheme::Unix {
        return open_unix(server).await;
    }
    // Before anything that takes time: files may be missing.
    let wrapping = wrapping::prepare(dialer, server, resolving).await?;
    let stream = match &dialer.proxy {
        None => connect(dialer, &server.host, server.port, resolving).await?,
        Some(proxy) => {
            let mut stream = connect(dialer, &proxy.host, proxy.port, resolving).await?;
            proxy::pass(&mut stream, proxy, server).await?;
            stream
        }
    };
    prepare(&stream, dialer).map_err(ConnectionError::io)?;
    let mut link = Link::new(link::Socket::Tcp(stream), wrapping.begin()?);
    poll_fn(|context| link.poll_open(context))
        .await
        .map_err(ConnectionError::io)?;
    Ok(link)
}

#[cfg(unix)]
async fn open_unix(server: &Server) -> Result<Link, ConnectionError> {
    let stream = tokio::net::UnixStream::connect(&server.path).await;
    let stream = stream.map_err(ConnectionError::io)?;
    Ok(Link::new(link::Socket::Unix(stream), None))
}

#[cfg(not(unix))]
async fn open_unix(_: &Server) -> Result<Link, ConnectionError> {
    Err(ConnectionError::io(io::ErrorKind::Unsupported.into()))
}

fn prepare(stream: &TcpStream, dialer: &Dialer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(idle) = dialer.tcp_keep_alive {
        let interval = (idle / 4).max(Duration::from_secs(1));
        let idle = idle.max(Duration::from_secs(1));
        let keep_alive = TcpKeepalive::new().with_time(idle).with_interval(interval);
        SockRef::from(stream).set_tcp_keepalive(&keep_alive)?;
    }
    Ok(())
}

/// Connects to whichever address of the host answers first.
async fn connect(
    dialer: &Dialer,
    host: &str,
    port: u16,
    resolving: Resolving,
) -> Result<TcpStream, ConnectionError> {
    let addresses =
        resolve(host, port, resolving)
            .await
            .map_err(|source| ConnectionError::Resolve {
                host: host.to_owned(),
                source: Arc::new(source),
            })?;
    race(dialer.bind_address, interleave(addresses))
        .await
        .map_err(ConnectionError::io)
}

async fn resolve(host: &str, port: u16, resolving: Resolving) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses: Vec<SocketAddr> = match resolving {
        Resolving::Elsewhere => tokio::net::lookup_host((host, port)).await?.collect(),
        Resolving::Here => (host, port).to_socket_addrs()?.collect(),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(addresses)
}

/// Puts the addresses of both families in turn, beginning with the family of the first
/// (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

async fn attempt(from: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect(address).await;
    };
    if from.is_ipv6() != address.is_ipv6() {
        let text = format!("{from} and {address} are of different families");
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
    }
    let socket = if from.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(address).await
}

/// Tries one address after the other, each as soon as the one before has failed or taken too long.
async fn race(from: Option<IpAddr>, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    let mut timer: Option<Pin<Box<tokio::time::Sleep>>> = None;
    poll_fn(move |context| {
        loop {
            let mut at = 0;
            while let Some(attempt) = attempts.get_mut(at) {
                match attempt.as_mut().poll(context) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        failure = error;
                        drop(attempts.swap_remove(at));
                        timer = None;
                    }
                    Poll::Pending => at += 1,
                }
            }
            let is_time = match &mut timer {
                None => true,
                Some(timer) => timer.as_mut().poll(context).is_ready(),
            };
            if !is_time {
                return Poll::Pending;
            }
            match addresses.next() {
                Some(address) => {
                    attempts.push(Box::pin(attempt(from, address)));
                    timer = Some(Box::pin(tokio::time::sleep(ATTEMPT_DELAY)));
                }
                None if attempts.is_empty() => {
                    let kind = failure.kind();
                    return Poll::Ready(Err(std::mem::replace(&mut failure, kind.into())));
                }
                None => {
                    timer = None;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests;
