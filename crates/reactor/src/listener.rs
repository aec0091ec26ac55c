//! Listening sockets and accepting in bounded batches.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{BindAddress, DescriptorReserve, Endpoint, ListenError, PeerAddress, Stream};

/// How many connections wait to be accepted by default; the system has its own limit
/// (`net.core.somaxconn`) on top.
pub const LISTEN_BACKLOG: u32 = 4096;

/// Who may connect to a unix socket: the broker's user and group, as with Mosquitto.
const UNIX_SOCKET_MODE: u32 = 0o770;

/// How often a port that the system chose for one address is tried for the others.
const SAME_PORT_TRIES: u32 = 8;

/// How to open listening sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Takes only what arrives through this network interface; Linux only.
    pub interface: Option<String>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self {
            backlog: LISTEN_BACKLOG,
            interface: None,
        }
    }
}

/// What [`listen`] opened.
#[derive(Debug)]
pub struct Listening {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Addresses of the same host that this machine does not have, such as IPv6 when it is switched
    /// off: worth a warning.
    pub skipped: Vec<ListenError>,
}

/// A socket that takes connections. Dropping it ends that, and removes its unix socket's file.
#[derive(Debug)]
pub struct Listener {
    socket: Listen,
    address: BindAddress,
}

#[derive(Debug)]
enum Listen {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener, SocketFile),
}

/// A connection that has been accepted; not registered anywhere yet.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Where it came from.
    pub peer: PeerAddress,
}

/// Whether more connections wait after [`Listener::accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptState {
    /// None waits; the poller reports the next.
    Drained,
    /// Some may wait. The poller will not report them again: call again, after the other sockets
    /// have had their turn.
    More,
    /// There are no descriptors (or memory) for more, but for those that the [`DescriptorReserve`] keeps
    /// back. Those that could be were accepted and closed, so that they need not wait for an answer. Serve what is there, say so in the log once, and
    /// call again a little later: the poller will not report it.
    Exhausted,
}

/// What a batch of accepts came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptReport {
    /// Whether and when to call again.
    pub state: AcceptState,
    /// Connections closed at once for want of descriptors.
    pub turned_away: usize,
    /// Connections that ended before they were accepted.
    pub aborted: usize,
}

/// Opens all addresses of `endpoint`; `opening` hears of each before it is opened.
///
/// Addresses that this machine does not have are skipped as long as another one opens; any other
/// fault closes those that were opened.
///
/// # Errors
/// The first [`ListenError`] that is a fault of the whole endpoint.
pub fn listen(
    endpoint: &Endpoint,
    backlog: u32,
    mut opening: impl FnMut(&BindAddress),
) -> Result<Listening, ListenError> {
    let addresses = endpoint.addresses()?;
    let interface = match endpoint {
        Endpoint::Tcp { interface, .. } => interface.clone(),
        Endpoint::Unix { .. } => None,
    };
    let options = BindOptions { backlog, interface };
    let mut try_number = 1;
    loop {
        match open_all(&addresses, &options, &mut opening) {
            // The system chose a port for the first address that another program has on the second.
            Err(ListenError::InUse(address))
                if try_number < SAME_PORT_TRIES
                    && addresses.iter().all(|asked| asked.port() == Some(0))
                    && address.port() != Some(0) =>
            {
                try_number += 1;
            }
            result => return result,
        }
    }
}

fn open_all(
    addresses: &[BindAddress],
    options: &BindOptions,
    opening: &mut impl FnMut(&BindAddress),
) -> Result<Listening, ListenError> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut skipped = Vec::new();
    for address in addresses {
        let mut address = address.clone();
        if address.port() == Some(0)
            && let Some(port) = listeners.first().and_then(|first| first.address().port())
        {
            address.set_port(port);
        }
        opening(&address);
        match Listener::bind(&address, options) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.is_not_available() => skipped.push(error),
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty()
        && let Some(error) = skipped.pop()
    {
        return Err(error);
    }
    Ok(Listening { listeners, skipped })
}

