//! How many connections an address may open per second.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::lockout::{Network, Prefix, Table, Worth};

/// As many addresses are remembered. Who has not come for a second needs not be, so that the others among
/// them have to come that fast.
pub const ADDRESSES_MAX: usize = 65_536;

/// What an address has saved up at most, as time.
const BURST: Duration = Duration::from_secs(1);

/// Limits each address, or /64 network of IPv6, to so many connections per second, with bursts of up to one
/// second's worth. Time is the caller's and never goes back.
pub struct AddressRates {
    rate: Option<NonZeroU32>,
    exempt: Vec<Network>,
    /// When each address is even again: what it may open is measured by how long ago that is.
    due: Table<Prefix, Duration>,
}

impl Default for AddressRates {
    fn default() -> Self {
        Self {
            rate: None,
            exempt: Vec::new(),
            due: Table::new(ADDRESSES_MAX),
        }
    }
}

impl AddressRates {
    /// Takes another rate, and addresses that it does not hold for; no rate for no limit.
    pub fn set(&mut self, rate: Option<NonZeroU32>, exempt: Vec<Network>) {
        if rate.is_none() {
            self.due = Table::new(ADDRESSES_MAX);
        }
        self.rate = rate;
        self.exempt = exempt;
    }

    /// Whether an address may open a connection now. One that may not costs it nothing.
    pub fn admit(&mut self, now: Duration, address: IpAddr) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        if self.exempt.iter().any(|network| network.contains(address)) {
            return true;
        }
        // A second after zero, so that a new address has its burst.
        let now = now.saturating_add(BURST);
        let is_even = |due: &Duration| {
            if due.saturating_add(BURST) <= now {
                Worth::Nothing
            } else {
                Worth::Something
            }
        };
        let due = self.due.entry(Prefix::of(address), is_even);
        let next = (*due).max(now.saturating_sub(BURST)) + BURST / rate.get();
        let is_admitted = next <= now;
        if is_admitted {
            *due = next;
        }
        is_admitted
    }

    /// How many addresses are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(rate: u32) -> AddressRates {
        let mut rates = AddressRates::default();
        rates.set(NonZeroU32::new(rate), Network::LOOPBACK.to_vec());
        rates
    }

    fn admitted(rates: &mut AddressRates, ms: u64, address: &str, tries: usize) -> usize {
        let (now, address) = (Duration::from_millis(ms), address.parse().unwrap());
        (0..tries).filter(|_| rates.admit(now, address)).count()
    }

    #[test]
    fn an_address_has_a_second_s_worth_at_once_and_then_its_rate() {
        let mut rates = rates(5);
        assert_eq!(admitted(&mut rates, 0, "192.0.2.1", 100), 5);
        assert_eq!(admitted(&mut rates, 199, "192.0.2.1", 100), 0);
        assert_eq!(admitted(&mut rates, 200, "192.0.2.1", 100), 1);
        assert_eq!(admitted(&mut rates, 1_000, "192.0.2.1", 100), 4);
        assert_eq!(admitted(&mut rates, 60_000, "192.0.2.1", 100), 5);
        assert_eq!(admitted(&mut rates, 60_000, "192.0.2.2", 100), 5);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_exempt_addresses_not_at_all() {
        let mut rates = rates(2);
        assert_eq!(admitted(&mut rates, 0, "2001:db8::1", 2), 2);
        assert_eq!(admitted(&mut rates, 0, "2001:db8::2", 1), 0);
        assert_eq!(admitted(&mut rates, 0, "2001:db8:0:1::1", 3), 2);
        assert_eq!(admitted(&mut rates, 0, "127.0.0.1", 50), 50);
        assert_eq!(admitted(&mut rates, 0, "::ffff:127.0.0.1", 50), 50);
    }

    #[test]
    fn memory_has_a_bound_and_no_limit_remembers_nobody() {
        let mut rates = rates(1);
        for number in 0..(ADDRESSES_MAX as u32 + 1_000) {
            let address = std::net::Ipv4Addr::from_bits(0x0A00_0000 + number);
            rates.admit(Duration::ZERO, address.into());
        }
        assert_eq!(rates.remembered(), ADDRESSES_MAX);
        rates.set(None, Vec::new());
        assert!(rates.admit(Duration::ZERO, "192.0.2.1".parse().unwrap()));
        assert_eq!(rates.remembered(), 0);
    }
}
