//! What can go wrong, by what was asked for.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use midge_codec::ReasonCode;

pub use crate::net::failure::{TlsFailure, TlsFailureKind, WebSocketFailure};

/// A refusal of the broker's, in its words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The reason code. Return codes of 3.x are given as the code of 5.0 that says the same.
    pub reason: ReasonCode,
    /// What the broker says for people to read (5.0).
    pub reason_string: Option<String>,
    /// Another broker that it names (5.0).
    pub server_reference: Option<String>,
}

impl Refusal {
    pub(crate) const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            reason_string: None,
            server_reference: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(text) = &self.reason_string {
            // The broker's text ends up in logs and on terminals.
            write!(f, ": {}", text.escape_debug())?;
        }
        if let Some(server) = &self.server_reference {
            write!(f, "; it names {} instead", server.escape_debug())?;
        }
        Ok(())
    }
}

/// Why a URL or a set of options cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError(pub(crate) String);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for OptionsError {}

/// Why there is no connection, or why there is none any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The options are not usable.
    Options(OptionsError),
    /// The broker's host name has no address.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: Arc<io::Error>,
    },
    /// The system could not open the connection, or has lost it.
    Io(Arc<io::Error>),
    /// The proxy does not let us through, for this reason.
    Proxy(String),
    /// There is no TLS, or none any more.
    Tls(TlsFailure),
    /// There is no WebSocket, or none any more.
    WebSocket(WebSocketFailure),
    /// Nothing answered in time: the host, or the broker with its CONNACK or PINGRESP.
    TimedOut,
    /// The broker closed the connection without a word.
    ClosedByBroker,
    /// The broker refused the CONNECT.
    Refused(Refusal),
    /// The broker ended the connection with a DISCONNECT (5.0).
    Disconnected(Refusal),
    /// The broker broke the protocol, in this way.
    Protocol(String),
    /// No credentials could be had, or the enhanced authentication failed on this side.
    Authentication(String),
    /// The durable queue cannot be opened, for this reason.
    Queue(String),
    /// The task that drives the client is gone: its runtime was shut down, or a callback panicked.
    RuntimeEnded,
    /// This client has disconnected.
    Closed,
}

impl ConnectionError {
    pub(crate) fn io(error: io::Error) -> Self {
        let found = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Self>());
        match found {
            Some(inside) => inside.clone(),
            None if error.kind() == io::ErrorKind::TimedOut => Self::TimedOut,
            None => Self::Io(Arc::new(error)),
        }
    }

    /// Whether another attempt with the same options is bound to end the same way, or to be taken for an
    /// attack. Certificates of brokers can be renewed, names can be mended: these are tried again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Tls(failure) => failure.is_permanent(),
            Self::WebSocket(failure) => failure.is_permanent(),
            Self::Options(_) | Self::Queue(_) | Self::RuntimeEnded | Self::Closed => true,
            Self::Refused(refusal) | Self::Disconnected(refusal) => {
                is_permanent_reason(refusal.reason)
            }
            Self::Resolve { .. }
            | Self::Io(_)
            | Self::Proxy(_)
            | Self::TimedOut
            | Self::ClosedByBroker
            | Self::Protocol(_)
            | Self::Authentication(_) => false,
        }
    }
}

/// Reasons after which nothing but other options can help.
const fn is_permanent_reason(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            | ReasonCode::CLIENT_IDENTIFIER_NOT_VALID
            | ReasonCode::BAD_USER_NAME_OR_PASSWORD
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::BANNED
            | ReasonCode::BAD_AUTHENTICATION_METHOD
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::RETAIN_NOT_SUPPORTED
            | ReasonCode::QOS_NOT_SUPPORTED
            | ReasonCode::SERVER_MOVED
    )
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => write!(f, "{error}"),
            Self::Resolve { host, source } => write!(f, "cannot find the host {host}: {source}"),
            Self::Io(error) => write!(f, "connection failed: {error}"),
            Self::Proxy(why) => write!(f, "the proxy does not let us through: {why}"),
            Self::Tls(failure) => failure.fmt(f),
            Self::WebSocket(failure) => failure.fmt(f),
            Self::TimedOut => f.write_str("the broker did not answer in time"),
            Self::ClosedByBroker => f.write_str("the broker closed the connection"),
            Self::Refused(refusal) => {
                write!(f, "the broker refuses the connection: {refusal}")?;
                f.write_str(advice(refusal.reason))
            }
            Self::Disconnected(refusal) => write!(f, "the broker disconnected: {refusal}"),
            Self::Protocol(why) => write!(f, "the broker broke the protocol: {why}"),
            Self::Authentication(why) => write!(f, "authentication failed: {why}"),
            Self::Queue(why) => write!(f, "the durable queue cannot be used: {why}"),
            Self::RuntimeEnded => f.write_str(
                "the task that drives the client is gone: its runtime was shut down, or a callback panicked",
            ),
            Self::Closed => f.write_str("the client has disconnected"),
        }
    }
}

