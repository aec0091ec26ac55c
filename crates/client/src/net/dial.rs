//! From a broker's address to an open connection.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{Link, proxy};
use crate::driver::Resolving;
use crate::error::ConnectionError;
use crate::options::{Options, Scheme, Server};

/// How long an address has before the next one is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// More addresses of one name are not tried.
const ADDRESSES_MAX: usize = 16;

/// Opens a connection to the broker whose turn it is.
pub(crate) async fn open(
    options: &Options,
    attempt: u32,
    resolving: Resolving,
) -> Result<Link, ConnectionError> {
    let count = options.servers.len().max(1);
    let turn = (attempt.saturating_sub(1)) as usize % count;
    let Some(server) = options.servers.get(turn) else {
        return Err(ConnectionError::Closed);
    };
    if server.scheme == Scheme::Unix {
        return open_unix(server).await;
    }
    let stream = match &options.proxy {
        None => connect(&server.host, server.port, resolving).await?,
        Some(proxy) => {
            let mut stream = connect(&proxy.host, proxy.port, resolving).await?;
            proxy::pass(&mut stream, proxy, server).await?;
            stream
        }
    };
    prepare(&stream, options).map_err(ConnectionError::io)?;
    Ok(Link::Tcp(stream))
}

#[cfg(unix)]
async fn open_unix(server: &Server) -> Result<Link, ConnectionError> {
    let stream = tokio::net::UnixStream::connect(&server.path).await;
    stream.map(Link::Unix).map_err(ConnectionError::io)
}

#[cfg(not(unix))]
async fn open_unix(_: &Server) -> Result<Link, ConnectionError> {
    Err(ConnectionError::io(io::ErrorKind::Unsupported.into()))
}

fn prepare(stream: &TcpStream, options: &Options) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(idle) = options.tcp_keep_alive {
        let interval = (idle / 4).max(Duration::from_secs(1));
        let idle = idle.max(Duration::from_secs(1));
        let keep_alive = TcpKeepalive::new().with_time(idle).with_interval(interval);
        SockRef::from(stream).set_tcp_keepalive(&keep_alive)?;
    }
    Ok(())
}

/// Connects to whichever address of the host answers first.
pub(super) async fn connect(
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
    race(interleave(addresses))
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

/// Tries one address after the other, each as soon as the one before has failed or taken too long.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
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
                    attempts.push(Box::pin(TcpStream::connect(address)));
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
