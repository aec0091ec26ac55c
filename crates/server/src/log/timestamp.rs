//! The time before each line.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local};

use super::settings::Timestamp;

impl Timestamp {
    /// Writes the time and what separates it from the line.
    pub(super) fn write(&self, time: SystemTime, out: &mut String) {
        if *self != Self::None {
            self.write_bare(time, out);
            out.push_str(": ");
        }
    }

    /// Writes the time alone.
    pub(super) fn write_bare(&self, time: SystemTime, out: &mut String) {
        // The clock of a machine may be wrong; before 1970 it counts as 1970.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        match self {
            Self::None => {}
            Self::UnixSeconds => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{}", since.as_secs());
            }
            Self::Format(format) => {
                let start = out.len();
                let local = i64::try_from(since.as_secs())
                    .ok()
                    .and_then(|secs| DateTime::from_timestamp(secs, since.subsec_nanos()))
                    .map(|time| time.with_timezone(&Local));
                let written = match local {
                    Some(time) => write!(out, "{}", time.format(format)),
                    None => Err(std::fmt::Error),
                };
                if written.is_err() {
                    out.truncate(start);
                    out.push_str("Time error");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(timestamp: &Timestamp, secs: u64, expected: &str) {
        let mut out = String::new();
        timestamp.write(UNIX_EPOCH + Duration::from_secs(secs), &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn unix_seconds_stand_before_the_line_as_in_mosquitto() {
        check(&Timestamp::UnixSeconds, 1_700_000_000, "1700000000: ");
        check(&Timestamp::UnixSeconds, 0, "0: ");
        check(&Timestamp::None, 1_700_000_000, "");
    }

    #[test]
    fn a_format_is_that_of_strftime() {
        // Midday keeps the date the same in most of the world's time zones.
        check(&Timestamp::Format("%Y".to_owned()), 1_700_000_000, "2023: ");
        check(
            &Timestamp::Format("on %%".to_owned()),
            1_700_000_000,
            "on %: ",
        );
        check(&Timestamp::Format(String::new()), 1_700_000_000, ": ");
    }

    #[test]
    fn a_format_or_time_that_cannot_be_written_is_said_to_be_wrong() {
        check(
            &Timestamp::Format("%Q".to_owned()),
            1_700_000_000,
            "Time error: ",
        );
        check(&Timestamp::Format("%Y".to_owned()), 1 << 60, "Time error: ");
    }

    #[test]
    fn a_clock_before_1970_is_not_fatal() {
        let mut out = String::new();
        let before = UNIX_EPOCH - Duration::from_secs(1);
        Timestamp::UnixSeconds.write(before, &mut out);
        assert_eq!(out, "0: ");
    }
}
