//! How a tool fails: what it says and its exit code.

use std::fmt;
use std::io;

use midge_codec::{DecodeError, EncodeError, ReasonCode, Version};

use crate::connect_options::ConnectOptions;
use crate::options::{Id, UsageError};
use crate::options_file::Origins;
use crate::srv;

/// Why a tool ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(UsageError),
    /// The host's name leads nowhere.
    Lookup,
    /// The domain's SRV records name no broker.
    Srv(srv::Fault),
    /// None of the brokers that the SRV records name can be reached: each with the reason.
    Targets(Vec<(srv::Target, Self)>),
    /// The system says no.
    Io(io::Error),
    /// The broker refused the CONNECT.
    Refused(Version, ReasonCode),
    /// The broker closed the connection.
    Lost,
    /// `-W` has passed.
    TimedOut,
    /// `-W` has passed without a response; what may be tried.
    NoResponse(String),
    /// SIGINT or SIGTERM.
    Signal,
    /// There is no TLS, or no longer.
    Tls(String),
    /// The proxy does not connect.
    Proxy(String),
    /// There is no connection, for another reason.
    Connect(String),
    /// What the broker sent is no MQTT, or not what it may send now.
    Protocol(String),
    /// A file that an option names cannot be used.
    File { option: Id, text: String },
    /// What was asked cannot be put into a packet.
    Encode(EncodeError),
    /// Anything else, in words.
    Other(String),
}

impl Failure {
    /// The exit code, as the Mosquitto tools choose it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Targets(each) => each.last().map_or(1, |(_, failure)| failure.exit_code()),
            Self::Usage(_)
            | Self::Lookup
            | Self::Srv(_)
            | Self::Io(_)
            | Self::File { .. }
            | Self::Encode(_)
            | Self::Connect(_)
            | Self::Other(_) => 1,
            Self::Tls(_) => 8,
            Self::Proxy(_) => 16,
            Self::Signal => 255,
            Self::Refused(Version::V5, reason) => reason.0,
            Self::Refused(_, reason) => reason.connack_v3().unwrap_or(1),
            Self::Protocol(_) => 2,
            Self::Lost => 7,
            Self::TimedOut | Self::NoResponse(_) => 27,
        }
    }

    /// Whether the output's reader went away, which is no fault to speak of.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The failure, with the line of the options file where the option stands.
    pub(crate) fn with_place(self, origins: &Origins) -> Self {
        match self {
            Self::File { option, text } => {
                let place = origins.of(option);
                let place = place.map(|place| format!("\nThe option is from {place}."));
                let text = text + &place.unwrap_or_default();
                Self::File { option, text }
            }
            other => other,
        }
    }

    /// What the user may try, where the failure itself does not say it.
    pub(crate) fn hint(&self, connect: &ConnectOptions) -> Option<String> {
        let place = connect.place();
        match self {
            Self::Lookup => Some(format!(
                "The host '{}' is not known. Is it spelled right? -h names the broker.",
                connect.host
            )),
            Self::Srv(srv::Fault::BadName(_)) => {
                Some("-S wants the domain of the broker at -h, such as example.org.".to_owned())
            }
            Self::Srv(srv::Fault::NoAnswer(_)) => Some(
                "The lines nameserver in /etc/resolv.conf say who is asked; --dns-server names another."
                    .to_owned(),
            ),
            Self::Srv(_) => Some(format!(
                "Is the domain '{}' spelled right? Without -S, -h and -p name the broker itself.",
                connect.host
            )),
            Self::Targets(each) => each.last().and_then(|(target, failure)| {
                failure.hint(&ConnectOptions {
                    host: target.host.clone(),
                    port: Some(target.port),
                    by_srv: false,
                    ..connect.clone()
                })
            }),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Some(format!(
                    "Nobody listens at {place}. -h and -p name the broker; `midge` starts one here."
                )),
                io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable => Some(format!(
                    "{place} does not answer. Is the address right, and does a firewall let it through?"
                )),
                _ => None,
            },
            Self::NoResponse(try_this) => Some(try_this.clone()),
            Self::File { option, .. } => file_wanted(*option).map(str::to_owned),
            Self::Lost => Some(format!(
                "The broker at {place} closed the connection; its log says why. -d shows what was said."
            )),
            Self::Refused(_, reason) => match reason.connack_v3() {
                Some(1) => Some("Choose another protocol version by -V.".to_owned()),
                Some(2) => Some("Choose another client id by -i.".to_owned()),
                Some(4 | 5) => Some(
                    "-u and -P give user name and password; --oauth-token-file gives a token."
                        .to_owned(),
                ),
                _ => None,
            },
            Self::Tls(_) if connect.tls.shared_key.is_some() => Some(
                "--psk and --psk-identity have to be a line of the broker's psk_file, and the port one for \
                 pre-shared keys."
                    .to_owned(),
            ),
            Self::Tls(_) => Some(
                "--cafile names the authority that signed the broker's certificate, -h the name that \
                 is in it."
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether trying again later may help.
    pub(crate) fn is_lost_connection(&self) -> bool {
        match self {
            Self::Lost => true,
            Self::Targets(each) => each.iter().any(|(_, failure)| failure.is_lost_connection()),
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::TimedOut
            ),
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(UsageError(text)) | Self::File { text, .. } | Self::Other(text) => {
                write!(f, "Error: {text}")
            }
            Self::Lookup => f.write_str("Unable to connect (Lookup error.)."),
            Self::Srv(fault) => write!(f, "Error: SRV lookup failed: {fault}."),
            Self::Targets(each) => {
                f.write_str("Error: No broker that the SRV records name can be reached.")?;
                each.iter()
                    .try_for_each(|(target, failure)| write!(f, "\n{target}: {failure}"))
            }
            Self::Io(error) => write!(f, "Error: {}", plain(error)),
            Self::Refused(version, reason) => {
                write!(f, "Connection error: {}", refusal(*version, *reason))
            }
            Self::Lost => f.write_str("Error: The connection was lost."),
            Self::TimedOut | Self::NoResponse(_) => f.write_str("Timed out"),
            Self::Signal => f.write_str("Interrupted"),
            Self::Tls(why) => write!(f, "Error: A TLS error occurred: {why}."),
            Self::Proxy(why) => write!(f, "Error: The proxy does not connect: {why}."),
            Self::Connect(why) => write!(f, "Unable to connect ({why})."),
            Self::Protocol(text) => write!(f, "Error: The broker broke the protocol: {text}."),
            Self::Encode(error) => write!(f, "Error: {error}."),
        }
    }
}

