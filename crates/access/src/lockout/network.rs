//! Addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The part of an IPv6 address that counts, in bits.
const PREFIX_BITS: u8 = 64;

/// An address, or all addresses that begin with the same bits: `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// With zeros behind the prefix.
    address: IpAddr,
    bits: u8,
}

/// What is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crate::lines::shown(&self.0);
        write!(
            out,
            "'{text}' is neither an address nor a network such as 192.0.2.0/24 or 2001:db8::/32"
        )
    }
}

impl std::error::Error for NetworkError {}

impl Network {
    /// This machine.
    pub const LOOPBACK: [Self; 2] = [
        Self {
            address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
            bits: 8,
        },
        Self {
            address: IpAddr::V6(Ipv6Addr::LOCALHOST),
            bits: 128,
        },
    ];

    /// The network of the first `bits` bits of `address`; `None` when the address has not so many. An IPv4
    /// address in the form of IPv6 is what it stands for.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let address = address.to_canonical();
        let address = match address {
            IpAddr::V4(v4) if bits <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if bits <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, bits })
    }

    /// Its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether the address belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.bits).is_some_and(|network| network.address == self.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parse = || {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text, None),
            };
            let address = IpAddr::from_str(address).ok()?.to_canonical();
            let bits = match bits {
                None if address.is_ipv4() => 32,
                None => 128,
                Some(bits) => bits.parse().ok()?,
            };
            Self::new(address, bits)
        };
        parse().ok_or_else(|| NetworkError(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.bits) {
            (IpAddr::V4(address), 32) => address.fmt(out),
            (IpAddr::V6(address), 128) => address.fmt(out),
            (address, bits) => write!(out, "{address}/{bits}"),
        }
    }
}

/// What of an address is counted: all of an IPv4 one, 64 bits of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Prefix {
    V4(u32),
    V6(u64),
}

impl Prefix {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }

    pub(crate) fn network(self) -> Network {
        match self {
            Self::V4(bits) => Network {
                address: IpAddr::V4(Ipv4Addr::from_bits(bits)),
                bits: 32,
            },
            Self::V6(bits) => Network {
                address: IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 64)),
                bits: PREFIX_BITS,
            },
        }
    }
}

#[cfg(test)]
mod tests;