impl Listener {
    /// Opens one socket.
    ///
    /// A unix socket's file that nobody answers behind is taken over; any other file stays. Its mode
    /// lets the broker's user and group connect, nobody else.
    ///
    /// # Errors
    /// A [`ListenError`], which reads as the log line about it.
    pub fn bind(address: &BindAddress, options: &BindOptions) -> Result<Self, ListenError> {
        match address {
            BindAddress::Ip(_) => Self::bind_tcp(address, options),
            BindAddress::Unix(path) => Self::bind_unix(address, path, options),
        }
    }

    fn bind_tcp(address: &BindAddress, options: &BindOptions) -> Result<Self, ListenError> {
        let BindAddress::Ip(ip) = address else {
            return Err(ListenError::from_system(
                address,
                io::ErrorKind::InvalidInput.into(),
            ));
        };
        let fault = |error| ListenError::from_system(address, error);
        let socket = Socket::new(Domain::for_address(*ip), Type::STREAM, Some(Protocol::TCP))
            .map_err(fault)?;
        socket.set_reuse_address(true).map_err(fault)?;
        if ip.is_ipv6() {
            socket.set_only_v6(true).map_err(fault)?;
        }
        socket.set_nonblocking(true).map_err(fault)?;
        if let Some(interface) = &options.interface {
            bind_interface(&socket, interface)
                .map_err(|error| ListenError::from_interface(interface, error))?;
        }
        socket.bind(&(*ip).into()).map_err(fault)?;
        socket.listen(backlog(options)).map_err(fault)?;
        let listener: std::net::TcpListener = socket.into();
        // Tells the port when the system chose it.
        let address = BindAddress::Ip(listener.local_addr().map_err(fault)?);
        Ok(Self {
            socket: Listen::Tcp(mio::net::TcpListener::from_std(listener)),
            address,
        })
    }

    fn bind_unix(
        address: &BindAddress,
        path: &Path,
        options: &BindOptions,
    ) -> Result<Self, ListenError> {
        let fault = |error| ListenError::from_system(address, error);
        let name = SockAddr::unix(path).map_err(|_| ListenError::PathTooLong(path.into()))?;
        remove_stale_socket(address, path, &name)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fault)?;
        socket.set_nonblocking(true).map_err(fault)?;
        socket.bind(&name).map_err(fault)?;
        let file = SocketFile::new(path).map_err(fault)?;
        // Nobody can connect before the listen call, so nobody slips in under the first mode; and the
        // process-wide umask, which other threads' files depend on, stays as it is.
        fs::set_permissions(path, fs::Permissions::from_mode(UNIX_SOCKET_MODE)).map_err(fault)?;
        socket.listen(backlog(options)).map_err(fault)?;
        let listener: UnixListener = socket.into();
        Ok(Self {
            socket: Listen::Unix(mio::net::UnixListener::from_std(listener), file),
            address: address.clone(),
        })
    }

    /// Where this socket listens; with the port that the system chose if 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> &BindAddress {
        &self.address
    }

    /// Accepts up to `most` connections and adds them to `accepted`.
    ///
    /// # Errors
    /// Those of the system after which this listener is of no use.
    pub fn accept(
        &mut self,
        most: usize,
        reserve: &mut DescriptorReserve,
        accepted: &mut Vec<Accepted>,
    ) -> io::Result<AcceptReport> {
        let mut report = AcceptReport {
            state: AcceptState::More,
            turned_away: 0,
            aborted: 0,
        };
        for tried in 0..most {
            match self.accept_one() {
                // To be dropped is to be closed.
                Ok(connection) if reserve.keeps_back(&connection.stream) => {
                    report.state = AcceptState::Exhausted;
                    report.turned_away += 1;
                }
                Ok(connection) => {
                    // Some that were in use have been given back meanwhile.
                    report.state = AcceptState::More;
                    accepted.push(connection);
                }
                Err(error) => match Fault::of(&error) {
                    Fault::NoneWaits => {
                        if report.state == AcceptState::More {
                            report.state = AcceptState::Drained;
                        }
                        break;
                    }
                    Fault::Passing => report.aborted += 1,
                    Fault::Exhausted => {
                        report.state = AcceptState::Exhausted;
                        report.turned_away += self.turn_away(most - tried, reserve);
                        break;
                    }
                    Fault::Fatal => return Err(error),
                },
            }
        }
        Ok(report)
    }

    /// Closes connections that wait, with the one descriptor that was kept back; gives their number.
    fn turn_away(&self, most: usize, reserve: &mut DescriptorReserve) -> usize {
        let mut turned_away = 0;
        for _ in 0..most {
            let opened = reserve.lend(|| self.accept_one().map(drop));
            match opened {
                Some(Ok(())) => turned_away += 1,
                Some(Err(error)) if Fault::of(&error) == Fault::Passing => {}
                // None waits any more, another thread was faster to take the descriptor, or the
                // reserve itself has none: the caller tries again later.
                Some(Err(_)) | None => break,
            }
        }
        turned_away
    }

    fn accept_one(&self) -> io::Result<Accepted> {
        match &self.socket {
            Listen::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                Ok(Accepted {
                    stream: Stream::Tcp(stream),
                    peer: PeerAddress::Ip(address),
                })
            }
            Listen::Unix(listener, file) => {
                let (stream, _) = listener.accept()?;
                Ok(Accepted {
                    stream: Stream::Unix(stream),
                    peer: PeerAddress::Unix(Arc::clone(&file.path)),
                })
            }
        }
    }
}

