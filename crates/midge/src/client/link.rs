//! How the tools reach a broker: what the command line says, given to the client library's dialer.

use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use midge_client::ConnectionError;
use midge_client::net::{Connection, Dialer, Server, TlsOptions, TlsVersion};

use crate::connect_options::ConnectOptions;
use crate::failure::{Failure, without_number};
use crate::options::Id;
use crate::srv::{Resolver, Target};

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may where there are others.
const TARGET_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a look-up of SRV records may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections to one broker, or to the first that can be reached of several.
pub(crate) struct Dial {
    options: ConnectOptions,
    dialer: Dialer,
}

impl Dial {
    /// Reads the options; files are read by the first connection.
    pub(crate) fn new(options: &ConnectOptions) -> Result<Self, Failure> {
        let mut dialer = Dialer::new().version(options.version);
        if let Some(url) = &options.proxy {
            dialer = dialer
                .proxy(url)
                .map_err(|error| Failure::Other(format!("{error}.")))?;
        }
        if let Some(text) = &options.bind_address {
            let address = own_address(text).ok_or_else(|| {
                Failure::Other(format!(
                    "-A wants an address of this machine, or its name, not '{text}'."
                ))
            })?;
            dialer = dialer.bind_address(address);
        }
        if options.uses_tls() {
            dialer = dialer.tls(tls_options(options)?);
        }
        Ok(Self {
            options: options.clone(),
            dialer,
        })
    }

    /// Connects; the connection never waits.
    pub(crate) fn open(&self, deadline: Option<Instant>) -> Result<Connection, Failure> {
        let options = &self.options;
        if !options.by_srv {
            let server = self.server(&options.host, options.port());
            return self.open_one(&server, CONNECT_TIMEOUT, deadline);
        }
        let mut failed = Vec::new();
        for target in targets(options, deadline)? {
            let server = self.server(&target.host, target.port);
            match self.open_one(&server, TARGET_TIMEOUT, deadline) {
                Err(Failure::TimedOut) => return Err(Failure::TimedOut),
                Err(failure) => failed.push((target, failure)),
                opened => return opened,
            }
        }
        Err(Failure::Targets(failed))
    }

    /// Begins the handshakes of a TCP connection that was begun, to the one host or the first of several.
    pub(crate) fn begin(&self, stream: TcpStream) -> Result<Connection, Failure> {
        let (host, port) = self.options.first_place();
        Ok(self.dialer.begin(&self.server(host, port), stream)?)
    }

    fn open_one(
        &self,
        server: &Server,
        limit: Duration,
        deadline: Option<Instant>,
    ) -> Result<Connection, Failure> {
        let dialer = self.dialer.clone().timeout(left(limit, deadline)?);
        let connection = dialer.dial(server).map_err(|error| match error {
            ConnectionError::Options(why) if self.options.uses_tls() => {
                bad_tls_options(&why.to_string())
            }
            error => error.into(),
        })?;
        connection.set_nonblocking(true)?;
        Ok(connection)
    }

    /// What leads to a host, as the options have it.
    fn server(&self, host: &str, port: u16) -> Server {
        let options = &self.options;
        let mut server = match &options.unix {
            Some(path) => Server::unix(path.to_string_lossy()),
            None => Server::new(host, port),
        };
        if options.websocket {
            server = server.websocket(options.websocket_path.as_str());
        }
        if options.uses_tls() {
            server = server.tls();
        }
        server
    }
}

/// An address, or the first of a host that has some; of both families, that of IPv4.
fn own_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let found: Vec<_> = (text, 0).to_socket_addrs().ok()?.collect();
    let first = found.iter().find(|address| address.is_ipv4());
    Some(first.or_else(|| found.first())?.ip())
}

/// The brokers of the domain that the options name, in the order in which they are to be tried.
pub(crate) fn targets(
    options: &ConnectOptions,
    deadline: Option<Instant>,
) -> Result<Vec<Target>, Failure> {
    if let Some(targets) = &options.targets {
        return Ok(targets.clone());
    }
    let resolver = match options.dns_server {
        Some(server) => Resolver::new(vec![server]),
        None => Resolver::of_system(),
    };
    let until = Instant::now() + left(LOOKUP_TIMEOUT, deadline)?;
    resolver
        .brokers(&options.host, options.uses_tls(), until)
        .map_err(Failure::Srv)
}

