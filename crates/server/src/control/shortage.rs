//! Want of descriptors: when to try again, and what the log is told.

/// How long to wait for descriptors before trying again.
const RETRY_MS: u64 = 100;

/// How long connections have to be accepted, and at least one, until a shortage is over. Clients come and go, and files are
/// opened and closed: at the limit, each of that would be a line that it ends and one that it begins.
const CALM_MS: u64 = 5_000;

/// Whether descriptors for connections are short.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    /// When they were short last, while the shortage lasts.
    last_ms: Option<u64>,
    /// A connection was accepted since.
    has_accepted: bool,
    /// Connections closed at once since it began.
    turned_away: usize,
}

impl Shortage {
    /// Notes that there were no descriptors; tells whether a shortage begins with it.
    pub(super) fn note(&mut self, now: u64, turned_away: usize) -> bool {
        self.turned_away += turned_away;
        self.has_accepted = false;
        self.last_ms.replace(now).is_none()
    }

    /// Notes that a connection was accepted, and none turned away after it. That nobody comes does not show that there
    /// are descriptors.
    pub(super) const fn note_accepted(&mut self) {
        self.has_accepted = true;
    }

    /// Ends it if its time has come; gives how many connections were closed at once.
    pub(super) fn end(&mut self, now: u64) -> Option<usize> {
        if now < self.ends_ms()? {
            return None;
        }
        self.last_ms = None;
        Some(std::mem::take(&mut self.turned_away))
    }

    /// When it is over, if a connection was accepted and descriptors are not short again before.
    pub(super) fn ends_ms(&self) -> Option<u64> {
        let last = self.last_ms.filter(|_| self.has_accepted)?;
        Some(last + CALM_MS)
    }

    /// When to accept again.
    pub(super) fn retry_ms(&self) -> u64 {
        self.last_ms.map_or(0, |last| last + RETRY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_begins_once_however_often_a_connection_gets_in() {
        let mut shortage = Shortage::default();
        assert_eq!((shortage.retry_ms(), shortage.ends_ms()), (0, None));
        assert!(shortage.note(1_000, 2));
        assert_eq!(shortage.retry_ms(), 1_100);
        // Between these, connections are accepted.
        for now in [1_100, 3_000, 7_999] {
            shortage.note_accepted();
            assert_eq!(shortage.end(now - 1), None);
            assert!(!shortage.note(now, 1));
        }
        shortage.note_accepted();
        assert_eq!(shortage.ends_ms(), Some(12_999));
        assert_eq!(shortage.end(12_998), None);
        assert_eq!(shortage.end(12_999), Some(5));
        assert_eq!((shortage.end(20_000), shortage.retry_ms()), (None, 0));
        assert!(shortage.note(20_000, 0), "another one");
        shortage.note_accepted();
        assert_eq!(shortage.end(25_000), Some(0));
    }

    #[test]
    fn a_shortage_lasts_as_long_as_nobody_gets_in() {
        let mut shortage = Shortage::default();
        shortage.note_accepted();
        assert!(shortage.note(1_000, 1));
        assert_eq!((shortage.end(60_000), shortage.ends_ms()), (None, None));
        assert!(!shortage.note(60_000, 1));
        assert_eq!(shortage.end(120_000), None);
        shortage.note_accepted();
        assert_eq!(shortage.end(120_000), Some(2));
    }
}
