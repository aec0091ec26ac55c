//! What can go wrong.

use ::core::fmt;

use midge_codec::{EncodeError, ReasonCode};
use midge_proto::Fault;

/// Why something cannot be sent. The connection is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueError {
    /// The buffer is full for now: of QoS 0 until [`Client::flush`](crate::Client::flush), of QoS 1 and 2
    /// until messages are acknowledged, which [`Client::next`](crate::Client::next) tells.
    Full,
    /// It would not fit into the empty buffer, or is larger than the broker takes.
    TooLarge,
    /// It cannot be sent as it is, for this reason.
    Invalid(&'static str),
}

/// Why there is no connection, or none any more. After any of these but [`Error::Queue`], drop the client
/// and connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The transport failed.
    Transport(E),
    /// The broker has closed the connection.
    Closed,
    /// The broker does not answer.
    TimedOut,
    /// The broker refuses the connection.
    Refused(ReasonCode),
    /// The broker has ended the connection, for this reason (5.0).
    Disconnected(ReasonCode),
    /// The broker broke the protocol, or sent more than the receive buffer holds
    /// ([`ReasonCode::PACKET_TOO_LARGE`]) or more messages of QoS 2 than the session keeps
    /// ([`ReasonCode::RECEIVE_MAXIMUM_EXCEEDED`]).
    Protocol(Fault),
    /// What was to be sent cannot be. The connection is as it was.
    Queue(QueueError),
}

impl<E> From<QueueError> for Error<E> {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl From<EncodeError> for QueueError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::BufferTooSmall => Self::Full,
            EncodeError::FieldTooLong => Self::Invalid("a field has over 65,535 bytes"),
            _ => Self::TooLarge,
        }
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the buffer is full",
            Self::TooLarge => "the packet is larger than the buffer, or than the broker takes",
            Self::Invalid(why) => why,
        })
    }
}

impl ::core::error::Error for QueueError {}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "the transport failed: {error:?}"),
            Self::Closed => f.write_str("the broker closed the connection"),
            Self::TimedOut => f.write_str("the broker does not answer"),
            Self::Refused(reason) => write!(f, "the broker refuses the connection: {reason}"),
            Self::Disconnected(reason) => write!(f, "the broker disconnected: {reason}"),
            Self::Protocol(fault) => write!(f, "the broker broke the protocol: {fault}"),
            Self::Queue(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}
