//! Networks, as `192.0.2.0/24`.

use std::net::IpAddr;

/// An address, or all that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// Bits before an IPv4 address within IPv6.
const MAPPED_BITS: u32 = 96;

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    /// Reads an address with or without a length of its prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (before, most) = if address.is_ipv4() {
            (MAPPED_BITS, 32)
        } else {
            (0, 128)
        };
        let length = match length {
            Some(length) => length.parse().ok().filter(|length| *length <= most)?,
            None => most,
        };
        let mask = u128::MAX.checked_shl(128 - before - length).unwrap_or(0);
        Some(Self {
            address: bits(address) & mask,
            mask,
        })
    }

    /// Whether an address is in it.
    pub fn has(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network = Network::parse(network).unwrap();
        assert_eq!(network.has(address.parse().unwrap()), inside);
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.77/24", "192.0.3.1", false);
        check("192.0.2.0/24", "::ffff:192.0.2.9", true);
        check("0.0.0.0/0", "203.0.113.5", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:1::7", true);
        check("2001:db8::/32", "2001:db9::7", false);
        check("::/0", "192.0.2.1", true);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "host",
            "192.0.2.0/33",
            "::1/129",
            "192.0.2.0/",
            "192.0.2.0/-1",
            "1/2/3",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
