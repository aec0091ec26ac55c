//! Exact accounts: which messages came once, never, twice, late or to the wrong place.

use std::collections::BTreeMap;

use midge_codec::QoS;

use super::plan::{Pace, Plan};

/// What went wrong, and how much went right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Messages published.
    pub(crate) sent: u64,
    /// Deliveries, the repeated ones included.
    pub(crate) received: u64,
    /// Deliveries that never came.
    pub(crate) lost: u64,
    /// Deliveries of what this subscriber had before.
    pub(crate) duplicates: u64,
    /// Deliveries after a later message of the same publisher.
    pub(crate) disordered: u64,
    /// Deliveries of what nobody sent, or sent elsewhere.
    pub(crate) misrouted: u64,
    /// Publishes that the broker never acknowledged.
    pub(crate) unacknowledged: u64,
    /// Acknowledgements of something else than was due, or with a failure.
    pub(crate) bad_acks: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.disordered += other.disordered;
        self.misrouted += other.misrouted;
        self.unacknowledged += other.unacknowledged;
        self.bad_acks += other.bad_acks;
    }

    /// Whether the broker broke a promise. QoS 0 promises nothing, but in a closed loop no broker
    /// has a reason to drop.
    pub(crate) fn is_faulty(&self, plan: &Plan) -> bool {
        let promised = plan.qos > QoS::AtMostOnce || matches!(plan.pace, Pace::Closed { .. });
        // Shared subscriptions promise no order [MQTT5-4.6.0-6].
        let ordered = !plan.is_shared();
        // QoS 1 may repeat, but not on connections that were never cut.
        promised && self.lost > 0
            || self.duplicates > 0
            || ordered && self.disordered > 0
            || self.misrouted > 0
            || self.unacknowledged > 0
            || self.bad_acks > 0
    }
}

/// What a received sequence number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// The next one, or one further on; what was skipped is missing for now.
    Forward,
    /// One that was missing.
    Late,
    /// One that had come before.
    Duplicate,
}

/// The messages of one publisher at one subscriber that should get all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    next: u64,
    /// Gaps as start and end (exclusive), below `next`.
    missing: BTreeMap<u64, u64>,
}

impl Flow {
    /// One more than the highest sequence number seen.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Enters a message.
    pub(crate) fn receive(&mut self, sequence: u64) -> Receipt {
        if sequence >= self.next {
            if sequence > self.next {
                self.missing.insert(self.next, sequence);
            }
            self.next = sequence.saturating_add(1);
            return Receipt::Forward;
        }
        let gap = self.missing.range(..=sequence).next_back();
        let Some((&start, &end)) = gap.filter(|(_, end)| sequence < **end) else {
            return Receipt::Duplicate;
        };
        self.missing.remove(&start);
        if start < sequence {
            self.missing.insert(start, sequence);
        }
        if sequence + 1 < end {
            self.missing.insert(sequence + 1, end);
        }
        Receipt::Late
    }

    /// How many of the first `sent` messages never came.
    pub(crate) fn lost(&self, sent: u64) -> u64 {
        let gaps: u64 = self.missing.iter().map(|(start, end)| end - start).sum();
        gaps + sent.saturating_sub(self.next)
    }
}

/// A bit for each message of one publisher: which came to anyone. One such per thread; they are
/// joined at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    words: Vec<u64>,
}

impl Seen {
    /// Enters a message, whose number the caller knows to be one that was sent; whether it is new.
    pub(crate) fn insert(&mut self, sequence: u64) -> bool {
        let Ok(index) = usize::try_from(sequence / 64) else {
            return false;
        };
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let bit = 1 << (sequence % 64);
        match self.words.get_mut(index) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    /// Takes in what another thread saw; how many messages both saw.
    pub(crate) fn join(&mut self, other: &Self) -> u64 {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        let mut both = 0;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            both += u64::from((*word & other).count_ones());
            *word |= other;
        }
        both
    }

    /// How many messages came.
    pub(crate) fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_order_leave_nothing_missing() {
        let mut flow = Flow::default();
        for sequence in 0..100 {
            assert_eq!(flow.receive(sequence), Receipt::Forward);
        }
        assert_eq!(flow.lost(100), 0);
        assert_eq!(flow.lost(103), 3);
    }

    #[test]
    fn a_gap_is_lost_until_its_messages_come_late() {
        let mut flow = Flow::default();
        flow.receive(0);
        assert_eq!(flow.receive(5), Receipt::Forward);
        assert_eq!(flow.lost(6), 4);
        assert_eq!(flow.receive(3), Receipt::Late);
        assert_eq!(flow.receive(3), Receipt::Duplicate);
        assert_eq!(flow.lost(6), 3);
        for sequence in [1, 4, 2] {
            assert_eq!(flow.receive(sequence), Receipt::Late);
        }
        assert_eq!(flow.lost(6), 0);
        assert!(flow.missing.is_empty());
    }

    #[test]
    fn what_came_before_is_a_duplicate() {
        let mut flow = Flow::default();
        flow.receive(0);
        flow.receive(1);
        assert_eq!(flow.receive(0), Receipt::Duplicate);
        assert_eq!(flow.receive(1), Receipt::Duplicate);
        assert_eq!(flow.next(), 2);
    }

    #[test]
    fn flows_agree_with_a_plain_set_in_any_order() {
        // A multiplicative walk visits 0..97 in a scattered order, some of them twice.
        let mut flow = Flow::default();
        let mut seen = std::collections::BTreeSet::new();
        for step in 0..150_u64 {
            let sequence = step * 31 % 97;
            let new = seen.insert(sequence);
            assert_eq!(flow.receive(sequence) != Receipt::Duplicate, new);
            let sent = seen.last().unwrap() + 1;
            assert_eq!(flow.lost(sent), sent - seen.len() as u64);
        }
    }

    #[test]
    fn threads_join_what_they_saw() {
        let mut one = Seen::default();
        let mut two = Seen::default();
        assert!(one.insert(0));
        assert!(one.insert(200));
        assert!(!one.insert(200));
        assert!(two.insert(64));
        assert!(two.insert(200));
        assert_eq!(two.join(&one), 1);
        assert_eq!(two.count(), 3);
    }
}
