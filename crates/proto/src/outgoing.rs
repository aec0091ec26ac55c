//! Messages of QoS 1 and 2 that were sent and are not finished.

mod window;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::num::NonZeroU16;

use midge_codec::{AckKind, QoS};

use window::Window;

/// The window of one session: what was sent with a packet identifier and waits for the peer.
///
/// Survives the connection. Costs a word until the first message, since most sessions never get one.
/// Order is kept: what is sent again after a reconnect goes out as it went out first
/// (`[MQTT5-4.6.0-1]`, `[MQTT311-4.6.0-1]`).
#[derive(Debug)]
pub struct Outgoing<M>(Option<Box<Window<M>>>);

/// What an acknowledgement meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Acked<M> {
    /// The delivery is over, and the window has room again. The message, unless PUBREC freed it before.
    Finished(Option<M>),
    /// PUBREC: PUBREL is due `[MQTT5-4.3.3-4]`. The message, the first time.
    Release(Option<M>),
    /// No delivery has this identifier.
    Unknown,
    /// The delivery with this identifier awaits another packet.
    Mismatch,
}

/// What is to be sent again.
#[derive(Debug, PartialEq, Eq)]
pub enum Resend<'a, M> {
    /// The PUBLISH, with DUP (`[MQTT5-3.3.1-1]`).
    Publish(NonZeroU16, QoS, &'a M),
    /// The PUBREL.
    PubRel(NonZeroU16),
}

impl<M> Default for Outgoing<M> {
    fn default() -> Self {
        Self(None)
    }
}

impl<M> Outgoing<M> {
    fn window(&mut self) -> &mut Window<M> {
        self.0.get_or_insert_default()
    }

