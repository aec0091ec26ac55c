//! How the tools reach a broker: what the command line says, given to the client library's dialer.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use midge_client::ConnectionError;
use midge_client::net::{Connection, Dialer, Server, TlsOptions, TlsVersion};

use crate::connect_options::ConnectOptions;
use crate::failure::Failure;

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens connections to one broker.
pub(crate) struct Dial {
    server: Server,
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
            let address: IpAddr = text.parse().map_err(|_| {
                Failure::Other(format!(
                    "-A wants an address of this machine, not '{text}'."
                ))
            })?;
            dialer = dialer.bind_address(address);
        }
        let mut server = match &options.unix {
            Some(path) => Server::unix(path.to_string_lossy()),
            None => Server::new(options.host.as_str(), options.port()),
        };
        if options.websocket {
            server = server.websocket(options.websocket_path.as_str());
        }
        if options.uses_tls() {
            server = server.tls();
            dialer = dialer.tls(tls_options(options));
        }
        Ok(Self { server, dialer })
    }

    /// Connects; the connection never waits.
    pub(crate) fn open(&self, deadline: Option<Instant>) -> Result<Connection, Failure> {
        let timeout = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => CONNECT_TIMEOUT,
        };
        if timeout.is_zero() {
            return Err(Failure::TimedOut);
        }
        let dialer = self.dialer.clone().timeout(timeout.min(CONNECT_TIMEOUT));
        let connection = dialer.dial(&self.server)?;
        connection.set_nonblocking(true)?;
        Ok(connection)
    }
}

fn tls_options(options: &ConnectOptions) -> TlsOptions {
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
    tls
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        match &error {
            ConnectionError::Resolve { .. } => Self::Lookup,
            ConnectionError::Io(error) => Self::Io(copy(error)),
            ConnectionError::Proxy(why) => Self::Proxy(why.clone()),
            ConnectionError::Tls(failure) => Self::Tls(failure.to_string()),
            ConnectionError::TimedOut => Self::Io(io::ErrorKind::TimedOut.into()),
            ConnectionError::WebSocket(_) | ConnectionError::Options(_) => {
                Self::Connect(error.to_string())
            }
            _ => Self::Connect(error.to_string()),
        }
    }
}

/// An error with the number of the system's, whose words are then the system's too.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
