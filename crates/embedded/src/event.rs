//! What there is to know.

use midge_codec::{Publish, ReasonCode};

use crate::PacketId;

/// What [`Client::next`](crate::Client::next) found. Borrows from the receive buffer: copy what is needed
/// longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message. QoS 1 and 2 are acknowledged by the following call of `next`, which says that the
    /// application has dealt with it.
    Message(Publish<'a>),
    /// A message that was published with QoS 1 or 2 has been delivered, or refused: see
    /// [`ReasonCode::is_failure`].
    Delivered {
        /// What publishing it returned.
        id: PacketId,
        /// What the broker says; or why this broker would not take it, where an earlier connection began the
        /// delivery: 0x95, 0x9A or 0x9B.
        reason: ReasonCode,
    },
    /// The answer to a subscription.
    Subscribed {
        /// What subscribing returned.
        id: PacketId,
        /// For each filter in order, the QoS that is granted, or a failure (0x80 and above).
        codes: &'a [u8],
    },
    /// The answer to the end of a subscription.
    Unsubscribed {
        /// What unsubscribing returned.
        id: PacketId,
        /// For each filter in order, a reason code. 3.x has none.
        codes: &'a [u8],
    },
    /// The session has to be saved before the next call, which acknowledges what has changed it. Only with
    /// [`With::session_saved`](crate::With::session_saved).
    SessionChanged,
    /// The exchange that [`Client::authenticate`](crate::Client::authenticate) began is over, and the broker is
    /// content.
    Authenticated,
}