impl Source for Listener {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match &mut self.socket {
            Listen::Tcp(listener) => listener.register(poll, token, interest),
            Listen::Unix(listener, _) => listener.register(poll, token, interest),
        }
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match &mut self.socket {
            Listen::Tcp(listener) => listener.reregister(poll, token, interest),
            Listen::Unix(listener, _) => listener.reregister(poll, token, interest),
        }
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        match &mut self.socket {
            Listen::Tcp(listener) => listener.deregister(poll),
            Listen::Unix(listener, _) => listener.deregister(poll),
        }
    }
}

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NoneWaits,
    /// The connection's own: the next may be well.
    Passing,
    Exhausted,
    Fatal,
}

impl Fault {
    fn of(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::NoneWaits;
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Self::Exhausted,
            // Linux reports what is wrong with the new connection's network through the accept.
            Some(
                Errno::EINTR
                | Errno::ECONNABORTED
                | Errno::EPROTO
                | Errno::EPERM
                | Errno::ENETDOWN
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH,
            ) => Self::Passing,
            #[cfg(target_os = "linux")]
            Some(Errno::ENONET) => Self::Passing,
            _ => Self::Fatal,
        }
    }
}

/// The file of a unix socket, removed when its listener ends.
#[derive(Debug)]
struct SocketFile {
    path: Arc<Path>,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.into(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another broker may have taken the path over since; that file is not ours.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours {
            // A directory that the broker's user may not write keeps the file; the next start
            // recognises it as stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes room for a unix socket if what has its path is a socket that nobody answers behind.
fn remove_stale_socket(
    address: &BindAddress,
    path: &Path,
    name: &SockAddr,
) -> Result<(), ListenError> {
    let fault = |error| ListenError::from_system(address, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.into()));
        }
        Ok(_) => {}
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fault)?;
    // Somebody whose backlog is full lives, too; waiting for them could take for ever.
    caller.set_nonblocking(true).map_err(fault)?;
    match caller.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(fault)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(fault(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => Err(ListenError::InUse(address.clone())),
    }
}

fn backlog(options: &BindOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

#[cfg(target_os = "linux")]
fn bind_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn bind_interface(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