/// What a person could try.
const fn advice(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => "; try Options::version(Version::V3_1_1)",
        ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED => {
            "; check user name and password"
        }
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "; try another client id",
        _ => "",
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Options(error) => Some(error),
            Self::Resolve { source, .. } | Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<OptionsError> for ConnectionError {
    fn from(error: OptionsError) -> Self {
        Self::Options(error)
    }
}

/// From an error of a [`Connection`](crate::net::Connection), with the reason that is inside.
impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::io(error)
    }
}

/// Why a message was not delivered, or may not have been.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// The message cannot be sent as it is, for this reason.
    Invalid(&'static str),
    /// The packet would be larger than the broker takes.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The broker's limit.
        bytes_max: usize,
    },
    /// The queue is full, and the options say to refuse instead of to wait.
    QueueFull,
    /// The queue was full, and this message had to give way to a newer one.
    Dropped,
    /// The message's life ended before it could be sent.
    Expired,
    /// The connection was lost with this message of QoS 0 on the way. Nobody can know whether it
    /// arrived.
    Lost,
    /// The broker has the message and does not take it.
    Refused(Refusal),
    /// The durable queue could not take the message, for this reason.
    Queue(String),
    /// The client has ended, by itself or by a call.
    Closed(Box<ConnectionError>),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::TooLarge { bytes, bytes_max } => write!(
                f,
                "the message makes a packet of {bytes} bytes, and the broker takes {bytes_max}"
            ),
            Self::QueueFull => f.write_str("the queue is full"),
            Self::Dropped => f.write_str("the queue was full and a newer message took the place"),
            Self::Expired => f.write_str("the message expired before it could be sent"),
            Self::Lost => f.write_str("the connection was lost with the message on the way"),
            Self::Refused(refusal) => write!(f, "the broker refuses the message: {refusal}"),
            Self::Queue(why) => write!(f, "the durable queue does not take the message: {why}"),
            Self::Closed(why) => write!(f, "the message was not sent: {why}"),
        }
    }
}

impl Error for PublishError {}

/// Why a subscription was not made, has ended, or was not taken back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No SUBSCRIBE can be made of this, for this reason.
    Invalid(&'static str),
    /// The broker does not grant this filter. Others of the same call were given up with it.
    Refused {
        /// The filter.
        filter: String,
        /// Why.
        refusal: Refusal,
    },
    /// The packet would be larger than the broker takes: name fewer filters in one call.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The broker's limit.
        bytes_max: usize,
    },
    /// The client has ended, by itself or by a call.
    Closed(Box<ConnectionError>),
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::Refused { filter, refusal } => {
                write!(
                    f,
                    "the broker refuses the subscription to {filter:?}: {refusal}"
                )
            }
            Self::TooLarge { bytes, bytes_max } => write!(
                f,
                "the filters make a packet of {bytes} bytes, and the broker takes {bytes_max}; name \
                 fewer in one call"
            ),
            Self::Closed(why) => write!(f, "not subscribed: {why}"),
        }
    }
}

impl Error for SubscribeError {}

/// Why a request has no response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not delivered.
    Publish(PublishError),
    /// Responses cannot be subscribed to.
    Subscribe(SubscribeError),
    /// No response came in time.
    TimedOut,
    /// MQTT 3.x has no response topics.
    NotInVersion,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(error) => write!(f, "{error}"),
            Self::Subscribe(error) => write!(f, "no response can come: {error}"),
            Self::TimedOut => f.write_str("no response came in time"),
            Self::NotInVersion => f.write_str("requests need MQTT 5.0"),
        }
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Publish(error) => Some(error),
            Self::Subscribe(error) => Some(error),
            Self::TimedOut | Self::NotInVersion => None,
        }
    }
}

/// What was still under way when the client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// How many messages of QoS 1 and 2, and how many of QoS 0 that had not been sent.
    pub messages: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages } = self;
        write!(
            f,
            "{messages} messages were not delivered before the time was up"
        )
    }
}

impl Error for Unfinished {}