    /// How many deliveries are unfinished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |window| window.len())
    }

    /// Whether all are finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is due again.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
        self.0.as_ref().is_none_or(|window| window.is_all_sent())
    }

    /// Whether the peer's receive maximum lets another PUBLISH go (`[MQTT5-4.9.0-2]`), everything due
    /// again has been sent, and an identifier is free.
    #[must_use]
    pub fn has_room(&self, receive_maximum: u16) -> bool {
        match &self.0 {
            Some(window) => window.has_room(receive_maximum),
            None => receive_maximum > 0,
        }
    }

    /// Takes a message into the window and gives it a packet identifier that is not in use
    /// (`[MQTT5-2.2.1-4]`, `[MQTT311-2.3.1-4]`). The caller sends it at once, with QoS 1 or 2, and only
    /// while [`Self::has_room`].
    ///
    /// # Errors
    /// The message back, when all 65,535 identifiers are in use.
    pub fn push(&mut self, qos: QoS, message: M) -> Result<NonZeroU16, M> {
        self.window().push(qos, message)
    }

    /// Takes a message into the window as [`Self::push`] does, but holds it: the caller sends it when
    /// [`Self::let_go`] gives it back, e.g. when its packet identifier is on the disk.
    ///
    /// # Errors
    /// The message back, when all 65,535 identifiers are in use.
    pub fn push_held(&mut self, qos: QoS, message: M) -> Result<NonZeroU16, M> {
        self.window().push_held(qos, message)
    }

    /// Ends the hold of a message, which is then to be sent for the first time. `None`: it is not held
    /// any more.
    pub fn let_go(&mut self, id: NonZeroU16) -> Option<&M> {
        self.0.as_mut()?.let_go(id)
    }

    /// Whether a message is held, so that one which is sent now would overtake it.
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.0.as_ref().is_some_and(|window| window.has_held())
    }

    /// Puts back a delivery that an earlier run of the program had begun, in the order of sending. It is
    /// due again on the next connection. `released`: PUBREC has come, so PUBREL is what is due.
    ///
    /// Only for a window that nothing has been pushed to; an identifier that is there already is
    /// refused.
    ///
    /// # Errors
    /// The message back.
    pub fn restore(
        &mut self,
        id: NonZeroU16,
        qos: QoS,
        released: bool,
        message: Option<M>,
    ) -> Result<(), Option<M>> {
        self.window().restore(id, qos, released, message)
    }

    /// Takes a PUBACK for the oldest delivery, if that is of QoS 1 and nothing is special about the window:
    /// what nearly all acknowledgements are. `None`: [`Self::acknowledge`] is to look at it.
    #[inline]
    pub fn finish_oldest(&mut self, id: NonZeroU16) -> Option<M> {
        self.0.as_mut()?.finish_oldest(id)
    }

    /// Takes an acknowledgement. `refused`: its reason code is a failure, after which a PUBREC ends
    /// the delivery `[MQTT5-4.4.0-2]`.
    pub fn acknowledge(&mut self, kind: AckKind, id: NonZeroU16, refused: bool) -> Acked<M> {
        match &mut self.0 {
            Some(window) => window.acknowledge(kind, id, refused),
            None => Acked::Unknown,
        }
    }

    /// The connection is gone: everything unfinished is due again on the next one.
    pub fn disconnected(&mut self) {
        if let Some(window) = &mut self.0 {
            window.disconnected();
        }
    }

    /// What is to be sent again next on a new connection, in the original order
    /// (`[MQTT5-4.4.0-1]`, `[MQTT311-4.4.0-1]`). `None`: nothing, or the receive maximum of the new
    /// connection is used up for now.
    pub fn next_resend(&mut self, receive_maximum: u16) -> Option<Resend<'_, M>> {
        self.0.as_mut()?.next_resend(receive_maximum)
    }

    /// The message that was taken into the window last, until it is acknowledged.
    #[must_use]
    pub fn last(&self) -> Option<&M> {
        self.0.as_ref()?.last()
    }

    /// The unfinished deliveries in order: identifier and message, which PUBREC frees.
    pub fn iter(&self) -> impl Iterator<Item = (NonZeroU16, Option<&M>)> {
        self.0.iter().flat_map(|window| window.iter())
    }

    /// Takes out the unfinished QoS 1 messages that `choose` wants, e.g. to give them to another member
    /// of a shared subscription. Only between connections.
    pub fn take_unacknowledged(&mut self, choose: impl FnMut(&M) -> bool) -> VecDeque<M> {
        match &mut self.0 {
            Some(window) => window.take_unacknowledged(choose),
            None => VecDeque::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_without_messages_costs_a_word() {
        assert_eq!(size_of::<Outgoing<[u64; 8]>>(), size_of::<usize>());
        let mut outgoing = Outgoing::<u8>::default();
        let id = NonZeroU16::MIN;
        outgoing.disconnected();
        assert_eq!(outgoing.next_resend(10), None);
        assert_eq!(outgoing.let_go(id), None);
        assert_eq!(outgoing.last(), None);
        assert_eq!(
            outgoing.acknowledge(AckKind::PubAck, id, false),
            Acked::Unknown
        );
        assert!(outgoing.take_unacknowledged(|_| true).is_empty());
        assert!(outgoing.is_empty() && !outgoing.has_held());
        assert!(outgoing.has_room(1) && !outgoing.has_room(0));
        assert!(outgoing.0.is_none());
    }

    #[test]
    fn the_first_message_makes_the_window() {
        let mut outgoing = Outgoing::default();
        let id = outgoing.push(QoS::AtLeastOnce, 'a').unwrap();
        assert_eq!((outgoing.len(), outgoing.last()), (1, Some(&'a')));
        assert!(!outgoing.has_room(1));
        let acked = outgoing.acknowledge(AckKind::PubAck, id, false);
        assert_eq!(acked, Acked::Finished(Some('a')));
        assert_eq!(outgoing.iter().count(), 0);
    }

    #[test]
    fn only_the_oldest_delivery_finishes_the_quick_way() {
        let mut outgoing = Outgoing::default();
        let ids: alloc::vec::Vec<_> = "abcd"
            .chars()
            .map(|message| {
                let qos = if message == 'd' {
                    QoS::ExactlyOnce
                } else {
                    QoS::AtLeastOnce
                };
                outgoing.push(qos, message).unwrap()
            })
            .collect();
        let [a, b, c, d] = ids[..] else { panic!() };
        assert_eq!(outgoing.finish_oldest(b), None);
        let acked = outgoing.acknowledge(AckKind::PubAck, b, false);
        assert_eq!(acked, Acked::Finished(Some('b')));
        // The gap behind it goes, too.
        assert_eq!(outgoing.finish_oldest(a), Some('a'));
        assert_eq!(outgoing.finish_oldest(a), None);
        assert_eq!((outgoing.len(), outgoing.is_all_sent()), (2, true));
        outgoing.disconnected();
        assert_eq!(outgoing.finish_oldest(c), None, "it is due again");
        assert!(outgoing.next_resend(10).is_some() && outgoing.next_resend(10).is_some());
        assert_eq!(outgoing.finish_oldest(c), Some('c'));
        assert_eq!(outgoing.finish_oldest(d), None, "it awaits PUBREC");
        assert_eq!(outgoing.len(), 1);
    }
}