/// What an option wants that names a file.
const fn file_wanted(option: Id) -> Option<&'static str> {
    match option {
        Id::CaFile => Some(
            "--cafile wants the certificate of the authority that signed the broker's, as PEM text; \
             --tls-use-os-certs trusts the authorities of this machine.",
        ),
        Id::CaPath => Some(
            "--capath wants a directory of files with certificates of authorities, as PEM text; --cafile \
             wants one such file.",
        ),
        Id::Certificate => Some("--cert wants the client's certificate, as PEM text."),
        Id::Key => Some("--key wants the private key of --cert, as PEM text without a password."),
        Id::TlsKeylog => Some("--tls-keylog wants a file that can be written or made."),
        Id::File => Some("-f wants a file that can be read; -s takes the standard input."),
        Id::OauthTokenFile => {
            Some("--oauth-token-file wants a file with a token and nothing else.")
        }
        Id::OauthSecretFile => Some(
            "--oauth-client-secret-file wants a file with the client's secret and nothing else.",
        ),
        _ => None,
    }
}

/// The system's own words, without the number that the standard library adds.
pub(crate) fn plain(error: &io::Error) -> String {
    without_number(&error.to_string()).to_owned()
}

/// `text` up to the number of an error that the standard library has put at its end.
pub(crate) fn without_number(text: &str) -> &str {
    text.split_once(" (os error")
        .map_or(text, |(words, _)| words)
}

fn refusal(version: Version, reason: ReasonCode) -> String {
    if version == Version::V5 {
        let text = sentence(reason.text());
        return if reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION {
            format!("{text}. Try connecting to an MQTT v5 broker, or use MQTT v3.x mode.")
        } else {
            text
        };
    }
    let text = match reason.connack_v3() {
        Some(1) => "unacceptable protocol version",
        Some(2) => "identifier rejected",
        Some(3) => "broker unavailable",
        Some(4) => "bad user name or password",
        Some(5) => "not authorised",
        _ => "unknown reason",
    };
    format!("Connection Refused: {text}.")
}

/// `text` with a capital at its start.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}
