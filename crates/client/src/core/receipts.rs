//! Acknowledgements that are owed, in the order in which the messages came.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use midge_codec::QoS;

/// What is owed to the broker. A message is acknowledged when everybody who got it is done with it and
/// all before it are (`[MQTT5-4.6.0-2]`, `[MQTT5-4.6.0-3]`).
#[derive(Debug, Default)]
pub(super) struct Receipts {
    last: u64,
    /// Messages of the present connection.
    due: VecDeque<Owed>,
    /// Messages of earlier connections that the application still has. The broker sends them again, and
    /// then only their acknowledgement is missing.
    carried: Vec<Owed>,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    sequence: u64,
    id: NonZeroU16,
    qos: QoS,
    /// How many have it and are not done.
    holders: usize,
}

impl Receipts {
    /// The number that the next message will have.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.last + 1
    }

    /// A message was handed to `holders`.
    pub(super) fn add(&mut self, id: NonZeroU16, qos: QoS, holders: usize) {
        // The broker has given the identifier to another message, so the old one does not come again.
        self.carried.retain(|owed| owed.id != id || owed.qos != qos);
        self.last += 1;
        self.due.push_back(Owed {
            sequence: self.last,
            id,
            qos,
            holders,
        });
    }

    /// How many messages of the present connection are not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// One who had the message is done with it.
    pub(super) fn done(&mut self, sequence: u64) {
        if let Some(owed) = self.find(sequence) {
            owed.holders = owed.holders.saturating_sub(1);
        }
    }

    fn find(&mut self, sequence: u64) -> Option<&mut Owed> {
        let first = self.due.front().map_or(0, |owed| owed.sequence);
        let guess = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
        // Numbers run without holes, but for messages that were carried over.
        let at = match self.due.get(guess) {
            Some(owed) if owed.sequence == sequence => Some(guess),
            _ => self.due.iter().position(|owed| owed.sequence == sequence),
        };
        match at {
            Some(at) => self.due.get_mut(at),
            None => self
                .carried
                .iter_mut()
                .find(|owed| owed.sequence == sequence),
        }
    }

    /// The next acknowledgement that may leave.
    pub(super) fn next_due(&mut self) -> Option<(NonZeroU16, QoS)> {
        let first = self.due.front().filter(|owed| owed.holders == 0)?;
        let due = (first.id, first.qos);
        self.due.pop_front();
        Some(due)
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.carried.extend(self.due.drain(..));
    }

    /// The broker has forgotten what it sent.
    pub(super) fn session_lost(&mut self) {
        self.carried.clear();
    }

    /// The broker sends a message again. Whether it has been handed out, so that only its
    /// acknowledgement is missing.
    pub(super) fn carry_on(&mut self, id: NonZeroU16, qos: QoS) -> bool {
        let known = |owed: &Owed| owed.id == id && owed.qos == qos;
        let Some(at) = self.carried.iter().position(known) else {
            return false;
        };
        let owed = self.carried.swap_remove(at);
        self.due.push_back(owed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_that_was_given_to_another_message_is_not_taken_for_the_old_one() {
        let qos = QoS::AtLeastOnce;
        let id = NonZeroU16::MIN;
        let mut receipts = Receipts::default();
        receipts.add(id, qos, 1);
        receipts.disconnected();
        receipts.add(id, qos, 1);
        receipts.disconnected();
        assert!(receipts.carry_on(id, qos));
        receipts.done(1);
        assert_eq!(receipts.next_due(), None);
        receipts.done(2);
        assert_eq!(receipts.next_due(), Some((id, qos)));
        assert!(!receipts.carry_on(id, qos));
    }
}
