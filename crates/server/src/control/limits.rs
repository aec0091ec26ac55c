//! Limits that the control thread watches over, memory above all.

use std::io;
use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use midge_broker::{Limit, Time};
use midge_reactor::memory::{self, Resident};

use super::Control;
use crate::config::MemoryLimit;
use crate::log::Kind;
use crate::rates::Rates;
use crate::worker::Shared;

/// Memory is looked at before it could have grown by what is left, at most this fast, but within these.
const BYTES_PER_MS: u64 = 1_000_000;
const LOOK_MS_MIN: u64 = 100;
const LOOK_MS_MAX: u64 = 2_000;

/// How often the allocator is asked to give back what it keeps, while memory is short.
const GIVE_BACK_MS: u64 = 2_000;

/// How much memory there may be, and when to look at it.
#[derive(Debug, Default)]
pub(crate) struct MemoryWatch {
    /// Bytes; nothing for no limit.
    limit: Option<u64>,
    look_at_ms: Option<u64>,
    give_back_at_ms: u64,
    is_pressed: bool,
    /// Opened at the first look, which is after a daemon has forked.
    resident: Option<Resident>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressure {
    Begins,
    Goes,
}

impl MemoryWatch {
    /// When it is time to look.
    pub(super) const fn next_ms(&self) -> Option<u64> {
        self.look_at_ms
    }

    fn set(&mut self, limit: Option<u64>) {
        self.limit = limit;
        // Also without a limit: it is to be known how much there is.
        self.look_at_ms = Some(0);
    }

    /// Bytes in memory; `None` if the system does not say.
    ///
    /// # Errors
    /// Those for opening the system's account, which can pass.
    fn resident(&mut self) -> io::Result<Option<u64>> {
        let resident = match self.resident.take() {
            Some(resident) => resident,
            None => match Resident::open() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            },
        };
        Ok(self.resident.insert(resident).bytes())
    }

    /// Notes how much memory is resident. Pressure goes a twentieth below where it begins, so that it does
    /// not come and go with each message.
    fn note(&mut self, now: u64, resident: u64) -> Option<Pressure> {
        let limit = self.limit.unwrap_or(u64::MAX);
        let pause = limit.saturating_sub(resident) / BYTES_PER_MS;
        self.look_at_ms = Some(now + pause.clamp(LOOK_MS_MIN, LOOK_MS_MAX));
        if !self.is_pressed && resident > limit {
            self.is_pressed = true;
            return Some(Pressure::Begins);
        }
        if self.is_pressed && resident < limit - limit / 20 {
            self.is_pressed = false;
            return Some(Pressure::Goes);
        }
        None
    }
}

impl Shared {
    /// Whether an address may open a connection now.
    pub(crate) fn admits(&self, address: IpAddr, now_ms: u64) -> bool {
        let rates = self.address_rates.lock();
        let mut rates = rates.unwrap_or_else(PoisonError::into_inner);
        rates.admit(Duration::from_millis(now_ms), address.to_canonical())
    }
}

impl Control {
    /// Counts that a limit was reached, and tells the log now and then.
    pub(super) fn limit_reached(&self, limit: Limit, who: &str) {
        let now = Time(self.clock.now_ms());
        if let Some(count) = self.shared.limits.reached(limit, now) {
            self.logger.log(Kind::Notice, limit.line(who, count));
        }
    }

    /// Lets the limits of the configuration hold.
    pub(crate) fn apply_limits(&mut self) {
        let general = &self.config.general;
        let mut listeners = self.config.listeners.iter();
        let has_rates = listeners.any(|listener| Rates::are_set(&listener.settings));
        self.shared.has_rates.store(has_rates, Relaxed);
        self.shared
            .address_rates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .set(
                general.max_connect_rate_per_address,
                general.auth_fail_exempt.clone(),
            );
        self.memory.set(match general.memory_limit {
            MemoryLimit::None => None,
            MemoryLimit::Bytes(bytes) => Some(bytes.get()),
            MemoryLimit::Automatic => memory::available().map(|bytes| bytes / 5 * 4),
        });
    }

    /// Looks at memory, if it is time.
    pub(super) fn watch_memory(&mut self) {
        let now = self.clock.now_ms();
        if self.memory.look_at_ms.is_none_or(|at| now < at) {
            return;
        }
        let mut resident = match self.memory.resident() {
            Ok(Some(resident)) => resident,
            Ok(None) => {
                if self.memory.limit.is_some() {
                    let text = "Warning: memory_limit has no effect: this system does not tell how much \
                                memory a process has.";
                    self.logger.log(Kind::Warning, text);
                }
                self.memory.look_at_ms = None;
                return;
            }
            // There may be descriptors again.
            Err(_) => {
                self.memory.look_at_ms = Some(now + LOOK_MS_MAX);
                return;
            }
        };
        let limit = self.memory.limit.unwrap_or(u64::MAX);
        if resident > limit - limit / 20 && now >= self.memory.give_back_at_ms {
            self.memory.give_back_at_ms = now + GIVE_BACK_MS;
            memory::give_back();
            if let Ok(Some(less)) = self.memory.resident() {
                resident = less;
            }
        }
        self.shared.limits.set_resident(resident);
        let (kind, text) = match self.memory.note(now, resident) {
            None => return,
            Some(Pressure::Begins) => (
                Kind::Warning,
                format!(
                    "Warning: memory is short: {resident} bytes are in use, more than memory_limit \
                     ({limit}). New sessions, subscriptions and messages are refused until there is room."
                ),
            ),
            Some(Pressure::Goes) => (
                Kind::Notice,
                format!(
                    "There is memory again ({resident} bytes are in use): nothing is refused any more."
                ),
            ),
        };
        self.shared.limits.set_pressed(self.memory.is_pressed);
        self.logger.log(kind, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_begins_above_the_limit_and_goes_well_below_it() {
        let mut watch = MemoryWatch::default();
        watch.set(Some(1_000));
        assert_eq!(watch.note(0, 1_000), None);
        assert_eq!(watch.note(0, 1_001), Some(Pressure::Begins));
        assert_eq!(watch.note(0, 2_000), None);
        assert_eq!(watch.note(0, 951), None);
        assert_eq!(watch.note(0, 949), Some(Pressure::Goes));
        assert_eq!(watch.note(0, 949), None);
    }

    #[test]
    fn memory_is_looked_at_seldom_while_there_is_much() {
        let mut watch = MemoryWatch::default();
        watch.set(Some(10_000_000_000));
        assert_eq!(watch.next_ms(), Some(0));
        watch.note(0, 100);
        assert_eq!(watch.next_ms(), Some(LOOK_MS_MAX));
        watch.note(0, 9_000_000_000);
        assert_eq!(watch.next_ms(), Some(1_000));
        watch.note(0, 11_000_000_000);
        assert_eq!(watch.next_ms(), Some(LOOK_MS_MIN));
        watch.set(None);
        assert_eq!(watch.note(0, u64::MAX), None);
    }

    #[test]
    fn a_limit_that_is_lifted_lets_pressure_go() {
        let mut watch = MemoryWatch::default();
        watch.set(Some(10));
        watch.note(0, 11);
        watch.set(None);
        assert_eq!(watch.note(0, 11), Some(Pressure::Goes));
    }
}