/// The time that there is for something that may take `limit`.
fn left(limit: Duration, deadline: Option<Instant>) -> Result<Duration, Failure> {
    let left = deadline.map_or(limit, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    if left.is_zero() {
        return Err(Failure::TimedOut);
    }
    Ok(left.min(limit))
}

fn tls_options(options: &ConnectOptions) -> Result<TlsOptions, Failure> {
    let given = &options.tls;
    // As OpenSSL does, the name is also looked for where old certificates have it.
    let mut tls = TlsOptions::new().accept_common_name();
    if let Some(path) = &given.ca_file {
        tls = tls.ca_file(path);
    }
    if let Some(path) = &given.ca_path {
        tls = tls.ca_directory(path);
    }
    if given.system_authorities {
        tls = tls.platform_cas();
    }
    if let (Some(certificate), Some(key)) = (&given.certificate, &given.key) {
        tls = tls.certificate_files(certificate, key);
    }
    if given.insecure {
        tls = tls.danger_accept_any_host_name();
    }
    if given.only_13 {
        tls = tls.versions(TlsVersion::V13, TlsVersion::V13);
    }
    if let Some(ciphers) = &given.ciphers {
        tls = tls.ciphers(ciphers);
    }
    if let Some(protocol) = &given.protocol {
        tls = tls.alpn([protocol]);
    }
    if let Some(path) = &given.key_log {
        tls = tls.key_log_file(path);
    }
    with_shared_key(tls, options)
}

#[cfg(feature = "tls-psk")]
fn with_shared_key(tls: TlsOptions, options: &ConnectOptions) -> Result<TlsOptions, Failure> {
    let given = &options.tls;
    let (Some(identity), Some(key)) = (&given.shared_key_identity, &given.shared_key) else {
        return Ok(tls);
    };
    let key = midge_client::net::PreSharedKey::from_hex(identity, key)
        .map_err(|why| Failure::Other(format!("Problem setting TLS-PSK options: {why}.")))?;
    Ok(tls.pre_shared_key(key))
}

#[cfg(not(feature = "tls-psk"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it may fail")]
fn with_shared_key(tls: TlsOptions, options: &ConnectOptions) -> Result<TlsOptions, Failure> {
    // The command line was refused.
    debug_assert!(options.tls.shared_key.is_none());
    Ok(tls)
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        match &error {
            ConnectionError::Resolve { .. } => Self::Lookup,
            ConnectionError::Io(error) => Self::Io(copy(error)),
            ConnectionError::Proxy(why) => Self::Proxy(why.clone()),
            ConnectionError::Tls(failure) => Self::Tls(in_options(&failure.to_string())),
            ConnectionError::TimedOut => Self::Io(io::ErrorKind::TimedOut.into()),
            _ => Self::Connect(in_options(&error.to_string())),
        }
    }
}

/// Options about TLS that cannot be used. The library begins with its own name of the one that names a file.
fn bad_tls_options(why: &str) -> Failure {
    const NAMES: [(&str, &str, Id); 5] = [
        ("ca_file: ", "--cafile", Id::CaFile),
        ("ca_directory: ", "--capath", Id::CaPath),
        ("certificate_file: ", "--cert", Id::Certificate),
        ("key_file: ", "--key", Id::Key),
        ("key_log_file: ", "--tls-keylog", Id::TlsKeylog),
    ];
    let found = NAMES
        .iter()
        .find_map(|(name, ours, id)| Some((ours, *id, why.strip_prefix(name)?)));
    match found {
        Some((name, option, why)) => Failure::File {
            option,
            text: format!("Problem setting TLS options: {name}: {}.", in_options(why)),
        },
        None => Failure::Other(format!("Problem setting TLS options: {}.", in_options(why))),
    }
}

/// The library's words with options of the tools in the place of its own.
fn in_options(text: &str) -> String {
    let mut text = text.replace("(ca_file)", "(--cafile)");
    for unknown in [
        ", or set the name to expect (server_name)",
        "; check the headers of the request (websocket_header)",
    ] {
        text = text.replace(unknown, "");
    }
    without_number(&text).to_owned()
}

/// An error with the number of the system's, whose words are then the system's too.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
